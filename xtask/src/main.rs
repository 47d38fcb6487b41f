//! Everything that a developer or CI does to this repository: `cargo xtask help`.

#![expect(clippy::print_stdout, reason = "a developer's tool talks to its terminal")]

mod arrows;
mod bench;
mod command;
#[cfg(test)]
mod faults;
mod postgres;
mod setup;
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

#[derive(Subcommand)]
enum Command {
    /// Install what is missing, then check and test everything; what CI runs.
    Test {
        /// Only stages whose name starts with this (setup always runs).
        #[arg(long)]
        only: Option<String>,
    },
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
        Command::Test { only } => test::run(only.as_deref()),
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
