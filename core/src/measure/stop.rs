//! When a measurement is long enough.

use std::time::Duration;

use crate::profile::StopRule;

/// Whether measuring ends after `samples` timed inferences in `elapsed`: both minima are reached, or either maximum.
#[must_use]
pub fn is_met(rule: &StopRule, samples: u32, elapsed: Duration) -> bool {
    let enough = samples >= rule.min_samples && elapsed >= rule.min_time;
    enough || samples >= rule.max_samples || elapsed >= rule.max_time
}

/// How far a measurement is, as a share of what ends it.
#[must_use]
pub fn share(rule: &StopRule, samples: u32, elapsed: Duration) -> f64 {
    let part = |done: f64, of: f64| if of > 0.0 { (done / of).min(1.0) } else { 1.0 };
    let of_samples = |bound: u32| part(f64::from(samples), f64::from(bound));
    let of_time = |bound: Duration| part(elapsed.as_secs_f64(), bound.as_secs_f64());
    let least = of_samples(rule.min_samples).min(of_time(rule.min_time));
    least.max(of_samples(rule.max_samples)).max(of_time(rule.max_time))
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
    fn the_share_is_of_what_comes_last_or_of_a_maximum_that_comes_first() {
        let seconds = Duration::from_secs;
        assert_eq!(share(&RULE, 0, Duration::ZERO), 0.0);
        assert_eq!(share(&RULE, 64, seconds(5)), 0.5, "half the time");
        assert_eq!(share(&RULE, 16, seconds(10)), 0.25, "a quarter of the samples");
        assert_eq!(share(&RULE, 4, seconds(30)), 0.5, "half of the longest time");
        assert_eq!(share(&RULE, 900, seconds(1)), 0.9, "of the most samples");
        assert_eq!(share(&RULE, 5_000, seconds(90)), 1.0);
    }

    #[test]
    fn either_maximum_ends_it() {
        assert!(is_met(&RULE, 1_000, Duration::ZERO), "samples are bounded");
        assert!(is_met(&RULE, 0, Duration::from_mins(1)), "time is bounded, even without a sample");
    }
}
