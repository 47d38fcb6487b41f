//! A process of ours: started, asked for its address, looked at through `/proc`, and ended.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// A child that prints its address as the first line and goes on until it is killed.
pub struct Process {
    child: Child,
    pub address: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _ended = self.child.wait();
        }
    }
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
        Ok(Self { child, address: address.trim().to_owned() })
    }

    /// User and system time so far, in µs.
    pub fn cpu_us(&self) -> anyhow::Result<f64> {
        cpu_us(self.child.id())
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> anyhow::Result<f64> {
        resident_kib(self.child.id())
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
