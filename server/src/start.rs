//! Starts a server inside this process, and ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use seatrial_core::ids::{PrincipalId, ProjectId, TokenId};
use seatrial_core::role::Role;
use seatrial_core::store::{Bootstrap, BootstrapSeed, NewToken, Store, StoreError};
use seatrial_core::time::Clock;
use seatrial_dashboards::Dashboards;
use seatrial_proto::DESCRIPTORS;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::VERSION;
use crate::actions::WebActions;
use crate::agents;
use crate::artifacts::collect::Collector;
use crate::artifacts::{self, ArtifactError, Artifacts};
use crate::auth::audit::Audit;
use crate::auth::layer::{Doors, Parts};
use crate::auth::token::{Kind, Secret};
use crate::config::{Config, Database, Synchronous};
use crate::control::Control;
use crate::control::submissions::{PLANS, Submissions};
use crate::fleet::{self, Fleet};
use crate::http::{Edge, Readiness, Reporting, router};
use crate::lock::{Lock, LockError};
use crate::metrics::Metrics;
use crate::net::tls::{TlsError, server_config};
use crate::net::{Port, Stop};
use crate::system::{SystemClock, entropy, user_name};
use crate::tasks::{self, Reconciler, Reconcilers};

/// How long an ending server waits for the database to take the last audit entries.
const AUDIT_PATIENCE: Duration = Duration::from_secs(5);

/// How often the health service looks whether the database answers.
const HEALTH: Duration = Duration::from_secs(5);

/// How often a server that stands by looks whether the active one has ended.
const STAND_BY: Duration = Duration::from_secs(1);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot open the database ({database})")]
    Store { database: String, source: StoreError },
    #[error("cannot prepare the database")]
    Bootstrap(#[source] StoreError),
    #[error("cannot open the artifact store")]
    Artifacts(#[source] ArtifactError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(
        "{address} can be reached by others, and there is no TLS: give --tls-certificate and --tls-key, listen on \
         127.0.0.1, or accept the risk with --insecure"
    )]
    NoTls { address: SocketAddr },
    #[error(
        "{address} can be reached by others, and nobody has a token: make one with --print-admin-token, listen on \
         127.0.0.1, or accept the risk with --insecure"
    )]
    NoTokens { address: SocketAddr },
    #[error("cannot read what the devices are")]
    Devices(#[source] StoreError),
    #[error("cannot start the fleet")]
    Fleet(#[source] StoreError),
    #[error("cannot describe the protocol for reflection: {0}")]
    Reflection(String),
}

/// How to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Take no more work, tell agents to drain, finish open requests; after the deadline hard.
    Soft { deadline: Duration },
    /// Drop every connection. What was acknowledged is on the disk.
    Hard,
}

/// A server that runs in this process. Dropping it leaves it running until the runtime ends: call
/// [`Running::shutdown`].
pub struct Running {
    /// Where it really listens: with port 0 the system has chosen one.
    pub address: SocketAddr,
    pub tls: bool,
    /// The administrator's token that was made at this start, if one was asked for.
    pub admin_token: Option<Secret>,
    /// Whether the operating system's user passes without a token.
    pub loopback_user: Option<String>,
    pub store: Arc<dyn Store>,
    pub fleet: Fleet,
    pub metrics: Metrics,
    reconcilers: Reconcilers,
    stop: Stop,
    port: JoinHandle<()>,
    health: JoinHandle<()>,
    audit: JoinHandle<()>,
    _lock: Lock,
}

impl Running {
    /// The address for browsers and command lines.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.address, self.tls)
    }

    /// Ends the server. What was acknowledged as durable is on the disk, however it ends.
    pub async fn shutdown(self, how: Shutdown) {
        let Self { stop, mut port, mut health, audit, store, fleet, reconcilers, _lock: lock, .. } = self;
        stop.draining.cancel();
        if let Shutdown::Soft { deadline } = how {
            let drained = async {
                // Agents first: the port's own end would look like a lost connection to them.
                fleet.drain("the server is shutting down").await;
                stop.soft.cancel();
                finish(&mut port, "the port").await;
            };
            let _ = stop.hard.run_until_cancelled(tokio::time::timeout(deadline, drained)).await;
        }
        stop.soft.cancel();
        stop.hard.cancel();
        fleet.stop();
        drop(reconcilers);
        if !port.is_finished() {
            finish(&mut port, "the port").await;
        }
        finish(&mut health, "the health service").await;
        drop(fleet);
        // The router held the last other way into the audit log, but for writes that go on without their callers: what
        // is left is being written now.
        let mut audit = audit;
        if tokio::time::timeout(AUDIT_PATIENCE, finish(&mut audit, "the audit log")).await.is_err() {
            tracing::error!("the audit log could not be written to its end in time");
        }
        drop(store);
        drop(lock);
    }

    /// Resolves when another server has become the active one on the database: this one can only end.
    pub async fn taken_over(&self) {
        self.store.taken_over().await;
    }

    /// Cancelling it makes a soft shutdown that is under way a hard one.
    #[must_use]
    pub fn hard_stop(&self) -> CancellationToken {
        self.stop.hard.clone()
    }
}

async fn finish(task: &mut JoinHandle<()>, name: &str) {
    if let Err(error) = task.await {
        tracing::error!(%error, "{name} did not end well");
    }
}

/// Starts a server and returns once it listens. Where another server is active on the same database, that is once the
/// other has ended.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let tls = config.tls.as_ref().map(server_config).transpose()?;
    if !config.is_loopback() && tls.is_none() && !config.insecure {
        return Err(StartError::NoTls { address: config.listen });
    }
    let lock = Lock::take(&config.data)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = open_store(&config).await?;
    let people = People::prepare(&config, store.as_ref(), clock.as_ref()).await?;
    let metrics = Metrics::new();
    let artifacts =
        Artifacts::open(&config.artifacts, config.limits, store.clone(), clock.clone(), metrics.clone()).await;
    let artifacts = artifacts.map_err(StartError::Artifacts)?;
    let read_again = agents::read_devices_again(store.as_ref()).await.map_err(StartError::Devices)?;
    if read_again > 0 {
        tracing::info!(devices = read_again, "read again by newer rules");
    }
    let unable = |source| StartError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(unable)?;
    let address = listener.local_addr().map_err(unable)?;
    let settings = fleet::Settings { canary: config.canary, ..fleet::Settings::default() };
    let fleet = Fleet::start(store.clone(), clock.clone(), settings).await.map_err(StartError::Fleet)?;
    let reconcilers = reconcilers(&config, &fleet, &store, &clock, &artifacts, &metrics);

    let (audit, audit_task) = Audit::start(store.clone(), clock.clone());
    let stop = Stop::default();
    let readiness =
        Readiness { store: store.clone(), clock: clock.clone(), metrics: metrics.clone(), stop: stop.clone() };
    let parts = Assembly { store: &store, clock: &clock, fleet: &fleet, artifacts, metrics: &metrics, readiness };
    let doors = Doors::new(Parts {
        store: store.clone(),
        clock: clock.clone(),
        audit,
        metrics: metrics.clone(),
        bootstrap: people.bootstrap,
        user: people.user.clone(),
        form_key: entropy(),
        hosts: config.hosts.clone(),
    });
    let (router, mut health) = parts.router(&config, doors.clone(), &people, url(address, tls.is_some()))?;
    let loopback_user =
        if address.ip().is_loopback() && doors.loopback_is_free().await.map_err(StartError::Bootstrap)? {
            tracing::warn!(
                user = people.user,
                "no token is configured: everybody on this machine acts as {} with the role admin",
                people.user
            );
            Some(people.user)
        } else {
            None
        };
    let is_tls = tls.is_some();
    health.look().await; // before anybody can ask
    let port = Port { listener, tls, limits: config.limits, router, metrics: metrics.clone(), stop: stop.clone() };
    let port = tokio::spawn(port.serve());
    tracing::info!(address = %url(address, is_tls), data = %config.data.display(), database = %config.database.redacted(), "listening");
    Ok(Running {
        address,
        tls: is_tls,
        admin_token: people.admin_token,
        loopback_user,
        store,
        fleet,
        metrics,
        reconcilers,
        stop,
        port,
        health: tokio::spawn(health.keep(HEALTH)),
        audit: audit_task,
        _lock: lock,
    })
}

/// Opens the database; stands by for as long as another server is active on it.
async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let synchronous = match config.synchronous {
        Synchronous::Full => seatrial_store::Synchronous::Full,
        Synchronous::Normal => seatrial_store::Synchronous::Normal,
    };
    let options = seatrial_store::Options { synchronous };
    let mut stands_by = false;
    loop {
        match seatrial_store::open(&config.store_address(), options).await {
            Ok(store) => return Ok(store),
            Err(StoreError::Held { holder }) => {
                if !stands_by {
                    stands_by = true;
                    let database = config.database.redacted();
                    tracing::warn!(%database, %holder, "another server is active on this database; standing by");
                }
                tokio::time::sleep(STAND_BY).await;
            }
            Err(source) => return Err(StartError::Store { database: config.database.redacted(), source }),
        }
    }
}

fn reconcilers(
    config: &Config,
    fleet: &Fleet,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    artifacts: &Artifacts,
    metrics: &Metrics,
) -> Reconcilers {
    let mut others: Vec<Arc<dyn Reconciler>> = Vec::new();
    if !config.garbage_interval.is_zero() {
        others.push(Arc::new(Collector {
            artifacts: artifacts.clone(),
            interval: config.garbage_interval,
            min_age: config.garbage_min_age,
        }));
    }
    let holder = format!("{} {:016x}", std::process::id(), u64::from_le_bytes(entropy()));
    tasks::start(fleet, store, clock, &holder, metrics, others)
}

/// Who may use the server at its start.
struct People {
    bootstrap: Bootstrap,
    /// The operating system's user.
    user: String,
    admin_token: Option<Secret>,
}

impl People {
    async fn prepare(config: &Config, store: &dyn Store, clock: &dyn Clock) -> Result<Self, StartError> {
        let now = clock.now();
        let user = user_name();
        let seed = BootstrapSeed {
            project: ProjectId::new(now, entropy()),
            principal: PrincipalId::new(now, entropy()),
            user: user.clone(),
            now,
        };
        let bootstrap = store.bootstrap(&seed).await.map_err(StartError::Bootstrap)?;
        let mut people = store.has_people(now).await.map_err(StartError::Bootstrap)?;
        let mut admin_token = None;
        if config.print_admin_token && !people {
            let secret = Secret::new(Kind::Token, entropy());
            let token = NewToken {
                id: TokenId::new(now, entropy()),
                principal: PrincipalId::new(now, entropy()),
                project: bootstrap.project,
                name: "admin".to_owned(),
                role: Role::Admin,
                hash: secret.hash(),
                device: None,
                created_at: now,
                expires_at: None,
            };
            store.create_token(&token).await.map_err(StartError::Bootstrap)?;
            admin_token = Some(secret);
            people = true;
        }
        if !config.is_loopback() && !people && !config.insecure {
            return Err(StartError::NoTokens { address: config.listen });
        }
        Ok(Self { bootstrap, user, admin_token })
    }
}

/// The parts from which the router is put together.
struct Assembly<'a> {
    store: &'a Arc<dyn Store>,
    clock: &'a Arc<dyn Clock>,
    fleet: &'a Fleet,
    artifacts: Artifacts,
    metrics: &'a Metrics,
    readiness: Readiness,
}

impl Assembly<'_> {
    /// The router, and what keeps its health service up to date.
    fn router(
        self,
        config: &Config,
        doors: Doors,
        people: &People,
        url: String,
    ) -> Result<(axum::Router, Reporting), StartError> {
        let Self { store, clock, fleet, artifacts, metrics, readiness } = self;
        let submissions = Submissions {
            store: store.clone(),
            fleet: fleet.clone(),
            clock: clock.clone(),
            max_jobs: config.limits.jobs_per_run,
            planning: Arc::new(Semaphore::new(PLANS)),
        };
        let actions =
            WebActions { submissions: submissions.clone(), user: (people.user.clone(), people.bootstrap.principal) };
        let pages = seatrial_dashboards::router(Dashboards {
            // Upcasting keeps the pages from seeing anything but reads.
            read: store.clone(),
            live: Arc::new(fleet.clone()),
            actions: Arc::new(actions),
            clock: clock.clone(),
            version: VERSION.to_owned(),
            zone: jiff::tz::TimeZone::system(),
            address: url,
        });
        let control = Control {
            store: store.clone(),
            fleet: fleet.clone(),
            clock: clock.clone(),
            artifacts: artifacts.clone(),
            submissions,
            doors: doors.clone(),
            database: database_name(config),
        };
        let edge = Edge {
            doors,
            artifacts: artifacts::http::Door { artifacts, fleet: fleet.clone() },
            readiness: readiness.clone(),
            fleet: fleet.clone(),
            metrics: metrics.clone(),
        };
        let agents = agents::service(fleet.clone(), store.clone(), clock.clone());
        let grpc = control.add_to(Routes::default().add_service(agents));
        let (reporter, health) = tonic_health::server::health_reporter();
        let health_kept = Reporting::new(readiness, reporter, &[&[agents::SERVICE], Control::SERVICES].concat());
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| StartError::Reflection(error.to_string()))?;
        let grpc = grpc.add_service(health).add_service(reflection).into_axum_router();
        // The pages say what leads nowhere; tonic has a fallback of its own, which the guard answers for.
        Ok((router(edge, pages, grpc.reset_fallback()), health_kept))
    }
}

fn database_name(config: &Config) -> &'static str {
    match &config.database {
        Database::Url(url) if url.starts_with("postgres") => "postgres",
        Database::Url(_) | Database::Embedded => "sqlite",
    }
}

fn url(address: SocketAddr, tls: bool) -> String {
    format!("{}://{address}", if tls { "https" } else { "http" })
}
