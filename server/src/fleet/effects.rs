//! Doing what the schedule says.

use fail::fail_point;
use seatrial_core::failure::{self, Death};
use seatrial_core::ids::{DeviceId, SessionId};
use seatrial_core::job::{AttemptRef, Grant};
use seatrial_core::lab::standing::Order;
use seatrial_core::live::Event;
use seatrial_core::outcome::{Exit, Outcome};
use seatrial_core::schedule::{CloseReason, Effect, Killed, LEASE_SLACK};
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
            Effect::GiveBack { attempt, device, outcome, message, next, verdict, agent_death, again } => {
                let death = self.links.get(&device).map(|link| &link.death);
                let Lost { message, failure, death } = lost(outcome, message, death);
                tracing::info!(%attempt, %outcome, %message, ?next, "attempt ended without a result");
                let spec = self.shared.active.spec_of(attempt).map(|active| active.spec);
                self.ended(attempt);
                let now = self.shared.clock.now();
                let give_back =
                    GiveBack { outcome, message, failure, death, quarantine: None, next, verdict, agent_death, now };
                self.spawn(self.asker.clone().lose(attempt, device, give_back, again, spec));
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
            Effect::Check { device, due } => self.check(device, due),
            Effect::Judge { attempt, device, due } => self.judge_check(attempt, device, due),
            Effect::CheckLost { attempt, device, due, outcome, message } => {
                self.check_lost(attempt, device, due, outcome, message);
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
            // A check is in no store, and goes on only where this server has given it.
            let spec = spec.or_else(|| Some(self.shared.active.spec_of(attempt)?.spec));
            let Some(spec) = spec else { continue };
            let run = self.schedule.run_of(attempt.job);
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

    pub(super) fn take_result(&mut self, attempt: AttemptRef) -> Option<Box<super::Result>> {
        let waiting = self.results.get_mut(&attempt)?;
        let result = waiting.pop_front();
        if waiting.is_empty() {
            self.results.remove(&attempt);
        }
        result
    }

    /// Nobody may speak for the attempt any more.
    pub(super) fn ended(&mut self, attempt: AttemptRef) {
        if let Some(active) = self.shared.active.spec_of(attempt) {
            self.shared.now.ended(active.device, attempt);
        }
        self.shared.active.remove(attempt);
        self.stages.remove(&attempt.job);
    }
}

/// What is known of an attempt without a result.
struct Lost {
    message: String,
    failure: Option<failure::Failure>,
    /// Kept with it, for rules that come later.
    death: Option<Death>,
}

/// `death` is what the device told when it came back, if it has: of the death of its agent only where that is how the
/// attempt ended, of its boots in any case. That it has rebooted, and how the agent ended, stands in the message too.
fn lost(outcome: Outcome, mut message: String, death: Option<&Death>) -> Lost {
    let nothing = Death::default();
    let of_agent = outcome == Outcome::AgentKilled;
    let boots = death.filter(|_| of_agent || outcome == Outcome::DeviceLost).unwrap_or(&nothing);
    let death = death.filter(|death| of_agent && death.is_told());
    let mut evidence = match death {
        Some(death) => death.evidence(&message),
        None => failure::Evidence::untold(outcome, &message),
    };
    (evidence.boot_before, evidence.boot_after) = (boots.boot_before.as_deref(), boots.boot_after.as_deref());
    let rebooted = evidence.boot_changed();
    let failure = ingest::failure(&evidence);
    let death = death.cloned();
    let how = match death.as_ref().and_then(|death| death.exit) {
        Some(Exit::Signal(signal)) => format!("; it was ended by signal {signal}"),
        Some(Exit::Code(code)) => format!("; it ended with code {code}"),
        Some(Exit::Deadline | Exit::Stopped) | None => String::new(),
    };
    message.push_str(&how);
    if rebooted {
        message.push_str("; its boot id changed: the device rebooted");
    }
    Lost { message, failure, death }
}

/// What follows for what a killed agent held.
pub(super) fn killed(death: &Death) -> Killed {
    ingest::failure(&death.evidence("")).map_or_else(Killed::default, |failure| Killed {
        verdict: failure.verdict(),
        counts: failure.counts_against_job(),
    })
}

fn cancel(attempt: AttemptRef, reason: String) -> Word {
    Word::Cancel(v1::Cancel { attempt: Some(attempt_to_wire(attempt)), reason })
}

#[cfg(test)]
mod tests {
    use seatrial_core::failure::Class;
    use seatrial_core::outcome::Verdict;

    use super::*;

    fn boots(before: &str, after: &str) -> Death {
        let known = |boot: &str| Some(boot.to_owned()).filter(|boot| !boot.is_empty());
        Death { boot_before: known(before), boot_after: known(after), ..Death::default() }
    }

    #[test]
    fn an_agent_that_comes_back_in_another_boot_was_killed_by_a_reboot() {
        let class = |death: Option<Death>| {
            let Lost { message, failure, .. } =
                lost(Outcome::AgentKilled, "the agent was killed".to_owned(), death.as_ref());
            let again = ingest::failure(&failure::Evidence::untold(Outcome::AgentKilled, &message));
            assert_eq!(
                again,
                failure.clone().map(|failure| failure::Failure { seen: again.clone().unwrap().seen, ..failure })
            );
            failure.unwrap().class
        };
        assert_eq!(class(Some(boots("a", "b"))), Class::DeviceRebooted);
        for same in [None, Some(boots("a", "a")), Some(boots("", "b")), Some(boots("a", ""))] {
            assert_eq!(class(same.clone()), Class::AgentKilled, "{same:?}");
        }
    }

    #[test]
    fn what_is_told_of_an_agents_death_decides_its_class_what_follows_and_is_kept() {
        let by_rom = Death {
            pid: Some(15188),
            exit: Some(Exit::Signal(9)),
            system: "D OplusHansManager: kill pid 15188 uid 2000 reason: night clean".to_owned(),
            ..boots("a", "a")
        };
        let Lost { message, failure, death } =
            lost(Outcome::AgentKilled, "the agent was killed".to_owned(), Some(&by_rom));
        assert_eq!(failure.unwrap().class, Class::KilledByRom);
        assert_eq!(
            (message.as_str(), death.as_ref()),
            ("the agent was killed; it was ended by signal 9", Some(&by_rom))
        );
        assert_eq!(killed(&by_rom), Killed { verdict: Verdict::Retry, counts: false });
        assert_eq!(killed(&boots("a", "b")), Killed::default(), "a reboot may be the job's doing");
        let of_memory = Death { system: "lmkd: Kill 'x' (15188), uid 2000".to_owned(), ..by_rom.clone() };
        assert_eq!(killed(&of_memory), Killed { verdict: Verdict::Repeat, counts: true });

        let Lost { failure, death, .. } = lost(Outcome::DeviceLost, "the lease ended".to_owned(), Some(&by_rom));
        assert_eq!((failure.unwrap().class, death), (Class::LinkLost, None), "nothing of it is about this end");
    }
}
