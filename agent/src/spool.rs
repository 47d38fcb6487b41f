//! Reports that are not yet durable on the server: one file each.
//!
//! A file is written beside its place, synced, renamed and its folder synced, so that a kill at any point leaves either
//! nothing or the whole report. A file that is not whole is set aside under `damaged/` and named to the caller.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use seatrial_core::digest::Digest;
use seatrial_core::job::AttemptRef;

use crate::folder::sync_folder;

/// First bytes of an entry; then the digest of the rest, then the report as it goes over the wire.
const MAGIC: &[u8; 8] = b"SEAspool";
const HEADER: usize = MAGIC.len() + 32;
/// Reports kept in memory when the disk refuses; more are not accepted.
const MAX_IN_MEMORY: usize = 4;

/// Why a report cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool is full: {used} of {limit} bytes wait for the server, and this report takes {size}")]
    Full { used: u64, limit: u64, size: u64 },
    #[error("spool entry {0} is damaged and was set aside under damaged/")]
    Damaged(String),
    #[error("spool entry {name}: {source}")]
    Io { name: String, source: io::Error },
}

impl SpoolError {
    /// Whether it was for want of room: on the disk, or within the spool's own bound.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Damaged(_) => false,
            Self::Io { source, .. } => crate::cache::is_full(source),
        }
    }
}

/// The reports of one agent.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limit: u64,
    entries: BTreeMap<AttemptRef, u64>,
    in_memory: BTreeMap<AttemptRef, Vec<u8>>,
}

/// What was found when the spool was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub pending: Vec<AttemptRef>,
    /// Attempts whose reports were damaged.
    pub damaged: Vec<AttemptRef>,
}

impl Spool {
    /// Opens the spool, removes what was never finished and sets damaged entries aside.
    pub fn open(folder: &Path, limit: u64) -> Result<(Self, Found), SpoolError> {
        let io = |source| SpoolError::Io { name: folder.display().to_string(), source };
        fs::create_dir_all(folder.join("damaged")).map_err(io)?;
        let mut spool = Self { folder: folder.to_owned(), limit, entries: BTreeMap::new(), in_memory: BTreeMap::new() };
        let mut found = Found::default();
        for entry in fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(entry.path()).map_err(io)?;
            }
            let Some(attempt) = attempt_of(&name) else { continue };
            spool.entries.insert(attempt, entry.metadata().map_err(io)?.len());
            match spool.read(attempt) {
                Ok(_) => found.pending.push(attempt),
                Err(SpoolError::Damaged(_)) => found.damaged.push(attempt),
                Err(error @ (SpoolError::Full { .. } | SpoolError::Io { .. })) => return Err(error),
            }
        }
        found.pending.sort();
        Ok((spool, found))
    }

    /// Keeps a report on disk. `essential` reports pass the bound: they are small and say that it was hit.
    pub fn put(&mut self, attempt: AttemptRef, report: &[u8], essential: bool) -> Result<(), SpoolError> {
        let size = (HEADER + report.len()) as u64;
        let used = self.used();
        if !essential && used.saturating_add(size) > self.limit {
            return Err(SpoolError::Full { used, limit: self.limit, size });
        }
        let name = file_name(attempt);
        let io = |source| SpoolError::Io { name: name.clone(), source };
        let place = self.folder.join(&name);
        let temporary = place.with_extension("tmp");
        let written = write_entry(&temporary, &place, &self.folder, report);
        if written.is_err() {
            // Best effort: a left-over is removed at the next start as well.
            let _ = std::fs::remove_file(&temporary);
        }
        written.map_err(io)?;
        self.entries.insert(attempt, size);
        Ok(())
    }

    /// Keeps a report in memory, for a disk that refuses every byte. Lost with the process.
    pub fn put_in_memory(&mut self, attempt: AttemptRef, report: Vec<u8>) -> bool {
        let room = self.in_memory.len() < MAX_IN_MEMORY;
        if room {
            self.in_memory.insert(attempt, report);
        }
        room
    }

    /// The report as it goes over the wire.
    pub fn read(&mut self, attempt: AttemptRef) -> Result<Vec<u8>, SpoolError> {
        if let Some(report) = self.in_memory.get(&attempt) {
            return Ok(report.clone());
        }
        let name = file_name(attempt);
        let place = self.folder.join(&name);
        let bytes = fs::read(&place).map_err(|source| SpoolError::Io { name: name.clone(), source })?;
        if let Some(report) = whole(&bytes) {
            return Ok(report.to_vec());
        }
        let aside = self.folder.join("damaged").join(&name);
        fs::rename(&place, aside).map_err(|source| SpoolError::Io { name: name.clone(), source })?;
        self.entries.remove(&attempt);
        Err(SpoolError::Damaged(name))
    }

    /// Removes a report. One that is not there is removed already.
    pub fn remove(&mut self, attempt: AttemptRef) -> Result<(), SpoolError> {
        self.in_memory.remove(&attempt);
        if self.entries.remove(&attempt).is_none() {
            return Ok(());
        }
        let name = file_name(attempt);
        match fs::remove_file(self.folder.join(&name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(SpoolError::Io { name, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Bytes on disk.
    pub fn used(&self) -> u64 {
        self.entries.values().sum()
    }
}

fn write_entry(temporary: &Path, place: &Path, folder: &Path, report: &[u8]) -> io::Result<()> {
    fail::fail_point!("spool-before-write", |_| Err(io::ErrorKind::StorageFull.into()));
    let mut file = File::create(temporary)?;
    file.write_all(MAGIC)?;
    file.write_all(Digest::of(report).as_bytes())?;
    file.write_all(report)?;
    fail::fail_point!("spool-before-sync");
    file.sync_all()?;
    fail::fail_point!("spool-before-rename");
    fs::rename(temporary, place)?;
    fail::fail_point!("spool-before-folder-sync");
    sync_folder(folder)
}

fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (header, report) = bytes.split_at_checked(HEADER)?;
    let (magic, digest) = header.split_at(MAGIC.len());
    (magic == MAGIC && digest == Digest::of(report).as_bytes()).then_some(report)
}

fn file_name(attempt: AttemptRef) -> String {
    format!("{}.{}.report", attempt.job, attempt.attempt)
}

fn attempt_of(name: &str) -> Option<AttemptRef> {
    let (job, number) = name.strip_suffix(".report")?.split_once('.')?;
    Some(AttemptRef { job: job.parse().ok()?, attempt: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use seatrial_core::ids::JobId;
    use seatrial_core::time::Timestamp;

    use super::*;

    const LIMIT: u64 = 10_000;

    fn attempt(number: u8) -> AttemptRef {
        AttemptRef { job: JobId::new(Timestamp::from_micros(1), [number; 10]), attempt: 1 }
    }

    #[test]
    fn a_report_outlives_the_process_until_it_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let (mut spool, found) = Spool::open(home.path(), LIMIT).unwrap();
        assert_eq!(found, Found::default());
        spool.put(attempt(1), b"report", false).unwrap();
        drop(spool);
        let (mut spool, found) = Spool::open(home.path(), LIMIT).unwrap();
        assert_eq!(found.pending, [attempt(1)]);
        assert_eq!(spool.read(attempt(1)).unwrap(), b"report");
        spool.remove(attempt(1)).unwrap();
        assert_eq!(Spool::open(home.path(), LIMIT).unwrap().1, Found::default());
    }

    #[test]
    fn a_cut_or_changed_entry_is_set_aside_and_named() {
        let home = tempfile::tempdir().unwrap();
        for (number, damage) in [(1u8, 0usize), (2, HEADER - 1), (3, HEADER + 2)] {
            let (mut spool, _) = Spool::open(home.path(), LIMIT).unwrap();
            spool.put(attempt(number), b"report", false).unwrap();
            let place = home.path().join(file_name(attempt(number)));
            let bytes = std::fs::read(&place).unwrap();
            std::fs::write(&place, &bytes[..damage]).unwrap();
            let (_, found) = Spool::open(home.path(), LIMIT).unwrap();
            assert_eq!((found.pending, found.damaged), (vec![], vec![attempt(number)]));
            assert!(home.path().join("damaged").join(file_name(attempt(number))).exists());
        }
    }

    #[test]
    fn one_flipped_bit_is_damage() {
        let home = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(home.path(), LIMIT).unwrap();
        spool.put(attempt(1), b"report", false).unwrap();
        let place = home.path().join(file_name(attempt(1)));
        let mut bytes = std::fs::read(&place).unwrap();
        bytes[HEADER] ^= 1;
        std::fs::write(&place, bytes).unwrap();
        assert!(matches!(spool.read(attempt(1)), Err(SpoolError::Damaged(_))));
    }

    #[test]
    fn a_write_that_was_never_finished_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        Spool::open(home.path(), LIMIT).unwrap();
        let left = home.path().join(file_name(attempt(1))).with_extension("tmp");
        std::fs::write(&left, b"half").unwrap();
        assert_eq!(Spool::open(home.path(), LIMIT).unwrap().1, Found::default());
        assert!(!left.exists());
    }

    #[test]
    fn the_spool_is_bounded_and_an_essential_report_passes() {
        let home = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(home.path(), 100).unwrap();
        let error = spool.put(attempt(1), &[0; 90], false).unwrap_err();
        assert!(error.to_string().contains("of 100 bytes"), "{error}");
        spool.put(attempt(1), &[0; 90], true).unwrap();
        assert_eq!(spool.used(), 90 + HEADER as u64);
    }
}
