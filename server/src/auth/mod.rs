//! Who may do what: one door for gRPC and HTTP.
//!
//! [`layer::guard`] runs before every handler. It finds the caller ([`Caller`], put into the request's extensions),
//! looks the method or route up in the table that is generated from `doors.toml`, refuses what has no row or another
//! role, and notes every write in the audit log.

pub mod audit;
pub mod doors;
pub mod layer;
mod revocation;
pub mod token;
pub mod web;

use seatrial_core::digest::Digest;
use seatrial_core::ids::{DeviceId, PrincipalId, ProjectId, TokenId};
use seatrial_core::role::Role;

/// Who is calling. A request extension, set at the door; a handler that finds none was reached without a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub principal: PrincipalId,
    /// The token's name, or the operating system's user on loopback.
    pub principal_name: String,
    pub project: ProjectId,
    pub role: Role,
    /// The only device that an agent's token may speak for.
    pub device: Option<DeviceId>,
    /// `None` for the operating system's user on loopback.
    pub token: Option<TokenId>,
}

/// Hash of a secret that a caller presented at a door that takes no token: an enrolment, which its handler judges.
/// A request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented(pub Digest);
