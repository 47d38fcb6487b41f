//! Profile `energy` without a server: a device that tells nothing, and a child that does not live to the end.

use std::path::Path;
use std::time::Duration;

use seatrial_agent::local::Options;
use seatrial_core::energy::Grade;
use seatrial_core::job::JobSpec;
use seatrial_core::outcome::{Family, Outcome};
use seatrial_core::profile::{MeasurementProfile, ProfileKind, WarmupRule};
use seatrial_core::reason::Code;
use seatrial_core::report::ProcessRole;
use seatrial_core::stage::Stage;

use crate::common;

fn job(script: &str) -> JobSpec {
    let mut spec = common::job("fake", "model.onnx", script.as_bytes());
    let warmup = WarmupRule { min_time: Duration::from_millis(10), ..WarmupRule::default() };
    spec.profile = MeasurementProfile { warmup, ..MeasurementProfile::of(ProfileKind::Energy) };
    spec
}

/// A device with this machine's processors, and a battery if it says so.
fn options(home: &Path, battery: Option<&str>) -> Options {
    std::os::unix::fs::symlink("/proc", home.join("proc")).unwrap();
    if let Some(uevent) = battery {
        let supply = home.join("sys/class/power_supply/battery");
        std::fs::create_dir_all(&supply).unwrap();
        std::fs::write(supply.join("type"), "Battery\n").unwrap();
        std::fs::write(supply.join("uevent"), uevent).unwrap();
    }
    Options { root: home.to_owned(), ..common::options(home) }
}

#[test]
fn a_device_that_tells_nothing_of_what_it_draws_says_so_and_fails_nothing() {
    let home = tempfile::tempdir().unwrap();
    let report = common::run(job("well"), &[b"well"], &options(home.path(), None));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let [process] = &report.processes[..] else { panic!("{:?}", report.processes) };
    assert_eq!(process.role, ProcessRole::Energy);
    assert!(process.window.is_some());
    let energy = report.energy.unwrap();
    assert_eq!(energy.end.code(), Some(Code::NothingTellsPower));
    assert!(energy.recording.phases.is_empty());
    assert_eq!(energy.energy(1).grade, Grade::E4);
}

#[test]
fn a_battery_that_tells_its_level_alone_is_no_source_of_power() {
    let home = tempfile::tempdir().unwrap();
    let uevent = "POWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_CAPACITY=57\n";
    let report = common::run(job("well"), &[b"well"], &options(home.path(), Some(uevent)));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let energy = report.energy.unwrap();
    assert!(energy.end.contains("neither a current nor a charge"), "{}", energy.end);
    assert!(energy.sources.iter().any(|source| source.value == Some(57.0)), "{:?}", energy.sources);
}

#[test]
fn a_child_that_dies_while_its_energy_is_measured_is_a_crash_of_that_stage() {
    let home = tempfile::tempdir().unwrap();
    let uevent = "POWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_CURRENT_NOW=-250000\nPOWER_SUPPLY_CAPACITY=57\n";
    let script = "segfault in energy";
    let report = common::run(job(script), &[script.as_bytes()], &options(home.path(), Some(uevent)));
    assert_eq!(
        (report.outcome.family(), report.failed_stage),
        (Family::Died, Some(Stage::Energy)),
        "{:?}",
        report.message
    );
    let energy = report.energy.unwrap();
    assert_eq!(energy.end.code(), Some(Code::EndCut));
    assert_eq!(energy.energy(1).grade, Grade::E4);
}
