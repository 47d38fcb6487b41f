//! Measurement profiles: how long, how often and how a variant is timed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::energy::Limits as EnergyLimits;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfileKind {
    Quick,
    Full,
    Sustained,
    Paced,
    AccuracyOnly,
    Energy,
}

impl ProfileKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Sustained => "sustained",
            Self::Paced => "paced",
            Self::AccuracyOnly => "accuracy_only",
            Self::Energy => "energy",
        }
    }
}

/// When warming up ends (`peers.md` 4.2): at least `min_iterations` and `min_time`, and the median of the last five no
/// longer improves by `min_improvement` on the five before; never longer than `max_time`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WarmupRule {
    pub min_iterations: u32,
    pub min_time: Duration,
    pub min_improvement: f64,
    pub max_time: Duration,
}

impl Default for WarmupRule {
    fn default() -> Self {
        Self {
            min_iterations: 3,
            min_time: Duration::from_millis(500),
            min_improvement: 0.03,
            max_time: Duration::from_secs(20),
        }
    }
}

/// When measuring ends: at least `min_samples` and `min_time`; never more than `max_samples` or longer than `max_time`.
/// Samples are here the timed inferences, whether or not there is room to keep each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRule {
    pub min_samples: u32,
    pub min_time: Duration,
    pub max_samples: u32,
    pub max_time: Duration,
}

/// A profile with every number decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasurementProfile {
    pub kind: ProfileKind,
    pub warmup: WarmupRule,
    pub stop: StopRule,
    /// Fresh child processes that each load, warm up and measure.
    pub processes: u8,
    /// For `paced`: one inference is due every interval, and one that is late is a missed deadline.
    pub interval: Option<Duration>,
    /// For `energy`: what the measurement may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<EnergyLimits>,
}

/// Of a profile that only time bounds: what does not fit into its [`room`](MeasurementProfile::room) is thinned.
pub const ANY_SAMPLES: u32 = u32::MAX;
/// Longest energy measurement with its calibration, in s: what its stage's default deadline leaves.
pub const LONGEST_ENERGY_S: f64 = 825.0;
/// Samples that the processes of one attempt keep together, so that a report always fits its message.
pub const MAX_SAMPLES: u32 = 400_000;

impl MeasurementProfile {
    /// The definition of a profile before a suite changes any of it.
    #[must_use]
    pub fn of(kind: ProfileKind) -> Self {
        let (min_samples, min_seconds, max_seconds, processes) = match kind {
            ProfileKind::Quick => (64, 10, 600, 1),
            ProfileKind::Full => (1024, 60, 600, 3),
            ProfileKind::Sustained => (64, 600, 1800, 1),
            ProfileKind::Paced => (64, 30, 600, 1),
            ProfileKind::AccuracyOnly | ProfileKind::Energy => (0, 0, 0, 0),
        };
        Self {
            kind,
            warmup: WarmupRule::default(),
            stop: StopRule {
                min_samples,
                min_time: Duration::from_secs(min_seconds),
                // A bound would end a fast model before its least time.
                max_samples: ANY_SAMPLES,
                max_time: Duration::from_secs(max_seconds),
            },
            processes,
            interval: (kind == ProfileKind::Paced).then_some(Duration::from_millis(33)),
            energy: (kind == ProfileKind::Energy)
                .then(|| EnergyLimits { longest_s: LONGEST_ENERGY_S, ..EnergyLimits::default() }),
        }
    }

    /// Samples that one process keeps at most.
    #[must_use]
    pub const fn room(&self) -> u32 {
        let processes = if self.processes == 0 { 1 } else { self.processes as u32 };
        MAX_SAMPLES / processes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processes_of_an_attempt_share_the_room_of_one_report() {
        for processes in 0..=20 {
            let profile = MeasurementProfile { processes, ..MeasurementProfile::of(ProfileKind::Full) };
            assert!(profile.room() * u32::from(processes) <= MAX_SAMPLES, "{processes} processes");
            // Thinning leaves at least half of the room.
            assert!(profile.room() / 2 >= profile.stop.min_samples, "{processes} processes");
        }
    }

    #[test]
    fn no_profile_ends_before_its_least_time_because_a_model_is_fast() {
        use ProfileKind::{Full, Paced, Quick, Sustained};
        for kind in [Quick, Full, Sustained, Paced] {
            assert_eq!(MeasurementProfile::of(kind).stop.max_samples, ANY_SAMPLES, "{kind:?}");
        }
    }
}
