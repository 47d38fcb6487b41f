//! Whether the device is fit to measure: refuse with a reason, wait for it to settle, or note what is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use seatrial_core::cooldown::{self, Gate, Step};
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;

use super::StopSignal;
use crate::cache::free_bytes;
use crate::clock;
use crate::probe::Probe;

/// What is asked of a device before it measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Preflight {
    /// Free disk beyond what the artifacts took, in bytes.
    pub disk_bytes: u64,
    /// Free memory beyond three times the size of the model, in bytes.
    pub memory_bytes: u64,
    /// Share of all CPUs that others may use.
    pub foreign_load: f64,
    /// How long to wait for the load to fall; then the attempt goes on, and says so.
    pub load_wait: Duration,
    /// In °C.
    pub chip_below: f64,
    /// Above it no measurement begins.
    pub battery_below: f64,
    /// What a phone's battery is to cool to, as long as it still cools.
    pub battery_target: f64,
    /// How long to wait for the device to cool; then the attempt is refused.
    pub cool_wait: Duration,
    /// Share of a full battery; less is refused while it is not charging.
    pub charge: f64,
    /// File whose lock is the right to measure, of simulated phones that share a machine.
    pub turn: Option<PathBuf>,
}

impl Default for Preflight {
    fn default() -> Self {
        Self {
            disk_bytes: 64 << 20,
            memory_bytes: 64 << 20,
            foreign_load: 0.15,
            load_wait: Duration::from_secs(20),
            chip_below: 75.0,
            battery_below: 40.0,
            battery_target: 35.0,
            cool_wait: Duration::from_mins(3),
            charge: 0.15,
            turn: None,
        }
    }
}

/// Between two looks at the temperature.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// What was found.
#[derive(Debug)]
pub(super) struct Findings {
    pub facts: BTreeMap<String, String>,
    pub refusal: Option<(Outcome, String)>,
}

impl Preflight {
    /// Whether it may measure at all; waits for it to cool, no longer than `within`.
    pub(super) fn check(
        &self,
        probe: &Probe,
        folder: &Path,
        model_bytes: u64,
        within: Duration,
        stop: &StopSignal,
    ) -> Findings {
        let mut facts = BTreeMap::new();
        let refusal = self
            .disk(folder, &mut facts)
            .or_else(|| self.memory(probe, model_bytes, &mut facts))
            .or_else(|| self.charge(probe, &mut facts))
            .or_else(|| self.temperature(probe, self.cool_wait.min(within), &mut facts, stop));
        Findings { facts, refusal }
    }

    fn disk(&self, folder: &Path, facts: &mut BTreeMap<String, String>) -> Option<(Outcome, String)> {
        let Some(free) = free_bytes(folder) else {
            let why = "not checked: the file system does not tell its free space";
            facts.insert("preflight.disk".to_owned(), why.to_owned());
            return None;
        };
        (free < self.disk_bytes).then(|| {
            let message = format!("{free} bytes free on disk, {} are needed: free some space", self.disk_bytes);
            (Outcome::StorageFull, message)
        })
    }

    fn memory(
        &self,
        probe: &Probe,
        model_bytes: u64,
        facts: &mut BTreeMap<String, String>,
    ) -> Option<(Outcome, String)> {
        let free = match probe.memory_available() {
            Reading::Present(free) => free,
            Reading::Absent(reason) => {
                facts.insert("preflight.memory".to_owned(), format!("not checked: {reason}"));
                return None;
            }
        };
        let needed = model_bytes.saturating_mul(3).saturating_add(self.memory_bytes);
        (free < needed).then(|| {
            let message = format!("{free} bytes of memory free, about {needed} are needed: close what else runs");
            (Outcome::HarnessError, message)
        })
    }

    fn charge(&self, probe: &Probe, facts: &mut BTreeMap<String, String>) -> Option<(Outcome, String)> {
        let battery = probe.battery();
        let share = match battery.charge {
            Reading::Present(share) => share,
            Reading::Absent(reason) => {
                facts.insert("preflight.charge".to_owned(), format!("not checked: {reason}"));
                return None;
            }
        };
        facts.insert("battery.charge".to_owned(), format!("{:.0} %", share * 100.0));
        let charging = battery.charging.present().copied().unwrap_or(false);
        (share < self.charge && !charging).then(|| {
            let least = self.charge * 100.0;
            (
                Outcome::BatteryLow,
                format!("battery at {:.0} %, at least {least:.0} % are needed: charge it", share * 100.0),
            )
        })
    }

    /// Waits for the device to cool, as far as it does.
    fn temperature(
        &self,
        probe: &Probe,
        within: Duration,
        facts: &mut BTreeMap<String, String>,
        stop: &StopSignal,
    ) -> Option<(Outcome, String)> {
        if let (Reading::Absent(reason), None) = (probe.battery().temperature_c, probe.hottest_chip()) {
            let why = format!("not checked: no chip tells its temperature, and for the battery {reason}");
            facts.insert("preflight.temperature".to_owned(), why);
            return None;
        }
        // A phone's battery is its heat store; another device's says little of its chip.
        let battery_target = if probe.is_android() { self.battery_target } else { self.battery_below };
        let battery = Gate { target_c: battery_target.min(self.battery_below), limit_c: self.battery_below };
        let chip = Gate { target_c: self.chip_below, limit_c: self.chip_below };
        let begun = clock::boot();
        let (mut batteries, mut chips) = (Vec::new(), Vec::new());
        loop {
            let waited = clock::boot().since(begun);
            batteries.extend(probe.battery().temperature_c.into_present().map(|celsius| (waited, celsius)));
            let hottest = probe.hottest_chip();
            chips.extend(hottest.as_ref().map(|&(_, celsius)| (waited, celsius)));
            let of_battery = cooldown::step(&batteries, within, &battery);
            let of_chip = cooldown::step(&chips, within, &chip);
            match (of_battery, of_chip) {
                (Step::Refuse { celsius }, _) => {
                    return Some(too_hot("the battery", celsius, self.battery_below, waited));
                }
                (_, Step::Refuse { celsius }) => {
                    let name = hottest.map_or_else(|| "the chip".to_owned(), |(name, _)| name);
                    return Some(too_hot(&name, celsius, self.chip_below, waited));
                }
                (Step::Wait, _) | (_, Step::Wait) if stop.is_set() => return None,
                (Step::Wait, _) | (_, Step::Wait) => {
                    pause(stop, LOOK_EVERY.min(within.saturating_sub(waited)).max(SHORTEST_PAUSE));
                }
                (Step::Begin | Step::BeginWarm { .. }, Step::Begin | Step::BeginWarm { .. }) => {
                    if waited > Duration::from_secs(1) {
                        facts.insert("preflight.cooled_s".to_owned(), format!("{:.0}", waited.as_secs_f64()));
                    }
                    if let Step::BeginWarm { celsius } = of_battery {
                        let text = format!("battery at {celsius:.1} °C, {:.0} °C wanted", battery.target_c);
                        facts.insert("preflight.warm".to_owned(), text);
                    }
                    return None;
                }
            }
        }
    }

    /// Load is waited for, no longer than `within`, and then noted: whether it spoiled the samples is judged by the window
    /// itself.
    pub(super) fn settle(
        &self,
        probe: &Probe,
        within: Duration,
        facts: &mut BTreeMap<String, String>,
        stop: &StopSignal,
    ) {
        let (begun, within) = (clock::boot(), self.load_wait.min(within));
        loop {
            let before = probe.cpu_times();
            pause(stop, Duration::from_millis(250));
            let share = match (before, probe.cpu_times()) {
                (Reading::Present(before), Reading::Present(after)) => after.busy_share_since(&before),
                (Reading::Absent(reason), _) | (_, Reading::Absent(reason)) => {
                    facts.insert("preflight.load".to_owned(), format!("not checked: {reason}"));
                    return;
                }
            };
            let Some(share) = share.filter(|&share| share > self.foreign_load) else { return };
            let waited = clock::boot().since(begun);
            if stop.is_set() || waited >= within {
                let text = format!("foreign load {:.0} % after {:.0} s", share * 100.0, waited.as_secs_f64());
                facts.insert("preflight.load".to_owned(), text);
                return;
            }
        }
    }
}

fn too_hot(what: &str, celsius: f64, limit: f64, waited: Duration) -> (Outcome, String) {
    let message = format!(
        "{what} is at {celsius:.1} °C after {} s of cooling, at most {limit:.0} °C are allowed: let the device cool",
        waited.as_secs()
    );
    (Outcome::ThermalAbort, message)
}

/// Sleeps, and wakes early when the attempt is stopped.
fn pause(stop: &StopSignal, time: Duration) {
    let begun = clock::boot();
    while !stop.is_set() && clock::boot().since(begun) < time {
        thread::sleep(Duration::from_millis(50).min(time));
    }
}
