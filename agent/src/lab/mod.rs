//! `agent lab`: looks after the phones of one computer. It sees them come and go through an adb server, puts the agent for
//! each on it and keeps it running there; [`seatrial_core::lab::phone`] decides, and what is here performs.
//!
//! Nothing that a phone does hangs on this process: tunnels belong to the adb server, agents to the phones. Killed and
//! started again, it finds both as they are.

mod args;
mod board;
mod builds;
mod care;
mod checkup;
mod evidence;
mod found;
mod host;
mod port;
mod scripts;
mod server;
mod tell;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use args::LabArgs;
pub(crate) use checkup::run as check;
pub use checkup::{CheckupArgs, DevicesAction};

use crate::folder::FolderError;
use crate::link::LinkError;

/// What `agent lab` is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http://host:port` or `https://host:port`, as this computer reaches it.
    pub server: String,
    /// `host:port` of the adb server.
    pub adb: String,
    /// This computer's own: agents for phones, and what is kept of deaths.
    pub folder: PathBuf,
    pub token: Option<String>,
    pub authorities: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Serials of the phones that are looked after; all when empty.
    pub only: Vec<String>,
    /// Before `run` in an agent's command line.
    pub agent_word: Option<String>,
    /// Where everything of Seatrial is on a phone.
    pub phone_folder: String,
    /// Switches the power of a phone's port.
    pub port_power: Option<PathBuf>,
    pub may_reboot: bool,
    /// Between two looks at an agent.
    pub heartbeat: Duration,
    /// What every agent is told beside what it needs.
    pub agent_arguments: Vec<String>,
}

/// Why the lab host cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{what} failed: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("--phone-folder {0:?} is no absolute path of letters, digits, '-', '_' and '.'")]
    PhoneFolder(String),
}

/// Looks after phones until it is asked to stop.
pub fn run(config: Config) -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| LabError::Io { what: "starting the event loop", source })?;
    runtime.block_on(host::run(config))
}
