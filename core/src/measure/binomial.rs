//! Ranks from the binomial distribution: distribution-free statements about percentiles.

/// Confidence of the interval of the median.
pub const MEDIAN_CONFIDENCE: f64 = 0.95;
/// Confidence of an early-stopping percentile (MLPerf LoadGen `early_stopping.cc`).
pub const EARLY_STOPPING_CONFIDENCE: f64 = 0.99;

/// The largest rank `k` (from 1) for which the `k`-th smallest and the `k`-th largest of `n` independent samples
/// enclose the median with a probability of at least 95 %; `None` below 6 samples, where no pair does.
///
/// The number of samples below the median is B ~ Binomial(n, ½), so the pair encloses it with
/// P(k ≤ B ≤ n − k) (David and Nagaraja, *Order Statistics*, 3rd edition, 7.1). The sum runs outwards from the centre
/// and is exact for every `n`: no normal approximation takes over for large ones.
#[must_use]
pub fn median_rank(n: usize) -> Option<usize> {
    let mut rank = n / 2;
    let mut probability = central_probability(n);
    let mut enclosed = if n.is_multiple_of(2) { probability } else { 2.0 * probability };
    while enclosed < MEDIAN_CONFIDENCE {
        if rank <= 1 {
            return None;
        }
        probability *= rank as f64 / (n - rank + 1) as f64;
        rank -= 1;
        enclosed += 2.0 * probability;
    }
    (rank > 0).then_some(rank)
}

/// Two-sided p of the exact sign test: min(1, 2 P(B ≤ min(first, second))) for B ~ Binomial(first + second, ½). Without
/// any observation it is 1.
#[must_use]
pub fn sign_test(first: u32, second: u32) -> f64 {
    let (n, smaller) = (first as usize + second as usize, first.min(second) as usize);
    let mut rank = n / 2;
    let mut probability = central_probability(n);
    let mut tail = 0.0;
    loop {
        if rank <= smaller {
            tail += probability;
        }
        if rank == 0 || probability == 0.0 {
            return (2.0 * tail).min(1.0);
        }
        probability *= rank as f64 / (n - rank + 1) as f64;
        rank -= 1;
    }
}

/// P(B = ⌊n/2⌋) for B ~ Binomial(n, ½).
fn central_probability(n: usize) -> f64 {
    // C(2m, m) / 4^m = Π (1 − 1 / 2i), and for odd n the central probability is that of n + 1.
    (1..=n.div_ceil(2)).map(|i| 1.0 - 0.5 / i as f64).product()
}

/// The largest `t ≥ 1` with P(Binomial(n, 1 − percentile) ≤ t) ≤ 1 %: the sample at zero-based index `n − t` of the
/// sorted samples is an upper estimate of the percentile at 99 % confidence, as LoadGen's early stopping gives it.
/// `None` when `n` is too small for any (below 64 for p90, 130 for p95, 662 for p99).
#[must_use]
pub fn early_stopping_overlatencies(n: usize, percentile: f64) -> Option<usize> {
    let beyond = 1.0 - percentile;
    let odds = (beyond / percentile).ln();
    let mut log_probability = n as f64 * percentile.ln();
    let mut cumulative = log_probability.exp();
    let mut largest = None;
    for t in 1..=n {
        log_probability += odds + ((n - t + 1) as f64 / t as f64).ln();
        cumulative += log_probability.exp();
        if cumulative > 1.0 - EARLY_STOPPING_CONFIDENCE {
            break;
        }
        largest = Some(t);
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_stopping_has_the_ranks_of_loadgen() {
        for (percentile, n, expected) in [
            (0.90, 63, None),
            (0.90, 64, Some(1)),
            (0.90, 100, Some(3)),
            (0.90, 1024, Some(80)),
            (0.90, 2000, Some(168)),
            (0.95, 129, None),
            (0.95, 130, Some(1)),
            (0.99, 661, None),
            (0.99, 662, Some(1)),
            (0.99, 1024, Some(3)),
        ] {
            assert_eq!(early_stopping_overlatencies(n, percentile), expected, "p{percentile} of {n}");
        }
    }

    /// Values of scipy 1.17: the largest t with `binom.cdf(t, n, 1 - p) <= 0.01`.
    #[test]
    fn early_stopping_ranks_of_large_runs_are_those_of_scipy() {
        for (percentile, ranks) in [
            (0.90, [(500, 34), (10_000, 930), (400_000, 39_558)]),
            (0.95, [(500, 13), (10_000, 449), (400_000, 19_679)]),
            (0.99, [(2_000, 9), (10_000, 77), (400_000, 3_853)]),
        ] {
            for (n, expected) in ranks {
                assert_eq!(early_stopping_overlatencies(n, percentile), Some(expected), "p{percentile} of {n}");
            }
        }
    }

    /// Values of scipy 1.17: the largest k with `1 - 2 * binom.cdf(k - 1, n, 0.5) >= 0.95`.
    #[test]
    fn ranks_of_the_median_are_those_of_scipy() {
        for (n, expected) in [
            (6, 1),
            (7, 1),
            (8, 1),
            (9, 2),
            (10, 2),
            (16, 4),
            (17, 5),
            (20, 6),
            (25, 8),
            (30, 10),
            (50, 18),
            (64, 24),
            (100, 40),
            (101, 41),
            (1_000, 469),
            (1_001, 470),
            (1_024, 481),
            (2_000, 956),
            (10_000, 4_902),
            (99_999, 49_690),
            (400_000, 199_380),
        ] {
            assert_eq!(median_rank(n), Some(expected), "{n}");
        }
    }

    /// Values of scipy 1.17: `min(1, 2 * binom.cdf(min(b, c), b + c, 0.5))`.
    #[test]
    fn the_sign_test_is_that_of_scipy() {
        for (first, second, expected) in [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (3, 3, 1.0),
            (2, 9, 0.065_429_687_5),
            (40, 61, 0.046_044_066_929_342_785),
            (100, 180, 2.014_506_496_056_376_6e-06),
            (1000, 1200, 2.181_702_640_791_419_4e-05),
            (49_000, 51_000, 2.588_716_038_346_894_3e-10),
            (499_000, 501_000, 0.045_608_299_865_389_6),
            (10, 1010, 5.777_846_571_471_34e-284),
        ] {
            let p = sign_test(first, second);
            assert!((p - expected).abs() <= 1e-10 * expected, "{first} and {second}: {p:e}");
            assert_eq!(p, sign_test(second, first));
        }
    }

    #[test]
    fn no_pair_of_fewer_than_six_samples_encloses_the_median_with_95_percent() {
        for n in 0..6 {
            assert_eq!(median_rank(n), None, "{n}");
        }
        assert_eq!(median_rank(6), Some(1), "1 − 2 / 64 = 96.9 %");
    }
}
