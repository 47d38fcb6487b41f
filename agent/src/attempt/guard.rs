//! What ends an attempt for the sake of the device: heat, and a battery that runs empty.

use seatrial_core::measure::interference::Limits;
use seatrial_core::outcome::Outcome;

use crate::probe::{Probe, SensorReading, battery, thermal};

/// How far a device may go while it measures. Beyond the temperatures its samples are invalid in any case, so that
/// going on would cost the device and gain nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// In °C.
    pub chip_celsius: f64,
    pub battery_celsius: f64,
    /// Share of a full battery that is not charging. Less than what an attempt needs to begin.
    pub charge: f64,
}

impl Default for Guard {
    fn default() -> Self {
        let Limits { zone_celsius, battery_celsius, .. } = Limits::default();
        Self { chip_celsius: zone_celsius, battery_celsius, charge: 0.10 }
    }
}

/// Looks in a row, a second apart, that must see the same: a sensor may read nonsense once.
const LOOKS: u32 = 2;

/// Why the device must stop, and what that makes of the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Danger {
    pub outcome: Outcome,
    pub message: String,
}

/// The guard of one process.
#[derive(Debug)]
pub(super) struct Watchman<'a> {
    guard: &'a Guard,
    seen: u32,
}

impl<'a> Watchman<'a> {
    pub(super) const fn new(guard: &'a Guard) -> Self {
        Self { guard, seen: 0 }
    }

    /// To be called about once a second, with what the sensors have just said: to read them again would disturb what
    /// is measured.
    pub(super) fn look(&mut self, probe: &Probe, readings: &[SensorReading]) -> Option<Danger> {
        let danger = self.guard.too_hot(readings).or_else(|| self.guard.too_empty(probe, readings));
        self.seen = if danger.is_some() { self.seen + 1 } else { 0 };
        danger.filter(|_| self.seen >= LOOKS)
    }
}

impl Guard {
    fn too_hot(&self, readings: &[SensorReading]) -> Option<Danger> {
        let battery = value(readings, battery::TEMPERATURE);
        let battery = battery.map(|celsius| ("the battery".to_owned(), celsius, self.battery_celsius));
        let chip = thermal::hottest(readings).map(|(name, celsius)| (name, celsius, self.chip_celsius));
        let (what, celsius, limit) = battery.into_iter().chain(chip).find(|&(_, celsius, limit)| celsius >= limit)?;
        let message = format!("{what} reached {celsius:.1} °C, limit {limit:.0} °C: let the device cool");
        Some(Danger { outcome: Outcome::ThermalAbort, message })
    }

    fn too_empty(&self, probe: &Probe, readings: &[SensorReading]) -> Option<Danger> {
        let share = value(readings, battery::CHARGE)?;
        let is_charging = || probe.battery().charging.present().copied().unwrap_or(false);
        (share < self.charge && !is_charging()).then(|| Danger {
            outcome: Outcome::BatteryLow,
            message: format!(
                "the battery fell to {:.0} %, limit {:.0} %: charge it",
                share * 100.0,
                self.charge * 100.0
            ),
        })
    }
}

fn value(readings: &[SensorReading], sensor: &str) -> Option<f64> {
    readings.iter().find(|reading| reading.sensor == sensor)?.value.present().copied()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A device with a battery and one zone.
    fn device(folder: &Path, charge: &str, status: &str, battery: &str, chip: &str) -> Probe {
        let supply = folder.join("sys/class/power_supply/battery");
        let zone = folder.join("sys/class/thermal/thermal_zone0");
        for place in [&supply, &zone] {
            std::fs::create_dir_all(place).unwrap();
        }
        for (name, text) in [("type", "Battery"), ("capacity", charge), ("status", status), ("temp", battery)] {
            std::fs::write(supply.join(name), text).unwrap();
        }
        std::fs::write(zone.join("type"), "cpu-thermal").unwrap();
        std::fs::write(zone.join("temp"), chip).unwrap();
        Probe::new(folder)
    }

    #[test]
    fn heat_and_an_empty_battery_are_danger_when_they_last() {
        let guard = Guard::default();
        for (state, outcome) in [
            (("80", "Discharging", "300", "60000"), None),
            (("80", "Discharging", "449", "94900"), None),
            (("80", "Discharging", "450", "60000"), Some(Outcome::ThermalAbort)),
            (("80", "Discharging", "300", "95000"), Some(Outcome::ThermalAbort)),
            (("10", "Discharging", "300", "60000"), None),
            (("9", "Discharging", "300", "60000"), Some(Outcome::BatteryLow)),
            (("9", "Charging", "300", "60000"), None),
        ] {
            let home = tempfile::tempdir().unwrap();
            let (charge, status, battery, chip) = state;
            let probe = device(home.path(), charge, status, battery, chip);
            let mut watchman = Watchman::new(&guard);
            let mut look = || watchman.look(&probe, &probe.sensors());
            assert_eq!(look(), None, "{state:?}: once may be nonsense");
            assert_eq!(look().map(|danger| danger.outcome), outcome, "{state:?}");
        }
    }

    #[test]
    fn a_look_without_danger_begins_the_count_anew() {
        let home = tempfile::tempdir().unwrap();
        let guard = Guard::default();
        let mut watchman = Watchman::new(&guard);
        for chip in ["99000", "60000", "99000"] {
            let probe = device(home.path(), "80", "Full", "300", chip);
            assert_eq!(watchman.look(&probe, &probe.sensors()), None, "{chip}");
        }
    }

    #[test]
    fn what_a_device_does_not_tell_is_no_danger() {
        let home = tempfile::tempdir().unwrap();
        let guard = Guard::default();
        let mut watchman = Watchman::new(&guard);
        let probe = Probe::new(home.path());
        assert!((0..5).all(|_| watchman.look(&probe, &probe.sensors()).is_none()));
    }
}
