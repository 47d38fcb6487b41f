//! A model that a runner has loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seatrial_core::actual::{Actual, ComputeDevice};
use seatrial_core::backend::Accelerator;
use seatrial_core::measure::plausible::{self, Belief, Claimed};
use seatrial_core::model::{Signature, TensorSpec};
use seatrial_core::operators::MAX_REST;
use seatrial_core::outcome::Claim;
use seatrial_core::profile::StopRule;
use seatrial_core::reading::Reading;
use seatrial_core::reason::Code;
use seatrial_proto::v1::from_runner::Message as Answer;
use seatrial_proto::v1::to_runner::Message as Request;
use seatrial_proto::v1::{self, RunnerStage};

use super::client::{Client, Step, only, unexpected_answer};
use super::tensors;
use crate::child::opened;
use crate::child::timing::{Heard, OwnLoop, Timed};
use crate::child::window::{self, Waits};
use crate::data::NamedTensor;
use crate::runtime::{Outside, RuntimeError, Session};

#[derive(Debug)]
pub(super) struct Loaded {
    client: Client,
    asked: v1::Load,
    told: v1::Loaded,
    declared: Vec<TensorSpec>,
    folder: PathBuf,
    /// For the next request; the runner keeps what the last one brought.
    inputs: Vec<v1::TensorValue>,
    outputs: Vec<v1::TensorValue>,
    inferred: bool,
    outside: Outside,
}

impl Loaded {
    /// `package` is the folder of the runner's own files.
    pub(super) fn load(
        mut client: Client,
        load: v1::Load,
        folder: &Path,
        package: &Path,
    ) -> Result<Self, RuntimeError> {
        let process = client.process.id();
        let status = |name| window::field(&window::read(&window::of_process(Some(process), "status"))?, name);
        let reads = || opened::disk_reads(Some(process));
        let opened = opened::of(Some(process), package, 0);
        let (base_kib, before) = (status("VmRSS:"), reads());
        let mut loaded = None;
        let pick = |answer: Answer| if let Answer::Loaded(loaded) = answer { Some(loaded) } else { None };
        client.ask(RunnerStage::Load, Request::Load(load.clone()), &mut only(&mut loaded, pick))?;
        let loaded = loaded.unwrap_or_default();
        let load_reads = before.zip(reads()).map(|(before, after)| after.saturating_sub(before));
        let build = &client.hello().build;
        let facts = (!build.is_empty()).then(|| ("runner_build".to_owned(), build.clone()));
        let facts = facts.into_iter().collect::<BTreeMap<_, _>>();
        let outside = Outside { process, base_kib, load_reads, opened, facts, unaccounted: None };
        let declared = specs(&loaded.outputs)?;
        Ok(Self {
            client,
            asked: load,
            told: loaded,
            declared,
            folder: folder.to_owned(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            inferred: false,
            outside,
        })
    }

    pub(super) fn signature(&self) -> Result<Signature, RuntimeError> {
        Ok(Signature { inputs: specs(&self.told.inputs)?, outputs: self.declared.clone(), precision_from: None })
    }

    /// Why what computes is not what was asked for.
    fn fallback(&self) -> Option<String> {
        let v1::Loaded { accelerator, fallback, delegated, nodes, .. } = &self.told;
        let asked = &self.asked.accelerator;
        let because = if fallback.is_empty() { String::new() } else { format!(": {fallback}") };
        if accelerator != asked {
            Some(format!("{asked} is asked for and {accelerator:?} computes{because}"))
        } else if !fallback.is_empty() {
            Some(fallback.clone())
        } else if asked != "cpu" && delegated.zip(*nodes).is_none_or(|(on, all)| on > all || all == 0) {
            Some(format!("it is not known whether all of it ran on the {asked}: the runner does not count operators"))
        } else {
            None
        }
    }

    /// The device that it computes on, as its hello names it.
    fn device(&self) -> Reading<ComputeDevice> {
        let kind = &self.told.accelerator;
        if kind == Accelerator::Cpu.as_str() {
            return Reading::absent(Code::CpuAlone.template());
        }
        let mut devices = self.client.hello().accelerators.iter().filter(|one| one.kind == *kind);
        match (devices.next(), devices.next()) {
            (Some(one), None) => Reading::Present(ComputeDevice { name: one.device.clone(), software: one.software }),
            (Some(_), Some(_)) => Reading::absent("the runner has several and does not tell which"),
            (None, _) => Reading::absent("the runner does not tell"),
        }
    }

    /// What the child saw of a measurement, beside what the runner says of it.
    fn note(&mut self, claimed: &Claimed, last: &v1::Samples) {
        let Claimed { samples, sum, wall, .. } = claimed;
        let v1::Samples { clock, resolution_ns, loop_ns, .. } = last;
        let fact = format!(
            "{samples} samples of {:.6} s in a request of {:.6} s, {:.6} s in the loop between them; clock {clock:?} at \
             {resolution_ns} ns",
            sum.as_secs_f64(),
            wall.as_secs_f64(),
            Duration::from_nanos(*loop_ns).as_secs_f64(),
        );
        self.outside.facts.insert("runner_wall".to_owned(), fact);
    }
}

fn specs(tensors: &[v1::RunnerTensor]) -> Result<Vec<TensorSpec>, RuntimeError> {
    let specs: Result<_, String> = tensors.iter().map(tensors::declared).collect();
    specs.map_err(|why| RuntimeError::new(Claim::LoadFail, why))
}

fn lied(why: impl Into<String>) -> RuntimeError {
    RuntimeError::new(Claim::Protocol, why)
}

impl Timed for Loaded {
    type Error = RuntimeError;

    fn make_ready(&mut self) {}

    fn infer(&mut self) -> Result<(), RuntimeError> {
        crate::child::timing::once(self).map(|_| ())
    }

    fn own_loop(&mut self) -> Option<&mut dyn OwnLoop<Error = RuntimeError>> {
        Some(self)
    }
}

impl OwnLoop for Loaded {
    type Error = RuntimeError;

    fn run(
        &mut self,
        rule: &StopRule,
        interval: Option<Duration>,
        hear: &mut dyn FnMut(Heard),
    ) -> Result<(), RuntimeError> {
        let request = v1::Run {
            inputs: std::mem::take(&mut self.inputs),
            warmup: 0,
            repeat: rule.min_samples,
            min_duration_ns: nanos(rule.min_time),
            capture: v1::Capture::Last.into(),
            clear_caches: false,
            max_duration_ns: nanos(rule.max_time),
            max_repeat: rule.max_samples,
            interval_ns: interval.map_or(0, nanos),
        };
        let stage = if self.inferred { RunnerStage::Measure } else { RunnerStage::FirstInference };
        let (mut claimed, mut last, mut outputs) = (Claimed::default(), v1::Samples::default(), Vec::new());
        claimed.moved = tensors::bytes(&request.inputs, &self.folder);
        self.outside.unaccounted = None;
        let waits = plausible::is_accounted(rule).then(|| Waits::begin(self.outside.process));
        let begun = Instant::now();
        self.client.ask(stage, Request::Run(request), &mut |answer| {
            if let Answer::Outputs(v1::Outputs { tensors, .. }) = answer {
                outputs = tensors;
                return Ok(Step::Last);
            }
            if let Answer::Samples(samples) = answer {
                push(&mut claimed, &samples, interval.is_some(), hear)?;
                last = v1::Samples { ns: Vec::new(), start_ns: Vec::new(), phases: Vec::new(), ..samples };
            } else if let Answer::Progress(_) = answer {
                hear(Heard::Alive);
            } else {
                return Err(unexpected_answer(&answer));
            }
            Ok(Step::More)
        })?;
        claimed.wall = begun.elapsed();
        claimed.waited = waits.and_then(|waits| waits.over());
        claimed.moved += tensors::bytes(&outputs, &self.folder);
        match claimed.judge(rule, interval.is_some()) {
            Belief::Believed => {}
            Belief::Untold(unaccounted) => self.outside.unaccounted = Some(unaccounted),
            Belief::Refuted(why) => return Err(lied(why)),
        }
        self.inferred = true;
        self.outputs = outputs;
        if claimed.samples > 1 {
            self.note(&claimed, &last);
        }
        Ok(())
    }
}

/// Takes the samples of one message.
pub(super) fn push(
    claimed: &mut Claimed,
    samples: &v1::Samples,
    paced: bool,
    hear: &mut dyn FnMut(Heard),
) -> Result<(), RuntimeError> {
    let v1::Samples { ns, start_ns, .. } = samples;
    if start_ns.is_empty() && paced {
        return Err(lied("the runner does not tell when each inference began, and is asked to pace them"));
    }
    if !start_ns.is_empty() && start_ns.len() != ns.len() {
        return Err(lied(format!("{} samples come with the beginnings of {}", ns.len(), start_ns.len())));
    }
    for (index, &latency_ns) in ns.iter().enumerate() {
        // One after the other, where it does not tell.
        let start_ns = start_ns.get(index).copied().unwrap_or_else(|| nanos(claimed.span));
        claimed.push(Duration::from_nanos(start_ns), Duration::from_nanos(latency_ns));
        hear(Heard::Sample { start_ns, latency_ns });
    }
    Ok(())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Session for Loaded {
    fn actual(&self) -> Actual {
        let v1::Loaded { accelerator, precision, delegated, nodes, rest, threads, .. } = &self.told;
        let untold = "the runner does not tell";
        let threads = threads.and_then(|threads| u16::try_from(threads).ok());
        Actual {
            accelerator: Reading::Present(accelerator.clone()),
            provider: Reading::absent(untold),
            device: self.device(),
            delegated: Reading::from_option(delegated.zip(*nodes), untold),
            rest: rest.iter().take(MAX_REST).cloned().collect(),
            precision: Reading::from_option(Some(precision.clone()).filter(|text| !text.is_empty()), untold),
            threads: Reading::from_option(threads, untold),
            affinity: Reading::absent("read by the process"),
            fallback: self.fallback(),
            signature: self.signature().ok(),
            loaded: Vec::new(),
        }
    }

    fn compiled_in(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.told.compile_ns)).filter(|compiled| !compiled.is_zero())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let asked = self.asked.accelerator.as_str();
        let name = match asked {
            "gpu" => "gpu",
            "npu" => "npu",
            _ => return Vec::new(),
        };
        let device = self.client.hello().accelerators.iter().find(|one| one.kind == asked && !one.device.is_empty());
        let told = |one: &v1::RunnerAccelerator| {
            let driver = if one.driver.is_empty() { String::new() } else { format!(" ({})", one.driver) };
            format!("{}{driver}{}", one.device, if one.software { ", software" } else { "" })
        };
        device.map(|one| (name, told(one))).into_iter().collect()
    }

    fn set_inputs(&mut self, inputs: &[NamedTensor]) -> Result<(), RuntimeError> {
        let wire = tensors::to_wire(inputs, &self.folder);
        self.inputs = wire.map_err(|error| {
            let claim = if crate::cache::is_full(&error) { Claim::StorageFull } else { Claim::RunFail };
            RuntimeError::new(claim, format!("writing an input for the runner: {error}"))
        })?;
        Ok(())
    }

    fn outputs(&mut self) -> Result<Vec<NamedTensor>, RuntimeError> {
        let outputs: Result<Vec<NamedTensor>, String> =
            self.outputs.iter().map(|value| tensors::from_wire(value, &self.folder)).collect();
        let outputs = outputs.map_err(lied)?;
        match tensors::contradiction(&self.declared, &outputs) {
            None => Ok(outputs),
            Some(why) => Err(lied(why)),
        }
    }

    fn outside(&self) -> Option<&Outside> {
        Some(&self.outside)
    }

    fn release(&mut self) -> Result<(), RuntimeError> {
        let pick = |answer: Answer| if let Answer::Done(done) = answer { Some(done) } else { None };
        self.client.ask(RunnerStage::Teardown, Request::Unload(v1::Unload {}), &mut only(&mut None, pick))
    }
}
