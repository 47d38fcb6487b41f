//! The server that a test plays, and an agent as a process of its own beside it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use futures::{StreamExt as _, stream};
use seatrial_core::digest::Digest;
use seatrial_core::ids::JobId;
use seatrial_core::job::{AttemptRef, Grant, JobSpec};
use seatrial_core::report::Report;
use seatrial_core::time::Timestamp;
use seatrial_proto::v1::agent_message::Message as FromAgent;
use seatrial_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use seatrial_proto::v1::server_message::Message as ToAgent;
use seatrial_proto::{attempt_to_wire, grant_to_wire, report_from_wire, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::common;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One stream of an agent, as the test holds it.
pub(crate) struct Session {
    pub(crate) hello: v1::Hello,
    pub(crate) authorization: Option<String>,
    pub(crate) from_agent: Streaming<v1::AgentMessage>,
    pub(crate) to_agent: mpsc::Sender<Result<v1::ServerMessage, Status>>,
}

struct Service {
    sessions: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl AgentService for Service {
    type OpenSessionStream = ReceiverStream<Result<v1::ServerMessage, Status>>;

    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        match request.metadata().get("authorization").map(tonic::metadata::MetadataValue::as_bytes) {
            Some(b"Bearer once") => Ok(Response::new(v1::EnrolResponse { token: "own".into() })),
            _ => Err(Status::unauthenticated("unknown one-time token")),
        }
    }

    async fn open_session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let authorization =
            request.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut from_agent = request.into_inner();
        let Some(FromAgent::Hello(hello)) = from_agent.message().await?.and_then(|message| message.message) else {
            return Err(Status::invalid_argument("expected a hello"));
        };
        let (to_agent, stream) = mpsc::channel(16);
        let session = Session { hello: *hello, authorization, from_agent, to_agent };
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Artifacts by digest, and what was asked for.
#[derive(Default)]
pub(crate) struct Artifacts {
    files: BTreeMap<String, Vec<u8>>,
    /// Digest, first byte asked for.
    pub(crate) requests: Vec<(String, usize)>,
    /// Bytes after which the next answers break off.
    pub(crate) cuts: Vec<usize>,
    /// Answers with other bytes than the digest names.
    pub(crate) damage: bool,
    /// Answers with one byte and then says nothing more.
    pub(crate) stall: bool,
}

pub(crate) type Shared = Arc<Mutex<Artifacts>>;

async fn artifact(
    State(shared): State<Shared>,
    UrlPath(digest): UrlPath<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, Body), StatusCode> {
    let mut artifacts = shared.lock().unwrap();
    let range = headers.get("range").and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-'));
    let from: usize = range.and_then(|from| from.parse().ok()).unwrap_or(0);
    artifacts.requests.push((digest.clone(), from));
    let mut bytes = artifacts.files.get(&digest).ok_or(StatusCode::NOT_FOUND)?[from..].to_vec();
    if artifacts.damage {
        bytes[0] ^= 1;
    }
    if let Some(cut) = artifacts.cuts.pop() {
        bytes.truncate(cut);
    }
    let body = if artifacts.stall {
        bytes.truncate(1);
        let one = stream::iter([Ok::<_, std::io::Error>(bytes)]);
        Body::from_stream(one.chain(stream::pending()))
    } else {
        Body::from(bytes)
    };
    Ok((if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }, body))
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) sessions: mpsc::Receiver<Session>,
    pub(crate) artifacts: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1:0").await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let (sender, sessions) = mpsc::channel(4);
        let artifacts = Shared::default();
        let grpc =
            tonic::service::Routes::new(AgentServiceServer::new(Service { sessions: sender })).into_axum_router();
        let files = axum::Router::new()
            .route("/artifacts/{digest}", axum::routing::get(artifact))
            .with_state(Arc::clone(&artifacts));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, files.merge(grpc)).await.unwrap() });
        Self { address, sessions, artifacts, task }
    }

    /// The next stream, welcomed.
    pub(crate) async fn session(&mut self) -> Session {
        let session = tokio::time::timeout(PATIENCE, self.sessions.recv()).await.expect("no session").unwrap();
        session
            .say(ToAgent::Welcome(v1::Welcome {
                protocol: 1,
                device: "0199f0c2-5b1e-7cc3-98c4-dc0c0c07398f".into(),
                device_name: "test".into(),
                session: "s".into(),
                heartbeat_ms: 2000,
                stop: vec![],
                artifact_prefix: "/artifacts/".into(),
                server_version: "test".into(),
                grants: vec![],
            }))
            .await;
        session
    }

    pub(crate) fn offer(&self, bytes: &[u8]) {
        self.artifacts.lock().unwrap().files.insert(Digest::of(bytes).to_string(), bytes.to_vec());
    }

    pub(crate) fn requests(&self) -> Vec<(String, usize)> {
        self.artifacts.lock().unwrap().requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    pub(crate) async fn say(&self, message: ToAgent) {
        self.to_agent.send(Ok(v1::ServerMessage { message: Some(message) })).await.unwrap();
    }

    pub(crate) async fn assign(&self, attempt: AttemptRef, spec: &JobSpec) {
        let grant = Grant::Stage { length: Duration::from_mins(1) };
        self.say(ToAgent::Assignment(v1::Assignment {
            attempt: Some(attempt_to_wire(attempt)),
            spec_json: serde_json::to_string(spec).unwrap(),
            grant: Some(grant_to_wire(attempt, grant)),
        }))
        .await;
    }

    /// The next message that `pick` wants; the server's own heartbeats keep the stream meanwhile.
    pub(crate) async fn until<T>(&mut self, pick: impl Fn(FromAgent) -> Option<T>) -> T {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let wait = tokio::time::timeout(Duration::from_secs(1), self.from_agent.message()).await;
            let _ =
                self.to_agent.send(Ok(v1::ServerMessage { message: Some(ToAgent::Heartbeat(v1::Heartbeat {})) })).await;
            let Ok(message) = wait else { continue };
            let message = message.unwrap().expect("the agent closed the stream").message.unwrap();
            if let Some(found) = pick(message) {
                return found;
            }
        }
        panic!("the agent did not say what was waited for");
    }

    pub(crate) async fn report(&mut self) -> (AttemptRef, Report) {
        let wire = self.until(|message| if let FromAgent::Report(report) = message { Some(report) } else { None });
        report_from_wire(wire.await).unwrap()
    }

    /// The next report, acknowledged as durable.
    pub(crate) async fn delivered(&mut self) -> Report {
        let (attempt, report) = self.report().await;
        self.durable(attempt).await;
        report
    }

    pub(crate) async fn stage(&mut self, stage: &str) {
        self.until(|message| matches!(message, FromAgent::Stage(entered) if entered.stage == stage).then_some(()))
            .await;
    }

    /// The next share of the stage that the agent tells.
    pub(crate) async fn share(&mut self, stage: &str) -> f64 {
        self.until(|message| {
            let FromAgent::Stage(entered) = message else { return None };
            if entered.stage == stage { entered.progress } else { None }
        })
        .await
    }

    pub(crate) async fn durable(&self, attempt: AttemptRef) {
        self.say(ToAgent::Durable(v1::ReportDurable { attempt: Some(attempt_to_wire(attempt)) })).await;
    }
}

/// An agent's process; killed when the test is over.
pub(crate) struct Agent(pub(crate) Child);

impl Agent {
    pub(crate) fn start(server: SocketAddr, folder: &Path, more: &[&str]) -> Self {
        Self::with_faults(server, folder, more, "")
    }

    pub(crate) fn with_faults(server: SocketAddr, folder: &Path, more: &[&str], faults: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_seatrial-agent"))
            .args(["run", "--load-wait", "0", "--log", "warn", "--server", &format!("http://{server}"), "--folder"])
            .arg(folder)
            .args(more)
            .env("FAILPOINTS", faults)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn signal(&self, signal: i32) {
        let status = Command::new("kill").args([format!("-{signal}"), self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the agent does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn attempt(number: u8) -> AttemptRef {
    AttemptRef { job: JobId::new(Timestamp::from_micros(1), [number; 10]), attempt: 1 }
}

pub(crate) fn job(script: &str) -> JobSpec {
    common::job("fake", "script.onnx", script.as_bytes())
}

/// Waits until no process of the agent's attempts is left.
pub(crate) async fn quiet(folder: &Path) {
    let begun = Instant::now();
    while !common::left_behind(folder).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?} are left", common::left_behind(folder));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until that many reports are kept on the agent's disk.
pub(crate) async fn spooled(folder: &Path, count: usize) {
    let reports = || std::fs::read_dir(folder.join("spool")).unwrap().flatten().filter(|entry| entry.path().is_file());
    let begun = Instant::now();
    while reports().count() != count {
        assert!(begun.elapsed() < PATIENCE, "{} reports are kept instead of {count}", reports().count());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
