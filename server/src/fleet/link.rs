//! What passes between a session and the actor.

use std::sync::Arc;
use std::time::Duration;

use seatrial_core::device::Evidence;
use seatrial_core::failure::Death;
use seatrial_core::ids::{DeviceId, JobId, RunId, SessionId};
use seatrial_core::job::{AttemptRef, Grant};
use seatrial_core::live::Vitals;
use seatrial_core::outcome::Outcome;
use seatrial_core::schedule::Held;
use seatrial_core::stage::Stage;
use seatrial_core::store::{Completion, ServiceRow};
use seatrial_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::Spec;
use crate::canary::{Subject, Unchecked};

/// What goes to the device; boxed, so that the channel of an idle session stays small.
pub enum Out {
    Message(Box<v1::ServerMessage>),
    /// The last thing that the device hears.
    End(tonic::Status),
}

/// The way to a device.
pub struct Outbox {
    pub messages: mpsc::Sender<Out>,
    /// Cancelled when the actor has given the session up.
    pub closed: CancellationToken,
}

impl Outbox {
    /// False when the device does not keep up.
    pub(super) fn send(&self, message: v1::server_message::Message) -> bool {
        let message = Box::new(v1::ServerMessage { message: Some(message) });
        self.messages.try_send(Out::Message(message)).is_ok()
    }

    pub(super) fn close(&self, status: tonic::Status) {
        let _ = self.messages.try_send(Out::End(status)); // full or gone: the end of the stream says it as well
        self.closed.cancel();
    }
}

/// A session that has shaken hands.
pub struct Attach {
    pub device: DeviceId,
    pub name: String,
    /// As the handshake has read it.
    pub service: ServiceRow,
    pub evidence: Evidence,
    pub session: SessionId,
    pub outbox: Outbox,
    pub protocol: u32,
    pub held: Vec<Held>,
    pub lost: Vec<AttemptRef>,
    /// What is known of the end of the process that lost them, and the boots of it and of now.
    pub death: Death,
    /// Jobs that waited and that the handshake has ended, since what they are about is quarantined.
    pub set_aside: Vec<(RunId, JobId)>,
    /// Specifications of the held jobs that are open.
    pub specs: Vec<(JobId, Arc<Spec>)>,
    /// The device for its health checks, or why it has none.
    pub subject: std::result::Result<Subject, Unchecked>,
}

/// What an agent said, checked for form.
pub enum Heard {
    Heartbeat,
    /// A heartbeat that tells how the device is.
    Vitals(Vitals),
    /// What the device did to show itself, or why nothing.
    Found(std::result::Result<String, String>),
    Accepted(AttemptRef),
    Refused {
        attempt: AttemptRef,
        retryable: bool,
        reason: String,
    },
    Stage {
        attempt: AttemptRef,
        stage: Stage,
        grant: Grant,
        deadline: Duration,
        progress: Option<f64>,
    },
    Result(Box<Result>),
    Malformed {
        attempt: AttemptRef,
        reason: String,
    },
    Leaving,
    /// The stream has ended.
    Gone,
}

/// A report with everything derived from it; what becomes of the job is still to be decided.
pub struct Result {
    pub completion: Completion,
    pub outcome: Outcome,
    /// Its share of the bytes that may be under way at one time.
    pub permit: OwnedSemaphorePermit,
}

/// Whether two agents cannot be the same device. A USB path may change, and an agent's folder may be new.
pub(crate) fn contradict(a: &Evidence, b: &Evidence) -> bool {
    let differ = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
    differ(&a.hardware_serial, &b.hardware_serial) || differ(&a.machine_id, &b.machine_id)
}
