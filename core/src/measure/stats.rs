//! Order statistics and moments of samples. Functions that need order take slices that are already sorted.

use super::binomial;

/// Makes the median absolute deviation of a normal distribution its standard deviation: 1 / Φ⁻¹(¾).
pub const MAD_TO_SD: f64 = 1.4826;

/// The values in ascending order. Values that are not numbers come last.
#[must_use]
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The percentile `p` (0 to 1) by linear interpolation at `(n − 1) p`: type 7 of Hyndman and Fan, *Sample Quantiles in
/// Statistical Packages* (1996), the default of numpy. `None` without samples.
#[must_use]
pub fn percentile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = p.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let share = position - below as f64;
    Some(if share == 0.0 { sorted[below] } else { sorted[below] + (sorted[above] - sorted[below]) * share })
}

#[must_use]
pub fn median(sorted: &[f64]) -> Option<f64> {
    percentile(sorted, 0.5)
}

/// The median of values in any order. Selects where sorting would take several times as long.
#[must_use]
pub fn median_of(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    if values.is_empty() {
        return None;
    }
    let (odd, middle) = (values.len() % 2 == 1, values.len() / 2);
    let (lower, &mut above, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return Some(above);
    }
    let below = lower.iter().copied().max_by(f64::total_cmp)?;
    Some(below + (above - below) * 0.5)
}

/// The 95 % interval of the median between two order statistics; see [`binomial::median_rank`]. `None` below 6 samples.
#[must_use]
pub fn median_interval(sorted: &[f64]) -> Option<(f64, f64)> {
    let rank = binomial::median_rank(sorted.len())?;
    Some((sorted[rank - 1], sorted[sorted.len() - rank]))
}

/// An upper estimate of a percentile at 99 % confidence; see [`binomial::early_stopping_overlatencies`].
#[must_use]
pub fn early_stopping_percentile(sorted: &[f64], p: f64) -> Option<f64> {
    let overlatencies = binomial::early_stopping_overlatencies(sorted.len(), p)?;
    Some(sorted[sorted.len() - overlatencies])
}

#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation with n − 1; `None` below 2 values.
#[must_use]
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Mean of what is left when ⌊n / 10⌋ values are dropped at each end.
#[must_use]
pub fn central_mean(sorted: &[f64]) -> Option<f64> {
    let cut = sorted.len() / 10;
    mean(&sorted[cut..sorted.len() - cut])
}

/// Median of the absolute deviations from `centre`, the median of the values.
#[must_use]
pub fn median_absolute_deviation(values: &[f64], centre: f64) -> Option<f64> {
    median_of(values.iter().map(|value| (value - centre).abs()))
}

/// 1.4826 MAD / median: the coefficient of variation that a few outliers do not move. `None` when the median is zero.
#[must_use]
pub fn robust_cv(centre: f64, mad: f64) -> Option<f64> {
    (centre != 0.0).then(|| MAD_TO_SD * mad / centre)
}

/// Standard deviation over mean; `None` below 2 values or when the mean is zero.
#[must_use]
pub fn coefficient_of_variation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|&mean| mean != 0.0)?;
    Some(standard_deviation(values)? / mean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLES: [f64; 11] = [5.1, 4.9, 5.0, 5.3, 4.8, 5.05, 7.9, 5.2, 4.95, 5.15, 5.02];

    fn close(actual: Option<f64>, expected: f64) {
        let actual = actual.unwrap();
        assert!((actual - expected).abs() <= 1e-12 * expected.abs(), "{actual} is not {expected}");
    }

    /// Values of numpy 2.4 and scipy 1.17 for the same samples.
    #[test]
    fn statistics_are_those_of_numpy_and_scipy() {
        let ordered = sorted(SAMPLES);
        close(percentile(&ordered, 0.50), 5.05);
        close(percentile(&ordered, 0.90), 5.3);
        close(percentile(&ordered, 0.95), 6.6);
        close(percentile(&ordered, 0.99), 7.640_000_000_000_001_5);
        close(mean(&SAMPLES), 5.306_363_636_363_637);
        close(standard_deviation(&SAMPLES), 0.871_519_050_018_675_6);
        close(central_mean(&ordered), 5.074_444_444_444_444_5);
        close(median_absolute_deviation(&ordered, 5.05), 0.1);
        close(robust_cv(5.05, 0.1), 0.029_358_415_841_584_315);
        close(coefficient_of_variation(&SAMPLES), 0.164_240_355_494_354_3);
    }

    proptest! {
        #[test]
        fn a_selected_median_is_the_median_of_the_sorted_values_to_the_last_bit(
            values in prop::collection::vec(prop_oneof![0.0..1e3_f64, Just(1.0)], 0..60),
        ) {
            let selected = median_of(values.iter().copied()).map(f64::to_bits);
            prop_assert_eq!(selected, median(&sorted(values)).map(f64::to_bits));
        }
    }

    #[test]
    fn the_interval_of_the_median_lies_between_two_samples() {
        let ordered: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(median_interval(&ordered), Some((40.0, 61.0)), "the 40th from either end");
        assert_eq!(median_interval(&ordered[..5]), None, "five samples give no 95 %");
    }

    #[test]
    fn the_early_stopping_percentile_of_64_samples_is_the_slowest() {
        let ordered: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(early_stopping_percentile(&ordered[..64], 0.90), Some(64.0));
        assert_eq!(early_stopping_percentile(&ordered, 0.90), Some(98.0), "index 100 - 3");
        assert_eq!(early_stopping_percentile(&ordered, 0.95), None);
    }

    #[test]
    fn without_samples_there_is_no_number() {
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(central_mean(&[]), None);
        assert_eq!(median_absolute_deviation(&[], 0.0), None);
        assert_eq!(standard_deviation(&[1.0]), None, "one sample has no spread");
        assert_eq!(robust_cv(0.0, 0.0), None, "nothing is relative to zero");
    }

    proptest! {
        #[test]
        fn percentiles_rise_and_stay_within_the_samples(
            values in prop::collection::vec(0.0_f64..1e9, 1..200), p in 0.0_f64..=1.0, q in 0.0_f64..=1.0
        ) {
            let ordered = sorted(values);
            let (low, high) = (percentile(&ordered, p.min(q)).unwrap(), percentile(&ordered, p.max(q)).unwrap());
            prop_assert!(low <= high);
            prop_assert!(ordered[0] <= low && high <= ordered[ordered.len() - 1]);
        }

        #[test]
        fn the_interval_encloses_the_median(values in prop::collection::vec(0.0_f64..1e9, 6..200)) {
            let ordered = sorted(values);
            let (low, high) = median_interval(&ordered).unwrap();
            let centre = median(&ordered).unwrap();
            prop_assert!(low <= centre && centre <= high);
        }

        #[test]
        fn the_spread_does_not_depend_on_the_level(values in prop::collection::vec(1_i32..1_000, 2..50), level in 1_i32..100_000) {
            let moved = sorted(values.iter().map(|&value| f64::from(value + level)));
            let ordered = sorted(values.iter().map(|&value| f64::from(value)));
            let spread = |values: &[f64]| median_absolute_deviation(values, median(values).unwrap());
            prop_assert_eq!(spread(&ordered), spread(&moved));
        }
    }
}
