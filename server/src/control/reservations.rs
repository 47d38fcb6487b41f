//! Devices that are kept for the runs of whoever brings a token.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use seatrial_core::ids::ReservationId;
use seatrial_core::lab::standing::{LONGEST_RESERVATION, Order};
use seatrial_core::live::Live as _;
use seatrial_core::selector::Selector;
use seatrial_core::store::{NewReservation, ReservationRow, ServiceChange, ServiceRow};
use seatrial_core::time::Timestamp;
use seatrial_proto::v1::reservations_server::Reservations;
use seatrial_proto::v1::{
    self, CreateReservationRequest, CreateReservationResponse, EndReservationRequest, EndReservationResponse,
    ListReservationsRequest, ListReservationsResponse,
};
use tonic::{Request, Response, Status};

use super::{Called, Control, validate};
use crate::auth::Caller;
use crate::auth::token::{Kind, Secret};
use crate::error::{Code, Error};
use crate::service::{self, TRIES};
use crate::system::entropy;

/// Reservations that one principal may have at one time.
const MAX_RESERVATIONS: usize = 16;
/// Devices of one reservation.
const MAX_DEVICES: usize = 256;
/// Devices that are named in an answer because they could not be had.
const MAX_PASSED_OVER: usize = 20;

/// What of the fleet a reservation gets.
struct Found {
    changes: Vec<ServiceChange>,
    names: Vec<String>,
    /// Devices that match and are not to be had, each with the reason.
    passed_over: Vec<String>,
}

/// What is asked for, checked.
struct Wanted {
    selector: Option<Selector>,
    /// `None` for all that match.
    count: Option<usize>,
    order: Order,
}

#[tonic::async_trait]
impl Reservations for Control {
    async fn create(
        &self,
        request: Request<CreateReservationRequest>,
    ) -> Result<Response<CreateReservationResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        let CreateReservationRequest { selector, devices, length_s, reason } = message;
        let now = self.clock.now();
        let length = Duration::from_secs(length_s.into());
        if length.is_zero() || length > LONGEST_RESERVATION {
            let most = LONGEST_RESERVATION.as_secs();
            return Err(Error::field("length_s", format!("{length_s} s; from 1 s to {most} s")).into());
        }
        self.refuse_too_many(&caller).await?;
        let reason = validate::text("reason", Some(reason))?.unwrap_or_default();
        let id = ReservationId::new(now, entropy());
        note.object(format!("reservation {}", id.short()));
        let by = caller.principal_name.clone();
        let wanted = Wanted {
            selector: parse_selector(&selector)?,
            count: (devices > 0).then_some(devices as usize),
            order: Order::Reserve { reservation: id, by: by.clone(), length },
        };
        let secret = Secret::new(Kind::Reservation, entropy());
        let new = NewReservation {
            id,
            project: caller.project,
            principal: caller.principal,
            selector: selector.trim().to_owned(),
            hash: secret.hash(),
            reason: reason.clone(),
            created_at: now,
            until: now.plus(length),
        };
        for _ in 0..TRIES {
            let Found { changes, names, passed_over } = self.find_free(&wanted, &by, now).await?;
            if !self.store.reserve(&new, &changes).await.map_err(Error::from)? {
                continue; // somebody else decided about one of them meanwhile
            }
            note.object(format!("reservation {} of {} devices", id.short(), names.len()));
            self.tell(changes).await;
            let NewReservation { project, principal, selector, created_at, until, .. } = new;
            let row =
                ReservationRow { id, project, principal, by, selector, reason, created_at, until, devices: names };
            let token = secret.reveal().to_owned();
            return Ok(Response::new(CreateReservationResponse { reservation: Some(shown(row)), token, passed_over }));
        }
        Err(Error::new(Code::Conflict, "others decide about these devices at the same time; try again").into())
    }

    async fn list(
        &self,
        request: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        let Called { caller: _, note: _, message: ListReservationsRequest {} } = Called::from(request)?;
        let rows = self.store.reservations(self.clock.now()).await.map_err(Error::from)?;
        Ok(Response::new(ListReservationsResponse { reservations: rows.into_iter().map(shown).collect() }))
    }

    async fn end(&self, request: Request<EndReservationRequest>) -> Result<Response<EndReservationResponse>, Status> {
        let Called { caller, note, message: EndReservationRequest { reservation } } = Called::from(request)?;
        note.object(format!("reservation {}", validate::shown(&reservation)));
        let now = self.clock.now();
        let rows = self.store.reservations(now).await.map_err(Error::from)?;
        let mut named =
            rows.into_iter().filter(|row| row.id.to_string() == reservation || row.id.short() == reservation);
        let row = named.next().ok_or_else(|| {
            let shown = validate::shown(&reservation);
            Error::not_found(format!("reservation {shown} that has not ended (`seatrial reservations` lists them)"))
        })?;
        if named.next().is_some() {
            return Err(
                Error::field("reservation", format!("several are called {reservation}; give the whole id")).into()
            );
        }
        let order = Order::Unreserve { reservation: row.id };
        for _ in 0..TRIES {
            let held = self.store.reserved_devices(row.id).await.map_err(Error::from)?;
            let change = |last: &ServiceRow| {
                let service = last.service.after(&order, now).ok()?;
                Some(service::change(last, service, Some(&caller.principal_name), now))
            };
            let changes: Vec<ServiceChange> = held.iter().filter_map(change).collect();
            if self.store.end_reservation(row.id, &changes, now).await.map_err(Error::from)? {
                let devices = u32::try_from(changes.len()).unwrap_or(u32::MAX);
                self.tell(changes).await;
                return Ok(Response::new(EndReservationResponse { devices }));
            }
        }
        Err(Error::new(Code::Conflict, "others decide about its devices at the same time; try again").into())
    }
}

impl Control {
    async fn refuse_too_many(&self, caller: &Caller) -> Result<(), Error> {
        let rows = self.store.reservations(self.clock.now()).await?;
        let own = rows.iter().filter(|row| row.principal == caller.principal).count();
        if own < MAX_RESERVATIONS {
            return Ok(());
        }
        let by = &caller.principal_name;
        Err(Error::new(Code::Conflict, format!("{by} has {own} reservations already; end one (`seatrial unreserve`)")))
    }

    /// The devices that a reservation gets: connected ones first, then by name.
    async fn find_free(&self, wanted: &Wanted, by: &str, now: Timestamp) -> Result<Found, Error> {
        let Wanted { selector, count, order } = wanted;
        let connected: HashSet<_> = self.fleet.devices().into_iter().map(|live| live.device).collect();
        let mut services: HashMap<_, _> =
            self.store.services().await?.into_iter().map(|row| (row.device, row)).collect();
        let mut matching = Vec::new();
        for row in self.store.devices().await? {
            let matches = selector.as_ref().map_or(Ok(true), |selector| selector.matches(&row));
            if matches.map_err(|error| Error::field("selector", error))? {
                matching.push(row);
            }
        }
        matching.sort_by_key(|row| (!connected.contains(&row.id), row.name.clone()));
        let matched = matching.len();
        let mut found = Found { changes: Vec::new(), names: Vec::new(), passed_over: Vec::new() };
        for row in matching {
            if count.is_some_and(|count| found.names.len() == count) {
                break;
            }
            let last = services.remove(&row.id).unwrap_or_else(|| ServiceRow::untouched(row.id));
            match last.service.after(order, now) {
                Ok(service) => {
                    found.changes.push(service::change(&last, service, Some(by), now));
                    found.names.push(row.name);
                }
                Err(refusal) if found.passed_over.len() < MAX_PASSED_OVER => {
                    found.passed_over.push(format!("{}: {refusal}", row.name));
                }
                Err(_) => {}
            }
        }
        let free = found.names.len();
        if matched == 0 {
            return Err(Error::field("selector", "no device matches it"));
        }
        if free > MAX_DEVICES {
            return Err(Error::field("devices", format!("{free} devices match, at most {MAX_DEVICES} are reserved")));
        }
        if free < count.unwrap_or(1) {
            let why = found.passed_over.join("; ");
            let of = count.map_or_else(|| "none".to_owned(), |count| format!("{free} of {count}"));
            let why = if why.is_empty() { format!("only {matched} match") } else { why };
            return Err(Error::new(Code::Conflict, format!("{of} of the devices are to be had: {why}")));
        }
        Ok(found)
    }

    /// What is stored is not lost when the server goes away: the next one reads it when devices come.
    async fn tell(&self, changes: Vec<ServiceChange>) {
        for ServiceChange { row, .. } in changes {
            if self.fleet.decided(row).await.is_err() {
                tracing::info!("devices were decided about while the server goes away");
                return;
            }
        }
    }

    /// The reservation whose token a run brings.
    pub(super) async fn reservation_of(&self, token: &str) -> Result<Option<ReservationId>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let ended = || Error::field("reservation", "it is no token of a reservation, or the reservation has ended");
        let secret = Secret::parse(token.trim()).filter(|secret| secret.kind() == Kind::Reservation);
        let hash = secret.ok_or_else(ended)?.hash();
        let id = self.store.reservation_by_hash(&hash, self.clock.now()).await?;
        id.map(Some).ok_or_else(ended)
    }
}

fn parse_selector(text: &str) -> Result<Option<Selector>, Error> {
    match text.trim() {
        "" => Ok(None),
        text => Selector::parse(text).map(Some).map_err(|error| Error::field("selector", error)),
    }
}

fn shown(row: ReservationRow) -> v1::Reservation {
    let ReservationRow { id, project: _, principal: _, by, selector, reason, created_at, until, devices } = row;
    v1::Reservation {
        id: id.to_string(),
        principal: by,
        selector,
        reason,
        created_us: created_at.as_micros(),
        until_us: until.as_micros(),
        devices,
    }
}
