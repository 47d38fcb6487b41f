//! Disks that are really full: small file systems of the tests' own.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use seatrial_core::digest::Digest;
use seatrial_core::stage::Stage;
use tempfile::TempDir;

use crate::skipped::unless_missing;
use crate::support::{Fleet, Person, stderr};

/// A file system in memory, unmounted with its value.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Or why there can be none: to mount takes a right that few users and few containers have.
    pub fn mount(bytes: usize) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let options = format!("size={bytes},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "seatrial-test"]).arg(folder.path());
        let mounted = mount.output().map_err(|error| format!("mount cannot be run: {error}"))?;
        if mounted.status.success() {
            Ok(Self(folder))
        } else {
            let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
            Err(format!("no small file system: {}", why.lines().next().unwrap_or("mount failed")))
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Leaves this many bytes, or a few more.
    pub fn fill_but(&self, bytes: u64) {
        let mut ballast = std::fs::File::create(self.path("ballast")).unwrap();
        let full = std::iter::repeat_with(|| ballast.write_all(&[0; 4096])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length.saturating_sub(bytes)).unwrap();
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
    }

    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may still be on its way out.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort();
    found
}

#[test]
fn a_really_full_disk_under_the_server_refuses_uploads_and_acknowledges_no_result_until_there_is_room() {
    let test = "a_really_full_disk_under_the_server_refuses_uploads_and_acknowledges_no_result_until_there_is_room";
    let Some(disk) = unless_missing(test, SmallDisk::mount(48 << 20)) else { return };
    let mut fleet = Fleet::serve(Person::new(), &disk.path("server"));
    fleet.start_agent();
    let held = fleet.hold("held", Stage::Measure);
    let device = fleet.json(&["devices"])["devices"][0]["name"].as_str().unwrap().to_owned();
    let artifacts = files(&disk.path("server/artifacts"));
    let upload = vec![7; 1 << 20];
    let digest = Digest::of(&upload);

    disk.fill_but(0);
    let (status, why) = fleet.put(&digest, upload.clone());
    assert_eq!(status.as_u16(), 507, "{why}");
    assert!(why.contains("no room is left for artifacts"), "{why}");
    assert_eq!(files(&disk.path("server/artifacts")), artifacts, "nothing of it is kept");
    held.let_go();
    fleet.eventually("the report waits on the device's disk", |fleet| fleet.spooled() == 1);
    let refused = stderr(&fleet.seatrial(&["devices", "label", &device, "shelf=A3"]).code(1));
    assert!(refused.contains("the database has no room left"), "{refused}");
    let jobs = fleet.json(&["results", &held.run])["jobs"].clone();
    assert!(jobs[0]["outcome"].is_null(), "reads go on: {jobs:#}");
    assert_eq!(fleet.spooled(), 1, "what cannot be stored is not acknowledged");

    // The control: the same once there is room.
    disk.make_room();
    assert_eq!(fleet.ended(&held.run).1, [["ok"]], "{}", fleet.logs());
    fleet.eventually("what is durable leaves the device", |fleet| fleet.spooled() == 0);
    assert_eq!(fleet.put(&digest, upload).0.as_u16(), 201);
    fleet.runs_another();
}

#[test]
fn a_really_full_disk_under_the_agent_is_storage_full_wherever_it_is_met_and_the_next_job_runs() {
    let test = "a_really_full_disk_under_the_agent_is_storage_full_wherever_it_is_met_and_the_next_job_runs";
    let Some(disk) = unless_missing(test, SmallDisk::mount(128 << 20)) else { return };
    let person = Person::new();
    let data = person.path("server");
    let mut fleet = Fleet::serve(person, &data);
    fleet.agent_folder = disk.path("agent");
    fleet.start_agent();
    let ends = |run: &str, outcome: &str, why: &str| {
        let (run, attempts) = fleet.ended(run);
        assert_eq!(attempts, [[outcome]], "{run:#} {}", fleet.logs());
        let message = run["jobs"][0]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
    };

    // Not even the attempt's own folder; the cache; what a measurement needs.
    for (script, left, outcome, why) in [
        ("well", 0, "storage_full at fetch", "No space left on device"),
        ("well in load", 1 << 20, "storage_full at fetch", "bytes free: free some space"),
        ("well in inference", 20 << 20, "storage_full at prepare", "are needed: free some space"),
    ] {
        let name = script.replace(' ', "-");
        fleet.register_script(&name, script);
        disk.fill_but(left);
        ends(&fleet.submit_scripts(&[&name]), outcome, why);
        disk.make_room();
    }

    // The child's samples and result, and then the report itself.
    let held = fleet.hold("measure", Stage::Measure);
    disk.fill_but(0);
    held.let_go();
    ends(&held.run, "storage_full at measure", "the attempt ended with storage_full, but its report could not be kept");
    disk.make_room();
    fleet.runs_another();
}
