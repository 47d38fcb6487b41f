//! A new run: choose, see the suite file that this makes and what it would do, start. A GET chooses and previews, a
//! POST checks or starts the text as it stands, so that it may be edited first; both work without script.

use std::collections::BTreeSet;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use seatrial_core::role::Role;
use seatrial_core::selector::Selector;
use seatrial_core::store::{DatasetRow, DeviceRow, MisfitRow, ModelRow};
use seatrial_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::suite::{self, Choice};
use crate::Dashboards;
use crate::actions::{ActionError, Preview, PreviewJob, SuiteProblem};
use crate::failure::Failure;
use crate::format::count;
use crate::frame::{Frame, Nav};
use crate::i18n::Words;
use crate::visit::{Setting, Visit, json};

/// Jobs and misfits that the preview lists.
const LISTED: usize = 100;
/// A suite file is small; more than this is a mistake.
const MAX_SUITE: usize = 256 << 10;
const PROFILES: [&str; 6] = ["quick", "full", "sustained", "paced", "accuracy_only", "energy"];
const THREADS: [u16; 4] = [1, 2, 4, 8];

#[derive(Serialize)]
struct Data {
    suite: Option<String>,
    preview: Option<Preview>,
    problems: Vec<SuiteProblem>,
    models: Vec<ModelRow>,
    datasets: Vec<DatasetRow>,
    devices_matching: usize,
    devices: usize,
    selector_problem: Option<String>,
}

struct Pick {
    value: String,
    label: String,
    checked: bool,
}

struct ModelPick {
    name: String,
    latest: u32,
    variants: Vec<Pick>,
}

#[derive(askama::Template)]
#[template(path = "pages/new_run.html")]
struct Page {
    frame: Frame,
    sentence: String,
    sub: String,
    models: Vec<ModelPick>,
    datasets: Vec<Pick>,
    runtimes: Vec<Pick>,
    accelerators: Vec<Pick>,
    threads: Vec<Pick>,
    profiles: Vec<Pick>,
    selector: String,
    name: String,
    count: String,
    suite: Option<String>,
    csrf: Option<String>,
    shown: i64,
    jobs: Vec<PreviewJob>,
    jobs_left: String,
    misfits: Vec<MisfitRow>,
    misfits_left: String,
    problems: Vec<SuiteProblem>,
    previewed: bool,
}

/// What the form offers, read once.
struct Offer {
    models: Vec<ModelRow>,
    datasets: Vec<DatasetRow>,
    devices: Vec<DeviceRow>,
}

async fn offer(state: &Dashboards, visit: &Visit) -> Result<Offer, Failure> {
    Ok(Offer {
        models: state.read.models(visit.viewer.project).await?,
        datasets: state.read.datasets(visit.viewer.project).await?,
        devices: state.read.devices().await?,
    })
}

/// How many devices a selector takes; or what is wrong with it.
fn matching(devices: &[DeviceRow], selector: &str) -> Result<usize, String> {
    let selector = Selector::parse(selector).map_err(|error| match error.suggestion() {
        Some(suggestion) => format!("{error}; {suggestion}"),
        None => error.to_string(),
    })?;
    let mut taken = 0;
    for device in devices {
        taken += usize::from(selector.matches(device).map_err(|error| error.to_string())?);
    }
    Ok(taken)
}

fn count_line(devices: &[DeviceRow], selector: &str, words: Words) -> String {
    match matching(devices, selector) {
        Ok(taken) => {
            words.with("new.matching", &[("n", &count(taken as u64)), ("total", &count(devices.len() as u64))])
        }
        Err(why) => why,
    }
}

fn choice(setting: &Setting, models: &[ModelRow]) -> Choice {
    let all = |key: &str| setting.parameters(key).map(str::to_owned).collect::<Vec<_>>();
    let chosen: BTreeSet<&str> = setting.parameters("variant").collect();
    let of_model = |model: &ModelRow| {
        let variants: Vec<String> = model
            .variants
            .iter()
            .filter(|variant| chosen.contains(format!("{}/{variant}", model.name).as_str()))
            .cloned()
            .collect();
        let whole = variants.len() == model.variants.len();
        (!variants.is_empty()).then(|| (model.name.clone(), if whole { Vec::new() } else { variants }))
    };
    Choice {
        name: setting.parameter("name").unwrap_or("ad-hoc").to_owned(),
        models: models.iter().filter_map(of_model).collect(),
        datasets: all("dataset"),
        runtimes: all("runtime"),
        accelerators: all("accelerator"),
        threads: setting.parameters("threads").filter_map(|text| text.parse().ok()).collect(),
        profiles: all("profile"),
        selector: setting.parameter("devices").unwrap_or_default().to_owned(),
    }
}

pub(crate) async fn page(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let offer = offer(&state, &visit).await?;
    let choice = choice(&visit.setting, &offer.models);
    let text = (!choice.models.is_empty()).then(|| suite::text(&choice));
    answer(&state, &visit, offer, choice, text).await
}

#[derive(Deserialize)]
pub(crate) struct SuiteForm {
    csrf: String,
    /// When the form was shown, in microseconds UTC: what tells a second press of the button from a second run.
    #[serde(default)]
    shown: Option<i64>,
    suite: String,
    /// `preview` checks, anything else starts.
    #[serde(default)]
    act: String,
}

pub(crate) async fn submit(
    State(state): State<Dashboards>,
    visit: Visit,
    Form(form): Form<SuiteForm>,
) -> Result<Response, Failure> {
    visit.check_csrf(&form.csrf)?;
    if form.suite.len() > MAX_SUITE {
        return Err(Failure::Conflict(visit.setting.words.with("new.too_long", &[("n", &count(MAX_SUITE as u64))])));
    }
    let suite = form.suite.replace("\r\n", "\n");
    if form.act != "preview" {
        let run = state.actions.submit(&visit.viewer, form.shown.map(Timestamp::from_micros), &suite).await;
        match run {
            Ok(run) => return Ok(Redirect::to(&format!("/runs/{run}")).into_response()),
            // The text comes back with its problems, so that it can be mended.
            Err(ActionError::Suite(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let offer = offer(&state, &visit).await?;
    answer(&state, &visit, offer, Choice::default(), Some(suite)).await
}

/// `/runs/new/count?devices=…`: one line for the form.
pub(crate) async fn counted(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let devices = state.read.devices().await?;
    let line = count_line(&devices, visit.setting.parameter("devices").unwrap_or_default(), visit.setting.words);
    json(&serde_json::json!({ "text": line }))
}

async fn answer(
    state: &Dashboards,
    visit: &Visit,
    offer: Offer,
    choice: Choice,
    text: Option<String>,
) -> Result<Response, Failure> {
    let (preview, problems) = match &text {
        None => (None, Vec::new()),
        Some(text) => match state.actions.preview(&visit.viewer, text).await {
            Ok(preview) => (Some(preview), Vec::new()),
            Err(ActionError::Suite(problems)) => (None, problems),
            Err(error) => return Err(error.into()),
        },
    };
    let matched = matching(&offer.devices, &choice.selector);
    let data = Data {
        devices_matching: matched.as_ref().copied().unwrap_or(0),
        selector_problem: matched.err(),
        devices: offer.devices.len(),
        suite: text,
        preview,
        problems,
        models: offer.models.clone(),
        datasets: offer.datasets.clone(),
    };
    visit.answer(&data, None, || render(visit, &offer, &choice, &data))
}

fn render(visit: &Visit, offer: &Offer, choice: &Choice, data: &Data) -> Page {
    let words = visit.setting.words;
    let may_submit = visit.viewer.role.includes(Role::Submitter);
    let preview = data.preview.clone().unwrap_or_default();
    let left = |n: usize| super::left(n, LISTED, words);
    let sentence = if !data.problems.is_empty() {
        words.count("error.suite", data.problems.len() as u64, &[])
    } else if data.preview.is_some() {
        words.count(
            "new.sentence_preview",
            preview.jobs.len() as u64,
            &[("misfits", &words.count("run.misfits", preview.misfits.len() as u64, &[]))],
        )
    } else {
        words.t("new.sentence").into_owned()
    };
    Page {
        frame: Frame::new(&visit.setting, words.t("new.title").into_owned(), Nav::Runs),
        sentence,
        sub: if offer.models.is_empty() {
            words.t("model.none").into_owned()
        } else {
            words.t(if may_submit { "new.sub" } else { "new.sub_viewer" }).into_owned()
        },
        models: model_picks(offer, choice),
        datasets: offer
            .datasets
            .iter()
            .map(|dataset| Pick {
                checked: choice.datasets.contains(&dataset.name),
                label: words
                    .with("new.dataset_label", &[("name", &dataset.name), ("n", &count(dataset.examples.into()))]),
                value: dataset.name.clone(),
            })
            .collect(),
        runtimes: picks(
            offered(offer, |profile| profile.runtimes.iter().map(|offer| offer.name.clone()).collect()),
            &choice.runtimes,
        ),
        accelerators: picks(
            offered(offer, |profile| {
                profile.runtimes.iter().flat_map(|offer| &offer.accelerators).map(|a| a.as_str().to_owned()).collect()
            }),
            &choice.accelerators,
        ),
        threads: picks(
            THREADS.map(|n| n.to_string()).into(),
            &choice.threads.iter().map(u16::to_string).collect::<Vec<_>>(),
        ),
        profiles: picks(PROFILES.map(str::to_owned).into(), &choice.profiles),
        selector: choice.selector.clone(),
        name: if choice.name.is_empty() { "ad-hoc".to_owned() } else { choice.name.clone() },
        count: data.selector_problem.clone().unwrap_or_else(|| count_line(&offer.devices, &choice.selector, words)),
        suite: data.suite.clone(),
        csrf: may_submit.then(|| visit.viewer.csrf.clone()),
        shown: visit.setting.moments.now.as_micros(),
        jobs_left: left(preview.jobs.len()),
        misfits_left: left(preview.misfits.len()),
        jobs: preview.jobs.into_iter().take(LISTED).collect(),
        misfits: preview.misfits.into_iter().take(LISTED).collect(),
        problems: data.problems.clone(),
        previewed: data.preview.is_some(),
    }
}

fn model_picks(offer: &Offer, choice: &Choice) -> Vec<ModelPick> {
    let chosen = |model: &str, variant: &String| {
        choice
            .models
            .iter()
            .any(|(name, variants)| name == model && (variants.is_empty() || variants.contains(variant)))
    };
    let pick = |model: &ModelRow| ModelPick {
        name: model.name.clone(),
        latest: model.latest,
        variants: model
            .variants
            .iter()
            .map(|variant| Pick {
                value: format!("{}/{variant}", model.name),
                label: variant.clone(),
                checked: chosen(&model.name, variant),
            })
            .collect(),
    };
    offer.models.iter().map(pick).collect()
}

fn offered(offer: &Offer, of: fn(&seatrial_core::device::Profile) -> Vec<String>) -> Vec<String> {
    offer.devices.iter().flat_map(|device| of(&device.profile)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// With nothing chosen yet, the first is.
fn picks(values: Vec<String>, chosen: &[String]) -> Vec<Pick> {
    let picked = |i: usize, value: &String| if chosen.is_empty() { i == 0 } else { chosen.contains(value) };
    values
        .into_iter()
        .enumerate()
        .map(|(i, value)| Pick { checked: picked(i, &value), label: value.clone(), value })
        .collect()
}
