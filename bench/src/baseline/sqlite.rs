//! rusqlite, used as sparingly as it can be.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use rusqlite::Connection;

fn open(path: &Path, synchronous: &str) -> anyhow::Result<Connection> {
    let connection = Connection::open(path).context("cannot open the baseline's database")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// Median time of a one-row transaction that is synced to disk, in µs.
pub fn full_commit_us(folder: &Path, rows: usize) -> anyhow::Result<f64> {
    let connection = open(&folder.join("commit.db"), "full")?;
    connection.execute("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, spec TEXT NOT NULL)", [])?;
    let mut statement = connection.prepare("INSERT INTO job (spec) VALUES (?1)")?;
    let spec = "x".repeat(200);
    let mut times = Vec::with_capacity(rows);
    for _ in 0..rows {
        let start = Instant::now();
        statement.execute([&spec])?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(crate::ratio::median(times))
}

/// Packed blocks of `bytes` each, ten to a transaction; returns blocks a second.
pub fn packed_rate(folder: &Path, synchronous: &str, block: &[u8], blocks: usize) -> anyhow::Result<f64> {
    let mut connection = open(&folder.join("packed.db"), synchronous)?;
    connection
        .execute("CREATE TABLE IF NOT EXISTS block (id INTEGER PRIMARY KEY, count INTEGER, bytes BLOB NOT NULL)", [])?;
    let start = Instant::now();
    let mut left = blocks;
    while left > 0 {
        let now = left.min(10);
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached("INSERT INTO block (count, bytes) VALUES (?1, ?2)")?;
            for _ in 0..now {
                statement.execute((1000, block))?;
            }
        }
        transaction.commit()?;
        left -= now;
    }
    Ok(blocks as f64 / start.elapsed().as_secs_f64())
}

/// A row a sample, a hundred to a statement and ten statements to a transaction; returns rows a second.
pub fn row_rate(folder: &Path, synchronous: &str, rows: u32) -> anyhow::Result<f64> {
    const STATEMENT: u32 = 100;
    let mut connection = open(&folder.join("rows.db"), synchronous)?;
    connection.execute(
        "CREATE TABLE IF NOT EXISTS sample (id INTEGER PRIMARY KEY, job INTEGER, sequence INTEGER, ns INTEGER)",
        [],
    )?;
    let insert =
        format!("INSERT INTO sample (job, sequence, ns) VALUES {}", ["(?, ?, ?)"; STATEMENT as usize].join(","));
    let start = Instant::now();
    for transaction_start in (0..rows).step_by(10 * STATEMENT as usize) {
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(&insert)?;
            for first in (transaction_start..transaction_start + 10 * STATEMENT).step_by(STATEMENT as usize) {
                let values = (first..first + STATEMENT).flat_map(|sequence| [1, sequence, 8_000_000 + sequence]);
                statement.execute(rusqlite::params_from_iter(values))?;
            }
        }
        transaction.commit()?;
    }
    Ok(f64::from(rows) / start.elapsed().as_secs_f64())
}

/// Pages of the server's table of blocks and of its index, over the values in it.
pub fn bytes_a_value(data: &Path) -> anyhow::Result<f64> {
    let connection = Connection::open(data.join("seatrial.db")).context("cannot open the server's database")?;
    let pages: i64 = connection.query_row(
        "SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = 'sample_blocks')",
        [],
        |row| row.get(0),
    )?;
    let values: i64 = connection.query_row("SELECT sum(count) FROM sample_blocks", [], |row| row.get(0))?;
    Ok(pages as f64 / values as f64)
}
