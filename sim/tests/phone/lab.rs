//! A real adb server, and simulated phones at it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use seatrial_sim::phone::{Config, Description, Phone, Power, TRUTH_FILE, Truth};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// What does not come within this never comes.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// An adb server of its own, with a home of its own.
pub struct Lab {
    home: tempfile::TempDir,
    adb: PathBuf,
    port: u16,
    _server: Child,
}

#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// What a phone is started with, where it is not as usual.
#[derive(Default)]
pub struct With {
    pub power: Option<Box<dyn Power>>,
    pub turn: Option<PathBuf>,
}

impl Lab {
    /// `Err` with the reason where this machine has no adb.
    pub async fn open() -> Result<Self, String> {
        let adb = std::env::var_os("SEATRIAL_TEST_ADB").map_or_else(|| "adb".into(), PathBuf::from);
        let home = tempfile::tempdir().unwrap();
        let port = free_port().await;
        let server = Command::new(&adb)
            .args(["-P", &port.to_string(), "nodaemon", "server"])
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(home.path().join("adb.log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}: install adb or set SEATRIAL_TEST_ADB", adb.display()))?;
        let lab = Self { home, adb, port, _server: server };
        until("the adb server listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        Ok(lab)
    }

    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Boots a phone of `tests/phones` and connects it.
    pub async fn phone(&self, name: &str) -> Connected<'_> {
        self.phone_with(name, name, With::default()).await
    }

    pub async fn phone_with(&self, name: &str, serial: &str, with: With) -> Connected<'_> {
        let described = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/phones").join(name);
        self.start(Description::read(&described).unwrap(), serial, with).await
    }

    /// Boots a phone that the program describes, and connects it.
    pub async fn shipped(&self, name: &str) -> Connected<'_> {
        self.start(Description::shipped(name).unwrap(), name, With::default()).await
    }

    pub async fn start(&self, description: Description, serial: &str, with: With) -> Connected<'_> {
        let config = Config {
            description,
            folder: self.home.path().join(serial),
            port: 0,
            serial: serial.to_owned(),
            program: vec![env!("CARGO_BIN_EXE_seatrial-phone").into(), "adbd".into()],
            properties: Vec::new(),
            power: with.power,
            is_plugged: true,
            boot_time: Duration::from_millis(200),
            turn: with.turn,
        };
        let phone = Phone::start(config).await.unwrap();
        let connected = Connected { lab: self, name: phone.address().to_string(), serial: serial.to_owned(), phone };
        connected.connect().await;
        connected
    }

    /// Runs the adb command; it must end.
    pub async fn adb<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Output {
        let mut command = self.command(words);
        let output = timeout(PATIENCE, command.stdin(Stdio::null()).output()).await.expect("adb ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Output { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.adb);
        command.arg("-P").arg(self.port.to_string()).args(words).env("HOME", self.path()).kill_on_drop(true);
        command
    }

    /// Asks the adb server for a service of a device in its own words, which its command line has none for.
    pub async fn service(&self, device: &str, service: &str) -> Result<TcpStream, String> {
        let mut server = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        for request in [&format!("host:transport:{device}"), service] {
            server.write_all(format!("{:04x}{request}", request.len()).as_bytes()).await.unwrap();
            let mut status = [0; 4];
            server.read_exact(&mut status).await.unwrap();
            if &status != b"OKAY" {
                let mut why = String::new();
                server.read_to_string(&mut why).await.unwrap();
                return Err(why.get(4..).unwrap_or(&why).to_owned());
            }
        }
        Ok(server)
    }

    /// The state in which the server lists a device.
    pub async fn state(&self, device: &str) -> Option<String> {
        let list = self.adb(["devices"]).await.out;
        list.lines().find_map(|line| line.strip_prefix(device)?.split_whitespace().next().map(str::to_owned))
    }
}

/// A phone and the adb server that knows it.
pub struct Connected<'a> {
    lab: &'a Lab,
    pub name: String,
    serial: String,
    pub phone: Phone,
}

impl Connected<'_> {
    /// As an operator would: an old connection first goes.
    pub async fn connect(&self) {
        until("the phone is a device", async || {
            self.lab.adb(["disconnect", &self.name]).await;
            self.lab.adb(["connect", &self.name]).await;
            self.lab.state(&self.name).await.as_deref() == Some("device")
        })
        .await;
    }

    pub async fn adb(&self, words: &[&str]) -> Output {
        self.lab.adb(["-s", &self.name].iter().chain(words)).await
    }

    pub fn command(&self, words: &[&str]) -> Command {
        self.lab.command(["-s", &self.name].iter().chain(words))
    }

    /// What a command on the phone prints; it must succeed.
    pub async fn shell(&self, command: &str) -> String {
        let output = self.adb(&["shell", command]).await;
        assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{command}: {output:?}");
        output.out.trim_end().to_owned()
    }

    /// What its battery really gave.
    pub fn truth(&self) -> Truth {
        let text = std::fs::read(self.lab.path().join(&self.serial).join(TRUTH_FILE)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// A place on the phone, as this machine sees it.
    pub fn place(&self, path: &str) -> PathBuf {
        self.lab.path().join(&self.serial).join("root").join(path.trim_start_matches('/'))
    }

    /// Starts a command that stays when adb goes, and waits until it runs. Its own process id is in the file `pid`.
    pub async fn detach(&self, command: &str) {
        let line =
            format!("cd /data/local/tmp; setsid nohup sh -c 'echo $$ > pid; {command}' > log 2>&1 < /dev/null &");
        self.shell(&line).await;
        until("the detached command runs", async || self.place("data/local/tmp/pid").exists()).await;
    }
}

pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "never came true: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process of this machine was started with exactly these words.
pub fn runs(words: &[&str]) -> bool {
    let wanted = words.join("\0") + "\0";
    let running = |entry: io::Result<std::fs::DirEntry>| {
        let place = entry.ok()?.path();
        std::fs::read(place.join("cmdline")).ok()
    };
    std::fs::read_dir("/proc").unwrap().filter_map(running).any(|found| found == wanted.as_bytes())
}
