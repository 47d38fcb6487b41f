//! Jobs that wait for what was quarantined meanwhile: they end, with the reason for which a new run would not have them.

use seatrial_core::failure::{TripleVersions, quarantined};
use seatrial_core::ids::{DeviceId, JobId, RunId};
use seatrial_core::job::JobSpec;
use seatrial_core::store::{Store, StoreError, Suspect};
use seatrial_core::time::Timestamp;

/// Of one device at one time. What is beyond it is looked at when the device attaches next, or has another failure.
const MOST: u32 = 10_000;

/// Ends the queued jobs of a device that a quarantine is about, as the device is now. Gives those that it ended.
pub(crate) async fn set_aside(
    store: &dyn Store,
    device: DeviceId,
    now: Timestamp,
) -> Result<Vec<(RunId, JobId)>, StoreError> {
    let suspects = store.suspects(device, MOST).await?;
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let Some(row) = store.device(device).await? else { return Ok(Vec::new()) };
    let about = |suspect: &Suspect| match serde_json::from_str::<JobSpec>(&suspect.spec) {
        Ok(spec) => suspect.versions == TripleVersions::of(&spec.backend, spec.package.as_ref(), &row.profile),
        Err(error) => {
            tracing::error!(job = %suspect.job, %error, "the specification of a job that waits cannot be read");
            false
        }
    };
    let mut ending: Vec<(JobId, String)> = Vec::new();
    for suspect in suspects.iter().filter(|suspect| about(suspect)) {
        if ending.last().is_none_or(|(job, _)| *job != suspect.job) {
            ending.push((suspect.job, quarantined(suspect.failure.as_ref(), suspect.quarantine).into()));
        }
    }
    let ended = store.set_aside(&ending, now).await?;
    if !ended.is_empty() {
        tracing::warn!(
            device = row.name,
            jobs = ended.len(),
            "jobs that waited end: what they are about is quarantined"
        );
    }
    let of_run = |job: JobId| suspects.iter().find(|suspect| suspect.job == job).map(|suspect| (suspect.run, job));
    Ok(ended.into_iter().filter_map(of_run).collect())
}
