//! Histogram: at most 40 bins of equal width up to 1.02 × p99, and an overflow bin with its count.

use super::{Anchor, Area, Axis, Svg, quantile, ticks};
use crate::format::{count, significant};
use crate::html::Html;
use crate::i18n::Words;

const WIDTH: f64 = 470.0;
const BASE: f64 = 150.0;
const TALL: f64 = 104.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = 416.0;
const BINS: usize = 40;
/// Fewer samples than this are shown as points.
pub const FEWEST: usize = 20;

/// Latencies in ms, in any order; percentiles as the server derived them, by name.
#[must_use]
pub fn chart(samples: &[f64], guides: &[(&str, f64)], words: Words) -> Html {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let label = words.with("chart.histogram", &[("n", &count(samples.len() as u64))]);
    let mut svg = Svg::new(WIDTH, 172.0, &label);
    let Some((first, last)) = sorted.first().copied().zip(sorted.last().copied()) else { return svg.finish() };
    let limit = (quantile(&sorted, 0.99) * 1.02).min(last);
    let limit = if limit > first { limit } else { first + first.abs().max(1e-6) * 0.02 };
    let x = Axis::linear((first, limit), (LEFT, RIGHT));
    if sorted.len() < FEWEST {
        for sample in &sorted {
            svg.circle((x.at(*sample), BASE - 40.0), 4.0, "hollow", Some(&format!("{} ms", significant(*sample))));
        }
    } else {
        bars(&mut svg, &sorted, (first, limit), words);
    }
    for (i, (name, value)) in guides.iter().filter(|(_, value)| value.is_finite() && *value <= limit).enumerate() {
        let (at, top) = (x.at(*value), 14.0 + 12.0 * i as f64);
        svg.line((at, top - 6.0), (at, BASE), "mk");
        let anchor = if at > RIGHT - 60.0 { Anchor::End } else { Anchor::Start };
        let shift = if anchor == Anchor::End { -4.0 } else { 4.0 };
        svg.text((at + shift, top + 2.0), &format!("{name} {}", significant(*value)), "k", anchor);
    }
    svg.line((LEFT, BASE + 0.5), (WIDTH - 14.0, BASE + 0.5), "ax");
    let marks = ticks(first, limit, 5);
    let decimals = super::tick_decimals(&marks);
    let over = sorted.last().is_some_and(|last| *last > limit);
    // The overflow bin's own label stands at the end.
    for tick in marks.into_iter().filter(|tick| !over || x.at(*tick) < RIGHT - 24.0) {
        svg.text((x.at(tick), 166.0), &crate::format::fixed(tick, decimals), "", Anchor::Middle);
    }
    svg.finish()
}

fn bars(svg: &mut Svg, sorted: &[f64], (first, limit): (f64, f64), words: Words) {
    let bins = BINS.min((sorted.len() as f64).sqrt().ceil() as usize * 2);
    let step = (limit - first) / bins as f64;
    let mut counts = vec![0u64; bins];
    let mut over = 0u64;
    for sample in sorted {
        let index = ((sample - first) / step) as usize;
        if *sample > limit { over += 1 } else { counts[index.min(bins - 1)] += 1 }
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(over).max(1) as f64;
    let width = (RIGHT - LEFT) / bins as f64;
    let tip = |from: f64, to: f64, n: u64| {
        words.with("chart.bin_tip", &[("from", &significant(from)), ("to", &significant(to)), ("n", &count(n))])
    };
    for (i, &n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        let height = n as f64 / most * TALL;
        let low = first + i as f64 * step;
        let area = Area { x: LEFT + i as f64 * width + 0.5, y: BASE - height, width: width - 1.0, height };
        svg.tipped(area, "bin", &tip(low, low + step, n));
    }
    if over > 0 {
        let height = (over as f64 / most * TALL).max(1.0);
        let text = words.with("chart.overflow_tip", &[("limit", &significant(limit)), ("n", &count(over))]);
        svg.tipped(Area { x: 428.0, y: BASE - height, width: 24.0, height }, "fe", &text);
        svg.text((440.0, BASE - height - 6.0), &count(over), "k", Anchor::Middle);
        svg.text((456.0, 166.0), &format!("> {}", significant(limit)), "", Anchor::End);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    const EN: Words = Words(Language::English);

    #[test]
    fn every_sample_is_in_exactly_one_bin() {
        let samples: Vec<f64> = (0..1000).map(|i| 10.0 + f64::from(i % 100) / 100.0).chain([99.0, 120.0]).collect();
        let svg = chart(&samples, &[("p50", 10.5)], EN);
        let tips: Vec<u64> = svg
            .as_str()
            .split("data-tip=\"")
            .skip(1)
            .filter_map(|tip| tip.split('·').nth(1)?.split_whitespace().next()?.replace(',', "").parse().ok())
            .collect();
        assert_eq!(tips.iter().sum::<u64>(), 1002);
        assert_eq!(tips.last(), Some(&2), "two samples are over the limit");
        assert!(tips.len() <= BINS + 1);
    }

    #[test]
    fn fewer_than_twenty_samples_are_points() {
        let svg = chart(&[1.0, 2.0, 3.0], &[], EN);
        assert_eq!(svg.as_str().matches("<circle").count(), 3);
        assert!(!svg.as_str().contains(r#"class="bin""#));
    }

    #[test]
    fn equal_samples_make_one_bar() {
        let svg = chart(&[5.0; 64], &[("p50", 5.0)], EN);
        assert_eq!(svg.as_str().matches(r#"class="bin""#).count(), 1);
        assert!(!svg.as_str().contains("NaN"));
    }
}
