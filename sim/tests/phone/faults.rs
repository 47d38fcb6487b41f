//! Each fault shows as it would on a phone, and ends when it is mended.

use std::process::Stdio;
use std::time::Duration;

use seatrial_sim::phone::Fault;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::time::{Instant, timeout};

use super::lab::{Connected, Lab, PATIENCE, until};
use super::skipped::unless_missing;

/// Shorter than any patience, longer than an answer takes.
const A_WHILE: Duration = Duration::from_secs(2);

/// Whether a command gets no answer for a while.
async fn hangs(phone: &Connected<'_>) -> bool {
    let mut command = phone.command(&["shell", "echo answer"]);
    timeout(A_WHILE, command.stdin(Stdio::null()).output()).await.is_err()
}

async fn recovers(phone: &Connected<'_>) {
    phone.phone.mend().await.unwrap();
    phone.connect().await;
    assert_eq!(phone.shell("echo well").await, "well");
}

#[tokio::test]
async fn a_reboot_ends_everything_and_brings_another_boot_id() {
    let Some(lab) = unless_missing("a_reboot_ends_everything_and_brings_another_boot_id", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    let boot_id = "cat /proc/sys/kernel/random/boot_id";
    let first = phone.shell(boot_id).await;
    assert_eq!(phone.shell(boot_id).await, first, "the control: without a reboot it stays");
    phone.shell("echo kept > /data/local/tmp/kept; settings put global kept 1").await;
    phone.detach("exec sleep 987654").await;
    phone.adb(&["reboot"]).await;
    until("another boot", async || {
        phone.connect().await;
        let found = phone.adb(&["shell", boot_id]).await;
        found.code == Some(0) && found.out.trim() != first
    })
    .await;
    assert_eq!(phone.adb(&["shell", "pgrep -f '^sleep 987654'"]).await.code, Some(1));
    assert_eq!(phone.shell("cat /data/local/tmp/kept; settings get global kept").await, "kept\n1");
    assert_eq!(phone.shell("getprop sys.boot.reason").await, "reboot,shell");

    // In the middle of a job, and by somebody else's hand.
    let second = phone.shell(boot_id).await;
    let mut job = phone.command(&["shell", "echo begun; sleep 1000; echo end"]);
    let mut job = job.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 6];
    let mut stdout = job.stdout.take().unwrap();
    stdout.read_exact(&mut said).await.unwrap();
    phone.phone.inflict(Fault::Reboot).await.unwrap();
    // Debian 12's adb itself ends with 0 here: that the command did not say how it ended is all that tells.
    let mut rest = String::new();
    timeout(PATIENCE, stdout.read_to_string(&mut rest)).await.expect("the job ends with its phone").unwrap();
    assert_eq!((&said, rest.as_str()), (b"begun\n", ""));
    phone.connect().await;
    assert_ne!(phone.shell(boot_id).await, second);
}

#[tokio::test]
async fn in_the_dark_the_link_is_gone_and_what_runs_runs_on() {
    let Some(lab) = unless_missing("in_the_dark_the_link_is_gone_and_what_runs_runs_on", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    phone.detach("while :; do echo . >> count; sleep 0.02; done").await;
    let pid = phone.shell("cat /data/local/tmp/pid").await;
    phone.phone.inflict(Fault::Dark).await.unwrap();
    until("the server has lost it", async || lab.state(&phone.name).await.as_deref() != Some("device")).await;
    assert!(lab.adb(["connect", &phone.name]).await.out.contains("failed"), "nobody listens");
    let count = phone.place("data/local/tmp/count");
    let length = || std::fs::metadata(&count).map_or(0, |found| found.len());
    let before = length();
    until("it goes on counting", async || length() > before + 10).await;
    recovers(&phone).await;
    assert_eq!(phone.shell("cat /data/local/tmp/pid").await, pid);
    assert_eq!(phone.shell(&format!("kill -0 {pid}; echo $?")).await, "0", "the same process, all the time");
}

#[tokio::test]
async fn a_client_that_goes_takes_its_shell_and_nothing_else() {
    let Some(lab) = unless_missing("a_client_that_goes_takes_its_shell_and_nothing_else", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    let pids = phone.place("data/local/tmp/pids");
    let line = "sleep 876543 & echo $$ $! > /data/local/tmp/pids; wait";
    let client = phone.command(&["shell", line]).stdin(Stdio::null()).spawn().unwrap();
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    until("the shell has said who it is", async || read().ends_with('\n')).await;
    let pids = read();
    let (shell, child) = pids.trim().split_once(' ').unwrap();
    drop(client);
    until("the shell is hung up on", async || {
        phone.shell(&format!("kill -0 {shell} 2>&1; echo $?")).await.ends_with('1')
    })
    .await;
    assert_eq!(phone.shell(&format!("kill -0 {child}; echo $?")).await, "0", "its child lives on");
    phone.phone.inflict(Fault::Cut { after: 0 }).await.unwrap();
    phone.connect().await;
    assert_eq!(phone.shell(&format!("kill -0 {child}; echo $?")).await, "0", "and outlives the link");
}

#[tokio::test]
async fn a_cut_ends_a_transfer_and_the_next_one_works() {
    let Some(lab) = unless_missing("a_cut_ends_a_transfer_and_the_next_one_works", Lab::open().await) else { return };
    let phone = lab.phone("fuxi").await;
    let here = lab.path().join("here").display().to_string();
    std::fs::write(&here, vec![7; 8 << 20]).unwrap();
    let there = "/data/local/tmp/file";
    phone.phone.inflict(Fault::Cut { after: 3 << 20 }).await.unwrap();
    let cut = phone.adb(&["push", &here, there]).await;
    assert_ne!(cut.code, Some(0), "{cut:?}");
    phone.connect().await;
    assert_eq!(phone.adb(&["shell", "ls", there]).await.code, Some(2), "half a file is none");
    assert_eq!(phone.adb(&["push", &here, there]).await.code, Some(0));
    assert_eq!(phone.shell(&format!("stat -c %s {there}")).await, "8388608");
}

#[tokio::test]
async fn a_stalled_link_and_a_frozen_phone_stay_listed_and_answer_nothing() {
    let Some(lab) =
        unless_missing("a_stalled_link_and_a_frozen_phone_stay_listed_and_answer_nothing", Lab::open().await)
    else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    phone.detach("while :; do echo . >> count; sleep 0.02; done").await;
    let count = phone.place("data/local/tmp/count");
    let length = || std::fs::metadata(&count).map_or(0, |found| found.len());
    let counts_on = async || {
        let before = length();
        timeout(A_WHILE, until("it counts", async || length() > before + 5)).await.is_ok()
    };
    for (fault, runs_on) in [(Fault::Stall, true), (Fault::Frozen, false)] {
        assert!(!hangs(&phone).await, "the control: before, it answers");
        phone.phone.inflict(fault.clone()).await.unwrap();
        assert!(hangs(&phone).await, "{fault}");
        assert_eq!(lab.state(&phone.name).await.as_deref(), Some("device"), "{fault}: a state is no sign of life");
        assert_eq!(counts_on().await, runs_on, "{fault}: only a frozen phone stands still itself");
        recovers(&phone).await;
        assert!(counts_on().await);
    }
}

#[tokio::test]
async fn a_slow_link_takes_its_time() {
    let Some(lab) = unless_missing("a_slow_link_takes_its_time", Lab::open().await) else { return };
    let phone = lab.phone("fuxi").await;
    phone.phone.inflict(Fault::Slow { bytes_per_second: 100_000 }).await.unwrap();
    let begun = Instant::now();
    assert_eq!(phone.adb(&["exec-out", "head -c 200000 /dev/zero"]).await.out.len(), 200_000);
    assert!(begun.elapsed() >= Duration::from_millis(1900), "200 kB at 100 kB/s: {:?}", begun.elapsed());
    recovers(&phone).await;
}

#[tokio::test]
async fn a_host_that_the_phone_does_not_know_waits_for_a_person() {
    let Some(lab) = unless_missing("a_host_that_the_phone_does_not_know_waits_for_a_person", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    phone.phone.inflict(Fault::Unauthorized).await.unwrap();
    until("unauthorized", async || {
        if lab.state(&phone.name).await.as_deref() == Some("unauthorized") {
            return true;
        }
        lab.adb(["disconnect", &phone.name]).await;
        lab.adb(["connect", &phone.name]).await;
        false
    })
    .await;
    assert!(phone.adb(&["shell", "true"]).await.err.contains("unauthorized"));
    phone.phone.mend().await.unwrap();
    until("the person agrees", async || lab.state(&phone.name).await.as_deref() == Some("device")).await;
    assert_eq!(phone.shell("echo well").await, "well");
}

#[tokio::test]
async fn a_phone_whose_daemon_is_silent_is_offline() {
    let Some(lab) = unless_missing("a_phone_whose_daemon_is_silent_is_offline", Lab::open().await) else { return };
    let phone = lab.phone("fuxi").await;
    phone.phone.inflict(Fault::Offline).await.unwrap();
    until("offline", async || lab.state(&phone.name).await.as_deref() == Some("offline")).await;
    recovers(&phone).await;
}

#[tokio::test]
async fn a_rom_kills_what_is_detached_and_says_so() {
    let Some(lab) = unless_missing("a_rom_kills_what_is_detached_and_says_so", Lab::open().await) else { return };
    let phone = lab.phone("fuxi").await;
    phone.detach("exec sleep 765432").await;
    let pid = phone.shell("cat /data/local/tmp/pid").await;
    let mut held = phone.command(&["shell", "read line; echo alive"]);
    let mut held = held.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    until("the held one runs", async || phone.adb(&["shell", "pgrep -f 'read line'"]).await.code == Some(0)).await;
    phone.phone.inflict(Fault::Killed).await.unwrap();
    assert_eq!(phone.adb(&["shell", &format!("kill -0 {pid}")]).await.code, Some(1));
    let log = phone.shell("logcat -d -b main").await;
    assert!(log.contains(":sleep/2000 (adj 900): power saving"), "{log}");
    drop(held.stdin.take());
    let output = held.wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "alive\n", "what adb holds is left alone");
}

#[tokio::test]
async fn heat_low_charge_and_denied_nodes_show_until_they_are_mended() {
    let Some(lab) = unless_missing("heat_low_charge_and_denied_nodes_show_until_they_are_mended", Lab::open().await)
    else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    let seen = async || {
        let zones = "cat /sys/class/thermal/thermal_zone*/temp; dumpsys thermalservice | grep Status:";
        let charge = "cat /sys/class/power_supply/battery/capacity; dumpsys battery | grep level:";
        let output = phone.adb(&["shell", &format!("{zones}; {charge}; cmd battery get level")]).await;
        output.out.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let well = "38500 36 Thermal Status: 0 64 level: 64 64";
    assert_eq!(seen().await, well);
    phone.phone.inflict(Fault::Heat { celsius: 91.0 }).await.unwrap();
    phone.phone.inflict(Fault::Charge { percent: 4 }).await.unwrap();
    assert_eq!(seen().await, "91000 91 Thermal Status: 3 4 level: 4 4", "each zone in its unit");
    let node = "/sys/class/power_supply/battery/uevent";
    phone.phone.inflict(Fault::Denied { path: node.to_owned() }).await.unwrap();
    let denied = phone.adb(&["shell", "cat", node]).await;
    assert!(denied.code == Some(1) && denied.err.contains("Permission denied"), "{denied:?}");
    phone.phone.mend().await.unwrap();
    phone.connect().await;
    assert_eq!(seen().await, well);
    assert!(phone.shell(&format!("cat {node}")).await.contains("POWER_SUPPLY_CAPACITY=64"));
    let missing = phone.phone.inflict(Fault::Denied { path: "/sys/none".to_owned() }).await;
    assert!(missing.is_err_and(|error| error.to_string().contains("/sys/none")), "nothing is denied in silence");
}

#[tokio::test]
async fn a_running_phone_hears_of_faults_by_its_folder() {
    let Some(lab) = unless_missing("a_running_phone_hears_of_faults_by_its_folder", Lab::open().await) else { return };
    let program = env!("CARGO_BIN_EXE_seatrial-phone");
    // Deeper than the path of a socket may be long.
    let folder = lab.path().join("deep".repeat(20)).join("deeper".repeat(20));
    let described = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/phones/fuxi");
    let mut run = tokio::process::Command::new(program);
    run.arg("run").arg(described).arg("--folder").arg(&folder).kill_on_drop(true);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut said = tokio::io::BufReader::new(run.stdout.take().unwrap());
    timeout(PATIENCE, said.read_line(&mut line)).await.expect("it boots").unwrap();
    let (address, told) = line.trim_end().split_once(' ').unwrap();
    assert_eq!(std::path::Path::new(told), folder);
    until("the phone is a device", async || {
        lab.adb(["connect", address]).await;
        lab.state(address).await.as_deref() == Some("device")
    })
    .await;
    let tell = async |word: &str| {
        let told = tokio::process::Command::new(program).arg("tell").arg(&folder).arg(word).output().await.unwrap();
        (told.status.code(), String::from_utf8(told.stderr).unwrap())
    };
    let level = async || lab.adb(["-s", address, "shell", "cmd battery get level"]).await.out.trim().to_owned();
    assert_eq!(level().await, "64");
    assert_eq!(tell("charge=4").await, (Some(0), String::new()));
    assert_eq!(level().await, "4", "it is done when `tell` has ended");
    assert_eq!(tell("mend").await.0, Some(0));
    assert_eq!(level().await, "64");
    let (code, why) = tell("explode").await;
    assert!(code == Some(1) && why.contains("unauthorized"), "{why}");
    let (code, why) = tell("denied=/sys/none").await;
    assert!(code == Some(1) && why.contains("/sys/none"), "{why}");

    rustix::process::kill_process(
        rustix::process::Pid::from_raw(run.id().unwrap().cast_signed()).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert!(timeout(PATIENCE, run.wait()).await.expect("a signal ends it").unwrap().success());
    let (code, why) = tell("mend").await;
    assert!(code == Some(1) && why.contains("no phone hears in"), "{why}");
}
