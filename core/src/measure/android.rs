//! What Android's own services say of a device's heat, screen and saver: `dumpsys thermalservice`, `dumpsys power`.
//!
//! Formats as AOSP's `ThermalManagerService` and `PowerManagerService` print them; vendors add lines of their own, which
//! are passed over.

use crate::reading::Reading;

/// Thermal statuses by number, as `android.os.PowerManager.THERMAL_STATUS_*`.
pub const THERMAL_STATUSES: [&str; 7] = ["none", "light", "moderate", "severe", "critical", "emergency", "shutdown"];
/// From this status on, `moderate`, the system holds clocks back.
pub const THERMAL_STATUS_LIMIT: f64 = 2.0;

/// `TemperatureType::SKIN` of the thermal HAL.
const SKIN: i64 = 3;

/// What the thermal service says.
#[derive(Debug, Clone, PartialEq)]
pub struct Thermal {
    /// Index into [`THERMAL_STATUSES`].
    pub status: Reading<u8>,
    /// Temperatures that the HAL gives of the skin, by name, in °C. Cached ones may be old and are not taken.
    pub skin_c: Vec<(String, f64)>,
}

/// Reads what `dumpsys thermalservice` prints.
#[must_use]
pub fn thermal(text: &str) -> Thermal {
    Thermal { status: status(text), skin_c: skin(text) }
}

fn status(text: &str) -> Reading<u8> {
    if value(text, "IsStatusOverride:") == Some("true") {
        let reason =
            "the thermal status is faked (`cmd thermalservice override-status`): `cmd thermalservice reset` ends that";
        return Reading::Absent(reason.to_owned());
    }
    let Some(word) = value(text, "Thermal Status:") else {
        return Reading::Absent("dumpsys thermalservice tells no thermal status".to_owned());
    };
    let known = word.parse::<u8>().ok().filter(|&status| usize::from(status) < THERMAL_STATUSES.len());
    Reading::from_option(known, format!("dumpsys thermalservice tells a thermal status of {word:?}"))
}

fn skin(text: &str) -> Vec<(String, f64)> {
    let Some((_, current)) = text.split_once("Current temperatures from HAL:") else { return Vec::new() };
    let lines = current.lines().skip(1).map(str::trim).take_while(|line| line.starts_with("Temperature{"));
    let readings = lines.filter_map(|line| {
        let inner = line.strip_prefix("Temperature{")?.strip_suffix('}')?;
        let field = |name: &str| inner.split(", ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let celsius: f64 = field("mValue")?.parse().ok()?;
        let is_skin = field("mType")?.parse::<i64>().ok()? == SKIN;
        (is_skin && celsius.is_finite()).then(|| Some((field("mName")?.to_owned(), celsius)))?
    });
    readings.collect()
}

/// Whether the screen is on, by what `dumpsys power` prints. A screen that shows the time while it dozes is not.
#[must_use]
pub fn screen_is_on(text: &str) -> Reading<bool> {
    if let Some(state) = value(text, "Display Power: state=") {
        return match state {
            "ON" => Reading::Present(true),
            "OFF" | "DOZE" | "DOZE_SUSPEND" => Reading::Present(false),
            other => Reading::Absent(format!("dumpsys power tells a display in state {other:?}")),
        };
    }
    match value(text, "mWakefulness=") {
        Some("Awake" | "Dreaming") => Reading::Present(true),
        Some("Asleep" | "Dozing") => Reading::Present(false),
        Some(other) => Reading::Absent(format!("dumpsys power tells a device that is {other:?}")),
        None => Reading::Absent("dumpsys power tells nothing of the screen".to_owned()),
    }
}

/// How bright the screen is set to be, by what `settings get system screen_brightness` prints.
#[must_use]
pub fn brightness(text: &str) -> Reading<f64> {
    let told = text.trim();
    let steps = told.parse().ok().filter(|steps: &f64| steps.is_finite());
    Reading::from_option(steps, format!("settings get system screen_brightness gives {told:?}"))
}

/// Whether the brightness follows the light, by what `settings get system screen_brightness_mode` prints.
#[must_use]
pub fn brightness_follows(text: &str) -> Reading<bool> {
    match text.trim() {
        "0" => Reading::Present(false),
        "1" => Reading::Present(true),
        other => Reading::Absent(format!("settings get system screen_brightness_mode gives {other:?}")),
    }
}

/// Whether the battery saver is on, by what `settings get global low_power` prints.
#[must_use]
pub fn saver_is_on(text: &str) -> Reading<bool> {
    match text.trim() {
        "0" | "null" => Reading::Present(false),
        "1" => Reading::Present(true),
        other => Reading::Absent(format!("settings get global low_power gives {other:?}")),
    }
}

/// The word after a key at the start of a line.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(key)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERMAL: &str = "\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 3
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=55.1, mType=3, mName=skin-old, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=31.5, mType=2, mName=battery, mStatus=0}
\tTemperature{mValue=34.211, mType=3, mName=SKIN, mStatus=0}
\tTemperature{mValue=NaN, mType=3, mName=SKIN2, mStatus=0}
\tTemperature{mValue=4.1, mType=6, mName=vbat, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
";

    #[test]
    fn the_status_and_the_skin_are_read_but_not_what_is_cached() {
        let read = thermal(THERMAL);
        assert_eq!(read.status, Reading::Present(1));
        assert_eq!(read.skin_c, [("SKIN".to_owned(), 34.211)]);
    }

    #[test]
    fn a_status_that_somebody_fakes_is_absent() {
        let faked = THERMAL.replace("IsStatusOverride: false", "IsStatusOverride: true");
        assert!(thermal(&faked).status.reason().unwrap().contains("reset"));
    }

    #[test]
    fn a_service_that_says_nothing_gives_nothing() {
        for text in ["", "Can't find service: thermalservice", "Thermal Status: 9", "Thermal Status: hot"] {
            assert!(thermal(text).status.reason().is_some(), "{text}");
            assert_eq!(thermal(text).skin_c, [], "{text}");
        }
    }

    #[test]
    fn a_screen_that_dozes_is_off_and_one_that_nobody_tells_of_is_absent() {
        let on = |text| screen_is_on(text).into_present();
        assert_eq!(on("  mWakefulness=Awake\n  Display Power: state=ON\n"), Some(true));
        assert_eq!(on("  mWakefulness=Awake\n  Display Power: state=OFF\n"), Some(false), "the display itself counts");
        assert_eq!(on("Display Power: state=DOZE"), Some(false));
        assert_eq!(on("  mWakefulness=Asleep\n"), Some(false));
        assert_eq!(on("  mWakefulness=Awake\n"), Some(true));
        assert_eq!(on("Display Power: state=VR"), None);
        assert_eq!(on("permission denied"), None);
    }

    #[test]
    fn a_saver_that_was_never_set_is_off() {
        let on = |text| saver_is_on(text).into_present();
        assert_eq!((on("null\n"), on("0\n"), on("1\n"), on("")), (Some(false), Some(false), Some(true), None));
    }
}
