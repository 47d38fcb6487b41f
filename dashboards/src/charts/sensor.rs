//! Sensor trace: one small multiple on the attempt's time axis; the measure stage shaded, true gaps left open.

use super::{Anchor, Area, Axis, Svg, ticks};
use crate::format::{fixed, significant};
use crate::html::Html;

const LEFT: f64 = 48.0;
const RIGHT: f64 = 512.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 84.0;
/// Columns that carry a tip.
const TIPS: usize = 32;

/// What one drawing needs. Times in seconds since the attempt began.
pub struct Sensor<'a> {
    pub name: &'a str,
    pub unit: &'a str,
    pub points: &'a [(f64, f64)],
    /// Length of the attempt.
    pub end: f64,
    /// Windows of the measure stage.
    pub measured: &'a [(f64, f64)],
}

#[must_use]
pub fn chart(sensor: &Sensor<'_>) -> Html {
    let Sensor { name, unit, points, end, measured } = *sensor;
    let end = points.iter().map(|(at, _)| *at).fold(end, f64::max).max(1e-3);
    let low = points.iter().map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|(_, v)| *v).fold(f64::NEG_INFINITY, f64::max);
    let pad = ((high - low) * 0.12).max(high.abs() * 0.02).max(1e-9);
    let title = format!("{name}, {unit}");
    let mut svg = Svg::new(520.0, 96.0, &title).synced();
    svg.text((0.0, 11.0), &title, "k", Anchor::Start);
    if points.is_empty() {
        return svg.finish();
    }
    let x = Axis::linear((0.0, end), (LEFT, RIGHT));
    let y = Axis::linear((low - pad, high + pad), (BOTTOM, TOP));
    for (from, to) in measured {
        svg.rect(Area { x: x.at(*from), y: TOP, width: x.at(*to) - x.at(*from), height: BOTTOM - TOP }, "faw");
    }
    svg.grid(&ticks(low - pad, high + pad, 3), &y, (LEFT, RIGHT));
    for piece in pieces(points) {
        let line: Vec<(f64, f64)> = piece.iter().map(|(at, value)| (x.at(*at), y.at(*value))).collect();
        if line.len() == 1 { svg.circle(line[0], 1.6, "pt", None) } else { svg.polyline(&line, "ln") }
    }
    let decimals = super::tick_decimals(&ticks(0.0, end, 4));
    svg.text((RIGHT, 11.0), &format!("0{}{} s", crate::format::DASH, fixed(end, decimals)), "", Anchor::End);
    for index in 0..TIPS {
        let (from, to) = (end * index as f64 / TIPS as f64, end * (index + 1) as f64 / TIPS as f64);
        let nearest = points.iter().rfind(|(at, _)| (from..to).contains(at));
        let value =
            nearest.map_or_else(|| crate::format::DASH.to_string(), |(_, v)| format!("{} {unit}", significant(*v)));
        let tip = format!("{} s · {}", fixed(from, 1), value.replace('|', "¦"));
        svg.hit(Area { x: x.at(from), y: TOP, width: x.at(to) - x.at(from), height: BOTTOM - TOP }, index, &tip);
    }
    svg.finish()
}

/// Splits where readings stop for more than three times their usual distance.
fn pieces(points: &[(f64, f64)]) -> Vec<&[(f64, f64)]> {
    let mut steps: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    steps.sort_by(f64::total_cmp);
    let usual = super::quantile(&steps, 0.5);
    points.chunk_by(|a, b| !usual.is_finite() || b.0 - a.0 <= 3.0 * usual.max(1e-6)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_readings_stays_open() {
        let points: Vec<(f64, f64)> = (0..10u32).chain(20..30).map(|s| (f64::from(s), 30.0)).collect();
        let svg = chart(&Sensor { name: "battery", unit: "°C", points: &points, end: 30.0, measured: &[(2.0, 8.0)] });
        assert_eq!(svg.as_str().matches("<polyline").count(), 2);
        assert_eq!(svg.as_str().matches(r#"class="faw""#).count(), 1);
    }

    #[test]
    fn a_sensor_named_by_an_enemy_is_text() {
        let svg = chart(&Sensor { name: "<script>", unit: "\">", points: &[(0.0, 1.0)], end: 1.0, measured: &[] });
        assert!(!svg.as_str().contains("<script>"));
    }
}
