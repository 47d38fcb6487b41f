//! `seatrial-agent`: the lean binary for devices.

use std::process::ExitCode;

use clap::Parser as _;

#[derive(Debug, clap::Parser)]
#[command(name = "seatrial-agent", version, about = "Evaluates models on this device for a Seatrial server")]
struct Command {
    #[command(flatten)]
    args: seatrial_agent::cli::Args,
}

fn main() -> ExitCode {
    let Command { args } = Command::parse();
    match seatrial_agent::cli::child_command(&[]) {
        Ok(child_command) => seatrial_agent::cli::main(args, child_command),
        Err(error) => {
            eprintln!("seatrial-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
