//! Runtime packages: the files of one runtime at one version, mostly for one ABI.
//!
//! Users have wheels, AARs, npm tarballs, plain libraries. What such a file holds is recognised from the libraries
//! themselves ([`recognise`]): names lie. Runners and benchmark programs are described by a file of their own.

pub mod program;
pub mod recognise;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::backend::Accelerator;
use crate::digest::Digest;
use crate::model::{Format, Manifest, ManifestEntry};

/// The engines whose libraries an agent loads from a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    Onnxruntime,
    Litert,
}

impl Engine {
    pub const ALL: [Self; 2] = [Self::Onnxruntime, Self::Litert];

    /// The runtime's name in suites and backends.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onnxruntime => "onnxruntime",
            Self::Litert => "litert",
        }
    }

    /// The model formats that it reads.
    #[must_use]
    pub const fn formats(self) -> &'static [Format] {
        match self {
            Self::Onnxruntime => &[Format::Onnx],
            Self::Litert => &[Format::Tflite],
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|engine| engine.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not an engine that comes in packages (onnxruntime, litert)"))
    }
}

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
    pub const ALL: [Self; 3] = [Self::Gnu, Self::Musl, Self::Bionic];

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
        let abis = Libc::ALL.map(|libc| Self { machine, libc });
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

/// How an agent puts a package to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageKind {
    /// A shared library of an engine that the agent knows how to call.
    Library { engine: Engine },
    /// A program that loads models itself and speaks `runner.proto`. A script names its interpreter, which is the
    /// agent's own: where it stands, only the agent's configuration says.
    Runner { interpreter: Option<String> },
    /// A vendor's benchmark program, with a rule file that says how it is called and read.
    Command,
}

impl PackageKind {
    /// The role of the file that is loaded or started.
    #[must_use]
    pub const fn main_role(&self) -> &'static str {
        match self {
            Self::Library { .. } => ENGINE_ROLE,
            Self::Runner { .. } | Self::Command => PROGRAM_ROLE,
        }
    }
}

/// The role of a library that is loaded.
pub const ENGINE_ROLE: &str = "engine";
/// The role of a program that is started.
pub const PROGRAM_ROLE: &str = "program";

/// The files of a runtime at one version, as a job carries them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimePackage {
    /// The runtime's name in suites and backends.
    pub runtime: String,
    pub kind: PackageKind,
    /// As the library says, else as its archive does: `1.31.1`.
    pub version: String,
    /// What it was built for; absent when it is no machine code, which any device can use.
    pub abi: Option<Abi>,
    /// What there is code for inside. Whether a device can use it, only the device can tell.
    pub accelerators: Vec<Accelerator>,
    /// The model formats that it reads.
    pub formats: Vec<Format>,
    /// One file has the kind's main role; the others are found beside it.
    pub manifest: Manifest,
}

impl RuntimePackage {
    /// The file that is loaded or started.
    #[must_use]
    pub fn main(&self) -> Option<&ManifestEntry> {
        self.manifest.role(self.kind.main_role())
    }

    /// The digest of the main file: what tells two packages of one version apart.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.main().map(|entry| entry.digest)
    }
}

impl fmt::Display for RuntimePackage {
    /// `onnxruntime 1.31.1 for x86_64-linux-gnu`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runtime, version, .. } = self;
        match &self.abi {
            Some(abi) => write!(f, "{runtime} {version} for {abi}"),
            None => write!(f, "{runtime} {version} for any device"),
        }
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
