//! Health checks of devices.

use sqlx::query;

use seatrial_core::ids::DeviceId;
use seatrial_core::lab::canary::KEPT;
use seatrial_core::store::CanaryRow;
use seatrial_core::time::Timestamp;

use super::fault::{Fault, OrConflict};
use super::rows::{clean, document, parse, word};
use crate::dialect::{Connection, Pool};

struct CanaryRecord {
    id: String,
    device_id: String,
    ended_at: i64,
    due: String,
    boot_id: String,
    fingerprint: String,
    rom: String,
    found: String,
    judgement: String,
}

impl CanaryRecord {
    fn read(self) -> Result<CanaryRow, Fault> {
        let Self { id, device_id, ended_at, due, boot_id, fingerprint, rom, found, judgement } = self;
        Ok(CanaryRow {
            id: word(&id, "id of a health check")?,
            device: word(&device_id, "device id")?,
            at: Timestamp::from_micros(ended_at),
            due: word(&due, "cause of a health check")?,
            boot_id,
            fingerprint,
            rom,
            found: parse(&found, "findings of a health check")?,
            judgement: parse(&judgement, "verdict of a health check")?,
        })
    }
}

macro_rules! select_canaries {
    ($tail:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            CanaryRecord,
            "SELECT id, device_id, ended_at, due, boot_id, fingerprint, rom, found, judgement FROM canaries " + $tail
            $(, $argument)*
        )
    };
}

fn read(found: Vec<CanaryRecord>) -> Result<Vec<CanaryRow>, Fault> {
    found.into_iter().map(CanaryRecord::read).collect()
}

pub(crate) async fn of_device(pool: &Pool, device: DeviceId, limit: u32) -> Result<Vec<CanaryRow>, Fault> {
    let found = select_canaries!(
        "WHERE device_id = $1 ORDER BY ended_at DESC, id DESC LIMIT $2",
        device.to_string(),
        i64::from(limit)
    );
    read(found.fetch_all(pool).await?)
}

pub(crate) async fn last(pool: &Pool) -> Result<Vec<CanaryRow>, Fault> {
    let found = select_canaries!(
        "WHERE NOT EXISTS (
             SELECT 1 FROM canaries AS later
             WHERE later.device_id = canaries.device_id
               AND (later.ended_at > canaries.ended_at OR (later.ended_at = canaries.ended_at AND later.id > canaries.id))
         )
         ORDER BY device_id"
    );
    read(found.fetch_all(pool).await?)
}

pub(crate) async fn add(tx: &mut Connection, canary: &CanaryRow) -> Result<(), Fault> {
    let CanaryRow { id, device, at, due, boot_id, fingerprint, rom, found, judgement } = canary;
    query!(
        "INSERT INTO canaries (id, device_id, ended_at, due, boot_id, fingerprint, rom, health, found, judgement)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO NOTHING",
        id.to_string(),
        device.to_string(),
        at.as_micros(),
        due.as_str(),
        &*clean(boot_id),
        &*clean(fingerprint),
        &*clean(rom),
        judgement.health.as_str(),
        document(found, "findings of a health check")?,
        document(judgement, "verdict of a health check")?,
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| format!("there is no device {device}"))?;
    query!(
        "DELETE FROM canaries WHERE device_id = $1 AND id NOT IN (
             SELECT id FROM canaries WHERE device_id = $1 ORDER BY ended_at DESC, id DESC LIMIT $2
         )",
        device.to_string(),
        i64::from(KEPT),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
