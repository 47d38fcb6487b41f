//! Trade-off: latency on a log axis against accuracy; area is size, shape is the accelerator, the Pareto front is a
//! step line with its points in accent.

use std::fmt::Write as _;

use super::{Anchor, Axis, Svg, log_ticks, n, ticks};
use crate::format::significant;
use crate::html::Html;
use crate::i18n::Words;
use seatrial_core::backend::Accelerator;

const LEFT: f64 = 50.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 286.0;

/// One variant on one backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub name: String,
    pub accelerator: Accelerator,
    /// p50 in ms, above 0.
    pub latency: f64,
    /// Percent.
    pub accuracy: f64,
    /// MB.
    pub size: f64,
    /// One more line for the tip.
    pub note: String,
}

/// For each point, the index of one that is at least as fast and as accurate and better in one; `None` on the front.
#[must_use]
pub fn beaten_by(points: &[Point]) -> Vec<Option<usize>> {
    let beats = |a: &Point, b: &Point| {
        a.latency <= b.latency && a.accuracy >= b.accuracy && (a.latency < b.latency || a.accuracy > b.accuracy)
    };
    let better = |point: &Point| {
        let rivals = points.iter().enumerate().filter(|(_, rival)| beats(rival, point));
        rivals.min_by(|(_, a), (_, b)| a.latency.total_cmp(&b.latency)).map(|(i, _)| i)
    };
    points.iter().map(better).collect()
}

#[must_use]
pub fn chart(points: &[Point], axes: (&str, &str), words: Words) -> Html {
    let mut svg = Svg::new(712.0, 330.0, &words.t("chart.tradeoff"));
    let range = |value: fn(&Point) -> f64| {
        let low = points.iter().map(value).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    };
    let (fast, slow) = range(|p| p.latency);
    let (worst, best) = range(|p| p.accuracy);
    if points.is_empty() || fast <= 0.0 {
        return svg.finish();
    }
    let pad = ((best - worst) * 0.18).max(0.5);
    let (bottom, top) = ((worst - pad).max(0.0), (best + pad).min(100.0 + pad * 0.6));
    let x = Axis::logarithmic((fast / 1.35, slow * 1.6), (LEFT, RIGHT));
    let y = Axis::linear((bottom, top), (BOTTOM, TOP));
    let marks: Vec<f64> = ticks(bottom, top.min(100.0), 5);
    svg.grid(&marks, &y, (LEFT, RIGHT));
    let mut lows = log_ticks(fast / 1.35, slow * 1.6);
    if lows.len() < 3 {
        lows = ticks(fast / 1.35, slow * 1.6, 5);
    }
    let decimals = super::tick_decimals(&lows);
    for tick in lows {
        svg.line((x.at(tick), BOTTOM), (x.at(tick), BOTTOM + 4.0), "ax");
        svg.text((x.at(tick), BOTTOM + 17.0), &crate::format::fixed(tick, decimals), "", Anchor::Middle);
    }
    let beaten = beaten_by(points);
    front(&mut svg, points, &beaten, &x, &y);
    svg.line((LEFT, BOTTOM + 0.5), (RIGHT, BOTTOM + 0.5), "ax");
    svg.text((LEFT - 42.0, 11.0), axes.1, "", Anchor::Start);
    svg.text((RIGHT, BOTTOM + 36.0), axes.0, "", Anchor::End);

    let largest = points.iter().map(|p| p.size).fold(1e-9, f64::max);
    let mut labels: Vec<(f64, f64)> = Vec::new();
    for (point, rival) in points.iter().zip(&beaten) {
        let at = (x.at(point.latency), y.at(point.accuracy));
        let radius = 4.0 + 7.0 * (point.size / largest).sqrt();
        let tip = [
            point.name.replace('|', "¦"),
            words.with(
                "chart.tradeoff_tip",
                &[
                    ("ms", &significant(point.latency)),
                    ("share", &significant(point.accuracy)),
                    ("mb", &significant(point.size)),
                ],
            ),
            point.note.replace('|', "¦"),
        ];
        mark(
            &mut svg,
            point.accelerator,
            at,
            radius,
            if rival.is_none() { "fa see" } else { "fe see" },
            &tip.join("|"),
        );
        label(&mut svg, &point.name, at, radius, if rival.is_none() { "k" } else { "k2" }, &mut labels);
    }
    svg.finish()
}

fn front(svg: &mut Svg, points: &[Point], beaten: &[Option<usize>], x: &Axis, y: &Axis) {
    let mut front: Vec<&Point> =
        points.iter().zip(beaten).filter(|(_, rival)| rival.is_none()).map(|(p, _)| p).collect();
    front.sort_by(|a, b| a.latency.total_cmp(&b.latency));
    let Some(first) = front.first() else { return };
    let mut d = format!("M{} {}V{}", n(x.at(first.latency)), n(BOTTOM), n(y.at(first.accuracy)));
    for point in front.iter().skip(1) {
        let _ = write!(d, "H{}V{}", n(x.at(point.latency)), n(y.at(point.accuracy)));
    }
    let _ = write!(d, "H{}", n(RIGHT));
    svg.path(&d, "ln a", None);
}

fn mark(svg: &mut Svg, accelerator: Accelerator, (x, y): (f64, f64), r: f64, class: &str, tip: &str) {
    match accelerator {
        Accelerator::Cpu => svg.circle((x, y), r, class, Some(tip)),
        Accelerator::Gpu => {
            let h = r * 0.89;
            svg.path(
                &format!("M{} {}h{side}v{side}h-{side}Z", n(x - h), n(y - h), side = n(2.0 * h)),
                class,
                Some(tip),
            );
        }
        Accelerator::Npu => {
            let h = r * 1.25;
            svg.path(&format!("M{} {}l{h} {h}l-{h} {h}l-{h} -{h}Z", n(x), n(y - h), h = n(h)), class, Some(tip));
        }
    }
}

/// Right of its mark, or left near the edge; lower when another label stands there.
fn label(svg: &mut Svg, name: &str, (x, y): (f64, f64), radius: f64, class: &str, taken: &mut Vec<(f64, f64)>) {
    let width = name.chars().map(|c| if c.is_ascii() { 6.0 } else { 11.0 }).sum::<f64>();
    let fits = x + radius + 6.0 + width < RIGHT;
    let (start, anchor) =
        if fits { (x + radius * 0.7 + 3.0, Anchor::Start) } else { (x - radius * 0.7 - 3.0, Anchor::End) };
    // Below the mark: the front leaves it to the right, on its height.
    let mut at = y + radius * 0.7 + 11.0;
    while taken.iter().any(|(tx, ty)| (ty - at).abs() < 13.0 && (tx - start).abs() < width.max(80.0))
        && at < BOTTOM - 4.0
    {
        at += 13.0;
    }
    taken.push((start, at));
    svg.text((start, at), name, class, anchor);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    fn point(name: &str, latency: f64, accuracy: f64, accelerator: Accelerator) -> Point {
        Point { name: name.to_owned(), accelerator, latency, accuracy, size: 3.0, note: String::new() }
    }

    #[test]
    fn a_point_is_beaten_only_by_one_that_is_no_worse_in_both() {
        let points = [
            point("fast", 5.0, 90.0, Accelerator::Npu),
            point("right", 20.0, 95.0, Accelerator::Cpu),
            point("neither", 22.0, 94.0, Accelerator::Gpu),
            point("twin", 5.0, 90.0, Accelerator::Cpu),
        ];
        assert_eq!(beaten_by(&points), [None, None, Some(1), None]);
    }

    #[test]
    fn shapes_tell_accelerators_apart() {
        let points = [
            point("a", 5.0, 90.0, Accelerator::Cpu),
            point("b", 6.0, 92.0, Accelerator::Gpu),
            point("c<", 9.0, 93.0, Accelerator::Npu),
        ];
        let svg = chart(&points, ("ms", "%"), Words(Language::English));
        assert_eq!(svg.as_str().matches("<circle").count(), 1);
        assert_eq!(svg.as_str().matches("Z\" data-tip").count(), 2);
        assert!(svg.as_str().contains("c&lt;"));
        assert!(!svg.as_str().contains("NaN"));
    }
}
