//! When a model is warm: the rule is [`crate::profile::WarmupRule`], this decides it sample by sample.

use std::time::Duration;

use crate::profile::WarmupRule;

/// Samples in each of the two medians that are compared.
const WINDOW: usize = 5;
/// Warming up ends here in any case, for models so fast that `max_time` alone would be no bound.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// Watches the warm-up of one process. Time is the sum of the latencies it is given, so it needs no clock.
#[derive(Debug, Clone)]
pub struct Warmup {
    rule: WarmupRule,
    iterations: u32,
    elapsed: Duration,
    /// The last ten latencies, as a ring.
    recent: [Duration; 2 * WINDOW],
}

impl Warmup {
    #[must_use]
    pub const fn new(rule: WarmupRule) -> Self {
        Self { rule, iterations: 0, elapsed: Duration::ZERO, recent: [Duration::ZERO; 2 * WINDOW] }
    }

    /// Takes the latency of one more inference; true when the model is warm and measuring may begin.
    pub fn push(&mut self, latency: Duration) -> bool {
        self.recent[self.iterations as usize % self.recent.len()] = latency;
        self.iterations = self.iterations.saturating_add(1);
        self.elapsed = self.elapsed.saturating_add(latency);

        let capped = self.elapsed >= self.rule.max_time || self.iterations >= MAX_ITERATIONS;
        capped
            || (self.iterations >= self.rule.min_iterations && self.elapsed >= self.rule.min_time && self.is_steady())
    }

    /// Inferences so far.
    #[must_use]
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Sum of the latencies so far.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Whether the median of the last five improves by less than the rule's share on that of the five before.
    fn is_steady(&self) -> bool {
        if (self.iterations as usize) < self.recent.len() {
            return false;
        }
        let oldest = self.iterations as usize % self.recent.len();
        let ordered = |from: usize| {
            let mut window = [Duration::ZERO; WINDOW];
            for (offset, latency) in window.iter_mut().enumerate() {
                *latency = self.recent[(oldest + from + offset) % self.recent.len()];
            }
            window.sort_unstable();
            window[WINDOW / 2].as_secs_f64()
        };
        let (before, last) = (ordered(0), ordered(WINDOW));
        last > before * (1.0 - self.rule.min_improvement) || before == 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: WarmupRule = WarmupRule {
        min_iterations: 3,
        min_time: Duration::from_millis(500),
        min_improvement: 0.03,
        max_time: Duration::from_secs(20),
    };

    /// Iterations until warm, or `None` when the latencies run out first.
    fn warm_after(rule: WarmupRule, latencies: impl IntoIterator<Item = Duration>) -> Option<u32> {
        let mut warmup = Warmup::new(rule);
        latencies.into_iter().find(|&latency| warmup.push(latency)).map(|_| warmup.iterations())
    }

    fn steady(milliseconds: u64) -> impl Iterator<Item = Duration> {
        std::iter::repeat(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_steady_model_is_warm_when_the_least_time_has_passed() {
        assert_eq!(warm_after(RULE, steady(10)), Some(50));
    }

    #[test]
    fn a_slow_steady_model_needs_two_windows_of_five() {
        assert_eq!(warm_after(RULE, steady(1_000)), Some(10));
    }

    #[test]
    fn a_model_that_still_gets_faster_is_not_warm() {
        // Five at 200 ms, then 4 % faster every five; it levels off after the fifth step.
        let latencies = (0..60).map(|i| Duration::from_secs_f64(0.2 * 0.96_f64.powi((i / 5).min(5))));
        assert_eq!(warm_after(RULE, latencies), Some(33), "the last median still counts two of the faster samples");
    }

    #[test]
    fn an_improvement_below_three_percent_counts_as_steady() {
        let latencies = (0..60).map(|i| Duration::from_secs_f64(0.2 * 0.98_f64.powi(i / 5)));
        assert_eq!(warm_after(RULE, latencies), Some(10));
    }

    #[test]
    fn a_model_that_gets_slower_is_warm() {
        let latencies = (0..60).map(|i| Duration::from_secs_f64(0.2 * 1.05_f64.powi(i)));
        assert_eq!(warm_after(RULE, latencies), Some(10));
    }

    #[test]
    fn warming_up_is_capped_in_time() {
        let ever_faster = (0..1_000).map(|i| Duration::from_secs_f64(4.0 * 0.99_f64.powi(i)));
        let expected = 6; // 4 + 3.96 + 3.92 + 3.88 + 3.84 = 19.6 s
        assert_eq!(warm_after(RULE, ever_faster), Some(expected));
    }

    #[test]
    fn warming_up_is_capped_in_iterations() {
        let mut warmup = Warmup::new(RULE);
        let mut pushes = 1_u32;
        while !warmup.push(Duration::ZERO) {
            pushes += 1;
        }
        assert_eq!(pushes, MAX_ITERATIONS, "a clock that stands still must not warm up for ever");
    }
}
