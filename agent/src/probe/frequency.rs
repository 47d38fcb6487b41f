//! Clock frequencies and their governor.

use seatrial_core::reading::Reading;

use super::SensorReading;
use super::files::{Files, first};

const FOLDER: &str = "sys/devices/system/cpu/cpufreq";

/// The clock of each frequency domain, named by its first CPU, and how far its governor may go: a thermal engine that
/// says nothing else lowers that.
pub(super) fn readings(files: &Files) -> Vec<SensorReading> {
    let policies = files.entries(FOLDER, "policy");
    if policies.is_empty() {
        let reason = format!("there is no /{FOLDER}: this kernel or machine does not show frequencies");
        return vec![SensorReading { sensor: "cpu/frequency".into(), unit: "MHz", value: Reading::Absent(reason) }];
    }
    policies
        .into_iter()
        .flat_map(|policy| {
            let number = policy.rsplit("policy").next().unwrap_or_default().to_owned();
            let kilohertz = |name: &str| files.number::<f64>(&format!("{policy}/{name}"));
            let current = first([kilohertz("scaling_cur_freq"), kilohertz("cpuinfo_cur_freq")], "");
            let reading = |what: &str, kilohertz: Reading<f64>| SensorReading {
                sensor: format!("cpu{number}/{what}"),
                unit: "MHz",
                value: kilohertz.map(|value| value / 1000.0),
            };
            [reading("frequency", current), reading("frequency_max", kilohertz("scaling_max_freq"))]
        })
        .collect()
}

/// The governors of all domains; one word when they agree.
pub(super) fn governor(files: &Files) -> Reading<String> {
    let policies = files.entries(FOLDER, "policy");
    let mut governors: Vec<String> =
        policies.iter().filter_map(|policy| files.text(&format!("{policy}/scaling_governor")).into_present()).collect();
    governors.dedup();
    let joined = (!governors.is_empty()).then(|| governors.join(" "));
    Reading::from_option(joined, format!("there is no governor under /{FOLDER}"))
}

/// Whether the clock may exceed its nominal frequency.
pub(super) fn turbo(files: &Files) -> Reading<String> {
    let off = files
        .number::<u8>("sys/devices/system/cpu/intel_pstate/no_turbo")
        .map(|off| if off == 0 { "on" } else { "off" }.to_owned());
    let boost = files
        .number::<u8>("sys/devices/system/cpu/cpufreq/boost")
        .map(|on| if on == 0 { "off" } else { "on" }.to_owned());
    first([off, boost], "")
}
