//! Memory of the device.

use seatrial_core::reading::Reading;

use super::files::Files;

pub(super) fn total(files: &Files) -> Reading<u64> {
    field(files, "MemTotal:")
}

/// What can be had without swapping, by the kernel's own estimate.
pub(super) fn available(files: &Files) -> Reading<u64> {
    field(files, "MemAvailable:")
}

/// Counts kills by the kernel for memory, in and out of control groups.
pub(super) fn oom_kills(files: &Files) -> Option<u64> {
    let text = files.text("proc/vmstat").into_present()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// In bytes; the kernel writes kB and means 1024.
fn field(files: &Files, name: &str) -> Reading<u64> {
    match files.text("proc/meminfo") {
        Reading::Present(text) => {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            Reading::from_option(kib.map(|kib| kib.saturating_mul(1024)), format!("/proc/meminfo has no {name}"))
        }
        Reading::Absent(reason) => Reading::Absent(reason),
    }
}
