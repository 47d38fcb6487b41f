//! The agent: runs attempts on the device it is on, and nothing else.
//!
//! `run` dials out and performs what [`seatrial_core::session`] decides; `attempt` carries one attempt through its
//! phases in a thread of its own; `child` is the isolated process in which alone models are parsed and timed; `probe`
//! reads the device, `energy` what it draws. `lab` looks after phones on whose behalf a lab host acts. What is deliberately absent: any statistic (the server derives them from raw samples), any shell,
//! any path or address that comes from the network, and any program that the job does not name by its digest.

pub mod attempt;
pub mod cache;
pub mod certificate;
#[doc(hidden)]
pub mod child;
pub mod cli;
pub mod clock;
mod command;
pub mod data;
pub mod death;
mod drivers;
pub mod energy;
mod find_me;
pub mod folder;
pub mod interpreters;
pub mod isolation;
#[cfg(feature = "lab")]
pub mod lab;
mod link;
pub mod local;
mod page_cache;
mod plain;
pub mod probe;
pub mod probes;
pub mod run;
pub mod runtime;
pub mod server_args;
pub mod signature;
pub mod spool;
mod wire;

/// The version that this agent states in its hello and in every report.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// For which processor and C library this program was built: `aarch64-linux-android`. A runtime package must be for
/// the same.
#[must_use]
pub fn abi() -> String {
    probe::abi()
}
