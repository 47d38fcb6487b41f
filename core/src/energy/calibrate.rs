//! Which sign, unit, update period, resolution and lag this phone's gauge has, from one trace: idle, load, idle, polled
//! faster than the gauge updates.
//!
//! Nothing is taken from a table of models: the habits differ from build to build of one phone. What the trace does not
//! show is *not known*, and then the current is not used.

use serde::{Deserialize, Serialize};

use super::ALGORITHM;
use super::recording::{Phase, PhaseKind, Recording};
use super::signal::smallest_step;
use crate::measure::stats;
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// What the gauge shows while the battery is discharged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// The kernel's convention.
    DischargeNegative,
    /// Turned round, or always positive: the two are the same while nothing charges, and nothing else is measured.
    DischargePositive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CurrentUnit {
    Milliamps,
    Microamps,
}

impl CurrentUnit {
    /// mA in one unit.
    #[must_use]
    pub const fn milliamps(self) -> f64 {
        match self {
            Self::Milliamps => 1.0,
            Self::Microamps => 1e-3,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Milliamps => "mA",
            Self::Microamps => "µA",
        }
    }
}

/// A finding and what shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found<T> {
    pub value: T,
    pub evidence: Reason,
}

/// A finding, or why it is not known.
pub type Known<T> = Reading<Found<T>>;

fn found<T>(value: T, evidence: Reason) -> Known<T> {
    Reading::Present(Found { value, evidence })
}

fn unknown<T>(why: &Reason) -> Known<T> {
    Reading::absent(why.text())
}

/// What is known of the gauge of one phone under one build of its system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Fingerprint of the system's build. Another build may have other habits: calibrate again.
    pub build: String,
    pub algorithm: String,
    pub sign: Known<Sign>,
    pub unit: Known<CurrentUnit>,
    /// Between two updates of the current, in s.
    pub period_s: Known<f64>,
    /// The smallest change of the current, in the gauge's unit.
    pub resolution: Known<f64>,
    /// How long the reading is behind the battery on average, its update period included, in s.
    pub lag_s: Known<f64>,
    /// mAh in one unit of the charge counter.
    pub counter_unit_mah: Known<f64>,
    /// The smallest change of the charge counter.
    pub counter_step_mah: Known<f64>,
}

/// Currents that a phone can draw under load, in mA. The ends are less than a factor of 1,000 apart, so that at most one
/// of two units fits.
const LOADED_MA: (f64, f64) = (60.0, 6_000.0);
/// The same of its whole trace, idle included.
const MEAN_MA: (f64, f64) = (25.0, 6_000.0);
/// What a full battery of a phone or tablet holds, in mAh.
const FULL_MAH: (f64, f64) = (300.0, 100_000.0);
/// Changes of the current that a period needs.
const LEAST_CHANGES: usize = 6;
/// Steps that the counter has to fall by before its rate says anything.
const LEAST_COUNTS: f64 = 5.0;
/// A load moves the current by this many standard errors, or it has not been seen.
const CLEAR: f64 = 4.0;

impl Calibration {
    /// Nothing known, for one reason.
    #[must_use]
    pub fn none(build: &str, why: &Reason) -> Self {
        Self {
            build: build.to_owned(),
            algorithm: ALGORITHM.to_owned(),
            sign: unknown(why),
            unit: unknown(why),
            period_s: unknown(why),
            resolution: unknown(why),
            lag_s: unknown(why),
            counter_unit_mah: unknown(why),
            counter_step_mah: unknown(why),
        }
    }

    /// Whether it stands for a phone with this build, derived as today.
    #[must_use]
    pub fn stands_for(&self, build: &str) -> bool {
        self.build == build && self.algorithm == ALGORITHM
    }

    /// A reading of the current in mA, positive while discharging. `None` where sign or unit is not known.
    #[must_use]
    pub fn discharge_ma(&self, raw: f64) -> Option<f64> {
        let sign = match self.sign.present()?.value {
            Sign::DischargeNegative => -1.0,
            Sign::DischargePositive => 1.0,
        };
        Some(raw * sign * self.unit.present()?.value.milliamps())
    }

    #[must_use]
    pub fn resolution_ma(&self) -> Option<f64> {
        Some(self.resolution.present()?.value * self.unit.present()?.value.milliamps())
    }

    /// A reading of the charge counter in mAh.
    #[must_use]
    pub fn counter_mah(&self, raw: f64) -> Option<f64> {
        Some(raw * self.counter_unit_mah.present()?.value)
    }
}

/// Reads a trace of three phases: idle, load, idle.
#[must_use]
pub fn calibrate(build: &str, trace: &Recording) -> Calibration {
    if let Err(why) = trace.sound() {
        return Calibration::none(build, &why);
    }
    let [before, load, after] = trace.phases[..] else {
        return Calibration::none(build, &Reason::new(Code::NoSuchTrace, &[]));
    };
    if trace.fed().is_some() {
        return Calibration::none(build, &Reason::new(Code::TraceWhileFed, &[]));
    }
    let (counter_unit_mah, counter_step_mah) = counter(trace);
    let of_counter = |why: &Reason| Calibration {
        counter_unit_mah: counter_unit_mah.clone(),
        counter_step_mah: counter_step_mah.clone(),
        ..Calibration::none(build, why)
    };
    let points: Vec<(f64, f64)> =
        trace.battery.iter().filter_map(|reading| Some((reading.at_s, reading.current?))).collect();
    let levels = [before, load, after].map(|phase| Level::of(&points, &phase));
    let [Some(level_before), Some(level_load), Some(level_after)] = levels else {
        return of_counter(&Reason::new(Code::NoCurrentInTrace, &[]));
    };
    let period_s = period(&points);
    let resolution = resolution(&points);
    let idle = f64::midpoint(level_before.mean, level_after.mean);
    let step = level_load.mean - idle;
    let noise = level_load.error.hypot((level_before.error.hypot(level_after.error)) / 2.0);
    let finest = resolution.present().map_or(0.0, |found| found.value);
    if step.abs() <= (CLEAR * noise).max(2.0 * finest) {
        let told = [step, noise].map(|value| format!("{value:.0}"));
        let why = Reason::new(Code::LoadNotSeen, &[("step", &told[0]), ("noise", &told[1])]);
        return Calibration { period_s, resolution, ..of_counter(&why) };
    }
    Calibration {
        sign: sign(idle, level_load.mean),
        unit: unit(trace, &points, level_load.mean, counter_unit_mah.present(), counter_step_mah.present()),
        lag_s: lag(&points, [(&load, &level_before, &level_load), (&after, &level_load, &level_after)]),
        period_s,
        resolution,
        ..of_counter(&Reason::new(Code::NoCurrentInTrace, &[]))
    }
}

/// The settled current of a phase: of the readings in its second half.
struct Level {
    mean: f64,
    /// Standard error of the mean, over the updates and not the readings.
    error: f64,
}

impl Level {
    fn of(points: &[(f64, f64)], phase: &Phase) -> Option<Self> {
        let middle = phase.start_s + phase.seconds() / 2.0;
        let values: Vec<f64> =
            points.iter().filter(|(at_s, _)| (middle..=phase.end_s).contains(at_s)).map(|point| point.1).collect();
        let mut updates = values.clone();
        updates.dedup();
        let error = stats::standard_deviation(&updates).map_or(0.0, |sd| sd / (updates.len() as f64).sqrt());
        Some(Self { mean: stats::mean(&values)?, error })
    }
}

/// A load makes the battery give more. So what the reading does under load is the sign of discharging, and the reading
/// itself must have it too: a current that shrinks towards zero is one that charges.
fn sign(idle: f64, load: f64) -> Known<Sign> {
    let told = [idle, load].map(|value| format!("{value:.0}"));
    let seen: [(&str, &dyn std::fmt::Display); 2] = [("idle", &told[0]), ("load", &told[1])];
    let value = match (load > idle, load > 0.0) {
        (true, true) => Sign::DischargePositive,
        (false, false) => Sign::DischargeNegative,
        (true, false) | (false, true) => return unknown(&Reason::new(Code::SignContradicts, &seen)),
    };
    found(value, Reason::new(Code::SignSeen, &seen))
}

/// The unit in which the loaded phone draws what a phone can draw, and the current adds up to what the charge counter
/// fell by, within a factor of two, where that can be told.
fn unit(
    trace: &Recording,
    points: &[(f64, f64)],
    load: f64,
    counter_unit: Option<&Found<f64>>,
    counter_step: Option<&Found<f64>>,
) -> Known<CurrentUnit> {
    let fits = |unit: &CurrentUnit| (LOADED_MA.0..LOADED_MA.1).contains(&(load.abs() * unit.milliamps()));
    let raw = format!("{load:.0}");
    let Some(unit) = [CurrentUnit::Milliamps, CurrentUnit::Microamps].into_iter().find(fits) else {
        return unknown(&Reason::new(Code::UnitUnknown, &[("value", &raw)]));
    };
    let ma = format!("{:.0}", load.abs() * unit.milliamps());
    if let (Some(per_unit), Some(step)) = (counter_unit, counter_step) {
        let counter: Vec<(f64, f64)> = trace
            .battery
            .iter()
            .filter_map(|reading| Some((reading.at_s, reading.counter? * per_unit.value)))
            .collect();
        if let (Some(first), Some(last)) = (counter.first(), counter.last())
            && first.1 - last.1 >= LEAST_COUNTS * step.value
        {
            let by_counter = (first.1 - last.1) * 3600.0 / (last.0 - first.0);
            let mean = stats::mean(&points.iter().map(|point| point.1).collect::<Vec<f64>>()).unwrap_or(load);
            let factor = mean.abs() * unit.milliamps() / by_counter;
            let factor_told = format!("{factor:.2}");
            let told: [(&str, &dyn std::fmt::Display); 2] = [("unit", &unit.as_str()), ("factor", &factor_told)];
            return if (0.5..=2.0).contains(&factor) {
                found(unit, Reason::new(Code::UnitByCounter, &told))
            } else {
                unknown(&Reason::new(Code::UnitAgainstCounter, &told))
            };
        }
    }
    found(unit, Reason::new(Code::UnitBySize, &[("value", &raw), ("ma", &ma)]))
}

/// The lower quartile of the distances between changes: an update that happens to bring the same value again doubles a
/// distance, and none halves one.
fn period(points: &[(f64, f64)]) -> Known<f64> {
    let changes: Vec<f64> = points.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0).collect();
    let distances = stats::sorted(changes.windows(2).map(|pair| pair[1] - pair[0]));
    match stats::percentile(&distances, 0.25) {
        Some(period) if changes.len() >= LEAST_CHANGES => {
            let seconds = format!("{period:.2}");
            found(period, Reason::new(Code::PeriodSeen, &[("changes", &changes.len()), ("seconds", &seconds)]))
        }
        _ => {
            let told: [(&str, &dyn std::fmt::Display); 2] = [("changes", &changes.len()), ("least", &LEAST_CHANGES)];
            unknown(&Reason::new(Code::TooFewChanges, &told))
        }
    }
}

fn resolution(points: &[(f64, f64)]) -> Known<f64> {
    match smallest_step(points.iter().map(|point| point.1)) {
        Some(step) => found(step, Reason::new(Code::StepSeen, &[("step", &step)])),
        None => unknown(&Reason::new(Code::CurrentStoodStill, &[])),
    }
}

/// The area between the settled current and the reading after a step of the load, over the step: for a delay it is the
/// delay, for a filter of first order its time constant, for both their sum (average residence time [AH95, 2.4]). The
/// mean of the step up and the step down.
fn lag(points: &[(f64, f64)], steps: [(&Phase, &Level, &Level); 2]) -> Known<f64> {
    let behind = steps.map(|(phase, from, to)| {
        let until = phase.start_s + phase.seconds() / 2.0;
        let inside: Vec<&(f64, f64)> =
            points.iter().filter(|(at_s, _)| (phase.start_s..until).contains(at_s)).collect();
        let held = inside.iter().zip(inside.iter().skip(1).map(|next| next.0).chain([until]));
        held.map(|(point, next)| (to.mean - point.1) / (to.mean - from.mean) * (next - point.0)).sum::<f64>()
    });
    let shortest = steps.map(|(phase, ..)| phase.seconds()).into_iter().fold(f64::INFINITY, f64::min);
    let lag = (f64::midpoint(behind[0], behind[1])).max(0.0);
    let told = behind.map(|seconds| format!("{seconds:.2}"));
    // The second half, which is taken for settled, begins after 2.5 lags.
    if lag > shortest / 5.0 || !lag.is_finite() {
        let seconds = format!("{shortest:.0}");
        return unknown(&Reason::new(Code::NotSettled, &[("seconds", &seconds)]));
    }
    found(lag, Reason::new(Code::LagSeen, &[("up", &told[0]), ("down", &told[1])]))
}

/// Unit in mAh and step of the charge counter. The unit is that in which it fell as fast as a phone can draw, and in
/// which it holds at its level what a battery can hold; the two must not contradict each other.
fn counter(trace: &Recording) -> (Known<f64>, Known<f64>) {
    let points: Vec<(f64, f64)> =
        trace.battery.iter().filter_map(|reading| Some((reading.at_s, reading.counter?))).collect();
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else {
        let why = Reason::new(Code::NoCounterInTrace, &[]);
        return (unknown(&why), unknown(&why));
    };
    const UNITS: [f64; 2] = [1.0, 1e-3];
    let step = smallest_step(points.iter().map(|point| point.1));
    let fell = first.1 - last.1;
    let by_rate = step.filter(|step| fell >= LEAST_COUNTS * step).and_then(|_| {
        let ma = fell * 3600.0 / (last.0 - first.0);
        UNITS.into_iter().find(|unit| (MEAN_MA.0..MEAN_MA.1).contains(&(ma * unit)))
    });
    let level = trace.battery.iter().find_map(|it| Some((it.level_percent.filter(|&level| level > 0.0)?, it.counter?)));
    let by_size = level.and_then(|(level, value)| {
        let full = value / level * 100.0;
        UNITS.into_iter().find(|unit| (FULL_MAH.0..FULL_MAH.1).contains(&(full * unit)))
    });
    let unit = match (by_rate, by_size) {
        (Some(by_rate), Some(by_size)) if by_rate != by_size => {
            let why = Reason::new(Code::CounterContradicts, &[]);
            return (unknown(&why), unknown(&why));
        }
        (Some(unit), _) => {
            let seconds = format!("{:.0}", last.0 - first.0);
            let evidence = Reason::new(Code::CounterByRate, &[("fell", &fell), ("seconds", &seconds)]);
            found(unit, evidence)
        }
        (None, Some(unit)) => {
            let (level, value) = level.unwrap_or_default();
            found(unit, Reason::new(Code::CounterBySize, &[("value", &value), ("level", &level)]))
        }
        (None, None) => unknown(&Reason::new(Code::CounterUnknown, &[("value", &first.1)])),
    };
    let step = match (step, unit.present()) {
        (Some(step), Some(unit)) => found(step * unit.value, Reason::new(Code::StepSeen, &[("step", &step)])),
        (None, _) => unknown(&Reason::new(Code::CounterStoodStill, &[])),
        (Some(_), None) => unknown(&Reason::new(Code::CounterUnknown, &[("value", &first.1)])),
    };
    (unit, step)
}

/// The trace that [`calibrate`] reads: kind and length in s of each phase. A minute is what a constant current needs to
/// be called so, and twelve updates of a gauge that is as slow as 5 s.
pub const TRACE: [(PhaseKind, f64); 3] =
    [(PhaseKind::Idle, TRACE_PHASE_S), (PhaseKind::Load, TRACE_PHASE_S), (PhaseKind::Idle, TRACE_PHASE_S)];
/// Each of its phases, in s.
pub const TRACE_PHASE_S: f64 = 60.0;
/// How often it is polled, in s.
pub const TRACE_POLL_S: f64 = 0.05;

#[cfg(test)]
#[path = "calibrate_tests.rs"]
mod tests;
