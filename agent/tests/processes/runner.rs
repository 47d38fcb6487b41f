//! Runners in real processes: one that keeps the protocol, and every way in which one can fail it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use seatrial_agent::interpreters::{Interpreter, Interpreters};
use seatrial_agent::local::Options;
use seatrial_core::backend::Accelerator;
use seatrial_core::digest::Digest;
use seatrial_core::job::JobSpec;
use seatrial_core::measure;
use seatrial_core::model::{Format, Manifest, ManifestEntry};
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::runtimes::{PROGRAM_ROLE, PackageKind, RuntimePackage};
use seatrial_core::stage::Stage;
use tempfile::TempDir;

use crate::common;

/// The interpreter of the tests: a program, and not what looks for one.
pub(crate) fn python() -> PathBuf {
    let named = std::env::var_os("SEATRIAL_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let told = Command::new(named).args(["-c", "import sys; print(sys.executable)"]).output().expect("a python3");
    String::from_utf8(told.stdout).unwrap().trim().into()
}

/// A folder with a runner and what it imports, as a device has them.
pub(crate) fn placed(program: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::copy(root.join("runners/seatrial_runner.py"), folder.path().join("seatrial_runner.py")).unwrap();
    let placed = folder.path().join(program.file_name().unwrap());
    std::fs::copy(program, &placed).unwrap();
    (folder, placed)
}

fn scripted() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runners/scripted.py")
}

struct Bench {
    home: TempDir,
    package: RuntimePackage,
    /// The package's files.
    files: Vec<Vec<u8>>,
    interpreters: Interpreters,
}

impl Bench {
    fn new() -> Self {
        let (folder, program) = placed(&scripted());
        let names = [program.file_name().unwrap().to_str().unwrap(), "seatrial_runner.py"];
        let files = names.map(|name| std::fs::read(folder.path().join(name)).unwrap());
        let entries =
            names.iter().zip([PROGRAM_ROLE, "module"]).zip(&files).map(|((name, role), bytes)| ManifestEntry {
                role: role.into(),
                digest: Digest::of(bytes),
                size: bytes.len() as u64,
                file_name: (*name).into(),
            });
        let package = RuntimePackage {
            runtime: "scripted".into(),
            kind: PackageKind::Runner { interpreter: Some("python3".into()) },
            version: "claimed".into(),
            abi: None,
            accelerators: vec![Accelerator::Cpu, Accelerator::Gpu],
            formats: vec![Format::Onnx],
            manifest: Manifest { entries: entries.collect() },
        };
        let python = Interpreter { name: "python3".into(), path: python() };
        let interpreters = Interpreters::look(vec![python]).unwrap();
        Self { home: tempfile::tempdir().unwrap(), package, files: files.to_vec(), interpreters }
    }

    fn run(&self, script: &str, change: impl FnOnce(&mut JobSpec)) -> Report {
        let mut spec = common::job("scripted", "script.onnx", script.as_bytes());
        spec.package = Some(self.package.clone());
        change(&mut spec);
        let options = Options { interpreters: self.interpreters.clone(), ..common::options(self.home.path()) };
        let files: Vec<&[u8]> = self.files.iter().map(Vec::as_slice).chain([script.as_bytes()]).collect();
        let report = common::run(spec, &files, &options);
        assert_eq!(common::left_behind(self.home.path()), Vec::<String>::new(), "{script}: nothing is left running");
        report
    }

    /// The failure, and then that the next job runs.
    fn fails(&self, script: &str, change: impl FnOnce(&mut JobSpec)) -> Report {
        let report = self.run(script, change);
        let next = self.run("well", |_| {});
        assert_eq!(next.outcome, Outcome::Ok, "after {script:?}: {:?}\n{}", next.message, next.log);
        report
    }
}

fn message(report: &Report) -> &str {
    report.message.as_deref().unwrap_or_default()
}

fn has_samples(report: &Report) -> bool {
    report.blocks.iter().any(|block| block.metric == BlockKind::LatencyNs)
}

#[test]
fn a_runner_is_loaded_measured_by_itself_and_repeated() {
    let bench = Bench::new();
    let report = bench.run("well", |spec| spec.profile.processes = 2);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    assert_eq!(report.environment.runtime_version, "scripted 1.2", "as the program says, not as its package claims");
    assert_eq!(report.actual.accelerator, Reading::Present("cpu".into()));
    assert_eq!((&report.actual.threads, &report.determinism), (&Reading::Present(1), &Reading::Present(true)));
    assert_eq!(report.actual.signature.as_ref().unwrap().outputs[0].name, "output");
    for process in &report.processes[..2] {
        assert!(process.load_ms > Some(1.0), "an interpreter has started: {process:?}");
        assert!(process.first_infer_ms > Some(0.2) && process.first_infer_ms < Some(20.0), "{process:?}");
        assert!(process.warmup_iterations >= Some(10), "{process:?}");
        let window = process.window.as_ref().unwrap();
        assert!(window.own_cpu_ms > 10.0 && window.busiest_thread_ms > Some(10.0), "the runner's own: {window:?}");
    }
    let (base, peak) = report.memory.present().map(|memory| (memory.base_kib, memory.peak_kib.unwrap())).unwrap();
    assert!(base > 1000 && peak >= base, "of the runner's process: {base} and {peak} KiB");
    for fact in ["runner_wall_0", "runner_wall_1"] {
        let wall = &report.environment.facts[fact];
        assert!(wall.contains("samples of") && wall.contains("clock \"perf_counter\""), "{wall}");
    }
    assert_eq!(report.environment.facts["runner_build_0"], "for tests");

    let spec = common::job("scripted", "script.onnx", b"well");
    let median = measure::summarise(&spec, &report).metrics.into_iter().find(|one| one.name == "lat_p50_ms").unwrap();
    let median = median.value.into_present().unwrap().value;
    assert!((0.2..0.3).contains(&median), "an inference takes 200 µs: {median} ms");
}

#[test]
fn a_runner_keeps_the_rules_of_a_measurement() {
    let bench = Bench::new();
    let count = |report: &Report| {
        let latencies = report.blocks.iter().filter(|block| block.metric == BlockKind::LatencyNs);
        latencies.map(|block| block.count).sum::<u32>()
    };
    let bounded = bench.run("well", |spec| {
        (spec.profile.stop.min_samples, spec.profile.stop.max_samples) = (1_000_000, 100);
    });
    assert_eq!((bounded.outcome, count(&bounded)), (Outcome::Ok, 100), "{:?}", bounded.message);
    let timed = bench.run("well", |spec| spec.profile.stop.min_time = Duration::from_millis(300));
    assert!(count(&timed) > 2 * 64, "64 are enough without a least time: {} samples in 300 ms", count(&timed));
    let paced = bench.run("well", |spec| {
        spec.profile.interval = Some(Duration::from_millis(5));
        (spec.profile.stop.min_samples, spec.profile.stop.min_time) = (10, Duration::ZERO);
    });
    assert_eq!((paced.outcome, count(&paced)), (Outcome::Ok, 10), "{:?}", paced.message);
    let starts = paced.blocks.iter().find(|block| block.metric == BlockKind::StartUs).unwrap();
    let starts = seatrial_core::block::unpack(&starts.bytes, starts.count).unwrap();
    assert!(starts[9] >= 40_000, "{starts:?}");
}

#[test]
fn what_a_runner_prints_is_kept_with_the_attempt_and_breaks_no_frame() {
    let report = Bench::new().run("print in load", |_| {});
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
    assert!(report.log.contains("Loading model...") && report.log.contains("a banner of C"), "{}", report.log);
}

#[test]
fn an_error_that_a_runner_tells_is_an_outcome_by_its_class_and_stage() {
    let bench = Bench::new();
    for (script, outcome, said) in [
        ("unsupported op", Outcome::UnsupportedOp, "there is no kernel (operator Fancy) (code 7)"),
        ("compile fail", Outcome::CompileFail, "the shader does not compile"),
        ("no model", Outcome::LoadFail, "the file is no model"),
        ("out of memory", Outcome::OomKilled, "found no memory"),
    ] {
        let report = bench.fails(script, |_| {});
        assert_eq!((report.outcome, report.failed_stage), (outcome, Some(Stage::Load)), "{}", message(&report));
        assert!(message(&report).contains(said), "{}", message(&report));
    }
}

#[test]
fn a_runner_that_lies_about_its_times_gives_no_number() {
    let bench = Bench::new();
    for (script, said) in [
        ("long samples", "and the request took"),
        ("equal samples", "samples are claimed to take exactly 200µs"),
        ("overlapping samples", "before the one before it had ended"),
        ("fewer samples", "were asked for"),
    ] {
        let report = bench.fails(script, |_| {});
        assert_eq!(report.outcome, Outcome::ProtocolFail, "{script}: {}", message(&report));
        assert!(message(&report).contains("protocol: ") && message(&report).contains(said), "{}", message(&report));
        assert!(!has_samples(&report), "{script}: what cannot be true is no sample");
    }
    assert!(has_samples(&bench.run("well", |_| {})), "the control");
}

/// A machine that is busy enough may hide a lie: then nobody believes it, and nobody calls it one.
#[test]
fn a_runner_that_leaves_out_a_part_of_its_times_gives_no_number_that_is_believed() {
    let bench = Bench::new();
    let reasons = |report: &Report| {
        let spec = common::job("scripted", "script.onnx", b"well");
        let summary = measure::summarise(&spec, report);
        summary.invalid.iter().filter_map(Reason::code).collect::<Vec<Code>>()
    };
    let run = |script| bench.run(script, |spec| spec.profile.stop.min_time = Duration::from_millis(400));
    for script in ["short samples", "slow shaved samples", "slow shaved samples and starts"] {
        let report = run(script);
        if report.outcome == Outcome::Ok {
            assert!(
                reasons(&report).contains(&Code::TimesUntold),
                "{script} is believed: {:?}",
                report.environment.facts
            );
            continue;
        }
        assert_eq!(report.outcome, Outcome::ProtocolFail, "{script}: {}", message(&report));
        assert!(message(&report).contains("of a request that took"), "{}", message(&report));
        assert!(!has_samples(&report), "{script}: what cannot be true is no sample");
    }
    let honest = run("slow well");
    assert_eq!(honest.outcome, Outcome::Ok, "the control: {}", message(&honest));
    assert!(has_samples(&honest));
}

#[test]
fn a_runner_that_computes_on_more_threads_than_it_tells_is_no_pass_of_the_row_that_asked() {
    const TRIES: u32 = 3;
    let bench = Bench::new();
    let run = |script| bench.run(script, |spec| spec.profile.stop.min_time = Duration::from_millis(600));
    for _ in 0..TRIES {
        let report = run("two threads");
        let window = report.processes[0].window.as_ref().unwrap();
        if window.own_cpu_ms < 1.5 * window.monotonic_ms + 50.0 {
            // A busy machine left it no second CPU, and so it computed on one.
            continue;
        }
        assert_eq!(report.outcome, Outcome::OkFallback, "{window:?}");
        assert!(
            message(&report).contains("threads asked for: 1; the engine tells of 1 and had"),
            "{}",
            message(&report)
        );
        assert_eq!(report.actual.threads, Reading::Present(2));
        break;
    }
    let honest = run("slow well");
    assert_eq!(honest.outcome, Outcome::Ok, "the control: {}", message(&honest));
    assert_eq!(honest.actual.threads, Reading::Present(1));
}

#[test]
fn a_runner_that_lies_about_sizes_gives_no_output() {
    let bench = Bench::new();
    for (script, said) in [
        ("wrong size", "takes 8 bytes, got 12"),
        ("wrong shape", "is declared as f32 [1, 2] and is f32 [1, 3]"),
        ("no output", "outputs [\"output\"] are declared and [] are given"),
        ("short promise", "a frame of it is no message"),
    ] {
        let report = bench.fails(script, |_| {});
        assert_eq!(report.outcome, Outcome::ProtocolFail, "{script}: {}", message(&report));
        assert!(message(&report).contains("protocol: ") && message(&report).contains(said), "{}", message(&report));
    }
}

#[test]
fn a_runner_that_dies_is_classified_by_how_it_died() {
    let bench = Bench::new();
    for (script, outcome, stage, said) in [
        ("segfault in load", Outcome::CrashSignal(11), Stage::Load, "the runner died by signal 11"),
        ("exit 0 in load", Outcome::DriverExit0, Stage::Load, "ended with code 0 while an answer was expected"),
        ("exit 3", Outcome::ExitNonzero(3), Stage::Warmup, "ended with code 3"),
        ("die in frame", Outcome::ExitNonzero(3), Stage::Warmup, "ended with code 3 in the middle of a frame"),
    ] {
        let report = bench.fails(script, |_| {});
        assert_eq!((report.outcome, report.failed_stage), (outcome, Some(stage)), "{script}: {}", message(&report));
        assert!(message(&report).contains(said), "{}", message(&report));
    }
}

#[test]
fn a_runner_that_writes_what_is_no_frame_is_ended_with_the_class_protocol() {
    let bench = Bench::new();
    for (script, said) in [
        ("break frames in load", "begins a frame with \"Load\", which is printed text"),
        ("huge frame in load", "announced a frame of 4294967295 bytes"),
        ("flood in load", "protocol: "),
        ("close output in load", "closed its standard output"),
    ] {
        let report = bench.fails(script, |_| {});
        assert_eq!(report.outcome, Outcome::ProtocolFail, "{script}: {}", message(&report));
        assert!(message(&report).contains("protocol: ") && message(&report).contains(said), "{}", message(&report));
    }
}

#[test]
fn a_runner_that_hangs_but_lives_is_ended_at_the_deadline_of_its_stage() {
    let begun = Instant::now();
    let report = Bench::new().fails("hang in load", |spec| {
        spec.limits.deadlines.insert(Stage::Load, Duration::from_secs(2));
    });
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(Stage::Load)));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_runner_that_does_not_even_say_that_it_lives_is_ended_before_the_deadline() {
    let report = Bench::new().run("silence in load", |spec| {
        spec.limits.deadlines.insert(Stage::Load, Duration::from_mins(1));
    });
    assert_eq!(report.outcome, Outcome::HangTimeout, "{}", message(&report));
    assert!(message(&report).contains("has said nothing for 20s"), "{}", message(&report));
}

#[test]
fn a_runner_that_promises_more_than_it_sends_is_not_waited_for() {
    let report = Bench::new().fails("long promise", |_| {});
    assert_eq!(report.outcome, Outcome::HangTimeout, "{}", message(&report));
    assert!(!has_samples(&report));
}

#[test]
fn floods_of_a_runner_are_cut_and_cost_nothing() {
    let bench = Bench::new();
    let noisy = bench.run("flood standard error in load", |_| {});
    assert_eq!(noisy.outcome, Outcome::Ok, "{}", message(&noisy));
    assert!(
        noisy.bounds_hit.iter().any(|bound| bound.starts_with("output cut at 65536 bytes")),
        "{:?}",
        noisy.bounds_hit
    );
    let busy = bench.run("flood of progress in load", |_| {});
    assert_eq!(busy.outcome, Outcome::Ok, "{}", message(&busy));
}

#[test]
fn outputs_of_a_runner_that_are_no_numbers_fail_numerically() {
    let report = Bench::new().fails("nan", |_| {});
    assert_eq!(report.outcome, Outcome::NumericsFail);
    assert!(message(&report).contains("\"output\" holds NaN"), "{}", message(&report));
}

#[test]
fn another_accelerator_than_was_asked_for_is_never_a_pass() {
    let bench = Bench::new();
    let gpu = |spec: &mut JobSpec| spec.backend.accelerator = Accelerator::Gpu;
    let refused = bench.run("well", gpu);
    assert_eq!(refused.outcome, Outcome::UnsupportedBackend, "{}", message(&refused));
    assert!(message(&refused).contains("gpu is asked for and cpu computes"), "{}", message(&refused));
    let partly = bench.run("fallback", gpu);
    assert_eq!(partly.outcome, Outcome::OkFallback, "{}", message(&partly));
    assert!(message(&partly).contains("3 of 10 nodes have no kernel"), "{}", message(&partly));
    assert_eq!(partly.actual.delegated, Reading::Present((7, 10)));
    let uncounted = bench.run("gpu uncounted", gpu);
    assert_eq!(uncounted.outcome, Outcome::OkFallback, "{}", message(&uncounted));
    assert!(
        message(&uncounted).contains("it is not known whether all of it ran on the gpu"),
        "{}",
        message(&uncounted)
    );
    let counted = bench.run("gpu partly", gpu);
    assert_eq!(counted.outcome, Outcome::OkFallback, "{}", message(&counted));
    assert!(message(&counted).contains("7 of 10 operators ran on the gpu"), "{}", message(&counted));
    let admitted = bench.run("gpu admits", gpu);
    assert_eq!(admitted.outcome, Outcome::OkFallback, "{}", message(&admitted));
    assert!(message(&admitted).contains("its output says: DNN: tested with GPUs only, switching to CPU"));
    let whole = bench.run("gpu whole", gpu);
    assert_eq!(whole.outcome, Outcome::Ok, "the control: {}", message(&whole));
    let npu = bench.run("well", |spec| spec.backend.accelerator = Accelerator::Npu);
    assert!(message(&npu).contains("scripted 1.2 has cpu, gpu here, not npu"), "{}", message(&npu));
}

#[test]
fn what_a_runner_leaves_running_is_ended_with_its_attempt() {
    let report = Bench::new().run("escape in load", |_| {});
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
}

#[test]
fn a_runner_reads_what_it_needs_writes_its_folder_and_starts_nothing() {
    let report = Bench::new().run("trespass in load", |_| {});
    let confinement = report.environment.facts.get("confinement").map(String::as_str);
    match confinement {
        Some("landlock" | "landlock, in part") => assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report)),
        // The positive control: without the protection it does all that, and says so.
        other => assert!(message(&report).contains("wrote outside its folder"), "{other:?}: {}", message(&report)),
    }
}

#[test]
fn a_program_that_is_not_the_runner_it_is_said_to_be_is_not_measured() {
    let mut bench = Bench::new();
    bench.package.runtime = "another".into();
    let report = bench.run("well", |_| {});
    assert_eq!(report.outcome, Outcome::SpecError, "{}", message(&report));
    let said = "the runner of \"scripted\", and \"another\" is asked for";
    assert!(message(&report).contains(said), "{}", message(&report));
}

#[test]
fn an_interpreter_is_the_agents_own_and_its_version_is_on_record() {
    let mut bench = Bench::new();
    let report = bench.run("well", |_| {});
    let fact = report.environment.facts.get("interpreter").map(String::as_str).unwrap_or_default();
    assert!(fact.starts_with("python3: Python 3."), "{fact}");
    bench.package.kind = PackageKind::Runner { interpreter: Some("perl".into()) };
    let report = bench.run("well", |_| {});
    assert_eq!((report.outcome, report.failed_stage), (Outcome::UnsupportedBackend, Some(Stage::Prepare)));
    assert!(message(&report).contains("start it with --interpreter perl=PATH"), "{}", message(&report));
}

#[test]
fn a_program_without_an_interpreter_is_started_itself() {
    let mut bench = Bench::new();
    bench.package.kind = PackageKind::Runner { interpreter: None };
    let program = std::fs::read("/bin/true").unwrap();
    let entry = &mut bench.package.manifest.entries[0];
    (entry.digest, entry.size, entry.file_name) = (Digest::of(&program), program.len() as u64, "run".into());
    bench.files[0] = program;
    let report = bench.run("well", |_| {});
    assert_eq!(report.outcome, Outcome::DriverExit0, "it ran, and is no runner: {}", message(&report));
}
