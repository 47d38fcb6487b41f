//! The binary as a person runs it.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot go on fails the test")]

mod agents;
mod command_line;
mod cross;
mod custom;
mod databases;
mod demo;
mod disks;
mod doors;
mod evaluation;
mod kills;
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
