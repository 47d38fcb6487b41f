//! What can go wrong with a simulated phone, on request.

use std::fmt;
use std::str::FromStr;

/// One fault, and one word of a command line. All but a cut, a reboot and a kill last until the phone is mended.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The connection drops once so many more bytes have passed; the next one works.
    Cut { after: u64 },
    /// No byte passes any more. Connections stay.
    Stall,
    /// So many bytes pass in a second, each way.
    Slow { bytes_per_second: u64 },
    /// The USB port is off: no link, no charging; what runs on the phone runs on.
    Dark,
    /// The phone does not know the host, and nobody agrees.
    Unauthorized,
    /// The daemon is silent: connections are made and nothing is ever said.
    Offline,
    /// Every process of the phone stands still, the daemon among them.
    Frozen,
    /// Everything ends, and after a while the phone is back with another boot id.
    Reboot,
    /// The ROM ends what runs detached from adb, and says so in the log.
    Killed,
    /// Every thermal zone shows this many °C, and the framework says that it is severe.
    Heat { celsius: f64 },
    /// The battery shows this charge, in percent.
    Charge { percent: u8 },
    /// The shell may not read this path.
    Denied { path: String },
}

/// Every fault by its word, for messages.
const WORDS: &str = "cut[=BYTES], stall, slow=BYTES, dark, unauthorized, offline, frozen, reboot, killed, heat=CELSIUS, \
                     charge=PERCENT, denied=PATH";

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        fn number<T: FromStr>(text: &str, value: &str) -> Result<T, String> {
            value.parse().map_err(|_| format!("{text:?} has no number that fits"))
        }
        let (word, value) = text.split_once('=').map_or((text, None), |(word, value)| (word, Some(value)));
        Ok(match (word, value) {
            ("cut", None) => Self::Cut { after: 0 },
            ("cut", Some(value)) => Self::Cut { after: number(text, value)? },
            ("stall", None) => Self::Stall,
            ("slow", Some(value)) => match number(text, value)? {
                0 => return Err("slow=0 is a stall".to_owned()),
                bytes_per_second => Self::Slow { bytes_per_second },
            },
            ("dark", None) => Self::Dark,
            ("unauthorized", None) => Self::Unauthorized,
            ("offline", None) => Self::Offline,
            ("frozen", None) => Self::Frozen,
            ("reboot", None) => Self::Reboot,
            ("killed", None) => Self::Killed,
            ("heat", Some(value)) => Self::Heat { celsius: number(text, value)? },
            ("charge", Some(value)) => match number(text, value)? {
                percent @ 0..=100 => Self::Charge { percent },
                percent => return Err(format!("a charge of {percent} % is none")),
            },
            ("denied", Some(path)) if path.starts_with('/') => Self::Denied { path: path.to_owned() },
            _ => return Err(format!("{text:?} is no fault: there are {WORDS}")),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { after } => write!(f, "cut={after}"),
            Self::Stall => f.write_str("stall"),
            Self::Slow { bytes_per_second } => write!(f, "slow={bytes_per_second}"),
            Self::Dark => f.write_str("dark"),
            Self::Unauthorized => f.write_str("unauthorized"),
            Self::Offline => f.write_str("offline"),
            Self::Frozen => f.write_str("frozen"),
            Self::Reboot => f.write_str("reboot"),
            Self::Killed => f.write_str("killed"),
            Self::Heat { celsius } => write!(f, "heat={celsius}"),
            Self::Charge { percent } => write!(f, "charge={percent}"),
            Self::Denied { path } => write!(f, "denied={path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_as_it_is_written() {
        let words = "cut=0 cut=4096 stall slow=1000 dark unauthorized offline frozen reboot killed heat=81.5 charge=7 \
                     denied=/sys/class/power_supply";
        for word in words.split_whitespace() {
            assert_eq!(word.parse::<Fault>().map(|fault| fault.to_string()), Ok(word.to_owned()));
        }
    }

    #[test]
    fn what_is_no_fault_is_told_what_there_is() {
        for word in ["", "slow", "slow=0", "slow=x", "charge=101", "stall=3", "denied=sys", "explode"] {
            assert!(word.parse::<Fault>().is_err(), "{word:?}");
        }
        assert!("explode".parse::<Fault>().unwrap_err().contains("unauthorized"));
    }
}
