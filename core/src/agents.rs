//! Builds of the agent: what makes a file one, and for which devices it is.

use std::fmt;

use crate::digest::Digest;
use crate::runtimes::recognise::ForeignMachine;
use crate::runtimes::{Abi, Libc, Machine};

/// What stands before the version in every build of the agent, and in no other program.
pub const MARK: &[u8] = b"\0seatrial-agent build ";

/// [`MARK`] with the version of the package that says this, as the agent carries it.
#[macro_export]
macro_rules! agent_mark {
    () => {
        concat!("\0seatrial-agent build ", env!("CARGO_PKG_VERSION"), "\n")
    };
}

/// A longer version is none.
const MAX_VERSION: usize = 64;

/// An agent's executable that a server keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBuild {
    pub abi: Abi,
    pub version: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// A program, as its own headers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    pub machine: Result<Machine, ForeignMachine>,
    /// Path of the program that loads it; none when it is linked statically.
    pub interpreter: Option<String>,
}

/// Why a file is no agent that a device could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NoProgram,
    NoMark,
    ForeignMachine(ForeignMachine),
    UnknownInterpreter(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram => f.write_str("it is not a program for Linux or Android"),
            Self::NoMark => f.write_str(
                "it does not carry an agent's version: only `seatrial-agent` itself does, as `cargo xtask cross` builds it",
            ),
            Self::ForeignMachine(ForeignMachine { code, bits }) => {
                write!(f, "it is built for a {bits}-bit processor of ELF machine {code}, for which there are no agents")
            }
            Self::UnknownInterpreter(path) => {
                write!(f, "it is loaded by {path}, which belongs to no C library for which there are agents")
            }
        }
    }
}

impl Executable {
    /// A program without an interpreter runs beside any C library; it is listed as musl, which links so.
    pub fn abi(&self) -> Result<Abi, Refusal> {
        let machine = self.machine.map_err(Refusal::ForeignMachine)?;
        let Some(path) = &self.interpreter else { return Ok(Abi { machine, libc: Libc::Musl }) };
        let libc = match path.rsplit('/').next().unwrap_or(path) {
            "linker" | "linker64" => Libc::Bionic,
            name if name.starts_with("ld-musl-") => Libc::Musl,
            // Of 32-bit ARM's two conventions only the one with floats in registers is an ABI of ours.
            name if name.starts_with("ld-linux") && (machine != Machine::Arm || name.contains("armhf")) => Libc::Gnu,
            _ => return Err(Refusal::UnknownInterpreter(path.clone())),
        };
        Ok(Abi { machine, libc })
    }
}

/// The version that follows a [`MARK`]; `None` when what follows is none, as in a program that only knows the mark.
#[must_use]
pub fn version_after_mark(rest: &[u8]) -> Option<&str> {
    let end = rest.iter().take(MAX_VERSION + 1).position(|&byte| byte == b'\n')?;
    let version = std::str::from_utf8(&rest[..end]).ok()?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
    is_version.then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abi(machine: Machine, interpreter: Option<&str>) -> Result<String, Refusal> {
        let executable = Executable { machine: Ok(machine), interpreter: interpreter.map(str::to_owned) };
        executable.abi().map(|abi| abi.to_string())
    }

    #[test]
    fn an_agent_is_for_the_c_library_that_loads_it() {
        for (machine, interpreter, expected) in [
            (Machine::X86_64, Some("/lib64/ld-linux-x86-64.so.2"), "x86_64-linux-gnu"),
            (Machine::Aarch64, Some("/lib/ld-linux-aarch64.so.1"), "aarch64-linux-gnu"),
            (Machine::Arm, Some("/lib/ld-linux-armhf.so.3"), "arm-linux-gnueabihf"),
            (Machine::Aarch64, Some("/lib/ld-musl-aarch64.so.1"), "aarch64-linux-musl"),
            (Machine::Aarch64, Some("/system/bin/linker64"), "aarch64-linux-android"),
            (Machine::Aarch64, None, "aarch64-linux-musl"),
        ] {
            assert_eq!(abi(machine, interpreter).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_no_device_of_ours_could_load_is_refused_with_its_reason() {
        for (machine, interpreter) in [(Machine::Arm, "/lib/ld-linux.so.3"), (Machine::X86_64, "/libexec/ld-elf.so.1")]
        {
            assert_eq!(abi(machine, Some(interpreter)), Err(Refusal::UnknownInterpreter(interpreter.to_owned())));
        }
        let foreign = ForeignMachine { code: 243, bits: 64 };
        let refusal = Executable { machine: Err(foreign), interpreter: None }.abi().unwrap_err();
        assert!(refusal.to_string().contains("64-bit processor of ELF machine 243"), "{refusal}");
    }

    #[test]
    fn a_program_that_only_knows_the_mark_has_no_version() {
        assert_eq!(version_after_mark(b"0.1.0\nmore"), Some("0.1.0"));
        assert_eq!(version_after_mark(b"1.2.3-rc.1+abc\n"), Some("1.2.3-rc.1+abc"));
        let endless = [b'1'; 100];
        for none in [&b"0.1.0"[..], b"\n", b"what follows\n", b"0.1.0 beta\n", b"0.\xff\n", &endless] {
            assert_eq!(version_after_mark(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_agent_carries_the_mark_that_is_looked_for() {
        let rest = agent_mark!().as_bytes().strip_prefix(MARK).unwrap();
        assert_eq!(version_after_mark(rest), Some(env!("CARGO_PKG_VERSION")));
    }
}
