//! Whether nothing was lost and nobody is stuck, from what the server says at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

/// A run, as `seatrial run --wait --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Run {
    pub run: Summary,
    pub jobs: Vec<Job>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    pub number: u64,
    pub state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    pub device: String,
    pub state: String,
    pub outcome: Option<String>,
}

/// A device, as `seatrial devices --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Device {
    pub id: String,
    pub name: String,
    pub state: String,
    pub state_reason: String,
    pub connected: bool,
}

impl Device {
    /// At work again, or put aside with a reason.
    fn is_accounted_for(&self) -> bool {
        self.connected || (self.state == "quarantined" && !self.state_reason.is_empty())
    }
}

/// What the soak was to show, each claim with what speaks against it.
pub fn claims(
    runs: &[Run],
    devices: &[Device],
    jobs_of_a_run: usize,
    unfinished: &[String],
) -> Vec<(String, Vec<String>)> {
    let number = |run: &Run| run.run.number;
    let lost = runs.iter().filter(|run| run.jobs.len() != jobs_of_a_run);
    let lost = lost.map(|run| format!("run {}: {} of {jobs_of_a_run} jobs", number(run), run.jobs.len()));
    let open = runs.iter().flat_map(|run| run.jobs.iter().map(move |job| (run, job)));
    let open =
        open.filter(|(run, job)| run.run.state == "running" || ["queued", "leased"].contains(&job.state.as_str()));
    let open = open.map(|(run, job)| format!("run {}: {} on {}", number(run), job.state, job.device));
    let away = devices.iter().filter(|device| !device.is_accounted_for());
    let away = away.map(|Device { name, state, .. }| format!("{name}: {state}, not connected"));
    let no_run = runs.is_empty().then(|| "no run has ended".to_owned());
    vec![
        ("no job is lost".to_owned(), lost.chain(no_run).collect()),
        ("no job is stuck".to_owned(), open.chain(unfinished.iter().cloned()).collect()),
        ("every device is back, or quarantined with a reason".to_owned(), away.collect()),
    ]
}

/// A row a device: its faults, its jobs by outcome, and where it is.
pub fn table(runs: &[Run], devices: &[Device], faults: &BTreeMap<String, BTreeMap<&str, u32>>) -> String {
    let mut text = String::from("device · faults · jobs · state\n");
    for device in devices {
        let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
        let jobs = runs.iter().flat_map(|run| &run.jobs).filter(|job| job.device == device.name);
        for job in jobs {
            *outcomes.entry(job.outcome.as_deref().unwrap_or("none")).or_default() += 1;
        }
        let counted = |counts: &mut dyn Iterator<Item = (&str, u32)>| {
            let words: Vec<String> = counts.map(|(word, count)| format!("{word} {count}")).collect();
            if words.is_empty() { "none".to_owned() } else { words.join(", ") }
        };
        let own = faults.get(&device.name).into_iter().flatten().map(|(word, count)| (*word, *count));
        let state = if device.connected { "connected" } else { "away" };
        let reason = if device.state_reason.is_empty() { String::new() } else { format!(": {}", device.state_reason) };
        // Writing into a text does not fail.
        let _ = writeln!(
            text,
            "{} · {} · {} · {}, {state}{reason}",
            device.name,
            counted(&mut own.into_iter()),
            counted(&mut outcomes.into_iter()),
            device.state,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(outcome: Option<&str>) -> Run {
        let state = if outcome.is_some() { "done" } else { "leased" };
        let job = Job { device: "a".to_owned(), state: state.to_owned(), outcome: outcome.map(str::to_owned) };
        Run { run: Summary { number: 1, state: "done".to_owned() }, jobs: vec![job] }
    }

    fn device(connected: bool, state: &str, reason: &str) -> Device {
        Device {
            id: "1".to_owned(),
            name: "a".to_owned(),
            state: state.to_owned(),
            state_reason: reason.to_owned(),
            connected,
        }
    }

    fn broken(runs: &[Run], device: Device, unfinished: &[String]) -> Vec<bool> {
        claims(runs, &[device], 1, unfinished).into_iter().map(|(_, against)| !against.is_empty()).collect()
    }

    #[test]
    fn a_soak_in_which_everything_came_back_holds_every_claim() {
        assert_eq!(broken(&[run(Some("device_lost"))], device(true, "ready", ""), &[]), [false; 3]);
        let aside = device(false, "quarantined", "two jobs were lost with it");
        assert_eq!(broken(&[run(Some("ok"))], aside, &[]), [false; 3]);
    }

    #[test]
    fn a_lost_job_one_that_is_stuck_and_a_device_that_stays_away_are_each_told() {
        let good = || device(true, "ready", "");
        assert_eq!(broken(&[Run { jobs: Vec::new(), ..run(None) }], good(), &[]), [true, false, false]);
        assert_eq!(broken(&[run(None)], good(), &[]), [false, true, false]);
        assert_eq!(broken(&[run(Some("ok"))], good(), &["run 2".to_owned()]), [false, true, false]);
        assert_eq!(broken(&[run(Some("ok"))], device(false, "ready", ""), &[]), [false, false, true]);
        assert_eq!(broken(&[run(Some("ok"))], device(false, "quarantined", ""), &[]), [false, false, true]);
        assert_eq!(broken(&[], good(), &[]), [true, false, false], "nothing that ran shows nothing");
    }
}
