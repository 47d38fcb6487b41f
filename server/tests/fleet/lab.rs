//! A real store, a real actor and real tonic over loopback; only time can be moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::ids::{DeviceId, JobId, ModelId, ModelVersionId, PrincipalId, ProjectId, RunId, VariantId};
use seatrial_core::job::{JobSpec, JobState, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::model::{Format, Manifest, ManifestEntry, Precision, Signature};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::role::Role;
use seatrial_core::store::{
    BootstrapSeed, JobRow, NewJob, NewModelVersion, NewRun, NewVariant, RunState, ServiceRow, Store,
};
use seatrial_core::time::{Clock, Monotonic, Timestamp};
use seatrial_server::auth::token::{Kind, bearer};
use seatrial_server::auth::{Caller, Presented};
use seatrial_server::fleet::{Fleet, Settings};
use seatrial_server::metrics::Metrics;
use seatrial_server::system::{SystemClock, entropy};
use seatrial_server::{agents, tasks};
use seatrial_sim::connection::dial;
use seatrial_sim::{Connection, Identity};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// What every run of a lab is of, without a gate.
pub(crate) const SUITE: &str =
    "name = \"test\"\nmodels = [\"digits\", \"faces\"]\nbackends = [{ runtime = \"tract\", threads = [1] }]\n";

/// A clock that a test can move forward.
pub(crate) struct MovedClock {
    system: SystemClock,
    ahead: AtomicU64,
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        self.system.now().plus(Duration::from_nanos(self.ahead.load(Ordering::SeqCst)))
    }

    fn monotonic(&self) -> Monotonic {
        self.system.monotonic().plus(Duration::from_nanos(self.ahead.load(Ordering::SeqCst)))
    }
}

pub(crate) struct Lab {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) fleet: Fleet,
    pub(crate) address: String,
    pub(crate) clock: Arc<MovedClock>,
    pub(crate) project: ProjectId,
    pub(crate) principal: PrincipalId,
    /// Callers of tokens, by hash; with none, everybody is the user on loopback.
    pub(crate) callers: Arc<Mutex<HashMap<Digest, Caller>>>,
    variant: VariantId,
    reconcilers: Option<tasks::Reconcilers>,
    server: JoinHandle<()>,
    _folder: Arc<tempfile::TempDir>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.fleet.stop();
        self.server.abort();
    }
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::around(|store| store).await
    }

    /// A lab whose server sees its store through something else.
    pub(crate) async fn around(wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = format!("sqlite:{}", folder.path().join("seatrial.db").display());
        let options = seatrial_store::Options { synchronous: seatrial_store::Synchronous::Normal };
        let store = seatrial_store::open(&url, options).await.unwrap();
        let clock = Arc::new(MovedClock { system: SystemClock::new(), ahead: AtomicU64::new(0) });
        let now = clock.now();
        let seed = BootstrapSeed {
            project: ProjectId::new(now, entropy()),
            principal: PrincipalId::new(now, entropy()),
            user: "tester".to_owned(),
            now,
        };
        let ids = store.bootstrap(&seed).await.unwrap();
        let variant = VariantId::new(now, entropy());
        add_model(&*store, ids.project, ids.principal, variant, now).await;
        let callers = Arc::default();
        let store = wrap(store);
        let served = serve(&store, &clock, ids.project, ids.principal, &callers).await;
        let (fleet, address, reconcilers, server) = served;
        Self {
            store,
            fleet,
            address,
            clock,
            project: ids.project,
            principal: ids.principal,
            callers,
            variant,
            reconcilers: Some(reconcilers),
            server,
            _folder: folder,
        }
    }

    /// Ends the actor and every connection at once, and starts a new one on the same database.
    pub(crate) async fn restart(&mut self) {
        self.end_reconcilers();
        self.fleet.stop();
        self.server.abort();
        let served = serve(&self.store, &self.clock, self.project, self.principal, &self.callers).await;
        let (fleet, address, reconcilers, server) = served;
        (self.fleet, self.address, self.server) = (fleet, address, server);
        self.reconcilers = Some(reconcilers);
    }

    /// From now on nothing is reconciled but by the test.
    pub(crate) fn end_reconcilers(&mut self) {
        self.reconcilers = None;
    }

    /// Moves the clocks of the server, and lets the actor look at them.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.ahead.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
        let nobody = DeviceId::new(Timestamp::default(), [0; 10]);
        self.fleet.decided(ServiceRow::untouched(nobody)).await.unwrap();
    }

    pub(crate) async fn dial(&self) -> Channel {
        dial(&self.address).await.unwrap()
    }

    pub(crate) async fn connect(&self, identity: &Identity) -> Connection {
        Connection::open(self.dial().await, identity).await.unwrap()
    }

    /// Submits a run of one job for each of these devices.
    pub(crate) async fn submit(&self, devices: &[DeviceId]) -> (RunId, Vec<JobId>) {
        self.submit_of(devices, &Signature::default()).await
    }

    /// The same with what a client claimed of the model's inputs and outputs.
    pub(crate) async fn submit_of(&self, devices: &[DeviceId], claimed: &Signature) -> (RunId, Vec<JobId>) {
        self.submit_run(self.new_run(devices, claimed)).await
    }

    /// A run of one job for each of these devices, to be changed before it is submitted.
    pub(crate) fn new_run(&self, devices: &[DeviceId], claimed: &Signature) -> NewRun {
        let now = self.clock.now();
        let job = |device: &DeviceId| NewJob {
            id: JobId::new(now, entropy()),
            device: *device,
            variant: self.variant,
            dataset: None,
            spec: spec(claimed.clone()),
        };
        NewRun {
            id: RunId::new(now, entropy()),
            project: self.project,
            created_by: self.principal,
            created_at: now,
            suite: "test".to_owned(),
            suite_text: SUITE.to_owned(),
            submission: None,
            rerun_of: None,
            priority: 0,
            max_wait: Duration::from_mins(10),
            reservation: None,
            jobs: devices.iter().map(job).collect(),
            misfits: vec![],
        }
    }

    pub(crate) async fn submit_run(&self, new: NewRun) -> (RunId, Vec<JobId>) {
        let run = new.id;
        self.store.create_run(&new).await.unwrap();
        let open = self.store.open_jobs().await.unwrap().into_iter().filter(|job| job.run == run).collect();
        self.fleet.submitted(run, open).await.unwrap();
        (run, new.jobs.iter().map(|job| job.id).collect())
    }

    pub(crate) async fn job(&self, job: JobId) -> JobRow {
        self.store.job(job).await.unwrap().unwrap()
    }

    /// Waits until the job has ended, and says how.
    pub(crate) async fn outcome(&self, job: JobId) -> Outcome {
        eventually("the job ends", async || match self.job(job).await.state {
            JobState::Done { outcome } => Some(outcome),
            JobState::Queued | JobState::Leased { .. } | JobState::Quarantined => None,
        })
        .await
    }

    /// Waits until the run has ended, and says how.
    pub(crate) async fn run_state(&self, run: RunId) -> RunState {
        eventually("the run ends", async || {
            let state = self.store.run(run).await.unwrap().unwrap().state;
            (state != RunState::Running).then_some(state)
        })
        .await
    }

    /// What the attempts of a job ended as, oldest first.
    pub(crate) async fn attempts(&self, job: JobId) -> Vec<Option<Outcome>> {
        self.store.attempts(job).await.unwrap().iter().map(|attempt| attempt.outcome).collect()
    }
}

/// Asks again and again until there is an answer, for ten seconds at most.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came about that {what}");
}

pub(crate) fn device_of(connection: &Connection) -> DeviceId {
    connection.welcome.device.parse().unwrap()
}

async fn serve(
    store: &Arc<dyn Store>,
    clock: &Arc<MovedClock>,
    project: ProjectId,
    principal: PrincipalId,
    callers: &Arc<Mutex<HashMap<Digest, Caller>>>,
) -> (Fleet, String, tasks::Reconcilers, JoinHandle<()>) {
    let clock: Arc<dyn Clock> = clock.clone();
    let fleet = Fleet::start(store.clone(), clock.clone(), Settings::default()).await.unwrap();
    let service = agents::service(fleet.clone(), store.clone(), clock.clone());
    let reconcilers = tasks::start(&fleet, store, &clock, "test", &Metrics::new(), vec![]);
    let callers = callers.clone();
    let door = move |mut request: tonic::Request<()>| -> Result<tonic::Request<()>, Status> {
        let headers = request.metadata().clone().into_headers();
        let caller = match bearer(&headers) {
            None => Caller {
                principal,
                principal_name: "tester".to_owned(),
                project,
                role: Role::Agent,
                device: None,
                token: None,
            },
            Some(Ok(secret)) if secret.kind() == Kind::Enrolment => {
                request.extensions_mut().insert(Presented(secret.hash()));
                return Ok(request);
            }
            Some(Ok(secret)) => {
                let callers = callers.lock().unwrap();
                callers.get(&secret.hash()).cloned().ok_or_else(|| Status::unauthenticated("unknown token"))?
            }
            Some(Err(error)) => return Err(Status::unauthenticated(error.to_string())),
        };
        request.extensions_mut().insert(caller);
        Ok(request)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(InterceptedService::new(service, door))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(async move { server.await.unwrap() });
    (fleet, address, reconcilers, server)
}

async fn add_model(store: &dyn Store, project: ProjectId, principal: PrincipalId, variant: VariantId, now: Timestamp) {
    store.put_artifact(&Digest::of(b"model"), 5, now).await.unwrap();
    let version = NewModelVersion {
        model: ModelId::new(now, entropy()),
        id: ModelVersionId::new(now, entropy()),
        project,
        name: "digits".to_owned(),
        created_by: principal,
        created_at: now,
        parent: None,
        commit: None,
        build_address: None,
        labels: std::collections::BTreeMap::default(),
        origin: None,
        license: None,
        variants: vec![NewVariant {
            id: variant,
            name: "fp32".to_owned(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: manifest(),
            signature: Signature::default(),
        }],
        bindings: vec![],
    };
    store.add_model_version(&version).await.unwrap();
}

fn manifest() -> Manifest {
    let entry = ManifestEntry {
        role: "model".to_owned(),
        digest: Digest::of(b"model"),
        size: 5,
        file_name: "model.onnx".to_owned(),
    };
    Manifest { entries: vec![entry] }
}

fn spec(signature: Signature) -> JobSpec {
    JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: "digits".to_owned(),
            version: 1,
            variant: "fp32".to_owned(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: manifest(),
            signature,
        },
        binding: Binding::default(),
        dataset: None,
        package: None,
        backend: Backend {
            runtime: "tract".to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        profile: MeasurementProfile::of(ProfileKind::Quick),
        limits: Limits::default(),
        seed: 7,
    }
}
