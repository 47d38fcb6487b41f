//! What was acknowledged stays, whatever dies; what cannot be done now is said in bounded time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seatrial_core::digest::Digest;
use seatrial_core::store::{Store, StoreError};
use seatrial_store::{Options, open};
use sqlx::{Connection as _, SqliteConnection};

use crate::fixture::Fixture;
use crate::scratch::{CRASH, Scratch, find_binaries};
use crate::world::*;

const CHILD: &str = "SEATRIAL_STORE_TEST_WRITER";
/// Says what it will write before it has: the control, which must lose.
const EARLY: &str = "SEATRIAL_STORE_TEST_WRITER_EARLY";
const WRITERS: u64 = 16;

/// Not a test: the process that the tests below kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run as a child by the tests that kill it"]
async fn writer_process() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let early = std::env::var_os(EARLY).is_some();
    let store = open(&url, Options::default()).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            for number in (writer..).step_by(WRITERS as usize) {
                if early {
                    acknowledge(number);
                }
                store.put_artifact(&numbered(number), number, T0).await.unwrap();
                if !early {
                    acknowledge(number);
                }
            }
        }
    });
    futures::future::join_all(writers).await;
}

fn numbered(number: u64) -> Digest {
    Digest::of(&number.to_be_bytes())
}

/// One system call, so that a kill leaves a whole line or none.
fn acknowledge(number: u64) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("ack {number}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Lets a process write until it has acknowledged a few hundred writes, kills it, and counts what is missing.
async fn lost_by_a_kill(early: bool) -> usize {
    let fixture = Fixture::sqlite();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "durability::writer_process", "--ignored", "--nocapture"]).env(CHILD, &fixture.url);
    if early {
        command.env(EARLY, "1");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    // Read to the end, also after the kill: what is in the pipe was acknowledged.
    for line in output.lines() {
        let line = line.unwrap();
        let Some((_, number)) = line.split_once("ack ") else { continue };
        acknowledged.push(number.parse::<u64>().unwrap());
        if acknowledged.len() == 400 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= 400, "the child wrote: {}", acknowledged.len());
    let store = fixture.open().await;
    let digests: Vec<Digest> = acknowledged.iter().map(|&number| numbered(number)).collect();
    digests.len() - store.artifacts_present(&digests).await.unwrap().len()
}

#[tokio::test]
async fn a_writer_that_is_killed_loses_nothing_that_was_acknowledged() {
    for _ in 0..5 {
        assert_eq!(lost_by_a_kill(false).await, 0);
    }
}

#[tokio::test]
async fn the_kill_would_show_a_loss_if_the_acknowledgement_came_too_early() {
    let mut rounds = 0;
    while lost_by_a_kill(true).await == 0 {
        rounds += 1;
        assert!(rounds < 10, "ten kills of a process that acknowledges too early lost nothing");
    }
}

fn assert_unavailable<T>(result: Result<T, StoreError>) {
    match result {
        Err(error @ StoreError::Unavailable { .. }) => assert!(error.is_retryable()),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was available"),
    }
}

#[tokio::test]
async fn a_file_that_another_program_holds_is_reported_in_bounded_time() {
    let fixture = Fixture::sqlite();
    drop(fixture.open().await);
    let mut holder = SqliteConnection::connect(&fixture.url).await.unwrap();
    for statement in ["PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"] {
        sqlx::query(statement).execute(&mut holder).await.unwrap();
    }
    let began = Instant::now();
    let result = open(&fixture.url, Options::default()).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    if let Err(error) = &result {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("locked"), "{error}: {source}");
    }
    assert_unavailable(result);
    drop(holder);
    open(&fixture.url, Options::default()).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn a_write_lock_that_another_program_holds_stops_writes_but_not_reads() {
    let fixture = Fixture::sqlite();
    let store = fixture.open().await;
    let mut holder = SqliteConnection::connect(&fixture.url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let began = Instant::now();
    assert_unavailable(store.put_artifact(&numbered(1), 1, T0).await);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(store.artifact_size(&numbered(1)).await.unwrap(), None);
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    store.put_artifact(&numbered(1), 1, T0).await.unwrap();
    assert_eq!(store.artifact_size(&numbered(1)).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let result = open(file.join("inside/seatrial.db").to_str().unwrap(), Options::default()).await;
    if let Err(error) = &result {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("cannot make the folder") && source.contains("inside"), "{error}: {source}");
    }
    assert_unavailable(result);
}

async fn first_success(store: &Arc<dyn Store>, number: u64) {
    let began = Instant::now();
    while let Err(error) = store.put_artifact(&numbered(number), number, T0).await {
        assert!(began.elapsed() < Duration::from_secs(30), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgres_is_survived_with_all_that_was_acknowledged() {
    let mut server = Scratch::start().unwrap_or_else(|why| panic!("{why}"));
    let store = open(&server.url("postgres"), Options::default()).await.unwrap();
    for number in 0..20 {
        store.put_artifact(&numbered(number), number, T0).await.unwrap();
    }
    server.end(CRASH);
    let began = Instant::now();
    assert_unavailable(store.put_artifact(&numbered(20), 20, T0).await);
    assert_unavailable(store.ping().await);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());

    server.run().unwrap();
    first_success(&store, 21).await;
    store.ping().await.unwrap();
    let all: Vec<Digest> = (0..20).chain([21]).map(numbered).collect();
    assert_eq!(store.artifacts_present(&all).await.unwrap().len(), all.len());
}

#[tokio::test]
async fn a_postgres_that_is_not_there_is_reported_in_bounded_time() {
    let began = Instant::now();
    let result = open("postgres://nobody@127.0.0.1:1/none", Options::default()).await;
    if let Err(error) = &result {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("127.0.0.1:1"), "{error}: {source}");
    }
    assert_unavailable(result);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_machine_without_postgres_fails_the_tests_and_says_what_to_install() {
    let why = find_binaries(&[PathBuf::from("/nowhere")]).unwrap_err();
    assert!(why.contains("not in /nowhere") && why.contains("SEATRIAL_TEST_POSTGRES"), "{why}");
}
