//! Projects, principals, tokens, enrolments, audit.

use serde::Serialize;
use sqlx::{query, query_scalar};

use seatrial_core::digest::Digest;
use seatrial_core::ids::{AuditId, DeviceId, PrincipalId, ProjectId, TokenId};
use seatrial_core::role::Role;
use seatrial_core::store::{AuditEntry, AuditRow, Bootstrap, BootstrapSeed, NewEnrolment, NewToken, TokenRow};
use seatrial_core::time::Timestamp;

use super::fault::{Fault, OrConflict};
use super::rows::{clean, digest, rows, word};
use crate::dialect::{Connection, Pool};

pub(crate) async fn bootstrap(tx: &mut Connection, seed: &BootstrapSeed) -> Result<Bootstrap, Fault> {
    query!(
        "INSERT INTO projects (id, name, created_at) VALUES ($1, 'default', $2) ON CONFLICT (name) DO NOTHING",
        seed.project.to_string(),
        seed.now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    let project = query_scalar!("SELECT id FROM projects WHERE name = 'default'").fetch_one(&mut *tx).await?;
    let principal = principal_of_name(tx, seed.principal, &seed.user, seed.now).await?;
    Ok(Bootstrap { project: word(&project, "project id")?, principal })
}

/// The principal of this name, made when there is none.
async fn principal_of_name(
    tx: &mut Connection,
    fresh: PrincipalId,
    name: &str,
    now: Timestamp,
) -> Result<PrincipalId, Fault> {
    let name = clean(name);
    query!(
        "INSERT INTO principals (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        fresh.to_string(),
        &*name,
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    let id = query_scalar!("SELECT id FROM principals WHERE name = $1", &*name).fetch_one(&mut *tx).await?;
    word(&id, "principal id")
}

pub(crate) async fn create_token(tx: &mut Connection, token: &NewToken) -> Result<(), Fault> {
    let principal = principal_of_name(tx, token.principal, &token.name, token.created_at).await?;
    query!(
        "INSERT INTO tokens (id, principal_id, project_id, name, role, hash, device_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        token.id.to_string(),
        principal.to_string(),
        token.project.to_string(),
        &*clean(&token.name),
        token.role.as_str(),
        token.hash.as_bytes().as_slice(),
        token.device.map(|device| device.to_string()),
        token.created_at.as_micros(),
        token.expires_at.map(Timestamp::as_micros),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| {
        format!("token {:?} cannot be stored: its secret is taken or its project does not exist", token.name)
    })?;
    Ok(())
}

struct TokenRecord {
    id: String,
    principal_id: String,
    project_id: String,
    name: String,
    role: String,
    device_id: Option<String>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl TokenRecord {
    fn read(self) -> Result<TokenRow, Fault> {
        let Self { id, principal_id, project_id, name, role, device_id, created_at, expires_at, revoked_at } = self;
        Ok(TokenRow {
            id: word(&id, "token id")?,
            principal: word(&principal_id, "principal id")?,
            project: word(&project_id, "project id")?,
            name,
            role: word(&role, "role")?,
            device: device_id.map(|device| word(&device, "device id")).transpose()?,
            created_at: Timestamp::from_micros(created_at),
            expires_at: expires_at.map(Timestamp::from_micros),
            revoked_at: revoked_at.map(Timestamp::from_micros),
        })
    }
}

macro_rules! select_tokens {
    ($tail:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            TokenRecord,
            "SELECT id, principal_id, project_id, name, role, device_id, created_at, expires_at, revoked_at FROM tokens "
                + $tail
            $(, $argument)*
        )
    };
}

pub(crate) async fn token_by_hash(pool: &Pool, hash: &Digest) -> Result<Option<TokenRow>, Fault> {
    let found = select_tokens!("WHERE hash = $1", hash.as_bytes().as_slice()).fetch_optional(pool).await?;
    found.map(TokenRecord::read).transpose()
}

pub(crate) async fn tokens(pool: &Pool) -> Result<Vec<TokenRow>, Fault> {
    select_tokens!("ORDER BY id").fetch_all(pool).await?.into_iter().map(TokenRecord::read).collect()
}

pub(crate) async fn revoke_token(tx: &mut Connection, id: TokenId, now: Timestamp) -> Result<bool, Fault> {
    let done = query!(
        "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        id.to_string(),
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn bind_token(tx: &mut Connection, token: TokenId, device: DeviceId) -> Result<bool, Fault> {
    let done = query!(
        "UPDATE tokens SET device_id = $2 WHERE id = $1 AND (device_id IS NULL OR device_id = $2)",
        token.to_string(),
        device.to_string(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn has_people(pool: &Pool, now: Timestamp) -> Result<bool, Fault> {
    let found = query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM tokens
               WHERE role <> $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
           ) AS "any!: bool""#,
        Role::Agent.as_str(),
        now.as_micros(),
    );
    Ok(found.fetch_one(pool).await?)
}

pub(crate) async fn knows_people(pool: &Pool) -> Result<bool, Fault> {
    let known = query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM tokens WHERE role <> 'agent') AS "any!: bool""#);
    Ok(known.fetch_one(pool).await?)
}

pub(crate) async fn create_enrolment(tx: &mut Connection, enrolment: &NewEnrolment) -> Result<(), Fault> {
    query!(
        "INSERT INTO enrolments (id, project_id, created_by, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        enrolment.id.to_string(),
        enrolment.project.to_string(),
        enrolment.created_by.to_string(),
        enrolment.hash.as_bytes().as_slice(),
        enrolment.created_at.as_micros(),
        enrolment.expires_at.as_micros(),
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| "the enrolment cannot be stored: its secret is taken, or its project or principal does not exist".to_owned())?;
    Ok(())
}

pub(crate) async fn use_enrolment(
    tx: &mut Connection,
    hash: &Digest,
    token: &NewToken,
    now: Timestamp,
) -> Result<bool, Fault> {
    let used = query_scalar!(
        "UPDATE enrolments SET used_at = $2 WHERE hash = $1 AND used_at IS NULL AND expires_at > $2 RETURNING id",
        hash.as_bytes().as_slice(),
        now.as_micros(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(id) = used else { return Ok(false) };
    create_token(tx, token).await?;
    query!("UPDATE enrolments SET token_id = $2 WHERE id = $1", id, token.id.to_string()).execute(&mut *tx).await?;
    Ok(true)
}

#[derive(Serialize)]
struct AuditRecord<'a> {
    id: AuditId,
    at: Timestamp,
    principal: PrincipalId,
    project: ProjectId,
    action: std::borrow::Cow<'a, str>,
    object: std::borrow::Cow<'a, str>,
    allowed: bool,
    before: Option<Digest>,
    after: Option<Digest>,
}

impl<'a> From<&'a AuditRow> for AuditRecord<'a> {
    fn from(row: &'a AuditRow) -> Self {
        let AuditRow { id, at, principal, project, action, object, allowed, before, after } = row;
        Self {
            id: *id,
            at: *at,
            principal: *principal,
            project: *project,
            action: clean(action),
            object: clean(object),
            allowed: *allowed,
            before: *before,
            after: *after,
        }
    }
}

pub(crate) async fn append_audit(tx: &mut Connection, entries: &[Vec<AuditRow>]) -> Result<Vec<()>, Fault> {
    let records: Vec<AuditRecord<'_>> = entries.iter().flatten().map(AuditRecord::from).collect();
    query!(
        "INSERT INTO audit (id, at, principal_id, project_id, action, object, allowed, before_digest, after_digest)
         SELECT entry.value ->> 'id', CAST(entry.value ->> 'at' AS BIGINT), entry.value ->> 'principal',
                entry.value ->> 'project', entry.value ->> 'action', entry.value ->> 'object',
                CAST(entry.value ->> 'allowed' AS BOOLEAN), unhex(entry.value ->> 'before'), unhex(entry.value ->> 'after')
         FROM json_each(CAST($1 AS TEXT)) AS entry",
        rows(&records)?,
    )
    .execute(&mut *tx)
    .await?;
    Ok(vec![(); entries.len()])
}

/// Comes after every id.
const BEYOND: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

pub(crate) async fn audit(
    pool: &Pool,
    project: ProjectId,
    before: Option<AuditId>,
    limit: u32,
) -> Result<Vec<AuditEntry>, Fault> {
    let before = before.map_or_else(|| BEYOND.to_owned(), |id| id.to_string());
    let found = query!(
        r#"SELECT audit.id, at, principal_id, principals.name AS "by?", project_id, action, object, allowed,
                  before_digest, after_digest
           FROM audit LEFT JOIN principals ON principals.id = audit.principal_id
           WHERE project_id = $1 AND audit.id < $2 ORDER BY audit.id DESC LIMIT $3"#,
        project.to_string(),
        before,
        i64::from(limit),
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|found| {
        let row = AuditRow {
            id: word(&found.id, "audit id")?,
            at: Timestamp::from_micros(found.at),
            principal: word(&found.principal_id, "principal id")?,
            project: word(&found.project_id, "project id")?,
            action: found.action,
            object: found.object,
            allowed: found.allowed,
            before: found.before_digest.as_deref().map(digest).transpose()?,
            after: found.after_digest.as_deref().map(digest).transpose()?,
        };
        Ok(AuditEntry { row, by: found.by })
    });
    read.collect()
}

pub(crate) async fn take_lease(
    tx: &mut Connection,
    name: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, Fault> {
    let done = query!(
        "INSERT INTO reconciler_leases (name, holder, held_until) VALUES ($1, $2, $4)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
         WHERE reconciler_leases.holder = excluded.holder OR reconciler_leases.held_until <= $3",
        name,
        holder,
        now.as_micros(),
        until.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
