//! The fleet actor: one bounded mailbox, one loop around [`Schedule`](seatrial_core::schedule::Schedule).
//!
//! Whatever happens (a submission, a word of an agent, an answer of the store, time) becomes one input; the schedule
//! says what must be done; the actor does it without ever waiting: the store is asked in tasks whose answers come back
//! as inputs, and a device whose channel is full is one that has stopped listening.
//!
//! Nothing is held here that may be lost. The store has the jobs, agents have their reports until they are told that
//! these are durable, and [`tasks`](crate::tasks) read the open jobs again in case a submission never reached us.

mod actor;
mod aside;
mod checks;
mod effects;
mod link;
mod live;
mod signatures;
mod specs;
mod storing;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seatrial_core::ids::{DeviceId, RunId, SessionId};
use seatrial_core::job::AttemptRef;
use seatrial_core::lab::seen::Seen;
use seatrial_core::live::Event;
use seatrial_core::retry::Backoff;
use seatrial_core::store::{CanaryRow, OpenJob, ServiceRow, Store, StoreError};
use seatrial_core::time::Clock;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use aside::set_aside;
pub(crate) use link::contradict;
pub use link::{Attach, Heard, Out, Outbox, Result};
pub use live::Counts;
pub use specs::Spec;

use actor::{Actor, Message};
pub(crate) use storing::Chain;

use crate::canary;
use live::Now;
use specs::Active;

/// What may differ between a server, a test and a bench.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Messages that wait for the actor; whoever sends one more waits.
    pub mailbox: usize,
    /// How often both ends of a session send something, at least.
    pub heartbeat: Duration,
    /// Bytes of reports that are being judged or stored at one time.
    pub report_bytes: usize,
    /// Between tries when the store is not available.
    pub backoff: Backoff,
    /// How long stages are gathered before they are written.
    pub stage_delay: Duration,
    /// What agents are told to wait before they come back to a server that goes away.
    pub retry_after: Duration,
    /// Whether devices are checked for their health.
    pub canary: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mailbox: 4096,
            heartbeat: Duration::from_secs(5),
            report_bytes: 256 << 20,
            backoff: Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) },
            stage_delay: Duration::from_millis(200),
            retry_after: Duration::from_millis(500),
            canary: false,
        }
    }
}

/// The actor has ended: the server is going away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fleet is not being served any more")]
pub struct Stopped;

/// Why a run could not be cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// One answer of the store may be for several callers.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

/// A handle of the actor. Cheap to clone; [`Fleet::stop`] ends the actor, and so does dropping the last handle.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    mailbox: mpsc::Sender<Message>,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

/// What the actor shares with sessions, pages and reconcilers.
struct Shared {
    now: Now,
    active: Active,
    /// What a health check asks of a device.
    canary: Option<Arc<Spec>>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    reports: Arc<Semaphore>,
    /// Devices heard of since they were last written.
    seen: Mutex<HashSet<DeviceId>>,
    /// A run may have ended.
    run_ended: Notify,
    /// The schedule and the store differ.
    read_again: Notify,
    finished: Mutex<BTreeMap<&'static str, u64>>,
}

impl Fleet {
    /// Starts the actor with the jobs that the store has open.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> std::result::Result<Self, StoreError> {
        let open = store.open_jobs().await?;
        let (mailbox, inbox) = mpsc::channel(settings.mailbox);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            now: Now::new(),
            active: Active::default(),
            canary: if settings.canary { canary::spec() } else { None },
            clock,
            settings,
            reports: Arc::new(Semaphore::new(settings.report_bytes)),
            seen: Mutex::default(),
            run_ended: Notify::new(),
            read_again: Notify::new(),
            finished: Mutex::default(),
        });
        shared.run_ended.notify_one(); // a run may have ended just before the last server did
        let actor = Actor::new(store, shared.clone(), stop.clone());
        tokio::spawn(actor.run(open, inbox));
        Ok(Self { inner: Arc::new(Inner { mailbox, stop, shared }) })
    }

    /// The store has a new run with these jobs.
    pub async fn submitted(&self, run: RunId, jobs: Vec<OpenJob>) -> std::result::Result<(), Stopped> {
        self.announce(Event::Run(run));
        if jobs.is_empty() {
            self.inner.shared.run_ended.notify_one();
        }
        self.send(Message::Open { jobs }).await
    }

    /// Ends a run: its queued jobs at once, those that run as soon as their devices have stopped. Returns how many
    /// jobs were open.
    pub async fn cancel(&self, run: RunId) -> std::result::Result<u32, CancelError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Cancel { run, reply }).await?;
        Ok(answer.await.map_err(|_| Stopped)??)
    }

    /// Something was decided about a device, and the store has it. Of two decisions the later counts, however they come.
    pub async fn decided(&self, row: ServiceRow) -> std::result::Result<(), Stopped> {
        self.send(Message::Decided(Box::new(row))).await
    }

    /// Asks a device to show itself. `None` when it went away or did not answer in time, as an older agent.
    pub async fn find(
        &self,
        device: DeviceId,
        patience: Duration,
    ) -> std::result::Result<Option<std::result::Result<String, String>>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Find { device, reply }).await?;
        Ok(tokio::time::timeout(patience, answer).await.ok().and_then(std::result::Result::ok))
    }

    /// Has a device checked for its health, once it has ended what it does. `None` when that took too long, or it went away.
    pub async fn check(
        &self,
        device: DeviceId,
        patience: Duration,
    ) -> std::result::Result<Option<std::result::Result<CanaryRow, String>>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Check { device, reply }).await?;
        Ok(tokio::time::timeout(patience, answer).await.ok().and_then(std::result::Result::ok))
    }

    /// A lab host has told what it sees on its cables, all of it.
    pub fn lab_sees(&self, host: String, seen: Vec<Seen>) {
        let shared = &self.inner.shared;
        shared.now.told(host, seen, shared.clock.monotonic());
    }

    /// Takes on no more work and tells every agent so. Returns once everything that has arrived is stored.
    pub async fn drain(&self, reason: &str) {
        let (done, drained) = oneshot::channel();
        if self.send(Message::Drain { reason: reason.to_owned(), done }).await.is_ok() {
            let _ = drained.await; // an error says that the actor has ended, which is more than was asked for
        }
    }

    /// Ends the actor and every session. What was not stored yet comes again from the agents' spools.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }

    /// Resolves when the actor has ended.
    pub async fn stopped(&self) {
        self.inner.stop.cancelled().await;
    }

    /// For gauges.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.shared.now.counts()
    }

    /// Attempts whose results were stored since the start, by class of outcome.
    #[must_use]
    pub fn finished(&self) -> BTreeMap<&'static str, u64> {
        self.inner.shared.finished.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    // --- for sessions ---

    pub(crate) async fn attach(&self, attach: Attach) -> std::result::Result<(), Stopped> {
        self.send(Message::Attach(Box::new(attach))).await
    }

    /// Whether an agent has a session for the device.
    pub(crate) fn is_connected(&self, device: DeviceId) -> bool {
        self.inner.shared.now.is_connected(device)
    }

    /// The attempt that the device holds.
    pub(crate) fn attempt_of(&self, device: DeviceId) -> Option<AttemptRef> {
        self.inner.shared.now.attempt_of(device)
    }

    pub(crate) async fn hear(
        &self,
        device: DeviceId,
        session: SessionId,
        heard: Heard,
    ) -> std::result::Result<(), Stopped> {
        self.send(Message::Session { device, session, heard }).await
    }

    pub(crate) fn active(&self, attempt: AttemptRef, device: DeviceId) -> Option<Arc<Spec>> {
        self.inner.shared.active.get(attempt, device)
    }

    pub(crate) fn report_budget(&self) -> &Arc<Semaphore> {
        &self.inner.shared.reports
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.shared.settings
    }

    pub(crate) fn stop_token(&self) -> &CancellationToken {
        &self.inner.stop
    }

    // --- for reconcilers ---

    /// Jobs that the store has open; those that are known already are ignored.
    pub(crate) async fn reopen(&self, jobs: Vec<OpenJob>) -> std::result::Result<(), Stopped> {
        self.send(Message::Open { jobs }).await
    }

    pub(crate) fn take_seen(&self) -> Vec<DeviceId> {
        let mut seen = self.inner.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen).into_iter().collect()
    }

    pub(crate) async fn run_ended(&self) {
        self.inner.shared.run_ended.notified().await;
    }

    pub(crate) async fn read_again(&self) {
        self.inner.shared.read_again.notified().await;
    }

    pub(crate) fn announce(&self, event: Event) {
        self.inner.shared.now.announce(event);
    }

    async fn send(&self, message: Message) -> std::result::Result<(), Stopped> {
        self.inner.mailbox.send(message).await.map_err(|_| Stopped)
    }
}
