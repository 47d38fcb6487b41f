//! The fleet actor and the store agree about what is open.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seatrial_core::store::{OpenJob, Store};
use seatrial_core::time::{Clock, Timestamp};

use super::{ReconcileError, Reconciler, Scope};
use crate::fleet::Fleet;

/// A lease that ended this long ago by the store's own note, and that the actor does not know, is nobody's.
const ABANDONED_AFTER: Duration = Duration::from_secs(30);

/// Reads the open jobs again, in case a submission or an answer of the store never reached the actor.
pub struct ReadOpenJobs {
    fleet: Fleet,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl ReadOpenJobs {
    #[must_use]
    pub fn new(fleet: Fleet, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { fleet, store, clock }
    }
}

/// The actor ignores what it knows. A leased job that it does not know has, most likely, just ended.
fn is_worth_telling(job: &OpenJob, now: Timestamp) -> bool {
    job.leased_until.is_none_or(|until| now.since(until) > ABANDONED_AFTER)
}

#[async_trait]
impl Reconciler for ReadOpenJobs {
    fn name(&self) -> &'static str {
        "read open jobs"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn scope(&self) -> Scope {
        Scope::Each
    }

    async fn signal(&self) {
        self.fleet.read_again().await;
    }

    async fn reconcile(&self) -> Result<String, ReconcileError> {
        let now = self.clock.now();
        let mut jobs = self.store.open_jobs().await?;
        jobs.retain(|job| is_worth_telling(job, now));
        let count = jobs.len();
        self.fleet.reopen(jobs).await.map_err(|stopped| ReconcileError::Other(stopped.to_string()))?;
        Ok(if count == 0 { String::new() } else { format!("{count} open jobs read") })
    }
}
