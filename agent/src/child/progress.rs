//! How far the child is within its stage: eight bytes in a file, written between samples at most once a second. That is
//! no allocation and one system call, and none between the two timestamps of a sample.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::plain::read_plain;

const NAME: &str = "progress";
/// Between two times that it is told.
const EVERY: Duration = Duration::from_secs(1);

/// The child's end.
#[derive(Debug)]
pub(super) struct Progress {
    file: File,
    told: Instant,
}

impl Progress {
    pub(super) fn create(out: &Path) -> io::Result<Self> {
        let progress = Self { file: File::create(out.join(NAME))?, told: Instant::now() };
        progress.write(f64::NAN);
        Ok(progress)
    }

    /// Tells a share of the stage.
    pub(super) fn write(&self, share: f64) {
        // A page that stands still is all that is lost.
        let _ = self.file.write_all_at(&share.to_le_bytes(), 0);
    }

    /// The same, when it is time again.
    pub(super) fn tell(&mut self, share: f64) {
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            self.write(share);
        }
    }

    /// What was told belongs to a stage that is over.
    pub(super) fn clear(&self) {
        self.write(f64::NAN);
    }
}

/// The parent's end: the share of the stage, when the child has told one.
pub(crate) fn read(out: &Path) -> Option<f64> {
    let bytes = read_plain(out, NAME, size_of::<f64>() as u64).ok()?;
    let share = f64::from_le_bytes(bytes.try_into().ok()?);
    (0.0..=1.0).contains(&share).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read_until_it_is_cleared() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path()), None, "before there is a child");
        let progress = Progress::create(home.path()).unwrap();
        assert_eq!(read(home.path()), None);
        progress.write(0.25);
        assert_eq!(read(home.path()), Some(0.25));
        progress.clear();
        assert_eq!(read(home.path()), None);
    }

    #[test]
    fn a_child_out_of_its_mind_tells_nothing() {
        let home = tempfile::tempdir().unwrap();
        for bytes in [vec![], vec![0; 7], vec![0; 9], 7.5f64.to_le_bytes().to_vec(), (-1f64).to_le_bytes().to_vec()] {
            std::fs::write(home.path().join(NAME), &bytes).unwrap();
            assert_eq!(read(home.path()), None, "{bytes:?}");
        }
    }
}
