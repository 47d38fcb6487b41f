//! Processes of a command that outlive its link: how they are found again and killed.
//!
//! When the link goes, the daemon on the device ends the shell at most, never its children. So a command leaves a mark in
//! its environment and the number of its process group in a file, and both are looked for over a new connection.

use std::time::Duration;

use rand::random;

use crate::quote::quote;

/// In the environment of every process of a command.
const VARIABLE: &str = "SEATRIAL_LINK";
/// The mark of a process that the script itself begins, to see that it can see any.
const PROBE: &str = "probe";
/// Of seconds, in tenths, that something may take to be seen or to be gone.
const PATIENCE: u32 = 30;

/// One start of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    mark: String,
    folder: String,
}

impl Group {
    /// A mark of its own, and a file for the group's number in a folder of the device that is there.
    #[must_use]
    pub fn new(folder: impl Into<String>) -> Self {
        Self { mark: format!("{:032x}", random::<u128>()), folder: folder.into() }
    }

    /// Of this name, so that who comes later finds what an earlier one began. One of a name runs at a time.
    #[must_use]
    pub fn named(name: &str, folder: impl Into<String>) -> Self {
        Self { mark: name.to_owned(), folder: folder.into() }
    }

    /// Where the number of the group is written.
    #[must_use]
    pub fn pid_file(&self) -> String {
        format!("{}/{}.pid", self.folder, self.mark)
    }

    /// The command, begun so that it can be found. Each command of adb has a session, and so a group, of its own. The shell
    /// becomes another, since the kernel shows the environment that a process was begun with.
    pub(crate) fn wrap(&self, command: &str) -> String {
        let (file, command) = (quote(&self.pid_file()), quote(command));
        format!("echo $$ > {file} || exit 125; export {VARIABLE}={}; exec sh -c {command}", quote(&self.mark))
    }

    /// Begins a program that outlives every link: in a session of its own, with this much time where the device has
    /// `timeout`, its output in `NAME.log` (that of the one before in `NAME.log.1`). The script ends once it runs. `after` is
    /// what the device does when the program has ended, whoever is there by then.
    #[must_use]
    pub fn start_script(&self, program: &str, limit: Duration, after: &str) -> String {
        let (mark, seconds) = (quote(&self.mark), limit.as_secs());
        let inner = quote(&format!("echo $$ > \"$SEATRIAL_LINK_BASE.program\"; exec {program}"));
        let outer = quote(&format!(
            "trap '' HUP; echo $$ > \"$SEATRIAL_LINK_BASE.pid\" || exit 125; $SEATRIAL_LINK_LIMIT sh -c {inner}; \
             echo $? > \"$SEATRIAL_LINK_BASE.exit\"\n{after}"
        ));
        format!(
            r#"SEATRIAL_LINK_BASE={folder}/{mark}; export SEATRIAL_LINK_BASE
rm -f "$SEATRIAL_LINK_BASE.pid" "$SEATRIAL_LINK_BASE.program" "$SEATRIAL_LINK_BASE.exit" || exit 1
[ ! -f "$SEATRIAL_LINK_BASE.log" ] || mv -f "$SEATRIAL_LINK_BASE.log" "$SEATRIAL_LINK_BASE.log.1" || exit 1
case $(command -v timeout) in ?*) SEATRIAL_LINK_LIMIT='timeout -s TERM {seconds}';; *) SEATRIAL_LINK_LIMIT=;; esac
case $(command -v setsid) in ?*) s=setsid;; *) s=;; esac
export SEATRIAL_LINK_LIMIT
{VARIABLE}={mark} $s sh -c {outer} < /dev/null > "$SEATRIAL_LINK_BASE.log" 2>&1 &
i=0
until [ -s "$SEATRIAL_LINK_BASE.program" ] || [ -s "$SEATRIAL_LINK_BASE.exit" ]; do
  i=$((i+1)); [ $i -le {PATIENCE} ] || {{ echo "it has not begun" >&2; exit 1; }}
  sleep 0.1 2>&- || sleep 1
done"#,
            folder = quote(&self.folder),
        )
    }

    /// Tells the device's boot, and whether the program that [`Group::start_script`] began lives: see [`Life`].
    #[must_use]
    pub fn look_script(&self) -> String {
        let (base, mark) = (quote(&format!("{}/{}", self.folder, self.mark)), quote(&self.mark));
        format!(
            "cat /proc/sys/kernel/random/boot_id || exit 1\n\
             p=$(cat {base}.pid 2>&-); case $p in ''|*[!0-9]*) p=0;; esac\n\
             if grep -qsF {VARIABLE}={mark} /proc/$p/environ; then echo alive; else echo ended $(cat {base}.exit 2>&-); fi"
        )
    }

    /// Asks the program to end, and waits for nothing.
    #[must_use]
    pub fn stop_script(&self) -> String {
        let (base, mark) = (quote(&format!("{}/{}", self.folder, self.mark)), quote(&self.mark));
        format!(
            "p=$(cat {base}.program 2>&-); case $p in ''|*[!0-9]*) exit 0;; esac\n\
             if grep -qsF {VARIABLE}={mark} /proc/$p/environ; then kill -TERM $p; fi"
        )
    }

    /// Kills what carries the mark, and the group, until no process of it is found; removes the file.
    ///
    /// Where it cannot see the environment of a process of its own, it says so: nobody must believe then that nothing is
    /// there. Numbers are used again: the group is killed by its number only while its leader carries the mark, or is
    /// gone, since a number is not given out again while a group has it. A dead process that nobody has waited for has no
    /// environment. Standard error is closed, not sent to /dev/null: a redirection that fails would skip the command.
    pub(crate) fn kill_script(&self) -> String {
        let (file, mark) = (quote(&self.pid_file()), quote(&self.mark));
        format!(
            r#"f={file}; m={VARIABLE}={mark}
marked() {{ grep -lsF "$1" /proc/[0-9]*/environ; }}
wait_a_little() {{ i=$((i+1)); [ $i -le {PATIENCE} ] && {{ sleep 0.1 2>&- || sleep 1; }}; }}
{VARIABLE}={PROBE} sleep 9 & b=$!; i=0
until marked {VARIABLE}={PROBE} | grep -qF "/$b/"; do
  wait_a_little || {{ kill $b; echo "environments of processes cannot be read here" >&2; exit 1; }}
done
kill $b
g=$(cat "$f" 2>&-); case $g in ''|*[!0-9]*) g=;; esac
i=0
while :; do
  n=
  for e in $(marked "$m"); do
    p=${{e#/proc/}}; p=${{p%/environ}}; n="$n $p"
    kill -9 -"$p" 2>&- || kill -9 "$p" 2>&-
  done
  if [ -n "$g" ] && [ ! -d "/proc/$g" ]; then kill -9 -"$g" 2>&- && n="$n $g"; fi
  if [ -z "$n" ]; then rm -f "$f"; exit 0; fi
  wait_a_little || {{ echo "still there:$n" >&2; exit 1; }}
done"#
        )
    }
}

/// What [`Group::look_script`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Of the device: another one says that it has restarted.
    pub boot_id: String,
    pub state: LifeState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeState {
    Alive,
    /// With its exit status, as a shell tells it; none where it was killed with its shell, or the device restarted.
    Ended(Option<u8>),
}

impl Life {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let boot_id = lines.next().map(str::trim).filter(|id| !id.is_empty())?.to_owned();
        let state = match lines.next()?.trim() {
            "alive" => LifeState::Alive,
            ended => match ended.strip_prefix("ended")?.trim() {
                "" => LifeState::Ended(None),
                status => LifeState::Ended(Some(status.parse().ok()?)),
            },
        };
        Some(Self { boot_id, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_read_as_it_was_told_and_anything_else_is_none() {
        let of = |text| Life::parse(text).map(|life| (life.boot_id, life.state));
        assert_eq!(of("b-1\nalive\n"), Some(("b-1".to_owned(), LifeState::Alive)));
        assert_eq!(of("b-1\r\nended 137\r\n"), Some(("b-1".to_owned(), LifeState::Ended(Some(137)))));
        assert_eq!(of("b-1\nended\n"), Some(("b-1".to_owned(), LifeState::Ended(None))));
        for text in ["", "b-1", "\nalive", "b-1\nended well", "b-1\nalived", "alive"] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }
}
