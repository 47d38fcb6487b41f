//! An agent's executable: what it is, read from the file itself.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use memchr::memmem;
use seatrial_core::agents::{MARK, Refusal, version_after_mark};
use seatrial_core::runtimes::Abi;

use super::runtime::elf;
use crate::error::{CliError, Result};

/// A larger file is no agent; one with its symbols is some 200 MB.
const MAX_BYTES: u64 = 512 << 20;

/// For which devices an agent is, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub abi: Abi,
    pub version: String,
}

/// Reads what a file says of itself; anything but an agent is refused with the reason.
pub(crate) async fn describe(path: &Path) -> Result<Described> {
    let owned = path.to_owned();
    let described = tokio::task::spawn_blocking(move || read(owned)).await;
    described.map_err(|error| CliError::failed("read the agent", error))?
}

fn read(path: PathBuf) -> Result<Described> {
    let mut bytes = Vec::new();
    let read = fs_err::File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    let refused = |why: String| CliError::plain(format!("{} is no agent: {why}", path.display()));
    match read {
        Ok(read) if read as u64 == MAX_BYTES => Err(refused(format!("it is larger than {MAX_BYTES} bytes"))),
        Ok(_) => described(&bytes).map_err(refused),
        Err(source) => Err(CliError::Read { path, source }),
    }
}

fn described(bytes: &[u8]) -> std::result::Result<Described, String> {
    let executable = elf::executable(bytes).map_err(|error| format!("its headers cannot be read: {error}"))?;
    let executable = executable.ok_or_else(|| Refusal::NoProgram.to_string())?;
    let mut marks = memmem::find_iter(bytes, MARK).filter_map(|at| version_after_mark(&bytes[at + MARK.len()..]));
    let version = marks.next().ok_or_else(|| Refusal::NoMark.to_string())?.to_owned();
    let abi = executable.abi().map_err(|refusal| refusal.to_string())?;
    Ok(Described { abi, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_with_a_version_behind_the_mark_is_an_agent() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let marked = |version: &[u8]| described(&[&own, MARK, version].concat());
        let Described { abi, version } = marked(b"7.8.9\n").unwrap();
        assert_eq!((abi.machine.as_str(), version.as_str()), (std::env::consts::ARCH, "7.8.9"));
        assert_eq!(marked(b"and more"), Err(Refusal::NoMark.to_string()));
        assert_eq!(described(&own), Err(Refusal::NoMark.to_string()), "who looks for the mark does not carry it");
        assert_eq!(described(&[MARK, b"7.8.9\n"].concat()), Err(Refusal::NoProgram.to_string()));
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_no_refusal() {
        let error = describe(Path::new("/nonexistent/agent")).await.unwrap_err();
        assert!(matches!(error, CliError::Read { .. }), "{error}");
    }
}
