//! What devices are, read again by the rules of a newer server.

use seatrial_core::profile::{Rules, read_again};
use seatrial_core::store::{DeviceRow, Store, StoreError};
use seatrial_proto::raw_evidence_from_wire;

/// Reads the evidence that is kept of each device again where older rules have read it; returns how many there were.
/// Devices that are away would else keep what their last session said until they come back.
pub async fn read_devices_again(store: &dyn Store) -> Result<usize, StoreError> {
    let rules = Rules::shipped()
        .map_err(|error| StoreError::Corrupt { what: "tables of this build".to_owned(), why: error.to_string() })?;
    let mut count = 0;
    for DeviceRow { id, name, mut profile, .. } in store.devices().await? {
        let Some(document) = store.raw_evidence(id).await? else { continue };
        match raw_evidence_from_wire(&document) {
            Ok(Some(evidence)) if read_again(&mut profile, &evidence, rules) => {
                store.set_device_profile(id, &profile).await?;
                count += 1;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(device = name, %error, "the evidence that is kept of the device cannot be read");
            }
        }
    }
    Ok(count)
}
