//! The fleet as people see and steer it.

use std::collections::HashMap;

use seatrial_core::device::DeviceState;
use seatrial_core::lab::seen::Seen;
use seatrial_core::live::Live as _;
use seatrial_core::selector::Selector;
use seatrial_proto::v1::devices_server::Devices;
use seatrial_proto::v1::{
    ListDevicesRequest, ListDevicesResponse, RenameDeviceRequest, RenameDeviceResponse, ReportSeenRequest,
    ReportSeenResponse, SetDeviceStateRequest, SetDeviceStateResponse, SetLabelsRequest, SetLabelsResponse,
};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, find, validate};
use crate::error::{Code, Error};

/// States that an operator may ask for; the others are the fleet's own business.
const ASKABLE: [DeviceState; 4] =
    [DeviceState::Ready, DeviceState::Maintenance, DeviceState::Quarantined, DeviceState::Retired];

#[tonic::async_trait]
impl Devices for Control {
    async fn list(&self, request: Request<ListDevicesRequest>) -> Result<Response<ListDevicesResponse>, Status> {
        let Called { caller: _, note: _, message: ListDevicesRequest { selector } } = Called::from(request)?;
        let refused = |error: &dyn std::fmt::Display| Error::field("selector", error);
        let selector = match selector.trim() {
            "" => None,
            text => Some(Selector::parse(text).map_err(|error| refused(&error))?),
        };
        let live: HashMap<_, _> = self.fleet.devices().into_iter().map(|live| (live.device, live.job)).collect();
        let mut devices = Vec::new();
        for row in self.store.devices().await.map_err(Error::from)? {
            let matches = selector.as_ref().map_or(Ok(true), |selector| selector.matches(&row));
            if matches.map_err(|error| refused(&error))? {
                let job = live.get(&row.id).and_then(|job| job.as_ref()).map(|job| job.job.short());
                let connected = live.contains_key(&row.id);
                devices.push(convert::device(row, connected, job)?);
            }
        }
        Ok(Response::new(ListDevicesResponse { devices }))
    }

    async fn set_labels(&self, request: Request<SetLabelsRequest>) -> Result<Response<SetLabelsResponse>, Status> {
        let Called { caller: _, note, message: SetLabelsRequest { device, labels } } = Called::from(request)?;
        note.object(format!("labels of device {device}"));
        let labels = validate::labels("labels", labels)?;
        let device = find::device(self.store.as_ref(), &device).await?;
        if !self.store.set_device_labels(device.id, &labels).await.map_err(Error::from)? {
            return Err(Error::not_found(format!("device {}", device.id)).into());
        }
        Ok(Response::new(SetLabelsResponse {}))
    }

    async fn rename(&self, request: Request<RenameDeviceRequest>) -> Result<Response<RenameDeviceResponse>, Status> {
        let Called { caller: _, note, message: RenameDeviceRequest { device, name } } = Called::from(request)?;
        note.object(format!("name of device {device}"));
        let name = validate::title("name", &name)?;
        let device = find::device(self.store.as_ref(), &device).await?;
        if !self.store.rename_device(device.id, &name).await.map_err(Error::from)? {
            return Err(Error::not_found(format!("device {}", device.id)).into());
        }
        Ok(Response::new(RenameDeviceResponse {}))
    }

    /// Phones that are not usable reach the server's log: their agents, which would tell more, do not run.
    async fn report_seen(&self, request: Request<ReportSeenRequest>) -> Result<Response<ReportSeenResponse>, Status> {
        let Called { caller: _, note: _, message } = Called::from(request)?;
        let (host, seen) = seatrial_proto::seen_from_wire(message).map_err(|error| Error::field("devices", error))?;
        for Seen { serial, usb_path, state, advice } in seen {
            if let Some(advice) = advice {
                let at = usb_path.as_deref().unwrap_or("-");
                tracing::warn!(host, serial, at, state, code = %advice, "a phone is not usable: {}", advice.text());
            }
        }
        Ok(Response::new(ReportSeenResponse {}))
    }

    async fn set_state(
        &self,
        request: Request<SetDeviceStateRequest>,
    ) -> Result<Response<SetDeviceStateResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        let SetDeviceStateRequest { device, state, reason } = message;
        note.object(format!("state of device {device}"));
        let state: DeviceState = validate::word("state", &state)?;
        if !ASKABLE.contains(&state) {
            let words = ASKABLE.map(DeviceState::as_str).join(", ");
            return Err(Error::field("state", format!("{state} cannot be asked for, only {words}")).into());
        }
        let reason =
            validate::text("reason", Some(reason))?.unwrap_or_else(|| format!("set by {}", caller.principal_name));
        let _turn = self.steering.lock().await;
        let device = find::device(self.store.as_ref(), &device).await?;
        if device.state != state {
            let now = self.clock.now();
            let set =
                self.store.set_device_state(device.id, device.state, state, &reason, now).await.map_err(Error::from)?;
            if !set {
                let why = format!("device {} changed its state meanwhile; look again", device.name);
                return Err(Error::new(Code::Conflict, why).into());
            }
        }
        // Also a state that the store has already: whoever set it may not have come to this.
        let heard = self.fleet.set_device_state(device.id, state).await;
        heard.map_err(|stopped| Error::new(Code::Unavailable, stopped.to_string()))?;
        Ok(Response::new(SetDeviceStateResponse {}))
    }
}
