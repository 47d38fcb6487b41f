//! Artifacts in an S3-compatible store: `moto`, as a process of its own, behind a wire that can be cut.
//!
//! `SEATRIAL_TEST_PYTHON` names an interpreter with `xtask/requirements.txt`; `cargo xtask test` sets it.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::StatusCode;
use seatrial_core::digest::Digest;

use crate::scripted::{client, run_here};
use crate::support::{Fleet, Person, stdout, within};

/// More than one part of an upload, and more than the buffers between server and store hold.
const SIZE: usize = 34 << 20;

/// An object store with one bucket; it ends with its value.
struct Moto {
    process: Child,
    address: SocketAddr,
}

impl Moto {
    fn start() -> Self {
        let python = std::env::var_os("SEATRIAL_TEST_PYTHON");
        let python = python.unwrap_or_else(|| panic!("SEATRIAL_TEST_PYTHON is not set; `cargo xtask test` sets it"));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { process, address };
        within(60, "the object store listens", || TcpStream::connect(address).is_ok());
        assert!(ask(client().put(moto.url("/lab"))).0.is_success());
        moto
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Objects in the bucket, and uploads that were begun and not ended.
    fn holds(&self) -> (usize, usize) {
        let count = |query: &str, tag: &str| {
            let (status, text) = ask(client().get(self.url(&format!("/lab?{query}"))));
            assert!(status.is_success(), "{text}");
            text.matches(tag).count()
        };
        (count("list-type=2", "<Key>"), count("uploads", "<UploadId>"))
    }

    /// From now on only known keys are let in, and none is known.
    fn knows_nobody(&self) {
        assert!(ask(client().post(self.url("/moto-api/reset-auth")).body("0")).0.is_success());
    }
}

fn ask(request: reqwest::RequestBuilder) -> (StatusCode, String) {
    run_here(async {
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    })
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What lies between the server and its object store.
#[derive(Clone)]
struct Wire {
    address: SocketAddr,
    is_whole: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn to(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Self { address, is_whole: Arc::new(AtomicBool::new(true)), open: Arc::default() };
        let own = wire.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if own.is_whole.load(Ordering::SeqCst) {
                    own.join(near, TcpStream::connect(store).unwrap());
                }
            }
        });
        wire
    }

    fn join(&self, near: TcpStream, far: TcpStream) {
        let twice = |stream: &TcpStream| stream.try_clone().unwrap();
        self.open.lock().unwrap().extend([twice(&near), twice(&far)]);
        for (mut from, mut to) in [(twice(&near), twice(&far)), (far, near)] {
            std::thread::spawn(move || {
                // A cut wire ends both directions; so does an end of either.
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }

    /// Every connection breaks, and no other is made.
    fn cut(&self) {
        self.is_whole.store(false, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_whole.store(true, Ordering::SeqCst);
    }
}

/// A server whose artifacts are in the store at the end of the wire.
fn serve(wire: &Wire) -> Fleet {
    let mut person = Person::new();
    person.environment =
        vec![("AWS_ACCESS_KEY_ID", "lab-key".to_owned()), ("AWS_SECRET_ACCESS_KEY", "lab-secret".to_owned())];
    let data = person.path("server");
    let endpoint = format!("http://{}", wire.address);
    let place = ["--artifacts", "s3://lab/artifacts", "--s3-endpoint", &endpoint, "--s3-region", "us-east-1"];
    Fleet::serve_with(person, &data, &place)
}

fn large() -> (Vec<u8>, Digest) {
    let bytes: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&bytes);
    (bytes, digest)
}

fn get(fleet: &Fleet, digest: &Digest, range: &str) -> (StatusCode, Bytes) {
    let request = client().get(format!("{}/artifacts/{digest}", fleet.address)).header("range", range);
    run_here(async {
        let answer = request.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    })
}

#[test]
fn what_an_object_store_keeps_comes_back_whole_and_in_parts_and_goes_when_nothing_holds_it() {
    let moto = Moto::start();
    let mut fleet = serve(&Wire::to(moto.address));
    let (bytes, digest) = large();
    assert_eq!(fleet.put(&digest, bytes.clone()).0, StatusCode::CREATED);
    assert_eq!(moto.holds(), (1, 0));
    assert_eq!(get(&fleet, &digest, "bytes=0-"), (StatusCode::PARTIAL_CONTENT, Bytes::from(bytes.clone())));
    let border = (16 << 20) - 5..(16 << 20) + 5;
    let range = format!("bytes={}-{}", border.start, border.end - 1);
    assert_eq!(get(&fleet, &digest, &range).1, bytes[border]);

    // Other bytes than were promised never become an object, nor parts of one.
    let promised = Digest::of(b"something else");
    assert_eq!(fleet.put(&promised, bytes).0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(moto.holds(), (1, 0));

    // A device is served from there; what its model needs stays, and what nothing holds goes.
    fleet.start_agent();
    fleet.runs_another();
    assert_eq!(moto.holds(), (2, 0));
    let gone = stdout(&fleet.seatrial(&["artifacts", "gc", "--min-age", "0s", "--format", "json"]).success());
    assert_eq!(moto.holds(), (1, 0), "{gone}");
    assert_eq!(get(&fleet, &digest, "bytes=0-").0, StatusCode::NOT_FOUND);
}

#[test]
fn an_object_store_that_is_lost_in_the_middle_of_a_transfer_fails_it_and_the_next_try_succeeds() {
    let moto = Moto::start();
    let wire = Wire::to(moto.address);
    let fleet = serve(&wire);
    let (bytes, digest) = large();

    // The first part is on its way when the wire is cut.
    let (pieces, cut) = (Bytes::from(bytes.clone()), wire.clone());
    let body = futures_of([pieces.slice(..SIZE / 2), pieces.slice(SIZE / 2..)], move |index| {
        if index == 1 {
            cut.cut();
        }
    });
    let (status, why) = fleet.put(&digest, body);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
    assert!(why.contains("the artifact store failed while") && why.contains("try again"), "{why}");
    assert_eq!(get(&fleet, &digest, "bytes=0-").0, StatusCode::NOT_FOUND, "nothing is recorded");
    assert_eq!(moto.holds().0, 0, "no object is there");
    wire.mend();
    assert_eq!(fleet.put(&digest, bytes.clone()).0, StatusCode::CREATED, "the control: with a whole wire");

    let request = client().get(format!("{}/artifacts/{digest}", fleet.address));
    let short = run_here(async {
        let mut answer = request.send().await.unwrap();
        answer.chunk().await.unwrap().unwrap();
        wire.cut();
        while let Some(_piece) = answer.chunk().await? {}
        Ok::<_, reqwest::Error>(())
    });
    assert!(short.is_err(), "an answer that ends early is no answer");
    wire.mend();
    assert_eq!(get(&fleet, &digest, "bytes=0-").1, bytes);
}

#[test]
fn a_device_that_loses_the_object_store_in_the_middle_of_a_transfer_goes_on_where_it_ended() {
    let moto = Moto::start();
    let wire = Wire::to(moto.address);
    let mut fleet = serve(&wire);
    // The first piece takes its time: all others wait behind it, and the wire is cut meanwhile.
    fleet.start_agent_with(&[("FAILPOINTS", "cache-write=1*sleep(1000)")]);
    let script = format!("well{}", " ".repeat(SIZE));
    fleet.register_script("large", &script);
    let run = fleet.submit_scripts(&["large"]);
    let partial = fleet.agent_folder.join("cache/partial").join(Digest::of(script.as_bytes()).to_string());
    fleet.eventually("a transfer has begun", |_| partial.exists());
    wire.cut();
    fleet.eventually("the device has noticed", |fleet| fleet.logs().contains("transfer interrupted, resuming"));
    assert!(
        fleet.json(&["results", &run])["jobs"][0]["outcome"].is_null(),
        "the control: nothing comes while it is cut"
    );
    wire.mend();
    let (run, attempts) = fleet.ended(&run);
    assert_eq!(attempts, [["ok"]], "{}", fleet.logs());
    let job = fleet.json(&["results", run["jobs"][0]["short"].as_str().unwrap()]);
    let moved = format!("1 files, {} bytes moved", script.len());
    assert_eq!(job["report"]["stages"][0]["note"], moved, "no byte came twice");
}

/// A body in pieces; `before` is told which is asked for.
fn futures_of<const N: usize>(pieces: [Bytes; N], before: impl Fn(usize) + Send + Sync + 'static) -> reqwest::Body {
    let pieces = pieces.into_iter().enumerate().map(move |(index, piece)| {
        before(index);
        Ok::<_, std::io::Error>(piece)
    });
    reqwest::Body::wrap_stream(tokio_stream::iter(pieces))
}

#[test]
fn an_object_store_that_refuses_the_servers_key_is_told_to_whoever_uploads_and_why_to_the_operator() {
    let moto = Moto::start();
    let fleet = serve(&Wire::to(moto.address));
    let digest = Digest::of(b"model");
    assert_eq!(fleet.put(&digest, &b"model"[..]).0, StatusCode::CREATED, "the control: before it refuses");
    moto.knows_nobody();
    let (status, why) = fleet.put(&Digest::of(b"other"), &b"other"[..]);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
    assert!(why.contains("the server's log says why"), "{why}");
    let log = fleet.logs();
    assert!(log.contains("InvalidAccessKeyId"), "{log}");
    assert!(!log.contains("lab-secret"), "a secret is in no log");
}
