//! A model: which variant should ship, and where it fails.

mod failures;
mod front;
mod pairs;
mod results;
mod versions;

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::response::Response;
use seatrial_core::ids::{DeviceId, JobId};
use seatrial_core::store::{DeviceRow, JobRow, ModelDetail};
use serde::Serialize;

use self::failures::Failing;
use self::pairs::Pairs;
use self::results::{Best, ResultLine};
use self::versions::{VariantLine, VersionLine};
use super::list::PAGE;
use super::paired::{self, Comparison};
use super::{JobLines, Numbers, against_cpu, job_line, left, numbers_of, outputs};
use crate::Dashboards;
use crate::charts::tradeoff::{self, Point};
use crate::failure::Failure;
use crate::format::count;
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::visit::Visit;

/// Finished jobs that the page looks back on: more than a night of a hundred devices with twelve backends.
const LOOK_BACK: usize = 2000;
/// Jobs that it lists.
const LISTED: usize = 20;
/// Versions that it lists; all of them are in its JSON.
const VERSIONS: usize = 50;

#[derive(Serialize)]
struct Data {
    model: ModelDetail,
    /// The device whose results are compared.
    device: Option<DeviceRow>,
    results: Vec<Best>,
    #[serde(flatten)]
    pairs: Pairs,
    /// Of every device that has tried an accelerator.
    against_cpu: Vec<against_cpu::Pair>,
    /// Of every device that ran a dataset with references.
    outputs: Vec<outputs::Compared>,
    failures: Vec<Failing>,
    jobs: Vec<JobRow>,
    /// There are jobs before those, and nothing here is made from them.
    older_jobs: bool,
    #[serde(skip)]
    numbers: HashMap<JobId, Numbers>,
    #[serde(skip)]
    devices: Vec<(DeviceId, String)>,
}

struct Facet {
    label: String,
    href: String,
    current: bool,
}

#[derive(askama::Template)]
#[template(path = "pages/model.html")]
struct Page {
    frame: Frame,
    name: String,
    crumb: String,
    sentence: String,
    sub: String,
    looked_back: String,
    devices: Vec<Facet>,
    chart: Html,
    chart_absent: String,
    failures: Vec<failures::Line>,
    failures_left: String,
    accuracy_head: String,
    several_datasets: bool,
    has_energy: bool,
    results: Vec<ResultLine>,
    results_left: String,
    paired: Vec<paired::Line>,
    paired_left: Vec<String>,
    against_cpu: Vec<against_cpu::Line>,
    against_cpu_left: String,
    outputs: Vec<outputs::Line>,
    outputs_left: String,
    variants: Vec<VariantLine>,
    versions: Vec<VersionLine>,
    versions_left: String,
    aliases: Vec<(String, u32, Html, String)>,
    facts: Vec<(String, String)>,
    jobs: JobLines,
    jobs_left: String,
}

async fn read(state: &Dashboards, visit: &Visit, name: &str) -> Result<Data, Failure> {
    let gone = || Failure::NotFound { what: "gone.model", id: name.chars().take(80).collect() };
    let project = visit.viewer.project;
    let model = state.read.model(project, name).await?.ok_or_else(gone)?;
    let mut jobs = state.read.model_jobs(project, name, LOOK_BACK as u32 + 1).await?;
    let older_jobs = jobs.len() > LOOK_BACK;
    jobs.truncate(LOOK_BACK);
    let names: HashMap<DeviceId, &String> = jobs.iter().map(|job| (job.device, &job.device_name)).collect();
    let mut devices: Vec<(DeviceId, String)> = names.into_iter().map(|(id, name)| (id, name.clone())).collect();
    devices.sort_by(|a, b| a.1.cmp(&b.1));
    let asked = visit.setting.parameter("device").and_then(|text| text.parse::<DeviceId>().ok());
    let of_newest_job = jobs.first().map(|job| job.device);
    let chosen = asked.filter(|id| devices.iter().any(|(known, _)| known == id)).or(of_newest_job);
    let device = match chosen {
        Some(id) => state.read.device(id).await?,
        None => None,
    };
    let newest = model.versions.first().map_or(0, |version| version.number);
    let results = results::read(state, &model, &jobs, chosen, newest).await?;
    let numbers = numbers_of(state, jobs.get(..LISTED).unwrap_or(&jobs)).await?;
    let pairs = pairs::read(state, &model, &results, &jobs).await?;
    let against_cpu = against_cpu::read(state, &jobs, newest, chosen).await?;
    let outputs = outputs::read(state, project, &jobs, newest, chosen).await?;
    let failures = failures::of(&jobs, newest);
    Ok(Data { model, device, results, pairs, against_cpu, outputs, failures, jobs, older_jobs, numbers, devices })
}

pub(crate) async fn page(
    State(state): State<Dashboards>,
    Path(name): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let data = read(&state, &visit, &name).await?;
    let moments = &visit.setting.moments;
    let words = moments.words;
    visit.answer(&data, None, || {
        let points = front::points(&data.results);
        let only: Vec<Point> = points.iter().map(|(_, point)| point.clone()).collect();
        let beaten = tradeoff::beaten_by(&only);
        let newest = data.model.versions.first();
        let simulated = data.device.as_ref().is_some_and(|device| device.profile.simulated);
        let accuracy_head = results::accuracy_head(&data.results);
        Page {
            frame: Frame::new(&visit.setting, data.model.name.clone(), Nav::Models)
                .with_exports(&visit.setting, false)
                .simulated(simulated),
            name: data.model.name.clone(),
            crumb: newest.map_or_else(String::new, |version| {
                words.with(
                    "model.crumb",
                    &[("n", &version.number.to_string()), ("when", &moments.relative(version.created_at))],
                )
            }),
            sentence: front::sentence(&data, &only, &beaten, words),
            sub: front::sub(&only, &beaten, words),
            looked_back: if data.older_jobs {
                words.with("model.looked_back", &[("n", &count(LOOK_BACK as u64))])
            } else {
                String::new()
            },
            devices: data
                .devices
                .iter()
                .map(|(id, name)| Facet {
                    label: name.clone(),
                    href: visit.setting.link("device", Some(&id.to_string())),
                    current: data.device.as_ref().is_some_and(|device| device.id == *id),
                })
                .collect(),
            chart_absent: if only.len() < 2 { words.t("model.chart_absent").into_owned() } else { String::new() },
            chart: if only.len() < 2 {
                Html::default()
            } else {
                tradeoff::chart(&only, (&words.t("model.axis_latency"), &accuracy_head), words)
            },
            failures: data.failures.iter().take(PAGE).map(|device| device.line(&visit.setting, moments)).collect(),
            failures_left: left(data.failures.len(), PAGE, words),
            accuracy_head,
            several_datasets: results::several_datasets(&data.results),
            has_energy: results::has_energy(&data.results),
            results: results::lines(&data.results, &points, &beaten, words),
            results_left: left(data.results.len(), PAGE, words),
            paired: data.pairs.paired.iter().map(|paired: &Comparison| paired.line(words)).collect(),
            paired_left: data.pairs.left(words),
            against_cpu: data.against_cpu.iter().take(PAGE).map(|pair| pair.line(words)).collect(),
            against_cpu_left: of_all_devices_left(data.against_cpu.len(), words),
            outputs: data.outputs.iter().take(PAGE).map(|compared| compared.line(words)).collect(),
            outputs_left: of_all_devices_left(data.outputs.len(), words),
            variants: newest.map(|version| versions::variant_lines(version, words)).unwrap_or_default(),
            versions: data
                .model
                .versions
                .iter()
                .take(VERSIONS)
                .map(|version| versions::version_line(&data.model, version, moments))
                .collect(),
            versions_left: left(data.model.versions.len(), VERSIONS, words),
            aliases: data
                .model
                .aliases
                .iter()
                .map(|alias| {
                    (alias.alias.clone(), alias.version, html::ago(alias.moved_at, moments), alias.moved_by.clone())
                })
                .collect(),
            facts: newest.map(|version| versions::facts(version, words)).unwrap_or_default(),
            jobs: {
                let listed = data.jobs.iter().take(LISTED);
                let lines = listed.map(|job| job_line(job, data.numbers.get(&job.id), moments));
                JobLines { of_model: true, ..lines.collect() }
            },
            jobs_left: left(data.jobs.len(), LISTED, words),
        }
    })
}

/// What a card of every device leaves out. Another device's rows come first once it is chosen.
fn of_all_devices_left(total: usize, words: Words) -> String {
    match left(total, PAGE, words) {
        left if left.is_empty() => left,
        left => words.sentences(&[left, words.t("model.choose_device").into_owned()]),
    }
}
