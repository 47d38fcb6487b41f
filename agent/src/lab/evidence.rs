//! What phones told when an agent died there: files of this computer, the newest of each phone.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use seatrial_core::time::Timestamp;

/// Of one phone; older ones go.
const MOST: usize = 30;

/// Writes one, and gives its path.
pub(super) fn keep(folder: &Path, serial: &str, at: Timestamp, text: &str) -> io::Result<PathBuf> {
    let safe: String = serial.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
    let folder = folder.join("evidence").join(safe);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{:020}.txt", at.as_micros()));
    fs::write(&path, text)?;
    let mut kept: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    kept.sort();
    for old in kept.iter().take(kept.len().saturating_sub(MOST)) {
        fs::remove_file(old)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_a_serial_names_no_other_folder() {
        let folder = tempfile::tempdir().unwrap();
        for at in 1..=40 {
            let path = keep(folder.path(), "../../etc:5555", Timestamp::from_micros(at), &at.to_string()).unwrap();
            assert_eq!(path.parent().unwrap(), folder.path().join("evidence/------etc-5555"));
        }
        let mut left: Vec<_> = fs::read_dir(folder.path().join("evidence/------etc-5555"))
            .unwrap()
            .map(|one| one.unwrap().path())
            .collect();
        left.sort();
        assert_eq!(left.len(), MOST);
        assert_eq!(fs::read_to_string(&left[0]).unwrap(), "11");
    }
}
