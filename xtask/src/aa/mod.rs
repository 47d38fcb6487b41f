//! `cargo xtask aa`: how far the demo's numbers move although nothing has changed, and whether a job that was disturbed
//! says so.
//!
//! The demo's suite runs several times, each time on an empty folder: first on the machine as it is (A/A), then beside a
//! process that spins on half of the cores, then beside one that spins on all of them. On a machine that is in use the
//! first claim tells of the machine and not of Seatrial: run it on a quiet one.

mod hog;
mod judge;
mod observe;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::hog::Hog;
use self::judge::{Claim, Spread};
use self::observe::Job;
use crate::command::{cargo, output, run as run_command};

pub use self::hog::spin;

#[derive(Debug, Clone, Args)]
pub struct AaArgs {
    /// Runs of the demo on the machine as it is
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    runs: u32,
    /// Runs beside a hog on half of the cores, and as many beside one on all of them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    hogged: u32,
    /// With json, JSON on standard output and the tables on standard error
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The binary to run [default: built from here, with optimisation]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Default for AaArgs {
    fn default() -> Self {
        Self { runs: 10, hogged: 3, format: Format::Table, program: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Serialize)]
struct Findings<'a> {
    cpus: usize,
    spreads: &'a [Spread],
    claims: &'a [Claim],
    quiet: &'a [Vec<Job>],
    hogged: &'a [Vec<Job>],
}

pub fn run(args: &AaArgs) -> anyhow::Result<()> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build()?,
    };
    let cpus = std::thread::available_parallelism().context("cannot count the CPUs")?.get();
    let quiet = repeat(args.runs, "on the machine as it is", || observe::demo(&program))?;
    let mut hogged = Vec::new();
    for threads in [cpus.div_ceil(2), cpus] {
        let beside = format!("beside a hog on {threads} of {cpus} CPUs");
        hogged.extend(repeat(args.hogged, &beside, || {
            let hog = Hog::start(threads)?;
            let jobs = observe::demo(&program)?;
            hog.stop()?;
            Ok(jobs)
        })?);
        if cpus == 1 {
            break;
        }
    }
    let (spreads, claims) = (judge::spreads(&quiet), judge::claims(&quiet, &hogged));
    let text = judge::tables(&spreads, &claims, &quiet, &hogged);
    match args.format {
        Format::Table => println!("{text}"),
        Format::Json => {
            eprintln!("{text}");
            let findings = Findings { cpus, spreads: &spreads, claims: &claims, quiet: &quiet, hogged: &hogged };
            println!("{}", serde_json::to_string(&findings)?);
        }
    }
    let failed: Vec<&str> = claims.iter().filter(|claim| !claim.met()).map(|claim| claim.name).collect();
    if !failed.is_empty() {
        bail!("does not hold, or is not shown: {}", failed.join("; "));
    }
    Ok(())
}

fn repeat(times: u32, how: &str, mut once: impl FnMut() -> anyhow::Result<Vec<Job>>) -> anyhow::Result<Vec<Vec<Job>>> {
    let mut runs = Vec::new();
    for number in 1..=times {
        let jobs = once().with_context(|| format!("demo {number} of {times} {how}"))?;
        let invalid = jobs.iter().filter(|job| !job.invalid.is_empty()).count();
        eprintln!("demo {number} of {times} {how}: {} jobs, {invalid} invalid", jobs.len());
        runs.push(jobs);
    }
    Ok(runs)
}

/// The binary as users build it.
fn build() -> anyhow::Result<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    run_command(cargo().args(["build", "--release", "--locked", "--package", "seatrial-cli"]))?;
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot read the output of cargo metadata")?;
    Ok(metadata.target_directory.join("release/seatrial"))
}
