//! How a recording is written: a column for each value, since most of them stay the same from one reading to the next.
//!
//! Times are whole microseconds, each as its distance from the one before; a value is written once with the number of
//! readings in a row that have it. Nothing is lost of times that are whole microseconds.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::recording::{Meter, Phase, Recording};
use super::signal::Trace;
use super::source::{BatteryReading, ChargingState, Scope, Source};

/// Readings of each kind that a document may hold: an attempt at ten a second has 9,000.
pub const MAX_KEPT: usize = 20_000;

/// A value and in how many readings in a row it stood.
type Run<T> = (u32, T);

#[derive(Serialize, Deserialize)]
struct Columns {
    phases: Vec<Phase>,
    #[serde(default)]
    at_us: Vec<u64>,
    #[serde(default)]
    current: Vec<Run<Option<f64>>>,
    #[serde(default)]
    voltage_v: Vec<Run<Option<f64>>>,
    #[serde(default)]
    counter: Vec<Run<Option<f64>>>,
    #[serde(default)]
    level_percent: Vec<Run<Option<f64>>>,
    #[serde(default)]
    charging: Vec<Run<Option<ChargingState>>>,
    #[serde(default)]
    powered: Vec<Run<Option<bool>>>,
    #[serde(default)]
    temperature_c: Vec<Run<Option<f64>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meter: Option<MeterColumns>,
}

#[derive(Serialize, Deserialize)]
struct MeterColumns {
    source: Source,
    scope: Scope,
    period_s: f64,
    /// Whether its values add up.
    total: bool,
    step: f64,
    at_us: Vec<u64>,
    values: Vec<f64>,
}

impl Serialize for Recording {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Columns::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Recording {
    /// Refuses columns of different lengths, and more than [`MAX_KEPT`] readings.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Columns::deserialize(deserializer)?.read().map_err(de::Error::custom)
    }
}

impl Columns {
    fn of(recording: &Recording) -> Self {
        let battery = &recording.battery;
        let times: Vec<f64> = battery.iter().map(|reading| reading.at_s).collect();
        Self {
            phases: recording.phases.clone(),
            at_us: distances(&times),
            current: runs(battery.iter().map(|reading| reading.current)),
            voltage_v: runs(battery.iter().map(|reading| reading.voltage_v)),
            counter: runs(battery.iter().map(|reading| reading.counter)),
            level_percent: runs(battery.iter().map(|reading| reading.level_percent)),
            charging: runs(battery.iter().map(|reading| reading.charging)),
            powered: runs(battery.iter().map(|reading| reading.powered)),
            temperature_c: runs(battery.iter().map(|reading| reading.temperature_c)),
            meter: recording.meter.as_ref().map(MeterColumns::of),
        }
    }

    fn read(self) -> Result<Recording, String> {
        let columns = self;
        let count = columns.at_us.len();
        if count > MAX_KEPT {
            return Err(format!("{count} readings, at most {MAX_KEPT} are kept"));
        }
        let unfit = |column: &str| format!("the column {column} does not have {count} readings");
        let current = column(columns.current, count).ok_or_else(|| unfit("current"))?;
        let voltage_v = column(columns.voltage_v, count).ok_or_else(|| unfit("voltage_v"))?;
        let counter = column(columns.counter, count).ok_or_else(|| unfit("counter"))?;
        let level_percent = column(columns.level_percent, count).ok_or_else(|| unfit("level_percent"))?;
        let charging = column(columns.charging, count).ok_or_else(|| unfit("charging"))?;
        let powered = column(columns.powered, count).ok_or_else(|| unfit("powered"))?;
        let temperature_c = column(columns.temperature_c, count).ok_or_else(|| unfit("temperature_c"))?;
        let reading = |(index, at_s)| BatteryReading {
            at_s,
            current: current[index],
            voltage_v: voltage_v[index],
            counter: counter[index],
            level_percent: level_percent[index],
            charging: charging[index],
            powered: powered[index],
            temperature_c: temperature_c[index],
        };
        Ok(Recording {
            phases: columns.phases,
            battery: times(&columns.at_us).into_iter().enumerate().map(reading).collect(),
            meter: columns.meter.map(MeterColumns::read).transpose()?,
        })
    }
}

impl MeterColumns {
    fn of(meter: &Meter) -> Self {
        let (total, step) = match meter.trace {
            Trace::Rate { step, .. } => (false, step),
            Trace::Total { step, .. } => (true, step),
        };
        let points = meter.trace.points();
        Self {
            source: meter.source,
            scope: meter.scope,
            period_s: meter.period_s,
            total,
            step,
            at_us: distances(&points.iter().map(|point| point.0).collect::<Vec<f64>>()),
            values: points.iter().map(|point| point.1).collect(),
        }
    }

    fn read(self) -> Result<Meter, String> {
        let Self { source, scope, period_s, total, step, at_us, values } = self;
        let count = at_us.len();
        if count > MAX_KEPT || values.len() != count {
            return Err(format!("the meter has {count} times and {} values, at most {MAX_KEPT}", values.len()));
        }
        let points = times(&at_us).into_iter().zip(values).collect();
        let trace = if total { Trace::Total { points, step } } else { Trace::Rate { points, step } };
        Ok(Meter { source, scope, period_s, trace })
    }
}

/// Seconds as whole microseconds, each after the one before; one that is before it stands at the same time.
fn distances(seconds: &[f64]) -> Vec<u64> {
    let mut before = 0;
    let distance = |&at_s: &f64| {
        let at = (at_s.max(0.0) * 1e6).round() as u64;
        let distance = at.saturating_sub(before);
        before = before.max(at);
        distance
    };
    seconds.iter().map(distance).collect()
}

fn times(distances: &[u64]) -> Vec<f64> {
    let mut at: u64 = 0;
    let time = |distance: &u64| {
        at = at.saturating_add(*distance);
        at as f64 / 1e6
    };
    distances.iter().map(time).collect()
}

fn runs<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<Run<T>> {
    let mut runs: Vec<Run<T>> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            Some(_) | None => runs.push((1, value)),
        }
    }
    runs
}

/// `None` when the runs are not of so many readings.
fn column<T: Copy>(runs: Vec<Run<T>>, count: usize) -> Option<Vec<T>> {
    let mut values = Vec::with_capacity(count);
    for (times, value) in runs {
        if values.len() + times as usize > count {
            return None;
        }
        values.extend(std::iter::repeat_n(value, times as usize));
    }
    (values.len() == count).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::testing::Made;

    fn through(recording: &Recording) -> (String, Recording) {
        let text = serde_json::to_string(recording).unwrap();
        let read = serde_json::from_str(&text).unwrap();
        (text, read)
    }

    #[test]
    fn a_recording_reads_back_as_it_was_and_takes_little_room() {
        let mut recording = Made::default().recording();
        recording.meter = Some(Meter {
            source: Source::Rapl,
            scope: Scope::Package,
            period_s: 0.01,
            trace: Trace::Total { points: vec![(0.25, 1.5), (0.5, 2.25)], step: 0.0625 },
        });
        let (text, read) = through(&recording);
        assert_eq!(read, recording);
        let each = text.len() as f64 / recording.battery.len() as f64;
        assert!(each < 40.0, "{each} bytes a reading");
        assert_eq!(through(&Recording::default()).1, Recording::default());
    }

    #[test]
    fn columns_that_do_not_fit_each_other_are_refused_before_they_take_memory() {
        for text in [
            r#"{"phases":[],"at_us":[1,1],"current":[[4000000000,null]]}"#,
            r#"{"phases":[],"at_us":[1,1],"current":[[1,null]]}"#,
            r#"{"phases":[],"at_us":[1]}"#,
        ] {
            let error = serde_json::from_str::<Recording>(text).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains("column")), "{text}");
        }
        let long = format!(r#"{{"phases":[],"at_us":[{}]}}"#, vec!["0"; MAX_KEPT + 1].join(","));
        assert!(serde_json::from_str::<Recording>(&long).is_err());
    }
}
