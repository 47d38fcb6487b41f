//! The thread that reads gauge and meter while an attempt goes on: the same way in idle and under load, so that what it
//! costs falls out.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use seatrial_core::energy::calibrate::TRACE_POLL_S;
use seatrial_core::energy::source::BatteryReading;
use seatrial_core::time::Monotonic;

use super::battery::Gauge;
use super::meters;
use crate::clock;

/// Readings that wait to be fetched; who fetches looks twenty times a second.
const MAX_WAITING: usize = 4096;
/// It looks this often whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Readings since they were fetched last.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub battery: Vec<BatteryReading>,
    /// Moment in s, and power or energy.
    pub meter: Vec<(f64, f64)>,
}

#[derive(Debug)]
struct Shared {
    fetched: Mutex<Fetched>,
    period_us: AtomicU64,
    ends: AtomicBool,
}

/// Reads until it is dropped.
#[derive(Debug)]
pub(crate) struct Poller {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    least_period_s: f64,
}

impl Poller {
    /// Times are seconds since `begun`, in whole microseconds.
    pub(crate) fn start(gauge: Option<Gauge>, meter: Option<meters::Found>, begun: Monotonic) -> io::Result<Self> {
        let least_period_s = gauge.as_ref().map_or(0.0, Gauge::least_period_s);
        let shared = Arc::new(Shared {
            fetched: Mutex::default(),
            period_us: AtomicU64::new(micros(TRACE_POLL_S.max(least_period_s))),
            ends: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("gauge".to_owned()).spawn(move || poll(&own, gauge, meter, begun))?;
        Ok(Self { shared, thread: Some(thread), least_period_s })
    }

    /// From one reading to the next, as far as the source allows.
    pub(crate) fn every(&self, seconds: f64) {
        self.shared.period_us.store(micros(seconds.max(self.least_period_s)), Ordering::Relaxed);
    }

    pub(crate) fn fetch(&self) -> Fetched {
        std::mem::take(&mut *self.shared.fetched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing more to read.
            let _ = thread.join();
        }
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

fn poll(shared: &Shared, mut gauge: Option<Gauge>, mut meter: Option<meters::Found>, begun: Monotonic) {
    let mut due = clock::boot();
    while !shared.ends.load(Ordering::Relaxed) {
        let at_s = clock::boot().since(begun).as_micros() as f64 / 1e6;
        let battery = gauge.as_mut().map(|gauge| gauge.read(at_s));
        let metered = meter.as_mut().and_then(meters::Found::read);
        {
            let mut fetched = shared.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            if fetched.battery.len() < MAX_WAITING && fetched.meter.len() < MAX_WAITING {
                fetched.battery.extend(battery);
                fetched.meter.extend(metered.map(|value| (at_s, value)));
            }
        }
        let period = Duration::from_micros(shared.period_us.load(Ordering::Relaxed));
        // After a source that took longer than its time, the next is a whole period later.
        due = due.plus(period).max(clock::boot());
        loop {
            let left = due.since(clock::boot());
            if left.is_zero() || shared.ends.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(left.min(LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn readings_come_in_order_at_the_pace_that_is_asked_for_and_end_with_the_poller() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/phone");
        let poller = Poller::start(Gauge::find(&tree), None, clock::boot()).unwrap();
        poller.every(0.01);
        let mut readings = Vec::new();
        let begun = clock::boot();
        while readings.len() < 10 {
            assert!(clock::boot().since(begun) < Duration::from_secs(20), "{readings:?}");
            readings.extend(poller.fetch().battery);
            thread::sleep(Duration::from_millis(5));
        }
        assert!(readings.is_sorted_by(|a, b| a.at_s < b.at_s), "{readings:?}");
        assert!(readings.iter().all(|reading| reading.current.is_some()));
        let shared = Arc::clone(&poller.shared);
        drop(poller);
        assert_eq!(Arc::strong_count(&shared), 1, "its thread has ended");
    }
}
