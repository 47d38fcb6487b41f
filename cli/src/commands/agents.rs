//! `seatrial agents`: the builds of the agent that devices are served.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use seatrial_core::digest::Digest;
use seatrial_core::runtimes::Abi;
use seatrial_dashboards::format::file_size;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::{Context, export};
use crate::args::AgentsAction;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::table::{Align, plain, quiet, row, table};
use crate::output::time::{moment, rfc3339};
use crate::output::{self, Output};
use crate::upload::agent::{Described, describe};
use crate::upload::{self, LocalFile};

pub(super) async fn run(action: AgentsAction, context: &Context) -> Result<Exit> {
    match action {
        AgentsAction::Add { file, output } => add(&file, context, context.output(output)).await?,
        AgentsAction::List { output } => list(&context.connect().await?, context.output(output)).await?,
        AgentsAction::Get { abi, output } => get(&context.connect().await?, abi, output).await?,
    }
    Ok(Exit::Ok)
}

/// What is no agent is refused before anything is sent.
async fn add(path: &Path, context: &Context, output: Output) -> Result<()> {
    let Described { abi, version } = describe(path).await?;
    let client = context.connect().await?;
    let file = upload::digest(path).await?;
    let moved = upload::send_missing(&client, std::slice::from_ref(&file)).await?;
    let LocalFile { path: _, digest, size } = file;
    let request = v1::AddAgentRequest {
        digest: Bytes::copy_from_slice(digest.as_bytes()),
        size,
        abi: abi.to_string(),
        version: version.clone(),
    };
    let doing = format!("add the agent {version} for {abi}");
    let answer = client.agents().add(Client::request(request)).await.map_err(client.failed(&doing))?;
    let added = answer.into_inner().added;
    if output.is_json() {
        return output::print_json(&json!({
            "abi": abi, "version": version, "digest": digest.to_string(), "size": size, "added": added,
            "uploaded_bytes": moved.bytes,
        }));
    }
    let since = if added { "from now on" } else { "already" };
    let (size, sent) = (file_size(size), file_size(moved.bytes));
    output::note(&format!("devices with {abi} are served agent {version} ({size}) {since} ({sent} uploaded)"));
    Ok(())
}

/// Those of one ABI together, newest first.
async fn builds(client: &Client) -> Result<Vec<v1::AgentBuild>> {
    let request = Client::request(v1::ListAgentsRequest {});
    let answer = client.agents().list(request).await.map_err(client.failed("list the agents"))?;
    Ok(answer.into_inner().builds)
}

async fn list(client: &Client, output: Output) -> Result<()> {
    let builds = builds(client).await?;
    if builds.is_empty() && !output.is_json() {
        output::note("there is no agent for devices\n\nhint: `seatrial agents add FILE` adds one");
        return Ok(());
    }
    let served: Vec<bool> =
        (0..builds.len()).map(|index| index == 0 || builds[index - 1].abi != builds[index].abi).collect();
    let shown = || builds.iter().zip(&served);
    let data = json!({ "agents": shown().map(|(build, served)| build_json(build, *served)).collect::<Vec<_>>() });
    output.emit(&data, || {
        let mut table = table(&[
            ("ABI", Align::Words),
            ("version", Align::Words),
            ("size", Align::Numbers),
            ("added", Align::Words),
            ("by", Align::Words),
            ("served", Align::Words),
        ]);
        for (build, served) in shown() {
            let v1::AgentBuild { abi, version, digest: _, size, created_us, created_by } = build;
            table.add_row(row([
                plain(abi),
                plain(version),
                plain(file_size(*size)),
                plain(moment(*created_us)),
                plain(created_by),
                if *served { plain("yes") } else { quiet("no") },
            ]));
        }
        table
    })
}

fn build_json(build: &v1::AgentBuild, served: bool) -> Value {
    let v1::AgentBuild { abi, version, digest, size, created_us, created_by } = build;
    let digest = Digest::try_from(&digest[..]).ok().map(|digest| digest.to_string());
    json!({
        "abi": abi, "version": version, "digest": digest, "size": size, "created_at": rfc3339(*created_us),
        "created_by": created_by, "served": served,
    })
}

async fn get(client: &Client, abi: Abi, path: PathBuf) -> Result<()> {
    let name = abi.to_string();
    let build = builds(client).await?.into_iter().find(|build| build.abi == name);
    let doing = format!("fetch the agent for {abi}");
    let Some(build) = build else {
        return Err(CliError::NotFound { doing, reason: format!("the server has no agent for {abi}") });
    };
    let digest = Digest::try_from(&build.digest[..]).map_err(|error| CliError::failed(&doing, error))?;
    let response = client.get(&format!("/artifacts/{digest}"), &doing).await?;
    let size = export::to_file(response, &path, &doing).await?;
    if let Err(error) = finish(&path, &digest).await {
        export::remove_partial(path).await;
        return Err(error);
    }
    output::note(&format!("{}: agent {} for {abi} ({})", path.display(), build.version, file_size(size)));
    Ok(())
}

/// What arrived is what was asked for, and can be run.
async fn finish(path: &Path, digest: &Digest) -> Result<()> {
    let found = upload::digest(path).await?.digest;
    if found != *digest {
        return Err(CliError::plain(format!("what the server sent has the digest {found}, not {digest}")));
    }
    let executable = std::fs::Permissions::from_mode(0o755);
    let set = fs_err::tokio::set_permissions(path, executable).await;
    set.map_err(|error| CliError::failed(format!("make {} executable", path.display()), error))
}
