//! Whether what an engine says of its own times can be true, given what its caller saw of the same request.
//!
//! An engine in a process of its own times itself, since its caller's times would hold the way there and back. Its
//! caller can still refute it: nothing fits into less time than it took, and time that is missing was spent somewhere.
//! Where it may have been spent in the queue for a CPU, nobody knows, and it is neither believed nor called a lie.

use std::fmt;
use std::time::Duration;

use super::{interference, stop};
use crate::profile::StopRule;
use crate::report::Unaccounted;

/// By how much two clocks of one machine may differ over a request: 0.1 %, and 1 ms for what lies around it.
const CLOCK_SHARE: f64 = 1e-3;
const CLOCK_SLACK: Duration = Duration::from_millis(1);
/// So many equal durations are no measurement, whatever the clock's resolution.
const EQUAL_SAMPLES: u64 = 16;
/// Requests of fewer samples are no measurement, and mostly the way there and back.
const ACCOUNTED_SAMPLES: u64 = interference::LEAST_INFERENCES;
/// So much may lie between two samples, whichever is more: a share of them, or what a loop in a slow language takes on a
/// small core with its part of telling them (about 4 µs in Python on a desktop's).
const BETWEEN_SHARE: f64 = 0.02;
const BETWEEN: Duration = Duration::from_micros(25);
/// And so much around the whole of them, for the way there and back.
const AROUND: Duration = Duration::from_millis(10);
/// Bytes of inputs and outputs that are written and read in a second, in the slowest case.
const MOVED_PER_SECOND: f64 = 1e8;

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
    /// How long threads of its process and of the caller's wanted a CPU in this time and had none: nobody's lie. `None`
    /// where the kernel does not tell.
    pub waited: Option<Duration>,
    /// Bytes of inputs and outputs that went with the request.
    pub moved: u64,
}

/// Whether it is asked of a request by this rule where its time went.
#[must_use]
pub const fn is_accounted(rule: &StopRule) -> bool {
    rule.max_samples as u64 >= ACCOUNTED_SAMPLES
}

/// What becomes of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Belief {
    /// It can be true.
    Believed,
    /// Time is missing, and it may have been spent waiting for a CPU.
    Untold(Unaccounted),
    /// Why it cannot be true.
    Refuted(String),
}

impl fmt::Display for Unaccounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing_ms, borne_ms, waited_ms } = self;
        write!(f, "{missing_ms:.1} ms of a request lie outside of its samples, {borne_ms:.1} ms are borne, and ")?;
        match waited_ms {
            Some(waited) => write!(f, "threads waited {waited:.1} ms for a CPU"),
            None => f.write_str("the kernel does not tell how long threads waited for a CPU"),
        }
    }
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

    /// Whether it can be true. `paced` says that the engine waited between inferences.
    #[must_use]
    pub fn judge(&self, rule: &StopRule, paced: bool) -> Belief {
        match self.contradiction(rule) {
            Some(why) => Belief::Refuted(why),
            // Who waits between inferences need not account for it.
            None if paced || self.samples < ACCOUNTED_SAMPLES => Belief::Believed,
            None => self.account(),
        }
    }

    /// Where the time went that is in no sample.
    fn account(&self) -> Belief {
        let Self { samples, sum, wall, waited, moved, .. } = *self;
        let missing = wall.saturating_sub(sum);
        let between = BETWEEN.mul_f64(samples as f64).max(sum.mul_f64(BETWEEN_SHARE));
        let borne = between + AROUND + Duration::from_secs_f64(moved as f64 / MOVED_PER_SECOND);
        if missing <= borne {
            return Belief::Believed;
        }
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        match waited {
            Some(waited) if missing > borne.saturating_add(waited) => Belief::Refuted(format!(
                "{samples} samples are claimed to take {sum:.3?} of a request that took {wall:.3?}: {missing:.3?} are \
                 missing, {borne:.3?} are borne, and it waited {waited:.3?} for a CPU"
            )),
            waited => {
                Belief::Untold(Unaccounted { missing_ms: ms(missing), borne_ms: ms(borne), waited_ms: waited.map(ms) })
            }
        }
    }

    /// Why it cannot be true, wherever the time went.
    fn contradiction(&self, rule: &StopRule) -> Option<String> {
        let Self { samples, sum, span, least, most, overlap, wall, .. } = *self;
        let count = u32::try_from(samples).unwrap_or(u32::MAX);
        let most_time = wall.mul_f64(1.0 + CLOCK_SHARE).saturating_add(CLOCK_SLACK);
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
        } else {
            None
        }
    }
}

#[cfg(test)]
#[path = "plausible_tests.rs"]
mod tests;
