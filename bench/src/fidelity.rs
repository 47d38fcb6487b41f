//! Fidelity: the median that an attempt reports against the same engine called directly, and what timing adds.
#![expect(unsafe_code, reason = "the direct call is that of the engine's own C interface")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;
use ort::AsPointer as _;
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use rand::{Rng as _, SeedableRng as _};
use seatrial_agent::child::timing::{Samples, Timed, measure};
use seatrial_agent::local::Options;
use seatrial_agent::signature::{self, LocalFile};
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::block;
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::job::{JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::measure::warmup::Warmup;
use seatrial_core::model::{Format, Manifest, ManifestEntry, Precision, Signature};
use seatrial_core::profile::{MeasurementProfile, ProfileKind, StopRule, WarmupRule};
use seatrial_core::report::BlockKind;
use seatrial_core::runtimes::{ENGINE_ROLE, Engine, PackageKind, RuntimePackage};
use tract_onnx::prelude::{Framework as _, InferenceModelExt as _, IntoRunnable as _, Tensor, tvec};

use crate::litert::Direct;
use crate::ratio::{Goal, Measured, median};
use crate::runner;

const PAIRS: usize = 10;
const SAMPLES: u32 = 3000;

/// A model of some hundred microseconds, and one of some ten: there 1 % is next to nothing.
const MODELS: [(&str, &str); 2] = [
    ("digits-cnn", "median latency of an attempt / direct call"),
    ("digits-mlp", "the same with the fastest model of the demo"),
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
    let mut rows =
        MODELS.into_iter().map(|(model, name)| of_model(model, None, name)).collect::<anyhow::Result<Vec<_>>>()?;
    for (engine, name) in [
        (Engine::Onnxruntime, "the same with ONNX Runtime from a package"),
        (Engine::Litert, "the same with LiteRT from a package"),
    ] {
        let variable = Loaded::variable(engine);
        let library =
            std::env::var_os(variable).map(PathBuf::from).with_context(|| format!("{variable} is not set"))?;
        rows.push(of_model(MODELS[0].0, Some(Loaded { engine, library: &library }), name)?);
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

fn of_model(model: &str, loaded: Option<Loaded<'_>>, name: &'static str) -> anyhow::Result<Measured> {
    let (value, baseline) = in_turns(|| attempt_us(model, loaded), || direct_us(model, loaded))?;
    Ok(Measured { name, unit: "µs", value, baseline, goal: Goal::Within(0.01) })
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
    let output = Command::new(std::env::current_exe()?)
        .args(["inner-direct", "--samples", &SAMPLES.to_string(), "--model"])
        .arg(file(model, format(loaded)))
        .args(loaded.iter().flat_map(|loaded| {
            let Loaded { engine, library } = loaded;
            ["--engine".as_ref(), OsStr::new(engine.as_str()), "--library".as_ref(), library.as_os_str()]
        }))
        .output()
        .context("cannot start the direct call")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("the direct call printed no median")
}

/// Calls an engine by its own interface, and prints the median in µs.
pub fn direct(engine: Option<(Engine, &Path)>, model: &Path, samples: u32) -> anyhow::Result<()> {
    match engine {
        None => direct_tract(model, samples),
        Some((Engine::Onnxruntime, library)) => direct_onnxruntime(library, model, samples),
        Some((Engine::Litert, library)) => {
            let mut direct = Direct::open(library, model, noise)?;
            print_median(samples, || direct.infer())
        }
    }
}

/// Calls tract as its own documentation does, and prints the median in µs.
fn direct_tract(model: &Path, samples: u32) -> anyhow::Result<()> {
    let runnable =
        tract_onnx::onnx().with_ignore_value_info(true).model_for_path(model)?.into_optimized()?.into_runnable()?;
    let fact = runnable.model().input_fact(0)?;
    let shape: Vec<usize> = fact.shape.as_concrete().context("the model's input has a free axis")?.to_vec();
    let input = Tensor::from_shape(&shape, &noise(shape.iter().product()))?;
    print_median(samples, || {
        let inputs = tvec!(input.clone().into());
        let start = Instant::now();
        let outputs = runnable.run(inputs)?;
        let time = start.elapsed();
        drop(outputs);
        Ok(time)
    })
}

/// Calls ONNX Runtime's C interface with bound inputs and outputs, and prints the median in µs.
fn direct_onnxruntime(library: &Path, model: &Path, samples: u32) -> anyhow::Result<()> {
    let environment = ort::init_from(library)?.with_name("direct").build()?;
    let session = onnxruntime_session(&environment, model)?;
    let shape = session.inputs()[0].dtype().tensor_shape().context("the model's input is no tensor")?;
    let shape: Vec<usize> = shape.iter().map(|&axis| usize::try_from(axis)).collect::<Result<_, _>>()?;
    let values = noise(shape.iter().product());
    let input = ort::value::Tensor::from_array((shape, values))?;
    let mut binding = session.create_binding()?;
    binding.bind_input(session.inputs()[0].name(), &input)?;
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
    binding.bind_output_to_device(session.outputs()[0].name(), &memory)?;
    print_median(samples, || {
        let start = Instant::now();
        // SAFETY: session and binding are alive, and nobody else uses them.
        let status = unsafe { (ort::api().RunWithBinding)(session.ptr().cast_mut(), ptr::null(), binding.ptr()) };
        let time = start.elapsed();
        anyhow::ensure!(status.0.is_null(), "the direct call failed");
        Ok(time)
    })
}

fn onnxruntime_session(environment: &Environment, model: &Path) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .commit_from_file(model)
}

/// Of the same kind as what a job without a dataset is given.
fn noise(count: usize) -> Vec<f32> {
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn print_median(samples: u32, mut call: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<()> {
    // As warm as an attempt is when it begins to measure.
    let mut warmup = Warmup::new(WarmupRule::default());
    while !warmup.push(call()?) {}
    let times = (0..samples).map(|_| call().map(|time| time.as_secs_f64() * 1e6)).collect::<anyhow::Result<_>>()?;
    println!("{}", median(times));
    Ok(())
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
        signature::read(&command, &std::env::temp_dir(), format, &[file])?
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
fn version(library: &Path) -> &str {
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
