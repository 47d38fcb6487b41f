//! Failures that older rules have judged are judged again by those of this build, from the evidence that is kept of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seatrial_core::backend::Backend;
use seatrial_core::failure::{Evidence, Failure, Rules, classify};
use seatrial_core::job::AttemptRef;
use seatrial_core::report::Report;
use seatrial_core::store::{Store, StoreError, Unjudged};

use super::{ReconcileError, Reconciler, Scope};

/// Attempts of one read and one write: each brings its report along.
const BATCH: u32 = 200;

/// The class of every failure is one of this build's rules. What became of the jobs stays as it was.
pub struct JudgeFailures {
    store: Arc<dyn Store>,
}

impl JudgeFailures {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    async fn judge(&self, unjudged: &Unjudged, rules: &Rules) -> Result<Option<Failure>, StoreError> {
        let Unjudged { attempt, outcome, failed_stage, message, backend, death } = unjudged;
        let accelerator = backend.parse::<Backend>().ok().map(|backend| backend.accelerator);
        let document = self.store.report(*attempt).await?;
        let report: Option<Report> = document.and_then(|text| match serde_json::from_str(&text) {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::error!(%attempt, %error, "its report cannot be read; what its outcome says must do");
                None
            }
        });
        let message = message.as_deref();
        let evidence = match (&report, death) {
            (Some(report), _) => Evidence::of_report(report, *outcome, *failed_stage, message, accelerator),
            (None, Some(death)) => {
                let message = message.unwrap_or_default();
                Evidence { outcome: *outcome, stage: *failed_stage, accelerator, ..death.evidence(message) }
            }
            (None, None) => Evidence {
                stage: *failed_stage,
                accelerator,
                ..Evidence::untold(*outcome, message.unwrap_or_default())
            },
        };
        Ok(classify(&evidence, rules))
    }
}

#[async_trait]
impl Reconciler for JudgeFailures {
    fn name(&self) -> &'static str {
        "failures"
    }

    fn period(&self) -> Duration {
        Duration::from_hours(1)
    }

    /// The rules are this server's, and there is work at its start only: nobody else's lease is waited for.
    fn scope(&self) -> Scope {
        Scope::Each
    }

    async fn reconcile(&self) -> Result<String, ReconcileError> {
        let rules = Rules::shipped().map_err(|error| ReconcileError::Other(error.to_string()))?;
        let mut count = 0;
        loop {
            let batch = self.store.unjudged(rules.version(), BATCH).await?;
            if batch.is_empty() {
                break;
            }
            let mut judged: Vec<(AttemptRef, Option<Failure>)> = Vec::with_capacity(batch.len());
            for unjudged in &batch {
                judged.push((unjudged.attempt, self.judge(unjudged, rules).await?));
            }
            self.store.set_failures(rules.version(), &judged).await?;
            count += judged.len();
        }
        Ok(if count == 0 { String::new() } else { format!("{count} failures judged again by newer rules") })
    }
}
