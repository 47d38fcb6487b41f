//! A process of ours: started, asked for its address, looked at through `/proc`, and ended.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// A child that ends when this is dropped.
pub struct Owned(Child);

impl Owned {
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        command.spawn().map(Self).with_context(|| format!("{} cannot be started", command.get_program().display()))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            let _ended = self.0.wait();
        }
    }
}

/// A child that prints its address as the first line and goes on until it is killed.
pub struct Process {
    child: Owned,
    pub address: String,
}

impl Process {
    /// This program again, as one of its subjects.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let exe = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(exe);
        command.args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start a subject")?;
        let stdout = child.stdout.take().context("the subject has no output")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        anyhow::ensure!(!address.trim().is_empty(), "the subject {arguments:?} ended without an address");
        Ok(Self { child: Owned(child), address: address.trim().to_owned() })
    }

    /// User and system time so far, in µs.
    pub fn cpu_us(&self) -> anyhow::Result<f64> {
        cpu_us(self.child.0.id())
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> anyhow::Result<f64> {
        resident_kib(self.child.0.id())
    }
}

/// The lean agent, as `cargo build --profile lean` leaves it.
pub struct Agent(Owned);

impl Agent {
    /// Beside the folder in which this program was built.
    pub fn binary() -> anyhow::Result<PathBuf> {
        let exe = std::env::current_exe().context("cannot find this program")?;
        let target = exe.parent().and_then(Path::parent).context("this program lies in no target folder")?;
        Ok(target.join("lean/seatrial-agent"))
    }

    pub fn start(server: &str, folder: &Path) -> anyhow::Result<Self> {
        let child = Command::new(Self::binary()?)
            .args(["run", "--server", server, "--folder"])
            .arg(folder)
            .stderr(Stdio::null())
            .spawn()
            .context("the lean agent cannot be started")?;
        Ok(Self(Owned(child)))
    }

    /// User and system time so far, in µs.
    pub fn cpu_us(&self) -> anyhow::Result<f64> {
        cpu_us(self.0.0.id())
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> anyhow::Result<f64> {
        resident_kib(self.0.0.id())
    }
}

/// User and system time of a process, in µs.
pub fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has gone")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("unexpected form of /proc/PID/stat")?;
    // Linux reports in hundredths of a second on every architecture that we run on.
    Ok((user + system) * 10_000.0)
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .context("no VmRSS in /proc/PID/status")
}
