//! Exit codes: part of the interface, documented in `docs/cli.md`, never renumbered.

use std::process::ExitCode;

/// How the command line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and the verdict (if one was asked for) is a pass.
    Ok = 0,
    /// Something failed; the message says what, why and what to do.
    Error = 1,
    /// The command line itself is wrong.
    Usage = 2,
    /// The run ended and its gate failed, or a job of a run without a gate did not end with `ok`.
    GateFailed = 3,
    /// The server cannot be reached.
    Unreachable = 4,
    /// The server knows the caller not, or does not allow the caller to do this.
    Refused = 5,
    /// A suite, dataset or binding has problems; each is printed with its place.
    Invalid = 6,
    /// There is no such run, job, model or device.
    NotFound = 7,
    /// Ended by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// Every code with the meaning that `seatrial --help` prints.
    pub const TABLE: &'static [(Self, &'static str)] = &[
        (Self::Ok, "done"),
        (Self::Error, "something failed"),
        (Self::Usage, "wrong command line"),
        (Self::GateFailed, "the gate failed"),
        (Self::Unreachable, "the server cannot be reached"),
        (Self::Refused, "not signed in, or not allowed"),
        (Self::Invalid, "a suite, dataset or binding has problems"),
        (Self::NotFound, "no such run, job, model or device"),
        (Self::Interrupted, "interrupted"),
    ];

    /// The lines for the end of the help text.
    pub fn help() -> String {
        let lines = Self::TABLE.iter().map(|(exit, meaning)| format!("  {:>3}  {meaning}", *exit as u8));
        let lines: Vec<String> = lines.collect();
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
