//! Runs end: when none of its jobs is open, a run is judged by its gate and closed.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use seatrial_core::digest::Digest;
use seatrial_core::gate::{self, Gate, Judgement};
use seatrial_core::ids::JobId;
use seatrial_core::live::Event;
use seatrial_core::metric::Metric;
use seatrial_core::store::{RunRow, Store, StoreError};
use seatrial_core::suite;
use seatrial_core::time::Clock;

use super::{ReconcileError, Reconciler, Scope};
use crate::fleet::{Chain, Fleet};

/// Runs that are judged and closed at the same time.
const AT_ONCE: usize = 32;

pub struct FinishRuns {
    fleet: Fleet,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    gates: Gates,
}

impl FinishRuns {
    #[must_use]
    pub fn new(fleet: Fleet, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { fleet, store, clock, gates: Gates::default() }
    }

    async fn finish(&self, row: RunRow) -> Result<bool, ReconcileError> {
        let judgement = self.judge(&row).await?;
        let text = judgement.as_ref().map(serde_json::to_string).transpose();
        let text =
            text.map_err(|error| ReconcileError::Other(format!("the judgement of run {}: {error}", row.number)))?;
        let passed = judgement.map(|judgement| judgement.passed);
        let finished = self.store.finish_run(row.id, text.as_deref(), passed, self.clock.now()).await?;
        if finished {
            tracing::info!(run = row.number, suite = %row.suite, ?passed, "run ended");
            self.fleet.announce(Event::Run(row.id));
        }
        Ok(finished)
    }

    /// `None` when the suite has no gate.
    async fn judge(&self, row: &RunRow) -> Result<Option<Judgement>, StoreError> {
        let gate = match self.gates.of(row) {
            Ok(Some(gate)) => gate,
            Ok(None) => return Ok(None),
            Err(why) => return Ok(Some(gate::unreadable(&why))),
        };
        let mut metrics: HashMap<JobId, Vec<Metric>> = HashMap::new();
        let named: Vec<&str> = gate.metrics.iter().map(|rule| rule.metric.as_str()).collect();
        for (job, metric) in self.store.run_metrics_named(row.id, &named).await? {
            metrics.entry(job).or_default().push(metric);
        }
        let jobs = self.store.jobs(row.id).await?;
        let jobs: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let metrics = metrics.remove(&job.id).unwrap_or_default();
                (job, metrics)
            })
            .collect();
        let misfits = self.store.misfits(row.id).await?;
        let judgement = match row.rerun_of {
            Some(_) => gate::judge(&gate.of_rerun(&jobs), &jobs, &misfits),
            None => gate::judge(&gate, &jobs, &misfits),
        };
        Ok(Some(judgement))
    }
}

/// Suites whose gates are remembered before all are forgotten.
const MAX_GATES: usize = 64;

/// The gate of a suite, if it has one, or why its text cannot be read.
type Kept = Result<Option<Arc<Gate>>, Arc<str>>;

/// The gates of the suites that ran last: the same few run again and again, and to read one takes longer than to close
/// a run.
#[derive(Default)]
struct Gates {
    by_suite: Mutex<HashMap<Digest, Kept>>,
}

impl Gates {
    fn of(&self, row: &RunRow) -> Kept {
        let digest = Digest::of(row.suite_text.as_bytes());
        let mut by_suite = self.by_suite.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = by_suite.get(&digest) {
            return gate.clone();
        }
        if by_suite.len() >= MAX_GATES {
            by_suite.clear();
        }
        by_suite.entry(digest).or_insert(read_gate(row)).clone()
    }
}

/// The text was valid for the build to which it was submitted; this one may refuse what that one took.
fn read_gate(row: &RunRow) -> Kept {
    suite::parse(&row.suite_text, &row.suite).map(|suite| suite.gate.map(Arc::new)).map_err(|problems| {
        let why = problems.first().map_or("no problem was named", |problem| problem.message.as_str());
        tracing::warn!(run = row.number, problem = why, "the suite of the run is no longer valid: its gate fails");
        why.into()
    })
}

#[async_trait]
impl Reconciler for FinishRuns {
    fn name(&self) -> &'static str {
        "finish runs"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Closing a run is compare-and-set, and nobody should wait for the lease of a server that is gone.
    fn scope(&self) -> Scope {
        Scope::Each
    }

    async fn signal(&self) {
        self.fleet.run_ended().await;
    }

    async fn reconcile(&self) -> Result<String, ReconcileError> {
        let runs = self.store.runs_to_finish().await?;
        // Together, so that they share commits.
        let ends = stream::iter(runs).map(|row| async move { (row.number, self.finish(row).await) });
        let mut ends = pin!(ends.buffer_unordered(AT_ONCE));
        let (mut ended, mut failed, mut first) = (0, 0, None);
        while let Some((run, end)) = ends.next().await {
            match end {
                Ok(finished) => ended += usize::from(finished),
                Err(error) => {
                    tracing::error!(run, error = %Chain(&error), "the run cannot be ended");
                    failed += 1;
                    first.get_or_insert((run, error));
                }
            }
        }
        match first {
            Some((run, error)) => Err(ReconcileError::Runs { ended, failed, run, source: Box::new(error) }),
            None if ended == 0 => Ok(String::new()),
            None => Ok(format!("{ended} runs ended")),
        }
    }
}
