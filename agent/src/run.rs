//! `agent run`: the driver around [`seatrial_core::session`]. It opens streams, starts attempts, reads and writes the
//! spool, and keeps time; what to do and when is decided there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fs_err as fs;
use seatrial_core::device::{Evidence, Profile};
use seatrial_core::digest::Digest;
use seatrial_core::energy::BatteryFacts;
use seatrial_core::failure::Death;
use seatrial_core::job::{AttemptRef, JobSpec};
use seatrial_core::outcome::Outcome;
use seatrial_core::report::Report;
use seatrial_core::session::{Effect, Held, Input, Moment, Progress, Session, Settings, Shutdown, Stop, ToServer};
use seatrial_core::time::Monotonic;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::attempt::{self, Guard, News, Order, Preflight, Source, Step, StopSignal};
use crate::cache::{Cache, FetchError, Hold, Patience, Remote};
use crate::clock;
use crate::death::{self, Earlier};
use crate::energy::{self, Hook, Kept};
use crate::find_me;
use crate::folder::{Folder, FolderError};
use crate::interpreters::Interpreters;
use crate::isolation::{self, Mark};
use crate::link::{LinkError, LinkEvent, Server, Stream, TlsFiles};
use crate::probe::Probe;
use crate::probes::Probes;
use crate::spool::{Spool, SpoolError};
use crate::wire::{self, Boots, Introduction};

/// While an attempt runs the driver looks at least this often: timers stand still while a device sleeps.
const LOOK: Duration = Duration::from_millis(500);
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// How often a device that has nothing to do tells how it is.
const TELL_VITALS: Duration = Duration::from_secs(15);
/// How long what earlier processes left may take to go.
const SWEEP: Duration = Duration::from_secs(10);

/// What `agent run` is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http://host:port` or `https://host:port`.
    pub server: String,
    /// `ip:port` of a tunnel to it.
    pub via: Option<String>,
    pub folder: PathBuf,
    /// A token given by hand; else the one from an earlier enrolment.
    pub token: Option<String>,
    /// One-time token, used when there is no other.
    pub enrolment: Option<String>,
    /// PEM file of authorities; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// PEM files of this device's own certificate and its key; both or neither.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub cache_bytes: u64,
    pub spool_bytes: u64,
    pub preflight: Preflight,
    pub child_command: Vec<OsString>,
    /// Root of the file system that is probed.
    pub root: PathBuf,
    pub launch: String,
    /// Stands in for serial and machine id, where several agents share one machine.
    pub identity: Option<String>,
    /// What a lab host knows of this device and this process may not read.
    pub serial: Option<String>,
    pub usb_path: Option<String>,
    /// What is known of the agent before this one.
    pub earlier: Earlier,
    pub simulated: bool,
    /// What runs runners here.
    pub interpreters: Interpreters,
    /// What is run when somebody looks for this device.
    pub find_me: Option<PathBuf>,
    /// A meter beside the device.
    pub meter: Option<Hook>,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{what} failed: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("processes {0:?} of an earlier agent do not end: end them by hand")]
    Orphans(Vec<i32>),
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Io { what, source }
}

/// Runs until it is asked to stop.
pub fn run(config: Config) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io_error("starting the event loop"))?;
    runtime.block_on(async {
        let (mut driver, events) = Driver::start(config).await?;
        driver.drive(events).await
    })
}

/// What an attempt's thread tells the driver.
#[derive(Debug)]
enum AttemptEvent {
    Progressed(Progress),
    Orphans { attempt: AttemptRef, processes: Vec<i32> },
    Ended { attempt: AttemptRef, report: Box<Report> },
}

struct Events {
    link: mpsc::Receiver<(u64, LinkEvent)>,
    attempt: mpsc::Receiver<AttemptEvent>,
    terminate: Signal,
    interrupt: Signal,
}

struct Driver {
    config: Config,
    folder: Arc<Folder>,
    spool: Spool,
    cache: Cache,
    probe: Probe,
    boots: Boots,
    /// How the agent before this one died, where it lost attempts.
    death: Option<Death>,
    probes: Probes,
    battery: OnceLock<Option<BatteryFacts>>,
    server: Server,
    session: Session,
    stream: Option<Stream>,
    generation: u64,
    running: Option<RunningAttempt>,
    artifact_prefix: String,
    link_events: mpsc::Sender<(u64, LinkEvent)>,
    attempt_events: mpsc::Sender<AttemptEvent>,
    wake: Monotonic,
    /// When the device told how it is; `None` in a session in which it has not.
    told_vitals: Option<Monotonic>,
}

struct RunningAttempt {
    attempt: AttemptRef,
    stop: StopSignal,
    thread: JoinHandle<()>,
}

impl Driver {
    async fn start(config: Config) -> Result<(Self, Events), RunError> {
        let folder = Arc::new(Folder::open(&config.folder)?);
        attempt::prepare_process();
        // Orphans go before the server hears of this agent, so that no job is offered beside one.
        let swept = isolation::sweep_agent(folder.path(), SWEEP).map_err(RunError::Orphans)?;
        if swept > 0 {
            tracing::warn!(processes = swept, "ended processes that an earlier agent left");
        }
        let (spool, held) = recover(&folder, config.spool_bytes)?;
        let boots = boots(&folder, &config.root);
        let pid = death::swap_pid(&folder);
        let cache =
            Cache::open(&folder.path().join("cache"), config.cache_bytes).map_err(io_error("opening the cache"))?;
        let probe = Probe::new(&config.root);
        let death = death::of_earlier(&folder, &probe, &held.lost, pid, &config.earlier, &boots);
        let token = config.token.clone().or_else(|| folder.token());
        let files = TlsFiles {
            authorities: config.authorities.as_deref(),
            certificate: config.certificate.as_deref(),
            key: config.key.as_deref(),
        };
        let mut server = Server::new(&config.server, config.via.as_deref(), files, token)?;
        if let (None, Some(one_time)) = (&server.token, &config.enrolment) {
            let own = server.enrol(one_time, &evidence(&config, &folder, &probe)).await?;
            folder.remember_token(&own).map_err(io_error("keeping the device's token"))?;
            tracing::info!("enrolled");
            server.token = Some(own);
        }
        let (link_events, link) = mpsc::channel(64);
        let (attempt_events, attempt) = mpsc::channel(64);
        let events = Events {
            link,
            attempt,
            terminate: signal(SignalKind::terminate()).map_err(io_error("listening for SIGTERM"))?,
            interrupt: signal(SignalKind::interrupt()).map_err(io_error("listening for SIGINT"))?,
        };
        let now = clock::boot();
        let driver = Self {
            session: Session::new(Settings::default(), held, now),
            probes: Probes::new(folder.path().join("probes")),
            battery: OnceLock::new(),
            config,
            folder,
            spool,
            cache,
            probe,
            boots,
            death,
            server,
            stream: None,
            generation: 0,
            running: None,
            artifact_prefix: "/artifacts/".to_owned(),
            link_events,
            attempt_events,
            wake: now,
            told_vitals: None,
        };
        Ok((driver, events))
    }

    /// One event in, its effects out, until the session says that it is over.
    async fn drive(&mut self, mut events: Events) -> Result<(), RunError> {
        let mut input = Some(Input::Tick);
        loop {
            if let Some(input) = input.take()
                && self.handle(input)?
            {
                break;
            }
            input = self.next(&mut events).await;
        }
        if let Some(stream) = self.stream.take() {
            stream.flush(Duration::from_secs(1)).await;
        }
        tracing::info!("stopped");
        Ok(())
    }

    async fn next(&mut self, events: &mut Events) -> Option<Input> {
        let sleep = self.wake.since(clock::boot()).min(if self.running.is_some() { LOOK } else { LONGEST_SLEEP });
        tokio::select! {
            biased;
            _ = events.terminate.recv() => Some(Self::asked_to_stop()),
            _ = events.interrupt.recv() => Some(Self::asked_to_stop()),
            Some(event) = events.attempt.recv() => Some(self.attempt_event(event)),
            Some((generation, event)) = events.link.recv() => self.link_event(generation, event),
            () = tokio::time::sleep(sleep) => Some(Input::Tick),
        }
    }

    /// The first signal drains, the second does not wait.
    fn asked_to_stop() -> Input {
        static ASKED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        if ASKED.swap(true, std::sync::atomic::Ordering::Relaxed) {
            tracing::warn!("stopping at once");
            Input::Shutdown(Shutdown::Hard)
        } else {
            tracing::info!("draining: finishing what runs; a second signal stops at once");
            Input::Shutdown(Shutdown::Drain)
        }
    }

    fn link_event(&self, generation: u64, event: LinkEvent) -> Option<Input> {
        if generation != self.generation || self.stream.is_none() {
            return None;
        }
        Some(match event {
            LinkEvent::Connected => Input::Connected,
            LinkEvent::Received(message) => Input::Received(message),
            LinkEvent::FindMe => {
                self.show_itself();
                return None;
            }
            LinkEvent::Closed(reason) => {
                tracing::warn!(reason, "no stream to the server");
                Input::Disconnected { reason }
            }
        })
    }

    /// Answers in its own time: nothing waits for a phone that vibrates.
    fn show_itself(&self) {
        let Some(outgoing) = self.stream.as_ref().map(Stream::outgoing) else { return };
        let (is_busy, program) = (self.running.is_some(), self.config.find_me.clone());
        tokio::spawn(async move {
            let result = if is_busy {
                Err("it works on a job, which that would disturb; try again when it has ended".to_owned())
            } else {
                find_me::show(program).await
            };
            let _ = outgoing.send(wire::found(result)).await; // the stream may have ended
        });
    }

    fn attempt_event(&mut self, event: AttemptEvent) -> Input {
        match event {
            AttemptEvent::Progressed(progress) => Input::Progressed(progress),
            AttemptEvent::Orphans { attempt, processes } => Input::Orphans { attempt, processes },
            AttemptEvent::Ended { attempt, report } => self.attempt_ended(attempt, *report),
        }
    }

    // --- effects ---

    /// True when the agent may leave.
    fn handle(&mut self, input: Input) -> Result<bool, RunError> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let moment = Moment { now: clock::boot(), jitter: rand::random() };
            for effect in self.session.step(moment, input) {
                if effect == Effect::Exit {
                    return Ok(true);
                }
                inputs.extend(self.perform(effect)?);
            }
        }
        Ok(false)
    }

    /// Performs one effect; what comes of it at once is the next input.
    fn perform(&mut self, effect: Effect) -> Result<Option<Input>, RunError> {
        match effect {
            Effect::Connect => {
                self.generation += 1;
                self.stream = Some(self.server.open(self.generation, self.link_events.clone()));
            }
            Effect::Disconnect => self.stream = None,
            Effect::Send(message) => return Ok(self.send(message)),
            Effect::Deliver(attempt) => return Ok(self.deliver(attempt)),
            Effect::Discard { attempt, refused } => self.discard(attempt, refused),
            Effect::Start { attempt, spec } => return Ok(self.start_attempt(attempt, *spec)),
            Effect::Abort { attempt, stop } => self.abort(attempt, stop),
            Effect::Remember { device, artifact_prefix } => {
                self.folder.remember_device(&device).map_err(io_error("keeping the device's id"))?;
                self.artifact_prefix = artifact_prefix;
                self.told_vitals = None;
                tracing::info!(device, "in session with the server");
            }
            Effect::ForgetLost(attempts) => {
                for attempt in attempts {
                    forget(&self.folder, attempt);
                }
            }
            Effect::WakeAt(at) => self.wake = at,
            Effect::Exit => {}
        }
        Ok(None)
    }

    fn send(&mut self, message: ToServer) -> Option<Input> {
        let now = clock::boot();
        if message == ToServer::Heartbeat
            && self.running.is_none()
            && self.told_vitals.is_none_or(|told| now.since(told) >= TELL_VITALS)
            && let Some(vitals) = wire::vitals(&self.probe.battery(), self.probe.hottest_chip())
        {
            self.told_vitals = Some(now);
            return self.queue(vitals);
        }
        let introduce = || Introduction {
            evidence: evidence(&self.config, &self.folder, &self.probe),
            profile: Profile {
                packages: self.probes.all(),
                interpreters: self.config.interpreters.versions(),
                battery: self.battery(),
                ..self.probe.profile(self.config.simulated)
            },
            raw_evidence: self.probe.raw_evidence().cloned(),
            boots: self.boots.clone(),
            death: self.death.clone(),
        };
        match wire::to_wire(message, introduce) {
            Ok(message) => self.queue(message),
            Err(error) => {
                tracing::error!(%error, "a message could not be written");
                None
            }
        }
    }

    /// What the battery told at the first hello: to ask again takes time and power.
    fn battery(&self) -> Option<BatteryFacts> {
        let facts = self.battery.get_or_init(|| energy::facts(&self.config.root)).clone()?;
        Some(BatteryFacts { calibration: self.gauge().calibration(&self.probe.build()), ..facts })
    }

    /// What is known of the battery's gauge.
    fn gauge(&self) -> Kept {
        Kept::new(self.folder.path().join("energy"))
    }

    fn queue(&mut self, message: seatrial_proto::v1::AgentMessage) -> Option<Input> {
        let sent = self.stream.as_ref().is_some_and(|stream| stream.send(message));
        if sent {
            return None;
        }
        self.stream = None;
        Some(Input::Disconnected { reason: "the server does not take what is sent to it".to_owned() })
    }

    fn deliver(&mut self, attempt: AttemptRef) -> Option<Input> {
        match self.spool.read(attempt).map(|bytes| wire::decode_report(&bytes)) {
            Ok(Ok(message)) => self.queue(message),
            Ok(Err(error)) => {
                tracing::error!(%attempt, %error, "a spooled report cannot be read");
                Some(Input::Undeliverable(attempt))
            }
            Err(error) => {
                tracing::error!(%attempt, %error, "a report cannot be delivered");
                Some(Input::Undeliverable(attempt))
            }
        }
    }

    fn discard(&mut self, attempt: AttemptRef, refused: Option<String>) {
        if let Some(reason) = refused {
            tracing::warn!(%attempt, reason, "the server refused the report");
        }
        if let Err(error) = self.spool.remove(attempt) {
            // It is offered again after a restart, and acknowledged again.
            tracing::warn!(%attempt, %error, "a delivered report stays in the spool");
        }
    }

    // --- the attempt ---

    /// A thread that cannot be had is the end of the attempt, not of the agent: that would be offered the same again.
    fn start_attempt(&mut self, attempt: AttemptRef, spec: JobSpec) -> Option<Input> {
        tracing::info!(%attempt, model = spec.model.model, backend = %spec.backend, "starting");
        let stop = StopSignal::default();
        let kept = spec.clone();
        let worker = Worker {
            attempt,
            folder: Arc::clone(&self.folder),
            source: CacheSource {
                cache: self.cache.clone(),
                remote: Remote {
                    client: self.server.http.clone(),
                    prefix: format!("{}{}", self.server.address, self.artifact_prefix),
                    token: self.server.token.clone(),
                },
                runtime: Handle::current(),
                holds: Vec::new(),
            },
            order: Order {
                spec,
                mark: Mark {
                    attempt: format!("{}:{}", attempt.job, attempt.attempt),
                    agent: self.folder.path().to_owned(),
                },
                folder: PathBuf::new(),
                child_command: self.config.child_command.clone(),
                preflight: self.config.preflight.clone(),
                guard: Guard::default(),
                root: self.config.root.clone(),
                launch: self.config.launch.clone(),
                references: None,
                probes: Some(self.probes.clone()),
                interpreters: self.config.interpreters.clone(),
                gauge: Some(self.gauge()),
                meter: self.config.meter.clone(),
                outlast_orphans: true,
            },
            stop: stop.clone(),
            events: self.attempt_events.clone(),
        };
        match spawn(worker) {
            Ok(thread) => {
                self.running = Some(RunningAttempt { attempt, stop, thread });
                None
            }
            Err(error) => {
                let error = io::Error::new(error.kind(), format!("starting the attempt's thread: {error}"));
                Some(self.attempt_ended(attempt, attempt::not_begun(&kept, &error)))
            }
        }
    }

    fn abort(&mut self, attempt: AttemptRef, stop: Stop) {
        tracing::warn!(%attempt, ?stop, "stopping");
        if let Some(running) = self.running.as_ref().filter(|running| running.attempt == attempt) {
            running.stop.set(stop);
        }
    }

    /// The report enters the spool before the attempt's mark goes: a kill between both delivers it, never loses it.
    fn attempt_ended(&mut self, attempt: AttemptRef, report: Report) -> Input {
        let running = self.running.take();
        let stop = running.as_ref().and_then(|running| running.stop.get().cloned());
        if let Some(running) = running
            && running.thread.join().is_err()
        {
            tracing::error!(%attempt, "the attempt's thread panicked after its report");
        }
        tracing::info!(%attempt, outcome = %report.outcome, message = report.message, "ended");
        let may_record = self.session.may_record(attempt, clock::boot());
        let reported = match stop {
            Some(Stop::NotOurs(_) | Stop::Shutdown) => false,
            Some(Stop::Cancelled(_)) | None if !may_record => {
                tracing::warn!(%attempt, "its grant has ended: the report is dropped");
                false
            }
            Some(Stop::Cancelled(_)) | None => self.keep_report(attempt, report),
        };
        // A hard stop leaves the mark: the next process declares the attempt lost, as it is.
        if stop != Some(Stop::Shutdown) {
            forget(&self.folder, attempt);
        }
        Input::Ended { attempt, reported }
    }

    fn keep_report(&mut self, attempt: AttemptRef, report: Report) -> bool {
        fail::fail_point!("report-before-spool");
        let essence = essential(&report);
        let (outcome, error) = match wire::encode_report(attempt, report) {
            Ok(bytes) => match self.spool.put(attempt, &bytes, false) {
                Ok(()) => return true,
                Err(error) => {
                    (if error.is_full() { Outcome::StorageFull } else { Outcome::HarnessError }, error.to_string())
                }
            },
            // Trying again would end the same way.
            Err(error) => (Outcome::HarnessError, error.to_string()),
        };
        tracing::error!(%attempt, error, "the report cannot be kept; keeping what is essential of it");
        let Ok(bytes) = wire::encode_report(attempt, essence(outcome, &error)) else { return false };
        match self.spool.put(attempt, &bytes, true) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%attempt, %error, "not even that: it stays in memory");
                self.spool.put_in_memory(attempt, bytes)
            }
        }
    }
}

/// Reports that wait, and attempts that an earlier process lost.
fn recover(folder: &Folder, spool_bytes: u64) -> Result<(Spool, Held), RunError> {
    let (spool, found) = Spool::open(&folder.path().join("spool"), spool_bytes)?;
    for attempt in &found.damaged {
        tracing::error!(%attempt, "its report in the spool was damaged and is set aside");
    }
    let mut lost = found.damaged;
    for attempt in folder.unfinished().map_err(io_error("reading the attempts"))? {
        if found.pending.contains(&attempt) {
            forget(folder, attempt);
        } else if !lost.contains(&attempt) {
            tracing::warn!(%attempt, "was lost with an earlier process of this agent");
            lost.push(attempt);
        }
    }
    Ok((spool, Held { pending: found.pending, lost }))
}

/// The boot that this process runs in, kept for the next one, and the boot of the process before. Without them nobody
/// knows whether the device has restarted, and that is all.
fn boots(folder: &Folder, root: &Path) -> Boots {
    let path = folder.path().join("boot");
    let read = |path: &Path| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let boots = Boots { now: read(&root.join("proc/sys/kernel/random/boot_id")), before: read(&path) };
    if let Err(error) = fs::write(&path, &boots.now) {
        tracing::warn!(%error, "the boot of the device cannot be noted");
    }
    boots
}

/// What a job has left can cost some disk, never the agent.
fn forget(folder: &Folder, attempt: AttemptRef) {
    if let Err(error) = folder.end(attempt) {
        tracing::warn!(%attempt, %error, "the attempt's folder stays");
    }
}

fn evidence(config: &Config, folder: &Folder, probe: &Probe) -> Evidence {
    let probed = match &config.identity {
        Some(identity) => Evidence { hardware_serial: Some(identity.clone()), ..Evidence::default() },
        None => probe.evidence(),
    };
    Evidence {
        agent_id: folder.device(),
        hardware_serial: probed.hardware_serial.clone().or_else(|| config.serial.clone()),
        usb_path: config.usb_path.clone(),
        ..probed
    }
}

/// A report of a few hundred bytes that says what could not be kept.
fn essential(report: &Report) -> impl Fn(Outcome, &str) -> Report + use<> {
    let essence = Report {
        stages: Vec::new(),
        processes: Vec::new(),
        blocks: Vec::new(),
        sensors: Vec::new(),
        golden: Vec::new(),
        figures: Vec::new(),
        log: String::new(),
        ..report.clone()
    };
    let ended = report.outcome;
    move |outcome, why| Report {
        outcome,
        message: Some(format!("the attempt ended with {ended}, but its report could not be kept: {why}")),
        ..essence.clone()
    }
}

/// One attempt in its thread.
struct Worker {
    attempt: AttemptRef,
    folder: Arc<Folder>,
    source: CacheSource,
    order: Order,
    stop: StopSignal,
    events: mpsc::Sender<AttemptEvent>,
}

impl Worker {
    fn work(mut self) {
        let attempt = self.attempt;
        let events = self.events.clone();
        // A driver that is gone hears nothing, and stops everything by its own end.
        let mut on_news = |news| {
            let _ = events.blocking_send(match news {
                News::Step(Step { stage, at, share }) => {
                    AttemptEvent::Progressed(Progress { attempt, stage, at, share })
                }
                News::Orphans(processes) => AttemptEvent::Orphans { attempt, processes },
            });
        };
        let report = match self.folder.begin(attempt) {
            Ok(folder) => {
                self.order.folder = folder;
                attempt::perform(&self.order, &mut self.source, &self.stop, &mut on_news)
            }
            Err(error) => attempt::not_begun(&self.order.spec, &error),
        };
        let _ = self.events.blocking_send(AttemptEvent::Ended { attempt, report: Box::new(report) });
    }
}

fn spawn(worker: Worker) -> io::Result<JoinHandle<()>> {
    fail::fail_point!("attempt-spawn", |_| Err(io::ErrorKind::WouldBlock.into()));
    thread::Builder::new().name("attempt".to_owned()).spawn(move || worker.work())
}

/// The cache as a source: what an attempt uses is held until the attempt is over.
struct CacheSource {
    cache: Cache,
    remote: Remote,
    runtime: Handle,
    holds: Vec<Hold>,
}

impl Source for CacheSource {
    fn place(&mut self, digest: Digest, size: u64, place: &Path, patience: Patience<'_>) -> Result<u64, FetchError> {
        let hold = self.runtime.block_on(self.cache.obtain(digest, size, &self.remote, patience))?;
        hold.link_to(place).map_err(|source| FetchError::Io { digest, source })?;
        let moved = hold.moved;
        self.holds.push(hold);
        Ok(moved)
    }
}
