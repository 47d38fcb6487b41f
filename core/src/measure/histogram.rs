//! Counts by value, for charts.

use super::stats;

/// Values in bins of equal width. The long tail is cut off and counted, so that a few outliers do not flatten the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub from: f64,
    /// Width of a bin; zero when all values are equal.
    pub width: f64,
    /// Values in each bin.
    pub counts: Vec<u32>,
    /// Values beyond the last bin.
    pub above: u32,
}

impl Histogram {
    /// Bins from the smallest value to the 99th percentile, or to the largest value when that is no further than
    /// twice as far. The width follows Freedman and Diaconis (1981), 2 IQR / ∛n, within 1 to `max_bins` bins.
    /// `None` without values or bins.
    #[must_use]
    pub fn of(sorted: &[f64], max_bins: usize) -> Option<Self> {
        let (&from, &last) = sorted.first().zip(sorted.last())?;
        let body = stats::percentile(sorted, 0.99)?;
        if max_bins == 0 || !from.is_finite() || !last.is_finite() {
            return None;
        }
        let until = if last - from <= 2.0 * (body - from) { last } else { body };
        let range = until - from;
        if range <= 0.0 {
            let equal = sorted.partition_point(|&value| value <= from);
            return Some(Self { from, width: 0.0, counts: vec![equal as u32], above: (sorted.len() - equal) as u32 });
        }

        let spread = stats::percentile(sorted, 0.75)? - stats::percentile(sorted, 0.25)?;
        let ideal = range / (2.0 * spread / (sorted.len() as f64).cbrt());
        let bins = if ideal.is_finite() { (ideal.ceil() as usize).clamp(1, max_bins) } else { max_bins };
        let width = range / bins as f64;

        let within = sorted.partition_point(|&value| value <= until);
        let mut counts = vec![0; bins];
        for value in &sorted[..within] {
            // The largest value lies on the last edge and belongs to the last bin.
            let bin = ((value - from) / width) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
        Some(Self { from, width, counts, above: (sorted.len() - within) as u32 })
    }

    /// Lower and upper edge and count of each bin.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, u32)> + '_ {
        self.counts.iter().enumerate().map(|(index, &count)| {
            let low = self.from + index as f64 * self.width;
            (low, low + self.width, count)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_is_counted_once(values in prop::collection::vec(0.0_f64..1e6, 1..500), max_bins in 1_usize..80) {
            let sorted = stats::sorted(values);
            let histogram = Histogram::of(&sorted, max_bins).unwrap();
            let counted: u32 = histogram.counts.iter().sum::<u32>() + histogram.above;
            prop_assert_eq!(counted as usize, sorted.len());
            prop_assert!(histogram.counts.len() <= max_bins);
        }
    }

    #[test]
    fn outliers_are_counted_apart() {
        let mut values: Vec<f64> = (0..1_000).map(|i| 5.0 + f64::from(i % 10) / 100.0).collect();
        values.push(900.0);
        let histogram = Histogram::of(&stats::sorted(values), 40).unwrap();
        assert_eq!(histogram.above, 1);
        assert!(histogram.bins().all(|(_, high, _)| high < 5.2));
    }

    #[test]
    fn equal_values_make_one_bin() {
        let histogram = Histogram::of(&[3.0; 9], 40).unwrap();
        assert_eq!((histogram.counts, histogram.above), (vec![9], 0));
    }

    #[test]
    fn no_values_make_no_histogram() {
        assert_eq!(Histogram::of(&[], 40), None);
        assert_eq!(Histogram::of(&[f64::NAN], 40), None);
    }
}
