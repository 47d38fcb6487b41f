//! The numbers as metrics: what is below resolution, or not known, is absent with that as its reason.

use super::estimate::{Energy, Figure};
use super::grade::Grade;
use crate::metric::Metric;
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// The metrics of an energy measurement, in the order of [`of`].
pub const NAMES: [&str; 10] = [
    "energy_per_infer_mj",
    "energy_gross_per_infer_mj",
    "power_net_w",
    "power_gross_w",
    "power_idle_w",
    "drain_mah",
    "drain_pct_per_hour",
    "drain_pct_per_1k",
    "battery_temp_rise_c",
    "energy_grade",
];

/// One metric for each of [`NAMES`].
#[must_use]
pub fn of(energy: &Energy) -> Vec<Metric> {
    let figures = [
        &energy.net_mj,
        &energy.gross_mj,
        &energy.net_w,
        &energy.gross_w,
        &energy.idle_w,
        &energy.drain_mah,
        &energy.percent_per_hour,
        &energy.percent_per_1k,
        &energy.temperature_rise_c,
    ];
    let grade = match energy.grade {
        // Without a number there is nothing to be worth anything.
        Grade::E4 => Metric::absent(GRADE, energy.why.text()),
        Grade::E0 => Metric::exact(GRADE, 0.0),
        Grade::E1 => Metric::exact(GRADE, 1.0),
        Grade::E2 => Metric::exact(GRADE, 2.0),
        Grade::E3 => Metric::exact(GRADE, 3.0),
    };
    NAMES.iter().zip(figures).map(|(name, figure)| metric(name, figure)).chain([grade]).collect()
}

/// The grade as a number, of which less is better.
pub const GRADE: &str = "energy_grade";

/// Every metric without a value, for one reason.
#[must_use]
pub fn absent(why: &str) -> Vec<Metric> {
    NAMES.iter().map(|name| Metric::absent(name, why)).collect()
}

fn metric(name: &str, figure: &Figure) -> Metric {
    let unit = crate::metric::kind(name).map_or("1", |kind| kind.unit);
    let value = match figure {
        Figure::Number(estimate) => Reading::Present(*estimate),
        Figure::AtMost(most) => {
            let most = rounded_up(*most);
            Reading::absent(Reason::new(Code::BelowResolution, &[("most", &most), ("unit", &unit)]).text())
        }
        Figure::Absent(why) => Reading::absent(why.text()),
    };
    Metric::new(name, value)
}

/// With four digits: a bound that is told is never below the one that was found, however small it is.
#[must_use]
pub fn rounded_up(most: f64) -> String {
    if !most.is_normal() {
        return most.to_string();
    }
    let decimals = (3 - most.abs().log10().floor() as i32).clamp(0, 12);
    let scale = 10_f64.powi(decimals);
    format!("{:.*}", decimals as usize, (most * scale - 1e-9).ceil() / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Estimate;

    #[test]
    fn what_is_below_resolution_is_an_absent_metric_that_says_its_bound() {
        let why = Reason::new(Code::TooFewPairs, &[("pairs", &2), ("least", &6)]);
        let energy = Energy {
            net_mj: Figure::AtMost(12.345_67),
            gross_mj: Figure::Number(Estimate { value: 80.0, interval: Some((70.0, 90.0)) }),
            ..Energy::none(&why)
        };
        let metrics = of(&energy);
        assert_eq!(metrics.len(), NAMES.len());
        assert_eq!(metrics[0].value.reason(), Some("below resolution: at most 12.35 mJ"));
        assert_eq!(metrics[1].value.present().map(|it| it.value), Some(80.0));
        assert_eq!(metrics[2].value.reason(), Some(why.text()));
        let grade = |grade| of(&Energy { grade, ..energy.clone() }).pop().unwrap();
        assert_eq!(grade(Grade::E1).value.present().map(|it| it.value), Some(1.0));
        assert_eq!(grade(Grade::E4).value.reason(), Some(why.text()), "no number is no grade");
        let told = [0.000_412_31, 0.1, 2.0, 43_210.7].map(rounded_up);
        assert_eq!(told, ["0.0004124", "0.1000", "2.000", "43211"], "a bound of a few µJ is none of zero");
        for metric in &metrics {
            assert!(crate::metric::kind(&metric.name).is_some_and(|kind| kind.unit == metric.unit), "{metric:?}");
        }
    }
}
