//! Engines called by their own interfaces and by nothing of ours: the baseline of fidelity.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::{Rng as _, SeedableRng as _};
use seatrial_core::measure::warmup::Warmup;
use seatrial_core::profile::WarmupRule;
use seatrial_core::runtimes::Engine;
use tract_onnx::prelude::{Framework as _, InferenceModelExt as _, IntoRunnable as _, Tensor, tvec};

use crate::ratio::median;
use crate::{litert, onnxruntime};

/// One inference of a loaded model, and how long it took.
pub type Call = Box<dyn FnMut() -> anyhow::Result<Duration>>;

/// A model that is loaded with one thread on the CPU, by the engine whose library this is; by tract without.
pub fn open(engine: Option<(Engine, &Path)>, model: &Path) -> anyhow::Result<Call> {
    match engine {
        None => tract(model),
        Some((Engine::Onnxruntime, library)) => {
            let mut direct = onnxruntime::Direct::open(library, model, noise)?;
            Ok(Box::new(move || direct.infer()))
        }
        Some((Engine::Litert, library)) => {
            let mut direct = litert::Direct::open(library, model, noise)?;
            Ok(Box::new(move || direct.infer()))
        }
    }
}

/// Prints the median in µs of a call in a process that does nothing else.
pub fn alone(engine: Option<(Engine, &Path)>, model: &Path, samples: u32) -> anyhow::Result<()> {
    let mut call = open(engine, model)?;
    warm_up(&mut call)?;
    println!("{}", median_us(&mut call, samples)?);
    Ok(())
}

/// As warm as an attempt is when it begins to measure.
pub fn warm_up(call: &mut Call) -> anyhow::Result<()> {
    let mut warmup = Warmup::new(WarmupRule::default());
    while !warmup.push(call()?) {}
    Ok(())
}

pub fn median_us(call: &mut Call, samples: u32) -> anyhow::Result<f64> {
    let times = (0..samples).map(|_| call().map(|time| time.as_secs_f64() * 1e6)).collect::<anyhow::Result<_>>()?;
    Ok(median(times))
}

/// Of the same kind as what a job without a dataset is given.
pub fn noise(count: usize) -> Vec<f32> {
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// As tract's own documentation does.
fn tract(model: &Path) -> anyhow::Result<Call> {
    let runnable =
        tract_onnx::onnx().with_ignore_value_info(true).model_for_path(model)?.into_optimized()?.into_runnable()?;
    let fact = runnable.model().input_fact(0)?;
    let shape: Vec<usize> = fact.shape.as_concrete().context("the model's input has a free axis")?.to_vec();
    let input = Tensor::from_shape(&shape, &noise(shape.iter().product()))?;
    Ok(Box::new(move || {
        let inputs = tvec!(input.clone().into());
        let start = Instant::now();
        let outputs = runnable.run(inputs)?;
        let time = start.elapsed();
        drop(outputs);
        Ok(time)
    }))
}
