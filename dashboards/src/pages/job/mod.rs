//! A job: what exactly was measured, and whether to believe it.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use seatrial_core::energy::Energy;
use seatrial_core::evidence::Evidence;
use seatrial_core::job::{AttemptRef, DatasetRef, JobSpec, JobState};
use seatrial_core::live::LiveJob;
use seatrial_core::metric::Metric;
use seatrial_core::report::Report;
use seatrial_core::role::Role;
use seatrial_core::stage::Stage;
use seatrial_core::store::{AttemptRow, DeviceRow, JobRow};
use serde::Serialize;

mod accuracy;
pub(crate) mod energy;
mod minutes;
mod operators;
mod tables;
mod task;
mod words;

use self::accuracy::Accuracy;
use self::minutes::{Minute, Minutes};
use self::operators::{Operators, operators};
use self::tables::{
    AttemptLine, Golden, MetricLine, PercentileLine, SensorPart, Told, accuracy, attempts, comparison, environment,
    golden, golden_note, guides, metric_lines, metrics_table, percentile_lines, sensors, strip, told,
};
use self::words::{evidence, failure, figures, now, processes, sentence, sub, tail_note, thinned, trace_note};
use super::paired::{self, Answered, Comparison};
use super::run::CsrfForm;
use super::samples::Samples;
use super::{Numbers, model_name, run_number};
use crate::Dashboards;
use crate::charts::{histogram, stages, trace};
use crate::failure::Failure;
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;
use crate::visit::{Setting, Visit};

#[derive(Serialize)]
pub(crate) struct Data {
    job: JobRow,
    attempts: Vec<AttemptRow>,
    /// The attempt that the rest is of.
    attempt: u32,
    spec: Option<JobSpec>,
    report: Option<Report>,
    metrics: Vec<Metric>,
    samples: usize,
    /// Where an attempt is that runs now.
    now: Option<Now>,
    /// Recounted from labels and predictions; absent without a labelled dataset.
    accuracy: Option<Accuracy>,
    /// Figures of another task part by part, from its truth and answers; absent where there are none.
    parts: Option<task::Parts>,
    /// The same examples by the job that `?against=` names.
    paired: Option<Comparison>,
    /// Median latency of each full minute of a sustained run, in order; empty for any other.
    minutes: Vec<Minute>,
    /// What the device drew, derived anew from the readings; absent where the profile asks for none.
    energy: Option<Energy>,
    #[serde(skip)]
    live: Option<LiveJob>,
    #[serde(skip)]
    device: Option<DeviceRow>,
    #[serde(skip)]
    unpacked: Samples,
    #[serde(skip)]
    classes: Vec<String>,
}

/// A running attempt, as far as its agent has told.
#[derive(Serialize)]
struct Now {
    stage: Stage,
    /// 0 to 1 within the stage.
    progress: Option<f64>,
    /// Since the attempt was granted.
    age_s: f64,
}

/// By id or by short id.
pub(crate) async fn find(state: &Dashboards, visit: &Visit, id: &str) -> Result<JobRow, Failure> {
    let gone = || Failure::NotFound { what: "gone.job", id: id.chars().take(40).collect() };
    let found = if let Ok(id) = id.parse() {
        state.read.job(id).await?
    } else {
        let mut found = state.read.jobs_by_short_id(id).await?;
        if found.len() > 1 {
            return Err(Failure::Conflict(visit.setting.words.with("job.ambiguous", &[("id", id)])));
        }
        found.pop()
    };
    let job = found.ok_or_else(gone)?;
    // A job of another project is as good as none.
    let run = state.read.run(job.run).await?;
    run.filter(|run| run.project == visit.viewer.project).map(|_| job).ok_or_else(gone)
}

pub(crate) fn attempt_number(setting: &Setting, last: u32) -> u32 {
    setting.parameter("attempt").and_then(|text| text.parse().ok()).filter(|n| (1..=last).contains(n)).unwrap_or(last)
}

/// A document of another schema is shown as absent rather than guessed at; the log says why.
pub(crate) fn document<T: serde::de::DeserializeOwned>(
    text: Option<String>,
    what: &'static str,
    job: &JobRow,
) -> Option<T> {
    serde_json::from_str(&text?)
        .inspect_err(|error| tracing::warn!(job = %job.id, what, %error, "a stored document does not read"))
        .ok()
}

pub(crate) async fn read(state: &Dashboards, visit: &Visit, id: &str) -> Result<Data, Failure> {
    let job = find(state, visit, id).await?;
    let number = attempt_number(&visit.setting, job.attempt);
    let attempt = AttemptRef { job: job.id, attempt: number };
    let spec: Option<JobSpec> = document(state.read.job_spec(job.id).await?, "job specification", &job);
    let dataset = match spec.as_ref().and_then(|spec| spec.dataset.as_ref()) {
        Some(dataset) => state.read.dataset(visit.viewer.project, &dataset.dataset).await?.zip(Some(dataset.version)),
        None => None,
    };
    let classes =
        dataset.and_then(|(detail, number)| detail.versions.into_iter().find(|version| version.number == number));
    let report: Option<Report> = document(state.read.report(attempt).await?, "report", &job);
    let samples = Samples::of(&state.read.blocks(attempt).await?, report.as_ref())?;
    let live = state
        .live
        .devices()
        .into_iter()
        .filter_map(|device| device.job)
        .find(|live| live.job == job.id && live.attempt == number);
    let classes = classes.map(|version| version.classes).unwrap_or_default();
    let of_task = spec.as_ref().and_then(|spec| spec.dataset.as_ref()).filter(|_| !samples.answers.is_empty());
    let parts = match of_task {
        Some(dataset) => in_parts(dataset, &samples, &classes, &job).await?,
        None => None,
    };
    let seed = spec.as_ref().map_or(0, |spec| spec.seed);
    Ok(Data {
        energy: energy::of(report.as_ref().and_then(|report| report.energy.as_ref()), seed),
        parts,
        paired: against(state, visit, &job, number).await?,
        accuracy: Accuracy::of(&samples, &classes),
        minutes: minutes::of(spec.as_ref().map(|spec| spec.profile.kind), &samples),
        attempts: state.read.attempts(job.id).await?,
        attempt: number,
        report,
        metrics: state.read.metrics(attempt).await?,
        now: live.as_ref().map(|live| Now {
            stage: live.stage,
            progress: live.progress,
            age_s: live.age.as_secs_f64(),
        }),
        live,
        device: state.read.device(job.device).await?,
        samples: samples.count(),
        unpacked: samples,
        classes,
        spec,
        job,
    })
}

/// Takes the figures of a task apart: for many boxes or long texts that is work for a thread of its own.
async fn in_parts(
    dataset: &DatasetRef,
    samples: &Samples,
    classes: &[String],
    job: &JobRow,
) -> Result<Option<task::Parts>, Failure> {
    let (of, examples, classes) = (dataset.task, dataset.examples, classes.to_vec());
    let (truth, answers) = (samples.truth.clone(), samples.answers.clone());
    let parts = tokio::task::spawn_blocking(move || {
        let evidence = Evidence::read(of, examples, &truth, &answers).ok()?;
        task::parts(&evidence, examples, &classes)
    });
    parts.await.map_err(|error| Failure::Conflict(format!("judging the answers of job {} stopped: {error}", job.short)))
}

/// The job of `?against=` and this one on the same examples; `None` when nobody asked, or they cannot be paired.
async fn against(state: &Dashboards, visit: &Visit, job: &JobRow, attempt: u32) -> Result<Option<Comparison>, Failure> {
    let Some(id) = visit.setting.parameter("against") else { return Ok(None) };
    let other = find(state, visit, id).await?;
    let first = Answered::of(state, &other, other.attempt).await?;
    let second = Answered::of(state, job, attempt).await?;
    Ok(first.zip(second).and_then(|(first, second)| paired::compare(&first, &second)))
}

/// What the parts of the page say.
struct View {
    tag: Html,
    sentence: String,
    sub: String,
    /// How far an attempt is that runs.
    now: Option<Html>,
    invalid: Vec<String>,
    csrf: Option<String>,
    rerun: String,
    /// Label and address of each file that there is.
    downloads: Vec<(String, String)>,
    figures: Vec<(String, Html)>,
    failed: bool,
    reported: bool,
    /// Why it failed, by the rules.
    failure: Vec<(String, String)>,
    evidence: Vec<(String, String)>,
    stages: Html,
    stages_note: String,
    trace: Html,
    trace_note: String,
    /// That not every inference is a sample, and what that means; empty when every one is.
    thinned: String,
    minutes: Minutes,
    energy: energy::Shown,
    histogram: Html,
    few: bool,
    strip: Html,
    percentiles: Vec<PercentileLine>,
    percentiles_note: String,
    told: Told,
    sensors: Vec<SensorPart>,
    confusion: Html,
    accuracy_note: String,
    accuracy_absent: String,
    classes: Vec<[String; 5]>,
    task: task::Table,
    /// Whether a comparison was asked for; what it says, and its line.
    against: bool,
    paired: Option<(String, paired::Line)>,
    golden: Golden,
    golden_note: String,
    operators: Operators,
    environment: Vec<(String, String)>,
    comparison: Vec<(String, String, String)>,
    attempts: Vec<AttemptLine>,
    log: String,
    /// The system's own, around the end.
    system_log: String,
    bounds: Vec<String>,
    metrics: Vec<MetricLine>,
    spec: String,
}

impl View {
    fn has_charts(&self) -> bool {
        self.sensors.iter().any(|sensor| sensor.absent.is_empty())
    }

    fn has_absent(&self) -> bool {
        self.sensors.iter().any(|sensor| !sensor.absent.is_empty())
    }
}

/// What answers the page's question. Its id is that of the element that a live page replaces.
#[derive(askama::Template)]
#[template(path = "parts/job_head.html")]
struct Head<'a> {
    frame: &'a Frame,
    page: &'a View,
}

/// The evidence.
#[derive(askama::Template)]
#[template(path = "parts/job_body.html")]
struct Body<'a> {
    frame: &'a Frame,
    page: &'a View,
}

#[derive(askama::Template)]
#[template(path = "pages/job.html")]
struct Page<'a> {
    frame: &'a Frame,
    crumb: Vec<(String, String)>,
    crumb_end: String,
    head: Html,
    body: Html,
}

pub(crate) async fn page(
    State(state): State<Dashboards>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let data = read(&state, &visit, &id).await?;
    let words = visit.setting.words;
    let job = &data.job;
    let mut frame = Frame::new(&visit.setting, words.with("job.title", &[("job", &job.short)]), Nav::Runs)
        .with_exports(&visit.setting, true)
        .simulated(data.device.as_ref().is_some_and(|device| device.profile.simulated));
    // An attempt that was asked for by number is history and stays as it is.
    if !data.is_over() && visit.setting.parameter("attempt").is_none() {
        frame.live = Some(visit.setting.link_to(&format!("/jobs/{}/live", job.id)));
    }
    let [(_, head), (_, body)] = parts(&data, &visit, &frame)?;
    visit.answer(&data, Some(&|| metrics_table(&data)), || Page {
        crumb: vec![
            (words.with("run.title", &[("run", &run_number(job.run_number))]), format!("/runs/{}", job.run_number)),
            (model_name(job), format!("/models/{}", crate::visit::encode(&job.model))),
            (job.device_name.clone(), format!("/devices/{}", job.device)),
        ],
        crumb_end: match data.attempt {
            0 => words.with("job.title", &[("job", &job.short)]),
            n => words.with("job.crumb", &[("job", &job.short), ("n", &n.to_string())]),
        },
        head,
        body,
        frame: &frame,
    })
}

/// What changes while the job runs, as `(element id, markup)`.
pub(crate) fn parts(data: &Data, visit: &Visit, frame: &Frame) -> Result<[(&'static str, Html); 2], Failure> {
    let page = &view(data, visit);
    let head = Template::render(&Head { frame, page })?;
    let body = Template::render(&Body { frame, page })?;
    Ok([("job-head", Html::trusted(head)), ("job-body", Html::trusted(body))])
}

impl Data {
    /// Whether nothing of the page will change any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.job.state, JobState::Done { .. } | JobState::Quarantined)
    }
}

fn view(data: &Data, visit: &Visit) -> View {
    let moments = &visit.setting.moments;
    let words = moments.words;
    let job = &data.job;
    let numbers = Numbers::new(data.metrics.clone());
    let milliseconds = data.unpacked.milliseconds();
    let all: Vec<f64> = milliseconds.concat();
    let (confusion, accuracy_note, accuracy_absent, classes) = accuracy(data, &numbers, words);
    let failed_stage = data.report.as_ref().and_then(|report| report.failed_stage).or_else(|| current_failure(job));
    let may_rerun = visit.viewer.role.includes(Role::Submitter);
    let has_samples = !all.is_empty();
    let (log, system_log) = logs(data);
    View {
        tag: html::tag(&status::job(job, words)),
        sentence: sentence(data, &numbers, words),
        sub: sub(data, &numbers, words),
        now: now(data, words),
        invalid: job.invalid.iter().map(|reason| words.reason(reason)).collect(),
        csrf: may_rerun.then(|| visit.viewer.csrf.clone()),
        rerun: format!("seatrial rerun {}", job.short),
        downloads: downloads(data, words),
        figures: figures(data, &numbers, words),
        failed: job.outcome.is_some_and(|outcome| !status::has_result(outcome)),
        reported: data.report.is_some(),
        failure: failure(data, words),
        evidence: evidence(data, words),
        stages: stages::chart(stage_records(data), failed_stage, words),
        stages_note: processes(data, words),
        trace: if has_samples { trace::chart(&milliseconds, words) } else { Html::default() },
        trace_note: trace_note(data, all.len(), words),
        thinned: thinned(data, words),
        minutes: minutes::shown(&data.minutes, words),
        energy: energy::shown(data, &numbers, words),
        histogram: if has_samples { histogram::chart(&all, &guides(&numbers), words) } else { Html::default() },
        few: all.len() < histogram::FEWEST,
        strip: strip(&numbers, words),
        percentiles: percentile_lines(&numbers, all.len(), words),
        percentiles_note: tail_note(all.len(), words),
        told: told(data, &numbers, words),
        sensors: sensors(data, words),
        confusion,
        accuracy_note,
        accuracy_absent,
        classes,
        task: task::table(data, words),
        against: visit.setting.parameter("against").is_some(),
        paired: data.paired.as_ref().map(|paired| (paired.sentence(words), paired.line(words))),
        golden: golden(data, words),
        golden_note: golden_note(data, words),
        operators: operators(data, words),
        environment: environment(data, words),
        comparison: comparison(data, words),
        attempts: attempts(data, moments),
        log,
        system_log,
        bounds: data.report.as_ref().map(|report| report.bounds_hit.clone()).unwrap_or_default(),
        metrics: metric_lines(data, &numbers, words),
        spec: data.spec.as_ref().and_then(|spec| serde_json::to_string_pretty(spec).ok()).unwrap_or_default(),
    }
}

/// What the attempt's processes said and what the system's logs did: of one whose agent died, what is told of that.
fn logs(data: &Data) -> (String, String) {
    let attempt = data.attempts.iter().find(|row| row.attempt == data.attempt);
    match (&data.report, attempt.and_then(|row| row.death.as_ref())) {
        (Some(report), _) => (report.log.clone(), report.system_log.clone()),
        (None, Some(death)) => (death.output.clone(), death.system.clone()),
        (None, None) => (String::new(), String::new()),
    }
}

/// Files of this attempt.
fn downloads(data: &Data, words: Words) -> Vec<(String, String)> {
    let samples = &data.unpacked;
    let outputs = data.report.iter().flat_map(|report| &report.golden).any(|record| record.kept.is_some());
    [
        ("job.raw_samples", "samples.csv", samples.count() > 0),
        ("job.raw_readings", "readings.csv", data.energy.is_some()),
        ("job.predictions", "predictions.csv", !samples.labels.is_empty()),
        ("job.answers", "answers.csv", !samples.answers.is_empty()),
        ("job.outputs", "outputs.csv", outputs && !samples.outputs.is_empty()),
    ]
    .into_iter()
    .filter(|(_, _, exists)| *exists)
    .map(|(label, file, _)| {
        (words.t(label).into_owned(), format!("/jobs/{}/{file}?attempt={}", data.job.id, data.attempt))
    })
    .collect()
}

fn current_failure(job: &JobRow) -> Option<Stage> {
    job.stage.filter(|_| job.outcome.is_some_and(|outcome| !status::has_result(outcome)))
}

fn stage_records(data: &Data) -> &[seatrial_core::report::StageRecord] {
    match &data.report {
        Some(report) => &report.stages,
        None => data.attempts.iter().find(|row| row.attempt == data.attempt).map_or(&[], |row| &row.stages),
    }
}

pub(crate) async fn rerun(
    State(state): State<Dashboards>,
    Path(id): Path<String>,
    visit: Visit,
    Form(form): Form<CsrfForm>,
) -> Result<Response, Failure> {
    visit.check_csrf(&form.csrf)?;
    let job = find(&state, &visit, &id).await?;
    let run = state.actions.rerun(&visit.viewer, job.id).await?;
    Ok(Redirect::to(&format!("/runs/{run}")).into_response())
}
