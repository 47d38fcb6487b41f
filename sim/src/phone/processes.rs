//! The processes of a phone, from outside of its world.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// One process, by its number on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub name: String,
}

/// The first process of the world that `unshare` has made, and the parent there of all that lost theirs.
pub fn init_of(unshare: u32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Every process of the world but its first.
pub fn members(init: i32) -> Vec<Process> {
    let Some(world) = namespace(init) else { return Vec::new() };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| pid != init && namespace(pid).as_ref() == Some(&world))
        .filter_map(|pid| {
            let (name, fields) = stat(Path::new(&format!("/proc/{pid}/stat")))?;
            Some(Process { pid, parent: fields.split_whitespace().nth(1)?.parse().ok()?, name })
        })
        .collect()
}

/// Those that neither the daemon nor a command of it holds: what was started to stay.
pub fn detached(init: i32) -> Vec<Process> {
    let members = members(init);
    let parents: BTreeMap<i32, i32> = members.iter().map(|process| (process.pid, process.parent)).collect();
    let daemon = members.iter().find(|process| process.parent == init && process.name == "adbd").map(|found| found.pid);
    let is_held = |process: &Process| {
        let line = std::iter::successors(Some(process.pid), |pid| parents.get(pid).copied());
        line.take(members.len() + 1).any(|pid| Some(pid) == daemon)
    };
    members.iter().filter(|process| !is_held(process)).cloned().collect()
}

pub fn signal(processes: &[Process], signal: Signal) {
    for process in processes {
        // One that has ended meanwhile needs none.
        let _ = Pid::from_raw(process.pid).map(|pid| kill_process(pid, signal));
    }
}

/// CPU time that the processes of a world have taken, those included that have ended and were waited for.
pub fn cpu_time(init: i32) -> Duration {
    let entries = std::fs::read_dir(format!("/proc/{init}/root/proc")).into_iter().flatten().flatten();
    let processes = entries.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let ticks: u64 = processes.filter_map(|entry| cpu_ticks(&entry.path())).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// utime, stime, cutime and cstime: fields 14 to 17 of `proc_pid_stat(5)`.
fn cpu_ticks(process: &Path) -> Option<u64> {
    let (_, fields) = stat(&process.join("stat"))?;
    fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().ok()).sum()
}

/// Name of a process, and the fields from the third on.
fn stat(path: &Path) -> Option<(String, String)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (head, fields) = text.rsplit_once(") ")?;
    Some((head.split_once('(')?.1.to_owned(), fields.to_owned()))
}

fn namespace(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}
