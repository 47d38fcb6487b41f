//! What is particular to SQLite: how it is opened, and what its errors mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::shared::fault::{Fault, Kind};

pub(crate) type Db = sqlx::Sqlite;
pub(crate) type Pool = SqlitePool;
pub(crate) type Connection = SqliteConnection;

/// How a transaction begins, by how far its commit has to reach.
///
/// It takes the write lock at once: a transaction that reads first and then finds the lock taken could only fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin {
    pub(crate) synced: &'static str,
    pub(crate) unsynced: &'static str,
}

const UNSYNCED: &str = "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE";

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// How long a connection waits for another process to let go of the file.
const BUSY: Duration = Duration::from_secs(5);
/// Opening a file that another process holds fails after this.
const OPEN: Duration = Duration::from_secs(10);
/// Readers never wait for the writer; more of them than cores gain nothing.
const READERS: u32 = 4;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// After the disk has it: survives the loss of power.
    #[default]
    Full,
    /// After the kernel has it: survives the death of any process, but a power cut may take the newest commits.
    Normal,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub file: PathBuf,
    pub synchronous: Synchronous,
}

pub(crate) struct Pools {
    pub(crate) read: Pool,
    pub(crate) write: Pool,
    pub(crate) begin: Begin,
}

/// Opens the file, which is made with its folder when it is missing.
pub(crate) async fn connect(options: &Options) -> Result<Pools, Fault> {
    if let Some(folder) = options.file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|source| Fault::unavailable(CannotMakeFolder { folder: folder.to_owned(), source }))?;
    }
    let (synchronous, begin) = match options.synchronous {
        Synchronous::Full => {
            let synced = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE";
            (SqliteSynchronous::Full, Begin { synced, unsynced: UNSYNCED })
        }
        Synchronous::Normal => (SqliteSynchronous::Normal, Begin { synced: UNSYNCED, unsynced: UNSYNCED }),
    };
    let base = SqliteConnectOptions::new()
        .filename(&options.file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    // One writer: SQLite has one write lock, and a queue in front of it is fairer than a busy loop.
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(OPEN)
        .test_before_acquire(false)
        .connect_with(base.clone())
        .await
        .map_err(|source| Fault::unavailable(CannotOpen { file: options.file.clone(), source }))?;
    let read = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(OPEN)
        .test_before_acquire(false)
        .connect_lazy_with(base.pragma("query_only", "ON"));
    Ok(Pools { read, write, begin })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot make the folder {folder:?} for the database")]
struct CannotMakeFolder {
    folder: PathBuf,
    source: std::io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open the database file {file:?}: {source}; is it in use by another program, or on a disk that is full or read-only?"
)]
struct CannotOpen {
    file: PathBuf,
    source: sqlx::Error,
}

/// Nobody takes a file from under us: there is nothing to look after.
pub(crate) const LOOK_AFTER: Option<Duration> = None;

/// The data folder has a lock of its own, which one server takes before it opens the file.
#[derive(Debug)]
pub(crate) struct Hold;

impl Hold {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_async, reason = "the other database has to ask")]
    pub(crate) async fn take(&mut self, _: &mut Connection) -> Result<Option<String>, Fault> {
        Ok(None)
    }
}

/// A file does not hang up.
#[expect(clippy::unused_async, reason = "the other database has to ask")]
pub(crate) async fn is_alive(_: &mut Connection) -> bool {
    true
}

/// What an error of the database says, by its primary result code.
pub(crate) fn kind(error: &dyn DatabaseError) -> Kind {
    const PRIMARY: i32 = 0xff;
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & PRIMARY;
    match code {
        // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CANTOPEN, PROTOCOL
        5 | 6 | 7 | 8 | 9 | 10 | 14 | 15 => Kind::Unavailable,
        13 => Kind::Full,
        19 => Kind::Constraint,
        _ => Kind::Broken,
    }
}

/// The file that a URL or a plain path names. `None` for what is no file at all.
#[must_use]
pub fn file_of(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    (!path.is_empty() && path != ":memory:").then(|| Path::new(path))
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_told_apart_and_reads_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { file: folder.path().join("full.db"), synchronous: Synchronous::Normal };
        let pools = connect(&options).await.unwrap();
        let run = |sql: &'static str| sqlx::query(sql).execute(&pools.write);
        run("CREATE TABLE cargo (bytes BLOB)").await.unwrap();
        // The database may not grow any more, which is what a full disk says.
        run("PRAGMA max_page_count = 20").await.unwrap();
        let full = run("INSERT INTO cargo VALUES (zeroblob(1000000))").await.unwrap_err();
        assert!(matches!(Fault::from(full), Fault::Full(_)));
        sqlx::query("SELECT * FROM cargo").fetch_all(&pools.read).await.unwrap();
        run("PRAGMA max_page_count = 2000").await.unwrap();
        run("INSERT INTO cargo VALUES (zeroblob(1000000))").await.unwrap();
    }

    /// `PRAGMA synchronous` within a transaction that began so: 1 is normal, 2 is full.
    async fn synchronous_in(pools: &Pools, begin: &'static str) -> i64 {
        let mut connection = pools.write.acquire().await.unwrap();
        let mut transaction = connection.begin_with(begin).await.unwrap();
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *transaction).await.unwrap()
    }

    #[tokio::test]
    async fn each_transaction_is_synced_as_it_asks_whatever_the_one_before_was() {
        let folder = tempfile::tempdir().unwrap();
        for (synchronous, synced) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
            let pools = connect(&Options { file: folder.path().join("sync.db"), synchronous }).await.unwrap();
            let Begin { synced: full, unsynced } = pools.begin;
            for (begin, expected) in [(full, synced), (unsynced, 1), (full, synced), (full, synced), (unsynced, 1)] {
                assert_eq!(synchronous_in(&pools, begin).await, expected, "{synchronous:?}, {begin}");
            }
        }
    }

    #[tokio::test]
    async fn variants_and_what_refers_to_them_outlive_the_table_that_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { file: folder.path().join("before.db"), synchronous: Synchronous::Normal };
        let pools = connect(&options).await.unwrap();
        MIGRATOR.run_to(2, &pools.write).await.unwrap();
        let run = |sql: &'static str| sqlx::raw_sql(sql).execute(&pools.write);
        run("INSERT INTO projects VALUES ('p', 'p', 0, 0); INSERT INTO principals VALUES ('m', 'mara', 0);
             INSERT INTO models VALUES ('m', 'p', 'digits', 1, 0, 0);
             INSERT INTO model_versions VALUES ('v', 'm', 1, NULL, NULL, NULL, '{}', NULL, NULL, 0, 'm');
             INSERT INTO variants VALUES ('a', 'v', 0, 'fp32', 'onnx', 'fp32', '{}', 'claimed');
             INSERT INTO artifacts VALUES (zeroblob(32), 7, 0);
             INSERT INTO variant_files VALUES ('a', 0, 'model', zeroblob(32), 7, 'model.onnx')")
        .await
        .unwrap();
        MIGRATOR.run(&pools.write).await.unwrap();
        let format: String =
            sqlx::query_scalar("SELECT format FROM variants WHERE id = 'a'").fetch_one(&pools.read).await.unwrap();
        assert_eq!(format, "onnx");
        run("INSERT INTO variants VALUES ('b', 'v', 1, 'int8', 'gguf', 'int8', '{}', 'claimed')").await.unwrap();
        let orphan = "INSERT INTO variant_files VALUES ('c', 0, 'model', zeroblob(32), 7, 'model.onnx')";
        assert!(matches!(Fault::from(run(orphan).await.unwrap_err()), Fault::Constraint(_)));
        let deleted = run("DELETE FROM variants WHERE id = 'a'").await.unwrap_err();
        assert!(matches!(Fault::from(deleted), Fault::Constraint(_)), "its file still refers to it");
    }

    #[test]
    fn a_database_in_memory_has_no_file() {
        assert_eq!(file_of("sqlite:///data/a.db?mode=rwc"), Some(Path::new("/data/a.db")));
        assert_eq!(file_of("a.db"), Some(Path::new("a.db")));
        assert_eq!(file_of("sqlite::memory:"), None);
        assert_eq!(file_of(""), None);
    }
}
