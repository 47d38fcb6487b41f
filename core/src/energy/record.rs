//! What a device reports of an energy measurement: raw readings, and what the device knows of its sources.

use serde::{Deserialize, Serialize};

use super::calibrate::Calibration;
use super::estimate::{Conditions, Energy, estimate};
use super::recording::Recording;
use super::source::{BatteryReading, Field, Source, State};
use crate::reading::Reading;
use crate::reason::Reason;

/// How one source answers for one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    pub source: Source,
    pub field: Field,
    pub state: State,
    /// As it was given last, in the source's own unit.
    pub value: Option<f64>,
}

/// What a battery says of its age. Absent readings keep their reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// What it held when it was new, in µAh.
    pub design_uah: Reading<u64>,
    /// What it holds when full, in µAh, as its gauge has learned.
    pub full_uah: Reading<u64>,
    pub cycles: Reading<u32>,
    /// The kernel's word: `Good`, `Overheat`, `Dead`, …
    pub health: Reading<String>,
    /// `Li-poly`, …
    pub technology: Reading<String>,
}

impl Pack {
    /// Nothing known, for one reason.
    #[must_use]
    pub fn none(why: &str) -> Self {
        Self {
            design_uah: Reading::absent(why),
            full_uah: Reading::absent(why),
            cycles: Reading::absent(why),
            health: Reading::absent(why),
            technology: Reading::absent(why),
        }
    }

    /// What it held when it was new, in mAh.
    #[must_use]
    pub fn design_mah(&self) -> Reading<f64> {
        self.design_uah.clone().map(|microamp_hours| microamp_hours as f64 / 1e3)
    }

    /// Share of what it held when it was new.
    #[must_use]
    pub fn health_share(&self) -> Option<f64> {
        let (full, design) = (*self.full_uah.present()?, *self.design_uah.present()?);
        (design > 0 && full > 0).then(|| full as f64 / design as f64)
    }
}

/// What a device with a battery tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatteryFacts {
    pub sources: Vec<SourceRecord>,
    pub pack: Pack,
    /// When it was asked; its time means nothing.
    pub reading: BatteryReading,
    /// What is known of its gauge, where it was calibrated under this build of the system.
    pub calibration: Option<Calibration>,
}

/// Sources and fields of one device at most.
pub const MAX_SOURCES: usize = 64;

/// An energy measurement as it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergyRecord {
    pub sources: Vec<SourceRecord>,
    pub pack: Pack,
    pub calibration: Calibration,
    /// What the calibration was read from, where it was made in this attempt and not in an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Recording>,
    pub recording: Recording,
    /// Why it was over. Whether there is a number is for [`Self::energy`] to say.
    pub end: Reason,
    /// The cable stayed in, with its input switched off in the phone.
    #[serde(default)]
    pub input_suspended: bool,
}

impl EnergyRecord {
    /// Every number of it. `seed` is for the bootstrap.
    #[must_use]
    pub fn energy(&self, seed: u64) -> Energy {
        let conditions = Conditions { input_suspended: self.input_suspended, design_mah: self.pack.design_mah() };
        // A trace that was fed says so of what came after it, which then has no reading of its own.
        let fed = self.trace.as_ref().filter(|_| self.recording.phases.is_empty());
        if let Some(why) = fed.and_then(|trace| super::check::unfed(trace).err()) {
            return Energy::none(&why);
        }
        estimate(&self.recording, &self.calibration, &conditions, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Grade;
    use crate::energy::source::ChargingState;
    use crate::energy::testing::Made;
    use crate::reason::Code;

    fn record(made: &Made) -> EnergyRecord {
        EnergyRecord {
            sources: vec![SourceRecord {
                source: Source::Uevent,
                field: Field::Current,
                state: State::Ok,
                value: Some(-412_500.0),
            }],
            pack: Pack { design_uah: Reading::Present(5_000_000), ..Pack::none("not told") },
            calibration: made.calibration(),
            trace: None,
            recording: made.recording(),
            end: Reason::new(Code::EndPairs, &[("pairs", &6)]),
            input_suspended: false,
        }
    }

    #[test]
    fn what_is_sent_gives_the_numbers_of_what_was_recorded() {
        let made = Made::default();
        let sent = EnergyRecord { trace: Some(made.recording()), ..record(&made) };
        let text = serde_json::to_string(&sent).unwrap();
        let read: EnergyRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(read, sent);
        assert_eq!(read.energy(7), sent.energy(7));
        assert!(sent.energy(7).net_mj.number().is_some(), "the control");
        assert!(!serde_json::to_string(&record(&made)).unwrap().contains("\"trace\""));
    }

    #[test]
    fn a_trace_that_was_fed_is_why_there_is_no_number() {
        let fed = Made { charging: Some(ChargingState::Charging), ..Made::default() };
        let mut record = record(&Made::default());
        record.trace = Some(fed.recording());
        record.recording = Recording::default();
        let energy = record.energy(7);
        assert_eq!((energy.grade, energy.why.code()), (Grade::E4, Some(Code::Fed)));
    }

    #[test]
    fn health_is_what_is_left_of_the_new_battery() {
        let pack = Pack {
            design_uah: Reading::Present(5_000_000),
            full_uah: Reading::Present(4_100_000),
            ..Pack::none("not told")
        };
        assert_eq!(pack.health_share(), Some(0.82));
        assert_eq!(Pack::none("not told").health_share(), None);
    }
}
