//! `seatrial serve`: the server.

use clap::Args;
use seatrial_server::Settings;

use super::Context;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// Check the configuration, print it as a configuration file without secrets, and exit
    #[arg(long)]
    check_config: bool,
}

pub(crate) async fn run(args: ServeArgs, context: &Context) -> Result<Exit> {
    let ServeArgs { settings, check_config } = args;
    let config = settings.resolve().map_err(|error| CliError::failed("use the configuration", error))?;
    if check_config {
        output::print_text(config.dump().trim_end())?;
        return Ok(Exit::Ok);
    }
    let filter = std::env::var("SEATRIAL_LOG").ok();
    let more = (context.global.verbose > 0).then_some("debug");
    seatrial_server::logging::init(config.log, filter.as_deref().or(more));
    seatrial_server::run(config).await.map_err(|error| CliError::failed("run the server", error))?;
    Ok(Exit::Ok)
}
