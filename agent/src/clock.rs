//! The clocks of a device.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use seatrial_core::time::{Clock, Monotonic, Timestamp};

/// `CLOCK_BOOTTIME` for every decision: it goes on while the device sleeps, `CLOCK_MONOTONIC` does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Realtime);
        Timestamp::from_micros(time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000))
    }

    fn monotonic(&self) -> Monotonic {
        boot()
    }
}

/// Now, on the boot clock.
pub fn boot() -> Monotonic {
    read(ClockId::Boottime)
}

/// Now, on the clock that stands still while the device sleeps.
pub fn awake() -> Monotonic {
    read(ClockId::Monotonic)
}

/// CPU time of this process, all threads together.
pub fn process_cpu() -> Duration {
    Duration::from_nanos(read(ClockId::ProcessCPUTime).as_nanos())
}

fn read(id: ClockId) -> Monotonic {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    let seconds = u64::try_from(tv_sec).unwrap_or(0);
    let nanos = u64::try_from(tv_nsec).unwrap_or(0);
    Monotonic::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_is_never_behind_the_clock_that_sleeps() {
        let awake = awake();
        assert!(boot() >= awake);
    }
}
