//! Evidence of what else happened around the timed samples.

use seatrial_core::report::Window;
use seatrial_core::time::Monotonic;

use crate::clock;
use crate::probe::CpuTimes;

/// Ticks of `/proc/stat` are hundredths of a second on every architecture of ours (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Counters at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    boot: Monotonic,
    awake: Monotonic,
    own_cpu_ms: f64,
    device: Option<CpuTimes>,
    threads: Threads,
    major_faults: Option<u64>,
}

/// Sums over the threads of this process.
#[derive(Debug, Clone, Copy, Default)]
struct Threads {
    involuntary: Option<u64>,
    voluntary: Option<u64>,
    waited_ns: Option<u64>,
}

impl Snapshot {
    pub(super) fn take() -> Self {
        Self {
            threads: Threads::read(),
            major_faults: major_faults(),
            device: read("/proc/stat").as_deref().and_then(CpuTimes::parse),
            own_cpu_ms: clock::process_cpu().as_secs_f64() * 1e3,
            awake: clock::awake(),
            boot: clock::boot(),
        }
    }

    /// What happened between an earlier moment and this one.
    pub(super) fn since(&self, earlier: &Self) -> Window {
        let own_cpu_ms = (self.own_cpu_ms - earlier.own_cpu_ms).max(0.0);
        let device = self.device.zip(earlier.device);
        Window {
            wall_ms: self.boot.since(earlier.boot).as_secs_f64() * 1e3,
            monotonic_ms: self.awake.since(earlier.awake).as_secs_f64() * 1e3,
            own_cpu_ms,
            foreign_cpu: device.and_then(|(now, then)| foreign_share(&now, &then, own_cpu_ms)),
            stolen_cpu: device.and_then(|(now, then)| now.stolen_share_since(&then)),
            involuntary_switches: difference(self.threads.involuntary, earlier.threads.involuntary),
            voluntary_switches: difference(self.threads.voluntary, earlier.threads.voluntary),
            run_queue_wait_ms: difference(self.threads.waited_ns, earlier.threads.waited_ns).map(|ns| ns as f64 / 1e6),
            major_faults: difference(self.major_faults, earlier.major_faults),
        }
    }
}

/// Busy time of all CPUs less our own, as a share of all CPUs' time.
fn foreign_share(now: &CpuTimes, then: &CpuTimes, own_cpu_ms: f64) -> Option<f64> {
    let total = now.total.saturating_sub(then.total) as f64;
    let own = own_cpu_ms / 1e3 * TICKS_PER_SECOND / total;
    Some((now.busy_share_since(then)? - own).max(0.0))
}

impl Threads {
    fn read() -> Self {
        let mut sum = Self::default();
        let add = |to: &mut Option<u64>, value: Option<u64>| {
            if let Some(value) = value {
                *to = Some(to.unwrap_or(0) + value);
            }
        };
        for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            add(&mut sum.involuntary, field(&status, "nonvoluntary_ctxt_switches:"));
            add(&mut sum.voluntary, field(&status, "voluntary_ctxt_switches:"));
            // Time on a CPU, time waiting for one, slices (Documentation/scheduler/sched-stats.rst).
            let schedule = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            add(&mut sum.waited_ns, schedule.split_whitespace().nth(1).and_then(|text| text.parse().ok()));
        }
        sum
    }
}

/// Field 12 of `/proc/self/stat`; the second is a name in brackets that may hold anything.
fn major_faults() -> Option<u64> {
    let stat = read("/proc/self/stat")?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(9)?.parse().ok()
}

/// A number after a name in `/proc/self/status`.
pub(super) fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

pub(super) fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn difference(now: Option<u64>, then: Option<u64>) -> Option<u64> {
    Some(now?.saturating_sub(then?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_others_is_foreign_and_our_own_is_not() {
        let then = CpuTimes::default();
        let now = CpuTimes { total: 200, idle: 50, stolen: 10 };
        // 150 of 200 ticks were busy, 100 of them ours.
        let share = foreign_share(&now, &then, 1000.0).unwrap();
        assert!((share - 0.25).abs() < 1e-9, "{share}");
        assert_eq!(foreign_share(&now, &then, 5000.0), Some(0.0), "rounding of ticks makes no negative share");
    }

    #[test]
    fn a_window_of_this_process_has_its_own_time_in_it() {
        let before = Snapshot::take();
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < 30 {
            std::hint::spin_loop();
        }
        let window = Snapshot::take().since(&before);
        assert!(window.wall_ms >= 30.0 && window.own_cpu_ms > 0.0, "{window:?}");
        assert!(window.voluntary_switches.is_some() && window.major_faults.is_some(), "{window:?}");
    }
}
