//! `seatrial-agent`: the lean binary for devices.

use std::process::ExitCode;

use clap::Parser as _;

#[derive(Debug, clap::Parser)]
#[command(name = "seatrial-agent", version, about = "Evaluates models on this device for a Seatrial server")]
struct Command {
    #[command(flatten)]
    args: seatrial_agent::cli::Args,
}

/// By which `seatrial agents add` knows an agent and its version. It stands here and not in the library, since other
/// programs that link that are none.
static MARK: &str = seatrial_core::agent_mark!();

fn main() -> ExitCode {
    // What nobody reads would not come into the program.
    std::hint::black_box(MARK);
    let Command { args } = Command::parse();
    match seatrial_agent::cli::child_command(&[]) {
        Ok(child_command) => seatrial_agent::cli::main(args, child_command),
        Err(error) => {
            eprintln!("seatrial-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
