//! Evidence of what else happened around the timed samples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_core::reading::Reading;
use seatrial_core::reason::Code;
use seatrial_core::report::Window;
use seatrial_core::time::Monotonic;

use crate::clock;
use crate::probe::CpuTimes;

/// Ticks of `/proc/stat` are hundredths of a second on every architecture of ours (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
/// Of the process's CPU time: a thread with less has not computed. An equal part of 32 threads is 3 %.
const COMPUTED: f64 = 0.02;
/// The same for all threads together that have ended since they began, which are counted as one.
const COMPUTED_AND_ENDED: f64 = 0.1;
/// What runs is counted at its next tick: so much, in ms, may be missing of each living thread.
const TICK_MS: f64 = 10.0;
/// With less CPU time, in ms, that is too coarse.
const COUNTABLE_MS: f64 = 100.0;

/// Counters at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    boot: Monotonic,
    awake: Monotonic,
    /// Of this process and of the engine's.
    own_cpu_ms: f64,
    /// Of the engine's process alone, when it is another and still there.
    engine_cpu_ms: Option<f64>,
    /// Of processes that this one started and waited for.
    started_cpu_ms: f64,
    device: Option<CpuTimes>,
    /// The CPUs that this process is allowed.
    allowed: Option<CpuTimes>,
    threads: BTreeMap<i32, Thread>,
    major_faults: Option<u64>,
}

/// One thread of the process that computes.
#[derive(Debug, Clone, Copy, Default)]
struct Thread {
    involuntary: Option<u64>,
    voluntary: Option<u64>,
    ran_ns: Option<u64>,
    waited_ns: Option<u64>,
}

impl Snapshot {
    /// `cpus` are the CPUs that this process is allowed, when they are known; `engine` is the process that computes, when
    /// it is another.
    pub(super) fn take(cpus: Option<&[u16]>, engine: Option<u32>) -> Self {
        let stat = read("/proc/stat");
        let engine_cpu_ms = engine.and_then(|engine| Ticks::of(Some(engine))).map(|ticks| ticks.cpu_ms);
        Self {
            threads: threads(&of_process(engine, "task")),
            major_faults: Ticks::of(engine).map(|ticks| ticks.major_faults),
            device: stat.as_deref().and_then(CpuTimes::parse),
            allowed: stat.as_deref().zip(cpus).and_then(|(stat, cpus)| CpuTimes::parse_cpus(stat, cpus)),
            own_cpu_ms: clock::process_cpu().as_secs_f64() * 1e3 + engine_cpu_ms.unwrap_or(0.0),
            engine_cpu_ms,
            started_cpu_ms: Ticks::of(None).map_or(0.0, |ticks| ticks.started_ms),
            awake: clock::awake(),
            boot: clock::boot(),
        }
    }

    /// What happened between an earlier moment and this one.
    pub(super) fn since(&self, earlier: &Self) -> Window {
        let own_cpu_ms = (self.own_cpu_ms - earlier.own_cpu_ms).max(0.0);
        let device = self.device.zip(earlier.device);
        let threads: Vec<Thread> = self
            .threads
            .iter()
            // A thread that began within the window had done nothing before.
            .map(|(id, now)| now.since(earlier.threads.get(id).copied().unwrap_or_else(Thread::new)))
            .collect();
        let milliseconds = |ns: u64| ns as f64 / 1e6;
        Window {
            wall_ms: self.boot.since(earlier.boot).as_secs_f64() * 1e3,
            monotonic_ms: self.awake.since(earlier.awake).as_secs_f64() * 1e3,
            own_cpu_ms,
            foreign_cpu: device.and_then(|(now, then)| foreign_share(&now, &then, own_cpu_ms)),
            stolen_cpu: device.and_then(|(now, then)| now.stolen_share_since(&then)),
            involuntary_switches: sum(&threads, |thread| thread.involuntary),
            voluntary_switches: sum(&threads, |thread| thread.voluntary),
            run_queue_wait_ms: sum(&threads, |thread| thread.waited_ns).map(milliseconds),
            worst_wait_ms: threads.iter().filter_map(|thread| thread.waited_ns).max().map(milliseconds),
            busiest_thread_ms: threads.iter().filter_map(Thread::wanted_ns).max().map(milliseconds),
            foreign_allowed_ms: self.allowed.zip(earlier.allowed).map(|(now, then)| {
                let busy_ms = now.busy_ticks_since(&then) as f64 / TICKS_PER_SECOND * 1e3;
                (busy_ms - own_cpu_ms).max(0.0)
            }),
            major_faults: difference(self.major_faults, earlier.major_faults),
            unaccounted: None,
        }
    }

    /// CPU time of the engine's own process since an earlier moment, in ms.
    pub(super) fn engine_cpu_since(&self, earlier: &Self) -> Option<f64> {
        Some(self.engine_cpu_ms? - earlier.engine_cpu_ms?)
    }

    /// CPU time of programs that this process has started and waited for since an earlier moment, in ms.
    pub(super) fn programs_cpu_since(&self, earlier: &Self) -> f64 {
        self.started_cpu_ms - earlier.started_cpu_ms
    }

    /// How many threads of this process have computed since an earlier moment.
    pub(super) fn threads_since(&self, earlier: &Self) -> Reading<u16> {
        let new = Thread::new();
        let ran = self.threads.iter().map(|(id, now)| now.since(*earlier.threads.get(id).unwrap_or(&new)).ran_ns);
        let Some(ran) =
            ran.map(|ns| Some(ns? as f64 / 1e6)).collect::<Option<Vec<f64>>>().filter(|ran| !ran.is_empty())
        else {
            return Reading::absent(Code::ThreadsUntold.template());
        };
        computing(&ran, self.own_cpu_ms - earlier.own_cpu_ms).map_or_else(
            || Reading::absent(Code::ThreadsUncounted.template()),
            |threads| Reading::Present(u16::try_from(threads).unwrap_or(u16::MAX)),
        )
    }

    /// What happened while a program ran that this process started and waited for. The kernel tells its CPU time and
    /// nothing of its threads; its page faults are those of loading too.
    pub(super) fn of_program(&self, earlier: &Self) -> Window {
        let started_ms = self.programs_cpu_since(earlier);
        let with_program = Self { own_cpu_ms: self.own_cpu_ms + started_ms.max(0.0), ..self.clone() };
        Window {
            involuntary_switches: None,
            voluntary_switches: None,
            run_queue_wait_ms: None,
            worst_wait_ms: None,
            busiest_thread_ms: None,
            major_faults: None,
            ..with_program.since(earlier)
        }
    }
}

/// How many threads have computed, by their CPU times and that of the process, in ms. `None` when there is too little of it.
fn computing(ran: &[f64], process: f64) -> Option<usize> {
    let living: f64 = ran.iter().sum();
    let total = process.max(living);
    let ended = total - living;
    let count = ran.iter().filter(|&&ran| ran > COMPUTED * total).count();
    let some_ended = ended > COMPUTED_AND_ENDED * total && ended > TICK_MS * ran.len() as f64;
    (total >= COUNTABLE_MS).then_some(count + usize::from(some_ended))
}

/// Busy time of all CPUs less our own, as a share of all CPUs' time.
fn foreign_share(now: &CpuTimes, then: &CpuTimes, own_cpu_ms: f64) -> Option<f64> {
    let total = now.total.saturating_sub(then.total) as f64;
    let own = own_cpu_ms / 1e3 * TICKS_PER_SECOND / total;
    Some((now.busy_share_since(then)? - own).max(0.0))
}

/// `None` when no thread tells.
fn sum(threads: &[Thread], of: impl Fn(&Thread) -> Option<u64>) -> Option<u64> {
    threads.iter().filter_map(of).reduce(|one, other| one + other)
}

/// A file of a process, or of this one.
pub(crate) fn of_process(process: Option<u32>, name: &str) -> String {
    process.map_or_else(|| format!("/proc/self/{name}"), |process| format!("/proc/{process}/{name}"))
}

/// How long threads of another process and of this one have wanted a CPU and had none, from one moment on.
#[derive(Debug)]
pub(crate) struct Waits {
    process: u32,
    before: [BTreeMap<i32, u64>; 2],
}

impl Waits {
    /// From now on.
    pub(crate) fn begin(process: u32) -> Self {
        Self { process, before: Self::read(process) }
    }

    /// Of all threads together that still live; `None` where the kernel does not tell.
    pub(crate) fn over(&self) -> Option<Duration> {
        let now = Self::read(self.process);
        if now.iter().any(BTreeMap::is_empty) {
            return None;
        }
        let waited = now.iter().zip(&self.before).flat_map(|(now, before)| {
            now.iter().map(|(id, waited)| waited.saturating_sub(before.get(id).copied().unwrap_or_default()))
        });
        Some(Duration::from_nanos(waited.sum()))
    }

    /// Nanoseconds by thread.
    fn read(process: u32) -> [BTreeMap<i32, u64>; 2] {
        [Some(process), None].map(|process| {
            tasks(&of_process(process, "task")).filter_map(|(id, task)| Some((id, schedule(&task)[1]?))).collect()
        })
    }
}

fn threads(folder: &str) -> BTreeMap<i32, Thread> {
    tasks(folder).map(|(id, task)| (id, Thread::read(&task))).collect()
}

/// The folders of a process's threads.
fn tasks(folder: &str) -> impl Iterator<Item = (i32, PathBuf)> {
    let tasks = std::fs::read_dir(folder).into_iter().flatten().flatten();
    tasks.filter_map(|task| Some((task.file_name().to_str()?.parse().ok()?, task.path())))
}

/// Time of a thread on a CPU and time waiting for one, in ns (Documentation/scheduler/sched-stats.rst).
fn schedule(task: &Path) -> [Option<u64>; 2] {
    let text = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let mut fields = text.split_whitespace().map(|text| text.parse().ok());
    [fields.next().flatten(), fields.next().flatten()]
}

impl Thread {
    /// One that has only begun.
    const fn new() -> Self {
        Self { involuntary: Some(0), voluntary: Some(0), ran_ns: Some(0), waited_ns: Some(0) }
    }

    fn read(task: &Path) -> Self {
        let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let [ran_ns, waited_ns] = schedule(task);
        Self {
            involuntary: field(&status, "nonvoluntary_ctxt_switches:"),
            voluntary: field(&status, "voluntary_ctxt_switches:"),
            ran_ns,
            waited_ns,
        }
    }

    fn since(&self, earlier: Self) -> Self {
        Self {
            involuntary: difference(self.involuntary, earlier.involuntary),
            voluntary: difference(self.voluntary, earlier.voluntary),
            ran_ns: difference(self.ran_ns, earlier.ran_ns),
            waited_ns: difference(self.waited_ns, earlier.waited_ns),
        }
    }

    /// Time that it ran or would have.
    fn wanted_ns(&self) -> Option<u64> {
        Some(self.ran_ns? + self.waited_ns?)
    }
}

/// Of `/proc/PID/stat`; the second field is a name in brackets that may hold anything.
struct Ticks {
    /// Field 12.
    major_faults: u64,
    /// Fields 14 and 15, in whole ticks.
    cpu_ms: f64,
    /// Fields 16 and 17, of processes that it started and waited for.
    started_ms: f64,
}

impl Ticks {
    fn of(process: Option<u32>) -> Option<Self> {
        let stat = read(&of_process(process, "stat"))?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ms = |ticks: u64| ticks as f64 / TICKS_PER_SECOND * 1e3;
        let (cpu_ms, started_ms) = (ms(field(14)? + field(15)?), ms(field(16)? + field(17)?));
        Some(Self { major_faults: field(12)?, cpu_ms, started_ms })
    }
}

/// A number after a name in `/proc/self/status`, `/proc/self/io` and the like.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

pub(crate) fn read(path: &str) -> Option<String> {
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
    fn a_thread_counts_that_had_its_part_of_the_time_living_or_ended() {
        assert_eq!(computing(&[1000.0, 0.0, 3.0], 1003.0), Some(1), "one that only looks after something");
        assert_eq!(computing(&[1000.0, 40.0], 1040.0), Some(2), "a little core, or one that mostly waits");
        assert_eq!(computing(&[50.0; 16], 800.0), Some(16));
        assert_eq!(computing(&[600.0], 1000.0), Some(2), "threads that a call has started and ended");
        assert_eq!(computing(&[100.0, 85.0], 205.0), Some(2), "what has not been counted yet is no thread");
        assert_eq!(computing(&[40.0, 30.0], 70.0), None, "too short");
    }

    #[test]
    fn a_window_of_this_process_has_its_own_time_in_it() {
        let before = Snapshot::take(Some(&[0]), None);
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < 30 {
            std::hint::spin_loop();
        }
        let window = Snapshot::take(Some(&[0]), None).since(&before);
        assert!(window.wall_ms >= 30.0 && window.own_cpu_ms > 0.0, "{window:?}");
        assert!(window.voluntary_switches.is_some() && window.major_faults.is_some(), "{window:?}");
        assert!(window.foreign_allowed_ms.is_some(), "{window:?}");
        // Of all threads together no less than of one, and of the busiest no less than it ran.
        assert!(window.run_queue_wait_ms >= window.worst_wait_ms && window.busiest_thread_ms > Some(1.0), "{window:?}");
    }

    #[test]
    fn a_window_of_an_engine_in_another_process_has_that_ones_time_in_it() {
        let mut engine = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let take = || Snapshot::take(Some(&[0]), Some(engine.id()));
        let before = take();
        let begun = std::time::Instant::now();
        let window = loop {
            let window = take().since(&before);
            if window.busiest_thread_ms > Some(50.0) || begun.elapsed().as_secs() > 20 {
                break window;
            }
            std::thread::yield_now();
        };
        engine.kill().unwrap();
        engine.wait().unwrap();
        assert!(window.busiest_thread_ms > Some(50.0) && window.own_cpu_ms > 0.0, "{window:?}");
        assert!(window.major_faults.is_some() && window.involuntary_switches.is_some(), "{window:?}");
    }

    #[test]
    fn waits_are_those_of_a_process_and_of_this_one_and_none_of_one_that_is_not_there() {
        let waits = Waits::begin(std::process::id());
        let told = std::path::Path::new("/proc/self/task").exists() && read("/proc/self/schedstat").is_some();
        assert_eq!(waits.over().is_some(), told);
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        assert_eq!(Waits::begin(gone.id()).over(), None, "nothing is known of what has ended");
    }
}
