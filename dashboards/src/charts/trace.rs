//! Sample trace: every sample in order; more than 2,000 as min–max columns, one a unit.

use std::fmt::Write as _;

use super::{Anchor, Area, Axis, Svg, n, quantile, ticks};
use crate::format::{count, significant};
use crate::html::Html;
use crate::i18n::Words;

const LEFT: f64 = 48.0;
const RIGHT: f64 = 990.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 190.0;
/// Above this, columns instead of points.
pub const POINTS: usize = 2000;
/// Columns that carry a tip.
const TIPS: usize = 47;

/// Latencies in ms, one slice a process, in order.
#[must_use]
pub fn chart(processes: &[Vec<f64>], words: Words) -> Html {
    let all: Vec<f64> = processes.concat();
    let mut sorted = all.clone();
    sorted.sort_by(f64::total_cmp);
    let (low, p99, max) = (quantile(&sorted, 0.0), quantile(&sorted, 0.99), quantile(&sorted, 1.0));
    let high = if max > low + 2.5 * (p99 - low) && p99 > low { low + 2.0 * (p99 - low) } else { max };
    let pad = ((high - low) * 0.06).max(low.abs() * 1e-3).max(1e-9);
    let (low, high) = ((low - pad).max(0.0), high + pad);
    let above = sorted.iter().filter(|sample| **sample > high).count();
    let x = Axis::linear((0.0, all.len().max(1) as f64), (LEFT, RIGHT));
    let y = Axis::linear((low, high), (BOTTOM, TOP));

    let label = words.with(
        "chart.trace",
        &[
            ("n", &count(all.len() as u64)),
            ("low", &significant(sorted.first().copied().unwrap_or(0.0))),
            ("high", &significant(max)),
        ],
    );
    let mut svg = Svg::new(1000.0, 212.0, &label);
    svg.grid(&ticks(low, high, 5), &y, (LEFT, RIGHT));
    svg.text((LEFT - 8.0, TOP - 8.0), "ms", "", Anchor::End);
    if all.len() <= POINTS {
        points(&mut svg, &all, &x, &y);
    } else {
        columns(&mut svg, &all, &x, &y);
    }
    if above > 0 {
        let text = words.with(
            "chart.above",
            &[("n", &count(above as u64)), ("limit", &significant(high)), ("max", &significant(max))],
        );
        svg.text((RIGHT, 10.0), &text, "k2", Anchor::End);
    }
    borders(&mut svg, processes, &x, words);
    svg.line((LEFT, BOTTOM + 0.5), (RIGHT, BOTTOM + 0.5), "ax");
    for tick in ticks(0.0, all.len() as f64, 6) {
        let anchor = if x.at(tick) > RIGHT - 20.0 { Anchor::End } else { Anchor::Middle };
        svg.text((x.at(tick), BOTTOM + 16.0), &count(tick as u64), "", anchor);
    }
    tips(&mut svg, &all, &x, words);
    svg.finish()
}

fn points(svg: &mut Svg, samples: &[f64], x: &Axis, y: &Axis) {
    let mut d = String::with_capacity(samples.len() * 28);
    for (i, sample) in samples.iter().enumerate() {
        let _ = write!(d, "M{} {}h1.6v1.6h-1.6z", n(x.at(i as f64)), n(y.at(*sample) - 0.8));
    }
    svg.path(&d, "pt", None);
}

/// The whole range of each unit of width, the range of its central 90 % darker, and its median darkest.
fn columns(svg: &mut Svg, samples: &[f64], x: &Axis, y: &Axis) {
    let width = (RIGHT - LEFT) as usize;
    let (mut ranges, mut centres, mut medians) = (String::new(), String::new(), String::new());
    for chunk in samples.chunks(samples.len().div_ceil(width)).enumerate() {
        let (index, chunk) = chunk;
        let mut sorted = chunk.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = x.at((index * samples.len().div_ceil(width)) as f64);
        let span = |low: f64, high: f64| {
            format!("M{} {}V{}", n(at), n(y.at(quantile(&sorted, low)) + 0.5), n(y.at(quantile(&sorted, high)) - 0.5))
        };
        ranges.push_str(&span(0.0, 1.0));
        centres.push_str(&span(0.05, 0.95));
        let _ = write!(medians, "M{} {}h1v1h-1z", n(at - 0.5), n(y.at(quantile(&sorted, 0.5)) - 0.5));
    }
    svg.path(&ranges, "rg", None);
    svg.path(&centres, "wk", None);
    svg.path(&medians, "pt", None);
}

fn borders(svg: &mut Svg, processes: &[Vec<f64>], x: &Axis, words: Words) {
    if processes.len() < 2 {
        return;
    }
    let mut start = 0;
    for (i, process) in processes.iter().enumerate() {
        let at = x.at(start as f64);
        if i > 0 {
            svg.line((at, TOP), (at, BOTTOM), "mk");
        }
        svg.text((at, TOP - 8.0), &words.with("chart.process", &[("n", &i.to_string())]), "", Anchor::Start);
        start += process.len();
    }
}

fn tips(svg: &mut Svg, samples: &[f64], x: &Axis, words: Words) {
    if samples.is_empty() {
        return;
    }
    let size = samples.len().div_ceil(TIPS);
    for (index, chunk) in samples.chunks(size).enumerate() {
        let mut sorted = chunk.to_vec();
        sorted.sort_by(f64::total_cmp);
        let first = index * size;
        let (left, right) = (x.at(first as f64), x.at((first + chunk.len()) as f64));
        let values = [quantile(&sorted, 0.5), quantile(&sorted, 0.0), quantile(&sorted, 1.0)].map(significant);
        let tip = words.with(
            "chart.trace_tip",
            &[
                ("from", &count(first as u64 + 1)),
                ("to", &count((first + chunk.len()) as u64)),
                ("p50", &values[0]),
                ("low", &values[1]),
                ("high", &values[2]),
            ],
        );
        svg.hit(Area { x: left, y: TOP, width: right - left, height: BOTTOM - TOP }, index, &tip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    const EN: Words = Words(Language::English);

    #[test]
    fn few_samples_are_drawn_one_by_one() {
        let svg = chart(&[vec![10.0; 1500]], EN);
        assert_eq!(svg.as_str().matches("h1.6v1.6").count(), 1500);
    }

    #[test]
    fn many_samples_become_one_column_a_unit_and_the_page_stays_small() {
        let samples: Vec<f64> = (0..100_000u32).map(|i| 10.0 + f64::from(i % 97) / 50.0).collect();
        let svg = chart(&[samples], EN);
        assert!(!svg.as_str().contains("h1.6v1.6"));
        assert!(svg.as_str().len() < 60_000, "{} bytes", svg.as_str().len());
    }

    #[test]
    fn a_far_outlier_does_not_flatten_the_rest_and_is_counted() {
        let mut samples = vec![10.0; 500];
        samples.extend((0..500u32).map(|i| 10.0 + f64::from(i) / 500.0));
        samples.push(500.0);
        let svg = chart(&[samples], EN);
        assert!(svg.as_str().contains("1 above"), "the clipped sample is stated");
    }

    #[test]
    fn fresh_processes_are_told_apart() {
        let svg = chart(&[vec![1.0; 30], vec![1.1; 30], vec![1.2; 30]], EN);
        assert_eq!(svg.as_str().matches(r#"class="mk""#).count(), 2);
        assert!(svg.as_str().contains("process 2"));
    }

    #[test]
    fn no_samples_and_equal_samples_do_not_break_the_axis() {
        for samples in [vec![], vec![5.0], vec![0.0; 50]] {
            assert!(!chart(&[samples], EN).as_str().contains("NaN"));
        }
    }
}
