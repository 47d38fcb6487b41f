//! The agent: runs attempts on the device it is on, and nothing else.
//!
//! `run` dials out and performs what [`seatrial_core::session`] decides; `attempt` carries one attempt through its
//! phases in a thread of its own; `child` is the isolated process in which alone models are parsed and timed; `probe`
//! reads the device. What is deliberately absent: any statistic (the server derives them from raw samples), any shell,
//! and any path, address or program that comes from the network.

pub mod attempt;
pub mod cache;
pub mod certificate;
#[doc(hidden)]
pub mod child;
pub mod cli;
pub mod clock;
mod command;
pub mod data;
pub mod folder;
pub mod isolation;
mod link;
pub mod local;
mod page_cache;
mod plain;
pub mod probe;
pub mod run;
pub mod runtime;
pub mod signature;
pub mod spool;
mod wire;

/// The version that this agent states in its hello and in every report.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
