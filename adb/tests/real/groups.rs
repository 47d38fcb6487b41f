//! What is left on a phone when a command's link is gone.

use std::path::PathBuf;
use std::time::Duration;

use seatrial_adb::{AdbLink, DeviceLink as _, Exec, ExecOutcome, Group, Life, LifeState, Limits, Remains};

use crate::lab::{FOLDER, Lab, patient, until};
use crate::namespaces::in_lab;

/// A command that writes the time into a file again and again, from a child of a child.
fn ticking(lab: &Lab, name: &str) -> (String, PathBuf) {
    let on_phone = format!("{FOLDER}/{name}");
    let command = format!("(while :; do date +%s%N > {on_phone}; sleep 0.02; done) & wait");
    (command, lab.seen_on_phone(&on_phone))
}

async fn ticks(file: &PathBuf) -> bool {
    let read = || std::fs::read(file).unwrap_or_default();
    let before = read();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if read() != before {
            return true;
        }
    }
    false
}

fn soon() -> Limits {
    Limits::within(Duration::from_secs(2))
}

#[test]
fn a_command_without_a_group_survives_its_link_and_one_with_a_group_is_killed_and_seen_dead() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let (stray, stray_file) = ticking(lab, "stray");
        let (executed, remains) = link.exec_or_kill(&Exec::new(stray), &soon(), &patient()).await;
        assert!(matches!(executed.outcome, ExecOutcome::TimedOut { .. }) && matches!(remains, Remains::NotLookedFor));
        assert!(ticks(&stray_file).await, "the control: its children go on");

        let (command, file) = ticking(lab, "ours");
        let group = Group::new(FOLDER);
        let exec = Exec::new(command).in_group(group.clone());
        let (executed, remains) = link.exec_or_kill(&exec, &soon(), &patient()).await;
        assert!(matches!(executed.outcome, ExecOutcome::TimedOut { .. }));
        assert!(matches!(remains, Remains::Dead), "{remains:?}");
        assert!(!ticks(&file).await);
        assert!(ticks(&stray_file).await, "others are left alone");
        assert!(!lab.seen_on_phone(&group.pid_file()).exists());
    });
}

#[test]
fn what_left_its_group_or_cleared_its_environment_is_found_all_the_same() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let (escaped, escaped_file) = ticking(lab, "escaped");
        let (cleared, cleared_file) = ticking(lab, "cleared");
        let command = format!("setsid sh -c '{escaped}' & env -i PATH=$PATH sh -c '{cleared}'");
        let exec = Exec::new(command).in_group(Group::new(FOLDER));
        let limits = patient().cancelled_by(seatrial_adb::CancellationToken::new());
        let cancel = limits.cancel.clone();
        let after = patient();
        let ((_, remains), ()) = tokio::join!(link.exec_or_kill(&exec, &limits, &after), async {
            until(async || escaped_file.exists() && cleared_file.exists()).await;
            cancel.cancel();
        });
        assert!(matches!(remains, Remains::Dead), "{remains:?}");
        assert!(!ticks(&escaped_file).await && !ticks(&cleared_file).await);
    });
}

#[test]
fn a_command_that_ended_by_itself_is_not_looked_for_and_a_number_that_another_has_now_is_not_killed() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let group = Group::new(FOLDER);
        let exec = Exec::new("exit 4").in_group(group.clone());
        let (executed, remains) = link.exec_or_kill(&exec, &patient(), &patient()).await;
        assert_eq!(executed.outcome, ExecOutcome::Exited(4));
        assert!(matches!(remains, Remains::NotLookedFor));

        let (other, file) = ticking(lab, "other");
        let pid_file = group.pid_file();
        let start =
            format!("setsid sh -c 'echo $$ > {pid_file}; exec sh -c \"{other}\"' > /dev/null 2>&1 < /dev/null &");
        assert!(link.exec(&Exec::new(start), &patient()).await.is_success());
        assert!(ticks(&file).await);
        link.kill(&group, &patient()).await.unwrap();
        assert!(ticks(&file).await, "a process without the mark is another's");
    });
}

#[test]
fn what_nobody_can_look_for_may_still_run() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        let (command, _) = ticking(lab, "unknown");
        let exec = Exec::new(command).in_group(Group::new(FOLDER));
        let (limits, after) = (patient(), soon());
        let mut call = Box::pin(link.exec_or_kill(&exec, &limits, &after));
        let file = lab.seen_on_phone(&format!("{FOLDER}/unknown"));
        tokio::select! {
            _ = &mut call => panic!("it ended by itself"),
            () = until(async || file.exists()) => {}
        }
        lab.kill(&phone);
        let (executed, remains) = call.await;
        assert!(matches!(executed.outcome, ExecOutcome::TransportLost { .. }));
        assert!(matches!(remains, Remains::Unknown(_)), "{remains:?}");
    });
}

#[test]
fn a_phone_that_shows_no_environment_is_not_believed_to_have_no_process() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let group = Group::new(FOLDER);
        link.kill(&group, &patient()).await.unwrap();
        lab.small_folder("/proc", 64);
        let error = link.kill(&group, &patient()).await.unwrap_err();
        assert!(error.to_string().contains("environments of processes cannot be read"), "{error}");
    });
}

const LONG: Duration = Duration::from_hours(1);

/// A script that ticks, as a program of the phone.
async fn ticking_program(lab: &Lab, link: &AdbLink, name: &str) -> (String, PathBuf) {
    let (command, file) = ticking(lab, name);
    let program = format!("{FOLDER}/{name}.sh");
    link.push(&lab.file(name, command.as_bytes()), &program, 0o755, &patient()).await.unwrap();
    (format!("sh {program}"), file)
}

async fn begin(link: &AdbLink, group: &Group, program: &str, limit: Duration) {
    let begun =
        link.exec(&Exec::new(group.start_script(program, limit, &format!("echo > {FOLDER}/after"))), &patient()).await;
    assert!(begun.is_success(), "{begun:?}");
}

async fn life(link: &AdbLink, group: &Group) -> LifeState {
    let told = link.exec(&Exec::new(group.look_script()), &patient()).await;
    Life::parse(&told.stdout.text()).unwrap_or_else(|| panic!("{told:?}")).state
}

#[test]
fn a_program_that_was_begun_outlives_its_link_and_who_comes_later_finds_it_and_asks_it_to_end() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        let group = || Group::named("program", FOLDER);
        assert_eq!(life(&link, &group()).await, LifeState::Ended(None), "before it was begun");
        let (program, file) = ticking_program(lab, &link, "ticks").await;
        begin(&link, &group(), &program, LONG).await;
        lab.kill(&phone);
        assert!(ticks(&file).await);
        lab.start_again(&phone);
        phone.connect(&lab.server()).await;
        assert_eq!(life(&link, &group()).await, LifeState::Alive);
        assert!(link.exec(&Exec::new(group().stop_script()), &patient()).await.is_success());
        until(async || life(&link, &group()).await == LifeState::Ended(Some(143))).await;
        // Its children are not asked: they are its own to end, and are found by the mark.
        link.kill(&group(), &patient()).await.unwrap();
        assert!(!ticks(&file).await);
    });
}

#[test]
fn a_program_that_is_killed_or_has_had_its_time_is_seen_to_have_ended_and_how() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let group = Group::named("program", FOLDER);
        begin(&link, &group, "sh -c 'kill -9 $$'", LONG).await;
        until(async || life(&link, &group).await == LifeState::Ended(Some(137))).await;
        begin(&link, &group, "sh -c 'echo said; exit 3'", LONG).await;
        until(async || life(&link, &group).await == LifeState::Ended(Some(3))).await;
        assert_eq!(std::fs::read(lab.seen_on_phone(&format!("{FOLDER}/program.log"))).unwrap(), b"said\n");
        begin(&link, &group, "sleep 60", Duration::from_secs(1)).await;
        until(async || life(&link, &group).await == LifeState::Ended(Some(124))).await;
        let after = lab.seen_on_phone(&format!("{FOLDER}/after"));
        until(async || after.exists()).await;
        begin(&link, &group, "sleep 60", LONG).await;
        link.kill(&group, &patient()).await.unwrap();
        assert_eq!(life(&link, &group).await, LifeState::Ended(None), "killed with the shell that would tell");
    });
}

#[test]
fn a_number_that_another_process_has_now_is_not_a_program_that_lives() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let group = Group::named("program", FOLDER);
        begin(&link, &group, "sleep 60", LONG).await;
        let own = std::process::id().to_string();
        std::fs::write(lab.seen_on_phone(&group.pid_file()), own).unwrap();
        assert_eq!(life(&link, &group).await, LifeState::Ended(None));
    });
}
