//! Traces of sensors over an attempt, at most a reading a second.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::reading::Reading;
use seatrial_core::report::SensorTrace;

use crate::probe::SensorReading;

/// Readings of one sensor that are kept; an hour at one a second.
const MAX_POINTS: usize = 3600;

#[derive(Debug, Default)]
pub(super) struct Traces {
    traces: BTreeMap<String, Trace>,
    cut: bool,
}

#[derive(Debug)]
struct Trace {
    unit: String,
    points: Vec<(u32, f64)>,
    /// Why the last reading that failed did.
    absent: Option<String>,
}

impl Traces {
    pub(super) fn sample(&mut self, readings: &[SensorReading], at: Duration) {
        let at = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
        for reading in readings {
            let trace = self.traces.entry(reading.sensor.clone()).or_insert_with(|| Trace {
                unit: reading.unit.to_owned(),
                points: Vec::new(),
                absent: None,
            });
            match &reading.value {
                Reading::Present(_) if trace.points.len() >= MAX_POINTS => self.cut = true,
                Reading::Present(value) => trace.points.push((at, *value)),
                Reading::Absent(reason) => trace.absent = Some(reason.clone()),
            }
        }
    }

    pub(super) fn into_parts(self) -> (Vec<SensorTrace>, Option<String>) {
        let traces = self.traces.into_iter().map(|(sensor, trace)| {
            let points = match trace.absent {
                Some(reason) if trace.points.is_empty() => Reading::Absent(reason),
                Some(_) | None => Reading::Present(trace.points),
            };
            SensorTrace { sensor, unit: trace.unit, points }
        });
        (traces.collect(), self.cut.then(|| format!("sensor traces cut at {MAX_POINTS} readings")))
    }
}
