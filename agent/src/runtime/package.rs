//! Loading an engine's library from its package.
#![expect(unsafe_code, reason = "libraries run code when they are loaded")]

use std::error::Error;
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

    /// Why a library was not loaded, in the linker's words and in ours.
    pub(super) fn refused(&self, said: &str) -> RuntimeError {
        let advice = advice(said).map(|advice| format!("; {advice}")).unwrap_or_default();
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

/// An error with all that caused it: what the linker said is the cause of "dlopen failed".
pub(super) fn in_full(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| Error::source(*error))
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// What the words of the dynamic linkers of glibc and Android mean.
fn advice(said: &str) -> Option<&'static str> {
    const MEANINGS: [(&[&str], &str); 5] = [
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
    use super::*;

    #[test]
    fn what_the_linker_says_is_explained() {
        for (said, meaning) in [
            ("/x/libonnxruntime.so: wrong ELF class: ELFCLASS32", "another ABI"),
            ("dlopen failed: \"/x/l.so\" is 32-bit instead of 64-bit", "another ABI"),
            ("/lib/libm.so.6: version `GLIBC_2.38' not found (required by /x/l.so)", "newer C"),
            ("/x/l.so: undefined symbol: foo", "missing or of another version"),
            ("libcudart.so.12: cannot open shared object file: No such file or directory", "not on the device"),
        ] {
            assert!(advice(said).unwrap().contains(meaning), "{said}");
        }
        assert_eq!(advice("out of memory"), None);
    }
}
