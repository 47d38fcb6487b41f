//! From readings of power and charge to the energy of one inference. Pure; every definition is written out in
//! `docs/measurement.md`.
//!
//! - [`source`]: what can be asked, what it answers, and what is worth believing.
//! - [`read`]: the texts of sources, read into readings.
//! - [`recording`]: the raw evidence: phases of idle and load, and the readings over them.
//! - [`calibrate`]: which sign, unit, period, resolution and lag this phone's gauge has.
//! - [`plan`]: what to run next, given what was seen.
//! - [`conduct`]: one measurement from its first reading to its last.
//! - [`record`]: what a device reports of it.
//! - [`signal`]: readings as power and charge over time.
//! - [`check`]: what makes a recording no measurement.
//! - [`estimate`]: the numbers with their intervals, [`Grade`] and reasons.
//! - [`care`]: what a battery's age says.
//! - [`metrics`]: the same as metrics.
//!
//! Recordings are kept and the numbers are derived, so a definition may change later: [`ALGORITHM`] then changes too,
//! and every derived row names the one that made it.

pub mod bootstrap;
pub mod calibrate;
pub mod care;
pub mod check;
pub mod columns;
pub mod conduct;
pub mod estimate;
pub mod grade;
pub mod metrics;
pub mod plan;
pub mod read;
pub mod record;
pub mod recording;
pub mod signal;
pub mod source;
#[cfg(test)]
mod testing;

pub use calibrate::{Calibration, calibrate};
pub use estimate::{Conditions, Energy, Figure, estimate};
pub use grade::Grade;
pub use plan::{Limits, Plan, Step};
pub use record::{BatteryFacts, EnergyRecord, Pack, SourceRecord};
pub use recording::{Phase, PhaseKind, Recording};

/// The version of the definitions in this module. Changes whenever a number could come out differently.
pub const ALGORITHM: &str = "seatrial-energy-1";
