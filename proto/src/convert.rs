//! Between the wire and the types of `core`. What comes from the wire is bounded before it is believed.

use std::cell::RefCell;
use std::io::Read as _;

use prost::Message as _;
use seatrial_core::dataset::package::MAX_EXAMPLES;
use seatrial_core::device::Evidence;
use seatrial_core::failure::{Death, MAX_DEATH_OUTPUT, MAX_DEATH_SYSTEM};
use seatrial_core::ids::JobId;
use seatrial_core::job::{AttemptRef, Grant};
use seatrial_core::profile::RawEvidence;
use seatrial_core::report::{Block, BlockKind, Report};
use zstd::zstd_safe::{DCtx, ResetDirective};

use crate::{MAX_MESSAGE, v1};

/// A report's document is no larger, in bytes of JSON.
pub const MAX_DOCUMENT: usize = 2 << 20;
/// A report has no more blocks.
pub const MAX_BLOCKS: usize = 64;
/// A block has no more values: five classes an example are the most that anything packs.
pub const MAX_BLOCK_VALUES: u32 = 5 * MAX_EXAMPLES;
/// No field of the evidence is longer, in bytes.
pub const MAX_EVIDENCE: usize = 256;
/// Raw evidence of a device is no larger, in bytes of JSON.
pub const MAX_RAW_EVIDENCE: usize = 2 << 20;
/// JSON of how an agent died: each byte of its texts may take six.
pub const MAX_DEATH: usize = 6 * (MAX_DEATH_OUTPUT + MAX_DEATH_SYSTEM) + 4096;

/// zstd level of the document: higher ones save nothing on a few kilobytes of JSON.
const LEVEL: i32 = 3;

/// What is wrong with a message.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("the message lacks its {0}")]
    Missing(&'static str),
    #[error("{what} is not valid: {why}")]
    Invalid { what: &'static str, why: String },
    #[error("{what} of {actual} is over the limit of {limit}")]
    TooLarge { what: &'static str, actual: usize, limit: usize },
}

pub(crate) fn invalid(what: &'static str) -> impl FnOnce(String) -> ConvertError {
    move |why| ConvertError::Invalid { what, why }
}

pub(crate) fn at_most(what: &'static str, actual: usize, limit: usize) -> Result<(), ConvertError> {
    if actual <= limit { Ok(()) } else { Err(ConvertError::TooLarge { what, actual, limit }) }
}

// --- attempts and grants ---

#[must_use]
pub fn attempt_to_wire(attempt: AttemptRef) -> v1::AttemptRef {
    let AttemptRef { job, attempt } = attempt;
    v1::AttemptRef { job: job.to_string(), attempt }
}

pub fn attempt_from_wire(wire: Option<v1::AttemptRef>) -> Result<AttemptRef, ConvertError> {
    let v1::AttemptRef { job, attempt } = wire.ok_or(ConvertError::Missing("attempt"))?;
    let job: JobId = job.parse().map_err(|error| invalid("the attempt's job")(format!("{error}")))?;
    Ok(AttemptRef { job, attempt })
}

#[must_use]
pub fn grant_to_wire(attempt: AttemptRef, grant: Grant) -> v1::Grant {
    let kind = match grant {
        Grant::Online { .. } => v1::GrantKind::Online,
        Grant::Stage { .. } => v1::GrantKind::Stage,
        Grant::Offline { .. } => v1::GrantKind::Offline,
    };
    let length_ms = u64::try_from(grant.length().as_millis()).unwrap_or(u64::MAX);
    v1::Grant { attempt: Some(attempt_to_wire(attempt)), kind: kind.into(), length_ms }
}

pub fn grant_from_wire(wire: Option<v1::Grant>) -> Result<(AttemptRef, Grant), ConvertError> {
    let wire = wire.ok_or(ConvertError::Missing("grant"))?;
    let kind = wire.kind();
    let v1::Grant { attempt, kind: _, length_ms } = wire;
    let length = std::time::Duration::from_millis(length_ms);
    let grant = match kind {
        v1::GrantKind::Unspecified => return Err(ConvertError::Missing("kind of grant")),
        v1::GrantKind::Online => Grant::Online { length },
        v1::GrantKind::Stage => Grant::Stage { length },
        v1::GrantKind::Offline => Grant::Offline { length },
    };
    Ok((attempt_from_wire(attempt)?, grant))
}

// --- evidence ---

#[must_use]
pub fn evidence_to_wire(evidence: &Evidence) -> v1::Evidence {
    let Evidence { agent_id, hardware_serial, machine_id, usb_path } = evidence.clone();
    v1::Evidence { agent_id, hardware_serial, machine_id, usb_path }
}

/// Empty fields are absent ones.
pub fn evidence_from_wire(wire: Option<v1::Evidence>) -> Result<Evidence, ConvertError> {
    let v1::Evidence { agent_id, hardware_serial, machine_id, usb_path } =
        wire.ok_or(ConvertError::Missing("evidence"))?;
    let field = |text: Option<String>| match text {
        Some(text) => at_most("a field of the evidence", text.len(), MAX_EVIDENCE).map(|()| Some(text)),
        None => Ok(None),
    };
    let field = |text| field(text).map(|text| text.filter(|text| !text.trim().is_empty()));
    Ok(Evidence {
        agent_id: field(agent_id)?,
        hardware_serial: field(hardware_serial)?,
        machine_id: field(machine_id)?,
        usb_path: field(usb_path)?,
    })
}

/// Raw evidence as it is sent and kept: zstd JSON.
pub fn raw_evidence_to_wire(evidence: &RawEvidence) -> Result<Vec<u8>, ConvertError> {
    let json = serde_json::to_vec(evidence).map_err(|error| invalid(RAW_EVIDENCE)(error.to_string()))?;
    at_most("raw evidence in bytes", json.len(), MAX_RAW_EVIDENCE)?;
    zstd::bulk::compress(&json, LEVEL).map_err(|error| invalid(RAW_EVIDENCE)(error.to_string()))
}

/// `None` of an agent that brings none.
pub fn raw_evidence_from_wire(wire: &[u8]) -> Result<Option<RawEvidence>, ConvertError> {
    if wire.is_empty() {
        return Ok(None);
    }
    let json = decompress(wire, MAX_RAW_EVIDENCE).map_err(|error| invalid(RAW_EVIDENCE)(error.to_string()))?;
    at_most("raw evidence in bytes", json.len(), MAX_RAW_EVIDENCE)?;
    serde_json::from_slice(&json).map(Some).map_err(|error| invalid(RAW_EVIDENCE)(error.to_string()))
}

const RAW_EVIDENCE: &str = "raw evidence";

pub fn death_to_wire(death: &Death) -> Result<Vec<u8>, ConvertError> {
    let json = serde_json::to_vec(death).map_err(|error| invalid(DEATH)(error.to_string()))?;
    at_most("how an agent died, in bytes", json.len(), MAX_DEATH)?;
    zstd::bulk::compress(&json, LEVEL).map_err(|error| invalid(DEATH)(error.to_string()))
}

/// `None` of an agent that tells nothing.
pub fn death_from_wire(wire: &[u8]) -> Result<Option<Death>, ConvertError> {
    if wire.is_empty() {
        return Ok(None);
    }
    let json = decompress(wire, MAX_DEATH).map_err(|error| invalid(DEATH)(error.to_string()))?;
    at_most("how an agent died, in bytes", json.len(), MAX_DEATH)?;
    let death: Death = serde_json::from_slice(&json).map_err(|error| invalid(DEATH)(error.to_string()))?;
    at_most("the log of an agent that died, in bytes", death.output.len(), MAX_DEATH_OUTPUT)?;
    at_most("logs of the system around an agent's death, in bytes", death.system.len(), MAX_DEATH_SYSTEM)?;
    Ok(Some(death))
}

const DEATH: &str = "how an agent died";

// --- reports ---

pub fn report_to_wire(attempt: AttemptRef, report: &Report) -> Result<v1::Report, ConvertError> {
    let json = serde_json::to_vec(report).map_err(|error| invalid("the report")(error.to_string()))?;
    at_most("a report document in bytes", json.len(), MAX_DOCUMENT)?;
    at_most("a number of blocks", report.blocks.len(), MAX_BLOCKS)?;
    let document =
        zstd::bulk::compress(&json, LEVEL).map_err(|error| invalid("the report's document")(error.to_string()))?;
    let blocks = report.blocks.iter().map(block_to_wire).collect();
    let wire = v1::Report { attempt: Some(attempt_to_wire(attempt)), document: document.into(), blocks };
    at_most("a report in bytes", wire.encoded_len(), MAX_MESSAGE - 64)?; // room for the message around it
    Ok(wire)
}

/// The report with its blocks still packed. No field of the document is judged here but its form.
pub fn report_from_wire(wire: v1::Report) -> Result<(AttemptRef, Report), ConvertError> {
    let v1::Report { attempt, document, blocks } = wire;
    let attempt = attempt_from_wire(attempt)?;
    at_most("a number of blocks", blocks.len(), MAX_BLOCKS)?;
    let damaged = |error: std::io::Error| invalid("the report's document")(error.to_string());
    let json = decompress(&document, MAX_DOCUMENT).map_err(damaged)?;
    at_most("a report document in bytes", json.len(), MAX_DOCUMENT)?;
    let mut report: Report =
        serde_json::from_slice(&json).map_err(|error| invalid("the report's document")(error.to_string()))?;
    report.blocks = blocks.into_iter().map(block_from_wire).collect::<Result<_, _>>()?;
    Ok((attempt, report))
}

thread_local! {
    /// To make one takes longer than to read a document.
    static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Reads no more than one byte above `limit`, whatever the frame says of itself.
fn decompress(document: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    CONTEXT.with_borrow_mut(|context| {
        // What a damaged document left behind.
        let _ = context.reset(ResetDirective::SessionOnly);
        let mut json = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_context(document, context);
        decoder.take(limit as u64 + 1).read_to_end(&mut json)?;
        Ok(json)
    })
}

fn block_to_wire(block: &Block) -> v1::Block {
    let Block { metric, process, count, bytes } = block;
    v1::Block {
        kind: metric.as_str().to_owned(),
        process: u32::from(*process),
        count: *count,
        data: bytes.clone().into(),
    }
}

fn block_from_wire(wire: v1::Block) -> Result<Block, ConvertError> {
    let v1::Block { kind, process, count, data } = wire;
    let metric: BlockKind = kind.parse().map_err(invalid("a block"))?;
    let process = u8::try_from(process).map_err(|_| invalid("a block's process")(format!("{process}")))?;
    at_most("a number of values in a block", count as usize, MAX_BLOCK_VALUES as usize)?;
    Ok(Block { metric, process, count, bytes: data.into() })
}
