//! `seatrial datasets golden`: a dataset package with the outputs of a reference backend, for all others to be compared
//! with.

use std::path::Path;

use seatrial_agent::attempt::{REFERENCES_FILE, ReferenceFile};
use seatrial_core::dataset::package::MANIFEST_NAME;
use seatrial_core::measure;
use seatrial_core::model::Precision;
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::reason::Reason;
use serde_json::json;
use toml::{Table, Value};

use super::Context;
use super::local_job::LocalJob;
use crate::args::GoldenArgs;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output;
use crate::upload::dataset::Package;
use crate::upload::model::precision_text;

pub(super) async fn run(args: GoldenArgs, context: &Context) -> Result<Exit> {
    let GoldenArgs { package: source, model, name, out, output } = args;
    let package = super::datasets::open(source).await?;
    let mut profile = MeasurementProfile::of(ProfileKind::AccuracyOnly);
    profile.processes = 0;
    let job = LocalJob::new(&model, profile).await?.with_dataset(&package).await?;
    let scratch = tempfile::tempdir().map_err(|error| CliError::failed("make a scratch folder", error))?;
    let report = job.perform(Some(scratch.path())).await?;
    let summary = measure::summarise(&job.spec, &report);
    if summary.outcome != Outcome::Ok {
        let why = if summary.wrong.is_empty() {
            report.message.unwrap_or_else(|| "no detail".to_owned())
        } else {
            Reason::joined(&summary.wrong)
        };
        return Err(CliError::plain(format!("the reference backend gave no reference ({}): {why}", summary.outcome)));
    }
    let model = &job.spec.model;
    let reference = format!(
        "Reference outputs of {} ({}) by {} {} ×{} on {}",
        model.model,
        precision_text(model.precision, model.signature.precision_from.as_ref()),
        report.environment.runtime_version,
        job.spec.backend.accelerator.as_str(),
        job.spec.backend.threads,
        seatrial_agent::abi(),
    );
    let references = read_references(scratch.path())?;
    let name = name.unwrap_or_else(|| format!("{}-golden", package.manifest.name));
    let precision = model.precision;
    write(&package, scratch.path(), &references, &name, (&reference, precision), &out)?;
    let outputs: Vec<&str> = references.iter().map(|file| file.output.as_str()).collect();
    if context.output(output).is_json() {
        output::print_json(&json!({ "name": name, "folder": out, "outputs": outputs, "reference": reference }))?;
    } else {
        output::note(&format!("{reference}\n{} holds {name}: {}", out.display(), outputs.join(", ")));
        output::note(&format!("\nhint: `seatrial datasets add {}` registers it", out.display()));
    }
    Ok(Exit::Ok)
}

fn read_references(folder: &Path) -> Result<Vec<ReferenceFile>> {
    let doing = "read the outputs of the reference";
    let text = fs_err::read(folder.join(REFERENCES_FILE)).map_err(|error| CliError::failed(doing, error))?;
    serde_json::from_slice(&text).map_err(|error| CliError::failed(doing, error))
}

/// The source's manifest with other goldens, its members, and the outputs.
fn write(
    package: &Package,
    outputs: &Path,
    references: &[ReferenceFile],
    name: &str,
    (reference, precision): (&str, Precision),
    out: &Path,
) -> Result<()> {
    let failed = |error: std::io::Error| CliError::failed(format!("write {}", out.display()), error);
    let mut table: Table = toml::from_str(&package.manifest_text()?)
        .map_err(|error| CliError::failed("read the manifest of the dataset", error))?;
    table.insert("name".to_owned(), Value::from(name));
    let description = match table.get("description").and_then(Value::as_str) {
        Some(own) => format!("{own}. {reference}"),
        None => reference.to_owned(),
    };
    table.insert("description".to_owned(), Value::from(description));
    let golden = |file: &ReferenceFile| {
        let keys = [("name", file.output.as_str()), ("kind", "npy"), ("member", file.file_name.as_str())];
        Value::Table(keys.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect())
    };
    let told = Table::from_iter([("precision".to_owned(), Value::from(precision.as_str()))]);
    table.insert("reference".to_owned(), Value::Table(told));
    table.insert("goldens".to_owned(), Value::Array(references.iter().map(golden).collect()));
    let mut members = package.manifest.members();
    let replaced: Vec<String> = package.manifest.golden_members();
    members.retain(|member| !replaced.contains(member));
    if let Some(file) = references.iter().find(|file| members.contains(&file.file_name)) {
        let why = format!("it has a member {:?} of its own; rename it", file.file_name);
        return Err(CliError::failed("write the outputs beside the dataset's members", why));
    }
    fs_err::create_dir(out).map_err(failed)?;
    package.unpack(&members, out)?;
    for file in references {
        fs_err::copy(outputs.join(&file.file_name), out.join(&file.file_name)).map_err(failed)?;
    }
    let text = toml::to_string(&table).map_err(|error| CliError::failed("write the manifest", error))?;
    fs_err::write(out.join(MANIFEST_NAME), text).map_err(failed)
}
