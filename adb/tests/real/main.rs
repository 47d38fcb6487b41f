//! Against Debian's adb server and Debian's adbd, the daemon that phones run.
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod adb_client;
mod discovery;
mod exec;
mod faults;
mod files;
mod groups;
mod lab;
mod namespaces;
mod proxy;
#[path = "../../../agent/tests/processes/skipped.rs"]
mod skipped;
mod tunnels;
