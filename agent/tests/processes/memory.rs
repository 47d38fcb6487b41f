//! A child that the kernel itself kills for memory, in a control group of its own.

use std::path::{Path, PathBuf};

use seatrial_core::outcome::Outcome;
use seatrial_core::report::Report;

use crate::common;
use crate::skipped::unless_missing;

const LIMIT: &str = "134217728";

/// A control group with 128 MiB, and the file through which a process enters it; removed with its value.
struct Group(PathBuf);

impl Group {
    /// Or why there can be none here: it takes the right to make one, which few users and few containers have.
    fn new() -> Result<Self, String> {
        let name = format!("seatrial-test-{}", std::process::id());
        let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let place = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
            let root = match controllers {
                "" if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => "/sys/fs/cgroup",
                "memory" => "/sys/fs/cgroup/memory",
                _ => return None,
            };
            Some(Path::new(root).join(path).join(&name))
        });
        let place = place.ok_or("no hierarchy controls memory")?;
        std::fs::create_dir(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        let group = Self(place);
        let limits = ["memory.max", "memory.limit_in_bytes"];
        let limit = limits.into_iter().map(|name| group.0.join(name)).find(|path| path.exists());
        let limit = limit.ok_or("the group has no limit of memory")?;
        std::fs::write(&limit, LIMIT).map_err(|error| format!("{}: {error}", limit.display()))?;
        Ok(group)
    }

    /// A job whose children enter the group before they begin.
    fn run(&self, script: &str) -> Report {
        let home = tempfile::tempdir().unwrap();
        let mut options = common::options(home.path());
        let enter = format!("echo $$ > {} && exec \"$0\" \"$@\"", self.0.join("cgroup.procs").display());
        let shell = ["sh".into(), "-c".into(), enter.into()];
        options.child_command = shell.into_iter().chain(common::child_command()).collect();
        common::run(common::job("fake", "script.onnx", script.as_bytes()), &[script.as_bytes()], &options)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_child_that_the_kernel_kills_for_memory_is_out_of_memory_and_not_a_crash() {
    let test = "a_child_that_the_kernel_kills_for_memory_is_out_of_memory_and_not_a_crash";
    let group = Group::new().map_err(|why| format!("no control group can be made: {why}"));
    let Some(group) = unless_missing(test, group) else { return };
    // The control: the group alone ends nobody.
    let report = group.run("well");
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let report = group.run("hog memory in load");
    assert_eq!(report.outcome, Outcome::OomKilled, "{:?}\n{}", report.message, report.log);
    assert!(report.message.as_deref().is_some_and(|text| text.contains("killed for memory")), "{:?}", report.message);
    assert_eq!(group.run("well").outcome, Outcome::Ok, "and the next job runs");
}
