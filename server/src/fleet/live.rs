//! The present, for pages and command lines.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use futures::{Stream, StreamExt as _};
use seatrial_core::ids::{DeviceId, RunId};
use seatrial_core::job::AttemptRef;
use seatrial_core::live::{Event, Live, LiveDevice, LiveJob};
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

pub(super) struct Now {
    devices: RwLock<HashMap<DeviceId, Entry>>,
    open_jobs: std::sync::atomic::AtomicU64,
    events: broadcast::Sender<Event>,
}

struct Entry {
    since: Monotonic,
    draining: bool,
    job: Option<Job>,
}

struct Job {
    attempt: AttemptRef,
    run: RunId,
    stage: Stage,
    progress: Option<f64>,
    since: Monotonic,
}

impl Now {
    pub(super) fn new() -> Self {
        Self { devices: RwLock::default(), open_jobs: 0.into(), events: broadcast::channel(EVENTS).0 }
    }

    pub(super) fn announce(&self, event: Event) {
        let _ = self.events.send(event); // nobody listens: nobody misses it
    }

    pub(super) fn set_open_jobs(&self, open: usize) {
        self.open_jobs.store(open as u64, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn attached(&self, device: DeviceId, since: Monotonic) {
        let mut devices = self.write();
        let entry = devices.entry(device).or_insert(Entry { since, draining: false, job: None });
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

    pub(super) fn began(&self, device: DeviceId, run: RunId, attempt: AttemptRef, since: Monotonic) {
        if let Some(entry) = self.write().get_mut(&device) {
            entry.job = Some(Job { attempt, run, stage: Stage::Fetch, progress: None, since });
        }
        self.announce(Event::Job { run, job: attempt.job });
    }

    /// Whether the stage is another one than before.
    pub(super) fn moved_on(&self, device: DeviceId, attempt: AttemptRef, stage: Stage, progress: Option<f64>) -> bool {
        let mut devices = self.write();
        let job = devices.get_mut(&device).and_then(|entry| entry.job.as_mut());
        let Some(job) = job.filter(|job| job.attempt == attempt) else { return true };
        let run = (job.stage != stage).then_some(job.run);
        job.stage = stage;
        job.progress = progress;
        drop(devices);
        if let Some(run) = run {
            self.announce(Event::Job { run, job: attempt.job });
        }
        run.is_some()
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
        let running = devices.values().filter(|entry| entry.job.is_some()).count() as u64;
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
            job: entry.job.as_ref().map(|job| LiveJob {
                job: job.attempt.job,
                run: job.run,
                attempt: job.attempt.attempt,
                stage: job.stage,
                progress: job.progress,
                age: now.since(job.since),
            }),
        };
        devices.iter().map(live).collect()
    }

    fn events(&self) -> Pin<Box<dyn Stream<Item = Event> + Send>> {
        let events = BroadcastStream::new(self.inner.shared.now.events.subscribe());
        Box::pin(events.map(|event| match event {
            Ok(event) => event,
            Err(BroadcastStreamRecvError::Lagged(_)) => Event::Gap,
        }))
    }
}
