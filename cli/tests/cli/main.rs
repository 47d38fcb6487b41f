//! The binary as a person runs it.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot go on fails the test")]

mod agents;
mod canary;
mod checkup;
mod command_line;
mod cross;
mod custom;
mod databases;
mod demo;
mod demo_phones;
mod disks;
mod doors;
mod energy;
mod evaluation;
mod kills;
#[path = "../../../adb/tests/real/lab.rs"]
#[expect(dead_code, reason = "the lab of the link's tests, of which these take a part")]
mod lab;
mod lab_mode;
#[path = "../../../adb/tests/real/namespaces.rs"]
mod namespaces;
mod objects;
mod packages;
mod reference;
mod runtimes;
#[path = "../../../store/tests/scratch/mod.rs"]
mod scratch;
mod scripted;
#[path = "../../../agent/tests/processes/skipped.rs"]
mod skipped;
mod support;
mod tls;
