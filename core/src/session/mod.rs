//! The agent's half of a session as a state machine without I/O.
//!
//! The driver in `agent` feeds [`Input`]s and performs [`Effect`]s; this module decides. It owns no clock, socket, file
//! or randomness: each step takes a [`Moment`]. Invariants:
//!
//! - one attempt in flight, and it is so until its last process is gone; a second assignment is refused, a repeated one is accepted again without starting twice;
//! - an attempt whose grant has ended is stopped at the next step, and leaves no report;
//! - a report is offered until the server says that it is durable or that it is refused for good;
//! - time is the device's boot clock, so that a device that slept finds its grant ended when it wakes.

mod lease;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::job::{AttemptRef, Grant, JobSpec};
use crate::stage::Stage;
use crate::time::Monotonic;
use lease::Lease;
pub use words::{
    Effect, FromServer, Held, HeldAttempt, Input, Moment, Progress, Settings, Shutdown, Stop, ToServer, Welcome,
};

/// One agent, from its start to its end.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    link: Link,
    /// Connections in a row that did not last.
    failures: u32,
    running: Option<Running>,
    pending: BTreeMap<AttemptRef, Delivery>,
    lost: Vec<AttemptRef>,
    /// When the drain began.
    draining: Option<Monotonic>,
    hard: bool,
}

#[derive(Debug, Clone, Copy)]
enum Link {
    /// No stream; open one at `retry_at`.
    Down {
        retry_at: Monotonic,
    },
    Connecting {
        since: Monotonic,
    },
    /// Hello is sent, the welcome has not come.
    Greeting {
        since: Monotonic,
    },
    Up(Up),
}

#[derive(Debug, Clone, Copy)]
struct Up {
    since: Monotonic,
    heartbeat: Duration,
    heard: Monotonic,
    said: Monotonic,
    /// The server has said that it goes away.
    retry_after: Option<Duration>,
}

#[derive(Debug)]
struct Running {
    attempt: AttemptRef,
    lease: Lease,
    progress: Progress,
    stopping: bool,
    /// What of it cannot be ended.
    orphans: Vec<i32>,
}

/// Where a report is on its way.
#[derive(Debug, Clone, Copy)]
enum Delivery {
    Waiting,
    Sent { at: Monotonic },
    Received { at: Monotonic },
}

/// Heartbeats of the other side that may be missing before the link counts as dead.
const SILENT_HEARTBEATS: u32 = 3;

impl Session {
    /// An agent that has just started; the first step opens the stream.
    #[must_use]
    pub fn new(settings: Settings, held: Held, now: Monotonic) -> Self {
        Self {
            settings,
            link: Link::Down { retry_at: now },
            failures: 0,
            running: None,
            pending: held.pending.into_iter().map(|attempt| (attempt, Delivery::Waiting)).collect(),
            lost: held.lost,
            draining: None,
            hard: false,
        }
    }

    /// The attempt that runs now.
    #[must_use]
    pub fn running(&self) -> Option<AttemptRef> {
        self.running.as_ref().map(|running| running.attempt)
    }

    /// Whether this attempt may still record: the last check before a report enters the spool.
    #[must_use]
    pub fn may_record(&self, attempt: AttemptRef, now: Monotonic) -> bool {
        self.running.as_ref().is_some_and(|running| running.attempt == attempt && !running.lease.has_ended(now))
    }

    /// One event in, what is to be done out. The last effect is always [`Effect::WakeAt`] or [`Effect::Exit`].
    pub fn step(&mut self, moment: Moment, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.end_lease(moment.now, &mut effects);
        self.handle(moment, input, &mut effects);
        self.keep_link(moment, &mut effects);
        self.offer_reports(moment.now, &mut effects);
        if self.may_leave(moment.now) {
            effects.push(Effect::Exit);
        } else {
            effects.push(Effect::WakeAt(self.next_deadline(moment.now)));
        }
        effects
    }

    fn handle(&mut self, moment: Moment, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::Connected => self.greet(moment.now, effects),
            Input::Disconnected { reason: _ } => self.link_lost(moment),
            Input::Received(message) => self.receive(moment, message, effects),
            Input::Progressed(progress) => self.progress(moment.now, progress, effects),
            Input::Orphans { attempt, processes } => self.orphaned(attempt, processes),
            Input::Ended { attempt, reported } => self.ended(attempt, reported),
            Input::Undeliverable(attempt) => self.undeliverable(moment, attempt, effects),
            Input::Shutdown(level) => self.shut_down(moment.now, level, effects),
        }
    }

    fn receive(&mut self, moment: Moment, message: FromServer, effects: &mut Vec<Effect>) {
        match &mut self.link {
            Link::Up(up) => up.heard = moment.now,
            Link::Greeting { .. } => {}
            // A message of a stream that was given up.
            Link::Down { .. } | Link::Connecting { .. } => return,
        }
        match message {
            FromServer::Welcome(welcome) => self.welcomed(moment.now, welcome, effects),
            FromServer::Heartbeat => {}
            FromServer::Assignment { attempt, spec, grant } => {
                self.assigned(moment.now, attempt, spec, grant, effects);
            }
            FromServer::Unreadable { attempt, reason } => {
                self.say(moment.now, ToServer::Refused { attempt, reason, retryable: false }, effects);
            }
            FromServer::Grant { attempt, grant } => self.granted(moment.now, attempt, grant),
            FromServer::Cancel { attempt, reason } => self.stop(attempt, Stop::Cancelled(reason), effects),
            FromServer::ReportReceived(attempt) => {
                if let Some(delivery) = self.pending.get_mut(&attempt) {
                    *delivery = Delivery::Received { at: moment.now };
                }
            }
            FromServer::ReportDurable(attempt) => self.delivered(attempt, None, effects),
            FromServer::ReportRefused { attempt, reason } => self.delivered(attempt, Some(reason), effects),
            FromServer::Drain { reason: _, retry_after } => self.server_leaves(moment, retry_after, effects),
        }
    }

    // --- the stream ---

    fn greet(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let Link::Connecting { .. } = self.link else { return };
        self.link = Link::Greeting { since: now };
        let running = self.running.iter().filter(|running| !running.stopping).map(|running| HeldAttempt {
            attempt: running.attempt,
            ended: false,
            stage: running.progress.stage,
        });
        let pending = self.pending.keys().map(|&attempt| HeldAttempt { attempt, ended: true, stage: Stage::Teardown });
        let held = running.chain(pending).collect();
        effects.push(Effect::Send(ToServer::Hello { held, lost: self.lost.clone() }));
    }

    fn welcomed(&mut self, now: Monotonic, welcome: Welcome, effects: &mut Vec<Effect>) {
        let Link::Greeting { .. } = self.link else { return };
        let Welcome { device, heartbeat, stop, grants, artifact_prefix } = welcome;
        let heartbeat = heartbeat.max(Duration::from_millis(100));
        self.link = Link::Up(Up { since: now, heartbeat, heard: now, said: now, retry_after: None });
        effects.push(Effect::Remember { device, artifact_prefix });
        if !self.lost.is_empty() {
            effects.push(Effect::ForgetLost(std::mem::take(&mut self.lost)));
        }
        for attempt in stop {
            self.stop(attempt, Stop::NotOurs("the server has given the job away".to_owned()), effects);
        }
        for (attempt, grant) in grants {
            self.granted(now, attempt, grant);
        }
        if let Some(running) = self.running.as_ref().filter(|running| !running.stopping) {
            let progress = running.progress;
            self.say(now, ToServer::Stage(progress), effects);
        }
        if self.draining.is_some() {
            self.say(now, ToServer::Drain { reason: "the agent was asked to stop".to_owned() }, effects);
        }
    }

    fn link_lost(&mut self, moment: Moment) {
        let wait = match self.link {
            Link::Down { .. } => return,
            Link::Up(Up { retry_after: Some(wait), .. }) => {
                self.failures = 0;
                // Everybody is told the same wait: spread the return over half of it again.
                wait + wait.mul_f64(0.5 * moment.jitter.clamp(0.0, 1.0))
            }
            Link::Up(up) if moment.now.since(up.since) >= self.settings.stable_after => {
                self.failures = 0;
                self.settings.backoff.delay(0, moment.jitter)
            }
            Link::Up(_) | Link::Connecting { .. } | Link::Greeting { .. } => {
                let wait = self.settings.backoff.delay(self.failures, moment.jitter);
                self.failures = self.failures.saturating_add(1);
                wait
            }
        };
        self.link = Link::Down { retry_at: moment.now.plus(wait) };
        self.pending.values_mut().for_each(|delivery| *delivery = Delivery::Waiting);
    }

    fn give_up_link(&mut self, moment: Moment, effects: &mut Vec<Effect>) {
        effects.push(Effect::Disconnect);
        self.link_lost(moment);
    }

    fn server_leaves(&mut self, moment: Moment, wait: Duration, effects: &mut Vec<Effect>) {
        if let Link::Up(up) = &mut self.link {
            up.retry_after = Some(wait);
        }
        if self.running.is_none() && self.pending.is_empty() {
            self.give_up_link(moment, effects);
        }
    }

    /// Everything about the stream that is due: opening it, giving it up, heartbeats.
    fn keep_link(&mut self, moment: Moment, effects: &mut Vec<Effect>) {
        let now = moment.now;
        match self.link {
            Link::Down { retry_at } if now >= retry_at && !self.hard => {
                self.link = Link::Connecting { since: now };
                effects.push(Effect::Connect);
            }
            Link::Connecting { since } | Link::Greeting { since }
                if now.since(since) >= self.settings.answer_within =>
            {
                self.give_up_link(moment, effects);
            }
            Link::Up(up) if now.since(up.heard) >= up.silence() => self.give_up_link(moment, effects),
            Link::Up(up) if now.since(up.said) >= up.pulse() => self.say(now, ToServer::Heartbeat, effects),
            Link::Down { .. } | Link::Connecting { .. } | Link::Greeting { .. } | Link::Up(_) => {}
        }
    }

    /// Sends when the stream is up; what is lost otherwise is in the report.
    fn say(&mut self, now: Monotonic, message: ToServer, effects: &mut Vec<Effect>) {
        if let Link::Up(up) = &mut self.link {
            up.said = now;
            effects.push(Effect::Send(message));
        }
    }

    // --- the attempt ---

    fn assigned(
        &mut self,
        now: Monotonic,
        attempt: AttemptRef,
        spec: Box<JobSpec>,
        grant: Grant,
        effects: &mut Vec<Effect>,
    ) {
        let refusal = match &self.running {
            Some(running) if running.attempt == attempt && !running.stopping => {
                self.granted(now, attempt, grant);
                self.say(now, ToServer::Accepted(attempt), effects);
                return;
            }
            Some(Running { attempt, orphans, .. }) if !orphans.is_empty() => {
                Some(format!("processes {orphans:?} of {attempt} do not end: end them by hand, or restart the device"))
            }
            Some(running) => Some(format!("busy with {}", running.attempt)),
            None if self.draining.is_some() => Some("the agent is draining".to_owned()),
            None if self.pending.contains_key(&attempt) => Some(format!("{attempt} has already run here")),
            None if self.pending.len() >= self.settings.max_pending => {
                Some(format!("{} reports wait for delivery", self.pending.len()))
            }
            None => None,
        };
        if let Some(reason) = refusal {
            self.say(now, ToServer::Refused { attempt, reason, retryable: true }, effects);
            return;
        }
        let progress = Progress { attempt, stage: Stage::Fetch, at: Duration::ZERO, share: None };
        self.running =
            Some(Running { attempt, lease: Lease::new(grant, now), progress, stopping: false, orphans: vec![] });
        self.say(now, ToServer::Accepted(attempt), effects);
        effects.push(Effect::Start { attempt, spec });
    }

    fn granted(&mut self, now: Monotonic, attempt: AttemptRef, grant: Grant) {
        if let Some(running) = self.running.as_mut().filter(|running| running.attempt == attempt && !running.stopping) {
            running.lease = Lease::new(grant, now);
        }
    }

    fn end_lease(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let ended = self.running.as_ref().filter(|running| running.lease.has_ended(now)).map(|running| running.attempt);
        if let Some(attempt) = ended {
            self.stop(attempt, Stop::NotOurs("the grant has ended".to_owned()), effects);
        }
    }

    fn stop(&mut self, attempt: AttemptRef, stop: Stop, effects: &mut Vec<Effect>) {
        if let Some(running) = self.running.as_mut().filter(|running| running.attempt == attempt && !running.stopping) {
            // A cancelled attempt still reports; any other has nothing more to say.
            running.stopping = true;
            effects.push(Effect::Abort { attempt, stop });
        }
    }

    fn progress(&mut self, now: Monotonic, progress: Progress, effects: &mut Vec<Effect>) {
        let Some(running) = self.running.as_mut().filter(|running| running.attempt == progress.attempt) else { return };
        running.progress = progress;
        if !running.stopping {
            self.say(now, ToServer::Stage(progress), effects);
        }
    }

    fn orphaned(&mut self, attempt: AttemptRef, processes: Vec<i32>) {
        if let Some(running) = self.running.as_mut().filter(|running| running.attempt == attempt) {
            running.orphans = processes;
        }
    }

    fn ended(&mut self, attempt: AttemptRef, reported: bool) {
        if self.running() == Some(attempt) {
            self.running = None;
        }
        if reported {
            self.pending.insert(attempt, Delivery::Waiting);
        }
    }

    // --- reports ---

    /// One report is on its way at a time: a reconnecting fleet must not flood its server.
    fn offer_reports(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let Link::Up(_) = self.link else { return };
        let patience = self.settings.resend_after;
        for delivery in self.pending.values_mut() {
            match *delivery {
                Delivery::Sent { at } | Delivery::Received { at } if now.since(at) >= patience => {
                    *delivery = Delivery::Waiting;
                }
                Delivery::Waiting | Delivery::Sent { .. } | Delivery::Received { .. } => {}
            }
        }
        if self.pending.values().any(|delivery| matches!(delivery, Delivery::Sent { .. })) {
            return;
        }
        let next = self.pending.iter_mut().find(|(_, delivery)| matches!(delivery, Delivery::Waiting));
        if let Some((&attempt, delivery)) = next {
            *delivery = Delivery::Sent { at: now };
            if let Link::Up(up) = &mut self.link {
                up.said = now;
            }
            effects.push(Effect::Deliver(attempt));
        }
    }

    fn delivered(&mut self, attempt: AttemptRef, refused: Option<String>, effects: &mut Vec<Effect>) {
        if self.pending.remove(&attempt).is_some() {
            effects.push(Effect::Discard { attempt, refused });
        }
    }

    /// Only a hello can name a lost attempt, so the session begins again.
    fn undeliverable(&mut self, moment: Moment, attempt: AttemptRef, effects: &mut Vec<Effect>) {
        if self.pending.remove(&attempt).is_some() {
            self.lost.push(attempt);
            self.give_up_link(moment, effects);
        }
    }

    // --- leaving ---

    fn shut_down(&mut self, now: Monotonic, level: Shutdown, effects: &mut Vec<Effect>) {
        if self.draining.is_none() {
            self.draining = Some(now);
            self.say(now, ToServer::Drain { reason: "the agent was asked to stop".to_owned() }, effects);
        }
        if level == Shutdown::Hard {
            self.hard = true;
            if let Some(attempt) = self.running() {
                self.stop(attempt, Stop::Shutdown, effects);
            }
        }
    }

    fn may_leave(&self, now: Monotonic) -> bool {
        let Some(since) = self.draining else { return false };
        let delivered = self.pending.is_empty();
        let hopeless = now.since(since) >= self.settings.drain_within || !matches!(self.link, Link::Up(_));
        self.running.is_none() && (self.hard || delivered || hopeless)
    }

    fn next_deadline(&self, now: Monotonic) -> Monotonic {
        let link = match self.link {
            Link::Down { retry_at } => retry_at,
            Link::Connecting { since } | Link::Greeting { since } => since.plus(self.settings.answer_within),
            Link::Up(up) => up.said.plus(up.pulse()).min(up.heard.plus(up.silence())),
        };
        let lease = self.running.as_ref().filter(|running| !running.stopping).map(|running| running.lease.end());
        let reports = self.pending.values().filter_map(|delivery| match delivery {
            Delivery::Waiting => None,
            Delivery::Sent { at } | Delivery::Received { at } => Some(at.plus(self.settings.resend_after)),
        });
        let drain = self.draining.map(|since| since.plus(self.settings.drain_within)).filter(|&end| end > now);
        reports.chain(lease).chain(drain).fold(link, Monotonic::min)
    }
}

impl Up {
    /// The agent speaks twice as often as it must, so that one lost packet ends nothing.
    fn pulse(&self) -> Duration {
        self.heartbeat / 2
    }

    fn silence(&self) -> Duration {
        self.heartbeat * SILENT_HEARTBEATS
    }
}
