//! The raw evidence of one measurement of energy: what the device did when, and what its sources said meanwhile.

use serde::{Deserialize, Serialize};

use super::signal::Trace;
use super::source::{BatteryReading, ChargingState, Scope, Source};
use crate::reason::{Code, Reason};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseKind {
    /// The same process alive with its model loaded, doing nothing.
    Idle,
    /// Inferences back to back.
    Load,
}

/// A stretch in which the device did one thing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub kind: PhaseKind,
    /// Seconds on the clock of the readings.
    pub start_s: f64,
    pub end_s: f64,
    /// Inferences that began in it.
    pub inferences: u64,
}

impl Phase {
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.end_s - self.start_s
    }
}

/// A source of power that is not the battery's gauge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    pub source: Source,
    pub scope: Scope,
    /// How often it has a new value, in s.
    pub period_s: f64,
    /// Power in W, or energy in J since some start (see [`Trace::unwrapped`] for counters that wrap).
    pub trace: Trace,
}

/// Phases in turn, beginning and ending with idle, and the readings over them in order of time.
///
/// As text it has a column for each value: [`super::columns`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recording {
    pub phases: Vec<Phase>,
    pub battery: Vec<BatteryReading>,
    pub meter: Option<Meter>,
}

/// Phases and readings of one recording at most: an hour at ten readings a second is 36,000.
pub const MAX_PHASES: usize = 100;
pub const MAX_READINGS: usize = 400_000;

impl Recording {
    /// Whether it can be a recording at all: within bounds, finite, and in order of time.
    pub fn sound(&self) -> Result<(), Reason> {
        let broken = |what: &str| Err(Reason::new(Code::RecordingBroken, &[("what", &what)]));
        let points = self.meter.as_ref().map_or(&[][..], |meter| meter.trace.points());
        if self.phases.len() > MAX_PHASES || self.battery.len().max(points.len()) > MAX_READINGS {
            return broken("length");
        }
        let numbers = self.battery.iter().flat_map(|reading| {
            let BatteryReading { at_s, current, voltage_v, counter, level_percent, temperature_c, .. } = *reading;
            [Some(at_s), current, voltage_v, counter, level_percent, temperature_c].into_iter().flatten()
        });
        let of_meter = points.iter().flat_map(|&(at_s, value)| [at_s, value]);
        let of_phases = self.phases.iter().flat_map(|phase| [phase.start_s, phase.end_s]);
        if !numbers.chain(of_meter).chain(of_phases.clone()).all(f64::is_finite) {
            return broken("number");
        }
        let ordered = self.battery.is_sorted_by(|a, b| a.at_s < b.at_s)
            && points.is_sorted_by(|a, b| a.0 < b.0)
            && of_phases.is_sorted()
            && self.phases.iter().all(|phase| phase.seconds() > 0.0);
        let turns =
            self.phases.iter().enumerate().all(|(index, phase)| (index % 2 == 0) == (phase.kind == PhaseKind::Idle));
        if ordered && turns { Ok(()) } else { broken("order") }
    }

    /// The readings of a phase.
    pub fn within(&self, phase: &Phase) -> &[BatteryReading] {
        let from = self.battery.partition_point(|reading| reading.at_s < phase.start_s);
        let until = self.battery.partition_point(|reading| reading.at_s <= phase.end_s);
        self.battery.get(from..until).unwrap_or_default()
    }

    /// The reading by which the battery was fed from outside, if there is one.
    #[must_use]
    pub fn fed(&self) -> Option<&BatteryReading> {
        self.battery.iter().find(|reading| {
            let state = match reading.charging {
                Some(ChargingState::Charging | ChargingState::NotCharging | ChargingState::Full) => true,
                Some(ChargingState::Discharging | ChargingState::Unknown) | None => false,
            };
            state || reading.powered == Some(true)
        })
    }

    /// How long it is, in s.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        match (self.phases.first(), self.phases.last()) {
            (Some(first), Some(last)) => last.end_s - first.start_s,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::testing::Made;

    #[test]
    fn a_recording_out_of_order_or_without_numbers_is_no_recording() {
        let good = Made::default().recording();
        assert_eq!(good.sound(), Ok(()));
        let broken = |change: fn(&mut Recording)| {
            let mut recording = good.clone();
            change(&mut recording);
            recording.sound().unwrap_err().to_string()
        };
        assert!(broken(|it| it.battery.swap(3, 4)).contains("order"));
        assert!(broken(|it| it.phases.swap(0, 1)).contains("order"));
        assert!(broken(|it| it.phases[2].kind = PhaseKind::Load).contains("order"));
        assert!(broken(|it| it.battery[5].current = Some(f64::NAN)).contains("number"));
        assert!(broken(|it| it.phases[1].end_s = f64::INFINITY).contains("number"));
        assert!(broken(|it| it.phases.resize(MAX_PHASES + 1, it.phases[0])).contains("length"));
    }

    #[test]
    fn every_word_but_discharging_means_that_the_phone_was_fed() {
        use ChargingState::{Charging, Discharging, Full, NotCharging, Unknown};
        for (state, powered, fed) in [
            (Some(Discharging), Some(false), false),
            (Some(Discharging), Some(true), true),
            (Some(Charging), None, true),
            (Some(NotCharging), None, true),
            (Some(Full), Some(false), true),
            (Some(Unknown), None, false),
            (None, None, false),
        ] {
            let mut recording = Made::default().recording();
            let reading = recording.battery.last_mut().unwrap();
            (reading.charging, reading.powered) = (state, powered);
            assert_eq!(recording.fed().is_some(), fed, "{state:?} {powered:?}");
        }
    }
}
