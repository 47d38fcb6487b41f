//! `seatrial completions`: a script for the user's shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::print_text;

pub(super) fn run(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "seatrial", &mut script);
    print_text(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}
