//! From rows of the store to messages of the protocol. Every row is taken apart by name, so that a new field breaks the
//! build here and is thought about.

use bytes::Bytes;
use seatrial_core::agents::AgentBuild;
use seatrial_core::device::{DeviceState, Labels};
use seatrial_core::digest::Digest;
use seatrial_core::lab::canary::{Found, Judgement};
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::stage::Stage;
use seatrial_core::store::{
    AgentBuildRow, AuditEntry, AuditRow, CanaryRow, DatasetRow, DeviceRow, JobRow, MisfitRow, ModelRow, RunCounts,
    RunRow, ServiceRow, TokenRow, TransitionRow,
};
use seatrial_core::time::Timestamp;
use seatrial_proto::v1;

use crate::error::{Code, Error};

pub(super) fn device(
    row: DeviceRow,
    service: ServiceRow,
    connected: bool,
    job: Option<String>,
    canary: Option<CanaryRow>,
) -> Result<v1::Device, Error> {
    let ServiceRow { device: _, service, revision: _, by, at: _ } = service;
    let DeviceRow {
        id,
        name,
        state,
        state_reason,
        evidence: _,
        profile,
        labels,
        agent_version,
        created_at: _,
        last_seen_at,
    } = row;
    Ok(v1::Device {
        id: id.to_string(),
        name,
        state: DeviceState::as_str(state).to_owned(),
        state_reason,
        connected,
        profile_json: json(&profile)?,
        labels: self::labels(labels),
        agent_version,
        last_seen_us: last_seen_at.as_micros(),
        job: job.unwrap_or_default(),
        until_us: service.due().map(Timestamp::as_micros),
        decided_by: by,
        probation: service.is_on_probation(),
        canary: canary.map(self::canary),
    })
}

pub(super) fn canary(row: CanaryRow) -> v1::Canary {
    let CanaryRow { id, device: _, at, due, boot_id, fingerprint, rom, found, judgement } = row;
    let Found { ended: _, outcome, message, latency_ms, invalid: _, sensors: _ } = found;
    let limit_ms = judgement.limit_ms();
    let Judgement { health, reasons, usual_ms } = judgement;
    v1::Canary {
        id: id.to_string(),
        at_us: at.as_micros(),
        due: due.as_str().to_owned(),
        boot_id,
        fingerprint,
        rom,
        health: health.as_str().to_owned(),
        reasons: reasons.into_iter().map(|reason| reason.text().to_owned()).collect(),
        outcome,
        message,
        latency_ms,
        usual_ms,
        limit_ms,
    }
}

pub(super) fn transition(row: TransitionRow) -> v1::Transition {
    let TransitionRow { at, from, to, reason, by } = row;
    v1::Transition { at_us: at.as_micros(), from: from.to_string(), to: to.to_string(), reason, by }
}

pub(super) fn labels(labels: Labels) -> Vec<v1::Label> {
    labels.into_iter().map(|(key, value)| v1::Label { key, value }).collect()
}

pub(super) fn agent_build(row: AgentBuildRow) -> v1::AgentBuild {
    let AgentBuildRow { build: AgentBuild { abi, version, digest, size }, created_by, created_at } = row;
    v1::AgentBuild {
        abi: abi.to_string(),
        version,
        digest: Bytes::copy_from_slice(digest.as_bytes()),
        size,
        created_us: created_at.as_micros(),
        created_by,
    }
}

pub(super) fn model(row: ModelRow) -> v1::ModelSummary {
    let ModelRow { id: _, name, versions, latest, variants, created_at: _, updated_at } = row;
    v1::ModelSummary { name, versions, latest, variants, updated_us: updated_at.as_micros() }
}

pub(super) fn dataset(row: DatasetRow) -> v1::DatasetSummary {
    let DatasetRow { id: _, name, versions, task, examples, size, classes, created_at: _ } = row;
    v1::DatasetSummary { name, versions, task: task.as_str().to_owned(), examples, classes, size }
}

pub(super) fn run(row: &RunRow) -> v1::RunSummary {
    let RunRow {
        id,
        number,
        project: _,
        suite,
        suite_text: _,
        rerun_of: _,
        created_by,
        created_at,
        state,
        finished_at,
        gate: _,
        gate_passed,
        counts,
    } = row;
    v1::RunSummary {
        id: id.to_string(),
        number: *number,
        suite: suite.clone(),
        state: state.as_str().to_owned(),
        created_by: created_by.clone(),
        created_us: created_at.as_micros(),
        finished_us: finished_at.map(Timestamp::as_micros),
        gate_passed: *gate_passed,
        counts: Some(run_counts(*counts)),
    }
}

fn run_counts(counts: RunCounts) -> v1::RunCounts {
    let RunCounts { queued, leased, ok, fallback, failed, cancelled, quarantined, misfits, invalid } = counts;
    v1::RunCounts { queued, leased, ok, fallback, failed, cancelled, quarantined, misfits, invalid }
}

pub(super) fn job(row: JobRow, metrics: Vec<Metric>) -> v1::Job {
    let JobRow {
        id,
        short,
        project: _,
        run: _,
        run_number: _,
        device,
        device_name,
        model,
        version,
        variant,
        variant_id: _,
        dataset,
        backend,
        profile,
        state,
        attempt,
        stage,
        outcome,
        message,
        failure,
        invalid,
        created_at: _,
        started_at,
        finished_at,
    } = row;
    v1::Job {
        id: id.to_string(),
        short,
        device: device.to_string(),
        device_name,
        model,
        version,
        variant,
        dataset,
        backend,
        profile,
        state: state.as_str().to_owned(),
        attempt,
        stage: stage.map(|stage| Stage::as_str(stage).to_owned()),
        outcome: outcome.map(self::outcome),
        message,
        failure_class: failure.as_ref().map(|failure| failure.class.to_string()),
        blame: failure.map(|failure| failure.blame.to_string()),
        invalid: invalid.into_iter().map(String::from).collect(),
        metrics: metrics.into_iter().map(metric).collect(),
        started_us: started_at.map(Timestamp::as_micros),
        finished_us: finished_at.map(Timestamp::as_micros),
    }
}

/// The class, with its signal or exit code in brackets: `crash_signal (11)`.
fn outcome(outcome: Outcome) -> String {
    match outcome.code() {
        Some(code) => format!("{} ({code})", outcome.class()),
        None => outcome.class().to_owned(),
    }
}

fn metric(metric: Metric) -> v1::Metric {
    let Metric { name, unit, value } = metric;
    let (value, interval, absent) = match value {
        Reading::Present(Estimate { value, interval }) => (Some(value), interval, None),
        Reading::Absent(reason) => (None, None, Some(reason)),
    };
    let (lo, hi) = interval.unzip();
    v1::Metric { name, unit, value, lo, hi, absent }
}

pub(super) fn misfit(row: MisfitRow) -> v1::Misfit {
    let MisfitRow { model, variant, dataset, backend, profile, device: _, device_name, reason } = row;
    v1::Misfit { model, variant, dataset, backend, profile, device: device_name, reason: reason.into() }
}

pub(super) fn token(row: TokenRow) -> v1::Token {
    let TokenRow { id, principal: _, project: _, name, role, device, created_at, expires_at, revoked_at } = row;
    v1::Token {
        id: id.to_string(),
        name,
        role: role.as_str().to_owned(),
        created_us: created_at.as_micros(),
        expires_us: expires_at.map(Timestamp::as_micros),
        revoked_us: revoked_at.map(Timestamp::as_micros),
        device: device.map(|device| device.to_string()),
    }
}

pub(super) fn audit(entry: AuditEntry) -> v1::AuditEntry {
    let AuditEntry { row, by } = entry;
    let AuditRow { id, at, principal, project: _, action, object, allowed, before, after } = row;
    let bytes = |digest: Digest| Bytes::copy_from_slice(digest.as_bytes());
    v1::AuditEntry {
        id: id.to_string(),
        at_us: at.as_micros(),
        principal: by.unwrap_or_else(|| principal.to_string()),
        action,
        object,
        allowed,
        before: before.map(bytes),
        after: after.map(bytes),
    }
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(Code::Internal, format!("a document could not be written: {error}")))
}
