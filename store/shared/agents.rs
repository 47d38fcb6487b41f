//! Builds of the agent, newest of each ABI for the devices.

use sqlx::{query, query_scalar};

use seatrial_core::agents::AgentBuild;
use seatrial_core::digest::Digest;
use seatrial_core::store::{AGENT_BUILDS, AgentBuildRow, NewAgentBuild};
use seatrial_core::time::Timestamp;

use super::artifacts;
use super::fault::{Fault, OrConflict};
use super::rows::{clean, digest, integer, number, word};
use crate::dialect::{Connection, Pool};

pub(crate) async fn add(tx: &mut Connection, new: &NewAgentBuild) -> Result<bool, Fault> {
    let AgentBuild { abi, version, digest, size } = &new.build;
    let whose = format!("the agent {version} for {abi}");
    artifacts::require(tx, &[*digest], &whose).await?;
    let abi = abi.to_string();
    let newest = query_scalar!("SELECT digest FROM agent_builds WHERE abi = $1 ORDER BY position DESC LIMIT 1", abi)
        .fetch_optional(&mut *tx)
        .await?;
    if newest.is_some_and(|newest| newest == digest.as_bytes()) {
        return Ok(false);
    }
    query!(
        "INSERT INTO agent_builds (abi, position, version, digest, size, created_at, created_by)
         VALUES ($1, (SELECT COALESCE(MAX(position), 0) + 1 FROM agent_builds WHERE abi = $1), $2, $3, $4, $5, $6)",
        abi,
        &*clean(version),
        digest.as_bytes().as_slice(),
        integer(*size),
        new.created_at.as_micros(),
        new.created_by.to_string(),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| format!("{whose} cannot be stored: the principal does not exist"))?;
    query!(
        "DELETE FROM agent_builds
         WHERE abi = $1 AND position <= (SELECT MAX(position) FROM agent_builds WHERE abi = $1) - $2",
        abi,
        i64::from(AGENT_BUILDS),
    )
    .execute(&mut *tx)
    .await?;
    Ok(true)
}

pub(crate) async fn all(pool: &Pool) -> Result<Vec<AgentBuildRow>, Fault> {
    let found = query!(
        "SELECT abi, version, digest, size, agent_builds.created_at, principals.name AS created_by
         FROM agent_builds JOIN principals ON principals.id = agent_builds.created_by
         ORDER BY abi, position DESC",
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(AgentBuildRow {
            build: AgentBuild {
                abi: word(&row.abi, "ABI of an agent")?,
                version: row.version,
                digest: digest(&row.digest)?,
                size: number(row.size, "size of an agent")?,
            },
            created_by: row.created_by,
            created_at: Timestamp::from_micros(row.created_at),
        })
    });
    read.collect()
}

pub(crate) async fn is_newest(pool: &Pool, digest: &Digest) -> Result<bool, Fault> {
    let found = query_scalar!(
        "SELECT size FROM agent_builds AS build
         WHERE digest = $1 AND position = (SELECT MAX(position) FROM agent_builds WHERE abi = build.abi)
         LIMIT 1",
        digest.as_bytes().as_slice(),
    )
    .fetch_optional(pool)
    .await?;
    Ok(found.is_some())
}
