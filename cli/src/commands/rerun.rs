//! `seatrial rerun`: one job again, as a run of its own.

use seatrial_proto::v1;
use serde_json::json;

use super::{Context, follow};
use crate::args::OutputArgs;
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(job: String, wait: bool, output: OutputArgs, context: &Context) -> Result<Exit> {
    let output = context.output(output);
    let client = context.connect().await?;
    let doing = format!("run job {job} again");
    let request = Client::request(v1::RerunRequest { job: job.clone() });
    let v1::RerunResponse { run, number } =
        client.runs().rerun(request).await.map_err(client.failed(&doing))?.into_inner();
    if wait {
        output::note(&format!("run {number} repeats job {job}"));
        let ended = follow::to_the_end(&client, &run, context.colour).await?;
        return follow::conclude(&ended, output);
    }
    if output.is_json() {
        output::print_json(&json!({ "run": run, "number": number }))?;
    } else {
        output::note(&format!("run {number} repeats job {job}\n\nhint: `seatrial watch {number}` follows it"));
    }
    Ok(Exit::Ok)
}
