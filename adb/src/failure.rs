//! How a call fails.

use std::fmt;
use std::time::Duration;

use crate::refused::Refused;

/// What a call was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reaching the adb server.
    Connect,
    /// Telling the server which device, or asking the server itself.
    Select,
    /// Opening the service on the device.
    Open,
    /// The command runs.
    Run,
    /// Bytes of a file are on their way.
    Transfer,
    /// What arrived is checked and put in place.
    Verify,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "reaching the adb server",
            Self::Select => "asking the adb server",
            Self::Open => "opening the service on the device",
            Self::Run => "running the command",
            Self::Transfer => "transferring",
            Self::Verify => "checking what arrived",
        })
    }
}

/// How the link itself ends a call. None of these says anything about what the device did meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("not done after {after:?}, while {phase}")]
    TimedOut { phase: Phase, after: Duration },
    #[error("cancelled while {phase}")]
    Cancelled { phase: Phase },
    #[error("the link was lost while {phase}: {why}{}", advice_when_unreachable(*phase))]
    TransportLost { phase: Phase, why: String },
    #[error(transparent)]
    Refused(#[from] Refused),
}

fn advice_when_unreachable(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "; start an adb server there (`adb start-server`), or give the address of one",
        Phase::Select | Phase::Open | Phase::Run | Phase::Transfer | Phase::Verify => "",
    }
}

impl Failure {
    /// Whether the same call may succeed later with nobody's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::TransportLost { .. } => true,
            Self::Cancelled { .. } => false,
            Self::Refused(refused) => refused.kind.passes(),
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Link(#[from] Failure),
    /// A file of this computer.
    #[error("{what}: {source}")]
    Local { what: String, source: std::io::Error },
    /// The device did what was asked and it did not come out right: in its own words where it has some.
    #[error("{0}")]
    Device(String),
}

/// A call that failed, and on which device.
#[derive(Debug, thiserror::Error)]
#[error("{what} on {device}: {cause}")]
pub struct LinkError {
    pub device: String,
    pub what: String,
    pub cause: Cause,
}

impl LinkError {
    pub(crate) fn of(device: &impl ToString, what: impl Into<String>) -> impl FnOnce(Cause) -> Self {
        let (device, what) = (device.to_string(), what.into());
        move |cause| Self { device, what, cause }
    }

    /// The failure of the link, unless it was something else.
    pub const fn failure(&self) -> Option<&Failure> {
        match &self.cause {
            Cause::Link(failure) => Some(failure),
            Cause::Local { .. } | Cause::Device(_) => None,
        }
    }
}
