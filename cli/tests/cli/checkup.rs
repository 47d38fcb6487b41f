//! `agent devices check`: the first day with a phone, on simulated ones and on the daemon that phones run.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use seatrial_core::lab::checkup::{Finding, Point, Report, Verdict};
use seatrial_sim::phone::{Config, Description, Fault, Phone};

use crate::demo_phones::needed;
use crate::lab::Lab;
use crate::namespaces::in_lab;
use crate::skipped::unless_missing;
use crate::support::{PROGRAM, Person, within};

/// An adb server of its own, which ends with the value.
struct Adb {
    process: Child,
    port: u16,
}

impl Drop for Adb {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Adb {
    fn start(person: &Person) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("adb");
        command.args(["-P", &port.to_string(), "nodaemon", "server"]).env("HOME", person.path("home"));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        within(20, "the adb server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port }
    }

    fn connect(&self, person: &Person, phone: &Phone) {
        within(20, "the phone is connected", || {
            let mut command = Command::new("adb");
            command.args(["-P", &self.port.to_string(), "connect", &phone.address().to_string()]);
            let output = command.env("HOME", person.path("home")).stdin(Stdio::null()).output().unwrap();
            String::from_utf8_lossy(&output.stdout).contains("connected to")
        });
    }
}

async fn boot(person: &Person, name: &str) -> Phone {
    let config = Config {
        description: Description::shipped(name).unwrap(),
        folder: person.path(name),
        port: 0,
        serial: name.to_owned(),
        properties: Vec::new(),
        program: vec![PROGRAM.into(), "demo-phone".into()],
        power: None,
        is_plugged: true,
        boot_time: Duration::from_millis(200),
        turn: None,
    };
    Phone::start(config).await.unwrap()
}

/// The command, begun.
fn begin(person: &Person, adb: &str, serial: &str, more: &[&str]) -> Child {
    let mut command = person.command();
    command.args(["agent", "devices", "check", serial, "--adb", adb, "--alone", "5", "--out", "reports"]);
    command.args(more).stdout(Stdio::piped()).stderr(std::fs::File::create(person.path("check.log")).unwrap());
    command.spawn().unwrap()
}

fn report(person: &Person, check: Child) -> (Report, String) {
    let output = check.wait_with_output().unwrap();
    let log = std::fs::read_to_string(person.path("check.log")).unwrap();
    assert!(output.status.success(), "{}: {log}", output.status);
    let said = String::from_utf8(output.stdout).unwrap();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(person.path("reports")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let [json, text] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(std::fs::read_to_string(text).unwrap(), said);
    let report = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    std::fs::remove_dir_all(person.path("reports")).unwrap();
    (report, said)
}

fn verdicts(report: &Report) -> BTreeMap<Point, Verdict> {
    assert_eq!(report.findings.iter().map(|finding| finding.point).collect::<Vec<_>>(), Point::ALL);
    report.findings.iter().map(|Finding { point, verdict, .. }| (*point, *verdict)).collect()
}

/// A program that has somebody else switch the port: it says that it should be, and waits until it has been.
fn hook(person: &Person) -> PathBuf {
    let (asked, done) = (person.path("asked"), person.path("done"));
    let text = format!(
        "#!/bin/sh\necho \"$@\" > {asked}.new; mv {asked}.new {asked}\nuntil [ -e {done} ]; do sleep 0.1; done\n",
        asked = asked.display(),
        done = done.display(),
    );
    let place = person.write("hook", &text);
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    place
}

#[test]
fn each_point_is_told_as_the_phone_has_it_and_the_report_can_be_sent() {
    let test = "each_point_is_told_as_the_phone_has_it_and_the_report_can_be_sent";
    let Some(()) = unless_missing(test, needed()) else { return };
    let person = Person::new();
    let adb = Adb::start(&person);
    let address = format!("127.0.0.1:{}", adb.port);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (xiaomi, nubia) =
        runtime.block_on(async { tokio::join!(boot(&person, "xiaomi-14"), boot(&person, "nubia-z70-ultra")) });
    adb.connect(&person, &xiaomi);
    adb.connect(&person, &nubia);

    let hook = hook(&person);
    let check = begin(&person, &address, &xiaomi.address().to_string(), &["--port-power", hook.to_str().unwrap()]);
    within(120, "its port is to be switched", || person.path("asked").exists());
    runtime.block_on(async {
        xiaomi.inflict(Fault::Dark).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        xiaomi.mend().await.unwrap();
    });
    adb.connect(&person, &xiaomi);
    person.write("done", "");
    let (whole, text) = report(&person, check);
    let found = verdicts(&whole);
    for point in [
        Point::Execution,
        Point::Uevent,
        Point::CmdBattery,
        Point::Dumpsys,
        Point::ServiceCall,
        Point::Gauge,
        Point::ThermalZones,
        Point::ThermalService,
        Point::Clocks,
        Point::Affinity,
        Point::KeepAwake,
        Point::Detached,
        Point::Dark,
    ] {
        assert_eq!(found[&point], Verdict::Works, "{point:?}: {text}");
    }
    assert_eq!(found[&Point::OpenCl], Verdict::Failed, "its library is an empty file: {text}");
    assert_eq!(found[&Point::FixedPerformance], Verdict::Missing, "{text}");
    assert_eq!(whole.phone["rom"], "HyperOS 2.0.5.0");
    assert!(text.contains("gpu: Adreno 750") && text.contains("uevent may the shell read"), "{text}");

    let (other, text) = report(&person, begin(&person, &address, &nubia.address().to_string(), &[]));
    let found = verdicts(&other);
    assert_eq!((found[&Point::Uevent], found[&Point::CmdBattery]), (Verdict::Denied, Verdict::Works), "{text}");
    assert_eq!(found[&Point::ServiceCall], Verdict::Missing, "{text}");
    assert_eq!(found[&Point::Dark], Verdict::NotTried, "nothing switches its port: {text}");
    runtime.block_on(async {
        xiaomi.stop().await.unwrap();
        nubia.stop().await.unwrap();
    });
}

#[test]
fn a_phone_that_is_not_there_or_cannot_be_used_is_told_with_what_is() {
    let Some(()) = unless_missing("a_phone_that_is_not_there_or_cannot_be_used_is_told_with_what_is", needed()) else {
        return;
    };
    let person = Person::new();
    let adb = Adb::start(&person);
    let check = begin(&person, &format!("127.0.0.1:{}", adb.port), "nobody", &[]);
    assert_eq!(check.wait_with_output().unwrap().status.code(), Some(1));
    let log = std::fs::read_to_string(person.path("check.log")).unwrap();
    assert!(log.contains("lists no phone \"nobody\"; it lists none"), "{log}");
}

#[test]
fn the_daemon_of_phones_lets_detached_work_live_on_without_its_link() {
    in_lab(async |lab: &mut Lab| {
        let person = Person::new();
        let phone = lab.phone().await;
        let adb = lab.server().address().to_owned();
        let check = begin(&person, &adb, &phone.serial(), &[]);
        let (report, text) = tokio::task::block_in_place(|| report(&person, check));
        let found = verdicts(&report);
        assert_eq!((found[&Point::Execution], found[&Point::Detached]), (Verdict::Works, Verdict::Works), "{text}");
        assert_eq!(found[&Point::CmdBattery], Verdict::Missing, "{text}");
    });
}
