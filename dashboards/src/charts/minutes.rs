//! Median of each minute of a long run: a point a minute, and the line above which it throttles.

use seatrial_core::measure::sustained::THROTTLED;

use super::{Anchor, Area, Axis, Svg, ticks};
use crate::format::{count, fixed, significant};
use crate::html::Html;
use crate::i18n::Words;

const LEFT: f64 = 48.0;
const RIGHT: f64 = 936.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 132.0;

/// Medians in ms of consecutive minutes from the first; `None` for one in which no inference began.
#[must_use]
pub fn chart(medians: &[Option<f64>], words: Words) -> Html {
    let known: Vec<f64> = medians.iter().flatten().copied().filter(|median| median.is_finite()).collect();
    let (Some(first), Some(last)) = (known.first().copied(), known.last().copied()) else { return Html::default() };
    let label = words.with(
        "chart.minutes",
        &[("n", &count(medians.len() as u64)), ("first", &significant(first)), ("last", &significant(last))],
    );
    let mut svg = Svg::new(1000.0, 156.0, &label);
    let limit = THROTTLED * first;
    let low = known.iter().copied().fold(first, f64::min);
    // The limit is always in sight: how far a run stays below it is what it is read for.
    let high = known.iter().copied().fold(limit, f64::max);
    let pad = ((high - low) * 0.1).max(1e-9);
    let (low, high) = ((low - pad).max(0.0), high + pad);
    let x = Axis::linear((0.0, medians.len() as f64), (LEFT, RIGHT));
    let y = Axis::linear((low, high), (BOTTOM, TOP));
    svg.text((LEFT - 8.0, TOP - 10.0), "ms", "", Anchor::End);
    svg.grid(&ticks(low, high, 4), &y, (LEFT, RIGHT));
    svg.line((LEFT, y.at(limit)), (RIGHT, y.at(limit)), "mk");
    let text = words.with("chart.throttled", &[("ratio", &fixed(THROTTLED, 2))]);
    svg.text((LEFT + 4.0, y.at(limit) - 5.0), &text, "k2", Anchor::Start);

    let middle = |index: usize| x.at(index as f64 + 0.5);
    let points: Vec<(usize, f64)> =
        medians.iter().enumerate().filter_map(|(index, median)| Some((index, (*median)?))).collect();
    for piece in points.chunk_by(|a, b| b.0 == a.0 + 1) {
        let line: Vec<(f64, f64)> = piece.iter().map(|&(index, median)| (middle(index), y.at(median))).collect();
        svg.polyline(&line, "ln");
    }
    for &(index, median) in &points {
        svg.circle((middle(index), y.at(median)), 2.4, "pt", None);
    }
    if let Some(&(index, median)) = points.last() {
        svg.text((middle(index) + 10.0, y.at(median) + 4.0), &significant(median), "k", Anchor::Start);
    }
    svg.line((LEFT, BOTTOM + 0.5), (RIGHT, BOTTOM + 0.5), "ax");
    let every = medians.len().div_ceil(15);
    for index in (0..medians.len()).step_by(every) {
        svg.text((middle(index), BOTTOM + 16.0), &count(index as u64 + 1), "", Anchor::Middle);
    }
    svg.text((1000.0, BOTTOM + 16.0), &words.t("chart.minute_unit"), "", Anchor::End);
    for &(index, median) in &points {
        let minute = count(index as u64 + 1);
        let tip = words.with("chart.minute_tip", &[("minute", &minute), ("p50", &significant(median))]);
        let (from, to) = (x.at(index as f64), x.at(index as f64 + 1.0));
        svg.hit(Area { x: from, y: TOP, width: to - from, height: BOTTOM - TOP }, index, &tip);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    #[test]
    fn every_minute_is_a_point_and_the_last_is_written() {
        let medians: Vec<Option<f64>> = (0..30).map(|minute| Some(16.0 + f64::from(minute) / 10.0)).collect();
        let svg = chart(&medians, Words(Language::English));
        assert_eq!(svg.as_str().matches("<circle").count(), 30);
        assert_eq!(svg.as_str().matches("<polyline").count(), 1);
        assert!(svg.as_str().contains(">18.9</text>"), "{svg}");
    }

    #[test]
    fn a_minute_without_an_inference_leaves_a_gap() {
        let medians = [Some(16.0), Some(16.1), None, Some(16.2), Some(16.3)];
        let svg = chart(&medians, Words(Language::English));
        assert_eq!(svg.as_str().matches("<polyline").count(), 2);
        assert!(chart(&[], Words(Language::English)).is_empty());
    }
}
