//! Two models on the same examples: does one answer more of them right, or is it chance?

use super::classification::wilson;
use crate::measure::binomial::sign_test;

/// How two models fared on the same examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Examples that both answered right.
    pub both: u32,
    /// Examples that the first answered right and the second wrong; `b` of McNemar's test.
    pub only_first: u32,
    /// The other way round; `c` of McNemar's test.
    pub only_second: u32,
    pub neither: u32,
    /// Two-sided p of McNemar's exact test: how probable it is that examples on which models of equal accuracy differ
    /// fall apart at least as unevenly. As statsmodels `mcnemar(exact=True)`.
    pub p: f64,
    /// Share that the second answered right, minus that of the first.
    pub difference: f64,
    /// Its interval at 95 %.
    pub interval: (f64, f64),
}

/// Answers that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the first model has {first} answers, the second {second}: they are not of the same examples")]
pub struct Unpaired {
    pub first: usize,
    pub second: usize,
}

/// Compares right and wrong answers of two models, example by example; `None` without examples.
pub fn compare(first: &[bool], second: &[bool]) -> Result<Option<Paired>, Unpaired> {
    if first.len() != second.len() {
        return Err(Unpaired { first: first.len(), second: second.len() });
    }
    let count =
        |pair| first.iter().copied().zip(second.iter().copied()).filter(|&answers| answers == pair).count() as u32;
    Ok(Paired::of(count((true, true)), count((true, false)), count((false, true)), count((false, false))))
}

impl Paired {
    /// `None` without examples.
    #[must_use]
    pub fn of(both: u32, only_first: u32, only_second: u32, neither: u32) -> Option<Self> {
        let examples = [both, only_first, only_second, neither].into_iter().map(u64::from).sum::<u64>();
        (examples > 0).then(|| Self {
            both,
            only_first,
            only_second,
            neither,
            p: sign_test(only_first, only_second),
            difference: (f64::from(only_second) - f64::from(only_first)) / examples as f64,
            interval: newcombe([both, only_first, only_second, neither].map(u64::from)),
        })
    }
}

/// The score interval of a difference of paired proportions at 95 % (Newcombe 1998, method 10): Wilson's intervals of
/// the two shares, put together with regard to how the answers hang together (φ, corrected for continuity when it is
/// positive).
fn newcombe([both, only_first, only_second, neither]: [u64; 4]) -> (f64, f64) {
    let examples = both + only_first + only_second + neither;
    let n = examples as f64;
    let (first, second) = (both + only_first, both + only_second);
    let ((low_1, high_1), (low_2, high_2)) = (wilson(first, examples), wilson(second, examples));
    let (share_1, share_2) = (first as f64 / n, second as f64 / n);
    let difference = (only_second as f64 - only_first as f64) / n;

    let margins = [first, examples - first, second, examples - second].map(|margin| (margin as f64).sqrt());
    let margins = margins.into_iter().product::<f64>();
    let together = both as f64 * neither as f64 - only_first as f64 * only_second as f64;
    let together = if together > 0.0 { (together - n / 2.0).max(0.0) } else { together };
    let phi = if margins == 0.0 { 0.0 } else { together / margins };
    let reach = |a: f64, b: f64| (a * a - 2.0 * phi * a * b + b * b).max(0.0).sqrt();
    let low = difference - reach(share_2 - low_2, high_1 - share_1);
    let high = difference + reach(high_2 - share_2, share_1 - low_1);
    (low.max(-1.0), high.min(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_compared_example_by_example() {
        let first = [true, true, true, false, false];
        let second = [true, false, false, true, false];
        let paired = compare(&first, &second).unwrap().unwrap();
        assert_eq!((paired.both, paired.only_first, paired.only_second, paired.neither), (1, 2, 1, 1));
        assert_eq!((paired.difference, paired.p), (-0.2, 1.0));
        assert_eq!(compare(&[], &[]), Ok(None));
        assert_eq!(compare(&first, &[true]), Err(Unpaired { first: 5, second: 1 }));
    }

    /// Values of statsmodels 0.15, `mcnemar(exact=True)`.
    #[test]
    fn p_is_that_of_mcnemars_exact_test() {
        for (first, second, p) in [(1, 7, 0.070_312_5), (0, 0, 1.0), (5, 5, 1.0), (0, 6, 0.031_25)] {
            let paired = Paired::of(1, first, second, 12).unwrap();
            assert!((paired.p - p).abs() < 1e-15, "{first} and {second}: {}", paired.p);
            assert_eq!(paired.p, Paired::of(1, second, first, 12).unwrap().p, "the test knows no order");
        }
    }

    /// Computed in Python with the Wilson intervals of statsmodels 0.15: φ is negative, taken to zero by its correction
    /// (the counts of Bentur et al. 2009, an example of the R package contingencytables), and positive.
    #[test]
    fn the_interval_is_newcombes() {
        for (counts, low, high) in [
            ([36, 2, 12, 0], 0.056_929_584_003_238_75, 0.340_427_602_974_940_8),
            ([1, 1, 7, 12], 0.025_559_124_164_859_837, 0.506_920_226_686_141),
            ([59, 6, 16, 80], 0.004_625_113_933_050_047, 0.118_621_195_638_709_99),
        ] {
            let [both, only_first, only_second, neither] = counts;
            let (l, h) = Paired::of(both, only_first, only_second, neither).unwrap().interval;
            assert!((l - low).abs() < 1e-12 && (h - high).abs() < 1e-12, "{counts:?}: {l} to {h}");
        }
    }

    #[test]
    fn equal_models_differ_by_nothing_and_the_interval_says_how_sure_that_is() {
        let few = Paired::of(10, 0, 0, 0).unwrap();
        let many = Paired::of(1000, 0, 0, 0).unwrap();
        assert_eq!((few.difference, few.p, many.p), (0.0, 1.0, 1.0));
        assert!(many.interval.1 < few.interval.1 && many.interval.1 > 0.0);
    }

    proptest! {
        #[test]
        fn the_interval_encloses_the_difference_and_turns_with_the_models(
            both in 0_u32..2000, only_first in 0_u32..200, only_second in 0_u32..200, neither in 1_u32..500
        ) {
            let paired = Paired::of(both, only_first, only_second, neither).unwrap();
            let (low, high) = paired.interval;
            prop_assert!(-1.0 <= low && low <= paired.difference && paired.difference <= high && high <= 1.0);
            prop_assert!((0.0..=1.0).contains(&paired.p));
            let turned = Paired::of(both, only_second, only_first, neither).unwrap();
            prop_assert_eq!(turned.difference, -paired.difference);
            prop_assert!((turned.interval.0 + high).abs() < 1e-12 && (turned.interval.1 + low).abs() < 1e-12);
        }
    }
}
