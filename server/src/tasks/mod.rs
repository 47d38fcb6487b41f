//! Periodic work as reconcilers: a timer or a signal wakes one, it looks at what is and makes it what it should be,
//! and `/metrics` says how its rounds end. A reconciler takes no input and is idempotent, so that a missed signal costs
//! one period and never more.

mod failures;
mod finish;
mod reopen;
mod seen;
mod services;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seatrial_core::store::{Store, StoreError};
use seatrial_core::time::{Clock, Timestamp};
use tokio::task::JoinHandle;

use crate::fleet::{Chain, Fleet};
use crate::metrics::Metrics;

pub use failures::JudgeFailures;
pub use finish::FinishRuns;
pub use reopen::ReadOpenJobs;
pub use seen::NoteSeenDevices;
pub use services::EndServices;

/// Who does the work when several servers share one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every server for itself.
    Each,
    /// Whichever server holds the reconciler's lease.
    One,
}

/// Work that is done again and again.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// Unique; also the name of its lease.
    fn name(&self) -> &'static str;

    /// The longest time between two rounds.
    fn period(&self) -> Duration;

    fn scope(&self) -> Scope {
        Scope::One
    }

    /// Resolves when a round is worth doing before its time.
    async fn signal(&self) {
        std::future::pending::<()>().await;
    }

    /// One round. Says in a few words what it did; an empty text for nothing.
    async fn reconcile(&self) -> Result<String, ReconcileError>;
}

/// Why a round failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One run that cannot be ended keeps no other from its end.
    #[error("{ended} runs ended, {failed} could not, the first of them run {run}")]
    Runs { ended: usize, failed: usize, run: i64, source: Box<Self> },
    #[error("{0}")]
    Other(String),
}

/// The reconcilers of a server. Dropping it ends them all.
pub struct Reconcilers {
    tasks: Vec<JoinHandle<()>>,
}

/// What every reconciler's loop needs.
#[derive(Clone)]
struct Round {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Names this server in leases.
    holder: Arc<str>,
    metrics: Metrics,
}

/// Starts the fleet's own reconcilers and those that the edge adds. `holder` names this server in leases.
pub fn start(
    fleet: &Fleet,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    holder: &str,
    metrics: &Metrics,
    others: Vec<Arc<dyn Reconciler>>,
) -> Reconcilers {
    let own: [Arc<dyn Reconciler>; 5] = [
        Arc::new(FinishRuns::new(fleet.clone(), store.clone(), clock.clone())),
        Arc::new(ReadOpenJobs::new(fleet.clone(), store.clone(), clock.clone())),
        Arc::new(NoteSeenDevices::new(fleet.clone(), store.clone(), clock.clone())),
        Arc::new(EndServices::new(fleet.clone(), store.clone(), clock.clone())),
        Arc::new(JudgeFailures::new(store.clone())),
    ];
    let round = Round { store: store.clone(), clock: clock.clone(), holder: holder.into(), metrics: metrics.clone() };
    let tasks = own.into_iter().chain(others).map(|reconciler| tokio::spawn(round.clone().repeat(reconciler)));
    Reconcilers { tasks: tasks.collect() }
}

impl Drop for Reconcilers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort); // a round may stop anywhere: the next server does it again
    }
}

impl Round {
    async fn repeat(self, reconciler: Arc<dyn Reconciler>) {
        loop {
            self.once(&*reconciler).await;
            let signal = pin!(reconciler.signal());
            let _ = tokio::time::timeout(reconciler.period(), signal).await; // either is a reason for the next round
        }
    }

    async fn once(&self, reconciler: &dyn Reconciler) {
        let name = reconciler.name();
        let (at, began) = (self.clock.now(), self.clock.monotonic());
        let result = match self.is_ours(reconciler, at).await {
            Ok(true) => reconciler.reconcile().await,
            Ok(false) => Ok(String::new()),
            Err(error) => Err(error.into()),
        };
        self.metrics.reconciled(name, result.is_ok(), self.clock.monotonic().since(began));
        match result {
            Ok(work) if work.is_empty() => {}
            Ok(work) => tracing::debug!(reconciler = name, %work),
            Err(error) => {
                let error = Chain(&error).to_string();
                tracing::warn!(reconciler = name, %error, "a round failed");
            }
        }
    }

    async fn is_ours(&self, reconciler: &dyn Reconciler, now: Timestamp) -> Result<bool, StoreError> {
        match reconciler.scope() {
            Scope::Each => Ok(true),
            Scope::One => {
                let until = now.plus(reconciler.period() * 2);
                self.store.take_lease(reconciler.name(), &self.holder, now, until).await
            }
        }
    }
}
