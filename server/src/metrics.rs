//! Counters of the edge and of the fleet, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::fleet::Counts;

/// Every counter. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<CallLabels, Histogram>,
    connections: Gauge,
    accepted: Counter,
    closed: Family<ClosedLabels, Counter>,
    artifact_bytes: Family<DirectionLabels, Counter>,
    store_seconds: Histogram,
    jobs: Family<OutcomeLabels, Counter>,
    queued: Gauge,
    running: Gauge,
    devices: Gauge,
    rounds: Family<RoundLabels, Counter>,
    round_seconds: Family<ReconcilerLabels, Histogram>,
    failing: Family<ReconcilerLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    call: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosedLabels {
    reason: Closed,
}

/// Why the server closed or refused a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Closed {
    /// No complete request in time.
    Silent,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// Too many in all.
    Total,
    /// Too many of one address.
    Address,
    /// `accept` failed: no file descriptors left.
    Descriptors,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: Direction,
}

/// Which way an artifact's bytes went, seen from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Direction {
    In,
    Out,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoundLabels {
    reconciler: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcilerLabels {
    reconciler: &'static str,
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("seatrial");
        let requests = Family::default();
        registry.register("requests", "requests by call and result", requests.clone());
        let request_seconds = Family::new_with_constructor(latency as fn() -> Histogram);
        registry.register_with_unit(
            "request",
            "time to the head of the response",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let connections: Gauge<i64, AtomicI64> = Gauge::default();
        registry.register("connections", "open connections", connections.clone());
        let accepted: Counter<u64, AtomicU64> = Counter::default();
        registry.register("connections_accepted", "connections accepted", accepted.clone());
        let closed = Family::default();
        registry.register("connections_closed", "connections that the server refused or closed", closed.clone());
        let artifact_bytes = Family::default();
        registry.register_with_unit("artifact", "bytes of artifacts moved", Unit::Bytes, artifact_bytes.clone());
        let store_seconds = latency();
        registry.register_with_unit("store_ping", "round trip to the database", Unit::Seconds, store_seconds.clone());
        let jobs = Family::default();
        registry.register(
            "attempts_finished",
            "attempts whose results were stored since the start, by outcome",
            jobs.clone(),
        );
        let (queued, running, devices) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("jobs_queued", "jobs that wait for their device", queued.clone());
        registry.register("jobs_running", "jobs that a device holds", running.clone());
        registry.register("devices_connected", "devices with an open session", devices.clone());
        let (rounds, failing) = (Family::default(), Family::default());
        registry.register("reconciler_rounds", "rounds of periodic work, by result", rounds.clone());
        let round_seconds = Family::new_with_constructor(latency as fn() -> Histogram);
        registry.register_with_unit(
            "reconciler_round",
            "time that a round of periodic work took",
            Unit::Seconds,
            round_seconds.clone(),
        );
        registry.register("reconciler_failing", "1 when the last round failed", failing.clone());
        Self {
            registry: Arc::new(registry),
            requests,
            request_seconds,
            connections,
            accepted,
            closed,
            artifact_bytes,
            store_seconds,
            jobs,
            queued,
            running,
            devices,
            rounds,
            round_seconds,
            failing,
        }
    }

    /// Counts a request. `call` is a row of the doors' table, so the number of series is bounded.
    pub fn request(&self, call: &'static str, result: &'static str, took: Duration) {
        self.requests.get_or_create(&RequestLabels { call, result }).inc();
        self.request_seconds.get_or_create(&CallLabels { call }).observe(took.as_secs_f64());
    }

    pub fn connection_opened(&self) {
        self.accepted.inc();
        self.connections.inc();
    }

    pub fn connection_ended(&self) {
        self.connections.dec();
    }

    pub fn connection_closed(&self, reason: Closed) {
        self.closed.get_or_create(&ClosedLabels { reason }).inc();
    }

    pub fn artifact_bytes(&self, direction: Direction, bytes: u64) {
        self.artifact_bytes.get_or_create(&DirectionLabels { direction }).inc_by(bytes);
    }

    pub fn store_answered(&self, took: Duration) {
        self.store_seconds.observe(took.as_secs_f64());
    }

    /// Attempts whose results were stored since the start, by the class of their outcome.
    pub fn set_finished(&self, finished: &BTreeMap<&'static str, u64>) {
        for (&outcome, &count) in finished {
            self.jobs.get_or_create(&OutcomeLabels { outcome }).inner().store(count, Ordering::Relaxed);
        }
    }

    pub fn set_fleet(&self, counts: Counts) {
        let Counts { queued, running, devices } = counts;
        self.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
        self.devices.set(i64::try_from(devices).unwrap_or(i64::MAX));
    }

    /// Counts a round of a reconciler.
    pub fn reconciled(&self, reconciler: &'static str, succeeded: bool, took: Duration) {
        let result = if succeeded { "ok" } else { "failed" };
        self.rounds.get_or_create(&RoundLabels { reconciler, result }).inc();
        self.round_seconds.get_or_create(&ReconcilerLabels { reconciler }).observe(took.as_secs_f64());
        self.failing.get_or_create(&ReconcilerLabels { reconciler }).set(i64::from(!succeeded));
    }

    /// All of it as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only if one of our encoders does.
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// 100 µs to 26 s.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.request("seatrial.v1.Runs/List", "ok", Duration::from_millis(2));
        metrics.connection_closed(Closed::Silent);
        metrics.artifact_bytes(Direction::Out, 12);
        metrics.clone().set_fleet(Counts { queued: 3, running: 1, devices: 2 });
        metrics.reconciled("runs", true, Duration::from_millis(2));
        metrics.reconciled("runs", false, Duration::from_millis(2));
        let text = metrics.text();
        for line in [
            "seatrial_requests_total{call=\"seatrial.v1.Runs/List\",result=\"ok\"} 1",
            "seatrial_connections_closed_total{reason=\"Silent\"} 1",
            "seatrial_artifact_bytes_total{direction=\"Out\"} 12",
            "seatrial_jobs_queued 3",
            "seatrial_reconciler_rounds_total{reconciler=\"runs\",result=\"failed\"} 1",
            "seatrial_reconciler_failing{reconciler=\"runs\"} 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
