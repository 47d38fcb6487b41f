//! Every task with a labelled package and a real model: what is derived from the report is what the reference
//! implementations say of the same answers. `tests/tasks/make.py` makes the packages and writes down those figures.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use seatrial_agent::attempt::{REFERENCES_FILE, ReferenceFile};
use seatrial_agent::local::Options;
use seatrial_core::dataset::outputs::{BoxFormat, Boxes, Text};
use seatrial_core::dataset::{Binding, Task, npy};
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec};
use seatrial_core::measure::{self, Summary};
use seatrial_core::model::{Axis, Signature, TensorSpec};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::tensor::{DType, Tensor};

use crate::common;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tasks").join(name)
}

/// The files of a folder in one archive, some of them in another form and others beside them.
fn package(name: &str, changed: &[(&str, &[u8])]) -> Vec<u8> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.insert(name, std::fs::read(path).unwrap());
    }
    files.extend(changed.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn array(name: &str) -> Tensor {
    npy::parse(&std::fs::read(folder(name)).unwrap()).unwrap()
}

/// What the model answers to an array of inputs.
fn doubled(inputs: &Tensor) -> Vec<f64> {
    inputs.to_f64().iter().map(|value| 2.0 * value).collect()
}

fn examples(task: Task) -> u32 {
    match task {
        Task::Detection => 6,
        Task::Segmentation | Task::Text => 4,
        Task::Multilabel => 12,
        Task::Retrieval => 20,
        Task::Regression => 15,
        Task::Classification | Task::Golden | Task::Custom => 0,
    }
}

fn job(task: Task, binding: Binding, package: &[u8]) -> (JobSpec, Vec<u8>) {
    let axes: &[&str] = if task == Task::Segmentation { &["planes", "rows", "columns"] } else { &["rows", "columns"] };
    let file = format!("double{}.onnx", axes.len());
    let model = std::fs::read(common::model(&file)).unwrap();
    let mut spec = common::job("tract", &file, &model);
    let tensor = |name: &str| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: axes.iter().map(|axis| Axis::Named((*axis).to_owned())).collect(),
    };
    spec.model.signature =
        Signature { inputs: vec![tensor("input")], outputs: vec![tensor("output")], precision_from: None };
    spec.profile = MeasurementProfile::of(ProfileKind::AccuracyOnly);
    spec.binding = binding;
    spec.dataset = Some(DatasetRef {
        dataset: task.as_str().to_owned(),
        version: 1,
        digest: Digest::of(package),
        size: package.len() as u64,
        task,
        examples: examples(task),
        scorer: None,
    });
    (spec, model)
}

fn run(task: Task, binding: Binding, package: &[u8]) -> (JobSpec, Report, Summary) {
    let (spec, model) = job(task, binding, package);
    let home = tempfile::tempdir().unwrap();
    let report = common::run(spec.clone(), &[&model, package], &common::options(home.path()));
    let summary = measure::summarise(&spec, &report);
    (spec, report, summary)
}

/// Every figure of the task is there and equals that of the reference implementation.
fn agrees(task: Task, binding: Binding) {
    let (_, report, summary) = run(task, binding, &package(task.as_str(), &[]));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    assert_eq!((summary.outcome, summary.invalid.as_slice()), (Outcome::Ok, &[][..]));
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(folder("expected.json")).unwrap()).unwrap();
    let expected = expected[task.as_str()].as_object().unwrap();
    let names = measure::task::names(task);
    assert_eq!(expected.len(), names.len());
    for name in names {
        let metric = summary.metrics.iter().find(|metric| metric.name == *name).unwrap();
        match (metric.value.present(), expected[*name].as_f64()) {
            (Some(ours), Some(reference)) => {
                assert!((ours.value - reference).abs() < 1e-12, "{name} is {}, not {reference}", ours.value);
            }
            (None, None) => {}
            (ours, reference) => panic!("{name} is {ours:?}, not {reference:?}"),
        }
    }
}

fn rows() -> Binding {
    let boxes = Boxes {
        tensor: "output".into(),
        format: BoxFormat::Xyxy,
        normalized: false,
        classes: Some("output".into()),
        count: None,
        transposed: false,
        objectness: false,
        nms: None,
    };
    Binding { boxes: Some(boxes), ..Binding::default() }
}

fn letters() -> Binding {
    let text = Text { alphabet: "abcd 今天气".into(), blank: Some(0), end: None };
    Binding { text: Some(text), ..Binding::default() }
}

#[test]
fn boxes_are_judged_as_pycocotools_judges_them() {
    agrees(Task::Detection, rows());
}

#[test]
fn masks_are_judged_as_scikit_learn_judges_them() {
    agrees(Task::Segmentation, Binding::default());
}

#[test]
fn texts_are_judged_as_jiwer_judges_them() {
    agrees(Task::Text, letters());
}

#[test]
fn sound_events_are_judged_as_scikit_learn_judges_them() {
    agrees(Task::Multilabel, Binding { threshold: Some(0.75), ..Binding::default() });
}

#[test]
fn embeddings_are_ranked_by_the_cosine_that_scikit_learn_computes() {
    agrees(Task::Retrieval, Binding::default());
}

#[test]
fn numbers_are_judged_as_scikit_learn_judges_them() {
    agrees(Task::Regression, Binding { scores: Some("output".into()), ..Binding::default() });
}

#[test]
fn what_a_task_cannot_read_is_a_specification_error_that_says_what_to_do() {
    let short = b"a\nb\n";
    for (task, binding, changed, words) in [
        (Task::Detection, Binding::default(), None, "the binding has no [boxes]"),
        (Task::Text, Binding::default(), None, "the binding has no [text]"),
        (Task::Text, letters(), Some(("texts.txt", &short[..])), "there are 2 labels for 4 examples"),
        (
            Task::Detection,
            rows(),
            Some(("annotations.json", &b"{}"[..])),
            "the annotations cannot be read: missing field",
        ),
        (
            Task::Regression,
            Binding { scores: Some("age".into()), ..Binding::default() },
            None,
            "there is no output \"age\"",
        ),
    ] {
        let (spec, report, summary) = run(task, binding, &package(task.as_str(), changed.as_slice()));
        assert_eq!(report.outcome, Outcome::SpecError, "{task:?}: {:?}", report.message);
        assert!(report.message.as_ref().is_some_and(|message| message.contains(words)), "{:?}", report.message);
        let names = measure::task::names(spec.dataset.unwrap().task);
        let absent = |name: &&&str| summary.metrics.iter().any(|it| it.name == **name && it.value.present().is_none());
        assert_eq!(names.iter().filter(absent).count(), names.len(), "what failed has no figure, and is not zero");
    }
}

#[test]
fn evidence_that_a_report_has_lost_gives_no_figure_and_makes_the_job_invalid() {
    let package = package("regression", &[]);
    let (spec, report, summary) = run(Task::Regression, Binding::default(), &package);
    assert!(summary.invalid.is_empty());
    for kind in [BlockKind::Truth, BlockKind::Answers] {
        let mut lost = report.clone();
        lost.blocks.retain(|block| block.metric != kind);
        let summary = measure::summarise(&spec, &lost);
        let mae = summary.metrics.iter().find(|metric| metric.name == "mae").unwrap();
        assert_eq!(mae.value.reason(), Some("the report carries no predictions"));
        assert!(!summary.invalid.is_empty());
    }
}

#[test]
fn a_labelled_dataset_with_references_has_the_figures_of_both() {
    let inputs = array("regression/inputs.npy");
    let exact: Vec<f32> = doubled(&inputs).into_iter().map(|value| value as f32).collect();
    let reference = npy::write(&Tensor::from_f32(inputs.shape().to_vec(), &exact).unwrap());
    let manifest = std::fs::read_to_string(folder("regression/dataset.toml")).unwrap()
        + "\n[[goldens]]\nname = \"output\"\nkind = \"npy\"\nmember = \"reference.npy\"\n";
    let package = package("regression", &[("dataset.toml", manifest.as_bytes()), ("reference.npy", &reference)]);
    let (_, report, summary) = run(Task::Regression, Binding::default(), &package);
    assert_eq!((report.outcome, summary.outcome), (Outcome::Ok, Outcome::Ok), "{:?}", report.message);
    let value = |name: &str| {
        let metric = summary.metrics.iter().find(|metric| metric.name == name).unwrap();
        metric.value.present().map(|estimate| estimate.value)
    };
    assert_eq!((value("mae"), value("golden_max_abs")), (Some(2.5), Some(0.0)));
    for kind in [BlockKind::Truth, BlockKind::Answers, BlockKind::Outputs] {
        assert!(report.blocks.iter().any(|block| block.metric == kind), "{kind:?}");
    }
}

/// A binding without [boxes] is no hindrance: who wants references asks for no figures.
#[test]
fn outputs_of_a_labelled_dataset_are_kept_as_references_without_being_judged() {
    let package = package("detection", &[]);
    let (spec, model) = job(Task::Detection, Binding::default(), &package);
    let (home, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = Options { references: Some(kept.path().to_owned()), ..common::options(home.path()) };
    let report = common::run(spec, &[&model, &package], &options);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    let list = std::fs::read(kept.path().join(REFERENCES_FILE)).unwrap();
    let list: Vec<ReferenceFile> = serde_json::from_slice(&list).unwrap();
    assert_eq!(list.iter().map(|file| file.output.as_str()).collect::<Vec<_>>(), ["output"]);
    let outputs = npy::parse(&std::fs::read(kept.path().join(&list[0].file_name)).unwrap()).unwrap();
    assert_eq!(outputs.shape(), [6, 9, 6]);
    assert_eq!(outputs.to_f64(), doubled(&array("detection/inputs.npy")));
    assert!(report.blocks.iter().all(|block| !matches!(block.metric, BlockKind::Truth | BlockKind::Answers)));
}
