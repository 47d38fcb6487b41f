//! Files of a folder in which somebody else may do as he likes, as a child may in its own: a name there can be a FIFO
//! that never opens, or a link to something without end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};

/// Opens a regular file of the folder. Follows no link and waits for nobody.
pub(crate) fn open_plain(folder: &Path, name: &str) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(folder, flags | OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let file = File::from(openat(&folder, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// The whole of such a file; an error when it is longer than `most` bytes.
pub(crate) fn read_plain(folder: &Path, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_plain(folder, name)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn a_plain_file_is_read_up_to_its_bound() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), b"four").unwrap();
        assert_eq!(read_plain(home.path(), "file", 4).unwrap(), b"four");
        let error = read_plain(home.path(), "file", 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_plain(home.path(), "other", 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_plain_file_is_neither_waited_for_nor_followed() {
        let home = tempfile::tempdir().unwrap();
        let fifo = home.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", home.path().join("endless")).unwrap();
        std::os::unix::fs::symlink(home.path().join("plain"), home.path().join("link")).unwrap();
        std::fs::write(home.path().join("plain"), b"plain").unwrap();
        std::fs::create_dir(home.path().join("folder")).unwrap();
        for name in ["fifo", "endless", "link", "folder"] {
            assert!(read_plain(home.path(), name, 100).is_err(), "{name}");
        }
        std::os::unix::fs::symlink(home.path(), home.path().join("elsewhere")).unwrap();
        assert!(read_plain(&home.path().join("elsewhere"), "plain", 100).is_err(), "the folder itself is a link");
        assert_eq!(read_plain(home.path(), "plain", 100).unwrap(), b"plain", "the control");
    }
}
