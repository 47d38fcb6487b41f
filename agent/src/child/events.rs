//! The stage log: one line before each stage, on disk before the stage begins, so that whatever happens in it is
//! known to have happened there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use seatrial_core::stage::Stage;
use seatrial_core::time::Monotonic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::spec::EVENTS_FILE;
use crate::clock;
use crate::plain::open_plain;

/// More lines are not read: a child of ours writes nine.
const MAX_EVENTS: usize = 64;
const MAX_BYTES: usize = 16 << 10;

/// The child entered a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StageEvent {
    pub stage: Stage,
    /// On the boot clock.
    pub at: Monotonic,
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct EventLog {
    file: File,
}

impl EventLog {
    pub(crate) fn create(out: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(out.join(EVENTS_FILE))?;
        Ok(Self { file })
    }

    /// Returns when the line is on disk.
    pub(crate) fn enter(&mut self, stage: Stage) -> io::Result<()> {
        let mut line = serde_json::to_vec(&StageEvent { stage, at: clock::boot() })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

/// The parent's end of the stage log.
pub(crate) type EventReader = LogReader<StageEvent>;

impl EventReader {
    pub(crate) fn of_stages(out: &Path) -> Self {
        Self::new(out, EVENTS_FILE, MAX_EVENTS, MAX_BYTES)
    }
}

/// The parent's end of a log of lines: reads a file that may hold anything.
#[derive(Debug)]
pub(crate) struct LogReader<T> {
    out: PathBuf,
    name: &'static str,
    most: usize,
    most_bytes: usize,
    file: Option<File>,
    text: Vec<u8>,
    /// Bytes of `text` that were parsed.
    parsed: usize,
    pub seen: Vec<T>,
    /// Whether the log was longer than is read.
    pub cut: bool,
}

impl<T: Copy + DeserializeOwned> LogReader<T> {
    pub(crate) fn new(out: &Path, name: &'static str, most: usize, most_bytes: usize) -> Self {
        let out = out.to_owned();
        Self { out, name, most, most_bytes, file: None, text: Vec::new(), parsed: 0, seen: Vec::new(), cut: false }
    }

    /// Lines written since the last call.
    pub(crate) fn read_new(&mut self) -> Vec<T> {
        if self.file.is_none() {
            self.file = open_plain(&self.out, self.name).ok();
        }
        let Some(file) = &mut self.file else { return Vec::new() };
        let room = self.most_bytes.saturating_sub(self.text.len());
        // What cannot be read now is read at the next look.
        let _ = file.take(room as u64).read_to_end(&mut self.text);
        let mut new = Vec::new();
        while let Some(length) = self.text[self.parsed..].iter().position(|&byte| byte == b'\n') {
            let line = &self.text[self.parsed..self.parsed + length];
            if let Ok(event) = serde_json::from_slice(line) {
                new.push(event);
            }
            self.parsed += length + 1;
        }
        self.cut |= self.text.len() >= self.most_bytes || self.seen.len() + new.len() > self.most;
        new.truncate(self.most.saturating_sub(self.seen.len()));
        self.seen.extend(&new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_once_each_and_a_half_line_waits() {
        let home = tempfile::tempdir().unwrap();
        let mut reader = EventReader::of_stages(home.path());
        assert!(reader.read_new().is_empty(), "before there is a log");
        let mut log = EventLog::create(home.path()).unwrap();
        log.enter(Stage::Load).unwrap();
        assert_eq!(reader.read_new().iter().map(|event| event.stage).collect::<Vec<_>>(), [Stage::Load]);
        log.file.write_all(b"{\"stage\":\"warm").unwrap();
        assert!(reader.read_new().is_empty());
        log.file.write_all(b"up\",\"at\":5}\n").unwrap();
        assert_eq!(reader.read_new(), [StageEvent { stage: Stage::Warmup, at: Monotonic::from_nanos(5) }]);
    }

    #[test]
    fn a_log_that_is_a_fifo_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let home = tempfile::tempdir().unwrap();
        mknodat(CWD, home.path().join(EVENTS_FILE), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(EventReader::of_stages(home.path()).read_new().is_empty());
    }

    #[test]
    fn a_log_without_end_is_cut() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(EVENTS_FILE), "{\"stage\":\"load\",\"at\":1}\n".repeat(100_000)).unwrap();
        let mut reader = EventReader::of_stages(home.path());
        assert_eq!(reader.read_new().len(), MAX_EVENTS);
        assert!(reader.read_new().is_empty());
        assert!(reader.cut);
    }
}
