//! Engines from packages that fail after they were loaded: a library made here, with LiteRT's interface, which does what
//! its model's file says. What fails while it is loaded stands in the tests of `seatrial` itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use seatrial_core::backend::Provider;
use seatrial_core::job::JobSpec;
use seatrial_core::model::{Format, Signature};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::ProfileKind;
use seatrial_core::reading::Reading;
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::runtimes::{ENGINE_ROLE, Engine, PackageKind};
use seatrial_core::stage::Stage;
use tempfile::TempDir;

use crate::common;

/// The library, compiled once.
pub(crate) fn library() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (source, made): (PathBuf, PathBuf) = (
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries/litert.c"),
            folder.path().join("libLiteRt.so"),
        );
        let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&made).arg(source).status();
        assert!(status.unwrap().success());
        std::fs::read(made).unwrap()
    })
}

/// A job with the library as its package.
pub(crate) fn job(script: &str) -> JobSpec {
    let mut spec = common::job("litert", "script.tflite", script.as_bytes());
    spec.model.format = Format::Tflite;
    let kind = PackageKind::Library { engine: Engine::Litert };
    spec.package = Some(common::package("litert", kind, &[(ENGINE_ROLE, "libLiteRt.so", library())]));
    spec
}

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, script: &str, change: impl FnOnce(&mut JobSpec)) -> Report {
        let mut spec = job(script);
        change(&mut spec);
        let report = common::run(spec, &[script.as_bytes(), library()], &common::options(self.0.path()));
        assert_eq!(common::left_behind(self.0.path()), Vec::<String>::new(), "{script}: nothing is left running");
        assert_eq!(std::fs::read_dir(self.0.path()).unwrap().count(), 0, "no file is left after {script:?}");
        report
    }

    /// The failure, and then that the next jobs run: with this engine, and with one that is built in.
    fn fails(&self, script: &str, change: impl FnOnce(&mut JobSpec)) -> Report {
        let report = self.run(script, change);
        let next = self.run("well", |_| {});
        assert_eq!(next.outcome, Outcome::Ok, "after {script:?}: {:?}\n{}", next.message, next.log);
        let model = std::fs::read(common::model("linear.onnx")).unwrap();
        let other = common::run(
            common::job("tract", "linear.onnx", &model),
            &[model.as_slice()],
            &common::options(self.0.path()),
        );
        assert_eq!(other.outcome, Outcome::Ok, "after {script:?}: {:?}\n{}", other.message, other.log);
        report
    }
}

fn message(report: &Report) -> &str {
    report.message.as_deref().unwrap_or_default()
}

fn has_samples(report: &Report) -> bool {
    report.blocks.iter().any(|block| block.metric == BlockKind::LatencyNs)
}

fn short_deadline(stage: Stage) -> impl FnOnce(&mut JobSpec) {
    move |spec| {
        spec.limits.deadlines.insert(stage, Duration::from_secs(1));
    }
}

#[test]
fn a_library_with_an_engines_interface_is_loaded_and_measured() {
    let report = Bench::new().run("well", |_| {});
    assert_eq!(report.outcome, Outcome::Ok, "{}\n{}", message(&report), report.log);
    assert_eq!(report.environment.runtime_version, "litert claimed, as the package says", "it cannot tell");
    let signature = report.actual.signature.as_ref().unwrap();
    assert_eq!(
        (signature.outputs[0].name.as_str(), signature.outputs[0].to_string().as_str()),
        ("output", "f32 [1, 2]")
    );
    let latency = report.blocks.iter().find(|block| block.metric == BlockKind::LatencyNs).unwrap();
    let samples = seatrial_core::block::unpack(&latency.bytes, latency.count).unwrap();
    assert!(samples.iter().all(|&ns| ns >= 100_000), "an inference works for 100 µs");
}

#[test]
fn an_engine_that_crashes_in_inference_or_teardown_is_its_signal_and_its_stage() {
    let bench = Bench::new();
    for (script, stage) in [
        ("segfault", Stage::Warmup),
        ("segfault in teardown", Stage::Teardown),
        ("segfault in unloading", Stage::Teardown),
    ] {
        let report = bench.fails(script, |_| {});
        assert_eq!((report.outcome, report.failed_stage), (Outcome::CrashSignal(11), Some(stage)), "{script}");
        assert!(message(&report).contains("signal 11"), "{}", message(&report));
    }
}

#[test]
fn an_engine_that_ends_the_process_with_code_0_is_no_success() {
    let bench = Bench::new();
    for (script, stage) in [("exit 0", Stage::Warmup), ("exit 0 in teardown", Stage::Teardown)] {
        let report = bench.fails(script, |_| {});
        assert_eq!((report.outcome, report.failed_stage), (Outcome::DriverExit0, Some(stage)), "{script}");
    }
}

#[test]
fn an_engine_that_leaks_until_the_memory_limit_is_out_of_memory() {
    let bench = Bench::new();
    for (script, said) in [("leak", "memory limit"), ("leak and say", "memory could not be had")] {
        let report = bench.fails(script, |spec| spec.limits.memory_bytes = 1 << 30);
        assert_eq!(report.outcome, Outcome::OomKilled, "{script}: {}\n{}", message(&report), report.log);
        assert!(message(&report).contains(said), "{}", message(&report));
        assert!(!has_samples(&report));
    }
    // The control: the same answer without a sign of memory is another outcome.
    assert_eq!(bench.run("fail", |_| {}).outcome, Outcome::ExitNonzero(70));
}

#[test]
fn an_engine_that_hangs_as_a_driver_does_is_ended_at_the_deadline_of_its_stage() {
    let bench = Bench::new();
    for (script, stage) in [("hang", Stage::Warmup), ("hang in teardown", Stage::Teardown)] {
        let report = bench.fails(script, short_deadline(stage));
        assert_eq!((report.outcome, report.failed_stage), (Outcome::HangTimeout, Some(stage)), "{script}");
    }
}

#[test]
fn an_engine_that_prints_megabytes_is_cut_and_measured() {
    let report = Bench::new().fails("flood", |_| {});
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
    let cut = |bound: &String| bound.starts_with("output cut at 65536 bytes");
    assert!(report.bounds_hit.iter().any(cut), "{:?}", report.bounds_hit);
    assert!(report.log.len() <= 64 << 10, "{} bytes", report.log.len());
}

#[test]
fn an_engine_that_answers_with_no_numbers_fails_numerically() {
    let report = Bench::new().fails("nan", |_| {});
    assert_eq!(report.outcome, Outcome::NumericsFail, "{}", message(&report));
    assert!(message(&report).contains("\"output\" holds NaN"), "{}", message(&report));
}

#[test]
fn an_engine_that_answers_in_another_shape_than_its_model_declares_is_no_result() {
    let report = Bench::new().fails("other shape", |_| {});
    assert_eq!(report.outcome, Outcome::ProtocolFail, "{}", message(&report));
    assert!(message(&report).contains("not what the model declares"), "{}", message(&report));
    assert!(message(&report).contains("takes 8 bytes, got 12"), "{}", message(&report));
}

#[test]
fn a_provider_whose_operators_nobody_told_of_is_no_pass_of_it_on_the_cpu_either() {
    let bench = Bench::new();
    let report = bench.run("well", |spec| spec.backend.provider = Some(Provider::Xnnpack));
    assert_eq!(report.outcome, Outcome::OkFallback, "{}\n{}", message(&report), report.log);
    assert!(message(&report).contains("not known whether any of it ran on xnnpack"), "{}", message(&report));
    assert!(message(&report).contains("has no profiler"), "{}", message(&report));
    // The control: in a profile that tells of operators, where nobody asks for a part of the engine.
    let plain = bench.run("well", |spec| spec.profile.kind = ProfileKind::Full);
    assert_eq!(plain.outcome, Outcome::Ok, "{}", message(&plain));
    assert!(plain.bounds_hit.iter().any(|bound| bound.contains("has no profiler")), "{:?}", plain.bounds_hit);
}

#[test]
fn threads_that_computed_are_counted_and_more_than_were_asked_for_are_no_pass() {
    let bench = Bench::new();
    let run = |script: &str, threads: u16| {
        bench.run(script, |spec| {
            spec.backend.threads = threads;
            (spec.profile.stop.min_samples, spec.profile.stop.min_time) = (5000, Duration::ZERO);
        })
    };
    for script in ["helper", "short threads"] {
        let more = run(script, 1);
        assert_eq!(more.outcome, Outcome::OkFallback, "{script}: {}\n{:?}", message(&more), more.actual);
        let said = "threads asked for: 1, and the engine uses 2";
        assert!(message(&more).contains(said), "{script}: {}", message(&more));
    }
    let as_asked = run("helper", 2);
    assert_eq!((as_asked.outcome, &as_asked.actual.threads), (Outcome::Ok, &Reading::Present(2)), "the control");
    let fewer = run("well", 2);
    assert_eq!((fewer.outcome, &fewer.actual.threads), (Outcome::Ok, &Reading::Present(1)), "told, and no fallback");
}

#[test]
fn threads_that_nobody_could_count_are_absent_with_the_reason() {
    let short = Bench::new().run("well", |_| {});
    let why = |report: &Report| match &report.actual.threads {
        Reading::Absent(why) => why.clone(),
        Reading::Present(threads) => panic!("{threads} threads"),
    };
    assert_eq!(short.outcome, Outcome::Ok, "{}", message(&short));
    assert!(why(&short).contains("for too short a time"), "{}", why(&short));
}

#[test]
fn a_session_tells_what_its_file_declares_and_no_good_job_ends_while_that_is_read_once_more() {
    let bench = Bench::new();
    let report = bench.run("hang in reading again", short_deadline(Stage::Teardown));
    assert_eq!(report.outcome, Outcome::Ok, "{}", message(&report));
    assert_eq!(report.actual.signature.unwrap().outputs[0].name, "output");
    // A job whose claim says nothing has its model read by a process of its own.
    let unclaimed = |script: &str, deadline| {
        bench.run(script, |spec| {
            spec.model.signature = Signature::default();
            short_deadline(deadline)(spec);
        })
    };
    let read = unclaimed("hang in reading again", Stage::Teardown);
    assert_eq!(read.outcome, Outcome::Ok, "{}", message(&read));
    // The control: reading hangs, and is ended where it does.
    let hung = unclaimed("hang in reading", Stage::Load);
    assert_eq!((hung.outcome, hung.failed_stage), (Outcome::HangTimeout, Some(Stage::Load)), "{}", message(&hung));
}

/// The library once more, with this code beside it.
fn library_with(folder: &Path, name: &str, code: &str, options: &[&str]) -> Vec<u8> {
    let (source, made) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&source, code).unwrap();
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries/litert.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"]).arg(&made).arg(engine).arg(source).args(options);
    assert!(cc.status().unwrap().success(), "{name}");
    std::fs::read(made).unwrap()
}

#[test]
fn a_library_for_another_processor_or_c_library_or_without_its_symbols_is_an_unsupported_backend_that_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // What a package for a distribution with musl is linked to; it is on no machine with glibc.
    let musl = "libc.musl-other.so.1";
    let soname = format!("-Wl,-soname,{musl}");
    std::fs::write(at("libc.c"), "int of_musl(void) { return 1; }").unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", &soname, "-o", &at(musl), &at("libc.c")]).status();
    assert!(made.unwrap().success());
    let calls = |name: &str| format!("extern int {name}(void); int calls(void) {{ return {name}(); }}");
    // The number of the machine in the header of an ELF file: of 64-bit Arm, or of x86-64.
    let mut elsewhere = library().to_vec();
    let machine: u8 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    elsewhere[18..20].copy_from_slice(&[machine, 0]);
    let bench = Bench::new();
    let run = |library: &[u8]| {
        let mut spec = job("well");
        let kind = PackageKind::Library { engine: Engine::Litert };
        spec.package = Some(common::package("litert", kind, &[(ENGINE_ROLE, "libLiteRt.so", library)]));
        common::run(spec, &[b"well", library], &common::options(bench.0.path()))
    };
    for (name, library, words) in [
        ("machine", elsewhere, ["libLiteRt.so", "the package is for another processor"]),
        (
            "symbol",
            library_with(folder.path(), "symbol.so", &calls("nowhere_to_be_found"), &["-Wl,-z,now"]),
            ["undefined symbol: nowhere_to_be_found", "a library that it needs is missing or of another version"],
        ),
        (
            "musl",
            library_with(folder.path(), "musl.so", &calls("of_musl"), &[&at(musl)]),
            [musl, "the package is for musl"],
        ),
    ] {
        let report = run(&library);
        let end = (report.outcome, report.failed_stage);
        assert_eq!(end, (Outcome::UnsupportedBackend, Some(Stage::Load)), "{name}: {}", message(&report));
        assert!(words.iter().all(|word| message(&report).contains(word)), "{name}: {}", message(&report));
        assert!(!has_samples(&report), "{name}");
    }
    let whole = run(&library_with(folder.path(), "whole.so", "int calls(void) { return 1; }", &["-Wl,-z,now"]));
    assert_eq!(whole.outcome, Outcome::Ok, "the control: {}", message(&whole));
}
