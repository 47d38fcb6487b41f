//! How many digits a number is written with: one rule for a value and its interval, wherever people read them.
//!
//! An interval decides for itself and its value: the digits that its half-width supports, which is one significant
//! digit, and two where the first is a 1, since half of it would be lost otherwise. So `16.20 [16.18–16.22]`
//! and `12.3 [12.1–12.6]`, and never a value with fewer digits than its own bounds.

/// Significant digits of a number without an interval.
const PLAIN: i32 = 3;
/// No number is written with more significant digits than this, however narrow its interval.
const MOST: i32 = 5;
/// No number has more digits after the point than this.
const FINEST: i32 = 9;

/// Digits after the point of a value and of the bounds of its interval.
#[must_use]
pub fn decimals(value: f64, interval: Option<(f64, f64)>) -> usize {
    let Some((bounds, half)) = interval.and_then(|(low, high)| Some(((low, high), half_width(low, high)?))) else {
        return if value == 0.0 { 1 } else { digits(value, PLAIN) };
    };
    let largest = value.abs().max(bounds.0.abs()).max(bounds.1.abs());
    supported(half).min(digits(largest, MOST))
}

/// Half of an interval's width; `None` when it has none that says anything.
fn half_width(low: f64, high: f64) -> Option<f64> {
    let half = (high - low).abs() / 2.0;
    (half > 0.0 && half.is_finite()).then_some(half)
}

/// Digits after the point that a half-width supports.
fn supported(half: f64) -> usize {
    let (first, power) = leading(half, 2);
    (i32::from(first == 1) - power).clamp(0, FINEST) as usize
}

/// Digits after the point that leave so many significant ones.
fn digits(value: f64, significant: i32) -> usize {
    let (_, power) = leading(value, significant);
    (significant - 1 - power).clamp(0, FINEST) as usize
}

/// The first digit of a number and its power of ten, once the number is rounded to so many significant digits: 9.996
/// has three digits as 10.0, so its first digit is a 1. What has no digits counts as 1.
fn leading(value: f64, significant: i32) -> (u8, i32) {
    let size = value.abs();
    if !(size >= f64::MIN_POSITIVE && size.is_finite()) {
        return (1, 0);
    }
    let power = size.log10().floor() as i32;
    let unit = |power: i32| 10f64.powi(power);
    // The logarithm of a power of ten may fall on either side of it.
    let power = if size >= unit(power + 1) { power + 1 } else { power };
    let rounded = (size / unit(power + 1 - significant)).round();
    if rounded >= unit(significant) { (1, power + 1) } else { ((rounded / unit(significant - 1)) as u8, power) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_without_an_interval_has_three_significant_digits() {
        for (value, wanted) in
            [(16.04, 1), (1204.0, 0), (0.003_121, 5), (9.996, 1), (99.95, 0), (0.0, 1), (f64::NAN, 2), (1e-300, 9)]
        {
            assert_eq!(decimals(value, None), wanted, "{value}");
        }
    }

    #[test]
    fn an_interval_gives_its_value_the_digits_of_its_half_width() {
        for (value, bounds, wanted) in [
            (111.886, (111.876, 111.896), 2),
            (21.222, (21.221, 21.222), 3),
            (12.34, (12.1, 12.6), 1),
            (12.34, (9.0, 15.0), 0),
            (16.2, (16.18, 16.22), 2),
            (0.162, (0.161_8, 0.162_1), 5),
            (95.3, (93.6, 96.8), 1),
            (5e6, (4e6, 6e6), 0),
            (12.34, (12.34, 12.34), 1),
            (12.34, (f64::NEG_INFINITY, 13.0), 1),
        ] {
            assert_eq!(decimals(value, Some(bounds)), wanted, "{value} {bounds:?}");
        }
    }

    #[test]
    fn a_half_width_that_rounds_up_to_a_one_keeps_two_digits() {
        assert_eq!(decimals(10.0, Some((10.0 - 0.0996, 10.0 + 0.0996))), 2);
        assert_eq!(decimals(10.0, Some((9.9, 10.1))), 2);
    }

    fn rounded(value: f64, decimals: usize) -> f64 {
        format!("{value:.decimals$}").parse().unwrap()
    }

    /// A value inside an interval around it, of any size and any relative width.
    fn estimates() -> impl Strategy<Value = (f64, (f64, f64))> {
        ((-7.0..7.0f64), (-8.0..1.0f64), (0.0..1.0f64), any::<bool>()).prop_map(|(power, width, place, negative)| {
            let value = 10f64.powf(power) * if negative { -1.0 } else { 1.0 };
            let width = value.abs() * 10f64.powf(width);
            (value, (value - width * place, value + width * (1.0 - place)))
        })
    }

    proptest! {
        #[test]
        fn what_is_written_keeps_the_value_between_its_bounds((value, (low, high)) in estimates()) {
            let decimals = decimals(value, Some((low, high)));
            prop_assert!(rounded(low, decimals) <= rounded(value, decimals));
            prop_assert!(rounded(value, decimals) <= rounded(high, decimals));
        }

        #[test]
        fn rounding_moves_no_bound_by_more_than_half_of_the_half_width((value, (low, high)) in estimates()) {
            let decimals = decimals(value, Some((low, high)));
            let half = (high - low) / 2.0;
            let coarsest = value.abs().max(low.abs()).max(high.abs());
            // Where the limits on digits decide, not the width.
            prop_assume!(half > coarsest * 1e-4 && half > 1e-8);
            for bound in [low, high] {
                prop_assert!((rounded(bound, decimals) - bound).abs() <= half / 2.0 + 1e-12, "{bound} at {decimals}");
            }
        }

        #[test]
        fn no_number_has_more_than_five_significant_digits_or_nine_after_the_point((value, bounds) in estimates()) {
            let decimals = decimals(value, Some(bounds));
            prop_assert!(decimals <= 9);
            let whole = value.abs().max(1.0).log10().floor() as usize + 1;
            prop_assert!(decimals == 0 || value.abs() < 1.0 || whole + decimals <= 6, "{value} at {decimals}");
        }

        #[test]
        fn a_wider_interval_never_asks_for_more_digits(value in 0.001..1e6f64, half in 1e-6..1e3f64, factor in 1.0..100.0f64) {
            let of = |half: f64| decimals(value, Some((value - half, value + half)));
            // Two digits for a leading one: from 0.9 to 1.0 the half-width gains the digit that it is worth.
            prop_assert!(of(half * factor) <= of(half) + 1);
            prop_assert!(of(half * factor * 10.0) <= of(half));
        }

        #[test]
        fn the_same_number_in_another_unit_has_the_same_digits(value in 0.1..900.0f64, share in 0.001..0.5f64) {
            let interval = |unit: f64| Some((value * unit * (1.0 - share), value * unit * (1.0 + share)));
            let (fine, coarse) = (decimals(value, interval(1.0)), decimals(value / 1000.0, interval(1e-3)));
            prop_assert!(fine == 0 || coarse == fine + 3, "{fine} and {coarse}");
        }
    }
}
