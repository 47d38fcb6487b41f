//! ONNX models that keep their weights in files of their own, and name files that are none of theirs.

use std::path::{Path, PathBuf};

use seatrial_agent::signature::{self, LocalFile};
use seatrial_core::digest::Digest;
use seatrial_core::model::{Format, ManifestEntry};
use seatrial_core::outcome::Outcome;
use seatrial_core::report::Report;
use seatrial_core::runtimes::RuntimePackage;
use seatrial_core::stage::Stage;

use crate::common;
use crate::onnxruntime;

/// As long as the place in the model of the tests, which can then be written over it.
const PLACE: &str = "external.data";

/// The model, with its weights at another place.
fn model(place: &str) -> Vec<u8> {
    assert_eq!(place.len(), PLACE.len(), "{place}");
    let mut bytes = std::fs::read(common::model("external.onnx")).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(PLACE.as_bytes())).collect();
    assert_eq!(places.len(), 2, "of weights and bias");
    for at in places {
        bytes[at..at + place.len()].copy_from_slice(place.as_bytes());
    }
    bytes
}

fn weights() -> Vec<u8> {
    std::fs::read(common::model(PLACE)).unwrap()
}

/// A file that is none of the model's and would do as its weights.
struct Secret(PathBuf);

impl Secret {
    fn at(path: PathBuf) -> Self {
        std::fs::write(&path, weights()).unwrap();
        Self(path)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A job of the model under `home`, with the weights beside it under a name.
fn run(home: &Path, bytes: &[u8], beside: Option<&str>, engine: Option<(&RuntimePackage, &[u8])>) -> Report {
    let runtime = if engine.is_some() { "onnxruntime" } else { "tract" };
    let mut spec = common::job(runtime, "external.onnx", bytes);
    let data = weights();
    let mut files = vec![bytes, &data];
    spec.model.manifest.entries.extend(beside.map(|name| ManifestEntry {
        role: "external_data".into(),
        digest: Digest::of(&data),
        size: data.len() as u64,
        file_name: name.into(),
    }));
    if let Some((package, library)) = engine {
        spec.package = Some(package.clone());
        files.push(library);
    }
    common::run(spec, &files, &common::options(home))
}

/// Places outside of the model's folder where there is a file, for a home in which attempts have their folders.
fn outside(home: &Path) -> Vec<(String, Secret)> {
    let above = "../../secr.ts".to_owned();
    let absolute = format!("/tmp/{:08x}", std::process::id());
    let secret = Secret::at(absolute.clone().into());
    vec![(above, Secret::at(home.join("secr.ts"))), (absolute, secret)]
}

fn refused_by(engine: Option<(&RuntimePackage, &[u8])>) {
    let home = tempfile::tempdir().unwrap();
    for (place, _secret) in outside(home.path()) {
        let report = run(home.path(), &model(&place), Some(PLACE), engine);
        let message = report.message.as_deref().unwrap_or_default();
        assert_eq!((report.outcome, report.failed_stage), (Outcome::SpecError, Some(Stage::Prepare)), "{message}");
        assert!(message.contains(&format!("{place:?}, outside of its folder, which is never read")), "{message}");
    }
    let inner = run(home.path(), &model("inner/weights"), Some(PLACE), engine);
    assert_eq!(inner.outcome, Outcome::SpecError, "{:?}", inner.message);
    // The control: the same weights beside the model.
    let beside = run(home.path(), &model(PLACE), Some(PLACE), engine);
    assert_eq!(beside.outcome, Outcome::Ok, "{:?}\n{}", beside.message, beside.log);
    let renamed = run(home.path(), &model("weights.bin.1"), Some("weights.bin.1"), engine);
    assert_eq!(renamed.outcome, Outcome::Ok, "{:?}\n{}", renamed.message, renamed.log);
}

#[test]
fn weights_outside_of_the_models_folder_are_never_read_for_tract() {
    refused_by(None);
}

#[test]
fn weights_outside_of_the_models_folder_are_never_read_for_onnxruntime() {
    let library = std::fs::read(onnxruntime::library()).unwrap();
    refused_by(Some((&onnxruntime::package(&library), &library)));
}

#[test]
fn weights_outside_of_the_models_folder_are_refused_before_the_model_is_added() {
    let home = tempfile::tempdir().unwrap();
    let read = |bytes: &[u8], given: &[&str]| {
        std::fs::write(home.path().join("external.onnx"), bytes).unwrap();
        let file = |name: &&str| LocalFile {
            role: if name.ends_with("onnx") { "model".into() } else { "external_data".into() },
            file_name: (*name).into(),
            path: home.path().join(name),
        };
        let files: Vec<LocalFile> = given.iter().map(file).collect();
        signature::read(&common::child_command(), &std::env::temp_dir(), Format::Onnx, &files)
            .map_err(|error| error.to_string())
    };
    let absolute = format!("/tmp/{:08x}", std::process::id());
    let secret = Secret::at(absolute.clone().into());
    let error = read(&model(&absolute), &["external.onnx"]).unwrap_err();
    assert!(error.contains("outside of its folder, which is never read"), "{error}");
    // A link beside the model leads out of its folder, and nobody has given the file.
    std::os::unix::fs::symlink(&secret.0, home.path().join(PLACE)).unwrap();
    let error = read(&model(PLACE), &["external.onnx"]).unwrap_err();
    assert!(error.contains(PLACE) && error.contains("loading failed"), "{error}");
    // The control: whoever adds the model gives the file.
    let read = read(&model(PLACE), &["external.onnx", PLACE]).unwrap();
    assert_eq!(read.signature.outputs[0].name, "output");
}
