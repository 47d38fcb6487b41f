//! What is particular to PostgreSQL: how it is opened, and what its errors mean.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::shared::fault::{Fault, Kind};

pub(crate) type Db = sqlx::Postgres;
pub(crate) type Pool = PgPool;
pub(crate) type Connection = PgConnection;

pub(crate) const BEGIN: &str = "BEGIN";

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/postgres");

/// A database that does not answer is reported as unavailable after this.
const ACQUIRE: Duration = Duration::from_secs(5);
const READERS: u32 = 8;

#[derive(Debug, Clone)]
pub struct Options {
    /// `postgres://user:password@host:port/database`
    pub url: String,
}

pub(crate) struct Pools {
    pub(crate) read: Pool,
    pub(crate) write: Pool,
}

pub(crate) async fn connect(options: &Options) -> Result<Pools, Fault> {
    let base = PgConnectOptions::from_str(&options.url)
        .map_err(|error| {
            Fault::Conflict(format!(
                "the database address cannot be read: {error} (expected postgres://user:password@host:port/database)"
            ))
        })?
        .application_name("seatrial")
        .disable_statement_logging();
    // One writer with group commit needs few round trips and cannot deadlock with itself.
    let write =
        PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_with(base.clone()).await.map_err(
            |source| {
                Fault::unavailable(CannotConnect { host: base.get_host().to_owned(), port: base.get_port(), source })
            },
        )?;
    let read = PgPoolOptions::new().max_connections(READERS).acquire_timeout(ACQUIRE).connect_lazy_with(base);
    Ok(Pools { read, write })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot connect to PostgreSQL at {host}:{port}: {source}; is it running, and may this user connect?")]
struct CannotConnect {
    host: String,
    port: u16,
    source: sqlx::Error,
}

/// Whether the server still answers on this connection; one round trip, small beside a commit.
pub(crate) async fn is_alive(connection: &mut Connection) -> bool {
    connection.ping().await.is_ok()
}

/// What an error of the database says, by its SQLSTATE.
pub(crate) fn kind(error: &dyn DatabaseError) -> Kind {
    let code = error.code().unwrap_or_default();
    match &*code {
        // No space on the device; an I/O error that names it has its own code.
        "53100" => Kind::Full,
        // Serialization failure, deadlock, lock not available, read-only standby.
        "40001" | "40P01" | "55P03" | "25006" => Kind::Unavailable,
        _ => match code.get(..2) {
            // Connection, resources, operator intervention (shutdown, start-up), system errors.
            Some("08" | "53" | "57" | "58") => Kind::Unavailable,
            Some("23") => Kind::Constraint,
            _ => Kind::Broken,
        },
    }
}
