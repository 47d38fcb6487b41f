//! What the tests of the binary share: the program with nothing of the person's environment, and a fleet of one.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_seatrial");

/// Trusted by every program of a person who has it.
pub const AUTHORITY: &str = "ca.pem";

/// A folder that stands for everything that a person has: home, configuration, temporary files.
pub struct Person {
    folder: TempDir,
    /// Beside what every program of the person gets.
    pub environment: Vec<(&'static str, String)>,
}

impl Person {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, environment: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// An authority, and a certificate of it for this machine's loopback, by address and by name.
    pub fn issue(&self, authority: &str, server: &str) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write(authority, &issuer.pem());
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1", "localhost"].map(str::to_owned)).unwrap();
        self.write(&format!("{server}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
        self.write(&format!("{server}.key"), &key.serialize_pem());
    }

    /// Every program of the person shows this certificate to a server that asks for one.
    pub fn show_certificate(&mut self, name: &str) {
        for (variable, ending) in [("SEATRIAL_CERTIFICATE", "pem"), ("SEATRIAL_KEY", "key")] {
            self.environment.push((variable, self.path(&format!("{name}.{ending}")).display().to_string()));
        }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            // Of the tests that have none of their own to say, one is about the health checks.
            .env("SEATRIAL_CANARY", "false")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        if self.path(AUTHORITY).exists() {
            command.env("SEATRIAL_CA", self.path(AUTHORITY));
        }
        command
    }

    pub fn seatrial(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = self.command();
        command.args(arguments);
        assert_cmd::Command::from_std(command).assert()
    }

    /// What was left in the folder for temporary files.
    pub fn left_behind(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

/// A server and an agent, each a process of its own. Both end with the value.
pub struct Fleet {
    pub person: Person,
    pub address: String,
    pub agent_folder: PathBuf,
    /// What else the server is told, at each of its starts; its data folder first.
    arguments: Vec<OsString>,
    server: Option<Child>,
    agent: Option<Child>,
}

impl Fleet {
    pub fn start() -> Self {
        let person = Person::new();
        let data = person.path("server");
        let mut fleet = Self::serve(person, &data);
        fleet.start_agent();
        fleet
    }

    /// A server on a data folder, without an agent.
    pub fn serve(person: Person, data: &Path) -> Self {
        Self::serve_with(person, data, &[])
    }

    /// The same, told more.
    pub fn serve_with(person: Person, data: &Path, more: &[&str]) -> Self {
        let mut arguments = vec!["--data".into(), data.into()];
        arguments.extend(more.iter().map(OsString::from));
        let agent_folder = person.path("agent");
        let address = format!("tcp://127.0.0.1:{}", lasting_port());
        let mut fleet = Self { person, address, agent_folder, arguments, server: None, agent: None };
        let mut server = fleet.spawn_server("server.log", data);
        fleet.address = listening(&mut server);
        fleet.server = Some(server);
        fleet
    }

    /// A server of the same fleet on the same port, for the one that is there when its time has come.
    pub fn spawn_server(&self, log: &str, data: &Path) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.person.path(log)).unwrap();
        let mut command = self.person.command();
        command.args(["serve", "--listen", self.authority(), "--data"]).arg(data).args(&self.arguments[2..]);
        command.stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        self.address.split_once("://").unwrap().1
    }

    /// `kill -9`.
    pub fn kill_server(&mut self) {
        kill(self.server.take());
    }

    /// Another server on the same port with the same data.
    pub fn restart_server(&mut self) {
        let server = self.spawn_server("server.log", Path::new(&self.arguments[1]));
        self.serve_by(server);
    }

    /// Waits until this one listens where the one before it did.
    pub fn serve_by(&mut self, mut server: Child) {
        assert_eq!(listening(&mut server), self.address);
        self.server = Some(server);
    }

    /// Another agent in the same folder: the same device.
    pub fn start_agent(&mut self) {
        self.start_agent_with(&[]);
    }

    /// The same, with more in its environment.
    pub fn start_agent_with(&mut self, environment: &[(&str, &str)]) {
        self.start_agent_told(&[], environment);
    }

    /// The same, told more.
    pub fn start_agent_told(&mut self, more: &[&str], environment: &[(&str, &str)]) {
        let log = std::fs::File::options().create(true).append(true).open(self.person.path("agent.log")).unwrap();
        let agent = self
            .person
            .command()
            .args(["agent", "run", "--load-wait", "0", "--server", &self.address, "--folder"])
            .arg(&self.agent_folder)
            .args(more)
            .envs(environment.iter().copied())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(agent);
        self.eventually("the agent has joined", |fleet| fleet.json(&["devices"])["devices"][0]["connected"] == true);
    }

    /// `kill -9`.
    pub fn kill_agent(&mut self) {
        kill(self.agent.take());
    }

    pub fn seatrial(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = self.person.command();
        command.args(["--server", &self.address]).args(arguments);
        assert_cmd::Command::from_std(command).assert()
    }

    /// The data that a command prints with `--format json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let assert = self.seatrial(&[arguments, &["--format", "json"]].concat()).success();
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    }

    /// The data of a page, as JSON.
    pub fn page_data(&self, path: &str) -> String {
        // A second one changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        let request =
            reqwest::Client::new().get(format!("{}{path}", self.address)).header("accept", "application/json");
        let get = async { request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap() };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(get)
    }

    /// Registers the demo's models and digits.
    pub fn register_digits(&self) {
        let binding = fixture("binding.toml");
        for model in ["digits-mlp", "digits-cnn"] {
            let files = ["fp32", "int8"].map(|precision| fixture(&format!("models/{model}.{precision}.onnx")));
            self.seatrial(&["models", "add", model, &files[0], &files[1], "--binding", &binding]).success();
        }
        for dataset in ["digits", "digits-mlp-golden", "digits-cnn-golden"] {
            self.seatrial(&["datasets", "add", &fixture(dataset)]).success();
        }
    }

    /// Looks until it is so, for at most a minute.
    pub fn eventually(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let since = std::time::Instant::now();
        while !so(self) {
            assert!(since.elapsed().as_secs() < 60, "not in a minute: {what}; logs: {}", self.logs());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    pub fn logs(&self) -> String {
        let read = |log| std::fs::read_to_string(self.person.path(log)).unwrap_or_default();
        ["server.log", "agent.log"].map(read).join("\n")
    }
}

/// A free port that the system gives to nobody by itself: a server that was killed finds it free again.
fn lasting_port() -> u16 {
    let own = u16::try_from(std::process::id() % 10_000).unwrap();
    let mut ports = (0..10_000).map(|n| 20_000 + (own + n) % 10_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// The address that a server prints once it listens.
pub fn listening(server: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned()
}

fn kill(process: Option<Child>) {
    let mut process = process.unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in self.agent.iter_mut().chain(&mut self.server) {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// A file of the demo.
pub fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo").join(name).display().to_string()
}

pub fn stdout(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

pub fn stderr(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// Processes whose command line names a folder.
pub fn processes_of(folder: &Path) -> usize {
    command_lines_of(folder).len()
}

/// Whether a child of an agent in this folder is at work. An agent that asks its device's tools what it is on has children
/// too, for a moment.
pub fn is_evaluating(folder: &Path) -> bool {
    command_lines_of(folder).iter().any(|line| line.split('\0').any(|word| word == "child"))
}

fn command_lines_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(folder)).collect()
}

/// Looks until it is so.
pub fn within(seconds: u64, what: &str, so: impl Fn() -> bool) {
    let since = std::time::Instant::now();
    while !so() {
        assert!(since.elapsed().as_secs() < seconds, "not within {seconds} s: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
