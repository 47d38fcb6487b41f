//! Traces of sensors over an attempt, at most a reading a second.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::reading::Reading;
use seatrial_core::report::SensorTrace;

use crate::probe::SensorReading;

/// Readings of all sensors together that are kept: as text they are about half of what a report's document may be.
const MAX_READINGS: usize = 50_000;

/// When the room is full, every second round of readings goes and from then on every second of those that would have
/// been kept: at any moment the traces reach evenly from the first round to the last.
#[derive(Debug)]
pub(super) struct Traces {
    by_sensor: BTreeMap<String, Trace>,
    rounds: u64,
    every: u64,
    readings: usize,
}

impl Default for Traces {
    fn default() -> Self {
        Self { by_sensor: BTreeMap::new(), rounds: 0, every: 1, readings: 0 }
    }
}

#[derive(Debug)]
struct Trace {
    unit: String,
    /// Number of the round, offset in ms, value.
    points: Vec<(u64, u32, f64)>,
    /// Why the last reading that failed did.
    absent: Option<String>,
}

impl Traces {
    pub(super) fn sample(&mut self, readings: &[SensorReading], at: Duration) {
        let at = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
        let round = self.rounds;
        self.rounds += 1;
        let fits = |traces: &Self| traces.readings + readings.len() <= MAX_READINGS;
        if round.is_multiple_of(self.every) && !fits(self) {
            self.thin();
        }
        if !round.is_multiple_of(self.every) || !fits(self) {
            return;
        }
        for reading in readings {
            let trace = self.by_sensor.entry(reading.sensor.clone()).or_insert_with(|| Trace {
                unit: reading.unit.to_owned(),
                points: Vec::new(),
                absent: None,
            });
            match &reading.value {
                Reading::Present(value) => {
                    trace.points.push((round, at, *value));
                    self.readings += 1;
                }
                Reading::Absent(reason) => trace.absent = Some(reason.clone()),
            }
        }
    }

    fn thin(&mut self) {
        self.every = self.every.saturating_mul(2);
        for trace in self.by_sensor.values_mut() {
            trace.points.retain(|(round, ..)| round.is_multiple_of(self.every));
        }
        self.readings = self.by_sensor.values().map(|trace| trace.points.len()).sum();
    }

    pub(super) fn into_parts(self) -> (Vec<SensorTrace>, Option<String>) {
        let traces = self.by_sensor.into_iter().map(|(sensor, trace)| {
            let points = match trace.absent {
                Some(reason) if trace.points.is_empty() => Reading::Absent(reason),
                Some(_) | None => {
                    Reading::Present(trace.points.into_iter().map(|(_, at, value)| (at, value)).collect())
                }
            };
            SensorTrace { sensor, unit: trace.unit, points }
        });
        let thinned = (self.every > 1).then(|| format!("sensor traces: one of every {} readings is kept", self.every));
        (traces.collect(), thinned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(sensors: u32) -> Vec<SensorReading> {
        let reading =
            |i| SensorReading { sensor: format!("thermal/{i}"), unit: "°C", value: Reading::Present(f64::from(i)) };
        (0..sensors).map(reading).collect()
    }

    #[test]
    fn the_traces_of_a_long_attempt_on_a_device_with_many_sensors_reach_evenly_to_its_end() {
        let mut traces = Traces::default();
        let readings = readings(150);
        for second in 0..7_200 {
            traces.sample(&readings, Duration::from_secs(second));
        }
        let (traces, note) = traces.into_parts();
        assert_eq!(traces.len(), 150);
        assert!(traces.iter().map(|trace| trace.points.present().unwrap().len()).sum::<usize>() <= MAX_READINGS);
        let points = traces[0].points.present().unwrap();
        let steps: Vec<u32> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(steps.iter().all(|&step| step == 32_000), "{steps:?}");
        assert!(points[points.len() - 1].0 > 7_150_000);
        assert_eq!(note.as_deref(), Some("sensor traces: one of every 32 readings is kept"));
    }

    #[test]
    fn the_traces_of_a_short_attempt_are_whole() {
        let mut traces = Traces::default();
        for second in 0..300 {
            traces.sample(&readings(100), Duration::from_secs(second));
        }
        let (traces, note) = traces.into_parts();
        assert_eq!((traces[3].points.present().unwrap().len(), note), (300, None));
    }
}
