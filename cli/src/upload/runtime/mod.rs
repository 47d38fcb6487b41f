//! Runtime packages as users have them: archives with libraries, described runners, and programs with rule files.

mod archive;
mod command;
mod described;
pub(crate) mod elf;

use std::path::{Path, PathBuf};

pub(crate) use command::Rules;
use seatrial_core::runtimes::RuntimePackage;
use tempfile::TempDir;

use crate::error::{CliError, Result};

/// One package of a file, before its files are digested: its manifest is empty.
pub(crate) struct Found {
    pub package: RuntimePackage,
    pub files: Vec<PackageFile>,
}

/// A file of a package.
#[derive(Clone)]
pub(crate) struct PackageFile {
    pub role: String,
    pub file_name: String,
    /// Where it lies now.
    pub place: PathBuf,
}

/// What a user's file holds.
pub(crate) struct Opened {
    pub found: Vec<Found>,
    /// Goes with what was unpacked.
    _scratch: TempDir,
}

impl Opened {
    /// Reads an archive, or a program with its description. `version` is what the user says where nothing else tells.
    pub(crate) fn open(path: &Path, version: Option<&str>) -> Result<Self> {
        let scratch = tempfile::tempdir().map_err(|error| CliError::failed("make a scratch folder", error))?;
        let found = match described::beside(path) {
            Some(description) => described::open(path, &description, version)?,
            None => archive::open(path, version, scratch.path())?,
        };
        Ok(Self { found, _scratch: scratch })
    }

    /// Reads a benchmark program, or what holds one.
    pub(crate) fn open_program(path: &Path, rules: &Rules, version: Option<&str>) -> Result<Self> {
        let scratch = tempfile::tempdir().map_err(|error| CliError::failed("make a scratch folder", error))?;
        let found = command::open(path, rules, version, scratch.path())?;
        Ok(Self { found, _scratch: scratch })
    }
}

/// A text of at most so many bytes.
fn text(path: &Path, most: u64) -> Result<String> {
    let read = |source| CliError::Read { path: path.to_owned(), source };
    let size = fs_err::metadata(path).map_err(read)?.len();
    if size > most {
        return Err(CliError::plain(format!("{} has {size} bytes, and {most} are the most", path.display())));
    }
    fs_err::read_to_string(path).map_err(read)
}
