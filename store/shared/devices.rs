//! Devices: found by their evidence, named, labelled, moved between states.

use std::collections::{BTreeMap, HashSet};

use sqlx::{query, query_scalar};

use seatrial_core::device::{DeviceState, Evidence, Labels, Profile};
use seatrial_core::identity::{self, Known};
use seatrial_core::ids::DeviceId;
use seatrial_core::store::{DeviceRow, TransitionRow};
use seatrial_core::time::Timestamp;

use super::fault::{Fault, OrConflict};
use super::rows::{Only, clean, document, parse, rows, word};
use crate::dialect::{Connection, Pool};

/// How often a new device looks for a free name.
const NAME_TRIES: u32 = 8;

macro_rules! select_devices {
    ($tail:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            DeviceRecord,
            "SELECT id, name, state, state_reason, profile, labels, agent_version, created_at, last_seen_at
             FROM devices "
                + $tail
            $(, $argument)*
        )
    };
}

/// What an agent brings when it attaches.
pub(crate) struct Attach {
    pub(crate) fresh: DeviceId,
    pub(crate) evidence: Evidence,
    pub(crate) profile: Profile,
    pub(crate) agent_version: String,
    pub(crate) now: Timestamp,
}

pub(crate) async fn attach(tx: &mut Connection, attach: &Attach) -> Result<DeviceRow, Fault> {
    let Attach { fresh, evidence, .. } = attach;
    let candidates = candidates(tx, evidence).await?;
    let id = if let Some(known) = identity::same_device(evidence, &candidates) {
        refresh(tx, known, attach).await?;
        known
    } else {
        insert(tx, attach).await?;
        *fresh
    };
    store_evidence(tx, id, evidence).await?;
    let row = select_devices!("WHERE id = $1", id.to_string()).fetch_one(&mut *tx).await?;
    let known = evidence_of(tx, id).await?;
    row.read(known)
}

/// A new device under the first free name. Somebody else may take that name between our look and our write.
async fn insert(tx: &mut Connection, attach: &Attach) -> Result<(), Fault> {
    let Attach { fresh, evidence: _, profile, agent_version, now } = attach;
    let base = identity::name_of(profile);
    for _ in 0..NAME_TRIES {
        let done = query!(
            "INSERT INTO devices (id, name, state, state_reason, profile, labels, agent_version, created_at, last_seen_at)
             VALUES ($1, $2, 'discovered', 'first seen', $3, '{}', $4, $5, $5)
             ON CONFLICT (name) DO NOTHING",
            fresh.to_string(),
            free_name(tx, &base).await?,
            document(profile, "profile")?,
            &*clean(agent_version),
            now.as_micros(),
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
    }
    Err(Fault::Conflict(format!("{NAME_TRIES} free names for {base:?} were taken before they could be used")))
}

async fn refresh(tx: &mut Connection, id: DeviceId, attach: &Attach) -> Result<(), Fault> {
    query!(
        "UPDATE devices SET profile = $2, agent_version = $3, last_seen_at = $4 WHERE id = $1",
        id.to_string(),
        document(&attach.profile, "profile")?,
        &*clean(&attach.agent_version),
        attach.now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// What is kept already is not written again: an agent brings it with every session.
pub(crate) async fn keep_raw_evidence(tx: &mut Connection, id: DeviceId, document: &[u8]) -> Result<(), Fault> {
    query!(
        "UPDATE devices SET raw_evidence = $2 WHERE id = $1 AND raw_evidence IS DISTINCT FROM $2",
        id.to_string(),
        document,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

pub(crate) async fn raw_evidence(pool: &Pool, id: DeviceId) -> Result<Option<Vec<u8>>, Fault> {
    let found =
        query_scalar!("SELECT raw_evidence FROM devices WHERE id = $1", id.to_string()).fetch_optional(pool).await?;
    Ok(found.flatten())
}

pub(crate) async fn set_profile(tx: &mut Connection, id: DeviceId, profile: &Profile) -> Result<bool, Fault> {
    let done = query!("UPDATE devices SET profile = $2 WHERE id = $1", id.to_string(), document(profile, "profile")?)
        .execute(&mut *tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Every device that shares a strong piece of evidence, with all that is known of it.
async fn candidates(tx: &mut Connection, seen: &Evidence) -> Result<Vec<Known>, Fault> {
    let Evidence { agent_id, hardware_serial, machine_id, usb_path: _ } = seen;
    let [agent_id, machine_id, hardware_serial] =
        [agent_id, machine_id, hardware_serial].map(|piece| piece.as_deref().map(|text| clean(text).into_owned()));
    let found = query!(
        "SELECT device_id, kind, value FROM device_evidence
         WHERE device_id IN (
             SELECT device_id FROM device_evidence
             WHERE (value = $1 AND kind = 'agent_id') OR (value = $2 AND kind = 'machine_id')
                OR (value = $3 AND kind = 'hardware_serial'))
         ORDER BY device_id",
        agent_id,
        machine_id,
        hardware_serial,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut known = BTreeMap::<String, Evidence>::new();
    for row in found {
        note(known.entry(row.device_id).or_default(), &row.kind, row.value);
    }
    known.into_iter().map(|(device, evidence)| Ok(Known { device: word(&device, "device id")?, evidence })).collect()
}

fn note(evidence: &mut Evidence, kind: &str, value: String) {
    match kind {
        "agent_id" => evidence.agent_id = Some(value),
        "machine_id" => evidence.machine_id = Some(value),
        "hardware_serial" => evidence.hardware_serial = Some(value),
        // The table's CHECK leaves only one more.
        _ => evidence.usb_path = Some(value),
    }
}

/// What was not seen this time stays as it was known.
async fn store_evidence(tx: &mut Connection, id: DeviceId, evidence: &Evidence) -> Result<(), Fault> {
    let Evidence { agent_id, hardware_serial, machine_id, usb_path } = evidence;
    let pieces = [
        ("agent_id", agent_id),
        ("hardware_serial", hardware_serial),
        ("machine_id", machine_id),
        ("usb_path", usb_path),
    ];
    for (kind, value) in pieces {
        let Some(value) = value else { continue };
        query!(
            "INSERT INTO device_evidence (device_id, kind, value) VALUES ($1, $2, $3)
             ON CONFLICT (device_id, kind) DO UPDATE SET value = excluded.value",
            id.to_string(),
            kind,
            &*clean(value),
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn evidence_of(tx: &mut Connection, id: DeviceId) -> Result<Evidence, Fault> {
    let found = query!("SELECT kind, value FROM device_evidence WHERE device_id = $1", id.to_string())
        .fetch_all(&mut *tx)
        .await?;
    let mut evidence = Evidence::default();
    for row in found {
        note(&mut evidence, &row.kind, row.value);
    }
    Ok(evidence)
}

/// `Xiaomi 15`, then `Xiaomi 15 №2`, and so on.
async fn free_name(tx: &mut Connection, base: &str) -> Result<String, Fault> {
    let base = clean(base);
    // A backslash would escape; a wildcard in its place finds a name too many, which does no harm.
    let pattern = format!("{base} №%").replace('\\', "_");
    let taken = query_scalar!("SELECT name FROM devices WHERE name = $1 OR name LIKE $2", &*base, pattern)
        .fetch_all(&mut *tx)
        .await?;
    let taken: HashSet<String> = taken.into_iter().collect();
    if !taken.contains(&*base) {
        return Ok(base.into_owned());
    }
    // One more number than names are taken: one of them must be free.
    let free = (2..=taken.len() + 2).map(|number| format!("{base} №{number}")).find(|name| !taken.contains(name));
    free.ok_or_else(|| Fault::corrupt("device names", format!("no free name for {base:?}")))
}

struct DeviceRecord {
    id: String,
    name: String,
    state: String,
    state_reason: String,
    profile: String,
    labels: String,
    agent_version: String,
    created_at: i64,
    last_seen_at: i64,
}

impl DeviceRecord {
    fn read(self, evidence: Evidence) -> Result<DeviceRow, Fault> {
        let Self { id, name, state, state_reason, profile, labels, agent_version, created_at, last_seen_at } = self;
        Ok(DeviceRow {
            id: word(&id, "device id")?,
            name,
            state: word(&state, "device state")?,
            state_reason,
            evidence,
            profile: parse(&profile, "device profile")?,
            labels: parse(&labels, "device labels")?,
            agent_version,
            created_at: Timestamp::from_micros(created_at),
            last_seen_at: Timestamp::from_micros(last_seen_at),
        })
    }
}

pub(crate) async fn all(pool: &Pool) -> Result<Vec<DeviceRow>, Fault> {
    let devices = select_devices!("ORDER BY name").fetch_all(pool).await?;
    let pieces = query!("SELECT device_id, kind, value FROM device_evidence").fetch_all(pool).await?;
    let mut evidence = BTreeMap::<String, Evidence>::new();
    for piece in pieces {
        note(evidence.entry(piece.device_id).or_default(), &piece.kind, piece.value);
    }
    let read = devices.into_iter().map(|device| {
        let evidence = evidence.remove(&device.id).unwrap_or_default();
        device.read(evidence)
    });
    read.collect()
}

pub(crate) async fn one(pool: &Pool, id: DeviceId) -> Result<Option<DeviceRow>, Fault> {
    let mut connection = pool.acquire().await?;
    let Some(device) = select_devices!("WHERE id = $1", id.to_string()).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    let evidence = evidence_of(&mut connection, id).await?;
    device.read(evidence).map(Some)
}

pub(crate) async fn by_evidence(pool: &Pool, evidence: &Evidence) -> Result<Option<DeviceRow>, Fault> {
    let mut connection = pool.acquire().await?;
    let candidates = candidates(&mut connection, evidence).await?;
    drop(connection);
    match identity::same_device(evidence, &candidates) {
        Some(id) => one(pool, id).await,
        None => Ok(None),
    }
}

pub(crate) async fn transitions(pool: &Pool, id: DeviceId, limit: u32) -> Result<Vec<TransitionRow>, Fault> {
    let found = query!(
        "SELECT at, from_state, to_state, reason, decided_by
         FROM transitions WHERE device_id = $1 ORDER BY sequence DESC LIMIT $2",
        id.to_string(),
        i64::from(limit),
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(TransitionRow {
            at: Timestamp::from_micros(row.at),
            from: word(&row.from_state, "device state")?,
            to: word(&row.to_state, "device state")?,
            reason: row.reason,
            by: row.decided_by,
        })
    });
    read.collect()
}

pub(crate) async fn touch(tx: &mut Connection, devices: &[DeviceId], now: Timestamp) -> Result<(), Fault> {
    let devices: Vec<Only<DeviceId>> = devices.iter().map(|&id| Only { id }).collect();
    query!(
        "UPDATE devices SET last_seen_at = $2
         WHERE id IN (SELECT entry.value ->> 'id' FROM json_each(CAST($1 AS TEXT)) AS entry) AND last_seen_at < $2",
        rows(&devices)?,
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A change of a device's state.
pub(crate) struct Transition {
    pub(crate) device: DeviceId,
    pub(crate) from: DeviceState,
    pub(crate) to: DeviceState,
    pub(crate) reason: String,
    /// Nobody for the server itself.
    pub(crate) by: Option<String>,
    pub(crate) now: Timestamp,
}

pub(crate) async fn set_state(tx: &mut Connection, transition: &Transition) -> Result<bool, Fault> {
    let Transition { device, from, to, reason, by, now } = transition;
    let reason = clean(reason);
    let done = query!(
        "UPDATE devices SET state = $3, state_reason = $4 WHERE id = $1 AND state = $2",
        device.to_string(),
        from.as_str(),
        to.as_str(),
        &*reason,
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    query!(
        "INSERT INTO transitions (device_id, at, from_state, to_state, reason, decided_by) VALUES ($1, $2, $3, $4, $5, $6)",
        device.to_string(),
        now.as_micros(),
        from.as_str(),
        to.as_str(),
        &*reason,
        by.as_deref(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(true)
}

pub(crate) async fn set_labels(tx: &mut Connection, id: DeviceId, labels: &Labels) -> Result<bool, Fault> {
    let done = query!("UPDATE devices SET labels = $2 WHERE id = $1", id.to_string(), document(labels, "labels")?)
        .execute(&mut *tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn rename(tx: &mut Connection, id: DeviceId, name: &str) -> Result<bool, Fault> {
    let done = query!("UPDATE devices SET name = $2 WHERE id = $1", id.to_string(), &*clean(name))
        .execute(&mut *tx)
        .await
        .or_conflict(|| format!("another device is named {name:?}; names of devices are unique"))?;
    Ok(done.rows_affected() == 1)
}
