//! For which processors and C libraries agents and the libraries of engines are built.

pub mod recognise;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The C library that a library was built for. One built for another cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Libc {
    Gnu,
    Musl,
    /// Android's.
    Bionic,
}

impl Libc {
    /// The word at the end of a target's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Musl => "musl",
            Self::Bionic => "android",
        }
    }
}

/// Processors for which engines are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    #[serde(rename = "x86_64")]
    X86_64,
    X86,
    Aarch64,
    /// 32-bit ARM.
    Arm,
}

impl Machine {
    /// As Rust names the architecture.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "x86",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
        }
    }
}

/// What a package and an agent must share: `aarch64-linux-android`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Abi {
    pub machine: Machine,
    pub libc: Libc,
}

impl Abi {
    /// 32-bit ARM names its calling convention: agents there pass floats in registers, but on Android.
    const fn convention(self) -> &'static str {
        match (self.machine, self.libc) {
            (Machine::Arm, Libc::Gnu | Libc::Musl) => "eabihf",
            (Machine::Arm, Libc::Bionic) => "eabi",
            (Machine::X86_64 | Machine::X86 | Machine::Aarch64, Libc::Gnu | Libc::Musl | Libc::Bionic) => "",
        }
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-linux-{}{}", self.machine.as_str(), self.libc.as_str(), self.convention())
    }
}

impl FromStr for Abi {
    type Err = String;

    /// Reads what an agent says of itself. `aarch64-android-android`, as Rust's own words for Android make it, is the
    /// same as `aarch64-linux-android`, and `arm-linux-gnu` the same as `arm-linux-gnueabihf`.
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is no ABI for which there are packages (such as aarch64-linux-android)");
        let (machine, rest) = text.split_once('-').ok_or_else(unknown)?;
        let (_, libc) = rest.split_once('-').ok_or_else(unknown)?;
        let machines = [Machine::X86_64, Machine::X86, Machine::Aarch64, Machine::Arm];
        let machine = machines.into_iter().find(|known| known.as_str() == machine).ok_or_else(unknown)?;
        let abis = [Libc::Gnu, Libc::Musl, Libc::Bionic].map(|libc| Self { machine, libc });
        let is_meant = |abi: &Self| {
            libc.strip_prefix(abi.libc.as_str()).is_some_and(|rest| rest.is_empty() || rest == abi.convention())
        };
        abis.into_iter().find(is_meant).ok_or_else(unknown)
    }
}

impl TryFrom<String> for Abi {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Abi> for String {
    fn from(abi: Abi) -> Self {
        abi.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abi_is_read_as_agents_write_it() {
        for (text, machine, libc) in [
            ("x86_64-linux-gnu", Machine::X86_64, Libc::Gnu),
            ("aarch64-linux-android", Machine::Aarch64, Libc::Bionic),
            ("aarch64-android-android", Machine::Aarch64, Libc::Bionic),
            ("arm-linux-musl", Machine::Arm, Libc::Musl),
            ("arm-linux-gnueabihf", Machine::Arm, Libc::Gnu),
            ("arm-linux-androideabi", Machine::Arm, Libc::Bionic),
        ] {
            assert_eq!(text.parse(), Ok(Abi { machine, libc }), "{text}");
        }
        for text in ["", "x86_64", "x86_64-linux", "sparc-linux-gnu", "x86_64-windows-msvc", "arm-linux-gnueabi"] {
            assert!(text.parse::<Abi>().unwrap_err().contains(text), "{text}");
        }
        let abi = Abi { machine: Machine::Aarch64, libc: Libc::Bionic };
        assert_eq!(serde_json::to_string(&abi).unwrap(), "\"aarch64-linux-android\"");
        assert_eq!(serde_json::from_str::<Abi>("\"aarch64-linux-android\"").unwrap(), abi);
    }

    #[test]
    fn every_abi_reads_back_from_its_own_text() {
        for machine in [Machine::X86_64, Machine::X86, Machine::Aarch64, Machine::Arm] {
            for abi in [Libc::Gnu, Libc::Musl, Libc::Bionic].map(|libc| Abi { machine, libc }) {
                assert_eq!(abi.to_string().parse(), Ok(abi), "{abi}");
            }
        }
        assert_eq!(Abi { machine: Machine::Arm, libc: Libc::Gnu }.to_string(), "arm-linux-gnueabihf");
    }
}
