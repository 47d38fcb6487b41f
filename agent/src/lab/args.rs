//! The command line of `agent lab`.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use crate::server_args::ServerArgs;

#[derive(Debug, Clone, clap::Args)]
pub struct LabArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// The adb server: host:port
    #[arg(long, env = "SEATRIAL_ADB", default_value = "127.0.0.1:5037")]
    pub adb: String,
    /// The lab host's own folder: agents for phones, and what phones told when an agent died
    #[arg(long, env = "SEATRIAL_LAB_FOLDER", default_value = "seatrial-lab")]
    pub folder: PathBuf,
    /// Look after this phone alone, by the adb server's serial; repeated. All of them when absent
    #[arg(long = "only", value_name = "SERIAL")]
    pub only: Vec<String>,
    /// Folder of Seatrial on each phone
    #[arg(long, default_value = "/data/local/tmp/seatrial")]
    pub phone_folder: String,
    /// Program that cycles the power of a phone's port, called with "cycle", the adb server's word for the port ("usb:1-4.2")
    /// and the serial; by default uhubctl, where it is installed
    #[arg(long, env = "SEATRIAL_PORT_POWER", value_name = "PROGRAM")]
    pub port_power: Option<PathBuf>,
    /// Never restart a phone, as where each asks for a PIN before it can be used
    #[arg(long)]
    pub no_reboot: bool,
    /// Seconds between two looks at an agent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub heartbeat: u64,
    /// Of each agent: bytes of artifacts that are kept at most
    #[arg(long)]
    pub cache_bytes: Option<u64>,
    /// Of each agent: seconds to wait for other load to fall
    #[arg(long)]
    pub load_wait: Option<u64>,
    /// Word before `run` on phones, where the server's agents are the whole program `seatrial`
    #[arg(long, hide = true)]
    pub agent_word: Option<String>,
    /// What is logged to standard error, as in "info" or "seatrial_agent=debug"
    #[arg(long, env = "SEATRIAL_LOG", default_value = "info")]
    pub log: String,
}

impl LabArgs {
    /// What it says, with the token that was read.
    #[must_use]
    pub fn into_config(self, token: Option<String>) -> Config {
        let agent_arguments = [("--cache-bytes", self.cache_bytes), ("--load-wait", self.load_wait)]
            .into_iter()
            .filter_map(|(flag, value)| value.map(|value| [flag.to_owned(), value.to_string()]))
            .flatten()
            .collect();
        let ServerArgs { server, ca, certificate, key, .. } = self.server;
        Config {
            server,
            adb: self.adb,
            folder: self.folder,
            token,
            authorities: ca,
            certificate,
            key,
            only: self.only,
            agent_word: self.agent_word,
            phone_folder: self.phone_folder,
            port_power: self.port_power,
            may_reboot: !self.no_reboot,
            heartbeat: Duration::from_secs(self.heartbeat),
            agent_arguments,
        }
    }
}
