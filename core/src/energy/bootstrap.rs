//! How sure a mean of few pairs is: the bootstrap over whole pairs.
//!
//! Readings follow each other and are not independent, so they are never resampled one by one: a pair of idle and load
//! is the block that is drawn [K89]. What is estimated is always a ratio of two sums over pairs, `Σ aᵢ / Σ bᵢ`.

/// Resamples. Recomputing gives the same to the last bit, so this number is part of the algorithm.
const REPLICATES: usize = 2_000;

/// Below this number of pairs there is no interval: of five normal values the whole range misses the mean one time in
/// 16, of six one time in 32.
pub const LEAST_PAIRS: usize = 6;

/// Most pairs that are looked at.
pub const MOST_PAIRS: usize = 24;

/// Student's t at 97.5 % for 5 to 23 degrees of freedom.
const T_975: [f64; MOST_PAIRS - LEAST_PAIRS + 1] = [
    2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157, 2.228_139, 2.200_985, 2.178_813, 2.160_369, 2.144_787,
    2.131_450, 2.119_905, 2.109_816, 2.100_922, 2.093_024, 2.085_963, 2.079_614, 2.073_873, 2.068_658,
];

/// The same of the normal distribution.
pub const Z_975: f64 = 1.959_964;

/// Student's t at 97.5 % for `pairs − 1` degrees of freedom; `None` below [`LEAST_PAIRS`].
#[must_use]
pub fn t_975(pairs: usize) -> Option<f64> {
    T_975.get(pairs.min(MOST_PAIRS).checked_sub(LEAST_PAIRS)?).copied()
}

/// Numerator and denominator of one pair.
pub type Part = (f64, f64);

/// `Σ aᵢ / Σ bᵢ`; `None` when the divisor is zero.
#[must_use]
pub fn ratio(parts: &[Part]) -> Option<f64> {
    let (above, below) = parts.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    (below != 0.0).then(|| above / below)
}

/// Which pairs each resample is made of: drawn once, and used for every figure of a recording.
pub struct Resamples {
    pairs: usize,
    /// Indices of pairs, [`REPLICATES`] times as many as there are pairs.
    drawn: Vec<u8>,
}

impl Resamples {
    /// Of at most [`MOST_PAIRS`] pairs.
    #[must_use]
    pub fn new(pairs: usize, seed: u64) -> Self {
        let pairs = pairs.min(MOST_PAIRS);
        let mut random = SplitMix(seed);
        Self { pairs, drawn: (0..REPLICATES * pairs).map(|_| random.below(pairs as u64) as u8).collect() }
    }

    /// The 95 % interval of the ratio: the percentile bootstrap over pairs [ET93, 13], its two sides stretched by
    /// `√(n / (n − 1)) · t₀.₉₇₅,ₙ₋₁ / z₀.₉₇₅` and by [`shared`].
    ///
    /// The percentile interval of few values is too narrow, by the divisor of its variance and by the tails of the
    /// normal distribution; the first are the two corrections of the expanded percentile interval [H15, 3.3], made on
    /// the width. `None` below [`LEAST_PAIRS`], and for parts of other pairs than were drawn.
    #[must_use]
    pub fn interval(&self, parts: &[Part]) -> Option<(f64, f64)> {
        let n = parts.len();
        let t = t_975(n).filter(|_| n == self.pairs)?;
        let centre = ratio(parts)?;
        let of = |indices: &[u8]| {
            let (mut above, mut below) = (0.0, 0.0);
            for &index in indices {
                let part = parts[usize::from(index)];
                above += part.0;
                below += part.1;
            }
            (below != 0.0).then(|| above / below)
        };
        let mut values: Vec<f64> = self.drawn.chunks_exact(n).filter_map(of).collect();
        let (first, last) = (REPLICATES / 40, values.len().checked_sub(REPLICATES / 40 + 1)?);
        if last <= first {
            return None;
        }
        let low = *values.select_nth_unstable_by(first, f64::total_cmp).1;
        let high = *values.select_nth_unstable_by(last, f64::total_cmp).1;
        let stretch = (n as f64 / (n - 1) as f64).sqrt() * t / Z_975 * shared(n);
        Some((centre - stretch * (centre - low).max(0.0), centre + stretch * (high - centre).max(0.0)))
    }
}

/// How much larger the standard error of a mean of `n` pairs is than that of `n` independent values, at most.
///
/// Neighbours share an idle phase. Where each phase has a level of its own, of variance `σ²`, a pair has `σ² + σ² / 2`
/// and two neighbours have `σ² / 4` in common: a correlation of 1/6, and so `√(1 + (n − 1) / (3 n))`. Drift within a
/// phase only makes it less.
#[must_use]
pub fn shared(n: usize) -> f64 {
    (1.0 + (n as f64 - 1.0) / (3.0 * n as f64)).sqrt()
}

/// SplitMix64 [SLF14]. Its numbers are written down with the algorithm, so that a stored recording gives the same
/// interval for ever, whatever a crate's generator does.
struct SplitMix(u64);

impl SplitMix {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, by the high half of a product: its bias is below 2⁻²⁷ for 24 pairs.
    const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() >> 32) * bound) >> 32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(values: &[f64]) -> Vec<Part> {
        values.iter().map(|&value| (value, 1.0)).collect()
    }

    /// The first outputs of the authors' own program for this seed.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = SplitMix(1_234_567);
        let drawn = [random.next(), random.next(), random.next()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    fn interval(parts: &[Part], seed: u64) -> Option<(f64, f64)> {
        Resamples::new(parts.len(), seed).interval(parts)
    }

    #[test]
    fn five_pairs_give_no_interval_and_six_do() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(interval(&plain(&values[..5]), 1), None);
        assert_eq!(interval(&[], 1), None);
        let (low, high) = interval(&plain(&values), 1).unwrap();
        assert!(low < 2.0 && high > 5.0, "[{low}, {high}]");
    }

    /// Pairs of phases that each have a level of their own: of 1,000 means of `n` nets of 3 how many intervals, narrowed
    /// by `narrow(n)`, hold the truth.
    fn coverage(n: usize, narrow: impl Fn(usize) -> f64) -> f64 {
        let mut random = SplitMix(7);
        let mut uniform = || random.next() as f64 / u64::MAX as f64;
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let holds = (0..1_000).filter(|&seed| {
            let idle: Vec<f64> = (0..=n).map(|_| normal()).collect();
            let nets: Vec<f64> = idle.windows(2).map(|idle| 3.0 + normal() - f64::midpoint(idle[0], idle[1])).collect();
            let parts = plain(&nets);
            let (centre, (low, high)) = (ratio(&parts).unwrap(), interval(&parts, seed).unwrap());
            let by = narrow(n);
            centre - (centre - low) / by <= 3.0 && 3.0 <= centre + (high - centre) / by
        });
        holds.count() as f64 / 1_000.0
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says_also_of_six_pairs() {
        for n in [6, 12] {
            let covered = coverage(n, |_| 1.0);
            assert!((0.93..=0.98).contains(&covered), "{n} pairs: {covered}");
        }
    }

    /// Positive control: without each of the corrections it would not.
    #[test]
    fn the_plain_percentile_interval_of_few_pairs_is_too_narrow() {
        let few = |n: usize| (n as f64 / (n - 1) as f64).sqrt() * t_975(n).unwrap() / Z_975;
        let covered = coverage(6, |n| few(n) * shared(n));
        assert!(covered < 0.86, "nothing corrected: {covered}");
        let covered = coverage(6, few);
        assert!(covered < 0.91, "without that for few values: {covered}");
        let covered = coverage(12, shared);
        assert!(covered < 0.94, "without that for the shared idle: {covered}");
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_estimate_and_is_the_same_for_the_same_seed(
            values in prop::collection::vec((-1e3_f64..1e3, 0.1_f64..10.0), LEAST_PAIRS..=MOST_PAIRS), seed: u64,
        ) {
            let (low, high) = interval(&values, seed).unwrap();
            let centre = ratio(&values).unwrap();
            prop_assert!(low <= centre && centre <= high);
            prop_assert_eq!(interval(&values, seed), Some((low, high)));
        }
    }
}
