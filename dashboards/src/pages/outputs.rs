//! Are a model's outputs the same everywhere? Each device and backend against the same references, and against the outputs
//! of one device.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::dataset::Task;
use seatrial_core::ids::{DeviceId, ProjectId};
use seatrial_core::measure::EXACT_SQNR_DB;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::store::JobRow;
use serde::Serialize;

use super::between::{self, Apart};
use super::list::PAGE;
use super::named_of;
use crate::Dashboards;
use crate::failure::Failure;
use crate::format::{self, DASH, count, fixed, significant, small};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

const METRICS: [&str; 4] = ["golden_max_abs", "golden_cosine", "golden_sqnr_db", "golden_argmax_agree"];

/// The newest result of a variant and backend on one device, against the references of one dataset.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compared {
    pub job: JobRow,
    /// Processor and C library of the device.
    pub abi: String,
    /// Absent, as the others, where the job gave no outputs.
    pub max_abs: Option<f64>,
    pub cosine: Option<f64>,
    /// [`EXACT_SQNR_DB`] where nothing differs.
    pub sqnr_db: Option<f64>,
    pub argmax_agree: Option<f64>,
    pub apart: Apart,
}

/// Of the jobs of one version, which are given newest first, those on datasets that have references. A job that failed
/// stands there as failed. The rows of the chosen device come first.
pub(crate) async fn read(
    state: &Dashboards,
    project: ProjectId,
    jobs: &[JobRow],
    version: u32,
    chosen: Option<DeviceId>,
) -> Result<Vec<Compared>, Failure> {
    let mut seen = BTreeSet::new();
    let says = |job: &&JobRow| job.version == version && job.outcome.is_some_and(status::is_of_the_model);
    let newest = jobs.iter().filter(says).filter(|job| job.dataset.is_some());
    let newest = newest.filter(|job| seen.insert((&job.dataset, &job.variant, job.device, &job.backend)));
    let newest: Vec<&JobRow> = newest.collect();

    let numbers = named_of(state, newest.iter().copied(), &METRICS).await?;
    let is_compared = |job: &JobRow| numbers.get(&job.id).is_some_and(|numbers| numbers.get(METRICS[0]).is_some());
    let with_references = datasets_with_references(state, project, &newest, is_compared).await?;
    let mut abis: BTreeMap<DeviceId, String> = BTreeMap::new();
    let mut compared = Vec::new();
    for job in newest {
        if job.dataset.as_ref().is_none_or(|dataset| !with_references.contains(dataset)) {
            continue;
        }
        let of_job = numbers.get(&job.id);
        let [max_abs, cosine, sqnr_db, argmax_agree] =
            METRICS.map(|name| of_job.and_then(|numbers| numbers.estimate(name)).map(|estimate| estimate.value));
        let abi = match abis.entry(job.device) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let device = state.read.device(job.device).await?;
                place.insert(device.map(|device| device.profile.abi).unwrap_or_default()).clone()
            }
        };
        let apart = Apart::Absent(Reason::new(Code::NotAmongFirst, &[("rows", &PAGE)]));
        compared.push(Compared { job: job.clone(), abi, max_abs, cosine, sqnr_db, argmax_agree, apart });
    }
    compared.sort_by(|a, b| {
        let key = |one: &Compared| (one.job.dataset.clone(), one.job.variant.clone(), one.job.device_name.clone());
        key(a).cmp(&key(b)).then_with(|| a.job.backend.cmp(&b.job.backend))
    });
    let references = between::references(&compared);
    let mut rows: Vec<_> = compared.into_iter().zip(references).collect();
    rows.sort_by_key(|(row, _)| Some(row.job.device) != chosen);
    let (mut compared, references): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let first = compared.len().min(PAGE);
    between::compare(state, &mut compared[..first], &references[..first]).await?;
    Ok(compared)
}

/// Of the datasets of these jobs. One of golden outputs has references even if every job on it failed.
async fn datasets_with_references(
    state: &Dashboards,
    project: ProjectId,
    jobs: &[&JobRow],
    is_compared: impl Fn(&JobRow) -> bool,
) -> Result<BTreeSet<String>, Failure> {
    let of_jobs = jobs.iter().filter(|job| is_compared(job)).filter_map(|job| job.dataset.clone());
    let mut known: BTreeSet<String> = of_jobs.collect();
    if jobs.iter().any(|job| job.dataset.as_ref().is_some_and(|dataset| !known.contains(dataset))) {
        let datasets = state.read.datasets(project).await?;
        known.extend(datasets.into_iter().filter(|it| it.task == Task::Golden).map(|it| it.name));
    }
    Ok(known)
}

/// A result in a table.
pub(crate) struct Line {
    pub dataset: String,
    pub variant: String,
    pub device: String,
    pub abi: String,
    pub href: String,
    pub backend: String,
    pub max_abs: String,
    pub cosine: String,
    pub sqnr: String,
    pub argmax: String,
    /// Largest difference to the reference device, or why there is none; and what is to be said of it.
    pub apart: Html,
    pub apart_note: String,
    pub status: Html,
}

impl Compared {
    pub(crate) fn line(&self, words: Words) -> Line {
        let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| DASH.to_string(), show);
        let decibels = |value: f64| if value >= EXACT_SQNR_DB { "∞".to_owned() } else { significant(value) };
        let Self { job, abi, max_abs, cosine, sqnr_db, argmax_agree, apart } = self;
        let (apart, apart_note) = match apart {
            Apart::Reference => (Html::trusted(html::escape(&words.t("model.is_reference"))), String::new()),
            Apart::Absent(why) => (html::dash(&words.reason(why)), String::new()),
            Apart::From { device, backend, difference, job: _ } => {
                let cosine = difference.cosine.map(|it| format!("cos {}", format::cosine(it)));
                let mut note: Vec<String> = cosine.into_iter().collect();
                note.push(words.with("model.apart_from", &[("device", device), ("backend", backend)]));
                if difference.not_finite > 0 {
                    note.push(words.with("model.not_finite", &[("n", &count(difference.not_finite))]));
                }
                (Html::trusted(html::escape(&shown(difference.max_abs, small))), note.join(" · "))
            }
        };
        Line {
            dataset: job.dataset.clone().unwrap_or_default(),
            variant: job.variant.clone(),
            device: job.device_name.clone(),
            abi: abi.clone(),
            href: format!("/jobs/{}", job.id),
            backend: job.backend.clone(),
            max_abs: shown(*max_abs, small),
            cosine: shown(*cosine, format::cosine),
            sqnr: shown(*sqnr_db, decibels),
            argmax: shown(*argmax_agree, |share| format!("{} %", fixed(share * 100.0, 1))),
            apart,
            apart_note,
            status: html::status(&status::job(job, words)),
        }
    }
}
