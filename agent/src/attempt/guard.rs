//! What ends an attempt for the sake of the device: heat, and a battery that runs empty.

use seatrial_core::measure::interference::Limits;
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;

use crate::probe::Probe;

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

    /// To be called about once a second.
    pub(super) fn look(&mut self, probe: &Probe) -> Option<Danger> {
        let danger = self.guard.too_hot(probe).or_else(|| self.guard.too_empty(probe));
        self.seen = if danger.is_some() { self.seen + 1 } else { 0 };
        danger.filter(|_| self.seen >= LOOKS)
    }
}

impl Guard {
    fn too_hot(&self, probe: &Probe) -> Option<Danger> {
        let battery = probe.battery().temperature_c.into_present();
        let battery = battery.map(|celsius| ("the battery".to_owned(), celsius, self.battery_celsius));
        let chip = probe.hottest_chip().map(|(name, celsius)| (name, celsius, self.chip_celsius));
        let (what, celsius, limit) = battery.into_iter().chain(chip).find(|&(_, celsius, limit)| celsius >= limit)?;
        let message = format!("{what} reached {celsius:.1} °C, limit {limit:.0} °C: let the device cool");
        Some(Danger { outcome: Outcome::ThermalAbort, message })
    }

    fn too_empty(&self, probe: &Probe) -> Option<Danger> {
        let battery = probe.battery();
        let Reading::Present(share) = battery.charge else { return None };
        let charging = battery.charging.present().copied().unwrap_or(false);
        (share < self.charge && !charging).then(|| Danger {
            outcome: Outcome::BatteryLow,
            message: format!(
                "the battery fell to {:.0} %, limit {:.0} %: charge it",
                share * 100.0,
                self.charge * 100.0
            ),
        })
    }
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
            assert_eq!(watchman.look(&probe), None, "{state:?}: once may be nonsense");
            assert_eq!(watchman.look(&probe).map(|danger| danger.outcome), outcome, "{state:?}");
        }
    }

    #[test]
    fn a_look_without_danger_begins_the_count_anew() {
        let home = tempfile::tempdir().unwrap();
        let guard = Guard::default();
        let mut watchman = Watchman::new(&guard);
        for chip in ["99000", "60000", "99000"] {
            let probe = device(home.path(), "80", "Full", "300", chip);
            assert_eq!(watchman.look(&probe), None, "{chip}");
        }
    }

    #[test]
    fn what_a_device_does_not_tell_is_no_danger() {
        let home = tempfile::tempdir().unwrap();
        let guard = Guard::default();
        let mut watchman = Watchman::new(&guard);
        assert!((0..5).all(|_| watchman.look(&Probe::new(home.path())).is_none()));
    }
}
