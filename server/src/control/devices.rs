//! The fleet as people see and steer it.

use std::collections::HashMap;
use std::time::Duration;

use seatrial_core::lab::canary::KEPT;
use seatrial_core::lab::seen::Seen;
use seatrial_core::lab::standing::Order;
use seatrial_core::live::Live as _;
use seatrial_core::selector::Selector;
use seatrial_core::store::ServiceRow;
use seatrial_proto::v1::devices_server::Devices;
use seatrial_proto::v1::{
    CanariesRequest, CanariesResponse, CheckNowRequest, CheckNowResponse, DeviceHistoryRequest, DeviceHistoryResponse,
    FindDeviceRequest, FindDeviceResponse, ListDevicesRequest, ListDevicesResponse, RenameDeviceRequest,
    RenameDeviceResponse, ReportSeenRequest, ReportSeenResponse, SetDeviceStateRequest, SetDeviceStateResponse,
    SetLabelsRequest, SetLabelsResponse,
};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, find, validate};
use crate::error::{Code, Error};
use crate::service::{self, Undecided};

/// Transitions that one call lists.
const MAX_HISTORY: u32 = 500;
const DEFAULT_HISTORY: u32 = 50;
/// How long somebody waits for a health check.
const CHECK_WITHIN: Duration = Duration::from_secs(50);
/// How long a device has to show itself.
const SHOW_WITHIN: Duration = Duration::from_secs(20);

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
        let mut services: HashMap<_, _> =
            self.store.services().await.map_err(Error::from)?.into_iter().map(|row| (row.device, row)).collect();
        let canaries = self.store.last_canaries().await.map_err(Error::from)?;
        let mut canaries: HashMap<_, _> = canaries.into_iter().map(|row| (row.device, row)).collect();
        let mut devices = Vec::new();
        for row in self.store.devices().await.map_err(Error::from)? {
            let matches = selector.as_ref().map_or(Ok(true), |selector| selector.matches(&row));
            if matches.map_err(|error| refused(&error))? {
                let job = live.get(&row.id).and_then(|job| job.as_ref()).map(|job| job.job.short());
                let connected = live.contains_key(&row.id);
                let service = services.remove(&row.id).unwrap_or_else(|| ServiceRow::untouched(row.id));
                let canary = canaries.remove(&row.id);
                devices.push(convert::device(row, service, connected, job, canary)?);
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

    /// Phones that are not usable reach the server's log and the fleet's page: their agents, which would tell more, do not
    /// run.
    async fn report_seen(&self, request: Request<ReportSeenRequest>) -> Result<Response<ReportSeenResponse>, Status> {
        let Called { caller: _, note: _, message } = Called::from(request)?;
        let (host, seen) = seatrial_proto::seen_from_wire(message).map_err(|error| Error::field("devices", error))?;
        for Seen { serial, usb_path, state, advice } in &seen {
            if let Some(advice) = advice {
                let at = usb_path.as_deref().unwrap_or("-");
                tracing::warn!(host, serial, at, state, code = %advice, "a phone is not usable: {}", advice.text());
            }
        }
        self.fleet.lab_sees(host, seen);
        Ok(Response::new(ReportSeenResponse {}))
    }

    async fn set_state(
        &self,
        request: Request<SetDeviceStateRequest>,
    ) -> Result<Response<SetDeviceStateResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        let SetDeviceStateRequest { device, state, reason, length_s } = message;
        note.object(format!("state of device {}: {}", validate::shown(&device), validate::shown(&state)));
        let reason = validate::text("reason", Some(reason))?;
        let length = length_s.map(|seconds| Duration::from_secs(seconds.into()));
        let by = caller.principal_name.as_str();
        let order = order(&state, reason, length, by)?;
        let device = find::device(self.store.as_ref(), &device).await?;
        let decided = service::decide(self.store.as_ref(), device.id, &order, Some(by), self.clock.now()).await;
        let row = decided.map_err(|why| undecided(&device.name, why))?;
        // Also what the store has already: whoever decided it may not have come to this.
        let heard = self.fleet.decided(row).await;
        heard.map_err(|stopped| Error::new(Code::Unavailable, stopped.to_string()))?;
        Ok(Response::new(SetDeviceStateResponse {}))
    }

    async fn find_me(&self, request: Request<FindDeviceRequest>) -> Result<Response<FindDeviceResponse>, Status> {
        let Called { caller: _, note, message: FindDeviceRequest { device } } = Called::from(request)?;
        note.object(format!("device {}", validate::shown(&device)));
        let device = find::device(self.store.as_ref(), &device).await?;
        let found = self.fleet.find(device.id, SHOW_WITHIN).await;
        let found = found.map_err(|stopped| Error::new(Code::Unavailable, stopped.to_string()))?;
        let silent = || Err(format!("its agent did not answer within {} s; it may be older", SHOW_WITHIN.as_secs()));
        match found.unwrap_or_else(silent) {
            Ok(what) => Ok(Response::new(FindDeviceResponse { name: device.name, what })),
            Err(why) => Err(Error::new(Code::Conflict, format!("device {}: {why}", device.name)).into()),
        }
    }

    async fn canaries(&self, request: Request<CanariesRequest>) -> Result<Response<CanariesResponse>, Status> {
        let Called { caller: _, note: _, message: CanariesRequest { device, limit } } = Called::from(request)?;
        let limit = if limit == 0 { KEPT } else { limit.min(KEPT) };
        let device = find::device(self.store.as_ref(), &device).await?;
        let rows = self.store.canaries(device.id, limit).await.map_err(Error::from)?;
        let canaries = rows.into_iter().map(convert::canary).collect();
        Ok(Response::new(CanariesResponse { device: device.id.to_string(), name: device.name, canaries }))
    }

    async fn check_now(&self, request: Request<CheckNowRequest>) -> Result<Response<CheckNowResponse>, Status> {
        let Called { caller: _, note, message: CheckNowRequest { device } } = Called::from(request)?;
        note.object(format!("device {}", validate::shown(&device)));
        let device = find::device(self.store.as_ref(), &device).await?;
        let checked = self.fleet.check(device.id, CHECK_WITHIN).await;
        let checked = checked.map_err(|stopped| Error::new(Code::Unavailable, stopped.to_string()))?;
        let late = || {
            let seconds = CHECK_WITHIN.as_secs();
            Err(format!("no check ended within {seconds} s: it is checked once it has ended what it does, if it stays"))
        };
        match checked.unwrap_or_else(late) {
            Ok(row) => Ok(Response::new(CheckNowResponse { name: device.name, canary: Some(convert::canary(row)) })),
            Err(why) => Err(Error::new(Code::Conflict, format!("device {}: {why}", device.name)).into()),
        }
    }

    async fn history(&self, request: Request<DeviceHistoryRequest>) -> Result<Response<DeviceHistoryResponse>, Status> {
        let Called { caller: _, note: _, message } = Called::from(request)?;
        let DeviceHistoryRequest { device, limit } = message;
        let limit = if limit == 0 { DEFAULT_HISTORY } else { limit.min(MAX_HISTORY) };
        let device = find::device(self.store.as_ref(), &device).await?;
        let transitions = self.store.device_transitions(device.id, limit).await.map_err(Error::from)?;
        let transitions = transitions.into_iter().map(convert::transition).collect();
        Ok(Response::new(DeviceHistoryResponse { device: device.id.to_string(), name: device.name, transitions }))
    }
}

/// What an operator wants, as the protocol spells it; the other states are the fleet's own business.
fn order(state: &str, reason: Option<String>, length: Option<Duration>, by: &str) -> Result<Order, Error> {
    let why = |reason: Option<String>| reason.unwrap_or_else(|| format!("set by {by}"));
    let endless = || match length {
        Some(_) => {
            Err(Error::field("length_s", format!("{state} has no end of its own: somebody releases the device")))
        }
        None => Ok(()),
    };
    match state {
        "ready" => endless().map(|()| Order::Release),
        "held" => Ok(Order::Hold { by: by.to_owned(), reason: reason.unwrap_or_default(), length }),
        "quarantined" => Ok(Order::Quarantine { reason: why(reason), length }),
        "maintenance" => endless().map(|()| Order::Maintain { reason: why(reason) }),
        "retired" => endless().map(|()| Order::Retire { reason: why(reason) }),
        other => {
            let words = "only ready, held, maintenance, quarantined, retired";
            Err(Error::field("state", format!("{:?} cannot be asked for, {words}", validate::shown(other))))
        }
    }
}

fn undecided(device: &str, why: Undecided) -> Error {
    match why {
        Undecided::Store(error) => error.into(),
        Undecided::Refused(refusal) => Error::new(Code::Conflict, format!("device {device}: {refusal}")),
        Undecided::Busy => Error::new(Code::Conflict, format!("device {device}: {why}")),
    }
}
