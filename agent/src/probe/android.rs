//! What Android's services say of heat, screen and saver. Asking takes tens of milliseconds of the CPU, so that nobody asks
//! while something is timed.

use std::time::Duration;

use seatrial_core::measure::android;
use seatrial_core::measure::interference::sensor;
use seatrial_core::profile::Ending;
use seatrial_core::reading::Reading;

use super::SensorReading;
use super::files::Files;
use super::tool;

/// A service that takes longer is not waited for: an attempt asks a few times.
const WITHIN: Duration = Duration::from_secs(3);

/// Nothing of a device that has no such services.
pub(super) fn readings(files: &Files) -> Vec<SensorReading> {
    if !files.exists("system/bin/dumpsys") {
        return Vec::new();
    }
    let reading = |sensor: &str, value| SensorReading { sensor: sensor.to_owned(), unit: "1", value };
    let state = |state: Reading<bool>| state.map(|on| if on { 1.0 } else { 0.0 });
    let thermal = ask(files, &["dumpsys", "thermalservice"]).map(|text| android::thermal(&text));
    let (status, skin) = match thermal {
        Reading::Present(thermal) => (thermal.status.map(f64::from), thermal.skin_c),
        Reading::Absent(reason) => (Reading::Absent(reason), Vec::new()),
    };
    let screen = and_then(ask(files, &["dumpsys", "power"]), android::screen_is_on);
    let saver = and_then(ask(files, &["settings", "get", "global", "low_power"]), android::saver_is_on);
    let of_screen = |key: &str| ask(files, &["settings", "get", "system", key]);
    let follows = and_then(of_screen("screen_brightness_mode"), android::brightness_follows);
    let mut readings = vec![
        reading(sensor::THERMAL_STATUS, status),
        reading(sensor::SCREEN, state(screen)),
        reading(sensor::BRIGHTNESS, and_then(of_screen("screen_brightness"), android::brightness)),
        reading(sensor::BRIGHTNESS_FOLLOWS, state(follows)),
        reading(sensor::BATTERY_SAVER, state(saver)),
    ];
    readings.extend(skin.into_iter().map(|(name, celsius)| SensorReading {
        sensor: format!("{}{name}", sensor::SKIN_PREFIX),
        unit: sensor::CELSIUS,
        value: Reading::Present(celsius),
    }));
    readings
}

fn ask(files: &Files, words: &[&str]) -> Reading<String> {
    match tool::run(files.root(), words, WITHIN) {
        (text, Ending::Whole) => Reading::Present(text),
        (_, Ending::Cut) => Reading::Absent(format!("the output of {} was cut", words.join(" "))),
        (why, Ending::Failed(code)) => {
            Reading::Absent(format!("{} ended with {code}: {}", words.join(" "), why.trim()))
        }
    }
}

fn and_then<T>(text: Reading<String>, parse: impl Fn(&str) -> Reading<T>) -> Reading<T> {
    match text {
        Reading::Present(text) => parse(&text),
        Reading::Absent(reason) => Reading::Absent(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tool::tests::tool;
    use super::*;

    fn phone(dumpsys: &str, settings: &str) -> (tempfile::TempDir, Files) {
        let home = tempfile::tempdir().unwrap();
        tool(home.path(), "dumpsys", dumpsys);
        tool(home.path(), "settings", settings);
        let files = Files::new(home.path());
        (home, files)
    }

    fn value(readings: &[SensorReading], name: &str) -> Reading<f64> {
        readings.iter().find(|reading| reading.sensor == name).unwrap().value.clone()
    }

    #[test]
    fn a_phone_tells_heat_screen_and_saver() {
        let dumpsys = "case $1 in
            power) echo '  Display Power: state=OFF';;
            thermalservice) printf 'Thermal Status: 2\\nCurrent temperatures from HAL:\\n\\tTemperature{mValue=36.5, mType=3, mName=SKIN, mStatus=0}\\n';;
        esac";
        let settings = "case $3 in screen_brightness) echo 102;; *) echo 1;; esac";
        let (_home, files) = phone(dumpsys, settings);
        let readings = readings(&files);
        assert_eq!(value(&readings, sensor::THERMAL_STATUS), Reading::Present(2.0));
        assert_eq!(value(&readings, sensor::SCREEN), Reading::Present(0.0));
        assert_eq!(value(&readings, sensor::BRIGHTNESS), Reading::Present(102.0));
        assert_eq!(value(&readings, sensor::BRIGHTNESS_FOLLOWS), Reading::Present(1.0));
        assert_eq!(value(&readings, sensor::BATTERY_SAVER), Reading::Present(1.0));
        assert_eq!(value(&readings, "skin/SKIN"), Reading::Present(36.5));
    }

    #[test]
    fn what_a_rom_refuses_is_absent_with_its_words() {
        let (_home, files) = phone("echo Permission denied; exit 1", "exit 255");
        let readings = readings(&files);
        assert_eq!(readings.len(), 5);
        let reason = value(&readings, sensor::THERMAL_STATUS).reason().unwrap().to_owned();
        assert_eq!(reason, "dumpsys thermalservice ended with 1: Permission denied");
    }

    #[test]
    fn a_host_is_not_asked() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(readings(&Files::new(home.path())), []);
    }
}
