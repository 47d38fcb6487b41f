//! Search by name or number: devices, models, datasets, runs and jobs whose name holds the text.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;

use crate::Dashboards;
use crate::failure::Failure;
use crate::frame::{Frame, Nav};
use crate::visit::{Visit, Wanted, encode};

/// Hits that are listed.
const MOST: usize = 100;

#[derive(Serialize)]
struct Hit {
    kind: String,
    name: String,
    href: String,
}

#[derive(Serialize)]
struct Data {
    query: String,
    hits: Vec<Hit>,
}

#[derive(askama::Template)]
#[template(path = "pages/search.html")]
struct Page {
    frame: Frame,
    sentence: String,
    hits: Vec<Hit>,
}

pub(crate) async fn page(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let words = visit.setting.words;
    let query: String = visit.setting.parameter("q").unwrap_or_default().trim().chars().take(100).collect();
    let hits = if query.is_empty() { Vec::new() } else { hits(&state, &visit, &query).await? };
    if let ([hit], Wanted::Html) = (hits.as_slice(), visit.setting.wanted) {
        return Ok(Redirect::to(&hit.href).into_response());
    }
    let data = Data { query, hits };
    let sentence = match (data.query.is_empty(), data.hits.len()) {
        (true, _) => words.t("search.empty").into_owned(),
        (false, 0) => words.with("search.none", &[("query", &data.query)]),
        (false, n) => words.count("search.some", n as u64, &[("query", &data.query)]),
    };
    let frame =
        Frame::new(&visit.setting, words.t("nav.search").into_owned(), Nav::None).with_exports(&visit.setting, false);
    match visit.setting.wanted {
        Wanted::Json => crate::visit::json(&data),
        Wanted::Html | Wanted::Csv => crate::visit::html(&Page { frame, sentence, hits: data.hits }),
    }
}

async fn hits(state: &Dashboards, visit: &Visit, query: &str) -> Result<Vec<Hit>, Failure> {
    let words = visit.setting.words;
    let project = visit.viewer.project;
    let wanted = query.to_lowercase();
    let matches = |name: &str| name.to_lowercase().contains(&wanted);
    let hit = |kind: &str, name: String, href: String| Hit { kind: words.t(kind).into_owned(), name, href };
    let mut hits = Vec::new();
    if let Ok(number) = query.parse::<i64>()
        && let Some(run) = state.read.run_by_number(project, number).await?
    {
        hits.push(hit(
            "gone.run",
            format!("{} · {}", super::run_number(run.number), run.suite),
            format!("/runs/{}", run.number),
        ));
    }
    let is_short = query.len() >= 4 && query.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if is_short {
        for job in state.read.jobs_by_short_id(query).await? {
            hits.push(hit(
                "gone.job",
                format!("{} · {} · {}", job.short, super::model_name(&job), job.device_name),
                format!("/jobs/{}", job.id),
            ));
        }
    }
    for device in state.read.devices().await?.into_iter().filter(|device| matches(&device.name)) {
        hits.push(hit("gone.device", device.name, format!("/devices/{}", device.id)));
    }
    for model in state.read.models(project).await?.into_iter().filter(|model| matches(&model.name)) {
        hits.push(hit("gone.model", model.name.clone(), format!("/models/{}", encode(&model.name))));
    }
    for dataset in state.read.datasets(project).await?.into_iter().filter(|dataset| matches(&dataset.name)) {
        hits.push(hit("gone.dataset", dataset.name.clone(), format!("/datasets/{}", encode(&dataset.name))));
    }
    hits.truncate(MOST);
    Ok(hits)
}
