//! The numbers as metrics: what is below resolution, or not known, is absent with that as its reason.

use super::estimate::{Energy, Figure};
use crate::metric::{Better, Metric, MetricKind};
use crate::reading::Reading;
use crate::reason::{Code, Reason};

const fn kind(name: &'static str, unit: &'static str, better: Better, meaning: &'static str) -> MetricKind {
    MetricKind { name, unit, better, meaning }
}

/// The metrics of an energy measurement, in the order of [`of`].
pub const KINDS: [MetricKind; 9] = [
    kind("energy_per_infer_mj", "mJ", Better::Lower, "energy of one inference beside the same process doing nothing"),
    kind("energy_gross_per_infer_mj", "mJ", Better::Lower, "all that the device drew for one inference, idle included"),
    kind("power_net_w", "W", Better::Lower, "power under load minus power in idle"),
    kind("power_gross_w", "W", Better::Lower, "power under load"),
    kind("power_idle_w", "W", Better::Neither, "power with the model loaded and nothing to do"),
    kind("drain_mah", "mAh", Better::Neither, "charge that the battery gave in the load phases"),
    kind("drain_pct_per_hour", "%/h", Better::Lower, "share of a new battery that an hour under load takes"),
    kind("drain_pct_per_1k", "%", Better::Lower, "share of a new battery that 1,000 inferences take"),
    kind("battery_temp_rise_c", "°C", Better::Lower, "temperature of the battery at the end minus at the start"),
];

/// One metric for each of [`KINDS`].
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
    KINDS.iter().zip(figures).map(|(kind, figure)| metric(kind, figure)).collect()
}

fn metric(kind: &MetricKind, figure: &Figure) -> Metric {
    let value = match figure {
        Figure::Number(estimate) => Reading::Present(*estimate),
        Figure::AtMost(most) => {
            let most = format!("{most:.3}");
            Reading::absent(Reason::new(Code::BelowResolution, &[("most", &most), ("unit", &kind.unit)]).text())
        }
        Figure::Absent(why) => Reading::absent(why.text()),
    };
    Metric { name: kind.name.to_owned(), unit: kind.unit.to_owned(), value }
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
        assert_eq!(metrics.len(), KINDS.len());
        assert_eq!(metrics[0].value.reason(), Some("below resolution: at most 12.346 mJ"));
        assert_eq!(metrics[1].value.present().map(|it| it.value), Some(80.0));
        assert_eq!(metrics[2].value.reason(), Some(why.text()));
    }
}
