//! All phones of one computer: who is there is followed through the adb server, and each is looked after by a task of its
//! own, which outlives its absences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::system::uname;
use seatrial_adb::{AdbServer, Change, Failure, Limits, Listed, Tracking, changes};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::board::Board;
use super::builds::Builds;
use super::care::{Care, Sight};
use super::port::PortPower;
use super::{Config, LabError, server, tell};
use crate::folder::Folder;
use crate::link::{SYSTEM_AUTHORITIES, Server, TlsFiles};

/// Phones of one computer; those beyond are told and left alone.
const MOST: usize = 128;
const ADB_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to reach an adb server that is away.
const ADB_PAUSE: Duration = Duration::from_secs(2);
/// Agents that are pushed at a time.
const PUSHES: usize = 3;
/// How often the server is asked which devices it hears.
const VIEW_EVERY: Duration = Duration::from_secs(15);

/// What every phone's task works with.
pub(super) struct Lab {
    pub(super) config: Config,
    pub(super) folder: PathBuf,
    pub(super) adb: AdbServer,
    pub(super) server: Server,
    /// As agents are told it.
    pub(super) server_address: String,
    /// Host and port of the server, as the adb server's computer reaches it.
    pub(super) authority: String,
    pub(super) builds: Builds,
    /// The right to push an agent: its deadline follows from its size, and phones share the computer's ports and CPUs.
    pub(super) pushes: Semaphore,
    pub(super) ports: PortPower,
    pub(super) board: Board,
    /// Devices that the server hears; `None` while it does not say.
    pub(super) connected: watch::Receiver<Option<BTreeSet<String>>>,
}

impl Lab {
    /// Who may vouch for the server to phones, which know nobody: none for a server without TLS.
    pub(super) fn authorities(&self) -> Option<&Path> {
        let is_secure = self.server_address.starts_with("https:");
        is_secure.then(|| self.config.authorities.as_deref().unwrap_or(Path::new(SYSTEM_AUTHORITIES)))
    }
}

pub(super) async fn run(config: Config) -> Result<(), LabError> {
    let io = |what| move |source| LabError::Io { what, source };
    if !is_plain(&config.phone_folder) {
        return Err(LabError::PhoneFolder(config.phone_folder));
    }
    let lock = Folder::open(&config.folder)?;
    let folder = lock.path().to_owned();
    let files = TlsFiles {
        authorities: config.authorities.as_deref(),
        certificate: config.certificate.as_deref(),
        key: config.key.as_deref(),
    };
    let server = Server::new(&config.server, None, files, config.token.clone())?;
    let (heard, connected) = watch::channel(None);
    let lab = Arc::new(Lab {
        adb: AdbServer::at(config.adb.clone()),
        server_address: server.address.clone(),
        authority: server.authority(),
        builds: Builds::open(&folder).map_err(io("opening the folder of agents"))?,
        pushes: Semaphore::new(PUSHES),
        ports: PortPower::find(config.port_power.as_deref(), std::env::var_os("PATH")),
        board: Board::new(),
        folder,
        server,
        connected,
        config,
    });
    let mut terminate = signal(SignalKind::terminate()).map_err(io("listening for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("listening for SIGINT"))?;
    let mut host = Host { lab: Arc::clone(&lab), phones: Vec::new(), tasks: JoinSet::new() };
    tracing::info!(adb = lab.adb.address(), server = lab.server_address, "looking after the phones of this computer");
    let name = uname().nodename().to_string_lossy().into_owned();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = listen(&lab.server, heard) => {}
        () = lab.board.report(&lab.server, &name) => {}
        () = host.follow() => {}
    }
    tracing::info!("agents go on, and their tunnels with them; another lab host finds both");
    host.tasks.shutdown().await;
    Ok(())
}

/// A folder that stands in scripts and in command lines.
pub(super) fn is_plain(folder: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    folder.starts_with('/') && folder.len() > 1 && folder.chars().all(is_word) && !folder.contains("..")
}

/// Asks the server again and again which devices it hears. A server that does not say judges nobody.
async fn listen(server: &Server, heard: watch::Sender<Option<BTreeSet<String>>>) {
    let mut told = None;
    loop {
        let view = server::connected(server).await;
        if let Err(why) = &view
            && told.as_ref() != Some(why)
        {
            tracing::warn!(why, "the server does not say which devices it hears");
        }
        told = view.as_ref().err().cloned();
        heard.send_replace(view.ok());
        tokio::time::sleep(VIEW_EVERY).await;
    }
}

struct Host {
    lab: Arc<Lab>,
    phones: Vec<Place>,
    tasks: JoinSet<()>,
}

/// A phone that is or was there.
struct Place {
    listed: Listed,
    is_here: bool,
    sight: watch::Sender<Sight>,
}

impl Host {
    /// For ever.
    async fn follow(&mut self) {
        let mut is_told = false;
        loop {
            match self.lab.adb.track(&Limits::within(ADB_WITHIN)).await {
                Ok(tracking) => {
                    is_told = false;
                    let failure = self.take_in(tracking).await;
                    tracing::warn!(why = %failure, "the list of phones has ended");
                }
                Err(error) if !is_told => {
                    is_told = true;
                    tracing::warn!(%error, "no list of phones");
                }
                Err(_) => {}
            }
            // Nobody knows what is there; what hung on the server's links is gone with it.
            let all: Vec<Listed> = self.here().cloned().collect();
            for listed in &all {
                self.gone(listed);
            }
            tokio::time::sleep(ADB_PAUSE).await;
        }
    }

    async fn take_in(&mut self, mut tracking: Tracking) -> Failure {
        loop {
            let mut list = match tracking.next().await {
                Ok(list) => list,
                Err(failure) => return failure,
            };
            let only = &self.lab.config.only;
            list.retain(|listed| only.is_empty() || only.contains(&listed.serial));
            let before: Vec<Listed> = self.here().cloned().collect();
            for change in changes(&before, &list) {
                match change {
                    Change::Appeared(listed) => self.appeared(listed),
                    Change::Changed { from, to } => self.changed(&from, to),
                    Change::Gone(listed) => self.gone(&listed),
                }
            }
        }
    }

    fn here(&self) -> impl Iterator<Item = &Listed> {
        self.phones.iter().filter(|place| place.is_here).map(|place| &place.listed)
    }

    fn saw(&self, listed: &Listed) {
        let seen = tell::seen(listed);
        tell::line(&seen);
        self.lab.board.put(&seen);
    }

    /// One that was there before has its task already: by serial and port, or by a serial that no other absent one has.
    fn appeared(&mut self, listed: Listed) {
        self.saw(&listed);
        // Those of phones that were forgotten.
        while self.tasks.try_join_next().is_some() {}
        let absent = |place: &Place| !place.is_here && place.listed.serial == listed.serial;
        let same_port = self.phones.iter().position(|place| absent(place) && place.listed.usb == listed.usb);
        let only_one = || {
            let mut of_serial = (0..self.phones.len()).filter(|&index| absent(&self.phones[index]));
            of_serial.next().filter(|_| of_serial.next().is_none())
        };
        if let Some(index) = same_port.or_else(only_one) {
            self.phones[index].see(listed);
            return;
        }
        if self.phones.len() >= MOST {
            // The one that is away for longest stands first.
            let Some(index) = self.phones.iter().position(|place| !place.is_here) else {
                tracing::warn!(serial = listed.serial, "more than {MOST} phones: it is left alone");
                return;
            };
            self.phones.remove(index);
        }
        let (sight, seen) = watch::channel(Some(listed.clone()));
        self.tasks.spawn(Care::new(Arc::clone(&self.lab), listed.clone(), seen).run());
        self.phones.push(Place { listed, is_here: true, sight });
    }

    fn changed(&mut self, from: &Listed, to: Listed) {
        if from.state != to.state {
            self.saw(&to);
        }
        if let Some(place) = self.phones.iter_mut().find(|place| place.is_here && place.listed == *from) {
            place.see(to);
        }
    }

    fn gone(&mut self, listed: &Listed) {
        let Some(index) = self.phones.iter().position(|place| place.is_here && place.listed == *listed) else { return };
        tracing::warn!(serial = listed.serial, at = listed.usb.as_deref().unwrap_or("-"), "gone");
        self.lab.board.remove(&tell::seen(listed));
        let mut place = self.phones.remove(index);
        place.is_here = false;
        place.sight.send_replace(None);
        self.phones.push(place);
    }
}

impl Place {
    fn see(&mut self, listed: Listed) {
        self.is_here = true;
        self.listed = listed.clone();
        self.sight.send_replace(Some(listed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_phones_is_a_plain_absolute_path() {
        assert!(is_plain("/data/local/tmp/seatrial"));
        for other in ["", "/", "data", "/data/local tmp", "/data/$(reboot)", "/data/../etc", "/data/'x"] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
