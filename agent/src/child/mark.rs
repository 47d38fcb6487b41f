//! The high-water mark of this process's resident memory.

use std::fs::File;
use std::io::{self, Write as _};

/// What starts it anew, opened before the child shuts itself in: nothing has to be granted for it afterwards.
#[derive(Debug)]
pub(super) struct Mark(io::Result<File>);

impl Mark {
    /// For writing only: a sandbox takes truncating a file for a right of its own.
    pub(super) fn open() -> Self {
        Self(File::options().write(true).open("/proc/self/clear_refs"))
    }

    /// From here on the mark is that of what comes now (proc_pid_clear_refs(5)).
    pub(super) fn start_anew(&self) -> io::Result<()> {
        fail::fail_point!("memory-mark", |how| match how.as_deref() {
            Some("forgotten") => Ok(()),
            Some(_) | None => Err(io::ErrorKind::PermissionDenied.into()),
        });
        match &self.0 {
            Ok(file) => (&*file).write_all(b"5"),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_cannot_be_opened_or_written_is_an_error_and_no_number() {
        let read_only = Mark(File::open("/proc/self/clear_refs").or_else(|_| File::open("/dev/null")));
        assert!(read_only.start_anew().is_err());
        let refused = Mark(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(refused.start_anew().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(Mark::open().start_anew().is_ok(), "the control: it may here");
    }
}
