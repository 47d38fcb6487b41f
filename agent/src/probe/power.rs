//! Power and energy counters: RAPL and hwmon.

use seatrial_core::reading::Reading;

use super::SensorReading;
use super::files::Files;

const RAPL: &str = "sys/class/powercap";
const HWMON: &str = "sys/class/hwmon";

pub(super) fn readings(files: &Files) -> Vec<SensorReading> {
    let mut readings: Vec<SensorReading> = files
        .entries(RAPL, "intel-rapl:")
        .into_iter()
        .map(|zone| {
            let name = files.text(&format!("{zone}/name")).into_present().unwrap_or_else(|| "zone".to_owned());
            let number = zone.rsplit("intel-rapl:").next().unwrap_or_default().replace(':', ".");
            // A counter that wraps; only differences mean anything.
            let value = files.number::<f64>(&format!("{zone}/energy_uj")).map(|microjoules| microjoules / 1e6);
            SensorReading { sensor: format!("rapl/{name}-{number}"), unit: "J", value }
        })
        .collect();
    readings.extend(files.entries(HWMON, "hwmon").into_iter().filter_map(|monitor| {
        let path = format!("{monitor}/power1_input");
        let name = files.text(&format!("{monitor}/name")).into_present().unwrap_or_else(|| "monitor".to_owned());
        let number = monitor.rsplit("hwmon").next().unwrap_or_default();
        files.exists(&path).then(|| {
            let value = files.number::<f64>(&path).map(|microwatts| microwatts / 1e6);
            SensorReading { sensor: format!("power/{name}-{number}"), unit: "W", value }
        })
    }));
    if readings.is_empty() {
        let reason = format!("there is neither RAPL under /{RAPL} nor a power sensor under /{HWMON}");
        readings.push(SensorReading { sensor: "power".into(), unit: "W", value: Reading::Absent(reason) });
    }
    readings
}
