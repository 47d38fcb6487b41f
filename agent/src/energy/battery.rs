//! The battery's gauge: each field from the first source that gives it.

use std::path::Path;
use std::time::Duration;

use seatrial_core::energy::read;
use seatrial_core::energy::source::{Answer, BatteryReading, ChargingState, Field, Source, State};
use seatrial_core::energy::{Pack, SourceRecord};
use seatrial_core::profile::Ending;
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};

use crate::probe::battery as supply;
use crate::probe::files::Files;
use crate::probe::tool;

/// How long a tool may take: `dumpsys` waits for a service that hangs.
const WITHIN: Duration = Duration::from_secs(5);
/// How long what `dumpsys` says is good for, in s: the system refreshes it about once a minute.
const DUMP_HOLDS_S: f64 = 5.0;
/// Between two readings of a source that is a program, in s: starting it costs power itself.
const TOOL_PERIOD_S: f64 = 1.0;

const FIELDS: [Field; 6] =
    [Field::Current, Field::Voltage, Field::Counter, Field::Level, Field::Charging, Field::Temperature];
/// In the order in which they are asked.
const SOURCES: [Source; 4] = [Source::Uevent, Source::Dumpsys, Source::CmdBattery, Source::ServiceCall];
/// Nodes of a supply whose `uevent` may not be read, with their keys there.
const NODES: [&str; 13] = [
    "status",
    "health",
    "technology",
    "capacity",
    "current_now",
    "current_avg",
    "voltage_now",
    "charge_counter",
    "charge_now",
    "charge_full",
    "charge_full_design",
    "cycle_count",
    "temp",
];

/// The gauge of a device with a battery.
#[derive(Debug)]
pub(crate) struct Gauge {
    files: Files,
    /// Folders of the supplies that are the battery's, the battery itself first.
    supplies: Vec<String>,
    /// `online` of the supplies that feed it.
    feeds: Vec<String>,
    has_tools: bool,
    sources: Vec<SourceRecord>,
    dump: Option<(f64, BatteryReading)>,
}

impl Gauge {
    /// Asks every source once. `None` without a battery.
    pub(crate) fn find(root: &Path) -> Option<Self> {
        let files = Files::new(root);
        let has_tools = files.exists("system/bin/dumpsys");
        let main = supply::find(&files);
        if main.is_none() && !(has_tools && told_by_system(root)) {
            return None;
        }
        let kind = |place: &String| files.text(&format!("{place}/type")).into_present().unwrap_or_default();
        let all = files.entries(supply::FOLDER, "");
        // Second cells and fuel gauges beside the battery: `bms`, `battery2`.
        let more = all
            .iter()
            .filter(|place| Some(*place) != main.as_ref() && matches!(kind(place).as_str(), "BMS" | "Battery"));
        let more = more.filter(|place| files.text(&format!("{place}/scope")).present().is_none_or(|it| it != "Device"));
        let feeds = all.iter().filter(|place| !matches!(kind(place).as_str(), "BMS" | "Battery" | "UPS" | ""));
        let feeds = feeds.map(|place| format!("{place}/online")).filter(|online| files.exists(online)).collect();
        // Where none is shown to be the battery, what else is shown is not its.
        let supplies = main.iter().chain(more).take(if main.is_some() { usize::MAX } else { 0 }).cloned().collect();
        let mut gauge = Self { files, supplies, feeds, has_tools, sources: Vec::new(), dump: None };
        gauge.reset_fake();
        gauge.sources = gauge.survey();
        Some(gauge)
    }

    /// What each source gives of each field.
    pub(crate) fn sources(&self) -> &[SourceRecord] {
        &self.sources
    }

    /// Whether anything tells what the battery gives: its current, or the charge that is left.
    pub(crate) fn tells(&self) -> bool {
        self.source_of(Field::Current).is_some() || self.source_of(Field::Counter).is_some()
    }

    pub(crate) fn tells_current(&self) -> bool {
        self.source_of(Field::Current).is_some()
    }

    /// From one reading to the next at least, in s.
    pub(crate) fn least_period_s(&self) -> f64 {
        let by_tool = FIELDS.into_iter().filter_map(|field| self.source_of(field)).any(|source| match source {
            Source::CmdBattery | Source::ServiceCall => true,
            // What it says is kept for longer than that.
            Source::Dumpsys
            | Source::Uevent
            | Source::PowerStats
            | Source::Hwmon
            | Source::Pmic
            | Source::Rapl
            | Source::ExternalMeter => false,
        });
        if by_tool { TOOL_PERIOD_S } else { 0.0 }
    }

    pub(crate) fn pack(&self) -> Pack {
        match self.texts().next() {
            Some(Reading::Present(text)) => read::pack(&text),
            Some(Reading::Absent(why)) => Pack::none(&why),
            None => Pack::none(&format!("no battery is shown under /{}", supply::FOLDER)),
        }
    }

    /// All fields at one moment, each from its source.
    pub(crate) fn read(&mut self, at_s: f64) -> BatteryReading {
        let uevent = self.uevent();
        let needs_dump = FIELDS.into_iter().any(|field| self.source_of(field) == Some(Source::Dumpsys));
        let dump = if needs_dump { self.dumped(at_s) } else { BatteryReading::default() };
        let mut reading = BatteryReading { at_s, powered: self.fed().or(dump.powered), ..BatteryReading::default() };
        for field in FIELDS {
            match self.source_of(field) {
                Some(Source::Uevent) => take(&mut reading, field, value_of(&uevent, field)),
                Some(Source::Dumpsys) => take(&mut reading, field, value_of(&dump, field)),
                Some(source @ (Source::CmdBattery | Source::ServiceCall)) => {
                    if let Answer::Value(value) = self.ask(source, field) {
                        take(&mut reading, field, Some(value));
                    }
                }
                Some(Source::PowerStats | Source::Hwmon | Source::Pmic | Source::Rapl | Source::ExternalMeter)
                | None => {}
            }
        }
        reading
    }

    // --- sources ---

    fn source_of(&self, field: Field) -> Option<Source> {
        let gives = |record: &&SourceRecord| record.field == field && record.state == State::Ok;
        self.sources.iter().find(gives).map(|record| record.source)
    }

    fn survey(&self) -> Vec<SourceRecord> {
        let uevent = self.uevent_answers();
        let dump =
            if self.has_tools { tool::run(self.files.root(), &["dumpsys", "battery"], WITHIN) } else { missing() };
        let dumped = read::dumpsys(&dump.0);
        let mut records = Vec::new();
        for source in SOURCES {
            for field in FIELDS {
                let answer = match source {
                    Source::Uevent => uevent(field),
                    Source::Dumpsys => match value_of(&dumped, field) {
                        Some(value) => Answer::Value(value),
                        None => refused(&dump),
                    },
                    Source::CmdBattery
                    | Source::ServiceCall
                    | Source::PowerStats
                    | Source::Hwmon
                    | Source::Pmic
                    | Source::Rapl
                    | Source::ExternalMeter => self.ask(source, field),
                };
                let state = State::of(source, field, &[(0.0, answer)]);
                let value = if let Answer::Value(value) = answer { Some(value) } else { None };
                records.push(SourceRecord { source, field, state, value });
            }
        }
        records
    }

    /// A source that is a program, for one field.
    fn ask(&self, source: Source, field: Field) -> Answer {
        if !self.has_tools {
            return Answer::Missing;
        }
        let run = |words: &[&str]| tool::run(self.files.root(), words, WITHIN);
        let cmd = |word: &str| {
            let said = run(&["cmd", "battery", "get", word]);
            read::lone_number(&said.0).map_or_else(|| refused(&said), Answer::Value)
        };
        let service = |which: &str| {
            let said = run(&["service", "call", "batteryproperties", "1", "i32", which]);
            read::parcel(&said.0).map_or_else(|| refused(&said), |value| Answer::Value(value as f64))
        };
        let or = |first: Answer, next: &dyn Fn() -> Answer| match first {
            Answer::Value(_) | Answer::Denied => first,
            Answer::Missing => next(),
        };
        match (source, field) {
            (Source::CmdBattery, Field::Current) => or(cmd("current_now"), &|| cmd("current_average")),
            (Source::CmdBattery, Field::Counter) => cmd("counter"),
            (Source::CmdBattery, Field::Level) => cmd("level"),
            (Source::CmdBattery, Field::Charging) => cmd("status"),
            (Source::CmdBattery, Field::Temperature) => tenths(cmd("temp")),
            (Source::ServiceCall, Field::Current) => or(service("2"), &|| service("3")),
            (Source::ServiceCall, Field::Counter) => service("1"),
            (Source::ServiceCall, Field::Level) => service("4"),
            (Source::ServiceCall, Field::Charging) => service("6"),
            (
                Source::Uevent
                | Source::Dumpsys
                | Source::CmdBattery
                | Source::ServiceCall
                | Source::PowerStats
                | Source::Hwmon
                | Source::Pmic
                | Source::Rapl
                | Source::ExternalMeter,
                _,
            ) => Answer::Missing,
        }
    }

    /// The `uevent` of each supply, or its nodes one by one where that may not be read.
    fn texts(&self) -> impl Iterator<Item = Reading<String>> {
        self.supplies.iter().map(|place| {
            let whole = self.files.text(&format!("{place}/uevent"));
            if whole.present().is_some_and(|text| text.contains("POWER_SUPPLY_")) {
                return whole;
            }
            let node = |name: &&str| {
                let value = self.files.text(&format!("{place}/{name}")).into_present()?;
                Some(format!("POWER_SUPPLY_{}={value}\n", name.to_uppercase()))
            };
            let nodes: String = NODES.iter().filter_map(node).collect();
            if nodes.is_empty() { whole } else { Reading::Present(nodes) }
        })
    }

    fn uevent(&self) -> BatteryReading {
        let mut reading = BatteryReading::default();
        for text in self.texts().filter_map(Reading::into_present) {
            let found = read::uevent(&text);
            for field in FIELDS {
                if value_of(&reading, field).is_none() {
                    take(&mut reading, field, value_of(&found, field));
                }
            }
        }
        reading
    }

    fn uevent_answers(&self) -> impl Fn(Field) -> Answer {
        let reading = self.uevent();
        let denied = |text: Reading<String>| {
            text.reason().and_then(Reason::read).and_then(|reason| reason.code()) == Some(Code::NotReadable)
        };
        let is_denied = self.texts().any(denied);
        move |field| match value_of(&reading, field) {
            Some(value) => Answer::Value(value),
            None if is_denied => Answer::Denied,
            None => Answer::Missing,
        }
    }

    fn dumped(&mut self, at_s: f64) -> BatteryReading {
        match self.dump {
            Some((asked_s, reading)) if (0.0..DUMP_HOLDS_S).contains(&(at_s - asked_s)) => reading,
            Some(_) | None => {
                let (text, _) = tool::run(self.files.root(), &["dumpsys", "battery"], WITHIN);
                self.dump.insert((at_s, read::dumpsys(&text))).1
            }
        }
    }

    /// Whether a supply beside the battery gives power; `None` where no supply tells.
    fn fed(&self) -> Option<bool> {
        let online: Vec<u8> = self.feeds.iter().filter_map(|feed| self.files.number(feed).into_present()).collect();
        (!online.is_empty()).then(|| online.iter().any(|&online| online > 0))
    }

    /// Somebody may have told the system lies about the charger, which stay until they are taken back.
    fn reset_fake(&self) {
        if !self.has_tools {
            return;
        }
        let (text, _) = tool::run(self.files.root(), &["dumpsys", "battery"], WITHIN);
        if text.contains(read::FAKED) {
            tracing::warn!("the system was told a false state of the battery (dumpsys battery set): it is taken back");
            let _ = tool::run(self.files.root(), &["dumpsys", "battery", "reset"], WITHIN);
        }
    }
}

/// A phone may close the whole folder of its supplies.
fn told_by_system(root: &Path) -> bool {
    read::dumpsys(&tool::run(root, &["dumpsys", "battery"], WITHIN).0).level_percent.is_some()
}

fn missing() -> (String, Ending) {
    ("not found".to_owned(), Ending::Failed(127))
}

/// Why there is no value in what a program said.
fn refused((text, _): &(String, Ending)) -> Answer {
    let is_denied = text.contains("ermission denied") || text.contains("SecurityException");
    if is_denied { Answer::Denied } else { Answer::Missing }
}

fn tenths(answer: Answer) -> Answer {
    match answer {
        Answer::Value(tenths) => Answer::Value(tenths / 10.0),
        Answer::Denied | Answer::Missing => answer,
    }
}

fn value_of(reading: &BatteryReading, field: Field) -> Option<f64> {
    match field {
        Field::Current => reading.current,
        Field::Voltage => reading.voltage_v,
        Field::Counter => reading.counter,
        Field::Level => reading.level_percent,
        Field::Charging => reading.charging.map(number),
        Field::Temperature => reading.temperature_c,
        Field::Power => None,
    }
}

fn take(reading: &mut BatteryReading, field: Field, value: Option<f64>) {
    match field {
        Field::Current => reading.current = value,
        Field::Voltage => reading.voltage_v = value,
        Field::Counter => reading.counter = value,
        Field::Level => reading.level_percent = value,
        Field::Charging => reading.charging = value.and_then(|number| read::charging_number(number as i64)),
        Field::Temperature => reading.temperature_c = value,
        Field::Power => {}
    }
}

/// As Android's framework numbers it.
const fn number(state: ChargingState) -> f64 {
    match state {
        ChargingState::Unknown => 1.0,
        ChargingState::Charging => 2.0,
        ChargingState::Discharging => 3.0,
        ChargingState::NotCharging => 4.0,
        ChargingState::Full => 5.0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn tree(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees").join(name)
    }

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn tool(root: &Path, name: &str, body: &str) {
        put(root, &format!("system/bin/{name}"), &format!("#!/bin/sh\n{body}\n"));
        let path = root.join("system/bin").join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn state(gauge: &Gauge, source: Source, field: Field) -> State {
        let record = gauge.sources().iter().find(|record| record.source == source && record.field == field);
        record.unwrap().state.clone()
    }

    #[test]
    fn a_phone_that_shows_its_gauge_is_read_in_one_go_and_its_feeds_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        put(root, "sys/class/power_supply/battery/type", "Battery\n");
        put(
            root,
            "sys/class/power_supply/battery/uevent",
            "POWER_SUPPLY_NAME=battery\nPOWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_CAPACITY=64\n\
             POWER_SUPPLY_VOLTAGE_NOW=4012000\nPOWER_SUPPLY_TEMP=302\nPOWER_SUPPLY_CHARGE_FULL_DESIGN=5000000\n",
        );
        put(root, "sys/class/power_supply/bms/type", "BMS\n");
        put(root, "sys/class/power_supply/bms/uevent", "POWER_SUPPLY_CURRENT_NOW=412500\nPOWER_SUPPLY_CAPACITY=63\n");
        put(root, "sys/class/power_supply/usb/type", "USB\n");
        put(root, "sys/class/power_supply/usb/online", "0\n");
        let mut gauge = Gauge::find(root).unwrap();
        let reading = gauge.read(1.5);
        assert_eq!((reading.at_s, reading.current, reading.level_percent), (1.5, Some(412_500.0), Some(64.0)));
        assert_eq!((reading.charging, reading.powered), (Some(ChargingState::Discharging), Some(false)));
        assert_eq!(gauge.pack().design_uah, Reading::Present(5_000_000));
        assert!(gauge.tells() && gauge.least_period_s() == 0.0);
        assert!(matches!(state(&gauge, Source::Uevent, Field::Counter), State::Missing(_)));
        assert!(matches!(state(&gauge, Source::CmdBattery, Field::Level), State::Missing(_)));
        put(root, "sys/class/power_supply/usb/online", "1\n");
        assert_eq!(gauge.read(2.0).powered, Some(true));
    }

    #[test]
    fn a_phone_that_shows_nodes_and_no_uevent_is_read_node_by_node() {
        let mut gauge = Gauge::find(&tree("phone")).unwrap();
        let reading = gauge.read(0.0);
        assert!(reading.current.is_some() && reading.voltage_v.is_some(), "{reading:?}");
        assert_eq!(state(&gauge, Source::Uevent, Field::Current), State::Ok);
    }

    /// A phone of a recent build whose nodes are closed: its programs answer, each in its own words.
    #[test]
    fn what_the_kernel_denies_is_asked_of_the_systems_programs() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        put(root, "sys/class/power_supply/battery/type", "Battery\n");
        tool(
            root,
            "dumpsys",
            "printf 'state:\\n  AC powered: false\\n  USB powered: false\\n  status: 3\\n  level: 57\\n  voltage: 3912\\n  temperature: 315\\n'",
        );
        tool(root, "cmd", "case $3 in counter) echo 2880000 ;; *) echo 'Unknown get option' ;; esac");
        tool(
            root,
            "service",
            "case $5 in 2) echo \"Result: Parcel(00000000 00000000 fff9b4ac ffffffff   '................')\" ;; \
             *) echo \"Result: Parcel(00000000 00000000 00000000 80000000   '................')\" ;; esac",
        );
        let mut gauge = Gauge::find(root).unwrap();
        let reading = gauge.read(1.0);
        assert_eq!((reading.current, reading.counter), (Some(-412_500.0), Some(2_880_000.0)));
        assert_eq!((reading.voltage_v, reading.level_percent), (Some(3.912), Some(57.0)));
        assert_eq!((reading.charging, reading.powered), (Some(ChargingState::Discharging), Some(false)));
        assert_eq!(state(&gauge, Source::ServiceCall, Field::Current), State::Ok);
        assert!(matches!(state(&gauge, Source::CmdBattery, Field::Current), State::Missing(_)));
        assert!(matches!(state(&gauge, Source::ServiceCall, Field::Counter), State::Missing(_)), "not supported");
        assert_eq!(gauge.least_period_s(), TOOL_PERIOD_S);
    }

    #[test]
    fn a_program_that_may_not_answer_is_denied_and_not_missing() {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), "sys/class/power_supply/battery/type", "Battery\n");
        tool(home.path(), "dumpsys", "echo 'java.lang.SecurityException: Permission Denial'");
        tool(home.path(), "cmd", "echo 'cmd: Permission denied'; exit 1");
        let gauge = Gauge::find(home.path()).unwrap();
        assert!(matches!(state(&gauge, Source::Dumpsys, Field::Level), State::Denied(_)));
        assert!(matches!(state(&gauge, Source::CmdBattery, Field::Counter), State::Denied(_)));
        assert!(matches!(state(&gauge, Source::ServiceCall, Field::Current), State::Missing(_)));
        assert!(!gauge.tells());
    }

    #[test]
    fn lies_that_somebody_told_the_system_are_taken_back_before_it_is_asked() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        put(root, "sys/class/power_supply/battery/type", "Battery\n");
        put(root, "faked", "");
        let faked = root.join("faked").display().to_string();
        tool(
            root,
            "dumpsys",
            &format!(
                "if [ \"$2\" = reset ]; then rm -f {faked}; exit; fi\necho state:\n[ -e {faked} ] && echo \"  (UPDATES STOPPED -- use 'reset' to restart)\"\necho '  USB powered: true'; echo '  level: 57'; echo '  status: 2'"
            ),
        );
        let mut gauge = Gauge::find(root).unwrap();
        assert!(!root.join("faked").exists());
        assert_eq!(gauge.read(0.0).charging, Some(ChargingState::Charging));
        // The control: while it is faked nothing of it is believed.
        put(root, "faked", "");
        assert_eq!(gauge.read(DUMP_HOLDS_S).charging, None);
    }

    #[test]
    fn a_phone_that_closes_its_supplies_altogether_still_has_a_battery() {
        let home = tempfile::tempdir().unwrap();
        tool(home.path(), "dumpsys", "echo '  level: 57'; echo '  status: 3'");
        let mut gauge = Gauge::find(home.path()).unwrap();
        assert_eq!(gauge.read(0.0).level_percent, Some(57.0));
        assert!(gauge.pack().health.reason().is_some() && !gauge.tells());
    }

    #[test]
    fn a_device_without_a_battery_has_no_gauge() {
        assert!(Gauge::find(&tree("vm")).is_none());
    }
}
