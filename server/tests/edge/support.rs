//! A server of its own for each test.

use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use seatrial_core::ids::{DeviceId, PrincipalId, TokenId};
use seatrial_core::role::Role;
use seatrial_core::store::NewToken;
use seatrial_core::time::{Clock as _, Timestamp};
use seatrial_server::auth::token::{Kind, Secret};
use seatrial_server::system::{SystemClock, entropy};
use seatrial_server::{Config, Running, Shutdown};
use tempfile::TempDir;

/// Nothing that is waited for takes longer, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Lab {
    pub server: Running,
    pub folder: TempDir,
}

impl Lab {
    /// A server as anybody gets it who changes nothing.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::embedded(folder.path().join("data"));
        config.drain = Duration::from_secs(5);
        change(&mut config);
        let server = seatrial_server::start(config).await.unwrap();
        Self { server, folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        client().get(self.url(path))
    }

    /// A token straight into the store.
    pub(crate) async fn token(&self, name: &str, role: Role, expires_at: Option<Timestamp>) -> (Secret, TokenId) {
        let now = SystemClock::new().now();
        let secret = Secret::new(Kind::Token, entropy());
        let token = NewToken {
            id: TokenId::new(now, entropy()),
            principal: PrincipalId::new(now, entropy()),
            project: self.project().await,
            name: name.to_owned(),
            role,
            hash: secret.hash(),
            device: None::<DeviceId>,
            created_at: now,
            expires_at,
        };
        self.server.store.create_token(&token).await.unwrap();
        (secret, token.id)
    }

    pub(crate) async fn project(&self) -> seatrial_core::ids::ProjectId {
        let now = SystemClock::new().now();
        let seed = seatrial_core::store::BootstrapSeed {
            project: seatrial_core::ids::ProjectId::new(now, entropy()),
            principal: PrincipalId::new(now, entropy()),
            user: seatrial_server::system::user_name(),
            now,
        };
        self.server.store.bootstrap(&seed).await.unwrap().project
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.stop_within(Duration::from_secs(5)).await
    }

    pub(crate) async fn stop_within(self, deadline: Duration) -> TempDir {
        self.server.shutdown(Shutdown::Soft { deadline }).await;
        self.folder
    }
}

pub(crate) fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build().unwrap()
}

/// Asks again until it is true; fails the test when it does not become so.
pub(crate) async fn eventually(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !is_true().await {
        assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
