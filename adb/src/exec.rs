//! A command on a device, and how it ended.

use std::time::Duration;

use crate::capture::{Captured, Keep};
use crate::failure::{Failure, LinkError, Phase};
use crate::group::Group;
use crate::refused::Refused;

/// A command for the device's shell. Names in it go through [`crate::quote`].
#[derive(Debug, Clone, Default)]
pub struct Exec {
    pub command: String,
    /// What it reads; then its input ends.
    pub stdin: Vec<u8>,
    /// Of each stream.
    pub keep: Keep,
    /// By which it can be found and killed when the link to it is lost.
    pub group: Option<Group>,
}

impl Exec {
    #[must_use]
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), ..Self::default() }
    }

    #[must_use]
    pub fn with_stdin(self, stdin: impl Into<Vec<u8>>) -> Self {
        Self { stdin: stdin.into(), ..self }
    }

    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    #[must_use]
    pub fn in_group(self, group: Group) -> Self {
        Self { group: Some(group), ..self }
    }
}

/// How a command ended. Only the first two say that it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutcome {
    Exited(u8),
    /// Shells tell death by signal n as 128 + n; a command that itself exits so is not told from it.
    Signaled(u8),
    TimedOut {
        phase: Phase,
        after: Duration,
    },
    Cancelled {
        phase: Phase,
    },
    TransportLost {
        phase: Phase,
        why: String,
    },
    Refused(Refused),
}

/// Linux has signals 1 to 64.
const SIGNALS: std::ops::RangeInclusive<u8> = 1..=64;

impl ExecOutcome {
    pub(crate) fn of_status(status: u8) -> Self {
        match status.checked_sub(128) {
            Some(signal) if SIGNALS.contains(&signal) => Self::Signaled(signal),
            Some(_) | None => Self::Exited(status),
        }
    }

    /// The failure of the link, when it was one.
    pub fn failure(&self) -> Option<Failure> {
        match self.clone() {
            Self::Exited(_) | Self::Signaled(_) => None,
            Self::TimedOut { phase, after } => Some(Failure::TimedOut { phase, after }),
            Self::Cancelled { phase } => Some(Failure::Cancelled { phase }),
            Self::TransportLost { phase, why } => Some(Failure::TransportLost { phase, why }),
            Self::Refused(refused) => Some(Failure::Refused(refused)),
        }
    }
}

impl From<Failure> for ExecOutcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut { phase, after } => Self::TimedOut { phase, after },
            Failure::Cancelled { phase } => Self::Cancelled { phase },
            Failure::TransportLost { phase, why } => Self::TransportLost { phase, why },
            Failure::Refused(refused) => Self::Refused(refused),
        }
    }
}

/// A command that ended, or whose link did, with what came of its output until then.
#[derive(Debug, Clone)]
pub struct Executed {
    pub outcome: ExecOutcome,
    pub stdout: Captured,
    /// Empty where `merged`.
    pub stderr: Captured,
    /// The device has no `shell_v2`: both streams came as one.
    pub merged: bool,
}

impl Executed {
    /// Whether it ended with code 0.
    pub fn is_success(&self) -> bool {
        self.outcome == ExecOutcome::Exited(0)
    }
}

/// What is left of a command on its device.
#[derive(Debug)]
pub enum Remains {
    /// It ended by itself, or had no group by which it could be looked for.
    NotLookedFor,
    /// It was killed, or was gone, and no process of it is there.
    Dead,
    /// Nobody knows: it may still run.
    Unknown(LinkError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_beyond_128_is_a_signal_as_long_as_there_is_such_a_signal() {
        let expected =
            [(0, None), (7, None), (127, None), (128, None), (129, Some(1)), (137, Some(9)), (139, Some(11))];
        for (status, signal) in expected.into_iter().chain([(192, Some(64)), (193, None), (255, None)]) {
            let outcome = ExecOutcome::of_status(status);
            assert_eq!(outcome, signal.map_or(ExecOutcome::Exited(status), ExecOutcome::Signaled));
        }
    }
}
