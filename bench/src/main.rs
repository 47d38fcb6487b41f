//! Ratios of Seatrial against the least that the same work could cost, taken in the same run.
//!
//! Server and baseline dispatcher run as processes of their own, so that their CPU time and memory can be told from the
//! load's. Absolute times mean nothing on a shared machine: only the ratios of one round are compared.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod agents;
mod baseline;
mod cache;
mod direct;
mod dispatch;
mod download;
mod fidelity;
mod idle;
mod ingest;
#[path = "../../adb/tests/real/lab.rs"]
#[expect(clippy::unwrap_used, dead_code, reason = "the lab of the link's tests, of which this takes a part")]
mod lab;
mod lab_host;
mod litert;
mod onnxruntime;
mod process;
mod push;
mod ratio;
mod runner;
mod subject;
mod together;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use seatrial_core::runtimes::Engine;

use crate::ratio::{Measured, Row, combine};

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Ratios against baselines of the same run")]
struct Args {
    /// Only measurements whose group starts with one of these: dispatch, ingest, download, cache, fidelity, idle, push, lab.
    groups: Vec<String>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(subcommand)]
    inner: Option<Inner>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// This program as one of its own subjects.
#[derive(Subcommand)]
enum Inner {
    #[command(name = "inner-server", hide = true)]
    Server {
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        synchronous: String,
    },
    #[command(name = "inner-dispatcher", hide = true)]
    Dispatcher,
    #[command(name = "inner-push", hide = true)]
    Push,
    /// The daemon of a simulated phone
    #[command(name = "inner-phone", hide = true)]
    Phone { identity: String },
    #[command(name = "inner-direct", hide = true)]
    Direct(Loaded),
    #[command(name = "inner-together", hide = true)]
    Together(Loaded),
    #[command(name = "agent", hide = true)]
    Agent {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<std::ffi::OsString>,
    },
}

/// A model, and the engine whose library is given; tract without.
#[derive(clap::Args)]
struct Loaded {
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    samples: u32,
    #[arg(long, requires = "library")]
    engine: Option<Engine>,
    #[arg(long, requires = "engine")]
    library: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    rustls::crypto::ring::default_provider().install_default().ok();
    let result = match args.inner {
        Some(Inner::Server { data, synchronous }) => subject::serve(&data, &synchronous),
        Some(Inner::Dispatcher) => subject::dispatch(),
        Some(Inner::Push) => push::inside(),
        Some(Inner::Phone { identity }) => return seatrial_sim::phone::adbd(&identity),
        Some(Inner::Direct(Loaded { model, samples, engine, library })) => {
            direct::alone(engine.zip(library.as_deref()), &model, samples)
        }
        Some(Inner::Together(Loaded { model, samples, engine, library })) => {
            together::run(engine.zip(library.as_deref()), &model, samples)
        }
        Some(Inner::Agent { rest }) => return fidelity::agent(rest),
        None => measure(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

type Group = (&'static str, fn() -> anyhow::Result<Vec<Measured>>);

const GROUPS: &[Group] = &[
    ("dispatch", dispatch::round),
    ("ingest", ingest::round),
    ("download", download::round),
    ("cache", cache::round),
    ("fidelity", fidelity::round),
    ("idle", idle::round),
    ("push", push::round),
    ("lab", lab_host::round),
];

fn measure(args: &Args) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (name, round) in GROUPS {
        if !args.groups.is_empty() && !args.groups.iter().any(|wanted| name.starts_with(wanted.as_str())) {
            continue;
        }
        let mut rounds = Vec::with_capacity(args.rounds);
        for number in 1..=args.rounds {
            eprintln!("{name}: round {number} of {}", args.rounds);
            rounds.push(round()?);
        }
        rows.extend(combine(&rounds));
    }
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
        Format::Table => table(&rows),
    }
    Ok(())
}

fn table(rows: &[Row]) {
    println!(
        "{:<52}{:>16}{:>16}  {:<10}{:>8}  {:<16}{:<8}",
        "", "ours", "baseline", "unit", "ratio", "of all rounds", "goal"
    );
    for row in rows {
        let verdict = if row.met { "" } else { "NOT MET" };
        let spread = format!("{:.3}–{:.3}", row.spread[0], row.spread[1]);
        println!(
            "{:<52}{:>16.3}{:>16.3}  {:<10}{:>8.3}  {spread:<16}{:<8}{verdict}",
            row.name, row.value, row.baseline, row.unit, row.ratio, row.goal
        );
    }
}
