//! The present, for pages and command lines.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use futures::{Stream, StreamExt as _};
use seatrial_core::ids::{DeviceId, RunId};
use seatrial_core::job::AttemptRef;
use seatrial_core::lab::seen::Seen;
use seatrial_core::live::{Event, Live, LiveDevice, LiveJob, LiveSeen, Vitals};
use seatrial_core::stage::Stage;
use seatrial_core::time::Monotonic;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::Fleet;

/// Events that a reader may fall behind before it gets a gap.
const EVENTS: usize = 4096;

/// Jobs and devices at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub queued: u64,
    pub running: u64,
    pub devices: u64,
}

/// Lab hosts whose lists are kept; the one that was silent longest makes room.
const MAX_HOSTS: usize = 64;

/// What a lab host told last.
struct Told {
    at: Monotonic,
    seen: Vec<Seen>,
}

pub(super) struct Now {
    devices: RwLock<HashMap<DeviceId, Entry>>,
    hosts: RwLock<BTreeMap<String, Told>>,
    open_jobs: std::sync::atomic::AtomicU64,
    events: broadcast::Sender<Event>,
}

struct Entry {
    since: Monotonic,
    draining: bool,
    job: Option<Job>,
    vitals: Option<Vitals>,
}

struct Job {
    attempt: AttemptRef,
    /// `None` of a health check.
    run: Option<RunId>,
    stage: Stage,
    progress: Option<f64>,
    since: Monotonic,
}

impl Now {
    pub(super) fn new() -> Self {
        Self {
            devices: RwLock::default(),
            hosts: RwLock::default(),
            open_jobs: 0.into(),
            events: broadcast::channel(EVENTS).0,
        }
    }

    pub(super) fn announce(&self, event: Event) {
        let _ = self.events.send(event); // nobody listens: nobody misses it
    }

    pub(super) fn set_open_jobs(&self, open: usize) {
        self.open_jobs.store(open as u64, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn attached(&self, device: DeviceId, since: Monotonic) {
        let mut devices = self.write();
        let entry = devices.entry(device).or_insert(Entry { since, draining: false, job: None, vitals: None });
        entry.since = since;
        entry.draining = false;
        drop(devices);
        self.announce(Event::Device(device));
    }

    pub(super) fn detached(&self, device: DeviceId) {
        self.write().remove(&device);
        self.announce(Event::Device(device));
    }

    pub(super) fn leaving(&self, device: DeviceId) {
        if let Some(entry) = self.write().get_mut(&device) {
            entry.draining = true;
        }
        self.announce(Event::Device(device));
    }

    /// Nobody is told of it: pages look again by themselves.
    pub(super) fn feels(&self, device: DeviceId, vitals: Vitals) {
        if let Some(entry) = self.write().get_mut(&device) {
            entry.vitals = Some(vitals);
        }
    }

    /// A lab host has told what it sees, all of it.
    pub(super) fn told(&self, host: String, seen: Vec<Seen>, at: Monotonic) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if !hosts.contains_key(&host) && hosts.len() >= MAX_HOSTS {
            let silent = hosts.iter().min_by_key(|(_, told)| told.at).map(|(host, _)| host.clone());
            if let Some(silent) = silent {
                hosts.remove(&silent);
            }
        }
        if seen.is_empty() {
            hosts.remove(&host);
        } else {
            hosts.insert(host, Told { at, seen });
        }
        drop(hosts);
        self.announce(Event::Gap); // it names no device of ours
    }

    /// `run`: none of a health check.
    pub(super) fn began(&self, device: DeviceId, run: Option<RunId>, attempt: AttemptRef, since: Monotonic) {
        if let Some(entry) = self.write().get_mut(&device) {
            entry.job = Some(Job { attempt, run, stage: Stage::Fetch, progress: None, since });
        }
        self.announce(run.map_or(Event::Device(device), |run| Event::Job { run, job: attempt.job }));
    }

    /// Whether the stage is another one than before.
    pub(super) fn moved_on(&self, device: DeviceId, attempt: AttemptRef, stage: Stage, progress: Option<f64>) -> bool {
        let mut devices = self.write();
        let job = devices.get_mut(&device).and_then(|entry| entry.job.as_mut());
        let Some(job) = job.filter(|job| job.attempt == attempt) else { return true };
        let (run, moved) = (job.run, job.stage != stage);
        job.stage = stage;
        job.progress = progress;
        drop(devices);
        if let Some(run) = run.filter(|_| moved) {
            self.announce(Event::Job { run, job: attempt.job });
        }
        moved
    }

    pub(super) fn ended(&self, device: DeviceId, attempt: AttemptRef) {
        if let Some(entry) = self.write().get_mut(&device)
            && entry.job.as_ref().is_some_and(|job| job.attempt == attempt)
        {
            entry.job = None;
        }
    }

    pub(super) fn is_connected(&self, device: DeviceId) -> bool {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).contains_key(&device)
    }

    pub(super) fn attempt_of(&self, device: DeviceId) -> Option<AttemptRef> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        devices.get(&device)?.job.as_ref().map(|job| job.attempt)
    }

    pub(super) fn counts(&self) -> Counts {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let of_run = |entry: &&Entry| entry.job.as_ref().is_some_and(|job| job.run.is_some());
        let running = devices.values().filter(of_run).count() as u64;
        let open = self.open_jobs.load(std::sync::atomic::Ordering::Relaxed);
        Counts { queued: open.saturating_sub(running), running, devices: devices.len() as u64 }
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<DeviceId, Entry>> {
        self.devices.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live for Fleet {
    fn devices(&self) -> Vec<LiveDevice> {
        let shared = &self.inner.shared;
        let now = shared.clock.monotonic();
        let devices = shared.now.devices.read().unwrap_or_else(PoisonError::into_inner);
        let live = |(&device, entry): (&DeviceId, &Entry)| LiveDevice {
            device,
            session_age: now.since(entry.since),
            draining: entry.draining,
            vitals: entry.vitals,
            check: entry.job.as_ref().filter(|job| job.run.is_none()).map(|job| job.stage),
            job: entry.job.as_ref().and_then(|job| {
                Some(LiveJob {
                    job: job.attempt.job,
                    run: job.run?,
                    attempt: job.attempt.attempt,
                    stage: job.stage,
                    progress: job.progress,
                    age: now.since(job.since),
                })
            }),
        };
        devices.iter().map(live).collect()
    }

    fn seen(&self) -> Vec<LiveSeen> {
        let shared = &self.inner.shared;
        let now = shared.clock.monotonic();
        let hosts = shared.now.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let of_host = |(host, told): (&String, &Told)| {
            let age = now.since(told.at);
            let live = |seen: &Seen| LiveSeen { host: host.clone(), seen: seen.clone(), age };
            told.seen.iter().map(live).collect::<Vec<_>>()
        };
        hosts.iter().flat_map(of_host).collect()
    }

    fn events(&self) -> Pin<Box<dyn Stream<Item = Event> + Send>> {
        let events = BroadcastStream::new(self.inner.shared.now.events.subscribe());
        Box::pin(events.map(|event| match event {
            Ok(event) => event,
            Err(BroadcastStreamRecvError::Lagged(_)) => Event::Gap,
        }))
    }
}
