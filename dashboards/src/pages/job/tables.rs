//! The tables and small charts of a job's page.

use std::time::Duration;

use seatrial_core::accuracy::golden::{Comparison, Limits};
use seatrial_core::actual::{AS_IN_THE_MODEL, Actual, ComputeDevice};
use seatrial_core::dataset::Task;
use seatrial_core::dataset::scorer::ScorerMetric;
use seatrial_core::job::JobSpec;
use seatrial_core::measure::told::PREFIX;
use seatrial_core::metric;
use seatrial_core::reading::Reading;
use seatrial_core::report::SensorTrace;
use seatrial_core::stage::Stage;
use seatrial_core::store::AttemptRow;
use seatrial_core::weights::PrecisionFrom;

use super::super::{Numbers, reading};
use super::Data;
use super::words::determinism;
use crate::charts::{confusion, percentiles, sensor};
use crate::format::{self, DASH, Moments, count, significant};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

pub(super) struct SensorPart {
    pub name: String,
    pub chart: Html,
    pub absent: String,
}

/// The comparison with reference outputs: a column an output, a row a measure.
pub(super) struct Golden {
    pub outputs: Vec<String>,
    pub rows: Vec<(String, Vec<String>)>,
}

pub(super) struct AttemptLine {
    pub number: u32,
    pub href: String,
    pub current: bool,
    pub status: Html,
    pub stage: String,
    pub message: String,
    pub start: Html,
    pub length: String,
}

pub(super) struct PercentileLine {
    pub name: &'static str,
    pub value: Html,
    pub upper: Html,
    pub rests_on: String,
}

/// Figures in the own words of the program that the job ran.
#[derive(Default)]
pub(super) struct Told {
    /// Names the program, with its version where it tells one.
    pub title: String,
    pub rows: Vec<(String, Html)>,
}

pub(super) struct MetricLine {
    pub name: String,
    pub value: Html,
    pub meaning: String,
}

pub(super) fn guides(numbers: &Numbers) -> Vec<(&'static str, f64)> {
    let guide = |(label, name): (&'static str, &str)| numbers.estimate(name).map(|estimate| (label, estimate.value));
    [("p50", "lat_p50_ms"), ("p90", "lat_p90_ms"), ("p99", "lat_p99_ms")].into_iter().filter_map(guide).collect()
}

pub(super) const PERCENTILES: [(&str, &str, f64); 4] =
    [("p50", "lat_p50_ms", 0.5), ("p90", "lat_p90_ms", 0.9), ("p95", "lat_p95_ms", 0.95), ("p99", "lat_p99_ms", 0.99)];

pub(super) fn strip(numbers: &Numbers, words: Words) -> Html {
    let rows: Vec<_> =
        PERCENTILES.iter().filter_map(|(label, name, _)| Some((*label, numbers.estimate(name)?))).collect();
    if rows.is_empty() { Html::default() } else { percentiles::chart(&rows, words) }
}

pub(super) fn percentile_lines(numbers: &Numbers, samples: usize, words: Words) -> Vec<PercentileLine> {
    let line = |(label, name, share): &(&'static str, &str, f64)| {
        let shown = numbers.shown(name)?;
        let upper = numbers.shown(&name.replace("_ms", "_es_ms"));
        Some(PercentileLine {
            name: label,
            value: html::shown(&shown, words),
            upper: upper.map_or_else(Html::default, |upper| html::shown(&upper, words)),
            rests_on: count(((1.0 - share) * samples as f64).floor() as u64),
        })
    };
    PERCENTILES.iter().filter_map(line).collect()
}

pub(super) fn sensors(data: &Data, words: Words) -> Vec<SensorPart> {
    let Some(report) = &data.report else { return Vec::new() };
    let seconds = |micros: u64| micros as f64 / 1e6;
    let measured: Vec<(f64, f64)> = report
        .stages
        .iter()
        .filter(|record| record.stage == Stage::Measure)
        .filter_map(|record| Some((seconds(record.start_us), seconds(record.start_us + record.duration_us?))))
        .collect();
    let end = report
        .stages
        .iter()
        .map(|record| seconds(record.start_us + record.duration_us.unwrap_or(0)))
        .fold(0.0, f64::max);
    let part = |trace: &SensorTrace| match &trace.points {
        Reading::Present(points) if points.len() == 1 => {
            let value = format!("{} {}", significant(points[0].1), trace.unit);
            let absent = words.with("job.read_once", &[("value", &value)]);
            SensorPart { name: trace.sensor.clone(), chart: Html::default(), absent }
        }
        Reading::Present(points) => {
            let points: Vec<(f64, f64)> = points.iter().map(|(at, value)| (f64::from(*at) / 1e3, *value)).collect();
            let chart = sensor::chart(&sensor::Sensor {
                name: &trace.sensor,
                unit: &trace.unit,
                points: &points,
                end,
                measured: &measured,
            });
            SensorPart { name: trace.sensor.clone(), chart, absent: String::new() }
        }
        Reading::Absent(reason) => {
            SensorPart { name: trace.sensor.clone(), chart: Html::default(), absent: words.absent(reason) }
        }
    };
    let mut parts: Vec<SensorPart> = report.sensors.iter().map(part).collect();
    parts.sort_by_key(|part| !part.absent.is_empty());
    parts
}

pub(super) type Accuracy = (Html, String, String, Vec<[String; 5]>);

pub(super) fn accuracy(data: &Data, numbers: &Numbers, words: Words) -> Accuracy {
    let none = |reason: String| (Html::default(), String::new(), reason, Vec::new());
    let classification = match data.unpacked.classification(data.classes.len()) {
        None => return none(String::new()),
        Some(Err(reason)) => return none(words.absent(&reason)),
        Some(Ok(classification)) => classification,
    };
    let matrix = &classification.confusion;
    let counts: Vec<Vec<u64>> =
        (0..matrix.classes()).map(|class| matrix.row(class).iter().map(|n| u64::from(*n)).collect()).collect();
    let name = |class: u32| data.classes.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
    let percent = |share: Option<f64>, of: u32| match share {
        None => DASH.to_string(),
        Some(share) if of < 20 => {
            words.with("number.of", &[("k", &count((share * f64::from(of)).round() as u64)), ("n", &count(of.into()))])
        }
        Some(share) => format!("{} %", format::fixed(share * 100.0, 1)),
    };
    let rows = classification.per_class.iter().map(|score| {
        [
            name(score.class),
            count(score.support.into()),
            count(score.correct.into()),
            percent(score.recall(), score.support),
            percent(score.precision(), score.predicted),
        ]
    });
    let mut note = vec![words.count("job.examples", classification.examples.into(), &[])];
    note.extend(["top1", "top5"].into_iter().filter_map(|name| {
        let shown = numbers.shown(name)?;
        Some(format!("{name} {}", shown.line(words)))
    }));
    let many = counts.len() > confusion::MOST;
    if many {
        note.push(words.with(
            "job.most_confused",
            &[("n", &count(confusion::MOST as u64)), ("total", &count(counts.len() as u64))],
        ));
    }
    let rows = if many { rows.collect() } else { Vec::new() };
    (confusion::chart(&data.classes, &counts, words), words.list(&note), String::new(), rows)
}

pub(super) fn golden(data: &Data, words: Words) -> Golden {
    let records = data.report.as_ref().map_or(&[][..], |report| report.golden.as_slice());
    let row = |label: String, cell: fn(&Comparison) -> String| {
        (label, records.iter().map(|record| cell(&record.comparison)).collect())
    };
    let label = |key: &str| words.t(key).into_owned();
    Golden {
        outputs: records.iter().map(|record| record.output.clone()).collect(),
        rows: vec![
            row("max |Δ|".to_owned(), |c| format::small(c.max_abs)),
            row(label("job.mean_abs"), |c| format::small(c.mean_abs)),
            row(label("job.cosine"), |c| c.cosine.map_or_else(|| DASH.to_string(), format::cosine)),
            row("SQNR, dB".to_owned(), |c| c.sqnr_db.map_or_else(|| "∞".to_owned(), significant)),
            row(label("job.argmax"), |c| format!("{} / {}", count(c.argmax_agree.into()), count(c.examples.into()))),
            row("NaN".to_owned(), |c| count(c.nan_count)),
            row("Inf".to_owned(), |c| count(c.inf_count)),
        ],
    }
}

/// What the outputs had to keep to, and whether they stay the same.
pub(super) fn golden_note(data: &Data, words: Words) -> String {
    let (Some(spec), Some(report)) = (&data.spec, &data.report) else { return String::new() };
    let Some(record) = report.golden.first() else { return determinism(data, words) };
    let task = spec.dataset.as_ref().map_or(Task::Golden, |dataset| dataset.task);
    let limits = Limits::of(task, spec.model.precision, &record.standard);
    let part =
        |key: &str, value: Option<String>| value.map(|value| words.with(key, &[("value", &value)])).unwrap_or_default();
    let share = |share: f64| format!("{} %", format::fixed(share * 100.0, 0));
    let more = part("job.limit_max_abs", limits.most_abs.map(format::small))
        + &part("job.limit_argmax", limits.least_argmax.map(share));
    let (cosine, sqnr) = (limits.least_cosine.to_string(), limits.least_sqnr_db.to_string());
    let limits = words.with("job.limits", &[("cosine", &cosine), ("sqnr", &sqnr), ("more", &more)]);
    format!("{limits} {}", determinism(data, words))
}

pub(super) fn environment(data: &Data, words: Words) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: String| lines.push((words.t(key).into_owned(), value));
    if let Some(spec) = &data.spec {
        let model = &spec.model;
        line(
            "job.env_model",
            format!(
                "{} v{} {}, {}",
                model.model,
                model.version,
                model.variant,
                format::file_size(model.manifest.size())
            ),
        );
        if let Some(dataset) = &spec.dataset {
            line(
                "job.env_dataset",
                format!(
                    "{} v{}, {}",
                    dataset.dataset,
                    dataset.version,
                    words.count("job.examples", dataset.examples.into(), &[])
                ),
            );
        } else {
            line("job.env_dataset", words.with("job.generated", &[("seed", &spec.seed.to_string())]));
        }
        line("job.env_profile", spec.profile.kind.as_str().to_owned());
    }
    if let Some(report) = &data.report {
        let env = &report.environment;
        line("job.env_runtime", env.runtime_version.clone());
        line("job.env_agent", env.agent_version.clone());
        line("job.env_os", reading(&env.os, words));
        line("job.env_kernel", reading(&env.kernel, words));
        line("job.env_governor", reading(&env.governor, words));
        line("job.env_launch", env.launch.clone());
        lines.extend(env.facts.iter().map(|(key, value)| fact(key, value, words)));
    }
    if let Some(device) = &data.device {
        lines.push((words.t("device.soc").into_owned(), reading(&device.profile.soc, words)));
    }
    lines
}

/// What the agent found, with a label that people read; a fact that we do not know is shown as it is.
fn fact(name: &str, value: &str, words: Words) -> (String, String) {
    let key = format!("fact.{}", name.replace('.', "_"));
    let label = words.t(&key);
    let label = if label == key { name.to_owned() } else { label.into_owned() };
    let number = |unit: &str| value.strip_suffix(unit).and_then(|text| text.trim_end().parse::<f64>().ok());
    let shown = match (value.strip_prefix("absent: "), number("bytes"), number("s")) {
        (Some(reason), ..) => words.absent(reason),
        (None, Some(bytes), _) => format::memory_size(bytes as u64),
        (None, None, Some(seconds)) if seconds >= 0.0 => format::duration(Duration::from_secs_f64(seconds), words),
        (None, None, _) => words.phrase(value),
    };
    (label, shown)
}

/// Requested against actual: a CPU fallback is never a GPU result.
pub(super) fn comparison(data: &Data, words: Words) -> Vec<(String, String, String)> {
    let (Some(spec), Some(report)) = (&data.spec, &data.report) else { return Vec::new() };
    let (asked, got) = (&spec.backend, &report.actual);
    let text = |reading: Reading<String>| match reading {
        Reading::Present(text) => words.phrase(&text),
        Reading::Absent(reason) => words.absent(&reason),
    };
    let row = |key: &str, asked: String, got: String| (words.t(key).into_owned(), asked, got);
    let list = |cpus: &[u16]| cpus.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    vec![
        row(
            "job.row_runtime",
            asked.track.as_ref().map_or_else(|| asked.runtime.clone(), |track| format!("{}@{track}", asked.runtime)),
            report.environment.runtime_version.clone(),
        ),
        row("job.row_accelerator", asked.accelerator.as_str().to_owned(), text(got.accelerator.clone())),
        row(
            "job.row_provider",
            asked.provider.map_or_else(|| DASH.to_string(), |provider| provider.as_str().to_owned()),
            text(got.provider.clone()),
        ),
        row("job.row_device", DASH.to_string(), text(got.device.clone().map(|device| compute_device(&device, words)))),
        row(
            "job.row_delegated",
            DASH.to_string(),
            text(
                got.delegated
                    .clone()
                    .map(|(on, of)| words.with("number.of", &[("k", &count(on.into())), ("n", &count(of.into()))])),
            ) + &left_over(&got.rest, words),
        ),
        row("job.row_threads", asked.threads.to_string(), text(got.threads.clone().map(|threads| threads.to_string()))),
        row("job.row_affinity", asked.affinity.to_string(), text(got.affinity.clone().map(|cpus| list(&cpus)))),
        row(
            "job.row_precision",
            asked.precision.map_or_else(|| DASH.to_string(), |p| p.as_str().to_owned()),
            text(got.precision.clone()) + &assumed_precision(spec, got, words),
        ),
    ]
}

/// What an engine computes in that computes as the model does, where nobody knows what that is.
fn assumed_precision(spec: &JobSpec, got: &Actual, words: Words) -> String {
    let as_model = got.precision.present().is_some_and(|told| told == AS_IN_THE_MODEL);
    match spec.model.signature.precision_from {
        Some(PrecisionFrom::Assumed) if as_model => {
            let assumed = words.with("model.assumed", &[("precision", spec.model.precision.as_str())]);
            format!("{}{assumed}", words.semicolon())
        }
        Some(PrecisionFrom::Assumed | PrecisionFrom::Read(_) | PrecisionFrom::Told) | None => String::new(),
    }
}

/// Agents end the name of one that is a program with a word of their own.
fn compute_device(device: &ComputeDevice, words: Words) -> String {
    let name = device.name.strip_suffix(", software").unwrap_or(&device.name);
    if device.software { words.with("job.software_device", &[("name", name)]) } else { device.name.clone() }
}

/// The operators that are not on the accelerator.
fn left_over(rest: &[String], words: Words) -> String {
    if rest.is_empty() {
        return String::new();
    }
    format!("{}{}", words.semicolon(), words.with("job.left_over", &[("names", &words.list(rest))]))
}

pub(super) fn attempts(data: &Data, moments: &Moments) -> Vec<AttemptLine> {
    let words = moments.words;
    let line = |row: &AttemptRow| AttemptLine {
        number: row.attempt,
        href: format!("/jobs/{}?attempt={}", data.job.id, row.attempt),
        current: row.attempt == data.attempt,
        status: match row.outcome {
            Some(outcome) => {
                let state = status::outcome(outcome, words);
                let word =
                    if status::has_result(outcome) { state.word.clone() } else { status::class_and_code(outcome) };
                html::status(&state.saying(word))
            }
            None => html::status(&status::job(&data.job, words)),
        },
        stage: row.failed_stage.map_or_else(|| DASH.to_string(), |stage| stage.to_string()),
        message: {
            let message = row.message.iter().map(|message| words.phrase(message));
            let reasons = row.invalid.iter().map(|reason| words.reason(reason));
            message.chain(reasons).collect::<Vec<_>>().join(words.semicolon())
        },
        start: html::at(row.granted_at, moments),
        length: row.ended_at.map_or_else(|| DASH.to_string(), |end| format::duration(end.since(row.granted_at), words)),
    };
    data.attempts.iter().map(line).collect()
}

/// What a program told, kept apart from what was measured.
pub(super) fn told(data: &Data, numbers: &Numbers, words: Words) -> Told {
    let program = data.report.iter().flat_map(|report| &report.processes).find_map(|process| process.program.as_ref());
    let Some(program) = program else { return Told::default() };
    let figure = |metric: &metric::Metric| {
        let name = metric.name.strip_prefix(PREFIX)?.to_owned();
        Some((name, html::shown(&format::told(metric), words)))
    };
    let title = words.with("job.told", &[("program", &program.title())]);
    Told { title, rows: numbers.all().filter_map(figure).collect() }
}

/// In the order of the registry, then what the dataset's scorer told, with its own meaning; what a program told stands
/// apart.
pub(super) fn metric_lines(data: &Data, numbers: &Numbers, words: Words) -> Vec<MetricLine> {
    let line = |kind: &metric::MetricKind| {
        let shown = numbers.shown(kind.name)?;
        Some(MetricLine {
            name: kind.name.to_owned(),
            value: html::shown(&shown, words),
            meaning: words.meaning(kind.name),
        })
    };
    let mut lines: Vec<MetricLine> = metric::REGISTRY.iter().filter_map(line).collect();
    let unknown =
        numbers.all().filter(|metric| metric::kind(&metric.name).is_none() && !metric.name.starts_with(PREFIX));
    let scorer = data.spec.as_ref().and_then(|spec| spec.dataset.as_ref()?.scorer.as_ref());
    lines.extend(unknown.map(|metric| MetricLine {
        name: metric.name.clone(),
        value: html::shown(&format::metric(metric), words),
        meaning:
            scorer.and_then(|scorer| scorer.metric(&metric.name)).map_or_else(String::new, |it| meaning(it, words)),
    }));
    lines
}

/// In the words of the dataset, and which way is better in ours.
fn meaning(metric: &ScorerMetric, words: Words) -> String {
    let better = words.better(metric.better).into_owned();
    metric.meaning.iter().cloned().chain([better]).collect::<Vec<_>>().join(words.semicolon())
}

pub(super) fn metrics_table(data: &Data) -> String {
    let head = ["metric", "unit", "value", "low", "high", "absent"];
    let rows = data.metrics.iter().map(|metric| {
        let estimate = metric.value.present();
        let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        vec![
            metric.name.clone(),
            metric.unit.clone(),
            text(estimate.map(|estimate| estimate.value)),
            text(estimate.and_then(|estimate| estimate.interval).map(|bounds| bounds.0)),
            text(estimate.and_then(|estimate| estimate.interval).map(|bounds| bounds.1)),
            metric.value.reason().unwrap_or_default().to_owned(),
        ]
    });
    crate::export::csv::write(&head, rows)
}
