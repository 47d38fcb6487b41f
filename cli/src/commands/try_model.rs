//! `seatrial try`: one model, here and now, in an isolated child. No server, and no file is left.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use seatrial_agent::attempt::StopSignal;
use seatrial_agent::local;
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::job::{JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::measure::{self, Summary};
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::model::{Manifest, ManifestEntry};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::reading::Reading;
use seatrial_core::reason::Reason;
use seatrial_core::report::Report;
use seatrial_core::session::Stop;
use seatrial_dashboards::format::file_size;
use seatrial_proto::v1;
use serde_json::json;

use super::models::{read_signature, signature_text};
use super::{Context, agent, follow};
use crate::args::TryArgs;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::{self, Output, json};
use crate::upload::digest;
use crate::upload::model::{self, BindingFile, PlannedVariant};

/// Inputs are made from it: the same model sees the same numbers every time.
const SEED: u64 = 1;
/// A person waits: other load is said and not waited for.
const LOAD_WAIT: Duration = Duration::ZERO;

pub(super) async fn run(args: TryArgs, context: &Context) -> Result<Exit> {
    let output = context.output(args.output);
    let (spec, files) = prepare(&args).await?;
    let ModelRef { format, precision, manifest, signature, model, .. } = &spec.model;
    output::note(&format!("{model} · {} {} · {}", format.as_str(), precision.as_str(), file_size(manifest.size())));
    output::note(&format!("{}\n", signature_text(signature)));
    let report = perform(spec.clone(), files).await?;
    let summary = measure::summarise(&spec, &report);
    show(&spec, &report, &summary, output)?;
    Ok(if summary.outcome == Outcome::Ok { Exit::Ok } else { Exit::GateFailed })
}

/// The job that a suite would make of it: profile `quick`, generated inputs.
async fn prepare(args: &TryArgs) -> Result<(JobSpec, BTreeMap<Digest, PathBuf>)> {
    let variants = model::plan(&args.files, &[])?;
    let [variant] = variants.as_slice() else {
        return Err(CliError::plain(format!(
            "{} are models, and one is tried at a time",
            output::count(variants.len(), "file")
        )));
    };
    let signature = read_signature(variant).await?;
    let (manifest, files) = manifest(variant).await?;
    let binding = args.binding.as_deref().map(BindingFile::read).transpose()?;
    let mut binding = binding.map_or_else(Binding::default, |file| file.binding);
    binding.axes.extend(args.axes.iter().cloned());
    let mut profile = MeasurementProfile::of(ProfileKind::Quick);
    profile.stop.min_time = args.time;
    let spec = JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: variant.files[0].name.clone(),
            version: 1,
            variant: variant.name.clone(),
            format: variant.format,
            precision: variant.precision,
            manifest,
            signature,
        },
        binding,
        dataset: None,
        backend: Backend {
            runtime: "tract".to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            threads: args.threads,
            affinity: Affinity::Any,
            precision: None,
        },
        profile,
        limits: Limits::default(),
        seed: SEED,
    };
    Ok((spec, files))
}

async fn manifest(variant: &PlannedVariant) -> Result<(Manifest, BTreeMap<Digest, PathBuf>)> {
    let mut entries = Vec::new();
    let mut files = BTreeMap::new();
    for planned in &variant.files {
        let file = digest(&planned.path).await?;
        entries.push(ManifestEntry {
            role: planned.role.to_owned(),
            digest: file.digest,
            size: file.size,
            file_name: planned.name.clone(),
        });
        files.insert(file.digest, file.path);
    }
    Ok((Manifest { entries }, files))
}

/// Ctrl-C ends the child before it ends us, so that its folder goes too.
async fn perform(spec: JobSpec, files: BTreeMap<Digest, PathBuf>) -> Result<Report> {
    let mut options = local::Options::new(agent::child_command()?);
    options.preflight.load_wait = LOAD_WAIT;
    let stop: StopSignal = options.stop.clone();
    let work = tokio::task::spawn_blocking(move || {
        let mut say = |stage: seatrial_core::stage::Stage, _: Duration| tracing::info!(%stage, "entered");
        local::run(spec, &files, &options, &mut say)
    });
    tokio::pin!(work);
    let failed = |error: std::io::Error| CliError::failed("run the model", error);
    tokio::select! {
        done = &mut work => done.map_err(|error| CliError::failed("run the model", error))?.map_err(failed),
        signal = follow::interrupted() => {
            stop.set(Stop::Cancelled("interrupted".to_owned()));
            if let Err(error) = work.await {
                tracing::warn!(%error, "the attempt did not end well");
            }
            Err(signal)
        }
    }
}

fn show(spec: &JobSpec, report: &Report, summary: &Summary, output: Output) -> Result<()> {
    let Summary { outcome, metrics, invalid, wrong } = summary;
    let message = if wrong.is_empty() { report.message.clone() } else { Some(Reason::joined(wrong)) };
    let job = v1::Job {
        model: spec.model.model.clone(),
        variant: spec.model.variant.clone(),
        backend: spec.backend.to_string(),
        profile: spec.profile.kind.as_str().to_owned(),
        state: "done".to_owned(),
        stage: report.failed_stage.map(|stage| stage.as_str().to_owned()),
        outcome: Some(outcome.to_string()),
        message,
        invalid: invalid.iter().map(ToString::to_string).collect(),
        metrics: metrics.iter().map(to_wire).collect(),
        ..Default::default()
    };
    if output.is_json() {
        return output::print_json(&json!({
            "model": job.model,
            "backend": job.backend,
            "outcome": job.outcome,
            "stage": job.stage,
            "message": job.message,
            "invalid": job.invalid,
            "metrics": json::metrics(&job.metrics),
        }));
    }
    output::print_text(&output::job::verdict(&job))?;
    output::print_text("")?;
    output.table(output::job::metrics(&job))?;
    let log = report.log.trim();
    if *outcome != Outcome::Ok && !log.is_empty() {
        output::note(&format!("\nlast output of the child:\n{log}"));
    }
    Ok(())
}

fn to_wire(metric: &Metric) -> v1::Metric {
    let Metric { name, unit, value } = metric.clone();
    let (value, absent) = match value {
        Reading::Present(estimate) => (Some(estimate), None),
        Reading::Absent(reason) => (None, Some(reason)),
    };
    let interval = value.and_then(|Estimate { interval, .. }| interval);
    v1::Metric {
        name,
        unit,
        value: value.map(|Estimate { value, .. }| value),
        lo: interval.map(|(lo, _)| lo),
        hi: interval.map(|(_, hi)| hi),
        absent,
    }
}
