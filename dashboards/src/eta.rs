//! When a run will be done, from the lengths of its own finished jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::ids::DeviceId;
use seatrial_core::job::JobState;
use seatrial_core::store::JobRow;
use seatrial_core::time::Timestamp;
use serde::Serialize;

/// Fewer finished jobs than this say nothing about the rest.
pub const FEWEST: usize = 3;

/// Time until the last job ends, with its 95 % prediction interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Eta {
    pub middle: Duration,
    pub low: Duration,
    pub high: Duration,
    /// Finished jobs that it rests on.
    pub from: u32,
}

/// A device works through its jobs one by one, so the run ends with its slowest device. For `m` jobs left on a device,
/// with mean `μ` and deviation `s` of the `k` jobs finished so far, the time left is `m μ ± 1.96 s √(m + m²/k)`: the
/// first term for the scatter of the jobs to come, the second for what is not known of the mean. What a running job
/// has already used is taken off. Lengths of the device's own jobs count where it has [`FEWEST`], else those of the
/// whole run. `None` before that.
#[must_use]
pub fn estimate(jobs: &[JobRow], now: Timestamp) -> Option<Eta> {
    let mut all = Vec::new();
    let mut lengths: BTreeMap<DeviceId, Vec<f64>> = BTreeMap::new();
    let mut left: BTreeMap<DeviceId, (f64, f64)> = BTreeMap::new();
    for job in jobs {
        match (job.state, job.started_at, job.finished_at) {
            (JobState::Done { .. }, Some(start), Some(end)) => {
                let seconds = end.since(start).as_secs_f64();
                all.push(seconds);
                lengths.entry(job.device).or_default().push(seconds);
            }
            (JobState::Queued | JobState::Leased { .. }, started, _) => {
                let entry = left.entry(job.device).or_default();
                entry.0 += 1.0;
                entry.1 += started.map_or(0.0, |start| now.since(start).as_secs_f64());
            }
            (JobState::Done { .. } | JobState::Quarantined, _, _) => {}
        }
    }
    if all.len() < FEWEST || left.is_empty() {
        return None;
    }
    let mut eta = Eta { middle: Duration::ZERO, low: Duration::ZERO, high: Duration::ZERO, from: all.len() as u32 };
    for (device, (count, used)) in left {
        let own = lengths.get(&device).filter(|own| own.len() >= FEWEST).unwrap_or(&all);
        let (mean, deviation) = moments(own);
        let middle = (count * mean - used.min(mean)).max(0.0);
        let half = 1.96 * deviation * (count + count * count / own.len() as f64).sqrt();
        eta.middle = eta.middle.max(Duration::from_secs_f64(middle));
        eta.low = eta.low.max(Duration::from_secs_f64((middle - half).max(0.0)));
        eta.high = eta.high.max(Duration::from_secs_f64(middle + half));
    }
    Some(eta)
}

/// Mean and standard deviation with n − 1.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use seatrial_core::ids::{JobId, ProjectId, RunId, VariantId};
    use seatrial_core::outcome::Outcome;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds as i64 * 1_000_000)
    }

    fn job(device: u8, state: JobState, started: Option<u64>, finished: Option<u64>) -> JobRow {
        JobRow {
            id: JobId::new(at(1), [device; 10]),
            short: String::new(),
            project: ProjectId::new(at(1), [0; 10]),
            run: RunId::new(at(1), [0; 10]),
            run_number: 1,
            device: DeviceId::new(at(1), [device; 10]),
            device_name: String::new(),
            model: String::new(),
            version: 1,
            variant: String::new(),
            variant_id: VariantId::new(at(1), [0; 10]),
            dataset: None,
            backend: String::new(),
            profile: String::new(),
            state,
            attempt: 1,
            stage: None,
            outcome: None,
            message: None,
            failure: None,
            invalid: Vec::new(),
            created_at: at(0),
            started_at: started.map(at),
            finished_at: finished.map(at),
        }
    }

    const DONE: JobState = JobState::Done { outcome: Outcome::Ok };

    #[test]
    fn two_finished_jobs_are_too_few_to_say_anything() {
        let jobs =
            [job(1, DONE, Some(0), Some(10)), job(1, DONE, Some(10), Some(20)), job(1, JobState::Queued, None, None)];
        assert_eq!(estimate(&jobs, at(20)), None);
    }

    #[test]
    fn the_slowest_device_decides_and_equal_lengths_leave_no_doubt() {
        let mut jobs: Vec<JobRow> = (0..4).map(|i| job(1, DONE, Some(i * 10), Some(i * 10 + 10))).collect();
        jobs.extend((0..4).map(|i| job(2, DONE, Some(i * 30), Some(i * 30 + 30))));
        jobs.extend([
            job(1, JobState::Queued, None, None),
            job(2, JobState::Queued, None, None),
            job(2, JobState::Queued, None, None),
        ]);
        let eta = estimate(&jobs, at(120)).unwrap();
        assert_eq!(
            (eta.middle, eta.low, eta.high),
            (Duration::from_mins(1), Duration::from_mins(1), Duration::from_mins(1))
        );
        assert_eq!(eta.from, 8);
    }

    #[test]
    fn what_a_running_job_has_used_is_taken_off() {
        let mut jobs: Vec<JobRow> = (0..3).map(|i| job(1, DONE, Some(i * 10), Some(i * 10 + 10))).collect();
        jobs.push(job(1, JobState::Leased { attempt: 1 }, Some(30), None));
        assert_eq!(estimate(&jobs, at(34)).unwrap().middle, Duration::from_secs(6));
        assert_eq!(estimate(&jobs, at(99)).unwrap().middle, Duration::ZERO, "never less than nothing");
    }

    #[test]
    fn scatter_widens_the_interval() {
        let lengths = [8, 12, 9, 11, 10];
        let mut jobs: Vec<JobRow> = lengths.iter().map(|length| job(1, DONE, Some(0), Some(*length))).collect();
        jobs.extend((0..4).map(|_| job(1, JobState::Queued, None, None)));
        let eta = estimate(&jobs, at(60)).unwrap();
        // s = √2.5, half = 1.96 · s · √(4 + 16/5)
        let half = 1.96 * 2.5f64.sqrt() * 7.2f64.sqrt();
        assert!((eta.high.as_secs_f64() - (40.0 + half)).abs() < 1e-6);
        assert!((eta.low.as_secs_f64() - (40.0 - half)).abs() < 1e-6);
    }
}
