//! Alive, ready, and the counters.

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::Edge;
use super::readiness::NotReady;

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: work may be sent here.
pub(super) async fn ready(State(edge): State<Edge>) -> (StatusCode, &'static str) {
    match edge.readiness.judge().await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(NotReady::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Err(NotReady::NoStore) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) async fn metrics(State(edge): State<Edge>) -> impl IntoResponse {
    edge.metrics.set_fleet(edge.fleet.counts());
    edge.metrics.set_finished(&edge.fleet.finished());
    edge.readiness.store_answers().await; // for its time
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], edge.metrics.text())
}
