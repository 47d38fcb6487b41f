//! Everything that a developer or CI does to this repository: `cargo xtask help`.

#![expect(clippy::print_stdout, reason = "a developer's tool talks to its terminal")]

mod aa;
mod arrows;
mod bench;
mod command;
mod cross;
mod debian;
mod engines;
#[cfg(test)]
mod faults;
mod phones;
mod postgres;
mod programs;
mod setup;
mod soak;
mod sqlx;
mod stages;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer's commands of Seatrial")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What takes too long for every change; each is run instead of the usual stages.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "more", multiple = true)]
struct More {
    /// The experiments on whole demos: `cargo xtask aa`, for a quiet machine (half an hour)
    #[arg(long)]
    long: bool,
    /// Parsers of what comes from outside, against very many broken inputs
    #[arg(long)]
    fuzz: bool,
    /// Agents for other processors: built, run under an emulator, and the Android agent type-checked (an hour)
    #[arg(long)]
    cross: bool,
    /// Engines from packages, behind runners (OpenCV, TensorFlow: 1.5 GB), and llama-bench, built from its source
    #[arg(long)]
    engines: bool,
    /// Twelve simulated phones with random faults: `cargo xtask soak` (an hour and more)
    #[arg(long)]
    soak: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing, then check and test everything; what CI runs.
    Test {
        /// Only stages whose name starts with this (setup always runs).
        #[arg(long, conflicts_with = "more")]
        only: Option<String>,
        #[command(flatten)]
        more: More,
    },
    /// Run the demo again and again: how far do its numbers move by themselves, and does a disturbed job say so?
    Aa(aa::AaArgs),
    /// Let things go wrong with simulated phones at random: is no job lost, is none stuck, does every device come back?
    Soak(soak::SoakArgs),
    /// (internal) take all the CPU time there is until standard input ends
    #[command(hide = true)]
    Hog {
        #[arg(long)]
        threads: usize,
    },
    /// Build the agent for another processor, installing what that takes.
    Cross(cross::CrossArgs),
    /// Check that crates depend on each other as ARCHITECTURE.md says.
    Arrows,
    /// Bring the compile-time record of every SQL statement up to date.
    Sqlx {
        /// Fail when it is not.
        #[arg(long)]
        check: bool,
    },
    /// Measure ratios of speed and memory against baselines in the same run.
    Bench {
        /// Arguments for the bench program, such as `--format json` or a name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Test { only, more } => test::run(only.as_deref(), &more),
        Command::Aa(args) => aa::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Hog { threads } => aa::spin(threads),
        Command::Cross(args) => cross::run(&args),
        Command::Arrows => arrows::check(),
        Command::Sqlx { check } => sqlx::prepare(check),
        Command::Bench { args } => bench::run_bench(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
