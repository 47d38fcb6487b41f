//! The schema: the same in both databases, refused when it is newer, and read by index.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use seatrial_core::store::StoreError;
use seatrial_store::{Options, open};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, Database, Executor, PgConnection, SqlSafeStr as _, SqliteConnection};

use crate::fixture::Fixture;

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let (sqlite, postgres) = (Fixture::sqlite(), Fixture::postgres().await);
    drop((sqlite.open().await, postgres.open().await));
    let in_sqlite: Vec<(String, String)> = sqlx::query_as(
        "SELECT tables.name, columns.name
         FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%' AND tables.name NOT LIKE '_sqlx_%'
         ORDER BY tables.name, columns.cid",
    )
    .fetch_all(&mut SqliteConnection::connect(&sqlite.url).await.unwrap())
    .await
    .unwrap();
    let in_postgres: Vec<(String, String)> = sqlx::query_as(
        r#"SELECT table_name::TEXT, column_name::TEXT FROM information_schema.columns
           WHERE table_schema = 'public' AND table_name NOT LIKE '\_sqlx\_%'
           ORDER BY table_name COLLATE "C", ordinal_position"#,
    )
    .fetch_all(&mut PgConnection::connect(&postgres.url).await.unwrap())
    .await
    .unwrap();
    assert!(in_sqlite.len() > 150, "the data model is there: {} columns", in_sqlite.len());
    assert_eq!(in_sqlite, in_postgres);
}

/// A database that the first build filled, brought up: what it held stands as it was, and the new words are taken.
#[tokio::test]
async fn a_database_of_before_there_were_more_tasks_keeps_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("old.db").display());
    let mut old = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("PRAGMA foreign_keys = OFF").execute(&mut old).await.unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/sqlite");
    let mut earlier: Vec<PathBuf> = std::fs::read_dir(&migrations).unwrap().map(|it| it.unwrap().path()).collect();
    earlier.retain(|path| path.file_name().unwrap() < OsStr::new("0005"));
    earlier.sort();
    for path in earlier {
        let script = std::fs::read_to_string(path).unwrap();
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut old).await.unwrap();
    }
    let fill = "
        INSERT INTO dataset_versions (id, dataset_id, number, digest, size, task, examples, classes, created_at, created_by)
        VALUES ('v', 'd', 1, x'00', 5, 'golden', 3, '[]', 7, 'p');
        INSERT INTO sample_blocks (job_id, attempt, position, kind, process, count, bytes)
        VALUES ('j', 1, 0, 'outputs', 2, 9, x'0102');";
    sqlx::raw_sql(fill).execute(&mut old).await.unwrap();
    let newer = ["UPDATE dataset_versions SET task = 'detection'", "UPDATE sample_blocks SET kind = 'answers'"];
    for word in newer {
        assert!(sqlx::raw_sql(word).execute(&mut old).await.is_err(), "the control: the old schema refuses {word}");
    }
    sqlx::raw_sql(include_str!("../../../migrations/sqlite/0005_tasks.sql")).execute(&mut old).await.unwrap();
    let version: (String, i64, String) =
        sqlx::query_as("SELECT id, examples, task FROM dataset_versions").fetch_one(&mut old).await.unwrap();
    assert_eq!(version, ("v".to_owned(), 3, "golden".to_owned()));
    let block: (String, i64, Vec<u8>) =
        sqlx::query_as("SELECT kind, count, bytes FROM sample_blocks").fetch_one(&mut old).await.unwrap();
    assert_eq!(block, ("outputs".to_owned(), 9, vec![1, 2]));
    for word in newer {
        sqlx::raw_sql(word).execute(&mut old).await.unwrap();
    }
    for wrong in ["UPDATE dataset_versions SET task = 'guessing'", "UPDATE sample_blocks SET kind = 'guesses'"] {
        assert!(sqlx::raw_sql(wrong).execute(&mut old).await.is_err(), "{wrong}");
    }
}

const FROM_THE_FUTURE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                               VALUES (9999, 'from the future', TRUE, 'x', 0)";

async fn assert_refused(url: &str) {
    let Err(error) = open(url, Options::default()).await else { panic!("a schema from the future was accepted") };
    assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
    assert!(error.to_string().contains("a newer build has used this database"), "{error}");
}

#[tokio::test]
async fn a_schema_that_is_newer_than_the_build_is_refused_by_sqlite() {
    let fixture = Fixture::sqlite();
    drop(fixture.open().await);
    let mut admin = SqliteConnection::connect(&fixture.url).await.unwrap();
    sqlx::query(FROM_THE_FUTURE).execute(&mut admin).await.unwrap();
    assert_refused(&fixture.url).await;
}

#[tokio::test]
async fn a_schema_that_is_newer_than_the_build_is_refused_by_postgres() {
    let fixture = Fixture::postgres().await;
    drop(fixture.open().await);
    let mut admin = PgConnection::connect(&fixture.url).await.unwrap();
    sqlx::query(FROM_THE_FUTURE).execute(&mut admin).await.unwrap();
    assert_refused(&fixture.url).await;
}

/// What a build without a database takes for granted: the record of a statement, by its file.
fn records(database: &str) -> Vec<serde_json::Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(database).join(".sqlx");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.map(|text| serde_json::from_slice(&text).unwrap()).collect()
}

/// Fails when a database now says something else of a recorded statement.
async fn assert_as_recorded<C>(database: &str, connection: &mut C)
where
    for<'c> &'c mut C: Executor<'c, Database: Database<TypeInfo: Serialize, Column: Serialize>>,
{
    let records = records(database);
    assert!(records.len() > 50, "{} records", records.len());
    for record in records {
        let sql = record["query"].as_str().unwrap();
        let described = connection.describe(AssertSqlSafe(sql.to_owned()).into_sql_str()).await;
        let described = described.unwrap_or_else(|error| panic!("{database} refuses {sql}: {error}"));
        let described = serde_json::to_value(described).unwrap();
        // Which columns may be null PostgreSQL's plan tells, and that changes with what the tables hold.
        for part in ["columns", "parameters"] {
            assert_eq!(
                described[part], record["describe"][part],
                "`cargo xtask sqlx` mends the record: {part} of {sql}"
            );
        }
    }
}

#[tokio::test]
async fn every_statement_is_still_as_sqlite_and_postgres_described_it() {
    let (sqlite, postgres) = (Fixture::sqlite(), Fixture::postgres().await);
    drop((sqlite.open().await, postgres.open().await));
    assert_as_recorded("sqlite", &mut SqliteConnection::connect(&sqlite.url).await.unwrap()).await;
    assert_as_recorded("postgres", &mut PgConnection::connect(&postgres.url).await.unwrap()).await;
}

/// Tables that grow with every run. A statement may not go through one of them row by row.
const LARGE: &[&str] =
    &["runs", "jobs", "attempts", "reports", "stages", "sample_blocks", "metrics", "misfits", "audit", "transitions"];

/// The statements come from the build's own record of what was checked.
#[tokio::test]
async fn no_statement_scans_a_table_that_grows() {
    let fixture = Fixture::sqlite();
    drop(fixture.open().await);
    let mut database = SqliteConnection::connect(&fixture.url).await.unwrap();
    let mut statements = 0;
    let mut scans = Vec::new();
    for statement in records("sqlite") {
        let sql = statement["query"].as_str().unwrap();
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut database).await.unwrap();
        let is_scan = |step: &str| LARGE.iter().any(|table| step.trim() == format!("SCAN {table}"));
        // An insert plans to look for rows that wait for their parent, and skips it when no transaction left any.
        let is_insert = sql.starts_with("INSERT INTO suites") || sql.starts_with("INSERT INTO environments");
        scans.extend(
            plan.iter().filter(|(.., step)| is_scan(step) && !is_insert).map(|(.., step)| format!("{step}: {sql}")),
        );
        statements += 1;
    }
    assert!(statements > 50, "{statements} statements were looked at");
    assert!(scans.is_empty(), "{}", scans.join("\n\n"));
    let control: Vec<(i64, i64, i64, String)> =
        sqlx::query_as("EXPLAIN QUERY PLAN SELECT message FROM attempts WHERE message = 'x'")
            .fetch_all(&mut database)
            .await
            .unwrap();
    assert_eq!(control[0].3, "SCAN attempts", "a scan would be seen");
}
