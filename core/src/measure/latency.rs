//! The metrics of latency and throughput.
//!
//! Percentiles and moments are taken over the samples of all processes together, all thinned as far as the one that is
//! thinned most: an inference of each weighs the same. One process is not a replicate, so
//! the interval of the median reaches over the medians of the processes as well. `lat_between_cv` says how far these
//! are apart, `lat_within_rcv` how far the samples of one process are, and `lat_rcv` has both in it.

use super::samples::Series;
use super::stats;
use crate::metric::{Estimate, Metric};
use crate::reading::Reading;
use crate::reason::Code;

/// Everything that the latencies alone say. At least one series with at least one sample.
#[must_use]
pub fn metrics(series: &[Series]) -> Vec<Metric> {
    let all = pooled(series);
    let sorted = stats::sorted(all.iter().copied());
    let extremes = series.iter().filter_map(Series::extremes);
    let few = |least: usize| format!("{} samples, at least {least} are needed", sorted.len());
    let value = |name: &str, value: Option<f64>, least: usize| match value {
        Some(value) => Metric::exact(name, value),
        None => Metric::absent(name, few(least)),
    };
    let centre = stats::median(&sorted);
    let mad = centre.and_then(|centre| stats::median_absolute_deviation(&sorted, centre));
    let rcv = match centre {
        Some(0.0) => Metric::absent("lat_rcv", Code::ClockTooCoarse.template()),
        _ => value("lat_rcv", centre.zip(mad).and_then(|(centre, mad)| stats::robust_cv(centre, mad)), 1),
    };

    vec![
        median(series, &sorted),
        value("lat_mean_ms", mean(series), 1),
        value("lat_min_ms", extremes.clone().map(|(least, _)| least).reduce(f64::min), 1),
        value("lat_max_ms", extremes.map(|(_, most)| most).reduce(f64::max), 1),
        value("lat_p90_ms", stats::percentile(&sorted, 0.90), 1),
        value("lat_p95_ms", stats::percentile(&sorted, 0.95), 1),
        value("lat_p99_ms", stats::percentile(&sorted, 0.99), 1),
        value("lat_sd_ms", stats::standard_deviation(&all), 2),
        value("lat_tm80_ms", stats::central_mean(&sorted), 1),
        value("lat_mad_ms", mad, 1),
        rcv,
        value("lat_p90_es_ms", stats::early_stopping_percentile(&sorted, 0.90), 64),
        value("lat_p95_es_ms", stats::early_stopping_percentile(&sorted, 0.95), 130),
        value("lat_p99_es_ms", stats::early_stopping_percentile(&sorted, 0.99), 662),
        Metric::exact("lat_samples", sorted.len() as f64),
    ]
}

/// The samples of all processes, one of as many inferences in each.
fn pooled(series: &[Series]) -> Vec<f64> {
    let every = Series::thinnest(series);
    series.iter().flat_map(|process| process.latency_ms.iter().copied().step_by(process.steps(every))).collect()
}

/// Over every timed inference, whether or not it is a sample.
fn mean(series: &[Series]) -> Option<f64> {
    let (inferences, milliseconds) = totals(series);
    (inferences > 0).then(|| milliseconds / inferences as f64)
}

/// Timed inferences of all processes, and the sum of their latencies in ms.
fn totals(series: &[Series]) -> (u64, f64) {
    series.iter().map(Series::totals).fold((0, 0.0), |(count, sum), (more, longer)| (count + more, sum + longer))
}

/// The median of each process, in ms.
#[must_use]
pub fn medians(series: &[Series]) -> Vec<f64> {
    series.iter().filter_map(|process| stats::median_of(process.latency_ms.iter().copied())).collect()
}

/// The median with the interval that encloses its own order-statistic interval and the medians of the processes.
fn median(series: &[Series], sorted: &[f64]) -> Metric {
    let value = match stats::median(sorted) {
        Some(value) => {
            let interval = stats::median_interval(sorted).map(|interval| {
                medians(series).into_iter().fold(interval, |(low, high), each| (low.min(each), high.max(each)))
            });
            Reading::Present(Estimate { value, interval })
        }
        None => Reading::absent(Code::NoSamples.template()),
    };
    Metric::new("lat_p50_ms", value)
}

/// Spread within one process, without what lies between processes: the median of their robust coefficients of variation.
#[must_use]
pub fn within_rcv(series: &[Series]) -> Metric {
    const NAME: &str = "lat_within_rcv";
    let of = |process: &Series| {
        let sorted = stats::sorted(process.latency_ms.iter().copied());
        let centre = stats::median(&sorted)?;
        stats::robust_cv(centre, stats::median_absolute_deviation(&sorted, centre)?)
    };
    match stats::median_of(series.iter().filter_map(of)) {
        Some(spread) => Metric::exact(NAME, spread),
        None if series.is_empty() => Metric::absent(NAME, Code::NoSamples.template()),
        None => Metric::absent(NAME, Code::ClockTooCoarse.template()),
    }
}

/// Spread of the medians of fresh processes: their standard deviation over their mean.
#[must_use]
pub fn between_cv(series: &[Series]) -> Metric {
    match stats::coefficient_of_variation(&medians(series)) {
        Some(cv) => Metric::exact("lat_between_cv", cv),
        None => {
            Metric::absent("lat_between_cv", format!("{} process with samples, at least 2 are needed", series.len()))
        }
    }
}

/// Samples a second, back to back: inferences times batch, over the sum of their latencies.
#[must_use]
pub fn throughput(series: &[Series], batch: u64) -> Metric {
    let (inferences, milliseconds) = totals(series);
    if milliseconds > 0.0 {
        Metric::exact("throughput_sps", inferences as f64 * batch as f64 / (milliseconds / 1e3))
    } else {
        Metric::absent("throughput_sps", Code::NoMeasurableTime.template())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Thinned;

    fn series(process: u8, latency_ms: Vec<f64>) -> Series {
        Series { process, start_s: vec![0.0; latency_ms.len()], latency_ms, thinned: None }
    }

    fn around(level: f64) -> Vec<f64> {
        (0..101).map(|i| level + f64::from(i - 50) / 1_000.0).collect()
    }

    fn find<'a>(metrics: &'a [Metric], name: &str) -> &'a Reading<Estimate> {
        &metrics.iter().find(|metric| metric.name == name).unwrap().value
    }

    #[test]
    fn thinned_samples_hide_neither_the_longest_inference_nor_the_number_of_all() {
        // Every fourth of 1,000 inferences of 2 ms; the one of 90 ms is not among them.
        let thinned =
            Thinned { every: 4, inferences: 1_000, total_ns: 2_088_000_000, least_ns: 1_900_000, most_ns: 90_000_000 };
        let each = Series { thinned: Some(thinned), ..series(0, vec![2.0; 250]) };
        let metrics = metrics(std::slice::from_ref(&each));
        let value = |name: &str| {
            let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
            metric.value.present().unwrap().value
        };
        assert_eq!((value("lat_min_ms"), value("lat_max_ms")), (1.9, 90.0));
        assert_eq!((value("lat_mean_ms"), value("lat_p50_ms"), value("lat_samples")), (2.088, 2.0, 250.0));
        let throughput = throughput(&[each], 2).value.present().unwrap().value;
        assert!((throughput - 2_000.0 / 2.088).abs() < 1e-9, "{throughput}");
    }

    #[test]
    fn processes_that_were_thinned_differently_count_alike_in_what_is_pooled() {
        // 800 inferences of 1 ms, of which all are kept, and 802 of 3 ms, of which every second is.
        let thinned =
            Thinned { every: 2, inferences: 802, total_ns: 2_406_000_000, least_ns: 3_000_000, most_ns: 3_000_000 };
        let just_fits = series(0, vec![1.0; 800]);
        let just_over = Series { thinned: Some(thinned), ..series(1, vec![3.0; 401]) };
        let metrics = metrics(&[just_fits, just_over]);
        let value = |name: &str| find(&metrics, name).present().unwrap().value;
        // 400 and 401 samples: taken as they are, 800 of 1,201 would be those of the first, and the median its 1 ms.
        assert_eq!((value("lat_samples"), value("lat_p50_ms")), (801.0, 3.0));
        // As `statistics.stdev` of Python has it.
        assert!((value("lat_sd_ms") - 1.000_624_025).abs() < 1e-9, "{}", value("lat_sd_ms"));
        assert!((value("lat_mean_ms") - 3_206.0 / 1_602.0).abs() < 1e-9, "of all inferences, as before");
    }

    #[test]
    fn the_median_of_one_process_has_its_order_statistic_interval() {
        let metrics = metrics(&[series(0, around(5.0))]);
        let Reading::Present(Estimate { value, interval: Some((low, high)) }) = *find(&metrics, "lat_p50_ms") else {
            panic!("an interval")
        };
        assert_eq!(value, 5.0);
        assert!(
            (low - 4.99).abs() < 1e-9 && (high - 5.01).abs() < 1e-9,
            "41st from either end of 101: {low} to {high}"
        );
    }

    #[test]
    fn the_interval_reaches_over_the_medians_of_all_processes() {
        let processes = [series(0, around(5.0)), series(1, around(5.5)), series(2, around(5.1))];
        let metrics = metrics(&processes);
        let Reading::Present(Estimate { value, interval: Some(interval) }) = *find(&metrics, "lat_p50_ms") else {
            panic!("an interval")
        };
        assert!((5.05..5.15).contains(&value));
        assert_eq!(interval, (5.0, 5.5), "303 samples pretend to know more than three processes do");
        let Reading::Present(cv) = between_cv(&processes).value else { panic!("three processes have a spread") };
        // numpy: np.std([5, 5.5, 5.1], ddof=1) / np.mean([5, 5.5, 5.1])
        assert!((cv.value - 0.050_879_832_905_088_29).abs() < 1e-12, "{}", cv.value);
    }

    #[test]
    fn the_spread_within_a_process_does_not_grow_with_the_distance_between_processes() {
        let near = [series(0, around(5.0)), series(1, around(5.0)), series(2, around(5.0))];
        let apart = [series(0, around(5.0)), series(1, around(10.0)), series(2, around(20.0))];
        let value = |metric: &Metric| metric.value.present().unwrap().value;
        let pooled = |processes: &[Series]| find(&metrics(processes), "lat_rcv").present().unwrap().value;
        // 1.4826 × 25 µs, over 5 and over 10 ms.
        assert!((value(&within_rcv(&near)) - 0.007_413).abs() < 1e-6, "{:?}", within_rcv(&near));
        assert!((value(&within_rcv(&apart)) - 0.003_706).abs() < 1e-6, "{:?}", within_rcv(&apart));
        assert!(pooled(&apart) > 0.5, "all samples together are as far apart as their processes");
        assert_eq!(within_rcv(&[]).value.reason(), Some(Code::NoSamples.template()));
        assert_eq!(within_rcv(&[series(0, vec![0.0; 9])]).value.reason(), Some(Code::ClockTooCoarse.template()));
    }

    #[test]
    fn too_few_samples_make_absent_percentiles_rather_than_zeros() {
        let metrics = metrics(&[series(0, vec![1.0; 63])]);
        assert_eq!(find(&metrics, "lat_p90_es_ms").reason(), Some("63 samples, at least 64 are needed"));
        assert_eq!(find(&metrics, "lat_p99_es_ms").reason(), Some("63 samples, at least 662 are needed"));
        let metrics = super::metrics(&[series(0, vec![1.0; 5])]);
        assert_eq!(find(&metrics, "lat_p50_ms").present().map(|estimate| estimate.interval), Some(None));
    }

    #[test]
    fn one_process_has_no_spread_between_processes() {
        let metric = between_cv(&[series(0, around(5.0))]);
        assert_eq!(metric.value.reason(), Some("1 process with samples, at least 2 are needed"));
    }

    #[test]
    fn throughput_counts_every_example_of_a_batch() {
        let metric = throughput(&[series(0, vec![10.0; 50]), series(1, vec![30.0; 50])], 8);
        assert_eq!(metric.value.present().map(|estimate| estimate.value), Some(400.0));
        let stopped = throughput(&[series(0, vec![0.0; 3])], 1);
        assert_eq!(stopped.value.reason(), Some(Code::NoMeasurableTime.template()));
    }
}
