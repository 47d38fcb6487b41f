//! Fidelity: the median that an attempt reports against the same engine called directly, and what timing adds.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use seatrial_agent::child::timing::{Samples, Timed, measure};
use seatrial_agent::local::Options;
use seatrial_agent::signature::{self, LocalFile};
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::block;
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::job::{JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::model::{Format, Manifest, ManifestEntry, Precision, Signature};
use seatrial_core::profile::{MeasurementProfile, ProfileKind, StopRule};
use seatrial_core::report::BlockKind;
use seatrial_core::runtimes::{ENGINE_ROLE, Engine, PackageKind, RuntimePackage};

use crate::ratio::{Goal, Measured, median};
use crate::runner;
use crate::together::Together;

const PAIRS: usize = 10;
const SAMPLES: u32 = 3000;

/// A model as an engine runs it, and what its rows are called.
struct Subject {
    model: &'static str,
    /// Loaded from a package; tract without.
    engine: Option<Engine>,
    attempt: &'static str,
    together: &'static str,
    control: &'static str,
}

/// A model of some hundred microseconds, and one of some ten: there 1 % is next to nothing.
const SUBJECTS: [Subject; 4] = [
    Subject {
        model: "digits-cnn",
        engine: None,
        attempt: "attempt / direct call: tract",
        together: "session / direct call, one process: tract",
        control: "direct call / another, one process: tract",
    },
    Subject {
        model: "digits-mlp",
        engine: None,
        attempt: "attempt / direct call: tract, fastest model",
        together: "session / direct call, one process: fastest",
        control: "direct call / another, one process: fastest",
    },
    Subject {
        model: "digits-cnn",
        engine: Some(Engine::Onnxruntime),
        attempt: "attempt / direct call: ONNX Runtime",
        together: "session / direct call, one process: ONNX R.",
        control: "direct call / another, one process: ONNX R.",
    },
    Subject {
        model: "digits-cnn",
        engine: Some(Engine::Litert),
        attempt: "attempt / direct call: LiteRT",
        together: "session / direct call, one process: LiteRT",
        control: "direct call / another, one process: LiteRT",
    },
];

/// An engine from a package, and its library; `cargo xtask bench` says where that is.
#[derive(Debug, Clone, Copy)]
struct Loaded<'a> {
    engine: Engine,
    library: &'a Path,
}

impl Loaded<'_> {
    const fn variable(engine: Engine) -> &'static str {
        match engine {
            Engine::Onnxruntime => "SEATRIAL_BENCH_ONNXRUNTIME",
            Engine::Litert => "SEATRIAL_BENCH_LITERT",
        }
    }
}

/// What an engine reads; tract without.
fn format(loaded: Option<Loaded<'_>>) -> Format {
    match loaded.map(|loaded| loaded.engine) {
        None | Some(Engine::Onnxruntime) => Format::Onnx,
        Some(Engine::Litert) => Format::Tflite,
    }
}

fn file(model: &str, format: Format) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/demo/models/{model}.fp32.{}", format.as_str()))
}

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let mut rows = Vec::new();
    for subject in SUBJECTS {
        let library = subject.engine.map(|engine| {
            let variable = Loaded::variable(engine);
            std::env::var_os(variable).map(PathBuf::from).with_context(|| format!("{variable} is not set"))
        });
        let library = library.transpose()?;
        let loaded = subject.engine.zip(library.as_deref()).map(|(engine, library)| Loaded { engine, library });
        rows.extend(of_subject(&subject, loaded)?);
    }
    rows.push(runner::behind_and_alone()?);
    rows.push(Measured {
        name: "time added to a sample / 100 ns",
        unit: "ns",
        value: empty_ns(),
        baseline: 100.0,
        goal: Goal::AtMost(1.0),
    });
    Ok(rows)
}

fn of_subject(subject: &Subject, loaded: Option<Loaded<'_>>) -> anyhow::Result<[Measured; 3]> {
    let Subject { model, attempt, together, control, .. } = *subject;
    let row = |name, value, baseline| Measured { name, unit: "µs", value, baseline, goal: Goal::Within(0.01) };
    let (value, baseline) = in_turns(|| attempt_us(model, loaded), || direct_us(model, loaded))?;
    let inner = inner("inner-together", model, loaded)?;
    let Together { session, direct, another } =
        serde_json::from_str(&inner).with_context(|| format!("not the medians of one process: {inner}"))?;
    Ok([row(attempt, value, baseline), row(together, session, direct), row(control, another, direct)])
}

/// The medians of both over some pairs. Whoever goes first meets another machine than whoever goes second: they take turns.
pub fn in_turns(
    ours: impl Fn() -> anyhow::Result<f64>,
    direct: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<(f64, f64)> {
    let (mut of_ours, mut of_direct) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        if pair % 2 == 0 {
            of_ours.push(ours()?);
            of_direct.push(direct()?);
        } else {
            of_direct.push(direct()?);
            of_ours.push(ours()?);
        }
    }
    Ok((median(of_ours), median(of_direct)))
}

/// The median of a direct call, by a process that does nothing else.
fn direct_us(model: &str, loaded: Option<Loaded<'_>>) -> anyhow::Result<f64> {
    inner("inner-direct", model, loaded)?.trim().parse().context("the direct call printed no median")
}

/// What this program prints as one of its own subjects.
fn inner(subject: &str, model: &str, loaded: Option<Loaded<'_>>) -> anyhow::Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .args([subject, "--samples", &SAMPLES.to_string(), "--model"])
        .arg(file(model, format(loaded)))
        .args(loaded.iter().flat_map(|loaded| {
            let Loaded { engine, library } = loaded;
            ["--engine".as_ref(), OsStr::new(engine.as_str()), "--library".as_ref(), library.as_os_str()]
        }))
        .output()
        .with_context(|| format!("cannot start {subject}"))?;
    ensure!(output.status.success(), "{subject}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The median that an isolated attempt reports.
fn attempt_us(model: &str, loaded: Option<Loaded<'_>>) -> anyhow::Result<f64> {
    let format = format(loaded);
    let path = file(model, format);
    let package = loaded.map(package).transpose()?;
    let entry = entry("model", &format!("model.{}", format.as_str()), &path)?;
    let digest = entry.digest;
    let command = seatrial_agent::cli::child_command(&["agent"])?;
    let file = LocalFile { role: entry.role.clone(), file_name: entry.file_name.clone(), path: path.clone() };
    // Of a format that no built-in engine reads, the job itself reads it.
    let signature = if signature::can_read(format) {
        signature::read(&command, &std::env::temp_dir(), format, &[file])?.signature
    } else {
        Signature::default()
    };
    let model = ModelRef {
        model: model.to_owned(),
        version: 1,
        variant: "fp32".to_owned(),
        format,
        precision: Precision::Fp32,
        manifest: Manifest { entries: vec![entry] },
        signature,
    };
    let engine = package.as_ref().and_then(RuntimePackage::digest).zip(loaded.map(|loaded| loaded.library.to_owned()));
    let files = std::iter::once((digest, path)).chain(engine).collect();
    attempted_us(model, package, &files, &Options::new(command))
}

/// The median that an attempt reports of these files.
pub fn attempted_us(
    model: ModelRef,
    package: Option<RuntimePackage>,
    files: &BTreeMap<Digest, PathBuf>,
    options: &Options,
) -> anyhow::Result<f64> {
    let stop = StopRule {
        min_samples: SAMPLES,
        min_time: Duration::ZERO,
        max_samples: SAMPLES,
        max_time: Duration::from_mins(1),
    };
    let spec = JobSpec {
        schema: SPEC_SCHEMA,
        model,
        binding: Binding::default(),
        dataset: None,
        backend: Backend {
            runtime: package.as_ref().map_or("tract", |package| package.runtime.as_str()).to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        package,
        profile: MeasurementProfile { stop, ..MeasurementProfile::of(ProfileKind::Quick) },
        limits: Limits::default(),
        seed: 1,
    };
    let report = seatrial_agent::local::run(spec, files, options, &mut |_, _| {})?;
    let block =
        report.blocks.iter().find(|block| block.metric == BlockKind::LatencyNs).with_context(|| {
            format!("the attempt ended as {} without samples: {:?}", report.outcome, report.message)
        })?;
    let samples = block::unpack(&block.bytes, block.count)?;
    Ok(median(samples.into_iter().map(|ns| ns as f64 / 1e3).collect()))
}

/// A file of this machine as one of a manifest.
pub fn entry(role: &str, file_name: &str, path: &Path) -> anyhow::Result<ManifestEntry> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(ManifestEntry {
        role: role.to_owned(),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        file_name: file_name.to_owned(),
    })
}

/// The end of a library's name, as in `libonnxruntime.so.1.32.0`: an engine that knows its version holds it against this.
pub fn version(library: &Path) -> &str {
    let name = library.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.split_once(".so.").map_or("of the test's Python", |(_, version)| version)
}

/// The library as a package of one file.
fn package(Loaded { engine, library }: Loaded<'_>) -> anyhow::Result<RuntimePackage> {
    let entry = entry(ENGINE_ROLE, &format!("lib{engine}.so"), library)?;
    Ok(RuntimePackage {
        runtime: engine.as_str().to_owned(),
        kind: PackageKind::Library { engine },
        version: version(library).to_owned(),
        abi: None,
        accelerators: vec![Accelerator::Cpu],
        formats: engine.formats().to_vec(),
        manifest: Manifest { entries: vec![entry] },
    })
}

/// The agent's half of this program: children of attempts.
pub fn agent(rest: Vec<OsString>) -> ExitCode {
    #[derive(clap::Parser)]
    struct Agent {
        #[command(flatten)]
        args: seatrial_agent::cli::Args,
    }
    match seatrial_agent::cli::child_command(&["agent"]) {
        Ok(command) => {
            let words = std::iter::once(OsString::from("agent")).chain(rest);
            seatrial_agent::cli::main(Agent::parse_from(words).args, command)
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Nothing;

impl Timed for Nothing {
    type Error = std::convert::Infallible;

    fn make_ready(&mut self) {}

    fn infer(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Median of what is recorded when nothing is timed.
fn empty_ns() -> f64 {
    let rule = StopRule {
        min_samples: 100_000,
        min_time: Duration::ZERO,
        max_samples: 100_000,
        max_time: Duration::from_secs(10),
    };
    let mut samples = Samples::reserve(&rule, rule.max_samples);
    match measure(&mut Nothing, &rule, None, &mut samples, &mut |_, _| {}) {
        Ok(()) => median(samples.latencies().iter().map(|&ns| ns as f64).collect()),
    }
}
