//! What a child prints: always read, so that it never blocks; kept only in part, so that it fills nothing. What it admits
//! is noted as it comes, however much follows.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use seatrial_core::actual::admission;

/// Bytes of a line that is looked at.
const MAX_LINE: usize = 4 << 10;

/// The last bytes of a child's standard output and error together.
#[derive(Debug, Clone)]
pub(super) struct Output {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    bytes: std::collections::VecDeque<u8>,
    limit: usize,
    total: u64,
    admitted: Option<String>,
}

/// What there is when the child has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Printed {
    /// The text that was kept.
    pub log: String,
    /// The bound when it was hit.
    pub cut: Option<String>,
    /// The first line, of all that was printed, that admits a fallback.
    pub admitted: Option<String>,
}

impl Output {
    pub(super) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let bytes = std::collections::VecDeque::new();
        Self { kept: Arc::new(Mutex::new(Kept { bytes, limit, total: 0, admitted: None })) }
    }

    /// Reads a pipe to its end in a thread of its own.
    pub(super) fn drain(&self, mut pipe: impl Read + Send + 'static, name: &str) -> std::io::Result<JoinHandle<()>> {
        let output = self.clone();
        thread::Builder::new().name(name.to_owned()).stack_size(128 << 10).spawn(move || {
            let (mut buffer, mut lines) = ([0; 1 << 14], Lines::default());
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                output.keep(&buffer[..count], lines.admitted_in(&buffer[..count]));
            }
            output.keep(&[], lines.admitted());
        })
    }

    fn keep(&self, bytes: &[u8], admitted: Option<String>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.admitted = kept.admitted.take().or(admitted);
        kept.total += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(kept.limit)..];
        let surplus = (kept.bytes.len() + bytes.len()).saturating_sub(kept.limit);
        kept.bytes.drain(..surplus);
        kept.bytes.extend(bytes);
    }

    pub(super) fn finish(&self) -> Printed {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.bytes.iter().copied().collect();
        let hit = kept.total > kept.limit as u64;
        let cut = hit.then(|| format!("output cut at {} bytes ({} were written)", kept.limit, kept.total));
        Printed { log: String::from_utf8_lossy(&bytes).into_owned(), cut, admitted: kept.admitted.clone() }
    }
}

/// The line of a stream that is being written, and whether one before it has said enough.
#[derive(Debug, Default)]
struct Lines {
    open: Vec<u8>,
    found: bool,
}

impl Lines {
    /// The first line in these bytes that admits a fallback, once in a stream.
    fn admitted_in(&mut self, bytes: &[u8]) -> Option<String> {
        if self.found {
            return None;
        }
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.open.extend_from_slice(&part[..part.len().min(MAX_LINE - self.open.len())]);
            if part.ends_with(b"\n") {
                let admitted = self.admitted();
                self.open.clear();
                if admitted.is_some() {
                    self.found = true;
                    return admitted;
                }
            }
        }
        None
    }

    fn admitted(&self) -> Option<String> {
        admission(&String::from_utf8_lossy(&self.open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_read_to_its_end_and_only_its_last_bytes_are_kept() {
        let output = Output::new(10);
        let flood = std::io::Cursor::new([vec![b'x'; 100_000], b"the end".to_vec()].concat());
        output.drain(flood, "flood").unwrap().join().unwrap();
        let Printed { log, cut, admitted } = output.finish();
        assert_eq!(log, "xxxthe end");
        assert_eq!(cut.as_deref(), Some("output cut at 10 bytes (100007 were written)"));
        assert_eq!(admitted, None);
    }

    #[test]
    fn a_fallback_that_is_admitted_before_a_flood_is_not_lost_in_it() {
        let output = Output::new(10);
        let text = [b"no GPU, switching to CPU\n".to_vec(), vec![b'x'; 100_000], b"\nthe end".to_vec()].concat();
        output.drain(std::io::Cursor::new(text), "flood").unwrap().join().unwrap();
        let Printed { log, admitted, .. } = output.finish();
        assert_eq!(admitted.as_deref(), Some("its output says: no GPU, switching to CPU"));
        assert!(!log.contains("CPU"));
    }

    #[test]
    fn short_output_is_whole_and_no_bound_is_hit() {
        let output = Output::new(10);
        output.drain(std::io::Cursor::new(b"short".to_vec()), "short").unwrap().join().unwrap();
        assert_eq!(output.finish(), Printed { log: "short".to_owned(), cut: None, admitted: None });
    }
}
