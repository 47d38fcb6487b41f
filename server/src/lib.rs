//! The server: one port for agents, command lines and browsers, around one fleet actor and one store.
//!
//! [`start`] gives a server inside the caller's process (tests, `seatrial demo`, benchmarks); [`run`] is `seatrial serve`:
//! the same with signals and exit. Everything that comes through the port passes the same doors (see [`auth`]) before
//! any handler sees it.

pub mod actions;
pub mod agents;
pub mod artifacts;
pub mod auth;
mod canary;
pub mod config;
pub mod control;
pub mod error;
pub mod fleet;
pub mod http;
pub mod ingest;
mod lock;
pub mod logging;
pub mod metrics;
pub mod net;
mod serve;
mod service;
mod start;
pub mod system;
pub mod tasks;

pub use config::{Config, ConfigError, Settings};
pub use error::{Code, Error};
pub use lock::LockError;
pub use serve::{ServeError, run};
pub use start::{Running, Shutdown, StartError, start};

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
