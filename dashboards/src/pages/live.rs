//! Streams of rendered fragments. An event names what changed; the page's parts are read and rendered again, and
//! those that differ from what was sent before are sent. The stream carries no truth of its own, so a lost event costs
//! nothing but a moment.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::sse::{Event as Fragment, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use seatrial_core::ids::{ProjectId, RunId};
use seatrial_core::live::Event;
use seatrial_core::store::RunState;

use super::present::Present;
use super::readings::Readings;
use super::run::{Detail, parse_number, parts, read};
use super::{fleet, job};
use crate::Dashboards;
use crate::failure::Failure;
use crate::frame::{Frame, Nav};
use crate::html::Html;
use crate::visit::Visit;

/// Fragments of one page follow each other no faster.
const PACE: Duration = Duration::from_secs(1);
/// Without an event, ages and progress are still brought up to date.
const REFRESH: Duration = Duration::from_secs(5);

/// Readings of runs that somebody watches, by project and number.
pub(crate) type RunReadings = Readings<(ProjectId, i64), super::run::Data>;

/// What a page sends again: its parts by element id, and whether more may come.
struct Round {
    parts: Vec<(String, Html)>,
    over: bool,
    /// Made from another viewer's reading, which may be older than the event that asked for it.
    behind: bool,
}

/// `/runs/{number}/live`.
pub(crate) async fn run(
    State(state): State<Dashboards>,
    Extension(readings): Extension<RunReadings>,
    Path(number): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let number = parse_number(&number)?;
    let run = state.read.run_by_number(visit.viewer.project, number).await?;
    let run = run.ok_or_else(|| Failure::NotFound { what: "gone.run", id: super::run_number(number) })?.id;
    let concerns = move |event: &Event| concerns_run(event, run);
    let watched = readings.of((visit.viewer.project, number));
    let round = move |state: Dashboards, visit: Visit| {
        let watched = watched.clone();
        async move {
            let (data, new) = watched.read(PACE, read(&state, &visit, number, Detail::Headline)).await?;
            let frame = Frame::new(&visit.setting, String::new(), Nav::Runs);
            Ok(Round { parts: parts(&data, &visit, &frame)?.live(), over: data.is_over(), behind: !new })
        }
    };
    Ok(stream(state, visit, concerns, round))
}

fn concerns_run(event: &Event, run: RunId) -> bool {
    match event {
        Event::Job { run: changed, .. } | Event::Run(changed) => *changed == run,
        Event::Gap => true,
        Event::Device(_) => false,
    }
}

/// `/jobs/{id}/live`.
pub(crate) async fn job(
    State(state): State<Dashboards>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let wanted = job::find(&state, &visit, &id).await?.id;
    let concerns = move |event: &Event| match event {
        Event::Job { job, .. } => *job == wanted,
        Event::Gap => true,
        Event::Run(_) | Event::Device(_) => false,
    };
    let round = move |state: Dashboards, visit: Visit| async move {
        let data = job::read(&state, &visit, &wanted.to_string()).await?;
        let mut frame = Frame::new(&visit.setting, String::new(), Nav::Runs);
        frame.permalink = format!("/jobs/{wanted}");
        let parts = job::parts(&data, &visit, &frame)?;
        Ok(Round { parts: parts.map(|(id, html)| (id.to_owned(), html)).to_vec(), over: data.is_over(), behind: false })
    };
    Ok(stream(state, visit, concerns, round))
}

/// `/devices/live`.
pub(crate) async fn devices(State(state): State<Dashboards>, visit: Visit) -> Response {
    let round = |state: Dashboards, visit: Visit| async move {
        let devices = state.read.devices().await?;
        let moments = &visit.setting.moments;
        let present = Present::read(&state, &devices).await?;
        let frame = Frame::new(&visit.setting, String::new(), Nav::Fleet);
        let parts = fleet::parts(&fleet::fleet(&present, devices, moments), &present, &frame, moments)?;
        Ok(Round { parts, over: false, behind: false })
    };
    stream(state, visit, |_| true, round)
}

impl super::run::Data {
    fn is_over(&self) -> bool {
        self.state() != RunState::Running
    }
}

struct Follow<R> {
    state: Dashboards,
    visit: Visit,
    events: std::pin::Pin<Box<dyn futures::Stream<Item = Event> + Send>>,
    sent: HashMap<String, Html>,
    round: R,
    over: bool,
    first: bool,
    behind: bool,
}

fn stream<C, R, F>(state: Dashboards, visit: Visit, concerns: C, round: R) -> Response
where
    C: Fn(&Event) -> bool + Send + Sync + Clone + 'static,
    R: Fn(Dashboards, Visit) -> F + Send + 'static,
    F: Future<Output = Result<Round, Failure>> + Send,
{
    let events = state.live.events();
    let events = Box::pin(events.filter(move |event| std::future::ready(concerns(event))));
    let follow = Follow { state, visit, events, sent: HashMap::new(), round, over: false, first: true, behind: false };
    let fragments = futures::stream::unfold(follow, |mut follow| async move {
        if follow.over {
            return None;
        }
        if !follow.first {
            wait(&mut follow.events, if follow.behind { PACE } else { REFRESH }).await?;
        }
        follow.visit.setting.moments.now = follow.state.clock.now();
        let round = (follow.round)(follow.state.clone(), follow.visit.clone()).await;
        let fragments = match round {
            Ok(round) => {
                (follow.over, follow.behind) = (round.over, round.behind);
                let mut changed = changed(round.parts, &mut follow.sent, follow.first);
                if round.over {
                    changed.push(Fragment::default().event("over").data("over"));
                }
                changed
            }
            Err(error) => {
                tracing::warn!(%error, path = follow.visit.setting.path, "a stream of fragments ends");
                return None;
            }
        };
        follow.first = false;
        Some((futures::stream::iter(fragments.into_iter().map(Ok::<_, Infallible>)), follow))
    });
    Sse::new(fragments.flatten()).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

/// Until something happened or it is time to refresh, and the pace allows it. `None` when there will be no more events.
async fn wait(
    events: &mut std::pin::Pin<Box<dyn futures::Stream<Item = Event> + Send>>,
    refresh: Duration,
) -> Option<()> {
    let paced = tokio::time::Instant::now() + PACE;
    match tokio::time::timeout(refresh, events.next()).await {
        Ok(Some(_)) | Err(_) => {}
        Ok(None) => return None,
    }
    tokio::time::sleep_until(paced).await;
    // Whatever came meanwhile is covered by the same reading.
    while let Some(Some(_)) = futures::FutureExt::now_or_never(events.next()) {}
    Some(())
}

/// The parts that differ from what the reader has. The page itself is the reader's first copy, but it may be older
/// than the first reading here, so the first round sends everything.
fn changed(parts: Vec<(String, Html)>, sent: &mut HashMap<String, Html>, first: bool) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    for (id, html) in parts {
        if first || sent.get(&id) != Some(&html) {
            fragments
                .push(Fragment::default().event("fragment").id(id.clone()).data(html.as_str().replace(['\r'], "")));
        }
        sent.insert(id, html);
    }
    fragments
}
