//! The first page: the newest run in one sentence, the state of the fleet, the way on.

use axum::extract::State;
use axum::response::Response;
use seatrial_core::store::{DeviceRow, RunRow, RunState};
use serde::Serialize;

use super::fleet::{Fleet, Person, fleet};
use super::present::Present;
use super::runs::{RunLine, run_line, sentence};
use crate::Dashboards;
use crate::eta;
use crate::failure::Failure;
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::status;
use crate::visit::Visit;

/// Runs that the first page lists.
const RECENT: u32 = 8;

#[derive(Serialize)]
struct Data {
    runs: Vec<RunRow>,
    devices: Vec<DeviceRow>,
    /// Devices with an open session.
    online: usize,
}

#[derive(askama::Template)]
#[template(path = "pages/home.html")]
struct Page {
    frame: Frame,
    tag: Html,
    sentence: String,
    sub: String,
    /// Number of the newest run.
    newest: Option<i64>,
    fleet_sentence: String,
    persons: Vec<Person>,
    waiting: usize,
    counts: Vec<(Html, usize)>,
    runs: Vec<RunLine>,
    /// The command that starts what is missing.
    command: Option<String>,
}

pub(crate) async fn page(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let devices = state.read.devices().await?;
    let runs = state.read.runs(visit.viewer.project, None, RECENT).await?;
    let newest = runs.first().cloned();
    let estimate = match &newest {
        Some(run) if run.state == RunState::Running => {
            eta::estimate(&state.read.jobs(run.id).await?, visit.setting.moments.now)
        }
        Some(_) | None => None,
    };
    let moments = &visit.setting.moments;
    let words = moments.words;
    let present = Present::read(&state, &devices).await?;
    let fleet = fleet(&present, devices, moments);
    let online = fleet.online;
    let data = Data { runs, devices: fleet.devices.clone(), online };
    visit.answer(&data, None, || {
        let Fleet { persons, waiting, counts, sentence: fleet_sentence, simulated, .. } = fleet;
        let (sentence, command, tag) = match &newest {
            _ if data.devices.is_empty() && newest.is_none() => (
                words.t("home.no_fleet").into_owned(),
                Some(super::fleet::join_command(&visit.setting)),
                Html::default(),
            ),
            None => (words.t("home.no_run").into_owned(), Some("seatrial run suite.toml".to_owned()), Html::default()),
            Some(run) => (sentence(run, estimate, moments), None, html::tag(&status::run(run, words))),
        };
        let sub = newest.as_ref().map_or_else(String::new, |run| {
            words.with(
                "home.sub",
                &[
                    ("run", &super::run_number(run.number)),
                    ("suite", &run.suite),
                    ("when", &moments.relative(run.created_at)),
                    ("by", &run.created_by),
                ],
            )
        });
        Page {
            frame: Frame::new(&visit.setting, words.t("nav.home").into_owned(), Nav::Home)
                .with_exports(&visit.setting, false)
                .simulated(simulated),
            tag,
            sentence,
            sub,
            newest: newest.map(|run| run.number),
            fleet_sentence,
            persons,
            waiting,
            counts,
            runs: data.runs.iter().map(|run| run_line(run, moments)).collect(),
            command,
        }
    })
}
