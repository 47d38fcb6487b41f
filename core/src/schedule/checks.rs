//! Health checks: when a device has one instead of its next job, and what follows from its end.

use super::job::{Job, Phase};
use super::{Effect, Schedule, Timer};
use crate::ids::{DeviceId, JobId};
use crate::job::{AttemptRef, Grant, ONLINE_GRANT};
use crate::lab::canary::{Due, Health, Known, Watch};
use crate::time::Timestamp;

impl Schedule {
    /// The time of the checks.
    pub(super) fn wall(&self) -> Timestamp {
        let (at, wall) = self.wall;
        wall.plus(self.now.since(at))
    }

    pub(super) fn watch(&mut self, id: DeviceId, known: Option<Known>, wall: Timestamp) {
        self.wall = (self.now, wall);
        let device = self.devices.entry(id).or_default();
        match (known, &mut device.watch) {
            (None, watch) => *watch = None,
            (Some(known), Some(watch)) => watch.attached(known),
            (Some(known), watch @ None) => *watch = Some(Watch::new(known)),
        }
        self.look_later(id);
    }

    pub(super) fn check_now(&mut self, id: DeviceId) {
        if let Some(watch) = self.devices.get_mut(&id).and_then(|device| device.watch.as_mut()) {
            watch.ask();
            self.dispatch(id);
        }
    }

    pub(super) fn check(&mut self, id: DeviceId, attempt: AttemptRef) {
        let (now, wall) = (self.now, self.wall());
        let Some(device) = self.devices.get_mut(&id).filter(|device| device.check_asked) else { return };
        device.check_asked = false;
        if self.draining || !device.takes_work() {
            return;
        }
        let due = device.watch.as_ref().and_then(|watch| watch.due(wall)).unwrap_or(Due::Asked);
        device.holding.insert(attempt.job);
        self.checks += 1;
        self.jobs.insert(attempt.job, Job::checking(id, attempt.attempt, due, now));
        self.set_timer(attempt.job);
        self.effects.push(Effect::Assign { attempt, device: id, grant: Grant::Online { length: ONLINE_GRANT } });
    }

    pub(super) fn checked(&mut self, attempt: AttemptRef, health: Health, reason: String) {
        let Some(job) = self.jobs.get(&attempt.job).filter(|job| job.attempt == attempt.attempt) else { return };
        let (Some(_), Phase::Storing { .. }, device) = (job.check, &job.phase, job.device) else { return };
        if health == Health::Sick {
            self.quarantine(device, reason);
        }
        self.check_ended(attempt, device, health);
    }

    /// The device is free again.
    pub(super) fn check_ended(&mut self, attempt: AttemptRef, id: DeviceId, health: Health) {
        let wall = self.wall();
        if let Some(watch) = self.devices.get_mut(&id).and_then(|device| device.watch.as_mut()) {
            watch.ended(health, wall);
        }
        self.look_later(id);
        self.forget(attempt.job);
    }

    /// An attempt of a job has ended on the device.
    pub(super) fn note_end(&mut self, id: DeviceId, by_the_lab: bool) {
        if let Some(watch) = self.devices.get_mut(&id).and_then(|device| device.watch.as_mut()) {
            watch.job_ended(by_the_lab);
        }
    }

    pub(super) fn is_check(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.check.is_some())
    }

    /// The timer of the device's checks has fired.
    pub(super) fn may_be_due(&mut self, id: DeviceId) {
        if let Some(device) = self.devices.get_mut(&id) {
            device.watch_at = None;
        }
        self.look_later(id);
        self.dispatch(id);
    }

    /// Makes the timer agree with when time alone makes a check due.
    fn look_later(&mut self, id: DeviceId) {
        let (now, wall) = (self.now, self.wall());
        let Some(device) = self.devices.get_mut(&id) else { return };
        let look_at = device.watch.as_ref().and_then(|watch| watch.look_at(wall));
        let at = look_at.map(|at| now.plus(at.since(wall)));
        if device.watch_at == at {
            return;
        }
        let old = std::mem::replace(&mut device.watch_at, at);
        if let Some(old) = old {
            self.timers.remove(&(old, Timer::Check(id)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Check(id)));
        }
    }
}
