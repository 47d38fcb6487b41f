//! Numbers in tables: the digits are those of the pages, one column has one unit.

use seatrial_core::energy::metrics::rounded_up;
use seatrial_core::metric::Estimate;
use seatrial_core::reason::{Code, Reason};
use seatrial_dashboards::format;
use seatrial_proto::v1;

/// What stands for a value that is not there.
pub(crate) const ABSENT: &str = "–";

/// A unit for people, and what a stored value is multiplied with to be in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub unit: &'static str,
    factor: f64,
}

impl Scale {
    /// The unit in which the middle of the values lies between 1 and 1,000.
    pub(crate) fn of(metric: &str, unit: &str, values: &[f64]) -> Self {
        let nonzero = values.iter().copied().filter(|value| value.is_finite() && *value != 0.0);
        let mut sorted: Vec<f64> = nonzero.map(f64::abs).collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(1.0);
        // Where each step ends, its unit, and its factor; smallest first.
        let steps: &[(f64, &'static str, f64)] = match unit {
            "ms" => &[(1.0, "µs", 1e3), (1e3, "ms", 1.0), (f64::INFINITY, "s", 1e-3)],
            "MB" => &[(1.0, "kB", 1e3), (1e3, "MB", 1.0), (f64::INFINITY, "GB", 1e-3)],
            "MiB" => &[(1024.0, "MiB", 1.0), (f64::INFINITY, "GiB", 1.0 / 1024.0)],
            "s" => &[(f64::INFINITY, "s", 1.0)],
            "1/s" => &[(f64::INFINITY, "1/s", 1.0)],
            "mJ" => &[(1.0, "µJ", 1e3), (1e3, "mJ", 1.0), (f64::INFINITY, "J", 1e-3)],
            "°C" => &[(f64::INFINITY, "°C", 1.0)],
            "dB" => &[(f64::INFINITY, "dB", 1.0)],
            _ if format::is_share(metric) => &[(f64::INFINITY, "%", 100.0)],
            _ => &[(f64::INFINITY, "", 1.0)],
        };
        let found = steps.iter().find(|(below, _, _)| middle < *below);
        found.map_or(Self { unit: "", factor: 1.0 }, |&(_, unit, factor)| Self { unit, factor })
    }
}

/// What a value that is below resolution is not above, in the metric's own unit.
pub(crate) fn bound(metric: &v1::Metric) -> Option<f64> {
    let reason = metric.absent.as_deref().filter(|_| metric.value.is_none()).and_then(Reason::read)?;
    let most =
        reason.arguments().find(|(name, _)| *name == "most").filter(|_| reason.code() == Some(Code::BelowResolution));
    most?.1.parse().ok()
}

/// A value and its interval: `12.3` and `[12.1–12.6]`. The interval is empty where there is none; the value is a dash
/// where there is none, and the reason stands elsewhere.
pub(crate) fn parts(metric: &v1::Metric, scale: Scale) -> (String, String) {
    let Some(value) = metric.value else { return (ABSENT.to_owned(), String::new()) };
    let shown = format::in_unit(Estimate { value, interval: metric.lo.zip(metric.hi) }, scale.factor);
    (shown.number, shown.interval)
}

/// `12.3 [12.1–12.6]`, or `≤ 12.35` where no more is known.
pub(crate) fn estimate(metric: &v1::Metric, scale: Scale) -> String {
    if let Some(most) = bound(metric) {
        return format!("≤ {}", rounded_up(most * scale.factor));
    }
    let (value, interval) = parts(metric, scale);
    if interval.is_empty() { value } else { format!("{value} {interval}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(value: Option<f64>, interval: Option<(f64, f64)>) -> v1::Metric {
        v1::Metric {
            name: "lat_p50_ms".to_owned(),
            unit: "ms".to_owned(),
            value,
            lo: interval.map(|(lo, _)| lo),
            hi: interval.map(|(_, hi)| hi),
            absent: value.is_none().then(|| "not reached".to_owned()),
        }
    }

    #[test]
    fn what_is_missing_is_a_dash_and_never_zero() {
        let milliseconds = Scale { unit: "ms", factor: 1.0 };
        assert_eq!(estimate(&metric(None, None), milliseconds), "–");
        assert_eq!(estimate(&metric(Some(12.345), Some((12.1, 12.6))), milliseconds), "12.3 [12.1–12.6]");
        assert_eq!(estimate(&metric(Some(16.0), None), milliseconds), "16.0");
        let absent = Some("below resolution: at most 0.0123 mJ".to_owned());
        let below = v1::Metric { absent, ..metric(None, None) };
        assert_eq!(estimate(&below, Scale { unit: "µJ", factor: 1e3 }), "≤ 12.30");
    }

    #[test]
    fn a_column_has_the_unit_of_its_middle() {
        assert_eq!(Scale::of("lat_p50_ms", "ms", &[0.02, 0.03, 4.0]).unit, "µs");
        assert_eq!(Scale::of("lat_p50_ms", "ms", &[2.0, 30.0, 4000.0]).unit, "ms");
        assert_eq!(Scale::of("top1", "1", &[0.97]).unit, "%");
        assert_eq!(Scale::of("lat_samples", "1", &[64.0]).unit, "");
        assert_eq!(Scale::of("lat_p50_ms", "ms", &[]).unit, "ms");
    }
}
