//! One job for a person: what ran where, how it ended, its stages and every number with its meaning.

use comfy_table::Table;
use seatrial_core::metric;
use seatrial_core::report::{Report, StageRecord};
use seatrial_dashboards::format::significant;
use seatrial_proto::v1;

use super::numbers::{Scale, estimate};
use super::table::{Align, plain, quiet, row, table};
use super::time::{between, length, moment};

/// How a job ended and whether its numbers count, as `name  value` lines.
pub(crate) fn verdict(job: &v1::Job) -> String {
    lines(vec![("backend", Some(job.backend.clone()))].into_iter().chain(ending(job)))
}

/// Everything above the numbers, as `name  value` lines.
pub(crate) fn facts(job: &v1::Job, report: Option<&Report>) -> String {
    let ended = job.finished_us.map(moment);
    let took = job.started_us.zip(job.finished_us).map(|(start, end)| length(between(start, end)));
    let environment = report.map(|report| &report.environment);
    let what = [
        ("job", Some(format!("{} ({})", job.short, job.id))),
        ("device", Some(job.device_name.clone())),
        ("model", Some(format!("{}@{} {}", job.model, job.version, job.variant))),
        ("dataset", job.dataset.clone()),
        ("backend", Some(job.backend.clone())),
        ("profile", Some(job.profile.clone())),
    ];
    let how = [
        ("attempt", Some(job.attempt.to_string())),
        ("ended", ended),
        ("took", took),
        ("runtime", environment.map(|environment| environment.runtime_version.clone())),
        ("agent", environment.map(|environment| environment.agent_version.clone())),
    ];
    lines(what.into_iter().chain(ending(job)).chain(how))
}

fn ending(job: &v1::Job) -> [(&'static str, Option<String>); 5] {
    let stage = job.stage.as_ref().filter(|_| job.outcome.as_deref() != Some("ok"));
    let class = job.failure_class.as_ref().map(|class| match &job.blame {
        Some(blame) => format!("{class} (blame: {blame})"),
        None => class.clone(),
    });
    [
        ("outcome", Some(job.outcome.clone().unwrap_or_else(|| job.state.clone()))),
        ("class", class),
        ("stage", stage.cloned()),
        ("why", job.message.clone()),
        ("invalid", (!job.invalid.is_empty()).then(|| job.invalid.join("\n"))),
    ]
}

/// A fact that is not there has no line; a value of several lines stays in its column.
fn lines(facts: impl Iterator<Item = (&'static str, Option<String>)>) -> String {
    let lines = facts.filter_map(|(name, value)| {
        let value = value?.replace('\n', &format!("\n{:10}", ""));
        Some(format!("{name:<10}{value}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every number with its interval and meaning, or the reason why there is none.
pub(crate) fn metrics(job: &v1::Job) -> Table {
    let mut table = table(&[
        ("metric", Align::Words),
        ("value", Align::Numbers),
        ("unit", Align::Words),
        ("meaning, or why there is no value", Align::Words),
    ]);
    for found in &job.metrics {
        let scale = Scale::of(&found.name, &found.unit, found.value.as_slice());
        let last = match &found.absent {
            Some(reason) => plain(format!("absent: {reason}")),
            None => quiet(metric::kind(&found.name).map_or("", |kind| kind.meaning)),
        };
        table.add_row(row([plain(&found.name), plain(estimate(found, scale)), plain(scale.unit), last]));
    }
    table
}

/// The stages as they went.
pub(crate) fn stages(report: &Report) -> Table {
    let mut table = table(&[
        ("stage", Align::Words),
        ("process", Align::Numbers),
        ("start, ms", Align::Numbers),
        ("took, ms", Align::Numbers),
        ("note", Align::Words),
    ]);
    for StageRecord { stage, process, start_us, duration_us, note } in &report.stages {
        let milliseconds = |micros: u64| significant(micros as f64 / 1e3);
        table.add_row(row([
            plain(stage),
            process.map_or_else(|| quiet("–"), plain),
            plain(milliseconds(*start_us)),
            duration_us.map_or_else(|| quiet("did not end"), |micros| plain(milliseconds(micros))),
            quiet(note.as_deref().unwrap_or("")),
        ]));
    }
    table
}
