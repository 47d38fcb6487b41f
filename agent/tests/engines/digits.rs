//! The demo's network in the formats of each framework, against ONNX Runtime's logits and the labels.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use seatrial_agent::interpreters::{Interpreter, Interpreters};
use seatrial_agent::local::Options;
use seatrial_core::backend::Accelerator;
use seatrial_core::dataset::{Binding, Task};
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec};
use seatrial_core::model::{Format, Manifest, ManifestEntry, Signature};
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::runtimes::{PROGRAM_ROLE, PackageKind, RuntimePackage};

use crate::common;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Environments and models of the engines.
pub(crate) fn engines() -> PathBuf {
    std::env::var_os("SEATRIAL_TEST_ENGINES").expect("cargo xtask test --engines sets SEATRIAL_TEST_ENGINES").into()
}

/// The environments' interpreters, by the names that the runners' descriptions give them.
pub(crate) fn interpreters() -> Interpreters {
    let configured = ["opencv", "tensorflow"].map(|engine| Interpreter {
        name: format!("python-{engine}"),
        path: engines().join(engine).join("bin/python"),
    });
    Interpreters::look(configured.into()).unwrap()
}

/// A runner of this repository as its description has it, and its files.
pub(crate) fn package(engine: &str, program: &str, format: Format) -> (RuntimePackage, Vec<Vec<u8>>) {
    let names = [(PROGRAM_ROLE, program), ("module", "seatrial_runner.py")];
    let files = names.map(|(_, name)| std::fs::read(repository().join("runners").join(name)).unwrap());
    let entries = names.iter().zip(&files).map(|((role, name), bytes)| entry(role, name, bytes));
    let package = RuntimePackage {
        runtime: engine.into(),
        kind: PackageKind::Runner { interpreter: Some(format!("python-{engine}")) },
        version: "claimed".into(),
        abi: None,
        accelerators: vec![Accelerator::Cpu],
        formats: vec![format],
        manifest: Manifest { entries: entries.collect() },
    };
    (package, files.to_vec())
}

fn entry(role: &str, name: &str, bytes: &[u8]) -> ManifestEntry {
    ManifestEntry { role: role.into(), digest: Digest::of(bytes), size: bytes.len() as u64, file_name: name.into() }
}

/// A job on files of the engines' models, by role.
pub(crate) fn job(runtime: &str, format: Format, files: &[(&str, PathBuf)]) -> (JobSpec, Vec<Vec<u8>>) {
    let contents: Vec<Vec<u8>> = files.iter().map(|(_, path)| std::fs::read(path).unwrap()).collect();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let entries = files.iter().zip(&contents).map(|((role, path), bytes)| entry(role, &name(path), bytes));
    let mut spec = common::job(runtime, "-", b"-");
    spec.model.manifest = Manifest { entries: entries.collect() };
    spec.model.format = format;
    spec.model.signature = Signature::default();
    spec.limits.deadlines.values_mut().for_each(|deadline| *deadline = std::time::Duration::from_mins(2));
    spec.limits.memory_bytes = 8 << 30;
    (spec, contents)
}

/// A dataset of the demo as the one zip that a device gets.
fn dataset(name: &str, task: Task, examples: u32) -> (DatasetRef, Vec<u8>) {
    let folder = repository().join("fixtures/demo").join(name);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        archive
            .start_file(path.file_name().unwrap().to_str().unwrap(), zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(&std::fs::read(path).unwrap()).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    let digest = Digest::of(&bytes);
    (
        DatasetRef { dataset: name.into(), version: 1, digest, size: bytes.len() as u64, task, examples, scorer: None },
        bytes,
    )
}

fn binding() -> Binding {
    let text = std::fs::read_to_string(repository().join("fixtures/demo/binding.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

struct Engine {
    name: &'static str,
    program: &'static str,
    format: Format,
    files: Vec<(&'static str, PathBuf)>,
}

impl Engine {
    fn run(&self, data: (DatasetRef, Vec<u8>), change: impl FnOnce(&mut JobSpec)) -> Report {
        let (mut spec, mut files) = job(self.name, self.format, &self.files);
        spec.binding = binding();
        spec.dataset = Some(data.0);
        files.push(data.1);
        change(&mut spec);
        let home = tempfile::tempdir().unwrap();
        if self.name != "tract" {
            let (package, own) = package(self.name, self.program, self.format);
            spec.package = Some(package);
            files.extend(own);
        }
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        common::run(spec, &files, &Options { interpreters: interpreters(), ..common::options(home.path()) })
    }

    fn golden(&self) -> Report {
        self.run(dataset("digits-cnn-golden", Task::Golden, 64), |_| {})
    }

    /// Five classes a digit.
    fn classes(&self) -> Vec<i64> {
        let report = self.run(dataset("digits", Task::Classification, 2_000), |spec| spec.profile.processes = 0);
        assert_eq!(report.outcome, Outcome::Ok, "{}: {:?}\n{}", self.name, report.message, report.log);
        let top = report.blocks.iter().find(|block| block.metric == BlockKind::TopClasses).unwrap();
        seatrial_core::block::unpack(&top.bytes, top.count).unwrap()
    }

    /// The network in this engine's format is the network.
    fn agrees(&self) {
        let report = self.golden();
        assert_eq!(report.outcome, Outcome::Ok, "{}: {:?}\n{}", self.name, report.message, report.log);
        let comparison = &report.golden[0].comparison;
        assert!(comparison.max_abs < 2e-4, "{}: {comparison:?}", self.name);
        assert_eq!(report.actual.accelerator, Reading::Present("cpu".into()));
        assert!(report.environment.runtime_version.starts_with(self.name), "{}", report.environment.runtime_version);
        assert_eq!(report.determinism, Reading::Present(true));
        let landlock = report.environment.facts.get("confinement").is_some_and(|fact| fact.starts_with("landlock"));
        println!("{}: {}, {comparison:?}, confined: {landlock}", self.name, report.environment.runtime_version);

        let first = |classes: Vec<i64>| classes.chunks(5).map(|five| five[0]).collect::<Vec<_>>();
        let (own, reference) = (first(self.classes()), first(tract().classes()));
        assert_eq!((own.len(), &own), (2_000, &reference), "{}: every labelled digit has the same class", self.name);
    }

    /// Half of each file that is one of numbers is no model, and says so.
    fn refuses_half(&self, role: &str) {
        let folder = tempfile::tempdir().unwrap();
        let halved = self.files.iter().map(|(of, path)| {
            let bytes = std::fs::read(path).unwrap();
            let half = folder.path().join(path.file_name().unwrap());
            std::fs::write(&half, if *of == role { &bytes[..bytes.len() / 2] } else { &bytes }).unwrap();
            (*of, half)
        });
        let half = Engine { files: halved.collect(), ..*self };
        let report = half.golden();
        assert_eq!(report.outcome, Outcome::LoadFail, "{}: {:?}\n{}", self.name, report.message, report.log);
    }
}

pub(crate) fn model(name: &str) -> PathBuf {
    engines().join("models").join(name)
}

fn tract() -> Engine {
    let path = repository().join("fixtures/demo/models/digits-cnn.fp32.onnx");
    Engine { name: "tract", program: "", format: Format::Onnx, files: vec![("model", path)] }
}

fn caffe() -> Engine {
    Engine {
        name: "opencv",
        program: "caffe_opencv.py",
        format: Format::Caffe,
        files: vec![("prototxt", model("digits-cnn.prototxt")), ("caffemodel", model("digits-cnn.caffemodel"))],
    }
}

fn tensorflow(format: Format, files: Vec<(&'static str, PathBuf)>) -> Engine {
    Engine { name: "tensorflow", program: "tensorflow_graphs.py", format, files }
}

fn frozen_graph() -> Engine {
    tensorflow(Format::FrozenGraph, vec![("model", model("digits-cnn.pb"))])
}

fn saved_model() -> Engine {
    let file = |name: &str| model("digits-cnn.saved_model").join(name);
    let variables = ["variables.index", "variables.data-00000-of-00001"].map(|name| ("external_data", file(name)));
    tensorflow(Format::SavedModel, [vec![("model", file("saved_model.pb"))], variables.to_vec()].concat())
}

#[test]
fn a_caffe_net_is_evaluated_through_a_runner_and_agrees_with_onnx() {
    caffe().agrees();
}

#[test]
fn half_a_caffe_net_is_a_failure_to_load() {
    caffe().refuses_half("caffemodel");
    caffe().refuses_half("prototxt");
}

#[test]
fn a_frozen_graph_is_evaluated_through_a_runner_and_agrees_with_onnx() {
    frozen_graph().agrees();
}

#[test]
fn a_saved_model_is_evaluated_through_a_runner_and_agrees_with_onnx() {
    saved_model().agrees();
}

#[test]
fn half_a_tensorflow_graph_is_a_failure_to_load() {
    frozen_graph().refuses_half("model");
    saved_model().refuses_half("model");
}
