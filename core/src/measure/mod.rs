//! From raw samples to metrics. Pure; every definition is written out in `docs/measurement.md`.
//!
//! Samples are kept and these numbers are derived, so a definition may change later: [`ALGORITHM`] then changes too,
//! and every derived row names the one that made it.

pub mod android;
pub mod binomial;
pub mod interference;
pub mod latency;
pub mod paced;
pub mod plausible;
pub mod samples;
pub mod stats;
pub mod stop;
mod summary;
pub mod sustained;
pub mod task;
#[cfg(test)]
mod testing;
pub mod told;
pub mod warmup;

pub use summary::{EXACT_SQNR_DB, Summary, summarise};

/// The version of the definitions in this module. Changes whenever a number could come out differently.
pub const ALGORITHM: &str = "seatrial-measure-6";
