use super::*;

fn read(point: Point, code: u8, out: &str, err: &str) -> (Verdict, String) {
    let said = Said { code: Some(code), out: out.to_owned(), err: err.to_owned() };
    let Finding { verdict, told, .. } = Finding::read(point, &said);
    (verdict, told)
}

#[test]
fn a_point_that_gave_no_answer_is_no_pass() {
    for point in Point::ALL {
        let silent = Finding::read(*point, &Said { code: None, ..Said::default() });
        assert_eq!(silent.verdict, Verdict::Failed, "{point:?}");
    }
}

#[test]
fn what_is_refused_and_what_is_not_there_are_told_apart() {
    let denied = "cat: /sys/class/power_supply/battery/uevent: Permission denied";
    assert_eq!(read(Point::Uevent, 1, "", denied).0, Verdict::Denied);
    assert_eq!(read(Point::CmdBattery, 20, "", "cmd: Can't find service: battery").0, Verdict::Missing);
    assert_eq!(read(Point::ThermalService, 127, "", "sh: dumpsys: inaccessible or not found").0, Verdict::Missing);
    assert_eq!(read(Point::Affinity, 3, "", "boom").0, Verdict::Failed);
}

#[test]
fn tools_are_named_by_what_is_missing() {
    assert_eq!(read(Point::Tools, 0, "setsid /system/bin/setsid\ntimeout /system/bin/timeout\n", "").0, Verdict::Works);
    let (verdict, told) = read(Point::Tools, 0, "setsid /system/bin/setsid\ntimeout\nsha256sum\n", "");
    assert_eq!((verdict, told.as_str()), (Verdict::Partly, "it lacks timeout, sha256sum"));
}

#[test]
fn a_gauge_that_stands_still_is_none() {
    let (verdict, told) = read(Point::Gauge, 0, "10.0 -5\n11.0 -5\n20.0 -5\n", "");
    assert!(verdict == Verdict::Failed && told.contains("-5 for 10 s"), "{told}");
    let (verdict, told) = read(Point::Gauge, 0, "10.0 -5\n12.0 -7\n14.0 -9\n", "");
    assert!(verdict == Verdict::Works && told.contains("every 2.0 s"), "{told}");
    assert_eq!(read(Point::Gauge, 0, "", "").0, Verdict::Missing);
}

#[test]
fn a_parcel_is_a_number_an_exception_or_nothing() {
    let parcel = |words: &str| read(Point::ServiceCall, 0, &format!("Result: Parcel({words}   '....')\n"), "");
    assert_eq!(parcel("00000000 00000000 ffffff9c ffffffff"), (Verdict::Works, "it tells -100".to_owned()));
    assert_eq!(parcel("00000000 00000000 00000000 80000000").0, Verdict::Missing);
    assert_eq!(parcel("ffffffff 00000011 00740041 00650074").0, Verdict::Denied);
    assert_eq!(read(Point::ServiceCall, 0, "no such thing", "").0, Verdict::Missing);
}

#[test]
fn detached_work_that_was_ended_or_held_back_is_told() {
    let beats = |times: &[u32]| times.iter().map(|time| format!("{time}.00 3.0\n")).collect::<Vec<_>>().concat();
    let all: Vec<u32> = (0..=60).collect();
    let of = |times: &[u32], alive| Finding::survival(Point::Detached, &beats(times), 60.0, alive).verdict;
    assert_eq!(of(&all, true), Verdict::Works);
    assert_eq!(of(&all[..20], false), Verdict::Failed, "killed");
    assert_eq!(of(&all[..20], true), Verdict::Failed, "alive, and stood still to the end");
    assert_eq!(of(&[&all[..10], &all[40..]].concat(), true), Verdict::Partly);
    assert_eq!(of(&[], true), Verdict::Failed);
}

#[test]
fn a_report_has_every_finding_in_words_and_comes_back_from_json() {
    let finding = Finding::read(
        Point::Affinity,
        &Said { code: Some(0), out: "Cpus_allowed_list:\t0\n".to_owned(), ..Said::default() },
    );
    assert_eq!(finding.verdict, Verdict::Works);
    let phone = [("rom".to_owned(), "HyperOS 2".to_owned())].into();
    let findings = vec![finding, Finding::not_tried(Point::Dark, "nothing here switches ports")];
    let report = Report { schema: REPORT_SCHEMA, version: "1".to_owned(), serial: "s".to_owned(), phone, findings };
    let text = report.text();
    for words in ["rom: HyperOS 2", "works: a program stays on processor 0", "not tried: nothing here switches ports"] {
        assert!(text.contains(words), "{text}");
    }
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn words_of_a_phone_are_bounded() {
    let long = "ä".repeat(MAX_SAID + 5);
    let finding = Finding::read(Point::Execution, &Said { code: Some(0), out: long, ..Said::default() });
    assert_eq!(finding.said.chars().count(), MAX_SAID + 1);
}

#[test]
fn the_other_answers_are_read() {
    for (point, out, verdict) in [
        (Point::Uevent, "POWER_SUPPLY_STATUS=Full\nPOWER_SUPPLY_CAPACITY=5\n", Verdict::Partly),
        (Point::Uevent, "", Verdict::Missing),
        (Point::CmdBattery, "-412000\n", Verdict::Works),
        (Point::CmdBattery, "Battery service (battery) commands:\n", Verdict::Missing),
        (Point::Dumpsys, "  level: 5\n  voltage: 4000\n  temperature: 300\n", Verdict::Works),
        (Point::Dumpsys, "  (UPDATES STOPPED -- use 'reset' to restart)\n  level: 5\n", Verdict::Failed),
        (Point::ThermalZones, "cpu 41000\nbattery\n", Verdict::Partly),
        (Point::ThermalZones, "cpu\n", Verdict::Denied),
        (Point::ThermalZones, "", Verdict::Missing),
        (Point::ThermalService, "Thermal Status: 0\nHAL Ready: true\n", Verdict::Works),
        (Point::ThermalService, "Thermal Status: 0\nHAL Ready: false\n", Verdict::Partly),
        (Point::Clocks, "policy0 300000 2000000\n", Verdict::Works),
        (Point::OpenCl, "/vendor/lib64/libOpenCL.so ok\n", Verdict::Works),
        (Point::OpenCl, "/vendor/lib64/libOpenCL.so library \"x\" not found\n", Verdict::Failed),
        (Point::OpenCl, "", Verdict::Missing),
        (Point::Affinity, "Cpus_allowed_list:\t0-7\n", Verdict::Failed),
        (Point::KeepAwake, "null\n15\nnull\n", Verdict::Works),
        (Point::KeepAwake, "0\n15\n15\n", Verdict::Partly),
        (Point::KeepAwake, "0\n0\n0\n", Verdict::Denied),
    ] {
        assert_eq!(read(point, 0, out, "").0, verdict, "{point:?} {out:?}");
    }
}
