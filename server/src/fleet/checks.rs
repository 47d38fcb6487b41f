//! Health checks: attempts that the schedule asks for and no store has.

use seatrial_core::ids::{DeviceId, JobId};
use seatrial_core::job::AttemptRef;
use seatrial_core::lab::canary::{Due, Found, Health};
use seatrial_core::lab::standing::Admits;
use seatrial_core::live::Event;
use seatrial_core::outcome::Outcome;
use seatrial_core::reason::Reason;
use seatrial_core::schedule::Input;
use seatrial_core::store::CanaryRow;
use seatrial_proto::attempt_to_wire;
use seatrial_proto::v1;
use seatrial_proto::v1::server_message::Message as Word;

use super::actor::{Actor, CheckReply, MAX_FINDERS};
use super::specs::Attempt;
use super::storing::Checked;
use crate::canary::{Subject, Unchecked, out_of_service};
use crate::system::entropy;

impl Actor {
    /// Before the device attaches.
    pub(super) fn watch(&mut self, device: DeviceId, subject: Result<Subject, Unchecked>) {
        let known = subject.as_ref().ok().map(|subject| subject.known.clone());
        self.subjects.insert(device, subject);
        let wall = self.shared.clock.now();
        self.step(Input::Watch { device, known, wall });
    }

    /// Makes the attempt that checks.
    pub(super) fn check(&mut self, device: DeviceId, due: Due) {
        let Some(spec) = self.shared.canary.clone() else { return };
        let job = JobId::new(self.shared.clock.now(), entropy());
        let attempt = AttemptRef { job, attempt: 1 };
        tracing::info!(%device, %due, %attempt, "health check");
        self.shared.active.insert(job, Attempt { number: attempt.attempt, device, run: None, spec });
        self.step(Input::Check { device, attempt });
    }

    pub(super) fn judge_check(&mut self, attempt: AttemptRef, device: DeviceId, due: Due) {
        let Some(result) = self.take_result(attempt) else { return };
        self.shared.now.ended(device, attempt);
        self.send(device, Word::Received(v1::ReportReceived { attempt: Some(attempt_to_wire(attempt)) }));
        let found = Found::of(&result.completion);
        self.conclude(attempt, device, due, found, true);
    }

    pub(super) fn check_lost(
        &mut self,
        attempt: AttemptRef,
        device: DeviceId,
        due: Due,
        outcome: Outcome,
        message: String,
    ) {
        self.ended(attempt);
        self.conclude(attempt, device, due, Found::lost(outcome, message), false);
    }

    fn conclude(&mut self, attempt: AttemptRef, device: DeviceId, due: Due, found: Found, reported: bool) {
        let Some(Ok(subject)) = self.subjects.get(&device).cloned() else {
            // It has come back as a device without checks.
            self.free(attempt, device, reported, Health::Unknown, String::new());
            return;
        };
        let (id, at) = (attempt.job, self.shared.clock.now());
        let checked = Checked { id, device, at, due, subject, found, reported };
        self.spawn(self.asker.clone().check(checked));
    }

    /// The store has it.
    pub(super) fn checked(&mut self, row: &CanaryRow, reported: bool) {
        let (device, attempt) = (row.device, AttemptRef { job: row.id, attempt: 1 });
        let health = row.judgement.health;
        let reason = Reason::joined(&row.judgement.reasons);
        match health {
            Health::Healthy => tracing::info!(%device, due = %row.due, latency_ms = row.found.latency_ms, "healthy"),
            Health::Sick => tracing::warn!(%device, due = %row.due, %reason, "sick by its health check"),
            Health::Unknown => {
                let message = row.found.message.as_deref();
                tracing::info!(%device, due = %row.due, %reason, message, "the health check says nothing; again later");
            }
        }
        self.free(attempt, device, reported, health, reason);
        for reply in self.checkers.remove(&device).unwrap_or_default() {
            let _ = reply.send(Ok(row.clone())); // whoever asked may have left
        }
        self.shared.now.announce(Event::Device(device));
    }

    /// The device may have its next job; of a check that was lost the schedule knows that already.
    fn free(&mut self, attempt: AttemptRef, device: DeviceId, reported: bool, health: Health, reason: String) {
        if reported {
            self.send(device, Word::Durable(v1::ReportDurable { attempt: Some(attempt_to_wire(attempt)) }));
            self.ended(attempt);
            self.step(Input::Checked { attempt, health, reason });
        }
    }

    pub(super) fn check_now(&mut self, device: DeviceId, reply: CheckReply) {
        if let Err(why) = self.may_be_checked(device) {
            let _ = reply.send(Err(why)); // whoever asked may have left
            return;
        }
        let checkers = self.checkers.entry(device).or_default();
        checkers.retain(|checker| !checker.is_closed());
        if checkers.len() >= MAX_FINDERS {
            let _ = reply.send(Err("many wait for its check already".to_owned())); // whoever asked may have left
            return;
        }
        checkers.push(reply);
        self.step(Input::CheckNow { device });
    }

    fn may_be_checked(&self, device: DeviceId) -> Result<(), String> {
        if self.shared.canary.is_none() {
            return Err(Unchecked::Off.words());
        }
        if !self.links.contains_key(&device) {
            return Err("it is not connected".to_owned());
        }
        if let Some(Err(why)) = self.subjects.get(&device) {
            return Err(why.words());
        }
        match self.services.get(&device).map(|row| (row.service.admits(), row.service.state())) {
            Some((Admits::Nobody(_), state)) => Err(out_of_service(device, state)),
            Some((Admits::Everybody | Admits::Holders(_), _)) | None => Ok(()),
        }
    }
}
