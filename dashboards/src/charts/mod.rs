//! Charts as pure functions from data to SVG. No `style` attribute ever: geometry is in SVG attributes, looks are in
//! classes. Every text is escaped by [`Svg`], the only way to write one.

pub mod burnup;
pub mod confusion;
pub mod energy;
pub mod histogram;
pub mod minutes;
pub mod percentiles;
pub mod progress;
pub mod sensor;
pub mod stages;
pub mod trace;
pub mod tradeoff;

use std::fmt::Write as _;

use crate::html::{Html, escape};

/// Where a text stands on its x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing of fixed units that the page scales.
pub(crate) struct Svg {
    width: f64,
    height: f64,
    label: String,
    class: String,
    sync: bool,
    body: String,
}

/// Coordinates to a tenth of a unit, without a trailing zero.
fn n(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

impl Svg {
    /// `label` says the finding, for those who do not see the drawing.
    pub(crate) fn new(width: f64, height: f64, label: &str) -> Self {
        Self {
            width,
            height,
            label: label.to_owned(),
            class: format!("w{}", n(width)),
            sync: false,
            body: String::new(),
        }
    }

    /// Hovering here moves the cursor in every other synced chart of the page.
    pub(crate) fn synced(mut self) -> Self {
        self.sync = true;
        self
    }

    /// Drawn no larger than its units, since its text would grow with it.
    pub(crate) fn natural(mut self) -> Self {
        self.class.push_str(" cap");
        self
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ =
            write!(self.body, r#"<path class="{class}" d="M{} {}L{} {}"/>"#, n(from.0), n(from.1), n(to.0), n(to.1));
    }

    pub(crate) fn rect(&mut self, area: Area, class: &str) {
        self.shape(area, class, "", None);
    }

    pub(crate) fn rounded(&mut self, area: Area, radius: u8, class: &str) {
        self.shape(area, class, &format!(r#" rx="{radius}""#), None);
    }

    /// A rectangle with a tip: `bold line|line|line`.
    pub(crate) fn tipped(&mut self, area: Area, class: &str, tip: &str) {
        self.shape(area, class, r#" rx="2""#, Some(tip));
    }

    /// A transparent column that shows a tip; columns of equal `index` move together under [`Svg::synced`].
    pub(crate) fn hit(&mut self, area: Area, index: usize, tip: &str) {
        self.shape(area, "hit", &format!(r#" data-i="{index}""#), Some(tip));
    }

    fn shape(&mut self, Area { x, y, width, height }: Area, class: &str, extra: &str, tip: Option<&str>) {
        let (width, height) = (width.max(0.1), height.max(0.1));
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}"{extra}"#,
            n(x),
            n(y),
            n(width),
            n(height)
        );
        if let Some(tip) = tip {
            let _ = write!(self.body, r#" data-tip="{}""#, escape(tip));
        }
        self.body.push_str("/>");
    }

    pub(crate) fn circle(&mut self, (x, y): (f64, f64), radius: f64, class: &str, tip: Option<&str>) {
        let _ = write!(self.body, r#"<circle class="{class}" cx="{}" cy="{}" r="{}""#, n(x), n(y), n(radius));
        if let Some(tip) = tip {
            let _ = write!(self.body, r#" data-tip="{}""#, escape(tip));
        }
        self.body.push_str("/>");
    }

    pub(crate) fn path(&mut self, d: &str, class: &str, tip: Option<&str>) {
        let _ = write!(self.body, r#"<path class="{class}" d="{d}""#);
        if let Some(tip) = tip {
            let _ = write!(self.body, r#" data-tip="{}""#, escape(tip));
        }
        self.body.push_str("/>");
    }

    pub(crate) fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let list: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", n(*x), n(*y))).collect();
        let _ = write!(self.body, r#"<polyline class="{class}" points="{}"/>"#, list.join(" "));
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), text: &str, class: &str, anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let class = if class.is_empty() { String::new() } else { format!(r#" class="{class}""#) };
        let _ = write!(self.body, r#"<text x="{}" y="{}"{class}{anchor}>{}</text>"#, n(x), n(y), escape(text));
    }

    /// Horizontal hairlines with their values left of the axis.
    pub(crate) fn grid(&mut self, ticks: &[f64], y: &Axis, (left, right): (f64, f64)) {
        let decimals = tick_decimals(ticks);
        for &tick in ticks {
            self.line((left, y.at(tick)), (right, y.at(tick)), "gl");
            self.text((left - 8.0, y.at(tick) + 4.0), &crate::format::fixed(tick, decimals), "", Anchor::End);
        }
    }

    pub(crate) fn finish(self) -> Html {
        let Self { width, height, label, class, sync, body } = self;
        let sync = if sync { " data-sync" } else { "" };
        Html::trusted(format!(
            r#"<svg class="{class}" viewBox="0 0 {} {}" role="img" aria-label="{}"{sync}>{body}</svg>"#,
            n(width),
            n(height),
            escape(&label)
        ))
    }
}

/// A rectangle in the units of its drawing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// From values to units; linear, or logarithmic for positive values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Axis {
    pub(crate) fn linear((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { low, high, from, to, logarithmic: false }
    }

    pub(crate) fn logarithmic((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { low: low.log10(), high: high.log10(), from, to, logarithmic: true }
    }

    /// Values outside the axis are drawn at its ends.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let width = self.high - self.low;
        let share = if width > 0.0 { ((value - self.low) / width).clamp(0.0, 1.0) } else { 0.5 };
        self.from + share * (self.to - self.from)
    }
}

/// Ticks at 1, 2, 2.5 or 5 × 10ⁿ inside `low..=high`, about `wanted` of them and never more than twice as many.
pub(crate) fn ticks(low: f64, high: f64, wanted: u32) -> Vec<f64> {
    let raw = (high - low) / f64::from(wanted.max(1));
    if !(raw.is_finite() && raw > 0.0) {
        return if low.is_finite() { vec![low] } else { Vec::new() };
    }
    let magnitude = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|k| k * magnitude)
        .find(|step| *step >= raw * 0.999)
        .unwrap_or(magnitude * 10.0);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).take(2 * wanted as usize + 1).map(|k| k as f64 * step).collect()
}

/// Ticks of a logarithmic axis: 1, 2 and 5 × 10ⁿ inside `low..=high`.
pub(crate) fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    if !(low > 0.0 && high.is_finite()) {
        return Vec::new();
    }
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = decades.take(20).flat_map(|power| [1.0, 2.0, 5.0].map(|k| k * 10f64.powi(power)));
    all.filter(|tick| (low * 0.999..=high * 1.001).contains(tick)).collect()
}

/// Digits after the point that tell neighbouring ticks apart.
pub(crate) fn tick_decimals(ticks: &[f64]) -> usize {
    let exact = |decimals: &usize| {
        let scale = 10f64.powi(*decimals as i32);
        ticks
            .iter()
            .all(|tick| ((tick * scale).round() - tick * scale).abs() < 1e-6 * scale.max(1.0) * tick.abs().max(1e-9))
    };
    (0..9usize).find(exact).unwrap_or(3)
}

/// The quantile of a sorted slice by linear interpolation (type 7), for axes and guides only: judged percentiles come
/// from the server's own derivation.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share.clamp(0.0, 1.0) * last as f64;
    let index = (position.floor() as usize).min(last);
    let next = (index + 1).min(last);
    sorted[index] + (sorted[next] - sorted[index]) * (position - index as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_inside_their_range() {
        assert_eq!(ticks(0.0, 100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(15.9, 21.2, 5), [16.0, 18.0, 20.0]);
        assert_eq!(ticks(0.0, 0.0007, 4).len(), 4);
        assert_eq!(ticks(3.0, 3.0, 4), [3.0], "a range without width has one tick");
        assert!(ticks(f64::NAN, 1.0, 4).is_empty());
        assert_eq!(log_ticks(1.5, 60.0), [2.0, 5.0, 10.0, 20.0, 50.0]);
        assert!(log_ticks(0.0, 5.0).is_empty());
    }

    #[test]
    fn ticks_are_written_with_as_many_digits_as_they_need() {
        assert_eq!(tick_decimals(&[0.0, 2.5, 5.0]), 1);
        assert_eq!(tick_decimals(&[16.0, 18.0]), 0);
        assert_eq!(tick_decimals(&[0.02, 0.04]), 2);
    }

    #[test]
    fn an_axis_keeps_what_is_outside_at_its_ends() {
        let axis = Axis::linear((0.0, 10.0), (100.0, 200.0));
        assert_eq!((axis.at(5.0), axis.at(-1.0), axis.at(99.0)), (150.0, 100.0, 200.0));
        let log = Axis::logarithmic((1.0, 100.0), (0.0, 200.0));
        assert_eq!((log.at(10.0), log.at(0.0)), (100.0, 0.0));
    }

    #[test]
    fn labels_tips_and_texts_are_escaped() {
        let hostile = "\"><script>alert(1)</script>";
        let mut svg = Svg::new(10.0, 10.0, hostile);
        svg.text((0.0, 0.0), hostile, "k", Anchor::End);
        svg.hit(Area { x: 0.0, y: 0.0, width: 1.0, height: 1.0 }, 0, hostile);
        svg.circle((1.0, 1.0), 1.0, "pt", Some(hostile));
        let markup = svg.finish();
        assert!(!markup.as_str().contains("<script"), "{markup}");
        assert!(!markup.as_str().contains("style="));
    }
}
