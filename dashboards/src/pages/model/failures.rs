//! Which devices failed, and at what: the cards of results show one device, and a failure has no number to be shown by.

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::ids::DeviceId;
use seatrial_core::job::JobState;
use seatrial_core::outcome::Family;
use seatrial_core::store::JobRow;
use serde::Serialize;

use crate::format::{Moments, count};
use crate::html::{self, Html};
use crate::status;
use crate::visit::Setting;

/// Failures of one device that its row names.
const NAMED: usize = 3;

/// A device on which something failed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failing {
    pub device: DeviceId,
    pub device_name: String,
    /// The newest jobs of its combinations of variant, backend, profile and dataset, as far as they failed; newest first.
    pub failed: Vec<JobRow>,
    /// Its combinations that ended by themselves.
    pub tried: usize,
}

/// Of the jobs of one version, which are given newest first; the device with most failures first.
pub(super) fn of(jobs: &[JobRow], version: u32) -> Vec<Failing> {
    let mut seen = BTreeSet::new();
    let mut devices: BTreeMap<DeviceId, Failing> = BTreeMap::new();
    // A job that waits says nothing yet, and one that somebody cancelled never will: the one before it stands.
    let has_ended = |job: &JobRow| match job.state {
        JobState::Queued | JobState::Leased { .. } => false,
        JobState::Quarantined => true,
        JobState::Done { outcome } => outcome.family() != Family::Cancelled,
    };
    for job in jobs.iter().filter(|job| job.version == version && has_ended(job)) {
        if !seen.insert((job.device, &job.variant, &job.backend, &job.profile, &job.dataset)) {
            continue;
        }
        let (device, device_name) = (job.device, job.device_name.clone());
        let failing =
            devices.entry(device).or_insert_with(|| Failing { device, device_name, failed: Vec::new(), tried: 0 });
        failing.tried += 1;
        failing.failed.extend(has_failed(job).then(|| job.clone()));
    }
    let mut failing: Vec<Failing> = devices.into_values().filter(|device| !device.failed.is_empty()).collect();
    failing.sort_by(|a, b| b.failed.len().cmp(&a.failed.len()).then_with(|| a.device_name.cmp(&b.device_name)));
    failing
}

fn has_failed(job: &JobRow) -> bool {
    match job.state {
        JobState::Quarantined => true,
        JobState::Done { outcome } => status::is_failure(outcome),
        JobState::Queued | JobState::Leased { .. } => false,
    }
}

/// A device in a table.
pub(super) struct Line {
    pub device: String,
    /// The page with this device chosen.
    pub href: String,
    /// `3 of 12`.
    pub failed: String,
    /// Combination, address of its job, and how it ended.
    pub named: Vec<(String, String, Html)>,
    pub more: String,
    pub when: Html,
}

impl Failing {
    pub(super) fn line(&self, setting: &Setting, moments: &Moments) -> Line {
        let words = moments.words;
        let more = self.failed.len().saturating_sub(NAMED);
        let named = self.failed.iter().take(NAMED).map(|job| {
            let status = status::job(job, words);
            let status = match job.outcome {
                Some(outcome) => status.saying(status::class_and_code(outcome)),
                None => status,
            };
            (format!("{} · {}", job.variant, job.backend), format!("/jobs/{}", job.id), html::status(&status))
        });
        let newest = self.failed.iter().filter_map(|job| job.finished_at).max();
        Line {
            device: self.device_name.clone(),
            href: setting.link("device", Some(&self.device.to_string())),
            failed: words
                .with("number.of", &[("k", &count(self.failed.len() as u64)), ("n", &count(self.tried as u64))]),
            named: named.collect(),
            more: if more > 0 { words.count("model.more_failed", more as u64, &[]) } else { String::new() },
            when: newest.map_or_else(Html::default, |moment| html::ago(moment, moments)),
        }
    }
}
