//! What stands in for phones in the usual run: Debian's own adb server and daemon.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::command::find;
use crate::debian::{self, Suite};

/// The daemon that phones run, as Debian 13 has it.
const ADBD: &str = "adbd";
/// What its shell needs.
const SHELL: [&str; 5] = ["bash", "coreutils", "dash", "grep", "util-linux"];
/// Where a phone keeps its files, and where tests mount something.
const FOLDERS: [&str; 5] = ["data/local/tmp", "dev", "mnt", "proc", "system"];

const MACHINE_ID: &str = "5ea7121a15ea7121a15ea7121a15ea71\n";

/// The variables by which tests find them.
pub fn for_tests() -> anyhow::Result<[(&'static str, PathBuf); 2]> {
    let adb = find("adb").context("adb is not on the path")?;
    let root = debian::unpacked(ADBD, &SHELL, Suite::Trixie)?;
    for folder in FOLDERS.map(|folder| root.join(folder)) {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    // As every system that was installed has one: what tells its agent from another's.
    std::fs::write(root.join("etc/machine-id"), MACHINE_ID).context("cannot write the machine's id")?;
    Ok([("SEATRIAL_TEST_ADB", adb), ("SEATRIAL_TEST_ADBD", root)])
}
