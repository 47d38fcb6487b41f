//! ONNX Runtime itself, from the test interpreter's own package: `SEATRIAL_TEST_PYTHON` names one with
//! `fixtures/demo/requirements.txt`, which `cargo xtask test` makes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_core::dataset::Task;
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec};
use seatrial_core::measure;
use seatrial_core::model::{Precision, Signature};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::ProfileKind;
use seatrial_core::report::{Opened, Report};
use seatrial_core::runtimes::{ENGINE_ROLE, Engine, PackageKind, RuntimePackage};
use seatrial_core::stage::Stage;

use crate::{common, skipped};

/// Its shared library.
pub(crate) fn library() -> PathBuf {
    let python = std::env::var_os("SEATRIAL_TEST_PYTHON").expect("`cargo xtask test` sets SEATRIAL_TEST_PYTHON");
    let lib = Path::new(&python).parent().and_then(Path::parent).unwrap().join("lib");
    let inside = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let packages = inside(&lib).into_iter().map(|python| python.join("site-packages/onnxruntime/capi"));
    let folder = packages.into_iter().find(|folder| folder.is_dir()).expect("a package of ONNX Runtime");
    let is_library = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("libonnxruntime.so.");
    inside(&folder).into_iter().find(is_library).unwrap()
}

/// As its file's name ends.
fn version() -> String {
    let library = library();
    let name = library.file_name().unwrap().to_str().unwrap();
    name.strip_prefix("libonnxruntime.so.").unwrap().to_owned()
}

/// The library as a package, which says the library's own version.
pub(crate) fn package(library: &[u8]) -> RuntimePackage {
    let kind = PackageKind::Library { engine: Engine::Onnxruntime };
    let package = common::package("onnxruntime", kind, &[(ENGINE_ROLE, "libonnxruntime.so", library)]);
    RuntimePackage { version: version(), ..package }
}

fn run(model: &[u8], change: impl FnOnce(&mut JobSpec)) -> Report {
    let home = tempfile::tempdir().unwrap();
    let library = std::fs::read(library()).unwrap();
    let mut spec = common::job("onnxruntime", "model.onnx", model);
    spec.package = Some(package(&library));
    change(&mut spec);
    common::run(spec, &[model, &library], &common::options(home.path()))
}

fn message(report: &Report) -> &str {
    report.message.as_deref().unwrap_or_default()
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(common::model(name)).unwrap()
}

#[test]
fn a_model_of_a_format_version_or_operator_set_that_is_not_known_yet_fails_to_load_by_its_number() {
    for (name, said) in [("newer_format.onnx", "99"), ("newer_operators.onnx", "99")] {
        let report = run(&read(name), |_| {});
        assert_eq!((report.outcome, report.failed_stage), (Outcome::LoadFail, Some(Stage::Load)), "{name}");
        assert!(message(&report).contains(said), "{}", message(&report));
    }
    let known = run(&read("linear.onnx"), |_| {});
    assert_eq!(known.outcome, Outcome::Ok, "the control: {}\n{}", message(&known), known.log);
}

#[test]
fn a_file_of_another_engine_fails_to_load_in_onnxruntime() {
    let lite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo/models/digits-cnn.fp32.tflite");
    let report = run(&std::fs::read(lite).unwrap(), |_| {});
    assert_eq!((report.outcome, report.failed_stage), (Outcome::LoadFail, Some(Stage::Load)), "{}", message(&report));
    let own = run(&read("linear.onnx"), |_| {});
    assert_eq!(own.outcome, Outcome::Ok, "the control: {}\n{}", message(&own), own.log);
}

#[test]
fn a_model_that_wants_more_memory_than_the_limit_is_out_of_memory_in_inference() {
    let limited = |bytes: u64| {
        run(&read("hungry.onnx"), |spec| {
            spec.limits.memory_bytes = bytes;
            // Half a gigabyte is touched in each inference: on a busy machine that takes its time.
            spec.limits.deadlines = Stage::ALL.into_iter().map(|stage| (stage, Duration::from_mins(2))).collect();
            (spec.profile.stop.min_samples, spec.profile.stop.min_time) = (1, Duration::ZERO);
        })
    };
    let report = limited(640 << 20);
    assert_eq!((report.outcome, report.failed_stage), (Outcome::OomKilled, Some(Stage::FirstInference)), "{report:#?}");
    let enough = limited(2 << 30);
    assert_eq!(enough.outcome, Outcome::Ok, "the control: {}\n{}", message(&enough), enough.log);
}

#[test]
fn as_many_threads_as_were_asked_for_are_counted_again_and_again() {
    let network = common::network();
    common::counts_as_many_as_asked(|threads| run(&network, |spec| *spec = common::counted(spec.clone(), threads)));
}

#[test]
fn the_version_on_record_is_the_librarys_own_and_a_package_that_says_another_is_refused() {
    let lied = run(&read("linear.onnx"), |spec| {
        if let Some(package) = &mut spec.package {
            package.version = "9.9.9".into();
        }
    });
    assert_eq!((lied.outcome, lied.failed_stage), (Outcome::UnsupportedBackend, Some(Stage::Load)));
    let own = version();
    let both = ["onnxruntime 9.9.9", own.as_str()];
    assert!(both.iter().all(|version| message(&lied).contains(version)), "{}", message(&lied));
    let shorter = run(&read("linear.onnx"), |spec| {
        if let Some(package) = &mut spec.package {
            package.version = own.rsplit_once('.').unwrap().0.to_owned();
        }
    });
    assert_eq!(shorter.outcome, Outcome::Ok, "the control: {}", message(&shorter));
    assert_eq!(shorter.environment.runtime_version, format!("onnxruntime {own}"), "the library's word");
}

#[test]
fn the_library_comes_from_the_disk_before_the_first_load_and_from_memory_later_and_tells_of_its_operators() {
    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let needed = if common::in_memory(disk) { Err(format!("{} is in memory", disk.display())) } else { Ok(disk) };
    let test = "the_library_comes_from_the_disk_before_the_first_load_and_from_memory_later_and_tells_of_its_operators";
    let Some(disk) = skipped::unless_missing(test, needed) else { return };
    let home = tempfile::tempdir_in(disk).unwrap();
    let (network, library) = (common::network(), std::fs::read(library()).unwrap());
    let mut spec = common::job("onnxruntime", "digits-cnn.onnx", &network);
    // Nobody has claimed what it takes: a process of its own opens the library and reads the model before.
    spec.model.signature = Signature::default();
    spec.package = Some(package(&library));
    (spec.profile.kind, spec.profile.processes) = (ProfileKind::Full, 2);
    let report = common::run(spec.clone(), &[&network, &library], &common::options(home.path()));
    assert_eq!(report.outcome, Outcome::Ok, "{}\n{}", message(&report), report.log);
    let operators = report.operators.present().unwrap();
    assert!(operators.operators.iter().any(|operator| operator.kind.contains("Conv")), "{operators:?}");
    assert_eq!(report.bounds_hit, Vec::<String>::new());
    let opened: Vec<Opened> = report.processes.iter().map(|process| process.opened.unwrap()).collect();
    assert!(opened[0].held > 1 << 20, "{opened:?}");
    let metrics = measure::summarise(&spec, &report).metrics;
    let told = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap().value.present().is_some();
    assert!(told("load_warm_ms"), "{metrics:?}");
    assert!(opened[0].read >= opened[0].held / 2 && told("load_cold_ms"), "{opened:?}");
    assert!(opened[1..].iter().all(|later| later.read < later.held / 8), "{opened:?}");
}

#[test]
fn a_model_that_the_built_in_engine_does_not_know_is_measured_by_one_that_does() {
    let report = run(&read("four_bits.onnx"), |spec| {
        spec.model.signature = Signature::default();
        spec.model.precision = Precision::Int4;
        spec.binding.axes.insert("batch".to_owned(), 1);
    });
    assert_eq!(report.outcome, Outcome::Ok, "{}\n{}", message(&report), report.log);
    assert_eq!(report.actual.signature.unwrap().inputs[0].name, "input");
}

#[test]
fn half_precision_stays_near_the_outputs_of_the_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo");
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["dataset.toml", "images.npy", "logits.npy"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&file(&format!("digits-cnn-golden/{name}"))).unwrap();
    }
    let dataset = zip.finish().unwrap().into_inner();
    let (home, library) = (tempfile::tempdir().unwrap(), std::fs::read(library()).unwrap());
    let largest = ["fp32", "fp16"].map(|precision| {
        let model = file(&format!("models/digits-cnn.{precision}.onnx"));
        let mut spec = common::job("onnxruntime", "digits.onnx", &model);
        spec.model.signature = Signature::default();
        spec.model.precision = precision.parse().unwrap();
        spec.package = Some(package(&library));
        spec.binding = toml::from_str(&String::from_utf8(file("binding.toml")).unwrap()).unwrap();
        spec.dataset = Some(DatasetRef {
            dataset: "digits-cnn-golden".into(),
            version: 1,
            digest: Digest::of(&dataset),
            size: dataset.len() as u64,
            task: Task::Golden,
            examples: 64,
            scorer: None,
        });
        let report = common::run(spec.clone(), &[&model, &library, &dataset], &common::options(home.path()));
        assert_eq!(report.outcome, Outcome::Ok, "{precision}: {}\n{}", message(&report), report.log);
        assert_eq!(measure::summarise(&spec, &report).outcome, Outcome::Ok, "{precision}: within its limits");
        report.golden[0].comparison.max_abs
    });
    assert!(largest[0] < 1e-4, "the control: {largest:?}");
    assert!((1e-4..0.1).contains(&largest[1]), "rounded to halves, and no more: {largest:?}");
}
