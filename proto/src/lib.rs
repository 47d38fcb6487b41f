//! The protocol `seatrial.v1`: generated code and its conversions to and from the types of `core`.

/// Generated from `proto/seatrial/v1/*.proto`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("seatrial.v1");
}

mod convert;
mod seen;

pub use convert::{
    ConvertError, MAX_BLOCK_VALUES, MAX_BLOCKS, MAX_DEATH, MAX_DOCUMENT, MAX_EVIDENCE, MAX_RAW_EVIDENCE,
    attempt_from_wire, attempt_to_wire, death_from_wire, death_to_wire, evidence_from_wire, evidence_to_wire,
    grant_from_wire, grant_to_wire, raw_evidence_from_wire, raw_evidence_to_wire, report_from_wire, report_to_wire,
};

pub use seen::{MAX_SEEN, seen_from_wire, seen_to_wire};

/// Serialized `FileDescriptorSet` of the protocol, for reflection and for the compatibility test.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Oldest and newest version of the session protocol that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;
pub const PROTOCOL_MAX: u32 = 1;

/// No message on the wire is larger, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The version of the runners' protocol, `runner.proto`, that this build speaks.
pub const RUNNER_PROTOCOL: u32 = 1;

/// No frame of a runner is longer, in bytes.
pub const MAX_RUNNER_FRAME: u32 = 16 << 20;
