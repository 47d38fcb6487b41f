//! What this device tells of the end of the agent before this one, where that has lost attempts.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use seatrial_core::failure::{Death, MAX_DEATH_OUTPUT, MAX_DEATH_SYSTEM, exit_of};
use seatrial_core::job::AttemptRef;

use crate::folder::Folder;
use crate::probe::Probe;
use crate::wire::Boots;

/// Logs of the system are looked at no further back, however long the attempt had run or its agent was away.
const LONGEST: Duration = Duration::from_hours(2);

/// What whoever starts this agent has seen of the one before.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// Its exit status, as a shell tells it.
    pub exit: Option<u8>,
    /// The file in which it logged.
    pub log: Option<PathBuf>,
}

/// Notes the number of this process, and gives that of the one before. Without it the system's logs are looked at for
/// names alone.
pub(crate) fn swap_pid(folder: &Folder) -> Option<u32> {
    let path = folder.path().join("pid");
    let before = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    if let Err(error) = fs::write(&path, std::process::id().to_string()) {
        tracing::warn!(%error, "the number of this process cannot be noted");
    }
    before
}

/// `None` where nothing was lost.
pub(crate) fn of_earlier(
    folder: &Folder,
    probe: &Probe,
    lost: &[AttemptRef],
    pid: Option<u32>,
    earlier: &Earlier,
    boots: &Boots,
) -> Option<Death> {
    if lost.is_empty() {
        return None;
    }
    // One that began last is the one that ran: of others nothing but the mark was left.
    let ages = lost.iter().filter_map(|&attempt| folder.begun_at(attempt)?.elapsed().ok());
    let age = ages.min().unwrap_or(LONGEST).min(LONGEST);
    let mut system = probe.system_log(age);
    if !boots.before.is_empty() && boots.before != boots.now {
        system.push_str(&probe.boot_reason());
    }
    Some(Death {
        pid,
        exit: earlier.exit.map(exit_of),
        output: earlier.log.as_deref().map(end_of).unwrap_or_default(),
        system: tail(&system, MAX_DEATH_SYSTEM).to_owned(),
        boot_before: None,
        boot_after: None,
    })
}

/// The last lines of a log; empty where it cannot be read.
fn end_of(log: &Path) -> String {
    let read = || {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_DEATH_OUTPUT as u64)))?;
        let mut bytes = Vec::new();
        file.take(MAX_DEATH_OUTPUT as u64).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read() {
        // A character that was cut takes more room as its replacement.
        Ok(bytes) => tail(&String::from_utf8_lossy(&bytes), MAX_DEATH_OUTPUT).to_owned(),
        Err(error) => {
            tracing::debug!(%error, "what the agent before this one logged is not known");
            String::new()
        }
    }
}

fn tail(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}

#[cfg(test)]
mod tests {
    use seatrial_core::failure::{Class, Rules, classify};
    use seatrial_core::ids::JobId;
    use seatrial_core::outcome::Exit;
    use seatrial_core::time::Timestamp;

    use super::*;
    use crate::probe::tool::tests::tool;

    fn attempt() -> AttemptRef {
        AttemptRef { job: JobId::new(Timestamp::from_micros(1), [3; 10]), attempt: 1 }
    }

    /// An agent's folder with an attempt that was begun, and the root of its device.
    fn device() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(&home.path().join("agent")).unwrap();
        folder.begin(attempt()).unwrap();
        (home, folder)
    }

    fn class(death: &Death) -> Class {
        classify(&death.evidence("the agent was killed"), Rules::shipped().unwrap()).unwrap().class
    }

    #[test]
    fn an_agent_that_lost_nothing_has_nothing_to_tell_and_each_knows_the_one_before() {
        let (home, folder) = device();
        let probe = Probe::new(home.path());
        assert_eq!(of_earlier(&folder, &probe, &[], Some(7), &Earlier::default(), &Boots::default()), None);
        assert_eq!(swap_pid(&folder), None);
        assert_eq!(swap_pid(&folder), Some(std::process::id()));
    }

    #[test]
    fn what_the_system_logged_since_the_attempt_began_names_who_killed_its_agent() {
        let (home, folder) = device();
        tool(home.path(), "logcat", "echo '1 2 D OplusHansManager: kill pid 15188 uid 2000 reason: night clean'");
        let probe = Probe::new(home.path());
        let earlier = Earlier { exit: Some(137), log: None };
        let told = of_earlier(&folder, &probe, &[attempt()], Some(15188), &earlier, &Boots::default()).unwrap();
        assert_eq!((told.exit, class(&told)), (Some(Exit::Signal(9)), Class::KilledByRom));
        let another = of_earlier(&folder, &probe, &[attempt()], Some(15), &earlier, &Boots::default()).unwrap();
        assert_eq!(class(&another), Class::AgentKilled, "the control: another process was killed");
    }

    #[test]
    fn an_agent_that_gave_up_says_so_in_the_end_of_its_log() {
        let (home, folder) = device();
        let log = home.path().join("agent.log.1");
        let panicked = "thread 'main' (7) panicked at agent/src/run.rs:1:2:\nindex out of bounds\n";
        std::fs::write(&log, format!("{}\n{panicked}", "é".repeat(MAX_DEATH_OUTPUT))).unwrap();
        let earlier = Earlier { exit: Some(101), log: Some(log) };
        let probe = Probe::new(home.path());
        let told = of_earlier(&folder, &probe, &[attempt()], None, &earlier, &Boots::default()).unwrap();
        assert!(told.output.len() <= MAX_DEATH_OUTPUT && told.output.ends_with(panicked));
        assert_eq!((told.exit, class(&told)), (Some(Exit::Code(101)), Class::HarnessFault));
        let gone = Earlier { log: Some(home.path().join("none")), ..earlier };
        let told = of_earlier(&folder, &probe, &[attempt()], None, &gone, &Boots::default()).unwrap();
        assert_eq!(told.output, "");
    }

    #[test]
    fn the_reason_of_a_boot_is_told_after_a_reboot_alone() {
        let (home, folder) = device();
        tool(home.path(), "getprop", "[ \"$1\" = sys.boot.reason ] && echo kernel_panic,oops");
        let probe = Probe::new(home.path());
        let told = |before: &str| {
            let boots = Boots { now: "b".to_owned(), before: before.to_owned() };
            of_earlier(&folder, &probe, &[attempt()], None, &Earlier::default(), &boots).unwrap().system
        };
        assert_eq!(told("a"), "--- boot ---\n[sys.boot.reason]: [kernel_panic,oops]\n");
        assert_eq!(told("b"), "", "the boot of long ago says nothing of this end");
    }
}
