//! What fails together, and is not tried again until something of it changes or an operator says so.

use std::collections::HashMap;

use seatrial_core::device::Profile;
use seatrial_core::failure::TripleStanding;
use seatrial_core::ids::{DeviceId, QuarantineId};
use seatrial_core::stage::Stage;
use seatrial_core::store::QuarantineRow;
use seatrial_core::time::Timestamp;
use seatrial_proto::v1;
use seatrial_proto::v1::quarantines_server::Quarantines;
use seatrial_proto::v1::{
    LiftQuarantineRequest, LiftQuarantineResponse, ListQuarantinesRequest, ListQuarantinesResponse,
};
use tonic::{Request, Response, Status};

use super::pages::Room;
use super::{Called, Control, validate};
use crate::error::Error;

/// Rows that are read for a list.
const MOST: u32 = 10_000;

#[tonic::async_trait]
impl Quarantines for Control {
    async fn list(
        &self,
        request: Request<ListQuarantinesRequest>,
    ) -> Result<Response<ListQuarantinesResponse>, Status> {
        let Called { caller, note: _, message: ListQuarantinesRequest { lifted } } = Called::from(request)?;
        let devices = self.store.devices().await.map_err(Error::from)?;
        let profiles: HashMap<DeviceId, Profile> =
            devices.into_iter().map(|device| (device.id, device.profile)).collect();
        let found = self.store.quarantines(caller.project, lifted, MOST).await.map_err(Error::from)?;
        let mut room = Room::default();
        let quarantines = found
            .into_iter()
            .map(|row| {
                let profile = profiles.get(&row.device);
                quarantine(row, profile)
            })
            .take_while(|row| room.holds(row))
            .collect();
        Ok(Response::new(ListQuarantinesResponse { quarantines }))
    }

    async fn lift(&self, request: Request<LiftQuarantineRequest>) -> Result<Response<LiftQuarantineResponse>, Status> {
        let Called { caller, note, message: LiftQuarantineRequest { quarantine } } = Called::from(request)?;
        note.object(format!("quarantine {}", validate::shown(&quarantine)));
        let gone = || Error::not_found(format!("quarantine {} in force", validate::shown(&quarantine)));
        let in_force = self.store.quarantines(caller.project, false, MOST).await.map_err(Error::from)?;
        let id = quarantine.parse::<QuarantineId>().ok();
        let mut named = in_force.iter().filter(|row| id == Some(row.id) || row.id.short() == quarantine);
        let row = named.next().ok_or_else(gone)?;
        if named.next().is_some() {
            return Err(Error::field("quarantine", "more than one has this short id: use the whole one").into());
        }
        note.object(format!(
            "quarantine {}: {} v{} {} with {} on {}",
            row.id, row.model, row.version, row.variant, row.backend, row.device_name
        ));
        let now = self.clock.now();
        let lifted = self.store.lift_quarantine(caller.project, row.id, caller.principal, now).await;
        if !lifted.map_err(Error::from)? {
            return Err(gone().into());
        }
        Ok(Response::new(LiftQuarantineResponse {}))
    }
}

fn quarantine(row: QuarantineRow, profile: Option<&Profile>) -> v1::Quarantine {
    let standing = TripleStanding::of(&row, profile);
    let QuarantineRow {
        id,
        project: _,
        device,
        device_name,
        variant_id: _,
        model,
        version,
        variant,
        backend,
        versions,
        failure,
        job,
        attempt,
        created_at,
        lifted_at,
        lifted_by,
    } = row;
    v1::Quarantine {
        id: id.to_string(),
        short: id.short(),
        device: device.to_string(),
        device_name,
        model,
        version,
        variant,
        backend,
        runtime: versions.runtime,
        build: versions.build,
        standing: standing.as_str().to_owned(),
        failure_class: failure.as_ref().map(|failure| failure.class.to_string()),
        blame: failure.as_ref().map(|failure| failure.blame.to_string()),
        stage: failure.and_then(|failure| failure.stage).map(|stage| Stage::as_str(stage).to_owned()),
        job: job.to_string(),
        attempt,
        created_us: created_at.as_micros(),
        lifted_us: lifted_at.map(Timestamp::as_micros),
        lifted_by,
    }
}
