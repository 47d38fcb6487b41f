//! Decisions about devices: made by `core` from the last one, stored by compare-and-set. Who makes one tells the fleet;
//! the number of the decision says which of two was later, however they arrive.

use seatrial_core::ids::DeviceId;
use seatrial_core::lab::standing::{Order, Refusal, Service};
use seatrial_core::store::{ServiceChange, ServiceRow, Store, StoreError};
use seatrial_core::time::Timestamp;

/// Somebody else decides about the same device at the same moment; so often is not by chance.
pub(crate) const TRIES: usize = 8;

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecided {
    #[error("{0}")]
    Refused(Refusal),
    #[error("others decide about it at the same time; look again")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carries an order out. Returns what holds now, also when the order changes nothing.
pub(crate) async fn decide(
    store: &dyn Store,
    device: DeviceId,
    order: &Order,
    by: Option<&str>,
    now: Timestamp,
) -> Result<ServiceRow, Undecided> {
    for _ in 0..TRIES {
        let last = store.device_service(device).await?;
        let service = last.service.after(order, now).map_err(Undecided::Refused)?;
        if service == last.service {
            return Ok(last);
        }
        let change = change(&last, service, by, now);
        if store.decide(std::slice::from_ref(&change)).await? {
            let ServiceChange { row, reason } = change;
            let standing = row.service.state();
            tracing::info!(%device, state = %standing, %reason, by = by.unwrap_or("the server"), "decided");
            return Ok(row);
        }
    }
    Err(Undecided::Busy)
}

/// The decision that follows another.
pub(crate) fn change(last: &ServiceRow, service: Service, by: Option<&str>, now: Timestamp) -> ServiceChange {
    let reason = service.words(&last.service);
    let revision = last.revision + 1;
    ServiceChange {
        row: ServiceRow { device: last.device, service, revision, by: by.map(str::to_owned), at: now },
        reason,
    }
}
