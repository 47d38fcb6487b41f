//! Cooling devices: what the kernel throttles, and how far.

use super::SensorReading;
use super::files::Files;

const FOLDER: &str = "sys/class/thermal";

/// Current state of each cooling device that can throttle at all, as a share of its maximum.
pub(super) fn readings(files: &Files) -> Vec<SensorReading> {
    files
        .entries(FOLDER, "cooling_device")
        .into_iter()
        .filter_map(|device| {
            let most = files.number::<f64>(&format!("{device}/max_state")).into_present().filter(|&most| most > 0.0)?;
            let kind = files.text(&format!("{device}/type")).into_present()?;
            let number = device.rsplit("cooling_device").next()?.to_owned();
            let value = files.number::<f64>(&format!("{device}/cur_state")).map(|state| state / most);
            Some(SensorReading { sensor: format!("cooling/{kind}-{number}"), unit: "1", value })
        })
        .collect()
}
