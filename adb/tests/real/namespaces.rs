//! Tests in network, mount and process namespaces of their own: their ports are all free, nobody else can reach their
//! daemons, which ask for no key, and the kernel ends and unmounts everything when a test ends.

use std::any::type_name_of_val;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use crate::lab::{ADB, ADBD_ROOT, Lab, namespaces};
use crate::skipped::unless_missing;

/// Set for a test that runs in its namespaces: the file that says that it has.
const INSIDE: &str = "SEATRIAL_TEST_INSIDE";

/// Runs a test with a lab host.
pub fn in_lab<F: AsyncFnOnce(&mut Lab)>(test: F) {
    let whole = type_name_of_val(&test);
    let name = whole.trim_end_matches("::{{closure}}").split_once("::").unwrap().1;
    if let Some(ended) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut lab = Lab::open().await;
            test(&mut lab).await;
        });
        fs::write(ended, "").unwrap();
        return;
    }
    let Some(()) = unless_missing(name, needed()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let ended = scratch.path().join("ended");
    let mut child = namespaces();
    // The first process of a process namespace must reap: a shell that waits does.
    child.args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]).arg(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(INSIDE, &ended);
    let status = child.status().unwrap();
    assert!(status.success(), "inside its namespaces {name} ended with {status}, signal {:?}", status.signal());
    assert!(ended.exists(), "{name} was not run inside its namespaces");
}

fn needed() -> Result<(), String> {
    for variable in [ADB, ADBD_ROOT] {
        std::env::var_os(variable).ok_or(format!("{variable} is not set: cargo xtask test fetches adb and adbd"))?;
    }
    let output = namespaces().arg("true").output().map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
