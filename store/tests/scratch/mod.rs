//! A PostgreSQL server of one's own: made in a scratch folder, on a free port, gone with its owner.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starting takes about a second; a machine that is busy may need more.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends the postmaster and all its children without a shutdown; SIGKILL would leave the children.
pub(crate) const CRASH: &str = "-QUIT";

pub(crate) struct Scratch {
    binaries: PathBuf,
    folder: tempfile::TempDir,
    user: Option<User>,
    port: u16,
    server: Option<Child>,
}

/// Whom the server runs as, since PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Scratch {
    /// Makes and starts a server.
    pub(crate) fn start() -> Result<Self, String> {
        let binaries = find_binaries(&usual_folders())?;
        let folder =
            tempfile::Builder::new().prefix("seatrial-postgres-").tempdir().map_err(|error| error.to_string())?;
        let user = unprivileged_user()?;
        if let Some(user) = user {
            chown(folder.path(), Some(user.uid), Some(user.gid)).map_err(|error| error.to_string())?;
        }
        let mut scratch = Self { binaries, folder, user, port: 0, server: None };
        let initdb = scratch
            .program("initdb")
            .arg("-D")
            .arg(scratch.data())
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"])
            .output();
        let initdb = initdb.map_err(|error| format!("initdb cannot be run: {error}"))?;
        if !initdb.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&initdb.stderr)));
        }
        // Somebody else may take a port between our look and the server's start.
        for _ in 0..3 {
            scratch.port = free_port()?;
            if scratch.run().is_ok() {
                return Ok(scratch);
            }
        }
        scratch.run().map(|()| scratch)
    }

    /// The address of one of the server's databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts the server again on the port and with the data that it had.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let log = fs::File::create(self.folder.path().join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k"])
            .arg(self.folder.path());
        command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB"]).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.server = Some(command.spawn().map_err(|error| format!("postgres cannot be run: {error}"))?);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let ready =
                self.program("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status();
            if ready.map_err(|error| format!("pg_isready cannot be run: {error}"))?.success() {
                return Ok(());
            }
            if let Some(server) = &mut self.server
                && let Ok(Some(status)) = server.try_wait()
            {
                return Err(format!("postgres ended with {status}: {}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("postgres was not ready within {} s: {}", PATIENCE.as_secs(), self.log()))
    }

    /// Ends the server by a signal.
    pub(crate) fn end(&mut self, signal: &str) {
        if let Some(mut server) = self.server.take() {
            let _ = Command::new("kill").args([signal, &server.id().to_string()]).status();
            let _ = server.wait();
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.end(CRASH);
    }
}

/// Folders in which distributions put the server's programs, newest version first.
fn usual_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/usr/lib/postgresql", "/usr/libexec/postgresql"]
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path().join("bin")))
        .collect();
    folders.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(version)
    });
    folders.push("/usr/local/pgsql/bin".into());
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    folders
}

/// The first folder that has all that is needed.
pub(crate) fn find_binaries(folders: &[PathBuf]) -> Result<PathBuf, String> {
    let complete =
        |folder: &&PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).is_file());
    folders.iter().find(complete).cloned().ok_or_else(|| {
        let mut message = "PostgreSQL is needed and its programs initdb, postgres and pg_isready were not found".to_owned();
        for folder in folders {
            let _ = write!(message, "\n  not in {}", folder.display());
        }
        message.push_str("\ninstall them (Debian: apt-get install postgresql) or set SEATRIAL_TEST_POSTGRES to the address of a server");
        message
    })
}

/// `None` when this process is not root and may run the server itself.
fn unprivileged_user() -> Result<Option<User>, String> {
    let me = fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid();
    if me != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let find = |wanted: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields[..] else { return None };
            (name == wanted).then_some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        })
    };
    let user = find("postgres").or_else(|| find("nobody"));
    user.map(Some)
        .ok_or_else(|| "PostgreSQL refuses to run as root, and there is no user postgres or nobody".to_owned())
}

/// One that the system gives to nobody by itself: a server that was ended finds it free again.
fn free_port() -> Result<u16, String> {
    let own = (std::process::id() % 10_000) as u16;
    let mut ports = (0..10_000).map(|n| 10_000 + (own + n) % 10_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).ok_or_else(|| "every port is taken".to_owned())
}
