//! What a phone is made of that its properties do not tell: cells, gauge, draw, heat and clocks, as `power.toml` has
//! them; and the files and answers in which the phone shows them.

use std::fmt::Write as _;

use serde::Deserialize;

use super::base;
use crate::battery::{Gauge, Pack, SignHabit, Unit};
use crate::draw::Draw;

/// Nodes of a supply, each a line of its `uevent` as well.
const NODES: [&str; 6] = ["status", "capacity", "voltage_now", "current_now", "charge_counter", "temp"];
/// Slowest clock of every processor here, in kHz.
const SLOWEST_KHZ: u64 = 300_000;

/// `power.toml`. What is left out is as on an ordinary phone.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Parts {
    /// Full charges that the battery has had.
    cycles: u32,
    pack: Pack,
    pub draw: Draw,
    gauge: GaugeTable,
    supply: Supply,
    pub heat: Heat,
}

/// A [`Gauge`], with a word for what it does not give.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GaugeTable {
    current: Given,
    sign: SignHabit,
    period_s: f64,
    resolution_ma: f64,
    lag_s: f64,
    noise_ma: f64,
    counter: Given,
    counter_step_mah: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Given {
    None,
    Milli,
    Micro,
}

impl Given {
    const fn unit(self) -> Option<Unit> {
        match self {
            Self::None => None,
            Self::Milli => Some(Unit::Milli),
            Self::Micro => Some(Unit::Micro),
        }
    }
}

impl Default for GaugeTable {
    fn default() -> Self {
        let Gauge { sign, period_s, resolution_ma, lag_s, noise_ma, .. } = Gauge::GOOD;
        let [current, counter] = [Given::Micro; 2];
        Self { current, sign, period_s, resolution_ma, lag_s, noise_ma, counter, counter_step_mah: 0.5 }
    }
}

/// Where the gauge can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Supply {
    /// Folder in `/sys/class/power_supply`.
    name: String,
    /// Nodes that stand in `uevent` alone.
    lacks: Vec<String>,
    /// Nodes that the shell may not read.
    denied: Vec<String>,
    /// What `cmd battery get` knows.
    commands: Vec<String>,
    /// Numbers that `service call batteryproperties` answers.
    parcels: Vec<u8>,
}

impl Default for Supply {
    fn default() -> Self {
        let none = Vec::new;
        Self { name: "battery".to_owned(), lacks: none(), denied: none(), commands: none(), parcels: Vec::new() }
    }
}

/// How the chip warms up, and what it does then.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Heat {
    /// Above the battery, for each W of the processor in the end, and in which time constant in s.
    pub kelvin_per_w: f64,
    pub seconds: f64,
    pub cap: Option<Cap>,
    /// Names of the thermal zones; one with "batt" in it is the battery's, the others are the chip's.
    zones: Vec<String>,
    /// Those that tell tenths of a degree, where others tell thousandths.
    tenths: Vec<String>,
}

/// The clocks are lowered.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cap {
    pub above_celsius: f64,
    /// Of each clock's maximum.
    pub share: f64,
    /// The framework says nothing of it.
    pub silent: bool,
}

impl Default for Heat {
    fn default() -> Self {
        let zones = ["cpu-0-0-usr", "gpuss-0-usr", "battery"].map(str::to_owned).to_vec();
        Self { kelvin_per_w: 8.0, seconds: 12.0, cap: None, zones, tenths: Vec::new() }
    }
}

/// Files of the phone, answers of its commands, and paths that are denied.
#[derive(Debug, Default)]
pub(super) struct Shows {
    pub files: Vec<(String, String)>,
    pub answers: Vec<(String, String)>,
    pub denied: Vec<String>,
}

impl Parts {
    pub fn gauge(&self) -> Gauge {
        let GaugeTable { current, sign, period_s, resolution_ma, lag_s, noise_ma, counter, counter_step_mah } =
            self.gauge;
        Gauge {
            current: current.unit(),
            sign,
            period_s,
            resolution_ma,
            lag_s,
            noise_ma,
            counter: counter.unit().map(|unit| (unit, counter_step_mah)),
            ..Gauge::GOOD
        }
    }

    pub fn pack(&self) -> Pack {
        self.pack
    }

    /// Everything in which the phone shows them, with values that are none yet. `clocks` are the maxima of its CPUs in
    /// kHz, by number.
    pub fn shows(&self, clocks: &[(u32, u64)]) -> Shows {
        let mut shows = Shows::default();
        self.show_supply(&mut shows);
        self.show_heat(&mut shows);
        show_clocks(clocks, &mut shows);
        shows
    }

    fn show_supply(&self, shows: &mut Shows) {
        let Supply { name, lacks, denied, commands, parcels } = &self.supply;
        let folder = format!("sys/class/power_supply/{name}");
        let given = |node: &&str| match *node {
            "current_now" => self.gauge.current != Given::None,
            "charge_counter" => self.gauge.counter != Given::None,
            _ => true,
        };
        let mut nodes = vec![
            ("type", "Battery".to_owned()),
            ("present", "1".to_owned()),
            ("health", "Good".to_owned()),
            ("technology", "Li-poly".to_owned()),
            ("cycle_count", self.cycles.to_string()),
            ("charge_full_design", format!("{:.0}", self.pack.capacity_mah * 1e3)),
        ];
        nodes.extend(NODES.into_iter().filter(given).map(|node| (node, "0".to_owned())));
        let mut uevent = format!("POWER_SUPPLY_NAME={name}\n");
        for (node, value) in nodes {
            // Writing into a text does not fail.
            let _ = writeln!(uevent, "POWER_SUPPLY_{}={value}", node.to_uppercase());
            if !lacks.iter().any(|lacking| lacking == node) {
                shows.files.push((format!("{folder}/{node}"), format!("{value}\n")));
            }
        }
        shows.files.push((format!("{folder}/uevent"), uevent));
        let port = "sys/class/power_supply/usb";
        shows.files.extend(
            [("type", "USB\n"), ("online", "1\n")].map(|(node, text)| (format!("{port}/{node}"), text.to_owned())),
        );
        shows.denied.extend(denied.iter().map(|node| format!("/{folder}/{node}")));
        let command = |word: &String| (format!("cmd/battery get {word}"), "0\n".to_owned());
        shows.answers.extend(commands.iter().map(command));
        // A counter that there is not counts 0 for the framework.
        if self.gauge.counter == Given::None {
            let dump = base::BATTERY.replace("Charge counter: 3240000", "Charge counter: 0");
            shows.answers.push(("dumpsys/battery".to_owned(), dump));
        }
        let parcel = |number: &u8| (format!("service/call batteryproperties 1 i32 {number}"), String::new());
        shows.answers.extend(parcels.iter().map(parcel));
    }

    fn show_heat(&self, shows: &mut Shows) {
        for (number, name) in self.heat.zones.iter().enumerate() {
            let folder = format!("sys/class/thermal/thermal_zone{number}");
            let temp = if self.heat.tenths.contains(name) { "250\n" } else { "25000\n" };
            shows.files.push((format!("{folder}/type"), format!("{name}\n")));
            shows.files.push((format!("{folder}/temp"), temp.to_owned()));
        }
    }
}

/// A frequency domain for each run of CPUs with the same maximum.
fn show_clocks(clocks: &[(u32, u64)], shows: &mut Shows) {
    for domain in clocks.chunk_by(|(_, one), (_, other)| one == other) {
        let Some(&(first, khz)) = domain.first() else { continue };
        let folder = format!("sys/devices/system/cpu/cpufreq/policy{first}");
        let cpus: Vec<String> = domain.iter().map(|(cpu, _)| cpu.to_string()).collect();
        let nodes = [
            ("related_cpus", cpus.join(" ")),
            ("scaling_governor", "schedutil".to_owned()),
            ("cpuinfo_min_freq", SLOWEST_KHZ.to_string()),
            ("cpuinfo_max_freq", khz.to_string()),
            ("scaling_max_freq", khz.to_string()),
            ("scaling_cur_freq", SLOWEST_KHZ.to_string()),
        ];
        shows.files.extend(nodes.map(|(node, text)| (format!("{folder}/{node}"), text + "\n")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, clocks: &[(u32, u64)]) -> Shows {
        toml::from_str::<Parts>(text).unwrap().shows(clocks)
    }

    fn has(files: &[(String, String)], path: &str) -> bool {
        files.iter().any(|(found, _)| found == path)
    }

    #[test]
    fn what_the_gauge_does_not_give_stands_nowhere_and_what_it_hides_stands_in_the_uevent_alone() {
        let text =
            "[gauge]\ncurrent = \"none\"\n[supply]\nname = \"bms\"\nlacks = [\"temp\"]\ndenied = [\"capacity\"]\n";
        let shows = shown(text, &[]);
        let folder = "sys/class/power_supply/bms";
        assert!(has(&shows.files, &format!("{folder}/voltage_now")) && !has(&shows.files, &format!("{folder}/temp")));
        assert!(!has(&shows.files, &format!("{folder}/current_now")));
        let (_, uevent) = shows.files.iter().find(|(path, _)| path.ends_with("uevent")).unwrap();
        assert!(uevent.contains("POWER_SUPPLY_TEMP=") && !uevent.contains("CURRENT"), "{uevent}");
        assert_eq!(shows.denied, ["/sys/class/power_supply/bms/capacity"]);
    }

    #[test]
    fn cpus_of_one_clock_are_one_frequency_domain() {
        let shows = shown("", &[(0, 2_000_000), (1, 2_000_000), (2, 3_000_000)]);
        let of =
            |path: &str| shows.files.iter().find(|(found, _)| found.ends_with(path)).map(|(_, text)| text.as_str());
        assert_eq!(of("policy0/related_cpus"), Some("0 1\n"));
        assert_eq!(of("policy2/scaling_max_freq"), Some("3000000\n"));
        assert_eq!(of("policy1/related_cpus"), None);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        assert!(toml::from_str::<Parts>("[gauge]\nperiods = 2.0\n").is_err());
    }
}
