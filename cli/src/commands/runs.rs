//! `seatrial runs`: what has run, newest first.

use seatrial_proto::v1;
use serde_json::json;

use super::Context;
use crate::args::OutputArgs;
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::{self, json};

pub(super) async fn run(limit: u32, output: OutputArgs, context: &Context) -> Result<Exit> {
    let output = context.output(output);
    let client = context.connect().await?;
    let request = Client::request(v1::ListRunsRequest { before: None, limit });
    let runs = client.runs().list(request).await.map_err(client.failed("list the runs"))?.into_inner().runs;
    if runs.is_empty() && !output.is_json() {
        output::note("nothing has run\n\nhint: `seatrial run suite.toml --wait` starts the first run");
        return Ok(Exit::Ok);
    }
    let data = json!({ "runs": runs.iter().map(json::run_summary).collect::<Vec<_>>() });
    output.emit(&data, || output::run::list(&runs))?;
    Ok(Exit::Ok)
}
