//! `seatrial artifacts gc`: deletes what nothing holds.

use seatrial_dashboards::format::file_size;
use seatrial_proto::v1;
use serde_json::json;

use super::Context;
use crate::args::ArtifactAction;
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(action: ArtifactAction, context: &Context) -> Result<Exit> {
    let ArtifactAction::Gc { dry_run, min_age, output } = action;
    let client = context.connect().await?;
    let request = Client::request(v1::CollectGarbageRequest { dry_run, min_age_seconds: min_age.as_secs() });
    let collected =
        client.artifacts().collect_garbage(request).await.map_err(client.failed("collect garbage"))?.into_inner();
    let v1::CollectGarbageResponse { artifacts, bytes } = collected;
    if context.output(output).is_json() {
        output::print_json(&json!({ "dry_run": dry_run, "artifacts": artifacts, "bytes": bytes }))?;
    } else {
        let done = if dry_run { "would be deleted" } else { "deleted" };
        output::note(&format!("{} ({}) {done}", output::count(artifacts as usize, "artifact"), file_size(bytes)));
    }
    Ok(Exit::Ok)
}
