//! Where a demo keeps its files while it runs, and what is left of them.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{CliError, Result};
use crate::output;

/// Lines of the agent's log that are worth showing when it fails.
const LOG_LINES: usize = 20;
const PREFIX: &str = "seatrial-demo-";
pub(super) const OTHER_PLACE: &str = "name a folder on another disk with --data DIR, or set TMPDIR";
/// Held by the demo that a scratch folder belongs to. A folder that is to be kept has none.
const LOCK: &str = "demo.lock";

/// A folder that goes away with the demo, or one that stays.
pub(super) struct Place {
    root: PathBuf,
    /// Removes the folder when it is dropped, also when the demo fails.
    scratch: Option<TempDir>,
    /// Lets go of the scratch folder when the demo ends, however it ends.
    _lock: Option<File>,
}

impl Place {
    /// A folder that was named is never removed; a scratch folder is, unless it is to be kept.
    pub(super) fn new(named: Option<PathBuf>, keep: bool) -> Result<Self> {
        if let Some(root) = named {
            fs_err::create_dir_all(&root).map_err(|error| CliError::failed("make the demo's folder", error))?;
            return Ok(Self { root, scratch: None, _lock: None });
        }
        remove_stale(&std::env::temp_dir());
        let scratch = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let scratch = scratch
            .map_err(|error| CliError::failed("make a scratch folder for the demo", error).with_hint(OTHER_PLACE))?;
        if keep {
            return Ok(Self { root: scratch.keep(), scratch: None, _lock: None });
        }
        let lock = hold(scratch.path())
            .map_err(|error| CliError::failed("lock the demo's scratch folder", error).with_hint(OTHER_PLACE))?;
        Ok(Self { root: scratch.path().to_owned(), scratch: Some(scratch), _lock: Some(lock) })
    }

    pub(super) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    pub(super) fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn agent(&self) -> PathBuf {
        self.root.join("agent")
    }

    /// Logs of the server would run through the progress: they go to a file, unless more was asked for.
    pub(super) fn log_to_file(&self, verbose: u8) -> Result<()> {
        if verbose == 0 {
            crate::telemetry::start_in_file(self.log("server.log")?);
        } else {
            crate::telemetry::start(verbose);
        }
        Ok(())
    }

    /// A file of its own for what somebody logs.
    pub(super) fn log(&self, name: &str) -> Result<std::fs::File> {
        let file = fs_err::File::create(self.root.join(name))
            .map_err(|error| CliError::failed("write the demo's logs", error))?;
        Ok(file.into_parts().0)
    }

    /// The end of a log, or why there is none.
    pub(super) fn log_tail(&self, name: &str) -> String {
        match fs_err::read_to_string(self.root.join(name)) {
            Ok(log) => tail(&log, LOG_LINES),
            Err(error) => error.to_string(),
        }
    }

    /// Removes a scratch folder, and says where one is that stays.
    pub(super) fn close(self) {
        match self.scratch {
            Some(scratch) => {
                let path = scratch.path().to_owned();
                if let Err(error) = scratch.close() {
                    output::note(&format!("{} could not be removed: {error}", path.display()));
                }
            }
            None => say_where(&self.root),
        }
    }
}

/// Takes a folder into possession. The lock gets its name only once it is held, so that nobody ever finds it free
/// while its owner lives.
fn hold(folder: &Path) -> std::io::Result<File> {
    let unnamed = folder.join(format!("{LOCK}.new"));
    let lock = File::create_new(&unnamed)?;
    lock.lock()?;
    std::fs::rename(unnamed, folder.join(LOCK))?;
    Ok(lock)
}

/// Removes scratch folders of this user's demos that were killed. Only a lock that nobody holds proves that.
fn remove_stale(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let folder = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Some(_lock) = abandoned(&folder)
            && let Err(error) = std::fs::remove_dir_all(&folder)
        {
            output::note(&format!("{}, left by an earlier demo, could not be removed: {error}", folder.display()));
        }
    }
}

/// The lock of a folder whose owner is gone.
fn abandoned(folder: &Path) -> Option<File> {
    let metadata = folder.symlink_metadata().ok()?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    let lock = File::open(folder.join(LOCK)).ok()?;
    lock.try_lock().ok()?;
    Some(lock)
}

fn say_where(root: &Path) {
    let server = root.join("server");
    output::note(&format!(
        "\nkept in {}\n\nhint: `seatrial serve --data {}` shows it again",
        root.display(),
        server.display()
    ));
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_goes_and_a_named_one_stays() {
        let place = Place::new(None, false).unwrap();
        let root = place.root.clone();
        assert!(root.is_dir());
        place.close();
        assert!(!root.exists());

        let named = tempfile::tempdir().unwrap();
        let root = named.path().join("demo");
        Place::new(Some(root.clone()), false).unwrap().close();
        assert!(root.is_dir());
    }

    #[test]
    fn only_a_folder_whose_owner_is_gone_is_stale() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("server.log"), "").unwrap();
            path
        };
        let (mine, dead) = (folder("seatrial-demo-mine"), folder("seatrial-demo-dead"));
        let (kept, other) = (folder("seatrial-demo-kept"), folder("other"));
        let lock = hold(&mine).unwrap();
        drop(hold(&dead).unwrap());
        drop(hold(&other).unwrap());
        std::os::unix::fs::symlink(&other, parent.path().join("seatrial-demo-link")).unwrap();
        remove_stale(parent.path());
        assert!(!dead.exists());
        assert!(mine.exists() && kept.exists() && other.join("server.log").exists());
        // The control: once its owner is gone as well, it goes.
        drop(lock);
        remove_stale(parent.path());
        assert!(!mine.exists() && kept.exists());
    }

    #[test]
    fn a_log_is_shown_by_its_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }
}
