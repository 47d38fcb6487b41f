//! One phone, looked after: performs what `core::lab::phone` decides.

use std::sync::Arc;
use std::time::Duration;

use seatrial_adb::{
    AdbLink, Cause, Connected, DeviceLink as _, Endpoint, Exec, ExecOutcome, Failure, Group, Keep, Life, LifeState,
    Limits, LinkError, Listed, Phase, RebootTarget, Refusal, Target, quote,
};
use seatrial_core::agents::AgentBuild;
use seatrial_core::lab::phone::{Act, Link, MUTE, Next, Phone, Powers, Trouble};
use seatrial_core::lab::seen::{Advice, Seen};
use seatrial_core::time::{Clock as _, Monotonic};
use tokio::sync::watch;

use super::builds::Missing;
use super::found::Found;
use super::host::Lab;
use super::{evidence, scripts, server, tell};
use crate::clock::{self, BootClock};

/// An agent ends by itself so long after its start; whoever looks after it starts another. One whose lab host never comes
/// back is gone then.
const LIMIT: Duration = Duration::from_hours(24);
const SHORT: Duration = Duration::from_secs(10);
/// Of a sign of life: with the heartbeat it is how soon a frozen phone is found.
const LOOK: Duration = Duration::from_secs(5);
/// Of collecting evidence and of killing.
const LONG: Duration = Duration::from_mins(1);
/// The list of phones is looked at each second.
const SETTLE: Duration = Duration::from_millis(1500);
const EVIDENCE: Keep = Keep { head: 256 << 10, tail: 64 << 10 };
/// Exit statuses of an agent that was asked to end: it drained, or had its time.
const ASKED: [u8; 3] = [0, 124, 143];

/// How a phone is listed; `None` while it is not.
pub(super) type Sight = Option<Listed>;

pub(super) struct Care {
    lab: Arc<Lab>,
    sight: watch::Receiver<Sight>,
    /// As it was listed last.
    listed: Listed,
    phone: Phone,
    found: Found,
    agent: Option<(AgentBuild, String)>,
    /// The file there of who may vouch for the server, where one must.
    authorities: Option<String>,
    /// The phone's end of the tunnel.
    port: Option<u16>,
    /// An agent that is not wanted any more finishes what it does.
    is_ending: bool,
    /// Since when the server does not hear an agent that lives.
    mute_since: Option<Monotonic>,
}

impl Care {
    pub(super) fn new(lab: Arc<Lab>, listed: Listed, sight: watch::Receiver<Sight>) -> Self {
        let powers = Powers {
            heartbeat: lab.config.heartbeat,
            may_reboot: lab.config.may_reboot,
            can_switch_port: lab.ports.can_switch(listed.usb.as_deref()),
        };
        let phone = Phone::new(powers, clock::boot());
        Self {
            lab,
            sight,
            listed,
            phone,
            found: Found::default(),
            agent: None,
            authorities: None,
            port: None,
            is_ending: false,
            mute_since: None,
        }
    }

    /// Until the lab host forgets the phone.
    pub(super) async fn run(mut self) {
        let mut transport = None;
        loop {
            let listed = self.sight.borrow_and_update().clone();
            let link = listed.as_ref().map_or(Link::Away, |listed| tell::meaning(&listed.state).0);
            if let Some(listed) = listed {
                let anew = transport.replace(listed.transport_id) != Some(listed.transport_id);
                self.listed = listed;
                self.phone.listed(link, anew, clock::boot());
            } else {
                self.phone.listed(link, false, clock::boot());
            }
            let wait = match self.phone.next(clock::boot()) {
                Next::Act(act) => {
                    let result = self.perform(act).await;
                    // A link that went in this moment is listed so soon after, and then the act has failed by that.
                    let changed = match result {
                        Err(Trouble::Silent) => tokio::time::timeout(SETTLE, self.sight.changed()).await,
                        Ok(()) | Err(_) => Ok(self.sight.has_changed().map(drop)),
                    };
                    match (result, changed) {
                        (_, Ok(Err(_))) => return,
                        (Err(Trouble::Silent), Ok(Ok(()))) => {}
                        (result, _) => self.phone.done(act, result, clock::boot()),
                    }
                    continue;
                }
                Next::WaitUntil(at) => at.since(clock::boot()),
                // Only a change of the link says more.
                Next::Wait => Duration::MAX,
            };
            let changed = tokio::time::timeout(wait, self.sight.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
        }
    }

    async fn perform(&mut self, act: Act) -> Result<(), Trouble> {
        let serial = self.listed.serial.clone();
        tracing::debug!(serial, ?act, "begun");
        let result = match act {
            Act::Identify => self.identify().await,
            Act::Install => self.install().await,
            Act::Tunnel => self.tunnel().await,
            Act::Start => self.start().await,
            Act::Check => self.check().await,
            Act::Collect => self.collect().await,
            Act::RestartLink => self.restart_link().await,
            Act::KillStray => self.link().kill(&self.group(), &Limits::within(LONG)).await.map_err(of_link),
            Act::Reboot => self.link().reboot(RebootTarget::System, &Limits::within(SHORT)).await.map_err(of_link),
            Act::PowerCycle => self.power_cycle().await,
            Act::Stop => self.stop().await,
            Act::CallPerson => {
                self.tell("lost", Advice::LookAtIt);
                Ok(())
            }
        };
        let step = self.phone.place_on_ladder().map(|(step, of)| format!("{step} of {of}"));
        match result {
            Ok(()) => {
                tracing::debug!(serial, ?act, "done");
                Ok(())
            }
            Err(Fault { trouble, why }) => {
                tracing::warn!(serial, ?act, ?trouble, step, why, "not done");
                Err(trouble)
            }
        }
    }

    fn link(&self) -> AdbLink {
        let target = match self.listed.transport_id {
            Some(id) => Target::Transport(id),
            None => Target::Serial(self.listed.serial.clone()),
        };
        AdbLink::new(self.lab.adb.clone(), target)
    }

    fn folder(&self) -> &str {
        &self.lab.config.phone_folder
    }

    fn group(&self) -> Group {
        Group::named(scripts::NAME, self.folder())
    }

    /// A command's standard output, when it ended well.
    async fn told(&self, command: String, within: Duration) -> Result<String, Fault> {
        let executed = self.link().exec(&Exec::new(command), &Limits::within(within)).await;
        match &executed.outcome {
            ExecOutcome::Exited(0) => Ok(executed.stdout.text()),
            ExecOutcome::Exited(_) | ExecOutcome::Signaled(_) => {
                Err(Fault::of(Trouble::Failed, executed.stderr.text().trim()))
            }
            ExecOutcome::TimedOut { .. }
            | ExecOutcome::Cancelled { .. }
            | ExecOutcome::TransportLost { .. }
            | ExecOutcome::Refused(_) => Err(match executed.outcome.failure() {
                Some(failure) => of_failure(&failure),
                None => Fault::of(Trouble::Silent, "no answer"),
            }),
        }
    }

    async fn identify(&mut self) -> Result<(), Fault> {
        let text = self.told(scripts::identify(self.folder()), SHORT).await?;
        let found = Found::parse(&text).ok_or_else(|| Fault::of(Trouble::Failed, "it tells no boot id"))?;
        if !found.is_up {
            return Err(Fault::of(Trouble::Elsewhere, "it is starting up"));
        }
        if !self.found.boot_id.is_empty() && self.found.boot_id != found.boot_id {
            tracing::warn!(serial = self.listed.serial, "it has restarted");
        }
        self.port = self.port.or(found.port);
        self.found = found;
        Ok(())
    }

    async fn install(&mut self) -> Result<(), Fault> {
        if self.found.abis.is_empty() {
            self.tell("no_agent", Advice::NoAgentExists);
            return Err(Fault::of(Trouble::Elsewhere, "there are no agents for its processor"));
        }
        let (build, path) = match self.lab.builds.best(&self.lab.server, &self.found.abis).await {
            Ok(found) => found,
            Err(Missing::None) => {
                self.tell("no_agent", Advice::AddAgent);
                let abis: Vec<String> = self.found.abis.iter().map(ToString::to_string).collect();
                return Err(Fault::of(Trouble::Elsewhere, &format!("the server has no agent for {}", abis.join(", "))));
            }
            Err(Missing::Failed(why)) => return Err(Fault::of(Trouble::Elsewhere, &why)),
        };
        let folder = format!("{}/bin", self.folder());
        // The semaphore is never closed: whoever waits gets a permit.
        let turn = self.lab.pushes.acquire().await;
        let stored = self.link().store(&path, &folder, 0o755, &Limits::for_bytes(build.size)).await.map_err(of_link)?;
        drop(turn);
        if !stored.was_there {
            tracing::info!(serial = self.listed.serial, version = build.version, abi = %build.abi, "agent installed");
        }
        self.agent = Some((build, stored.path));
        if let Some(authorities) = self.lab.authorities() {
            let limits = Limits::within(SHORT);
            let stored = self.link().store(authorities, self.folder(), 0o644, &limits).await.map_err(of_link)?;
            self.authorities = Some(stored.path);
        }
        Ok(())
    }

    /// The port of before, so that an agent that runs finds its server again; another where that is taken.
    async fn tunnel(&mut self) -> Result<(), Fault> {
        let (link, limits) = (self.link(), Limits::within(SHORT));
        let to = Endpoint::Address(self.lab.authority.clone());
        if let Some(port) = self.port {
            // A rule of before may be there or not: what then listens is the new one.
            let old = link.remove_reverse(&Endpoint::Tcp(port), &limits).await;
            if let Err(error) = old
                && !matches!(refusal(&error), Some(Refusal::NoSuchRule))
            {
                return Err(of_link(error));
            }
            match link.reverse(&Endpoint::Tcp(port), &to, &limits).await {
                Ok(_) => return Ok(()),
                Err(error) if refusal(&error) == Some(Refusal::InUse) => {}
                Err(error) => return Err(of_link(error)),
            }
        }
        self.port = link.reverse(&Endpoint::Tcp(0), &to, &limits).await.map_err(of_link)?;
        Ok(())
    }

    async fn start(&mut self) -> Result<(), Fault> {
        let (Some((_, path)), Some(port)) = (&self.agent, self.port) else {
            return Err(Fault::of(Trouble::Failed, "it has no agent or no tunnel"));
        };
        let program = self.program(path, port);
        let life = self.look().await?;
        if life.state == LifeState::Alive {
            if self.found.program == program {
                tracing::info!(serial = self.listed.serial, "agent found running");
                return Ok(());
            }
            // A second time would end what it finishes.
            if !std::mem::replace(&mut self.is_ending, true) {
                tracing::info!(serial = self.listed.serial, "agent is asked to end: it is not the one that is wanted");
                self.told(self.group().stop_script(), SHORT).await?;
            }
            return Ok(());
        }
        // A shell that was killed alone leaves its agent, which nobody must start a second beside.
        self.link().kill(&self.group(), &Limits::within(LONG)).await.map_err(of_link)?;
        let enrolment = self.enrolment().await?;
        let script = [
            scripts::note(self.folder(), port, &program, path),
            enrolment.map_or_else(String::new, |token| format!("export SEATRIAL_ENROL={}", quote(&token))),
            scripts::earlier(self.folder(), life.state),
            format!("( {} ) || echo asleep", scripts::keep_awake(self.folder())),
            self.group().start_script(&program, LIMIT, &scripts::restore_awake(self.folder())),
        ];
        let told = self.told(script.join("\n"), SHORT).await?;
        tracing::info!(serial = self.listed.serial, port, "agent started");
        if told.contains("asleep") {
            tracing::warn!(serial = self.listed.serial, "it may fall asleep: it does not let its settings be changed");
        }
        self.found.program = program;
        self.is_ending = false;
        self.mute_since = None;
        Ok(())
    }

    /// The agent's command line there.
    fn program(&self, path: &str, port: u16) -> String {
        let folder = format!("{}/agent", self.folder());
        let via = format!("127.0.0.1:{port}");
        let mut words: Vec<&str> = vec![path];
        words.extend(self.lab.config.agent_word.as_deref());
        words.extend(["run", "--server", &self.lab.server_address, "--via", &via]);
        words.extend(["--folder", &folder, "--launch", "adb_shell"]);
        if let Some(authorities) = &self.authorities {
            words.extend(["--ca", authorities]);
        }
        if let Some(serial) = &self.found.serial {
            words.extend(["--serial", serial]);
        }
        if let Some(usb) = &self.listed.usb {
            words.extend(["--usb-path", usb]);
        }
        words.extend(self.lab.config.agent_arguments.iter().map(String::as_str));
        words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
    }

    /// A one-time token, where the server wants to know who joins and the agent there has no token yet.
    async fn enrolment(&self) -> Result<Option<String>, Fault> {
        if self.found.is_enrolled || self.lab.config.token.is_none() {
            return Ok(None);
        }
        let token = server::one_time_token(&self.lab.server).await;
        token.map(Some).map_err(|why| Fault::of(Trouble::Elsewhere, &format!("no token for it: {why}")))
    }

    async fn look(&self) -> Result<Life, Fault> {
        let text = self.told(self.group().look_script(), LOOK).await?;
        Life::parse(&text).ok_or_else(|| Fault::of(Trouble::Failed, "what it tells of its agent cannot be read"))
    }

    async fn check(&mut self) -> Result<(), Fault> {
        let script = format!("{}\n{}", self.group().look_script(), scripts::device(self.folder()));
        let text = self.told(script, LOOK).await?;
        let life = Life::parse(&text)
            .ok_or_else(|| Fault::of(Trouble::Failed, "what it tells of its agent cannot be read"))?;
        if life.boot_id != self.found.boot_id {
            return Err(Fault::of(Trouble::AgentDied, "it has restarted"));
        }
        match life.state {
            LifeState::Alive => {
                self.lab.board.put(&tell::seen(&self.listed));
                self.heard(&text)
            }
            LifeState::Ended(Some(status)) if ASKED.contains(&status) => {
                Err(Fault::of(Trouble::AgentEnded, "the agent has ended as it was asked to"))
            }
            LifeState::Ended(Some(status)) => {
                Err(Fault::of(Trouble::AgentDied, &format!("the agent has ended with status {status}")))
            }
            LifeState::Ended(None) => {
                Err(Fault::of(Trouble::AgentDied, "the agent is gone, with the shell that would tell how"))
            }
        }
    }

    /// Whether the server hears an agent that lives, as far as both are known.
    fn heard(&mut self, text: &str) -> Result<(), Fault> {
        let device = text.lines().find_map(|line| line.trim().strip_prefix("device ")).filter(|id| !id.is_empty());
        let heard = match (device, &*self.lab.connected.borrow()) {
            (Some(device), Some(connected)) => connected.contains(device),
            (None, _) | (_, None) => true,
        };
        if heard {
            self.mute_since = None;
            return Ok(());
        }
        let now = clock::boot();
        if now.since(*self.mute_since.get_or_insert(now)) < MUTE {
            return Ok(());
        }
        self.mute_since = None;
        Err(Fault::of(Trouble::Mute, "the agent lives, and the server does not hear it"))
    }

    async fn collect(&self) -> Result<(), Fault> {
        let exec = Exec::new(scripts::evidence(self.folder())).keeping(EVIDENCE);
        let executed = self.link().exec(&exec, &Limits::within(LONG)).await;
        let text = executed.stdout.text();
        let path = evidence::keep(&self.lab.folder, &self.listed.serial, BootClock.now(), &text)
            .map_err(|error| Fault::of(Trouble::Elsewhere, &format!("keeping what the phone tells: {error}")))?;
        tracing::warn!(serial = self.listed.serial, path = %path.display(), "what the phone tells of it is kept");
        Ok(())
    }

    async fn restart_link(&self) -> Result<(), Fault> {
        let limits = Limits::within(SHORT);
        let serial = &self.listed.serial;
        // By TCP the serial is an address. Debugging by TCP that is off is never switched on.
        if self.listed.usb.is_some() || !serial.contains(':') {
            return self.link().reconnect(&limits).await.map_err(of_link);
        }
        self.lab.adb.disconnect(serial, &limits).await.map_err(of_link)?;
        match self.lab.adb.connect(serial, &limits).await.map_err(of_link)? {
            Connected::New | Connected::Already | Connected::NotYetAccepted => Ok(()),
            Connected::Failed(why) => Err(Fault::of(Trouble::Silent, &why)),
        }
    }

    async fn power_cycle(&self) -> Result<(), Fault> {
        let cycled = self.lab.ports.cycle(self.listed.usb.as_deref(), &self.listed.serial).await;
        cycled.map_err(|why| Fault::of(Trouble::Silent, &why))
    }

    async fn stop(&self) -> Result<(), Fault> {
        self.tell("resting", Advice::ChangeCable);
        self.told(self.group().stop_script(), SHORT).await.map(drop)
    }

    fn tell(&self, state: &str, advice: Advice) {
        let (serial, usb_path) = (self.listed.serial.clone(), self.listed.usb.clone());
        let seen = Seen { serial, usb_path, state: state.to_owned(), advice: Some(advice) };
        if self.lab.board.put(&seen) {
            tell::line(&seen);
        }
    }
}

/// An act that did not do what it should.
#[derive(Debug)]
struct Fault {
    trouble: Trouble,
    why: String,
}

impl Fault {
    fn of(trouble: Trouble, why: &str) -> Self {
        Self { trouble, why: why.to_owned() }
    }
}

fn refusal(error: &LinkError) -> Option<Refusal> {
    match error.failure() {
        Some(Failure::Refused(refused)) => Some(refused.kind),
        Some(Failure::TimedOut { .. } | Failure::Cancelled { .. } | Failure::TransportLost { .. }) | None => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn of_link(error: LinkError) -> Fault {
    let why = error.to_string();
    match &error.cause {
        Cause::Link(failure) => Fault { why, ..of_failure(failure) },
        Cause::Local { .. } => Fault { trouble: Trouble::Elsewhere, why },
        Cause::Device(_) => Fault { trouble: Trouble::Failed, why },
    }
}

fn of_failure(failure: &Failure) -> Fault {
    let trouble = match failure {
        // The adb server is away: that says nothing of the phone.
        Failure::TransportLost { phase: Phase::Connect, .. } => Trouble::Elsewhere,
        Failure::TimedOut { .. } | Failure::Cancelled { .. } | Failure::TransportLost { .. } => Trouble::Silent,
        Failure::Refused(refused) if refused.kind.passes() => Trouble::Silent,
        Failure::Refused(_) => Trouble::Failed,
    };
    Fault { trouble, why: failure.to_string() }
}
