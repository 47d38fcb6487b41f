//! A measured value beside its baseline of the same round, and what it should be.

use serde::Serialize;

/// What the ratio of value to baseline should be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// At most this far from 1, on either side.
    Within(f64),
}

impl Goal {
    fn met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio <= limit,
            Self::AtLeast(limit) => ratio >= limit,
            Self::Within(limit) => (ratio - 1.0).abs() <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::Within(limit) => format!("1 ± {limit}"),
        }
    }
}

/// One round of one measurement.
#[derive(Debug, Clone)]
pub struct Measured {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
    /// In the same unit, taken in the same round; or an absolute limit, and then `value` itself is judged against it.
    pub baseline: f64,
    pub goal: Goal,
}

/// The round whose ratio is the median of all, as it is printed: value, baseline and ratio belong together.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
    pub baseline: f64,
    pub ratio: f64,
    /// The least and the greatest ratio of a round.
    pub spread: [f64; 2],
    pub goal: String,
    pub met: bool,
}

/// Combines the rounds of each measurement. Of an even number of rounds the later of the two in the middle stands.
pub fn combine(rounds: &[Vec<Measured>]) -> Vec<Row> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let row = |head: &Measured| {
        let ratio = |measured: &Measured| measured.value / measured.baseline;
        let mut same: Vec<&Measured> = rounds.iter().flatten().filter(|measured| measured.name == head.name).collect();
        same.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let (least, middle, most) = (same.first()?, same.get(same.len() / 2)?, same.last()?);
        Some(Row {
            name: head.name,
            unit: head.unit,
            value: middle.value,
            baseline: middle.baseline,
            ratio: ratio(middle),
            spread: [ratio(least), ratio(most)],
            goal: head.goal.text(),
            met: head.goal.met(ratio(middle)),
        })
    };
    first.iter().filter_map(row).collect()
}

/// The middle of a list; NaN of an empty one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_be_equal_is_not_met_by_being_better() {
        assert!(Goal::Within(0.01).met(0.995) && Goal::Within(0.01).met(1.005));
        assert!(!Goal::Within(0.01).met(0.95) && !Goal::Within(0.01).met(1.05) && !Goal::Within(0.01).met(f64::NAN));
    }

    #[test]
    fn a_row_is_the_round_whose_ratio_is_the_median_with_the_spread_of_all() {
        let round =
            |value, baseline| vec![Measured { name: "x", unit: "µs", value, baseline, goal: Goal::AtMost(2.0) }];
        let rows = combine(&[round(10.0, 10.0), round(40.0, 10.0), round(30.0, 20.0)]);
        let Row { value, baseline, ratio, spread, met, .. } = rows[0];
        assert_eq!((value, baseline, ratio), (30.0, 20.0, 1.5), "medians of each column would be 30 and 10");
        assert_eq!((spread, met), ([1.0, 4.0], true));
    }
}
