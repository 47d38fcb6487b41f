//! Every way in which a child can end gets its own outcome, leaves no process behind, and spoils nothing for the next
//! job. A runtime misbehaves on request.

use std::time::Duration;

use seatrial_agent::attempt::StopSignal;
use seatrial_core::job::JobSpec;
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::reason::Code;
use seatrial_core::report::{BlockKind, ProcessRole, Report};
use seatrial_core::session::Stop;
use seatrial_core::stage::Stage;

use crate::common;

/// Runs a script with a job that the caller may change, and then a well-behaved one in the same place.
fn attempt_with(script: &str, change: impl FnOnce(&mut JobSpec)) -> Report {
    let home = tempfile::tempdir().unwrap();
    let options = common::options(home.path());
    let mut spec = common::job("fake", "script.onnx", script.as_bytes());
    change(&mut spec);
    let report = common::run(spec, &[script.as_bytes()], &options);
    assert_eq!(common::left_behind(home.path()), Vec::<String>::new(), "after {script:?}");

    let next = common::run(common::job("fake", "script.onnx", b"well"), &[b"well"], &options);
    assert_eq!(next.outcome, Outcome::Ok, "the job after {script:?}: {:?}", next.message);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "no file is left after {script:?}");
    report
}

fn attempt(script: &str) -> Report {
    attempt_with(script, |_| {})
}

fn short_deadline(stage: Stage) -> impl FnOnce(&mut JobSpec) {
    move |spec| {
        spec.limits.deadlines.insert(stage, Duration::from_millis(300));
    }
}

fn message(report: &Report) -> &str {
    report.message.as_deref().unwrap_or_default()
}

#[test]
fn a_clean_end_has_samples_stages_a_window_and_memory() {
    let report = attempt("well");
    assert_eq!((report.outcome, report.failed_stage), (Outcome::Ok, None));
    let latency = report.blocks.iter().find(|block| block.metric == BlockKind::LatencyNs).unwrap();
    assert!(latency.count >= 64);
    let samples = seatrial_core::block::unpack(&latency.bytes, latency.count).unwrap();
    assert!(samples.iter().all(|&ns| ns >= 100_000), "the fake works for 100 µs");
    let process = &report.processes[0];
    assert!(process.sentinel && process.load_ms.is_some() && process.first_infer_ms.is_some());
    let window = process.window.as_ref().unwrap();
    assert!(window.wall_ms >= 50.0 && window.foreign_cpu.is_some(), "{window:?}");
    assert!(
        report.memory.present().is_some_and(|memory| memory.peak_kib >= Some(memory.base_kib) && memory.base_kib > 0)
    );
    assert_eq!(report.determinism, Reading::Present(true));
    let stages: Vec<Stage> =
        report.stages.iter().filter(|record| record.process == Some(0)).map(|record| record.stage).collect();
    let expected = [
        Stage::Prepare,
        Stage::Load,
        Stage::FirstInference,
        Stage::Warmup,
        Stage::Measure,
        Stage::Accuracy,
        Stage::Teardown,
    ];
    assert_eq!(stages, expected);
    assert!(report.stages.iter().all(|record| record.duration_us.is_some()), "{:?}", report.stages);
    assert!(report.bounds_hit.is_empty(), "{:?}", report.bounds_hit);
}

#[test]
fn full_is_three_fresh_processes_and_then_one_for_memory() {
    let report = attempt_with("well", |spec| spec.profile.processes = 3);
    let roles: Vec<ProcessRole> = report.processes.iter().map(|process| process.role).collect();
    let latency = ProcessRole::Latency;
    assert_eq!(roles, [latency, latency, latency, ProcessRole::Memory]);
    let blocks = report.blocks.iter().filter(|block| block.metric == BlockKind::LatencyNs);
    assert_eq!(blocks.map(|block| block.process).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_segmentation_fault_is_its_signal_and_its_stage() {
    for (script, stage) in [("segfault in load", Stage::Load), ("segfault in inference", Stage::FirstInference)] {
        let report = attempt(script);
        assert_eq!((report.outcome, report.failed_stage), (Outcome::CrashSignal(11), Some(stage)), "{script}");
        assert!(message(&report).contains("signal 11"), "{}", message(&report));
    }
}

#[test]
fn an_abort_without_a_sign_of_memory_is_a_crash() {
    assert_eq!(attempt("abort in load").outcome, Outcome::CrashSignal(6));
}

#[test]
fn exit_code_zero_without_the_sentinel_is_no_success() {
    for script in ["exit 0 in load", "exit 0 in inference"] {
        assert_eq!(attempt(script).outcome, Outcome::DriverExit0, "{script}");
    }
}

#[test]
fn any_other_exit_code_is_kept() {
    assert_eq!(attempt("exit 42 in inference").outcome, Outcome::ExitNonzero(42));
}

#[test]
fn a_panic_that_nobody_catches_is_an_exit_code_with_its_words_in_the_log() {
    let report = attempt("panic in load");
    assert_eq!(report.outcome, Outcome::ExitNonzero(101));
    assert!(report.log.contains("a panic that nobody catches"), "{}", report.log);
}

#[test]
fn a_hang_ends_at_the_deadline_of_its_stage() {
    let report = attempt_with("hang in load", short_deadline(Stage::Load));
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::Load)));
    let report = attempt_with("hang in inference", short_deadline(Stage::FirstInference));
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::FirstInference)));
}

#[test]
fn reading_what_a_file_declares_has_the_time_of_a_load_and_none_of_unloading() {
    let report = attempt_with("hang in describing", short_deadline(Stage::Load));
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::Load)));
    assert!(report.stages.iter().any(|stage| stage.stage == Stage::Teardown), "all that is measured came before");
}

#[test]
fn a_child_that_ignores_term_is_killed() {
    let report = attempt_with("hang ignoring term in load", short_deadline(Stage::Load));
    assert_eq!(report.outcome, Outcome::HangTimeout);
}

#[test]
fn reaching_the_memory_limit_is_out_of_memory_and_not_a_crash() {
    let report = attempt_with("hog memory in load", |spec| spec.limits.memory_bytes = 512 << 20);
    assert_eq!(report.outcome, Outcome::OomKilled, "{}", message(&report));
    assert!(message(&report).contains("memory limit"), "{}", message(&report));
}

#[test]
fn a_flood_of_output_is_cut_and_the_cut_is_reported() {
    let report = attempt("flood in inference");
    assert_eq!(report.outcome, Outcome::Ok);
    assert!(
        report.bounds_hit.iter().any(|bound| bound.starts_with("output cut at 65536 bytes")),
        "{:?}",
        report.bounds_hit
    );
    assert!(report.log.len() <= 64 << 10);
}

#[test]
fn outputs_that_are_no_numbers_fail_numerically_and_keep_their_samples() {
    let report = attempt("nan");
    assert_eq!(report.outcome, Outcome::NumericsFail);
    assert!(message(&report).contains("\"output\" holds NaN"), "{}", message(&report));
    assert!(report.blocks.iter().any(|block| block.metric == BlockKind::LatencyNs));
}

#[test]
fn a_process_in_a_session_of_its_own_does_not_escape() {
    let report = attempt("setsid escape in load");
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
}

#[test]
fn a_fork_bomb_is_swept_to_the_last_process() {
    let report = attempt_with("fork bomb in load", short_deadline(Stage::Load));
    assert_eq!(report.outcome, Outcome::HangTimeout);
    assert!(message(&report).contains("processes that it left were ended"), "{}", message(&report));
}

#[test]
fn a_file_without_end_is_stopped_by_the_kernel() {
    assert_eq!(attempt("fill disk in load").outcome, Outcome::CrashSignal(25));
}

#[test]
fn a_child_cannot_write_outside_its_folder() {
    let report = attempt("trespass in load");
    let confinement = report.environment.facts.get("confinement").map(String::as_str);
    match confinement {
        Some("landlock" | "landlock, in part") => assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report)),
        // The positive control: without the protection the trespass succeeds, and the script says so.
        other => assert_eq!(report.outcome, Outcome::ExitNonzero(70), "{other:?}"),
    }
}

/// A report that comes although the parent could wait for ever; a test that waits as long would only be ended.
fn attempt_in_time(script: &'static str, change: impl FnOnce(&mut JobSpec) + Send + 'static) -> Report {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(attempt_with(script, change));
    });
    receiver.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{script:?} keeps its parent"))
}

/// Long enough for the parent to look at the child's progress.
fn some_seconds(spec: &mut JobSpec) {
    spec.profile.stop.min_time = Duration::from_secs(3);
}

#[test]
fn a_child_that_puts_a_fifo_in_place_of_its_progress_does_not_keep_its_parent() {
    let report = attempt_in_time("fifo progress in load", some_seconds);
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
    let report = attempt_in_time("endless progress in load", some_seconds);
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
}

#[test]
fn a_child_that_puts_a_fifo_in_place_of_what_is_read_after_its_death_does_not_keep_its_parent() {
    // The child itself waits for somebody who reads its FIFO, until its deadline.
    for script in ["fifo sentinel in teardown", "fifo result.json in teardown"] {
        let report = attempt_in_time(script, short_deadline(Stage::Teardown));
        assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::Teardown)), "{script}");
    }
    let report = attempt_in_time("fifo latency_ns.block in teardown", |_| {});
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
    let dropped = "block latency_ns of process 0 cannot be read and was dropped: it is not a regular file";
    assert!(report.bounds_hit.iter().any(|bound| bound == dropped), "{:?}", report.bounds_hit);
}

#[test]
fn what_the_engine_says_of_itself_is_kept_apart() {
    for (script, outcome) in [
        ("unsupported op", Outcome::UnsupportedOp),
        ("load fail", Outcome::LoadFail),
        ("run fail in inference", Outcome::ExitNonzero(70)),
        ("no such behaviour", Outcome::LoadFail),
    ] {
        assert_eq!(attempt(script).outcome, outcome, "{script}");
    }
}

#[test]
fn a_message_without_end_is_cut_and_its_outcome_stands() {
    let report = attempt("load fail in bytes: 100000");
    assert_eq!(report.outcome, Outcome::LoadFail);
    let (said, most) = (message(&report), seatrial_core::report::MAX_TEXT);
    assert!(said.starts_with("latency process 0: loading failed: long long"), "{said:.100}");
    assert!(said.ends_with(seatrial_core::report::CUT_MARK) && said.len() <= most, "{} bytes", said.len());
}

#[test]
fn a_fallback_is_never_a_pass() {
    let report = attempt("fallback");
    assert_eq!(report.outcome, Outcome::OkFallback);
    assert_eq!(report.actual.delegated, Reading::Present((3, 10)));
}

#[test]
fn a_fallback_in_any_process_is_never_a_pass() {
    let report = attempt_with("fallback in process 2", |spec| spec.profile.processes = 3);
    assert_eq!(report.outcome, Outcome::OkFallback);
    assert_eq!(report.actual.delegated, Reading::Present((3, 10)), "of the process that fell back");
    assert!(message(&report).starts_with("process 2: 3 of 10 nodes"), "{}", message(&report));
    // The control: the same script where no process falls back.
    assert_eq!(attempt("fallback in process 2").outcome, Outcome::Ok);
}

#[test]
fn a_runtime_that_the_agent_lacks_is_an_unsupported_backend() {
    let report = attempt_with("well", |spec| spec.backend.runtime = "litert".into());
    assert_eq!(report.outcome, Outcome::UnsupportedBackend);
    assert!(message(&report).contains("\"litert\""), "{}", message(&report));
}

#[test]
fn a_file_name_with_a_path_in_it_is_refused_before_anything_is_written() {
    let report = attempt_with("well", |spec| spec.model.manifest.entries[0].file_name = "../escape.onnx".into());
    assert_eq!((report.outcome, report.failed_stage), (Outcome::SpecError, Some(Stage::Fetch)));
}

#[test]
fn a_cancelled_attempt_ends_soon_and_says_why() {
    let home = tempfile::tempdir().unwrap();
    let stop = StopSignal::default();
    let options = seatrial_agent::local::Options { stop: stop.clone(), ..common::options(home.path()) };
    let mut begun = None;
    let script: &[u8] = b"hang in load";
    let files = std::collections::BTreeMap::from([(seatrial_core::digest::Digest::of(script), home.path().join("f"))]);
    std::fs::write(home.path().join("f"), script).unwrap();
    let report =
        seatrial_agent::local::run(common::job("fake", "s.onnx", script), &files, &options, &mut |stage, _| {
            if stage == Stage::Load {
                begun = Some(std::time::Instant::now());
                stop.set(Stop::Cancelled("by hand".into()));
            }
        })
        .unwrap();
    assert_eq!((report.outcome, report.message.as_deref()), (Outcome::Cancelled, Some("cancelled: by hand")));
    assert!(begun.unwrap().elapsed() < Duration::from_secs(3));
}

/// A device whose battery and chip read what a test writes.
struct Readings(tempfile::TempDir);

impl Readings {
    fn new() -> Self {
        let readings = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("sys/class/power_supply/battery/type", "Battery"),
            ("sys/class/power_supply/battery/status", "Discharging"),
            ("sys/class/power_supply/battery/capacity", "50"),
            ("sys/class/power_supply/battery/temp", "300"),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
            ("sys/class/thermal/thermal_zone0/temp", "50000"),
        ] {
            readings.set(name, text);
        }
        readings
    }

    fn set(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    const SCRIPT: &[u8] = b"well";

    /// Measures for some seconds.
    fn spec() -> JobSpec {
        let mut spec = common::job("fake", "script.onnx", Self::SCRIPT);
        spec.profile.stop = seatrial_core::profile::StopRule { min_time: Duration::from_secs(4), ..spec.profile.stop };
        spec
    }

    /// The change comes with the measure stage.
    fn attempt(&self, name: &str, text: &str) -> Report {
        let home = tempfile::tempdir().unwrap();
        let script = Self::SCRIPT;
        let path = home.path().join("script");
        std::fs::write(&path, script).unwrap();
        let files = std::collections::BTreeMap::from([(seatrial_core::digest::Digest::of(script), path)]);
        let options = seatrial_agent::local::Options { root: self.0.path().to_owned(), ..common::options(home.path()) };
        seatrial_agent::local::run(Self::spec(), &files, &options, &mut |stage, _| {
            if stage == Stage::Measure {
                self.set(name, text);
            }
        })
        .unwrap()
    }
}

#[test]
fn a_device_that_gets_too_hot_or_too_empty_while_it_measures_is_let_go() {
    const CHIP: &str = "sys/class/thermal/thermal_zone0/temp";
    const BATTERY: &str = "sys/class/power_supply/battery/temp";
    const CHARGE: &str = "sys/class/power_supply/battery/capacity";
    for (name, text, outcome, said) in [
        (CHIP, "97000", Outcome::ThermalAbort, "cpu-thermal-0 reached 97.0 °C, limit 95 °C"),
        (BATTERY, "460", Outcome::ThermalAbort, "the battery reached 46.0 °C, limit 45 °C"),
        (CHARGE, "9", Outcome::BatteryLow, "the battery fell to 9 %, limit 10 %"),
    ] {
        let report = Readings::new().attempt(name, text);
        assert_eq!((report.outcome, report.failed_stage), (outcome, Some(Stage::Measure)), "{:?}", report.message);
        assert!(message(&report).contains(said), "{}", message(&report));
    }
    // The control: warmer and emptier, but within the limits.
    assert_eq!(Readings::new().attempt(CHIP, "94000").outcome, Outcome::Ok);
}

/// Measures on a device whose chip is too hot at first and cool after a while.
fn on_a_hot_device(script: &str, prepare: Duration, cool_after: Duration) -> (Report, Duration) {
    let readings = Readings::new();
    readings.set("sys/class/thermal/thermal_zone0/temp", "80000");
    let home = tempfile::tempdir().unwrap();
    let options = seatrial_agent::local::Options { root: readings.0.path().to_owned(), ..common::options(home.path()) };
    let mut spec = common::job("fake", "script.onnx", script.as_bytes());
    spec.limits.deadlines.insert(Stage::Prepare, prepare);
    let begun = std::time::Instant::now();
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(cool_after);
            readings.set("sys/class/thermal/thermal_zone0/temp", "50000");
        });
        common::run(spec, &[script.as_bytes()], &options)
    });
    (report, begun.elapsed())
}

#[test]
fn a_device_that_does_not_cool_before_the_deadline_to_prepare_is_a_thermal_abort_by_then() {
    let (report, _) = on_a_hot_device("well", Duration::from_secs(3), Duration::from_secs(6));
    assert_eq!((report.outcome, report.failed_stage), (Outcome::ThermalAbort, Some(Stage::Prepare)));
    assert!(message(&report).contains("after 2 s of cooling"), "{}", message(&report));
    // The control: it cools in time.
    let (report, _) = on_a_hot_device("well", Duration::from_secs(9), Duration::from_secs(1));
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
}

#[test]
fn the_first_child_has_what_cooling_has_left_of_the_deadline_to_prepare() {
    let (report, took) = on_a_hot_device("hang in prepare", Duration::from_secs(9), Duration::from_secs(3));
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::Prepare)));
    assert!(took < Duration::from_secs(12), "4 s of cooling and 5 s of the child took {took:?}");
}

#[test]
fn a_clock_that_is_held_down_while_a_model_is_measured_makes_the_row_invalid() {
    const LIMIT: &str = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq";
    let limited = |megahertz: &str| {
        let readings = Readings::new();
        readings.set(LIMIT, "2803200");
        let report = readings.attempt(LIMIT, megahertz);
        let invalid = seatrial_core::measure::summarise(&Readings::spec(), &report).invalid;
        invalid.iter().any(|reason| reason.code() == Some(Code::ClockLimited))
    };
    assert!(limited("1996800"));
    assert!(!limited("2803200"), "the control: a limit that stays");
}

#[test]
fn a_sensor_that_is_not_there_is_in_the_report_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let vm = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/vm");
    let options = seatrial_agent::local::Options { root: vm, ..common::options(home.path()) };
    let report = common::run(common::job("fake", "script.onnx", b"well"), &[b"well"], &options);
    let reason = |sensor: &str| {
        let trace = report.sensors.iter().find(|trace| trace.sensor == sensor);
        trace.and_then(|trace| trace.points.reason()).unwrap_or_default().to_owned()
    };
    assert_eq!(reason("thermal"), "there is no thermal zone under /sys/class/thermal", "{:?}", report.sensors);
    assert_eq!(reason("battery"), "there is no battery under /sys/class/power_supply");
    assert!(reason("cpu/frequency").contains("does not show frequencies"));
    // The control: what can be read has readings and no reason.
    let report = Readings::new().attempt("sys/class/thermal/thermal_zone0/temp", "50000");
    let zone = report.sensors.iter().find(|trace| trace.sensor == "thermal/cpu-thermal-0").unwrap();
    assert!(zone.points.present().is_some_and(|points| points.len() > 1), "{zone:?}");
}

#[test]
fn paced_starts_are_due_at_their_interval() {
    let report = attempt_with("well", |spec| spec.profile.interval = Some(Duration::from_millis(2)));
    let starts = report.blocks.iter().find(|block| block.metric == BlockKind::StartUs).unwrap();
    let starts = seatrial_core::block::unpack(&starts.bytes, starts.count).unwrap();
    assert_eq!(starts[0], 0);
    assert!(starts.windows(2).all(|pair| pair[1] > pair[0]));
    assert!(*starts.last().unwrap() >= 2000 * (starts.len() as i64 - 2));
}
