//! What the page of a job says in sentences and figures.

use seatrial_core::dataset::Task;
use seatrial_core::energy::Grade;
use seatrial_core::job::JobState;
use seatrial_core::outcome::{Exit, Family, Outcome};
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::report::{ProcessRecord, ProcessRole};
use seatrial_core::store::JobRow;

use super::super::{Numbers, program};
use super::Data;
use super::tables::PERCENTILES;
use crate::charts::{progress, trace};
use crate::format::{self, DASH, count, significant};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

/// Why a job did not begin, or not once more: what it is about was quarantined while it waited.
fn set_aside(job: &JobRow) -> Option<Reason> {
    let reason = Reason::read(job.message.as_deref()?)?;
    (reason.code() == Some(Code::TripleQuarantined)).then_some(reason)
}

/// The answer to the page's question, from the job's own numbers.
pub(super) fn sentence(data: &Data, numbers: &Numbers, words: Words) -> String {
    let job = &data.job;
    let on = [("backend", job.backend.as_str()), ("device", job.device_name.as_str())];
    let outcome = match job.state {
        JobState::Queued => return words.with("job.sentence_queued", &on),
        JobState::Leased { .. } => {
            let stage = data.live.as_ref().map(|live| live.stage).or(job.stage);
            let stage = stage.map_or_else(|| DASH.to_string(), |stage| stage.to_string());
            return words.with("job.sentence_running", &[on[0], on[1], ("stage", &stage)]);
        }
        JobState::Quarantined => {
            return match set_aside(job) {
                Some(reason) => words.with("job.sentence_set_aside", &[("reason", &words.reason(&reason))]),
                None => words.with("job.sentence_quarantined", &on),
            };
        }
        JobState::Done { outcome } => outcome,
    };
    if !status::has_result(outcome) {
        let stage = job.stage.map_or_else(|| DASH.to_string(), |stage| stage.to_string());
        let what = match outcome.family() {
            Family::Died => "job.died",
            Family::Hung => "job.hung",
            Family::WrongOutput => "job.wrong_output",
            Family::CannotLoad => "job.cannot_load",
            Family::NotBelieved => "job.not_believed",
            Family::LabOrRom | Family::Ok | Family::Fallback => "job.lab_or_rom",
            Family::Misspecified => "job.misspecified",
            Family::Cancelled => "job.cancelled",
        };
        return words.with(
            what,
            &[
                ("code", &status::code(outcome)),
                ("class", &status::class_and_code(outcome)),
                ("stage", &stage),
                on[0],
                on[1],
            ],
        );
    }
    let mut parts = Vec::new();
    if let Some(p50) = numbers.shown("lat_p50_ms").filter(|shown| shown.absent.is_empty()) {
        parts.push(words.with("job.sentence_latency", &[("p50", &p50.line(words)), on[0], on[1]]));
    }
    if let Some(energy) = data.energy.as_ref().and_then(|_| numbers.shown("energy_per_infer_mj")) {
        parts.push(if energy.absent.is_empty() {
            words.with("job.sentence_energy", &[("value", &energy.line(words)), on[0], on[1]])
        } else {
            words.with("job.sentence_no_energy", &[("why", &words.phrase(&energy.absent)), on[0], on[1]])
        });
    }
    if let (true, Some(told)) = (parts.is_empty(), numbers.told_latency()) {
        let program = ("program", program(&job.backend));
        parts.push(words.with("job.sentence_told", &[("value", &told.line(words)), program, on[0], on[1]]));
    }
    if let Some(top1) = right_answers(data, numbers, words) {
        let key = if parts.is_empty() { "job.sentence_accuracy_only" } else { "job.sentence_accuracy" };
        parts.push(words.with(key, &[("top1", &top1), on[0], on[1]]));
    } else if let Some((name, value)) = task_figure(data, numbers, words) {
        let key = if parts.is_empty() { "job.sentence_figure_only" } else { "job.sentence_figure" };
        parts.push(words.with(key, &[("name", name), ("value", &value), on[0], on[1]]));
    }
    if parts.is_empty() {
        parts.push(words.with("job.sentence_ran", &on));
    }
    words.sentences(&parts)
}

/// How far the attempt is within its stage, and how long it has been at it.
pub(super) fn now(data: &Data, words: Words) -> Option<Html> {
    let live = data.live.as_ref()?;
    let age = words.with("job.running_for", &[("age", &format::duration(live.age, words))]);
    let Some(share) = live.progress else { return Some(Html::trusted(html::escape(&age))) };
    let percent = count((share.clamp(0.0, 1.0) * 100.0).round() as u64);
    let of_stage = words.with("job.progress", &[("stage", live.stage.as_str()), ("percent", &percent)]);
    let bar = progress::chart(share, &words.with("chart.progress", &[("percent", &percent)]));
    Some(Html::trusted(format!("{bar} {} · {}", html::escape(&of_stage), html::escape(&age))))
}

fn task(data: &Data) -> Option<Task> {
    data.spec.as_ref()?.dataset.as_ref().map(|dataset| dataset.task)
}

/// The headline of a task other than classification: what it is called and its value.
fn task_figure<'n>(data: &Data, numbers: &'n Numbers, words: Words) -> Option<(&'n str, String)> {
    let task = task(data).filter(|task| *task != Task::Classification)?;
    let name = if task == Task::Custom { numbers.headline()? } else { task.headline()? };
    let shown = numbers.shown(name).filter(|shown| shown.absent.is_empty())?;
    Some((format::figure_name(name), shown.line(words)))
}

/// Fewer than 20 examples are counted, not expressed in per cent.
pub(super) fn right_answers(data: &Data, numbers: &Numbers, words: Words) -> Option<String> {
    if task(data).is_some_and(|task| task != Task::Classification) {
        return None;
    }
    let share = numbers.estimate("top1")?.value;
    let examples = data.unpacked.labels.len();
    if (1..20).contains(&examples) {
        let hits = (share * examples as f64).round() as u64;
        return Some(words.with("number.of", &[("k", &count(hits)), ("n", &count(examples as u64))]));
    }
    numbers.shown("top1").map(|shown| shown.line(words))
}

pub(super) fn sub(data: &Data, numbers: &Numbers, words: Words) -> String {
    let mut parts = Vec::new();
    if let Some(message) = &data.job.message {
        parts.push(words.phrase(message));
    }
    let actual = data.report.as_ref().map(|report| &report.actual);
    let said = |reason: &str| data.job.message.as_ref().is_some_and(|message| message.contains(reason));
    let fallback = actual.and_then(|actual| actual.fallback.as_ref());
    if let Some(fallback) = fallback.filter(|reason| !said(reason)) {
        parts.push(words.with("job.fell_back", &[("reason", fallback)]));
    }
    let spread = |name| {
        let shown = numbers.shown(name).filter(|shown| shown.absent.is_empty())?;
        Some(format!("{}{}", shown.number, shown.unit))
    };
    // Samples of several processes differ within each and between them; one number for both hides which.
    match (spread("lat_within_rcv"), spread("lat_between_cv"), spread("lat_rcv")) {
        (Some(within), Some(between), _) => {
            parts.push(words.with("job.spread_of_processes", &[("within", &within), ("between", &between)]));
        }
        (_, _, Some(all)) => parts.push(words.with("job.spread", &[("rcv", &all)])),
        _ => {}
    }
    if let Some(ratio) = numbers.estimate("throttle_ratio").filter(|ratio| ratio.value > 1.1) {
        parts.push(words.with("job.throttled", &[("ratio", &significant(ratio.value))]));
    }
    // Where no number came about, none is valid.
    let numberless = data.energy.as_ref().is_some_and(|energy| energy.grade == Grade::E4);
    if data.job.invalid.is_empty() && data.job.outcome.is_some_and(status::has_result) && !numberless {
        parts.push(words.t("job.valid").into_owned());
    }
    words.sentences(&parts)
}

/// Figures of tasks other than classification that are shown large.
const TASK_FIGURES: [&str; 13] = [
    "map",
    "map_50",
    "mar_100",
    "miou",
    "cer",
    "wer",
    "f1_macro",
    "f1_micro",
    "hit_1",
    "hit_10",
    "recall_10",
    "mae",
    "rmse",
];

pub(super) fn figures(data: &Data, numbers: &Numbers, words: Words) -> Vec<(String, Html)> {
    let names = [
        ("lat_p50_ms", "job.figure_p50"),
        ("lat_p99_ms", "job.figure_p99"),
        ("energy_per_infer_mj", "energy.net"),
        ("power_net_w", "energy.net_power"),
        ("drain_pct_per_1k", "energy.per_thousand"),
        ("throughput_sps", "job.figure_throughput"),
        ("load_cold_ms", "job.figure_load"),
        ("first_infer_ms", "job.figure_first"),
        ("top1", "job.figure_top1"),
        ("golden_cosine", "job.figure_cosine"),
        ("mem_peak_rss_mb", "job.figure_memory"),
        ("paced_missed", "job.figure_missed"),
    ];
    let shown = names.into_iter().filter_map(|(name, label)| {
        let shown = numbers.shown(name)?;
        // A failed job has none of them, and its sentence says why; they stay in the table of all metrics. So it is with
        // energy: one reason or bound is enough.
        let failed = data.job.outcome.is_some_and(|outcome| !status::has_result(outcome));
        let told = failed || (data.energy.is_some() && name != "energy_per_infer_mj");
        (shown.absent.is_empty() || !told).then(|| (words.t(label).into_owned(), figure(&shown, words)))
    });
    let mut figures: Vec<(String, Html)> = shown.collect();
    let of_task = TASK_FIGURES.into_iter().filter_map(|name| {
        let shown = numbers.shown(name).filter(|shown| shown.absent.is_empty())?;
        Some((format::figure_name(name).to_owned(), figure(&shown, words)))
    });
    figures.extend(of_task);
    let of_scorer = numbers.of_scorer().map(|metric| (metric, format::metric(metric)));
    figures.extend(
        of_scorer
            .filter(|(_, shown)| shown.absent.is_empty())
            .map(|(metric, shown)| (format::figure_name(&metric.name).to_owned(), figure(&shown, words))),
    );
    if let (Some(spec), false) = (&data.spec, figures.is_empty()) {
        figures.push((
            words.t("job.figure_size").into_owned(),
            Html::trusted(html::escape(&format::file_size(spec.model.manifest.size()))),
        ));
    }
    figures
}

/// A figure in large type: the interval and the reason are small.
pub(super) fn figure(shown: &format::Shown, words: Words) -> Html {
    let small = if shown.absent.is_empty() {
        shown.interval.clone()
    } else {
        words.with("number.absent_reason", &[("reason", &words.phrase(&shown.absent))])
    };
    let small = if small.is_empty() { String::new() } else { format!(" <small>{}</small>", html::escape(&small)) };
    Html::trusted(format!("{}{}{small}", html::escape(&shown.number), html::escape(&shown.unit)))
}

/// Why the attempt failed, by the rules: class, blame, what decided, and what to do. Empty of one that did not fail.
pub(super) fn failure(data: &Data, words: Words) -> Vec<(String, String)> {
    let attempt = data.attempts.iter().find(|row| row.attempt == data.attempt);
    let Some(failure) = attempt.and_then(|row| row.failure.as_ref()) else { return Vec::new() };
    let line = |key: &str, value: String| (words.t(key).into_owned(), value);
    let class = [failure.class.to_string(), words.class(failure.class)].join(" · ");
    let rules = words.with("failure.rules", &[("n", &failure.rules.to_string())]);
    let decided = match &failure.seen {
        Some(seen) => {
            let place = [words.source(seen.source), rules].join(words.semicolon());
            words.with("failure.decided_in", &[("line", &seen.line), ("source", &place)])
        }
        None => rules,
    };
    let mut lines = vec![line("failure.class", class)];
    lines.extend(failure.stage.map(|stage| line("job.failed_stage", stage.to_string())));
    lines.push(line("failure.blame", words.blame(failure.blame)));
    lines.push(line("failure.decided_by", decided));
    lines.push(line("failure.what_to_do", words.remedy(failure.class)));
    lines
}

/// How each child process ended: what a failed job is judged on.
pub(super) fn evidence(data: &Data, words: Words) -> Vec<(String, String)> {
    let Some(report) = &data.report else { return Vec::new() };
    let role = |role| match role {
        ProcessRole::Latency => words.t("job.role_latency"),
        ProcessRole::Memory => words.t("job.role_memory"),
        ProcessRole::Accuracy => words.t("job.role_accuracy"),
        ProcessRole::Operators => words.t("job.role_operators"),
        ProcessRole::Energy => words.t("job.role_energy"),
    };
    let line = |process: &ProcessRecord| {
        let end = exit(process.exit, words);
        let sentinel = words.t(if process.sentinel { "job.sentinel" } else { "job.no_sentinel" });
        let label = words.with("job.process", &[("n", &process.index.to_string()), ("role", &role(process.role))]);
        (label, words.list(&[end, sentinel.into_owned()]))
    };
    report.processes.iter().map(line).collect()
}

/// As the classifier saw it; signals and codes are never translated.
pub(super) fn exit(exit: Exit, words: Words) -> String {
    match exit {
        Exit::Code(code) => words.with("job.exit_code", &[("code", &code.to_string())]),
        Exit::Signal(signal) => {
            words.with("job.exit_signal", &[("signal", &status::code(Outcome::CrashSignal(signal)))])
        }
        Exit::Deadline => words.t("job.exit_deadline").into_owned(),
        Exit::Stopped => words.t("job.exit_stopped").into_owned(),
    }
}

pub(super) fn trace_note(data: &Data, samples: usize, words: Words) -> String {
    let of = match data.unpacked.thinned() {
        None => words.count("job.trace_note", samples as u64, &[]),
        Some((every, inferences)) => words.with(
            "job.trace_thinned",
            &[("k", &every.to_string()), ("all", &count(inferences)), ("n", &count(samples as u64))],
        ),
    };
    let columns = (samples > trace::POINTS).then(|| words.t("job.trace_columns").into_owned());
    std::iter::once(of).chain(columns).collect::<Vec<_>>().join(words.semicolon())
}

/// What of the numbers rests on the samples alone, when those are not all inferences.
pub(super) fn thinned(data: &Data, words: Words) -> String {
    data.unpacked
        .thinned()
        .map_or_else(String::new, |(every, _)| words.with("job.thinned", &[("k", &every.to_string())]))
}

pub(super) fn processes(data: &Data, words: Words) -> String {
    data.report.as_ref().map_or_else(
        || words.t("job.no_report").into_owned(),
        |report| words.count("job.processes", report.processes.len() as u64, &[]),
    )
}

/// Says so where a percentile rests on fewer than ten samples.
pub(super) fn tail_note(samples: usize, words: Words) -> String {
    let weak = PERCENTILES.iter().filter(|(_, _, share)| samples > 0 && (1.0 - share) * (samples as f64) < 10.0);
    let weak: Vec<String> = weak.map(|(label, _, _)| (*label).to_owned()).collect();
    if weak.is_empty() { String::new() } else { words.with("job.weak_tail", &[("names", &words.list(&weak))]) }
}

pub(super) fn determinism(data: &Data, words: Words) -> String {
    match data.report.as_ref().map(|report| &report.determinism) {
        Some(Reading::Present(true)) => words.t("job.deterministic").into_owned(),
        Some(Reading::Present(false)) => words.t("job.not_deterministic").into_owned(),
        Some(Reading::Absent(reason)) => words.with("job.determinism_absent", &[("reason", &words.phrase(reason))]),
        None => String::new(),
    }
}
