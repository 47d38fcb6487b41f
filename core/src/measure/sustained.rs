//! What a long run shows: throttling over time.

use super::samples::Series;
use super::stats;
use crate::metric::Metric;
use crate::reason::Code;

/// Length of the windows at both ends that are compared, in s.
pub const END_WINDOW_S: f64 = 60.0;
/// Length of the windows in which throttling is looked for, in s.
pub const SEARCH_WINDOW_S: f64 = 30.0;
/// A window whose median exceeds this many times the first is throttled.
pub const THROTTLED: f64 = 1.10;
/// The stretch at the end over which sustained throughput is taken, in s.
pub const THROUGHPUT_WINDOW_S: f64 = 180.0;

/// Median latency of every full minute: minute from 0, median in ms. The last, unfinished minute is left out.
#[must_use]
pub fn minutes(series: &Series) -> Vec<(u32, f64)> {
    window_medians(series, 60.0).into_iter().map(|(start, median)| ((start / 60.0).round() as u32, median)).collect()
}

/// The metrics of one long process.
#[must_use]
pub fn metrics(series: &Series, batch: u64) -> Vec<Metric> {
    vec![throttle_ratio(series), time_to_throttle(series), sustained_throughput(series, batch)]
}

fn throttle_ratio(series: &Series) -> Metric {
    const NAME: &str = "throttle_ratio";
    let end = end_s(series);
    if end < 2.0 * END_WINDOW_S {
        return Metric::absent(
            NAME,
            format!("the run lasted {end:.0} s, at least {:.0} s are needed", 2.0 * END_WINDOW_S),
        );
    }
    let first = median_between(series, 0.0, END_WINDOW_S);
    let last = median_between(series, end - END_WINDOW_S, f64::INFINITY);
    match (first, last) {
        (Some(first), Some(last)) if first > 0.0 => Metric::exact(NAME, last / first),
        _ => Metric::absent(NAME, Code::NoEnds.template()),
    }
}

fn time_to_throttle(series: &Series) -> Metric {
    const NAME: &str = "time_to_throttle_s";
    let windows = window_medians(series, SEARCH_WINDOW_S);
    let Some((&(_, first), later)) = windows.split_first() else {
        return Metric::absent(NAME, format!("the run lasted less than {SEARCH_WINDOW_S:.0} s"));
    };
    match later.iter().find(|&&(_, median)| median > THROTTLED * first) {
        Some(&(start, _)) => Metric::exact(NAME, start),
        None => Metric::absent(
            NAME,
            format!(
                "never throttled: no {SEARCH_WINDOW_S:.0} s median exceeded {THROTTLED:.2} times the first in {:.0} s",
                end_s(series)
            ),
        ),
    }
}

fn sustained_throughput(series: &Series, batch: u64) -> Metric {
    const NAME: &str = "sus_sps";
    let end = end_s(series);
    if end < THROUGHPUT_WINDOW_S {
        return Metric::absent(
            NAME,
            format!("the run lasted {end:.0} s, at least {THROUGHPUT_WINDOW_S:.0} s are needed"),
        );
    }
    let from = series.start_s.partition_point(|&start| start < end - THROUGHPUT_WINDOW_S);
    // Of thinned samples the last stands for itself alone: what came after it was not kept.
    let samples = (series.start_s.len() - from).checked_sub(1).map_or(0, |more| more * series.every() as usize + 1);
    let seconds = series.start_s.get(from).map_or(0.0, |start| end - start);
    if seconds > 0.0 {
        Metric::exact(NAME, samples as f64 * batch as f64 / seconds)
    } else {
        Metric::absent(NAME, format!("no sample began in the last {THROUGHPUT_WINDOW_S:.0} s"))
    }
}

/// When the last sample ended, in s since the first began.
fn end_s(series: &Series) -> f64 {
    match (series.start_s.last(), series.latency_ms.last()) {
        (Some(start), Some(latency)) => start + latency / 1e3,
        _ => 0.0,
    }
}

/// Start and median of every full window of consecutive ones that holds a sample.
fn window_medians(series: &Series, length_s: f64) -> Vec<(f64, f64)> {
    let full = (end_s(series) / length_s).floor() as u32;
    (0..full)
        .filter_map(|index| {
            let start = f64::from(index) * length_s;
            Some((start, median_between(series, start, start + length_s)?))
        })
        .collect()
}

/// Median latency of the samples that began in the span.
fn median_between(series: &Series, from_s: f64, until_s: f64) -> Option<f64> {
    let from = series.start_s.partition_point(|&start| start < from_s);
    let until = series.start_s.partition_point(|&start| start < until_s);
    stats::median_of(series.latency_ms.get(from..until)?.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Thinned;

    /// A run at `before_ms` that becomes `after_ms` at `change_s`, one inference every 100 ms.
    fn run(total_s: u32, change_s: f64, before_ms: f64, after_ms: f64) -> Series {
        let start_s: Vec<f64> = (0..total_s * 10).map(|i| f64::from(i) / 10.0).collect();
        let latency_ms = start_s.iter().map(|&start| if start < change_s { before_ms } else { after_ms }).collect();
        Series { process: 0, latency_ms, start_s, thinned: None }
    }

    fn value(metric: &Metric) -> Option<f64> {
        metric.value.present().map(|estimate| estimate.value)
    }

    #[test]
    fn throttling_is_the_last_minute_over_the_first() {
        assert_eq!(value(&throttle_ratio(&run(600, 300.0, 50.0, 75.0))), Some(1.5));
        assert_eq!(value(&throttle_ratio(&run(600, 900.0, 50.0, 75.0))), Some(1.0));
    }

    #[test]
    fn the_time_to_throttle_is_the_start_of_the_first_slow_window() {
        assert_eq!(value(&time_to_throttle(&run(600, 300.0, 50.0, 75.0))), Some(300.0));
        assert_eq!(
            value(&time_to_throttle(&run(600, 280.0, 50.0, 75.0))),
            Some(270.0),
            "two thirds of its samples are slow"
        );
    }

    #[test]
    fn a_run_that_never_throttles_has_no_time_to_throttle_rather_than_zero() {
        let metric = time_to_throttle(&run(600, 300.0, 50.0, 54.0));
        assert_eq!(
            metric.value.reason(),
            Some("never throttled: no 30 s median exceeded 1.10 times the first in 600 s")
        );
    }

    #[test]
    fn short_runs_say_what_they_lack() {
        let short = run(100, 900.0, 50.0, 50.0);
        assert_eq!(throttle_ratio(&short).value.reason(), Some("the run lasted 100 s, at least 120 s are needed"));
        assert_eq!(
            sustained_throughput(&short, 1).value.reason(),
            Some("the run lasted 100 s, at least 180 s are needed")
        );
    }

    #[test]
    fn thinned_samples_stand_for_the_inferences_between_them() {
        let whole = run(600, 900.0, 50.0, 50.0);
        let fourth = |values: &[f64]| values.iter().copied().step_by(4).collect();
        let thinned = Series {
            latency_ms: fourth(&whole.latency_ms),
            start_s: fourth(&whole.start_s),
            thinned: Some(Thinned {
                every: 4,
                inferences: 6_000,
                total_ns: 300_000_000_000,
                least_ns: 50_000_000,
                most_ns: 50_000_000,
            }),
            process: 0,
        };
        let [of_all, of_some] = [&whole, &thinned].map(|series| value(&sustained_throughput(series, 1)).unwrap());
        assert!((of_some / of_all - 1.0).abs() < 0.001, "{of_some} against {of_all}");
    }

    #[test]
    fn sustained_throughput_counts_the_last_three_minutes_with_their_pauses() {
        let sps = value(&sustained_throughput(&run(600, 900.0, 50.0, 50.0), 4)).unwrap();
        assert!((sps - 40.0).abs() < 0.05, "{sps} samples a second at ten batches of four");
    }

    #[test]
    fn minutes_are_full_minutes() {
        assert_eq!(minutes(&run(150, 60.0, 50.0, 75.0)), [(0, 50.0), (1, 75.0)]);
    }
}
