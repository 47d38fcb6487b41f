//! What is known of the end of an agent that died while it held an attempt: told by the one that took its place.

use serde::{Deserialize, Serialize};

use super::Evidence;
use crate::outcome::{Exit, Outcome};

/// Bytes of the end of what the agent had logged.
pub const MAX_DEATH_OUTPUT: usize = 8 << 10;
/// Bytes of slices of the system's logs.
pub const MAX_DEATH_SYSTEM: usize = 64 << 10;

/// How an agent died, as far as its device tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Death {
    /// Number of the process: by it the system's logs name what they speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// As the shell that had begun it tells; absent where that went with it, or nobody keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The last lines that it logged.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Slices of the system's logs, no older than the attempt; after a reboot its reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_after: Option<String>,
}

impl Death {
    /// Whether anything is known that rules could look at.
    #[must_use]
    pub fn is_told(&self) -> bool {
        let Self { pid: _, exit, output, system, boot_before: _, boot_after: _ } = self;
        exit.is_some() || !output.is_empty() || !system.is_empty() || self.evidence("").boot_changed()
    }

    /// As rules see it. `message` is what the server says of the attempt.
    #[must_use]
    pub fn evidence<'a>(&'a self, message: &'a str) -> Evidence<'a> {
        Evidence {
            exit: self.exit,
            output: &self.output,
            system: &self.system,
            pid: self.pid,
            boot_before: self.boot_before.as_deref(),
            boot_after: self.boot_after.as_deref(),
            ..Evidence::untold(Outcome::AgentKilled, message)
        }
    }
}

/// How a program ended by the exit status that a shell tells: 128 + n is signal n.
#[must_use]
pub const fn exit_of(status: u8) -> Exit {
    if status > 128 && status < 128 + 65 { Exit::Signal(status as i32 - 128) } else { Exit::Code(status as i32) }
}
