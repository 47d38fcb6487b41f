//! From a recording to the energy of one inference, with its interval and what it is worth.

use serde::{Deserialize, Serialize};

use super::bootstrap::{self, LEAST_PAIRS, MOST_PAIRS, Part, Resamples, Z_975};
use super::calibrate::Calibration;
use super::check::{self, CrossCheck};
use super::grade::Grade;
use super::plan::{LEAST_COUNTS, Limits, Route, Timing};
use super::recording::{PhaseKind, Recording};
use super::signal::{Signals, Trace};
use super::source::Source;
use crate::measure::stats;
use crate::metric::Estimate;
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// How the device was set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// The cable stayed in, with its input switched off in the phone.
    pub input_suspended: bool,
    /// What the battery held when it was new, in mAh.
    pub design_mah: Reading<f64>,
}

/// A number, or what can be said instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Number(Estimate),
    /// Below resolution: it is not more than this.
    AtMost(f64),
    Absent(Reason),
}

impl Figure {
    #[must_use]
    pub const fn number(&self) -> Option<&Estimate> {
        match self {
            Self::Number(estimate) => Some(estimate),
            Self::AtMost(_) | Self::Absent(_) => None,
        }
    }
}

/// What a recording comes to. *Net* is beside the same process doing nothing, *gross* is all that was drawn under load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    pub grade: Grade,
    pub why: Reason,
    pub route: Option<Route>,
    /// Pairs of idle and load that the numbers are of.
    pub pairs: usize,
    pub cross_check: Option<CrossCheck>,
    /// mJ for one inference.
    pub net_mj: Figure,
    pub gross_mj: Figure,
    /// W.
    pub net_w: Figure,
    pub gross_w: Figure,
    pub idle_w: Figure,
    /// Drawn from the battery in the load phases, in mAh; gross.
    pub drain_mah: Figure,
    /// Of the new battery's charge, in %; gross.
    pub percent_per_hour: Figure,
    pub percent_per_1k: Figure,
    /// Battery's temperature at the end minus at the start, in K.
    pub temperature_rise_c: Figure,
    /// Why the numbers cannot be compared with others; empty when they can.
    pub flags: Vec<Reason>,
}

impl Energy {
    /// No number at all.
    #[must_use]
    pub fn none(why: &Reason) -> Self {
        let absent = || Figure::Absent(why.clone());
        Self {
            grade: Grade::E4,
            why: why.clone(),
            route: None,
            pairs: 0,
            cross_check: None,
            net_mj: absent(),
            gross_mj: absent(),
            net_w: absent(),
            gross_w: absent(),
            idle_w: absent(),
            drain_mah: absent(),
            percent_per_hour: absent(),
            percent_per_1k: absent(),
            temperature_rise_c: absent(),
            flags: Vec::new(),
        }
    }
}

/// Derives every number of a recording. `seed` is for the bootstrap: the same recording and seed give the same numbers
/// for ever, under one [`super::ALGORITHM`].
#[must_use]
pub fn estimate(recording: &Recording, calibration: &Calibration, conditions: &Conditions, seed: u64) -> Energy {
    measured(recording, calibration, conditions, seed).unwrap_or_else(|why| Energy::none(&why))
}

fn measured(
    recording: &Recording,
    calibration: &Calibration,
    conditions: &Conditions,
    seed: u64,
) -> Result<Energy, Reason> {
    recording.sound()?;
    check::unfed(recording)?;
    let route = Route::of(recording.meter.as_ref(), calibration)?;
    let signals = Signals::of(route, recording, calibration)?;
    let cross_check = check::check(route, recording, calibration, &signals)?;
    let settle_s = Timing::of(route, recording.meter.as_ref(), calibration, &Limits::default()).settle_s;
    let of = |trace: &Trace| Measured::new(trace, pairs(recording, trace, settle_s), seed);
    let power = of(&signals.power);
    let net_w = power.rate(NET);
    match &net_w {
        Figure::AtMost(most) if *most <= 0.0 => return Err(Reason::new(Code::LoadBelowIdle, &[])),
        Figure::Absent(why) => return Err(why.clone()),
        Figure::Number(_) | Figure::AtMost(_) => {}
    }
    let charge = signals.charge.as_ref().map(of);
    let drained = |figure: &dyn Fn(&Measured) -> Figure| match &charge {
        Ok(charge) => figure(charge),
        Err(why) => Figure::Absent((*why).clone()),
    };
    let percent = |figure: &dyn Fn(&Measured, f64) -> Figure| match (&charge, &conditions.design_mah) {
        (Ok(charge), Reading::Present(design)) if *design > 0.0 => figure(charge, *design),
        (Ok(_), Reading::Present(_)) => Figure::Absent(Reason::new(Code::DesignUnknown, &[])),
        (Ok(_), Reading::Absent(why)) => Figure::Absent(Reason::from(why.clone())),
        (Err(why), _) => Figure::Absent((*why).clone()),
    };
    let (grade, why) = grade(route, recording, conditions, &cross_check);
    Ok(Energy {
        grade,
        why,
        route: Some(route),
        pairs: power.pairs.len(),
        net_mj: power.an_inference(NET, 1e3),
        gross_mj: power.an_inference(GROSS, 1e3),
        net_w,
        gross_w: power.rate(GROSS),
        idle_w: power.rate(IDLE),
        drain_mah: drained(&|charge| charge.total(1.0 / 3600.0)),
        percent_per_hour: percent(&|charge, design| charge.figure(GROSS, 100.0 / design, |pair| pair.load_s)),
        percent_per_1k: percent(&|charge, design| charge.an_inference(GROSS, 1e3 / 3600.0 * 100.0 / design)),
        temperature_rise_c: temperature_rise(recording),
        flags: flags(recording, &power.pairs, &cross_check),
        cross_check: Some(cross_check),
    })
}

/// One load with the idle around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Length of the whole load phase, in s.
    pub load_s: f64,
    /// What of the load, and of one idle phase around it, is looked at, in s.
    pub load_seen_s: f64,
    pub idle_seen_s: f64,
    pub inferences: u64,
    /// Mean rate under load, and in idle at that time.
    pub load: f64,
    pub idle: f64,
}

/// The pairs of a recording. Idle at the time of a load is the mean of the second half of the idle before and of the
/// first half of the idle after: a baseline that drifts evenly falls out, and no reading is in two pairs.
///
/// What was read until `settle_s` after a phase began is in none of them. A pair whose readings leave it dark is left
/// out, and its recording says so.
#[must_use]
pub fn pairs(recording: &Recording, trace: &Trace, settle_s: f64) -> Vec<Pair> {
    let triples = recording.phases.windows(3).filter(|phases| phases[1].kind == PhaseKind::Load).take(MOST_PAIRS);
    let pair = |phases: &[super::recording::Phase]| {
        let [before, load, after] = phases else { return None };
        let half = |phase: &super::recording::Phase| f64::midpoint(phase.start_s + settle_s, phase.end_s);
        let idle_before = trace.mean(half(before), before.end_s)?;
        let idle_after = trace.mean(after.start_s + settle_s, half(after))?;
        Some(Pair {
            load_s: load.seconds(),
            load_seen_s: load.seconds() - settle_s,
            idle_seen_s: before.seconds().min(after.seconds()) - settle_s,
            inferences: load.inferences,
            load: trace.mean(load.start_s + settle_s, load.end_s)?,
            idle: f64::midpoint(idle_before, idle_after),
        })
    };
    triples.filter_map(pair).collect()
}

/// How much of load and idle is in a quantity.
type Weights = (f64, f64);
const NET: Weights = (1.0, -1.0);
const GROSS: Weights = (1.0, 0.0);
const IDLE: Weights = (0.0, 1.0);

/// What the steps of the source add to the error of a mean over pairs: standard error, and most that it can be.
///
/// A rate is rounded in every reading, and a constant one always the same way, so more pairs do not help:
/// `step · √((a² + b²) / 12)`. A total is rounded once at each border of what is looked at, each time differently:
/// `step · (|a| / W_load + |b| / W_idle) / √(6 n)`. At most it is a step off in each window, and idle has two halves.
fn quantisation(trace: &Trace, pairs: &[Pair], (a, b): Weights) -> (f64, f64) {
    let n = pairs.len() as f64;
    match trace {
        Trace::Rate { step, .. } => (step * (a * a + b * b).sqrt() / 12_f64.sqrt(), step * (a.abs() + b.abs())),
        Trace::Total { step, .. } => {
            let mean = |of: fn(&Pair) -> f64| pairs.iter().map(of).sum::<f64>() / n;
            let (load, idle) = (a.abs() / mean(|pair| pair.load_seen_s), b.abs() / mean(|pair| pair.idle_seen_s));
            (step * (load + idle) / (6.0 * n).sqrt(), step * (load + 2.0 * idle))
        }
    }
}

/// Net rate and the half-width of its 95 % interval by Student's t over the pairs; quick, for the plan.
#[must_use]
pub fn half_width(pairs: &[Pair], trace: &Trace) -> Option<(f64, f64)> {
    let nets: Vec<f64> = pairs.iter().map(|pair| pair.load - pair.idle).collect();
    let spread = stats::standard_deviation(&nets)? / (nets.len() as f64).sqrt();
    let half = (bootstrap::t_975(nets.len())? * spread * bootstrap::shared(nets.len()))
        .hypot(Z_975 * quantisation(trace, pairs, NET).0);
    Some((stats::mean(&nets)?, half))
}

/// A number is worth its name while its interval reaches no further than half of it.
const RESOLVED: f64 = 0.5;

/// A trace and its pairs.
struct Measured {
    trace: Trace,
    pairs: Vec<Pair>,
    resamples: Resamples,
}

impl Measured {
    fn new(trace: &Trace, pairs: Vec<Pair>, seed: u64) -> Self {
        Self { trace: trace.clone(), resamples: Resamples::new(pairs.len(), seed), pairs }
    }

    /// Mean rate over the load time.
    fn rate(&self, weights: Weights) -> Figure {
        self.figure(weights, 1.0, |pair| pair.load_s)
    }

    /// `scale` · rate · time for one inference.
    fn an_inference(&self, weights: Weights, scale: f64) -> Figure {
        if self.pairs.iter().all(|pair| pair.inferences == 0) {
            return Figure::Absent(Reason::new(Code::NoInferences, &[]));
        }
        self.figure(weights, scale, |pair| pair.inferences as f64)
    }

    /// `scale` · gross rate · time, over all pairs.
    fn total(&self, scale: f64) -> Figure {
        let n = self.pairs.len() as f64;
        self.figure(GROSS, scale, |_| 1.0 / n)
    }

    /// `scale · Σ (a load + b idle) T_load / Σ per`.
    fn figure(&self, weights: Weights, scale: f64, per: impl Fn(&Pair) -> f64) -> Figure {
        let (a, b) = weights;
        let parts: Vec<Part> =
            self.pairs.iter().map(|pair| (scale * (a * pair.load + b * pair.idle) * pair.load_s, per(pair))).collect();
        let seconds: Vec<Part> = self.pairs.iter().map(|pair| (scale * pair.load_s, per(pair))).collect();
        let (Some(value), Some(per_rate)) = (bootstrap::ratio(&parts), bootstrap::ratio(&seconds)) else {
            return Figure::Absent(self.too_few());
        };
        if !value.is_finite() {
            return Figure::Absent(Reason::new(Code::NotFinite, &[]));
        }
        let (error, worst) = quantisation(&self.trace, &self.pairs, weights);
        let (error, worst) = (Z_975 * error * per_rate, worst * per_rate);
        let Some((low, high)) = self.resamples.interval(&parts) else {
            return match self.trace {
                // Coarse steps bound it whatever the pairs do.
                Trace::Total { .. } => Figure::AtMost(value + worst),
                Trace::Rate { .. } => Figure::Absent(self.too_few()),
            };
        };
        let (low, high) = (value - (value - low).hypot(error), value + (high - value).hypot(error));
        let resolved = value > 0.0 && (high - value).max(value - low) <= RESOLVED * value && self.counted();
        if resolved {
            return Figure::Number(Estimate { value, interval: Some((low, high)) });
        }
        match self.trace {
            Trace::Rate { .. } => Figure::AtMost(high),
            Trace::Total { .. } => Figure::AtMost(high.max(value + worst)),
        }
    }

    /// Whether a total rose by enough of its steps.
    fn counted(&self) -> bool {
        match &self.trace {
            Trace::Rate { .. } => true,
            Trace::Total { step, .. } => {
                let rose: f64 = self.pairs.iter().map(|pair| pair.load * pair.load_s).sum();
                rose >= f64::from(LEAST_COUNTS) * step
            }
        }
    }

    fn too_few(&self) -> Reason {
        Reason::new(Code::TooFewPairs, &[("pairs", &self.pairs.len()), ("least", &LEAST_PAIRS)])
    }
}

fn grade(route: Route, recording: &Recording, conditions: &Conditions, cross_check: &CrossCheck) -> (Grade, Reason) {
    if let (Route::Meter, Some(meter)) = (route, &recording.meter) {
        let told: [(&str, &dyn std::fmt::Display); 2] = [("source", &meter.source), ("scope", &meter.scope)];
        return match meter.source {
            // Its total is a public fit, not a measurement.
            Source::Pmic => (Grade::E2, Reason::new(Code::GradeFit, &told)),
            Source::Uevent
            | Source::Dumpsys
            | Source::CmdBattery
            | Source::ServiceCall
            | Source::PowerStats
            | Source::Hwmon
            | Source::Rapl
            | Source::ExternalMeter => (Grade::E0, Reason::new(Code::GradeMeter, &told)),
        };
    }
    if conditions.input_suspended {
        return (Grade::E3, Reason::new(Code::GradeSuspended, &[]));
    }
    match cross_check {
        CrossCheck::Agrees(ratio) => (Grade::E1, Reason::new(Code::GradeBoth, &[("ratio", &format!("{ratio:.3}"))])),
        CrossCheck::Disagrees(ratio) => {
            (Grade::E2, Reason::new(Code::GaugeDisagrees, &[("ratio", &format!("{ratio:.3}"))]))
        }
        CrossCheck::Untold(why) => (Grade::E2, why.clone()),
    }
}

fn temperature_rise(recording: &Recording) -> Figure {
    let celsius: Vec<f64> = recording.battery.iter().filter_map(|reading| reading.temperature_c).collect();
    match celsius[..] {
        [first, .., last] if !(last - first).is_finite() => Figure::Absent(Reason::new(Code::NotFinite, &[])),
        [first, .., last] => Figure::Number(Estimate { value: last - first, interval: None }),
        [] | [_] => Figure::Absent(Reason::new(Code::NoBatteryTemperature, &[])),
    }
}

/// Levels in % between which gauges are linear enough.
const LEVELS: (f64, f64) = (20.0, 90.0);
/// Most that the battery may warm, and hottest that it may begin, in °C.
const MOST_RISE_C: f64 = 5.0;
const HOTTEST_C: f64 = 40.0;
/// Most that idle may change from the first to the second half of the pairs.
const MOST_DRIFT: f64 = 0.15;

fn flags(recording: &Recording, pairs: &[Pair], cross_check: &CrossCheck) -> Vec<Reason> {
    let mut flags = Vec::new();
    if let CrossCheck::Disagrees(ratio) = cross_check {
        flags.push(Reason::new(Code::GaugeDisagrees, &[("ratio", &format!("{ratio:.3}"))]));
    }
    let levels = recording.battery.iter().filter_map(|reading| reading.level_percent);
    if let Some(level) = levels.into_iter().find(|level| !(LEVELS.0..=LEVELS.1).contains(level)) {
        flags.push(Reason::new(Code::LevelOutside, &[("level", &level), ("least", &LEVELS.0), ("most", &LEVELS.1)]));
    }
    let mut celsius = recording.battery.iter().filter_map(|reading| reading.temperature_c);
    if let Some(first) = celsius.next() {
        let (low, high) = celsius.fold((first, first), |(low, high), it| (low.min(it), high.max(it)));
        if high - low > MOST_RISE_C {
            let told = [low, high].map(|celsius| format!("{celsius:.1}"));
            flags.push(Reason::new(Code::BatteryWarmed, &[("from", &told[0]), ("to", &told[1])]));
        }
        if first > HOTTEST_C {
            flags.push(Reason::new(Code::BatteryHot, &[("celsius", &format!("{first:.1}")), ("limit", &HOTTEST_C)]));
        }
    }
    let idle = |pairs: &[Pair]| stats::mean(&pairs.iter().map(|pair| pair.idle).collect::<Vec<f64>>());
    let (first, second) = pairs.split_at(pairs.len() / 2);
    if let (Some(from), Some(to)) = (idle(first), idle(second))
        && (to - from).abs() > MOST_DRIFT * from.abs()
    {
        let told = [from, to].map(|watts| format!("{watts:.2}"));
        flags.push(Reason::new(Code::BaselineMoved, &[("from", &told[0]), ("to", &told[1])]));
    }
    let run = (recording.phases.len().saturating_sub(1) / 2).min(MOST_PAIRS);
    if pairs.len() < run {
        flags.push(Reason::new(Code::PairsDark, &[("dark", &(run - pairs.len())), ("run", &run)]));
    }
    flags
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
