//! Does an accelerator pay? For each device that has tried one: its newest result beside the CPU's.

use std::collections::BTreeMap;

use seatrial_core::backend::Accelerator;
use seatrial_core::ids::DeviceId;
use seatrial_core::metric::Estimate;
use seatrial_core::model::Precision;
use seatrial_core::store::JobRow;
use serde::Serialize;

use super::{accelerator, named_of};
use crate::Dashboards;
use crate::failure::Failure;
use crate::format::{DASH, significant};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

const LATENCY: &str = "lat_p50_ms";

/// One variant on one device, by one profile.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Pair {
    /// The fastest backend on the CPU, by its newest job; absent when none has a latency.
    pub cpu: Option<Timed>,
    /// The same of one accelerator; where none has a latency, the newest that was tried.
    pub accelerated: Tried,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Timed {
    pub job: JobRow,
    pub p50: Estimate,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tried {
    pub job: JobRow,
    pub p50: Option<Estimate>,
}

impl Pair {
    /// How many times as fast the accelerator is. Only where both numbers are valid and the accelerator really ran it.
    pub(crate) fn factor(&self) -> Option<f64> {
        let Timed { job, p50: cpu } = self.cpu.as_ref()?;
        let Tried { job: other, p50 } = &self.accelerated;
        p50.filter(|p50| status::is_comparable(job) && status::is_comparable(other) && p50.value > 0.0)
            .map(|p50| cpu.value / p50.value)
    }
}

/// Device, variant, profile, and the precision that is asked for.
type Place<'a> = (&'a str, &'a str, &'a str, Option<Precision>);

/// Compares the jobs of one version, which are given newest first. The pairs of the chosen device come first.
pub(crate) async fn read(
    state: &Dashboards,
    jobs: &[JobRow],
    version: u32,
    chosen: Option<DeviceId>,
) -> Result<Vec<Pair>, Failure> {
    // Of one profile: a long run in the heat is no match for a short one. And of one precision.
    let mut newest: BTreeMap<Place<'_>, BTreeMap<&str, &JobRow>> = BTreeMap::new();
    // What somebody ended, or the lab, says nothing of either, and hides nothing.
    let says = |job: &&JobRow| job.version == version && job.outcome.is_some_and(status::is_of_the_model);
    for job in jobs.iter().filter(says) {
        let asked = job.backend.split(' ').find_map(|word| word.parse().ok());
        let place = newest.entry((&job.device_name, &job.variant, &job.profile, asked)).or_default();
        place.entry(&job.backend).or_insert(job);
    }
    newest.retain(|_, backends| backends.keys().any(|backend| accelerator(backend) != Accelerator::Cpu));
    let compared: Vec<_> = newest.into_values().collect();

    let numbers = named_of(state, compared.iter().flat_map(BTreeMap::values).copied(), &[LATENCY]).await?;
    let p50 = |job: &JobRow| numbers.get(&job.id)?.estimate(LATENCY);
    let pairs = compared.iter().flat_map(|backends| {
        let of = |wanted: Accelerator| {
            let jobs: Vec<&JobRow> =
                backends.values().copied().filter(|job| accelerator(&job.backend) == wanted).collect();
            let timed = jobs.iter().filter_map(|job| Some(Timed { job: (*job).clone(), p50: p50(job)? }));
            // A number that cannot be trusted stands only where there is no other.
            let fastest = timed.min_by(|a, b| {
                status::is_comparable(&b.job)
                    .cmp(&status::is_comparable(&a.job))
                    .then(a.p50.value.total_cmp(&b.p50.value))
            });
            (jobs.into_iter().max_by_key(|job| job.created_at).cloned(), fastest)
        };
        let (_, cpu) = of(Accelerator::Cpu);
        [Accelerator::Gpu, Accelerator::Npu].into_iter().filter_map(move |wanted| {
            let (newest, fastest) = of(wanted);
            let accelerated = match (fastest, newest) {
                (Some(Timed { job, p50 }), _) => Tried { job, p50: Some(p50) },
                (None, Some(job)) => Tried { job, p50: None },
                (None, None) => return None,
            };
            Some(Pair { cpu: cpu.clone(), accelerated })
        })
    });
    let mut pairs: Vec<Pair> = pairs.collect();
    pairs.sort_by_key(|pair| Some(pair.accelerated.job.device) != chosen);
    Ok(pairs)
}

/// A comparison in a table.
pub(crate) struct Line {
    pub device: String,
    pub variant: String,
    pub profile: String,
    pub cpu: String,
    pub cpu_p50: Html,
    pub href: String,
    pub accelerated: String,
    pub p50: Html,
    pub factor: String,
    pub status: Html,
}

impl Pair {
    pub(crate) fn line(&self, words: Words) -> Line {
        let dash = || Html::trusted(DASH.to_string());
        let cell = |p50: &Estimate| html::cell(&crate::format::in_unit(*p50, 1.0), words);
        let Tried { job, p50 } = &self.accelerated;
        Line {
            device: job.device_name.clone(),
            variant: job.variant.clone(),
            profile: job.profile.clone(),
            cpu: self.cpu.as_ref().map_or_else(|| DASH.to_string(), |cpu| cpu.job.backend.clone()),
            cpu_p50: self.cpu.as_ref().map_or_else(dash, |cpu| cell(&cpu.p50)),
            href: format!("/jobs/{}", job.id),
            accelerated: job.backend.clone(),
            p50: p50.as_ref().map_or_else(dash, cell),
            factor: self.factor().map_or_else(|| DASH.to_string(), |factor| format!("{} ×", significant(factor))),
            status: html::status(&status::job(job, words)),
        }
    }
}
