//! One child process as its parent sees it: started, watched, ended, and what it left.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process_group};
use seatrial_core::actual::Wanted;
use seatrial_core::job::Limits;
use seatrial_core::outcome::{Claim, Evidence, Exit};
use seatrial_core::session::Stop;
use seatrial_core::stage::Stage;
use seatrial_core::time::Monotonic;

use super::guard::Danger;
use super::output::{Output, Printed};
use super::{StopSignal, claim_word};
use crate::child::FULL;
use crate::child::events::{EventReader, StageEvent};
use crate::child::progress;
use crate::child::spec::{ChildResult, ChildSpec, RESULT_FILE, SENTINEL_FILE, SENTINEL_TEXT};
use crate::isolation::{self, AGENT_VARIABLE, ATTEMPT_VARIABLE, Mark};
use crate::plain::read_plain;
use crate::probe::Probe;
use crate::{clock, drivers, folder};

/// How often the parent looks: coarse enough to cost nothing, fine enough for every deadline.
const LOOK: Duration = Duration::from_millis(50);
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);
/// How long orphans may take to go before they are named.
const SWEEP: Duration = Duration::from_secs(10);
/// Between two looks at orphans that do not go, and how long each takes.
const ORPHAN_PAUSE: Duration = Duration::from_secs(2);
const ORPHAN_SWEEP: Duration = Duration::from_millis(100);
/// A child that came further within this share of its stage's deadline, or within this time, was slow and did not hang.
const STILL_SHARE: f64 = 0.25;
const STILL: Duration = Duration::from_secs(5);
/// A longer result is not one of ours.
const MAX_RESULT_BYTES: u64 = 16 << 20;

/// Why there was no child to judge.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    #[error("{what} failed: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("processes {0:?} do not end: end them by hand, or restart the device")]
    Orphans(Vec<i32>),
}

/// What it takes to start a child.
pub(super) struct Launch<'a> {
    pub command: &'a [OsString],
    pub spec: &'a ChildSpec,
    pub mark: &'a Mark,
    pub limits: &'a Limits,
    pub stop: &'a StopSignal,
    pub probe: &'a Probe,
    /// See [`super::Order::outlast_orphans`].
    pub outlast_orphans: bool,
}

/// What drivers compile they keep here, and it goes with the child: a load is as cold on the second night as on the first.
const CACHE_FOLDER: &str = "cache";

/// What the caller may want to know while a child runs.
pub(super) enum Watch<'w> {
    Stage(Stage),
    /// Twenty times a second, with the child's input.
    Look(&'w mut dyn io::Write),
    /// About a second has passed: a good moment to read sensors. How far the child is within its stage, when it tells.
    Second {
        share: Option<f64>,
    },
    /// These processes do not end, and the parent goes on trying.
    Orphans(Vec<i32>),
}

/// Told what happens; answers with a danger when the child must end for it.
pub(super) type OnWatch<'a> = &'a mut dyn FnMut(Watch<'_>) -> Option<Danger>;

/// A child that has ended, with all that it left.
#[derive(Debug)]
pub(super) struct Ended {
    pub exit: Exit,
    pub sentinel: bool,
    pub result: Option<ChildResult>,
    /// Stages with the moments at which the child entered them.
    pub stages: Vec<StageEvent>,
    pub finished: Monotonic,
    pub log: String,
    pub bounds_hit: Vec<String>,
    /// Processes that it left behind, now gone.
    pub orphans: usize,
    pub out_of_memory: bool,
    pub memory_limit_hit: bool,
    /// Why the parent ended it for the sake of the device.
    pub danger: Option<Danger>,
    /// How far it was in its stage when its deadline ended it, where it still came further.
    pub cut_at: Option<CutAt>,
    /// Folder of its blocks.
    pub out: std::path::PathBuf,
}

/// A dataset that takes longer than its stage may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CutAt {
    /// Of the examples.
    pub share: f64,
    pub examples: u32,
    pub deadline: Duration,
}

/// Runs a child to its end. Nothing of it runs any more when this returns `Ok`.
pub(super) fn run(launch: &Launch<'_>, watch: OnWatch<'_>) -> Result<Ended, ProcessError> {
    let spec = launch.spec;
    fs::create_dir_all(spec.out.join(CACHE_FOLDER)).map_err(io_error("creating the child's folder"))?;
    let spec_path = spec.out.join("child.json");
    let text = serde_json::to_vec(spec).map_err(|error| io_error("writing the specification")(error.into()))?;
    folder::write_whole(&spec_path, &text, 0o600).map_err(io_error("writing the specification"))?;

    let known = isolation::children();
    let kills_before = launch.probe.oom_kills();
    let mut child = spawn(launch, &spec_path).map_err(io_error("starting the child"))?;
    let output = Output::new(launch.limits.output_bytes);
    let readers = drain(&output, &mut child);

    let mut supervisor = Supervisor::new(launch, EventReader::of_stages(&spec.out));
    let status = supervisor.wait(&mut child, &mut *watch);
    // Whatever the child was, its group and what escaped from it go before anything is said.
    kill_group(&child, Signal::KILL);
    let swept = sweep(launch, &known, watch);
    let readers = readers.map_err(io_error("reading the child's output"))?;
    let status = status.map_err(io_error("waiting for the child"))?;
    let orphans = swept?;
    for reader in readers {
        // A reader that panicked has nothing more to read.
        let _ = reader.join();
    }

    let Printed { log, cut, admitted } = output.finish();
    let exit = supervisor.exit(status);
    let own_kill = supervisor.ended_by.is_some();
    let failed = exit != Exit::Code(0);
    let (events, danger, cut_at) = (supervisor.events, supervisor.danger, supervisor.cut_at);
    let mut result = read_result(&spec.out);
    if let Some(result) = &mut result {
        result.actual.settle(Wanted::of(&spec.job), admitted.as_deref());
    }
    Ok(Ended {
        exit,
        sentinel: has_sentinel(&spec.out),
        result,
        stages: events.seen,
        finished: clock::boot(),
        out_of_memory: !own_kill && grew(kills_before, launch.probe.oom_kills()),
        memory_limit_hit: failed && !own_kill && says_out_of_memory(&log),
        log,
        bounds_hit: cut.into_iter().chain(events.cut.then(|| "stage log cut".to_owned())).collect(),
        orphans,
        danger,
        cut_at,
        out: spec.out.clone(),
    })
}

/// Ends what the attempt has left, and tells how many processes that were.
fn sweep(launch: &Launch<'_>, known: &BTreeSet<i32>, watch: OnWatch<'_>) -> Result<usize, ProcessError> {
    let mut patience = SWEEP;
    let mut named = 0;
    loop {
        let living = match isolation::sweep_attempt(launch.mark, known, patience) {
            Ok(ended) => return Ok(ended.max(named)),
            Err(living) => living,
        };
        let leaves = || matches!(launch.stop.get(), Some(Stop::Shutdown));
        if !launch.outlast_orphans || leaves() {
            return Err(ProcessError::Orphans(living));
        }
        tracing::error!(
            attempt = launch.mark.attempt,
            processes = ?living,
            "they do not end: end them by hand, or restart the device; no job is taken until they are gone"
        );
        named = named.max(living.len());
        let _ = watch(Watch::Orphans(living));
        let begun = clock::boot();
        while !leaves() && clock::boot().since(begun) < ORPHAN_PAUSE {
            thread::sleep(LOOK);
        }
        patience = ORPHAN_SWEEP;
    }
}

fn spawn(launch: &Launch<'_>, spec_path: &Path) -> io::Result<Child> {
    let (program, words) = launch.command.split_first().ok_or_else(|| io::Error::other("no program for the child"))?;
    Command::new(program)
        .args(words)
        .arg("child")
        .arg(spec_path)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| passes(name)))
        .env(ATTEMPT_VARIABLE, &launch.mark.attempt)
        .env(AGENT_VARIABLE, &launch.mark.agent)
        .envs(["XDG_CACHE_HOME", "MESA_SHADER_CACHE_DIR"].map(|name| (name, launch.spec.out.join(CACHE_FOLDER))))
        .envs(launch.spec.package.as_ref().map(|package| ("ADSP_LIBRARY_PATH", coprocessor_path(&package.folder))))
        .current_dir(&launch.spec.out)
        // Its end is how a child learns that its parent is gone.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Where Qualcomm's coprocessor finds its part of a library: the package, then the device's own folders.
fn coprocessor_path(package: &Path) -> String {
    format!("{};/vendor/lib/rfsa/adsp;/vendor/dsp/cdsp;/dsp", package.display())
}

/// Tokens and addresses in the agent's environment are none of a model's business. Which GPU driver is used is.
fn passes(name: &std::ffi::OsStr) -> bool {
    const NAMES: [&str; 5] = ["PATH", "LD_LIBRARY_PATH", "HOME", "FAILPOINTS", "LLVM_PROFILE_FILE"];
    drivers::is_variable(name) || name.to_str().is_some_and(|name| NAMES.contains(&name))
}

fn drain(output: &Output, child: &mut Child) -> io::Result<Vec<thread::JoinHandle<()>>> {
    let stdout = child.stdout.take().map(|pipe| output.drain(pipe, "child stdout"));
    let stderr = child.stderr.take().map(|pipe| output.drain(pipe, "child stderr"));
    stdout.into_iter().chain(stderr).collect()
}

/// Why the parent ended a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndedBy {
    Deadline,
    Stop,
    Danger,
}

struct Supervisor<'a> {
    launch: &'a Launch<'a>,
    events: EventReader,
    stage: Stage,
    entered: Monotonic,
    ended_by: Option<EndedBy>,
    danger: Option<Danger>,
    /// How far the child is in its stage, and since when.
    told: Option<(f64, Monotonic)>,
    cut_at: Option<CutAt>,
    /// When KILL follows TERM.
    kill_at: Option<Monotonic>,
}

impl<'a> Supervisor<'a> {
    fn new(launch: &'a Launch<'a>, events: EventReader) -> Self {
        Self {
            launch,
            events,
            stage: Stage::Prepare,
            entered: clock::boot(),
            ended_by: None,
            danger: None,
            told: None,
            cut_at: None,
            kill_at: None,
        }
    }

    fn wait(&mut self, child: &mut Child, watch: OnWatch<'_>) -> io::Result<ExitStatus> {
        let mut sampled = clock::boot();
        loop {
            let status = child.try_wait()?;
            for event in self.events.read_new() {
                (self.stage, self.entered, self.told) = (event.stage, clock::boot(), None);
                let _ = watch(Watch::Stage(event.stage));
            }
            if let Some(status) = status {
                return Ok(status);
            }
            if let Some(input) = &mut child.stdin {
                let _ = watch(Watch::Look(input));
            }
            let now = clock::boot();
            self.enforce(child, now);
            if now.since(sampled) >= Duration::from_secs(1) {
                sampled = now;
                let share = progress::read(&self.launch.spec.out);
                self.hear(share, now);
                let danger = watch(Watch::Second { share });
                if self.ended_by.is_none() && danger.is_some() {
                    self.danger = danger;
                    self.end(child, EndedBy::Danger, Signal::TERM, now.plus(GRACE));
                }
            }
            thread::sleep(LOOK);
        }
    }

    fn enforce(&mut self, child: &Child, now: Monotonic) {
        if let Some(at) = self.kill_at {
            if now >= at {
                kill_group(child, Signal::KILL);
            }
            return;
        }
        let late = now.since(self.entered) > self.launch.limits.deadline(self.stage);
        match self.launch.stop.get() {
            // Nothing may be recorded any more, so there is nothing to wait for.
            Some(Stop::NotOurs(_) | Stop::Shutdown) => self.end(child, EndedBy::Stop, Signal::KILL, now),
            Some(Stop::Cancelled(_)) => self.end(child, EndedBy::Stop, Signal::TERM, now.plus(GRACE)),
            None if late => {
                self.cut_at = self.still_goes_on(now);
                self.end(child, EndedBy::Deadline, Signal::TERM, now.plus(GRACE));
            }
            None => {}
        }
    }

    fn hear(&mut self, share: Option<f64>, now: Monotonic) {
        let further = |share: &f64| self.told.is_none_or(|(earlier, _)| *share > earlier);
        if let Some(share) = share.filter(further) {
            self.told = Some((share, now));
        }
    }

    /// Only a dataset has a length of its own; every other stage is bounded by its rule.
    fn still_goes_on(&self, now: Monotonic) -> Option<CutAt> {
        let examples = self.launch.spec.job.dataset.as_ref().filter(|_| self.stage == Stage::Accuracy)?.examples;
        let deadline = self.launch.limits.deadline(self.stage);
        let (share, since) = self.told?;
        let goes_on = now.since(since) < deadline.mul_f64(STILL_SHARE).max(STILL);
        goes_on.then_some(CutAt { share, examples, deadline })
    }

    fn end(&mut self, child: &Child, by: EndedBy, signal: Signal, kill_at: Monotonic) {
        self.ended_by = Some(by);
        self.kill_at = Some(kill_at);
        kill_group(child, signal);
    }

    fn exit(&self, status: ExitStatus) -> Exit {
        match self.ended_by {
            Some(EndedBy::Deadline) => Exit::Deadline,
            Some(EndedBy::Stop | EndedBy::Danger) => Exit::Stopped,
            None => match status.signal() {
                Some(signal) => Exit::Signal(signal),
                None => Exit::Code(status.code().unwrap_or(-1)),
            },
        }
    }
}

impl Ended {
    /// What the child said of its own failure; a child on a full disk can say it only by how it ends.
    fn claim(&self) -> Option<Claim> {
        match &self.result {
            Some(result) => result.claim,
            None => (self.exit == Exit::Code(FULL.into())).then_some(Claim::StorageFull),
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence {
            exit: self.exit,
            sentinel: self.sentinel,
            claim: self.claim(),
            out_of_memory: self.out_of_memory,
            memory_limit_hit: self.memory_limit_hit,
            came_further: self.cut_at.is_some(),
            fallback: self.result.as_ref().is_some_and(|result| result.actual.fallback.is_some()),
        }
    }

    /// What happened, for a person.
    pub(super) fn account(&self, stage: Stage) -> String {
        let said = self.claim().map(|claim| {
            let detail = self.result.as_ref().and_then(|result| result.message.as_deref());
            format!("{}: {}", claim_word(claim), detail.unwrap_or("no detail"))
        });
        let end = match (self.exit, self.cut_at) {
            (Exit::Deadline, Some(at)) => too_slow(at),
            (Exit::Deadline, None) => format!("did not leave stage {stage} within its deadline and was ended"),
            (Exit::Stopped, _) => format!("was stopped in stage {stage}"),
            (Exit::Signal(_), _) if self.memory_limit_hit => format!("reached its memory limit in stage {stage}"),
            (Exit::Signal(_), _) if self.out_of_memory => format!("was killed for memory in stage {stage}"),
            (Exit::Signal(signal), _) => format!("died by signal {signal} in stage {stage}"),
            (Exit::Code(0), _) if !self.sentinel => format!("ended with code 0 in stage {stage} without finishing"),
            (Exit::Code(code), _) => said.unwrap_or_else(|| format!("ended with code {code} in stage {stage}")),
        };
        match self.orphans {
            0 => end,
            count => format!("{end}; {count} processes that it left were ended"),
        }
    }
}

fn too_slow(at: CutAt) -> String {
    let CutAt { share, examples, deadline } = at;
    let done = (share * f64::from(examples)).floor();
    format!(
        "had done {done} of {examples} examples when the {} s of stage accuracy were over, and still went on: use a \
         dataset of fewer examples, or set `accuracy` in `limits.deadline_seconds` higher (at most 885)",
        deadline.as_secs_f64()
    )
}

fn kill_group(child: &Child, signal: Signal) {
    // Fails only when nobody of the group is left, which is what is wanted.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

fn has_sentinel(out: &Path) -> bool {
    fail::fail_point!("sentinel-unread", |_| true);
    read_plain(out, SENTINEL_FILE, SENTINEL_TEXT.len() as u64).is_ok_and(|text| text == SENTINEL_TEXT.as_bytes())
}

/// The file was written by a process that may have been out of its mind.
fn read_result(out: &Path) -> Option<ChildResult> {
    serde_json::from_slice(&read_plain(out, RESULT_FILE, MAX_RESULT_BYTES).ok()?).ok()
}

fn grew(before: Option<u64>, after: Option<u64>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if after > before)
}

/// Allocators say so before they abort: Rust's, C++'s, and the C library's error text.
fn says_out_of_memory(log: &str) -> bool {
    ["memory allocation of", "std::bad_alloc", "Cannot allocate memory", "out of memory"]
        .iter()
        .any(|words| log.contains(words))
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> ProcessError {
    move |source| ProcessError::Io { what, source }
}
