//! Long series as few points for charts, without losing the extremes.

use super::stats;

/// A stretch of consecutive samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Index of the first sample.
    pub first: usize,
    /// Number of samples.
    pub count: usize,
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

/// Splits a series into at most `buckets` stretches of nearly equal length, in order.
#[must_use]
pub fn envelope(values: &[f64], buckets: usize) -> Vec<Bucket> {
    let buckets = buckets.min(values.len());
    (0..buckets)
        .filter_map(|index| {
            let first = index * values.len() / buckets;
            let until = (index + 1) * values.len() / buckets;
            let sorted = stats::sorted(values[first..until].iter().copied());
            let median = stats::median(&sorted)?;
            Some(Bucket { first, count: until - first, min: sorted[0], median, max: sorted[sorted.len() - 1] })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_series_is_kept_as_it_is() {
        let buckets = envelope(&[3.0, 1.0, 2.0], 10);
        assert_eq!(buckets.iter().map(|bucket| bucket.median).collect::<Vec<_>>(), [3.0, 1.0, 2.0]);
    }

    #[test]
    fn one_spike_in_a_long_series_survives() {
        let mut values = vec![1.0; 100_003];
        values[77_777] = 50.0;
        let buckets = envelope(&values, 300);
        assert_eq!(buckets.len(), 300);
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<usize>(), values.len(), "no sample is left out");
        assert_eq!(buckets.iter().filter(|bucket| bucket.max == 50.0).count(), 1);
        assert!(buckets.iter().all(|bucket| bucket.median == 1.0));
    }

    #[test]
    fn nothing_makes_nothing() {
        assert!(envelope(&[], 10).is_empty());
        assert!(envelope(&[1.0], 0).is_empty());
    }
}
