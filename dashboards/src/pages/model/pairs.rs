//! The results of one device on the same examples: each against the variant of the highest precision on the same backend,
//! and against the version before.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use seatrial_core::ids::JobId;
use seatrial_core::model::Precision;
use seatrial_core::store::{JobRow, ModelDetail, VariantRow};
use serde::Serialize;

use super::super::paired::{self, Answered, Comparison};
use super::results::Best;
use crate::Dashboards;
use crate::failure::Failure;
use crate::format::count;
use crate::i18n::Words;
use crate::status;

/// Pairs that are compared; each costs a read of two jobs' answers.
const MOST: usize = 100;

#[derive(Serialize)]
pub(super) struct Pairs {
    pub paired: Vec<Comparison>,
    /// Results that have a partner, and are themselves no valid result of what was asked for.
    #[serde(rename = "paired_left_out")]
    left_out: Vec<JobRow>,
    /// Pairs that are too many to be compared.
    #[serde(rename = "paired_more")]
    more: usize,
}

/// Pairs only what is comparable: a fallback is no result of its backend, neither as what changed nor as what it is held
/// against.
pub(super) async fn read(
    state: &Dashboards,
    model: &ModelDetail,
    results: &[Best],
    jobs: &[JobRow],
) -> Result<Pairs, Failure> {
    // The highest precision is the first; a variant that is not of this model comes last.
    let rank = |job: &JobRow| {
        let mut variants = model.versions.iter().flat_map(|version| &version.variants);
        let variant = variants.find(|variant| variant.id == job.variant_id);
        let place = |variant: &VariantRow| Precision::ALL.iter().position(|known| *known == variant.precision);
        variant.and_then(place).unwrap_or(Precision::ALL.len())
    };
    let alike = |a: &JobRow, b: &JobRow| {
        a.id != b.id
            && a.dataset.is_some()
            && a.dataset == b.dataset
            && a.backend == b.backend
            && a.profile == b.profile
    };
    let comparable = |job: &&JobRow| status::is_comparable(job);
    let (mut pairs, mut left_out): (Vec<(&JobRow, &JobRow)>, _) = (Vec::new(), Vec::new());
    for Best { job, .. } in results {
        let siblings = || results.iter().map(|best| &best.job).filter(|other| alike(job, other));
        let earlier = || {
            jobs.iter().filter(|other| {
                other.version < job.version
                    && other.device == job.device
                    && other.variant == job.variant
                    && alike(job, other)
            })
        };
        if !status::is_comparable(job) {
            left_out.extend(siblings().chain(earlier()).next().map(|_| job.clone()));
            continue;
        }
        let place = |job: &JobRow| (rank(job), job.variant.clone());
        let reference = siblings().filter(comparable).min_by_key(|other| place(other));
        pairs.extend(reference.filter(|other| place(other) < place(job)).map(|reference| (reference, job)));
        let before = earlier().filter(comparable).max_by_key(|other| (other.version, other.created_at));
        pairs.extend(before.map(|before| (before, job)));
    }
    let more = pairs.len().saturating_sub(MOST);
    pairs.truncate(MOST);
    let mut answered: HashMap<JobId, Option<Answered>> = HashMap::new();
    for job in pairs.iter().flat_map(|(first, second)| [*first, *second]) {
        if let Entry::Vacant(place) = answered.entry(job.id) {
            place.insert(Answered::of(state, job, job.attempt).await?);
        }
    }
    let of = |job: &JobRow| answered.get(&job.id).and_then(Option::as_ref);
    let paired = pairs.into_iter().filter_map(|(first, second)| paired::compare(of(first)?, of(second)?)).collect();
    Ok(Pairs { paired, left_out, more })
}

impl Pairs {
    /// What is not in the table, and why; empty when all is.
    pub(super) fn left(&self, words: Words) -> Vec<String> {
        let mut why: BTreeMap<String, u64> = BTreeMap::new();
        for job in &self.left_out {
            *why.entry(status::job(job, words).word).or_default() += 1;
        }
        let why: Vec<String> = why.into_iter().map(|(word, jobs)| format!("{} × {word}", count(jobs))).collect();
        let left_out = self.left_out.len() as u64;
        let mut left = Vec::new();
        if left_out > 0 {
            left.push(words.count("paired.left_out", left_out, &[("why", &words.list(&why))]));
        }
        if self.more > 0 {
            left.push(words.count("paired.more", self.more as u64, &[("most", &count(MOST as u64))]));
        }
        left
    }
}
