//! Output of a command, bounded: its beginning and its end are kept.

use std::borrow::Cow;
use std::collections::VecDeque;

/// How many bytes of a stream are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Of its beginning.
    pub head: usize,
    /// Of its end.
    pub tail: usize,
}

impl Default for Keep {
    /// 64 KiB of either.
    fn default() -> Self {
        Self { head: 64 << 10, tail: 64 << 10 }
    }
}

/// What is kept of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    keep: Keep,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Captured {
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.keep.head - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.keep.tail)..];
        let room = self.keep.tail - rest.len();
        self.tail.drain(..self.tail.len().saturating_sub(room));
        self.tail.extend(rest);
    }

    /// Bytes that came, kept or not.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes between beginning and end that were not kept; not 0 when a bound was hit.
    pub fn left_out(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// What was kept; where something was left out, beginning and end are not adjacent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        bytes.extend(&self.tail);
        bytes
    }

    /// For a person: what was kept, with a line that says how much was left out.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        match self.left_out() {
            0 => String::from_utf8_lossy(&self.bytes()).into_owned(),
            left_out => [
                String::from_utf8_lossy(&self.head),
                Cow::Owned(format!("\n… {left_out} bytes left out …\n")),
                String::from_utf8_lossy(&tail),
            ]
            .concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn head_and_tail_are_those_of_the_stream_however_it_comes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20),
            head in 0_usize..30,
            tail in 0_usize..30,
        ) {
            let whole = chunks.concat();
            let mut captured = Captured::new(Keep { head, tail });
            for chunk in &chunks {
                captured.push(chunk);
            }
            let first = whole.len().min(head);
            let last = whole.len().saturating_sub(tail).max(first);
            prop_assert_eq!(captured.bytes(), [&whole[..first], &whole[last..]].concat());
            prop_assert_eq!(captured.left_out(), (last - first) as u64);
            prop_assert_eq!(captured.total(), whole.len() as u64);
        }
    }

    #[test]
    fn what_was_left_out_is_said() {
        let mut captured = Captured::new(Keep { head: 3, tail: 2 });
        captured.push(b"abc");
        assert_eq!(captured.text(), "abc");
        captured.push(b"1234yz");
        assert_eq!(captured.text(), "abc\n… 4 bytes left out …\nyz");
    }
}
