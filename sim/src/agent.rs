//! An agent that follows its script by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seatrial_core::job::AttemptRef;
use seatrial_core::outcome::Outcome;
use seatrial_core::report::Report;
use seatrial_core::retry::Backoff;
use seatrial_core::stage::Stage;
use seatrial_proto::v1::agent_message::Message;
use seatrial_proto::v1::server_message::Message as Word;
use seatrial_proto::{attempt_from_wire, attempt_to_wire, v1};
use tokio::task::JoinHandle;

use crate::connection::{Connection, Identity, SimError, dial, held};
use crate::report;

/// What a fake does with an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accept,
    /// Says nothing, and goes on living.
    Ignore,
    Refuse {
        retryable: bool,
    },
    /// Drops the connection without a word, as if killed, and comes back saying that it lost the attempt.
    Die,
}

/// How a fake behaves.
#[derive(Debug, Clone)]
pub struct Script {
    pub answer: Answer,
    /// Stages that it says it enters, in order, and how long it stays in each.
    pub stages: Vec<Stage>,
    pub stay: Duration,
    pub outcome: Outcome,
    /// Latency samples in each report of a success.
    pub samples: u32,
    /// How often each report is sent.
    pub copies: u32,
    pub lie: Option<report::Lie>,
    pub backoff: Backoff,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            answer: Answer::Accept,
            stages: vec![],
            stay: Duration::ZERO,
            outcome: Outcome::Ok,
            samples: 16,
            copies: 1,
            lie: None,
            backoff: Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) },
        }
    }
}

/// What a fake has seen; shared by all that are given the same.
#[derive(Debug, Default)]
pub struct Tally {
    pub sessions: AtomicU64,
    pub assignments: AtomicU64,
    pub durable: AtomicU64,
    pub refused: AtomicU64,
    pub cancelled: AtomicU64,
}

/// A running fake. Dropping it is `kill -9`.
pub struct FakeAgent {
    pub tally: Arc<Tally>,
    task: JoinHandle<()>,
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeAgent {
    /// Dials `address` (`http://…`) and works until it is dropped; comes back after every end of its session.
    #[must_use]
    pub fn start(address: &str, identity: Identity, script: Script) -> Self {
        Self::start_counted(address, identity, script, Arc::default())
    }

    /// The same, counting into a tally that the caller has.
    #[must_use]
    pub fn start_counted(address: &str, identity: Identity, script: Script, tally: Arc<Tally>) -> Self {
        let worker = Worker {
            address: address.to_owned(),
            identity,
            script,
            tally: tally.clone(),
            spool: Vec::new(),
            lost: Vec::new(),
        };
        Self { tally, task: tokio::spawn(worker.run()) }
    }
}

struct Worker {
    address: String,
    identity: Identity,
    script: Script,
    tally: Arc<Tally>,
    /// Reports that the server has not yet called durable.
    spool: Vec<(AttemptRef, Report)>,
    lost: Vec<AttemptRef>,
}

impl Worker {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            match self.session().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    tracing::debug!(%error, "session of a fake ended");
                    failures += 1;
                }
            }
            tokio::time::sleep(self.script.backoff.delay(failures, rand::random())).await;
        }
    }

    async fn session(&mut self) -> Result<(), SimError> {
        let channel = dial(&self.address).await?;
        let mut hello = self.identity.hello()?;
        hello.held = self.spool.iter().map(|(attempt, _)| held(*attempt, true)).collect();
        hello.lost = self.lost.drain(..).map(attempt_to_wire).collect();
        let mut connection = Connection::open_with(channel, &self.identity, hello).await?;
        self.identity.evidence.agent_id = Some(connection.welcome.device.clone());
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        for (attempt, report) in &self.spool {
            connection.report(*attempt, report).await?;
        }
        loop {
            match connection.hear().await? {
                Word::Assignment(assignment) => {
                    let attempt = attempt_from_wire(assignment.attempt)?;
                    self.tally.assignments.fetch_add(1, Ordering::Relaxed);
                    if !self.answer(&mut connection, attempt).await? {
                        return Ok(());
                    }
                }
                Word::Durable(v1::ReportDurable { attempt }) => {
                    self.tally.durable.fetch_add(1, Ordering::Relaxed);
                    self.forget(attempt)?;
                }
                Word::ReportRefused(v1::ReportRefused { attempt, .. }) => {
                    self.tally.refused.fetch_add(1, Ordering::Relaxed);
                    self.forget(attempt)?;
                }
                Word::Cancel(_) => {
                    self.tally.cancelled.fetch_add(1, Ordering::Relaxed);
                }
                Word::Welcome(_)
                | Word::FindMe(_)
                | Word::Heartbeat(_)
                | Word::Grant(_)
                | Word::Received(_)
                | Word::Drain(_) => {}
            }
        }
    }

    /// False when the fake has died of it.
    async fn answer(&mut self, connection: &mut Connection, attempt: AttemptRef) -> Result<bool, SimError> {
        match self.script.answer {
            Answer::Accept => {
                connection.accept(attempt).await?;
                self.work(connection, attempt).await?;
            }
            Answer::Ignore => {}
            Answer::Refuse { retryable } => {
                let refused = v1::AssignmentRefused {
                    attempt: Some(attempt_to_wire(attempt)),
                    reason: "the script says so".to_owned(),
                    retryable,
                };
                connection.say(Message::Refused(refused)).await?;
            }
            Answer::Die => {
                connection.accept(attempt).await?;
                self.lost.push(attempt);
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn work(&mut self, connection: &mut Connection, attempt: AttemptRef) -> Result<(), SimError> {
        for &stage in &self.script.stages {
            connection.enter(attempt, stage).await?;
            tokio::time::sleep(self.script.stay).await;
        }
        let outcome = self.script.outcome;
        let report = if outcome == Outcome::Ok { report::ok(self.script.samples) } else { report::ended(outcome) };
        let report = self.script.lie.map_or(report.clone(), |lie| lie.told_in(report));
        for _ in 0..self.script.copies {
            connection.report(attempt, &report).await?;
        }
        self.spool.push((attempt, report));
        Ok(())
    }

    fn forget(&mut self, attempt: Option<v1::AttemptRef>) -> Result<(), SimError> {
        let attempt = attempt_from_wire(attempt)?;
        self.spool.retain(|(held, _)| *held != attempt);
        Ok(())
    }
}
