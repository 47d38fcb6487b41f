//! Between the session's words and the protocol's messages.

use std::time::Duration;

use prost::Message as _;
use seatrial_core::device::{Evidence, Profile};
use seatrial_core::job::{AttemptRef, SPEC_SCHEMA};
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::session::{FromServer, HeldAttempt, Progress, ToServer, Welcome};
use seatrial_proto::v1::{self, agent_message, server_message};
use seatrial_proto::{
    ConvertError, PROTOCOL_MAX, PROTOCOL_MIN, attempt_from_wire, attempt_to_wire, evidence_to_wire, grant_from_wire,
    report_to_wire,
};

use crate::VERSION;

/// What a hello says beside what the session holds.
pub(crate) struct Introduction {
    pub evidence: Evidence,
    pub profile: Profile,
}

/// `introduce` is asked only for a hello: probing takes a moment.
pub(crate) fn to_wire(
    message: ToServer,
    introduce: impl FnOnce() -> Introduction,
) -> Result<v1::AgentMessage, serde_json::Error> {
    let message = match message {
        ToServer::Hello { held, lost } => agent_message::Message::Hello(hello(held, lost, introduce())?),
        ToServer::Heartbeat => agent_message::Message::Heartbeat(v1::Heartbeat {}),
        ToServer::Accepted(attempt) => {
            agent_message::Message::Accepted(v1::AssignmentAccepted { attempt: Some(attempt_to_wire(attempt)) })
        }
        ToServer::Refused { attempt, reason, retryable } => {
            let attempt = Some(attempt_to_wire(attempt));
            agent_message::Message::Refused(v1::AssignmentRefused { attempt, reason, retryable })
        }
        ToServer::Stage(progress) => agent_message::Message::Stage(stage(progress)),
        ToServer::Drain { reason } => agent_message::Message::Drain(v1::Drain { reason, retry_after_ms: 0 }),
    };
    Ok(v1::AgentMessage { message: Some(message) })
}

fn hello(
    held: Vec<HeldAttempt>,
    lost: Vec<AttemptRef>,
    introduction: Introduction,
) -> Result<v1::Hello, serde_json::Error> {
    let Introduction { evidence, profile } = introduction;
    let held = held.into_iter().map(|HeldAttempt { attempt, ended, stage }| v1::HeldAttempt {
        attempt: Some(attempt_to_wire(attempt)),
        ended,
        stage: stage.to_string(),
    });
    Ok(v1::Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        agent_version: VERSION.to_owned(),
        evidence: Some(evidence_to_wire(&evidence)),
        profile_json: serde_json::to_string(&profile)?,
        held: held.collect(),
        lost: lost.into_iter().map(attempt_to_wire).collect(),
    })
}

fn stage(progress: Progress) -> v1::StageEntered {
    let Progress { attempt, stage, at, share } = progress;
    v1::StageEntered {
        attempt: Some(attempt_to_wire(attempt)),
        stage: stage.to_string(),
        at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
        progress: share,
    }
}

/// `None` for a message of a newer server that this agent does not know.
pub(crate) fn from_wire(message: v1::ServerMessage) -> Result<Option<FromServer>, ConvertError> {
    let Some(message) = message.message else { return Ok(None) };
    let milliseconds = |ms: u32| Duration::from_millis(u64::from(ms));
    Ok(Some(match message {
        server_message::Message::Welcome(it) => FromServer::Welcome(welcome(it)?),
        server_message::Message::Heartbeat(v1::Heartbeat {}) => FromServer::Heartbeat,
        server_message::Message::Assignment(it) => assignment(it)?,
        server_message::Message::Grant(it) => {
            let (attempt, grant) = grant_from_wire(Some(it))?;
            FromServer::Grant { attempt, grant }
        }
        server_message::Message::Cancel(v1::Cancel { attempt, reason }) => {
            FromServer::Cancel { attempt: attempt_from_wire(attempt)?, reason }
        }
        server_message::Message::Received(it) => FromServer::ReportReceived(attempt_from_wire(it.attempt)?),
        server_message::Message::Durable(it) => FromServer::ReportDurable(attempt_from_wire(it.attempt)?),
        server_message::Message::ReportRefused(v1::ReportRefused { attempt, reason }) => {
            FromServer::ReportRefused { attempt: attempt_from_wire(attempt)?, reason }
        }
        server_message::Message::Drain(v1::Drain { reason, retry_after_ms }) => {
            FromServer::Drain { reason, retry_after: milliseconds(retry_after_ms) }
        }
    }))
}

fn welcome(message: v1::Welcome) -> Result<Welcome, ConvertError> {
    let v1::Welcome {
        protocol: _,
        device,
        device_name: _,
        session: _,
        heartbeat_ms,
        stop,
        artifact_prefix,
        server_version: _,
        grants,
    } = message;
    Ok(Welcome {
        device,
        heartbeat: Duration::from_millis(u64::from(heartbeat_ms)),
        stop: stop.into_iter().map(|attempt| attempt_from_wire(Some(attempt))).collect::<Result<_, _>>()?,
        grants: grants.into_iter().map(|grant| grant_from_wire(Some(grant))).collect::<Result<_, _>>()?,
        artifact_prefix,
    })
}

/// A specification that cannot be read is an answer to the server, not an error of the stream.
fn assignment(message: v1::Assignment) -> Result<FromServer, ConvertError> {
    let v1::Assignment { attempt, spec_json, grant } = message;
    let attempt = attempt_from_wire(attempt)?;
    let (_, grant) = grant_from_wire(grant)?;
    let unreadable = |reason: String| Ok(FromServer::Unreadable { attempt, reason });
    match serde_json::from_str::<seatrial_core::job::JobSpec>(&spec_json) {
        Ok(spec) if spec.schema != SPEC_SCHEMA => {
            unreadable(format!("specification of version {}, this agent knows {SPEC_SCHEMA}", spec.schema))
        }
        Ok(spec) => Ok(FromServer::Assignment { attempt, spec: Box::new(spec), grant }),
        Err(error) => unreadable(format!("the specification cannot be read: {error}")),
    }
}

/// A report in bytes, as it is spooled and sent. One that is too large for a message loses what can be missed most:
/// first outputs, then the starts of samples, sensor traces and the log; each loss is stated in the report.
pub(crate) fn encode_report(attempt: AttemptRef, mut report: Report) -> Result<Vec<u8>, ConvertError> {
    type Cut = (&'static str, fn(&mut Report));
    const CUTS: [Cut; 4] = [
        ("outputs", |report| report.blocks.retain(|block| block.metric != BlockKind::Outputs)),
        ("starts of samples", |report| report.blocks.retain(|block| block.metric != BlockKind::StartUs)),
        ("sensor traces", |report| report.sensors.clear()),
        ("the log", |report| report.log.clear()),
    ];
    for (what, cut) in CUTS {
        match report_to_wire(attempt, &report) {
            Err(ConvertError::TooLarge { .. }) => {
                cut(&mut report);
                report.bounds_hit.push(format!("{what} dropped: the report was too large for a message"));
            }
            Err(error @ (ConvertError::Missing(_) | ConvertError::Invalid { .. })) => return Err(error),
            Ok(wire) => return Ok(wire.encode_to_vec()),
        }
    }
    Ok(report_to_wire(attempt, &report)?.encode_to_vec())
}

pub(crate) fn decode_report(bytes: &[u8]) -> Result<v1::AgentMessage, prost::DecodeError> {
    let report = v1::Report::decode(bytes)?;
    Ok(v1::AgentMessage { message: Some(agent_message::Message::Report(report)) })
}
