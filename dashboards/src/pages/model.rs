//! Models, and one of them: which variant should ship.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use axum::extract::{Path, State};
use axum::response::Response;
use seatrial_core::backend::Accelerator;
use seatrial_core::dataset::scorer;
use seatrial_core::ids::{DeviceId, JobId, RunId};
use seatrial_core::job::AttemptRef;
use seatrial_core::metric::{self, Better, Metric};
use seatrial_core::model::{Precision, SignatureStanding, TensorSpec};
use seatrial_core::store::{DeviceRow, JobRow, ModelDetail, ModelRow, VariantRow, VersionRow};
use serde::Serialize;

use super::list::{Asked, Column};
use super::paired::{self, Answered, Comparison, Line};
use super::{JobLines, Numbers, job_line, numbers_of};
use super::{against_cpu, outputs};
use crate::Dashboards;
use crate::charts::tradeoff::{self, Point};
use crate::export::csv;
use crate::failure::Failure;
use crate::format::{DASH, Moments, count, figure_name, file_size, is_share, significant};
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status::{self, Status};
use crate::visit::{Visit, encode};

/// Finished jobs that the page looks back on.
const LOOK_BACK: u32 = 200;
/// Jobs that it lists.
const LISTED: usize = 20;
/// Versions that it lists; all of them are in its JSON.
const VERSIONS: usize = 50;
/// Pairs of jobs whose answers are compared; each costs a read of two jobs' answers.
const MOST_PAIRED: usize = 20;

#[derive(Serialize)]
struct ListData {
    /// Those of this page, in the order asked for.
    models: Vec<ModelRow>,
    total: usize,
    /// Value of `after` for the next page, when there is one.
    after: Option<String>,
}

struct ModelLine {
    name: String,
    href: String,
    latest: u32,
    versions: u32,
    variants: String,
    updated: Html,
}

#[derive(askama::Template)]
#[template(path = "pages/models.html")]
struct ListPage {
    frame: Frame,
    sentence: String,
    heads: Vec<Html>,
    models: Vec<ModelLine>,
    place: String,
    first: Option<String>,
    next: Option<String>,
}

pub(crate) async fn list(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let models = state.read.models(visit.viewer.project).await?;
    let variants: usize = models.iter().map(|model| model.variants.len()).sum();
    let asked = Asked { setting: &visit.setting, anchor: "list" };
    let listing = asked.list(&list_columns(), models, |model| model.name.clone());
    let heads = listing.head_cells();
    let data = ListData { models: listing.rows, total: listing.total, after: listing.after };
    let moments = &visit.setting.moments;
    let words = moments.words;
    let table = || {
        let rows = data.models.iter().map(|model| {
            vec![
                model.name.clone(),
                model.latest.to_string(),
                model.versions.to_string(),
                model.variants.join(" "),
                model.updated_at.as_micros().to_string(),
            ]
        });
        csv::write(&["name", "latest", "versions", "variants", "updated_us"], rows)
    };
    visit.answer(&data, Some(&table), || ListPage {
        frame: Frame::new(&visit.setting, words.t("nav.models").into_owned(), Nav::Models)
            .with_exports(&visit.setting, true),
        sentence: if data.models.is_empty() {
            words.t("model.none").into_owned()
        } else {
            words.count("model.list_sentence", data.total as u64, &[("variants", &count(variants as u64))])
        },
        heads,
        models: data.models.iter().map(|model| model_line(model, moments)).collect(),
        place: listing.place,
        first: listing.first,
        next: listing.next,
    })
}

fn list_columns() -> Vec<Column<'static, ModelRow>> {
    vec![
        Column::text("name", "col.model", |model: &ModelRow| model.name.clone()),
        Column::text("variants", "col.variants", |model: &ModelRow| model.variants.join(", ")),
        Column::number("latest", "col.latest", |model: &ModelRow| Some(f64::from(model.latest))),
        Column::number("versions", "col.versions", |model: &ModelRow| Some(f64::from(model.versions))),
        Column::moment("changed", "col.changed", |model: &ModelRow| model.updated_at),
    ]
}

fn model_line(model: &ModelRow, moments: &Moments) -> ModelLine {
    ModelLine {
        name: model.name.clone(),
        href: format!("/models/{}", encode(&model.name)),
        latest: model.latest,
        versions: model.versions,
        variants: model.variants.join(", "),
        updated: html::ago(model.updated_at, moments),
    }
}

/// The newest result of a variant on a backend of one device, whether it passed or not.
#[derive(Debug, Clone, Serialize)]
struct Best {
    job: JobRow,
    metrics: Vec<Metric>,
    size_bytes: u64,
}

#[derive(Serialize)]
struct Data {
    model: ModelDetail,
    /// The device whose results are compared.
    device: Option<DeviceRow>,
    results: Vec<Best>,
    /// Results on the same examples, each against the variant of the highest precision and against the version before.
    paired: Vec<Comparison>,
    /// Of every device that has tried an accelerator.
    against_cpu: Vec<against_cpu::Pair>,
    /// Of every device whose outputs were compared with references.
    outputs: Vec<outputs::Compared>,
    jobs: Vec<JobRow>,
    #[serde(skip)]
    numbers: HashMap<JobId, Numbers>,
    #[serde(skip)]
    devices: Vec<(DeviceId, String)>,
}

struct ResultLine {
    variant: String,
    href: String,
    backend: String,
    profile: String,
    size: String,
    load: Html,
    p50: Html,
    accuracy: Html,
    memory: Html,
    factor: String,
    worth: String,
    front: bool,
    status: Html,
}

struct VariantLine {
    name: String,
    format: &'static str,
    precision: &'static str,
    size: String,
    /// Name; role and digest.
    files: Vec<(String, String)>,
    standing: Html,
    inputs: String,
    outputs: String,
}

struct VersionLine {
    number: u32,
    aliases: String,
    parent: String,
    commit: String,
    by: String,
    when: Html,
    variants: String,
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
    devices: Vec<Facet>,
    chart: Html,
    chart_absent: String,
    accuracy_head: String,
    results: Vec<ResultLine>,
    paired: Vec<Line>,
    against_cpu: Vec<against_cpu::Line>,
    outputs: Vec<outputs::Line>,
    variants: Vec<VariantLine>,
    versions: Vec<VersionLine>,
    versions_left: String,
    aliases: Vec<(String, u32, Html, String)>,
    facts: Vec<(String, String)>,
    jobs: JobLines,
}

async fn read(state: &Dashboards, visit: &Visit, name: &str) -> Result<Data, Failure> {
    let gone = || Failure::NotFound { what: "gone.model", id: name.chars().take(80).collect() };
    let model = state.read.model(visit.viewer.project, name).await?.ok_or_else(gone)?;
    let jobs = state.read.model_jobs(visit.viewer.project, name, LOOK_BACK).await?;
    let mut devices: Vec<(DeviceId, String)> = Vec::new();
    for job in &jobs {
        if !devices.iter().any(|(id, _)| *id == job.device) {
            devices.push((job.device, job.device_name.clone()));
        }
    }
    devices.sort_by(|a, b| a.1.cmp(&b.1));
    let asked = visit.setting.parameter("device").and_then(|text| text.parse::<DeviceId>().ok());
    let busiest = jobs.first().map(|job| job.device);
    let chosen = asked.filter(|id| devices.iter().any(|(known, _)| known == id)).or(busiest);
    let device = match chosen {
        Some(id) => state.read.device(id).await?,
        None => None,
    };
    let newest = model.versions.first().map_or(0, |version| version.number);
    let results = results(state, &model, &jobs, chosen, newest).await?;
    let numbers = numbers_of(state, jobs.get(..LISTED).unwrap_or(&jobs)).await?;
    let paired = pair(state, &model, &results, &jobs).await?;
    let against_cpu = against_cpu::read(state, &jobs, newest).await?;
    let outputs = outputs::read(state, &jobs, newest).await?;
    Ok(Data { model, device, results, paired, against_cpu, outputs, jobs, numbers, devices })
}

/// The newest job of each variant, backend and profile of the newest version that says something of them, with its metrics.
/// One that failed tonight hides what passed last week. The metrics of a run come in one read.
async fn results(
    state: &Dashboards,
    model: &ModelDetail,
    jobs: &[JobRow],
    device: Option<DeviceId>,
    version: u32,
) -> Result<Vec<Best>, Failure> {
    let mut newest: BTreeMap<(String, String, String, Option<String>), &JobRow> = BTreeMap::new();
    for job in jobs.iter().filter(|job| Some(job.device) == device && job.version == version) {
        if job.outcome.is_some_and(status::is_of_the_model) {
            newest
                .entry((job.variant.clone(), job.backend.clone(), job.profile.clone(), job.dataset.clone()))
                .or_insert(job);
        }
    }
    let mut of_run: HashMap<RunId, HashMap<_, Numbers>> = HashMap::new();
    let mut results = Vec::with_capacity(newest.len());
    for job in newest.into_values() {
        let size =
            model.versions.iter().flat_map(|version| &version.variants).find(|variant| variant.id == job.variant_id);
        let metrics = if newest_alone(jobs, job) {
            state.read.metrics(AttemptRef { job: job.id, attempt: job.attempt }).await?
        } else {
            if let Entry::Vacant(place) = of_run.entry(job.run) {
                place.insert(super::by_job(state.read.run_metrics(job.run).await?));
            }
            of_run
                .get(&job.run)
                .and_then(|run| run.get(&job.id))
                .map(|numbers| numbers.all().cloned().collect())
                .unwrap_or_default()
        };
        results.push(Best { job: job.clone(), metrics, size_bytes: size.map_or(0, |variant| variant.manifest.size()) });
    }
    Ok(results)
}

/// Each result against that of the variant of the highest precision on the same backend, and against the version before.
async fn pair(
    state: &Dashboards,
    model: &ModelDetail,
    results: &[Best],
    jobs: &[JobRow],
) -> Result<Vec<Comparison>, Failure> {
    // The highest precision is the first; a variant that is not of this model comes last.
    let rank = |job: &JobRow| {
        let mut variants = model.versions.iter().flat_map(|version| &version.variants);
        let variant = variants.find(|variant| variant.id == job.variant_id);
        let place = |variant: &VariantRow| Precision::ALL.iter().position(|known| *known == variant.precision);
        variant.and_then(place).unwrap_or(Precision::ALL.len())
    };
    let alike = |a: &JobRow, b: &JobRow| {
        a.dataset.is_some() && a.dataset == b.dataset && a.backend == b.backend && a.profile == b.profile
    };
    let mut pairs: Vec<(&JobRow, &JobRow)> = Vec::new();
    for Best { job, .. } in results {
        let siblings = results.iter().map(|best| &best.job).filter(|other| alike(job, other));
        let reference = siblings.min_by_key(|other| (rank(other), other.variant.clone()));
        pairs.extend(reference.filter(|reference| reference.id != job.id).map(|reference| (reference, job)));
        let earlier = jobs.iter().filter(|other| {
            other.version < job.version
                && other.device == job.device
                && other.variant == job.variant
                && alike(job, other)
                && other.outcome.is_some_and(status::has_result)
        });
        pairs.extend(earlier.max_by_key(|other| (other.version, other.created_at)).map(|earlier| (earlier, job)));
    }
    pairs.truncate(MOST_PAIRED);
    let mut answered: HashMap<JobId, Option<Answered>> = HashMap::new();
    for job in pairs.iter().flat_map(|(first, second)| [*first, *second]) {
        if let Entry::Vacant(place) = answered.entry(job.id) {
            place.insert(Answered::of(state, job, job.attempt).await?);
        }
    }
    let of = |job: &JobRow| answered.get(&job.id).and_then(Option::as_ref);
    Ok(pairs.into_iter().filter_map(|(first, second)| paired::compare(of(first)?, of(second)?)).collect())
}

/// Whether a job is the only one of its run here, so that reading the whole run would be waste.
fn newest_alone(jobs: &[JobRow], job: &JobRow) -> bool {
    jobs.iter().filter(|other| other.run == job.run).count() == 1
}

pub(super) fn accelerator(backend: &str) -> Accelerator {
    [Accelerator::Gpu, Accelerator::Npu]
        .into_iter()
        .find(|accelerator| backend.split(' ').any(|word| word == accelerator.as_str()))
        .unwrap_or(Accelerator::Cpu)
}

/// The figure of accuracy that the results have: the headline of the task of the first one that has any.
fn accuracy_metric(results: &[Best]) -> Option<String> {
    results.iter().find_map(|best| Numbers::new(best.metrics.clone()).headline().map(str::to_owned))
}

/// Points for the chart: results with a latency and a share that tells how good they are, one a variant and backend.
/// A rate of errors, or an error in a unit of its own, is no share: it stands in the table alone.
fn points(results: &[Best]) -> Vec<(usize, Point)> {
    let name = accuracy_metric(results);
    let name = name
        .as_deref()
        .filter(|name| is_share(name) && metric::kind(name).is_some_and(|kind| kind.better == Better::Higher));
    let Some(name) = name else { return Vec::new() };
    let measured =
        |best: &&Best| status::is_comparable(&best.job) && Numbers::new(best.metrics.clone()).estimate(name).is_some();
    let newest = results.iter().filter(measured).max_by_key(|best| best.job.created_at);
    let Some(dataset) = newest.map(|best| &best.job.dataset) else { return Vec::new() };
    let mut points: Vec<(usize, Point)> = Vec::new();
    let same = |a: &Best, b: &Best| a.job.variant == b.job.variant && a.job.backend == b.job.backend;
    for (i, best) in results.iter().enumerate() {
        // Two profiles of one combination are two points, which their names must tell apart.
        let twice = results.iter().filter(|other| same(best, other)).count() > 1;
        let profile = if twice { format!(", {}", best.job.profile) } else { String::new() };
        let numbers = Numbers::new(best.metrics.clone());
        let (Some(p50), Some(accuracy)) = (numbers.estimate("lat_p50_ms"), numbers.estimate(name)) else { continue };
        // A fallback is no result of its accelerator, and another dataset is another question.
        if !status::is_comparable(&best.job) || best.job.dataset != *dataset {
            continue;
        }
        points.push((
            i,
            Point {
                name: format!("{} {}{profile}", best.job.variant, best.job.backend),
                accelerator: accelerator(&best.job.backend),
                latency: p50.value,
                accuracy: accuracy.value * 100.0,
                size: best.size_bytes as f64 / 1e6,
                note: best.job.short.clone(),
            },
        ));
    }
    points
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
        let points = points(&data.results);
        let only: Vec<Point> = points.iter().map(|(_, point)| point.clone()).collect();
        let beaten = tradeoff::beaten_by(&only);
        let newest = data.model.versions.first();
        let simulated = data.device.as_ref().is_some_and(|device| device.profile.simulated);
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
            sentence: sentence(&data, &only, &beaten, words),
            sub: sub(&only, &beaten, words),
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
                tradeoff::chart(&only, (&words.t("model.axis_latency"), &accuracy_head(&data.results)), words)
            },
            accuracy_head: accuracy_head(&data.results),
            results: result_lines(&data.results, &points, &beaten, words),
            paired: data.paired.iter().map(Comparison::line).collect(),
            against_cpu: data.against_cpu.iter().map(|pair| pair.line(words)).collect(),
            outputs: data.outputs.iter().map(|compared| compared.line(words)).collect(),
            variants: newest.map(|version| variant_lines(version, words)).unwrap_or_default(),
            versions: data
                .model
                .versions
                .iter()
                .take(VERSIONS)
                .map(|version| version_line(&data.model, version, moments))
                .collect(),
            versions_left: super::left(data.model.versions.len(), VERSIONS, words),
            aliases: data
                .model
                .aliases
                .iter()
                .map(|alias| {
                    (alias.alias.clone(), alias.version, html::ago(alias.moved_at, moments), alias.moved_by.clone())
                })
                .collect(),
            facts: newest.map(|version| facts(version, words)).unwrap_or_default(),
            jobs: {
                let listed = data.jobs.iter().take(LISTED);
                let lines = listed.map(|job| job_line(job, data.numbers.get(&job.id), moments));
                JobLines { of_model: true, ..lines.collect() }
            },
        }
    })
}

/// `top-1, %`.
fn accuracy_head(results: &[Best]) -> String {
    let name = accuracy_metric(results);
    let name = name.as_deref().unwrap_or("top1");
    let unit = || results.iter().flat_map(|best| &best.metrics).find(|metric| metric.name == name).map(|it| &it.unit);
    let unit = match (is_share(name), unit()) {
        (true, _) => ", %".to_owned(),
        // In what the others of the registry are, their names say.
        (false, Some(unit)) if name.starts_with(scorer::PREFIX) && unit != "1" => format!(", {unit}"),
        (false, _) => String::new(),
    };
    format!("{}{unit}", figure_name(name))
}

/// The fastest point on the front against the most accurate one, when they differ.
fn sentence(data: &Data, points: &[Point], beaten: &[Option<usize>], words: Words) -> String {
    let device = data.device.as_ref().map_or("", |device| device.name.as_str());
    let front = || points.iter().zip(beaten).filter(|(_, rival)| rival.is_none()).map(|(point, _)| point);
    let fastest = front().min_by(|a, b| a.latency.total_cmp(&b.latency));
    let best = front().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    match fastest.zip(best) {
        Some((fastest, best)) if fastest.name != best.name => words.with(
            "model.sentence_tradeoff",
            &[
                ("device", device),
                ("fast", &fastest.name),
                ("best", &best.name),
                ("factor", &significant(best.latency / fastest.latency)),
                ("points", &crate::format::fixed(best.accuracy - fastest.accuracy, 1)),
            ],
        ),
        Some((fastest, _)) if points.len() > 1 => {
            words.with("model.sentence_single", &[("device", device), ("fast", &fastest.name)])
        }
        Some(_) | None if data.results.is_empty() => {
            words.with("model.sentence_unmeasured", &[("name", &data.model.name)])
        }
        Some(_) | None => words.count(
            "model.sentence_measured",
            data.results.len() as u64,
            &[("name", &data.model.name), ("device", device)],
        ),
    }
}

fn sub(points: &[Point], beaten: &[Option<usize>], words: Words) -> String {
    if points.len() < 2 {
        return String::new();
    }
    let front = beaten.iter().filter(|rival| rival.is_none()).count();
    let rest = points.len() - front;
    if rest == 0 {
        words.t("model.sub_all").into_owned()
    } else {
        words.with("model.sub", &[("front", &count(front as u64)), ("all", &count(points.len() as u64))])
    }
}

fn result_lines(
    results: &[Best],
    points: &[(usize, Point)],
    beaten: &[Option<usize>],
    words: Words,
) -> Vec<ResultLine> {
    let slowest = points.iter().map(|(_, point)| point.latency).fold(0.0, f64::max);
    let accuracy = accuracy_metric(results);
    let accuracy = accuracy.as_deref();
    let factor = if accuracy.is_some_and(is_share) { 100.0 } else { 1.0 };
    let line = |(i, best): (usize, &Best)| {
        let numbers = Numbers::new(best.metrics.clone());
        let cell = |name: &str, factor: f64| match numbers.get(name) {
            None => Html::trusted(DASH.to_string()),
            Some(metric) => match metric.value.present() {
                Some(estimate) => html::cell(&crate::format::in_unit(*estimate, factor), words),
                None => html::cell(&crate::format::metric(metric), words),
            },
        };
        let place = points.iter().position(|(index, _)| *index == i);
        let rival = place.and_then(|place| beaten[place]).map(|rival| points[rival].1.name.clone());
        ResultLine {
            variant: best.job.variant.clone(),
            href: format!("/jobs/{}", best.job.id),
            backend: best.job.backend.clone(),
            profile: best.job.profile.clone(),
            size: significant(best.size_bytes as f64 / 1e6),
            load: cell("load_cold_ms", 1.0),
            p50: cell("lat_p50_ms", 1.0),
            accuracy: accuracy.map_or_else(|| Html::trusted(DASH.to_string()), |name| cell(name, factor)),
            memory: cell("mem_peak_rss_mb", 1.0),
            factor: numbers
                .estimate("lat_p50_ms")
                .filter(|_| status::is_comparable(&best.job))
                .filter(|p50| slowest > 0.0 && p50.value > 0.0)
                .map_or_else(|| DASH.to_string(), |p50| format!("{} ×", significant(slowest / p50.value))),
            front: place.is_some() && rival.is_none(),
            worth: match (place, rival) {
                (None, _) => words.t("model.not_compared").into_owned(),
                (Some(_), None) => words.t("model.on_front").into_owned(),
                (Some(_), Some(rival)) => words.with("model.beaten", &[("name", &rival)]),
            },
            status: html::status(&status::job(&best.job, words)),
        }
    };
    results.iter().enumerate().map(line).collect()
}

/// `input f32 [batch, 3, 224, 224]`.
fn tensors(specs: &[TensorSpec]) -> String {
    let one = |spec: &TensorSpec| {
        let shape: Vec<String> = spec.shape.iter().map(ToString::to_string).collect();
        format!("{} {} [{}]", spec.name, spec.dtype.as_str(), shape.join(", "))
    };
    if specs.is_empty() { DASH.to_string() } else { specs.iter().map(one).collect::<Vec<_>>().join("; ") }
}

fn variant_lines(version: &VersionRow, words: Words) -> Vec<VariantLine> {
    let standing = |standing| -> Status {
        match standing {
            SignatureStanding::Claimed => status::missing(words.t("model.claimed")),
            SignatureStanding::Confirmed => status::passed(words.t("model.confirmed")),
            SignatureStanding::Refused => status::failed(words.t("model.refused")),
        }
    };
    version
        .variants
        .iter()
        .map(|variant| VariantLine {
            name: variant.name.clone(),
            format: variant.format.as_str(),
            precision: variant.precision.as_str(),
            size: file_size(variant.manifest.size()),
            files: variant
                .manifest
                .entries
                .iter()
                .map(|entry| (entry.file_name.clone(), format!("{}, b3:{}", entry.role, entry.digest.short())))
                .collect(),
            standing: html::status(&standing(variant.standing)),
            inputs: tensors(&variant.signature.inputs),
            outputs: tensors(&variant.signature.outputs),
        })
        .collect()
}

fn version_line(model: &ModelDetail, version: &VersionRow, moments: &Moments) -> VersionLine {
    let aliases: Vec<&str> = model
        .aliases
        .iter()
        .filter(|alias| alias.version == version.number)
        .map(|alias| alias.alias.as_str())
        .collect();
    VersionLine {
        number: version.number,
        aliases: aliases.join(", "),
        parent: version
            .parent
            .map_or_else(String::new, |parent| moments.words.with("model.from_version", &[("n", &parent.to_string())])),
        commit: version.commit.clone().unwrap_or_else(|| DASH.to_string()),
        by: version.created_by.clone(),
        when: html::ago(version.created_at, moments),
        variants: version.variants.iter().map(|variant| variant.name.clone()).collect::<Vec<_>>().join(", "),
    }
}

fn facts(version: &VersionRow, words: Words) -> Vec<(String, String)> {
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| words.t("model.not_stated").into_owned());
    let mut facts = vec![
        (words.t("model.origin").into_owned(), or(&version.origin)),
        (words.t("model.licence").into_owned(), or(&version.license)),
        (words.t("model.build").into_owned(), or(&version.build_address)),
    ];
    facts.extend(version.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    facts
}
