//! The link to phones: commands, files and tunnels over a cable that may be pulled at any moment.
//!
//! [`DeviceLink`] is what the rest of Seatrial sees; [`AdbLink`] is that of one device behind an adb server, which this
//! crate never starts and never kills. Every call has a deadline and ends by it, and a lost link is never a success.
//! What an operator must do in each state stands in `docs/devices.md`.

mod capture;
mod changes;
mod connect;
mod digest;
mod exec;
mod failure;
mod files;
mod forward;
mod group;
mod limits;
mod link;
mod listing;
mod quote;
mod refused;
mod relay;
mod server;
mod shell;
mod state;
mod wire;

pub use capture::{Captured, Keep};
pub use changes::{Change, Presence, changes};
pub use connect::Connected;
pub use exec::{Exec, ExecOutcome, Executed, Remains};
pub use failure::{Cause, Failure, LinkError, Phase};
pub use files::{Stat, Stored};
pub use forward::Endpoint;
pub use group::{Group, Life, LifeState};
pub use limits::Limits;
pub use link::{AdbLink, DeviceLink, RebootTarget, Target};
pub use listing::{Listed, parse_listing};
pub use quote::quote;
pub use refused::{Refusal, Refused};
pub use server::{AdbServer, Tracking};
pub use state::State;
pub use tokio_util::sync::CancellationToken;
