//! Cooling devices: what the kernel throttles, and how far.

use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};

use super::SensorReading;
use super::files::Files;

const FOLDER: &str = "sys/class/thermal";

/// Current state of each cooling device that can throttle at all, as a share of its maximum.
pub(super) fn readings(files: &Files) -> Vec<SensorReading> {
    let readings: Vec<SensorReading> =
        files.entries(FOLDER, "cooling_device").into_iter().filter_map(|device| reading(files, &device)).collect();
    if readings.is_empty() {
        let reason = Reason::new(Code::NoCoolingDevice, &[("path", &format!("/{FOLDER}"))]);
        return vec![SensorReading { sensor: "cooling".into(), unit: "1", value: Reading::absent(reason) }];
    }
    readings
}

/// `None` for one whose only state is 0.
fn reading(files: &Files, device: &str) -> Option<SensorReading> {
    let number = device.rsplit("cooling_device").next().unwrap_or_default();
    let kind = files.text(&format!("{device}/type")).into_present().unwrap_or_else(|| "device".to_owned());
    let value = match files.number::<f64>(&format!("{device}/max_state")) {
        Reading::Present(most) if most > 0.0 => {
            files.number::<f64>(&format!("{device}/cur_state")).map(|state| state / most)
        }
        Reading::Present(_) => return None,
        Reading::Absent(reason) => Reading::Absent(reason),
    };
    Some(SensorReading { sensor: format!("cooling/{kind}-{number}"), unit: "1", value })
}
