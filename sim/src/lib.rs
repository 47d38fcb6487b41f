//! Fakes that speak the real protocols and misbehave on request.
//!
//! - [`phone`]: a phone for a real adb server, in which real programs run.
//! - [`connection`]: one session of an agent, word by word, for tests that must say exactly one wrong thing.
//! - [`agent`]: an agent that follows a [`Script`](agent::Script) by itself; thousands fit into one process.
//! - [`report`]: reports, honest ones and lies.
//! - [`battery`]: a battery and a gauge with chosen faults; its true energy is known.
//! - [`draw`]: what a phone draws from it, by the CPU time that its programs used.

pub mod agent;
pub mod battery;
pub mod connection;
pub mod draw;
pub mod phone;
pub mod report;

pub use agent::{Answer, FakeAgent, Script};
pub use connection::{Connection, Identity, SimError};
pub use report::Lie;
