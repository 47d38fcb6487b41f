//! The record of every SQL statement, which lets the workspace build without a database.
//!
//! The statements of `store/shared` are compiled twice, once against each database, and `store/*/.sqlx` keeps what each
//! database said of them. This brings both records up to date, or says that they are not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};

use crate::command::{cargo, command, root, run};
use crate::postgres::{Postgres, bin_folder};

/// A database and the crate whose statements are checked against it.
struct Database {
    name: &'static str,
    /// The variable that the crate's `sqlx.toml` names.
    variable: &'static str,
    url: String,
}

/// Name of a record and its content.
type Records = BTreeMap<String, Vec<u8>>;

/// Brings the records up to date; with `check`, fails when they were not, and leaves them as they were.
pub fn prepare(check: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a scratch folder")?;
    let file = folder.path().join("seatrial.db");
    let server = Postgres::start()?;
    for migration in migrations("sqlite")? {
        migrate_sqlite(&file, &migration)?;
    }
    for migration in migrations("postgres")? {
        migrate_postgres(&server.url(), &migration)?;
    }
    let databases = [
        Database { name: "sqlite", variable: "SEATRIAL_SQLITE_URL", url: format!("sqlite://{}", file.display()) },
        Database { name: "postgres", variable: "SEATRIAL_POSTGRES_URL", url: server.url() },
    ];
    let mut stale = Vec::new();
    for database in &databases {
        let fresh = folder.path().join(database.name);
        describe(database, &fresh)?;
        let kept = root().join("store").join(database.name).join(".sqlx");
        let (fresh, before) = (read(&fresh)?, read(&kept)?);
        if fresh == before {
            continue;
        }
        stale.push(database.name);
        if !check {
            replace(&kept, &fresh)?;
        }
    }
    match (check, stale.is_empty()) {
        (true, false) => {
            bail!("the record of SQL statements is out of date for {}; run `cargo xtask sqlx`", stale.join(" and "))
        }
        (true | false, _) => Ok(()),
    }
}

fn migrations(database: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = root().join("migrations").join(database);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(files)
}

/// Python brings SQLite with it, and the tests need Python anyway.
fn migrate_sqlite(file: &Path, migration: &Path) -> anyhow::Result<()> {
    const PROGRAM: &str = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())";
    run(command("python3").args(["-c", PROGRAM]).arg(file).arg(migration))
}

fn migrate_postgres(url: &str, migration: &Path) -> anyhow::Result<()> {
    let psql = bin_folder()?.join("psql");
    run(command(psql)
        .args([url, "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file"])
        .arg(migration)
        .stdout(Stdio::null()))
}

/// Compiles the crate against its database, which writes one file for each statement into `into`.
fn describe(database: &Database, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into)?;
    // The macros run only when the crate is compiled, and cargo does not see that the database has changed.
    let library = root().join("store").join(database.name).join("src/lib.rs");
    let now = fs::metadata(into)?.modified()?;
    fs::File::options().append(true).open(&library)?.set_modified(now)?;
    run(cargo()
        .args(["check", "--quiet", "--package", &format!("seatrial-store-{}", database.name)])
        .env(database.variable, &database.url)
        .env("SQLX_OFFLINE_DIR", into)
        .env_remove("SQLX_OFFLINE"))
    .with_context(|| format!("a statement does not fit {}", database.name))
}

fn read(folder: &Path) -> anyhow::Result<Records> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Records::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut records = Records::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        records.insert(name, fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(records)
}

fn replace(folder: &Path, records: &Records) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder)?;
    for (name, content) in records {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
