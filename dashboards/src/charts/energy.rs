//! What a device drew over an energy measurement: load shaded, the mean of each phase as a level.

use super::{Anchor, Area, Axis, Svg, ticks};
use crate::format::{count, fixed, significant};
use crate::html::Html;
use crate::i18n::Words;

const LEFT: f64 = 48.0;
const RIGHT: f64 = 976.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 172.0;
/// Readings are drawn one by one up to here; more of them as means of columns.
pub const POINTS: usize = 700;

/// One phase; times in s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    pub from: f64,
    pub until: f64,
    pub load: bool,
    /// Mean power after it had settled, in W; `None` where the readings leave it dark.
    pub watts: Option<f64>,
    pub inferences: u64,
}

/// Points are (s, W), in order of time. None where the source tells an energy and no power.
#[must_use]
pub fn chart(points: &[(f64, f64)], bands: &[Band], words: Words) -> Html {
    let finite = |(at, watts): &&(f64, f64)| at.is_finite() && watts.is_finite();
    let points: Vec<(f64, f64)> = points.iter().filter(finite).copied().collect();
    let levels = bands.iter().filter_map(|band| band.watts).filter(|watts| watts.is_finite());
    let all: Vec<f64> = points.iter().map(|point| point.1).chain(levels).collect();
    let (Some(first), Some(last)) = (bands.first(), bands.last()) else { return Html::default() };
    if all.is_empty() || !(first.from.is_finite() && last.until.is_finite()) {
        return Html::default();
    }
    let (start, end) = (first.from, last.until);
    let loads = bands.iter().filter(|band| band.load).count();
    let label = words.with("chart.energy", &[("n", &count(loads as u64)), ("seconds", &fixed(end - start, 0))]);
    let mut svg = Svg::new(1000.0, 196.0, &label);
    let high = all.iter().copied().fold(0.0, f64::max) * 1.06 + 1e-9;
    let low = all.iter().copied().fold(0.0, f64::min);
    let x = Axis::linear((0.0, end - start), (LEFT, RIGHT));
    let y = Axis::linear((low, high), (BOTTOM, TOP));
    let at = |seconds: f64| x.at(seconds - start);
    svg.text((LEFT - 8.0, TOP - 10.0), "W", "", Anchor::End);
    for band in bands.iter().filter(|band| band.load) {
        let width = at(band.until) - at(band.from);
        svg.rect(Area { x: at(band.from), y: TOP, width, height: BOTTOM - TOP }, "faw");
    }
    svg.grid(&ticks(low, high, 4), &y, (LEFT, RIGHT));
    let line: Vec<(f64, f64)> = columns(&points).into_iter().map(|(s, watts)| (at(s), y.at(watts))).collect();
    if line.len() > 1 {
        svg.polyline(&line, "ln");
    }
    for band in bands {
        if let Some(watts) = band.watts {
            svg.line((at(band.from), y.at(watts)), (at(band.until), y.at(watts)), "level");
        }
    }
    svg.line((LEFT, BOTTOM + 0.5), (RIGHT, BOTTOM + 0.5), "ax");
    let times = ticks(0.0, end - start, 8);
    for &time in &times {
        svg.text((x.at(time), BOTTOM + 16.0), &fixed(time, super::tick_decimals(&times)), "", Anchor::Middle);
    }
    svg.text((1000.0, BOTTOM + 16.0), "s", "", Anchor::End);
    for (index, band) in bands.iter().enumerate() {
        let watts = band.watts.map_or_else(|| crate::format::DASH.to_string(), significant);
        let (seconds, inferences) = (fixed(band.until - band.from, 1), count(band.inferences));
        let key = if band.load { "chart.energy_load" } else { "chart.energy_idle" };
        let tip = words.with(key, &[("watts", &watts), ("seconds", &seconds), ("n", &inferences)]);
        let width = at(band.until) - at(band.from);
        svg.hit(Area { x: at(band.from), y: TOP, width, height: BOTTOM - TOP }, index, &tip);
    }
    svg.finish()
}

/// Means of as many columns as are drawn.
fn columns(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let n = chunk.len() as f64;
        (chunk.iter().map(|point| point.0).sum::<f64>() / n, chunk.iter().map(|point| point.1).sum::<f64>() / n)
    };
    points.chunks(each).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    fn bands() -> Vec<Band> {
        let band = |index: usize| {
            let load = index % 2 == 1;
            let from = index as f64 * 40.0;
            let watts = Some(if load { 2.9 } else { 0.9 });
            Band { from, until: from + 40.0, load, watts, inferences: if load { 2_000 } else { 0 } }
        };
        (0..13).map(band).collect()
    }

    #[test]
    fn every_load_is_shaded_and_every_phase_has_its_level() {
        let points: Vec<(f64, f64)> = (0..5_200).map(|i| (f64::from(i) / 10.0, 1.0)).collect();
        let svg = chart(&points, &bands(), Words(Language::English));
        assert_eq!(svg.as_str().matches("\"faw\"").count(), 6);
        assert_eq!(svg.as_str().matches("\"level\"").count(), 13);
        let line = svg.as_str().split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(line.split(' ').count() <= POINTS, "{}", line.split(' ').count());
    }

    #[test]
    fn without_phases_or_a_number_there_is_nothing_to_draw() {
        assert!(chart(&[(0.0, 1.0)], &[], Words(Language::English)).is_empty());
        let dark: Vec<Band> = bands().into_iter().map(|band| Band { watts: None, ..band }).collect();
        assert!(chart(&[(0.0, f64::NAN)], &dark, Words(Language::English)).is_empty());
    }
}
