//! The phones of a demo: simulated ones, an adb server of their own, and the lab host that looks after them.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use seatrial_proto::v1;
use seatrial_sim::phone::{Config, Description, Phone, PhoneError, control};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::place::Place;
use crate::client::Client;
use crate::commands::{agent, own_program};
use crate::error::{CliError, Result};
use crate::output;
use crate::upload::runtime::elf;
use crate::upload::{self, LocalFile};

/// The hidden command under which this program is the daemon of a simulated phone.
pub(crate) const PHONE: &str = "demo-phone";
/// The program that every machine with adb has.
const ADB: &str = "adb";
/// From the start of the adb server until it listens, and until it has connected a phone.
const ADB_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
/// A phone on its cable: it is fed, and so yields no energy but the reason. The others run on their batteries, as if they
/// were reached without a cable.
const ON_CABLE: &str = "galaxy-s24";
/// From the end of a phone's power to its first process.
const BOOT_TIME: Duration = Duration::from_secs(3);
/// Between two looks whether a phone's link is up. An adb server takes a phone by USB up again at once, and one by TCP late
/// or not at all.
const REPLUG: Duration = Duration::from_secs(5);
/// Seconds between two looks at a phone's agent.
const HEARTBEAT_SECONDS: &str = "2";
/// What the adb server says is shown so far when it fails.
const MAX_SAID: u64 = 4096;

/// An adb server that sees nothing of this computer but what it is told to connect: no USB port, no emulator, nothing on
/// the network. It ends with whoever holds its standard input.
const ADB_SERVER: &str = "[ ! -d /dev/bus/usb ] || mount -t tmpfs none /dev/bus/usb || exit 1\n\
                          \"$1\" -P \"$2\" nodaemon server < /dev/null &\n\
                          while read -r _; do :; done";

/// Everything that a demo with phones has beside its server.
pub(super) struct Phones {
    booted: Vec<Switched>,
    adb: Adb,
    replugging: JoinHandle<()>,
    lab: Option<Child>,
    lab_folder: PathBuf,
}

impl Phones {
    /// Boots so many phones of different brands, and connects them to an adb server.
    pub(super) async fn start(place: &Place, count: u8) -> Result<Self> {
        let adb = Adb::start(place).await?;
        let turn = place.path("turn");
        fs_err::write(&turn, "").map_err(|error| CliError::failed("make the phones' turn to measure", error))?;
        let mut phones = Vec::new();
        for (number, name) in (1..).zip(Description::shipped_names()).take(count.into()) {
            let folder = place.path("phones").join(name);
            let config = Config {
                description: Description::shipped(name).map_err(|error| not_booted(name, error))?,
                folder: folder.clone(),
                port: 0,
                serial: format!("SIM{number:05}"),
                properties: Vec::new(),
                program: vec![own_program()?.into(), PHONE.into()],
                power: None,
                is_plugged: *name == ON_CABLE,
                boot_time: BOOT_TIME,
                turn: Some(turn.clone()),
            };
            let phone = Phone::start(config).await.map_err(|error| not_booted(name, error))?;
            adb.client.connect(phone.address()).await?;
            phones.push(Switched::new(phone, folder));
        }
        let booted = output::count(phones.len(), "simulated phone");
        output::note(&format!("{booted} booted, at an adb server of their own: {}", adb.client.address()));
        let addresses: Vec<SocketAddr> = phones.iter().map(|phone| phone.address).collect();
        let replugging = tokio::spawn(adb.client.clone().replug(addresses));
        Ok(Self { booted: phones, adb, replugging, lab: None, lab_folder: place.path("lab") })
    }

    /// Gives the server an agent for the phones, which is this program, and starts the lab host that brings it to them.
    pub(super) async fn look_after(&mut self, place: &Place, client: &Client, server: &str) -> Result<()> {
        let program = place.path("agent-for-phones");
        add_agent(client, &program).await?;
        let log = place.log("lab.log")?;
        let mut command = Command::new(own_program()?);
        command.arg(agent::DEMO_AGENT).args(["lab", "--server", server, "--adb", &self.adb.client.address()]);
        command.arg("--folder").arg(&self.lab_folder);
        command.args(["--heartbeat", HEARTBEAT_SECONDS, "--load-wait", super::LOAD_WAIT_SECONDS]);
        command.args(["--agent-word", agent::AGENT]);
        for phone in &self.booted {
            command.args(["--only", &phone.address.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(true);
        self.lab = Some(command.spawn().map_err(|error| CliError::failed("start the demo's lab host", error))?);
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.booted.len()
    }

    /// The lab host, while it is there: how it ended when it did.
    pub(super) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        let ended = self.lab.as_mut().map_or(Ok(None), Child::try_wait);
        ended.map_err(|error| CliError::failed("watch the demo's lab host", error))
    }

    /// The lab host first, so that it does not look for phones that go.
    pub(super) async fn stop(self) {
        if let Some(mut lab) = self.lab {
            // A phone keeps nothing that would be lost.
            lab.kill().await.ok();
        }
        self.replugging.abort();
        for phone in self.booted {
            phone.off().await;
        }
        self.adb.stop().await;
    }
}

/// A phone that runs by itself, and hears in its folder what is to go wrong (`seatrial-phone tell`).
struct Switched {
    address: SocketAddr,
    /// Its end switches the phone off.
    off: oneshot::Sender<()>,
    task: JoinHandle<std::result::Result<(), PhoneError>>,
}

impl Switched {
    fn new(phone: Phone, folder: PathBuf) -> Self {
        let (off, switched_off) = oneshot::channel();
        let address = phone.address();
        let task = tokio::spawn(async move {
            let hearing = async {
                if let Err(error) = control::serve(&phone, &folder).await {
                    tracing::warn!(%error, "a simulated phone cannot be told what is to go wrong");
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = hearing => {}
                _ = switched_off => {}
            }
            phone.stop().await
        });
        Self { address, off, task }
    }

    async fn off(self) {
        drop(self.off);
        let why = match self.task.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        output::note(&format!("a simulated phone did not end: {why}"));
    }
}

fn not_booted(name: &str, error: PhoneError) -> CliError {
    CliError::failed(format!("boot the simulated phone {name}"), error)
}

/// Puts a build of this program, without what only debuggers need, into the server.
async fn add_agent(client: &Client, place: &Path) -> Result<()> {
    let doing = "make an agent for the demo's phones";
    let own = own_program()?;
    let shortened = tokio::task::spawn_blocking({
        let place = place.to_owned();
        move || -> std::io::Result<_> {
            let bytes = elf::without_debugging(fs_err::read(own)?).map_err(std::io::Error::other)?;
            let abi = elf::executable(&bytes).map_err(std::io::Error::other)?.map(|program| program.abi());
            fs_err::write(place, bytes)?;
            Ok(abi)
        }
    });
    let abi = shortened.await.map_err(|error| CliError::failed(doing, error))?;
    let abi = abi.map_err(|error| CliError::failed(doing, error))?;
    let abi = abi.ok_or_else(|| CliError::plain(format!("failed to {doing}: this program is no ELF file")))?;
    let abi = abi.map_err(|refusal| CliError::plain(format!("failed to {doing}: {refusal}")))?;
    let LocalFile { path, digest, size } = upload::digest(place).await?;
    upload::send_missing(client, &[LocalFile { path, digest, size }]).await?;
    let request = v1::AddAgentRequest {
        digest: Bytes::copy_from_slice(digest.as_bytes()),
        size,
        abi: abi.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    client.agents().add(Client::request(request)).await.map_err(client.failed(doing))?;
    Ok(())
}

/// The demo's own adb server.
struct Adb {
    process: Child,
    client: AdbClient,
}

/// The command adb, for that server.
#[derive(Clone)]
struct AdbClient {
    port: u16,
    home: PathBuf,
}

impl Adb {
    async fn start(place: &Place) -> Result<Self> {
        let home = place.path("adb");
        let doing = "start an adb server for the demo's phones";
        fs_err::create_dir_all(&home).map_err(|error| CliError::failed(doing, error))?;
        let version = Command::new(ADB).arg("version").stdin(Stdio::null()).output().await;
        version.map_err(|error| {
            CliError::failed("run adb, which simulated phones are reached by", error)
                .with_hint("install it: on Debian and Ubuntu `apt install adb`")
        })?;
        let port = free_port().map_err(|error| CliError::failed(doing, error))?;
        let log = place.log("adb.log")?;
        let mut command = Command::new("unshare");
        command.args("--user --map-root-user --mount --pid --fork --kill-child -- sh -c".split(' '));
        command.args([ADB_SERVER, "sh", ADB, &port.to_string()]);
        command.env("HOME", &home);
        // No emulator of this computer, and nothing that says in the network that it can be debugged.
        command.env("ADB_LOCAL_TRANSPORT_MAX_PORT", "5554").env("ADB_MDNS_AUTO_CONNECT", "0");
        command.env_remove("ANDROID_ADB_SERVER_PORT").env_remove("ADB_SERVER_SOCKET");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(true);
        let process = command.spawn().map_err(|error| CliError::failed(doing, error))?;
        let mut adb = Self { process, client: AdbClient { port, home } };
        let since = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            let ended = adb.process.try_wait().map_err(|error| CliError::failed(doing, error))?;
            if ended.is_some() || since.elapsed() > ADB_WITHIN {
                let said = said(&place.path("adb.log"));
                let why = ended.map_or("it does not listen".to_owned(), |status| format!("it ended with {status}"));
                return Err(CliError::plain(format!("failed to {doing}: {why}: {said}")).with_hint(
                    "it takes unshare (util-linux), and a kernel that lets this user make namespaces: see \
                     docs/simulated-phone.md",
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(adb)
    }

    async fn stop(mut self) {
        // The end of its input is its end.
        drop(self.process.stdin.take());
        if tokio::time::timeout(Duration::from_secs(5), self.process.wait()).await.is_err() {
            self.process.kill().await.ok();
        }
    }
}

impl AdbClient {
    fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// What it prints, or why it printed nothing.
    async fn say(&self, words: &[&str]) -> String {
        let mut command = Command::new(ADB);
        command.args(["-P", &self.port.to_string()]).args(words).env("HOME", &self.home);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        match tokio::time::timeout(ADB_WITHIN, output).await {
            Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        }
    }

    async fn connect(&self, phone: SocketAddr) -> Result<()> {
        let since = Instant::now();
        loop {
            let said = self.say(&["connect", &phone.to_string()]).await;
            // A failure of it is no exit status of adb's.
            if said.starts_with("connected to") || said.starts_with("already connected") {
                return Ok(());
            }
            if since.elapsed() > ADB_WITHIN {
                return Err(CliError::plain(format!(
                    "the adb server does not connect to the phone at {phone}: {said}"
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Takes links up again that were lost, for ever. A phone that does not know this host waits for a person.
    async fn replug(self, phones: Vec<SocketAddr>) {
        loop {
            tokio::time::sleep(REPLUG).await;
            let list = self.say(&["devices"]).await;
            for phone in phones.iter().map(SocketAddr::to_string) {
                let mut lines = list.lines().filter_map(|line| line.split_once('\t'));
                let state = lines.find(|(serial, _)| *serial == phone).map_or("away", |(_, state)| state.trim());
                if matches!(state, "away" | "offline") {
                    tracing::debug!(phone, state, "replugged");
                    self.say(&["disconnect", &phone]).await;
                    self.say(&["connect", &phone]).await;
                }
            }
        }
    }
}

/// None of those at which adb servers look for emulators: the kernel gives those of a higher range.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn said(log: &Path) -> String {
    let mut text = String::new();
    match fs_err::File::open(log).and_then(|file| file.take(MAX_SAID).read_to_string(&mut text)) {
        Ok(_) => text.trim().replace('\n', "; "),
        Err(error) => error.to_string(),
    }
}
