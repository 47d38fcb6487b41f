//! The newest results of one device.

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::dataset::scorer;
use seatrial_core::energy::metrics::GRADE;
use seatrial_core::ids::DeviceId;
use seatrial_core::metric::Metric;
use seatrial_core::store::{JobRow, ModelDetail};
use serde::Serialize;

use super::super::list::PAGE;
use super::super::{Numbers, numbers_of};
use crate::Dashboards;
use crate::charts::tradeoff::Point;
use crate::failure::Failure;
use crate::format::{DASH, figure_name, is_share, significant};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

/// The newest result of a variant on a backend of one device, whether it passed or not.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Best {
    pub job: JobRow,
    pub metrics: Vec<Metric>,
    pub size_bytes: u64,
}

/// The newest job of each variant, backend, profile and dataset of a version that says something of them, with its metrics.
/// One that failed tonight hides what passed last week.
pub(super) async fn read(
    state: &Dashboards,
    model: &ModelDetail,
    jobs: &[JobRow],
    device: Option<DeviceId>,
    version: u32,
) -> Result<Vec<Best>, Failure> {
    let mut newest = BTreeMap::new();
    for job in jobs.iter().filter(|job| Some(job.device) == device && job.version == version) {
        if job.outcome.is_some_and(status::is_of_the_model) {
            newest.entry((&job.variant, &job.backend, &job.profile, &job.dataset)).or_insert(job);
        }
    }
    let newest: Vec<JobRow> = newest.into_values().cloned().collect();
    let mut numbers = numbers_of(state, &newest).await?;
    let variants = || model.versions.iter().flat_map(|version| &version.variants);
    let best = |job: JobRow| Best {
        metrics: numbers.remove(&job.id).map(Numbers::into_all).unwrap_or_default(),
        size_bytes: variants().find(|variant| variant.id == job.variant_id).map_or(0, |it| it.manifest.size()),
        job,
    };
    Ok(newest.into_iter().map(best).collect())
}

/// Whether the table must say which dataset a result is of.
pub(super) fn several_datasets(results: &[Best]) -> bool {
    results.iter().map(|best| &best.job.dataset).collect::<BTreeSet<_>>().len() > 1
}

pub(super) struct ResultLine {
    pub variant: String,
    pub href: String,
    pub backend: String,
    pub profile: String,
    pub dataset: String,
    pub size: String,
    pub load: Html,
    pub p50: Html,
    pub accuracy: Html,
    pub memory: Html,
    /// With its grade; empty where no result of the table has any.
    pub energy: Html,
    pub factor: String,
    pub worth: String,
    pub front: bool,
    pub status: Html,
}

/// Whether the table has a column of energy.
pub(super) fn has_energy(results: &[Best]) -> bool {
    results.iter().flat_map(|best| &best.metrics).any(|metric| metric.name == "energy_per_infer_mj")
}

/// The energy of an inference with what it is worth: those of different grades are never compared.
fn energy(numbers: &Numbers, cell: Html) -> Html {
    match numbers.estimate(GRADE) {
        Some(grade) => Html::trusted(format!("{cell} <small>E{:.0}</small>", grade.value)),
        None => cell,
    }
}

/// The figure of accuracy that the results have: the headline of the task of the first one that has any.
pub(super) fn accuracy_metric(results: &[Best]) -> Option<String> {
    results.iter().find_map(|best| Numbers::new(best.metrics.clone()).headline().map(str::to_owned))
}

/// `top-1, %`.
pub(super) fn accuracy_head(results: &[Best]) -> String {
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

pub(super) fn lines(
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
            dataset: best.job.dataset.clone().unwrap_or_else(|| DASH.to_string()),
            size: significant(best.size_bytes as f64 / 1e6),
            load: cell("load_cold_ms", 1.0),
            p50: cell("lat_p50_ms", 1.0),
            accuracy: accuracy.map_or_else(|| Html::trusted(DASH.to_string()), |name| cell(name, factor)),
            memory: cell("mem_peak_rss_mb", 1.0),
            energy: energy(&numbers, cell("energy_per_infer_mj", 1.0)),
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
    results.iter().enumerate().take(PAGE).map(line).collect()
}
