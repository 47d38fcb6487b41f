//! What can be asked for power and charge, what it answers, and what is worth believing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reason::{Code, Reason};

/// Where readings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `/sys/class/power_supply/*/uevent`: all values of one moment in one read.
    Uevent,
    /// `dumpsys battery`: level, voltage, temperature; refreshed by events and about once a minute, so no current.
    Dumpsys,
    /// `cmd battery get current_now`, `current_average`, `counter`.
    CmdBattery,
    /// `service call batteryproperties 1 i32 N`.
    ServiceCall,
    /// Rails of Android's power-stats HAL: energy since boot.
    PowerStats,
    /// A power sensor of the Linux hwmon interface: INA226, INA3221 (Jetson).
    Hwmon,
    /// The Raspberry Pi 5's power controller: a total by a public fit over its twelve rails.
    Pmic,
    /// A processor's own energy counter (powercap).
    Rapl,
    /// A meter between supply and device.
    ExternalMeter,
}

impl Source {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uevent => "uevent",
            Self::Dumpsys => "dumpsys",
            Self::CmdBattery => "cmd_battery",
            Self::ServiceCall => "service_call",
            Self::PowerStats => "power_stats",
            Self::Hwmon => "hwmon",
            Self::Pmic => "pmic",
            Self::Rapl => "rapl",
            Self::ExternalMeter => "external_meter",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What part of the device a reading is about. Energies of different scopes are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// What leaves the battery: the whole phone, and only while nothing else feeds it.
    Battery,
    /// What the supply gives: the whole board, with its converters. Beside a battery it misses what that gives and takes.
    Input,
    /// Some rails behind the battery; true while charging, too.
    Rail,
    /// The processor package alone.
    Package,
}

impl Scope {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Battery => "battery",
            Self::Input => "input",
            Self::Rail => "rail",
            Self::Package => "package",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a battery says it is doing: the kernel's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargingState {
    Unknown,
    Charging,
    Discharging,
    /// Supplied from outside without charging.
    NotCharging,
    Full,
}

/// What one source gave at one moment. `None` is what it did not give; why stands in the source's [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BatteryReading {
    /// Seconds on one clock of the device, the one that the phases are told in.
    pub at_s: f64,
    /// As the gauge says it. Sign and unit are known only after calibration.
    pub current: Option<f64>,
    pub voltage_v: Option<f64>,
    /// As the gauge says it: µAh by the interface, mAh on some phones; falls while discharging.
    pub counter: Option<f64>,
    /// 0 to 100.
    pub level_percent: Option<f64>,
    /// `None` as well where it is faked: `dumpsys battery` that says "UPDATES STOPPED" tells nothing of the charger.
    pub charging: Option<ChargingState>,
    /// Whether a charger is attached.
    pub powered: Option<bool>,
    pub temperature_c: Option<f64>,
}

/// One value of a battery source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    Current,
    Voltage,
    Counter,
    Level,
    Charging,
    Temperature,
    /// Power, or energy since some start, of a meter.
    Power,
}

impl Field {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Voltage => "voltage",
            Self::Counter => "counter",
            Self::Level => "level",
            Self::Charging => "charging",
            Self::Temperature => "temperature",
            Self::Power => "power",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a source answered when it was asked for one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    Value(f64),
    /// Permission denied.
    Denied,
    /// No such file, word or field, or one that says "not supported".
    Missing,
}

/// What a source's field is worth on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    Denied(Reason),
    Missing(Reason),
    /// Always the same value, although the load was not: it measures nothing.
    Constant(Reason),
}

/// For how long a current may stay the same under load before it counts as constant, in s.
pub const CONSTANT_S: f64 = 60.0;

impl State {
    /// Judges what a source answered for one field while the device was under load, in order of time (s).
    ///
    /// Only a current has to move: a level or a temperature may well stay the same for a minute.
    #[must_use]
    pub fn of(source: Source, field: Field, answers: &[(f64, Answer)]) -> Self {
        let value = |&(at_s, answer): &(f64, Answer)| match answer {
            Answer::Value(value) => Some((at_s, value)),
            Answer::Denied | Answer::Missing => None,
        };
        let values: Vec<(f64, f64)> = answers.iter().filter_map(value).collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return if answers.iter().any(|(_, answer)| *answer == Answer::Denied) {
                Self::Denied(Reason::new(Code::SourceDenied, &[("source", &source), ("field", &field)]))
            } else {
                Self::Missing(Reason::new(Code::SourceMissing, &[("source", &source), ("field", &field)]))
            };
        };
        let seconds = last.0 - first.0;
        let moves = match field {
            Field::Current => values.iter().any(|(_, value)| value != &first.1),
            Field::Voltage | Field::Counter | Field::Level | Field::Charging | Field::Temperature | Field::Power => {
                true
            }
        };
        if moves || seconds < CONSTANT_S {
            return Self::Ok;
        }
        let seconds = format!("{seconds:.0}");
        let told: [(&str, &dyn fmt::Display); 4] =
            [("source", &source), ("field", &field), ("value", &first.1), ("seconds", &seconds)];
        Self::Constant(Reason::new(Code::SourceConstant, &told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: Field, answers: &[Answer]) -> State {
        let answers: Vec<_> = answers.iter().enumerate().map(|(i, &answer)| (i as f64 * 10.0, answer)).collect();
        State::of(Source::Uevent, field, &answers)
    }

    #[test]
    fn a_source_that_gives_nothing_is_denied_or_missing_and_says_which() {
        let denied = of(Field::Current, &[Answer::Missing, Answer::Denied]);
        let State::Denied(why) = denied else { panic!("{denied:?}") };
        assert_eq!(why, "uevent may not be asked for current: permission denied");
        assert!(matches!(of(Field::Counter, &[Answer::Missing]), State::Missing(_)));
        assert!(matches!(of(Field::Counter, &[]), State::Missing(_)), "never asked is not ok");
    }

    #[test]
    fn a_current_that_never_moves_under_load_is_constant_also_when_it_is_zero() {
        let stuck = [Answer::Value(0.0); 8];
        assert!(matches!(of(Field::Current, &stuck), State::Constant(_)));
        assert_eq!(of(Field::Current, &stuck[..6]), State::Ok, "50 s are too short to say so");
        assert_eq!(of(Field::Level, &stuck), State::Ok, "a level may stand still");
        let mut moving = stuck;
        moving[5] = Answer::Value(1.0);
        assert_eq!(of(Field::Current, &moving), State::Ok);
    }
}
