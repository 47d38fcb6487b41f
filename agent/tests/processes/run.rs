//! `seatrial-agent run` as a process of its own, against a server that the test plays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use seatrial_core::digest::Digest;
use seatrial_core::ids::JobId;
use seatrial_core::job::{AttemptRef, Grant, JobSpec};
use seatrial_core::outcome::Outcome;
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

const PATIENCE: Duration = Duration::from_secs(20);

/// One stream of an agent, as the test holds it.
struct Session {
    hello: v1::Hello,
    authorization: Option<String>,
    from_agent: Streaming<v1::AgentMessage>,
    to_agent: mpsc::Sender<Result<v1::ServerMessage, Status>>,
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
        let session = Session { hello, authorization, from_agent, to_agent };
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Artifacts by digest, and what was asked for.
#[derive(Default)]
struct Artifacts {
    files: BTreeMap<String, Vec<u8>>,
    /// Digest, first byte asked for.
    requests: Vec<(String, usize)>,
    /// Bytes after which the next answers break off.
    cuts: Vec<usize>,
    /// Answers with other bytes than the digest names.
    damage: bool,
}

type Shared = Arc<Mutex<Artifacts>>;

async fn artifact(
    State(shared): State<Shared>,
    UrlPath(digest): UrlPath<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, Vec<u8>), StatusCode> {
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
    Ok((if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }, bytes))
}

struct Server {
    address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    artifacts: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::at("127.0.0.1:0").await
    }

    async fn at(address: &str) -> Self {
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
    async fn session(&mut self) -> Session {
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

    fn offer(&self, bytes: &[u8]) {
        self.artifacts.lock().unwrap().files.insert(Digest::of(bytes).to_string(), bytes.to_vec());
    }

    fn requests(&self) -> Vec<(String, usize)> {
        self.artifacts.lock().unwrap().requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    async fn say(&self, message: ToAgent) {
        self.to_agent.send(Ok(v1::ServerMessage { message: Some(message) })).await.unwrap();
    }

    async fn assign(&self, attempt: AttemptRef, spec: &JobSpec) {
        let grant = Grant::Stage { length: Duration::from_mins(1) };
        self.say(ToAgent::Assignment(v1::Assignment {
            attempt: Some(attempt_to_wire(attempt)),
            spec_json: serde_json::to_string(spec).unwrap(),
            grant: Some(grant_to_wire(attempt, grant)),
        }))
        .await;
    }

    /// The next message that `pick` wants; the server's own heartbeats keep the stream meanwhile.
    async fn until<T>(&mut self, pick: impl Fn(FromAgent) -> Option<T>) -> T {
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

    async fn report(&mut self) -> (AttemptRef, Report) {
        let wire = self.until(|message| if let FromAgent::Report(report) = message { Some(report) } else { None });
        report_from_wire(wire.await).unwrap()
    }

    /// The next report, acknowledged as durable.
    async fn delivered(&mut self) -> Report {
        let (attempt, report) = self.report().await;
        self.durable(attempt).await;
        report
    }

    async fn stage(&mut self, stage: &str) {
        self.until(|message| matches!(message, FromAgent::Stage(entered) if entered.stage == stage).then_some(()))
            .await;
    }

    /// The next share of the stage that the agent tells.
    async fn share(&mut self, stage: &str) -> f64 {
        self.until(|message| {
            let FromAgent::Stage(entered) = message else { return None };
            if entered.stage == stage { entered.progress } else { None }
        })
        .await
    }

    async fn durable(&self, attempt: AttemptRef) {
        self.say(ToAgent::Durable(v1::ReportDurable { attempt: Some(attempt_to_wire(attempt)) })).await;
    }
}

/// An agent's process; killed when the test is over.
struct Agent(Child);

impl Agent {
    fn start(server: SocketAddr, folder: &Path, more: &[&str]) -> Self {
        Self::with_faults(server, folder, more, "")
    }

    fn with_faults(server: SocketAddr, folder: &Path, more: &[&str], faults: &str) -> Self {
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

    fn signal(&self, signal: i32) {
        let status = Command::new("kill").args([format!("-{signal}"), self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    async fn ended(&mut self) -> std::process::ExitStatus {
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

fn attempt(number: u8) -> AttemptRef {
    AttemptRef { job: JobId::new(Timestamp::from_micros(1), [number; 10]), attempt: 1 }
}

fn job(script: &str) -> JobSpec {
    common::job("fake", "script.onnx", script.as_bytes())
}

/// Waits until no process of the agent's attempts is left.
async fn quiet(folder: &Path) {
    let begun = Instant::now();
    while !common::left_behind(folder).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?} are left", common::left_behind(folder));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_job_is_taken_run_reported_and_its_report_kept_until_durable() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    assert!(session.hello.profile_json.contains("\"tract\"") && session.hello.held.is_empty());
    session.assign(attempt(1), &job("well")).await;
    let (of, report) = session.report().await;
    assert_eq!((of, report.outcome), (attempt(1), Outcome::Ok), "{:?}", report.message);

    let spooled = || {
        std::fs::read_dir(home.path().join("spool")).unwrap().flatten().filter(|entry| entry.path().is_file()).count()
    };
    assert_eq!(spooled(), 1);
    session.durable(attempt(1)).await;
    let begun = Instant::now();
    while spooled() > 0 {
        assert!(begun.elapsed() < PATIENCE, "the spool keeps what is durable");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // The second job with the same model moves no byte of it.
    session.assign(attempt(2), &job("well")).await;
    let (_, report) = session.report().await;
    assert_eq!(report.stages[0].note.as_deref(), Some("1 files, 0 bytes moved"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn how_far_a_stage_is_is_told_while_it_lasts() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.profile.stop.min_time = Duration::from_secs(4);
    spec.profile.stop.max_samples = u32::MAX;
    session.assign(attempt(1), &spec).await;
    let (first, second) = (session.share("measure").await, session.share("measure").await);
    assert!(0.0 < first && first < second && second < 1.0, "{first} then {second}");
    assert_eq!(session.report().await.1.outcome, Outcome::Ok);
}

#[tokio::test]
async fn an_interrupted_transfer_goes_on_where_it_ended() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well in inference");
    server.artifacts.lock().unwrap().cuts = vec![3, 5];
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well in inference")).await;
    let (_, report) = session.report().await;
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    assert_eq!(server.requests().iter().map(|(_, from)| *from).collect::<Vec<_>>(), [0, 5, 8]);
}

#[tokio::test]
async fn bytes_that_are_not_the_digests_never_become_an_artifact() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    server.artifacts.lock().unwrap().damage = true;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::TransferCorrupt, "{:?}", report.message);
    assert!(!home.path().join("cache").join(Digest::of(b"well").to_string()).exists());
    // The control: the same transfer undamaged.
    server.artifacts.lock().unwrap().damage = false;
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn an_artifact_that_the_cache_cannot_hold_is_storage_full_and_the_next_job_runs() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let large = format!("well{}", " ".repeat(5000));
    server.offer(large.as_bytes());
    server.offer(b"well");
    server.offer(b"well in load");
    let _agent = Agent::start(server.address, home.path(), &["--cache-bytes", "12"]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job(&large)).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::StorageFull, "{:?}", report.message);
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
    // The older one makes room for the newer.
    session.assign(attempt(3), &job("well in load")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
    let cached = |bytes: &[u8]| home.path().join("cache").join(Digest::of(bytes).to_string()).exists();
    assert!(!cached(b"well") && cached(b"well in load"));
}

#[tokio::test]
async fn a_killed_agent_leaves_no_process_and_names_the_attempt_that_it_lost() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    assert!(!common::left_behind(home.path()).is_empty(), "the control: there is a child");
    agent.signal(9);
    agent.ended().await;
    quiet(home.path()).await;

    let _agent = Agent::start(server.address, home.path(), &[]);
    let session = server.session().await;
    assert_eq!(session.hello.lost, [attempt_to_wire(attempt(1))]);
    assert!(session.hello.held.is_empty());
}

#[tokio::test]
async fn a_job_that_kills_its_agent_leaves_no_process_either() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"kill parent in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let session = server.session().await;
    session.assign(attempt(1), &job("kill parent in load")).await;
    agent.ended().await;
    quiet(home.path()).await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    assert_eq!(server.session().await.hello.lost.len(), 1);
}

#[tokio::test]
async fn an_escaped_process_of_a_killed_agent_is_gone_before_the_next_hello() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"fork bomb in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("fork bomb in load")).await;
    session.stage("load").await;
    while common::left_behind(home.path()).len() < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.signal(9);
    agent.ended().await;
    assert!(!common::left_behind(home.path()).is_empty(), "the control: they outlive the agent");
    let _agent = Agent::start(server.address, home.path(), &[]);
    server.session().await;
    assert_eq!(common::left_behind(home.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_report_outlives_server_and_agent() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    session.report().await;
    agent.signal(9);
    agent.ended().await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    assert_eq!(session.hello.held.len(), 1);
    assert!(session.hello.lost.is_empty(), "a spooled report is not lost");
    assert_eq!(session.report().await.0, attempt(1));
}

#[tokio::test]
async fn a_job_goes_on_while_the_server_is_away_and_its_report_follows() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let address = server.address;
    let _agent = Agent::start(address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.profile.stop.min_time = Duration::from_secs(2);
    session.assign(attempt(1), &spec).await;
    session.stage("measure").await;
    drop((session, server));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut server = Server::at(&address.to_string()).await;
    let mut session = server.session().await;
    let (of, report) = session.report().await;
    assert_eq!((of, report.outcome), (attempt(1), Outcome::Ok));
}

#[tokio::test]
async fn a_report_waits_on_disk_for_a_server_that_is_away_and_is_delivered_once() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let address = server.address;
    let _agent = Agent::start(address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.profile.stop.min_time = Duration::from_secs(1);
    session.assign(attempt(1), &spec).await;
    session.stage("measure").await;
    drop((session, server));
    let spooled = || {
        std::fs::read_dir(home.path().join("spool")).unwrap().flatten().filter(|entry| entry.path().is_file()).count()
    };
    let begun = Instant::now();
    while spooled() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the report is not kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Long enough for several attempts to connect, none of which costs the report.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(spooled(), 1);

    let mut server = Server::at(&address.to_string()).await;
    server.offer(b"well");
    let mut session = server.session().await;
    assert_eq!(session.report().await.0, attempt(1));
    session.durable(attempt(1)).await;
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.report().await.0, attempt(2), "the first is not sent again");
    session.durable(attempt(2)).await;
    let begun = Instant::now();
    while spooled() > 0 {
        assert!(begun.elapsed() < PATIENCE, "what is durable stays in the spool");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_grant_that_ends_stops_the_attempt_within_a_second_and_nothing_is_reported() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    let grant = grant_to_wire(attempt(1), Grant::Online { length: Duration::from_secs(1) });
    session.say(ToAgent::Grant(grant)).await;
    tokio::time::sleep(Duration::from_millis(1800)).await;
    assert_eq!(common::left_behind(home.path()), Vec::<String>::new());
    // The agent is free again, and the first thing that it reports is the next job.
    server.offer(b"well");
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.report().await.0, attempt(2));
}

#[tokio::test]
async fn a_frozen_agent_whose_grant_ended_records_nothing_after_the_thaw() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.profile.stop.min_time = Duration::from_millis(1500);
    session.assign(attempt(1), &spec).await;
    session.stage("measure").await;
    let grant = grant_to_wire(attempt(1), Grant::Online { length: Duration::from_secs(2) });
    session.say(ToAgent::Grant(grant)).await;
    session.until(|message| matches!(message, FromAgent::Heartbeat(_) | FromAgent::Stage(_)).then_some(())).await;
    // The child ends by itself while the agent is frozen; the grant ends as well.
    agent.signal(19);
    tokio::time::sleep(Duration::from_secs(3)).await;
    agent.signal(18);
    let mut session = match tokio::time::timeout(Duration::from_millis(500), server.sessions.recv()).await {
        Ok(_) => panic!("the stream is still open"),
        Err(_) => session,
    };
    session.assign(attempt(2), &job("well")).await;
    let first = session.until(|message| {
        let FromAgent::Report(report) = message else { return None };
        Some(report_from_wire(report).unwrap().0)
    });
    assert_eq!(first.await, attempt(2), "no report of the attempt whose grant ended");
}

#[tokio::test]
async fn a_cancelled_job_is_reported_as_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    session
        .say(ToAgent::Cancel(v1::Cancel { attempt: Some(attempt_to_wire(attempt(1))), reason: "by hand".into() }))
        .await;
    assert_eq!(session.report().await.1.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn terminate_drains_and_a_second_one_does_not_wait() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    agent.signal(15);
    session.until(|message| matches!(message, FromAgent::Drain(_)).then_some(())).await;
    assert!(agent.0.try_wait().unwrap().is_none(), "it finishes what runs");
    agent.signal(15);
    assert!(agent.ended().await.success());
    quiet(home.path()).await;
}

#[tokio::test]
async fn enrolment_trades_the_one_time_token_for_a_token_that_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let mut agent = Agent::start(server.address, home.path(), &["--enrol", "once"]);
    assert_eq!(server.session().await.authorization.as_deref(), Some("Bearer own"));
    let begun = Instant::now();
    while !home.path().join("device").exists() {
        assert!(begun.elapsed() < PATIENCE, "the agent does not keep its id");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    agent.signal(15);
    agent.ended().await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let session = server.session().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer own"));
    let evidence = session.hello.evidence.unwrap();
    assert_eq!(evidence.agent_id.as_deref(), Some("0199f0c2-5b1e-7cc3-98c4-dc0c0c07398f"));
}

#[tokio::test]
async fn a_wrong_one_time_token_ends_the_agent_with_an_explanation() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let mut agent = Agent::start(server.address, home.path(), &["--enrol", "twice"]);
    assert!(!agent.ended().await.success());
}

/// Kills the agent while it stands at a fault point between the end of an attempt and its report on disk.
async fn killed_at(point: &str) -> (Vec<v1::AttemptRef>, Vec<v1::AttemptRef>) {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let mut agent = Agent::with_faults(server.address, home.path(), &[], &format!("{point}=sleep(60000)"));
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    session.stage("accuracy").await;
    let reached = || {
        let entries = std::fs::read_dir(home.path().join("spool")).unwrap().flatten();
        point == "report-before-spool" || entries.filter(|entry| entry.path().is_file()).count() > 0
    };
    while !reached() || !common::left_behind(home.path()).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    agent.signal(9);
    agent.ended().await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let hello = server.session().await.hello;
    (hello.held.into_iter().filter_map(|held| held.attempt).collect(), hello.lost)
}

#[tokio::test]
async fn a_kill_at_any_point_of_spooling_leaves_the_attempt_either_reported_or_lost_and_never_both() {
    let this = || vec![attempt_to_wire(attempt(1))];
    for point in ["report-before-spool", "spool-before-sync", "spool-before-rename"] {
        assert_eq!(killed_at(point).await, (vec![], this()), "{point}");
    }
    assert_eq!(killed_at("spool-before-folder-sync").await, (this(), vec![]));
}

#[tokio::test]
async fn a_full_disk_under_the_cache_is_storage_full_and_passes() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::with_faults(server.address, home.path(), &[], "cache-write=1*return");
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::StorageFull);
    // The control: the disk has room again.
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_full_disk_under_the_spool_still_reports_what_is_essential() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::with_faults(server.address, home.path(), &[], "spool-before-write=1*return");
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::StorageFull);
    assert!(report.message.unwrap().contains("the attempt ended with ok"));
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
}
