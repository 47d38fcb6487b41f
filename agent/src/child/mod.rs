//! The isolated process in which alone a model is parsed and timed.
//!
//! It reads one specification, takes from itself what it does not need, does one task stage by stage, and leaves
//! files: the stage log as it goes, packed samples, the result, and last of all the sentinel.

mod command;
mod confine;
pub(crate) mod cpus;
mod energy;
pub(crate) mod events;
mod judge;
mod mark;
mod model_file;
mod onnx_file;
pub(crate) mod opened;
pub(crate) mod orders;
mod outputs;
pub(crate) mod progress;
mod references;
mod scores;
pub(crate) mod spec;
mod tflite_file;
pub mod timing;
pub(crate) mod window;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use seatrial_core::actual::Actual;
use seatrial_core::backend::{Accelerator, Backend};
use seatrial_core::block;
use seatrial_core::evidence::MAX_VALUES;
use seatrial_core::measure::stop;
use seatrial_core::measure::warmup::Warmup;
use seatrial_core::model::Signature;
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::reason::Code;
use seatrial_core::report::{BlockKind, Memory, Opened, Thinned, Window, max_evidence_bytes};
use seatrial_core::runtimes::PackageKind;
use seatrial_core::stage::Stage;
use seatrial_core::time::Monotonic;

use crate::clock;
use crate::data::{DataError, Examples, NamedTensor};
use crate::runtime::{self, LoadRequest, ModelFiles, Outside, Runtime, RuntimeError, Session};
use events::EventLog;
use judge::{Judge, Judged};
use mark::Mark;
use model_file::Looked;
use orders::Orders;
use progress::Progress;
use references::References;
use scores::{FirstClasses, Kept, Scores, not_numbers};
use spec::{BlockFile, ChildResult, ChildSpec, RESULT_FILE, SENTINEL_FILE, SENTINEL_TEXT, SPEC_SCHEMA, Task};
use timing::Samples;
use window::Snapshot;

/// Exit code of a child that says in its result why it failed. Not one that shells, panics or signals use.
pub(crate) const CLAIMED: u8 = 70;
/// Exit code of a child that could not even begin.
const UNFIT: u8 = 71;
/// Exit code of a child that found no room to say so in its result.
pub(crate) const FULL: u8 = 72;
/// Inferences of the memory pass, and of the process that asks about operators.
const FEW_RUNS: u32 = 5;
/// Identical bits over this many repeats count as deterministic.
const REPEATS: u32 = 3;

/// The whole life of a child. Its standard error is kept by its parent.
pub fn main(spec_path: &Path) -> ExitCode {
    match prepare(spec_path) {
        Ok((tools, confinement)) => work(tools, confinement),
        Err(error) => {
            eprintln!("seatrial child: {error}");
            ExitCode::from(if crate::cache::is_full(&error) { FULL } else { UNFIT })
        }
    }
}

/// What a child was given, opened before it shut itself in.
struct Tools {
    spec: ChildSpec,
    log: EventLog,
    progress: Progress,
    mark: Mark,
    orders: Orders,
}

fn prepare(spec_path: &Path) -> io::Result<(Tools, String)> {
    let orders = confine::tie_to_parent()?;
    let spec: ChildSpec = serde_json::from_slice(&std::fs::read(spec_path)?)?;
    if spec.schema != SPEC_SCHEMA {
        return Err(io::Error::other(format!("specification of version {}, expected {SPEC_SCHEMA}", spec.schema)));
    }
    confine::limit(&spec)?;
    let log = EventLog::create(&spec.out)?;
    let progress = Progress::create(&spec.out)?;
    let mark = Mark::open();
    let confinement = confine::confine(&spec);
    Ok((Tools { spec, log, progress, mark, orders }, confinement))
}

fn work(tools: Tools, confinement: String) -> ExitCode {
    let Tools { spec, log, progress, mark, orders } = tools;
    let started = clock::boot();
    let mut worker = Worker {
        spec: &spec,
        log,
        progress,
        mark,
        orders,
        started,
        opened: Duration::ZERO,
        result: ChildResult::default(),
    };
    worker.result.facts.insert("confinement".to_owned(), confinement);
    let code = match worker.perform() {
        // Outputs that are not numbers are found by a process that is otherwise whole.
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { claim, message }) => {
            worker.result.claim = Some(claim);
            worker.result.message = Some(message);
            ExitCode::from(CLAIMED)
        }
    };
    let finished = code == ExitCode::SUCCESS;
    match leave(&spec.out, &worker.result, finished) {
        Ok(()) => code,
        Err(error) => {
            eprintln!("seatrial child: writing the result: {error}");
            ExitCode::from(if crate::cache::is_full(&error) { FULL } else { UNFIT })
        }
    }
}

fn leave(out: &Path, result: &ChildResult, finished: bool) -> io::Result<()> {
    write_synced(&out.join(RESULT_FILE), &serde_json::to_vec(result)?)?;
    if finished {
        write_synced(&out.join(SENTINEL_FILE), SENTINEL_TEXT.as_bytes())?;
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Why a task went no further.
#[derive(Debug)]
struct Failure {
    claim: Claim,
    message: String,
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        Self { claim: error.claim, message: error.message }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self { claim: Claim::SpecError, message: error.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let claim = if crate::cache::is_full(&error) { Claim::StorageFull } else { Claim::SpecError };
        Self { claim, message: format!("writing to the attempt's folder: {error}") }
    }
}

struct Worker<'a> {
    spec: &'a ChildSpec,
    log: EventLog,
    progress: Progress,
    mark: Mark,
    orders: Orders,
    started: Monotonic,
    /// How long it took until the engine's library was there.
    opened: Duration,
    result: ChildResult,
}

impl Worker<'_> {
    fn perform(&mut self) -> Result<(), Failure> {
        if self.spec.index == 0 && self.spec.task != Task::Probe {
            self.look()?;
        }
        if let Some(package) = self.spec.package.as_ref().filter(|package| package.kind == PackageKind::Command) {
            return self.program(package);
        }
        if self.spec.package.is_some() {
            self.enter(Stage::Load)?;
        }
        let reads = disk_reads();
        let begun = Instant::now();
        let runtime = runtime::open(self.spec)?;
        self.opened = begun.elapsed();
        self.result.opened = self.of_library(reads);
        let done = match self.spec.task {
            Task::Describe => return self.describe(runtime.as_ref()),
            Task::Probe => {
                self.result.offer = Some(runtime.probe());
                return Ok(());
            }
            Task::Latency { determinism } => self.latency(runtime.as_ref(), determinism),
            Task::Memory => self.memory(runtime.as_ref()),
            Task::Accuracy { keep_outputs } => self.accuracy(runtime.as_ref(), keep_outputs),
            Task::Operators => self.operators(runtime.as_ref()),
            Task::Energy => self.energy(runtime.as_ref()),
        };
        let done = if self.spec.index == 0 { self.check_signature(runtime.as_ref(), done) } else { done };
        // A runner has told its own by now.
        self.result.runtime_version = Some(format!("{} {}", runtime.name(), runtime.version()));
        done
    }

    /// The first process of an attempt reads what the file declares, after all that is measured. When that is not what
    /// the client claimed, this is why anything before went wrong, and nothing that went well can be trusted.
    fn check_signature(&mut self, runtime: &dyn Runtime, done: Result<(), Failure>) -> Result<(), Failure> {
        let found = match (self.result.actual.signature.clone(), &done) {
            (Some(of_session), _) => Ok(of_session),
            (None, Ok(())) => {
                // The file is parsed once more, for which unloading a model leaves no time.
                self.enter(Stage::Load)?;
                runtime.describe(&self.files())
            }
            (None, Err(_)) => runtime.describe(&self.files()),
        };
        // A file that cannot be read has been answered by loading it.
        let Ok(found) = found else { return done };
        let contradiction = self.spec.job.model.signature.contradiction(&found);
        self.result.signature = Some(found);
        match contradiction {
            None => done,
            Some(contradiction) => Err(Failure {
                claim: Claim::SpecError,
                message: format!("the model is not what was claimed when it was added: {contradiction}; add it again"),
            }),
        }
    }

    /// The first process of an attempt looks at the model's file before any engine opens it.
    fn look(&mut self) -> Result<(), Failure> {
        let looked = Looked::at(&self.files());
        looked.check_places()?;
        if self.spec.task != Task::Describe {
            return looked.check_precision(&self.spec.job.model);
        }
        self.result.whole = looked.whole && looked.is_complete(&self.files());
        self.result.weights = looked.weights;
        // For the parent, should the engine take this process along.
        Ok(write_synced(&self.spec.out.join(RESULT_FILE), &serde_json::to_vec(&self.result).map_err(io::Error::from)?)?)
    }

    /// What of the engine's library the disk gave since then.
    fn of_library(&self, before: Option<u64>) -> Option<Opened> {
        let package = self.spec.package.as_ref()?;
        match package.kind {
            PackageKind::Library { .. } => opened::of(None, &package.folder, before?),
            // Its program is started later, and reads for itself.
            PackageKind::Runner { .. } | PackageKind::Command => None,
        }
    }

    // --- tasks ---

    fn describe(&mut self, runtime: &dyn Runtime) -> Result<(), Failure> {
        if self.spec.package.is_none() && !crate::signature::can_read(self.spec.job.model.format) {
            self.result.signature = Some(Signature::default());
            return Ok(());
        }
        self.enter(Stage::Load)?;
        self.result.signature = Some(runtime.describe(&self.files())?);
        Ok(())
    }

    fn latency(&mut self, runtime: &dyn Runtime, determinism: bool) -> Result<(), Failure> {
        let inputs = self.first_inputs()?;
        let rule = self.spec.job.profile.stop;
        let mut samples = Samples::reserve(&rule, self.spec.job.profile.room());
        let mut session = self.load(runtime, &inputs)?;
        self.first_inference(session.as_mut(), &inputs)?;
        self.warm_up(session.as_mut())?;

        self.enter(Stage::Measure)?;
        let allowed = self.result.actual.affinity.present().cloned();
        let engine = session.outside().map(|outside| outside.process);
        let before = Snapshot::take(allowed.as_deref(), engine);
        let interval = self.spec.job.profile.interval;
        let measured = timing::measure(session.as_mut(), &rule, interval, &mut samples, &mut |samples, elapsed| {
            self.progress.write(stop::share(&rule, samples, elapsed));
        });
        let after = Snapshot::take(allowed.as_deref(), engine);
        let unaccounted = session.outside().and_then(|outside| outside.unaccounted);
        let window = Window { unaccounted, ..after.since(&before) };
        let Backend { accelerator, threads: asked, .. } = self.spec.job.backend;
        match (accelerator, engine) {
            (Accelerator::Cpu, None) => self.result.actual.threads = after.threads_since(&before),
            // It tells them itself, and has threads there that wait for each other: their CPU time is held against its word.
            (Accelerator::Cpu, Some(_)) => {
                let computing_ms = samples.computing_ms().min(window.monotonic_ms);
                if let Some(cpu_ms) = after.engine_cpu_since(&before) {
                    self.result.actual.refute_threads(asked.max(1), cpu_ms, computing_ms);
                }
            }
            (Accelerator::Gpu | Accelerator::Npu, None) => {
                self.result.actual.threads = Reading::absent(Code::ThreadsOfDriver.template());
            }
            (Accelerator::Gpu | Accelerator::Npu, Some(_)) => {}
        }
        self.result.window = Some(window);
        self.progress.clear();
        self.result.thinned = samples.thinned();
        if let Some(Thinned { every, inferences, .. }) = self.result.thinned {
            self.result.bounds_hit.push(format!("{inferences} inferences: one of every {every} is kept as a sample"));
        }
        // What an engine says of its own times is no sample until its caller could refute it.
        if measured.is_ok() || session.outside().is_none() {
            self.keep_samples(&samples)?;
        }
        measured?;

        self.check_numbers(session.as_mut())?;
        if determinism {
            self.enter(Stage::Accuracy)?;
            self.repeat(session.as_mut())?;
        }
        self.tear_down(session).map(|_| ())
    }

    fn memory(&mut self, runtime: &dyn Runtime) -> Result<(), Failure> {
        let inputs = self.first_inputs()?;
        let marked = self.mark.start_anew();
        let base = resident(None, "VmRSS:");
        let mut session = self.load(runtime, &inputs)?;
        self.enter(Stage::Accuracy)?;
        session.set_inputs(&inputs)?;
        run_few(session.as_mut())?;
        let (base, peak, pss_kib) = match session.outside() {
            None => {
                // A mark from before is that of reading the inputs, and says nothing of the model.
                let peak = match marked {
                    Ok(()) => resident(None, "VmHWM:"),
                    Err(error) => {
                        self.result.facts.insert("memory_mark".to_owned(), format!("not started anew: {error}"));
                        None
                    }
                };
                (base, peak, proportional(None))
            }
            Some(outside) => {
                let fact = "of the runner's process; its peak includes its start".to_owned();
                self.result.facts.insert("memory_mark".to_owned(), fact);
                let process = Some(outside.process);
                (outside.base_kib, resident(process, "VmHWM:"), proportional(process))
            }
        };
        let retained = self.tear_down(session)?;
        self.result.memory = base.zip(retained).map(|(base_kib, retained_kib)| Memory {
            base_kib,
            peak_kib: peak,
            retained_kib,
            pss_kib,
        });
        Ok(())
    }

    fn operators(&mut self, runtime: &dyn Runtime) -> Result<(), Failure> {
        let inputs = self.first_inputs()?;
        let mut session = self.load(runtime, &inputs)?;
        // Not the stage in which it measures: nothing that is timed here is a latency.
        self.enter(Stage::Accuracy)?;
        session.set_inputs(&inputs)?;
        run_few(session.as_mut())?;
        let told = session.operators();
        // What is known now was not before they ran.
        let affinity = self.result.actual.affinity.clone();
        self.result.actual = Actual { affinity, ..session.actual() };
        match told {
            Ok(profile) => self.result.operators = Some(profile),
            Err(why) => self.operators_untold(&why),
        }
        self.tear_down(session).map(|_| ())
    }

    fn accuracy(&mut self, runtime: &dyn Runtime, keep_outputs: bool) -> Result<(), Failure> {
        self.enter(Stage::Prepare)?;
        let mut examples = self.examples()?;
        let first = examples.inputs(0)?;
        let mut session = self.load(runtime, &first)?;
        self.enter(Stage::Accuracy)?;
        let entered = Instant::now();
        session.set_inputs(&first)?;
        self.repeat(session.as_mut())?;
        // Who wants the outputs themselves asks for no figures.
        let mut scores = Scores::new(&self.spec.job.binding, &mut examples, !keep_outputs)?;
        let mut judge = if keep_outputs { None } else { Judge::start(self.spec, &mut examples, entered)? };
        let mut references = keep_outputs.then(References::default);
        for index in 0..examples.count() {
            let (inputs, frame) = examples.framed(index)?;
            session.set_inputs(&inputs)?;
            session.make_ready();
            session.infer()?;
            let outputs = session.outputs()?;
            scores.take(&outputs, &examples.goldens(index)?, frame)?;
            if let Some(judge) = &mut judge {
                judge.take(index, &outputs).map_err(|failure| scores.blame(failure))?;
            }
            if let Some(references) = &mut references {
                references.push(&outputs)?;
            }
            self.progress.tell(f64::from(index + 1) / f64::from(examples.count()));
        }
        let judged = judge.map(Judge::finish).transpose().map_err(|failure| scores.blame(failure))?;
        self.progress.clear();
        self.keep_scores(scores, examples.count())?;
        self.keep_judged(judged)?;
        if let Some(references) = references {
            self.result.references = references.write(&self.spec.out)?;
        }
        self.tear_down(session).map(|_| ())
    }

    // --- stages ---

    fn enter(&mut self, stage: Stage) -> Result<(), Failure> {
        self.log.enter(stage)?;
        #[cfg(feature = "faults")]
        if self.spec.job.backend.runtime == "fake" {
            runtime::fake::on_entering(stage, &self.files())?;
        }
        Ok(())
    }

    /// Everything that the first inference is given, made before anything is timed.
    fn first_inputs(&mut self) -> Result<Vec<NamedTensor>, Failure> {
        self.enter(Stage::Prepare)?;
        let job = &self.spec.job;
        if let Some(path) = &self.spec.dataset {
            return Ok(match self.spec.task {
                Task::Memory => Examples::first(path, &job.binding, &job.model.signature)?,
                // Whether the whole of it can be used is better known before anything is measured.
                Task::Latency { .. }
                | Task::Accuracy { .. }
                | Task::Operators
                | Task::Energy
                | Task::Describe
                | Task::Probe => self.examples()?.inputs(0)?,
            });
        }
        Ok(crate::data::seeded(&job.model.signature, &job.binding, job.seed)?)
    }

    fn load(&mut self, runtime: &dyn Runtime, inputs: &[NamedTensor]) -> Result<Box<dyn Session>, Failure> {
        if let Some(cpus) = &self.spec.affinity {
            cpus::pin(cpus).map_err(|message| Failure { claim: Claim::UnsupportedBackend, message })?;
        }
        let job = &self.spec.job;
        let request = LoadRequest {
            accelerator: job.backend.accelerator,
            threads: job.backend.threads.max(1),
            provider: job.backend.provider,
            precision: job.backend.precision,
            variant: job.model.precision,
            inputs,
            operator_profile: matches!(self.spec.task, Task::Operators).then_some(self.spec.out.as_path()),
        };
        self.enter(Stage::Load)?;
        let reads = disk_reads();
        let begun = Instant::now();
        let session = runtime.load(&self.files(), &request)?;
        let loaded = begun.elapsed();
        self.result.load_reads = match session.outside() {
            None => reads.zip(disk_reads()).map(|(before, after)| after.saturating_sub(before)),
            Some(outside) => {
                self.result.opened = outside.opened;
                outside.load_reads
            }
        };
        // From the start of the process, with the engine's library; making inputs comes between and is not counted.
        let start_up = self.started.since(self.spec.spawned) + self.opened;
        self.result.load_ms = Some(milliseconds(start_up + loaded));
        self.result.compile_ms = session.compiled_in().map(milliseconds);
        self.result.actual = session.actual();
        let facts = session.facts().into_iter().map(|(name, value)| (name.to_owned(), value));
        self.result.facts.extend(facts);
        self.result.actual.affinity = cpus::allowed();
        Ok(session)
    }

    fn first_inference(&mut self, session: &mut dyn Session, inputs: &[NamedTensor]) -> Result<(), Failure> {
        session.set_inputs(inputs)?;
        self.enter(Stage::FirstInference)?;
        self.result.first_infer_ms = Some(milliseconds(timing::once(session)?));
        Ok(())
    }

    fn warm_up(&mut self, session: &mut dyn Session) -> Result<(), Failure> {
        self.enter(Stage::Warmup)?;
        let mut warmup = Warmup::new(self.spec.job.profile.warmup);
        let mut iterations = 0u32;
        loop {
            let latency = timing::once(session)?;
            iterations += 1;
            if warmup.push(latency) {
                self.result.warmup_iterations = Some(iterations);
                return Ok(());
            }
        }
    }

    /// Returns what stays resident without the model, in KiB.
    fn tear_down(&mut self, mut session: Box<dyn Session>) -> Result<Option<u64>, Failure> {
        self.enter(Stage::Teardown)?;
        session.release()?;
        let outside = session.outside().cloned();
        let retained = outside.as_ref().and_then(|outside| resident(Some(outside.process), "VmRSS:"));
        drop(session);
        match outside {
            None => Ok(resident(None, "VmRSS:")),
            Some(Outside { facts, .. }) => {
                let index = self.spec.index;
                self.result.facts.extend(facts.into_iter().map(|(name, fact)| (format!("{name}_{index}"), fact)));
                Ok(retained)
            }
        }
    }

    // --- findings ---

    fn keep_samples(&mut self, samples: &Samples) -> io::Result<()> {
        let latencies: Vec<i64> = samples.latencies().iter().map(|&ns| ns as i64).collect();
        let first = samples.starts().first().copied().unwrap_or(0);
        let starts: Vec<i64> = samples.starts().iter().map(|&ns| ns.saturating_sub(first) as i64 / 1000).collect();
        self.keep_block(BlockKind::LatencyNs, &latencies)?;
        self.keep_block(BlockKind::StartUs, &starts)
    }

    fn keep_scores(&mut self, scores: Scores, examples: u32) -> Result<(), Failure> {
        let not_numbers = scores.not_numbers.clone();
        let Kept { classes, evidence, golden, outputs, cut } = scores.finish(examples)?;
        if let Some(FirstClasses { labels, top, .. }) = classes {
            self.keep_block(BlockKind::Labels, &labels)?;
            self.keep_block(BlockKind::TopClasses, &top)?;
        }
        if let Some((truth, answers)) = evidence {
            self.keep_evidence(&truth, &answers)?;
        }
        self.keep_block(BlockKind::Outputs, &outputs)?;
        self.result.golden = golden;
        self.result.bounds_hit.extend(cut);
        if let Some(message) = not_numbers {
            self.result.claim = Some(Claim::NumericsFail);
            self.result.message = Some(message);
        }
        Ok(())
    }

    fn keep_judged(&mut self, judged: Option<Judged>) -> Result<(), Failure> {
        let Some(Judged { figures, evidence, spent }) = judged else { return Ok(()) };
        self.result.figures = figures;
        self.result.facts.insert("scorer_time".to_owned(), format!("{:.3} s", spent.as_secs_f64()));
        if let Some((truth, answers)) = evidence {
            self.keep_evidence(&truth, &answers)?;
        }
        Ok(())
    }

    /// Both or neither: a report has room for so many bytes.
    fn keep_evidence(&mut self, truth: &[i64], answers: &[i64]) -> io::Result<()> {
        let (packed_truth, packed_answers) = (block::pack(truth), block::pack(answers));
        let (bytes, most) = (packed_truth.len() + packed_answers.len(), max_evidence_bytes(self.spec.job.profile.kind));
        let longest = truth.len().max(answers.len());
        if bytes > most || longest > MAX_VALUES as usize {
            self.result.bounds_hit.push(format!(
                "truth and answers are not kept: {bytes} bytes and {longest} values, at most {most} and {MAX_VALUES} are"
            ));
            return Ok(());
        }
        self.keep_packed(BlockKind::Truth, &packed_truth, truth.len())?;
        self.keep_packed(BlockKind::Answers, &packed_answers, answers.len())
    }

    fn keep_block(&mut self, kind: BlockKind, values: &[i64]) -> io::Result<()> {
        if values.is_empty() { Ok(()) } else { self.keep_packed(kind, &block::pack(values), values.len()) }
    }

    fn keep_packed(&mut self, kind: BlockKind, bytes: &[u8], values: usize) -> io::Result<()> {
        std::fs::write(self.spec.out.join(BlockFile::name(kind)), bytes)?;
        let count = u32::try_from(values).unwrap_or(u32::MAX);
        self.result.blocks.push(BlockFile { kind, count });
        Ok(())
    }

    /// The same input, again and again: the bits must not change.
    fn repeat(&mut self, session: &mut dyn Session) -> Result<(), Failure> {
        let mut once = || -> Result<Vec<NamedTensor>, RuntimeError> {
            session.make_ready();
            session.infer()?;
            session.outputs()
        };
        let first = once()?;
        let mut same = true;
        for _ in 1..REPEATS {
            let again = once()?;
            let alike = |((_, one), (_, other)): (&NamedTensor, &NamedTensor)| one.bytes() == other.bytes();
            same &= again.len() == first.len() && again.iter().zip(&first).all(alike);
        }
        self.result.determinism = Some(Reading::Present(same));
        Ok(())
    }

    fn check_numbers(&mut self, session: &mut dyn Session) -> Result<(), Failure> {
        if let Some(message) = not_numbers(&session.outputs()?) {
            self.result.claim = Some(Claim::NumericsFail);
            self.result.message = Some(message);
        }
        Ok(())
    }

    /// Nobody knows what was left to the engine's own kernels on the CPU when it does not tell: that is no pass of what was
    /// asked for in their place.
    fn operators_untold(&mut self, why: &str) {
        let untold = format!("the engine did not tell what its operators ran on: {why}");
        let Backend { accelerator, provider, .. } = self.spec.job.backend;
        let unknown = match accelerator {
            Accelerator::Cpu => provider.map(|provider| format!("any of it ran on {}", provider.as_str())),
            Accelerator::Gpu | Accelerator::Npu => Some(format!("all of it ran on the {}", accelerator.as_str())),
        };
        if let Some(unknown) = unknown.filter(|_| self.result.actual.fallback.is_none()) {
            self.result.actual.fallback = Some(format!("it is not known whether {unknown}: {untold}"));
        }
        self.result.bounds_hit.push(untold);
    }

    // --- helpers ---

    fn files(&self) -> ModelFiles<'_> {
        ModelFiles { folder: &self.spec.model, files: &self.spec.files, format: self.spec.job.model.format }
    }

    fn examples(&self) -> Result<Examples, Failure> {
        let Some(path) = &self.spec.dataset else {
            let message = "a job without a dataset has no examples".to_owned();
            return Err(Failure { claim: Claim::SpecError, message });
        };
        Ok(Examples::open(path, &self.spec.job.binding, &self.spec.job.model.signature)?)
    }
}

fn run_few(session: &mut dyn Session) -> Result<(), RuntimeError> {
    for _ in 0..FEW_RUNS {
        session.make_ready();
        session.infer()?;
    }
    Ok(())
}

/// Bytes that this process has had the disk read, `read_bytes` of `/proc/self/io`.
fn disk_reads() -> Option<u64> {
    opened::disk_reads(None)
}

/// In KiB, from the `smaps_rollup` of a process, or of this one.
fn proportional(process: Option<u32>) -> Option<u64> {
    window::field(&window::read(&window::of_process(process, "smaps_rollup"))?, "Pss:")
}

/// In KiB, from the `status` of a process, or of this one.
fn resident(process: Option<u32>, name: &str) -> Option<u64> {
    window::field(&window::read(&window::of_process(process, "status"))?, name)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
