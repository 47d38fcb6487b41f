//! Are a model's outputs the same everywhere? Each device and backend against the same references.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::ids::DeviceId;
use seatrial_core::measure::EXACT_SQNR_DB;
use seatrial_core::store::JobRow;
use serde::Serialize;

use super::named_of;
use crate::Dashboards;
use crate::failure::Failure;
use crate::format::{self, DASH, fixed, significant, small};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

/// Results that are compared; the newest are.
const MOST: usize = 50;
const METRICS: [&str; 4] = ["golden_max_abs", "golden_cosine", "golden_sqnr_db", "golden_argmax_agree"];

/// The newest result of a variant and backend on one device, against the references of one dataset.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compared {
    pub job: JobRow,
    /// Processor and C library of the device.
    pub abi: String,
    pub max_abs: Option<f64>,
    pub cosine: Option<f64>,
    /// [`EXACT_SQNR_DB`] where nothing differs.
    pub sqnr_db: Option<f64>,
    pub argmax_agree: Option<f64>,
}

/// Of the jobs of one version, which are given newest first, those that were compared with references.
pub(crate) async fn read(state: &Dashboards, jobs: &[JobRow], version: u32) -> Result<Vec<Compared>, Failure> {
    let mut seen = BTreeSet::new();
    let ended = jobs.iter().filter(|job| job.version == version && job.outcome.is_some() && job.dataset.is_some());
    let newest = ended.filter(|job| seen.insert((&job.dataset, &job.variant, job.device, &job.backend)));
    let newest: Vec<&JobRow> = newest.take(MOST).collect();

    let numbers = named_of(state, newest.iter().copied(), &METRICS).await?;
    let mut abis: BTreeMap<DeviceId, String> = BTreeMap::new();
    let mut compared = Vec::new();
    for job in newest {
        let Some(numbers) = numbers.get(&job.id) else { continue };
        let [max_abs, cosine, sqnr_db, argmax_agree] =
            METRICS.map(|name| numbers.estimate(name).map(|estimate| estimate.value));
        if max_abs.is_none() {
            continue;
        }
        let abi = match abis.entry(job.device) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let device = state.read.device(job.device).await?;
                place.insert(device.map(|device| device.profile.abi).unwrap_or_default()).clone()
            }
        };
        compared.push(Compared { job: job.clone(), abi, max_abs, cosine, sqnr_db, argmax_agree });
    }
    compared.sort_by(|a, b| {
        let key = |one: &Compared| (one.job.dataset.clone(), one.job.variant.clone(), one.job.device_name.clone());
        key(a).cmp(&key(b)).then_with(|| a.job.backend.cmp(&b.job.backend))
    });
    Ok(compared)
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
    pub status: Html,
}

impl Compared {
    pub(crate) fn line(&self, words: Words) -> Line {
        let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| DASH.to_string(), show);
        let decibels = |value: f64| if value >= EXACT_SQNR_DB { "∞".to_owned() } else { significant(value) };
        let Self { job, abi, max_abs, cosine, sqnr_db, argmax_agree } = self;
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
            status: html::status(&status::job(job, words)),
        }
    }
}
