//! Datasets and their versions.

use sqlx::{query, query_scalar};

use seatrial_core::ids::ProjectId;
use seatrial_core::store::{DatasetDetail, DatasetRow, DatasetVersionRow, NewDatasetVersion};
use seatrial_core::time::Timestamp;

use super::artifacts;
use super::fault::{Fault, OrConflict};
use super::rows::{clean, clean_some, digest, document, integer, number, parse, word};
use crate::dialect::{Connection, Pool};

pub(crate) async fn add_version(tx: &mut Connection, new: &NewDatasetVersion) -> Result<u32, Fault> {
    let whose = format!("dataset {:?}", new.name);
    artifacts::require(tx, &[new.digest], &whose).await?;
    let row = query!(
        r#"INSERT INTO datasets (id, project_id, name, last_version, created_at) VALUES ($1, $2, $3, 1, $4)
           ON CONFLICT (project_id, name) DO UPDATE SET last_version = datasets.last_version + 1
           RETURNING id AS "id!", last_version AS "last_version!""#,
        new.dataset.to_string(),
        new.project.to_string(),
        &*clean(&new.name),
        new.created_at.as_micros(),
    )
    .fetch_one(&mut *tx)
    .await
    .or_conflict(|| format!("{whose} cannot be made: its project does not exist"))?;
    query!(
        "INSERT INTO dataset_versions (id, dataset_id, number, digest, size, task, examples, classes, origin, license,
                                       created_at, created_by, scorer)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        new.id.to_string(),
        row.id,
        row.last_version,
        new.digest.as_bytes().as_slice(),
        integer(new.size),
        new.task.as_str(),
        i64::from(new.examples),
        document(&new.classes, "classes")?,
        clean_some(new.origin.as_ref()),
        clean_some(new.license.as_ref()),
        new.created_at.as_micros(),
        new.created_by.to_string(),
        new.scorer.as_ref().map(|scorer| document(scorer, "scorer")).transpose()?,
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| format!("the version of {whose} is stored already, or the principal does not exist"))?;
    number(row.last_version, "version number")
}

pub(crate) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<DatasetRow>, Fault> {
    let found = query!(
        "SELECT datasets.id, name, last_version, task, examples, size, classes, datasets.created_at
         FROM datasets
         JOIN dataset_versions ON dataset_versions.dataset_id = datasets.id AND number = last_version
         WHERE project_id = $1 ORDER BY name",
        project.to_string(),
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        let classes: Vec<String> = parse(&row.classes, "classes")?;
        Ok(DatasetRow {
            id: word(&row.id, "dataset id")?,
            name: row.name,
            versions: number(row.last_version, "version number")?,
            task: word(&row.task, "task")?,
            examples: number(row.examples, "number of examples")?,
            size: number(row.size, "dataset size")?,
            classes: classes.len() as u32,
            created_at: Timestamp::from_micros(row.created_at),
        })
    });
    read.collect()
}

pub(crate) async fn one(pool: &Pool, project: ProjectId, name: &str) -> Result<Option<DatasetDetail>, Fault> {
    let found = query_scalar!(
        "SELECT id FROM datasets WHERE project_id = $1 AND name = $2",
        project.to_string(),
        &*clean(name)
    )
    .fetch_optional(pool)
    .await?;
    let Some(dataset) = found else { return Ok(None) };
    let found = query!(
        "SELECT dataset_versions.id, number, digest, size, task, examples, classes, scorer, origin, license,
                dataset_versions.created_at, principals.name AS created_by
         FROM dataset_versions JOIN principals ON principals.id = dataset_versions.created_by
         WHERE dataset_id = $1 ORDER BY number DESC",
        dataset,
    )
    .fetch_all(pool)
    .await?;
    let versions = found.into_iter().map(|row| {
        Ok(DatasetVersionRow {
            id: word(&row.id, "dataset version id")?,
            number: number(row.number, "version number")?,
            digest: digest(&row.digest)?,
            size: number(row.size, "dataset size")?,
            task: word(&row.task, "task")?,
            examples: number(row.examples, "number of examples")?,
            classes: parse(&row.classes, "classes")?,
            scorer: row.scorer.as_deref().map(|scorer| parse(scorer, "scorer")).transpose()?,
            origin: row.origin,
            license: row.license,
            created_at: Timestamp::from_micros(row.created_at),
            created_by: row.created_by,
        })
    });
    let versions = versions.collect::<Result<_, Fault>>()?;
    Ok(Some(DatasetDetail { id: word(&dataset, "dataset id")?, name: name.to_owned(), versions }))
}
