//! Runtime packages and the tracks that they are in.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{query, query_scalar};

use seatrial_core::digest::Digest;
use seatrial_core::ids::{ProjectId, RuntimePackageId};
use seatrial_core::model::{Manifest, ManifestEntry};
use seatrial_core::runtimes::RuntimePackage;
use seatrial_core::store::{NewRuntimePackage, PackageRow, TrackRow};
use seatrial_core::time::Timestamp;

use super::artifacts;
use super::fault::{Fault, OrConflict};
use super::rows::{clean, digest, document, integer, number, parse, rows, word};
use crate::dialect::{Connection, Pool};

/// In the place of an ABI.
const ANY_ABI: &str = "any";

#[derive(Serialize)]
struct FileRecord<'a> {
    package: RuntimePackageId,
    position: usize,
    role: &'a str,
    digest: Digest,
    size: i64,
    file_name: &'a str,
}

/// False when the newest package of the track for this ABI has the same files: nothing is stored then.
pub(crate) async fn add(tx: &mut Connection, new: &NewRuntimePackage) -> Result<bool, Fault> {
    let RuntimePackage { kind, version, abi, accelerators, formats, manifest, runtime: _ } = &new.package;
    let whose = new.package.to_string();
    let files: Vec<Digest> = manifest.entries.iter().map(|entry| entry.digest).collect();
    artifacts::require(tx, &files, &whose).await?;
    let track = track(tx, new, &whose).await?;
    let abi = abi.map_or_else(|| ANY_ABI.to_owned(), |abi| abi.to_string());
    if newest(tx, &track, &abi).await? == files {
        return Ok(false);
    }
    query!(
        "INSERT INTO runtime_packages
             (id, track_id, position, kind, version, abi, accelerators, formats, created_at, created_by)
         SELECT $1, $2, (SELECT COUNT(*) FROM runtime_packages WHERE track_id = $2), $3, $4, $5, $6, $7, $8, $9",
        new.id.to_string(),
        track,
        document(kind, "kind of a runtime package")?,
        &*clean(version),
        abi,
        document(accelerators, "accelerators")?,
        document(formats, "model formats")?,
        new.created_at.as_micros(),
        new.created_by.to_string(),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| format!("{whose} is stored already, or the principal does not exist"))?;
    let files: Vec<FileRecord<'_>> = manifest
        .entries
        .iter()
        .enumerate()
        .map(|(position, entry)| FileRecord {
            package: new.id,
            position,
            role: &entry.role,
            digest: entry.digest,
            size: integer(entry.size),
            file_name: &entry.file_name,
        })
        .collect();
    query!(
        "INSERT INTO runtime_package_files (package_id, position, role, digest, size, file_name)
         SELECT entry.value ->> 'package', CAST(entry.value ->> 'position' AS BIGINT), entry.value ->> 'role',
                unhex(entry.value ->> 'digest'), CAST(entry.value ->> 'size' AS BIGINT), entry.value ->> 'file_name'
         FROM json_each(CAST($1 AS TEXT)) AS entry",
        rows(&files)?,
    )
    .execute(&mut *tx)
    .await?;
    Ok(true)
}

/// The track's id, made when its name is new.
async fn track(tx: &mut Connection, new: &NewRuntimePackage, whose: &str) -> Result<String, Fault> {
    let id = query_scalar!(
        r#"INSERT INTO tracks (id, project_id, runtime, name, created_at) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (project_id, runtime, name) DO UPDATE SET name = excluded.name
           RETURNING id AS "id!""#,
        new.track_id.to_string(),
        new.project.to_string(),
        &*clean(&new.package.runtime),
        &*clean(&new.track),
        new.created_at.as_micros(),
    )
    .fetch_one(&mut *tx)
    .await
    .or_conflict(|| format!("a track for {whose} cannot be made: its project does not exist"))?;
    Ok(id)
}

/// The files of a track's newest package for an ABI, in order; none when there is none.
async fn newest(tx: &mut Connection, track: &str, abi: &str) -> Result<Vec<Digest>, Fault> {
    let found = query_scalar!(
        "SELECT digest FROM runtime_package_files
         WHERE package_id = (SELECT id FROM runtime_packages WHERE track_id = $1 AND abi = $2
                             ORDER BY position DESC LIMIT 1)
         ORDER BY position",
        track,
        abi,
    )
    .fetch_all(&mut *tx)
    .await?;
    found.iter().map(|bytes| digest(bytes)).collect()
}

pub(crate) async fn tracks(pool: &Pool, project: ProjectId) -> Result<Vec<TrackRow>, Fault> {
    let project = project.to_string();
    let found = query!("SELECT id, runtime, name FROM tracks WHERE project_id = $1 ORDER BY runtime, name", project)
        .fetch_all(pool)
        .await?;
    let mut packages = packages(pool, &project).await?;
    let read = found.into_iter().map(|row| {
        Ok(TrackRow { packages: packages.remove(&row.id).unwrap_or_default(), runtime: row.runtime, name: row.name })
    });
    read.collect()
}

/// By track, newest first.
async fn packages(pool: &Pool, project: &str) -> Result<HashMap<String, Vec<PackageRow>>, Fault> {
    let found = query!(
        "SELECT runtime_packages.id, track_id, runtime, runtime_packages.kind, version, abi, accelerators, formats,
                runtime_packages.created_at, principals.name AS created_by
         FROM runtime_packages
         JOIN tracks ON tracks.id = track_id
         JOIN principals ON principals.id = runtime_packages.created_by
         WHERE project_id = $1 ORDER BY track_id, position DESC",
        project,
    )
    .fetch_all(pool)
    .await?;
    let mut manifests = manifests(pool, project).await?;
    let mut all: HashMap<String, Vec<PackageRow>> = HashMap::new();
    for row in found {
        let abi = (row.abi != ANY_ABI).then(|| word(&row.abi, "ABI of a runtime package")).transpose()?;
        let package = RuntimePackage {
            runtime: row.runtime,
            kind: parse(&row.kind, "kind of a runtime package")?,
            version: row.version,
            abi,
            accelerators: parse(&row.accelerators, "accelerators")?,
            formats: parse(&row.formats, "model formats")?,
            manifest: manifests.remove(&row.id).unwrap_or_default(),
        };
        all.entry(row.track_id).or_default().push(PackageRow {
            package,
            created_at: Timestamp::from_micros(row.created_at),
            created_by: row.created_by,
        });
    }
    Ok(all)
}

async fn manifests(pool: &Pool, project: &str) -> Result<HashMap<String, Manifest>, Fault> {
    let found = query!(
        "SELECT package_id, role, digest, size, file_name
         FROM runtime_package_files
         JOIN runtime_packages ON runtime_packages.id = package_id
         JOIN tracks ON tracks.id = track_id
         WHERE project_id = $1 ORDER BY package_id, runtime_package_files.position",
        project,
    )
    .fetch_all(pool)
    .await?;
    let mut all: HashMap<String, Manifest> = HashMap::new();
    for row in found {
        all.entry(row.package_id).or_default().entries.push(ManifestEntry {
            role: row.role,
            digest: digest(&row.digest)?,
            size: number(row.size, "file size")?,
            file_name: row.file_name,
        });
    }
    Ok(all)
}
