//! How far a run is, from what the server tells of its jobs. Pure: the caller says what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_proto::v1;

use super::time::between;

/// The jobs of a run as last heard.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub run: Option<v1::RunSummary>,
    /// By id, which sorts in the order of expansion.
    jobs: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    job: v1::Job,
    /// When this process first saw the present attempt, on its own clock.
    running_since: Option<Duration>,
}

/// What a device is doing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeviceProgress {
    pub device: String,
    pub done: usize,
    pub total: usize,
    /// `digits-cnn fp32 · tract cpu ×2 · measure`; none while it waits.
    pub now: Option<String>,
}

impl Progress {
    /// Takes in a job. Returns it when this is the first time that it is known to have ended.
    pub(crate) fn apply(&mut self, job: v1::Job, now: Duration) -> Option<v1::Job> {
        let earlier = self.jobs.get(&job.id);
        let was_over = earlier.is_some_and(|known| is_over(&known.job));
        let same_attempt = earlier.filter(|known| known.job.attempt == job.attempt && known.job.state == job.state);
        let running_since = match (is_running(&job), same_attempt) {
            (false, _) => None,
            (true, Some(known)) => known.running_since,
            (true, None) => Some(now),
        };
        let ended = (is_over(&job) && !was_over).then(|| job.clone());
        self.jobs.insert(job.id.clone(), Known { job, running_since });
        ended
    }

    pub(crate) fn done(&self) -> usize {
        self.jobs.values().filter(|known| is_over(&known.job)).count()
    }

    pub(crate) fn total(&self) -> usize {
        self.jobs.len()
    }

    /// Every device of the run, in the order of names.
    pub(crate) fn devices(&self) -> Vec<DeviceProgress> {
        let mut devices: BTreeMap<&str, DeviceProgress> = BTreeMap::new();
        for Known { job, .. } in self.jobs.values() {
            let device = devices.entry(&job.device_name).or_insert_with(|| DeviceProgress {
                device: job.device_name.clone(),
                done: 0,
                total: 0,
                now: None,
            });
            device.total += 1;
            device.done += usize::from(is_over(job));
            if is_running(job) {
                device.now = Some(activity(job));
            }
        }
        devices.into_values().collect()
    }

    /// How much longer the run takes: its slowest device works off what it still has at the pace of its own finished
    /// jobs, or of all devices' when it has none. Unknown before the first job has ended.
    pub(crate) fn remaining(&self, now: Duration) -> Option<Duration> {
        let everywhere = mean(self.jobs.values().filter_map(|known| duration(&known.job)))?;
        let devices: std::collections::BTreeSet<&str> =
            self.jobs.values().map(|known| known.job.device_name.as_str()).collect();
        devices.into_iter().map(|device| self.remaining_on(device, everywhere, now)).max()
    }

    fn remaining_on(&self, device: &str, everywhere: Duration, now: Duration) -> Duration {
        let own = || self.jobs.values().filter(|known| known.job.device_name == device);
        let pace = mean(own().filter_map(|known| duration(&known.job))).unwrap_or(everywhere);
        own()
            .filter(|known| !is_over(&known.job))
            .map(|known| match known.running_since {
                Some(since) => pace.saturating_sub(now.saturating_sub(since)),
                None => pace,
            })
            .sum()
    }
}

/// What a job is, without its device: `digits-cnn fp32 · tract cpu ×2`.
pub(crate) fn subject(job: &v1::Job) -> String {
    format!("{} {} · {}", job.model, job.variant, job.backend)
}

fn activity(job: &v1::Job) -> String {
    let again = if job.attempt > 1 { format!(" · attempt {}", job.attempt) } else { String::new() };
    match &job.stage {
        Some(stage) => format!("{} · {stage}{again}", subject(job)),
        None => format!("{}{again}", subject(job)),
    }
}

fn is_over(job: &v1::Job) -> bool {
    matches!(job.state.as_str(), "done" | "quarantined")
}

fn is_running(job: &v1::Job) -> bool {
    job.state == "leased"
}

fn duration(job: &v1::Job) -> Option<Duration> {
    if !is_over(job) {
        return None;
    }
    Some(between(job.started_us?, job.finished_us?))
}

fn mean(durations: impl Iterator<Item = Duration>) -> Option<Duration> {
    let (sum, count) = durations.fold((Duration::ZERO, 0), |(sum, count), duration| (sum + duration, count + 1));
    (count > 0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn job(id: &str, device: &str, state: &str) -> v1::Job {
        v1::Job {
            id: id.to_owned(),
            device_name: device.to_owned(),
            state: state.to_owned(),
            model: "digits-cnn".to_owned(),
            variant: "fp32".to_owned(),
            backend: "tract cpu ×1".to_owned(),
            ..Default::default()
        }
    }

    fn ended(id: &str, device: &str, seconds: i64) -> v1::Job {
        v1::Job { started_us: Some(0), finished_us: Some(seconds * SECOND), ..job(id, device, "done") }
    }

    #[test]
    fn a_job_ends_once_however_often_it_is_told() {
        let mut progress = Progress::default();
        assert!(progress.apply(job("a", "devbox", "leased"), Duration::ZERO).is_none());
        assert!(progress.apply(ended("a", "devbox", 5), Duration::ZERO).is_some());
        assert!(progress.apply(ended("a", "devbox", 5), Duration::ZERO).is_none());
        assert_eq!((progress.done(), progress.total()), (1, 1));
    }

    #[test]
    fn the_slowest_device_decides_how_long_it_takes() {
        let mut progress = Progress::default();
        for job in [
            ended("a", "fast", 2),
            job("b", "fast", "queued"),
            ended("c", "slow", 10),
            job("d", "slow", "queued"),
            job("e", "slow", "queued"),
        ] {
            progress.apply(job, Duration::ZERO);
        }
        assert_eq!(progress.remaining(Duration::ZERO), Some(Duration::from_secs(20)));
    }

    #[test]
    fn time_that_the_running_job_has_had_is_taken_off_but_never_below_nothing() {
        let mut progress = Progress::default();
        progress.apply(ended("a", "devbox", 10), Duration::ZERO);
        progress.apply(job("b", "devbox", "leased"), Duration::from_secs(100));
        assert_eq!(progress.remaining(Duration::from_secs(104)), Some(Duration::from_secs(6)));
        assert_eq!(progress.remaining(Duration::from_secs(200)), Some(Duration::ZERO));
    }

    #[test]
    fn nothing_is_estimated_before_the_first_job_has_ended() {
        let mut progress = Progress::default();
        progress.apply(job("a", "devbox", "queued"), Duration::ZERO);
        assert_eq!(progress.remaining(Duration::ZERO), None);
    }

    #[test]
    fn a_new_attempt_starts_the_clock_anew_and_is_said() {
        let mut progress = Progress::default();
        progress.apply(ended("a", "devbox", 10), Duration::ZERO);
        progress.apply(v1::Job { attempt: 1, ..job("b", "devbox", "leased") }, Duration::ZERO);
        progress.apply(
            v1::Job { attempt: 2, stage: Some("load".to_owned()), ..job("b", "devbox", "leased") },
            Duration::from_secs(9),
        );
        assert_eq!(progress.remaining(Duration::from_secs(9)), Some(Duration::from_secs(10)));
        assert_eq!(progress.devices()[0].now.as_deref(), Some("digits-cnn fp32 · tract cpu ×1 · load · attempt 2"));
    }
}
