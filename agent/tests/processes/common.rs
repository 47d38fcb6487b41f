//! What the tests of real processes share.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_agent::attempt::Preflight;
use seatrial_agent::local::{self, Options};
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::job::{JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::model::{Axis, Format, Manifest, ManifestEntry, Precision, Signature, TensorSpec};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::{MeasurementProfile, ProfileKind, StopRule, WarmupRule};
use seatrial_core::report::Report;
use seatrial_core::runtimes::{PackageKind, RuntimePackage};
use seatrial_core::stage::Stage;
use seatrial_core::tensor::DType;

pub(crate) fn child_command() -> Vec<OsString> {
    vec![env!("CARGO_BIN_EXE_seatrial-agent").into()]
}

pub(crate) fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name)
}

pub(crate) fn spec_of(shape: &[u64]) -> TensorSpec {
    TensorSpec { name: "input".into(), dtype: DType::F32, shape: shape.iter().map(|&axis| Axis::Fixed(axis)).collect() }
}

/// A short measurement of one process on one model file.
pub(crate) fn job(runtime: &str, file_name: &str, bytes: &[u8]) -> JobSpec {
    let entry = ManifestEntry {
        role: "model".into(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        file_name: file_name.into(),
    };
    let second = Duration::from_secs(1);
    JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: "test".into(),
            version: 1,
            variant: "fp32".into(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: Manifest { entries: vec![entry] },
            signature: Signature { inputs: vec![spec_of(&[1, 4])], outputs: vec![], precision_from: None },
        },
        binding: Binding::default(),
        dataset: None,
        package: None,
        backend: Backend {
            runtime: runtime.into(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        profile: MeasurementProfile {
            kind: ProfileKind::Quick,
            warmup: WarmupRule { min_time: Duration::from_millis(10), ..WarmupRule::default() },
            stop: StopRule {
                min_samples: 64,
                min_time: Duration::from_millis(50),
                max_samples: 100_000,
                max_time: 5 * second,
            },
            processes: 1,
            interval: None,
            energy: None,
        },
        limits: Limits {
            memory_bytes: 2 << 30,
            output_bytes: 64 << 10,
            deadlines: Stage::ALL.into_iter().map(|stage| (stage, 10 * second)).collect(),
        },
        seed: 7,
    }
}

/// The demo's network, which has work for two threads.
pub(crate) fn network() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo/models/digits-cnn.fp32.onnx")).unwrap()
}

/// The job on the demo's network with as many threads, and long enough that they can be counted.
pub(crate) fn counted(mut spec: JobSpec, threads: u16) -> JobSpec {
    spec.model.signature = Signature::default();
    spec.backend.threads = threads;
    (spec.profile.stop.min_samples, spec.profile.stop.min_time) = (5000, Duration::from_millis(500));
    spec
}

/// Whatever else the machine does: never more threads than were asked for, and in one of the runs as many. Who waits for a
/// CPU may have none in which the others leave it something to compute.
pub(crate) fn counts_as_many_as_asked(run: impl Fn(u16) -> Report) {
    for threads in [1, 2] {
        let counts = [(); 4].map(|()| {
            let report = run(threads);
            assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
            report.actual.threads.into_present().unwrap()
        });
        assert_eq!(counts.iter().max(), Some(&threads), "{counts:?}");
    }
}

/// A runtime package of these files: role, name and bytes of each.
pub(crate) fn package(runtime: &str, kind: PackageKind, files: &[(&str, &str, &[u8])]) -> RuntimePackage {
    let entry = |&(role, name, bytes): &(&str, &str, &[u8])| ManifestEntry {
        role: role.into(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        file_name: name.into(),
    };
    RuntimePackage {
        runtime: runtime.into(),
        kind,
        version: "claimed".into(),
        abi: None,
        accelerators: vec![Accelerator::Cpu, Accelerator::Gpu],
        formats: vec![Format::Onnx],
        manifest: Manifest { entries: files.iter().map(entry).collect() },
    }
}

pub(crate) fn options(scratch: &Path) -> Options {
    let preflight = Preflight { load_wait: Duration::ZERO, ..Preflight::default() };
    Options { preflight, scratch: scratch.to_owned(), ..Options::new(child_command()) }
}

/// Runs a job on files that are given as bytes.
pub(crate) fn run(spec: JobSpec, files: &[&[u8]], options: &Options) -> Report {
    let home = tempfile::tempdir().unwrap();
    let mut by_digest = BTreeMap::new();
    for (index, bytes) in files.iter().enumerate() {
        let path = home.path().join(index.to_string());
        std::fs::write(&path, bytes).unwrap();
        by_digest.insert(Digest::of(bytes), path);
    }
    local::run(spec, &by_digest, options, &mut |_, _| {}).unwrap()
}

/// tmpfs and ramfs (`linux/magic.h`).
pub(crate) fn in_memory(place: &Path) -> bool {
    let kind = rustix::fs::statfs(place).unwrap().f_type;
    [0x0102_1994, 0x8584_58f6].contains(&kind)
}

/// Processes that carry a mark of an attempt under this folder.
pub(crate) fn left_behind(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap();
    let mark = format!("SEATRIAL_AGENT={}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(&mark) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}
