//! All metrics of an attempt from its report.

use super::interference::{self, Conditions, sensor};
use super::samples::{Samples, Series};
use super::{latency, paced, stats, sustained, task, told};
use crate::accuracy::classification::{self, Classification};
use crate::accuracy::golden::{self, Comparison};
use crate::dataset::Task;
use crate::energy::{self, Grade};
use crate::job::{DatasetRef, JobSpec};
use crate::metric::{Estimate, Metric};
use crate::model::{Axis, Signature, TensorSpec};
use crate::outcome::Outcome;
use crate::profile::ProfileKind;
use crate::reading::Reading;
use crate::reason::{Code, Reason};
use crate::report::{BlockKind, GoldenRecord, Memory, Opened, ProcessRecord, ProcessRole, Report, SensorTrace};
use crate::runtimes::PackageKind;
use crate::stage::Stage;

/// What a report comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The report's outcome, or a worse one when the outputs say so.
    pub outcome: Outcome,
    /// Why it is worse; empty when it is the report's.
    pub wrong: Vec<Reason>,
    /// Every metric that applies to the job, in the order of the registry; those without a value say why.
    pub metrics: Vec<Metric>,
    /// Why the numbers cannot be trusted; empty when they can.
    pub invalid: Vec<Reason>,
}

/// Shown for outputs that equal their reference exactly, where the ratio has no bound. Double precision cannot tell
/// differences below 319 dB, so no measured ratio reaches it.
pub const EXACT_SQNR_DB: f64 = 400.0;

/// Derives every number of an attempt. The same report gives the same summary for ever, under one
/// [`super::ALGORITHM`].
#[must_use]
pub fn summarise(spec: &JobSpec, report: &Report) -> Summary {
    let Samples { series, problems } = Samples::read(report);
    let mut metrics = Vec::new();
    let mut invalid = problems;
    if spec.profile.kind == ProfileKind::Energy {
        metrics.extend(energy(spec, report, &mut invalid));
    } else if spec.profile.kind != ProfileKind::AccuracyOnly {
        metrics.extend(phases(spec, report));
        metrics.extend(timing(spec, report, &series));
        invalid.extend(interfered(spec, report, &series));
        invalid.extend(sensors_dropped(report));
    }
    if spec.profile.kind != ProfileKind::Energy {
        metrics.extend(memory(report));
    }
    metrics.extend(task_metrics(spec, report, &mut invalid));
    if spec.profile.kind != ProfileKind::Energy || spec.dataset.is_some() {
        metrics.push(determinism(report));
    }
    metrics.push(Metric::exact("model_size_mb", spec.model.manifest.size() as f64 / 1e6));

    sort_as_registered(&mut metrics);
    let wrong = wrong(spec, report);
    let outcome = if wrong.is_empty() { report.outcome } else { Outcome::NumericsFail };
    Summary { outcome, wrong, metrics, invalid }
}

fn sort_as_registered(metrics: &mut [Metric]) {
    // Those of a scorer are in no registry, and come last.
    let place = |metric: &Metric| {
        let known = crate::metric::REGISTRY.iter().position(|kind| kind.name == metric.name);
        known.unwrap_or(usize::MAX)
    };
    metrics.sort_by_key(place);
}

/// Why a number is missing that the report should have carried.
fn missing(report: &Report, what: &str) -> String {
    let program = latency_processes(report).find_map(|process| process.program.as_ref());
    if let Some(program) = program.filter(|_| ran(report)) {
        return Reason::new(Code::ToldByProgram, &[("program", &program.name)]).text().to_owned();
    }
    match (report.outcome, report.failed_stage) {
        (Outcome::Ok | Outcome::OkFallback, _) => format!("the report carries no {what}"),
        (outcome, Some(stage)) => format!("the attempt ended as {outcome} at {stage}"),
        (outcome, None) => format!("the attempt ended as {outcome}"),
    }
}

fn latency_processes(report: &Report) -> impl Iterator<Item = &ProcessRecord> {
    report.processes.iter().filter(|process| process.role == ProcessRole::Latency)
}

/// Load, first inference and warm-up. The first process loads cold, the later ones warm, whatever they are for. One that
/// asks the engine of its operators loads under a profiler, and tells nothing of loading. An interpreter and its libraries
/// are nobody's files: they stay in the page cache, and most of what a runner loads is theirs.
fn phases(spec: &JobSpec, report: &Report) -> [Metric; 5] {
    let first = latency_processes(report).map(|process| process.index).min();
    let is_first = |process: &&ProcessRecord| Some(process.index) == first;
    let coldest = latency_processes(report).find(is_first);
    let cold = coldest.and_then(|process| process.load_ms);
    let plain = |process: &&ProcessRecord| match process.role {
        ProcessRole::Latency | ProcessRole::Memory | ProcessRole::Accuracy => true,
        ProcessRole::Operators | ProcessRole::Energy => false,
    };
    let later = || report.processes.iter().filter(plain).filter(|process| first.is_some_and(|it| process.index > it));
    let warm: Vec<f64> = later().filter_map(|process| process.load_ms).collect();
    let warm = if ran(report) && coldest.is_some() && later().next().is_none() {
        Metric::absent("load_warm_ms", Code::LoadsColdOnly.template())
    } else {
        median_of("load_warm_ms", warm, || missing(report, "load time of a later process"))
    };
    [
        match coldest.filter(|_| cold.is_some()).and_then(|process| why_not_cold(spec, process)) {
            Some(why) => Metric::absent("load_cold_ms", why),
            None => median_of("load_cold_ms", cold, || missing(report, "load time")),
        },
        warm,
        compile(report),
        median_of("first_infer_ms", latency_processes(report).filter_map(|process| process.first_infer_ms), || {
            missing(report, "first inference")
        }),
        median_of(
            "warmup_iterations",
            latency_processes(report).filter_map(|process| process.warmup_iterations.map(f64::from)),
            || missing(report, "warm-up"),
        ),
    ]
}

/// A load is cold when the disk read at least half of the model, and of what its process had of the engine's package once
/// that was open. Both parts of it are told apart, and what nobody can tell is not taken for cold.
fn why_not_cold(spec: &JobSpec, process: &ProcessRecord) -> Option<String> {
    let (opens, interpreted) = match spec.package.as_ref().map(|package| &package.kind) {
        None | Some(PackageKind::Command) => (false, false),
        Some(PackageKind::Library { .. } | PackageKind::Runner { interpreter: None }) => (true, false),
        Some(PackageKind::Runner { interpreter: Some(_) }) => (true, true),
    };
    let size = spec.model.manifest.size();
    let why = match (process.load_reads, process.opened) {
        _ if interpreted => Reason::new(Code::InterpreterKept, &[]),
        (None, _) => Reason::new(Code::ColdUnknown, &[]),
        (Some(read), _) if read < size / 2 => Reason::new(Code::NotCold, &[("read", &read), ("size", &size)]),
        (Some(_), None) if opens => Reason::new(Code::PackageColdUnknown, &[]),
        (Some(_), Some(Opened { held, read })) if opens && read < held / 2 => {
            Reason::new(Code::PackageNotCold, &[("read", &read), ("held", &held)])
        }
        (Some(_), _) => return None,
    };
    Some(why.text().to_owned())
}

/// Of every process: an engine that keeps what it has compiled compiles once, and that is the slowest.
fn compile(report: &Report) -> Metric {
    const NAME: &str = "compile_ms";
    let told = latency_processes(report).filter_map(|process| process.compile_ms);
    match told.max_by(f64::total_cmp) {
        Some(slowest) => Metric::exact(NAME, slowest),
        None if latency_processes(report).any(|process| process.load_ms.is_some()) => {
            Metric::absent(NAME, Code::CompileUntold.template())
        }
        None => Metric::absent(NAME, missing(report, "load time")),
    }
}

fn median_of(name: &str, values: impl IntoIterator<Item = f64>, reason: impl FnOnce() -> String) -> Metric {
    match stats::median_of(values) {
        Some(value) => Metric::exact(name, value),
        None => Metric::absent(name, reason()),
    }
}

/// Metrics of the timed samples, as far as the profile has them.
fn timing(spec: &JobSpec, report: &Report, series: &[Series]) -> Vec<Metric> {
    const LATENCY: [&str; 15] = [
        "lat_p50_ms",
        "lat_mean_ms",
        "lat_min_ms",
        "lat_max_ms",
        "lat_p90_ms",
        "lat_p95_ms",
        "lat_p99_ms",
        "lat_sd_ms",
        "lat_tm80_ms",
        "lat_mad_ms",
        "lat_rcv",
        "lat_p90_es_ms",
        "lat_p95_es_ms",
        "lat_p99_es_ms",
        "lat_samples",
    ];
    let absent = |names: &[&str]| -> Vec<Metric> {
        names.iter().map(|name| Metric::absent(name, missing(report, "latency samples"))).collect()
    };
    let batch = batch(spec);
    let mut metrics = if series.is_empty() { absent(&LATENCY) } else { latency::metrics(series) };
    if spec.profile.processes > 1 {
        metrics.push(latency::within_rcv(series));
        metrics.push(latency::between_cv(series));
    }
    metrics.push(temperature_rise(spec, report));
    match (spec.profile.kind, series) {
        (ProfileKind::Quick | ProfileKind::Full, []) => metrics.extend(absent(&["throughput_sps"])),
        (ProfileKind::Quick | ProfileKind::Full, series) => metrics.push(latency::throughput(series, batch)),
        (ProfileKind::Sustained, []) => {
            metrics.extend(absent(&["throughput_sps", "throttle_ratio", "time_to_throttle_s", "sus_sps"]));
        }
        (ProfileKind::Sustained, [first, ..]) => {
            metrics.push(latency::throughput(series, batch));
            metrics.extend(sustained::metrics(first, batch));
        }
        (ProfileKind::Paced, []) => metrics.extend(absent(&["paced_missed"])),
        (ProfileKind::Paced, series) => metrics.push(paced::missed(series, spec.profile.interval)),
        (ProfileKind::AccuracyOnly | ProfileKind::Energy, _) => {}
    }
    metrics
}

/// Examples in one inference: the leading axis that every input and every output share, else 1.
fn batch(spec: &JobSpec) -> u64 {
    let Signature { inputs, outputs, precision_from: _ } = &spec.model.signature;
    let size = |tensor: &TensorSpec| match tensor.shape.first()? {
        Axis::Fixed(size) => Some(*size),
        Axis::Named(name) => spec.binding.axes.get(name).copied(),
    };
    let mut sizes = inputs.iter().chain(outputs).map(size);
    let shared = sizes.next().flatten().filter(|&first| sizes.all(|size| size == Some(first)));
    shared.filter(|&size| size > 0 && !outputs.is_empty()).unwrap_or(1)
}

/// The battery's temperature where there is one, else that of the hottest zone: last reading of the measure stage
/// minus the first.
fn temperature_rise(spec: &JobSpec, report: &Report) -> Metric {
    const NAME: &str = "temp_rise_c";
    let span = report
        .stages
        .iter()
        .filter(|record| record.stage == Stage::Measure)
        .filter_map(|record| Some((record.start_us, record.start_us + record.duration_us?)))
        .reduce(|(from, until), (start, end)| (from.min(start), until.max(end)));
    let Some((from_us, until_us)) = span else {
        return Metric::absent(NAME, missing(report, "measure stage"));
    };
    let within = |points: &[(u32, f64)]| -> Vec<f64> {
        let inside = points.iter().filter(|(at_ms, _)| (from_us..=until_us).contains(&(u64::from(*at_ms) * 1_000)));
        inside.map(|&(_, celsius)| celsius).collect()
    };
    let temperatures = report.sensors.iter().filter(|trace| trace.unit == sensor::CELSIUS);
    let mut candidates: Vec<(bool, f64, f64)> = Vec::new();
    let (mut reason, mut read) = (None, false);
    for trace in temperatures {
        match &trace.points {
            Reading::Present(points) => {
                read = true;
                if let [first, .., last] = within(points)[..] {
                    candidates.push((trace.sensor == sensor::BATTERY_TEMPERATURE, last, last - first));
                }
            }
            Reading::Absent(why) => reason = reason.or_else(|| Some(format!("{}: {why}", trace.sensor))),
        }
    }
    let chosen = candidates.into_iter().max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    match chosen {
        Some((_, _, rise)) => Metric::exact(NAME, rise),
        None => Metric::absent(
            NAME,
            reason.filter(|_| !read).unwrap_or_else(|| {
                format!("no temperature was read twice while measuring ({} profile)", spec.profile.kind.as_str())
            }),
        ),
    }
}

/// What the device drew. What makes a number incomparable makes it invalid; where there is none, its reason says why.
fn energy(spec: &JobSpec, report: &Report, invalid: &mut Vec<Reason>) -> Vec<Metric> {
    let Some(record) = &report.energy else {
        if ran(report) {
            invalid.push(Reason::new(Code::EnergyUnrecorded, &[]));
        }
        return energy::metrics::absent(&missing(report, "recording of what the device drew"));
    };
    let energy = record.energy(spec.seed);
    if energy.grade != Grade::E4 {
        invalid.extend(energy.flags.iter().cloned());
        let process = report.processes.iter().find(|process| process.role == ProcessRole::Energy);
        let window = process.and_then(|process| process.window.as_ref());
        let span = process.and_then(|process| span(report, Stage::Energy, process.index));
        invalid.extend(interference::judge_energy(window, &report.sensors, span, &interference::Limits::default()));
    }
    energy::metrics::of(&energy)
}

/// Judges every process that measured.
fn interfered(spec: &JobSpec, report: &Report, series: &[Series]) -> Vec<Reason> {
    let limits = interference::Limits::default();
    let affinity = report.actual.affinity.present().map(Vec::as_slice);
    let silent: Vec<Series> = told::silent(report, series);
    let mut reasons = Vec::new();
    for each in series.iter().chain(&silent) {
        let record = latency_processes(report).find(|process| process.index == each.process);
        let conditions = Conditions {
            profile: spec.profile.kind,
            accelerator: spec.backend.accelerator,
            min_samples: spec.profile.stop.min_samples,
            series: each,
            sensors: &report.sensors,
            span_ms: span(report, Stage::Measure, each.process),
            affinity,
            threads: spec.backend.threads,
            measures_itself: record.is_some_and(|record| record.program.is_some()),
        };
        match record {
            Some(ProcessRecord { window: Some(window), .. }) => {
                reasons.extend(interference::judge(window, &conditions, &limits));
            }
            Some(_) => reasons.push(Reason::new(Code::WindowUnknown, &[]).of_process(each.process)),
            None => reasons.push(Reason::new(Code::ProcessUnlisted, &[]).of_process(each.process)),
        }
    }
    reasons.extend(told::implausible(report, series));
    let measured = series.len() + silent.len();
    let asked = usize::from(spec.profile.processes);
    // What never came to be measured cannot be invalid, but what says that it went well was measured.
    if measured < asked && (measured > 0 || ran(report)) {
        reasons.push(Reason::new(Code::ProcessesMissing, &[("measured", &measured), ("asked", &asked)]));
    }
    reasons
}

/// Traces that the agent had to leave out.
fn sensors_dropped(report: &Report) -> Option<Reason> {
    let dropped = |trace: &&SensorTrace| trace.points.reason() == Some(Code::TraceDropped.template());
    let sensors = report.sensors.iter().filter(dropped).count();
    (sensors > 0).then(|| Reason::new(Code::SensorsDropped, &[("sensors", &sensors)]))
}

/// When a process was in a stage, in ms since the attempt began.
fn span(report: &Report, stage: Stage, process: u8) -> Option<(f64, f64)> {
    let record = report.stages.iter().find(|record| record.stage == stage && record.process == Some(process))?;
    let start_ms = record.start_us as f64 / 1e3;
    Some((start_ms, start_ms + record.duration_us? as f64 / 1e3))
}

fn memory(report: &Report) -> [Metric; 5] {
    const NAMES: [&str; 5] = ["mem_base_mb", "mem_peak_rss_mb", "mem_pss_mb", "mem_model_mb", "mem_retained_mb"];
    let mebibytes = |kib: u64| kib as f64 / 1024.0;
    match &report.memory {
        Reading::Present(Memory { base_kib, peak_kib, retained_kib, pss_kib }) => {
            let [base, retained] = [*base_kib, *retained_kib].map(mebibytes);
            let peak = peak_kib.map(mebibytes).ok_or(Code::PeakUnmarked);
            let pss = pss_kib.map(mebibytes).ok_or(Code::PssUntold);
            let values = [Ok(base), peak, pss, peak.map(|peak| peak - base), Ok(retained - base)];
            std::array::from_fn(|index| match values[index] {
                Ok(value) => Metric::exact(NAMES[index], value),
                Err(why) => Metric::absent(NAMES[index], why.template()),
            })
        }
        Reading::Absent(why) => NAMES.map(|name| Metric::absent(name, why.clone())),
    }
}

fn determinism(report: &Report) -> Metric {
    let value = report.determinism.clone().map(|same| Estimate { value: f64::from(u8::from(same)), interval: None });
    Metric::new("determinism", value)
}

/// Metrics of the dataset's task, and of its references where it has any; none without a dataset.
fn task_metrics(spec: &JobSpec, report: &Report, invalid: &mut Vec<Reason>) -> Vec<Metric> {
    let Some(dataset) = &spec.dataset else { return Vec::new() };
    if dataset.task == Task::Golden {
        if report.golden.is_empty() && ran(report) {
            invalid.push(unusable(&missing(report, COMPARISON)));
        }
        return golden_metrics(report);
    }
    let judged = match dataset.task {
        Task::Classification => classification_metrics(report),
        Task::Custom => custom_metrics(dataset, report),
        Task::Detection
        | Task::Segmentation
        | Task::Text
        | Task::Multilabel
        | Task::Retrieval
        | Task::Regression
        | Task::Golden => task::read(dataset.task, dataset.examples, &report.blocks)
            .and_then(|evidence| evidence.map(|it| task::metrics(&it, dataset.examples)).transpose()),
    };
    let references = if report.golden.is_empty() { Vec::new() } else { golden_metrics(report) };
    let absent = match judged {
        Ok(Some(metrics)) => return [metrics, references].concat(),
        Ok(None) => {
            let why = missing(report, "predictions");
            if ran(report) {
                invalid.push(unusable(&why));
            }
            why
        }
        Err(why) => {
            invalid.push(unusable(&why));
            why
        }
    };
    let of_scorer = dataset.scorer.iter().flat_map(|scorer| &scorer.metrics);
    let of_scorer = of_scorer.map(|metric| metric.with(Reading::absent(absent.clone())));
    let registered = task::names(dataset.task).iter().map(|name| Metric::absent(name, absent.clone()));
    registered.chain(of_scorer).chain(references).collect()
}

/// What a golden dataset is for.
const COMPARISON: &str = "comparison with the reference";

fn unusable(why: &str) -> Reason {
    Reason::new(Code::AccuracyUnusable, &[("why", &why)])
}

/// What the dataset's scorer says; `None` where it said nothing.
fn custom_metrics(dataset: &DatasetRef, report: &Report) -> Result<Option<Vec<Metric>>, String> {
    let Some(scorer) = &dataset.scorer else {
        return Err("the job's specification names no scorer".to_owned());
    };
    if report.figures.is_empty() {
        return Ok(None);
    }
    match scorer.refuted(&report.figures, dataset.examples) {
        Some(why) => Err(format!("the scorer {}: {why}", scorer.program)),
        None => Ok(scorer.named(&report.figures)),
    }
}

fn classification_metrics(report: &Report) -> Result<Option<Vec<Metric>>, String> {
    let judged = classify(report)?.filter(|judged| judged.examples > 0);
    Ok(judged.map(|Classification { examples, top1, top5, .. }| {
        let share = |name, right: u32| {
            let interval = Some(classification::wilson(right.into(), examples.into()));
            let value = f64::from(right) / f64::from(examples);
            Metric::new(name, Reading::Present(Estimate { value, interval }))
        };
        vec![share("top1", top1), share("top5", top5)]
    }))
}

/// The labels and predictions of a report, judged; `None` when it carries none.
fn classify(report: &Report) -> Result<Option<Classification>, String> {
    let find = |kind: BlockKind| report.blocks.iter().find(|block| block.metric == kind);
    let (Some(labels), Some(top)) = (find(BlockKind::Labels), find(BlockKind::TopClasses)) else {
        return Ok(None);
    };
    let (labels, top) = (task::unpack(labels)?, task::unpack(top)?);
    let classes = classification::class_count(&labels, &top).map_err(|error| error.to_string())?;
    classification::summarise(&labels, &top, classes).map(Some).map_err(|error| error.to_string())
}

/// The worst over all outputs.
fn golden_metrics(report: &Report) -> Vec<Metric> {
    let comparisons: Vec<&Comparison> = report.golden.iter().map(|record| &record.comparison).collect();
    let compared: Vec<&Comparison> = comparisons.iter().copied().filter(|comparison| comparison.elements > 0).collect();
    let worst = |name: &str, values: Vec<f64>, pick: fn(f64, f64) -> f64| match values.into_iter().reduce(pick) {
        Some(value) => Metric::exact(name, value),
        None if comparisons.is_empty() => Metric::absent(name, missing(report, COMPARISON)),
        None => Metric::absent(name, Code::NothingCompared.template()),
    };
    let each = |of: fn(&Comparison) -> f64| compared.iter().map(|comparison| of(comparison)).collect::<Vec<f64>>();
    let elements: u64 = compared.iter().map(|comparison| comparison.elements).sum();
    let weighted: f64 = compared.iter().map(|comparison| comparison.mean_abs * comparison.elements as f64).sum();
    let mean_abs = (elements > 0).then(|| weighted / elements as f64);
    let count = |of: fn(&Comparison) -> u64| {
        let total = comparisons.iter().map(|comparison| of(comparison) as f64).reduce(|a, b| a + b);
        total.into_iter().collect::<Vec<f64>>()
    };
    let agreement = comparisons.iter().filter(|comparison| comparison.examples > 0);
    let agreement = agreement.map(|comparison| f64::from(comparison.argmax_agree) / f64::from(comparison.examples));

    vec![
        worst("golden_max_abs", each(|comparison| comparison.max_abs), f64::max),
        worst("golden_mean_abs", mean_abs.into_iter().collect(), f64::max),
        worst("golden_cosine", compared.iter().filter_map(|comparison| comparison.cosine).collect(), f64::min),
        worst("golden_sqnr_db", each(|comparison| comparison.sqnr_db.unwrap_or(EXACT_SQNR_DB)), f64::min),
        worst("golden_argmax_agree", agreement.collect(), f64::min),
        worst("nan_count", count(|comparison| comparison.nan_count), f64::max),
        worst("inf_count", count(|comparison| comparison.inf_count), f64::max),
    ]
}

/// Broken limits that are told one by one.
const MAX_WRONG: usize = 10;

/// An attempt that ran is none the less a failure when its outputs are wrong.
fn wrong(spec: &JobSpec, report: &Report) -> Vec<Reason> {
    if !ran(report) {
        return Vec::new();
    }
    let task = spec.dataset.as_ref().map_or(Task::Golden, |dataset| dataset.task);
    // Of a model that nobody has claimed a signature of, as the engine found it.
    let signatures = std::iter::once(&spec.model.signature).chain(&report.actual.signature);
    let first = || signatures.flat_map(|signature| &signature.outputs).map(|output| &output.name).next();
    let answer = spec.binding.scores.as_ref().or_else(first);
    let broken = report.golden.iter().flat_map(|GoldenRecord { output, comparison, standard, .. }| {
        let limits = golden::Limits::of(task, spec.model.precision, standard);
        limits.broken_by(output, Some(output) == answer, comparison)
    });
    let mut broken: Vec<Reason> = broken.collect();
    if let Some(more) = broken.len().checked_sub(MAX_WRONG).filter(|&more| more > 0) {
        broken.truncate(MAX_WRONG);
        broken.push(Reason::new(Code::AndMore, &[("count", &more)]));
    }
    broken
}

/// Whether the attempt says of itself that it got to its end.
fn ran(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Ok | Outcome::OkFallback)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
