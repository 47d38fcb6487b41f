//! The agent's own folder: one agent at a time, and what it must remember.
//!
//! ```text
//! lock                  held while an agent runs
//! device                id that the server issued: evidence for the next stay
//! token                 bearer token of this device, mode 0600
//! cache/                artifacts by digest
//! probes/               what runtime packages were found to offer here
//! energy/               what is known of the battery's gauge
//! boot, pid             the boot in which this process runs, and its number: what the next one knows of its end
//! spool/                reports that are not durable on the server
//! attempts/JOB-N/       one attempt; `running` inside marks it as begun
//! ```

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use rustix::fs::{Mode, OFlags, open};
use seatrial_core::job::AttemptRef;

use crate::plain::{open_plain, read_plain};

/// Name of the mark that an attempt has begun and not yet ended.
const RUNNING: &str = "running";
const MAX_MARK_BYTES: u64 = 1 << 10;

/// Why the agent cannot use its folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("another agent uses {0}: stop it, or give this one a folder of its own (--folder)")]
    Locked(PathBuf),
    #[error("{what} failed: {source}")]
    Io { what: String, source: io::Error },
}

/// The folder, locked for as long as the value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder where it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let io = |what: String| move |source| FolderError::Io { what, source };
        for part in [path.to_owned(), path.join("attempts")] {
            fs::create_dir_all(&part).map_err(io(format!("creating {}", part.display())))?;
        }
        let path = path.canonicalize().map_err(io(format!("resolving {}", path.display())))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
            .map_err(io(format!("closing {} to other users", path.display())))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(io("opening the lock file".to_owned()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Locked(path)),
            Err(TryLockError::Error(source)) => {
                Err(FolderError::Io { what: "locking the agent folder".to_owned(), source })
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id that the server issued in an earlier stay.
    pub fn device(&self) -> Option<String> {
        read_line(&self.path.join("device"))
    }

    pub fn remember_device(&self, device: &str) -> io::Result<()> {
        if self.device().as_deref() == Some(device) {
            return Ok(());
        }
        write_whole(&self.path.join("device"), device.as_bytes(), 0o644)
    }

    /// The device's own token, from its enrolment.
    pub fn token(&self) -> Option<String> {
        read_line(&self.path.join("token"))
    }

    pub fn remember_token(&self, token: &str) -> io::Result<()> {
        write_whole(&self.path.join("token"), token.as_bytes(), 0o600)
    }

    /// An empty folder for an attempt, marked as begun.
    pub fn begin(&self, attempt: AttemptRef) -> io::Result<PathBuf> {
        let folder = self.attempt_folder(attempt);
        remove_tree(&folder)?;
        fs::create_dir_all(&folder)?;
        write_whole(&folder.join(RUNNING), &serde_json::to_vec(&attempt)?, 0o644)?;
        Ok(folder)
    }

    /// Everything of an attempt goes, its mark last. The mark goes even when other files stay: the attempt has ended.
    pub fn end(&self, attempt: AttemptRef) -> io::Result<()> {
        let folder = self.attempt_folder(attempt);
        let removed = remove_tree(&folder);
        if removed.is_err() {
            match fs::remove_file(folder.join(RUNNING)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        removed
    }

    /// Attempts that an earlier process of this agent began and did not end. Folders without a mark are swept, as far
    /// as they can be.
    pub fn unfinished(&self) -> io::Result<Vec<AttemptRef>> {
        let mut unfinished = Vec::new();
        for entry in fs::read_dir(self.path.join("attempts"))? {
            let folder = entry?.path();
            let mark = read_plain(&folder, RUNNING, MAX_MARK_BYTES).ok();
            let mark = mark.and_then(|text| serde_json::from_slice(&text).ok());
            match mark {
                Some(attempt) => unfinished.push(attempt),
                None => {
                    if let Err(error) = remove_tree(&folder) {
                        tracing::warn!(%error, "an attempt's folder stays");
                    }
                }
            }
        }
        unfinished.sort();
        Ok(unfinished)
    }

    /// When an attempt was begun that has not ended, by the clock of this computer.
    pub fn begun_at(&self, attempt: AttemptRef) -> Option<SystemTime> {
        open_plain(&self.attempt_folder(attempt), RUNNING).ok()?.metadata().ok()?.modified().ok()
    }

    fn attempt_folder(&self, attempt: AttemptRef) -> PathBuf {
        self.path.join("attempts").join(format!("{}-{}", attempt.job, attempt.attempt))
    }
}

/// Writes a file so that it has either its old or its new content, whatever happens.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::options().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder(path.parent().unwrap_or(path))
}

/// A name is durable only when its folder is.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a folder in which a child may have left anything: folders that nobody may enter, and any number of them in
/// each other. The mark is removed last, so that a kill on the way leaves an attempt that is still known as begun.
pub(crate) fn remove_tree(folder: &Path) -> io::Result<()> {
    fail::fail_point!("folder-remove", |_| Err(io::Error::other("fault point folder-remove")));
    match open_up(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut inner = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            inner.push(entry.path());
        } else if entry.file_name() != RUNNING {
            fs::remove_file(entry.path())?;
        }
    }
    let mut raised = 0u64;
    while let Some(next) = inner.pop() {
        open_up(&next)?;
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                // Moved to the top: neither paths nor the stack grow with the depth.
                open_up(&entry.path())?;
                let place = free_name(folder, &mut raised);
                fs::rename(entry.path(), &place)?;
                inner.push(place);
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir(next)?;
    }
    match fs::remove_file(folder.join(RUNNING)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::remove_dir(folder)
}

/// Makes a folder the owner's to enter and to change; a link is an error and is not followed.
fn open_up(folder: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = open(folder, flags, Mode::empty())?;
    // A folder that may not be read can be opened only as a path, and such a handle be changed only by its name here.
    std::fs::set_permissions(format!("/proc/self/fd/{}", handle.as_raw_fd()), std::fs::Permissions::from_mode(0o700))
}

fn free_name(folder: &Path, raised: &mut u64) -> PathBuf {
    loop {
        *raised += 1;
        let place = folder.join(format!("raised-{raised}"));
        if place.symlink_metadata().is_err() {
            return place;
        }
    }
}

fn read_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use seatrial_core::ids::JobId;
    use seatrial_core::time::Timestamp;

    use super::*;

    fn attempt() -> AttemptRef {
        AttemptRef { job: JobId::new(Timestamp::from_micros(1), [3; 10]), attempt: 2 }
    }

    #[test]
    fn a_second_agent_is_kept_out_and_told_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let first = Folder::open(home.path()).unwrap();
        let error = Folder::open(home.path()).unwrap_err();
        assert!(error.to_string().contains("--folder"), "{error}");
        drop(first);
        Folder::open(home.path()).unwrap();
    }

    #[test]
    fn the_token_is_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        folder.remember_token("secret").unwrap();
        let mode = std::fs::metadata(home.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(folder.token().as_deref(), Some("secret"));
    }

    #[test]
    fn an_attempt_that_did_not_end_is_found_by_the_next_process() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let place = folder.begin(attempt()).unwrap();
        std::fs::create_dir(place.join("model")).unwrap();
        drop(folder);
        let folder = Folder::open(home.path()).unwrap();
        assert_eq!(folder.unfinished().unwrap(), [attempt()]);
        folder.end(attempt()).unwrap();
        assert!(folder.unfinished().unwrap().is_empty());
        assert!(!place.exists());
    }

    /// In a thread of its own, which gives up what root may do.
    fn as_any_user<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let sets = rustix::thread::CapabilitySets {
                    effective: rustix::thread::CapabilitySet::empty(),
                    permitted: rustix::thread::CapabilitySet::empty(),
                    inheritable: rustix::thread::CapabilitySet::empty(),
                };
                rustix::thread::set_capabilities(None, sets).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }

    fn lock(folder: &Path, mode: u32) {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn folders_that_a_child_has_locked_are_removed_all_the_same() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let place = folder.begin(attempt()).unwrap();
        let locked = place.join("out-0/locked");
        for inner in ["r", "none", "none/again"] {
            std::fs::create_dir_all(locked.join(inner)).unwrap();
            std::fs::write(locked.join(inner).join("file"), "here").unwrap();
        }
        lock(&locked.join("none/again"), 0);
        lock(&locked.join("none"), 0);
        lock(&locked.join("r"), 0o500);
        lock(&locked, 0o500);
        as_any_user(|| {
            assert!(std::fs::remove_dir_all(place.join("out-0")).is_err(), "the control: it takes more than that");
            folder.end(attempt()).unwrap();
        });
        assert!(!place.exists());
    }

    #[test]
    fn what_a_link_points_to_is_neither_opened_nor_removed() {
        let home = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("file"), "here").unwrap();
        lock(other.path(), 0o500);
        let folder = Folder::open(home.path()).unwrap();
        let place = folder.begin(attempt()).unwrap();
        std::os::unix::fs::symlink(other.path(), place.join("link")).unwrap();
        folder.end(attempt()).unwrap();
        assert_eq!(std::fs::metadata(other.path()).unwrap().permissions().mode() & 0o777, 0o500);
        assert!(other.path().join("file").exists() && !place.exists());
        lock(other.path(), 0o700);
    }

    #[test]
    fn folders_in_folders_without_end_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let place = folder.begin(attempt()).unwrap();
        // Deeper than any path is long.
        let mut inner = rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for _ in 0..2500 {
            rustix::fs::mkdirat(&inner, "d", Mode::RWXU).unwrap();
            inner = rustix::fs::openat(&inner, "d", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        folder.end(attempt()).unwrap();
        assert!(!place.exists());
    }

    #[test]
    fn a_folder_without_a_mark_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let stray = home.path().join("attempts/stray");
        std::fs::create_dir(&stray).unwrap();
        assert!(folder.unfinished().unwrap().is_empty());
        assert!(!stray.exists());
    }
}
