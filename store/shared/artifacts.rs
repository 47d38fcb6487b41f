//! Artifacts: which bytes are in place, and which of them nothing holds.

use sqlx::{query, query_scalar};

use seatrial_core::digest::Digest;
use seatrial_core::time::Timestamp;

use super::fault::Fault;
use super::rows::{Only, digest, integer, number, rows};
use crate::dialect::{Connection, Pool};

/// Recording an artifact again makes it young again, so that it outlives the upload of what will hold it.
pub(crate) async fn put(tx: &mut Connection, artifact: &Digest, size: u64, now: Timestamp) -> Result<(), Fault> {
    query!(
        "INSERT INTO artifacts (digest, size, recorded_at) VALUES ($1, $2, $3)
         ON CONFLICT (digest) DO UPDATE SET recorded_at = excluded.recorded_at",
        artifact.as_bytes().as_slice(),
        integer(size),
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

pub(crate) async fn present(pool: &Pool, digests: &[Digest]) -> Result<Vec<Digest>, Fault> {
    let mut connection = pool.acquire().await?;
    present_in(&mut connection, digests).await
}

pub(crate) async fn present_in(connection: &mut Connection, digests: &[Digest]) -> Result<Vec<Digest>, Fault> {
    let asked: Vec<Only<Digest>> = digests.iter().map(|&id| Only { id }).collect();
    let found = query_scalar!(
        "SELECT digest FROM artifacts
         WHERE digest IN (SELECT unhex(entry.value ->> 'id') FROM json_each(CAST($1 AS TEXT)) AS entry)",
        rows(&asked)?,
    )
    .fetch_all(connection)
    .await?;
    found.iter().map(|bytes| digest(bytes)).collect()
}

pub(crate) async fn size(pool: &Pool, artifact: &Digest) -> Result<Option<u64>, Fault> {
    let found = query_scalar!("SELECT size FROM artifacts WHERE digest = $1", artifact.as_bytes().as_slice())
        .fetch_optional(pool)
        .await?;
    found.map(|size| number(size, "artifact size")).transpose()
}

/// A job that is not over holds its variant and its dataset version, which hold their artifacts.
pub(crate) async fn unreferenced(pool: &Pool, before: Timestamp, limit: u32) -> Result<Vec<(Digest, u64)>, Fault> {
    let found = query!(
        "SELECT digest, size FROM artifacts
         WHERE recorded_at < $1
           AND NOT EXISTS (SELECT 1 FROM variant_files WHERE variant_files.digest = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM dataset_versions WHERE dataset_versions.digest = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM runtime_package_files WHERE runtime_package_files.digest = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM agent_builds WHERE agent_builds.digest = artifacts.digest)
         ORDER BY recorded_at LIMIT $2",
        before.as_micros(),
        i64::from(limit),
    )
    .fetch_all(pool)
    .await?;
    found.into_iter().map(|row| Ok((digest(&row.digest)?, number(row.size, "artifact size")?))).collect()
}

pub(crate) async fn forget(tx: &mut Connection, artifact: &Digest) -> Result<bool, Fault> {
    let done = query!(
        "DELETE FROM artifacts
         WHERE digest = $1
           AND NOT EXISTS (SELECT 1 FROM variant_files WHERE variant_files.digest = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM dataset_versions WHERE dataset_versions.digest = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM runtime_package_files WHERE runtime_package_files.digest = artifacts.digest)
           AND NOT EXISTS (SELECT 1 FROM agent_builds WHERE agent_builds.digest = artifacts.digest)",
        artifact.as_bytes().as_slice(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Refuses to refer to bytes that are not there.
pub(crate) async fn require(connection: &mut Connection, digests: &[Digest], whose: &str) -> Result<(), Fault> {
    let present = present_in(connection, digests).await?;
    match digests.iter().find(|digest| !present.contains(digest)) {
        Some(missing) => {
            Err(Fault::Conflict(format!("artifact {missing} of {whose} is not in the store; upload it first")))
        }
        None => Ok(()),
    }
}
