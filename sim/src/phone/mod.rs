//! A simulated phone: the device side of the adb protocol for a real adb server, and a world of its own in which real
//! programs run. docs/simulated-phone.md says what is real and what is not.
//!
//! ```text
//! this process                                     the phone's world (own users, mounts, processes, network)
//!   Phone ── hardware: power, battery, faults        sh, the first process
//!              │ standard input: power, trust          └ adbd ── sh -c … ── agent …
//!   cable ─────┴ socket ───────────────────────────────►│
//!     ▲ 127.0.0.1:PORT
//!   adb server
//! ```
//!
//! The daemon is a process of its own: [`Config::program`] is started in the world and calls [`adbd`].

mod adbd;
mod base;
mod cable;
pub mod control;
mod description;
mod fault;
mod hardware;
mod model;
mod parts;
mod power;
mod processes;
mod shipped;
mod world;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use adbd::main as adbd;
pub use description::Description;
pub use fault::Fault;
pub use power::{Chip, Load, Power, Shown, Status, Still, TRUTH_FILE, Truth};
pub use world::{SIMULATED_VARIABLE, TURN_VARIABLE};

use hardware::{Hardware, Order};

/// What a simulated phone is made of.
pub struct Config {
    pub description: Description,
    /// Folder for the phone's files; empty or of an earlier start of the same phone.
    pub folder: PathBuf,
    /// Port on loopback at which the adb server finds it; 0 for any that is free. The server looks for emulators at
    /// 5555 to 5585 by itself, and would find a phone there twice.
    pub port: u16,
    /// `ro.serialno`.
    pub serial: String,
    /// Properties that stand over the description's, and over this machine's ABI, which stands over the phone's: that is
    /// what runs here.
    pub properties: Vec<(String, String)>,
    /// Program and words that call [`adbd`], which gets one more word.
    pub program: Vec<OsString>,
    /// `None` for the battery of the description: one that follows the CPU time which the phone's processes really use
    /// where it says what the phone is made of, else one that stays as it is.
    pub power: Option<Box<dyn Power>>,
    /// Whether its port gives power; else it is reached without a cable, and runs on its battery.
    pub is_plugged: bool,
    /// From the end of power to the first process.
    pub boot_time: Duration,
    /// File whose lock is the right to measure, shared by the simulated phones of one machine, since each disturbs the
    /// others. The phone's processes find it by [`TURN_VARIABLE`].
    pub turn: Option<PathBuf>,
}

/// Why a simulated phone is not there.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    #[error("the description {place} is none: {why}")]
    Description { place: String, why: String },
    #[error(transparent)]
    Files(#[from] std::io::Error),
    #[error("port {port} cannot be had: {source}")]
    Port { port: u16, source: std::io::Error },
    #[error(
        "the phone's world cannot be made: {why}. It takes unshare, mount, pivot_root and ip, and a kernel that lets this \
         user make namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns; in a container also the right to mount)"
    )]
    Boot { why: String },
    #[error("the phone has no {path} that could be denied")]
    NoSuchNode { path: String },
    #[error("the phone has been switched off")]
    Off,
}

/// A running phone. Dropping it takes its power away; [`Phone::stop`] also waits until nothing of it is left.
pub struct Phone {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Phone {
    /// Boots a phone; it can be reached when this returns.
    pub async fn start(config: Config) -> Result<Self, PhoneError> {
        let port = match config.port {
            0 => {
                let free = cable::listen(0).and_then(|listener| listener.local_addr());
                free.map_err(|source| PhoneError::Port { port: 0, source })?.port()
            }
            port => {
                drop(cable::listen(port).map_err(|source| PhoneError::Port { port, source })?);
                port
            }
        };
        let (orders, received) = mpsc::channel(4);
        let mut hardware = Hardware::build(config, port)?;
        hardware.boot("cold").await?;
        let task = tokio::spawn(hardware.run(received));
        Ok(Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), orders, task })
    }

    /// For `adb connect`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes something go wrong. A reboot is over when this returns.
    pub async fn inflict(&self, fault: Fault) -> Result<(), PhoneError> {
        self.order(|done| Order::Inflict(fault, done)).await?
    }

    /// Ends every fault that lasts.
    pub async fn mend(&self) -> Result<(), PhoneError> {
        self.order(Order::Mend).await?
    }

    /// Takes the power away, and waits for the last process.
    pub async fn stop(self) -> Result<(), PhoneError> {
        self.order(Order::Stop).await?
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, PhoneError> {
        let (done, answer) = oneshot::channel();
        self.orders.send(order(done)).await.map_err(|_| PhoneError::Off)?;
        answer.await.map_err(|_| PhoneError::Off)
    }
}
