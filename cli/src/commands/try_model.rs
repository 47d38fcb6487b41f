//! `seatrial try`: one model, here and now, in an isolated child. No server, and no file is left.

use seatrial_core::job::{JobSpec, ModelRef};
use seatrial_core::measure::{self, Summary};
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::outcome::Outcome;
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::reading::Reading;
use seatrial_core::reason::Reason;
use seatrial_core::report::Report;
use seatrial_core::weights::PrecisionFrom;
use seatrial_dashboards::format::file_size;
use seatrial_proto::v1;
use serde_json::json;

use super::Context;
use super::local_job::LocalJob;
use super::models::signature_text;
use crate::args::TryArgs;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::{self, Output, json};
use crate::upload::model::precision_text;

/// Runs the job that a suite would make of it: profile `quick`, on a dataset or on generated inputs.
pub(super) async fn run(args: TryArgs, context: &Context) -> Result<Exit> {
    let output = context.output(args.output);
    let mut profile = MeasurementProfile::of(ProfileKind::Quick);
    profile.stop.min_time = args.time;
    let package = match args.dataset {
        Some(path) => Some(super::datasets::open(path).await?),
        None => None,
    };
    let job = LocalJob::new(&args.model, profile).await?;
    let job = match &package {
        Some(package) => job.with_dataset(package).await?,
        None => job,
    };
    let ModelRef { format, precision, manifest, signature, model, .. } = &job.spec.model;
    let precision = precision_text(*precision, signature.precision_from.as_ref());
    output::note(&format!("{model} · {} {precision} · {}", format.as_str(), file_size(manifest.size())));
    output::note(&format!("{}\n", signature_text(signature)));
    let report = job.perform(None).await?;
    let summary = measure::summarise(&job.spec, &report);
    show(&job.spec, &report, &summary, output)?;
    Ok(if summary.outcome == Outcome::Ok { Exit::Ok } else { Exit::GateFailed })
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
            "precision": spec.model.precision.as_str(),
            "precision_from": spec.model.signature.precision_from.as_ref().map(PrecisionFrom::as_str),
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
