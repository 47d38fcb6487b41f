//! What is run in a phone's shell: these texts and no others, with the phone's folder and words of this process in them.

use seatrial_adb::{LifeState, quote};

/// By which every lab host finds the agent of a phone.
pub(super) const NAME: &str = "agent";

/// Tells what [`super::found::Found`] reads. Standard error is closed, not sent to /dev/null: a redirection that fails would
/// skip the command.
pub(super) fn identify(folder: &str) -> String {
    let folder = quote(folder);
    format!(
        "mkdir -p {folder} && chmod 700 {folder} || exit 1\n\
         echo boot $(cat /proc/sys/kernel/random/boot_id)\n\
         case $(command -v getprop) in ?*)\n\
         echo completed $(getprop sys.boot_completed)\n\
         echo abis $(getprop ro.product.cpu.abilist)\n\
         echo serial $(getprop ro.serialno);; esac\n\
         echo machine $(uname -m)\n\
         for f in /system/bin/linker /system/bin/linker64 /lib/ld-linux* /lib64/ld-linux* /lib/ld-musl-*; do\n\
         [ ! -e $f ] || echo loader $f; done\n\
         [ ! -s {folder}/agent/token ] || echo enrolled\n\
         echo port $(cat {folder}/port 2>&-)\n\
         echo program $(cat {folder}/program 2>&-)"
    )
}

/// The id that the server gave the agent there, after what comes before it.
pub(super) fn device(folder: &str) -> String {
    format!("echo device $(cat {}/agent/device 2>&-)", quote(folder))
}

/// Notes what is begun, before it is, and removes agents that it is not.
pub(super) fn note(folder: &str, port: u16, program: &str, keep: &str) -> String {
    let folder = quote(folder);
    format!(
        "printf %s {port} > {folder}/port && printf %s {program} > {folder}/program || exit 1\n\
         for f in {folder}/bin/*; do [ \"$f\" = {keep} ] || rm -f \"$f\"; done",
        program = quote(program),
        keep = quote(keep),
    )
}

/// Tells the agent that is begun what is known of the one before: its exit status, and where its log is by then.
pub(super) fn earlier(folder: &str, state: LifeState) -> String {
    let log = quote(&format!("{folder}/{NAME}.log.1"));
    match state {
        LifeState::Ended(Some(status)) => format!("export SEATRIAL_EARLIER_EXIT={status} SEATRIAL_EARLIER_LOG={log}"),
        LifeState::Ended(None) => format!("export SEATRIAL_EARLIER_LOG={log}"),
        LifeState::Alive => String::new(),
    }
}

/// Keeps the screen on while there is power, once, with what was set before; nothing where there is no such setting.
pub(super) fn keep_awake(folder: &str) -> String {
    let was = format!("{}/awake.was", quote(folder));
    format!(
        "case $(command -v settings) in ?*) ;; *) exit 0;; esac\n\
         [ -s {was} ] || settings get global stay_on_while_plugged_in > {was} || exit 1\n\
         settings put global stay_on_while_plugged_in 15"
    )
}

/// Sets what was set before.
pub(super) fn restore_awake(folder: &str) -> String {
    let was = format!("{}/awake.was", quote(folder));
    format!(
        "[ -s {was} ] || exit 0\n\
         w=$(cat {was}); case $w in ''|*[!0-9]*) settings delete global stay_on_while_plugged_in;; \
         *) settings put global stay_on_while_plugged_in $w;; esac && rm -f {was}"
    )
}

/// What a phone tells of the last minutes, in parts of bounded length; each that it does not have says so.
pub(super) fn evidence(folder: &str) -> String {
    let base = format!("{}/{NAME}", quote(folder));
    format!(
        "part() {{ echo \"== $1\"; shift; \"$@\" 2>&1 | tail -c 40000; }}\n\
         part 'exit status' cat {base}.exit\n\
         part 'uptime' cat /proc/uptime\n\
         part 'log of the agent' cat {base}.log\n\
         case $(command -v getprop) in ?*) part 'reason of the boot' getprop sys.boot.reason;; esac\n\
         case $(command -v logcat) in ?*) part 'logcat' logcat -d -v threadtime -t 800 -b crash,main,system,kernel;; esac\n\
         case $(command -v dumpsys) in ?*) part 'tombstones' dumpsys dropbox --print SYSTEM_TOMBSTONE;; esac\n\
         part 'dmesg' dmesg"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Android's program for settings, as far as these scripts use it.
    const SETTINGS: &str = r#"#!/bin/sh
f=${0%/*}/stored
case $1 in
get) if [ -f "$f" ]; then cat "$f"; else echo null; fi;;
put) echo "$4" > "$f";;
delete) rm -f "$f";;
esac
"#;

    fn run(folder: &Path, script: &str) -> bool {
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        Command::new("sh").args(["-c", script]).env("PATH", path).status().unwrap().success()
    }

    #[test]
    fn a_phone_is_kept_awake_once_and_set_back_to_what_it_was() {
        for before in [Some("3"), Some("0"), None] {
            let home = tempfile::tempdir().unwrap();
            let folder = home.path().to_str().unwrap();
            let program = home.path().join("settings");
            std::fs::write(&program, SETTINGS).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let stored = || std::fs::read_to_string(home.path().join("stored")).ok();
            if let Some(before) = before {
                std::fs::write(home.path().join("stored"), format!("{before}\n")).unwrap();
            }
            let was = stored();
            // The second time finds its own setting, which is not what was before.
            for _ in 0..2 {
                assert!(run(home.path(), &keep_awake(folder)));
                assert_eq!(stored().as_deref(), Some("15\n"));
            }
            assert!(run(home.path(), &restore_awake(folder)));
            assert_eq!(stored(), was);
            assert!(run(home.path(), &restore_awake(folder)), "there is nothing to set back any more");
            assert_eq!(stored(), was);
        }
    }

    #[test]
    fn what_has_no_such_setting_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().to_str().unwrap();
        assert!(run(home.path(), &keep_awake(folder)) && run(home.path(), &restore_awake(folder)));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
