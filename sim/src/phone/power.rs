//! What a phone shows of its battery, and where it stands in its files and in what its commands print.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::hardware::heated;

/// What a battery went through since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    pub elapsed: Duration,
    /// CPU time that the processes of the phone have really used in it.
    pub cpu: Duration,
    /// Whether the USB port gives power.
    pub plugged: bool,
    /// Whether the phone is on.
    pub on: bool,
}

/// The battery of a simulated phone and the gauge that reads it: true load goes in, what the phone shows comes out.
pub trait Power: Send {
    fn advance(&mut self, load: Load) -> Shown;

    /// What really flowed, where that is known.
    fn truth(&self) -> Option<Truth> {
        None
    }
}

/// In the phone's own folder, outside of what its programs see: the newest [`Truth`] as JSON.
pub const TRUTH_FILE: &str = "truth.json";

/// What really flowed out of a battery since the phone was built, reboots left out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Truth {
    pub seconds: f64,
    pub joules: f64,
    pub mah: f64,
    /// What the CPU time of the phone's processes has cost: the net energy of whatever ran.
    pub cpu_joules: f64,
}

/// The chip: its heat, and the clocks that come of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chip {
    pub celsius: f64,
    /// Its clocks are as high as they may be; else at their lowest.
    pub is_busy: bool,
    /// Share of each clock's maximum that its governor may reach, where that is lowered.
    pub cap: Option<f64>,
    /// As `dumpsys thermalservice` counts it.
    pub thermal_status: u8,
}

/// What the gauge shows. What is `None` stays as it is described.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub status: Option<Status>,
    /// Percent.
    pub capacity: Option<u8>,
    /// µV.
    pub voltage: Option<i64>,
    /// As the phone's node shows it, with the sign and the unit that are its habit.
    pub current: Option<i64>,
    /// As the phone's node shows it; µAh on most.
    pub charge: Option<i64>,
    /// Tenths of °C.
    pub temperature: Option<i64>,
    pub chip: Option<Chip>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Charging,
    Discharging,
    NotCharging,
    Full,
}

impl Status {
    const ALL: [Self; 4] = [Self::Charging, Self::Discharging, Self::NotCharging, Self::Full];

    const fn word(self) -> &'static str {
        match self {
            Self::Charging => "Charging",
            Self::Discharging => "Discharging",
            Self::NotCharging => "Not charging",
            Self::Full => "Full",
        }
    }

    /// As Android's framework counts them.
    const fn number(self) -> i64 {
        match self {
            Self::Charging => 2,
            Self::Discharging => 3,
            Self::NotCharging => 4,
            Self::Full => 5,
        }
    }
}

/// A battery that stays as it is described, for phones whose energy nobody measures.
#[derive(Debug, Clone)]
pub struct Still(Shown);

impl Power for Still {
    fn advance(&mut self, _load: Load) -> Shown {
        self.0.clone()
    }
}

/// Where the phone shows its battery. Only what the description has is written: a node that it lacks stays missing.
#[derive(Debug)]
pub(super) struct Places {
    battery: PathBuf,
    answers: PathBuf,
    /// `online` of the supplies that are a USB port.
    ports: Vec<PathBuf>,
    /// `temp` of the thermal zones, and whether it is the battery's.
    zones: Vec<(PathBuf, bool)>,
    domains: Vec<Domain>,
}

/// CPUs with one clock.
#[derive(Debug)]
struct Domain {
    folder: PathBuf,
    /// In kHz.
    slowest: u64,
    fastest: u64,
}

impl Places {
    /// `None` when no supply of the phone is a battery.
    pub fn find(root: &Path, answers: &Path) -> std::io::Result<Option<Self>> {
        let mut supplies: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(root.join("sys/class/power_supply"))? {
            supplies.push(entry?.path());
        }
        supplies.sort();
        let is = |supply: &Path, kind: &str| {
            std::fs::read_to_string(supply.join("type")).is_ok_and(|text| text.trim() == kind)
        };
        let battery = supplies.iter().find(|supply| is(supply, "Battery")).cloned();
        let ports = supplies.iter().filter(|supply| is(supply, "USB")).map(|port| port.join("online"));
        let ports = ports.filter(|online| online.exists()).collect();
        let (zones, domains) = (zones(root), domains(root));
        Ok(battery.map(|battery| Self { battery, answers: answers.to_owned(), ports, zones, domains }))
    }

    /// The battery as it is described.
    pub fn still(&self) -> Still {
        let uevent = std::fs::read_to_string(self.battery.join("uevent")).unwrap_or_default();
        let find = |node: &str| {
            let line = format!("POWER_SUPPLY_{}=", node.to_uppercase());
            let text = std::fs::read_to_string(self.battery.join(node)).ok();
            text.or_else(|| uevent.lines().find_map(|entry| entry.strip_prefix(&line)).map(str::to_owned))
        };
        let number = |node: &str| find(node).and_then(|text| text.trim().parse::<i64>().ok());
        let word = find("status").unwrap_or_default();
        Still(Shown {
            status: Status::ALL.into_iter().find(|status| status.word() == word.trim()),
            capacity: number("capacity").map(|percent| percent.clamp(0, 100) as u8),
            voltage: number("voltage_now"),
            current: number("current_now"),
            charge: number("charge_counter"),
            temperature: number("temp"),
            chip: None,
        })
    }

    /// Every file that shows the battery, with what stands in it now.
    pub fn files(&self, shown: &Shown, plugged: bool) -> Vec<(PathBuf, String)> {
        let Shown { status, capacity, voltage, current, charge, temperature, chip } = *shown;
        let (level, number) = (capacity.map(i64::from), status.map(Status::number));
        let nodes = [
            ("status", status.map(|status| status.word().to_owned())),
            ("capacity", level.map(|level| level.to_string())),
            ("voltage_now", voltage.map(|voltage| voltage.to_string())),
            ("current_now", current.map(|current| current.to_string())),
            ("charge_counter", charge.map(|charge| charge.to_string())),
            ("temp", temperature.map(|temperature| temperature.to_string())),
        ];
        let nodes: Vec<(&str, String)> = nodes.into_iter().filter_map(|(node, text)| Some((node, text?))).collect();
        let mut files: Vec<(PathBuf, String)> =
            nodes.iter().map(|(node, text)| (self.battery.join(node), format!("{text}\n"))).collect();
        let uevent = self.battery.join("uevent");
        if let Ok(text) = std::fs::read_to_string(&uevent) {
            let keys = nodes.into_iter().map(|(node, text)| (format!("POWER_SUPPLY_{}", node.to_uppercase()), text));
            files.push((uevent, with(&text, "=", &keys.collect::<Vec<_>>())));
        }
        files.extend(self.ports.iter().map(|online| (online.clone(), format!("{}\n", u8::from(plugged)))));
        let words = [
            ("current_now", current),
            ("counter", charge),
            ("level", level),
            ("status", number),
            ("temp", temperature),
        ];
        for (word, value) in words {
            let path = self.answers.join("cmd").join(format!("battery get {word}"));
            files.extend(value.map(|value| (path, format!("{value}\n"))));
        }
        for (which, value) in [(1, charge), (2, current), (4, level), (6, number)] {
            let path = self.answers.join("service").join(format!("call batteryproperties 1 i32 {which}"));
            files.extend(value.map(|value| (path, parcel(value))));
        }
        files.extend(chip.map(|chip| self.chip(chip, temperature)).into_iter().flatten());
        files.retain(|(path, _)| path.exists());
        files
    }

    /// Every file that shows the heat and the clocks.
    fn chip(&self, chip: Chip, battery_tenths: Option<i64>) -> Vec<(PathBuf, String)> {
        let Chip { celsius, is_busy, cap, thermal_status } = chip;
        let battery = battery_tenths.map(|tenths| tenths as f64 / 10.0);
        let mut files: Vec<(PathBuf, String)> = Vec::new();
        for (zone, is_battery) in &self.zones {
            let shown = if *is_battery { battery } else { Some(celsius) };
            if let (Some(celsius), Ok(before)) = (shown, std::fs::read_to_string(zone)) {
                files.push((zone.clone(), heated(&before, celsius)));
            }
        }
        for Domain { folder, slowest, fastest } in &self.domains {
            // Governors choose among steps of a hundred MHz or so.
            let most = cap.map_or(*fastest, |share| (*fastest as f64 * share / 1e5).round() as u64 * 100_000);
            let now = if is_busy { most } else { *slowest };
            files.push((folder.join("scaling_max_freq"), format!("{most}\n")));
            files.push((folder.join("scaling_cur_freq"), format!("{now}\n")));
        }
        let thermal = self.answers.join("dumpsys/thermalservice");
        if let Ok(text) = std::fs::read_to_string(&thermal) {
            let status = [("Thermal Status".to_owned(), thermal_status.to_string())];
            files.push((thermal, with(&text, ": ", &status)));
        }
        files
    }

    /// The framework's view, which the phone refreshes more rarely than its nodes.
    pub fn framework(&self, shown: &Shown, plugged: bool) -> Option<(PathBuf, String)> {
        let path = self.answers.join("dumpsys/battery");
        let text = std::fs::read_to_string(&path).ok()?;
        let lines = [
            ("USB powered", Some(plugged.to_string())),
            ("Charge counter", shown.charge.map(|charge| charge.to_string())),
            ("status", shown.status.map(|status| status.number().to_string())),
            ("level", shown.capacity.map(|level| level.to_string())),
            ("voltage", shown.voltage.map(|voltage| (voltage / 1000).to_string())),
            ("temperature", shown.temperature.map(|temperature| temperature.to_string())),
        ];
        let lines = lines.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Some((path, with(&text, ": ", &lines.collect::<Vec<_>>())))
    }
}

fn zones(root: &Path) -> Vec<(PathBuf, bool)> {
    let folders = std::fs::read_dir(root.join("sys/class/thermal")).into_iter().flatten().flatten();
    let zone = |folder: PathBuf| {
        let name = std::fs::read_to_string(folder.join("type")).ok()?;
        Some((folder.join("temp"), name.to_ascii_lowercase().contains("batt")))
    };
    folders.filter_map(|entry| zone(entry.path())).collect()
}

fn domains(root: &Path) -> Vec<Domain> {
    let folders = std::fs::read_dir(root.join("sys/devices/system/cpu/cpufreq")).into_iter().flatten().flatten();
    let domain = |folder: PathBuf| {
        let khz = |node: &str| std::fs::read_to_string(folder.join(node)).ok()?.trim().parse().ok();
        let (slowest, fastest) = (khz("cpuinfo_min_freq")?, khz("cpuinfo_max_freq")?);
        Some(Domain { folder, slowest, fastest })
    };
    folders.filter_map(|entry| domain(entry.path())).collect()
}

/// A text of keys and values in which some have a new value. Nothing is added, and what is unknown stays.
fn with(text: &str, between: &str, values: &[(String, String)]) -> String {
    let mut changed = String::with_capacity(text.len());
    for line in text.lines() {
        let found = line.split_once(between).and_then(|(key, _)| {
            let (_, value) = values.iter().find(|(name, _)| name == key.trim())?;
            Some((key, value))
        });
        // Writing into a text does not fail.
        let _ = match found {
            Some((key, value)) => writeln!(changed, "{key}{between}{value}"),
            None => writeln!(changed, "{line}"),
        };
    }
    changed
}

/// As `service call` prints it: no exception, status 0, and 64 bits in two words.
fn parcel(value: i64) -> String {
    let bits = value.cast_unsigned();
    let words = [0, 0, bits as u32, (bits >> 32) as u32];
    let shown = |byte: u8| if byte.is_ascii_graphic() { char::from(byte) } else { '.' };
    let text: String = words.iter().flat_map(|word| word.to_le_bytes()).map(shown).collect();
    let [first, second, third, fourth] = words.map(|word| format!("{word:08x}"));
    format!("Result: Parcel({first} {second} {third} {fourth}   '{text}')\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> Shown {
        Shown {
            status: Some(Status::Discharging),
            capacity: Some(57),
            voltage: Some(3_912_000),
            current: Some(-412_500),
            charge: None,
            temperature: Some(315),
            chip: None,
        }
    }

    #[test]
    fn a_node_that_the_description_lacks_stays_missing_and_unknown_lines_stay() {
        let home = tempfile::tempdir().unwrap();
        let battery = home.path().join("sys/class/power_supply/bms");
        fs::create_dir_all(&battery).unwrap();
        fs::write(battery.join("type"), "Battery\n").unwrap();
        fs::write(battery.join("capacity"), "80\n").unwrap();
        fs::write(
            battery.join("uevent"),
            "POWER_SUPPLY_NAME=bms\nPOWER_SUPPLY_CURRENT_NOW=5\nPOWER_SUPPLY_CHARGE_COUNTER=9\n",
        )
        .unwrap();
        let answers = home.path().join("answers");
        fs::create_dir_all(answers.join("dumpsys")).unwrap();
        fs::write(
            answers.join("dumpsys/battery"),
            "Current Battery Service state:\n  AC powered: false\n  level: 80\n",
        )
        .unwrap();
        let places = Places::find(home.path(), &answers).unwrap().unwrap();
        let files = places.files(&shown(), false);
        let names: Vec<_> = files.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["capacity", "uevent"], "no current_now, no temp, no `cmd battery`");
        assert_eq!(
            files[1].1,
            "POWER_SUPPLY_NAME=bms\nPOWER_SUPPLY_CURRENT_NOW=-412500\nPOWER_SUPPLY_CHARGE_COUNTER=9\n"
        );
        let (_, dump) = places.framework(&shown(), true).unwrap();
        assert_eq!(dump, "Current Battery Service state:\n  AC powered: false\n  level: 57\n");
    }

    #[test]
    fn heat_and_clocks_stand_in_the_zones_and_the_frequency_domains() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let place = home.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        };
        write("sys/class/power_supply/battery/type", "Battery\n");
        for (number, name, temp) in [(0, "cpu-0-0-usr", "25000"), (1, "battery", "250")] {
            write(&format!("sys/class/thermal/thermal_zone{number}/type"), name);
            write(&format!("sys/class/thermal/thermal_zone{number}/temp"), temp);
        }
        let policy = "sys/devices/system/cpu/cpufreq/policy4";
        for (node, khz) in [("min", 300_000), ("max", 3_000_000)] {
            write(&format!("{policy}/cpuinfo_{node}_freq"), &khz.to_string());
        }
        write(&format!("{policy}/scaling_max_freq"), "3000000\n");
        let places = Places::find(home.path(), &home.path().join("answers")).unwrap().unwrap();
        let chip = Some(Chip { celsius: 52.25, is_busy: true, cap: Some(0.7), thermal_status: 0 });
        let files = places.files(&Shown { chip, ..shown() }, true);
        let of = |end: &str| files.iter().find(|(path, _)| path.ends_with(end)).map(|(_, text)| text.as_str());
        assert_eq!(of("thermal_zone0/temp"), Some("52250\n"));
        assert_eq!(of("thermal_zone1/temp"), Some("315\n"), "the battery's own, in the unit of the zone");
        assert_eq!(of("scaling_max_freq"), Some("2100000\n"));
        assert_eq!(of("scaling_cur_freq"), None, "a node that is not there stays missing");
    }

    #[test]
    fn a_negative_number_fills_both_words_of_a_parcel() {
        assert_eq!(parcel(-1), "Result: Parcel(00000000 00000000 ffffffff ffffffff   '................')\n");
        assert!(parcel(0x41).contains("00000041 00000000   '........A.......')"));
    }
}
