//! Inference at a fixed rate: one is due every interval, and one that is not done when the next is due is late.

use std::time::Duration;

use super::samples::Series;
use crate::accuracy::classification::wilson;
use crate::metric::{Estimate, Metric};
use crate::reading::Reading;
use crate::reason::Code;

/// Share of inferences that ended after the next one was due, with its Wilson interval. Inference `i` is due at
/// `i · interval` after the start of the first, so a device that falls behind stays late until it catches up. Of several
/// processes one of as many inferences is looked at in each.
#[must_use]
pub fn missed(series: &[Series], interval: Option<Duration>) -> Metric {
    const NAME: &str = "paced_missed";
    let Some(interval) = interval.filter(|interval| !interval.is_zero()) else {
        return Metric::absent(NAME, Code::NoInterval.template());
    };
    let every = Series::thinnest(series);
    let each = || series.iter().flat_map(|process| late(process, interval.as_secs_f64()).step_by(process.steps(every)));
    let total = each().count();
    if total == 0 {
        return Metric::absent(NAME, Code::NoSamples.template());
    }
    let missed = each().filter(|&late| late).count();
    let interval = wilson(missed as u64, total as u64);
    Metric::new(NAME, Reading::Present(Estimate { value: missed as f64 / total as f64, interval: Some(interval) }))
}

/// Of each sample, whether it ended after the next inference was due.
fn late(series: &Series, interval_s: f64) -> impl Iterator<Item = bool> {
    // Start times have a resolution of 1 µs, so an end within it is on time.
    const RESOLUTION_S: f64 = 1e-6;
    let ends = series.start_s.iter().zip(&series.latency_ms).map(|(start, latency)| start + latency / 1e3);
    let every = series.every() as usize;
    ends.enumerate().map(move |(index, end)| end > (index * every + 1) as f64 * interval_s + RESOLUTION_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Thinned;

    fn share(start_s: &[f64], latency_ms: &[f64]) -> f64 {
        let series = Series { process: 0, latency_ms: latency_ms.to_vec(), start_s: start_s.to_vec(), thinned: None };
        missed(&[series], Some(Duration::from_millis(10))).value.present().unwrap().value
    }

    #[test]
    fn an_inference_that_ends_before_the_next_is_due_is_on_time() {
        assert_eq!(share(&[0.0, 0.01, 0.02, 0.03], &[10.0, 9.0, 1.0, 9.9]), 0.0);
    }

    #[test]
    fn an_inference_that_ends_after_the_next_is_due_is_missed() {
        assert_eq!(share(&[0.0, 0.01, 0.02, 0.03], &[1.0, 10.1, 1.0, 1.0]), 0.25);
    }

    #[test]
    fn a_device_that_falls_behind_stays_late_until_it_catches_up() {
        // The second takes 25 ms; the third begins late and ends late although it is fast, the fourth is on time.
        assert_eq!(share(&[0.0, 0.01, 0.035, 0.037], &[1.0, 25.0, 2.0, 2.0]), 0.5);
    }

    #[test]
    fn of_processes_that_were_thinned_differently_each_weighs_the_same() {
        // 8 inferences each: the first process kept all and missed every one, the second kept every second and missed none.
        let thinned = Thinned { every: 2, inferences: 8, total_ns: 8_000_000, least_ns: 1_000_000, most_ns: 1_000_000 };
        let all = Series {
            process: 0,
            latency_ms: vec![25.0; 8],
            start_s: (0..8).map(|i| f64::from(i) * 0.025).collect(),
            thinned: None,
        };
        let half = Series {
            process: 1,
            latency_ms: vec![1.0; 4],
            start_s: (0..4).map(|i| f64::from(i) * 0.02).collect(),
            thinned: Some(thinned),
        };
        let missed = missed(&[all, half], Some(Duration::from_millis(10)));
        assert_eq!(missed.value.present().map(|estimate| estimate.value), Some(0.5));
    }

    #[test]
    fn without_an_interval_there_is_no_deadline() {
        assert_eq!(missed(&[], None).value.reason(), Some(Code::NoInterval.template()));
    }
}
