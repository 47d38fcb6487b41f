//! The store, written once and compiled twice: this folder is a module of the SQLite crate and of the PostgreSQL crate,
//! and every statement is checked against either database when it is built.
//!
//! What makes one text fit both: ids, words and documents are text, times are microseconds in `BIGINT`, digests are
//! bytes; many rows travel as one JSON array through `json_each`; status changes are compare-and-set. What differs is
//! in `crate::dialect`, never in an `if`.

mod agents;
mod artifacts;
mod canaries;
mod datasets;
mod devices;
mod evidence;
pub(crate) mod fault;
mod job_rows;
mod jobs;
mod models;
mod people;
mod quarantines;
mod read;
mod rows;
mod runs;
mod runtimes;
mod services;
mod write;
mod writer;

use seatrial_core::store::{Result, StoreError};

use crate::dialect::{self, MIGRATOR, Options, Pool};
use fault::Fault;
use writer::{Link, Writer};

/// One database: readers share a pool, writes go through one queue.
#[derive(Debug, Clone)]
pub struct Database {
    read: Pool,
    writer: Writer,
}

impl Database {
    /// Opens the database, becomes its active server, and brings its schema up to this build.
    pub async fn open(options: &Options) -> Result<Self> {
        let doing = "opening it";
        let pools = dialect::connect(options).await.map_err(|fault| fault.into_error(doing))?;
        let mut link = Link::open(pools.write, pools.begin).await.map_err(|fault| fault.into_error(doing))?;
        let connection = link.connection().await.map_err(|fault| fault.into_error(doing))?;
        MIGRATOR.run(&mut **connection).await.map_err(|error| migration_error(error, doing))?;
        Ok(Self { read: pools.read, writer: Writer::start(link) })
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "not ours, and it may grow")]
fn migration_error(error: sqlx::migrate::MigrateError, doing: &'static str) -> StoreError {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => StoreError::Schema(format!(
            "migration {version} is unknown here, so a newer build has used this database; run that build, or restore a backup"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Schema(format!(
            "migration {version} was applied in another form; this database belongs to a different build"
        )),
        MigrateError::Dirty(version) => {
            StoreError::Schema(format!("migration {version} was interrupted; restore a backup"))
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match Fault::from(error) {
            fault @ (Fault::Unavailable(_) | Fault::Full(_) | Fault::Held { .. }) => fault.into_error(doing),
            Fault::Constraint(why) | Fault::Conflict(why) | Fault::Corrupt { why, .. } => StoreError::Schema(why),
        },
        other => StoreError::Schema(other.to_string()),
    }
}
