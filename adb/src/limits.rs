//! What ends a call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Phase};

/// How long a call may take in all, and who may end it earlier. Dropping a call's future ends it too.
#[derive(Debug, Clone)]
pub struct Limits {
    pub deadline: Duration,
    pub cancel: CancellationToken,
}

impl Limits {
    /// Ended by nothing but this deadline.
    #[must_use]
    pub fn within(deadline: Duration) -> Self {
        Self { deadline, cancel: CancellationToken::new() }
    }

    /// For a transfer: ten seconds, and one for each MB.
    #[must_use]
    pub fn for_bytes(bytes: u64) -> Self {
        Self::within(Duration::from_secs(10 + bytes / 1_000_000))
    }

    #[must_use]
    pub fn cancelled_by(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
    }
}

/// Where a call stands, for the one who ends it.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Mutex<Phase>>);

impl Place {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Phase::Connect)))
    }

    pub fn enter(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub fn phase(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link is lost here.
    pub fn lost(&self, why: &impl ToString) -> Failure {
        Failure::TransportLost { phase: self.phase(), why: why.to_string() }
    }
}

/// Runs a call until it ends, is cancelled or is late; its sockets are closed with it.
pub(crate) async fn within<T, E: From<Failure>>(
    limits: &Limits,
    place: &Place,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        () = limits.cancel.cancelled() => Err(Failure::Cancelled { phase: place.phase() }.into()),
        ended = call => ended,
        () = tokio::time::sleep(limits.deadline) => {
            Err(Failure::TimedOut { phase: place.phase(), after: limits.deadline }.into())
        }
    }
}
