//! Alive, ready, and the counters.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::Edge;
use crate::error::Chain;

/// A database that takes longer counts as absent.
const PATIENCE: Duration = Duration::from_secs(5);

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: work may be sent here.
pub(super) async fn ready(State(edge): State<Edge>) -> (StatusCode, &'static str) {
    if edge.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let asked = edge.clock.monotonic();
    match tokio::time::timeout(PATIENCE, edge.store.ping()).await {
        Ok(Ok(())) => {
            edge.metrics.store_answered(edge.clock.monotonic().since(asked));
            (StatusCode::OK, "ok\n")
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) async fn metrics(State(edge): State<Edge>) -> impl IntoResponse {
    edge.metrics.set_fleet(edge.fleet.counts());
    edge.metrics.set_finished(&edge.fleet.finished());
    let asked = edge.clock.monotonic();
    if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, edge.store.ping()).await {
        edge.metrics.store_answered(edge.clock.monotonic().since(asked));
    }
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], edge.metrics.text())
}
