//! `seatrial cancel`: ends what is left of a run.

use seatrial_proto::v1;

use super::Context;
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(run: String, context: &Context) -> Result<Exit> {
    let client = context.connect().await?;
    let doing = format!("cancel run {run}");
    let request = Client::request(v1::CancelRunRequest { run: run.clone() });
    let cancelled = client.runs().cancel(request).await.map_err(client.failed(&doing))?.into_inner().cancelled;
    output::note(&format!("run {run}: {} cancelled", output::count(cancelled as usize, "job")));
    Ok(Exit::Ok)
}
