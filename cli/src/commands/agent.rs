//! `seatrial agent`: the same program as `seatrial-agent`, for one binary that does everything.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use super::demo::PHONE;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output;

/// The hidden command under which a demo starts its agent.
pub(crate) const DEMO_AGENT: &str = "demo-agent";
pub(crate) const AGENT: &str = "agent";

#[derive(Debug, Parser)]
#[command(name = "seatrial agent", version, about = "Evaluates models on this device for a Seatrial server")]
struct AgentCommand {
    #[command(flatten)]
    args: seatrial_agent::cli::Args,
}

/// Runs the agent when its word comes first, before anything else is set up: a child process of the agent is timed, and
/// the daemon of a simulated phone lives where hardly anything of this machine is.
pub(crate) fn intercept(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.get(1)?.to_str()? {
        AGENT => Some(start(arguments[2..].to_vec())),
        DEMO_AGENT => Some(start_for_demo(arguments[2..].to_vec())),
        PHONE => Some(seatrial_sim::phone::adbd(arguments.get(2)?.to_str()?)),
        _ => None,
    }
}

/// How a child of an agent of this program is started.
pub(crate) fn child_command() -> Result<Vec<OsString>> {
    seatrial_agent::cli::child_command(&[AGENT])
        .map_err(|error| CliError::failed("find the path of this program", error))
}

fn start(arguments: Vec<OsString>) -> ExitCode {
    let name = OsString::from("seatrial agent");
    let AgentCommand { args } = match AgentCommand::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(command) => command,
        Err(usage) => return crate::end_of_parsing(&usage),
    };
    match child_command() {
        Ok(child_command) => seatrial_agent::cli::main(args, child_command),
        Err(error) => {
            output::complain(&error);
            error.exit().into()
        }
    }
}

/// An agent that ends when the demo ends, however the demo ends. A demo that was killed cannot wait for its agent to
/// finish what it holds, and nobody would take the report: the agent goes at once, and its child goes with it.
fn start_for_demo(arguments: Vec<OsString>) -> ExitCode {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)) {
        output::complain(&CliError::failed("tie the demo's agent to the demo", error));
        return Exit::Error.into();
    }
    // The parent may have ended before the kernel was asked to tell.
    if rustix::process::getppid().is_none_or(rustix::process::Pid::is_init) {
        return Exit::Interrupted.into();
    }
    start(arguments)
}
