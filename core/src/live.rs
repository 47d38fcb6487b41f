//! What is happening now, as the pages and the command line see it. The fleet actor of the server is the source.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;

use crate::ids::{DeviceId, JobId, RunId};
use crate::stage::Stage;

/// A device whose agent has an open session.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveDevice {
    pub device: DeviceId,
    pub session_age: Duration,
    pub draining: bool,
    /// The attempt that it runs now.
    pub job: Option<LiveJob>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LiveJob {
    pub job: JobId,
    pub run: RunId,
    pub attempt: u32,
    pub stage: Stage,
    /// 0 to 1 within the stage, when known.
    pub progress: Option<f64>,
    /// Time since the attempt was granted.
    pub age: Duration,
}

/// Something changed; readers fetch what they need. Never carries truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Device(DeviceId),
    Job {
        run: RunId,
        job: JobId,
    },
    /// A run was submitted or has ended.
    Run(RunId),
    /// Events were lost: read everything again.
    Gap,
}

/// The present.
pub trait Live: Send + Sync {
    /// Devices with an open session, in no order.
    fn devices(&self) -> Vec<LiveDevice>;
    /// Events from now on. Bounded: a reader that falls behind gets [`Event::Gap`].
    fn events(&self) -> Pin<Box<dyn Stream<Item = Event> + Send>>;
}
