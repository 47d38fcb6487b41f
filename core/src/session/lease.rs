//! The lease clock of a device.

use std::time::Duration;

use crate::job::Grant;
use crate::time::Monotonic;

/// A grant from its receipt to its end on the boot clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    end: Monotonic,
}

impl Lease {
    /// The server's own count began when it sent the grant: a device ends earlier, by a fifth and at most one second,
    /// so that it is the first to believe that the job is no longer its own.
    pub(super) fn new(grant: Grant, received: Monotonic) -> Self {
        let length = grant.length();
        let margin = (length / 5).min(Duration::from_secs(1));
        Self { end: received.plus(length.saturating_sub(margin)) }
    }

    pub(super) const fn end(self) -> Monotonic {
        self.end
    }

    pub(super) fn has_ended(self, now: Monotonic) -> bool {
        now >= self.end
    }
}
