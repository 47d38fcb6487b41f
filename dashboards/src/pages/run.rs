//! A run: how far, how long, what broke. Its parts are rendered one by one, so that the stream of fragments can
//! replace each alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use seatrial_core::gate::{Finding, FindingKind, Judgement};
use seatrial_core::ids::JobId;
use seatrial_core::job::JobState;
use seatrial_core::live::LiveJob;
use seatrial_core::metric::Metric;
use seatrial_core::role::Role;
use seatrial_core::store::{DeviceRow, JobRow, MisfitRow, RunRow, RunState};
use serde::{Deserialize, Serialize, Serializer};

use super::matrix::{Matrix, Row, Sources, matrix};
use super::run_jobs::{ATTENTION, Jobs, jobs, needs_eyes};
use super::runs::{sentence, trouble};
use super::{HEADLINE, JobLines, Numbers, by_job, job_line, model_name, order, run_number};
use crate::Dashboards;
use crate::charts::{burnup, progress};
use crate::eta::{self, Eta};
use crate::export::{self, JobExport, RunExport};
use crate::failure::Failure;
use crate::format::{DASH, Moments, count, duration};
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;
use crate::visit::{Visit, Wanted, file};

/// Misfits that a page lists; all of them are in the exports.
const LISTED: usize = 200;
/// Jobs that need eyes and findings of the gate that a page lists; all of them are in the list of all jobs.
const MARKED: usize = 50;

/// Everything that the page is made from.
#[derive(Serialize)]
pub(crate) struct Data {
    run: RunRow,
    jobs: Vec<JobRow>,
    misfits: Vec<MisfitRow>,
    /// Of the last attempt of every job.
    #[serde(rename = "metrics", serialize_with = "in_order")]
    numbers: HashMap<JobId, Numbers>,
    eta: Option<Eta>,
    gate: Option<Judgement>,
    #[serde(skip)]
    devices: Vec<DeviceRow>,
    #[serde(skip)]
    live: HashMap<JobId, LiveJob>,
}

fn in_order<S: Serializer>(numbers: &HashMap<JobId, Numbers>, to: S) -> Result<S::Ok, S::Error> {
    let ordered: BTreeMap<String, Vec<&Metric>> =
        numbers.iter().map(|(job, numbers)| (job.to_string(), numbers.all().collect())).collect();
    ordered.serialize(to)
}

/// How much of each job's metrics is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What the page shows of every job.
    Headline,
    /// All, for data and exports.
    Whole,
}

pub(crate) async fn read(state: &Dashboards, visit: &Visit, number: i64, detail: Detail) -> Result<Data, Failure> {
    let run = state.read.run_by_number(visit.viewer.project, number).await?;
    let run = run.ok_or_else(|| Failure::NotFound { what: "gone.run", id: run_number(number) })?;
    let jobs = state.read.jobs(run.id).await?;
    let metrics = match detail {
        Detail::Headline => {
            let of_scorers = scorers(state, visit, &jobs).await?;
            let names: Vec<&str> = HEADLINE.into_iter().chain(of_scorers.iter().map(String::as_str)).collect();
            state.read.run_metrics_named(run.id, &names).await?
        }
        Detail::Whole => state.read.run_metrics(run.id).await?,
    };
    let mut devices = state.read.devices().await?;
    order(&mut devices);
    let live = state.live.devices().into_iter().filter_map(|device| device.job).filter(|job| job.run == run.id);
    Ok(Data {
        misfits: state.read.misfits(run.id).await?,
        eta: if run.state == RunState::Running { eta::estimate(&jobs, state.clock.now()) } else { None },
        gate: run.gate.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        live: live.map(|job| (job.job, job)).collect(),
        run,
        jobs,
        devices,
        numbers: by_job(metrics),
    })
}

/// Names of what the scorers of a run's datasets tell: a run has few datasets, however many jobs it has.
async fn scorers(state: &Dashboards, visit: &Visit, jobs: &[JobRow]) -> Result<BTreeSet<String>, Failure> {
    let datasets = jobs.iter().filter_map(|job| job.dataset.as_deref()?.split('@').next());
    let mut names = BTreeSet::new();
    for dataset in datasets.collect::<BTreeSet<&str>>() {
        let detail = state.read.dataset(visit.viewer.project, dataset).await?;
        let scorers = detail.into_iter().flat_map(|detail| detail.versions).filter_map(|version| version.scorer);
        names.extend(scorers.flat_map(|scorer| scorer.metrics).map(|metric| metric.full_name()));
    }
    Ok(names)
}

/// The parts that change while the run goes on, by the id of their element.
#[derive(askama::Template)]
#[template(path = "parts/run_head.html")]
struct Head<'a> {
    frame: &'a Frame,
    number: i64,
    tag: Html,
    sentence: String,
    sub: String,
    figures: Vec<(String, String, String)>,
    burnup: Html,
    cancel: Option<&'a str>,
}

#[derive(askama::Template)]
#[template(path = "parts/run_matrix.html")]
struct MatrixPart<'a> {
    frame: &'a Frame,
    number: i64,
    matrix: &'a Matrix,
    rows: &'a [(String, Html)],
    live: bool,
}

/// A row of the matrix, which a live page replaces alone: a large run has many, and few change at once.
#[derive(askama::Template)]
#[template(path = "parts/matrix_row.html")]
struct RowPart<'a> {
    n: usize,
    row: &'a Row,
}

/// The page's parts. While the run goes on, the matrix keeps its frame and changes row by row.
pub(crate) struct Parts {
    head: Html,
    matrix: Html,
    /// By the id of their elements.
    rows: Vec<(String, Html)>,
    now: Html,
}

impl Parts {
    /// What a live page replaces, by element id.
    pub(crate) fn live(self) -> Vec<(String, Html)> {
        let Self { head, matrix: _, rows, now } = self;
        let ends = [("run-head", head), ("run-now", now)].map(|(id, html)| (id.to_owned(), html));
        rows.into_iter().chain(ends).collect()
    }
}

/// What a gate has found: of one job, or of the run as a whole.
struct FindingLine {
    href: String,
    /// Short id of the job, or what else was judged.
    subject: String,
    /// What the job was; empty when it is no job.
    what: String,
    message: String,
}

struct Running {
    device: String,
    device_href: String,
    job: String,
    job_href: String,
    stage: String,
    progress: Html,
    percent: String,
    age: String,
}

#[derive(askama::Template)]
#[template(path = "parts/run_now.html")]
struct NowPart<'a> {
    frame: &'a Frame,
    running: Vec<Running>,
    attention: JobLines,
    attention_total: String,
    /// What the list of those that need eyes leaves out, and the address of all.
    attention_left: Option<(String, String)>,
    gate: Option<GatePart>,
}

struct GatePart {
    status: Html,
    summary: String,
    findings: Vec<FindingLine>,
    omitted: String,
}

#[derive(askama::Template)]
#[template(path = "pages/run.html")]
struct Page<'a> {
    frame: &'a Frame,
    crumb: Vec<String>,
    head: Html,
    matrix: Html,
    now: Html,
    misfits: Vec<MisfitRow>,
    misfits_left: String,
    jobs: Jobs,
    number: i64,
    suite_text: String,
    rerun_of: Option<(String, String)>,
}

/// The live parts as `(element id, markup)`.
pub(crate) fn parts(data: &Data, visit: &Visit, frame: &Frame) -> Result<Parts, Failure> {
    let moments = &visit.setting.moments;
    let words = moments.words;
    let run = &data.run;
    let may_cancel = run.state == RunState::Running && visit.viewer.role.includes(Role::Submitter);
    let head = Head {
        frame,
        number: run.number,
        tag: html::tag(&status::run(run, words)),
        sentence: sentence(run, data.eta, moments),
        sub: sub(data, moments),
        figures: figures(data, moments),
        burnup: burn(data, moments),
        cancel: may_cancel.then_some(visit.viewer.csrf.as_str()),
    };
    let sources = Sources {
        jobs: &data.jobs,
        misfits: &data.misfits,
        devices: &data.devices,
        numbers: &data.numbers,
        live: &data.live,
    };
    let matrix = matrix(&sources, words);
    let render = |part: &dyn askama::DynTemplate| part.dyn_render().map(Html::trusted);
    let row = |(n, row): (usize, &Row)| Ok((format!("row-{n}"), render(&RowPart { n, row })?));
    let rows: Vec<(String, Html)> = matrix.rows.iter().enumerate().map(row).collect::<Result<_, askama::Error>>()?;
    let matrix =
        MatrixPart { frame, number: run.number, matrix: &matrix, rows: &rows, live: run.state == RunState::Running };
    let (attention, marked) = attention(data, moments);
    let all = || format!("/runs/{}?show={ATTENTION}#jobs", run.number);
    let now = NowPart {
        frame,
        running: running(data, moments),
        attention_left: marked
            .checked_sub(MARKED + 1)
            .map(|rest| (words.count("run.attention_left", rest as u64 + 1, &[]), all())),
        attention_total: count(marked as u64),
        attention,
        gate: gate(data, moments),
    };
    Ok(Parts { head: render(&head)?, matrix: render(&matrix)?, now: render(&now)?, rows })
}

fn sub(data: &Data, moments: &Moments) -> String {
    let words = moments.words;
    let run = &data.run;
    let mut parts = Vec::new();
    if run.state == RunState::Running {
        let trouble = trouble(run, moments);
        let key = if trouble.is_empty() { "run.sub_running_fine" } else { "run.sub_running" };
        parts.push(words.with(key, &[("ok", &count(run.counts.ok.into())), ("trouble", &words.list(&trouble))]));
        if let Some(eta) = data.eta {
            parts.push(words.count("run.sub_eta", eta.from.into(), &[]));
        }
    } else if let Some(end) = run.finished_at {
        let length = duration(end.since(run.created_at), words);
        parts.push(words.with("run.sub_done", &[("length", &length), ("time", &moments.clock(end))]));
        parts
            .extend(run.gate_passed.map(|passed| {
                words.t(if passed { "run.sub_gate_passed" } else { "run.sub_gate_failed" }).into_owned()
            }));
    }
    words.sentences(&parts)
}

fn figures(data: &Data, moments: &Moments) -> Vec<(String, String, String)> {
    let words = moments.words;
    let counts = data.run.counts;
    let total = counts.total();
    let figure = |label: &str, n: u32, note: String| (words.t(label).into_owned(), count(n.into()), note);
    let retried = data.jobs.iter().filter(|job| job.attempt > 1).count() as u32;
    let mut figures = vec![figure(
        "run.figure_done",
        total - counts.open(),
        words.with("number.of_total", &[("n", &count(total.into()))]),
    )];
    if data.run.state == RunState::Running {
        figures.push(figure("run.figure_on_devices", counts.leased, String::new()));
        figures.push(figure("run.figure_queued", counts.queued, String::new()));
    }
    figures.push(figure("run.figure_valid", counts.ok.saturating_sub(counts.invalid), String::new()));
    for (label, n) in [
        ("run.figure_failed", counts.failed + counts.quarantined),
        ("run.figure_fallback", counts.fallback),
        ("run.figure_invalid", counts.invalid),
        ("run.figure_misfits", counts.misfits),
        ("run.figure_retried", retried),
        ("run.figure_cancelled", counts.cancelled),
    ] {
        if n > 0 || label == "run.figure_failed" {
            figures.push(figure(label, n, String::new()));
        }
    }
    figures
}

fn burn(data: &Data, moments: &Moments) -> Html {
    let mut ended: Vec<_> = data.jobs.iter().filter_map(|job| job.finished_at).collect();
    ended.sort_unstable();
    let running = data.run.state == RunState::Running;
    burnup::chart(
        &burnup::BurnUp {
            started: data.run.created_at,
            ended: &ended,
            total: data.run.counts.total(),
            eta: data.eta,
            running,
        },
        moments,
    )
}

fn running(data: &Data, moments: &Moments) -> Vec<Running> {
    let words = moments.words;
    let leased = data.jobs.iter().filter(|job| matches!(job.state, JobState::Leased { .. }));
    leased
        .map(|job| {
            let live = data.live.get(&job.id);
            let share = live.and_then(|live| live.progress);
            let percent = share
                .map_or_else(|| DASH.to_string(), |share| format!("{} %", (share.clamp(0.0, 1.0) * 100.0).round()));
            Running {
                device: job.device_name.clone(),
                device_href: format!("/devices/{}", job.device),
                job: format!("{} · {}", super::model_name(job), job.backend),
                job_href: format!("/jobs/{}", job.id),
                stage: live
                    .map(|live| live.stage)
                    .or(job.stage)
                    .map_or_else(|| DASH.to_string(), |stage| stage.to_string()),
                progress: share.map(|share| progress::chart(share, &percent)).unwrap_or_default(),
                percent,
                age: live.map_or_else(|| DASH.to_string(), |live| duration(live.age, words)),
            }
        })
        .collect()
}

/// Jobs that need eyes, as many as are listed, and how many there are.
fn attention(data: &Data, moments: &Moments) -> (JobLines, usize) {
    let marked = || data.jobs.iter().filter(|job| needs_eyes(job));
    let lines = marked().take(MARKED).map(|job| job_line(job, data.numbers.get(&job.id), moments));
    (lines.collect(), marked().count())
}

fn gate(data: &Data, moments: &Moments) -> Option<GatePart> {
    let words = moments.words;
    let judgement = data.gate.as_ref()?;
    let (jobs, comparisons) = (count(judgement.jobs.into()), count(judgement.comparisons.into()));
    let finding = |finding: &Finding| {
        let job = finding.job.and_then(|id| data.jobs.iter().find(|job| job.id == id));
        FindingLine {
            href: finding.job.map_or_else(String::new, |job| format!("/jobs/{job}")),
            subject: job.map_or_else(|| finding.subject.clone(), |job| job.short.clone()),
            what: job.map_or_else(String::new, |job| {
                [model_name(job), job.backend.clone(), job.profile.clone(), job.device_name.clone()].join(" · ")
            }),
            message: finding_text(data, finding, words),
        }
    };
    Some(GatePart {
        status: if judgement.passed {
            html::tag(&status::passed(words.t("state.gate_passed")))
        } else {
            html::tag(&status::failed(words.t("state.gate_failed")))
        },
        summary: words.with("run.gate_summary", &[("jobs", &jobs), ("comparisons", &comparisons)]),
        findings: judgement.findings.iter().take(MARKED).map(finding).collect(),
        omitted: super::left(judgement.findings.len() + judgement.omitted as usize, MARKED, words),
    })
}

/// What the gate has to say of a job is what the job says of itself; the rest says it in its own reason.
fn finding_text(data: &Data, finding: &Finding, words: Words) -> String {
    let of = |id: JobId| data.jobs.iter().find(|job| job.id == id);
    match (finding.kind, finding.job.and_then(of), &finding.reason) {
        (FindingKind::Invalid, Some(job), _) => {
            words.with("run.finding_invalid", &[("reasons", &words.reasons(&job.invalid))])
        }
        (FindingKind::Failed, Some(job), _) => words.list(&super::failure(job, words)),
        (_, _, Some(reason)) => words.reason(reason),
        (_, _, None) => finding.message.clone(),
    }
}

fn simulated(data: &Data) -> bool {
    let used = |device: &&DeviceRow| data.jobs.iter().any(|job| job.device == device.id);
    data.devices.iter().filter(used).any(|device| device.profile.simulated)
}

pub(crate) async fn page(
    State(state): State<Dashboards>,
    Path(number): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let number = parse_number(&number)?;
    let detail = match visit.setting.wanted {
        Wanted::Html => Detail::Headline,
        Wanted::Json | Wanted::Csv => Detail::Whole,
    };
    let data = read(&state, &visit, number, detail).await?;
    let moments = &visit.setting.moments;
    let words = moments.words;
    let title = words.with("run.title", &[("run", &run_number(number))]);
    let mut frame = Frame::new(&visit.setting, title.clone(), Nav::Runs).simulated(simulated(&data));
    frame.full = data.run.counts.total() > 60;
    frame.live = (data.run.state == RunState::Running).then(|| visit.setting.link_to(&format!("/runs/{number}/live")));
    for format in export::Format::ALL {
        let label = match format {
            export::Format::Csv => "CSV",
            export::Format::Json => "JSON",
            export::Format::Parquet => "Parquet",
            export::Format::Junit => "JUnit",
        };
        frame.exports.push((label, format!("/runs/{number}/export.{}", format.ending())));
    }
    let Parts { head, matrix, now, rows: _ } = parts(&data, &visit, &frame)?;
    visit.answer(
        &data,
        Some(&|| {
            String::from_utf8_lossy(&export::run(export::Format::Csv, &to_export(&data)).unwrap_or_default())
                .into_owned()
        }),
        || Page {
            crumb: vec![
                title,
                words.with("run.crumb_suite", &[("suite", &data.run.suite)]),
                words.with(
                    "run.crumb_started",
                    &[("time", &moments.clock(data.run.created_at)), ("by", &data.run.created_by)],
                ),
            ],
            head,
            matrix,
            now,
            misfits: data.misfits.iter().take(LISTED).cloned().collect(),
            misfits_left: super::left(data.misfits.len(), LISTED, words),
            jobs: jobs(&data.jobs, &data.numbers, &visit.setting),
            number,
            suite_text: data.run.suite_text.clone(),
            rerun_of: data.run.rerun_of.map(|job| (format!("/jobs/{job}"), job.short())),
            frame: &frame,
        },
    )
}

/// `611` and `0611` are the same run.
pub(crate) fn parse_number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::NotFound { what: "gone.run", id: text.chars().take(40).collect() })
}

fn to_export(data: &Data) -> RunExport {
    let job = |job: &JobRow| JobExport {
        job: job.clone(),
        metrics: data.numbers.get(&job.id).map(|numbers| numbers.all().cloned().collect()).unwrap_or_default(),
    };
    RunExport { run: data.run.clone(), jobs: data.jobs.iter().map(job).collect(), misfits: data.misfits.clone() }
}

/// `/runs/{number}/export.{ending}`, what the models answered as
/// `predictions.{ending}` and `outputs.{ending}`, and the matrix as `matrix.html`.
pub(crate) async fn export(
    State(state): State<Dashboards>,
    Path((number, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Failure> {
    let number = parse_number(&number)?;
    let unknown = || Failure::NotFound { what: "gone.export", id: name.chars().take(40).collect() };
    if name == "matrix.html" {
        return super::compat::export(&state, &visit, number).await;
    }
    if let Some(asked) = export::examples::Asked::parse(&name) {
        return super::examples::of_run(&state, &visit, number, asked).await;
    }
    let format: export::Format = name.strip_prefix("export.").ok_or_else(unknown)?.parse().map_err(|_| unknown())?;
    let data = read(&state, &visit, number, Detail::Whole).await?;
    let export = to_export(&data);
    let bytes = tokio::task::spawn_blocking(move || export::run(format, &export)).await;
    let bytes = bytes
        .map_err(|error| Failure::Conflict(format!("the export of run {} stopped: {error}", run_number(number))))??;
    Ok(file(&format!("run-{}.{}", run_number(number), format.ending()), format.mime(), bytes))
}

#[derive(Deserialize)]
pub(crate) struct CsrfForm {
    pub(crate) csrf: String,
}

pub(crate) async fn cancel(
    State(state): State<Dashboards>,
    Path(number): Path<String>,
    visit: Visit,
    Form(form): Form<CsrfForm>,
) -> Result<Response, Failure> {
    visit.check_csrf(&form.csrf)?;
    let number = parse_number(&number)?;
    let run = state.read.run_by_number(visit.viewer.project, number).await?;
    let run = run.ok_or_else(|| Failure::NotFound { what: "gone.run", id: run_number(number) })?;
    state.actions.cancel(&visit.viewer, run.id).await?;
    Ok(Redirect::to(&format!("/runs/{number}")).into_response())
}

impl Data {
    pub(crate) fn state(&self) -> RunState {
        self.run.state
    }
}
