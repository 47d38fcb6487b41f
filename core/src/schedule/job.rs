//! An open job as the schedule sees it.

use std::cmp::Reverse;
use std::time::Duration;

use super::{ACCEPT_WITHIN, COME_BACK_WITHIN, DELIVER_WITHIN, LEASE_SLACK, LONGEST_ATTEMPT, START_WITHIN};
use crate::ids::{DeviceId, JobId, ReservationId, RunId};
use crate::job::{AttemptRef, Grant, ONLINE_GRANT};
use crate::lab::canary::Due;
use crate::outcome::{AGENT_DEATH_LIMIT, Outcome, Verdict};
use crate::stage::Stage;
use crate::store::{JobNext, OpenJob};
use crate::time::{Monotonic, Timestamp};

/// Higher priority first, then older first.
pub(super) type QueueKey = (Reverse<i32>, Timestamp, JobId);

#[derive(Debug)]
pub(super) struct Job {
    /// `None` of a check.
    pub(super) run: Option<RunId>,
    /// Why its device is checked, when this is no job of anybody's.
    pub(super) check: Option<Due>,
    pub(super) device: DeviceId,
    priority: i32,
    created_at: Timestamp,
    /// Number of the attempt that holds the job, or of the last one that did.
    pub(super) attempt: u32,
    infrastructure_failures: u32,
    /// Attempts that ended as a crash or hang: all of them on the same device.
    pub(super) crashes: u32,
    agent_deaths: u32,
    max_wait: Duration,
    /// What its run brought.
    pub(super) reservation: Option<ReservationId>,
    pub(super) phase: Phase,
    /// When the job's timer fires, if it has one.
    pub(super) timer: Option<Monotonic>,
}

#[derive(Debug)]
pub(super) enum Phase {
    Queued(Wait),
    /// The store has been asked.
    Claiming,
    Leased(Lease),
    /// The result is on its way to the store.
    Storing {
        next: JobNext,
    },
    /// The store is being told that the attempt ended without a result.
    GivingBack {
        next: JobNext,
    },
}

/// A job waits for its device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) since: Monotonic,
    /// When it is looked at whether the device has taken work meanwhile.
    pub(super) look_at: Monotonic,
}

#[derive(Debug)]
pub(super) struct Lease {
    /// When it ends.
    pub(super) until: Monotonic,
    /// The stream renews it no further than to here: a live stream does not prove that the attempt is alive.
    pub(super) renew_by: Monotonic,
    /// Whatever stage it enters, it ends here.
    pub(super) ends_by: Monotonic,
    /// Until when the agent must accept; `None` once it has.
    pub(super) accept_by: Option<Monotonic>,
    pub(super) stage: Option<Stage>,
    /// Whether the stream renews it.
    pub(super) online: bool,
    pub(super) cancelling: bool,
}

impl Job {
    pub(super) fn new(open: &OpenJob) -> Self {
        let &OpenJob {
            job: _,
            run,
            device,
            priority,
            created_at,
            attempt,
            infrastructure_failures,
            crashes,
            agent_deaths,
            max_wait,
            reservation,
            cancelled: _, // a property of its run
            leased_until: _,
        } = open;
        Self {
            run: Some(run),
            check: None,
            device,
            priority,
            created_at,
            attempt,
            infrastructure_failures,
            crashes,
            agent_deaths,
            max_wait,
            reservation,
            phase: Phase::Claiming, // until it is queued or awaited, in the same step
            timer: None,
        }
    }

    /// A check that is about to be assigned. It waits for nothing and is tried once.
    pub(super) fn checking(device: DeviceId, attempt: u32, due: Due, now: Monotonic) -> Self {
        Self {
            run: None,
            check: Some(due),
            device,
            priority: 0,
            created_at: Timestamp::default(),
            attempt,
            infrastructure_failures: 0,
            crashes: 0,
            agent_deaths: 0,
            max_wait: Duration::ZERO,
            reservation: None,
            phase: Phase::Leased(Lease::assigned(now)),
            timer: None,
        }
    }

    pub(super) const fn key(&self, id: JobId) -> QueueKey {
        (Reverse(self.priority), self.created_at, id)
    }

    /// Whether this attempt, on this device, is the last of the job.
    pub(super) fn is_held_by(&self, attempt: AttemptRef, device: DeviceId) -> bool {
        self.attempt == attempt.attempt && self.device == device
    }

    pub(super) const fn lease(&mut self) -> Option<&mut Lease> {
        match &mut self.phase {
            Phase::Leased(lease) => Some(lease),
            Phase::Queued(_) | Phase::Claiming | Phase::Storing { .. } | Phase::GivingBack { .. } => None,
        }
    }

    /// Waits from now on.
    pub(super) fn queue(&mut self, now: Monotonic) {
        self.phase = Phase::Queued(Wait { since: now, look_at: now.plus(self.max_wait) });
    }

    pub(super) const fn max_wait(&self) -> Duration {
        self.max_wait
    }

    /// When its timer must fire.
    pub(super) fn due(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Queued(wait) => Some(wait.look_at),
            Phase::Leased(lease) => Some(lease.due()),
            Phase::Claiming | Phase::Storing { .. } | Phase::GivingBack { .. } => None,
        }
    }

    /// Whether an attempt that ended so is one crash or hang more on the same device.
    pub(super) fn fails_again(&self, verdict: Verdict, cancelled: bool) -> bool {
        self.crashes > 0 && verdict == Verdict::Repeat && !cancelled
    }

    /// What becomes of the job after an attempt that ended so. Counts what it costs.
    pub(super) fn after(&mut self, outcome: Outcome, verdict: Verdict, agent_death: bool, cancelled: bool) -> JobNext {
        if agent_death {
            self.agent_deaths += 1;
            if self.agent_deaths >= AGENT_DEATH_LIMIT {
                return JobNext::Quarantined;
            }
        }
        if cancelled {
            return JobNext::Done(outcome);
        }
        let count = match verdict {
            Verdict::Done => return JobNext::Done(outcome),
            Verdict::Retry => &mut self.infrastructure_failures,
            Verdict::Repeat => &mut self.crashes,
        };
        match verdict.after(*count) {
            Verdict::Done => JobNext::Done(outcome),
            Verdict::Retry | Verdict::Repeat => {
                *count += 1;
                JobNext::Queued
            }
        }
    }
}

impl Lease {
    /// Of an assignment that is about to be sent.
    pub(super) fn assigned(now: Monotonic) -> Self {
        Self {
            until: now.plus(ONLINE_GRANT + LEASE_SLACK),
            renew_by: now.plus(START_WITHIN),
            ends_by: now.plus(LONGEST_ATTEMPT),
            accept_by: Some(now.plus(ACCEPT_WITHIN)),
            stage: None,
            online: true,
            cancelling: false,
        }
    }

    /// Of an attempt that was running when the server went away.
    pub(super) fn resumable(now: Monotonic, left: Duration) -> Self {
        let online = left <= ONLINE_GRANT;
        let left = left.max(COME_BACK_WITHIN).min(LONGEST_ATTEMPT) + LEASE_SLACK;
        Self {
            until: now.plus(left),
            renew_by: now.plus(DELIVER_WITHIN),
            ends_by: now.plus(LONGEST_ATTEMPT),
            accept_by: None,
            stage: None,
            online,
            cancelling: false,
        }
    }

    pub(super) fn due(&self) -> Monotonic {
        self.accept_by.map_or(self.until, |accept_by| accept_by.min(self.until))
    }

    /// Moves the end to that of a grant which is given now for a stage.
    pub(super) fn enter(&mut self, now: Monotonic, grant: Grant, deadline: Duration) {
        self.online = matches!(grant, Grant::Online { .. });
        self.renew_by = now.plus(deadline.saturating_add(ONLINE_GRANT));
        self.until = now.plus(grant.length().saturating_add(LEASE_SLACK)).min(self.ends_by);
    }

    /// Moves the end to that of an online grant which is given now; false when it may not be moved any further.
    pub(super) fn renew(&mut self, now: Monotonic) -> bool {
        let until = now.plus(ONLINE_GRANT + LEASE_SLACK).min(self.renew_by).min(self.ends_by);
        let moved = until > self.until;
        self.until = self.until.max(until);
        moved
    }

    /// What is left, as the device may be told it.
    pub(super) fn grant_left(&self, now: Monotonic) -> Grant {
        let length = self.until.since(now).saturating_sub(LEASE_SLACK);
        if self.online { Grant::Online { length } } else { Grant::Stage { length } }
    }
}
