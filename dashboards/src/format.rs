//! Numbers and times for people, by the rules of `dashboards/DESIGN.md`: three significant digits, a unit after a space,
//! one rounding for a value and its interval ([`rounding`]), a true minus sign, and a dash with its reason for what is absent.

use std::time::Duration;

use jiff::tz::TimeZone;
use seatrial_core::dataset::scorer;
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::reading::Reading;
use seatrial_core::time::Timestamp;

use crate::i18n::{Language, Words};
use crate::rounding;

pub const MINUS: char = '\u{2212}';
pub const DASH: char = '\u{2013}';

/// A number ready for a page. Either there is a value, or there is a reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// `16.1`, or a dash.
    pub number: String,
    /// With its space in front: ` ms`; empty for counts.
    pub unit: String,
    /// `[15.9–16.4]`; empty without one.
    pub interval: String,
    /// Why there is no value; empty when there is one.
    pub absent: String,
}

impl Shown {
    fn absent(reason: &str) -> Self {
        Self { number: DASH.to_string(), absent: reason.to_owned(), ..Self::default() }
    }

    /// One line: `16.1 ms [15.9–16.4]`, or `– absent: charging` in the language given.
    #[must_use]
    pub fn line(&self, words: Words) -> String {
        if !self.absent.is_empty() {
            return words.absent(&self.absent);
        }
        let mut line = format!("{}{}", self.number, self.unit);
        if !self.interval.is_empty() {
            line.push(' ');
            line.push_str(&self.interval);
        }
        line
    }
}

/// `decimals` digits after the point, a true minus sign, groups of thousands, and no sign on zero.
#[must_use]
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.*}", decimals, value.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let negative = value < 0.0 && text.bytes().any(|b| b.is_ascii_digit() && b != b'0');
    let mut out = String::with_capacity(text.len() + 6);
    if negative {
        out.push(MINUS);
    }
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[must_use]
pub fn count(value: u64) -> String {
    fixed(value as f64, 0)
}

/// Three significant digits: `16.0`, `1,204`, `0.00312`. What is not finite is a dash.
#[must_use]
pub fn significant(value: f64) -> String {
    if value.is_finite() { fixed(value, rounding::decimals(value, None)) } else { DASH.to_string() }
}

/// Three significant digits; below 10⁻⁴ as `2.1 × 10⁻⁹`, and an exact zero as `0`.
#[must_use]
pub fn small(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() || value.abs() >= 1e-4 {
        return significant(value);
    }
    let text = format!("{value:.1e}");
    let (mantissa, power) = text.split_once("e-").unwrap_or((&text, ""));
    let raised = power
        .chars()
        .filter_map(|digit| Some(['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][digit.to_digit(10)? as usize]));
    format!("{} × 10⁻{}", mantissa.replace('-', "\u{2212}"), raised.collect::<String>())
}

/// `[15.9–16.4]`, or `[−2.4, −1.4]` when a bound is negative.
#[must_use]
pub fn interval(bounds: (f64, f64), decimals: usize) -> String {
    let (low, high) = (fixed(bounds.0, decimals), fixed(bounds.1, decimals));
    if low.starts_with(MINUS) || high.starts_with(MINUS) {
        format!("[{low}, {high}]")
    } else {
        format!("[{low}{DASH}{high}]")
    }
}

/// An estimate in a unit that stays as it is: for table cells whose unit stands in the head.
#[must_use]
pub fn in_unit(estimate: Estimate, factor: f64) -> Shown {
    let value = estimate.value * factor;
    let bounds = estimate.interval.map(|(low, high)| (low * factor, high * factor));
    if !value.is_finite() {
        return Shown::absent("not a finite number");
    }
    let decimals = rounding::decimals(value, bounds);
    Shown {
        number: fixed(value, decimals),
        interval: bounds.map(|bounds| interval(bounds, decimals)).unwrap_or_default(),
        ..Shown::default()
    }
}

/// Steps of a unit, smallest first, each with how many of the base unit it is.
type Scale = &'static [(f64, &'static str)];

const MILLISECONDS: Scale = &[(1e-6, "ns"), (1e-3, "µs"), (1.0, "ms"), (1e3, "s")];
const SECONDS: Scale = &[(1e-6, "µs"), (1e-3, "ms"), (1.0, "s")];
const MEGABYTES: Scale = &[(1e-3, "kB"), (1.0, "MB"), (1e3, "GB")];
const MEBIBYTES: Scale = &[(1.0 / 1024.0, "KiB"), (1.0, "MiB"), (1024.0, "GiB")];
const MILLIJOULES: Scale = &[(1e-3, "µJ"), (1.0, "mJ"), (1e3, "J")];
const JOULES: Scale = &[(1e-3, "mJ"), (1.0, "J")];

fn scaled(estimate: Estimate, scale: Scale) -> Shown {
    let size = estimate.value.abs();
    let fits = |&&(step, _): &&(f64, &str)| size >= step;
    let (step, unit) = scale.iter().rev().find(fits).or(scale.first()).copied().unwrap_or((1.0, ""));
    Shown { unit: format!(" {unit}"), ..in_unit(estimate, 1.0 / step) }
}

/// An estimate of a metric's unit, scaled so that 1 ≤ value < 1,000 where the unit has steps.
#[must_use]
pub fn quantity(estimate: Estimate, unit: &str) -> Shown {
    match unit {
        "ms" => scaled(estimate, MILLISECONDS),
        "s" => scaled(estimate, SECONDS),
        "MB" => scaled(estimate, MEGABYTES),
        "MiB" => scaled(estimate, MEBIBYTES),
        "J" => scaled(estimate, JOULES),
        "mJ" => scaled(estimate, MILLIJOULES),
        "1" | "" => in_unit(estimate, 1.0),
        "1/s" => Shown { unit: " /s".to_owned(), ..in_unit(estimate, 1.0) },
        other => Shown { unit: format!(" {other}"), ..in_unit(estimate, 1.0) },
    }
}

/// How a metric of unit `1` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    Share,
    Count,
    Cosine,
    Number,
}

/// Metrics of unit `1` that read as per cent.
const SHARES: [&str; 29] = [
    "top1",
    "top5",
    "map",
    "map_50",
    "map_75",
    "map_small",
    "map_medium",
    "map_large",
    "mar_1",
    "mar_10",
    "mar_100",
    "miou",
    "pixel_accuracy",
    "cer",
    "wer",
    "text_exact",
    "f1_macro",
    "f1_micro",
    "hit_1",
    "hit_5",
    "hit_10",
    "recall_1",
    "recall_5",
    "recall_10",
    "golden_argmax_agree",
    "lat_rcv",
    "lat_within_rcv",
    "lat_between_cv",
    "paced_missed",
];

/// What people call a figure of a task, in any language.
#[must_use]
pub fn figure_name(metric: &str) -> &str {
    match metric {
        "top1" => "top-1",
        "map" => "mAP",
        "map_50" => "AP50",
        "map_75" => "AP75",
        "mar_100" => "AR100",
        "miou" => "mIoU",
        "cer" => "CER",
        "wer" => "WER",
        "f1_macro" => "F1",
        "f1_micro" => "micro F1",
        "hit_1" => "hit@1",
        "hit_10" => "hit@10",
        "recall_10" => "recall@10",
        "mae" => "MAE",
        "rmse" => "RMSE",
        other => other.strip_prefix(scorer::PREFIX).unwrap_or(other),
    }
}

/// Whether a metric of unit `1` is a share and reads as per cent. The others are counts or ratios.
#[must_use]
pub fn is_share(name: &str) -> bool {
    SHARES.contains(&name)
}

fn plain(name: &str) -> Plain {
    match name {
        _ if is_share(name) => Plain::Share,
        "golden_cosine" => Plain::Cosine,
        "warmup_iterations" | "lat_samples" | "energy_grade" | "nan_count" | "inf_count" | "determinism" => {
            Plain::Count
        }
        _ => Plain::Number,
    }
}

/// A cosine similarity, of which the last nines tell.
#[must_use]
pub fn cosine(value: f64) -> String {
    down(value, 6)
}

/// Rounded down: what is nearly perfect is not shown as perfect.
fn down(value: f64, decimals: usize) -> String {
    let factor = 10_f64.powi(i32::try_from(decimals).unwrap_or(0));
    fixed((value * factor).floor() / factor, decimals)
}

/// A metric with its own unit: shares as per cent, counts as counts.
#[must_use]
pub fn metric(metric: &Metric) -> Shown {
    let estimate = match &metric.value {
        Reading::Present(estimate) => *estimate,
        Reading::Absent(reason) => return Shown::absent(reason),
    };
    if metric.unit != "1" {
        return quantity(estimate, &metric.unit);
    }
    match plain(&metric.name) {
        Plain::Share => {
            let shown = Shown { unit: " %".to_owned(), ..in_unit(estimate, 100.0) };
            // One wrong among thousands is not none.
            let rounded_up = estimate.value < 1.0 && shown.number.parse() == Ok(100.0);
            if rounded_up { Shown { number: down(estimate.value * 100.0, 2), ..shown } } else { shown }
        }
        Plain::Cosine => Shown { number: cosine(estimate.value), ..Shown::default() },
        Plain::Count => Shown { number: fixed(estimate.value, 0), ..Shown::default() },
        Plain::Number => in_unit(estimate, 1.0),
    }
}

/// A figure in a program's own words: in the unit that it printed, to at most six decimals.
#[must_use]
pub fn told(metric: &Metric) -> Shown {
    let value = match &metric.value {
        Reading::Present(estimate) => estimate.value,
        Reading::Absent(reason) => return Shown::absent(reason),
    };
    let text = format!("{value:.6}");
    let decimals = text.trim_end_matches('0').split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let unit = match metric.unit.as_str() {
        "1" => String::new(),
        "1/s" => " /s".to_owned(),
        unit => format!(" {unit}"),
    };
    Shown { number: fixed(value, decimals), unit, ..Shown::default() }
}

/// Bytes of a file in powers of ten.
#[must_use]
pub fn file_size(bytes: u64) -> String {
    let shown = if bytes < 1000 {
        return format!("{bytes} B");
    } else {
        scaled(Estimate { value: bytes as f64 / 1e6, interval: None }, MEGABYTES)
    };
    format!("{}{}", shown.number, shown.unit)
}

/// Bytes of memory in powers of two.
#[must_use]
pub fn memory_size(bytes: u64) -> String {
    let shown = scaled(Estimate { value: bytes as f64 / 1_048_576.0, interval: None }, MEBIBYTES);
    format!("{}{}", shown.number, shown.unit)
}

/// `4 h 31 min`, `1 min 20 s`, `12.4 s`, `38 ms`.
#[must_use]
pub fn duration(length: Duration, words: Words) -> String {
    let seconds = length.as_secs();
    let part = |n: u64, key| words.with(key, &[("n", &n.to_string())]);
    let (first, second) = match seconds {
        0..60 => {
            let shown = scaled(Estimate { value: length.as_secs_f64(), interval: None }, SECONDS);
            return format!("{}{}", shown.number, shown.unit);
        }
        60..3600 => (part(seconds / 60, "time.minutes"), part(seconds % 60, "time.seconds")),
        3600..86_400 => (part(seconds / 3600, "time.hours"), part(seconds % 3600 / 60, "time.minutes")),
        86_400.. => (part(seconds / 86_400, "time.days"), part(seconds % 86_400 / 3600, "time.hours")),
    };
    format!("{first} {second}")
}

/// Large text with no line end inside a quantity: a number keeps its unit, and a value its interval.
#[must_use]
pub fn glued(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = characters.next() {
        let after = characters.peek().copied().unwrap_or(' ');
        let binds = before.is_ascii_digit() && (after.is_alphabetic() || "%°[/×µ".contains(after)) || after == '[';
        out.push(if c == ' ' && binds { '\u{a0}' } else { c });
        // A range is one word.
        if c == DASH && after.is_ascii_digit() {
            out.push('\u{2060}');
        }
        before = c;
    }
    out
}

/// Where and when a page is read: turns moments into words.
#[derive(Debug, Clone)]
pub struct Moments {
    pub words: Words,
    pub zone: TimeZone,
    pub now: Timestamp,
}

impl Moments {
    fn zoned(&self, moment: Timestamp) -> Option<jiff::ZonedDateTime> {
        Some(jiff::Timestamp::from_microsecond(moment.as_micros()).ok()?.to_zoned_datetime(self.zone.clone()))
    }

    fn strftime(&self, moment: Timestamp, pattern: &str) -> String {
        self.zoned(moment).map_or_else(|| DASH.to_string(), |zoned| zoned.strftime(pattern).to_string())
    }

    /// `03:01` today, `23 Nov 03:01` on other days of the year, `23 Nov 2025 03:01` before.
    #[must_use]
    pub fn clock(&self, moment: Timestamp) -> String {
        let (Some(then), Some(now)) = (self.zoned(moment), self.zoned(self.now)) else { return DASH.to_string() };
        let pattern = match (self.words.0, then.date() == now.date(), then.year() == now.year()) {
            (_, true, _) => "%H:%M",
            (Language::English, false, true) => "%-d %b %H:%M",
            (Language::English, false, false) => "%-d %b %Y %H:%M",
            (Language::Chinese, false, true) => "%-m 月 %-d 日 %H:%M",
            (Language::Chinese, false, false) => "%Y 年 %-m 月 %-d 日 %H:%M",
        };
        then.strftime(pattern).to_string()
    }

    /// `03:01:40`, for axes of a few minutes.
    #[must_use]
    pub fn seconds(&self, moment: Timestamp) -> String {
        self.strftime(moment, "%H:%M:%S")
    }

    /// `3 min ago` up to a day, then the date.
    #[must_use]
    pub fn relative(&self, moment: Timestamp) -> String {
        let age = self.now.since(moment).as_secs();
        let ago = |n: u64, key| self.words.with(key, &[("n", &n.to_string())]);
        match age {
            0..5 => self.words.t("time.just_now").into_owned(),
            5..60 => ago(age, "time.seconds_ago"),
            60..3600 => ago(age / 60, "time.minutes_ago"),
            3600..86_400 => ago(age / 3600, "time.hours_ago"),
            86_400.. => self.clock(moment),
        }
    }

    /// For `datetime` attributes.
    #[must_use]
    pub fn machine(&self, moment: Timestamp) -> String {
        self.strftime(moment, "%Y-%m-%dT%H:%M:%S%:z")
    }

    /// With seconds, for `title` attributes.
    #[must_use]
    pub fn full(&self, moment: Timestamp) -> String {
        self.strftime(moment, "%Y-%m-%d %H:%M:%S")
    }

    /// `UTC+08:00`, for the footer.
    #[must_use]
    pub fn offset(&self) -> String {
        format!("UTC{}", self.strftime(self.now, "%:z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EN: Words = Words(Language::English);
    const ZH: Words = Words(Language::Chinese);

    fn shown(value: f64, interval: Option<(f64, f64)>, unit: &str) -> String {
        quantity(Estimate { value, interval }, unit).line(EN)
    }

    #[test]
    fn what_is_nearly_perfect_is_not_shown_as_perfect() {
        let shown = |name, value| metric(&Metric::exact(name, value)).number;
        assert_eq!(shown("golden_cosine", 0.999_999_9), "0.999999");
        assert_eq!(shown("golden_cosine", 1.0), "1.000000");
        assert_eq!(shown("top1", 0.999_97), "99.99");
        assert_eq!(shown("top1", 1.0).parse(), Ok(100.0));
    }

    #[test]
    fn a_told_figure_is_neither_rounded_to_significant_digits_nor_scaled() {
        for (value, unit, text) in [
            (1_295_310.0, "us", "1,295,310 us"),
            (12.75, "ms", "12.75 ms"),
            (10.104, "1/s", "10.104 /s"),
            (0.1 + 0.2, "s", "0.3 s"),
            (64.0, "1", "64"),
        ] {
            let value = Reading::Present(Estimate { value, interval: None });
            let metric = Metric { name: "told.x".to_owned(), unit: unit.to_owned(), value };
            assert_eq!(told(&metric).line(EN), text);
        }
    }

    #[test]
    fn three_significant_digits_with_trailing_zeros_and_four_above_a_thousand() {
        for (value, text) in [
            (16.0, "16.0"),
            (16.04, "16.0"),
            (1204.0, "1,204"),
            (0.003_121, "0.00312"),
            (9.996, "10.0"),
            (99.95, "100"),
            (0.0, "0.0"),
            (-1.9, "−1.90"),
            (-0.0, "0.0"),
            (1_234_567.0, "1,234,567"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(significant(value), text, "{value}");
        }
    }

    #[test]
    fn very_small_numbers_are_powers_of_ten() {
        for (value, text) in [(0.0, "0"), (3.1e-5, "3.1 × 10⁻⁵"), (-2.14e-12, "−2.1 × 10⁻¹²"), (0.014, "0.0140")]
        {
            assert_eq!(small(value), text);
        }
    }

    #[test]
    fn a_negative_that_rounds_to_zero_has_no_sign() {
        assert_eq!(fixed(-0.004, 2), "0.00");
        assert_eq!(fixed(-0.006, 2), "−0.01");
    }

    #[test]
    fn units_scale_to_between_one_and_a_thousand() {
        assert_eq!(shown(0.0161, None, "ms"), "16.1 µs");
        assert_eq!(shown(16.1, None, "ms"), "16.1 ms");
        assert_eq!(shown(3970.0, None, "ms"), "3.97 s");
        assert_eq!(shown(2048.0, None, "MiB"), "2.00 GiB");
        assert_eq!(shown(0.0063, None, "MB"), "6.30 kB");
        assert_eq!(shown(51.2, None, "dB"), "51.2 dB");
        assert_eq!(shown(4647.0, None, "1/s"), "4,647 /s");
        assert_eq!(shown(0.0, None, "ms"), "0.0 ns");
    }

    #[test]
    fn an_interval_limits_the_digits_of_its_value() {
        assert_eq!(shown(12.34, Some((12.1, 12.6)), "ms"), "12.3 ms [12.1–12.6]");
        assert_eq!(shown(16.2, Some((16.18, 16.22)), "ms"), "16.20 ms [16.18–16.22]");
        assert_eq!(shown(0.111_886, Some((0.111_876, 0.111_896)), "ms"), "111.89 µs [111.88–111.90]");
        assert_eq!(shown(12.34, Some((9.0, 15.0)), "ms"), "12 ms [9–15]");
        assert_eq!(shown(-1.9, Some((-2.4, -1.4)), "pt"), "−1.9 pt [−2.4, −1.4]");
        assert_eq!(shown(5.0, Some((5.0, 5.0)), "ms"), "5.00 ms [5.00–5.00]", "no width limits nothing");
    }

    #[test]
    fn shares_are_per_cent_and_counts_have_no_unit() {
        let top1 = Metric::new("top1", Reading::Present(Estimate { value: 0.924, interval: Some((0.91, 0.936)) }));
        assert_eq!(metric(&top1).line(EN), "92.4 % [91.0–93.6]");
        assert_eq!(metric(&Metric::exact("lat_samples", 1500.0)).line(EN), "1,500");
        assert_eq!(metric(&Metric::exact("throttle_ratio", 1.015)).line(EN), "1.01");
    }

    #[test]
    fn what_is_absent_is_a_dash_with_its_reason_and_never_zero() {
        let absent = Metric::absent("mem_peak_rss_mb", "charging");
        assert_eq!(metric(&absent).line(EN), "– absent: charging");
        assert_eq!(metric(&absent).line(ZH), "– 缺失：charging");
        assert_eq!(metric(&Metric::exact("top1", f64::NAN)).number, "–");
    }

    #[test]
    fn sizes_of_files_are_decimal_and_of_memory_binary() {
        assert_eq!(file_size(512), "512 B");
        assert_eq!(file_size(6_300_000), "6.30 MB");
        assert_eq!(memory_size(16 << 30), "16.0 GiB");
    }

    #[test]
    fn a_quantity_in_large_text_does_not_end_a_line_in_its_middle() {
        assert_eq!(
            glued("16.1 ms [15.9–16.4] an inference on 2 phones."),
            "16.1\u{a0}ms\u{a0}[15.9–\u{2060}16.4] an inference on 2\u{a0}phones."
        );
        assert_eq!(glued("in 3 分 6 秒"), "in 3\u{a0}分 6\u{a0}秒");
    }

    #[test]
    fn durations_name_their_two_largest_parts() {
        assert_eq!(duration(Duration::from_millis(38), EN), "38.0 ms");
        assert_eq!(duration(Duration::from_secs(80), EN), "1 min 20 s");
        assert_eq!(duration(Duration::from_mins(271), EN), "4 h 31 min");
        assert_eq!(duration(Duration::from_mins(271), ZH), "4 小时 31 分");
        assert_eq!(duration(Duration::from_hours(25), EN), "1 d 1 h");
    }

    #[test]
    fn moments_are_relative_up_to_a_day_and_dated_after() {
        let now = Timestamp::from_micros(1_795_496_460_000_000); // 2026-11-24 03:01 UTC+8 of the fixture's lab
        let zone = TimeZone::fixed(jiff::tz::Offset::constant(8));
        let en = Moments { words: EN, zone: zone.clone(), now };
        let zh = Moments { words: ZH, zone, now };
        let before = |seconds: i64| Timestamp::from_micros(now.as_micros() - seconds * 1_000_000);
        assert_eq!(en.relative(before(2)), "just now");
        assert_eq!(en.relative(before(180)), "3 min ago");
        assert_eq!(zh.relative(before(7200)), "2 小时前");
        assert_eq!(
            en.clock(before(90_000)).split(' ').next_back(),
            en.clock(before(90_000 - 86_400)).split(' ').next_back()
        );
        assert!(zh.clock(before(90_000)).contains(" 月 "));
        assert_eq!(en.offset(), "UTC+08:00");
    }
}
