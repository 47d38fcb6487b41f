//! Readings as power and charge over time.

use serde::{Deserialize, Serialize};

use super::calibrate::Calibration;
use super::plan::Route;
use super::recording::Recording;
use crate::measure::stats;
use crate::reason::{Code, Reason};

/// mAh in one As.
pub const MAH_PER_AS: f64 = 1.0 / 3.6;

/// A quantity over time: (s, value), in order of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// How fast it goes at each moment: W, or mA. `step` is the smallest change that its source can show.
    Rate { points: Vec<(f64, f64)>, step: f64 },
    /// How much it was since some start: J, or mAs.
    Total { points: Vec<(f64, f64)>, step: f64 },
}

/// No point, for so long a share of a window, makes its mean unknown.
const LONGEST_GAP: f64 = 0.25;

impl Trace {
    #[must_use]
    pub fn points(&self) -> &[(f64, f64)] {
        match self {
            Self::Rate { points, .. } | Self::Total { points, .. } => points,
        }
    }

    /// Readings of an energy counter that goes back to zero after `range`, as one that does not. More than one turn
    /// between two readings cannot be seen.
    #[must_use]
    pub fn unwrapped(points: &[(f64, f64)], range: f64, step: f64) -> Self {
        let mut turns = 0.0;
        let mut before = None;
        let unwrap = |&(at_s, value): &(f64, f64)| {
            if before.is_some_and(|before| value < before) {
                turns += range;
            }
            before = Some(value);
            (at_s, value + turns)
        };
        Self::Total { points: points.iter().map(unwrap).collect(), step }
    }

    /// The mean rate between two moments. Of a rate: the integral by the trapezoidal rule over the readings within,
    /// over the time between the first and the last of them. Of a total: the difference over the time.
    ///
    /// `None` where the readings leave more than a quarter of the window dark.
    #[must_use]
    pub fn mean(&self, from_s: f64, until_s: f64) -> Option<f64> {
        let points = self.points();
        let from = points.partition_point(|point| point.0 < from_s);
        let until = points.partition_point(|point| point.0 <= until_s);
        let inside = points.get(from..until)?;
        let (first, last) = (inside.first()?, inside.last()?);
        let seconds = last.0 - first.0;
        let dark = LONGEST_GAP * (until_s - from_s);
        let gap = |pair: &[(f64, f64)]| pair[1].0 - pair[0].0 > dark;
        if seconds <= 0.0 || first.0 - from_s > dark || until_s - last.0 > dark || inside.windows(2).any(gap) {
            return None;
        }
        let change = match self {
            Self::Rate { .. } => {
                inside.windows(2).map(|pair| f64::midpoint(pair[0].1, pair[1].1) * (pair[1].0 - pair[0].0)).sum()
            }
            Self::Total { .. } => last.1 - first.1,
        };
        Some(change / seconds)
    }
}

/// Power in W or J, and charge in mA or mAs, of one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Signals {
    pub power: Trace,
    /// Why it is not known, otherwise.
    pub charge: Result<Trace, Reason>,
}

impl Signals {
    pub fn of(route: Route, recording: &Recording, calibration: &Calibration) -> Result<Self, Reason> {
        match route {
            Route::Meter => Self::by_meter(recording),
            Route::Current => Self::by_current(recording, calibration),
            Route::Counter => Self::by_counter(recording, calibration),
        }
    }

    fn by_meter(recording: &Recording) -> Result<Self, Reason> {
        let meter = recording.meter.as_ref().ok_or_else(|| Reason::new(Code::NoPowerRead, &[]))?;
        Ok(Self { power: meter.trace.clone(), charge: Err(Reason::new(Code::MeterKnowsNoCharge, &[])) })
    }

    /// Voltage and current of the same read, multiplied.
    fn by_current(recording: &Recording, calibration: &Calibration) -> Result<Self, Reason> {
        let points: Vec<(f64, f64, f64)> = recording
            .battery
            .iter()
            .filter_map(|reading| Some((reading.at_s, calibration.discharge_ma(reading.current?)?, reading.voltage_v?)))
            .collect();
        let volts = stats::median_of(points.iter().map(|point| point.2));
        let (Some(volts), Some(step)) = (volts, calibration.resolution_ma()) else {
            return Err(Reason::new(Code::NoPowerRead, &[]));
        };
        Ok(Self {
            power: Trace::Rate {
                points: points.iter().map(|&(at_s, ma, volts)| (at_s, ma / 1e3 * volts)).collect(),
                step: step / 1e3 * volts,
            },
            charge: Ok(Trace::Rate { points: points.iter().map(|&(at_s, ma, _)| (at_s, ma)).collect(), step }),
        })
    }

    /// What the counter fell by, times the voltage at that moment.
    fn by_counter(recording: &Recording, calibration: &Calibration) -> Result<Self, Reason> {
        let points = counter_mah(recording, calibration);
        let volts: Vec<f64> = recording.battery.iter().filter_map(|reading| reading.voltage_v).collect();
        let (Some(&first), Some(mean)) = (points.first(), stats::mean(&volts)) else {
            return Err(Reason::new(Code::NoPowerRead, &[]));
        };
        let step =
            counter_step_mah(recording, calibration, &points).ok_or_else(|| Reason::new(Code::NoPowerRead, &[]))?;
        let mut joules = 0.0;
        let mut before = first.1;
        let energy = points.iter().map(|&(at_s, mah, volts)| {
            joules += (before - mah) / MAH_PER_AS * volts.unwrap_or(mean);
            before = mah;
            (at_s, joules)
        });
        Ok(Self {
            power: Trace::Total { points: energy.collect(), step: step / MAH_PER_AS * mean },
            charge: Ok(Trace::Total {
                points: points.iter().map(|point| (point.0, (first.1 - point.1) / MAH_PER_AS * 1e3)).collect(),
                step: step / MAH_PER_AS * 1e3,
            }),
        })
    }
}

/// Moment in s, charge counter in mAh, and voltage where it was read.
pub type CounterPoint = (f64, f64, Option<f64>);

/// Every reading of the charge counter; none where its unit is not known.
#[must_use]
pub fn counter_mah(recording: &Recording, calibration: &Calibration) -> Vec<CounterPoint> {
    let point = |reading: &super::source::BatteryReading| {
        Some((reading.at_s, calibration.counter_mah(reading.counter?)?, reading.voltage_v))
    };
    recording.battery.iter().filter_map(point).collect()
}

/// The counter's step in mAh: the smallest change in this recording, or that of the calibration. One that has never
/// been seen to move is taken to move by 1 % of a full battery, the coarsest there is.
#[must_use]
pub fn counter_step_mah(recording: &Recording, calibration: &Calibration, points: &[CounterPoint]) -> Option<f64> {
    let calibrated = calibration.counter_step_mah.present().map(|found| found.value);
    let coarsest = || {
        let full = recording.battery.iter().find_map(|reading| {
            let level = reading.level_percent.filter(|&level| level > 0.0)?;
            Some(calibration.counter_mah(reading.counter?)? / level * 100.0)
        });
        full.map(|full| full / 100.0)
    };
    smallest_step(points.iter().map(|point| point.1)).into_iter().chain(calibrated).reduce(f64::min).or_else(coarsest)
}

/// The smallest distance of two different values.
#[must_use]
pub fn smallest_step(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.dedup();
    let ordered = stats::sorted(values);
    ordered.windows(2).map(|pair| pair[1] - pair[0]).filter(|&step| step > 0.0).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::energy::testing::Made;

    #[test]
    fn the_mean_of_a_rate_is_its_integral_over_time_and_not_that_of_its_readings() {
        let points = vec![(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 3.0), (4.0, 3.0)];
        let rate = Trace::Rate { points: points.clone(), step: 0.1 };
        assert_eq!(rate.mean(0.0, 4.0), Some(7.0 / 4.0));
        let total = Trace::Total { points, step: 0.1 };
        assert_eq!(total.mean(0.0, 4.0), Some(0.5));
    }

    #[test]
    fn a_window_that_is_dark_for_a_quarter_has_no_mean() {
        let dark =
            Trace::Rate { points: [0.0, 0.25, 0.5, 0.75, 1.0, 8.0, 9.0].map(|at_s| (at_s, 1.0)).to_vec(), step: 0.1 };
        assert_eq!(dark.mean(0.0, 9.0), None, "the phone slept");
        assert_eq!(dark.mean(0.0, 1.2), Some(1.0));
        assert_eq!(dark.mean(0.0, 2.0), None, "nothing was read at its end");
        assert_eq!(dark.mean(2.0, 7.0), None);
    }

    #[test]
    fn an_energy_counter_that_wraps_goes_on_rising() {
        let wrapped = Trace::unwrapped(&[(0.0, 90.0), (1.0, 99.0), (2.0, 8.0), (3.0, 17.0), (4.0, 26.0)], 100.0, 1.0);
        assert_eq!(wrapped.mean(0.0, 4.0), Some(9.0));
    }

    #[test]
    fn power_is_voltage_times_current_and_energy_voltage_times_charge() {
        let made = Made::default();
        let (recording, calibration) = (made.recording(), made.calibration());
        let (load, _) = made.watts(&recording, 1);
        for (route, tolerance) in [(Route::Current, 1e-9), (Route::Counter, 0.02)] {
            let signals = Signals::of(route, &recording, &calibration).unwrap();
            let phase = &recording.phases[1];
            let mean = signals.power.mean(phase.start_s + 1.0, phase.end_s).unwrap();
            assert!((mean / load - 1.0).abs() < tolerance, "{route:?}: {mean} W, {load} W were drawn");
            let ma = signals.charge.unwrap().mean(phase.start_s + 1.0, phase.end_s).unwrap();
            assert!((ma / 1e3 * made.volts / load - 1.0).abs() < tolerance, "{route:?}: {ma} mA");
        }
    }

    proptest! {
        #[test]
        fn the_mean_of_a_rate_lies_within_its_readings(values in prop::collection::vec(-1e6_f64..1e6, 5..50)) {
            let points: Vec<_> = values.iter().enumerate().map(|(i, &value)| (i as f64, value)).collect();
            let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &it| (low.min(it), high.max(it)));
            let mean = Trace::Rate { points, step: 1.0 }.mean(0.0, (values.len() - 1) as f64).unwrap();
            prop_assert!(low - 1e-6 <= mean && mean <= high + 1e-6);
        }
    }
}
