//! What is particular to PostgreSQL: how it is opened, and what its errors mean.

use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::shared::fault::{Fault, Kind};

pub(crate) type Db = sqlx::Postgres;
pub(crate) type Pool = PgPool;
pub(crate) type Connection = PgConnection;

/// How a transaction begins, by how far its commit has to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin {
    pub(crate) synced: &'static str,
    pub(crate) unsynced: &'static str,
}

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
    pub(crate) begin: Begin,
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
    // A server whose machine has died must lose its hold without waiting for the operating system's two hours.
    let writer = base.clone().options([
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "25000"),
    ]);
    // One writer with group commit needs few round trips and cannot deadlock with itself.
    let write = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with(writer)
        .await
        .map_err(|source| {
            Fault::unavailable(CannotConnect { host: base.get_host().to_owned(), port: base.get_port(), source })
        })?;
    let read = PgPoolOptions::new().max_connections(READERS).acquire_timeout(ACQUIRE).connect_lazy_with(base);
    // PostgreSQL may crash while this server lives on, and then what was not synced is gone under it.
    Ok(Pools { read, write, begin: Begin { synced: "BEGIN", unsynced: "BEGIN" } })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot connect to PostgreSQL at {host}:{port}: {source}; is it running, and may this user connect?")]
struct CannotConnect {
    host: String,
    port: u16,
    source: sqlx::Error,
}

/// An idle writer looks after this long whether it still holds the database.
pub(crate) const LOOK_AFTER: Option<Duration> = Some(Duration::from_secs(2));

/// Key of the lock that the active server has on its database.
const ACTIVE: i64 = 0x5ea7_71a1;
/// An old session of our own may need this long to end once it has been told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// One server writes to a database at a time. The lock belongs to the session of the writing connection, so that a
/// server that can write holds it, whatever happened in between.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The session that had it for us, by process and start.
    session: Option<(i32, i64)>,
}

impl Hold {
    pub(crate) const fn new() -> Self {
        Self { session: None }
    }

    /// Takes the lock for this connection, or says who has it instead.
    pub(crate) async fn take(&mut self, connection: &mut Connection) -> Result<Option<String>, Fault> {
        let since = Instant::now();
        while !sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "taken!""#, ACTIVE)
            .fetch_one(&mut *connection)
            .await?
        {
            // None: it was let go a moment ago.
            let holder = holder(connection).await?;
            let ours = holder.as_ref().is_none_or(|holder| self.session == Some(holder.session));
            if !ours || since.elapsed() > FAREWELL {
                let description =
                    holder.map_or_else(|| "nothing is known of it".to_owned(), |holder| holder.description);
                return Ok(Some(description));
            }
            if let Some(Holder { session: (process, _), .. }) = holder {
                // A connection of ours that broke, and that the database has not noticed yet.
                sqlx::query_scalar!("SELECT pg_terminate_backend($1)", process).fetch_one(&mut *connection).await?;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let ours = sqlx::query!(
            r#"SELECT pid AS "pid!", CAST(EXTRACT(EPOCH FROM backend_start) * 1000000 AS BIGINT) AS "start!"
               FROM pg_stat_activity WHERE pid = pg_backend_pid()"#
        )
        .fetch_one(&mut *connection)
        .await?;
        self.session = Some((ours.pid, ours.start));
        Ok(None)
    }
}

struct Holder {
    session: (i32, i64),
    description: String,
}

/// Who has the lock now; `None` when it has just been let go.
async fn holder(connection: &mut Connection) -> Result<Option<Holder>, Fault> {
    let found = sqlx::query!(
        r#"SELECT activity.pid AS "pid!",
                  COALESCE(CAST(EXTRACT(EPOCH FROM backend_start) * 1000000 AS BIGINT), 0) AS "start!",
                  COALESCE(host(client_addr), 'an address that this user may not see') AS "address!",
                  COALESCE(to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), 'unknown') AS "since!"
           FROM pg_locks AS locks JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
           WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objid = CAST($1 AS BIGINT)::OID
             AND locks.classid = 0 AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"#,
        ACTIVE,
    )
    .fetch_optional(&mut *connection)
    .await?;
    Ok(found.map(|row| Holder {
        session: (row.pid, row.start),
        description: format!("from {}, connected since {} UTC", row.address, row.since),
    }))
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
            // A constraint; text that the database cannot keep.
            Some("22" | "23") => Kind::Constraint,
            _ => Kind::Broken,
        },
    }
}
