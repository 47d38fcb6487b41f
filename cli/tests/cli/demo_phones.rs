//! The demo with simulated phones: real agents in them, brought by a real lab host through a real adb server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::skipped::unless_missing;
use crate::support::{Person, stderr, stdout, within};

/// What the demo needs for phones, and what is missing here.
pub fn needed() -> Result<(), String> {
    let adb = Command::new("adb").arg("version").stdout(Stdio::null()).status();
    adb.map_err(|error| format!("adb: {error}"))?;
    let words = "--user --map-root-user --mount --net --pid --fork --kill-child true";
    let output =
        Command::new("unshare").args(words.split(' ')).output().map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Every process that comes from one, by pid and when it began: a pid is given again.
fn family(pid: u32) -> BTreeSet<(u32, String)> {
    let Some(born) = born(pid) else { return BTreeSet::new() };
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> =
        children.flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect();
    std::iter::once((pid, born)).chain(children.into_iter().flat_map(family)).collect()
}

fn born(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).unwrap_or_default().to_owned())
}

fn alive(processes: &BTreeSet<(u32, String)>) -> Vec<u32> {
    processes.iter().filter(|(pid, time)| born(*pid).as_ref() == Some(time)).map(|(pid, _)| *pid).collect()
}

#[test]
fn simulated_phones_are_evaluated_through_a_real_adb_server_and_are_called_what_they_are() {
    let test = "simulated_phones_are_evaluated_through_a_real_adb_server_and_are_called_what_they_are";
    let Some(()) = unless_missing(test, needed()) else { return };
    let person = Person::new();
    // What an inference costs a battery takes minutes a phone to tell.
    let words = ["demo", "--phones", "2", "--without-energy", "--once", "--format", "json"];
    let assert = person.seatrial(&words).success();
    let data: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    let devices = data["devices"].as_array().unwrap();
    let of = |key: &str| devices.iter().map(|device| device[key].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(of("brand"), ["HUAWEI", "Xiaomi"].map(str::to_owned).into(), "{data:#}");
    let roms = of("rom");
    assert!(["HarmonyOS 4", "HyperOS 2"].iter().all(|rom| roms.iter().any(|found| found.starts_with(rom))));
    assert!(of("gpu").len() == 2 && of("gpu").iter().any(|gpu| gpu.contains("Adreno 750")), "{data:#}");
    for device in devices {
        assert_eq!(device["simulated"], true);
        assert!(device["name"].as_str().unwrap().ends_with("(simulated)"), "{device:#}");
        let version = device["rom_version"].as_str().unwrap();
        assert!(device["rom"].as_str().unwrap().contains(version), "{device:#}");
        let results = device["results"].as_array().unwrap();
        assert_eq!(results.len(), 2, "one row a variant: {device:#}");
        for result in results {
            assert!(result["quick"]["lat_p50_ms"]["value"].as_f64().unwrap() > 0.0, "{device:#}");
            assert_eq!(result["energy"], Value::Null, "it was left out: {device:#}");
        }
    }
    let jobs = data["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 4, "two variants on two phones");
    for job in jobs {
        assert_eq!((&job["outcome"], &job["simulated"]), (&"ok".into(), &true.into()), "{job:#}");
        let value = |name: &str| job["metrics"][name]["value"].as_f64().unwrap_or_else(|| panic!("{name}: {job:#}"));
        assert!(value("lat_p50_ms") > 0.0 && value("top1") > 0.9, "{job:#}");
        assert!(job["device"].as_str().unwrap().ends_with("(simulated)"));
    }
    assert_eq!(person.left_behind(), Vec::<PathBuf>::new(), "its files are gone");
}

#[test]
fn a_demo_with_phones_that_is_killed_takes_everything_along() {
    let test = "a_demo_with_phones_that_is_killed_takes_everything_along";
    let Some(()) = unless_missing(test, needed()) else { return };
    let person = Person::new();
    let mut demo =
        person.command().args(["demo", "--phones", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let runs = |words: &[&str]| {
        let shows = |(pid, _): &(u32, String)| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
            words.iter().all(|word| line.contains(word))
        };
        family(demo.id()).iter().filter(|process| shows(process)).count()
    };
    within(150, "an agent in a phone measures", || runs(&["/data/local/tmp/seatrial/bin/", " agent child "]) >= 1);
    assert!(runs(&["adb -P"]) >= 1 && runs(&["demo-agent lab"]) >= 1 && runs(&["demo-phone"]) >= 2);
    let all = family(demo.id());
    assert!(alive(&all).len() > 8, "the control: all of them are there");
    demo.kill().unwrap();
    demo.wait().unwrap();
    within(10, "phones, agents, adb server and lab host are gone", || alive(&all).is_empty());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains("seatrial-demo-"), "their mounts were in namespaces of their own");
}

#[test]
fn a_demo_with_phones_says_what_it_lacks() {
    let person = Person::new();
    let empty = person.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut command = person.command();
    command.args(["demo", "--phones", "2", "--once"]).env("PATH", &empty);
    let why = stderr(&assert_cmd::Command::from_std(command).assert().code(1));
    assert!(why.contains("run adb") && why.contains("apt install adb"), "{why}");
    assert_eq!(person.left_behind(), Vec::<PathBuf>::new());

    // An adb without the means to make a world for phones.
    let adb = empty.join("adb");
    std::os::unix::fs::symlink("/bin/true", &adb).unwrap();
    let mut command = person.command();
    command.args(["demo", "--phones", "2", "--once"]).env("PATH", &empty);
    let why = stderr(&assert_cmd::Command::from_std(command).assert().code(1));
    assert!(why.contains("unshare") || why.contains("No such file"), "{why}");
    assert!(Path::new("/bin/true").exists() && person.left_behind().is_empty());
    person.seatrial(&["demo", "--phones", "13"]).code(2);
    person.seatrial(&["demo", "--without-energy"]).code(2);
}
