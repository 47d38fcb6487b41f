//! What makes a recording no measurement: a phone that was fed, a gauge that stood still, a calibration that the
//! recording itself contradicts.

use serde::{Deserialize, Serialize};

use super::calibrate::Calibration;
use super::plan::Route;
use super::recording::Recording;
use super::signal::{Signals, counter_mah, counter_step_mah};
use super::source::{ChargingState, Scope};
use crate::reason::{Code, Reason};

/// Whether the current adds up to what the charge counter fell by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossCheck {
    /// The current's sum over the counter's.
    Agrees(f64),
    Disagrees(f64),
    /// Why it cannot be told.
    Untold(Reason),
}

/// How far the two may lie apart, beside one step of the counter.
const AGREES: f64 = 0.10;
/// How far they may lie apart before the calibration cannot be right.
const MISTAKEN: f64 = 2.0;
/// What a phone that runs can draw in one phase, in mA; the ends are 1,000 times apart, so that one of two units fits.
const PHASE_MA: (f64, f64) = (10.0, 10_000.0);
/// Voltages of one lithium cell that works, or of two in a row.
const VOLTS: (f64, f64) = (2.5, 10.0);

/// Refuses what cannot be a measurement, and says how far the two methods agree.
pub fn check(
    route: Route,
    recording: &Recording,
    calibration: &Calibration,
    signals: &Signals,
) -> Result<CrossCheck, Reason> {
    unfed(recording)?;
    if route == Route::Meter {
        return Ok(CrossCheck::Untold(Reason::new(Code::MeterKnowsNoCharge, &[])));
    }
    let volts = recording.battery.iter().filter_map(|reading| reading.voltage_v);
    if let Some(volts) = volts.into_iter().find(|volts| !(VOLTS.0..=VOLTS.1).contains(volts)) {
        return Err(Reason::new(Code::VoltageImplausible, &[("volts", &volts)]));
    }
    let counter = Counter::of(recording, calibration);
    if let Some(Counter { fell, step }) = counter
        && fell < -step
    {
        let mah = format!("{:.1}", -fell);
        return Err(Reason::new(Code::CounterRose, &[("mah", &mah)]));
    }
    match route {
        Route::Meter | Route::Counter => Ok(CrossCheck::Untold(Reason::new(Code::CounterAlone, &[]))),
        Route::Current => {
            moving(recording)?;
            current(recording, signals, counter.as_ref())
        }
    }
}

/// The battery, or what the meter sees, must have been the only source of power for the whole time.
pub(super) fn unfed(recording: &Recording) -> Result<(), Reason> {
    let discharging = |reading: &super::source::BatteryReading| {
        reading.charging == Some(ChargingState::Discharging) || reading.powered == Some(false)
    };
    match recording.meter.as_ref().map(|meter| meter.scope) {
        // Behind the battery.
        Some(Scope::Rail | Scope::Package) => Ok(()),
        // Before it: what the battery gives or takes is missed.
        Some(Scope::Input) => {
            let resting = |reading: &super::source::BatteryReading| {
                matches!(reading.charging, Some(ChargingState::Full | ChargingState::NotCharging))
            };
            if recording.battery.iter().all(resting) { Ok(()) } else { Err(Reason::new(Code::BatteryBesideMeter, &[])) }
        }
        Some(Scope::Battery) | None => {
            if let Some(reading) = recording.fed() {
                let seconds = format!("{:.0}", reading.at_s - recording.battery.first().map_or(0.0, |it| it.at_s));
                return Err(Reason::new(Code::Fed, &[("seconds", &seconds)]));
            }
            let told = recording.phases.iter().all(|phase| recording.within(phase).iter().any(discharging));
            if told { Ok(()) } else { Err(Reason::new(Code::FeedingUnknown, &[])) }
        }
    }
}

/// A gauge that shows one and the same current in idle, load and idle is none.
fn moving(recording: &Recording) -> Result<(), Reason> {
    let stands = recording.phases.windows(3).find(|phases| {
        let mut values = phases.iter().flat_map(|phase| recording.within(phase)).filter_map(|reading| reading.current);
        values.next().is_some_and(|first| values.all(|value| value == first))
    });
    match stands {
        Some(phases) => {
            let seconds = format!("{:.0}", phases[2].end_s - phases[0].start_s);
            Err(Reason::new(Code::GaugeConstant, &[("seconds", &seconds)]))
        }
        None => Ok(()),
    }
}

/// The charge counter over the whole recording, in mAh.
struct Counter {
    fell: f64,
    step: f64,
}

impl Counter {
    fn of(recording: &Recording, calibration: &Calibration) -> Option<Self> {
        let points = counter_mah(recording, calibration);
        let (first, last) = (points.first()?, points.last()?);
        Some(Self { fell: first.1 - last.1, step: counter_step_mah(recording, calibration, &points)? })
    }
}

/// The calibrated current must flow out of the battery in every phase, be one of a phone, and add up to what the
/// charge counter fell by.
fn current(recording: &Recording, signals: &Signals, counter: Option<&Counter>) -> Result<CrossCheck, Reason> {
    let charge = signals.charge.as_ref().map_err(Clone::clone)?;
    for phase in &recording.phases {
        let middle = phase.start_s + phase.seconds() / 2.0;
        let Some(ma) = charge.mean(middle, phase.end_s) else { continue };
        if ma <= 0.0 {
            return Err(Reason::new(Code::CurrentInto, &[("ma", &format!("{:.0}", -ma))]));
        }
        if !(PHASE_MA.0..PHASE_MA.1).contains(&ma) {
            return Err(Reason::new(Code::CurrentImplausible, &[("ma", &format!("{ma:.2}"))]));
        }
    }
    let (Some(first), Some(last)) = (charge.points().first(), charge.points().last()) else {
        return Err(Reason::new(Code::NoPowerRead, &[]));
    };
    let Some(sum) = charge.mean(first.0, last.0).map(|mean| mean * (last.0 - first.0) / 3600.0) else {
        return Err(Reason::new(Code::ReadingsDark, &[]));
    };
    let Some(Counter { fell, step }) = counter else {
        return Ok(CrossCheck::Untold(Reason::new(Code::NoCounter, &[])));
    };
    if *fell <= 0.0 {
        return Ok(CrossCheck::Untold(Reason::new(Code::CounterStoodStill, &[])));
    }
    if sum > MISTAKEN * (fell + step) || sum < (fell - step) / MISTAKEN {
        let told = [sum, *fell].map(|mah| format!("{mah:.1}"));
        return Err(Reason::new(Code::CalibrationMistaken, &[("current", &told[0]), ("counter", &told[1])]));
    }
    if step / fell > AGREES {
        let told = [*fell, *step].map(|mah| format!("{mah:.1}"));
        return Ok(CrossCheck::Untold(Reason::new(Code::CounterCoarse, &[("fell", &told[0]), ("step", &told[1])])));
    }
    let agrees = (sum - fell).abs() <= AGREES * fell + step;
    Ok(if agrees { CrossCheck::Agrees(sum / fell) } else { CrossCheck::Disagrees(sum / fell) })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
