//! Jobs done over time, with a wedge to the expected end.

use std::time::Duration;

use seatrial_core::time::Timestamp;

use super::{Anchor, Area, Axis, Svg, ticks};
use crate::eta::Eta;
use crate::format::{Moments, count};
use crate::html::Html;

const WIDTH: f64 = 1340.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 1320.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 130.0;

pub struct BurnUp<'a> {
    pub started: Timestamp,
    /// Moments at which a job ended, ascending.
    pub ended: &'a [Timestamp],
    pub total: u32,
    /// For a run that goes on.
    pub eta: Option<Eta>,
    /// `None` when the run has ended.
    pub running: bool,
}

#[must_use]
pub fn chart(burn: &BurnUp<'_>, moments: &Moments) -> Html {
    let words = moments.words;
    let seconds = |moment: Timestamp| moment.since(burn.started).as_secs_f64();
    let last = burn.ended.last().map_or(0.0, |moment| seconds(*moment));
    let now = if burn.running { seconds(moments.now) } else { last };
    let end = burn.eta.map_or(now, |eta| now + eta.high.as_secs_f64()).max(now).max(1.0);
    let x = Axis::linear((0.0, end * 1.02), (LEFT, RIGHT));
    let y = Axis::linear((0.0, f64::from(burn.total.max(1))), (BOTTOM, TOP));
    let label = words
        .with("chart.burnup", &[("done", &count(burn.ended.len() as u64)), ("total", &count(u64::from(burn.total)))]);
    let mut svg = Svg::new(WIDTH, 152.0, &label);
    let total = f64::from(burn.total);
    // The total is always a mark, instead of one that would stand too near to it.
    let whole = |tick: &f64| tick.fract() == 0.0 && *tick < total * 0.85;
    let marks: Vec<f64> = ticks(0.0, total, 3).into_iter().filter(whole).chain([total]).collect();
    svg.grid(&marks, &y, (LEFT, RIGHT));

    let done = burn.ended.len() as f64;
    if let Some(eta) = burn.eta {
        let (near, far) = (x.at(now + eta.low.as_secs_f64()), x.at(now + eta.high.as_secs_f64()));
        let total = y.at(f64::from(burn.total));
        let d = format!(
            "M{} {}L{} {total}L{} {total}Z",
            super::n(x.at(now)),
            super::n(y.at(done)),
            super::n(near),
            super::n(far)
        );
        svg.path(&d, "faw", None);
    }
    let mut line = vec![(x.at(0.0), y.at(0.0))];
    for (i, moment) in burn.ended.iter().enumerate() {
        let at = x.at(seconds(*moment));
        line.push((at, y.at(i as f64)));
        line.push((at, y.at((i + 1) as f64)));
    }
    line.push((x.at(now), y.at(done)));
    svg.polyline(&line, "ln a");
    if burn.running {
        let at = x.at(now);
        svg.line((at, TOP - 8.0), (at, BOTTOM), "mk");
        let late = at > RIGHT - 120.0;
        let (shift, anchor) = if late { (-6.0, Anchor::End) } else { (6.0, Anchor::Start) };
        svg.text(
            (at + shift, TOP - 6.0),
            &words.with("chart.now", &[("time", &moments.clock(moments.now))]),
            "k",
            anchor,
        );
    }
    svg.line((LEFT, BOTTOM + 0.5), (RIGHT, BOTTOM + 0.5), "ax");
    let with_seconds = end < 600.0;
    for tick in time_ticks(end) {
        let moment = burn.started.plus(Duration::from_secs_f64(tick));
        let text = if with_seconds { moments.seconds(moment) } else { moments.clock(moment) };
        svg.text((x.at(tick), 146.0), &text, "", if tick == 0.0 { Anchor::Start } else { Anchor::Middle });
    }
    svg.hit(Area { x: LEFT, y: TOP, width: RIGHT - LEFT, height: BOTTOM - TOP }, 0, &label);
    svg.finish()
}

/// Offsets in seconds from the start, at steps that clocks have, at most nine of them and none at the very end.
fn time_ticks(end: f64) -> Vec<f64> {
    const STEPS: [f64; 16] =
        [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0];
    let step = STEPS.into_iter().find(|step| end / step <= 8.0).unwrap_or(end / 8.0);
    (0..9).map(|n| f64::from(n) * step).filter(|tick| *tick <= end * 0.97).collect()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::i18n::{Language, Words};

    #[test]
    fn ticks_of_time_are_few_and_at_steps_of_a_clock() {
        assert_eq!(time_ticks(400.0), [0.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0]);
        for end in [1.0, 59.0, 3600.0, 90_000.0, 1e7] {
            let ticks = time_ticks(end);
            assert!((1..=9).contains(&ticks.len()) && ticks.iter().all(|tick| *tick <= end), "{end}: {ticks:?}");
        }
    }

    #[test]
    fn the_wedge_is_drawn_only_when_there_is_an_estimate() {
        let moments =
            Moments { words: Words(Language::English), zone: TimeZone::UTC, now: Timestamp::from_micros(60_000_000) };
        let ended = [Timestamp::from_micros(20_000_000), Timestamp::from_micros(40_000_000)];
        let mut burn = BurnUp { started: Timestamp::from_micros(0), ended: &ended, total: 6, eta: None, running: true };
        assert!(!chart(&burn, &moments).as_str().contains(r#"class="faw""#));
        let seconds = Duration::from_secs;
        burn.eta = Some(Eta { middle: seconds(80), low: seconds(60), high: seconds(120), from: 2 });
        assert!(chart(&burn, &moments).as_str().contains(r#"class="faw""#));
    }
}
