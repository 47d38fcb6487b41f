//! What goes into a session and what comes out of it.

use std::time::Duration;

use crate::job::{AttemptRef, Grant, JobSpec};
use crate::retry::Backoff;
use crate::stage::Stage;
use crate::time::Monotonic;

/// When a step happens: the boot clock of the device, and the driver's random share in `0.0..=1.0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    pub now: Monotonic,
    pub jitter: f64,
}

/// What the session waits for, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub backoff: Backoff,
    /// Longest wait for a connection and for the server's welcome, each.
    pub answer_within: Duration,
    /// A report without its acknowledgement is offered again after this.
    pub resend_after: Duration,
    /// A session that lasted this long starts the back-off anew.
    pub stable_after: Duration,
    /// How long a drain waits for undelivered reports; they stay in the spool.
    pub drain_within: Duration,
    /// Undelivered reports that the agent holds before it takes no more work.
    pub max_pending: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backoff: Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(15) },
            answer_within: Duration::from_secs(10),
            resend_after: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
            drain_within: Duration::from_secs(30),
            max_pending: 64,
        }
    }
}

/// What the agent knows of itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Attempts whose reports are in the spool.
    pub pending: Vec<AttemptRef>,
    /// Attempts during which an earlier process of this agent was killed.
    pub lost: Vec<AttemptRef>,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The stream is open.
    Connected,
    /// The stream could not be opened, or has ended.
    Disconnected {
        reason: String,
    },
    Received(FromServer),
    /// The running attempt entered a stage, or moved on within it.
    Progressed(Progress),
    /// The running attempt is over but for these processes, which do not end. It goes on until they have.
    Orphans {
        attempt: AttemptRef,
        processes: Vec<i32>,
    },
    /// The running attempt has ended and nothing of it runs any more. `reported`: its report is in the spool.
    Ended {
        attempt: AttemptRef,
        reported: bool,
    },
    /// The spool no longer has this report whole.
    Undeliverable(AttemptRef),
    Shutdown(Shutdown),
}

/// How firmly the agent is asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Finish what runs, deliver what is held, take nothing new.
    Drain,
    /// Stop what runs and leave.
    Hard,
}

/// Where the running attempt is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    pub attempt: AttemptRef,
    pub stage: Stage,
    /// Offset from the start of the attempt.
    pub at: Duration,
    /// 0 to 1 within the stage, when known.
    pub share: Option<f64>,
}

/// What the server says, as far as the session cares.
#[derive(Debug, Clone, PartialEq)]
pub enum FromServer {
    Welcome(Welcome),
    Heartbeat,
    Assignment {
        attempt: AttemptRef,
        spec: Box<JobSpec>,
        grant: Grant,
    },
    /// An assignment that this agent cannot read.
    Unreadable {
        attempt: AttemptRef,
        reason: String,
    },
    Grant {
        attempt: AttemptRef,
        grant: Grant,
    },
    Cancel {
        attempt: AttemptRef,
        reason: String,
    },
    ReportReceived(AttemptRef),
    ReportDurable(AttemptRef),
    ReportRefused {
        attempt: AttemptRef,
        reason: String,
    },
    /// The server goes away; come back after `retry_after`.
    Drain {
        reason: String,
        retry_after: Duration,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The id that the server issued; the agent keeps it in its folder as evidence.
    pub device: String,
    /// How often both sides send something, at least.
    pub heartbeat: Duration,
    /// Held attempts that are no longer the agent's.
    pub stop: Vec<AttemptRef>,
    /// Grants of held attempts that go on.
    pub grants: Vec<(AttemptRef, Grant)>,
    /// Path prefix of artifacts on the same port.
    pub artifact_prefix: String,
}

/// What the agent says; reports go by [`Effect::Deliver`].
#[derive(Debug, Clone, PartialEq)]
pub enum ToServer {
    /// The driver adds evidence, profile and version.
    Hello {
        held: Vec<HeldAttempt>,
        lost: Vec<AttemptRef>,
    },
    Heartbeat,
    Accepted(AttemptRef),
    Refused {
        attempt: AttemptRef,
        reason: String,
        retryable: bool,
    },
    Stage(Progress),
    Drain {
        reason: String,
    },
}

/// An attempt that the agent runs, or whose report it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldAttempt {
    pub attempt: AttemptRef,
    pub ended: bool,
    pub stage: Stage,
}

/// Why a running attempt is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the job; the report says so.
    Cancelled(String),
    /// The grant has ended, or the server gave the job away: nothing more is recorded.
    NotOurs(String),
    /// The agent leaves at once: nothing more is recorded.
    Shutdown,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Open the stream.
    Connect,
    /// Close the stream; no [`Input::Disconnected`] is expected for it.
    Disconnect,
    Send(ToServer),
    /// Read the report from the spool and send it.
    Deliver(AttemptRef),
    /// The report is delivered, or nobody wants it: remove it from the spool.
    Discard {
        attempt: AttemptRef,
        refused: Option<String>,
    },
    Start {
        attempt: AttemptRef,
        spec: Box<JobSpec>,
    },
    Abort {
        attempt: AttemptRef,
        stop: Stop,
    },
    /// Keep the id that the server issued, and where its artifacts are.
    Remember {
        device: String,
        artifact_prefix: String,
    },
    /// The server knows of these; their marks may go.
    ForgetLost(Vec<AttemptRef>),
    /// Step again at this moment at the latest; replaces the wish before.
    WakeAt(Monotonic),
    Exit,
}
