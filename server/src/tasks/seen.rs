//! When devices were last heard of: written for all of them at once, at most once a minute.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seatrial_core::store::Store;
use seatrial_core::time::Clock;

use super::{ReconcileError, Reconciler, Scope};
use crate::fleet::Fleet;

pub struct NoteSeenDevices {
    fleet: Fleet,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl NoteSeenDevices {
    #[must_use]
    pub fn new(fleet: Fleet, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { fleet, store, clock }
    }
}

#[async_trait]
impl Reconciler for NoteSeenDevices {
    fn name(&self) -> &'static str {
        "note seen devices"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn scope(&self) -> Scope {
        Scope::Each
    }

    async fn reconcile(&self) -> Result<String, ReconcileError> {
        let seen = self.fleet.take_seen();
        if seen.is_empty() {
            return Ok(String::new());
        }
        self.store.touch_devices(&seen, self.clock.now()).await?;
        Ok(format!("{} devices seen", seen.len()))
    }
}
