//! Doing what the schedule says.

use fail::fail_point;
use seatrial_core::failure;
use seatrial_core::ids::{DeviceId, SessionId};
use seatrial_core::job::{AttemptRef, Grant};
use seatrial_core::lab::standing::Order;
use seatrial_core::live::Event;
use seatrial_core::outcome::Outcome;
use seatrial_core::schedule::{CloseReason, Effect, LEASE_SLACK};
use seatrial_core::store::{Accepted, Claim, GiveBack, JobNext};
use seatrial_proto::v1;
use seatrial_proto::v1::server_message::Message as Word;
use seatrial_proto::{attempt_to_wire, grant_to_wire};

use super::actor::Actor;
use super::specs::Attempt;
use crate::ingest;

/// Where artifacts are, on the same port.
pub(super) const ARTIFACT_PREFIX: &str = "/artifacts/";

impl Actor {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Claim { attempt, device, grant } => {
                let granted_at = self.shared.clock.now();
                let lease_until = granted_at.plus(grant.length() + LEASE_SLACK);
                self.claims.push(Claim { attempt, device, granted_at, lease_until });
            }
            Effect::Assign { attempt, device, grant } => self.assign(attempt, device, grant),
            Effect::Grant { attempt, device, grant } => {
                self.send(device, Word::Grant(grant_to_wire(attempt, grant)));
            }
            Effect::NoteStage { attempt, stage, lease } => {
                self.stages.insert(attempt.job, (attempt, stage, self.shared.clock.now().plus(lease)));
            }
            Effect::Welcome { device, session, stop, grants } => self.welcome(device, session, &stop, &grants),
            Effect::CloseSession { device, session, reason } => self.close(device, session, reason),
            Effect::CancelOnDevice { attempt, device } => {
                self.send(device, cancel(attempt, "the run was cancelled".to_owned()));
            }
            Effect::StopOnDevice { attempt, device, reason } => self.send(device, cancel(attempt, reason)),
            Effect::GiveBack { attempt, outcome, message, next, agent_death } => {
                tracing::info!(%attempt, %outcome, %message, ?next, "attempt ended without a result");
                let boots = self.boots_of(attempt);
                self.ended(attempt);
                let now = self.shared.clock.now();
                let asker = self.asker.clone();
                let (message, failure) = lost(outcome, message, boots);
                let give_back = GiveBack { outcome, message, failure, next, agent_death, now };
                self.spawn(async move { asker.give_back(attempt, give_back).await });
            }
            Effect::GiveUp { attempt, reason } => {
                tracing::info!(%attempt, %reason, "job given up");
                let now = self.shared.clock.now();
                self.spawn(self.asker.clone().give_up(attempt, reason, now));
            }
            Effect::Complete { attempt, device, next, again } => self.complete(attempt, device, next, again),
            Effect::RefuseReport { attempt, device, reason } => {
                self.take_result(attempt);
                self.refuse_report(attempt, device, reason);
            }
            Effect::Quarantine { device, reason } => {
                tracing::warn!(%device, %reason, "device quarantined");
                let now = self.shared.clock.now();
                self.spawn(self.asker.clone().decide(device, Order::Sick { reason }, now));
            }
            Effect::CancelRun { run } => {
                let now = self.shared.clock.now();
                self.spawn(self.asker.clone().cancel(run, now));
            }
            Effect::RunEnded { run: _ } => self.shared.run_ended.notify_one(),
            Effect::ReadAgain => self.shared.read_again.notify_one(),
        }
    }

    /// Sends a word to a device, and gives its session up when it does not keep up.
    pub(super) fn send(&mut self, device: DeviceId, word: Word) {
        let Some(link) = self.links.get(&device) else { return };
        if !link.outbox.send(word) {
            tracing::warn!(%device, "the device does not read what it is sent; its session is closed");
            self.detach(device);
        }
    }

    /// The boots between which an attempt was lost, where its device has come back.
    fn boots_of(&self, attempt: AttemptRef) -> Option<(String, String)> {
        let device = self.shared.active.spec_of(attempt)?.device;
        self.links.get(&device).map(|link| link.boots.clone())
    }

    fn assign(&mut self, attempt: AttemptRef, device: DeviceId, grant: Grant) {
        let Some(Attempt { run, spec, .. }) = self.shared.active.spec_of(attempt) else { return };
        tracing::debug!(%attempt, %device, "assigned");
        self.shared.now.began(device, run, attempt, self.shared.clock.monotonic());
        let assignment = v1::Assignment {
            attempt: Some(attempt_to_wire(attempt)),
            spec_json: spec.json.clone(),
            grant: Some(grant_to_wire(attempt, grant)),
        };
        self.send(device, Word::Assignment(assignment));
    }

    fn welcome(&mut self, device: DeviceId, session: SessionId, stop: &[AttemptRef], grants: &[(AttemptRef, Grant)]) {
        let Some(link) = self.links.get_mut(&device).filter(|link| link.session == session) else { return };
        let Some(welcome) = link.welcome.take() else { return };
        let held = std::mem::take(&mut link.held);
        for &(attempt, _) in grants {
            let spec = held.iter().find(|(job, _)| *job == attempt.job).map(|(_, spec)| spec.clone());
            let (Some(spec), Some(run)) = (spec, self.schedule.run_of(attempt.job)) else { continue };
            self.shared.active.insert(attempt.job, Attempt { number: attempt.attempt, device, run, spec });
            self.shared.now.began(device, run, attempt, self.shared.clock.monotonic());
        }
        let word = Word::Welcome(v1::Welcome {
            protocol: welcome.protocol,
            device: device.to_string(),
            device_name: welcome.name,
            session: session.to_string(),
            heartbeat_ms: self.shared.settings.heartbeat.as_millis() as u32,
            stop: stop.iter().copied().map(attempt_to_wire).collect(),
            artifact_prefix: ARTIFACT_PREFIX.to_owned(),
            server_version: crate::VERSION.to_owned(),
            grants: grants.iter().map(|&(attempt, grant)| grant_to_wire(attempt, grant)).collect(),
        });
        self.send(device, word);
    }

    fn close(&mut self, device: DeviceId, session: SessionId, reason: CloseReason) {
        if self.links.get(&device).is_none_or(|link| link.session != session) {
            return; // a newer one has taken its place already
        }
        if let Some(link) = self.links.remove(&device) {
            let status = match reason {
                CloseReason::Replaced => tonic::Status::aborted("the device has opened a newer session"),
                CloseReason::Silent => tonic::Status::deadline_exceeded("an assignment was not accepted in time"),
            };
            link.outbox.close(status);
            self.shared.now.detached(device);
        }
    }

    fn complete(&mut self, attempt: AttemptRef, device: DeviceId, next: JobNext, again: bool) {
        let Some(mut result) = self.take_result(attempt) else { return };
        self.shared.now.ended(device, attempt);
        self.stages.remove(&attempt.job);
        self.send(device, Word::Received(v1::ReportReceived { attempt: Some(attempt_to_wire(attempt)) }));
        result.completion.next = next;
        let super::Result { completion, outcome, permit } = *result;
        let holder = self.shared.active.spec_of(attempt);
        self.spawn(self.asker.clone().complete(completion, outcome, permit, holder, again));
    }

    pub(super) fn completed(
        &mut self,
        attempt: AttemptRef,
        device: DeviceId,
        accepted: Accepted,
        unstored: Option<String>,
    ) {
        fail_point!("durable-before");
        let run = self.schedule.run_of(attempt.job);
        match accepted {
            Accepted::Stored | Accepted::Duplicate => {
                self.send(device, Word::Durable(v1::ReportDurable { attempt: Some(attempt_to_wire(attempt)) }));
            }
            Accepted::Stale => {
                let lost = || "the attempt no longer holds its job".to_owned();
                self.refuse_report(attempt, device, unstored.unwrap_or_else(lost));
            }
            Accepted::Unknown => self.refuse_report(attempt, device, "there is no such job".to_owned()),
        }
        self.ended(attempt);
        self.step(seatrial_core::schedule::Input::Stored { attempt, accepted });
        if let Some(run) = run {
            self.shared.now.announce(Event::Job { run, job: attempt.job });
        }
    }

    fn refuse_report(&mut self, attempt: AttemptRef, device: DeviceId, reason: String) {
        tracing::info!(%attempt, %device, %reason, "report refused");
        let attempt = Some(attempt_to_wire(attempt));
        self.send(device, Word::ReportRefused(v1::ReportRefused { attempt, reason }));
    }

    fn take_result(&mut self, attempt: AttemptRef) -> Option<Box<super::Result>> {
        let waiting = self.results.get_mut(&attempt)?;
        let result = waiting.pop_front();
        if waiting.is_empty() {
            self.results.remove(&attempt);
        }
        result
    }

    /// Nobody may speak for the attempt any more.
    fn ended(&mut self, attempt: AttemptRef) {
        if let Some(active) = self.shared.active.spec_of(attempt) {
            self.shared.now.ended(active.device, attempt);
        }
        self.shared.active.remove(attempt);
        self.stages.remove(&attempt.job);
    }
}

/// What is said of an attempt without a result, and its class. That the device has rebooted is said in the message, which
/// is kept: rules that come later have nothing else to judge it by.
fn lost(outcome: Outcome, mut message: String, boots: Option<(String, String)>) -> (String, Option<failure::Failure>) {
    let of_the_device = matches!(outcome, Outcome::AgentKilled | Outcome::DeviceLost);
    let (before, after) = boots.filter(|_| of_the_device).unwrap_or_default();
    let known = |boot: String| Some(boot).filter(|boot| !boot.is_empty());
    let (before, after) = (known(before), known(after));
    let mut evidence = failure::Evidence::untold(outcome, &message);
    (evidence.boot_before, evidence.boot_after) = (before.as_deref(), after.as_deref());
    let rebooted = evidence.boot_changed();
    let failure = ingest::failure(&evidence);
    if rebooted {
        message.push_str("; its boot id changed: the device rebooted");
    }
    (message, failure)
}

fn cancel(attempt: AttemptRef, reason: String) -> Word {
    Word::Cancel(v1::Cancel { attempt: Some(attempt_to_wire(attempt)), reason })
}

#[cfg(test)]
mod tests {
    use seatrial_core::failure::Class;

    use super::*;

    #[test]
    fn an_agent_that_comes_back_in_another_boot_was_killed_by_a_reboot() {
        let class = |boots: Option<(&str, &str)>| {
            let boots = boots.map(|(before, after)| (before.to_owned(), after.to_owned()));
            let (message, failure) = lost(Outcome::AgentKilled, "the agent was killed".to_owned(), boots);
            let again = ingest::failure(&failure::Evidence::untold(Outcome::AgentKilled, &message));
            assert_eq!(
                again,
                failure.clone().map(|failure| failure::Failure { seen: again.clone().unwrap().seen, ..failure })
            );
            failure.unwrap().class
        };
        assert_eq!(class(Some(("a", "b"))), Class::DeviceRebooted);
        for same in [None, Some(("a", "a")), Some(("", "b")), Some(("a", ""))] {
            assert_eq!(class(same), Class::AgentKilled, "{same:?}");
        }
    }
}
