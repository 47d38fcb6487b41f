//! An empty database for each test.

use std::sync::Arc;

use seatrial_core::store::Store;
use seatrial_store::{Options, Synchronous};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::scratch::Scratch;
use crate::world::fresh;

/// A database with all that keeps it alive.
pub(crate) struct Fixture {
    pub(crate) url: String,
    _server: Option<Scratch>,
    _folder: Option<tempfile::TempDir>,
}

impl Fixture {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("new/seatrial.db").display());
        Self { url, _server: None, _folder: Some(folder) }
    }

    /// On the server that `SEATRIAL_TEST_POSTGRES` names, else on one of our own. No server is a failure, not a pass.
    pub(crate) async fn postgres() -> Self {
        let (url, server) = if let Ok(url) = std::env::var("SEATRIAL_TEST_POSTGRES") {
            (url, None)
        } else {
            let server = Scratch::start().unwrap_or_else(|why| panic!("{why}"));
            (server.url("postgres"), Some(server))
        };
        let mut admin = PgConnection::connect(&url).await.unwrap();
        // Tests of several processes may share a server, and they count alike.
        let name = format!(
            "conformance_{}_{}",
            std::process::id(),
            fresh!(seatrial_core::ids::SessionId).short().replace('-', "_")
        );
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        let (server_url, _) = url.rsplit_once('/').unwrap();
        Self { url: format!("{server_url}/{name}"), _server: server, _folder: None }
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        // What a test asks of durability, it asks for by name; all others may be fast.
        seatrial_store::open(&self.url, Options { synchronous: Synchronous::Normal }).await.unwrap()
    }
}
