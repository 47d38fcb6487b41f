//! The battery. Units of `power_supply` are µA, µV, µAh and tenths of a degree.

use seatrial_core::reading::Reading;

use super::SensorReading;
use super::files::Files;

pub(crate) const CHARGE: &str = "battery/charge";
pub(crate) const TEMPERATURE: &str = "battery/temperature";

pub(crate) const FOLDER: &str = "sys/class/power_supply";

/// What the battery says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Battery {
    /// Share of full.
    pub charge: Reading<f64>,
    pub charging: Reading<bool>,
    pub temperature_c: Reading<f64>,
    /// Positive while charging, by the interface; some vendors turn it round.
    pub current_ma: Reading<f64>,
    pub voltage_v: Reading<f64>,
}

pub(super) fn read(files: &Files) -> Battery {
    let Some(place) = find(files) else {
        let reason = || format!("there is no battery under /{FOLDER}");
        return Battery {
            charge: Reading::Absent(reason()),
            charging: Reading::Absent(reason()),
            temperature_c: Reading::Absent(reason()),
            current_ma: Reading::Absent(reason()),
            voltage_v: Reading::Absent(reason()),
        };
    };
    let number = |name: &str| files.number::<f64>(&format!("{place}/{name}"));
    Battery {
        charge: number("capacity").map(|percent| percent / 100.0),
        charging: files
            .text(&format!("{place}/status"))
            .map(|status| matches!(status.as_str(), "Charging" | "Full" | "Not charging")),
        temperature_c: number("temp").map(|tenths| tenths / 10.0),
        current_ma: number("current_now").map(|microamps| microamps / 1000.0),
        voltage_v: number("voltage_now").map(|microvolts| microvolts / 1e6),
    }
}

pub(super) fn readings(files: &Files) -> Vec<SensorReading> {
    if find(files).is_none() {
        let reason = format!("there is no battery under /{FOLDER}");
        return vec![SensorReading { sensor: "battery".into(), unit: "1", value: Reading::Absent(reason) }];
    }
    let Battery { charge, charging: _, temperature_c, current_ma, voltage_v } = read(files);
    let reading = |sensor: &str, unit, value| SensorReading { sensor: sensor.to_owned(), unit, value };
    vec![
        reading(CHARGE, "1", charge),
        reading(TEMPERATURE, "°C", temperature_c),
        reading("battery/current", "mA", current_ma),
        reading("battery/voltage", "V", voltage_v),
    ]
}

/// The supply that calls itself a battery and is the device's own: a mouse is a battery as well.
pub(crate) fn find(files: &Files) -> Option<String> {
    files.entries(FOLDER, "").into_iter().find(|place| {
        let kind = files.text(&format!("{place}/type"));
        let scope = files.text(&format!("{place}/scope"));
        kind.present().is_some_and(|kind| kind == "Battery") && scope.present().is_none_or(|scope| scope != "Device")
    })
}
