//! A lab host with phones, for programs in namespaces of their own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use seatrial_adb::{AdbLink, AdbServer, Connected, DeviceLink as _, Limits, Listed, State, Target};
use tempfile::TempDir;

/// A root with Debian 13's adbd and its shell, and the program `adb`; `cargo xtask test` sets both.
pub const ADBD_ROOT: &str = "SEATRIAL_TEST_ADBD";
pub const ADB: &str = "SEATRIAL_TEST_ADB";
const SERVER_PORT: u16 = 6100;
/// Where files go on a phone; a small file system of its own.
pub const FOLDER: &str = "/data/local/tmp";
/// For what must end: long, since it is no measurement.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn patient() -> Limits {
    Limits::within(PATIENCE)
}

/// For what must end by its deadline.
pub fn short() -> Limits {
    Limits::within(Duration::from_secs(1))
}

/// Begins a program in namespaces of its own.
pub fn namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

fn path_of(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).unwrap())
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?} ended with {status}");
}

/// A computer with phones: its adb server, and what they share.
pub struct Lab {
    root: PathBuf,
    scratch: TempDir,
    server: AdbServer,
    adb_server: Child,
    phones: Vec<Child>,
    next_port: u16,
}

impl Lab {
    pub async fn open() -> Self {
        run("ip", &["link", "set", "lo", "up"]);
        let root = path_of(ADBD_ROOT);
        let at = |folder: &str| root.join(folder).to_str().unwrap().to_owned();
        run("mount", &["-t", "tmpfs", "-o", "mode=1777,size=512m", "tmpfs", &at("data/local/tmp")]);
        run("mount", &["-t", "proc", "proc", &at("proc")]);
        // Not the whole /dev: a daemon that runs as root must not reach this computer's.
        run("mount", &["-t", "tmpfs", "-o", "mode=755,size=64k", "tmpfs", &at("dev")]);
        for node in ["null", "zero", "urandom"] {
            let there = at(&format!("dev/{node}"));
            fs::write(&there, "").unwrap();
            run("mount", &["--bind", &format!("/dev/{node}"), &there]);
        }
        // A service without `shell_v2` takes a terminal of its own.
        fs::create_dir(at("dev/pts")).unwrap();
        run("mount", &["-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", &at("dev/pts")]);
        std::os::unix::fs::symlink("pts/ptmx", at("dev/ptmx")).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let adb_server = start_server(scratch.path());
        let server = AdbServer::at(format!("127.0.0.1:{SERVER_PORT}"));
        let lab = Self { root, scratch, server, adb_server, phones: Vec::new(), next_port: 6201 };
        lab.server_answers().await;
        lab
    }

    pub fn server(&self) -> AdbServer {
        self.server.clone()
    }

    pub async fn server_answers(&self) {
        until(async || self.server().version(&short()).await.is_ok()).await;
    }

    pub fn adb_server(&self) -> &Child {
        &self.adb_server
    }

    pub async fn restart_server(&mut self) {
        self.adb_server.kill().unwrap();
        self.adb_server.wait().unwrap();
        self.adb_server = start_server(self.scratch.path());
        self.server_answers().await;
    }

    /// The command that people use, with this lab's server.
    pub fn adb(&self) -> Command {
        let mut adb = Command::new(path_of(ADB));
        adb.args(["-P", &SERVER_PORT.to_string()]).env("HOME", self.scratch.path());
        adb
    }

    /// A file of this computer.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.scratch.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The same file as the phone sees it, from outside: all phones of a lab share it.
    pub fn seen_on_phone(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A folder of a phone with room for so many KiB.
    pub fn small_folder(&self, path: &str, kib: u32) {
        let at = self.seen_on_phone(path);
        run("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs", at.to_str().unwrap()]);
    }

    /// A phone that is ready for commands.
    pub async fn phone(&mut self) -> Phone {
        let phone = self.daemon();
        phone.connect(&self.server()).await;
        phone
    }

    /// A daemon to which the server is not connected.
    pub fn daemon(&mut self) -> Phone {
        let port = self.next_port;
        self.next_port += 1;
        self.phones.push(start_daemon(port, self.scratch.path()));
        Phone { port, index: self.phones.len() - 1 }
    }

    /// Kills a phone's daemon, as a cable that is pulled.
    pub fn kill(&mut self, phone: &Phone) {
        self.phones[phone.index].kill().unwrap();
        self.phones[phone.index].wait().unwrap();
    }

    pub fn start_again(&mut self, phone: &Phone) {
        self.phones[phone.index] = start_daemon(phone.port, self.scratch.path());
    }

    pub fn signal(&self, phone: &Phone, signal: Signal) {
        signal_child(&self.phones[phone.index], signal);
    }
}

pub fn signal_child(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in self.phones.iter_mut().chain([&mut self.adb_server]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start_server(scratch: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(scratch.join("adb.log")).unwrap();
    let mut adb = Command::new(path_of(ADB));
    adb.args(["-L", &format!("tcp:{SERVER_PORT}"), "nodaemon", "server"]).env("HOME", scratch);
    adb.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn start_daemon(port: u16, scratch: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(scratch.join("adbd.log")).unwrap();
    let mut adbd = Command::new("chroot");
    adbd.arg(path_of(ADBD_ROOT)).arg("/usr/lib/android-sdk/platform-tools/adbd").env_clear();
    adbd.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("ADBD_PORT", port.to_string());
    adbd.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// A phone's daemon, and how to reach it.
#[derive(Clone)]
pub struct Phone {
    port: u16,
    index: usize,
}

impl Phone {
    pub fn serial(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn link(&self, server: &AdbServer) -> AdbLink {
        AdbLink::new(server.clone(), Target::Serial(self.serial()))
    }

    pub async fn connect(&self, server: &AdbServer) {
        connect(server, &self.serial()).await;
    }
}

/// Has the server connect to an address until a device is ready there. A server goes on for half a minute to call a link
/// connected whose other end has died, so that it is told to drop it first.
pub async fn connect(server: &AdbServer, address: &str) {
    let link = AdbLink::new(server.clone(), Target::Serial(address.to_owned()));
    until(async || {
        let _ = server.disconnect(address, &patient()).await;
        let connected = server.connect(address, &patient()).await.unwrap();
        matches!(connected, Connected::New | Connected::Already)
            && link.wait_for(&State::Device, &short()).await.is_ok()
    })
    .await;
}

/// Asks again until the answer is yes.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "it did not come to that");
}

/// Those of a list, by serial and state.
pub fn states(list: &[Listed]) -> Vec<(String, State)> {
    list.iter().map(|listed| (listed.serial.clone(), listed.state.clone())).collect()
}

/// Bytes that nothing compresses and no two places share.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.write_all(&state.to_le_bytes()).unwrap();
    }
    noise.truncate(bytes);
    noise
}
