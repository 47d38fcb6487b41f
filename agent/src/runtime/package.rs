//! Loading an engine's library from its package.
#![expect(unsafe_code, reason = "libraries run code when they are loaded")]

use std::error::Error;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use libloading::Library;
use seatrial_core::outcome::Claim;

use super::RuntimeError;
use crate::child::spec::PlacedPackage;

impl PlacedPackage {
    /// The file that is loaded. A folder where there is none, so that loading fails with its name.
    pub(super) fn library(&self) -> PathBuf {
        self.main.as_ref().map_or_else(|| self.folder.clone(), |name| self.folder.join(name))
    }

    /// What a library says of its version must be what its package says: a number stands under that name. Each may be
    /// the longer one: `1.32.0` of a nightly build `1.32.0.dev20261026`, or of a package that is called `1.32`.
    #[cfg(feature = "onnxruntime")]
    pub(super) fn agree(&self, own: &str) -> Result<(), RuntimeError> {
        let begins = |long: &str, short: &str| {
            let rest = long.strip_prefix(short);
            !short.is_empty() && rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if begins(&self.version, own) || begins(own, &self.version) {
            return Ok(());
        }
        let Self { runtime, version, .. } = self;
        let message = format!(
            "the package says {runtime} {version}, and its library says that it is {own}: add it again with `--version {own}`"
        );
        Err(RuntimeError::new(Claim::UnsupportedBackend, message))
    }

    /// Why a library was not loaded, in the linker's words and in ours.
    pub(super) fn refused(&self, said: &str) -> RuntimeError {
        let other = of_another_machine(&self.library()).then_some("the package is for another processor");
        let advice = other.or_else(|| advice(said)).map(|advice| format!("; {advice}")).unwrap_or_default();
        let message = format!("{} {} cannot be loaded: {said}{advice}", self.runtime, self.version);
        RuntimeError::new(Claim::UnsupportedBackend, message)
    }
}

/// A library that can be loaded here, by its name or path.
#[cfg(feature = "onnxruntime")]
pub(super) fn is_here(library: &Path) -> Result<(), String> {
    // SAFETY: in a child, whose crash in the initialisers of a library is what it is there for.
    unsafe { Library::new(library) }.map(drop).map_err(|error| in_full(&error))
}

/// Whether the header of a library is that of another processor, of which glibc only says that there is no such file.
fn of_another_machine(library: &Path) -> bool {
    // Class and number of the machine in the header of an ELF file (`elf.h`).
    let own: (u8, u16) = match std::env::consts::ARCH {
        "x86_64" => (2, 62),
        "aarch64" => (2, 183),
        "arm" => (1, 40),
        _ => return false,
    };
    let mut head = [0; 20];
    let read = std::fs::File::open(library).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(b"\x7fELF") && (head[4], u16::from_le_bytes([head[18], head[19]])) != own
}

/// An error with all that caused it: what the linker said is the cause of "dlopen failed".
pub(super) fn in_full(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| Error::source(*error))
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// What the words of the dynamic linkers of glibc and Android mean.
fn advice(said: &str) -> Option<&'static str> {
    const MEANINGS: [(&[&str], &str); 6] = [
        (&["libc.musl-", "ld-musl-"], "the package is for musl, and this agent runs on another C library"),
        (
            &["wrong ELF class", "is 32-bit instead of 64-bit", "is 64-bit instead of 32-bit"],
            "the package is for another ABI",
        ),
        (
            &["has bad ELF magic", "invalid ELF header", "unexpected e_machine", "ELF file's phentsize"],
            "the package is for another processor or damaged",
        ),
        (&["version `GLIBC_", "version `GLIBCXX_"], "the package needs a newer C or C++ library than the device has"),
        (&["undefined symbol", "cannot locate symbol"], "a library that it needs is missing or of another version"),
        (
            &["cannot open shared object file", "library \"", "not found"],
            "a library that it needs is not on the device",
        ),
    ];
    MEANINGS.into_iter().find(|(words, _)| words.iter().any(|word| said.contains(word))).map(|(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "onnxruntime")]
    use seatrial_core::runtimes::{Engine, PackageKind};

    use super::*;

    #[cfg(feature = "onnxruntime")]
    #[test]
    fn a_version_that_the_library_contradicts_is_refused_with_both() {
        let package = |version: &str| PlacedPackage {
            folder: PathBuf::new(),
            runtime: "onnxruntime".to_owned(),
            kind: PackageKind::Library { engine: Engine::Onnxruntime },
            version: version.to_owned(),
            main: None,
            rules: None,
            viewer: None,
            interpreter: None,
        };
        for (version, own) in [("1.31.1", "1.31.1"), ("1.32.0.dev20261026", "1.32.0"), ("1.31", "1.31.1")] {
            assert_eq!(package(version).agree(own), Ok(()), "{version} and {own}");
        }
        for (version, own) in [("1.31.1", "1.30.0"), ("1.3", "1.31.1"), ("1.31.1", "1.3"), ("claimed", "1.31.1")] {
            let error = package(version).agree(own).unwrap_err();
            assert_eq!(error.claim, Claim::UnsupportedBackend);
            assert!(error.message.contains(version) && error.message.contains(own), "{}", error.message);
        }
    }

    #[test]
    fn what_the_linker_says_is_explained() {
        for (said, meaning) in [
            ("/x/libonnxruntime.so: wrong ELF class: ELFCLASS32", "another ABI"),
            ("dlopen failed: \"/x/l.so\" is 32-bit instead of 64-bit", "another ABI"),
            ("/lib/libm.so.6: version `GLIBC_2.38' not found (required by /x/l.so)", "newer C"),
            ("/x/l.so: undefined symbol: foo", "missing or of another version"),
            ("libc.musl-x86_64.so.1: cannot open shared object file: No such file or directory", "for musl"),
            ("libcudart.so.12: cannot open shared object file: No such file or directory", "not on the device"),
        ] {
            assert!(advice(said).unwrap().contains(meaning), "{said}");
        }
        assert_eq!(advice("out of memory"), None);
    }
}
