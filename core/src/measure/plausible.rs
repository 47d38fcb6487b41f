//! Whether what an engine says of its own times can be true, given what its caller saw of the same request.
//!
//! An engine in a process of its own times itself, since its caller's times would hold the way there and back. Its
//! caller can still refute it: nothing fits into less time than it took, and time that is missing was spent somewhere.

use std::time::Duration;

use super::stop;
use crate::profile::StopRule;

/// By how much two clocks of one machine may differ over a request: 0.1 %, and 1 ms for what lies around it.
const CLOCK_SHARE: f64 = 1e-3;
const CLOCK_SLACK: Duration = Duration::from_millis(1);
/// So many equal durations are no measurement, whatever the clock's resolution.
const EQUAL_SAMPLES: u64 = 16;
/// Requests of fewer samples are mostly the way there and back.
const ACCOUNTED_SAMPLES: u64 = 16;
/// Of the request's time, and of each inference, so much may lie outside of the samples: loops in slow languages.
const UNACCOUNTED_SHARE: f64 = 0.2;
const UNACCOUNTED_EACH: Duration = Duration::from_micros(25);

/// What an engine claimed of one request, and how long the request took as its caller saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claimed {
    pub samples: u64,
    pub sum: Duration,
    /// From the start of the first sample to the end of the last.
    pub span: Duration,
    pub least: Duration,
    pub most: Duration,
    /// A sample began before the one before it had ended.
    pub overlap: bool,
    pub wall: Duration,
    /// How long its process and the caller's wanted a CPU in this time and had none: nobody's lie.
    pub waited: Duration,
}

impl Claimed {
    /// Takes the next sample.
    pub fn push(&mut self, start: Duration, latency: Duration) {
        self.overlap |= start < self.span;
        self.least = if self.samples == 0 { latency } else { self.least.min(latency) };
        self.most = self.most.max(latency);
        self.samples += 1;
        self.sum = self.sum.saturating_add(latency);
        self.span = self.span.max(start.saturating_add(latency));
    }

    /// Why it cannot be true; `None` when it can. `paced` says that the engine waited between inferences.
    #[must_use]
    pub fn refuted(&self, rule: &StopRule, paced: bool) -> Option<String> {
        let Self { samples, sum, span, least, most, overlap, wall, waited } = *self;
        let count = u32::try_from(samples).unwrap_or(u32::MAX);
        let most_time = wall.mul_f64(1.0 + CLOCK_SHARE).saturating_add(CLOCK_SLACK);
        let missing = wall.saturating_sub(sum).saturating_sub(waited);
        if count > rule.max_samples {
            Some(format!("{samples} samples came, and at most {} were asked for", rule.max_samples))
        } else if !stop::is_met(rule, count, most_time) {
            let StopRule { min_samples, min_time, .. } = rule;
            Some(format!(
                "{samples} samples came in {wall:.1?}, and at least {min_samples} in at least {min_time:.1?} were asked for"
            ))
        } else if sum > most_time || span > most_time {
            Some(format!(
                "{samples} samples are claimed to take {:.3?}, and the request took {wall:.3?}",
                sum.max(span)
            ))
        } else if overlap {
            Some("a sample is claimed to begin before the one before it had ended".to_owned())
        } else if samples >= EQUAL_SAMPLES && least == most {
            Some(format!("all of {samples} samples are claimed to take exactly {least:?}"))
        } else if !paced
            && samples >= ACCOUNTED_SAMPLES
            && missing > wall.mul_f64(UNACCOUNTED_SHARE)
            && missing / count > UNACCOUNTED_EACH
        {
            Some(format!("{samples} samples are claimed to take {sum:.3?} of a request that took {wall:.3?}"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rule(least: u32, most: u32) -> StopRule {
        StopRule { min_samples: least, min_time: Duration::ZERO, max_samples: most, max_time: Duration::from_mins(1) }
    }

    /// One after the other, a little apart, of about 4 ms each.
    fn honest(samples: u32) -> Claimed {
        let mut claimed = Claimed::default();
        let mut start = Duration::ZERO;
        for index in 0..samples {
            let latency = 4 * MS + Duration::from_nanos(u64::from(index % 7) * 1000);
            claimed.push(start, latency);
            start += latency + Duration::from_micros(2);
        }
        claimed.wall = claimed.span + MS;
        claimed
    }

    #[test]
    fn the_page_about_runners_names_the_bounds_that_hold() {
        let page = include_str!("../../../docs/runner.md").replace('\n', " ");
        let (share, each) = (UNACCOUNTED_SHARE * 100.0, UNACCOUNTED_EACH.as_micros());
        let unaccounted =
            format!("more than {share:.0} % of the request and more than {each} µs an inference unaccounted");
        assert!(page.contains(&unaccounted), "{unaccounted}");
        let granted = format!("({:.1} % and {} ms are granted)", CLOCK_SHARE * 100.0, CLOCK_SLACK.as_millis());
        assert!(page.contains(&granted), "{granted}");
    }

    #[test]
    fn what_can_be_true_is_believed() {
        assert_eq!(honest(64).refuted(&rule(64, 64), false), None);
        assert_eq!(honest(1).refuted(&rule(1, 1), false), None, "one alone may lie in a request of any length");
        let first = Claimed { wall: 5 * Duration::from_secs(1), ..honest(1) };
        assert_eq!(first.refuted(&rule(1, 1), false), None, "inputs and outputs go with it");
        let mut fast = Claimed::default();
        (0..10_000).for_each(|index| {
            fast.push(index * Duration::from_micros(2), Duration::from_nanos(1000 + u64::from(index % 3)));
        });
        fast.wall = fast.span + MS;
        assert_eq!(fast.refuted(&rule(64, 100_000), false), None, "half of a fast model's time is the loop");
    }

    #[test]
    fn another_number_than_was_asked_for_is_refuted() {
        assert_eq!(
            honest(63).refuted(&rule(64, 64), false).unwrap(),
            "63 samples came in 253.3ms, and at least 64 in at least 0.0ns were asked for"
        );
        assert_eq!(honest(65).refuted(&rule(64, 64), false).unwrap(), "65 samples came, and at most 64 were asked for");
        assert!(Claimed::default().refuted(&rule(1, 1), false).is_some(), "none at all");
        let short = StopRule { min_time: Duration::from_secs(10), ..rule(64, u32::MAX) };
        assert!(honest(64).refuted(&short, false).is_some(), "enough, and too early");
    }

    #[test]
    fn more_time_than_there_was_is_refuted() {
        let honest = honest(64);
        let slow = Claimed { wall: honest.sum / 2, ..honest };
        let said = slow.refuted(&rule(64, 64), false).unwrap();
        assert!(said.contains("and the request took"), "{said}");
        let spread = Claimed { span: honest.wall * 2, ..honest };
        assert!(spread.refuted(&rule(64, 64), true).is_some(), "by when they began");
        let mut overlapping = Claimed { wall: honest.wall * 2, ..Claimed::default() };
        (0..64).for_each(|index| overlapping.push(index * MS, 4 * MS + index * Duration::from_nanos(1)));
        assert!(overlapping.refuted(&rule(64, 64), true).unwrap().contains("before the one before it had ended"));
    }

    #[test]
    fn less_time_than_went_by_is_refuted_since_it_makes_a_number_look_better() {
        let honest = honest(64);
        let tenth = Claimed { sum: honest.sum / 10, ..honest };
        assert!(tenth.refuted(&rule(64, 64), false).unwrap().starts_with("64 samples are claimed to take 25."));
        assert_eq!(tenth.refuted(&rule(64, 64), true), None, "the control: one that is paced waits between them");
        let crowded = Claimed { waited: honest.sum * 9 / 10, ..tenth };
        assert_eq!(crowded.refuted(&rule(64, 64), false), None, "the control: it stood in the queue for a CPU");
        let nine_tenths = Claimed { sum: honest.sum.mul_f64(0.9), ..honest };
        assert_eq!(nine_tenths.refuted(&rule(64, 64), false), None, "the control");
    }

    #[test]
    fn equal_samples_are_refuted() {
        let equal = |samples: u32| {
            let mut claimed = Claimed::default();
            (0..samples).for_each(|index| claimed.push(index * 4 * MS, 4 * MS));
            Claimed { wall: claimed.span, ..claimed }
        };
        assert_eq!(
            equal(64).refuted(&rule(64, 64), false).unwrap(),
            "all of 64 samples are claimed to take exactly 4ms"
        );
        assert_eq!(equal(3).refuted(&rule(3, 3), false), None, "the control: a few may be");
    }
}
