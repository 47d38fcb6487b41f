//! The one loop.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use seatrial_core::device::Evidence;
use seatrial_core::failure::{Death, Failure};
use seatrial_core::ids::{DeviceId, JobId, RunId, SessionId};
use seatrial_core::job::AttemptRef;
use seatrial_core::lab::standing::Order;
use seatrial_core::live::Event;
use seatrial_core::outcome::Outcome;
use seatrial_core::schedule::{Input, Schedule};
use seatrial_core::stage::Stage;
use seatrial_core::store::{Accepted, CanaryRow, Claim, OpenJob, ServiceRow, Store, StoreError};
use seatrial_core::time::Timestamp;
use seatrial_proto::v1;
use seatrial_proto::v1::server_message::Message as Word;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::effects::killed;
use super::specs::Attempt;
use super::storing::{Asker, Claimed, Done};
use super::{Attach, Heard, Outbox, Result, Shared, Spec, contradict};
use crate::canary::{Subject, Unchecked};

/// Messages that are taken before anything is sent to the store, so that it is asked for many things at once.
const BATCH: usize = 256;
/// Answers of the store that wait for the actor.
const ANSWERS: usize = 1024;

/// Takes the number of jobs that were open.
type CancelReply = oneshot::Sender<std::result::Result<u32, Arc<StoreError>>>;

/// Takes what the device did, or why nothing.
type FindReply = oneshot::Sender<std::result::Result<String, String>>;

/// Takes what a health check found, or why there was none.
pub(super) type CheckReply = oneshot::Sender<std::result::Result<CanaryRow, String>>;

/// Callers that wait for one device to show itself, and for its health check.
pub(super) const MAX_FINDERS: usize = 16;

pub(super) enum Message {
    Open { jobs: Vec<OpenJob> },
    Cancel { run: RunId, reply: CancelReply },
    Drain { reason: String, done: oneshot::Sender<()> },
    Decided(Box<ServiceRow>),
    Find { device: DeviceId, reply: FindReply },
    Check { device: DeviceId, reply: CheckReply },
    Attach(Box<Attach>),
    Session { device: DeviceId, session: SessionId, heard: Heard },
}

/// A device's session as the actor has it.
pub(super) struct Link {
    pub session: SessionId,
    pub evidence: Evidence,
    pub outbox: Outbox,
    pub welcome: Option<Welcome>,
    /// Specifications of what it held when it came, until the schedule has said which of it goes on.
    pub held: Vec<(JobId, Arc<Spec>)>,
    /// What the agent told of the process before it, and of the boots of both.
    pub death: Death,
}

pub(super) struct Welcome {
    pub name: String,
    pub protocol: u32,
}

pub(super) struct Actor {
    pub(super) schedule: Schedule,
    pub(super) shared: Arc<Shared>,
    pub(super) asker: Asker,
    pub(super) links: HashMap<DeviceId, Link>,
    /// The latest decision that was heard of each device.
    pub(super) services: HashMap<DeviceId, ServiceRow>,
    /// As each device attached last.
    pub(super) subjects: HashMap<DeviceId, std::result::Result<Subject, Unchecked>>,
    pub(super) checkers: HashMap<DeviceId, Vec<CheckReply>>,
    finders: HashMap<DeviceId, Vec<FindReply>>,
    /// Claims to be made with the next call.
    pub(super) claims: Vec<Claim>,
    claiming: bool,
    /// Reports that the schedule has yet to judge or that are to go to the store.
    pub(super) results: HashMap<AttemptRef, VecDeque<Box<Result>>>,
    pub(super) stages: HashMap<JobId, (AttemptRef, Stage, Timestamp)>,
    noting: bool,
    note_at: Option<Instant>,
    cancels: HashMap<RunId, Vec<(u32, CancelReply)>>,
    /// Tasks whose answers have not come yet.
    under_way: usize,
    drained: Vec<oneshot::Sender<()>>,
    answers: mpsc::Sender<Done>,
    inbox_of_answers: mpsc::Receiver<Done>,
}

impl Actor {
    pub(super) fn new(store: Arc<dyn Store>, shared: Arc<Shared>, stop: CancellationToken) -> Self {
        let (answers, inbox_of_answers) = mpsc::channel(ANSWERS);
        let asker = Asker { store, backoff: shared.settings.backoff, stop, signatures: Arc::default() };
        Self {
            schedule: Schedule::new(),
            shared,
            asker,
            links: HashMap::new(),
            services: HashMap::new(),
            subjects: HashMap::new(),
            checkers: HashMap::new(),
            finders: HashMap::new(),
            claims: Vec::new(),
            claiming: false,
            results: HashMap::new(),
            stages: HashMap::new(),
            noting: false,
            note_at: None,
            cancels: HashMap::new(),
            under_way: 0,
            drained: Vec::new(),
            answers,
            inbox_of_answers,
        }
    }

    pub(super) async fn run(mut self, open: Vec<OpenJob>, mut inbox: mpsc::Receiver<Message>) {
        let _ended = self.asker.stop.clone().drop_guard(); // handles must not wait for an actor that is gone
        let stop = self.asker.stop.clone();
        self.open(open);
        self.ask_the_store();
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.inbox_of_answers.recv() => self.answered(done),
                message = inbox.recv() => match message {
                    Some(message) => self.received(message),
                    None => break,
                },
                () = sleep_until(due) => self.step(Input::Tick),
            }
            for _ in 0..BATCH {
                if let Ok(done) = self.inbox_of_answers.try_recv() {
                    self.answered(done);
                } else if let Ok(message) = inbox.try_recv() {
                    self.received(message);
                } else {
                    break;
                }
            }
            self.ask_the_store();
            self.shared.now.set_open_jobs(self.schedule.open_jobs());
        }
        for link in self.links.values() {
            link.outbox.close(tonic::Status::unavailable("the server goes away"));
        }
    }

    /// When the actor has something to do by itself.
    fn due(&self) -> Option<Instant> {
        let now = self.shared.clock.monotonic();
        let tick = self.schedule.next_deadline().map(|at| Instant::now() + at.since(now));
        [tick, self.note_at.filter(|_| !self.noting)].into_iter().flatten().min()
    }

    // --- what comes in ---

    pub(super) fn step(&mut self, input: Input) {
        let effects = self.schedule.step(self.shared.clock.monotonic(), input);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn received(&mut self, message: Message) {
        match message {
            Message::Open { jobs } => self.open(jobs),
            Message::Cancel { run, reply } => {
                let open = u32::try_from(self.schedule.open_jobs_of(run)).unwrap_or(u32::MAX);
                self.cancels.entry(run).or_default().push((open, reply));
                self.step(Input::Cancel { run });
            }
            Message::Drain { reason, done } => {
                self.step(Input::Drain);
                let retry_after_ms = self.shared.settings.retry_after.as_millis() as u32;
                for device in self.links.keys().copied().collect::<Vec<_>>() {
                    self.send(device, Word::Drain(v1::Drain { reason: reason.clone(), retry_after_ms }));
                }
                self.drained.push(done);
            }
            Message::Decided(row) => self.decided(*row),
            Message::Find { device, reply } => self.find(device, reply),
            Message::Check { device, reply } => self.check_now(device, reply),
            Message::Attach(attach) => self.attach(*attach),
            Message::Session { device, session, heard } => self.heard(device, session, heard),
        }
    }

    fn open(&mut self, jobs: Vec<OpenJob>) {
        let wall = self.shared.clock.now();
        self.step(Input::Open { jobs, wall });
    }

    fn attach(&mut self, attach: Attach) {
        let Attach {
            device,
            name,
            service,
            evidence,
            session,
            outbox,
            protocol,
            held,
            lost,
            death,
            set_aside,
            specs,
            subject,
        } = attach;
        self.set_aside(set_aside);
        if self.links.get(&device).is_some_and(|link| contradict(&link.evidence, &evidence)) {
            outbox.close(tonic::Status::already_exists("another device is connected under this one's evidence"));
            return;
        }
        let killed = killed(&death);
        let link = Link { session, evidence, outbox, welcome: Some(Welcome { name, protocol }), held: specs, death };
        if let Some(old) = self.links.insert(device, link) {
            old.outbox.close(tonic::Status::aborted("the device has opened a newer session"));
        }
        self.saw(device);
        self.shared.now.attached(device, self.shared.clock.monotonic());
        tracing::info!(%device, %session, held = held.len(), lost = lost.len(), "device attached");
        let admits = self.newest(service).service.admits();
        self.watch(device, subject);
        self.step(Input::Attached { device, session, admits, held, lost, killed });
    }

    /// The store has ended jobs that waited.
    fn set_aside(&mut self, ended: Vec<(RunId, JobId)>) {
        if ended.is_empty() {
            return;
        }
        for &(run, job) in &ended {
            self.shared.now.announce(Event::Job { run, job });
        }
        self.step(Input::SetAside { jobs: ended.into_iter().map(|(_, job)| job).collect() });
    }

    fn heard(&mut self, device: DeviceId, session: SessionId, heard: Heard) {
        if self.links.get(&device).is_none_or(|link| link.session != session) {
            return; // a session that has been replaced or closed speaks for nobody
        }
        self.saw(device);
        match heard {
            Heard::Heartbeat => self.step(Input::Heard { device, session }),
            Heard::Found(result) => {
                for reply in self.finders.remove(&device).unwrap_or_default() {
                    let _ = reply.send(result.clone()); // whoever asked may have left
                }
            }
            Heard::Vitals(vitals) => {
                self.shared.now.feels(device, vitals);
                self.step(Input::Heard { device, session });
            }
            Heard::Accepted(attempt) => self.step(Input::Accepted { attempt, device }),
            Heard::Refused { attempt, retryable, reason } => {
                self.step(Input::Refused { attempt, device, retryable, reason });
            }
            Heard::Stage { attempt, stage, grant, deadline, progress } => {
                let entered = self.shared.now.moved_on(device, attempt, stage, progress);
                // Progress within a stage asks for no grant: a stage that could renew its own would never have to end.
                if entered || progress.is_none() {
                    self.step(Input::StageEntered { attempt, device, stage, grant, deadline });
                }
                self.step(Input::Heard { device, session });
            }
            Heard::Result(result) => {
                let (attempt, outcome) = (result.completion.attempt, result.outcome);
                let verdict = result.completion.failure.as_ref().map_or(outcome.verdict(0), Failure::verdict);
                self.results.entry(attempt).or_default().push_back(result);
                self.step(Input::Reported { attempt, device, outcome, verdict });
            }
            Heard::Malformed { attempt, reason } => self.step(Input::Malformed { attempt, device, reason }),
            Heard::Leaving => {
                self.shared.now.leaving(device);
                self.step(Input::Leaving { device, session });
            }
            Heard::Gone => self.detach(device),
        }
    }

    /// Ends a session from our side or because its stream has ended.
    pub(super) fn detach(&mut self, device: DeviceId) {
        let Some(link) = self.links.remove(&device) else { return };
        self.finders.remove(&device);
        self.checkers.remove(&device);
        link.outbox.closed.cancel();
        tracing::info!(%device, session = %link.session, "device detached");
        self.shared.now.detached(device);
        self.step(Input::Detached { device, session: link.session });
    }

    fn saw(&self, device: DeviceId) {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(device);
    }

    // --- what the store says ---

    fn answered(&mut self, done: Done) {
        self.under_way -= 1;
        match done {
            Done::Claimed(claims) => {
                self.claiming = false;
                for claimed in claims {
                    self.claimed(claimed);
                }
            }
            Done::Completed { attempt, device, outcome, accepted, unstored, set_aside } => {
                self.set_aside(set_aside);
                self.completed(attempt, device, accepted, unstored);
                if accepted == Accepted::Stored {
                    let mut finished = self.shared.finished.lock().unwrap_or_else(PoisonError::into_inner);
                    *finished.entry(outcome.class()).or_default() += 1;
                    drop(finished);
                    self.has_worked(device, outcome);
                }
            }
            Done::GaveBack { attempt, held, set_aside } => {
                self.set_aside(set_aside);
                let run = self.schedule.run_of(attempt.job);
                self.step(Input::GaveBack { attempt, held });
                if let Some(run) = run {
                    self.shared.now.announce(Event::Job { run, job: attempt.job });
                }
            }
            Done::Cancelled { run, result } => {
                for (open, reply) in self.cancels.remove(&run).unwrap_or_default() {
                    let _ = reply.send(result.clone().map(|()| open)); // whoever asked may have left
                }
                match result {
                    Ok(()) => {
                        self.step(Input::RunCancelled { run });
                        self.shared.now.announce(Event::Run(run));
                    }
                    Err(_) => self.step(Input::CancelFailed { run }),
                }
            }
            Done::StagesNoted => self.noting = false,
            Done::Checked { row, reported } => self.checked(&row, reported),
            Done::Decided(row) => {
                if let Some(row) = row {
                    self.decided(*row);
                }
            }
        }
        self.maybe_drained();
    }

    /// What was decided last of a device, of this and what was heard before.
    fn newest(&mut self, row: ServiceRow) -> &ServiceRow {
        let known = self.services.entry(row.device).or_insert_with(|| row.clone());
        if row.revision > known.revision {
            *known = row;
        }
        known
    }

    fn find(&mut self, device: DeviceId, reply: FindReply) {
        if !self.links.contains_key(&device) {
            let _ = reply.send(Err("it is not connected".to_owned())); // whoever asked may have left
            return;
        }
        let finders = self.finders.entry(device).or_default();
        finders.retain(|finder| !finder.is_closed());
        if finders.len() >= MAX_FINDERS {
            let _ = reply.send(Err("many look for it at this moment already".to_owned())); // whoever asked may have left
            return;
        }
        finders.push(reply);
        self.send(device, Word::FindMe(v1::FindMe {}));
    }

    fn decided(&mut self, row: ServiceRow) {
        let (device, revision) = (row.device, row.revision);
        let newest = self.newest(row);
        if newest.revision == revision {
            let admits = newest.service.admits();
            self.step(Input::Admits { device, admits });
        }
        self.shared.now.announce(Event::Device(device));
    }

    /// A device that was quarantined is trusted again once a job has ended well on it.
    fn has_worked(&mut self, device: DeviceId, outcome: Outcome) {
        let on_probation = self.services.get(&device).is_some_and(|row| row.service.is_on_probation());
        if outcome == Outcome::Ok && on_probation {
            let now = self.shared.clock.now();
            self.spawn(self.asker.clone().decide(device, Order::Healthy, now));
        }
    }

    fn claimed(&mut self, claimed: Claimed) {
        let Claimed { claim: Claim { attempt, device, .. }, spec } = claimed;
        match spec {
            None => self.step(Input::ClaimLost { attempt }),
            Some(Ok(spec)) => {
                let Some(run) = self.schedule.run_of(attempt.job) else { return };
                let run = Some(run);
                self.shared.active.insert(attempt.job, Attempt { number: attempt.attempt, device, run, spec });
                self.step(Input::Claimed { attempt });
            }
            Some(Err(reason)) => {
                self.step(Input::Claimed { attempt });
                self.step(Input::Refused { attempt, device, retryable: false, reason });
            }
        }
    }

    // --- what goes to the store ---

    /// Starts a task that asks the store; its answer comes back as [`Done`].
    pub(super) fn spawn(&mut self, task: impl Future<Output = Option<Done>> + Send + 'static) {
        self.under_way += 1;
        let answers = self.answers.clone();
        tokio::spawn(async move {
            if let Some(done) = task.await {
                let _ = answers.send(done).await; // the actor has ended, and so has the server
            }
        });
    }

    /// Sends the gathered claims, one call at a time, and the stages once they are old enough.
    fn ask_the_store(&mut self) {
        if !self.claiming && !self.claims.is_empty() {
            self.claiming = true;
            let claims = std::mem::take(&mut self.claims);
            self.spawn(self.asker.clone().claim(claims));
        }
        if self.stages.is_empty() {
            self.note_at = None;
        } else if self.note_at.is_none() {
            self.note_at = Some(Instant::now() + self.shared.settings.stage_delay);
        }
        if !self.noting && self.note_at.is_some_and(|at| at <= Instant::now()) {
            let active = &self.shared.active;
            let stages: Vec<_> =
                self.stages.drain().map(|(_, stage)| stage).filter(|(attempt, ..)| active.holds(*attempt)).collect();
            self.note_at = None;
            if !stages.is_empty() {
                self.noting = true;
                self.spawn(self.asker.clone().note_stages(stages));
            }
        }
        self.maybe_drained();
    }

    fn maybe_drained(&mut self) {
        if self.under_way == 0 {
            for done in self.drained.drain(..) {
                let _ = done.send(()); // whoever asked may have left
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => tokio::time::sleep(Duration::from_hours(1)).await,
    }
}
