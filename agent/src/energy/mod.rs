//! What a device draws: every source that may be asked, and readings of them while a child works and rests in turn.
//!
//! - [`battery`]: the battery's gauge, by whichever sources give it.
//! - [`meters`]: power sensors of boards and processors, and a meter of the agent's own configuration.
//! - [`poll`]: the thread that reads them.
//! - [`kept`]: what is known of the gauge from one attempt to the next.

pub(crate) mod battery;
pub(crate) mod kept;
pub(crate) mod meters;
pub(crate) mod poll;

pub use kept::Kept;
pub use meters::Hook;

use std::path::Path;

use seatrial_core::energy::BatteryFacts;

/// What the battery under a root tells; `None` without a battery.
pub(crate) fn facts(root: &Path) -> Option<BatteryFacts> {
    let mut gauge = battery::Gauge::find(root)?;
    let reading = gauge.read(0.0);
    Some(BatteryFacts { sources: gauge.sources().to_vec(), pack: gauge.pack(), reading, calibration: None })
}
