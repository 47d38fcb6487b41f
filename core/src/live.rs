//! What is happening now, as the pages and the command line see it. The fleet actor of the server is the source.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;

use crate::ids::{DeviceId, JobId, RunId};
use crate::lab::seen::Seen;
use crate::stage::Stage;

/// A device whose agent has an open session.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveDevice {
    pub device: DeviceId,
    pub session_age: Duration,
    pub draining: bool,
    /// The attempt that it runs now.
    pub job: Option<LiveJob>,
    /// The stage of the health check that it runs instead.
    pub check: Option<Stage>,
    /// What it told of itself when it last had nothing to do.
    pub vitals: Option<Vitals>,
}

/// How a device is while it waits; a device that measures is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Vitals {
    /// Share of full, 0 to 1.
    pub charge: Option<f64>,
    /// Whether it is supplied from outside.
    pub charging: Option<bool>,
    /// °C.
    pub battery_c: Option<f64>,
    /// The hottest zone of the chip, °C.
    pub chip_c: Option<f64>,
}

impl Vitals {
    /// Without what no battery and no chip can be.
    #[must_use]
    pub fn plausible(self) -> Self {
        let Self { charge, charging, battery_c, chip_c } = self;
        let share = |value: &f64| (0.0..=1.0).contains(value);
        let celsius = |value: &f64| (-40.0..=150.0).contains(value);
        Self {
            charge: charge.filter(share),
            charging,
            battery_c: battery_c.filter(celsius),
            chip_c: chip_c.filter(celsius),
        }
    }

    /// Whether nothing is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A phone that a lab host has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSeen {
    /// Name of the lab host's computer.
    pub host: String,
    pub seen: Seen,
    /// Time since the lab host told it; it tells only what has changed.
    pub age: Duration,
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
    /// What lab hosts see on their cables, as each of them last told it.
    fn seen(&self) -> Vec<LiveSeen>;
    /// Events from now on. Bounded: a reader that falls behind gets [`Event::Gap`].
    fn events(&self) -> Pin<Box<dyn Stream<Item = Event> + Send>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_battery_can_be_is_not_told() {
        let vitals = Vitals { charge: Some(-1.0), charging: Some(true), battery_c: Some(f64::NAN), chip_c: Some(41.5) };
        let told = vitals.plausible();
        assert_eq!(told, Vitals { charging: Some(true), chip_c: Some(41.5), ..Vitals::default() });
        assert!(!told.is_empty() && Vitals::default().is_empty());
    }
}
