//! Models: versions with their variants, manifests and bindings, and the aliases that point at versions.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{query, query_scalar};

use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::ids::{DatasetVersionId, ModelVersionId, PrincipalId, ProjectId, VariantId};
use seatrial_core::model::{Manifest, ManifestEntry, Signature, SignatureStanding};
use seatrial_core::store::{AliasRow, ModelDetail, ModelRow, NewModelVersion, VariantRow, VersionRow};
use seatrial_core::time::Timestamp;

use super::artifacts;
use super::fault::{Fault, OrConflict};
use super::rows::{clean, clean_some, document, integer, number, parse, rows, word};
use crate::dialect::{Connection, Pool};

/// The alias that every new version takes.
const LATEST: &str = "latest";

pub(crate) async fn add_version(tx: &mut Connection, new: &NewModelVersion) -> Result<u32, Fault> {
    let whose = format!("model {:?}", new.name);
    let files: Vec<Digest> =
        new.variants.iter().flat_map(|variant| &variant.manifest.entries).map(|entry| entry.digest).collect();
    artifacts::require(tx, &files, &whose).await?;
    let (model, version) = next_version(tx, new, &whose).await?;
    query!(
        "INSERT INTO model_versions (id, model_id, number, parent, source_commit, build_address, labels, origin, license,
                                     created_at, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        new.id.to_string(),
        model,
        version,
        new.parent.map(i64::from),
        clean_some(new.commit.as_ref()),
        clean_some(new.build_address.as_ref()),
        document(&new.labels, "labels")?,
        clean_some(new.origin.as_ref()),
        clean_some(new.license.as_ref()),
        new.created_at.as_micros(),
        new.created_by.to_string(),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| match new.parent {
        Some(parent) => format!("{whose} has no version {parent} to be the parent, or the principal does not exist"),
        None => format!("the version of {whose} is stored already, or the principal does not exist"),
    })?;
    add_variants(tx, new, &whose).await?;
    add_bindings(tx, new, &whose).await?;
    let moved =
        Move { model: &model, alias: LATEST, version: &new.id.to_string(), by: new.created_by, now: new.created_at };
    point(tx, &moved).await?;
    number(version, "version number")
}

/// The model's id, made when its name is new, and the number of its next version.
async fn next_version(tx: &mut Connection, new: &NewModelVersion, whose: &str) -> Result<(String, i64), Fault> {
    let row = query!(
        r#"INSERT INTO models (id, project_id, name, last_version, created_at, updated_at) VALUES ($1, $2, $3, 1, $4, $4)
           ON CONFLICT (project_id, name)
           DO UPDATE SET last_version = models.last_version + 1, updated_at = excluded.updated_at
           RETURNING id AS "id!", last_version AS "last_version!""#,
        new.model.to_string(),
        new.project.to_string(),
        &*clean(&new.name),
        new.created_at.as_micros(),
    )
    .fetch_one(&mut *tx)
    .await
    .or_conflict(|| format!("{whose} cannot be made: its project does not exist"))?;
    Ok((row.id, row.last_version))
}

#[derive(Serialize)]
struct FileRecord<'a> {
    variant: VariantId,
    position: usize,
    role: &'a str,
    digest: Digest,
    size: i64,
    file_name: &'a str,
}

async fn add_variants(tx: &mut Connection, new: &NewModelVersion, whose: &str) -> Result<(), Fault> {
    let mut files = Vec::new();
    for (position, variant) in new.variants.iter().enumerate() {
        query!(
            "INSERT INTO variants (id, version_id, position, name, format, precision, signature, standing)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'claimed')",
            variant.id.to_string(),
            new.id.to_string(),
            position as i64,
            &*clean(&variant.name),
            variant.format.as_str(),
            variant.precision.as_str(),
            document(&variant.signature, "signature")?,
        )
        .execute(&mut *tx)
        .await
        .or_conflict(|| format!("{whose} has two variants named {:?}", variant.name))?;
        files.extend(variant.manifest.entries.iter().enumerate().map(|(position, entry)| FileRecord {
            variant: variant.id,
            position,
            role: &entry.role,
            digest: entry.digest,
            size: integer(entry.size),
            file_name: &entry.file_name,
        }));
    }
    query!(
        "INSERT INTO variant_files (variant_id, position, role, digest, size, file_name)
         SELECT entry.value ->> 'variant', CAST(entry.value ->> 'position' AS BIGINT), entry.value ->> 'role',
                unhex(entry.value ->> 'digest'), CAST(entry.value ->> 'size' AS BIGINT), entry.value ->> 'file_name'
         FROM json_each(CAST($1 AS TEXT)) AS entry",
        rows(&files)?,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn add_bindings(tx: &mut Connection, new: &NewModelVersion, whose: &str) -> Result<(), Fault> {
    for binding in &new.bindings {
        query!(
            "INSERT INTO bindings (id, version_id, dataset_name, document) VALUES ($1, $2, $3, $4)",
            binding.id.to_string(),
            new.id.to_string(),
            clean_some(binding.dataset.as_ref()),
            document(&binding.binding, "binding")?,
        )
        .execute(&mut *tx)
        .await
        .or_conflict(|| {
            format!("{whose} has two bindings for {}", binding.dataset.as_deref().unwrap_or("any dataset"))
        })?;
    }
    Ok(())
}

struct Move<'a> {
    model: &'a str,
    alias: &'a str,
    /// Id of the version.
    version: &'a str,
    by: PrincipalId,
    now: Timestamp,
}

async fn point(tx: &mut Connection, moved: &Move<'_>) -> Result<(), Fault> {
    let Move { model, alias, version, by, now } = *moved;
    query!(
        "INSERT INTO aliases (model_id, name, version_id, moved_at, moved_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (model_id, name) DO UPDATE
         SET version_id = excluded.version_id, moved_at = excluded.moved_at, moved_by = excluded.moved_by",
        model,
        alias,
        version,
        now.as_micros(),
        by.to_string(),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| format!("alias {alias:?} cannot be moved: the principal does not exist"))?;
    query!(
        "INSERT INTO alias_moves (model_id, name, version_id, moved_at, moved_by) VALUES ($1, $2, $3, $4, $5)",
        model,
        alias,
        version,
        now.as_micros(),
        by.to_string(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A wish to point an alias at a version.
pub(crate) struct MoveAlias {
    pub(crate) project: ProjectId,
    pub(crate) model: String,
    pub(crate) alias: String,
    pub(crate) version: u32,
    pub(crate) by: PrincipalId,
    pub(crate) now: Timestamp,
}

pub(crate) async fn move_alias(tx: &mut Connection, wish: &MoveAlias) -> Result<bool, Fault> {
    let found = query!(
        "SELECT models.id AS model, model_versions.id AS version
         FROM models JOIN model_versions ON model_versions.model_id = models.id
         WHERE models.project_id = $1 AND models.name = $2 AND model_versions.number = $3",
        wish.project.to_string(),
        &*clean(&wish.model),
        i64::from(wish.version),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(found) = found else { return Ok(false) };
    let alias = clean(&wish.alias);
    point(tx, &Move { model: &found.model, alias: &alias, version: &found.version, by: wish.by, now: wish.now })
        .await?;
    Ok(true)
}

pub(crate) async fn settle_signature(
    tx: &mut Connection,
    variant: VariantId,
    standing: SignatureStanding,
    found: Option<&Signature>,
) -> Result<bool, Fault> {
    let found = found.map(|signature| document(signature, "signature")).transpose()?;
    let done = query!(
        "UPDATE variants SET standing = $2, signature = COALESCE($3, signature) WHERE id = $1 AND standing = 'claimed'",
        variant.to_string(),
        standing.as_str(),
        found,
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<ModelRow>, Fault> {
    let models = query!(
        r#"SELECT models.id, models.name, models.last_version, models.created_at, models.updated_at,
                  latest.number AS "latest?: i64"
           FROM models
           LEFT JOIN aliases ON aliases.model_id = models.id AND aliases.name = 'latest'
           LEFT JOIN model_versions AS latest ON latest.id = aliases.version_id
           WHERE models.project_id = $1 ORDER BY models.name"#,
        project.to_string(),
    )
    .fetch_all(pool)
    .await?;
    let named = query!(
        "SELECT aliases.model_id, variants.name
         FROM models
         JOIN aliases ON aliases.model_id = models.id AND aliases.name = 'latest'
         JOIN variants ON variants.version_id = aliases.version_id
         WHERE models.project_id = $1 ORDER BY variants.position",
        project.to_string(),
    )
    .fetch_all(pool)
    .await?;
    let mut variants = HashMap::<String, Vec<String>>::new();
    for row in named {
        variants.entry(row.model_id).or_default().push(row.name);
    }
    let read = models.into_iter().map(|row| {
        Ok(ModelRow {
            variants: variants.remove(&row.id).unwrap_or_default(),
            id: word(&row.id, "model id")?,
            name: row.name,
            versions: number(row.last_version, "version number")?,
            latest: number(row.latest.unwrap_or(row.last_version), "version number")?,
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
        })
    });
    read.collect()
}

pub(crate) async fn one(pool: &Pool, project: ProjectId, name: &str) -> Result<Option<ModelDetail>, Fault> {
    let mut connection = pool.acquire().await?;
    let found =
        query_scalar!("SELECT id FROM models WHERE project_id = $1 AND name = $2", project.to_string(), &*clean(name))
            .fetch_optional(&mut *connection)
            .await?;
    let Some(model) = found else { return Ok(None) };
    let mut variants = variants(&mut connection, &model).await?;
    let mut bindings = bindings(&mut connection, &model).await?;
    let found = query!(
        "SELECT model_versions.id, number, parent, source_commit, build_address, labels, origin, license,
                model_versions.created_at, principals.name AS created_by
         FROM model_versions JOIN principals ON principals.id = model_versions.created_by
         WHERE model_id = $1 ORDER BY number DESC",
        model,
    )
    .fetch_all(&mut *connection)
    .await?;
    let versions = found.into_iter().map(|row| {
        Ok(VersionRow {
            variants: variants.remove(&row.id).unwrap_or_default(),
            bindings: bindings.remove(&row.id).unwrap_or_default(),
            id: word(&row.id, "model version id")?,
            number: number(row.number, "version number")?,
            parent: row.parent.map(|parent| number(parent, "version number")).transpose()?,
            commit: row.source_commit,
            build_address: row.build_address,
            labels: parse(&row.labels, "labels")?,
            origin: row.origin,
            license: row.license,
            created_at: Timestamp::from_micros(row.created_at),
            created_by: row.created_by,
        })
    });
    Ok(Some(ModelDetail {
        id: word(&model, "model id")?,
        name: name.to_owned(),
        versions: versions.collect::<Result<_, Fault>>()?,
        aliases: aliases(&mut connection, &model).await?,
    }))
}

async fn aliases(connection: &mut Connection, model: &str) -> Result<Vec<AliasRow>, Fault> {
    let found = query!(
        "SELECT aliases.name, model_versions.number, aliases.moved_at, principals.name AS moved_by
         FROM aliases
         JOIN model_versions ON model_versions.id = aliases.version_id
         JOIN principals ON principals.id = aliases.moved_by
         WHERE aliases.model_id = $1 ORDER BY aliases.name",
        model,
    )
    .fetch_all(connection)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(AliasRow {
            alias: row.name,
            version: number(row.number, "version number")?,
            moved_at: Timestamp::from_micros(row.moved_at),
            moved_by: row.moved_by,
        })
    });
    read.collect()
}

/// Variants of every version of a model, by version.
async fn variants(connection: &mut Connection, model: &str) -> Result<HashMap<String, Vec<VariantRow>>, Fault> {
    let mut manifests = manifests(connection, model).await?;
    let found = query!(
        "SELECT variants.id, version_id, name, format, precision, signature, standing
         FROM variants JOIN model_versions ON model_versions.id = variants.version_id
         WHERE model_id = $1 ORDER BY position",
        model,
    )
    .fetch_all(connection)
    .await?;
    let mut variants = HashMap::<String, Vec<VariantRow>>::new();
    for row in found {
        variants.entry(row.version_id).or_default().push(VariantRow {
            manifest: manifests.remove(&row.id).unwrap_or_default(),
            id: word(&row.id, "variant id")?,
            name: row.name,
            format: word(&row.format, "model format")?,
            precision: word(&row.precision, "precision")?,
            signature: parse(&row.signature, "signature")?,
            standing: standing(&row.standing)?,
        });
    }
    Ok(variants)
}

async fn manifests(connection: &mut Connection, model: &str) -> Result<HashMap<String, Manifest>, Fault> {
    let found = query!(
        "SELECT variant_files.variant_id, role, digest, size, file_name
         FROM model_versions
         JOIN variants ON variants.version_id = model_versions.id
         JOIN variant_files ON variant_files.variant_id = variants.id
         WHERE model_id = $1 ORDER BY variant_files.variant_id, variant_files.position",
        model,
    )
    .fetch_all(connection)
    .await?;
    let mut manifests = HashMap::<String, Manifest>::new();
    for row in found {
        manifests.entry(row.variant_id).or_default().entries.push(ManifestEntry {
            role: row.role,
            digest: super::rows::digest(&row.digest)?,
            size: number(row.size, "file size")?,
            file_name: row.file_name,
        });
    }
    Ok(manifests)
}

type Bindings = Vec<(Option<String>, Binding)>;

async fn bindings(connection: &mut Connection, model: &str) -> Result<HashMap<String, Bindings>, Fault> {
    let found = query!(
        "SELECT version_id, dataset_name, document
         FROM bindings JOIN model_versions ON model_versions.id = bindings.version_id
         WHERE model_id = $1 ORDER BY bindings.id",
        model,
    )
    .fetch_all(connection)
    .await?;
    let mut bindings = HashMap::<String, Bindings>::new();
    for row in found {
        bindings.entry(row.version_id).or_default().push((row.dataset_name, parse(&row.document, "binding")?));
    }
    Ok(bindings)
}

fn standing(text: &str) -> Result<SignatureStanding, Fault> {
    [SignatureStanding::Claimed, SignatureStanding::Confirmed, SignatureStanding::Refused]
        .into_iter()
        .find(|standing| standing.as_str() == text)
        .ok_or_else(|| Fault::corrupt("signature standing", format!("{text:?} is not one")))
}

pub(crate) async fn binding(
    pool: &Pool,
    version: ModelVersionId,
    dataset: Option<DatasetVersionId>,
) -> Result<Option<Binding>, Fault> {
    let found = query_scalar!(
        "SELECT document FROM bindings
         WHERE version_id = $1
           AND (dataset_name IS NULL OR dataset_name = (
               SELECT datasets.name FROM dataset_versions JOIN datasets ON datasets.id = dataset_versions.dataset_id
               WHERE dataset_versions.id = $2))
         ORDER BY CASE WHEN dataset_name IS NULL THEN 1 ELSE 0 END LIMIT 1",
        version.to_string(),
        dataset.map(|dataset| dataset.to_string()),
    )
    .fetch_optional(pool)
    .await?;
    found.map(|document| parse(&document, "binding")).transpose()
}
