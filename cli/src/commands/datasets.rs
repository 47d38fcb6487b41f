//! `seatrial datasets`: registers dataset packages and lists them.

use std::path::{Path, PathBuf};

use seatrial_dashboards::format::file_size;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::{Context, golden};
use crate::args::DatasetAction;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::table::{Align, plain, quiet, row, table};
use crate::output::{self, Output};
use crate::upload::dataset::Package;
use crate::upload::{self, Moved};

pub(super) async fn run(action: DatasetAction, context: &Context) -> Result<Exit> {
    match action {
        DatasetAction::Add { package, name, output } => {
            let client = context.connect().await?;
            let registered = register(&client, &package, name).await?;
            let Registered { name, version, moved } = registered;
            if context.output(output).is_json() {
                output::print_json(&json!({ "name": name, "version": version, "uploaded_bytes": moved.bytes }))?;
            } else {
                output::note(&format!("{name}@{version} registered ({} uploaded)", file_size(moved.bytes)));
            }
        }
        DatasetAction::Golden(args) => return golden::run(*args, context).await,
        DatasetAction::List { output } => list(&context.connect().await?, context.output(output)).await?,
    }
    Ok(Exit::Ok)
}

pub(super) struct Registered {
    pub name: String,
    pub version: u32,
    pub moved: Moved,
}

/// Checks and packs the package, uploads it unless the server has it, and registers it under its own or another name.
pub(super) async fn register(client: &Client, path: &Path, name: Option<String>) -> Result<Registered> {
    let package = open(path.to_owned()).await?;
    let file = upload::digest(package.path()).await?;
    let moved = upload::send_missing(client, std::slice::from_ref(&file)).await?;
    let manifest = &package.manifest;
    let name = name.unwrap_or_else(|| manifest.name.clone());
    let scorer_json = manifest.scorer.as_ref().map(serde_json::to_string).transpose();
    let scorer_json = scorer_json.map_err(|error| CliError::failed("write the scorer", error))?;
    let request = v1::AddDatasetRequest {
        name: name.clone(),
        digest: bytes::Bytes::copy_from_slice(file.digest.as_bytes()),
        size: file.size,
        task: manifest.task.as_str().to_owned(),
        examples: manifest.examples,
        classes: manifest.classes.clone(),
        origin: manifest.origin.clone(),
        license: manifest.license.clone(),
        scorer_json,
    };
    let doing = format!("register {name}");
    let added = client.datasets().add(Client::request(request)).await.map_err(client.failed(&doing))?.into_inner();
    Ok(Registered { name, version: added.version, moved })
}

pub(super) async fn open(path: PathBuf) -> Result<Package> {
    let opened = tokio::task::spawn_blocking(move || Package::open(&path)).await;
    opened.map_err(|error| CliError::failed("read the dataset package", error))?
}

async fn list(client: &Client, output: Output) -> Result<()> {
    let request = Client::request(v1::ListDatasetsRequest {});
    let datasets =
        client.datasets().list(request).await.map_err(client.failed("list the datasets"))?.into_inner().datasets;
    if datasets.is_empty() && !output.is_json() {
        output::note("there is no dataset\n\nhint: `seatrial datasets add FOLDER` registers one");
        return Ok(());
    }
    let data = json!({ "datasets": datasets.iter().map(summary_json).collect::<Vec<_>>() });
    output.emit(&data, || {
        let mut table = table(&[
            ("dataset", Align::Words),
            ("task", Align::Words),
            ("examples", Align::Numbers),
            ("classes", Align::Numbers),
            ("size", Align::Numbers),
            ("versions", Align::Numbers),
        ]);
        for dataset in &datasets {
            let v1::DatasetSummary { name, versions, task, examples, classes, size } = dataset;
            let classes = if *classes == 0 { quiet("–") } else { plain(classes) };
            table.add_row(row([
                plain(name),
                plain(task),
                plain(examples),
                classes,
                plain(file_size(*size)),
                plain(versions),
            ]));
        }
        table
    })
}

fn summary_json(dataset: &v1::DatasetSummary) -> Value {
    let v1::DatasetSummary { name, versions, task, examples, classes, size } = dataset;
    json!({ "name": name, "versions": versions, "task": task, "examples": examples, "classes": classes, "size": size })
}
