//! Devices: who is here, who may be given work, and who has lost too much of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attempts::ALIVE;
use super::job::{Phase, QueueKey};
use super::{CloseReason, DELIVER_WITHIN, DEVICE_LOSS_LIMIT, Effect, Held, Killed, Schedule, Timer, UNSTARTED_LIMIT};
use crate::ids::{DeviceId, JobId, ReservationId, SessionId};
use crate::job::{AttemptRef, Grant, ONLINE_GRANT};
use crate::lab::canary::Watch;
use crate::lab::standing::{Admits, Out};
use crate::outcome::Outcome;
use crate::reason::{Code, Reason};
use crate::retry::Backoff;
use crate::store::JobNext;
use crate::time::Monotonic;

/// How long a device that left an assignment unstarted is spared the next.
const REST: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_mins(1) };

#[derive(Debug, Default)]
pub(super) struct Device {
    pub(super) session: Option<SessionId>,
    /// `None` until something was heard: such a device only has jobs that wait for it.
    admits: Option<Admits>,
    /// Since when.
    admits_since: Monotonic,
    /// Whether its agent takes more work.
    leaving: bool,
    /// By what their runs brought, so that a reserved device finds its jobs among those of all others.
    queues: BTreeMap<Option<ReservationId>, BTreeSet<QueueKey>>,
    /// Jobs that it holds or is about to: one, or more for a moment after a restart of the server.
    pub(super) holding: BTreeSet<JobId>,
    /// Different jobs lost since its last result, and the last of them.
    losses: u32,
    last_lost: Option<JobId>,
    /// Assignments that it left unstarted since the last that it started.
    unstarted: u32,
    not_before: Monotonic,
    /// Its health checks; `None` of a device that has none.
    pub(super) watch: Option<Watch>,
    /// When they are looked at again.
    pub(super) watch_at: Option<Monotonic>,
    /// Whether an attempt was asked for that checks it.
    pub(super) check_asked: bool,
    /// Since when it neither takes nor has work, if that is so.
    away_since: Monotonic,
}

impl Device {
    pub(super) const fn is_attached(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn enqueue(&mut self, reservation: Option<ReservationId>, key: QueueKey) {
        self.queues.entry(reservation).or_default().insert(key);
    }

    pub(super) fn dequeue(&mut self, reservation: Option<ReservationId>, key: &QueueKey) {
        if let Some(queue) = self.queues.get_mut(&reservation) {
            queue.remove(key);
            if queue.is_empty() {
                self.queues.remove(&reservation);
            }
        }
    }

    /// The first of the waiting jobs that the device is given. There are as many queues as reservations have waited for
    /// it, which is few.
    fn next(&self) -> Option<(Option<ReservationId>, QueueKey)> {
        let first = |of: Option<ReservationId>| Some((of, *self.queues.get(&of)?.first()?));
        match self.admits? {
            Admits::Everybody => self.queues.keys().filter_map(|&of| first(of)).min_by_key(|&(_, key)| key),
            Admits::Holders(reservation) => first(Some(reservation)),
            Admits::Nobody(_) => None,
        }
    }

    /// Whether an assignment that was claimed for it may be sent.
    pub(super) fn takes(&self, reservation: Option<ReservationId>) -> bool {
        self.takes_work() && self.admits.is_some_and(|admits| admits.job(reservation))
    }

    pub(super) fn takes_work(&self) -> bool {
        self.session.is_some() && self.out_of_service().is_none() && !self.leaving
    }

    /// What keeps it from any work, if something does.
    const fn out_of_service(&self) -> Option<Out> {
        match self.admits {
            Some(Admits::Nobody(out)) => Some(out),
            Some(Admits::Everybody | Admits::Holders(_)) | None => None,
        }
    }

    fn admit(&mut self, admits: Admits, now: Monotonic) {
        if self.admits.replace(admits) != Some(admits) {
            self.admits_since = now;
        }
    }

    /// Whether a job that waits for it has reason to wait.
    fn is_at_work(&self) -> bool {
        self.takes_work() || !self.holding.is_empty()
    }

    /// Changes the device, and notes the moment at which it goes away by that.
    pub(super) fn change<T>(&mut self, now: Monotonic, change: impl FnOnce(&mut Self) -> T) -> T {
        let was_at_work = self.is_at_work();
        let changed = change(self);
        if was_at_work && !self.is_at_work() {
            self.away_since = now;
        }
        changed
    }

    /// Since when it has been away from the jobs of a reservation, and how; `None` for a device that works for them.
    pub(super) fn absence(&self, reservation: Option<ReservationId>) -> Option<(Monotonic, &'static str)> {
        if let Some(admits @ Admits::Holders(_)) = self.admits
            && !admits.job(reservation)
        {
            return Some((self.admits_since, "is reserved"));
        }
        if self.is_at_work() {
            return None;
        }
        let unheard = if self.session.is_some() { "is about to leave" } else { "is not connected" };
        let how = self.out_of_service().map_or(unheard, Out::words);
        Some((self.away_since, how))
    }

    fn is_idle(&self, now: Monotonic) -> bool {
        self.takes_work() && self.holding.is_empty() && !self.check_asked && self.not_before <= now
    }

    const fn forgive(&mut self) {
        self.losses = 0;
        self.last_lost = None;
        self.unstarted = 0;
    }

    pub(super) const fn started(&mut self) {
        self.unstarted = 0;
    }

    pub(super) const fn has_reported(&mut self) {
        self.losses = 0;
        self.last_lost = None;
    }
}

impl Schedule {
    pub(super) fn attached(
        &mut self,
        id: DeviceId,
        session: SessionId,
        admits: Admits,
        held: &[Held],
        lost: &[AttemptRef],
        killed: Killed,
    ) {
        let device = self.devices.entry(id).or_default();
        if let Some(old) = device.session.replace(session) {
            self.effects.push(Effect::CloseSession { device: id, session: old, reason: CloseReason::Replaced });
        }
        let now = self.now;
        device.change(now, |device| {
            // What was heard is newer than what the handshake read, or the same.
            device.admit(device.admits.unwrap_or(admits), now);
            device.leaving = false;
        });
        device.not_before = self.now;

        let welcome_at = self.effects.len(); // before everything that follows from it
        let mut grants = Vec::new();
        for job in device.holding.clone() {
            if let Some(grant) = self.resume(job, held, lost, killed) {
                grants.push(grant);
            }
        }
        let stop = held.iter().filter(|held| !held.ended).map(|held| held.attempt);
        let stop = stop.filter(|attempt| !grants.iter().any(|(granted, _)| granted == attempt)).collect();
        self.effects.insert(welcome_at, Effect::Welcome { device: id, session, stop, grants });
        self.dispatch(id);
    }

    /// Goes on with an attempt that the agent still has, or ends it.
    fn resume(&mut self, id: JobId, held: &[Held], lost: &[AttemptRef], killed: Killed) -> Option<(AttemptRef, Grant)> {
        let now = self.now;
        let job = self.jobs.get_mut(&id)?;
        let attempt = AttemptRef { job: id, attempt: job.attempt };
        let lease = job.lease()?; // a claim that is under way goes to the new session
        if let Some(held) = held.iter().find(|held| held.attempt == attempt) {
            lease.accept_by = None;
            if held.ended && !lease.online {
                lease.online = true; // delivering the report takes the stream
                lease.renew_by = now.plus(DELIVER_WITHIN);
            }
            if lease.online {
                lease.renew(now);
            }
            let grant = lease.grant_left(now);
            self.set_timer(id);
            return Some((attempt, grant));
        }
        if lost.contains(&attempt) {
            let message = "the agent was killed while it held the job".to_owned();
            self.lose(id, Outcome::AgentKilled, message, killed);
        } else if lease.accept_by.is_some() {
            let message = Code::CameBackWithout.template().to_owned();
            if let Some(device) = self.jobs.get(&id).map(|job| job.device) {
                self.count_vanished(device, &message);
            }
            self.give_back(id, Outcome::Cancelled, message, JobNext::Queued);
        } else {
            self.lose(id, Outcome::DeviceLost, "the agent came back without the attempt".to_owned(), ALIVE);
        }
        None
    }

    pub(super) fn detached(&mut self, id: DeviceId, session: SessionId) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(&id) else { return };
        if device.session != Some(session) {
            return; // a newer session has taken its place
        }
        device.change(now, |device| device.session = None);
        for job in device.holding.clone() {
            let cancelling = self.jobs.get_mut(&job).and_then(|job| job.lease().map(|lease| lease.cancelling));
            if cancelling == Some(true) {
                self.end_cancelled(job);
            }
        }
    }

    pub(super) fn leaving(&mut self, id: DeviceId, session: SessionId) {
        let now = self.now;
        if let Some(device) = self.devices.get_mut(&id)
            && device.session == Some(session)
        {
            device.change(now, |device| device.leaving = true);
        }
    }

    pub(super) fn admits(&mut self, id: DeviceId, admits: Admits) {
        let now = self.now;
        let device = self.devices.entry(id).or_default();
        let was_out = device.out_of_service().is_some();
        device.change(now, |device| device.admit(admits, now));
        if was_out && device.out_of_service().is_none() {
            device.forgive();
            device.not_before = now;
        }
        self.dispatch(id);
    }

    /// Gives the device its next job, if it can take one, or its health check, if that is due before.
    pub(super) fn dispatch(&mut self, id: DeviceId) {
        let wall = self.wall();
        let Some(device) = self.devices.get_mut(&id) else { return };
        if self.draining || !device.is_idle(self.now) {
            return;
        }
        if let Some(due) = device.watch.as_ref().and_then(|watch| watch.due(wall)) {
            device.check_asked = true;
            self.effects.push(Effect::Check { device: id, due });
            return;
        }
        let Some((reservation, key)) = device.next() else { return };
        device.dequeue(reservation, &key);
        let (.., job_id) = key;
        let Some(job) = self.jobs.get_mut(&job_id) else { return };
        device.holding.insert(job_id);
        job.attempt += 1;
        job.phase = Phase::Claiming;
        let attempt = AttemptRef { job: job_id, attempt: job.attempt };
        self.set_timer(job_id);
        self.effects.push(Effect::Claim { attempt, device: id, grant: Grant::Online { length: ONLINE_GRANT } });
    }

    /// The device has lost a job that it had begun.
    pub(super) fn count_loss(&mut self, id: DeviceId, job: JobId) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        if device.last_lost == Some(job) {
            return; // one job that is lost again and again says more of the job than of the device
        }
        device.last_lost = Some(job);
        device.losses += 1;
        if device.losses >= DEVICE_LOSS_LIMIT {
            let why = Reason::new(Code::LostInARow, &[("jobs", &DEVICE_LOSS_LIMIT)]);
            self.quarantine(id, why.into());
        }
    }

    /// The device is connected and has not started what it was given.
    pub(super) fn count_unstarted(&mut self, id: DeviceId, why: &str) {
        let Some(device) = self.devices.get(&id) else { return };
        self.spare(id, REST.delay(device.unstarted, 1.0), why);
    }

    /// The agent went away when it was given work. Once is an agent that was killed while it was idle, and its job must
    /// not wait for that; again and again it is the work that ends it.
    pub(super) fn count_vanished(&mut self, id: DeviceId, why: &str) {
        let Some(device) = self.devices.get(&id) else { return };
        let earlier = device.unstarted.checked_sub(1);
        self.spare(id, earlier.map_or(Duration::ZERO, |earlier| REST.delay(earlier, 1.0)), why);
    }

    fn spare(&mut self, id: DeviceId, rest: Duration, why: &str) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        device.unstarted += 1;
        device.not_before = self.now.plus(rest);
        self.timers.insert((device.not_before, Timer::Device(id)));
        if device.unstarted >= UNSTARTED_LIMIT {
            self.quarantine(id, format!("did not start {UNSTARTED_LIMIT} assignments in a row; the last: {why}"));
        }
    }

    pub(super) fn quarantine(&mut self, id: DeviceId, reason: String) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(&id) else { return };
        if device.out_of_service().is_none() {
            device.change(now, |device| device.admit(Admits::Nobody(Out::Quarantined), now));
            self.effects.push(Effect::Quarantine { device: id, reason });
        }
    }
}
