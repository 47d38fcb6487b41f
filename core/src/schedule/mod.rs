//! Which device does what next, and for how long.
//!
//! [`Schedule`] is the server's picture of its open jobs and of the devices that have an agent. It decides and performs
//! nothing: [`Schedule::step`] takes what has happened and returns what must be done. The truth about a job is in the
//! store; every decision that touches it is an effect that the store may refuse, and the schedule believes a change
//! only when the answer has come back as an input.
//!
//! What holds after every step:
//!
//! - A device has at most one attempt that may run, and a job at most one valid lease by `now`, the judge's clock.
//! - Every attempt that may run has a moment at which it stops being valid: a lease always ends.
//! - A job leaves the schedule only when the store has said that it is over, or that it is not as the schedule thought.
//! - A device that is in service and due for its health check ([`crate::lab::canary`]) is given that, and no job, before.
//!   A check holds its device as a job does; the store knows nothing of it.
//! - A job does not wait for ever: it runs, or its device works on others, or it ends once its device has taken no work
//!   for as long as its run waits.
//!
//! No step takes longer than O(log n) in the number of queued jobs, except for those that name many jobs themselves.

mod attempts;
mod checks;
#[cfg(test)]
mod checks_tests;
mod devices;
mod job;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::{DeviceId, JobId, RunId, SessionId};
use crate::job::{AttemptRef, Grant, MAX_STAGE_GRANT};
use crate::lab::canary::{Due, Health, Known};
use crate::lab::standing::Admits;
use crate::outcome::{Outcome, Verdict};
use crate::stage::Stage;
use crate::store::{Accepted, JobNext, OpenJob};
use crate::time::{Monotonic, Timestamp};

use devices::Device;
use job::{Job, Phase};

/// How long an agent may take to accept an assignment before the job is offered again.
pub const ACCEPT_WITHIN: Duration = Duration::from_secs(5);
/// How long an agent may take to be back after the server was away: its longest pause with jitter, a connection that is
/// not answered, and the handshake.
pub const COME_BACK_WITHIN: Duration = Duration::from_secs(45);
/// Added to every lease on the judge's side, so that the device's own end of it comes first.
pub const LEASE_SLACK: Duration = Duration::from_secs(1);
/// No attempt lasts longer, however often it enters a stage.
pub const LONGEST_ATTEMPT: Duration = Duration::from_hours(6);
/// How long the stream renews the lease of an accepted attempt that has not entered a stage.
pub const START_WITHIN: Duration = Duration::from_mins(1);
/// How long the stream renews a lease for an ended attempt whose report is on its way, and for one that was running
/// when the server started and has not said in which stage it is.
pub const DELIVER_WITHIN: Duration = MAX_STAGE_GRANT;
/// How long a device has to end a cancelled attempt before the job ends without it.
pub const CANCEL_WITHIN: Duration = Duration::from_secs(10);
/// After how long the store is asked again to end jobs of a run whose cancellation it had accepted before.
pub const CANCEL_AGAIN: Duration = Duration::from_mins(1);
/// Different jobs that a device may lose in a row before it is quarantined.
pub const DEVICE_LOSS_LIMIT: u32 = 2;
/// Assignments in a row that a device may leave unstarted before it is quarantined.
pub const UNSTARTED_LIMIT: u32 = 5;

/// Something that has happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Open jobs, of a new run or as the store has them; those already known are ignored. A leased one waits for its
    /// holder until its lease ends, and at least for [`COME_BACK_WITHIN`]; of a cancelled run it ends at once.
    /// `wall` is the time on the clock of the leases.
    Open {
        jobs: Vec<OpenJob>,
        wall: Timestamp,
    },
    /// An agent has opened a session. `admits` is what its handshake has read, some time ago: it counts for a device of
    /// which nothing was heard. `lost` are attempts during which its earlier process was killed, as `killed` says.
    Attached {
        device: DeviceId,
        session: SessionId,
        admits: Admits,
        held: Vec<Held>,
        lost: Vec<AttemptRef>,
        killed: Killed,
    },
    /// The session has ended, for whatever reason.
    Detached {
        device: DeviceId,
        session: SessionId,
    },
    /// Something came from the agent: its stream is alive.
    Heard {
        device: DeviceId,
        session: SessionId,
    },
    /// The agent takes no more work.
    Leaving {
        device: DeviceId,
        session: SessionId,
    },
    /// The store made the claim.
    Claimed {
        attempt: AttemptRef,
    },
    /// The store refused the claim: the job is not as the schedule thought.
    ClaimLost {
        attempt: AttemptRef,
    },
    Accepted {
        attempt: AttemptRef,
        device: DeviceId,
    },
    /// `retryable` is false when the job is at fault.
    Refused {
        attempt: AttemptRef,
        device: DeviceId,
        retryable: bool,
        reason: String,
    },
    /// Also heard again and again within a stage. `grant` is what goes with the stage; one that the stream renews is
    /// renewed until the stage's own `deadline` has passed.
    StageEntered {
        attempt: AttemptRef,
        device: DeviceId,
        stage: Stage,
        grant: Grant,
        deadline: Duration,
    },
    /// A readable report has arrived. `verdict` is what follows from how the attempt ended, before what came earlier
    /// counts: that of its class where it has one, else that of its outcome.
    Reported {
        attempt: AttemptRef,
        device: DeviceId,
        outcome: Outcome,
        verdict: Verdict,
    },
    /// A report has arrived that breaks its bounds.
    Malformed {
        attempt: AttemptRef,
        device: DeviceId,
        reason: String,
    },
    /// The store's answer to [`Effect::Complete`].
    Stored {
        attempt: AttemptRef,
        accepted: Accepted,
    },
    /// The store's answer to [`Effect::GiveBack`] and [`Effect::GiveUp`]: whether the job was as the schedule thought.
    GaveBack {
        attempt: AttemptRef,
        held: bool,
    },
    /// The store has ended these jobs while they waited: what they are about was quarantined.
    SetAside {
        jobs: Vec<JobId>,
    },
    /// Somebody wants the run to end.
    Cancel {
        run: RunId,
    },
    /// The store has ended the run's queued jobs.
    RunCancelled {
        run: RunId,
    },
    /// The store has refused to end the run's queued jobs.
    CancelFailed {
        run: RunId,
    },
    /// The device attaches next, and this is known of its health checks; `None` when it is to have none. `wall` is the
    /// time on the clock of the checks.
    Watch {
        device: DeviceId,
        known: Option<Known>,
        wall: Timestamp,
    },
    /// Somebody wants the device checked.
    CheckNow {
        device: DeviceId,
    },
    /// The answer to [`Effect::Check`]: the attempt that checks.
    Check {
        device: DeviceId,
        attempt: AttemptRef,
    },
    /// The answer to [`Effect::Judge`]; `reason` says what is wrong with a sick device.
    Checked {
        attempt: AttemptRef,
        health: Health,
        reason: String,
    },
    /// Whose jobs the device is given from now on, as an operator or the store has it.
    Admits {
        device: DeviceId,
        admits: Admits,
    },
    /// The server goes away: start nothing.
    Drain,
    /// Time has passed.
    Tick,
}

/// What follows for the attempts that an agent lost with its life, by what is known of its death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Killed {
    pub verdict: Verdict,
    /// Whether it is one of the agents that a job may cost.
    pub counts: bool,
}

impl Default for Killed {
    /// Of a death of which nothing is known.
    fn default() -> Self {
        Self { verdict: Outcome::AgentKilled.verdict(0), counts: true }
    }
}

/// An attempt that an agent says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub attempt: AttemptRef,
    /// It has ended and only its report is to be delivered.
    pub ended: bool,
}

/// Something that must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the store for `queued → leased`; the lease lasts as long as `grant` and [`LEASE_SLACK`].
    Claim {
        attempt: AttemptRef,
        device: DeviceId,
        grant: Grant,
    },
    /// Send the assignment.
    Assign {
        attempt: AttemptRef,
        device: DeviceId,
        grant: Grant,
    },
    /// Send a grant: a stage's, or the same online grant again.
    Grant {
        attempt: AttemptRef,
        device: DeviceId,
        grant: Grant,
    },
    /// Tell the store which stage the attempt is in and how long its lease lasts from now.
    NoteStage {
        attempt: AttemptRef,
        stage: Stage,
        lease: Duration,
    },
    /// Welcome the session; `stop` are attempts that are no longer the device's, `grants` those that go on.
    Welcome {
        device: DeviceId,
        session: SessionId,
        stop: Vec<AttemptRef>,
        grants: Vec<(AttemptRef, Grant)>,
    },
    CloseSession {
        device: DeviceId,
        session: SessionId,
        reason: CloseReason,
    },
    /// Ask the device to end the attempt and to report it as cancelled.
    CancelOnDevice {
        attempt: AttemptRef,
        device: DeviceId,
    },
    /// Tell the device that the attempt is no longer its own.
    StopOnDevice {
        attempt: AttemptRef,
        device: DeviceId,
        reason: String,
    },
    /// Tell the store that the attempt has ended without a result. `verdict` is what it counts as, and `again` as in
    /// [`Effect::Complete`].
    GiveBack {
        attempt: AttemptRef,
        device: DeviceId,
        outcome: Outcome,
        message: String,
        next: JobNext,
        verdict: Verdict,
        agent_death: bool,
        again: bool,
    },
    /// Tell the store that the job ends as lost with its device, which has taken no work for as long as the job's run
    /// waits; `attempt` is the job's last.
    GiveUp {
        attempt: AttemptRef,
        reason: String,
    },
    /// Ask the store to take the result that has arrived. For an attempt that the schedule does not know to hold its
    /// job the store alone can tell a duplicate from a stale one. `again` says that the job has crashed or hung once more
    /// on the same device: device, backend and model are quarantined together, and the device is given no other job until
    /// the store has answered and what waits of the three has been set aside.
    Complete {
        attempt: AttemptRef,
        device: DeviceId,
        next: JobNext,
        again: bool,
    },
    /// Refuse the report that has arrived, for good.
    RefuseReport {
        attempt: AttemptRef,
        device: DeviceId,
        reason: String,
    },
    Quarantine {
        device: DeviceId,
        reason: String,
    },
    /// The device is to be checked before its next job: make an attempt of it. The answer comes before any other input.
    Check {
        device: DeviceId,
        due: Due,
    },
    /// Judge the report of a check, which has arrived.
    Judge {
        attempt: AttemptRef,
        device: DeviceId,
        due: Due,
    },
    /// A check has ended without a report, and says nothing of the device.
    CheckLost {
        attempt: AttemptRef,
        device: DeviceId,
        due: Due,
        outcome: Outcome,
        message: String,
    },
    /// Ask the store to end the run's queued jobs.
    CancelRun {
        run: RunId,
    },
    /// No job of the run is open any more.
    RunEnded {
        run: RunId,
    },
    /// The job is not as the schedule thought: read the open jobs again.
    ReadAgain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The same device has opened a newer session.
    Replaced,
    /// It did not answer an assignment.
    Silent,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A job has waited long, an assignment must be accepted, or a lease ends.
    Job(JobId),
    /// A device that refused work may be asked again.
    Device(DeviceId),
    /// The store may be asked again to end the jobs of a cancelled run.
    Run(RunId),
    /// A device may have become due for its health check.
    Check(DeviceId),
}

#[derive(Debug, Default)]
struct Run {
    open: BTreeSet<JobId>,
    cancel: Cancel,
}

/// How far the wish to end a run has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    #[default]
    No,
    /// The store has been asked.
    Asked,
    /// The store has said so: what is open of the run only ends.
    Stored,
}

impl Run {
    const fn is_cancelled(&self) -> bool {
        match self.cancel {
            Cancel::No => false,
            Cancel::Asked | Cancel::Stored => true,
        }
    }
}

/// The open jobs and the devices. Ordered maps throughout: the same inputs give the same effects in the same order.
#[derive(Debug, Default)]
pub struct Schedule {
    now: Monotonic,
    jobs: BTreeMap<JobId, Job>,
    devices: BTreeMap<DeviceId, Device>,
    runs: BTreeMap<RunId, Run>,
    timers: BTreeSet<(Monotonic, Timer)>,
    /// Of the jobs, those that are checks of a device.
    checks: usize,
    /// The time of the checks at a moment of our own.
    wall: (Monotonic, Timestamp),
    draining: bool,
    effects: Vec<Effect>,
}

impl Schedule {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has happened at `now` on the judge's monotonic clock, and returns what must be done, in order.
    pub fn step(&mut self, now: Monotonic, input: Input) -> Vec<Effect> {
        self.now = self.now.max(now);
        self.fire_timers(); // first, so that nothing is accepted in the name of a lease that has ended
        match input {
            Input::Open { jobs, wall } => self.open(jobs, wall),
            Input::Attached { device, session, admits, held, lost, killed } => {
                self.attached(device, session, admits, &held, &lost, killed);
            }
            Input::Detached { device, session } => self.detached(device, session),
            Input::Heard { device, session } => self.heard(device, session),
            Input::Leaving { device, session } => self.leaving(device, session),
            Input::Claimed { attempt } => self.claimed(attempt),
            Input::ClaimLost { attempt } => self.claim_lost(attempt),
            Input::Accepted { attempt, device } => self.accepted(attempt, device),
            Input::Refused { attempt, device, retryable, reason } => self.refused(attempt, device, retryable, &reason),
            Input::StageEntered { attempt, device, stage, grant, deadline } => {
                self.stage_entered(attempt, device, stage, grant, deadline);
            }
            Input::Reported { attempt, device, outcome, verdict } => self.reported(attempt, device, outcome, verdict),
            Input::Malformed { attempt, device, reason } => self.malformed(attempt, device, &reason),
            Input::Stored { attempt, accepted } => self.stored(attempt, accepted),
            Input::GaveBack { attempt, held } => self.gave_back(attempt, held),
            Input::SetAside { jobs } => self.set_aside(&jobs),
            Input::Cancel { run } => self.cancel(run),
            Input::RunCancelled { run } => self.run_cancelled(run),
            Input::CancelFailed { run } => self.cancel_failed(run),
            Input::Watch { device, known, wall } => self.watch(device, known, wall),
            Input::CheckNow { device } => self.check_now(device),
            Input::Check { device, attempt } => self.check(device, attempt),
            Input::Checked { attempt, health, reason } => self.checked(attempt, health, reason),
            Input::Admits { device, admits } => self.admits(device, admits),
            Input::Drain => self.draining = true,
            Input::Tick => {}
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Tick`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// The run of a job that is open; none of a check.
    #[must_use]
    pub fn run_of(&self, job: JobId) -> Option<RunId> {
        self.jobs.get(&job).and_then(|job| job.run)
    }

    /// Jobs that are open.
    #[must_use]
    pub fn open_jobs(&self) -> usize {
        self.jobs.len() - self.checks
    }

    /// Jobs of a run that are open.
    #[must_use]
    pub fn open_jobs_of(&self, run: RunId) -> usize {
        self.runs.get(&run).map_or(0, |run| run.open.len())
    }

    fn fire_timers(&mut self) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Job(id) => self.job_is_due(id),
                Timer::Device(id) => self.dispatch(id),
                Timer::Check(id) => self.may_be_due(id),
                Timer::Run(run) => {
                    if self.runs.contains_key(&run) {
                        self.effects.push(Effect::CancelRun { run });
                    }
                }
            }
        }
    }

    // --- runs and their jobs ---

    fn open(&mut self, jobs: Vec<OpenJob>, wall: Timestamp) {
        let mut devices = BTreeSet::new();
        for open in jobs {
            if self.jobs.contains_key(&open.job) {
                continue;
            }
            let (id, device) = (open.job, open.device);
            let lease_left = open.leased_until.map(|end| end.since(wall));
            let run = self.runs.entry(open.run).or_default();
            run.open.insert(id);
            if open.cancelled {
                run.cancel = Cancel::Stored;
            }
            let cancelled = run.is_cancelled();
            self.jobs.insert(id, Job::new(&open));
            devices.insert(device);
            match lease_left {
                None => self.enqueue(id),
                Some(left) => {
                    self.await_holder(id, left);
                    if cancelled {
                        self.cancel_attempt(id);
                    }
                }
            }
        }
        // Only now, so that priority decides among all of them.
        for device in devices {
            self.dispatch(device);
        }
    }

    /// Puts a job into its device's queue, unless its run has been cancelled.
    fn enqueue(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.queue(now);
        let (key, reservation) = (job.key(id), job.reservation);
        let (run, device) = (job.run, job.device);
        if let Some(run) = run.filter(|&run| self.is_cancelled(Some(run))) {
            self.effects.push(Effect::CancelRun { run }); // the store has it in the queue again
        } else {
            self.devices.entry(device).or_default().enqueue(reservation, key);
        }
        self.set_timer(id);
    }

    /// One that is being claimed meanwhile hears from the store that it may not.
    fn set_aside(&mut self, jobs: &[JobId]) {
        for &id in jobs {
            if self.jobs.get(&id).is_some_and(|job| matches!(job.phase, Phase::Queued(_))) {
                self.forget(id);
            }
        }
    }

    fn cancel(&mut self, run_id: RunId) {
        self.effects.push(Effect::CancelRun { run: run_id });
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        if run.cancel == Cancel::No {
            run.cancel = Cancel::Asked;
        }
        for id in run.open.clone() {
            let Some(job) = self.jobs.get(&id) else { continue };
            match job.phase {
                Phase::Queued(_) => {
                    let key = job.key(id);
                    if let Some(device) = self.devices.get_mut(&job.device) {
                        device.dequeue(job.reservation, &key);
                    }
                }
                Phase::Leased(_) => self.cancel_attempt(id),
                // The answer that they wait for finds the run cancelled.
                Phase::Claiming | Phase::Storing { .. } | Phase::GivingBack { .. } => {}
            }
        }
    }

    fn run_cancelled(&mut self, run_id: RunId) {
        let Some(run) = self.runs.get_mut(&run_id) else {
            self.effects.push(Effect::RunEnded { run: run_id });
            return;
        };
        run.cancel = Cancel::Stored;
        for id in run.open.clone() {
            let Some(job) = self.jobs.get(&id) else { continue };
            match &job.phase {
                Phase::Queued(_) => self.forget(id),
                // It was given out after another request to end the run had failed.
                Phase::Leased(lease) if !lease.cancelling => self.cancel_attempt(id),
                Phase::Leased(_) | Phase::Claiming | Phase::Storing { .. } | Phase::GivingBack { .. } => {}
            }
        }
    }

    /// Whoever asked is told so, and the run goes on. What its devices were asked to end ends all the same.
    fn cancel_failed(&mut self, run_id: RunId) {
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        match run.cancel {
            Cancel::No => {}
            Cancel::Stored => {
                self.timers.insert((self.now.plus(CANCEL_AGAIN), Timer::Run(run_id)));
            }
            Cancel::Asked => {
                run.cancel = Cancel::No;
                let mut devices = BTreeSet::new();
                for id in run.open.clone() {
                    let waiting = self.jobs.get(&id).filter(|job| matches!(job.phase, Phase::Queued(_)));
                    let Some(device) = waiting.map(|job| job.device) else { continue };
                    self.enqueue(id);
                    devices.insert(device);
                }
                for device in devices {
                    self.dispatch(device);
                }
            }
        }
    }

    /// Nobody cancels a check.
    fn is_cancelled(&self, run: Option<RunId>) -> bool {
        run.and_then(|run| self.runs.get(&run)).is_some_and(Run::is_cancelled)
    }

    /// The job is over, or not ours to decide about.
    fn forget(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        if let Some(at) = job.timer {
            self.timers.remove(&(at, Timer::Job(id)));
        }
        let now = self.now;
        if let Some(device) = self.devices.get_mut(&job.device) {
            device.dequeue(job.reservation, &job.key(id));
            device.change(now, |device| device.holding.remove(&id));
        }
        match job.run {
            None => self.checks -= 1,
            Some(id_of_run) => {
                if let Some(run) = self.runs.get_mut(&id_of_run) {
                    run.open.remove(&id);
                    if run.open.is_empty() {
                        self.runs.remove(&id_of_run);
                        self.effects.push(Effect::RunEnded { run: id_of_run });
                    }
                }
            }
        }
        self.dispatch(job.device);
    }
}
