//! Attempts: from the claim to the answer of the store about their end.

use std::time::Duration;

use super::job::{Lease, Phase, Wait};
use super::{CANCEL_WITHIN, CloseReason, Effect, Killed, Schedule, Timer};
use crate::ids::{DeviceId, JobId, SessionId};
use crate::job::{AttemptRef, Grant, ONLINE_GRANT};
use crate::lab::canary::Health;
use crate::outcome::{Outcome, Verdict};
use crate::reason::Code;
use crate::stage::Stage;
use crate::store::{Accepted, JobNext};

/// A grant that the stream renews is given again once this much of it is gone.
const RENEW_AFTER: Duration = Duration::from_secs(4);
/// Of an attempt that was lost, and not with its agent's life.
pub(super) const ALIVE: Killed = Killed { verdict: Outcome::DeviceLost.verdict(0), counts: false };

/// How an attempt ends of which there is no result.
struct Ending {
    outcome: Outcome,
    message: String,
    next: JobNext,
    verdict: Verdict,
    agent_death: bool,
    again: bool,
}

impl Schedule {
    // --- the beginning ---

    pub(super) fn claimed(&mut self, attempt: AttemptRef) {
        let Some(job) = self.claiming(attempt) else { return };
        let (run, device, reservation) = (job.run, job.device, job.reservation);
        let takes_it = |device: &super::Device| device.takes(reservation);
        if self.is_cancelled(run) {
            self.end_cancelled(attempt.job);
        } else if self.draining || !self.devices.get(&device).is_some_and(takes_it) {
            let message = Code::WentAway.template().to_owned();
            self.give_back(attempt.job, Outcome::Cancelled, message, JobNext::Queued);
        } else {
            let now = self.now;
            if let Some(job) = self.jobs.get_mut(&attempt.job) {
                job.phase = Phase::Leased(Lease::assigned(now));
            }
            self.set_timer(attempt.job);
            self.effects.push(Effect::Assign { attempt, device, grant: Grant::Online { length: ONLINE_GRANT } });
        }
    }

    pub(super) fn claim_lost(&mut self, attempt: AttemptRef) {
        if self.claiming(attempt).is_some() {
            self.effects.push(Effect::ReadAgain);
            self.forget(attempt.job);
        }
    }

    fn claiming(&self, attempt: AttemptRef) -> Option<&super::Job> {
        let job = self.jobs.get(&attempt.job)?;
        (job.attempt == attempt.attempt && matches!(job.phase, Phase::Claiming)).then_some(job)
    }

    /// A job that was leased when the server started.
    pub(super) fn await_holder(&mut self, id: JobId, left: Duration) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.phase = Phase::Leased(Lease::resumable(now, left));
        self.devices.entry(job.device).or_default().holding.insert(id);
        self.set_timer(id);
    }

    pub(super) fn accepted(&mut self, attempt: AttemptRef, device: DeviceId) {
        let now = self.now;
        let Some(lease) = self.lease_of(attempt, device) else { return };
        if lease.accept_by.take().is_some() {
            lease.renew(now);
            self.set_timer(attempt.job);
        }
        if let Some(device) = self.devices.get_mut(&device) {
            device.started();
        }
    }

    pub(super) fn refused(&mut self, attempt: AttemptRef, device: DeviceId, retryable: bool, reason: &str) {
        if self.lease_of(attempt, device).is_none() {
            return;
        }
        if retryable {
            let message = format!("the agent did not take the job: {reason}");
            self.count_unstarted(device, &message);
            self.give_back(attempt.job, Outcome::Cancelled, message, JobNext::Queued);
        } else {
            let message = format!("the agent cannot run the job: {reason}");
            let next = JobNext::Done(Outcome::SpecError);
            self.give_back(attempt.job, Outcome::SpecError, message, next);
        }
    }

    // --- while it runs ---

    pub(super) fn stage_entered(
        &mut self,
        attempt: AttemptRef,
        device: DeviceId,
        stage: Stage,
        grant: Grant,
        deadline: Duration,
    ) {
        let now = self.now;
        let Some(lease) = self.lease_of(attempt, device) else { return };
        lease.accept_by = None;
        if lease.stage == Some(stage) || lease.cancelling {
            self.set_timer(attempt.job);
            return; // progress within the stage moves no end
        }
        lease.stage = Some(stage);
        lease.enter(now, grant, deadline);
        let left = lease.until.since(now);
        self.set_timer(attempt.job);
        if let Some(device) = self.devices.get_mut(&device) {
            device.started();
        }
        self.effects.push(Effect::Grant { attempt, device, grant });
        if !self.is_check(attempt.job) {
            self.effects.push(Effect::NoteStage { attempt, stage, lease: left });
        }
    }

    /// Renews what the stream renews.
    pub(super) fn heard(&mut self, id: DeviceId, session: SessionId) {
        let now = self.now;
        let Some(device) = self.devices.get(&id).filter(|device| device.session == Some(session)) else { return };
        for job_id in device.holding.clone() {
            let Some(job) = self.jobs.get_mut(&job_id) else { continue };
            let attempt = AttemptRef { job: job_id, attempt: job.attempt };
            let Some(lease) = job.lease() else { continue };
            let left = lease.until.since(now);
            let fixed = !lease.online || lease.cancelling || lease.accept_by.is_some();
            if fixed || left + RENEW_AFTER > ONLINE_GRANT || !lease.renew(now) {
                continue;
            }
            let grant = lease.grant_left(now);
            self.set_timer(job_id);
            self.effects.push(Effect::Grant { attempt, device: id, grant });
        }
    }

    /// Asks the device to end the attempt; without a device there is nobody to wait for.
    pub(super) fn cancel_attempt(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (device, attempt) = (job.device, AttemptRef { job: id, attempt: job.attempt });
        if !self.devices.get(&device).is_some_and(super::Device::is_attached) {
            self.end_cancelled(id);
            return;
        }
        let Some(lease) = job.lease() else { return };
        lease.cancelling = true;
        lease.accept_by = None;
        lease.until = lease.until.min(now.plus(CANCEL_WITHIN));
        self.set_timer(id);
        self.effects.push(Effect::CancelOnDevice { attempt, device });
    }

    // --- the end ---

    pub(super) fn reported(&mut self, attempt: AttemptRef, device: DeviceId, outcome: Outcome, verdict: Verdict) {
        let Some(job) = self.jobs.get_mut(&attempt.job) else {
            self.ask_the_store(attempt, device, outcome);
            return;
        };
        if job.device != device {
            let reason = "the job belongs to another device".to_owned();
            self.effects.push(Effect::RefuseReport { attempt, device, reason });
            return;
        }
        if job.attempt != attempt.attempt {
            self.ask_the_store(attempt, device, outcome);
            return;
        }
        match (&job.phase, job.check) {
            (Phase::Leased(_), Some(due)) => {
                job.phase = Phase::Storing { next: JobNext::Done(outcome) };
                self.set_timer(attempt.job);
                if outcome == Outcome::AgentKilled {
                    self.count_loss(device, attempt.job);
                }
                self.effects.push(Effect::Judge { attempt, device, due });
            }
            (_, Some(_)) => {
                let reason = "the check has been reported already".to_owned();
                self.effects.push(Effect::RefuseReport { attempt, device, reason });
            }
            (Phase::Leased(_), None) => self.take_result(attempt, device, outcome, verdict),
            (Phase::Queued(_) | Phase::Storing { .. }, None) => self.ask_the_store(attempt, device, outcome),
            (Phase::Claiming | Phase::GivingBack { .. }, None) => {
                let reason = "the attempt does not hold its job".to_owned();
                self.effects.push(Effect::RefuseReport { attempt, device, reason });
            }
        }
    }

    fn ask_the_store(&mut self, attempt: AttemptRef, device: DeviceId, outcome: Outcome) {
        self.effects.push(Effect::Complete { attempt, device, next: JobNext::Done(outcome), again: false });
    }

    fn take_result(&mut self, attempt: AttemptRef, device: DeviceId, outcome: Outcome, verdict: Verdict) {
        let Some(job) = self.jobs.get_mut(&attempt.job) else { return };
        let cancelled = job.run.and_then(|run| self.runs.get(&run)).is_some_and(super::Run::is_cancelled);
        let again = job.fails_again(verdict, cancelled);
        let next = job.after(outcome, verdict, outcome == Outcome::AgentKilled, cancelled);
        job.phase = Phase::Storing { next };
        self.effects.push(Effect::Complete { attempt, device, next, again });
        if outcome == Outcome::AgentKilled {
            self.count_loss(device, attempt.job);
        } else if let Some(device) = self.devices.get_mut(&device) {
            device.has_reported();
        }
        self.note_end(device, verdict == Verdict::Retry);
        self.release_unless(again, attempt.job);
    }

    pub(super) fn malformed(&mut self, attempt: AttemptRef, device: DeviceId, reason: &str) {
        self.effects.push(Effect::RefuseReport { attempt, device, reason: reason.to_owned() });
        if self.lease_of(attempt, device).is_none() {
            return;
        }
        let outcome = Outcome::HarnessError;
        let next = self.after(attempt.job, outcome);
        self.give_back(attempt.job, outcome, format!("the report was refused: {reason}"), next);
    }

    pub(super) fn stored(&mut self, attempt: AttemptRef, accepted: Accepted) {
        let Some(job) = self.jobs.get(&attempt.job).filter(|job| job.attempt == attempt.attempt) else { return };
        let Phase::Storing { next } = job.phase else { return };
        self.release(attempt.job);
        match accepted {
            Accepted::Stored | Accepted::Duplicate => self.settle(attempt.job, next),
            Accepted::Stale | Accepted::Unknown => self.disagree(attempt.job),
        }
    }

    pub(super) fn gave_back(&mut self, attempt: AttemptRef, held: bool) {
        let Some(job) = self.jobs.get(&attempt.job).filter(|job| job.attempt == attempt.attempt) else { return };
        let Phase::GivingBack { next } = job.phase else { return };
        self.release(attempt.job);
        if held {
            self.settle(attempt.job, next);
        } else {
            self.disagree(attempt.job);
        }
    }

    fn settle(&mut self, id: JobId, next: JobNext) {
        match next {
            JobNext::Done(_) | JobNext::Quarantined => self.forget(id),
            JobNext::Queued => {
                self.enqueue(id);
                if let Some(device) = self.jobs.get(&id).map(|job| job.device) {
                    self.dispatch(device);
                }
            }
        }
    }

    fn disagree(&mut self, id: JobId) {
        self.effects.push(Effect::ReadAgain);
        self.forget(id);
    }

    /// The job's timer has fired: it has waited long, its assignment was not accepted, or its lease has ended.
    pub(super) fn job_is_due(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.timer = None;
        let device = job.device;
        if let Phase::Queued(wait) = job.phase {
            self.has_waited(id, wait);
            return;
        }
        let Some(lease) = job.lease() else { return };
        if lease.cancelling {
            self.stop(id, "the run was cancelled");
            self.end_cancelled(id);
        } else if lease.accept_by.is_some() {
            self.unaccepted(id, device);
        } else {
            let stage = lease.stage.map_or("before its first stage", Stage::as_str);
            self.lose(id, Outcome::DeviceLost, format!("the lease ended without a result; last stage: {stage}"), ALIVE);
        }
    }

    /// A job waits as long as it takes for a device that works, and no longer than its run allows for one that does not.
    fn has_waited(&mut self, id: JobId, wait: Wait) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.run.and_then(|run| self.runs.get(&run)).is_some_and(super::Run::is_cancelled) {
            return; // the store is ending it
        }
        let (key, max_wait, reservation) = (job.key(id), job.max_wait(), job.reservation);
        let attempt = AttemptRef { job: id, attempt: job.attempt };
        let device = self.devices.entry(job.device).or_default();
        let absence = device.absence(reservation);
        let since = absence.map_or(now, |(away, _)| away.max(wait.since));
        if let Some((_, why)) = absence.filter(|_| since.plus(max_wait) <= now) {
            device.dequeue(reservation, &key);
            job.phase = Phase::GivingBack { next: JobNext::Done(Outcome::DeviceLost) };
            let minutes = max_wait.as_secs() / 60;
            let reason = format!("the device took no work for {minutes} min: it {why}");
            self.effects.push(Effect::GiveUp { attempt, reason });
        } else {
            job.phase = Phase::Queued(Wait { since: wait.since, look_at: since.plus(max_wait) });
            self.set_timer(id);
        }
    }

    /// An agent that was killed while idle must swallow no job, and one that only listens must not be asked for ever.
    fn unaccepted(&mut self, id: JobId, device_id: DeviceId) {
        let message = Code::NotAccepted.template().to_owned();
        let now = self.now;
        let session =
            self.devices.get_mut(&device_id).and_then(|device| device.change(now, |device| device.session.take()));
        if let Some(session) = session {
            self.effects.push(Effect::CloseSession { device: device_id, session, reason: CloseReason::Silent });
            self.count_unstarted(device_id, &message);
        } else {
            self.count_vanished(device_id, &message);
        }
        self.give_back(id, Outcome::Cancelled, message, JobNext::Queued);
    }

    /// Ends an attempt that the device had begun and will not finish; counts against both.
    pub(super) fn lose(&mut self, id: JobId, outcome: Outcome, message: String, killed: Killed) {
        let Killed { verdict, counts } = killed;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let cancelled = job.run.and_then(|run| self.runs.get(&run)).is_some_and(super::Run::is_cancelled);
        let again = job.fails_again(verdict, cancelled);
        let next = job.after(outcome, verdict, counts, cancelled);
        let device = job.device;
        self.stop(id, &message);
        self.count_loss(device, id);
        if !self.is_check(id) {
            self.note_end(device, verdict == Verdict::Retry);
        }
        self.end_without_result(id, Ending { outcome, message, next, verdict, agent_death: counts, again });
    }

    pub(super) fn end_cancelled(&mut self, id: JobId) {
        let next = JobNext::Done(Outcome::Cancelled);
        self.give_back(id, Outcome::Cancelled, "the run was cancelled".to_owned(), next);
    }

    pub(super) fn give_back(&mut self, id: JobId, outcome: Outcome, message: String, next: JobNext) {
        let verdict = outcome.verdict(0);
        self.end_without_result(id, Ending { outcome, message, next, verdict, agent_death: false, again: false });
    }

    fn end_without_result(&mut self, id: JobId, ending: Ending) {
        let Ending { outcome, message, next, verdict, agent_death, again } = ending;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (device, attempt) = (job.device, AttemptRef { job: id, attempt: job.attempt });
        if let Some(due) = job.check {
            self.effects.push(Effect::CheckLost { attempt, device, due, outcome, message });
            self.check_ended(attempt, device, Health::Unknown);
            return;
        }
        job.phase = Phase::GivingBack { next };
        self.effects.push(Effect::GiveBack { attempt, device, outcome, message, next, verdict, agent_death, again });
        self.release_unless(again, id);
    }

    fn stop(&mut self, id: JobId, reason: &str) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (device, attempt) = (job.device, AttemptRef { job: id, attempt: job.attempt });
        if self.devices.get(&device).is_some_and(super::Device::is_attached) {
            self.effects.push(Effect::StopOnDevice { attempt, device, reason: reason.to_owned() });
        }
    }

    fn after(&mut self, id: JobId, outcome: Outcome) -> JobNext {
        let Some(job) = self.jobs.get_mut(&id) else { return JobNext::Done(outcome) };
        let cancelled = job.run.and_then(|run| self.runs.get(&run)).is_some_and(super::Run::is_cancelled);
        job.after(outcome, outcome.verdict(0), false, cancelled)
    }

    /// Only once the store has answered, where what waits for the device may be set aside by that.
    fn release_unless(&mut self, waits: bool, id: JobId) {
        if waits {
            self.set_timer(id);
        } else {
            self.release(id);
        }
    }

    /// The device no longer has the job, and may take the next.
    fn release(&mut self, id: JobId) {
        self.set_timer(id);
        let Some(device_id) = self.jobs.get(&id).map(|job| job.device) else { return };
        let now = self.now;
        if let Some(device) = self.devices.get_mut(&device_id) {
            device.change(now, |device| device.holding.remove(&id));
        }
        self.dispatch(device_id);
    }

    fn lease_of(&mut self, attempt: AttemptRef, device: DeviceId) -> Option<&mut Lease> {
        let job = self.jobs.get_mut(&attempt.job)?;
        if job.is_held_by(attempt, device) { job.lease() } else { None }
    }

    /// Makes the job's timer agree with its phase.
    pub(super) fn set_timer(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let due = job.due();
        if job.timer == due {
            return;
        }
        if let Some(at) = job.timer {
            self.timers.remove(&(at, Timer::Job(id)));
        }
        if let Some(at) = due {
            self.timers.insert((at, Timer::Job(id)));
        }
        job.timer = due;
    }
}
