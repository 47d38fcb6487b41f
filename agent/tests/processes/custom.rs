//! Datasets that bring what judges them: a scorer that keeps the protocol, and every way in which one can fail it. None
//! is ever a pass, and none is the model's fault.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seatrial_agent::attempt::REFERENCES_FILE;
use seatrial_agent::interpreters::{Interpreter, Interpreters};
use seatrial_agent::local::Options;
use seatrial_core::dataset::package::PackageManifest;
use seatrial_core::dataset::scorer::Scorer;
use seatrial_core::dataset::{Task, npy};
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec};
use seatrial_core::measure::{self, Summary};
use seatrial_core::metric::Estimate;
use seatrial_core::model::{Axis, Signature, TensorSpec};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::report::Report;
use seatrial_core::stage::Stage;
use seatrial_core::tensor::{DType, Tensor};
use tempfile::TempDir;

use crate::common;
use crate::runner::python;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A package with its parts.
struct Package {
    bytes: Vec<u8>,
    examples: u32,
    scorer: Scorer,
}

/// Rows of logits, half of what the model answers; the program and the file that it understands.
fn package(rows: &[Vec<f32>], program: &Path, metrics: &[&str], labels: &[u8]) -> Package {
    let name = program.file_name().unwrap().to_str().unwrap();
    let metric = |name: &&str| format!("[[scorer.metrics]]\nname = \"{name}\"\nbetter = \"lower\"\n");
    let metrics = metrics.iter().map(metric).collect::<Vec<_>>().concat();
    let manifest = format!(
        "name = \"custom\"\ntask = \"custom\"\nexamples = {}\n\
         inputs = [{{ name = \"input\", kind = \"npy\", member = \"inputs.npy\" }}]\n\
         labels = {{ kind = \"file\", member = \"truth.json\" }}\n\
         [scorer]\nprogram = \"{name}\"\nfiles = [\"seatrial_runner.py\"]\n{metrics}",
        rows.len()
    );
    let read = PackageManifest::parse(&manifest, "dataset.toml").unwrap();
    let halves: Vec<f32> = rows.iter().flatten().map(|value| value / 2.0).collect();
    let inputs = npy::write(&Tensor::from_f32(vec![rows.len(), 1, rows[0].len()], &halves).unwrap());
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("dataset.toml", manifest.as_bytes()),
        ("inputs.npy", &inputs),
        ("truth.json", labels),
        (name, &std::fs::read(program).unwrap()),
        ("seatrial_runner.py", &std::fs::read(root().join("runners/seatrial_runner.py")).unwrap()),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let bytes = zip.finish().unwrap().into_inner();
    Package { bytes, examples: read.examples, scorer: read.scorer.unwrap() }
}

fn scripted(script: &str) -> Package {
    let rows: Vec<Vec<f32>> = (0..4u8).map(|row| vec![f32::from(row), f32::from(row) + 1.0]).collect();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runners/scorer.py");
    package(&rows, &program, &["mean", "values"], script.as_bytes())
}

fn job(package: &Package) -> (JobSpec, Vec<u8>) {
    let model = std::fs::read(common::model("double2.onnx")).unwrap();
    let mut spec = common::job("tract", "double2.onnx", &model);
    let tensor = |name: &str| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: ["rows", "columns"].map(|axis| Axis::Named(axis.to_owned())).to_vec(),
    };
    spec.model.signature =
        Signature { inputs: vec![tensor("input")], outputs: vec![tensor("output")], precision_from: None };
    spec.profile = MeasurementProfile { processes: 0, ..MeasurementProfile::of(ProfileKind::AccuracyOnly) };
    spec.dataset = Some(DatasetRef {
        dataset: "custom".to_owned(),
        version: 1,
        digest: Digest::of(&package.bytes),
        size: package.bytes.len() as u64,
        task: Task::Custom,
        examples: package.examples,
        scorer: Some(package.scorer.clone()),
    });
    (spec, model)
}

fn options(home: &TempDir) -> Options {
    let python = Interpreter { name: "python3".into(), path: python() };
    let interpreters = Interpreters::look(vec![python]).unwrap();
    Options { interpreters, ..common::options(home.path()) }
}

fn run_with(package: &Package, change: impl FnOnce(&mut JobSpec)) -> (Report, Summary) {
    let (mut spec, model) = job(package);
    change(&mut spec);
    let home = tempfile::tempdir().unwrap();
    let report = common::run(spec.clone(), &[&model, &package.bytes], &options(&home));
    assert_eq!(common::left_behind(home.path()), Vec::<String>::new(), "nothing is left running");
    let summary = measure::summarise(&spec, &report);
    (report, summary)
}

fn run(package: &Package) -> (Report, Summary) {
    run_with(package, |_| {})
}

fn figure(summary: &Summary, name: &str) -> Estimate {
    let metric = summary.metrics.iter().find(|metric| metric.name == name).unwrap();
    *metric.value.present().unwrap_or_else(|| panic!("{name}: {:?}", metric.value.reason()))
}

/// How a job with this script fails, and then that the next one runs.
fn fails(script: &str) -> String {
    let (report, summary) = run(&scripted(script));
    assert_eq!(report.outcome, Outcome::SpecError, "{script}: {:?}\n{}", report.message, report.log);
    assert_eq!((summary.outcome, report.failed_stage), (Outcome::SpecError, Some(Stage::Accuracy)), "{script}");
    assert!(report.figures.is_empty(), "{script}: {:?}", report.figures);
    let told = summary.metrics.iter().filter(|metric| metric.name.starts_with("custom."));
    assert_eq!(told.filter(|metric| metric.value.present().is_none()).count(), 2, "{script}: missing is never zero");
    let message = report.message.unwrap_or_default();
    let says = "the dataset's scorer failed, and not the model: scorer.py: ";
    let said = message.split_once(says).unwrap_or_else(|| panic!("{script}: {message}"));
    let (next, _) = run(&scripted("well"));
    assert_eq!(next.outcome, Outcome::Ok, "after {script:?}: {:?}\n{}", next.message, next.log);
    said.1.to_owned()
}

#[test]
fn a_scorer_of_the_dataset_judges_the_outputs_of_the_model_and_its_figures_are_metrics() {
    let (report, summary) = run(&scripted("well"));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    assert_eq!((summary.outcome, summary.invalid.as_slice()), (Outcome::Ok, &[][..]));
    let mean = figure(&summary, "custom.mean");
    assert_eq!((mean.value, mean.interval), (2.0, Some((1.0, 3.0))));
    assert_eq!(figure(&summary, "custom.values").value, 8.0);
    assert!(report.environment.facts["scorer_interpreter"].starts_with("python3: Python 3"));
    assert!(report.environment.facts.contains_key("scorer_time"));
}

#[test]
fn verdicts_of_a_scorer_are_kept_example_by_example_for_a_paired_test() {
    let (report, summary) = run(&scripted("verdicts"));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    assert!(summary.invalid.is_empty());
    let right = measure::task::right(Task::Custom, 4, &report.blocks).unwrap().unwrap();
    assert_eq!(right, [true, false, true, false]);
    let (report, _) = run(&scripted("well"));
    assert_eq!(measure::task::right(Task::Custom, 4, &report.blocks), Ok(None), "the control: it tells none");
}

#[test]
fn a_figure_that_a_scorer_cannot_give_is_absent_with_its_reason() {
    let (report, summary) = run(&scripted("absent"));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let mean = summary.metrics.iter().find(|metric| metric.name == "custom.mean").unwrap();
    assert_eq!(mean.value.reason(), Some("nothing has a mean today"));
    assert_eq!(figure(&summary, "custom.values").value, 8.0);
}

#[test]
fn a_scorer_that_dies_is_a_specification_error_that_says_how_it_died() {
    for (script, said) in [
        ("segfault in open", "the scorer died by signal 11"),
        ("segfault in judge", "at example 1, after "),
        ("exit 3 in judge", "the scorer ended with code 3 while an answer was expected"),
        ("exit 0 in conclude", "asked for its figures, after "),
        ("throw in judge", "ValueError: the labels make no sense"),
    ] {
        let message = fails(script);
        assert!(message.contains(said), "{script}: {message}");
    }
}

#[test]
fn a_scorer_that_lies_gives_no_figure() {
    for (script, said) in [
        ("other metric", "it tells \"median\", which the dataset does not ask for"),
        ("missing metric", "it does not tell \"values\""),
        ("metric twice", "it tells \"mean\", twice"),
        ("not a number", "mean: NaN [NaN, NaN] is not a finite number"),
        ("bounds the wrong way", "does not lie within its own bounds"),
        ("one bound", "one bound of the interval and not the other"),
        ("more examples", "it rests on 1000 examples, and the dataset has 4"),
        ("neither value nor reason", "neither a value nor why there is none"),
        ("many figures", "which the dataset does not ask for"),
        ("some verdicts", "and does not say it of example 2"),
    ] {
        let message = fails(script);
        assert!(message.contains(said), "{script}: {message}");
    }
}

/// A scorer that is busy and lives, one that says nothing, and one that does not read: each is ended by the child, before
/// its parent would end the child and blame the model.
#[test]
fn a_scorer_that_hangs_is_ended_before_the_deadline_of_the_stage_and_the_model_is_not_blamed() {
    for script in ["hang in judge", "silence in conclude"] {
        let begun = Instant::now();
        let message = fails(script);
        assert!(message.contains("the time is up, and the scorer is not done"), "{script}: {message}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{script}: {:?}", begun.elapsed());
    }
    let patient = |spec: &mut JobSpec| {
        spec.limits.deadlines.insert(Stage::Accuracy, Duration::from_mins(2));
    };
    let (report, _) = run_with(&scripted("silence in judge"), patient);
    let message = report.message.unwrap_or_default();
    assert_eq!(report.outcome, Outcome::SpecError, "{message}");
    assert!(message.contains("the scorer has said nothing for 20s, not even that it lives"), "{message}");
    let wide: Vec<Vec<f32>> = vec![vec![1.0; 100_000]; 4];
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runners/scorer.py");
    let (report, _) = run(&package(&wide, &program, &["mean", "values"], b"deafness in judge"));
    let message = report.message.unwrap_or_default();
    assert_eq!(report.outcome, Outcome::SpecError, "{message}");
    assert!(message.contains("scorer.py: at example 2, ") && message.contains("has not read a request"), "{message}");
    let (report, _) = run(&package(&wide, &program, &["mean", "values"], b"well"));
    assert_eq!(report.outcome, Outcome::Ok, "the control: {:?}", report.message);
}

#[test]
fn floods_of_a_scorer_are_bounded() {
    for (script, said) in [
        ("flood in judge", "it announced a frame of 4294967295 bytes"),
        ("flood of progress in judge", "the time is up, and the scorer is not done"),
    ] {
        let message = fails(script);
        assert!(message.contains(said), "{script}: {message}");
    }
    let (report, summary) = run(&scripted("flood standard error in judge"));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    assert!(report.bounds_hit.iter().any(|bound| bound.contains("output cut")), "{:?}", report.bounds_hit);
    assert_eq!(figure(&summary, "custom.mean").value, 2.0);
    let (report, _) = run(&scripted("print in judge"));
    assert_eq!(report.outcome, Outcome::Ok, "what it prints is kept and breaks no frame: {:?}", report.message);
    assert!(report.log.contains("a line") && report.log.contains("of C"), "{}", report.log);
}

#[test]
fn a_scorer_reads_what_it_needs_writes_its_folder_and_starts_nothing() {
    let (report, _) = run(&scripted("trespass in judge"));
    let confinement = &report.environment.facts["confinement"];
    if confinement == "landlock" {
        assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    } else {
        let message = report.message.unwrap_or_default();
        assert!(message.contains("read a file of the system"), "unconfined ({confinement}) it can: {message}");
    }
}

#[test]
fn outputs_that_are_not_numbers_are_the_models_fault_whatever_its_scorer_makes_of_them() {
    let program = root().join("runners/calibration.py");
    let rows = vec![vec![f32::NAN, 1.0], vec![1.0, 2.0]];
    let (report, _) = run(&package(&rows, &program, &["ece"], b"{\"labels\": [0, 1]}"));
    assert_eq!(report.outcome, Outcome::NumericsFail, "{:?}", report.message);
}

#[test]
fn a_scorer_without_its_interpreter_or_other_than_claimed_is_a_specification_error_that_says_what_to_do() {
    let package = scripted("well");
    let missing = |spec: &mut JobSpec| {
        spec.dataset.as_mut().unwrap().scorer.as_mut().unwrap().interpreter = "ruby".to_owned();
    };
    let (report, _) = run_with(&package, missing);
    let message = report.message.unwrap_or_default();
    assert_eq!((report.outcome, report.failed_stage), (Outcome::SpecError, Some(Stage::Prepare)), "{message}");
    assert!(message.contains("start it with --interpreter ruby=PATH"), "{message}");
    let other = |spec: &mut JobSpec| {
        spec.dataset.as_mut().unwrap().scorer.as_mut().unwrap().metrics.truncate(1);
    };
    let (report, _) = run_with(&package, other);
    let message = report.message.unwrap_or_default();
    assert_eq!(report.outcome, Outcome::SpecError, "{message}");
    assert!(message.contains("is not the one that was claimed; add it again"), "{message}");
}

#[test]
fn outputs_of_a_custom_dataset_are_kept_as_references_without_its_scorer() {
    let (spec, model) = job(&scripted("segfault in open"));
    let package = scripted("segfault in open");
    let (home, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = Options { references: Some(kept.path().to_owned()), ..common::options(home.path()) };
    let report = common::run(spec, &[&model, &package.bytes], &options);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    assert!(kept.path().join(REFERENCES_FILE).is_file());
}

/// Logits and labels from a generator of its own.
fn classified() -> (Vec<Vec<f32>>, Vec<usize>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    let rows: Vec<Vec<f32>> = (0..200).map(|_| (0..5).map(|_| next()).collect()).collect();
    let labels = rows.iter().enumerate().map(|(index, row)| {
        let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        if index % 3 == 0 { (best + 1 + index % 4) % 5 } else { best }
    });
    let labels = labels.collect();
    (rows, labels)
}

/// Expected calibration error and mean loss by another way: probabilities first, bins by comparing with their borders.
fn reference(rows: &[Vec<f32>], labels: &[usize], bins: u32) -> (f64, f64, f64) {
    let probabilities: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| {
            let powers: Vec<f64> = row.iter().map(|&value| f64::from(value).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect()
        })
        .collect();
    let count = rows.len() as f64;
    let mut ece = 0.0;
    for bin in 0..bins {
        let (low, high) = (f64::from(bin) / f64::from(bins), f64::from(bin + 1) / f64::from(bins));
        let inside: Vec<(f64, bool)> = probabilities
            .iter()
            .zip(labels)
            .map(|(row, &label)| {
                let most = row.iter().copied().fold(0.0, f64::max);
                (most, row[label] == most)
            })
            .filter(|(most, _)| *most > low && *most <= high)
            .collect();
        if !inside.is_empty() {
            let share = inside.iter().filter(|(_, right)| *right).count() as f64 / inside.len() as f64;
            let mean = inside.iter().map(|(most, _)| most).sum::<f64>() / inside.len() as f64;
            ece += (share - mean).abs() * inside.len() as f64 / count;
        }
    }
    let losses: Vec<f64> = probabilities.iter().zip(labels).map(|(row, &label)| -row[label].ln()).collect();
    let nll = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|loss| (loss - nll).powi(2)).sum::<f64>() / (count - 1.0);
    (ece, nll, 1.96 * (variance / count).sqrt())
}

#[test]
fn the_example_scorer_computes_calibration_error_and_likelihood_as_an_independent_computation_does() {
    let (rows, labels) = classified();
    let truth = serde_json::json!({ "labels": labels, "bins": 10 }).to_string();
    let program = root().join("runners/calibration.py");
    let (report, summary) = run(&package(&rows, &program, &["nll", "ece"], truth.as_bytes()));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let (ece, nll, half) = reference(&rows, &labels, 10);
    assert!(ece > 0.05 && nll > 0.5, "the data have something to find: {ece} {nll}");
    let told = figure(&summary, "custom.ece");
    assert!((told.value - ece).abs() < 1e-12, "{} is not {ece}", told.value);
    let told = figure(&summary, "custom.nll");
    assert!((told.value - nll).abs() < 1e-12, "{} is not {nll}", told.value);
    let (low, high) = told.interval.unwrap();
    assert!((low - (nll - half)).abs() < 1e-5 && (high - (nll + half)).abs() < 1e-5, "{low} {high}");
    let right = measure::task::right(Task::Custom, 200, &report.blocks).unwrap().unwrap();
    assert_eq!(right.iter().filter(|right| **right).count(), 133);
}

#[test]
fn the_example_scorer_says_what_it_cannot_read() {
    let program = root().join("runners/calibration.py");
    let rows = vec![vec![0.5, 0.5], vec![1.0, 0.0]];
    for (labels, metric, said) in [
        ("{\"labels\": [0]}", "ece", "there are 1 labels for 2 examples"),
        ("{\"labels\": [0, 2]}", "ece", "label 2 of example 1 is no class of 2"),
        ("{\"labels\": [0, 1], \"output\": \"probs\"}", "ece", "the labels ask for the output 'probs'"),
        ("{\"labels\": [0, 1]}", "brier", "this scorer knows ece, nll, and not brier"),
        ("[", "ece", "JSONDecodeError"),
    ] {
        let (report, _) = run(&package(&rows, &program, &[metric], labels.as_bytes()));
        let message = report.message.unwrap_or_default();
        assert_eq!(report.outcome, Outcome::SpecError, "{labels}: {message}");
        assert!(message.contains(said), "{labels}: {message}");
    }
    let hopeless = package(&rows, &program, &["nll"], b"{\"labels\": [0, 1], \"scores\": \"probabilities\"}");
    let (report, summary) = run(&hopeless);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    let nll = summary.metrics.iter().find(|metric| metric.name == "custom.nll").unwrap();
    assert_eq!(nll.value.reason(), Some("1 examples have a label of probability 0, so that it is infinite"));
}
