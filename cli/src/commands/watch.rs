//! `seatrial watch`: follows a run that is under way, and exits by its gate.

use super::{Context, follow};
use crate::args::OutputArgs;
use crate::error::Result;
use crate::exit::Exit;

pub(super) async fn run(run: String, output: OutputArgs, context: &Context) -> Result<Exit> {
    let client = context.connect().await?;
    let ended = follow::to_the_end(&client, &run, context.colour).await?;
    follow::conclude(&ended, context.output(output))
}
