//! What the rest of Seatrial sees of a device, and how adb gives it.

use std::fmt;
use std::path::Path;

use adb_client::RebootType;
use async_trait::async_trait;

use crate::capture::Captured;
use crate::digest::contents;
use crate::exec::{Exec, ExecOutcome, Executed, Remains};
use crate::failure::{Cause, Failure, LinkError, Phase};
use crate::files::{self, Stat, Stored};
use crate::forward::{self, Endpoint};
use crate::group::Group;
use crate::limits::{Limits, Place, within};
use crate::listing::Listed;
use crate::refused::Refused;
use crate::relay;
use crate::server::AdbServer;
use crate::shell;
use crate::state::State;
use crate::wire::Wire;

/// What a device restarts into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebootTarget {
    System,
    Bootloader,
    Recovery,
}

/// A device at the end of a cable. Every call ends by its limits; dropping its future ends it too.
#[async_trait]
pub trait DeviceLink: Send + Sync {
    /// The device, for a person.
    fn name(&self) -> String;

    /// Runs a command in the device's shell.
    async fn exec(&self, exec: &Exec, limits: &Limits) -> Executed;

    /// Kills what is left of a command and sees that no process of it is there.
    async fn kill(&self, group: &Group, limits: &Limits) -> Result<(), LinkError>;

    /// Sends a file to a path of the device with these permissions: compared there by size and SHA-256, then put in place
    /// as a whole. The folder is made when it is missing.
    async fn push(&self, local: &Path, remote: &str, mode: u32, limits: &Limits) -> Result<(), LinkError>;

    /// As `push`, under the file's own SHA-256 in this folder; nothing is sent when it is there already.
    async fn store(&self, local: &Path, folder: &str, mode: u32, limits: &Limits) -> Result<Stored, LinkError>;

    /// Fetches a file of the device; its size in bytes. The local file is there as a whole or not at all.
    async fn pull(&self, remote: &str, local: &Path, limits: &Limits) -> Result<u64, LinkError>;

    /// What is at a path of the device, links followed; `None` when nothing is.
    async fn stat(&self, remote: &str, limits: &Limits) -> Result<Option<Stat>, LinkError>;

    /// Listens on this computer for the device; the port, where it is one.
    async fn forward(&self, listen: &Endpoint, to: &Endpoint, limits: &Limits) -> Result<Option<u16>, LinkError>;

    async fn remove_forward(&self, listen: &Endpoint, limits: &Limits) -> Result<(), LinkError>;

    /// Listens on the device for this computer; the port, where it is one.
    async fn reverse(&self, listen: &Endpoint, to: &Endpoint, limits: &Limits) -> Result<Option<u16>, LinkError>;

    async fn remove_reverse(&self, listen: &Endpoint, limits: &Limits) -> Result<(), LinkError>;

    async fn reboot(&self, target: RebootTarget, limits: &Limits) -> Result<(), LinkError>;

    /// Has the server drop the link to the device and take it up anew. The device keeps its processes, and loses its tunnels.
    async fn reconnect(&self, limits: &Limits) -> Result<(), LinkError>;

    /// Waits until the device is in this state.
    async fn wait_for(&self, state: &State, limits: &Limits) -> Result<(), LinkError>;

    /// What the device's daemon says that it can do.
    async fn features(&self, limits: &Limits) -> Result<Vec<String>, LinkError>;

    /// As `exec`; a command of a group that did not end by itself is killed on the device within `after`.
    async fn exec_or_kill(&self, exec: &Exec, limits: &Limits, after: &Limits) -> (Executed, Remains) {
        let executed = self.exec(exec, limits).await;
        let remains = match (&exec.group, executed.outcome.failure()) {
            (Some(group), Some(_)) => match self.kill(group, after).await {
                Ok(()) => Remains::Dead,
                Err(error) => Remains::Unknown(error),
            },
            (Some(_) | None, _) => Remains::NotLookedFor,
        };
        (executed, remains)
    }

    /// The id of the device's boot, by a command that every device has: a listed device may be frozen, one that answers
    /// this is not, and one whose id is another has restarted meanwhile.
    async fn heartbeat(&self, limits: &Limits) -> Result<String, LinkError> {
        let failed = |cause| LinkError::of(&self.name(), "asking for a sign of life")(cause);
        let executed = self.exec(&Exec::new("cat /proc/sys/kernel/random/boot_id"), limits).await;
        match executed.outcome.failure() {
            Some(failure) => Err(failed(failure.into())),
            None if executed.is_success() => Ok(executed.stdout.text().trim().to_owned()),
            None => Err(failed(Cause::Device(format!("it tells no boot id: {}", executed.stderr.text().trim())))),
        }
    }
}

/// Which device of an adb server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    Serial(String),
    /// One stay of one device, for phones that share a serial.
    Transport(u64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => f.write_str(serial),
            Self::Transport(id) => write!(f, "transport {id}"),
        }
    }
}

impl Target {
    /// Of requests that the server answers for a device.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Serial(serial) => format!("host-serial:{serial}"),
            Self::Transport(id) => format!("host-transport-id:{id}"),
        }
    }

    /// A connection whose next request goes to the device itself.
    pub(crate) async fn select(&self, server: &AdbServer, place: &Place) -> Result<Wire, Failure> {
        let mut wire = server.connect_wire(place).await?;
        let request = match self {
            Self::Serial(serial) => format!("host:transport:{serial}"),
            Self::Transport(id) => format!("host:transport-id:{id}"),
        };
        wire.ask(Phase::Select, &request).await?;
        Ok(wire)
    }
}

/// A device behind an adb server.
#[derive(Debug, Clone)]
pub struct AdbLink {
    pub(crate) server: AdbServer,
    pub(crate) target: Target,
}

impl AdbLink {
    #[must_use]
    pub const fn new(server: AdbServer, target: Target) -> Self {
        Self { server, target }
    }

    /// Runs a command to its end: its status, and whether both streams came as one.
    pub(crate) async fn run(
        &self,
        command: &str,
        stdin: &[u8],
        out: &mut Captured,
        err: &mut Captured,
        place: &Place,
    ) -> Result<(u8, bool), Failure> {
        if self.list_features(place).await?.iter().any(|feature| feature == "shell_v2") {
            let wire = self.target.select(&self.server, place).await?;
            return Ok((shell::run(wire, command, stdin, out, err).await?, false));
        }
        if !stdin.is_empty() {
            let why = "a device before Android 7 has no shell_v2, and its commands no input that ends";
            return Err(Refused::before_sending(why).into());
        }
        let wire = self.target.select(&self.server, place).await?;
        Ok((shell::run_with_sentinel(wire, command, out).await?, true))
    }

    /// The server answers this by itself: it has the list since the device connected.
    async fn list_features(&self, place: &Place) -> Result<Vec<String>, Failure> {
        let mut wire = self.server.connect_wire(place).await?;
        wire.ask(Phase::Select, &format!("{}:features", self.target.prefix())).await?;
        Ok(wire.text().await?.split(',').map(str::to_owned).collect())
    }

    async fn track_until(&self, state: &State, place: &Place) -> Result<(), Failure> {
        let mut tracking = self.server.begin_tracking(place).await?;
        loop {
            let list = tracking.next().await?;
            let is_it = |listed: &Listed| match &self.target {
                Target::Serial(serial) => listed.serial == *serial,
                Target::Transport(id) => listed.transport_id == Some(*id),
            };
            if list.iter().any(|listed| is_it(listed) && listed.state == *state) {
                return Ok(());
            }
        }
    }

    /// Runs a call within its limits; an error names the device and what was to be done.
    async fn call<T, E: From<Failure> + Into<Cause>>(
        &self,
        what: impl Into<String>,
        limits: &Limits,
        place: &Place,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, LinkError> {
        within(limits, place, call).await.map_err(|cause| LinkError::of(&self.target, what)(cause.into()))
    }
}

#[async_trait]
impl DeviceLink for AdbLink {
    fn name(&self) -> String {
        self.target.to_string()
    }

    async fn exec(&self, exec: &Exec, limits: &Limits) -> Executed {
        let place = Place::new();
        let (mut stdout, mut stderr) = (Captured::new(exec.keep), Captured::new(exec.keep));
        let command = exec.group.as_ref().map_or_else(|| exec.command.clone(), |group| group.wrap(&exec.command));
        let run = self.run(&command, &exec.stdin, &mut stdout, &mut stderr, &place);
        let (outcome, merged) = match within(limits, &place, run).await {
            Ok((status, merged)) => (ExecOutcome::of_status(status), merged),
            Err(failure) => (failure.into(), false),
        };
        Executed { outcome, stdout, stderr, merged }
    }

    async fn kill(&self, group: &Group, limits: &Limits) -> Result<(), LinkError> {
        let failed = |cause| LinkError::of(&self.target, "killing what is left of a command")(cause);
        let executed = self.exec(&Exec::new(group.kill_script()), limits).await;
        match executed.outcome.failure() {
            Some(failure) => Err(failed(failure.into())),
            None if executed.is_success() => Ok(()),
            None => Err(failed(Cause::Device(executed.stderr.text().trim().to_owned()))),
        }
    }

    async fn push(&self, local: &Path, remote: &str, mode: u32, limits: &Limits) -> Result<(), LinkError> {
        let place = Place::new();
        let what = format!("sending {} to {remote}", local.display());
        let push = async {
            let file = contents(local).await.map_err(|source| reading(local, source))?;
            files::push(self, local, &file, remote, mode, &place).await
        };
        self.call(what, limits, &place, push).await
    }

    async fn store(&self, local: &Path, folder: &str, mode: u32, limits: &Limits) -> Result<Stored, LinkError> {
        let place = Place::new();
        let store = async {
            let file = contents(local).await.map_err(|source| reading(local, source))?;
            let path = format!("{folder}/{}", file.sha256);
            let was_there = files::holds(self, &file, &path, &place).await?;
            if !was_there {
                files::push(self, local, &file, &path, mode, &place).await?;
            }
            Ok::<_, Cause>(Stored { path, was_there })
        };
        self.call(format!("storing {} in {folder}", local.display()), limits, &place, store).await
    }

    async fn pull(&self, remote: &str, local: &Path, limits: &Limits) -> Result<u64, LinkError> {
        let place = Place::new();
        let what = format!("fetching {remote} to {}", local.display());
        self.call(what, limits, &place, files::pull(self, remote, local, &place)).await
    }

    async fn stat(&self, remote: &str, limits: &Limits) -> Result<Option<Stat>, LinkError> {
        let place = Place::new();
        self.call(format!("looking at {remote}"), limits, &place, files::stat(self, remote, &place)).await
    }

    async fn forward(&self, listen: &Endpoint, to: &Endpoint, limits: &Limits) -> Result<Option<u16>, LinkError> {
        let place = Place::new();
        let call = async {
            // Of a phone that is not ready adb 29 refuses a forward without a word; to this question it has one.
            self.list_features(&place).await?;
            forward::forward(&self.server, &self.target, listen, to, &place).await
        };
        self.call(format!("forwarding {listen} to {to}"), limits, &place, call).await
    }

    async fn remove_forward(&self, listen: &Endpoint, limits: &Limits) -> Result<(), LinkError> {
        let place = Place::new();
        let call = forward::remove_forward(&self.server, &self.target, listen, &place);
        self.call(format!("ending the forward of {listen}"), limits, &place, call).await
    }

    async fn reverse(&self, listen: &Endpoint, to: &Endpoint, limits: &Limits) -> Result<Option<u16>, LinkError> {
        let place = Place::new();
        let call = forward::reverse(&self.server, &self.target, listen, to, &place);
        self.call(format!("reversing {listen} to {to}"), limits, &place, call).await
    }

    async fn remove_reverse(&self, listen: &Endpoint, limits: &Limits) -> Result<(), LinkError> {
        let place = Place::new();
        let call = forward::remove_reverse(&self.server, &self.target, listen, &place);
        self.call(format!("ending the reverse of {listen}"), limits, &place, call).await
    }

    async fn reboot(&self, target: RebootTarget, limits: &Limits) -> Result<(), LinkError> {
        let place = Place::new();
        let kind = match target {
            RebootTarget::System => RebootType::System,
            RebootTarget::Bootloader => RebootType::Bootloader,
            RebootTarget::Recovery => RebootType::Recovery,
        };
        let reboot = async {
            let relayed = relay::call(&self.server, &self.target, &place, move |device| device.reboot(kind)).await?;
            relayed.result.map_err(|error| relay::failure(error, &place))
        };
        self.call(format!("restarting into {target:?}"), limits, &place, reboot).await
    }

    async fn reconnect(&self, limits: &Limits) -> Result<(), LinkError> {
        let place = Place::new();
        let reconnect = async {
            let mut wire = self.server.connect_wire(&place).await?;
            wire.ask(Phase::Select, &format!("{}:reconnect", self.target.prefix())).await?;
            wire.text().await.map(drop)
        };
        self.call("reconnecting", limits, &place, reconnect).await
    }

    async fn wait_for(&self, state: &State, limits: &Limits) -> Result<(), LinkError> {
        let place = Place::new();
        self.call(format!("waiting for state {state}"), limits, &place, self.track_until(state, &place)).await
    }

    async fn features(&self, limits: &Limits) -> Result<Vec<String>, LinkError> {
        let place = Place::new();
        self.call("asking for its features", limits, &place, self.list_features(&place)).await
    }
}

fn reading(local: &Path, source: std::io::Error) -> Cause {
    Cause::Local { what: format!("reading {}", local.display()), source }
}
