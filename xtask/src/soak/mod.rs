//! `cargo xtask soak`: simulated phones with random faults, for an hour.
//!
//! A demo with phones stays open; its suite runs on them again and again while things go wrong with one phone after another.
//! Then everything is mended. No job may be lost and none stuck, and every device must be back, or quarantined with a reason.

mod judge;
mod plan;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use self::judge::{Device, Run};
use self::plan::{Fault, Plan};
use crate::command::{cargo, output, root, run as run_command};

/// From the start of the demo until its first run has ended.
const READY_WITHIN: Duration = Duration::from_mins(20);
/// From the last fault until every run has ended and every device is back.
const SETTLED_WITHIN: Duration = Duration::from_mins(20);
const LOOK: Duration = Duration::from_millis(500);
const SUITE: &str = "fixtures/demo/phones.toml";

#[derive(Debug, Clone, Args)]
pub struct SoakArgs {
    /// How long things go wrong
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(1..=12))]
    phones: u8,
    /// Of what goes wrong: the same seed gives the same faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder with the programs seatrial and seatrial-phone [default: built from here, with optimisation]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Default for SoakArgs {
    fn default() -> Self {
        Self { minutes: 60, phones: 12, seed: 1, programs: None }
    }
}

pub fn run(args: &SoakArgs) -> anyhow::Result<()> {
    let programs = match &args.programs {
        Some(programs) => std::path::absolute(programs)?,
        None => build()?,
    };
    let mut demo = Demo::start(programs, args.phones)?;
    let jobs_of_a_run = demo.ready()?;
    println!("{} phones are up; things go wrong for {} min, by seed {}", args.phones, args.minutes, args.seed);
    let until = Instant::now() + Duration::from_secs(60 * args.minutes);
    let names = demo.phones()?;
    let ends = AtomicBool::new(false);
    let (runs, faults) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let runs = scope.spawn(|| demo.evaluate_until(until, &ends));
        let faults = demo.disturb(Plan::new(args.seed, names.len()), &names, until);
        let settled = demo.settle(Instant::now() + SETTLED_WITHIN, || runs.is_finished());
        ends.store(true, Ordering::Relaxed);
        settled?;
        let runs = runs.join().map_err(|_| anyhow::anyhow!("what runs the suite has panicked"))??;
        Ok((runs, faults?))
    })?;
    let devices = demo.devices()?;
    let (runs, unfinished) = runs;
    println!("{}", judge::table(&runs, &devices, &faults));
    let claims = judge::claims(&runs, &devices, jobs_of_a_run, &unfinished);
    for (claim, against) in &claims {
        println!(
            "{claim}: {}",
            if against.is_empty() { "yes".to_owned() } else { format!("NO: {}", against.join("; ")) }
        );
    }
    let broken: Vec<&str> =
        claims.iter().filter(|(_, against)| !against.is_empty()).map(|(claim, _)| claim.as_str()).collect();
    if broken.is_empty() { Ok(()) } else { bail!("does not hold: {}", broken.join("; ")) }
}

/// The programs as users build them.
fn build() -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let packages = ["--package", "seatrial-cli", "--package", "seatrial-sim"];
    run_command(cargo().args(["build", "--release", "--locked"]).args(packages))?;
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot read the output of cargo metadata")?;
    Ok(metadata.target_directory.join("release"))
}

/// A demo that stays open. It ends with the value.
struct Demo {
    programs: PathBuf,
    scratch: TempDir,
    address: String,
    process: Child,
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let asked = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            self.process.kill().ok();
        }
        self.process.wait().ok();
    }
}

impl Demo {
    fn start(programs: PathBuf, phones: u8) -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir().context("cannot make a scratch folder")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(scratch.path().join("demo.log")).context("cannot write the demo's log")?;
        let process = Command::new(programs.join("seatrial"))
            .args(["demo", "--phones", &phones.to_string(), "--without-energy", "--port", &port.to_string(), "--data"])
            .arg(scratch.path().join("demo"))
            .env("HOME", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start the demo of {}", programs.display()))?;
        Ok(Self { programs, scratch, address: format!("http://127.0.0.1:{port}"), process })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.programs.join("seatrial"));
        command.args(["--server", &self.address]).env("HOME", self.scratch.path()).stdin(Stdio::null());
        command
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let output = self.command().args(arguments).args(["--format", "json"]).output()?;
        // A gate that fails is no failure here.
        serde_json::from_slice(&output.stdout).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("seatrial {} ended with {}: {}", arguments.join(" "), output.status, said.trim())
        })
    }

    fn devices(&self) -> anyhow::Result<Vec<Device>> {
        #[derive(Deserialize)]
        struct Devices {
            devices: Vec<Device>,
        }
        Ok(self.json::<Devices>(&["devices"])?.devices)
    }

    /// The run of the demo itself has ended: its number of jobs is that of every run.
    fn ready(&mut self) -> anyhow::Result<usize> {
        let since = Instant::now();
        loop {
            if let Ok(run) = self.json::<Run>(&["results", "1"])
                && run.run.state == "done"
            {
                return Ok(run.jobs.len());
            }
            let ended = self.process.try_wait().context("cannot watch the demo")?;
            if ended.is_some() || since.elapsed() > READY_WITHIN {
                let log = std::fs::read_to_string(self.scratch.path().join("demo.log")).unwrap_or_default();
                let how = match ended {
                    Some(status) => format!("ended with {status}"),
                    None => format!("is not ready in {} s", READY_WITHIN.as_secs()),
                };
                bail!("the demo {how}: {log}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Folders of the phones, by the names of their devices.
    fn phones(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let mut phones = Vec::new();
        for device in self.devices()? {
            let folder = self.folder_of(&device)?;
            phones.push((device.name, folder));
        }
        Ok(phones)
    }

    /// By the id that the server gave the agent there, which stands in its folder.
    fn folder_of(&self, device: &Device) -> anyhow::Result<PathBuf> {
        for entry in std::fs::read_dir(self.scratch.path().join("demo/phones"))? {
            let folder = entry?.path();
            let id = folder.join("root/data/local/tmp/seatrial/agent/device");
            if std::fs::read_to_string(id).is_ok_and(|id| id.trim() == device.id) {
                return Ok(folder);
            }
        }
        bail!("no phone's agent is {}", device.name)
    }

    /// Runs the suite again and again, and gives the runs and those whose end nobody saw.
    fn evaluate_until(&self, until: Instant, ends: &AtomicBool) -> anyhow::Result<(Vec<Run>, Vec<String>)> {
        let suite = root().join(SUITE);
        let (mut runs, mut unfinished) = (Vec::new(), Vec::new());
        while Instant::now() < until {
            let result = self.scratch.path().join("run.json");
            let mut command = self.command();
            command.arg("run").arg(&suite).args(["--wait", "--format", "json"]);
            let log = File::create(self.scratch.path().join("run.log"))?;
            let mut process = command.stdout(File::create(&result)?).stderr(log).spawn()?;
            loop {
                if process.try_wait()?.is_some() {
                    let text = std::fs::read_to_string(&result)?;
                    runs.push(serde_json::from_str(&text).with_context(|| format!("the run's result is {text:?}"))?);
                    break;
                }
                if ends.load(Ordering::Relaxed) {
                    process.kill().ok();
                    process.wait().ok();
                    unfinished.push(format!("run {} has not ended", runs.len() + 2));
                    break;
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok((runs, unfinished))
    }

    /// Lets things go wrong, one after the other, and mends what lasts when its time has come. Counts them by device.
    fn disturb(
        &self,
        plan: Plan,
        phones: &[(String, PathBuf)],
        until: Instant,
    ) -> anyhow::Result<BTreeMap<String, BTreeMap<&'static str, u32>>> {
        let mut counts: BTreeMap<String, BTreeMap<&'static str, u32>> = BTreeMap::new();
        let mut broken: BTreeMap<usize, Instant> = BTreeMap::new();
        let mut due = Instant::now();
        for Fault { after, phone, word, lasts } in plan {
            due += after;
            loop {
                let now = Instant::now();
                let over: Vec<usize> = broken.iter().filter(|(_, end)| **end <= now).map(|(phone, _)| *phone).collect();
                for phone in over {
                    broken.remove(&phone);
                    self.tell(&phones[phone].1, "mend")?;
                }
                if now >= until {
                    for (_, folder) in phones {
                        self.tell(folder, "mend")?;
                    }
                    return Ok(counts);
                }
                if now >= due {
                    break;
                }
                std::thread::sleep(LOOK);
            }
            // One thing at a time.
            if broken.contains_key(&phone) {
                continue;
            }
            let (name, folder) = &phones[phone];
            self.tell(folder, word)?;
            *counts.entry(name.clone()).or_default().entry(word.split('=').next().unwrap_or(word)).or_default() += 1;
            if let Some(lasts) = lasts {
                broken.insert(phone, Instant::now() + lasts);
            }
        }
        Ok(counts)
    }

    fn tell(&self, phone: &Path, word: &str) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join("seatrial-phone"));
        let output = command.arg("tell").arg(phone).arg(word).output()?;
        if !output.status.success() {
            bail!("{} was not told {word}: {}", phone.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Waits until the last run has ended and every device is connected, or the time is over.
    fn settle(&self, until: Instant, have_runs_ended: impl Fn() -> bool) -> anyhow::Result<()> {
        while Instant::now() < until {
            if have_runs_ended() && self.devices()?.iter().all(|device| device.connected) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
