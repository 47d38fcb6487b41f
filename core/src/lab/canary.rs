//! When the small model that everybody knows the answer of runs on a device, and what its answer says of the device.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// No device goes longer without a check.
pub const EVERY: Duration = Duration::from_hours(24);
/// So many failures of the lab in a row, and the device itself is looked at.
pub const FAILURES: u32 = 2;
/// A device whose canary takes more than this times its own usual time is sick.
pub const SLOW: f64 = 1.5;
/// Checks of the same device and system before its usual time is known.
pub const KNOWN_AFTER: usize = 5;

/// Why a check is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    NeverChecked,
    Rebooted,
    /// Another ROM, or another driver.
    SystemChanged,
    Failures,
    ADayAgo,
}

/// The last check of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    pub at: Timestamp,
    pub boot_id: String,
    /// The build of the system and of the GPU's driver.
    pub fingerprint: String,
}

/// Why a device is to be checked before its next job; `None` when it need not.
///
/// `failures`: attempts in a row that ended by the lab's fault since the last check.
#[must_use]
pub fn due(last: Option<&Last>, boot_id: &str, fingerprint: &str, failures: u32, now: Timestamp) -> Option<Due> {
    let Some(last) = last else { return Some(Due::NeverChecked) };
    if last.fingerprint != fingerprint {
        Some(Due::SystemChanged)
    } else if last.boot_id != boot_id {
        Some(Due::Rebooted)
    } else if failures >= FAILURES {
        Some(Due::Failures)
    } else if now.since(last.at) >= EVERY {
        Some(Due::ADayAgo)
    } else {
        None
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Whether the outputs are those that the small model has everywhere.
    pub outputs_agree: bool,
    /// Median latency in ms; `None` when its measurement was not valid.
    pub latency_ms: Option<f64>,
    /// Sensors that answered nonsense: a battery at −100 °C, a clock of 0 Hz.
    pub insane_sensors: Vec<String>,
}

/// Whether the device is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// With what is wrong, all of it.
    Sick(Vec<String>),
    /// The check did not measure: it neither clears the device nor blames it.
    Unknown,
}

/// Judges a check against earlier ones of the same device and the same system.
///
/// `earlier`: valid median latencies in ms of healthy checks with the same fingerprint.
#[must_use]
pub fn judge(found: &Found, earlier: &[f64]) -> Health {
    let mut wrong = Vec::new();
    if !found.outputs_agree {
        wrong.push("the canary's outputs are not what they are everywhere".to_owned());
    }
    wrong.extend(found.insane_sensors.iter().map(|name| format!("sensor {name} gives what cannot be true")));
    if let (Some(latency), Some(usual)) = (found.latency_ms, usual(earlier))
        && latency > SLOW * usual
    {
        wrong.push(format!("the canary took {latency:.3} ms, and usually takes {usual:.3} ms"));
    }
    if !wrong.is_empty() {
        Health::Sick(wrong)
    } else if found.latency_ms.is_none() {
        Health::Unknown
    } else {
        Health::Healthy
    }
}

/// The median of what the device usually takes; `None` while too little is known.
fn usual(earlier: &[f64]) -> Option<f64> {
    let mut times: Vec<f64> = earlier.iter().copied().filter(|time| time.is_finite() && *time > 0.0).collect();
    if times.len() < KNOWN_AFTER {
        return None;
    }
    times.sort_by(f64::total_cmp);
    Some(times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

    fn last() -> Last {
        Last { at: NOW, boot_id: "b1".to_owned(), fingerprint: "f1".to_owned() }
    }

    #[test]
    fn a_check_is_due_after_a_boot_another_system_two_failures_and_a_day_and_not_before() {
        let after = |boot, fingerprint, failures, hours| {
            due(Some(&last()), boot, fingerprint, failures, NOW.plus(Duration::from_hours(hours)))
        };
        assert_eq!(due(None, "b1", "f1", 0, NOW), Some(Due::NeverChecked));
        assert_eq!(after("b1", "f1", 1, 23), None);
        assert_eq!(after("b2", "f1", 0, 1), Some(Due::Rebooted));
        assert_eq!(after("b2", "f2", 0, 1), Some(Due::SystemChanged), "an update boots too, and says more");
        assert_eq!(after("b1", "f1", 2, 1), Some(Due::Failures));
        assert_eq!(after("b1", "f1", 0, 24), Some(Due::ADayAgo));
    }

    fn found(latency_ms: Option<f64>) -> Found {
        Found { outputs_agree: true, latency_ms, insane_sensors: Vec::new() }
    }

    #[test]
    fn a_device_is_slow_against_itself_only_and_only_once_its_usual_time_is_known() {
        let usual = [1.0, 1.02, 0.98, 1.1, 1.0];
        assert_eq!(judge(&found(Some(1.4)), &usual), Health::Healthy);
        let Health::Sick(why) = judge(&found(Some(1.6)), &usual) else { panic!("it is slow") };
        assert_eq!(why, ["the canary took 1.600 ms, and usually takes 1.000 ms"]);
        assert_eq!(judge(&found(Some(160.0)), &usual[..4]), Health::Healthy, "nobody knows what it usually takes");
        assert_eq!(judge(&found(Some(1.0)), &[f64::NAN, 0.0, 1.0, 1.0, 1.0]), Health::Healthy);
    }

    #[test]
    fn wrong_outputs_and_insane_sensors_are_sickness_whatever_the_time() {
        let broken = Found { outputs_agree: false, insane_sensors: vec!["battery".to_owned()], ..found(None) };
        let Health::Sick(why) = judge(&broken, &[]) else { panic!("it is sick") };
        assert_eq!(why.len(), 2);
    }

    #[test]
    fn a_check_that_could_not_measure_clears_nobody() {
        assert_eq!(judge(&found(None), &[1.0; 9]), Health::Unknown);
    }
}
