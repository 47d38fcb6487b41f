//! What a phone's system says of itself, asked before and after each process that measures.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use seatrial_core::digest::Digest;
use seatrial_core::report::Report;
use seatrial_core::stage::Stage;

use crate::common;

/// A phone whose thermal status is what its file `status` holds, and that becomes another while it measures.
fn report_of_a_phone(before: &str, after: &str) -> Report {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    let bin = root.join("system/bin");
    std::fs::create_dir_all(&bin).unwrap();
    let status = root.join("status");
    std::fs::write(&status, before).unwrap();
    let dumpsys =
        format!("#!/bin/sh\necho \"Thermal Status: $(cat {})\"\necho Display Power: state=ON\n", status.display());
    std::fs::write(bin.join("dumpsys"), dumpsys).unwrap();
    std::fs::set_permissions(bin.join("dumpsys"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = home.path().join("script");
    std::fs::write(&script, b"well").unwrap();
    let files = BTreeMap::from([(Digest::of(b"well"), script)]);
    let options = seatrial_agent::local::Options { root, ..common::options(home.path()) };
    let spec = common::job("fake", "script.onnx", b"well");
    let mut tell = |stage, _| {
        if stage == Stage::Measure {
            std::fs::write(&status, after).unwrap();
        }
    };
    seatrial_agent::local::run(spec, &files, &options, &mut tell).unwrap()
}

fn values(report: &Report, sensor: &str) -> Vec<f64> {
    let trace = report.sensors.iter().find(|trace| trace.sensor == sensor).unwrap();
    trace.points.present().into_iter().flatten().map(|&(_, value)| value).collect()
}

#[test]
fn a_phone_that_grows_hot_while_it_measures_says_so_after_it() {
    let report = report_of_a_phone("0", "3");
    let status = values(&report, "android/thermal_status");
    assert_eq!((status.first(), status.last()), (Some(&0.0), Some(&3.0)), "{status:?}");
    assert!(values(&report, "android/screen").iter().all(|&on| on > 0.0));
    let saver = report.sensors.iter().find(|trace| trace.sensor == "android/battery_saver").unwrap();
    assert!(saver.points.reason().is_some_and(|why| why.contains("127")), "this one has no settings: {saver:?}");
    // The control: one that stays as it was.
    let report = report_of_a_phone("0", "0");
    assert!(values(&report, "android/thermal_status").iter().all(|&status| status == 0.0));
}
