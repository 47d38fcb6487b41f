//! Sensors that give what cannot be true.
//!
//! Only that counts which no unit of any vendor makes true, in every reading of a check: one wild reading is a glitch, and
//! a current in mA instead of µA is a habit of a ROM ([`crate::energy`] finds out which). A zone of the chip that is not
//! plugged in is left out by the agent, and what is not read is no evidence of anything.

use crate::measure::interference::sensor;
use crate::reason::{Code, Reason};
use crate::report::SensorTrace;

/// Every sensor that gave nothing but what cannot be true, with its last reading.
#[must_use]
pub fn insane(sensors: &[SensorTrace]) -> Vec<Reason> {
    let judged = |trace: &SensorTrace| {
        let can_be = rule(&trace.sensor, &trace.unit)?;
        let points = trace.points.present()?;
        let (_, last) = points.last()?;
        let insane = points.iter().all(|&(_, value)| !can_be(value));
        let value = format!("{last:.4}");
        let value = value.trim_end_matches('0').trim_end_matches('.');
        let arguments: [(&str, &dyn std::fmt::Display); 3] =
            [("sensor", &trace.sensor), ("value", &value), ("unit", &trace.unit)];
        insane.then(|| Reason::new(Code::CanarySensor, &arguments))
    };
    sensors.iter().filter_map(judged).collect()
}

/// Whether a reading can be true.
type Rule = fn(f64) -> bool;

/// `None` for a sensor of which anything can.
fn rule(name: &str, unit: &str) -> Option<Rule> {
    let is_clock = name.starts_with(sensor::CPU_PREFIX)
        && (name.ends_with(sensor::FREQUENCY_SUFFIX) || name.ends_with(sensor::FREQUENCY_LIMIT_SUFFIX));
    match name {
        "battery/charge" => Some(|share| (0.0..=1.0).contains(&share)),
        "battery/temperature" => Some(|celsius| (-40.0..=100.0).contains(&celsius)),
        "battery/voltage" => Some(is_voltage),
        // In mA, when the driver counts in µA as the interface says; no pack gives 1000 A.
        "battery/current" => Some(|milliamps| milliamps.abs() <= 1e6),
        _ if is_clock => Some(|megahertz| megahertz > 0.0 && megahertz <= 20_000.0),
        _ if unit == sensor::CELSIUS => Some(|celsius| (-60.0..=200.0).contains(&celsius)),
        _ => None,
    }
}

/// Of a cell or a pack, told in µV as the interface says, in mV or in V.
fn is_voltage(volts: f64) -> bool {
    let pack = 1.0..=60.0;
    [volts, volts * 1e3, volts * 1e6].iter().any(|volts| pack.contains(volts))
}
