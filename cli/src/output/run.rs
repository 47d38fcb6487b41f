//! A run as tables: its jobs with their numbers, its misfits, its gate; and the list of runs.

use std::collections::BTreeSet;

use comfy_table::{Cell, Table};
use seatrial_core::energy::metrics::GRADE;
use seatrial_proto::v1;

use super::first;
use super::numbers::{Scale, bound, estimate};
use super::progress::subject;
use super::table::{Align, attention, failure, outcome, plain, quiet, row, table};
use super::time::{ago, between, length};

/// A metric that stands in the result table, with the head of its column.
struct NumberColumn {
    metric: &'static str,
    head: &'static str,
}

const NUMBERS: [NumberColumn; 14] = [
    NumberColumn { metric: "model_size_mb", head: "size" },
    NumberColumn { metric: "lat_p50_ms", head: "p50" },
    NumberColumn { metric: "lat_p90_ms", head: "p90" },
    NumberColumn { metric: "energy_per_infer_mj", head: "energy" },
    NumberColumn { metric: GRADE, head: "grade" },
    NumberColumn { metric: "top1", head: "top-1" },
    NumberColumn { metric: "map", head: "mAP" },
    NumberColumn { metric: "miou", head: "mIoU" },
    NumberColumn { metric: "cer", head: "CER" },
    NumberColumn { metric: "f1_macro", head: "F1" },
    NumberColumn { metric: "hit_1", head: "hit@1" },
    NumberColumn { metric: "mae", head: "MAE" },
    NumberColumn { metric: "golden_sqnr_db", head: "SQNR" },
    NumberColumn { metric: "paced_missed", head: "missed" },
];

/// A word of a job, with the head of its column and whether it is worth a column when all jobs share it.
struct WordColumn {
    head: &'static str,
    read: fn(&v1::Job) -> String,
    always: bool,
}

const ID: WordColumn = WordColumn { head: "job", read: |job| job.short.clone(), always: true };

const WORDS: [WordColumn; 6] = [
    WordColumn { head: "device", read: |job| job.device_name.clone(), always: false },
    WordColumn { head: "model", read: |job| job.model.clone(), always: true },
    WordColumn { head: "variant", read: |job| job.variant.clone(), always: true },
    WordColumn { head: "dataset", read: |job| job.dataset.clone().unwrap_or_else(|| "–".to_owned()), always: false },
    WordColumn { head: "backend", read: |job| job.backend.clone(), always: true },
    WordColumn { head: "profile", read: |job| job.profile.clone(), always: false },
];

/// On a terminal with fewer columns the words of a job share one.
const NARROW: u16 = 120;

/// Whether a table shows the short ids of its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    Shown,
    Hidden,
}

/// The jobs of a run with outcome, numbers and validity. A column that would say the same in every row, or nothing in
/// any, is left out; the unit of a number stands in its head. `width` is that of the terminal, if there is one.
pub(crate) fn results(jobs: &[v1::Job], ids: Ids, width: Option<u16>) -> Table {
    let id = (ids == Ids::Shown).then_some(&ID);
    let others = WORDS.iter().filter(|column| column.always || differs(jobs, column.read));
    let words: Vec<&WordColumn> = id.into_iter().chain(others).collect();
    let what = |job: &v1::Job| words.iter().map(|column| (column.read)(job)).collect::<Vec<_>>();
    let narrow = width.is_some_and(|width| width < NARROW);
    let numbers: Vec<(&NumberColumn, Scale)> =
        NUMBERS.iter().filter_map(|column| Some((column, scale(jobs, column.metric)?))).collect();
    let what_heads = if narrow { vec!["job"] } else { words.iter().map(|column| column.head).collect() };
    let heads: Vec<(String, Align)> = what_heads
        .into_iter()
        .map(|head| (head.to_owned(), Align::Words))
        .chain([("outcome".to_owned(), Align::Words)])
        .chain(numbers.iter().map(|(column, scale)| (with_unit(column.head, scale.unit), Align::Numbers)))
        .chain([("validity".to_owned(), Align::Words)])
        .collect();
    let heads: Vec<(&str, Align)> = heads.iter().map(|(head, align)| (head.as_str(), *align)).collect();
    let mut table = table(&heads);
    for job in jobs {
        let what = if narrow { vec![what(job).join(" ")] } else { what(job) };
        let cells = what
            .into_iter()
            .map(plain)
            .chain([outcome(job.outcome.as_deref().unwrap_or(&job.state))])
            .chain(numbers.iter().map(|(column, scale)| number(job, column.metric, *scale)))
            .chain([validity(job)]);
        table.add_row(row(cells));
    }
    table
}

fn differs(jobs: &[v1::Job], read: fn(&v1::Job) -> String) -> bool {
    jobs.iter().map(read).collect::<BTreeSet<_>>().len() > 1
}

fn scale(jobs: &[v1::Job], metric: &str) -> Option<Scale> {
    let found: Vec<(&v1::Metric, f64)> = jobs
        .iter()
        .filter_map(|job| find(job, metric))
        .filter_map(|found| Some((found, found.value.or_else(|| bound(found))?)))
        .collect();
    let values: Vec<f64> = found.iter().map(|(_, value)| *value).collect();
    found.first().map(|(first, _)| Scale::of(metric, &first.unit, &values))
}

fn find<'a>(job: &'a v1::Job, metric: &str) -> Option<&'a v1::Metric> {
    job.metrics.iter().find(|found| found.name == metric)
}

fn number(job: &v1::Job, metric: &str, scale: Scale) -> Cell {
    match find(job, metric) {
        Some(found) if metric == GRADE => match found.value {
            Some(grade) => plain(format!("E{grade:.0}")),
            None if has_numbers(job) => quiet("E4"),
            None => quiet("–"),
        },
        Some(found) if found.value.is_some() || bound(found).is_some() => plain(estimate(found, scale)),
        Some(_) | None => quiet("–"),
    }
}

pub(crate) fn with_unit(head: &str, unit: &str) -> String {
    if unit.is_empty() { head.to_owned() } else { format!("{head}, {unit}") }
}

/// Whether the numbers may be believed. A job without numbers has nothing to believe; why they may not stands beneath
/// the table.
fn validity(job: &v1::Job) -> Cell {
    match (has_numbers(job), job.invalid.is_empty()) {
        (true, true) => plain("valid"),
        (true, false) => attention("invalid"),
        (false, _) => quiet("–"),
    }
}

fn has_numbers(job: &v1::Job) -> bool {
    matches!(job.outcome.as_deref(), Some("ok" | "ok_fallback"))
}

/// Two lines for each job that failed, whose numbers are invalid, or that was to measure energy and has none: which, and
/// why.
pub(crate) fn remarks(jobs: &[v1::Job]) -> Vec<String> {
    let many = differs(jobs, |job| job.device_name.clone());
    let lines = jobs.iter().filter_map(|job| {
        let why = remark(job)?;
        let device = if many { format!(" on {}", job.device_name) } else { String::new() };
        Some(format!("{}  {}{device}\n           {why}", job.short, subject(job)))
    });
    lines.collect()
}

fn remark(job: &v1::Job) -> Option<String> {
    if has_numbers(job) {
        let no_energy = find(job, GRADE).and_then(|grade| grade.absent.as_ref());
        return match (job.invalid.is_empty(), no_energy) {
            (false, _) => Some(format!("invalid: {}", first(&job.invalid))),
            (true, Some(why)) => Some(format!("no energy: {why}")),
            (true, None) => None,
        };
    }
    let outcome = job.outcome.as_ref()?;
    let stage = job.stage.as_ref().map_or_else(String::new, |stage| format!(" in {stage}"));
    let why = job.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    Some(format!("{outcome}{stage}{why}"))
}

/// What cannot run, and why.
pub(crate) fn misfits(misfits: &[v1::Misfit]) -> Table {
    let heads = ["model", "variant", "dataset", "backend", "profile", "device", "cannot run because"]
        .map(|head| (head, Align::Words));
    let mut table = table(&heads);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    for misfit in misfits {
        let v1::Misfit { model, variant, dataset, backend, profile, device, reason } = misfit;
        let words = [
            model.clone(),
            variant.clone(),
            or_dash(dataset),
            backend.clone(),
            profile.clone(),
            or_dash(device),
            reason.clone(),
        ];
        table.add_row(row(words.map(plain)));
    }
    table
}

/// What a suite would do.
pub(crate) fn preview(jobs: &[v1::PreviewJob]) -> Table {
    let heads = ["device", "model", "variant", "dataset", "backend", "profile"].map(|head| (head, Align::Words));
    let mut table = table(&heads);
    for job in jobs {
        let v1::PreviewJob { model, version, variant, dataset, backend, profile, device } = job;
        let dataset = dataset.clone().unwrap_or_else(|| "–".to_owned());
        let words =
            [device.clone(), format!("{model}@{version}"), variant.clone(), dataset, backend.clone(), profile.clone()];
        table.add_row(row(words.map(plain)));
    }
    table
}

/// The runs, newest first.
pub(crate) fn list(runs: &[v1::RunSummary]) -> Table {
    let mut table = table(&[
        ("run", Align::Numbers),
        ("suite", Align::Words),
        ("state", Align::Words),
        ("done", Align::Numbers),
        ("not ok", Align::Numbers),
        ("invalid", Align::Numbers),
        ("misfits", Align::Numbers),
        ("gate", Align::Words),
        ("by", Align::Words),
        ("started", Align::Words),
        ("took", Align::Numbers),
    ]);
    for run in runs {
        let counts = run.counts.unwrap_or_default();
        let not_ok = counts.fallback + counts.failed + counts.cancelled + counts.quarantined;
        let open = counts.queued + counts.leased;
        let done = counts.ok + not_ok;
        let took = run.finished_us.map(|end| length(between(run.created_us, end)));
        table.add_row(row([
            plain(run.number),
            plain(&run.suite),
            plain(&run.state),
            plain(format!("{done} of {}", done + open)),
            if not_ok == 0 { quiet(0) } else { failure(not_ok) },
            if counts.invalid == 0 { quiet(0) } else { attention(counts.invalid) },
            quiet(counts.misfits),
            gate_word(run),
            plain(&run.created_by),
            quiet(ago(run.created_us)),
            took.map_or_else(|| quiet("–"), plain),
        ]));
    }
    table
}

fn gate_word(run: &v1::RunSummary) -> Cell {
    match run.gate_passed {
        Some(true) => plain("passed"),
        Some(false) => failure("failed"),
        None if run.finished_us.is_none() => quiet("–"),
        None => quiet("none"),
    }
}

/// One sentence about a run that has ended: `run 12 (night) is done: 7 of 8 jobs ok, 1 invalid, 2 misfits`.
pub(crate) fn sentence(run: &v1::RunSummary) -> String {
    let counts = run.counts.unwrap_or_default();
    let total = counts.queued
        + counts.leased
        + counts.ok
        + counts.fallback
        + counts.failed
        + counts.cancelled
        + counts.quarantined;
    let parts = [
        (counts.fallback, "fell back"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.quarantined, "quarantined"),
        (counts.invalid, "invalid"),
        (counts.misfits, if counts.misfits == 1 { "misfit" } else { "misfits" }),
    ];
    let rest: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let rest = if rest.is_empty() { String::new() } else { format!(", {}", rest.join(", ")) };
    let took =
        run.finished_us.map_or_else(String::new, |end| format!(" after {}", length(between(run.created_us, end))));
    format!("run {} ({}) is {}{took}: {} of {} jobs ok{rest}", run.number, run.suite, run.state, counts.ok, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(model: &str, outcome: &str, p50: Option<f64>) -> v1::Job {
        let latency = v1::Metric {
            name: "lat_p50_ms".to_owned(),
            unit: "ms".to_owned(),
            value: p50,
            lo: p50.map(|value| value * 0.99),
            hi: p50.map(|value| value * 1.01),
            absent: p50.is_none().then(|| "not reached".to_owned()),
        };
        v1::Job {
            short: "7f3a-0c12".to_owned(),
            device_name: "devbox".to_owned(),
            model: model.to_owned(),
            variant: "fp32".to_owned(),
            backend: "tract cpu ×1".to_owned(),
            profile: "quick".to_owned(),
            state: "done".to_owned(),
            outcome: Some(outcome.to_owned()),
            metrics: vec![latency],
            ..Default::default()
        }
    }

    #[test]
    fn energy_stands_with_its_grade_or_its_bound_and_what_has_neither_says_why() {
        let of = |energy: Result<f64, &str>, grade: Result<f64, &str>| {
            let metric = |name: &str, unit: &str, told: Result<f64, &str>| v1::Metric {
                name: name.to_owned(),
                unit: unit.to_owned(),
                value: told.ok(),
                absent: told.err().map(str::to_owned),
                ..Default::default()
            };
            let metrics = vec![metric("energy_per_infer_mj", "mJ", energy), metric(GRADE, "1", grade)];
            v1::Job { metrics, ..job("a", "ok", None) }
        };
        let fed = "something fed the battery";
        let jobs =
            [of(Ok(2.5), Ok(1.0)), of(Err("below resolution: at most 12.35 mJ"), Ok(2.0)), of(Err(fed), Err(fed))];
        let text = results(&jobs, Ids::Hidden, None).to_string();
        for words in ["energy, mJ", "2.50", "E1", "≤ 12.35", "E2", "E4"] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        let remarks = remarks(&jobs);
        assert!(remarks.len() == 1 && remarks[0].contains("no energy: something fed the battery"), "{remarks:?}");
    }

    #[test]
    fn results_align_and_leave_out_what_every_row_shares() {
        let mut disturbed = job("digits-cnn", "ok", Some(0.250));
        disturbed.invalid = vec!["foreign CPU 12 %".to_owned()];
        let jobs = [job("digits-mlp", "ok", Some(0.0421)), disturbed, job("digits-cnn", "crash_signal(11)", None)];
        let mut table = results(&jobs, Ids::Shown, None);
        table.force_no_tty();
        insta::assert_snapshot!(table.trim_fmt());
    }

    #[test]
    fn on_a_narrow_terminal_the_words_of_a_job_share_a_column() {
        let jobs = [job("digits-mlp", "ok", Some(0.0421))];
        let heads = |width| {
            results(&jobs, Ids::Hidden, width).header().unwrap().cell_iter().map(Cell::content).collect::<Vec<_>>()
        };
        assert_eq!(heads(Some(80)), ["job", "outcome", "p50, µs", "validity"]);
        assert_eq!(heads(Some(140)), ["model", "variant", "backend", "outcome", "p50, µs", "validity"]);
    }

    #[test]
    fn a_sentence_names_only_what_happened() {
        let counts = v1::RunCounts { ok: 7, failed: 1, misfits: 2, ..Default::default() };
        let run = v1::RunSummary {
            number: 12,
            suite: "night".to_owned(),
            state: "done".to_owned(),
            created_us: 0,
            finished_us: Some(75_000_000),
            counts: Some(counts),
            ..Default::default()
        };
        assert_eq!(sentence(&run), "run 12 (night) is done after 1 min 15 s: 7 of 8 jobs ok, 1 failed, 2 misfits");
    }
}
