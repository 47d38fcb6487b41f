//! One demo on an empty folder, and what its server says of each job afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A job of one demo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// The same in every run: `digits-cnn fp32 · tract cpu ×1`.
    pub key: String,
    /// Why its numbers do not count; empty when they do.
    pub invalid: Vec<String>,
    /// The largest share of all CPUs' time that others took while it measured; `None` when it could not be read.
    pub foreign_cpu: Option<f64>,
    /// Value and unit of each metric that has a value.
    pub metrics: BTreeMap<String, (f64, String)>,
}

impl Job {
    /// Median latency in ms.
    pub fn median(&self) -> Option<f64> {
        self.metrics.get("lat_p50_ms").map(|(value, _)| *value)
    }
}

pub fn demo(program: &Path) -> anyhow::Result<Vec<Job>> {
    let scratch = Scratch::new(program)?;
    let log = scratch.folder.path().join("demo.log");
    let status = scratch
        .command()
        .args(["demo", "--once", "--format", "json", "--data"])
        .arg(scratch.data())
        .stdout(Stdio::null())
        .stderr(File::create(&log).context("cannot write the demo's log")?)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("the demo ended with {status}: {}", std::fs::read_to_string(&log).unwrap_or_default());
    }
    let server = Server::start(&scratch)?;
    let run: Run = server.json(&["results", "1"])?;
    run.jobs.into_iter().map(|job| server.job(job)).collect()
}

/// A home and a data folder that nobody has used.
struct Scratch {
    program: PathBuf,
    folder: TempDir,
}

impl Scratch {
    fn new(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a scratch folder")?;
        Ok(Self { program: program.to_owned(), folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("demo")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        for name in ["SEATRIAL_SERVER", "SEATRIAL_TOKEN", "SEATRIAL_TOKEN_FILE", "SEATRIAL_CA", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command
    }
}

/// The demo's server once more, on what the demo has left.
struct Server<'a> {
    scratch: &'a Scratch,
    process: Child,
    address: String,
}

/// The parts of `seatrial results RUN --format json` that matter here.
#[derive(Deserialize)]
struct Run {
    jobs: Vec<RunJob>,
}

#[derive(Deserialize)]
struct RunJob {
    short: String,
    model: String,
    variant: String,
    backend: String,
    invalid: Vec<String>,
    metrics: BTreeMap<String, Metric>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Metric {
    Present { value: f64, unit: String },
    Absent {},
}

/// The parts of `seatrial results JOB --format json`.
#[derive(Deserialize)]
struct Detail {
    report: Report,
}

#[derive(Deserialize)]
struct Report {
    processes: Vec<Process>,
}

#[derive(Deserialize)]
struct Process {
    window: Option<Window>,
}

#[derive(Deserialize)]
struct Window {
    foreign_cpu: Option<f64>,
}

impl<'a> Server<'a> {
    fn start(scratch: &'a Scratch) -> anyhow::Result<Self> {
        let mut process = scratch
            .command()
            .args(["serve", "--canary", "false", "--listen", "127.0.0.1:0", "--data"])
            .arg(scratch.data().join("server"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the server")?;
        let stdout = process.stdout.take().context("the server has no output")?;
        let mut server = Self { scratch, process, address: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("cannot read the server's address")?;
        let address = line.trim().strip_prefix("listening on ").context("the server did not say where it listens")?;
        address.clone_into(&mut server.address);
        Ok(server)
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let output = self
            .scratch
            .command()
            .args(["--server", &self.address])
            .args(arguments)
            .args(["--format", "json"])
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("seatrial {} ended with {}", arguments.join(" "), output.status);
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cannot read the output of seatrial {}", arguments.join(" ")))
    }

    fn job(&self, job: RunJob) -> anyhow::Result<Job> {
        let RunJob { short, model, variant, backend, invalid, metrics } = job;
        let detail: Detail = self.json(&["results", &short])?;
        let windows = detail.report.processes.into_iter().filter_map(|process| process.window);
        let foreign_cpu = windows.filter_map(|window| window.foreign_cpu).reduce(f64::max);
        let present = metrics.into_iter().filter_map(|(name, metric)| match metric {
            Metric::Present { value, unit } => Some((name, (value, unit))),
            Metric::Absent {} => None,
        });
        let key = format!("{model} {variant} · {backend}");
        Ok(Job { key, invalid, foreign_cpu, metrics: present.collect() })
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("xtask: cannot end the server: {error}");
        }
    }
}
