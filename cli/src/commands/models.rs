//! `seatrial models`: registers models and shows what is registered.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use comfy_table::Table;
use seatrial_agent::signature;
use seatrial_core::model::{Axis, Signature, TensorSpec};
use seatrial_core::store::{ModelDetail, VariantRow, VersionRow};
use seatrial_core::weights::PrecisionFrom;
use seatrial_dashboards::format::file_size;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::{Context, agent};
use crate::args::{LabelChange, ModelAction, ModelAddArgs};
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::table::{Align, plain, quiet, row, table};
use crate::output::time::{ago, moment, rfc3339};
use crate::output::{self, Output};
use crate::upload::model::{self, BindingFile, PlannedFile, PlannedVariant, Variant};
use crate::upload::{self, LocalFile, Moved};

pub(super) async fn run(action: ModelAction, context: &Context) -> Result<Exit> {
    match action {
        ModelAction::Add(args) => add(*args, context).await?,
        ModelAction::List { output } => list(&context.connect().await?, context.output(output)).await?,
        ModelAction::Show { name, output } => show(&context.connect().await?, &name, context.output(output)).await?,
        ModelAction::Alias { name, alias, version } => {
            let client = context.connect().await?;
            let doing = format!("point {alias} of {name} at version {version}");
            let request = Client::request(v1::MoveAliasRequest { model: name.clone(), alias: alias.clone(), version });
            client.models().move_alias(request).await.map_err(client.failed(&doing))?;
            output::note(&format!("{name}@{alias} is now version {version}"));
        }
    }
    Ok(Exit::Ok)
}

/// A version to be registered.
pub(super) struct NewVersion {
    pub name: String,
    pub variants: Vec<PlannedVariant>,
    pub bindings: Vec<BindingFile>,
    pub parent: Option<u32>,
    pub commit: Option<String>,
    pub build_address: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub origin: Option<String>,
    pub license: Option<String>,
}

/// What registering did.
pub(super) struct Registered {
    pub version: u32,
    pub moved: Moved,
    /// With what is known of each, in the order of the command.
    pub variants: Vec<(Variant, Signature)>,
}

/// Reads every signature in a child that works in `scratch`, uploads what the server does not have, and registers the version.
pub(super) async fn register(client: &Client, new: NewVersion, scratch: &Path) -> Result<Registered> {
    let mut read = Vec::new();
    for variant in &new.variants {
        read.push(read_variant(variant, scratch).await?);
    }
    let settled: Vec<Variant> = read.iter().map(|(variant, _)| variant.clone()).collect();
    model::refuse_equal_names(&settled)?;
    let mut files: Vec<LocalFile> = Vec::new();
    let mut variants = Vec::new();
    for (variant, signature) in &read {
        let mut references = Vec::new();
        for planned in &variant.files {
            let file = upload::digest(&planned.path).await?;
            references.push(v1::FileRef {
                role: planned.role.to_owned(),
                digest: Bytes::copy_from_slice(file.digest.as_bytes()),
                size: file.size,
                file_name: planned.name.clone(),
            });
            files.push(file);
        }
        variants.push(v1::NewVariant {
            name: variant.name.clone(),
            format: variant.format.as_str().to_owned(),
            precision: variant.precision.as_str().to_owned(),
            files: references,
            signature_json: to_json(signature)?,
        });
    }
    let moved = upload::send_missing(client, &files).await?;
    let bindings = new.bindings.iter().map(|BindingFile { dataset, binding }| {
        Ok(v1::NewBinding { dataset: dataset.clone(), binding_json: to_json(binding)? })
    });
    let NewVersion { name, variants: _, bindings: _, parent, commit, build_address, labels, origin, license } = &new;
    let request = v1::AddModelRequest {
        name: name.clone(),
        variants,
        parent: *parent,
        commit: commit.clone(),
        build_address: build_address.clone(),
        labels: labels.iter().map(|(key, value)| v1::Label { key: key.clone(), value: value.clone() }).collect(),
        origin: origin.clone(),
        license: license.clone(),
        bindings: bindings.collect::<Result<_>>()?,
    };
    let doing = format!("register {name}");
    let added = client.models().add(Client::request(request)).await.map_err(client.failed(&doing))?.into_inner();
    Ok(Registered { version: added.version, moved, variants: read })
}

/// What the model says of its inputs, outputs and weights, read where a malformed file can do no harm.
pub(super) async fn read_variant(variant: &PlannedVariant, scratch: &Path) -> Result<(Variant, Signature)> {
    let child_command = agent::child_command()?;
    let files: Vec<signature::LocalFile> = variant
        .files
        .iter()
        .map(|PlannedFile { role, path, name }| signature::LocalFile {
            role: (*role).to_owned(),
            file_name: name.clone(),
            path: path.clone(),
        })
        .collect();
    let format = variant.format;
    let scratch = scratch.to_owned();
    let read = move || signature::read(&child_command, &scratch, format, &files);
    let outcome =
        tokio::task::spawn_blocking(read).await.map_err(|error| CliError::failed("read the signature", error))?;
    let path = variant.files[0].path.display();
    let signature::Read { mut signature, weights, unread } = outcome.map_err(|error| {
        CliError::failed(format!("read the signature of {path}"), error)
            .with_hint("external data files come after their model on the command line")
    })?;
    if let Some(why) = unread {
        output::note(&format!(
            "warning: the engine that is built in cannot read {path} ({why}); the first device that loads it with another \
             tells its inputs and outputs"
        ));
    }
    let variant = variant.clone().settle(weights)?;
    signature.precision_from = Some(variant.precision_from.clone());
    Ok((variant, signature))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| CliError::failed("write JSON", error))
}

async fn add(args: ModelAddArgs, context: &Context) -> Result<()> {
    let ModelAddArgs { name, files, variants, bindings, parent, commit, build, labels, origin, license, output } = args;
    let variants = model::plan(&files, &variants)?;
    let bindings = bindings.iter().map(|path| BindingFile::read(path)).collect::<Result<Vec<_>>>()?;
    let labels = labels.into_iter().filter_map(|change| match change {
        LabelChange::Set { key, value } => Some((key, value)),
        LabelChange::Remove { .. } => None,
    });
    let new = NewVersion {
        name: name.clone(),
        variants,
        bindings,
        parent,
        commit,
        build_address: build,
        labels: labels.collect(),
        origin,
        license,
    };
    let client = context.connect().await?;
    let registered = register(&client, new, &std::env::temp_dir()).await?;
    if context.output(output).is_json() {
        return output::print_json(&json!({
            "name": name,
            "version": registered.version,
            "uploaded_files": registered.moved.files,
            "uploaded_bytes": registered.moved.bytes,
            "variants": registered.variants.iter().map(|(variant, _)| variant_json(variant)).collect::<Vec<_>>(),
        }));
    }
    let Moved { files, bytes: moved } = registered.moved;
    output::note(&format!(
        "{name}@{} registered, {} uploaded ({})",
        registered.version,
        output::count(files, "file"),
        file_size(moved)
    ));
    for (variant, signature) in &registered.variants {
        let assumed = match variant.precision_from {
            PrecisionFrom::Assumed => ": nothing in it tells; --variant precision=… says it",
            PrecisionFrom::Read(_) | PrecisionFrom::Told => "",
        };
        output::note(&format!(
            "  {} · {} {}{assumed} · {}",
            variant.name,
            variant.format.as_str(),
            variant.precision_text(),
            signature_text(signature)
        ));
    }
    Ok(())
}

fn variant_json(variant: &Variant) -> Value {
    json!({
        "name": variant.name,
        "format": variant.format.as_str(),
        "precision": variant.precision.as_str(),
        "precision_from": variant.precision_from.as_str(),
    })
}

async fn list(client: &Client, output: Output) -> Result<()> {
    let request = Client::request(v1::ListModelsRequest {});
    let models = client.models().list(request).await.map_err(client.failed("list the models"))?.into_inner().models;
    if models.is_empty() && !output.is_json() {
        output::note("there is no model\n\nhint: `seatrial models add NAME model.onnx` registers one");
        return Ok(());
    }
    let data = json!({ "models": models.iter().map(summary_json).collect::<Vec<_>>() });
    output.emit(&data, || {
        let mut table = table(&[
            ("model", Align::Words),
            ("versions", Align::Numbers),
            ("latest", Align::Numbers),
            ("variants of the latest", Align::Words),
            ("updated", Align::Words),
        ]);
        for model in &models {
            let v1::ModelSummary { name, versions, latest, variants, updated_us } = model;
            table.add_row(row([
                plain(name),
                plain(versions),
                plain(latest),
                plain(variants.join(" ")),
                quiet(ago(*updated_us)),
            ]));
        }
        table
    })
}

fn summary_json(model: &v1::ModelSummary) -> Value {
    let v1::ModelSummary { name, versions, latest, variants, updated_us } = model;
    json!({ "name": name, "versions": versions, "latest": latest, "variants": variants, "updated_at": rfc3339(*updated_us) })
}

async fn show(client: &Client, name: &str, output: Output) -> Result<()> {
    let doing = format!("show {name}");
    let request = Client::request(v1::GetModelRequest { name: name.to_owned() });
    let text = client.models().get(request).await.map_err(client.failed(&doing))?.into_inner().detail_json;
    if output.is_json() {
        let value: Value = serde_json::from_str(&text).map_err(|error| CliError::failed(&doing, error))?;
        return output::print_json(&value);
    }
    let detail: ModelDetail = serde_json::from_str(&text).map_err(|error| CliError::failed(&doing, error))?;
    output.table(version_table(&detail))?;
    if let Some(latest) = detail.versions.first() {
        output::print_text("")?;
        output.table(variant_table(latest))?;
    }
    Ok(())
}

fn version_table(detail: &ModelDetail) -> Table {
    let mut table = table(&[
        ("version", Align::Numbers),
        ("aliases", Align::Words),
        ("variants", Align::Words),
        ("commit", Align::Words),
        ("origin", Align::Words),
        ("licence", Align::Words),
        ("by", Align::Words),
        ("added", Align::Words),
    ]);
    let or_dash = |text: &Option<String>| quiet(text.as_deref().unwrap_or("–"));
    for version in &detail.versions {
        let aliases = detail.aliases.iter().filter(|alias| alias.version == version.number);
        let aliases: Vec<&str> = aliases.map(|alias| alias.alias.as_str()).collect();
        let variants: Vec<&str> = version.variants.iter().map(|variant| variant.name.as_str()).collect();
        table.add_row(row([
            plain(version.number),
            plain(if aliases.is_empty() { "–".to_owned() } else { aliases.join(" ") }),
            plain(variants.join(" ")),
            or_dash(&version.commit),
            or_dash(&version.origin),
            or_dash(&version.license),
            plain(&version.created_by),
            quiet(moment(version.created_at.as_micros())),
        ]));
    }
    table
}

fn variant_table(version: &VersionRow) -> Table {
    let head = format!("variant of version {}", version.number);
    let mut table = table(&[
        (head.as_str(), Align::Words),
        ("format", Align::Words),
        ("precision", Align::Words),
        ("size", Align::Numbers),
        ("files", Align::Numbers),
        ("signature", Align::Words),
        ("standing", Align::Words),
    ]);
    for VariantRow { id: _, name, format, precision, manifest, signature, standing } in &version.variants {
        table.add_row(row([
            plain(name),
            plain(format.as_str()),
            plain(model::precision_text(*precision, signature.precision_from.as_ref())),
            plain(file_size(manifest.size())),
            plain(manifest.entries.len()),
            quiet(signature_text(signature)),
            plain(standing.as_str()),
        ]));
    }
    table
}

/// `image f32 [1, 1, 28, 28] → logits f32 [1, 10]`.
pub(super) fn signature_text(signature: &Signature) -> String {
    if signature.inputs.is_empty() {
        return "inputs and outputs are read by the first device that loads it".to_owned();
    }
    let side = |tensors: &[TensorSpec]| {
        let tensors = tensors.iter().map(|tensor| {
            let axes: Vec<String> = tensor.shape.iter().map(Axis::to_string).collect();
            format!("{} {} [{}]", tensor.name, tensor.dtype.as_str(), axes.join(", "))
        });
        tensors.collect::<Vec<_>>().join(", ")
    };
    format!("{} → {}", side(&signature.inputs), side(&signature.outputs))
}
