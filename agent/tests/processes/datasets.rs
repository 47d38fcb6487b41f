//! What the dataset of a job may cost it: no part of the model's peak, its time by the deadline, and classes of its own.

use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

use seatrial_core::dataset::{Task, npy};
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec};
use seatrial_core::measure::{self, Summary};
use seatrial_core::metric::Metric;
use seatrial_core::model::Signature;
use seatrial_core::outcome::Outcome;
use seatrial_core::reason::Code;
use seatrial_core::report::Report;
use seatrial_core::stage::Stage;
use seatrial_core::tensor::{DType, Tensor};

use crate::common;

const EXAMPLES: usize = 64;
const SCRIPT: &[u8] = b"well";

/// Examples of so many bytes each.
fn dataset(examples: usize, bytes: usize, classes: &[&str]) -> Vec<u8> {
    let manifest = format!(
        "name = \"bytes\"\ntask = \"classification\"\nexamples = {examples}\nclasses = {classes:?}\n\
         [[inputs]]\nname = \"input\"\nkind = \"npz\"\nmember = \"inputs.npz\"\narray = \"x\"\n\
         [labels]\nkind = \"lines\"\nmember = \"labels.txt\"\n"
    );
    // Whoever wants one array of such a file, and one example of that, reads all of it.
    let inputs = stored(&[("x.npy", &array(examples, bytes))]);
    let labels = "a\n".repeat(examples);
    stored(&[("dataset.toml", manifest.as_bytes()), ("inputs.npz", &inputs), ("labels.txt", labels.as_bytes())])
}

fn array(examples: usize, bytes: usize) -> Vec<u8> {
    npy::write(&Tensor::new(DType::U8, vec![examples, bytes], vec![7; examples * bytes]).unwrap())
}

fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A job of a model with two classes that takes any input.
fn job(script: &[u8], package: &[u8], examples: usize) -> JobSpec {
    let mut spec = common::job("fake", "script.onnx", script);
    spec.model.signature = Signature::default();
    spec.dataset = Some(DatasetRef {
        dataset: "bytes".into(),
        version: 1,
        digest: Digest::of(package),
        size: package.len() as u64,
        task: Task::Classification,
        examples: examples as u32,
        scorer: None,
    });
    spec
}

/// What a job on such a dataset comes to; `fault` is what happens to the mark.
fn measured(bytes: usize, fault: Option<&str>) -> Summary {
    let home = tempfile::tempdir().unwrap();
    let mut options = common::options(home.path());
    if let Some(fault) = fault {
        let words: [OsString; 2] = ["env".into(), format!("FAILPOINTS=memory-mark={fault}").into()];
        options.child_command = words.into_iter().chain(common::child_command()).collect();
    }
    let package = dataset(EXAMPLES, bytes, &["a", "b"]);
    let spec = job(SCRIPT, &package, EXAMPLES);
    let report = common::run(spec.clone(), &[SCRIPT, &package], &options);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let confinement = report.environment.facts["confinement"].as_str();
    assert!(confinement.starts_with("landlock") || confinement.starts_with("none: this kernel"), "{confinement}");
    measure::summarise(&spec, &report)
}

fn metric<'a>(summary: &'a Summary, name: &str) -> &'a Metric {
    summary.metrics.iter().find(|metric| metric.name == name).unwrap()
}

fn value(summary: &Summary, name: &str) -> f64 {
    metric(summary, name).value.present().unwrap_or_else(|| panic!("{:?}", metric(summary, name))).value
}

#[test]
fn the_peak_of_a_model_does_not_move_with_the_size_of_its_dataset() {
    const LARGE: usize = 2 << 20;
    let small = measured(4, None);
    let large = measured(LARGE, None);
    for name in ["mem_peak_rss_mb", "mem_model_mb"] {
        let (small, large) = (value(&small, name), value(&large, name));
        // The first example alone has 2 MiB.
        assert!((large - small).abs() < 8.0, "{name}: {small} and, with 128 MiB of inputs, {large} MiB");
    }
    // The control: where the mark stays where the inputs left it, it is theirs.
    let theirs = measured(LARGE, Some("return(forgotten)"));
    for name in ["mem_peak_rss_mb", "mem_model_mb"] {
        let (own, theirs) = (value(&small, name), value(&theirs, name));
        assert!(theirs > own + 100.0, "{name}: {own} and, with the mark of the inputs, {theirs} MiB");
    }
}

#[test]
fn what_was_read_for_the_inputs_is_no_part_of_what_a_process_has_before_it_loads() {
    // Small enough that an allocator keeps what is given back, and large enough to see.
    const BYTES: usize = 256 << 10;
    let (small, large) = (arrays(4), arrays(BYTES));
    for name in ["mem_base_mb", "mem_peak_rss_mb", "mem_model_mb"] {
        let (small, large) = (value(&small, name), value(&large, name));
        assert!((large - small).abs() < 8.0, "{name}: {small} and, with two arrays of 16 MiB, {large} MiB");
    }
}

/// What a job of two inputs comes to, each an array of examples of so many bytes.
fn arrays(bytes: usize) -> Summary {
    let array = array(EXAMPLES, bytes);
    let manifest = format!(
        "name = \"arrays\"\ntask = \"classification\"\nexamples = {EXAMPLES}\nclasses = [\"a\", \"b\"]\n\
         [[inputs]]\nname = \"a\"\nkind = \"npy\"\nmember = \"a.npy\"\n\
         [[inputs]]\nname = \"b\"\nkind = \"npy\"\nmember = \"b.npy\"\n\
         [labels]\nkind = \"lines\"\nmember = \"labels.txt\"\n"
    );
    let labels = "a\n".repeat(EXAMPLES);
    let members: [(&str, &[u8]); 4] = [
        ("dataset.toml", manifest.as_bytes()),
        ("a.npy", &array),
        ("b.npy", &array),
        ("labels.txt", labels.as_bytes()),
    ];
    let package = stored(&members);
    let home = tempfile::tempdir().unwrap();
    let spec = job(SCRIPT, &package, EXAMPLES);
    let report = common::run(spec.clone(), &[SCRIPT, &package], &common::options(home.path()));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    measure::summarise(&spec, &report)
}

#[test]
fn a_mark_that_may_not_be_started_anew_makes_no_peak_and_says_why() {
    let refused = measured(4, Some("return"));
    for name in ["mem_peak_rss_mb", "mem_model_mb"] {
        assert_eq!(metric(&refused, name).value.reason(), Some(Code::PeakUnmarked.template()), "{name}");
    }
    assert!(value(&refused, "mem_base_mb") > 1.0, "what the mark has no part in is there");
    let retained = metric(&refused, "mem_retained_mb").value.present();
    assert!(retained.is_some());
}

/// Inferences of 100 µs over as many examples, in so many seconds.
fn run_within(script: &[u8], examples: usize, seconds: u64) -> Report {
    let package = dataset(examples, 4, &["a", "b"]);
    let mut spec = job(script, &package, examples);
    spec.limits.deadlines.insert(Stage::Accuracy, Duration::from_secs(seconds));
    let home = tempfile::tempdir().unwrap();
    common::run(spec, &[script, &package], &common::options(home.path()))
}

#[test]
fn a_dataset_that_takes_longer_than_its_deadline_is_no_hang_and_says_how_far_it_came() {
    // Ten seconds of inferences.
    let report = run_within(b"well", 100_000, 3);
    let message = report.message.as_deref().unwrap_or_default();
    assert_eq!((report.outcome, report.failed_stage), (Outcome::SpecError, Some(Stage::Accuracy)), "{message}");
    let done: f64 = message.split("had done ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(done > 1_000.0 && done < 100_000.0, "{message}");
    assert!(message.contains(" of 100000 examples when the 3 s of stage accuracy were over"), "{message}");
    assert!(message.contains("fewer examples") && message.contains("limits.deadline_seconds"), "{message}");
    // The controls: one that comes no further hangs, and one that has the time passes.
    let hangs = run_within(b"hang in accuracy", 10, 3);
    assert_eq!((hangs.outcome, hangs.failed_stage), (Outcome::HangTimeout, Some(Stage::Accuracy)));
    assert_eq!(run_within(b"well", 10_000, 60).outcome, Outcome::Ok);
}

#[test]
fn a_model_of_other_classes_than_its_dataset_is_a_specification_error_unless_a_map_names_them() {
    let package = dataset(4, 4, &["a", "b", "c"]);
    let run = |label_map: Option<Vec<u32>>| {
        let mut spec = job(SCRIPT, &package, 4);
        spec.binding.label_map = label_map;
        let home = tempfile::tempdir().unwrap();
        common::run(spec, &[SCRIPT, &package], &common::options(home.path()))
    };
    let report = run(None);
    let message = report.message.as_deref().unwrap_or_default();
    assert_eq!((report.outcome, report.failed_stage), (Outcome::SpecError, Some(Stage::Accuracy)), "{message}");
    assert!(message.contains("has 2 scores, and the dataset has 3 classes"), "{message}");
    assert!(message.contains("`label_map`"), "{message}");
    let mapped = run(Some(vec![0, 2]));
    assert_eq!(mapped.outcome, Outcome::Ok, "{:?}", mapped.message);
}
