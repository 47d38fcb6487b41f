//! Percentile strip: a tick and an interval bar for each percentile on one axis, the value written right.

use seatrial_core::metric::Estimate;

use super::{Anchor, Area, Axis, Svg, ticks};
use crate::format::in_unit;
use crate::html::Html;
use crate::i18n::Words;

const WIDTH: f64 = 520.0;
const LEFT: f64 = 56.0;
/// Between the axis and the values.
const GAP: f64 = 12.0;
/// Of a digit in the values' type, with a little to spare.
const DIGIT: f64 = 6.9;

/// Name and value in ms, in order.
#[must_use]
pub fn chart(rows: &[(&str, Estimate)], words: Words) -> Html {
    let values = rows
        .iter()
        .flat_map(|(_, e)| [e.value, e.interval.map_or(e.value, |i| i.0), e.interval.map_or(e.value, |i| i.1)]);
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let pad = ((high - low) * 0.06).max(low.abs() * 0.005);
    let height = 22.0 * rows.len() as f64 + 20.0;
    let mut svg = Svg::new(WIDTH, height, &words.t("chart.percentiles"));
    if values.is_empty() {
        return svg.finish();
    }
    let texts: Vec<String> = rows.iter().map(|(_, estimate)| text(*estimate)).collect();
    let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or_default();
    let right = WIDTH - GAP - DIGIT * longest as f64;
    let x = Axis::linear((low - pad, high + pad), (LEFT, right));
    for (i, ((name, estimate), text)) in rows.iter().zip(&texts).enumerate() {
        let y = 14.0 + 22.0 * i as f64;
        svg.text((40.0, y + 4.0), name, "k2", Anchor::End);
        svg.line((LEFT, y), (right, y), "gl");
        if let Some((from, to)) = estimate.interval {
            svg.rect(Area { x: x.at(from), y: y - 5.0, width: x.at(to) - x.at(from), height: 10.0 }, "faw");
        }
        svg.rect(Area { x: x.at(estimate.value) - 1.0, y: y - 6.0, width: 2.0, height: 12.0 }, "fa");
        svg.text((right + GAP, y + 4.0), text, "k", Anchor::Start);
    }
    let marks = ticks(low - pad, high + pad, 4);
    let decimals = super::tick_decimals(&marks);
    for tick in marks {
        svg.text((x.at(tick), height - 4.0), &crate::format::fixed(tick, decimals), "", Anchor::Middle);
    }
    svg.text((right + GAP, height - 4.0), "ms", "", Anchor::Start);
    svg.finish()
}

fn text(estimate: Estimate) -> String {
    let shown = in_unit(estimate, 1.0);
    if shown.interval.is_empty() { shown.number } else { format!("{} {}", shown.number, shown.interval) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    #[test]
    fn an_interval_is_a_bar_and_a_percentile_without_one_is_only_a_tick() {
        let rows = [
            ("p50", Estimate { value: 16.2, interval: Some((16.18, 16.22)) }),
            ("p99", Estimate { value: 16.84, interval: None }),
        ];
        let svg = chart(&rows, Words(Language::English));
        assert_eq!(svg.as_str().matches(r#"class="faw""#).count(), 1);
        assert_eq!(svg.as_str().matches(r#"class="fa""#).count(), 2);
        assert!(svg.as_str().contains("16.20 [16.18–16.22]"));
    }

    #[test]
    fn the_longest_value_has_its_room_right_of_the_axis() {
        let value_of = |value: f64, interval| {
            let svg = chart(&[("p50", Estimate { value, interval })], Words(Language::English));
            let (before, after) = svg.as_str().split_once(r#" class="k">"#).unwrap();
            let at = before.rsplit_once(r#"<text x=""#).unwrap().1.split('"').next().unwrap();
            (at.parse::<f64>().unwrap(), after.split('<').next().unwrap().chars().count() as f64)
        };
        let ((short, _), (long, chars)) =
            (value_of(1.5, None), value_of(0.023_904_1, Some((0.023_852_1, 0.023_931_4))));
        assert!(
            long < short && long + 6.5 * chars <= WIDTH,
            "{chars} characters from {long} on, {short} for a short one"
        );
    }
}
