//! What is known of this device's gauge, kept in the agent's folder from one attempt to the next. Another build of the
//! system may have other habits, and so may another version of what reads the trace: then it is calibrated again.

use std::io;
use std::path::PathBuf;

use fs_err as fs;
use seatrial_core::energy::Calibration;
use seatrial_core::energy::plan::Route;

use crate::folder::write_whole;
use crate::plain::read_plain;

const FILE: &str = "calibration.json";
const MAX_BYTES: u64 = 64 << 10;

/// A folder for it.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
}

impl Kept {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What an earlier attempt found under this build.
    pub(crate) fn calibration(&self, build: &str) -> Option<Calibration> {
        let bytes = read_plain(&self.folder, FILE, MAX_BYTES).ok()?;
        let calibration: Calibration = serde_json::from_slice(&bytes).ok()?;
        calibration.stands_for(build).then_some(calibration)
    }

    /// Remembers one by which the best of this gauge can be read; one that found out less is made anew the next time.
    pub(crate) fn keep(&self, calibration: &Calibration, tells_current: bool) -> io::Result<bool> {
        let is_whole = match Route::of(None, calibration) {
            Ok(Route::Current) => true,
            Ok(Route::Counter) => !tells_current,
            Ok(Route::Meter) | Err(_) => false,
        };
        if is_whole {
            fs::create_dir_all(&self.folder)?;
            write_whole(&self.folder.join(FILE), &serde_json::to_vec(calibration)?, 0o600)?;
        }
        Ok(is_whole)
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::energy::calibrate::{CurrentUnit, Found, Known, Sign};
    use seatrial_core::reading::Reading;
    use seatrial_core::reason::{Code, Reason};

    use super::*;

    fn known<T>(value: T) -> Known<T> {
        Reading::Present(Found { value, evidence: Reason::new(Code::CurrentStoodStill, &[]) })
    }

    #[test]
    fn a_calibration_stands_for_its_build_and_only_when_it_found_out_enough() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::new(home.path().join("energy"));
        assert_eq!(kept.calibration("build"), None);
        let nothing = Calibration::none("build", &Reason::new(Code::LoadNotSeen, &[]));
        let by_counter = Calibration { counter_unit_mah: known(1e-3), ..nothing.clone() };
        let whole = Calibration {
            sign: known(Sign::DischargeNegative),
            unit: known(CurrentUnit::Microamps),
            period_s: known(1.0),
            resolution: known(976.0),
            lag_s: known(0.5),
            ..by_counter.clone()
        };
        assert!(!kept.keep(&nothing, true).unwrap());
        assert!(!kept.keep(&by_counter, true).unwrap(), "its current may be found out the next time");
        assert_eq!(kept.calibration("build"), None);
        assert!(kept.keep(&by_counter, false).unwrap());
        assert!(kept.keep(&whole, true).unwrap());
        assert_eq!(kept.calibration("build"), Some(whole));
        assert_eq!(kept.calibration("another build"), None);
        std::fs::write(home.path().join("energy").join(FILE), "{").unwrap();
        assert_eq!(kept.calibration("build"), None);
    }
}
