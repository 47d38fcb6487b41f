//! Fidelity: the median that an attempt reports against the same engine called directly, and what timing adds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;
use rand::{Rng as _, SeedableRng as _};
use seatrial_agent::child::timing::{Samples, Timed, measure};
use seatrial_agent::signature::{self, LocalFile};
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::block;
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::job::{JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::model::{Format, Manifest, ManifestEntry, Precision};
use seatrial_core::profile::{MeasurementProfile, ProfileKind, StopRule};
use seatrial_core::report::BlockKind;
use tract_onnx::prelude::{Framework as _, InferenceModelExt as _, IntoRunnable as _, Tensor, tvec};

use crate::ratio::{Goal, Measured, median};

const PAIRS: usize = 10;
const SAMPLES: u32 = 3000;

/// A model of some hundred microseconds, and one of some ten: there 1 % is next to nothing.
const MODELS: [(&str, &str); 2] = [
    ("digits-cnn", "median latency of an attempt / direct call"),
    ("digits-mlp", "the same with the fastest model of the demo"),
];

fn file(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/demo/models/{model}.fp32.onnx"))
}

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let mut rows = MODELS.into_iter().map(|(model, name)| of_model(model, name)).collect::<anyhow::Result<Vec<_>>>()?;
    rows.push(Measured {
        name: "time added to a sample / 100 ns",
        unit: "ns",
        value: empty_ns(),
        baseline: 100.0,
        goal: Goal::AtMost(1.0),
    });
    Ok(rows)
}

fn of_model(model: &str, name: &'static str) -> anyhow::Result<Measured> {
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        // Whoever goes first meets another machine than whoever goes second: take turns.
        if pair % 2 == 0 {
            ours.push(attempt_us(model)?);
            direct.push(direct_us(model)?);
        } else {
            direct.push(direct_us(model)?);
            ours.push(attempt_us(model)?);
        }
    }
    Ok(Measured { name, unit: "µs", value: median(ours), baseline: median(direct), goal: Goal::Within(0.01) })
}

/// The median of a direct call, by a process that does nothing else.
fn direct_us(model: &str) -> anyhow::Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["inner-direct", "--samples", &SAMPLES.to_string(), "--model"])
        .arg(file(model))
        .output()
        .context("cannot start the direct call")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("the direct call printed no median")
}

/// Calls tract as its own documentation does, and prints the median in µs.
pub fn direct(model: &Path, samples: u32) -> anyhow::Result<()> {
    let runnable =
        tract_onnx::onnx().with_ignore_value_info(true).model_for_path(model)?.into_optimized()?.into_runnable()?;
    let fact = runnable.model().input_fact(0)?;
    let shape: Vec<usize> = fact.shape.as_concrete().context("the model's input has a free axis")?.to_vec();
    // Of the same kind as what a job without a dataset is given.
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let noise: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-1.0..1.0)).collect();
    let input = Tensor::from_shape(&shape, &noise)?;
    let mut times = Vec::with_capacity(samples as usize);
    for turn in 0..samples + samples / 10 {
        let inputs = tvec!(input.clone().into());
        let start = Instant::now();
        let outputs = runnable.run(inputs)?;
        let time = start.elapsed();
        drop(outputs);
        if turn >= samples / 10 {
            times.push(time.as_secs_f64() * 1e6);
        }
    }
    println!("{}", median(times));
    Ok(())
}

/// The median that an isolated attempt reports.
fn attempt_us(model: &str) -> anyhow::Result<f64> {
    let path = file(model);
    let bytes = std::fs::read(&path)?;
    let digest = Digest::of(&bytes);
    let entry = ManifestEntry {
        role: "model".to_owned(),
        digest,
        size: bytes.len() as u64,
        file_name: "model.onnx".to_owned(),
    };
    let command = seatrial_agent::cli::child_command(&["agent"])?;
    let file = LocalFile { role: entry.role.clone(), file_name: entry.file_name.clone(), path: path.clone() };
    let signature = signature::read(&command, Format::Onnx, &[file])?;
    let stop = StopRule {
        min_samples: SAMPLES,
        min_time: Duration::ZERO,
        max_samples: SAMPLES,
        max_time: Duration::from_mins(1),
    };
    let spec = JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: model.to_owned(),
            version: 1,
            variant: "fp32".to_owned(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: Manifest { entries: vec![entry] },
            signature,
        },
        binding: Binding::default(),
        dataset: None,
        package: None,
        backend: Backend {
            runtime: "tract".to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        profile: MeasurementProfile { stop, ..MeasurementProfile::of(ProfileKind::Quick) },
        limits: Limits::default(),
        seed: 1,
    };
    let files = BTreeMap::from([(digest, path)]);
    let options = seatrial_agent::local::Options::new(command);
    let report = seatrial_agent::local::run(spec, &files, &options, &mut |_, _| {})?;
    let block =
        report.blocks.iter().find(|block| block.metric == BlockKind::LatencyNs).with_context(|| {
            format!("the attempt ended as {} without samples: {:?}", report.outcome, report.message)
        })?;
    let samples = block::unpack(&block.bytes, block.count)?;
    Ok(median(samples.into_iter().map(|ns| ns as f64 / 1e3).collect()))
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
