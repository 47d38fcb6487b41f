//! The system's own logs around the end of a child: what killed it, and what its driver said. Only what is as old as the
//! child: an older line is of somebody else's trouble.

use std::time::Duration;

use seatrial_core::profile::Ending;
use seatrial_core::time::Clock as _;

use super::files::Files;
use super::tool::run;
use crate::clock::{self, BootClock};

/// A log that does not come within this time is left out.
const WITHIN: Duration = Duration::from_secs(3);
/// How far the clocks of kernel and log may be from ours.
const SLACK: Duration = Duration::from_secs(1);
/// Bytes of each log: the last ones.
const MOST: usize = 30 << 10;

/// Logcat where there is one, and the kernel's ring where it may be read.
pub(super) fn of_the_last(files: &Files, age: Duration) -> String {
    let age = age.saturating_add(SLACK);
    let since = BootClock.now().as_micros() - i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let since = format!("{}.{:03}", since / 1_000_000, since / 1000 % 1000);
    let logcat = ["logcat", "-d", "-v", "threadtime", "-b", "crash,main,system", "-T", &since];
    let kernel_since = clock::awake().as_nanos().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
    let kernel = read(files, &["dmesg"]).map(|text| newer(&text, Duration::from_nanos(kernel_since)));
    let parts = [("logcat", read(files, &logcat)), ("kernel", kernel)];
    let parts = parts.into_iter().filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?)));
    parts.map(|(name, text)| format!("--- {name} ---\n{}\n", tail(&text))).collect::<Vec<_>>().concat()
}

/// Why the device has started, as it says itself; empty where it does not.
pub(super) fn boot_reason(files: &Files) -> String {
    let reasons = ["sys.boot.reason", "ro.boot.bootreason"].into_iter().filter_map(|name| {
        let reason = read(files, &["getprop", name])?;
        let reason = reason.trim();
        (!reason.is_empty()).then(|| format!("[{name}]: [{reason}]\n"))
    });
    let reasons: String = reasons.collect();
    if reasons.is_empty() { reasons } else { format!("--- boot ---\n{reasons}") }
}

fn read(files: &Files, words: &[&str]) -> Option<String> {
    match run(files.root(), words, WITHIN) {
        (text, Ending::Whole) => Some(text),
        (_, Ending::Cut | Ending::Failed(_)) => None,
    }
}

/// Lines of the kernel's ring from this moment of its clock on: `[ 8123.554120] …`.
fn newer(text: &str, since: Duration) -> String {
    let at = |line: &str| {
        let stamp = line.trim_start_matches(|sign| sign != '[').strip_prefix('[')?.split_once(']')?.0;
        stamp.trim().parse::<f64>().ok()
    };
    let lines = text.lines().skip_while(|line| at(line).is_none_or(|seconds| seconds < since.as_secs_f64()));
    lines.collect::<Vec<_>>().join("\n")
}

fn tail(text: &str) -> &str {
    text[text.ceil_char_boundary(text.len().saturating_sub(MOST))..].trim_end()
}

#[cfg(test)]
mod tests {
    use super::super::tool::tests::tool;
    use super::*;

    #[test]
    fn a_device_without_logs_has_none() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(of_the_last(&Files::new(home.path()), Duration::from_secs(1)), "");
    }

    #[test]
    fn logcat_is_asked_for_the_time_of_the_child_and_a_log_that_is_denied_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        tool(home.path(), "logcat", "echo \"asked: $*\"");
        tool(home.path(), "dmesg", "echo denied; exit 1");
        let text = of_the_last(&Files::new(home.path()), Duration::from_secs(5));
        assert!(text.starts_with("--- logcat ---\nasked: -d -v threadtime -b crash,main,system -T 1"), "{text}");
        assert!(!text.contains("denied"), "{text}");
    }

    #[test]
    fn of_the_kernels_ring_only_what_is_as_old_as_the_child_counts() {
        let ring = "[    1.000000] booted\n[  100.500000] Out of memory: Killed process 1\n[  200.000000] kgsl: gpu fault\n  at ctx 4";
        assert_eq!(newer(ring, Duration::from_secs(150)), "[  200.000000] kgsl: gpu fault\n  at ctx 4");
        assert_eq!(newer(ring, Duration::from_mins(5)), "");
        assert_eq!(newer("no stamps at all", Duration::ZERO), "");
    }
}
