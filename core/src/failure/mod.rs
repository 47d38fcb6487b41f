//! Why an attempt failed: its class, who is to blame, and what follows from it.
//!
//! An [`Outcome`] says how an attempt ended; a class refines it by what else is known: exit code and signal, the last
//! lines of the process, the system's log around its end, the boot it ran in. The rules are data
//! (`core/src/failure/rules.toml`), judged in order: infrastructure first, then signals, then texts, then what the
//! outcome alone says. What no rule knows is [`Class::Unknown`]: its evidence is kept, and newer rules judge it again.
//!
//! A class never turns a failure into a pass, nor a pass into a failure: only [`Outcome::Ok`] and
//! [`Outcome::Cancelled`] have none.

mod class;
mod death;
mod judge;
mod rules;
mod triple;

use serde::{Deserialize, Serialize};

use crate::backend::Accelerator;
use crate::outcome::{Exit, Outcome, Verdict};
use crate::report::Report;
use crate::stage::Stage;

pub use class::{Blame, Class};
pub use death::{Death, MAX_DEATH_OUTPUT, MAX_DEATH_SYSTEM, exit_of};
pub use judge::classify;
pub use rules::{Rules, RulesError};
pub use triple::{Quarantines, TripleStanding, TripleVersions, build_of, quarantined, runtime_of};

/// Bytes of each text that rules look at: the last ones, since a process says at its end why it ends.
pub const MAX_TEXT: usize = 64 << 10;
/// Bytes of the line that is kept of what decided.
pub const MAX_LINE: usize = 400;

/// All that is known of the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence<'a> {
    pub outcome: Outcome,
    pub stage: Option<Stage>,
    /// What the job asked for; `None` when nothing says it.
    pub accelerator: Option<Accelerator>,
    /// Of the process that ended last.
    pub exit: Option<Exit>,
    /// Number of that process, where the system's logs may name it by it.
    pub pid: Option<u32>,
    /// What the agent or the server says of the end, for a person.
    pub message: &'a str,
    /// The last lines of the process.
    pub output: &'a str,
    /// Slices of the system's logs around the end: logcat, dmesg, tombstones.
    pub system: &'a str,
    pub boot_before: Option<&'a str>,
    pub boot_after: Option<&'a str>,
}

impl<'a> Evidence<'a> {
    /// Of an attempt of which nothing came back.
    #[must_use]
    pub const fn untold(outcome: Outcome, message: &'a str) -> Self {
        Self {
            outcome,
            stage: None,
            accelerator: None,
            exit: None,
            pid: None,
            message,
            output: "",
            system: "",
            boot_before: None,
            boot_after: None,
        }
    }

    /// What a report holds. `outcome`, `stage` and `message` are those that the server derived from it.
    #[must_use]
    pub fn of_report(
        report: &'a Report,
        outcome: Outcome,
        stage: Option<Stage>,
        message: Option<&'a str>,
        accelerator: Option<Accelerator>,
    ) -> Self {
        Self {
            outcome,
            stage,
            accelerator,
            exit: report.processes.last().map(|process| process.exit),
            pid: None,
            message: message.unwrap_or_default(),
            output: &report.log,
            system: &report.system_log,
            // An attempt that reports has ended in the boot in which it began.
            boot_before: None,
            boot_after: None,
        }
    }

    /// The signal that ended it, however it was told: by the kernel, by the outcome, or as 128 + n by a shell.
    #[must_use]
    pub const fn signal(&self) -> Option<i32> {
        match (self.exit, self.outcome) {
            (_, Outcome::CrashSignal(signal)) | (Some(Exit::Signal(signal)), _) if signal > 0 => Some(signal),
            (Some(Exit::Code(code)), _) if code > 128 && code < 128 + 65 => Some(code - 128),
            _ => None,
        }
    }

    /// The exit code, where one was told.
    #[must_use]
    pub const fn code(&self) -> Option<i32> {
        match (self.exit, self.outcome) {
            (Some(Exit::Code(code)), _) | (None, Outcome::ExitNonzero(code)) => Some(code),
            _ => None,
        }
    }

    /// Whether we ended it: a deadline, a cancelled run, a danger to the device.
    #[must_use]
    pub const fn is_our_kill(&self) -> bool {
        matches!(self.exit, Some(Exit::Deadline | Exit::Stopped))
    }

    /// Whether the device began anew while the attempt ran, as far as both boots are known.
    #[must_use]
    pub fn boot_changed(&self) -> bool {
        match (self.boot_before, self.boot_after) {
            (Some(before), Some(after)) => {
                let (before, after) = (before.trim(), after.trim());
                !before.is_empty() && !after.is_empty() && before != after
            }
            (None, _) | (_, None) => false,
        }
    }
}

/// What the rules say of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: Class,
    /// Where it happened, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    pub blame: Blame,
    /// Not the model's doing: the job may be tried again.
    pub retryable: bool,
    /// Run once more on the same device; the second time, device, backend and model are quarantined together.
    pub quarantine: bool,
    /// Where what decided was found, and the line; absent when exit, boot or outcome decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Version of the rules.
    pub rules: u32,
}

impl Failure {
    /// Whether an agent that died of it counts among those that the job may cost: not where somebody else is known to have
    /// ended it.
    #[must_use]
    pub const fn counts_against_job(&self) -> bool {
        !matches!(self.class, Class::KilledByRom | Class::LinkLost)
    }

    /// What follows from the class, before anything is known of earlier attempts.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match (self.retryable, self.quarantine) {
            (true, _) => Verdict::Retry,
            (false, true) => Verdict::Repeat,
            (false, false) => Verdict::Done,
        }
    }
}

/// A line of the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    #[serde(rename = "in")]
    pub source: Source,
    pub line: String,
}

/// A text that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Output,
    System,
    Message,
}

impl Source {
    /// In the order in which they are looked at.
    pub const ALL: [Self; 3] = [Self::Output, Self::System, Self::Message];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::System => "system",
            Self::Message => "message",
        }
    }
}
