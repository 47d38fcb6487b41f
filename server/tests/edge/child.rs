//! What needs a process of its own: a limit on its file descriptors, and its log.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use seatrial_server::config::LogFormat;
use seatrial_server::{Config, Shutdown};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::{PATIENCE, client, eventually};

const FOLDER: &str = "SEATRIAL_EDGE_FOLDER";
const DESCRIPTORS: &str = "SEATRIAL_EDGE_DESCRIPTORS";

/// Not a test of its own: the server of the tests below, in a process that they start.
#[test]
#[ignore = "started by other tests, as a process of its own"]
fn server_in_a_child() {
    let folder = std::env::var(FOLDER).unwrap();
    if let Ok(limit) = std::env::var(DESCRIPTORS) {
        let limit = limit.parse().ok();
        setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    }
    seatrial_server::logging::init(LogFormat::Json, Some("trace"));
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        let config = Config { print_admin_token: true, ..Config::embedded(folder) };
        let server = seatrial_server::start(config).await.unwrap();
        let token = server.admin_token.as_ref().map(|token| token.reveal().to_owned()).unwrap_or_default();
        writeln!(std::io::stdout(), "\nserver {} {token}", server.address).unwrap();
        let _ = tokio::io::stdin().read(&mut [0]).await;
        server.shutdown(Shutdown::Soft { deadline: Duration::from_secs(5) }).await;
    });
}

struct Server {
    child: Child,
    address: String,
    token: String,
    log: tokio::task::JoinHandle<String>,
}

impl Server {
    async fn start(folder: &Path, descriptors: Option<u32>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::server_in_a_child", "--ignored", "--nocapture"]).env(FOLDER, folder);
        if let Some(descriptors) = descriptors {
            command.env(DESCRIPTORS, descriptors.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut log = Vec::new();
            stderr.read_to_end(&mut log).await.unwrap();
            String::from_utf8_lossy(&log).into_owned()
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.starts_with("server ") {
                    return line;
                }
            }
            panic!("the child ended before it listened")
        });
        let line = line.await.unwrap();
        let mut words = line.split(' ').skip(1).map(str::to_owned);
        let (address, token) = (words.next().unwrap(), words.next().unwrap());
        // What the test harness prints at the end must find a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address, token, log }
    }

    /// Ends it softly; returns its log.
    async fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
        self.log.await.unwrap()
    }
}

async fn is_healthy(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4096];
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_ok()
        && matches!(timeout(Duration::from_secs(2), stream.read(&mut answer)).await, Ok(Ok(read)) if answer[..read].starts_with(b"HTTP/1.1 200"))
}

#[tokio::test]
async fn a_server_out_of_file_descriptors_serves_those_inside_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), Some(100)).await;
    let mut inside = TcpStream::connect(&server.address).await.unwrap();
    assert!(is_healthy(&mut inside).await);

    let mut crowd = Vec::new();
    for _ in 0..150 {
        crowd.push(TcpStream::connect(&server.address).await.unwrap());
    }
    let mut late = TcpStream::connect(&server.address).await.unwrap();
    assert!(!is_healthy(&mut late).await, "100 descriptors were enough for 150 connections: the test tests nothing");
    assert!(is_healthy(&mut inside).await, "a connection inside is not served");

    drop((crowd, late));
    eventually("a new connection is served", async || {
        is_healthy(&mut TcpStream::connect(&server.address).await.unwrap()).await
    })
    .await;
    let log = server.stop().await;
    assert_eq!(log.matches("cannot accept connections").count(), 1, "it is logged once, not a thousand times");
    assert!(log.contains("accepting connections again"));
}

#[tokio::test]
async fn a_token_is_in_no_log_and_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), None).await;
    let token = server.token.clone();
    assert!(token.starts_with("st_"));
    let url = format!("http://{}", server.address);
    let metrics = client().get(format!("{url}/metrics")).bearer_auth(&token).send().await.unwrap();
    assert!(metrics.status().is_success());
    let form = format!("token={token}");
    let login = client().post(format!("{url}/login")).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(login.body(form).send().await.unwrap().status(), http::StatusCode::SEE_OTHER);
    let cookie = format!("seatrial_session={token}");
    assert!(
        client().get(format!("{url}/metrics")).header("cookie", cookie).send().await.unwrap().status().is_success()
    );
    let mut info = seatrial_proto::v1::server_client::ServerClient::connect(url).await.unwrap();
    let mut request = tonic::Request::new(seatrial_proto::v1::InfoRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert!(info.info(request).await.is_ok());
    drop(info);

    let log = server.stop().await;
    assert!(log.contains("seatrial.v1.Server/Info"), "the log holds what happened, or its silence proves nothing");
    for line in log.lines() {
        assert!(!line.contains(&token), "in the log: {line}");
    }
    let mut read = 0;
    search(folder.path(), token.as_bytes(), &mut read);
    assert!(read > 1000, "only {read} bytes were searched");
}

/// Fails where a file below the folder holds the bytes.
fn search(folder: &Path, canary: &[u8], read: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            search(&entry.path(), canary, read);
        } else {
            let bytes = std::fs::read(entry.path()).unwrap();
            *read += bytes.len();
            assert!(!bytes.windows(canary.len()).any(|window| window == canary), "in {}", entry.path().display());
        }
    }
}
