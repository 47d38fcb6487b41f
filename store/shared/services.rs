//! What was decided of devices: compare-and-set on the number of the decision, with the state and the log in the same
//! transaction.

use sqlx::{query, query_scalar};

use seatrial_core::device::DeviceState;
use seatrial_core::digest::Digest;
use seatrial_core::ids::{DeviceId, ReservationId};
use seatrial_core::store::{NewReservation, ReservationRow, ServiceChange, ServiceRow};
use seatrial_core::time::Timestamp;

use super::devices::{self, Transition};
use super::fault::{Fault, OrConflict};
use super::rows::{clean, clean_some, document, integer, number, parse, word};
use crate::dialect::{Connection, Pool};

struct ServiceRecord {
    device_id: String,
    revision: i64,
    service: String,
    decided_by: Option<String>,
    decided_at: i64,
}

impl ServiceRecord {
    fn read(self) -> Result<ServiceRow, Fault> {
        let Self { device_id, revision, service, decided_by, decided_at } = self;
        Ok(ServiceRow {
            device: word(&device_id, "device id")?,
            service: parse(&service, "service of a device")?,
            revision: number(revision, "number of a decision")?,
            by: decided_by,
            at: Timestamp::from_micros(decided_at),
        })
    }
}

macro_rules! select_services {
    ($tail:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            ServiceRecord,
            "SELECT device_id, revision, service, decided_by, decided_at FROM device_services " + $tail
            $(, $argument)*
        )
    };
}

fn read(found: Vec<ServiceRecord>) -> Result<Vec<ServiceRow>, Fault> {
    found.into_iter().map(ServiceRecord::read).collect()
}

pub(crate) async fn of_device(pool: &Pool, id: DeviceId) -> Result<ServiceRow, Fault> {
    let found = select_services!("WHERE device_id = $1", id.to_string()).fetch_optional(pool).await?;
    found.map_or_else(|| Ok(ServiceRow::untouched(id)), ServiceRecord::read)
}

pub(crate) async fn all(pool: &Pool) -> Result<Vec<ServiceRow>, Fault> {
    read(select_services!("ORDER BY device_id").fetch_all(pool).await?)
}

pub(crate) async fn due(pool: &Pool, now: Timestamp) -> Result<Vec<ServiceRow>, Fault> {
    read(select_services!("WHERE due_at <= $1 ORDER BY due_at", now.as_micros()).fetch_all(pool).await?)
}

pub(crate) async fn of_reservation(pool: &Pool, id: ReservationId) -> Result<Vec<ServiceRow>, Fault> {
    read(select_services!("WHERE reservation_id = $1 ORDER BY device_id", id.to_string()).fetch_all(pool).await?)
}

/// Whether each decision follows the last about its device. Nobody writes between this and what follows: there is one
/// writer.
async fn are_next(tx: &mut Connection, changes: &[ServiceChange]) -> Result<bool, Fault> {
    for ServiceChange { row, .. } in changes {
        let last = query_scalar!("SELECT revision FROM device_services WHERE device_id = $1", row.device.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        if last.unwrap_or(0) + 1 != integer(row.revision) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) async fn decide(tx: &mut Connection, changes: &[ServiceChange]) -> Result<bool, Fault> {
    if !are_next(tx, changes).await? {
        return Ok(false);
    }
    for change in changes {
        decide_one(tx, change).await?;
    }
    Ok(true)
}

async fn decide_one(tx: &mut Connection, ServiceChange { row, reason }: &ServiceChange) -> Result<(), Fault> {
    let ServiceRow { device, service, revision, by, at } = row;
    let by = clean_some(by.as_ref());
    query!(
        "INSERT INTO device_services (device_id, revision, service, reservation_id, due_at, decided_by, decided_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (device_id) DO UPDATE SET revision = excluded.revision, service = excluded.service,
             reservation_id = excluded.reservation_id, due_at = excluded.due_at, decided_by = excluded.decided_by,
             decided_at = excluded.decided_at",
        device.to_string(),
        integer(*revision),
        document(service, "service of a device")?,
        service.reservation().map(|id| id.to_string()),
        service.due().map(Timestamp::as_micros),
        by,
        at.as_micros(),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| format!("there is no device {device}"))?;
    let from = query_scalar!("SELECT state FROM devices WHERE id = $1", device.to_string()).fetch_one(&mut *tx).await?;
    let from: DeviceState = word(&from, "device state")?;
    let to = service.state();
    let transition = Transition { device: *device, from, to, reason: reason.clone(), by, now: *at };
    devices::set_state(tx, &transition).await?;
    Ok(())
}

pub(crate) async fn reserve(
    tx: &mut Connection,
    reservation: &NewReservation,
    changes: &[ServiceChange],
) -> Result<bool, Fault> {
    if !are_next(tx, changes).await? {
        return Ok(false);
    }
    insert(tx, reservation).await?;
    decide(tx, changes).await
}

async fn insert(tx: &mut Connection, reservation: &NewReservation) -> Result<(), Fault> {
    let NewReservation { id, project, principal, selector, hash, reason, created_at, until } = reservation;
    query!(
        "INSERT INTO reservations (id, project_id, principal_id, selector, hash, reason, created_at, until_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        id.to_string(),
        project.to_string(),
        principal.to_string(),
        &*clean(selector),
        hash.as_bytes().as_slice(),
        &*clean(reason),
        created_at.as_micros(),
        until.as_micros(),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| format!("reservation {id} is stored already, or its principal or project does not exist"))?;
    Ok(())
}

pub(crate) async fn end(
    tx: &mut Connection,
    id: ReservationId,
    changes: &[ServiceChange],
    now: Timestamp,
) -> Result<bool, Fault> {
    if !are_next(tx, changes).await? {
        return Ok(false);
    }
    let ended = query!(
        "UPDATE reservations SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL AND until_at > $2",
        id.to_string(),
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(ended.rows_affected() == 1 && decide(tx, changes).await?)
}

pub(crate) async fn by_hash(pool: &Pool, hash: &Digest, now: Timestamp) -> Result<Option<ReservationId>, Fault> {
    let found = query_scalar!(
        "SELECT id FROM reservations WHERE hash = $1 AND ended_at IS NULL AND until_at > $2",
        hash.as_bytes().as_slice(),
        now.as_micros(),
    )
    .fetch_optional(pool)
    .await?;
    found.map(|id| word(&id, "reservation id")).transpose()
}

pub(crate) async fn reservations(pool: &Pool, now: Timestamp) -> Result<Vec<ReservationRow>, Fault> {
    let found = query!(
        r#"SELECT reservations.id, reservations.project_id, reservations.principal_id, principals.name AS principal,
                  reservations.selector, reservations.reason, reservations.created_at, reservations.until_at,
                  devices.name AS "device?: String"
           FROM reservations
           JOIN principals ON principals.id = reservations.principal_id
           LEFT JOIN device_services ON device_services.reservation_id = reservations.id
           LEFT JOIN devices ON devices.id = device_services.device_id
           WHERE reservations.ended_at IS NULL AND reservations.until_at > $1
           ORDER BY reservations.created_at, reservations.id, devices.name"#,
        now.as_micros(),
    )
    .fetch_all(pool)
    .await?;
    let mut rows: Vec<ReservationRow> = Vec::new();
    for row in found {
        let id = word(&row.id, "reservation id")?;
        if rows.last().is_none_or(|last| last.id != id) {
            rows.push(ReservationRow {
                id,
                project: word(&row.project_id, "project id")?,
                principal: word(&row.principal_id, "principal id")?,
                by: row.principal,
                selector: row.selector,
                reason: row.reason,
                created_at: Timestamp::from_micros(row.created_at),
                until: Timestamp::from_micros(row.until_at),
                devices: Vec::new(),
            });
        }
        if let (Some(last), Some(device)) = (rows.last_mut(), row.device) {
            last.devices.push(device);
        }
    }
    Ok(rows)
}
