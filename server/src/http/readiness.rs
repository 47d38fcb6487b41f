//! Whether work may be sent here: one judgement, for `/readyz` and for the health service of gRPC.

use std::sync::Arc;
use std::time::Duration;

use seatrial_core::store::Store;
use seatrial_core::time::Clock;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::error::Chain;
use crate::metrics::Metrics;
use crate::net::Stop;

/// A database that takes longer counts as absent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the judgement looks at. Cheap to clone.
#[derive(Clone)]
pub struct Readiness {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub stop: Stop,
}

/// Why no work may be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    Draining,
    NoStore,
}

impl Readiness {
    pub async fn judge(&self) -> Result<(), NotReady> {
        if self.stop.draining.is_cancelled() {
            return Err(NotReady::Draining);
        }
        if self.store_answers().await { Ok(()) } else { Err(NotReady::NoStore) }
    }

    /// Also notes how long the answer took.
    pub(super) async fn store_answers(&self) -> bool {
        let asked = self.clock.monotonic();
        match tokio::time::timeout(PATIENCE, self.store.ping()).await {
            Ok(Ok(())) => {
                self.metrics.store_answered(self.clock.monotonic().since(asked));
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %Chain(&error), "the database does not answer");
                false
            }
            Err(_) => {
                tracing::warn!(patience = ?PATIENCE, "the database does not answer in time");
                false
            }
        }
    }
}

/// Keeps the health service of gRPC at the judgement: for the whole server ("") and each of its services by name.
pub struct Reporting {
    readiness: Readiness,
    reporter: HealthReporter,
    services: Vec<&'static str>,
    said: Option<Result<(), NotReady>>,
}

impl Reporting {
    /// `services` by their full names.
    #[must_use]
    pub fn new(readiness: Readiness, reporter: HealthReporter, services: &[&'static str]) -> Self {
        let services = services.iter().copied().chain([""]).collect();
        Self { readiness, reporter, services, said: None }
    }

    /// Looks once.
    pub async fn look(&mut self) {
        let judged = self.readiness.judge().await;
        self.say(judged).await;
    }

    /// Looks every `period`, and says at once when the server drains. When the port closes, those who watch are let go:
    /// their streams would hold their connections open.
    pub async fn keep(mut self, period: Duration) {
        let stop = self.readiness.stop.clone();
        while stop.draining.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
            let _ = stop.draining.run_until_cancelled(self.look()).await; // cancelled: said below
        }
        self.say(Err(NotReady::Draining)).await;
        stop.soft.cancelled().await;
        for service in &self.services {
            self.reporter.clear_service_status(service).await;
        }
    }

    async fn say(&mut self, judged: Result<(), NotReady>) {
        if self.said == Some(judged) {
            return;
        }
        let status = match judged {
            Ok(()) => ServingStatus::Serving,
            Err(NotReady::Draining | NotReady::NoStore) => ServingStatus::NotServing,
        };
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
        self.said = Some(judged);
    }
}
