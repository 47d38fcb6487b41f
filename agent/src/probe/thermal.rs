//! Thermal zones.

use seatrial_core::reading::Reading;

use super::SensorReading;
use super::files::Files;

const FOLDER: &str = "sys/class/thermal";

pub(super) fn readings(files: &Files) -> Vec<SensorReading> {
    let zones = files.entries(FOLDER, "thermal_zone");
    if zones.is_empty() {
        let reason = format!("there is no thermal zone under /{FOLDER}");
        return vec![SensorReading { sensor: "thermal".into(), unit: "°C", value: Reading::Absent(reason) }];
    }
    zones
        .into_iter()
        .map(|zone| {
            // Two zones may be of one type, and a type may be unreadable: only the number tells them apart.
            let number = zone.rsplit("thermal_zone").next().unwrap_or_default();
            let kind = files.text(&format!("{zone}/type")).into_present().unwrap_or_else(|| "zone".to_owned());
            let value = match files.number::<f64>(&format!("{zone}/temp")).map(celsius) {
                Reading::Present(value) if !plausible(value) => {
                    Reading::Absent(format!("reads {value} °C, which no device has"))
                }
                reading @ (Reading::Present(_) | Reading::Absent(_)) => reading,
            };
            SensorReading { sensor: format!("thermal/{kind}-{number}"), unit: "°C", value }
        })
        .collect()
}

/// The hottest zone among these readings that concerns the chip; a battery has limits of its own.
pub(crate) fn hottest(readings: &[SensorReading]) -> Option<(String, f64)> {
    readings
        .iter()
        .filter_map(|reading| Some((reading.sensor.strip_prefix("thermal/")?, *reading.value.present()?)))
        .filter(|(name, _)| concerns_the_chip(name))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(name, celsius)| (name.to_owned(), celsius))
}

fn concerns_the_chip(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["cpu", "gpu", "soc", "pkg", "npu", "nsp", "core"].iter().any(|word| name.contains(word))
}

/// Millidegrees, as the interface says; some vendors write degrees.
fn celsius(value: f64) -> f64 {
    if value.abs() >= 1000.0 { value / 1000.0 } else { value }
}

/// Unplugged sensors read -273, 0 or 127 and more.
fn plausible(value: f64) -> bool {
    value > -40.0 && value < 126.0 && value != 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millidegrees_and_degrees_read_alike() {
        assert_eq!(celsius(51_350.0), 51.35);
        assert_eq!(celsius(51.0), 51.0);
    }

    #[test]
    fn a_sensor_that_is_not_there_is_no_temperature() {
        for value in [-273.0, 0.0, 127.0, 1000.0] {
            assert!(!plausible(value), "{value}");
        }
        assert!(plausible(-5.0), "a cold room is possible");
    }
}
