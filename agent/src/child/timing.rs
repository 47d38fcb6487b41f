//! The timed loop. Between the two clock reads of a sample there is the inference and nothing else: samples go to
//! memory that was reserved and touched before the first of them.

use std::time::{Duration, Instant};

use seatrial_core::measure::stop;
use seatrial_core::profile::{MAX_SAMPLES, StopRule};

/// Between two times that progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Room for every sample of a process.
#[derive(Debug)]
pub struct Samples {
    /// Since the first sample's start, in ns.
    starts: Vec<u64>,
    latencies: Vec<u64>,
}

impl Samples {
    /// Memory for as many samples as a rule allows, every page of it touched.
    pub fn reserve(rule: &StopRule) -> Self {
        let count = rule.max_samples.min(MAX_SAMPLES) as usize;
        let touched = || {
            let mut room = vec![u64::MAX; count];
            room.clear();
            room
        };
        Self { starts: touched(), latencies: touched() }
    }

    pub fn len(&self) -> u32 {
        self.latencies.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.latencies.is_empty()
    }

    /// In ns, in order.
    pub fn latencies(&self) -> &[u64] {
        &self.latencies
    }

    /// In ns since the first, in order.
    pub fn starts(&self) -> &[u64] {
        &self.starts
    }

    fn is_full(&self) -> bool {
        self.latencies.len() == self.latencies.capacity()
    }
}

/// Something to time.
pub trait Timed {
    type Error;

    /// Before each sample, outside the timed region.
    fn make_ready(&mut self);

    /// One inference.
    fn infer(&mut self) -> Result<(), Self::Error>;
}

/// Times one inference after another until the rule is met; with an interval, one at each multiple of it. About once a
/// second, and never within a sample, `tell` hears how many there are and for how long it has gone on.
pub fn measure<T: Timed + ?Sized>(
    timed: &mut T,
    rule: &StopRule,
    interval: Option<Duration>,
    samples: &mut Samples,
    tell: &mut dyn FnMut(u32, Duration),
) -> Result<(), T::Error> {
    let origin = Instant::now();
    let mut told = origin;
    let mut due = origin;
    loop {
        timed.make_ready();
        if let Some(interval) = interval {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += interval;
        }
        let start = Instant::now();
        let inferred = timed.infer();
        let end = Instant::now();
        inferred?;
        samples.starts.push(nanos(start - origin));
        samples.latencies.push(nanos(end - start));
        if samples.is_full() || stop::is_met(rule, samples.len(), end - origin) {
            return Ok(());
        }
        if end - told >= TELL_EVERY {
            told = end;
            tell(samples.len(), end - origin);
        }
    }
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000_000 + u64::from(duration.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Work {
        calls: u32,
        fails_at: Option<u32>,
    }

    impl Timed for Work {
        type Error = &'static str;

        fn make_ready(&mut self) {}

        fn infer(&mut self) -> Result<(), Self::Error> {
            self.calls += 1;
            if self.fails_at == Some(self.calls) { Err("failed") } else { Ok(()) }
        }
    }

    fn rule(samples: u32) -> StopRule {
        StopRule { min_samples: samples, min_time: Duration::ZERO, max_samples: 1000, max_time: Duration::from_secs(5) }
    }

    #[test]
    fn as_many_samples_as_the_rule_asks_for() {
        let mut samples = Samples::reserve(&rule(10));
        measure(&mut Work { calls: 0, fails_at: None }, &rule(10), None, &mut samples, &mut |_, _| {}).unwrap();
        assert_eq!(samples.len(), 10);
        assert!(samples.starts().windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_failed_inference_is_no_sample() {
        let mut samples = Samples::reserve(&rule(10));
        let error = measure(&mut Work { calls: 0, fails_at: Some(4) }, &rule(10), None, &mut samples, &mut |_, _| {})
            .unwrap_err();
        assert_eq!((error, samples.len()), ("failed", 3));
    }

    #[test]
    fn room_that_is_full_ends_the_measurement() {
        let endless = StopRule { min_samples: u32::MAX, max_samples: 1000, ..rule(0) };
        let mut samples = Samples::reserve(&endless);
        measure(&mut Work { calls: 0, fails_at: None }, &endless, None, &mut samples, &mut |_, _| {}).unwrap();
        assert_eq!(samples.len(), 1000);
    }

    #[test]
    fn paced_samples_start_no_earlier_than_they_are_due() {
        let mut samples = Samples::reserve(&rule(5));
        let interval = Duration::from_millis(2);
        measure(&mut Work { calls: 0, fails_at: None }, &rule(5), Some(interval), &mut samples, &mut |_, _| {})
            .unwrap();
        for (index, &start) in samples.starts().iter().enumerate() {
            assert!(start >= 2_000_000 * index as u64, "sample {index} at {start} ns");
        }
    }
}
