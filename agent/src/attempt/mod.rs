//! One attempt, from its artifacts to its report: named phases in order, in a thread of its own.

mod describing;
mod energy;
mod guard;
mod journal;
mod output;
mod preflight;
mod probing;
mod process;
mod sensors;
mod states;
mod turn;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fs_err as fs;
use seatrial_core::backend::Accelerator;
use seatrial_core::digest::Digest;
use seatrial_core::job::{JobSpec, Limits};
use seatrial_core::model::Signature;
use seatrial_core::outcome::{Claim, Exit, Outcome};
use seatrial_core::profile::ProfileKind;
use seatrial_core::reason::Code;
use seatrial_core::report::{ProcessRole, Report};
use seatrial_core::runtimes::PackageKind;
use seatrial_core::session::Stop;
use seatrial_core::stage::Stage;
use seatrial_core::time::Monotonic;

use crate::cache::{FetchError, Patience};
pub use crate::child::spec::ReferenceFile;
use crate::child::spec::{ChildSpec, PlacedFile, PlacedPackage, SPEC_SCHEMA, Task};
use crate::energy::{Hook, Kept};
use crate::interpreters::Interpreters;
use crate::isolation::Mark;
use crate::plain::read_plain;
use crate::probe::Probe;
use crate::probes::Probes;
use crate::{clock, isolation, page_cache};
pub(crate) use describing::{Described, describe};
use energy::Measuring;
pub use guard::Guard;
use guard::Watchman;
use journal::Journal;
pub use preflight::Preflight;
use process::{Ended, Launch, Watch};
use states::States;
use turn::{NoTurn, Turn};

/// Bytes of one file of outputs that are kept whole.
const MAX_REFERENCE_BYTES: u64 = 256 << 20;
/// The list of such files, beside them.
pub const REFERENCES_FILE: &str = "references.json";

/// Share of the deadline to prepare that may be spent waiting for the device to settle; the rest is for the inputs.
const WAITING_SHARE: f64 = 2.0 / 3.0;

/// Set once, from any thread, with the reason.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<OnceLock<Stop>>);

impl StopSignal {
    /// The first reason stands.
    pub fn set(&self, stop: Stop) {
        let _ = self.0.set(stop);
    }

    pub fn get(&self) -> Option<&Stop> {
        self.0.get()
    }

    pub fn is_set(&self) -> bool {
        self.get().is_some()
    }
}

/// Where an attempt's files come from.
pub trait Source {
    /// Puts the artifact at `place` and tells how many bytes had to be moved for it.
    fn place(&mut self, digest: Digest, size: u64, place: &Path, patience: Patience<'_>) -> Result<u64, FetchError>;
}

/// What an attempt is given.
#[derive(Debug, Clone)]
pub struct Order {
    pub spec: JobSpec,
    pub mark: Mark,
    /// An empty folder of its own.
    pub folder: PathBuf,
    /// How to start a child: this program, and the words before `child`.
    pub child_command: Vec<OsString>,
    pub preflight: Preflight,
    pub guard: Guard,
    /// Root of the file system that is probed.
    pub root: PathBuf,
    /// How this process came to run: `process`, `adb shell`, …
    pub launch: String,
    /// Where the outputs of the dataset are to be kept whole.
    pub references: Option<PathBuf>,
    /// Where it is remembered what packages offer here; nobody asks them when absent.
    pub probes: Option<Probes>,
    /// What runs runners here.
    pub interpreters: Interpreters,
    /// Where it is remembered what is known of the battery's gauge; nothing is when absent.
    pub gauge: Option<Kept>,
    /// A meter beside the device.
    pub meter: Option<Hook>,
    /// Waits for processes of the attempt that cannot be ended, however long it takes: who gives orders one after the
    /// other must not be told that this one is over. Else the attempt fails and names them.
    pub outlast_orphans: bool,
}

/// Where an attempt is: it has entered a stage, or has come further in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub stage: Stage,
    /// Since the attempt's start.
    pub at: Duration,
    /// 0 to 1 within the stage; absent on entering it.
    pub share: Option<f64>,
}

/// What an attempt tells while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    Step(Step),
    /// These processes of it do not end, and it waits for them.
    Orphans(Vec<i32>),
}

pub type OnNews<'a> = &'a mut dyn FnMut(News);

/// Carries out an order. Nothing of it runs any more when this returns, unless the report names what does not end.
pub fn perform(order: &Order, source: &mut dyn Source, stop: &StopSignal, on_news: OnNews<'_>) -> Report {
    let journal = Journal::new(clock::boot());
    let probe = Probe::new(&order.root);
    Attempt { order, probe, stop, on_news, journal, cpus: None, package: None, scorer: None, read: None, turn: None }
        .perform(source)
}

/// Why an attempt went no further.
#[derive(Debug)]
struct Failure {
    outcome: Outcome,
    stage: Stage,
    message: String,
}

struct Attempt<'a> {
    order: &'a Order,
    probe: Probe,
    stop: &'a StopSignal,
    on_news: OnNews<'a>,
    journal: Journal,
    /// The CPUs of the children; `None` for any.
    cpus: Option<Vec<u16>>,
    /// The job's runtime package with what runs it here.
    package: Option<PlacedPackage>,
    /// What runs the dataset's scorer here.
    scorer: Option<PathBuf>,
    /// What a process has read of the model that nobody had claimed.
    read: Option<Signature>,
    /// Held until the report is made.
    turn: Option<Turn>,
}

impl Attempt<'_> {
    fn perform(mut self, source: &mut dyn Source) -> Report {
        let end = self.fetch(source).and_then(|()| self.prepare()).and_then(|begun| self.children(begun));
        self.report(end)
    }

    /// Every file of the variant and of the engine under its flat name, and the dataset.
    fn fetch(&mut self, source: &mut dyn Source) -> Result<(), Failure> {
        let begun = self.enter(Stage::Fetch);
        let patience = Patience { stop: self.stop, begun, within: self.order.spec.limits.deadline(Stage::Fetch) };
        let model = self.model_folder();
        fs::create_dir_all(&model).map_err(|error| io_failure(Stage::Fetch, &error))?;
        let mut wanted = Vec::new();
        for entry in &self.order.spec.model.manifest.entries {
            check_flat(&entry.file_name)?;
            wanted.push((entry.digest, entry.size, model.join(&entry.file_name)));
        }
        if let Some(package) = &self.order.spec.package {
            let folder = self.package_folder();
            fs::create_dir_all(&folder).map_err(|error| io_failure(Stage::Fetch, &error))?;
            for entry in &package.manifest.entries {
                check_flat(&entry.file_name)?;
                wanted.push((entry.digest, entry.size, folder.join(&entry.file_name)));
            }
        }
        if let Some(dataset) = &self.order.spec.dataset {
            wanted.push((dataset.digest, dataset.size, self.dataset_path()));
        }
        let (mut moved, count) = (0, wanted.len());
        for (digest, size, place) in wanted {
            self.check_stop(Stage::Fetch)?;
            moved += source.place(digest, size, &place, patience).map_err(|error| fetch_failure(&error))?;
        }
        self.journal.note(Stage::Fetch, format!("{count} files, {moved} bytes moved"));
        self.journal.loaded = self.order.spec.artifacts().map(|(digest, _)| digest).collect();
        Ok(())
    }

    /// Refuses, waits or notes, as the device's state asks. Tells when it began.
    fn prepare(&mut self) -> Result<Monotonic, Failure> {
        let begun = self.enter(Stage::Prepare);
        let within = self.order.spec.limits.deadline(Stage::Prepare).mul_f64(WAITING_SHARE);
        self.journal.environment = self.probe.environment(&self.order.launch);
        // Once with what cannot be read, and why; while a child runs only what can is read.
        self.journal.sample_sensors(&self.probe.all_sensors());
        let size = self.order.spec.model.manifest.size();
        let findings = self.order.preflight.check(&self.probe, &self.order.folder, size, within, self.stop);
        self.check_stop(Stage::Prepare)?;
        self.journal.environment.facts.extend(findings.facts);
        self.cpus = self.probe.resolve_affinity(&self.order.spec.backend.affinity).map_err(|reason| Failure {
            outcome: Outcome::UnsupportedBackend,
            stage: Stage::Prepare,
            message: reason.into(),
        })?;
        self.package = self.placed_package()?;
        self.scorer = self.placed_scorer()?;
        if let Some((outcome, message)) = findings.refusal {
            return Err(Failure { outcome, stage: Stage::Prepare, message });
        }
        self.take_turn(within.saturating_sub(clock::boot().since(begun)))?;
        let left = within.saturating_sub(clock::boot().since(begun));
        let facts = &mut self.journal.environment.facts;
        self.order.preflight.settle(&self.probe, left, facts, self.stop);
        self.check_stop(Stage::Prepare)?;
        Ok(begun)
    }

    /// Waits until no other simulated phone of this machine measures. It is a part of preparing, which the stream renews:
    /// a turn costs no lease, and no number has the time in it.
    fn take_turn(&mut self, within: Duration) -> Result<(), Failure> {
        let Some(path) = &self.order.preflight.turn else { return Ok(()) };
        let begun = clock::boot();
        let failure = |message| Failure { outcome: Outcome::HarnessError, stage: Stage::Prepare, message };
        match turn::take(path, within, self.stop) {
            Ok(turn) => self.turn = Some(turn),
            Err(NoTurn::Stopped) => return self.check_stop(Stage::Prepare),
            Err(NoTurn::Late(waited)) => {
                return Err(failure(format!(
                    "no turn to measure in {} s: others that share {} measured all the time; give preparing a longer \
                     deadline",
                    waited.as_secs(),
                    path.display()
                )));
            }
            Err(NoTurn::Io(error)) => return Err(failure(format!("the turn to measure, {}: {error}", path.display()))),
        }
        let waited = clock::boot().since(begun).as_secs_f64();
        self.journal.note(Stage::Prepare, format!("waited {waited:.1} s for its turn to measure"));
        self.journal.environment.facts.insert("preflight.turn_s".to_owned(), format!("{waited:.1}"));
        Ok(())
    }

    /// Where the package is, ready to be started. A runner's interpreter is known by name to the job, and by its path to
    /// this agent's configuration alone.
    fn placed_package(&mut self) -> Result<Option<PlacedPackage>, Failure> {
        let Some(package) = &self.order.spec.package else { return Ok(None) };
        let mut placed = PlacedPackage::new(package, self.package_folder());
        if let PackageKind::Runner { interpreter: Some(name) } = &package.kind {
            let Some((path, version)) = self.order.interpreters.get(name) else {
                let message =
                    format!("this agent knows no interpreter {name:?}: start it with --interpreter {name}=PATH");
                return Err(Failure { outcome: Outcome::UnsupportedBackend, stage: Stage::Prepare, message });
            };
            self.journal.environment.facts.insert("interpreter".to_owned(), format!("{name}: {version}"));
            placed.interpreter = Some(path.to_owned());
        }
        for program in placed.started() {
            make_executable(&program).map_err(|error| io_failure(Stage::Prepare, &error))?;
        }
        Ok(Some(placed))
    }

    /// What runs the dataset's scorer, by the name in this agent's configuration. Who wants the outputs themselves has
    /// nothing judged.
    fn placed_scorer(&mut self) -> Result<Option<PathBuf>, Failure> {
        let dataset = self.order.spec.dataset.as_ref().filter(|_| self.order.references.is_none());
        let Some((dataset, scorer)) = dataset.and_then(|it| Some((it, it.scorer.as_ref()?))) else { return Ok(None) };
        let name = &scorer.interpreter;
        let Some((path, version)) = self.order.interpreters.get(name) else {
            let message = format!(
                "the scorer of {} is run by {name}, which this agent does not know: start it with --interpreter {name}=PATH",
                dataset.dataset
            );
            return Err(Failure { outcome: Outcome::SpecError, stage: Stage::Prepare, message });
        };
        self.journal.environment.facts.insert("scorer_interpreter".to_owned(), format!("{name}: {version}"));
        Ok(Some(path.to_owned()))
    }

    /// Fresh processes for latency, one for memory, one for the dataset; the first that fails ends the attempt.
    fn children(&mut self, prepare_begun: Monotonic) -> Result<(), Failure> {
        let spec = &self.order.spec;
        let has_dataset = spec.dataset.is_some();
        let measures_itself = self.package.as_ref().is_some_and(|package| package.kind == PackageKind::Command);
        if measures_itself {
            let able = seatrial_core::command::can_do(&spec.backend.runtime, spec.profile.kind, has_dataset);
            able.map_err(|reason| Failure {
                outcome: Outcome::SpecError,
                stage: Stage::Prepare,
                message: reason.text().to_owned(),
            })?;
        }
        // A program that measures itself has no tensors to compare and is not watched for its memory.
        let determinism = |process| process == 0 && !has_dataset && !measures_itself;
        let latency = (0..spec.profile.processes)
            .map(|process| (ProcessRole::Latency, Task::Latency { determinism: determinism(process) }));
        let memory = (spec.profile.processes > 0 && !measures_itself).then_some((ProcessRole::Memory, Task::Memory));
        let energy = (spec.profile.kind == ProfileKind::Energy).then_some((ProcessRole::Energy, Task::Energy));
        let accuracy = has_dataset
            .then_some((ProcessRole::Accuracy, Task::Accuracy { keep_outputs: self.order.references.is_some() }));
        let operators = self.asks_for_operators().then_some((ProcessRole::Operators, Task::Operators));
        let plan: Vec<_> = latency.chain(memory).chain(energy).chain(accuracy).chain(operators).collect();
        if plan.is_empty() {
            let message = Code::NothingMeasured.template().to_owned();
            return Err(Failure { outcome: Outcome::SpecError, stage: Stage::Prepare, message });
        }
        self.probe_package()?;
        self.read_unclaimed(prepare_begun)?;
        self.drop_page_cache();
        self.journal.sample_states(&self.probe.states());
        for (index, (role, task)) in (0..).zip(plan) {
            self.check_stop(Stage::Load)?;
            let mut limits = self.order.spec.limits.clone();
            if index == 0 {
                // The server counts its inputs and what came before them as one stage.
                let left = limits.deadline(Stage::Prepare).saturating_sub(clock::boot().since(prepare_begun));
                limits.deadlines.insert(Stage::Prepare, left);
            }
            self.child(index, role, task, &limits)?;
        }
        Ok(())
    }

    /// A process more, where somebody will look: what an accelerator left to the CPU, and the whole of a full profile.
    fn asks_for_operators(&self) -> bool {
        let JobSpec { backend, package, profile, .. } = &self.order.spec;
        let chosen = backend.accelerator != Accelerator::Cpu || backend.provider.is_some();
        let wanted = chosen || profile.kind == ProfileKind::Full;
        wanted && crate::runtime::tells_operators(backend, package.as_ref().map(|package| &package.kind))
    }

    fn child(&mut self, index: u8, role: ProcessRole, task: Task, limits: &Limits) -> Result<(), Failure> {
        let spec = self.child_spec(index, task);
        let launch = Launch {
            command: &self.order.child_command,
            spec: &spec,
            mark: &self.order.mark,
            limits,
            stop: self.stop,
            probe: &self.probe,
            outlast_orphans: self.order.outlast_orphans,
        };
        let begun = self.journal.begun();
        let started = clock::boot();
        let on_news = &mut self.on_news;
        let mut watchman = Watchman::new(&self.order.guard);
        let mut measuring = (role == ProcessRole::Energy).then(|| {
            let limits = self.order.spec.profile.energy.unwrap_or_default();
            let (kept, hook) = (self.order.gauge.as_ref(), self.order.meter.as_ref());
            Measuring::new(&self.probe, kept, hook, limits, begun, &spec.out)
        });
        let (trace, states) = (&mut self.journal.sensors, &mut self.journal.states);
        let mut asking = States::new(launch.probe, begun);
        let mut last = Stage::Prepare;
        let ended = process::run(&launch, &mut |watch| match watch {
            Watch::Stage(stage) => {
                last = stage;
                // The short stages between two processes stand in the report only: telling them would trade the long
                // grant of a measurement for a short one, which a lost cable could then end.
                if !matches!(stage, Stage::Prepare | Stage::Teardown) {
                    on_news(News::Step(Step { stage, at: clock::boot().since(begun), share: None }));
                }
                None
            }
            Watch::Look(orders) => {
                if let Some(measuring) = measuring.as_mut().filter(|_| last == Stage::Energy) {
                    measuring.begin(orders);
                    if let Some((at, readings)) = asking.answered() {
                        states.sample(&readings, at);
                    }
                    // What it costs to ask is in what a phase leaves out at its beginning.
                    if measuring.look(orders) {
                        asking.ask();
                    }
                }
                None
            }
            Watch::Second { share } => {
                let at = clock::boot().since(begun);
                let share = measuring.as_ref().map_or(share, Measuring::share);
                if share.is_some() {
                    on_news(News::Step(Step { stage: last, at, share }));
                }
                let readings = launch.probe.sensors();
                trace.sample(&readings, at);
                watchman.look(launch.probe, &readings)
            }
            Watch::Orphans(processes) => {
                on_news(News::Orphans(processes));
                None
            }
        })
        .map_err(|error| Failure {
            outcome: Outcome::HarnessError,
            stage: last,
            message: format!("child process {index}: {error}"),
        });
        if let Some((at, readings)) = asking.last() {
            self.journal.states.sample(&readings, at);
        }
        self.journal.energy = measuring.map(Measuring::finish).or(self.journal.energy.take());
        let ended = ended?;
        let verdict = self.judge(index, role, &ended, last).and_then(|()| self.take_references(&ended));
        if verdict.is_err() && ended.exit != Exit::Stopped {
            self.journal.system_log = self.probe.system_log(clock::boot().since(started));
        }
        self.journal.add_process(index, role, ended);
        if role == ProcessRole::Latency {
            self.journal.sample_states(&self.probe.states());
        }
        verdict
    }

    /// The outcome of one child, when it is not a clean end.
    fn judge(&self, index: u8, role: ProcessRole, ended: &Ended, stage: Stage) -> Result<(), Failure> {
        let outcome = seatrial_core::outcome::classify(&ended.evidence());
        let word = match role {
            ProcessRole::Latency => "latency",
            ProcessRole::Memory => "memory",
            ProcessRole::Accuracy => "accuracy",
            ProcessRole::Operators => "operators",
            ProcessRole::Energy => "energy",
        };
        if matches!(outcome, Outcome::Ok | Outcome::OkFallback) {
            return Ok(());
        }
        if let Some(danger) = &ended.danger {
            let message = format!("{word} process {index} was ended in stage {stage}: {}", danger.message);
            return Err(Failure { outcome: danger.outcome, stage, message });
        }
        let message = format!("{word} process {index}: {}", ended.account(stage));
        if let (Exit::Stopped, Some(Stop::Cancelled(reason))) = (ended.exit, self.stop.get()) {
            return Err(Failure { outcome, stage, message: format!("cancelled: {reason}") });
        }
        Err(Failure { outcome, stage, message })
    }

    fn take_references(&self, ended: &Ended) -> Result<(), Failure> {
        let Some(folder) = &self.order.references else { return Ok(()) };
        for file in ended.result.iter().flat_map(|result| &result.references) {
            check_flat(&file.file_name)?;
            let bytes = read_plain(&ended.out, &file.file_name, MAX_REFERENCE_BYTES)
                .and_then(|bytes| fs::write(folder.join(&file.file_name), bytes));
            bytes.map_err(|error| io_failure(Stage::Accuracy, &error))?;
        }
        let names = ended.result.iter().flat_map(|result| &result.references).cloned().collect::<Vec<_>>();
        if names.is_empty() {
            return Ok(());
        }
        let list = serde_json::to_vec(&names).map_err(|error| io_failure(Stage::Accuracy, &error.into()))?;
        fs::write(folder.join(REFERENCES_FILE), list).map_err(|error| io_failure(Stage::Accuracy, &error))
    }

    fn report(self, end: Result<(), Failure>) -> Report {
        self.journal.into_report(end, &self.order.spec)
    }

    // --- helpers ---

    fn enter(&mut self, stage: Stage) -> Monotonic {
        let begun = clock::boot();
        let at = self.journal.enter(stage);
        (self.on_news)(News::Step(Step { stage, at, share: None }));
        begun
    }

    fn check_stop(&self, stage: Stage) -> Result<(), Failure> {
        let message = match self.stop.get() {
            None => return Ok(()),
            Some(Stop::Cancelled(reason)) => format!("cancelled: {reason}"),
            Some(Stop::NotOurs(reason)) => reason.clone(),
            Some(Stop::Shutdown) => "the agent was stopped".to_owned(),
        };
        Err(Failure { outcome: Outcome::Cancelled, stage, message })
    }

    fn model_folder(&self) -> PathBuf {
        self.order.folder.join("model")
    }

    fn package_folder(&self) -> PathBuf {
        self.order.folder.join("runtime")
    }

    fn dataset_path(&self) -> PathBuf {
        self.order.folder.join("dataset.zip")
    }

    /// The first load is a cold one: the kernel forgets the pages of the model and of the engine's package.
    fn drop_page_cache(&mut self) {
        let JobSpec { model, package, .. } = &self.order.spec;
        let model = model.manifest.entries.iter().map(|entry| self.model_folder().join(&entry.file_name));
        let package = package.iter().flat_map(|package| &package.manifest.entries);
        let package = package.map(|entry| self.package_folder().join(&entry.file_name));
        let files: Vec<PathBuf> = model.chain(package).collect();
        for file in files {
            if let Err(error) = page_cache::forget(&file) {
                self.journal.environment.facts.insert(page_cache::FACT.to_owned(), format!("kept: {error}"));
            }
        }
    }

    fn child_spec(&self, index: u8, task: Task) -> ChildSpec {
        let spec = &self.order.spec;
        let mut job = spec.clone();
        if let Some(read) = &self.read {
            job.model.signature.inputs.clone_from(&read.inputs);
            job.model.signature.outputs.clone_from(&read.outputs);
        }
        let files = spec.model.manifest.entries.iter();
        ChildSpec {
            schema: SPEC_SCHEMA,
            task,
            index,
            model: self.model_folder(),
            files: files
                .map(|entry| PlacedFile { role: entry.role.clone(), file_name: entry.file_name.clone() })
                .collect(),
            dataset: spec.dataset.as_ref().map(|_| self.dataset_path()),
            package: self.package.clone(),
            scorer: self.scorer.clone().filter(|_| matches!(task, Task::Accuracy { .. })),
            out: self.order.folder.join(format!("out-{index}")),
            affinity: self.cpus.clone(),
            spawned: clock::boot(),
            job,
        }
    }
}

/// A copy of its own takes the place of a file that is the cache's, too, and may be started.
fn make_executable(program: &Path) -> std::io::Result<()> {
    // No file of a package has a name that begins so.
    let copy = program.with_file_name(".copy");
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o500))?;
    fs::rename(copy, program)
}

/// File names come from a manifest that somebody else wrote.
fn check_flat(name: &str) -> Result<(), Failure> {
    if crate::child::spec::is_flat(name) {
        return Ok(());
    }
    let message =
        format!("{name:?} is not a flat file name: a variant's files stand beside each other, without folders");
    Err(Failure { outcome: Outcome::SpecError, stage: Stage::Fetch, message })
}

fn fetch_failure(error: &FetchError) -> Failure {
    let outcome = match error {
        FetchError::StorageFull { .. } => Outcome::StorageFull,
        FetchError::Corrupt { .. } => Outcome::TransferCorrupt,
        FetchError::Stopped(_) => Outcome::Cancelled,
        FetchError::Refused { .. } | FetchError::Unreachable { .. } | FetchError::TooSlow { .. } => {
            Outcome::HarnessError
        }
        FetchError::Io { source, .. } => io_outcome(source),
    };
    Failure { outcome, stage: Stage::Fetch, message: error.to_string() }
}

fn io_failure(stage: Stage, error: &std::io::Error) -> Failure {
    Failure { outcome: io_outcome(error), stage, message: error.to_string() }
}

fn io_outcome(error: &std::io::Error) -> Outcome {
    if crate::cache::is_full(error) { Outcome::StorageFull } else { Outcome::HarnessError }
}

/// The report of an attempt whose folder or thread could not be made.
pub(crate) fn not_begun(spec: &JobSpec, error: &std::io::Error) -> Report {
    let failure = io_failure(Stage::Fetch, error);
    Journal::new(clock::boot()).into_report(Err(failure), spec)
}

/// The word for a claim, in messages.
const fn claim_word(claim: Claim) -> &'static str {
    match claim {
        Claim::UnsupportedBackend => "the backend is not supported",
        Claim::UnsupportedOp => "an operator is not supported",
        Claim::LoadFail => "loading failed",
        Claim::CompileFail => "compiling failed",
        Claim::RunFail => "the engine failed while running",
        Claim::NumericsFail => "the outputs are not numbers",
        Claim::AccuracyFail => "accuracy failed",
        Claim::StorageFull => "no space left",
        Claim::SpecError => "the specification cannot be carried out",
        Claim::OutOfMemory => "the engine found no memory",
        Claim::Hang => "the runner does not answer",
        Claim::Protocol => "protocol: what the runner says cannot be true",
        Claim::OtherOutput => "the outputs are not what the model declares",
        Claim::EngineSignal(_) | Claim::EngineExit(_) => "its program ended",
        Claim::NoResult => "nothing was measured",
        Claim::Scorer => "the dataset's scorer failed, and not the model",
    }
}

/// Best effort before the first child: without it an escaped grandchild is still found by its mark.
pub(crate) fn prepare_process() {
    if let Err(error) = isolation::become_subreaper() {
        tracing::warn!(%error, "cannot become a subreaper; escaped processes are found by their mark only");
    }
}
