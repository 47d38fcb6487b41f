//! `seatrial`: the command line, and by re-execution of itself the server, the agent and its children.

mod args;
mod client;
mod commands;
mod error;
mod exit;
mod output;
mod settings;
mod telemetry;
mod upload;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::Exit;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // The agent has a command line of its own, and its children must start fast and without threads.
    if let Some(code) = commands::agent::intercept(&arguments) {
        return code;
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => return end_of_parsing(&usage),
    };
    match commands::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => report(&error).into(),
    }
}

/// Help and version go to stdout and are no error; everything else is a wrong command line.
fn end_of_parsing(usage: &clap::Error) -> ExitCode {
    let failed = usage.use_stderr();
    // A reader that has gone away is no reason to fail.
    usage.print().ok();
    if failed { Exit::Usage.into() } else { Exit::Ok.into() }
}

fn report(error: &CliError) -> Exit {
    // Who pressed Ctrl-C knows it.
    if !error.is_closed_pipe() && !matches!(error, CliError::Interrupted) {
        output::complain(error);
    }
    error.exit()
}
