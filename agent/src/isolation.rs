//! Processes that must not outlive their attempt: marks in the environment, the subreaper, and the sweep.
//!
//! Killing a process group does not reach a child that called setsid. Two things do: it keeps the environment that it
//! was started with, and, once its own parent is gone, it becomes a child of the nearest subreaper, which is us.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use crate::clock;

/// Names the attempt that a process belongs to: `job:attempt`.
pub const ATTEMPT_VARIABLE: &str = "SEATRIAL_ATTEMPT";
/// Names the folder of the agent that started a process.
pub const AGENT_VARIABLE: &str = "SEATRIAL_AGENT";

/// What every process of an attempt carries in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub attempt: String,
    /// The agent's folder, or the attempt's own where there is no agent.
    pub agent: PathBuf,
}

/// Makes this process the parent of what its children leave behind.
pub fn become_subreaper() -> std::io::Result<()> {
    set_child_subreaper(Some(getpid())).map_err(Into::into)
}

/// Children of this process now; those that appear later and are not its own doing are orphans.
pub fn children() -> BTreeSet<i32> {
    let me = getpid().as_raw_nonzero().get();
    processes().filter(|&pid| parent_of(pid) == Some(me)).collect()
}

/// Kills and reaps every process of an attempt, and every child of this process that `known` does not hold and no
/// other attempt has marked. Returns how many there were; `Err` with those that did not go within `patience`.
pub fn sweep_attempt(mark: &Mark, known: &BTreeSet<i32>, patience: Duration) -> Result<usize, Vec<i32>> {
    let attempt = variable(ATTEMPT_VARIABLE, OsStr::new(&mark.attempt));
    let agent = variable(AGENT_VARIABLE, mark.agent.as_os_str());
    let me = getpid().as_raw_nonzero().get();
    sweep(patience, |pid| {
        let environment = environment_of(pid);
        if environment.contains(&attempt) && environment.contains(&agent) {
            return true;
        }
        let marked = environment.iter().any(|entry| entry.starts_with(AGENT_VARIABLE.as_bytes()));
        !marked && !known.contains(&pid) && parent_of(pid) == Some(me)
    })
}

/// Kills what an earlier process of the agent in this folder has left running.
pub fn sweep_agent(folder: &Path, patience: Duration) -> Result<usize, Vec<i32>> {
    let variable = variable(AGENT_VARIABLE, folder.as_os_str());
    sweep(patience, |pid| environment_of(pid).contains(&variable))
}

/// A process can fork faster than one pass over /proc, so passes go on until one finds nothing.
fn sweep(patience: Duration, is_ours: impl Fn(i32) -> bool) -> Result<usize, Vec<i32>> {
    let me = getpid().as_raw_nonzero().get();
    let begun = clock::boot();
    let mut killed = BTreeSet::new();
    loop {
        let found: Vec<i32> = processes().filter(|&pid| pid != me && is_ours(pid)).collect();
        if found.is_empty() {
            return Ok(killed.len());
        }
        for &raw in &found {
            let Some(pid) = Pid::from_raw(raw) else { continue };
            killed.insert(raw);
            // Either call fails when the process is already gone, which is what is wanted.
            kill(pid);
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        if clock::boot().since(begun) > patience {
            return Err(found);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The fault point stands for a process that hangs in the kernel: it is sent the signal and does not die of it.
fn kill(pid: Pid) {
    fail::fail_point!("sweep-kill", |_| ());
    let _ = kill_process(pid, Signal::KILL);
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Field 4 of `/proc/PID/stat`; the second is a name in brackets that may hold anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn variable(name: &str, value: &OsStr) -> Vec<u8> {
    [name.as_bytes(), b"=", value.as_bytes()].concat()
}

/// As it was when the process was started; empty for one that may not be asked, or is gone.
fn environment_of(pid: i32) -> Vec<Vec<u8>> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn sleeper(mark: &Mark) -> std::process::Child {
        Command::new("sleep")
            .arg("60")
            .env(ATTEMPT_VARIABLE, &mark.attempt)
            .env(AGENT_VARIABLE, &mark.agent)
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_process_that_carries_the_mark_is_killed_and_another_is_left() {
        let mine = Mark { attempt: "job:1".into(), agent: "/nowhere/mine".into() };
        let other = Mark { attempt: "job:1".into(), agent: "/nowhere/other".into() };
        let mut victim = sleeper(&mine);
        let mut bystander = sleeper(&other);
        let known = children();
        assert!(sweep_attempt(&mine, &known, Duration::from_secs(5)).is_ok_and(|count| count >= 1));
        assert!(victim.try_wait().map_or(true, |status| status.is_some()), "the victim is gone");
        assert!(bystander.try_wait().unwrap().is_none(), "the bystander runs");
        assert_eq!(sweep_agent(&other.agent, Duration::from_secs(5)), Ok(1));
        assert!(bystander.try_wait().map_or(true, |status| status.is_some()));
    }

    #[test]
    fn a_grandchild_in_a_session_of_its_own_is_adopted_and_ended() {
        become_subreaper().unwrap();
        let known = children();
        // The shell ends at once; what it leaves has no mark and its own session.
        let mut shell = Command::new("sh").args(["-c", "setsid sleep 60 & exit 0"]).spawn().unwrap();
        shell.wait().unwrap();
        let mark = Mark { attempt: "job:2".into(), agent: "/nowhere/none".into() };
        let swept = sweep_attempt(&mark, &known, Duration::from_secs(5));
        assert!(swept.is_ok_and(|count| count >= 1));
        assert!(children().is_subset(&known));
    }
}
