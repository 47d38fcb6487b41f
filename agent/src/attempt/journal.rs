//! What is known of an attempt so far, and the report that comes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use seatrial_core::actual::Actual;
use seatrial_core::dataset::scorer::Figure;
use seatrial_core::digest::Digest;
use seatrial_core::energy::EnergyRecord;
use seatrial_core::job::JobSpec;
use seatrial_core::model::Signature;
use seatrial_core::operators::OperatorProfile;
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::report::{
    Block, Environment, GoldenRecord, Memory, ProcessRecord, ProcessRole, REPORT_SCHEMA, Report, StageRecord,
};
use seatrial_core::stage::Stage;
use seatrial_core::time::Monotonic;

use super::Failure;
use super::process::Ended;
use super::sensors::Traces;
use crate::child::spec::{BlockFile, ChildResult};
use crate::plain::read_plain;
use crate::probe::SensorReading;
use crate::{VERSION, clock};

/// Bytes of one packed block; the samples of a process are bounded to fit.
const MAX_BLOCK_BYTES: u64 = 3 << 20;
/// Lines of a child's output that go into the report.
const MAX_LOG_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Journal {
    begun: Monotonic,
    stages: Vec<StageRecord>,
    processes: Vec<ProcessRecord>,
    blocks: Vec<Block>,
    golden: Vec<GoldenRecord>,
    figures: Vec<Figure>,
    determinism: Option<Reading<bool>>,
    memory: Option<Memory>,
    operators: Option<OperatorProfile>,
    pub(super) energy: Option<EnergyRecord>,
    /// Of the first process that fell back, else of the first that loaded.
    actual: Option<Actual>,
    signature: Option<Signature>,
    runtime_version: Option<String>,
    log: String,
    pub(super) system_log: String,
    bounds_hit: Vec<String>,
    pub(super) sensors: Traces,
    /// Of what is asked between processes only. They are few, and none may go to make room.
    pub(super) states: Traces,
    pub(super) environment: Environment,
    pub(super) loaded: Vec<Digest>,
}

impl Journal {
    pub(super) fn new(begun: Monotonic) -> Self {
        Self {
            begun,
            stages: Vec::new(),
            processes: Vec::new(),
            blocks: Vec::new(),
            golden: Vec::new(),
            figures: Vec::new(),
            determinism: None,
            memory: None,
            operators: None,
            energy: None,
            actual: None,
            signature: None,
            runtime_version: None,
            log: String::new(),
            system_log: String::new(),
            bounds_hit: Vec::new(),
            sensors: Traces::default(),
            states: Traces::default(),
            environment: unknown_environment(),
            loaded: Vec::new(),
        }
    }

    pub(super) fn begun(&self) -> Monotonic {
        self.begun
    }

    /// Begins a stage of the agent itself and ends the one before.
    pub(super) fn enter(&mut self, stage: Stage) -> Duration {
        let now = clock::boot();
        self.end_open_stage(now);
        let at = now.since(self.begun);
        self.stages.push(StageRecord { stage, process: None, start_us: micros(at), duration_us: None, note: None });
        at
    }

    pub(super) fn sample_sensors(&mut self, readings: &[SensorReading]) {
        self.sensors.sample(readings, clock::boot().since(self.begun));
    }

    pub(super) fn sample_states(&mut self, readings: &[SensorReading]) {
        self.states.sample(readings, clock::boot().since(self.begun));
    }

    pub(super) fn note(&mut self, stage: Stage, note: String) {
        if let Some(record) = self.stages.iter_mut().rev().find(|record| record.stage == stage) {
            record.note = Some(note);
        }
    }

    /// Takes over all that a child left.
    pub(super) fn add_process(&mut self, index: u8, role: ProcessRole, ended: Ended) {
        self.end_open_stage(ended.stages.first().map_or(ended.finished, |event| event.at));
        self.add_stages(index, &ended);
        let Ended { exit, sentinel, result, log, bounds_hit, out, stages: _, finished: _, .. } = ended;
        self.add_log(index, &log);
        self.bounds_hit.extend(bounds_hit);
        let result = result.unwrap_or_default();
        for file in &result.blocks {
            match read_block(&out, *file, index) {
                Ok(block) => self.blocks.push(block),
                Err(reason) => self.bounds_hit.push(reason),
            }
        }
        let ChildResult {
            load_ms,
            load_reads,
            opened,
            compile_ms,
            first_infer_ms,
            warmup_iterations,
            window,
            thinned,
            actual,
            golden,
            figures,
            determinism,
            memory,
            operators,
            facts,
            runtime_version,
            bounds_hit,
            blocks: _,
            references: _,
            claim: _,
            message: _,
            signature,
            weights: _,
            whole: _,
            offer: _,
            program,
        } = result;
        let loaded = load_ms.is_some() || program.is_some();
        self.processes.push(ProcessRecord {
            index,
            role,
            exit,
            sentinel,
            load_ms,
            load_reads,
            opened,
            compile_ms,
            first_infer_ms,
            warmup_iterations,
            window,
            thinned,
            program,
        });
        self.bounds_hit.extend(bounds_hit);
        self.environment.facts.extend(facts);
        self.golden.extend(golden);
        self.figures.extend(figures);
        self.determinism = self.determinism.take().or(determinism);
        self.memory = self.memory.or(memory);
        self.operators = self.operators.take().or(operators);
        self.take_actual(index, actual, loaded);
        self.signature = self.signature.take().or(signature);
        self.runtime_version = self.runtime_version.take().or(runtime_version);
    }

    pub(super) fn into_report(mut self, end: Result<(), Failure>, spec: &JobSpec) -> Report {
        self.end_open_stage(clock::boot());
        let fallback = self.actual.as_ref().is_some_and(|actual| actual.fallback.is_some());
        let (outcome, failed_stage, message) = match end {
            Ok(()) if fallback => (Outcome::OkFallback, None, self.actual.as_ref().and_then(|it| it.fallback.clone())),
            Ok(()) => (Outcome::Ok, None, None),
            Err(failure) => (failure.outcome, Some(failure.stage), Some(failure.message)),
        };
        let (mut sensors, cut) = self.sensors.into_parts();
        let (states, cut_too) = self.states.into_parts();
        sensors.extend(states);
        self.bounds_hit.extend(cut.into_iter().chain(cut_too));
        let mut actual = self.actual.unwrap_or_else(|| Actual::unknown("no process got as far as loading the model"));
        actual.loaded = self.loaded;
        actual.signature = self.signature;
        self.environment.runtime_version = self.runtime_version.unwrap_or_else(|| spec.backend.runtime.clone());
        Report {
            schema: REPORT_SCHEMA,
            outcome,
            message,
            failed_stage,
            stages: self.stages,
            processes: self.processes,
            blocks: self.blocks,
            sensors,
            environment: self.environment,
            actual,
            golden: self.golden,
            figures: self.figures,
            determinism: self.determinism.unwrap_or_else(|| Reading::absent("no process repeated an inference")),
            operators: Reading::from_option(
                self.operators,
                "the profile does not ask for it, or the engine does not tell",
            ),
            memory: Reading::from_option(self.memory, "no memory pass was completed"),
            energy: self.energy,
            log: self.log,
            system_log: self.system_log,
            bounds_hit: self.bounds_hit,
        }
        .within_bounds()
    }

    fn end_open_stage(&mut self, now: Monotonic) {
        let at = micros(now.since(self.begun));
        if let Some(record) = self.stages.last_mut().filter(|record| record.process.is_none()) {
            record.duration_us.get_or_insert(at.saturating_sub(record.start_us));
        }
    }

    fn add_stages(&mut self, index: u8, ended: &Ended) {
        let ends = ended.stages.iter().skip(1).map(|event| Some(event.at));
        // The last stage ended only when the child finished; else it is where the child was ended.
        let last = ended.sentinel.then_some(ended.finished);
        for (event, end) in ended.stages.iter().zip(ends.chain([last])) {
            self.stages.push(StageRecord {
                stage: event.stage,
                process: Some(index),
                start_us: micros(event.at.since(self.begun)),
                duration_us: end.map(|end| micros(end.since(event.at))),
                note: None,
            });
        }
    }

    /// One process that fell back is enough: what it executed stands for the attempt. Every other reason is told too, and
    /// so is what only one of them learns: on what the operators are from the one that asks for them, and threads from those
    /// that time.
    fn take_actual(&mut self, index: u8, mut actual: Actual, loaded: bool) {
        let reason = actual.fallback.take();
        let told = reason.as_ref().map(|reason| format!("process {index}: {reason}"));
        match (&mut self.actual, reason) {
            (None, None) if !loaded => {}
            (None, _) => self.actual = Some(Actual { fallback: told, ..actual }),
            (Some(known), reason) => {
                if known.delegated.present().is_none() && actual.delegated.present().is_some() {
                    (known.delegated, known.rest) = (actual.delegated.clone(), actual.rest.clone());
                    (known.accelerator, known.provider) = (actual.accelerator.clone(), actual.provider.clone());
                }
                match (&mut known.fallback, reason) {
                    (_, None) => {}
                    (Some(earlier), Some(reason)) if earlier.contains(&reason) => {}
                    (Some(earlier), Some(_)) => earlier.extend(["; ", told.as_deref().unwrap_or_default()]),
                    (None, Some(_)) => {
                        if actual.delegated.present().is_none() {
                            actual.delegated = known.delegated.clone();
                        }
                        if actual.threads.present().is_none() {
                            actual.threads = known.threads.clone();
                        }
                        *known = Actual { fallback: told, ..actual };
                    }
                }
            }
        }
    }

    fn add_log(&mut self, index: u8, log: &str) {
        if log.is_empty() {
            return;
        }
        self.log.extend([&format!("--- process {index} ---\n"), log]);
        if self.log.len() > MAX_LOG_BYTES {
            let from = self.log.ceil_char_boundary(self.log.len() - MAX_LOG_BYTES);
            self.log.drain(..from);
            let bound = format!("log cut at {MAX_LOG_BYTES} bytes");
            if !self.bounds_hit.contains(&bound) {
                self.bounds_hit.push(bound);
            }
        }
    }
}

fn read_block(out: &Path, file: BlockFile, process: u8) -> Result<Block, String> {
    let BlockFile { kind, count } = file;
    let name = kind.as_str();
    let bytes = read_plain(out, &BlockFile::name(kind), MAX_BLOCK_BYTES)
        .map_err(|error| format!("block {name} of process {process} cannot be read and was dropped: {error}"))?;
    match seatrial_core::block::unpack(&bytes, count) {
        Ok(_) => Ok(Block { metric: kind, process, count, bytes }),
        Err(error) => Err(format!("block {name} of process {process} is damaged and was dropped: {error}")),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn unknown_environment() -> Environment {
    let unread = || Reading::absent("the attempt ended before the device was probed");
    Environment {
        agent_version: VERSION.to_owned(),
        runtime_version: String::new(),
        os: unread(),
        kernel: unread(),
        governor: unread(),
        launch: String::new(),
        facts: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fallback: Option<&str>, delegated: Option<(u32, u32)>) -> Actual {
        Actual {
            fallback: fallback.map(str::to_owned),
            delegated: Reading::from_option(delegated, "not told"),
            rest: delegated.filter(|(on, all)| on < all).map(|_| vec!["shape".to_owned()]).unwrap_or_default(),
            ..Actual::unknown("not told")
        }
    }

    fn taken(processes: &[Actual]) -> Actual {
        let mut journal = Journal::new(clock::boot());
        for (index, actual) in (0..).zip(processes) {
            journal.take_actual(index, actual.clone(), true);
        }
        journal.actual.unwrap()
    }

    #[test]
    fn what_a_later_process_learns_of_operators_is_kept_whoever_fell_back_first() {
        let software = Some("the GPU is a program");
        let actual = taken(&[told(software, None), told(software, None), told(software, Some((9, 9)))]);
        assert_eq!(actual.delegated, Reading::Present((9, 9)));
        assert_eq!(actual.fallback.unwrap(), "process 0: the GPU is a program", "one reason is told once");

        let left = Some("8 of 9 operators ran on the gpu; not: shape");
        let actual = taken(&[told(software, None), told(left, Some((8, 9)))]);
        assert_eq!((actual.delegated, actual.rest), (Reading::Present((8, 9)), vec!["shape".to_owned()]));
        let both = "process 0: the GPU is a program; process 1: 8 of 9 operators ran on the gpu; not: shape";
        assert_eq!(actual.fallback.unwrap(), both);

        let actual = taken(&[told(None, None), told(left, Some((8, 9)))]);
        assert_eq!(actual.fallback.unwrap(), "process 1: 8 of 9 operators ran on the gpu; not: shape");
        let actual = taken(&[told(None, None), told(None, Some((9, 9)))]);
        assert_eq!(
            (actual.delegated, actual.fallback),
            (Reading::Present((9, 9)), None),
            "the control: none fell back"
        );
    }

    #[test]
    fn what_only_one_process_learns_is_kept_whichever_stands_for_the_attempt() {
        let timed = Actual { threads: Reading::Present(2), ..told(None, None) };
        let on = |accelerator: &str, delegated| Actual {
            accelerator: Reading::Present(accelerator.to_owned()),
            ..told(Some("none of it ran on the gpu"), Some(delegated))
        };
        let actual = taken(&[timed.clone(), on("cpu", (0, 9))]);
        assert_eq!((actual.accelerator, actual.threads), (Reading::Present("cpu".to_owned()), Reading::Present(2)));
        let software = Actual { fallback: Some("the GPU is a program".to_owned()), ..timed };
        let actual = taken(&[software, on("cpu", (0, 9))]);
        assert_eq!((actual.accelerator, actual.threads), (Reading::Present("cpu".to_owned()), Reading::Present(2)));
    }

    #[test]
    fn a_process_that_loaded_nothing_tells_nothing() {
        let mut journal = Journal::new(clock::boot());
        journal.take_actual(0, told(None, None), false);
        assert!(journal.actual.is_none());
    }
}
