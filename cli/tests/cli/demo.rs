//! The demo on a machine that does not make it easy.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::disks::SmallDisk;
use crate::skipped::unless_missing;
use crate::support::{Person, is_evaluating, processes_of, stderr, within};

fn start(person: &Person) -> Child {
    person.command().arg("demo").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The scratch folder of a demo, once a child of its agent measures there.
fn measuring(person: &Person, demo: &Child) -> PathBuf {
    let is_agent = |folder: &PathBuf| children_of(demo.id()).iter().any(|line| line.contains(folder.to_str().unwrap()));
    let own = || person.left_behind().into_iter().find(is_agent);
    within(60, "the demo measures", || own().is_some_and(|folder| is_evaluating(&folder)));
    own().unwrap()
}

/// Command lines of a process's children.
fn children_of(parent: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let lines = text.split_whitespace().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")));
    lines.filter_map(Result::ok).collect()
}

fn press_ctrl_c(mut demo: Child) {
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(130));
}

#[test]
fn two_demos_run_side_by_side_and_ctrl_c_ends_one_with_all_that_is_its_own() {
    let person = Person::new();
    let (first, second) = (start(&person), start(&person));
    let [of_first, of_second] = [&first, &second].map(|demo| measuring(&person, demo));
    assert!(processes_of(&of_first) >= 1, "the first goes on beside the second");
    press_ctrl_c(first);
    within(5, "agent and child are gone", || processes_of(&of_first) == 0);
    assert!(!of_first.exists(), "its folder is gone");
    assert!(processes_of(&of_second) >= 1 && of_second.is_dir(), "the control: what is the other's is untouched");
    press_ctrl_c(second);
    within(5, "agent and child are gone", || processes_of(&of_second) == 0);
    assert_eq!(person.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn a_demo_whose_port_is_taken_says_so_and_leaves_nothing() {
    let person = Person::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let why = stderr(&person.seatrial(&["demo", "--once", "--port", &port]).code(1));
    assert!(why.contains(&format!("cannot listen on 127.0.0.1:{port}")) && why.contains("in use"), "{why}");
    assert!(why.contains("--port"), "it says what to do: {why}");
    assert_eq!(person.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn a_demo_without_a_place_to_write_names_it_and_says_what_to_do() {
    let person = Person::new();
    let nowhere = person.path("nowhere");
    let why = stderr(&demo_in(&person, nowhere.to_str().unwrap()).code(1));
    assert!(why.contains("make a scratch folder") && why.contains("nowhere"), "{why}");
    assert!(why.contains("TMPDIR"), "it says what to do: {why}");

    let test = "a_demo_without_a_place_to_write_names_it_and_says_what_to_do";
    let Some(disk) = unless_missing(test, SmallDisk::mount(8 << 20)) else { return };
    let place = disk.path("").display().to_string();
    // Hardly a file; then the files of the demo, but not the database beside them.
    for left in [0, 1 << 20] {
        disk.fill_but(left);
        let why = stderr(&demo_in(&person, &place).code(1));
        assert!(why.contains("No space left") || why.contains("no room") || why.contains("full"), "{left}: {why}");
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "{left}: nothing is left but the ballast");
        disk.make_room();
    }
    disk.remount("ro");
    let why = stderr(&demo_in(&person, &place).code(1));
    assert!(why.contains("make a scratch folder") && why.contains("Read-only"), "{why}");
}

fn demo_in(person: &Person, scratch: &str) -> assert_cmd::assert::Assert {
    let mut command = person.command();
    command.args(["demo", "--once"]).env("TMPDIR", scratch);
    assert_cmd::Command::from_std(command).timeout(std::time::Duration::from_mins(1)).assert()
}
