//! One server writes to a PostgreSQL database at a time.

use std::time::{Duration, Instant};

use seatrial_core::digest::Digest;
use seatrial_core::store::{Store, StoreError};
use seatrial_store::{Options, open};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::fixture::Fixture;
use crate::world::*;

/// An idle writer looks every two seconds whether it still holds its database.
const PATIENCE: Duration = Duration::from_secs(20);

async fn write(store: &dyn Store) -> Result<(), StoreError> {
    store.put_artifact(&Digest::of(b"x"), 1, T0).await
}

/// Ends every session that holds the lock of the active server, as a broken network would.
async fn cut(fixture: &Fixture) {
    let mut admin = PgConnection::connect(&fixture.url).await.unwrap();
    let cut = sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    assert_eq!(cut.fetch_all(&mut admin).await.unwrap().len(), 1, "one session holds the database");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_until_the_first_has_ended() {
    let fixture = Fixture::postgres().await;
    let first = fixture.open().await;
    let Err(StoreError::Held { holder }) = open(&fixture.url, Options::default()).await else {
        panic!("two servers are active on one database")
    };
    assert!(holder.contains("connected since"), "{holder}");
    write(&*first).await.unwrap();
    drop(first);
    let since = Instant::now();
    let second = loop {
        match open(&fixture.url, Options::default()).await {
            Ok(second) => break second,
            Err(error) => assert!(since.elapsed() < PATIENCE, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    write(&*second).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_connection_broke_goes_on_unless_another_has_taken_over() {
    let fixture = Fixture::postgres().await;
    let first = fixture.open().await;
    // The control: nobody else is there, and it takes the database again.
    cut(&fixture).await;
    let since = Instant::now();
    while let Err(error) = write(&*first).await {
        assert!(error.is_retryable() && since.elapsed() < PATIENCE, "{error:?}");
    }
    let taken = tokio::time::timeout(Duration::from_millis(100), first.taken_over()).await;
    assert!(taken.is_err(), "nobody has taken over");

    // Another stands by, and may be first after the next cut.
    let since = Instant::now();
    let second = loop {
        if let Ok(second) = open(&fixture.url, Options::default()).await {
            break second;
        }
        assert!(since.elapsed() < PATIENCE, "the stand-by never gets its turn");
        cut(&fixture).await;
    };
    write(&*second).await.unwrap();
    tokio::time::timeout(PATIENCE, first.taken_over()).await.expect("it never notices that it was replaced");
    let error = write(&*first).await.unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error:?}");
    write(&*second).await.unwrap();
}
