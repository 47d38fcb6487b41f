//! What to run next, given what was seen: idle and load in turn, until the number is precise enough or a bound is hit.
//!
//! Pairs of idle and load are interleaved (ABAB), because from half a minute on the floor of the error is not the gauge
//! but the drift of the idle baseline: more pairs help where longer phases no longer do.

use serde::{Deserialize, Serialize};

use super::bootstrap::{LEAST_PAIRS, MOST_PAIRS};
use super::calibrate::{Calibration, TRACE_PHASE_S};
use super::estimate;
use super::recording::{Meter, PhaseKind, Recording};
use super::signal::{Signals, counter_mah, counter_step_mah};
use super::source::Scope;
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// Which readings power is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// A meter that is not the battery's gauge.
    Meter,
    /// The gauge's current and voltage.
    Current,
    /// The charge counter and voltage, where the current cannot be used.
    Counter,
}

impl Route {
    /// The best that there is.
    pub fn of(meter: Option<&Meter>, calibration: &Calibration) -> Result<Self, Reason> {
        let Calibration { sign, unit, period_s, resolution, lag_s, counter_unit_mah, .. } = calibration;
        let current = [sign.reason(), unit.reason(), period_s.reason(), resolution.reason(), lag_s.reason()];
        match (meter, current.into_iter().flatten().next(), counter_unit_mah) {
            (Some(_), ..) => Ok(Self::Meter),
            (None, None, _) => Ok(Self::Current),
            (None, Some(_), Reading::Present(_)) => Ok(Self::Counter),
            (None, Some(current), Reading::Absent(counter)) => {
                let why = if current == counter { current.to_owned() } else { format!("{current}; {counter}") };
                Err(Reason::new(Code::NothingTellsPower, &[("why", &why)]))
            }
        }
    }
}

/// What a measurement may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Pairs of idle and load; from [`LEAST_PAIRS`] on there is an interval, and above [`MOST_PAIRS`] nothing is used.
    pub most_pairs: usize,
    /// Shortest phase after it has settled, in s: from half a minute on longer ones gain little.
    #[serde(default = "shortest")]
    pub shortest_phase_s: f64,
    /// Updates of the gauge in a phase after it has settled, at least: a slow gauge has longer phases.
    #[serde(default = "updates")]
    pub least_updates: u32,
    /// Longest phase, in s.
    pub longest_phase_s: f64,
    /// Longest measurement with its calibration, in s.
    pub longest_s: f64,
    /// It ends when the battery's level falls to this, in %.
    pub least_level_percent: f64,
    /// It ends when the half-width of the net power's interval is this share of it.
    pub precision: f64,
    /// Each of the three phases of the trace that calibrates, in s.
    #[serde(default = "trace_phase")]
    pub trace_phase_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            most_pairs: 12,
            shortest_phase_s: SHORTEST_S,
            least_updates: UPDATES,
            longest_phase_s: 600.0,
            longest_s: 3600.0,
            least_level_percent: 20.0,
            precision: 0.05,
            trace_phase_s: TRACE_PHASE_S,
        }
    }
}

const fn shortest() -> f64 {
    SHORTEST_S
}

const fn updates() -> u32 {
    UPDATES
}

const fn trace_phase() -> f64 {
    TRACE_PHASE_S
}

/// Updates of the gauge in a phase at least, after it has settled.
const UPDATES: u32 = 10;
/// A phase at least, after it has settled, in s: half of the error of 10 s, and longer ones gain little more.
const SHORTEST_S: f64 = 30.0;
/// Counts of a charge counter in all phases of one kind together, where there is nothing else: 5 % of one count.
pub const LEAST_COUNTS: u32 = 20;
/// Update period of a counter that is not known, in s: the slowest gauges of phones.
const SLOW_PERIOD_S: f64 = 10.0;
/// Time constants after which a step has settled: e⁻⁵ = 0.7 % of it are left.
const SETTLED: f64 = 5.0;

/// How long things take on this device; follows from the gauge's period and lag.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// What is left out at the beginning of a phase, in s.
    pub settle_s: f64,
    /// A phase at least, in s.
    pub phase_s: f64,
    /// From one reading to the next, in s; the same in idle and under load, since polling costs power itself.
    pub poll_s: f64,
}

impl Timing {
    #[must_use]
    pub fn of(route: Route, meter: Option<&Meter>, calibration: &Calibration, limits: &Limits) -> Self {
        let known = |value: &super::calibrate::Known<f64>| value.present().map(|found| found.value);
        let (period, lag) = match route {
            Route::Meter => (meter.map_or(0.0, |meter| meter.period_s), 0.0),
            Route::Current => {
                (known(&calibration.period_s).unwrap_or(SLOW_PERIOD_S), known(&calibration.lag_s).unwrap_or(0.0))
            }
            Route::Counter => (known(&calibration.period_s).unwrap_or(SLOW_PERIOD_S), 0.0),
        };
        let settle_s = (2.0 * period).max(SETTLED * lag);
        let seen_s = limits.shortest_phase_s.max(f64::from(limits.least_updates) * period);
        Self { settle_s, phase_s: settle_s + seen_s, poll_s: (period / 2.0).clamp(0.1, 2.5) }
    }
}

/// One phase to be run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub kind: PhaseKind,
    pub least_s: f64,
    pub most_s: f64,
    /// mAh by which the charge counter has to fall as well, where it alone tells.
    pub least_mah: Option<f64>,
}

impl Block {
    /// Whether it ends after this time, and this fall of the charge counter since it began.
    #[must_use]
    pub fn is_over(&self, elapsed_s: f64, fell_mah: Option<f64>) -> bool {
        // Four counts are four counts, whatever the last bit of their sum.
        let fallen = self.least_mah.is_none_or(|least| fell_mah.is_some_and(|fell| fell >= least * (1.0 - 1e-9)));
        elapsed_s >= self.most_s || (elapsed_s >= self.least_s && fallen)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Run(Block),
    /// Why it is over. Whether there is a number is for [`super::estimate()`] to say.
    End(Reason),
}

/// How one device is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub route: Route,
    pub timing: Timing,
    pub limits: Limits,
}

impl Plan {
    /// `meter` where there is one, with its period; its trace may still be empty.
    pub fn of(meter: Option<&Meter>, calibration: &Calibration, limits: Limits) -> Result<Self, Reason> {
        let route = Route::of(meter, calibration)?;
        Ok(Self { route, timing: Timing::of(route, meter, calibration, &limits), limits })
    }

    /// What comes after what was seen. The same recording gives the same step.
    #[must_use]
    pub fn next(&self, seen: &Recording, calibration: &Calibration) -> Step {
        let Limits { most_pairs, longest_phase_s, longest_s, least_level_percent, precision, .. } = self.limits;
        let end = |code, arguments: &[(&str, &dyn std::fmt::Display)]| Step::End(Reason::new(code, arguments));
        let by_battery = seen.meter.as_ref().is_none_or(|meter| meter.scope == Scope::Battery);
        if by_battery && seen.fed().is_some() {
            return end(Code::EndFed, &[]);
        }
        let level = seen.battery.iter().rev().find_map(|reading| reading.level_percent);
        if let Some(level) = level.filter(|&level| by_battery && level <= least_level_percent) {
            return end(Code::EndLevel, &[("level", &level), ("least", &least_level_percent)]);
        }
        let pairs = seen.phases.len().saturating_sub(1) / 2;
        let paired = seen.phases.len() % 2 == 1;
        if paired && pairs >= most_pairs.min(MOST_PAIRS) {
            return end(Code::EndPairs, &[("pairs", &pairs)]);
        }
        if paired && pairs >= LEAST_PAIRS && self.precise(seen, calibration).is_some_and(|width| width <= precision) {
            return end(Code::EndPrecise, &[("pairs", &pairs)]);
        }
        let kind = if paired { PhaseKind::Load } else { PhaseKind::Idle };
        // A load needs the idle after it, and the first idle both: without a pair there is not even a bound.
        let to_a_pair = match (seen.phases.is_empty(), paired) {
            (true, _) => 3.0,
            (false, true) => 2.0,
            (false, false) => 1.0,
        };
        let room_s = (longest_s - seen.seconds()) / to_a_pair;
        if room_s < self.timing.phase_s {
            let minutes = format!("{:.0}", longest_s / 60.0);
            return end(Code::EndLongest, &[("minutes", &minutes)]);
        }
        let least_s = self.timing.phase_s;
        let least_mah = match self.route {
            Route::Meter | Route::Current => None,
            Route::Counter => counts_mah(seen, calibration),
        };
        Step::Run(Block { kind, least_s, most_s: longest_phase_s.min(room_s).max(least_s), least_mah })
    }

    /// Half-width of the net power's interval as a share of it, by the spread of the pairs.
    fn precise(&self, seen: &Recording, calibration: &Calibration) -> Option<f64> {
        let signals = Signals::of(self.route, seen, calibration).ok()?;
        let pairs = estimate::pairs(seen, &signals.power, self.timing.settle_s);
        estimate::half_width(&pairs, &signals.power)
            .map(|(net, half)| if net > 0.0 { half / net } else { f64::INFINITY })
    }
}

/// How far the counter falls in a phase, so that six of them are [`LEAST_COUNTS`].
fn counts_mah(seen: &Recording, calibration: &Calibration) -> Option<f64> {
    let step = counter_step_mah(seen, calibration, &counter_mah(seen, calibration))?;
    Some((f64::from(LEAST_COUNTS) / LEAST_PAIRS as f64).ceil() * step)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
