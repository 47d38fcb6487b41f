//! Reservations, holds and quarantines end when their time has come.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seatrial_core::lab::standing::Order;
use seatrial_core::store::Store;
use seatrial_core::time::Clock;

use super::{ReconcileError, Reconciler, Scope};
use crate::fleet::{Chain, Fleet};
use crate::service;

pub struct EndServices {
    fleet: Fleet,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl EndServices {
    #[must_use]
    pub fn new(fleet: Fleet, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { fleet, store, clock }
    }
}

#[async_trait]
impl Reconciler for EndServices {
    fn name(&self) -> &'static str {
        "end services"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// A decision is compare-and-set, and its own server's fleet must hear of it.
    fn scope(&self) -> Scope {
        Scope::Each
    }

    async fn reconcile(&self) -> Result<String, ReconcileError> {
        let now = self.clock.now();
        let due = self.store.services_due(now).await?;
        let count = due.len();
        for row in due {
            match service::decide(self.store.as_ref(), row.device, &Order::Tick, None, now).await {
                Ok(row) => {
                    self.fleet.decided(row).await.map_err(|stopped| ReconcileError::Other(stopped.to_string()))?;
                }
                // One device keeps no other from its end.
                Err(why) => tracing::warn!(device = %row.device, error = %Chain(&why), "its time has not ended"),
            }
        }
        Ok(if count == 0 { String::new() } else { format!("{count} devices looked at") })
    }
}
