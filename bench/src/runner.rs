//! An engine behind a runner against the same engine alone: OpenCV with the demo's network as a Caffe net.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use seatrial_agent::interpreters::{Interpreter, Interpreters};
use seatrial_agent::local::Options;
use seatrial_core::backend::Accelerator;
use seatrial_core::digest::Digest;
use seatrial_core::job::ModelRef;
use seatrial_core::model::{Format, Manifest, ManifestEntry, Precision, Signature};
use seatrial_core::runtimes::{PROGRAM_ROLE, PackageKind, RuntimePackage};

use crate::fidelity::{attempted_us, entry, in_turns};
use crate::ratio::{Goal, Measured};

/// The name of its interpreter, as the runner's description has it.
const INTERPRETER: &str = "python-opencv";

/// The median that the runner tells, and that of a program that does nothing else.
pub fn behind_and_alone() -> anyhow::Result<Measured> {
    // `cargo xtask bench` makes the environment and the net.
    let engines = std::env::var_os("SEATRIAL_BENCH_ENGINES").context("SEATRIAL_BENCH_ENGINES is not set")?;
    let engines = PathBuf::from(engines);
    let python = engines.join("opencv/bin/python");
    let net = ["prototxt", "caffemodel"].map(|end| engines.join("models/digits-cnn").with_extension(end));
    let (value, baseline) = in_turns(|| behind_us(&python, &net), || alone_us(&python, &net))?;
    let name = "median behind a runner (OpenCV) / the engine alone";
    Ok(Measured { name, unit: "µs", value, baseline, goal: Goal::Within(0.02) })
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn alone_us(python: &Path, net: &[PathBuf; 2]) -> anyhow::Result<f64> {
    let script = repository().join("agent/tests/runners/opencv_alone.py");
    let output = Command::new(python).arg(script).args(net).output().context("cannot start OpenCV alone")?;
    ensure!(output.status.success(), "OpenCV alone: {}", String::from_utf8_lossy(&output.stderr));
    let ms: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("OpenCV alone printed no median")?;
    Ok(ms * 1e3)
}

fn behind_us(python: &Path, net: &[PathBuf; 2]) -> anyhow::Result<f64> {
    let mut files = BTreeMap::new();
    let [prototxt, caffemodel] = net;
    let runners = repository().join("runners");
    let model = listed(&mut files, &[("prototxt", prototxt), ("caffemodel", caffemodel)])?;
    let program = [runners.join("caffe_opencv.py"), runners.join("seatrial_runner.py")];
    let program = listed(&mut files, &[(PROGRAM_ROLE, &program[0]), ("module", &program[1])])?;
    let model = ModelRef {
        model: "digits-cnn".to_owned(),
        version: 1,
        variant: "fp32".to_owned(),
        format: Format::Caffe,
        precision: Precision::Fp32,
        manifest: Manifest { entries: model },
        signature: Signature::default(),
    };
    let package = RuntimePackage {
        runtime: "opencv".to_owned(),
        kind: PackageKind::Runner { interpreter: Some(INTERPRETER.to_owned()) },
        version: "as it says itself".to_owned(),
        abi: None,
        accelerators: vec![Accelerator::Cpu],
        formats: vec![Format::Caffe],
        manifest: Manifest { entries: program },
    };
    let interpreter = Interpreter { name: INTERPRETER.to_owned(), path: python.to_owned() };
    let interpreters = Interpreters::look(vec![interpreter]).map_err(anyhow::Error::msg)?;
    let options = Options { interpreters, ..Options::new(seatrial_agent::cli::child_command(&["agent"])?) };
    attempted_us(model, Some(package), &files, &options)
}

/// Files by role, under their own names.
fn listed(files: &mut BTreeMap<Digest, PathBuf>, named: &[(&str, &PathBuf)]) -> anyhow::Result<Vec<ManifestEntry>> {
    let mut entries = Vec::new();
    for (role, path) in named {
        let name = path.file_name().and_then(|name| name.to_str()).context("a file without a name")?;
        let entry = entry(role, name, path)?;
        files.insert(entry.digest, (*path).clone());
        entries.push(entry);
    }
    Ok(entries)
}
