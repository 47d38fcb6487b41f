//! When a measurement is long enough.

use std::time::Duration;

use crate::profile::StopRule;

/// Whether measuring ends after `samples` timed inferences in `elapsed`: both minima are reached, or either maximum.
#[must_use]
pub fn is_met(rule: &StopRule, samples: u32, elapsed: Duration) -> bool {
    let enough = samples >= rule.min_samples && elapsed >= rule.min_time;
    enough || samples >= rule.max_samples || elapsed >= rule.max_time
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: StopRule = StopRule {
        min_samples: 64,
        min_time: Duration::from_secs(10),
        max_samples: 1_000,
        max_time: Duration::from_mins(1),
    };

    #[test]
    fn both_minima_must_be_reached() {
        assert!(!is_met(&RULE, 64, Duration::from_millis(9_999)));
        assert!(!is_met(&RULE, 63, Duration::from_secs(10)));
        assert!(is_met(&RULE, 64, Duration::from_secs(10)));
    }

    #[test]
    fn either_maximum_ends_it() {
        assert!(is_met(&RULE, 1_000, Duration::ZERO), "samples are bounded");
        assert!(is_met(&RULE, 0, Duration::from_mins(1)), "time is bounded, even without a sample");
    }
}
