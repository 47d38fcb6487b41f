//! The clock and the entropy of this machine: the only place of the server that reads either.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rand::TryRngCore as _;
use seatrial_core::time::{Clock, Monotonic, Timestamp};

/// Wall time, and `CLOCK_MONOTONIC` since the clock was made.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the implementation of the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Bytes from the operating system's generator.
///
/// # Panics
/// When the kernel has no entropy to give, which on Linux cannot happen after boot: a server that went on with
/// guessable secrets would be worse.
#[must_use]
#[expect(clippy::expect_used, reason = "no caller can do anything about a kernel without entropy")]
pub fn entropy<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).expect("the kernel gives entropy");
    bytes
}

/// The name of the user that this process runs as, or its number when it has no name.
#[must_use]
pub fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    fs_err::read_to_string("/etc/passwd")
        .ok()
        .and_then(|passwd| name_in(&passwd, uid))
        .unwrap_or_else(|| format!("uid {uid}"))
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number_and_damaged_lines_are_passed_over() {
        let passwd = "broken\nroot:x:0:0:root:/root:/bin/sh\nlab:x:1000:1000::/home/lab:/bin/sh\n";
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("lab"));
        assert_eq!(name_in(passwd, 1001), None);
    }

    #[test]
    fn entropy_does_not_repeat() {
        assert_ne!(entropy::<16>(), entropy::<16>());
    }
}
