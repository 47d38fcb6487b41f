//! What a child prints: always read, so that it never blocks; kept only in part, so that it fills nothing.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

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
}

impl Output {
    pub(super) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { kept: Arc::new(Mutex::new(Kept { bytes: std::collections::VecDeque::new(), limit, total: 0 })) }
    }

    /// Reads a pipe to its end in a thread of its own.
    pub(super) fn drain(&self, mut pipe: impl Read + Send + 'static, name: &str) -> std::io::Result<JoinHandle<()>> {
        let output = self.clone();
        thread::Builder::new().name(name.to_owned()).stack_size(128 << 10).spawn(move || {
            let mut buffer = [0; 1 << 14];
            while let Ok(count) = pipe.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                output.keep(&buffer[..count]);
            }
        })
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.total += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(kept.limit)..];
        let surplus = (kept.bytes.len() + bytes.len()).saturating_sub(kept.limit);
        kept.bytes.drain(..surplus);
        kept.bytes.extend(bytes);
    }

    /// The text that was kept, and the bound when it was hit.
    pub(super) fn finish(&self) -> (String, Option<String>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.bytes.iter().copied().collect();
        let hit = kept.total > kept.limit as u64;
        let bound = hit.then(|| format!("output cut at {} bytes ({} were written)", kept.limit, kept.total));
        (String::from_utf8_lossy(&bytes).into_owned(), bound)
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
        let (text, bound) = output.finish();
        assert_eq!(text, "xxxthe end");
        assert_eq!(bound.as_deref(), Some("output cut at 10 bytes (100007 were written)"));
    }

    #[test]
    fn short_output_is_whole_and_no_bound_is_hit() {
        let output = Output::new(10);
        output.drain(std::io::Cursor::new(b"short".to_vec()), "short").unwrap().join().unwrap();
        assert_eq!(output.finish(), ("short".to_owned(), None));
    }
}
