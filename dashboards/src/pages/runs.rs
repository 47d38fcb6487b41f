//! The list of runs, newest first, and the sentence that sums one up.

use axum::extract::State;
use axum::response::Response;
use seatrial_core::store::{RunRow, RunState};
use serde::Serialize;

use super::run_number;
use crate::Dashboards;
use crate::charts::progress;
use crate::eta::Eta;
use crate::export::csv;
use crate::failure::Failure;
use crate::format::{DASH, Moments, count, duration};
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::status;
use crate::visit::Visit;

/// Runs on one page.
const PAGE: u32 = 50;

/// A run in a table.
pub(crate) struct RunLine {
    pub number: i64,
    pub label: String,
    pub suite: String,
    pub status: Html,
    pub jobs: String,
    pub ok: String,
    pub failed: u32,
    pub invalid: u32,
    pub misfits: u32,
    pub progress: Html,
    pub when: Html,
    pub length: String,
    pub by: String,
}

pub(crate) fn run_line(run: &RunRow, moments: &Moments) -> RunLine {
    let words = moments.words;
    let counts = run.counts;
    let total = counts.total();
    let done = total - counts.open();
    let share = if total == 0 { 0.0 } else { f64::from(done) / f64::from(total) };
    let label = words.with("number.of", &[("k", &count(done.into())), ("n", &count(total.into()))]);
    RunLine {
        number: run.number,
        label: run_number(run.number),
        suite: run.suite.clone(),
        status: html::status(&status::run(run, words)),
        progress: if run.state == RunState::Running { progress::chart(share, &label) } else { Html::default() },
        jobs: label,
        ok: count(counts.ok.saturating_sub(counts.invalid).into()),
        failed: counts.failed + counts.quarantined,
        invalid: counts.invalid,
        misfits: counts.misfits,
        when: html::ago(run.created_at, moments),
        length: run.finished_at.map_or_else(|| DASH.to_string(), |end| duration(end.since(run.created_at), words)),
        by: run.created_by.clone(),
    }
}

/// The run in one sentence, from its counts.
pub(crate) fn sentence(run: &RunRow, eta: Option<Eta>, moments: &Moments) -> String {
    let words = moments.words;
    let counts = run.counts;
    let (total, done) = (counts.total(), counts.total() - counts.open());
    let (total_text, done_text) = (count(total.into()), count(done.into()));
    let of = [("done", done_text.as_str()), ("total", total_text.as_str())];
    match run.state {
        RunState::Running => match eta {
            Some(eta) => {
                let at = |length| moments.clock(moments.now.plus(length));
                let end = if eta.high.as_secs() < 600 {
                    format!(
                        "{} [{}{DASH}{}]",
                        duration(eta.middle, words),
                        duration(eta.low, words),
                        duration(eta.high, words)
                    )
                } else {
                    format!("{} [{}{DASH}{}]", at(eta.middle), at(eta.low), at(eta.high))
                };
                let key = if eta.high.as_secs() < 600 { "run.sentence_eta_in" } else { "run.sentence_eta" };
                words.with(key, &[of[0], of[1], ("end", &end)])
            }
            None => words.with("run.sentence_no_eta", &of),
        },
        RunState::Cancelled => {
            let ended = count((done - counts.cancelled).into());
            words.with("run.sentence_cancelled", &[("done", &ended), of[1]])
        }
        RunState::Done if total == 0 => words.t("run.sentence_nothing").into_owned(),
        RunState::Done => {
            let good = counts.ok.saturating_sub(counts.invalid);
            if good == total && counts.misfits == 0 {
                return words.count("run.sentence_all", total.into(), &[]);
            }
            let good = count(good.into());
            let trouble = words.list(&trouble(run, moments));
            if trouble.is_empty() {
                words.with("run.sentence_some", &[("ok", &good), of[1]])
            } else {
                words.with("run.sentence_trouble", &[("ok", &good), of[1], ("trouble", &trouble)])
            }
        }
    }
}

/// What of a run needs eyes, each with its number.
pub(crate) fn trouble(run: &RunRow, moments: &Moments) -> Vec<String> {
    let words = moments.words;
    let c = run.counts;
    [
        ("run.failed", c.failed),
        ("run.quarantined", c.quarantined),
        ("run.fallback", c.fallback),
        ("run.invalid", c.invalid),
        ("run.misfits", c.misfits),
    ]
    .into_iter()
    .filter(|(_, n)| *n > 0)
    .map(|(key, n)| words.count(key, n.into(), &[]))
    .collect()
}

#[derive(Serialize)]
struct Data {
    runs: Vec<RunRow>,
    /// Value of `before` for the next page, when there may be one.
    before: Option<i64>,
}

#[derive(askama::Template)]
#[template(path = "pages/runs.html")]
struct Page {
    frame: Frame,
    sentence: String,
    sub: String,
    runs: Vec<RunLine>,
    older: Option<String>,
    newest: Option<String>,
    command: Option<&'static str>,
}

pub(crate) async fn page(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let before = visit.setting.parameter("before").and_then(|text| text.parse().ok());
    let runs = state.read.runs(visit.viewer.project, before, PAGE).await?;
    let next = (runs.len() == PAGE as usize).then(|| runs.last().map(|run| run.number)).flatten();
    let data = Data { runs, before: next };
    let moments = &visit.setting.moments;
    let words = moments.words;
    visit.answer(&data, Some(&|| table(&data.runs)), || {
        let running = data.runs.iter().filter(|run| run.state == RunState::Running).count();
        let sentence = match data.runs.first() {
            None if before.is_some() => words.t("runs.no_older").into_owned(),
            None => words.t("home.no_run").into_owned(),
            Some(newest) => words.with(
                "runs.sentence",
                &[("run", &run_number(newest.number)), ("when", &moments.relative(newest.created_at))],
            ),
        };
        Page {
            frame: Frame::new(&visit.setting, words.t("nav.runs").into_owned(), Nav::Runs)
                .with_exports(&visit.setting, true),
            sentence,
            sub: if running > 0 {
                words.count("runs.running", running as u64, &[])
            } else {
                words.t("runs.none_running").into_owned()
            },
            command: data.runs.is_empty().then_some("seatrial run suite.toml"),
            runs: data.runs.iter().map(|run| run_line(run, moments)).collect(),
            newest: before.is_some().then(|| visit.setting.link("before", None)),
            older: data.before.map(|before| visit.setting.link("before", Some(&before.to_string()))),
        }
    })
}

fn table(runs: &[RunRow]) -> String {
    let head = [
        "number",
        "suite",
        "state",
        "gate_passed",
        "created_by",
        "created_us",
        "finished_us",
        "jobs",
        "ok",
        "fallback",
        "failed",
        "cancelled",
        "quarantined",
        "misfits",
        "invalid",
        "queued",
        "leased",
    ];
    let rows = runs.iter().map(|run| {
        let c = run.counts;
        let mut row = vec![
            run.number.to_string(),
            run.suite.clone(),
            run.state.as_str().to_owned(),
            run.gate_passed.map(|passed| passed.to_string()).unwrap_or_default(),
            run.created_by.clone(),
            run.created_at.as_micros().to_string(),
            run.finished_at.map(|end| end.as_micros().to_string()).unwrap_or_default(),
        ];
        row.extend(
            [
                c.total(),
                c.ok,
                c.fallback,
                c.failed,
                c.cancelled,
                c.quarantined,
                c.misfits,
                c.invalid,
                c.queued,
                c.leased,
            ]
            .map(|n| n.to_string()),
        );
        row
    });
    csv::write(&head, rows)
}
