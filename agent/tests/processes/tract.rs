//! Real models through the real engine, in real processes.

use std::io::Write as _;

use seatrial_agent::signature::{self, LocalFile};
use seatrial_core::backend::Affinity;
use seatrial_core::dataset::Task;
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec};
use seatrial_core::measure;
use seatrial_core::model::{Axis, Format, ManifestEntry, Precision, Signature, TensorSpec};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::ProfileKind;
use seatrial_core::reading::Reading;
use seatrial_core::report::{BlockKind, ProcessRole, Report};
use seatrial_core::stage::Stage;

use crate::{common, skipped};

fn read(name: &str) -> Vec<u8> {
    std::fs::read(common::model(name)).unwrap()
}

fn attempt(name: &str, change: impl FnOnce(&mut seatrial_core::job::JobSpec)) -> Report {
    attempt_on(std::path::Path::new("/"), name, change)
}

/// On a device as its file system describes it.
fn attempt_on(root: &std::path::Path, name: &str, change: impl FnOnce(&mut seatrial_core::job::JobSpec)) -> Report {
    let home = tempfile::tempdir().unwrap();
    let bytes = read(name);
    let mut spec = common::job("tract", name, &bytes);
    change(&mut spec);
    let options = seatrial_agent::local::Options { root: root.to_owned(), ..common::options(home.path()) };
    common::run(spec, &[&bytes], &options)
}

fn file(name: &str, role: &str) -> LocalFile {
    LocalFile { role: role.into(), file_name: name.into(), path: common::model(name) }
}

#[test]
fn a_model_is_loaded_measured_and_repeated() {
    let mut spec = None;
    let report = attempt("linear.onnx", |job| {
        // Of one process, and with one more that tells of the operators.
        job.profile.kind = ProfileKind::Full;
        spec = Some(job.clone());
    });
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    assert_eq!(report.determinism, Reading::Present(true));
    let operators = report.operators.present().unwrap();
    assert!(operators.runs > 0 && operators.total_us > 0.0 && operators.count > 0, "{operators:?}");
    assert!(operators.operators.iter().all(|operator| operator.place == "cpu"), "{operators:?}");
    assert_eq!(report.bounds_hit, Vec::<String>::new());
    let summary = measure::summarise(&spec.unwrap(), &report);
    for name in ["compile_ms", "load_warm_ms"] {
        let metric = summary.metrics.iter().find(|metric| metric.name == name).unwrap();
        assert!(metric.value.present().is_some_and(|estimate| estimate.value > 0.0), "{metric:?}");
    }
    assert!(report.processes[0].load_reads.is_some(), "the kernel tells what a process had the disk read");
    assert_eq!(report.actual.accelerator, Reading::Present("cpu".into()));
    assert_eq!(report.environment.runtime_version, "tract 0.23.9");
}

#[test]
fn as_many_threads_as_were_asked_for_are_counted_again_and_again() {
    let network = common::network();
    common::counts_as_many_as_asked(|threads| {
        let home = tempfile::tempdir().unwrap();
        let spec = common::counted(common::job("tract", "digits-cnn.onnx", &network), threads);
        common::run(spec, &[&network], &common::options(home.path()))
    });
}

#[test]
fn an_affinity_is_applied_and_read_back_and_one_that_the_kernel_refuses_or_narrows_is_no_result() {
    let report = attempt("linear.onnx", |spec| spec.backend.affinity = Affinity::Cpus(vec![0]));
    assert_eq!(report.actual.affinity, Reading::Present(vec![0]));
    // The device has it, and the kernel does not let the child run there.
    let device = tempfile::tempdir().unwrap();
    let online = device.path().join("sys/devices/system/cpu");
    std::fs::create_dir_all(&online).unwrap();
    std::fs::write(online.join("online"), "0-999").unwrap();
    let report = attempt_on(device.path(), "linear.onnx", |spec| spec.backend.affinity = Affinity::Cpus(vec![999]));
    assert_eq!((report.outcome, report.failed_stage), (Outcome::UnsupportedBackend, Some(Stage::Prepare)));
    assert!(report.message.unwrap().contains("CPUs [999] are asked for, and the kernel refuses them"));
    let report = attempt_on(device.path(), "linear.onnx", |spec| spec.backend.affinity = Affinity::Cpus(vec![0, 999]));
    assert_eq!(report.outcome, Outcome::UnsupportedBackend, "a set that the kernel narrows is another set");
}

#[test]
fn an_affinity_that_means_nothing_on_the_device_is_an_unsupported_backend_and_not_a_guess() {
    let alike = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/vm");
    let report = attempt_on(&alike, "linear.onnx", |spec| spec.backend.affinity = Affinity::Big);
    assert_eq!((report.outcome, report.failed_stage), (Outcome::UnsupportedBackend, Some(Stage::Prepare)));
    let said = report.message.unwrap();
    assert_eq!(said, "the device's CPUs are all alike, so it has no big cores");
    let report = attempt_on(&alike, "linear.onnx", |_| {});
    assert_eq!(report.outcome, Outcome::Ok, "the control: any CPU; {:?}", report.message);
}

#[test]
fn an_unknown_operator_is_told_from_a_broken_file() {
    let report = attempt("unknown_operator.onnx", |_| {});
    assert_eq!((report.outcome, report.failed_stage), (Outcome::UnsupportedOp, Some(Stage::Load)));
    assert!(report.message.as_deref().unwrap().contains("Fancy"), "{:?}", report.message);

    let home = tempfile::tempdir().unwrap();
    let whole = read("linear.onnx");
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        let bytes = &whole[..cut];
        let report = common::run(common::job("tract", "cut.onnx", bytes), &[bytes], &common::options(home.path()));
        assert_eq!(report.outcome, Outcome::LoadFail, "cut at {cut}: {:?}", report.message);
    }
}

#[test]
fn a_model_of_a_format_version_or_operator_set_of_the_future_fails_to_load_by_its_number() {
    for (name, said) in [("newer_format.onnx", "version of the format 99"), ("newer_operators.onnx", "operator set 99")]
    {
        let report = attempt(name, |_| {});
        assert_eq!((report.outcome, report.failed_stage), (Outcome::LoadFail, Some(Stage::Load)), "{name}");
        assert!(report.message.as_deref().unwrap().contains(said), "{:?}", report.message);
    }
    assert_eq!(attempt("linear.onnx", |_| {}).outcome, Outcome::Ok, "the control: the same graph of today");
}

#[test]
fn not_a_number_is_a_numeric_failure() {
    assert_eq!(attempt("logarithm.onnx", |_| {}).outcome, Outcome::NumericsFail);
}

#[test]
fn a_gpu_is_refused_and_never_silently_a_cpu() {
    let report = attempt("linear.onnx", |spec| spec.backend.accelerator = seatrial_core::backend::Accelerator::Gpu);
    assert_eq!(report.outcome, Outcome::UnsupportedBackend);
}

#[test]
fn external_data_is_found_by_its_flat_name() {
    let home = tempfile::tempdir().unwrap();
    let (model, data) = (read("external.onnx"), read("external.data"));
    let mut spec = common::job("tract", "external.onnx", &model);
    spec.model.manifest.entries.push(ManifestEntry {
        role: "external_data".into(),
        digest: Digest::of(&data),
        size: data.len() as u64,
        file_name: "external.data".into(),
    });
    let report = common::run(spec.clone(), &[&model, &data], &common::options(home.path()));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    // The control: without the file the model cannot be loaded.
    spec.model.manifest.entries.pop();
    let report = common::run(spec, &[&model], &common::options(home.path()));
    assert_eq!(report.outcome, Outcome::LoadFail, "{:?}", report.message);
}

/// A graph without weights, as NNEF files are: an archive that holds `graph.nnef`.
fn nnef(name: &str) -> Vec<u8> {
    const GRAPH: &str = "version 1.0;\n\ngraph main(input) -> (output)\n{\n  \
        input = external<scalar>(shape = [1, 4]);\n  scaled = mul(input, 10.0);\n  output = add(scaled, 5.0);\n}\n";
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("graph.nnef"), GRAPH).unwrap();
    let kind = if std::path::Path::new(name).extension().is_some_and(|end| end == "tgz") { "-czf" } else { "-cf" };
    let made =
        std::process::Command::new("tar").args([kind, name, "graph.nnef"]).current_dir(home.path()).status().unwrap();
    assert!(made.success());
    std::fs::read(home.path().join(name)).unwrap()
}

#[test]
fn an_nnef_model_is_loaded_measured_and_right() {
    let home = tempfile::tempdir().unwrap();
    for name in ["affine.nnef.tar", "affine.nnef.tgz"] {
        let bytes = nnef(name);
        let run = |golden_last: f32, bytes: &[u8]| {
            let manifest = b"name = \"one\"\ntask = \"golden\"\nexamples = 1\n\
                [[inputs]]\nname = \"input\"\nkind = \"npy\"\nmember = \"inputs.npy\"\n\
                [[goldens]]\nname = \"output\"\nkind = \"npy\"\nmember = \"outputs.npy\"\n";
            let inputs = npy("<f4", "(1, 4)", &floats(&[1.0, -2.0, 0.0, 0.5]));
            let outputs = npy("<f4", "(1, 4)", &floats(&[15.0, -15.0, 5.0, golden_last]));
            let dataset = package(&[("dataset.toml", manifest), ("inputs.npy", &inputs), ("outputs.npy", &outputs)]);
            let mut spec = common::job("tract", name, bytes);
            spec.model.format = Format::Nnef;
            spec.dataset = Some(DatasetRef {
                dataset: "one".into(),
                version: 1,
                digest: Digest::of(&dataset),
                size: dataset.len() as u64,
                task: Task::Golden,
                examples: 1,
                scorer: None,
            });
            common::run(spec, &[bytes, &dataset], &common::options(home.path()))
        };
        let report = run(10.0, &bytes);
        assert_eq!(report.outcome, Outcome::Ok, "{name}: {:?}\n{}", report.message, report.log);
        assert!(report.blocks.iter().any(|block| block.metric == BlockKind::LatencyNs));
        assert_eq!(report.golden[0].comparison.max_abs, 0.0, "{name}");
        let signature = report.actual.signature.unwrap();
        assert_eq!(signature.inputs[0].shape, [Axis::Fixed(1), Axis::Fixed(4)]);
        // The controls: another reference, and half a file.
        assert_eq!(run(10.5, &bytes).golden[0].comparison.max_abs, 0.5);
        // The archive is mostly padding, and the graph begins at byte 512.
        let cut = run(10.0, &bytes[..bytes.len().min(1600) / 3]);
        assert_eq!(cut.outcome, Outcome::LoadFail, "{name}: {:?}", cut.message);
    }
}

#[test]
fn a_type_that_is_not_read_is_said_and_never_taken_for_numbers() {
    let read = read_in_a_child("text.onnx");
    assert!(read.unread.unwrap().contains("\"input\" holds String, which is not read"));
    assert_eq!(read.signature, Signature::default());
}

fn read_in_a_child(name: &str) -> signature::Read {
    signature::read(&common::child_command(), &std::env::temp_dir(), Format::Onnx, &[file(name, "model")]).unwrap()
}

#[test]
fn a_model_that_only_a_newer_engine_knows_has_no_signature_yet_and_is_no_error() {
    for (name, said) in [
        ("newer_format.onnx", "version of the format 99"),
        ("newer_operators.onnx", "operator set 99"),
        ("four_bits.onnx", "loading failed"),
    ] {
        let read = read_in_a_child(name);
        assert_eq!(read.signature, Signature::default(), "{name}");
        let unread = read.unread.unwrap();
        assert!(unread.contains(said) || name == "four_bits.onnx", "{name}: {unread}");
        assert!(read.weights.is_some(), "{name}: its weights are counted all the same");
    }
    let known = read_in_a_child("linear.onnx");
    assert_eq!((known.unread, known.signature.inputs.len()), (None, 1), "the control");
}

#[test]
fn the_precision_of_a_model_is_read_from_its_weights_whatever_its_name() {
    let home = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let path = home.path().join("model.onnx");
        std::fs::copy(demo(name), &path).unwrap();
        let file = LocalFile { role: "model".into(), file_name: "model.onnx".into(), path };
        signature::read(&common::child_command(), &std::env::temp_dir(), Format::Onnx, &[file]).unwrap()
    };
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
        let read = read(&format!("digits-cnn.{}.onnx", precision.as_str()));
        assert_eq!(read.weights.unwrap().precision(), Some(precision));
        assert_eq!(read.signature.inputs[0].name, "image");
    }
    assert_eq!(read_in_a_child("four_bits.onnx").weights.unwrap().precision(), Some(Precision::Int4));
}

/// A model of the demo.
fn demo(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo/models").join(name)
}

#[test]
fn a_model_of_another_precision_than_was_claimed_measures_nothing() {
    let run = |name: &str, claimed| {
        let (home, bytes) = (tempfile::tempdir().unwrap(), std::fs::read(demo(name)).unwrap());
        let mut spec = common::job("tract", "model.onnx", &bytes);
        spec.model.signature = Signature::default();
        spec.model.precision = claimed;
        common::run(spec, &[&bytes], &common::options(home.path()))
    };
    for name in ["digits-cnn.int8.onnx", "digits-cnn.fp16.onnx"] {
        let lied = run(name, Precision::Fp32);
        assert_eq!((lied.outcome, lied.failed_stage), (Outcome::SpecError, Some(Stage::Prepare)), "{name}");
        let message = lied.message.unwrap();
        assert!(message.contains("fp32 is said") && message.contains("add it again"), "{message}");
        assert!(lied.blocks.is_empty(), "{name}: no number of it stands in the row of fp32");
    }
    let honest = run("digits-cnn.int8.onnx", Precision::Int8);
    assert_eq!(honest.outcome, Outcome::Ok, "the control: {:?}", honest.message);
}

#[test]
fn half_precision_that_tract_cannot_compute_is_a_failure_to_load_and_never_a_silent_fp32() {
    let run = |precision: Precision| {
        let bytes = std::fs::read(demo(&format!("digits-cnn.{}.onnx", precision.as_str()))).unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut spec = common::job("tract", "digits.onnx", &bytes);
        spec.model.signature = Signature::default();
        spec.model.precision = precision;
        common::run(spec, &[&bytes], &common::options(home.path()))
    };
    let half = run(Precision::Fp16);
    assert_eq!((half.outcome, half.failed_stage), (Outcome::LoadFail, Some(Stage::Load)), "{:?}", half.message);
    assert!(half.message.unwrap().contains("F16"));
    assert_eq!(run(Precision::Fp32).outcome, Outcome::Ok, "the control");
}

/// A model with so many bytes more of weights that nothing takes: a graph that is written twice is one with all of both.
fn with_ballast(model: &[u8], bytes: usize) -> Vec<u8> {
    let field = |key: u8, content: &[u8]| {
        let mut length = content.len();
        let mut out = vec![key << 3 | 2];
        while length > 0x7f {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(content);
        out
    };
    assert_eq!(bytes, 4 * 2048 * 2048, "as its two sizes say");
    // `dims`, `data_type` FLOAT, `name`, `raw_data` of `TensorProto`.
    let tensor =
        [vec![0x08, 0x80, 0x10, 0x08, 0x80, 0x10, 0x10, 1], field(8, b"ballast"), field(9, &vec![0; bytes])].concat();
    [model.to_vec(), field(7, &field(5, &tensor))].concat()
}

/// Two processes that load a model from a folder on this file system, without anybody having claimed what it takes.
fn loaded_twice(place: &std::path::Path) -> (JobSpec, Report) {
    let home = tempfile::tempdir_in(place).unwrap();
    // What else a process reads from the disk on a busy machine is small beside it.
    let network = with_ballast(&read("linear.onnx"), 16 << 20);
    let mut spec = common::job("tract", "heavy.onnx", &network);
    spec.binding.axes.insert("batch".to_owned(), 1);
    spec.model.signature = Signature::default();
    spec.profile.processes = 2;
    let options = seatrial_agent::local::Options { scratch: home.path().to_owned(), ..common::options(home.path()) };
    let report = common::run(spec.clone(), &[&network], &options);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    (spec, report)
}

#[test]
fn the_first_load_reads_the_disk_and_no_later_one_does_and_what_has_no_disk_is_never_cold() {
    let cold = |spec: &JobSpec, report: &Report| {
        let metrics = measure::summarise(spec, report).metrics;
        metrics.into_iter().find(|metric| metric.name == "load_cold_ms").unwrap().value
    };
    // In memory nothing can be dropped and nothing is read.
    let (spec, report) = loaded_twice(std::path::Path::new("/dev/shm"));
    let why = cold(&spec, &report).reason().unwrap().to_owned();
    assert!(why.contains("the load was not cold: the disk read 0 of the model's"), "{why}");

    let disk = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let needed = if common::in_memory(disk) { Err(format!("{} is in memory", disk.display())) } else { Ok(disk) };
    let name = "the_first_load_reads_the_disk_and_no_later_one_does_and_what_has_no_disk_is_never_cold";
    let Some(disk) = skipped::unless_missing(name, needed) else { return };
    let (spec, report) = loaded_twice(disk);
    let size = spec.model.manifest.size();
    let reads: Vec<u64> = report.processes.iter().map(|process| process.load_reads.unwrap()).collect();
    assert!(reads[0] >= size / 2, "{reads:?} of {size}");
    assert!(reads.len() > 2 && reads[1..].iter().all(|&later| later < size / 8), "{reads:?} of {size}");
    assert!(cold(&spec, &report).present().is_some(), "{:?}", cold(&spec, &report));
}

#[test]
fn a_signature_is_read_in_a_child() {
    let signature = read_in_a_child("linear.onnx").signature;
    let input = &signature.inputs[0];
    assert_eq!((input.name.as_str(), &input.shape), ("input", &vec![Axis::Named("batch".into()), Axis::Fixed(4)]));
    assert_eq!(signature.outputs[0].name, "output");
    assert_eq!(signature.outputs[0].shape.len(), 2);
}

#[test]
fn a_model_that_is_not_what_was_claimed_is_a_specification_error_that_says_how() {
    let report = attempt("linear.onnx", |_| {});
    assert_eq!(report.outcome, Outcome::Ok, "the control: {:?}", report.message);
    let found = report.actual.signature.unwrap();
    assert_eq!((found.inputs[0].name.as_str(), found.outputs[0].name.as_str()), ("input", "output"));

    // Loading fails for the first, and nothing does for the second: both are the claim's fault.
    let wrong_input = attempt("linear.onnx", |spec| spec.model.signature.inputs = vec![common::spec_of(&[1, 5])]);
    let wrong_output = attempt("linear.onnx", |spec| {
        let output = TensorSpec { name: "probabilities".into(), ..common::spec_of(&[1, 3]) };
        spec.model.signature.outputs = vec![output];
    });
    for (report, said) in [
        (wrong_input, "is claimed as f32 [1, 5] and is f32 [batch, 4] in the file"),
        (wrong_output, r#"outputs ["probabilities"] are claimed and the file has ["output"]"#),
    ] {
        assert_eq!(report.outcome, Outcome::SpecError, "{:?}", report.message);
        let message = report.message.unwrap();
        assert!(message.contains(said) && message.contains("add it again"), "{message}");
    }
}

#[test]
fn a_file_that_is_no_model_has_no_signature_and_an_explanation() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("noise.onnx");
    std::fs::write(&path, [0xff; 100]).unwrap();
    let file = LocalFile { role: "model".into(), file_name: "noise.onnx".into(), path };
    let error = signature::read(&common::child_command(), &std::env::temp_dir(), Format::Onnx, &[file]).unwrap_err();
    assert!(error.to_string().contains("loading failed"), "{error}");
}

/// A `.npy` file of format 1.0.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn package(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Three examples; the model's outputs for them are exact.
fn dataset(labels: &[i64], golden_last: f32) -> Vec<u8> {
    let manifest = br#"
name = "three"
task = "classification"
examples = 3
classes = ["a", "b", "c"]
[[inputs]]
name = "input"
kind = "npy"
member = "inputs.npy"
[labels]
kind = "npy"
member = "labels.npy"
[[goldens]]
name = "output"
kind = "npy"
member = "outputs.npy"
"#;
    let inputs = npy("<f4", "(3, 4)", &floats(&[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 100.0, 0.0, 0.0, 0.0]));
    let labels: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let labels = npy("<i8", "(3,)", &labels);
    let outputs = floats(&[35.0, 35.0, 45.0, 0.0, 10.0, 20.0, 100.0, 210.0, golden_last]);
    let outputs = npy("<f4", "(3, 3)", &outputs);
    package(&[("dataset.toml", manifest), ("inputs.npy", &inputs), ("labels.npy", &labels), ("outputs.npy", &outputs)])
}

fn with_dataset(package: &[u8]) -> Report {
    let home = tempfile::tempdir().unwrap();
    let model = read("linear.onnx");
    let mut spec = common::job("tract", "linear.onnx", &model);
    spec.dataset = Some(DatasetRef {
        dataset: "three".into(),
        version: 1,
        digest: Digest::of(package),
        size: package.len() as u64,
        task: Task::Classification,
        examples: 3,
        scorer: None,
    });
    common::run(spec, &[&model, package], &common::options(home.path()))
}

#[test]
fn a_dataset_gives_classes_labels_and_a_comparison() {
    let report = with_dataset(&dataset(&[2, 2, 0], 320.0));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    assert_eq!(report.processes.last().unwrap().role, ProcessRole::Accuracy);
    let values = |kind| {
        let block = report.blocks.iter().find(|block| block.metric == kind).unwrap();
        seatrial_core::block::unpack(&block.bytes, block.count).unwrap()
    };
    assert_eq!(values(BlockKind::Labels), [2, 2, 0]);
    assert_eq!(values(BlockKind::TopClasses), [2, 0, 1, -1, -1, 2, 1, 0, -1, -1, 2, 1, 0, -1, -1]);
    let comparison = &report.golden[0].comparison;
    assert_eq!((report.golden[0].output.as_str(), comparison.examples), ("output", 3));
    assert_eq!(comparison.max_abs, 0.0, "whole numbers are exact");
}

#[test]
fn a_reference_that_differs_is_seen() {
    let report = with_dataset(&dataset(&[2, 2, 0], 319.5));
    assert_eq!(report.golden[0].comparison.max_abs, 0.5);
}

#[test]
fn a_dataset_with_missing_labels_is_a_specification_error_that_names_the_member() {
    let manifest = b"name = \"x\"\ntask = \"classification\"\nexamples = 3\nclasses = [\"a\", \"b\"]\n\
        [[inputs]]\nname = \"input\"\nkind = \"npy\"\nmember = \"inputs.npy\"\n\
        [labels]\nkind = \"npy\"\nmember = \"labels.npy\"\n";
    let inputs = npy("<f4", "(3, 4)", &floats(&[0.0; 12]));
    let labels = npy("<i8", "(2,)", &[0; 16]);
    for (members, word) in [
        (vec![("dataset.toml", &manifest[..]), ("inputs.npy", &inputs)], "labels.npy"),
        (vec![("dataset.toml", &manifest[..]), ("inputs.npy", &inputs), ("labels.npy", &labels)], "labels.npy"),
        (vec![("inputs.npy", &inputs[..])], "dataset.toml"),
    ] {
        let report = with_dataset(&package(&members));
        assert_eq!(report.outcome, Outcome::SpecError, "{:?}", report.message);
        assert!(report.message.as_deref().unwrap().contains(word), "{:?}", report.message);
    }
}

#[test]
fn a_package_that_is_no_archive_is_a_specification_error() {
    assert_eq!(with_dataset(b"not a zip").outcome, Outcome::SpecError);
}
