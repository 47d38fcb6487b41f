//! Texts of battery and power sources, read into readings. Lenient with what vendors add, and never guessing: what a
//! text does not say is `None`.

use super::record::Pack;
use super::source::{BatteryReading, ChargingState};
use crate::reading::Reading;

/// Names of the current in a `uevent`, the kernel's first.
const CURRENTS: [&str; 4] = ["CURRENT_NOW", "BATT_CURRENT_UA_NOW", "BATTERYAVERAGECURRENT", "CURRENT_AVG"];
/// Names of the charge that is left.
const COUNTERS: [&str; 2] = ["CHARGE_COUNTER", "CHARGE_NOW"];
const PREFIX: &str = "POWER_SUPPLY_";

/// The kernel's word for what a battery does.
#[must_use]
pub fn charging(word: &str) -> Option<ChargingState> {
    match word.trim() {
        "Charging" => Some(ChargingState::Charging),
        "Discharging" => Some(ChargingState::Discharging),
        "Not charging" => Some(ChargingState::NotCharging),
        "Full" => Some(ChargingState::Full),
        "Unknown" => Some(ChargingState::Unknown),
        _ => None,
    }
}

/// The same as Android's framework numbers it.
#[must_use]
pub fn charging_number(number: i64) -> Option<ChargingState> {
    match number {
        1 => Some(ChargingState::Unknown),
        2 => Some(ChargingState::Charging),
        3 => Some(ChargingState::Discharging),
        4 => Some(ChargingState::NotCharging),
        5 => Some(ChargingState::Full),
        _ => None,
    }
}

/// A voltage in V: the interface says µV, some phones mV, `dumpsys` always mV. A cell or two have 2 to 20 V.
fn volts(raw: f64) -> Option<f64> {
    [1e6, 1e3].into_iter().map(|unit| raw / unit).find(|volts| (2.0..20.0).contains(volts))
}

/// A value of a `uevent`.
fn of<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(PREFIX)?.strip_prefix(key)?.strip_prefix('=')).map(str::trim)
}

fn number(text: &str, key: &str) -> Option<f64> {
    of(text, key)?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A `uevent` of a battery: `POWER_SUPPLY_CURRENT_NOW=-412500`, all of one moment.
#[must_use]
pub fn uevent(text: &str) -> BatteryReading {
    BatteryReading {
        at_s: 0.0,
        current: CURRENTS.into_iter().find_map(|key| number(text, key)),
        voltage_v: number(text, "VOLTAGE_NOW").and_then(volts),
        counter: COUNTERS.into_iter().find_map(|key| number(text, key)),
        level_percent: number(text, "CAPACITY").filter(|level| (0.0..=100.0).contains(level)),
        charging: of(text, "STATUS").and_then(charging),
        powered: None,
        temperature_c: number(text, "TEMP").map(|tenths| tenths / 10.0),
    }
}

/// What a `uevent` says of the battery's age.
#[must_use]
pub fn pack(text: &str) -> Pack {
    let absent = |key: &str| format!("the battery's uevent has no {PREFIX}{key}");
    let whole = |key: &str| {
        let value = of(text, key).and_then(|value| value.parse().ok()).filter(|&value: &u64| value > 0);
        Reading::from_option(value, absent(key))
    };
    let word = |key: &str| {
        let word = of(text, key).filter(|word| !word.is_empty() && word.len() <= 64);
        Reading::from_option(word.map(str::to_owned), absent(key))
    };
    Pack {
        design_uah: whole("CHARGE_FULL_DESIGN"),
        full_uah: whole("CHARGE_FULL"),
        cycles: whole("CYCLE_COUNT").map(|cycles| u32::try_from(cycles).unwrap_or(u32::MAX)),
        health: word("HEALTH"),
        technology: word("TECHNOLOGY"),
    }
}

/// What `dumpsys battery` says while somebody has faked it: nothing of it is true of the battery.
pub const FAKED: &str = "UPDATES STOPPED";

/// `dumpsys battery`: lines of `key: value`. Nothing of a dump that is faked.
#[must_use]
pub fn dumpsys(text: &str) -> BatteryReading {
    if text.contains(FAKED) {
        return BatteryReading::default();
    }
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let number = |key: &str| value(key)?.parse::<f64>().ok().filter(|value| value.is_finite());
    let feeds = ["AC powered", "USB powered", "Wireless powered", "Dock powered"];
    let powered: Vec<bool> = feeds.into_iter().filter_map(|key| value(key)?.parse().ok()).collect();
    let scale = number("scale").filter(|&scale| scale > 0.0).unwrap_or(100.0);
    BatteryReading {
        at_s: 0.0,
        current: None,
        voltage_v: number("voltage").and_then(volts),
        counter: number("Charge counter").filter(|&counter| counter != 0.0),
        level_percent: number("level").map(|level| level * 100.0 / scale).filter(|it| (0.0..=100.0).contains(it)),
        charging: value("status").and_then(|word| word.parse().ok()).and_then(charging_number),
        powered: (!powered.is_empty()).then(|| powered.contains(&true)),
        temperature_c: number("temperature").map(|tenths| tenths / 10.0),
    }
}

/// One number alone on its line: what `cmd battery get WORD` prints. Its help text, printed for a word that it does not
/// know, is none.
#[must_use]
pub fn lone_number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

/// What a battery property reads that the phone does not support.
const UNSUPPORTED: i64 = i64::MIN;

/// `service call batteryproperties 1 i32 N`: no exception, status 0, perhaps a mark that an object follows, and 64 bits in
/// two words, the low one first. `None` for an exception, another status, and what is not supported.
#[must_use]
pub fn parcel(text: &str) -> Option<i64> {
    let (_, body) = text.split_once("Parcel(")?;
    let mut words = Vec::new();
    for line in body.lines() {
        let hex = line.split('\'').next().unwrap_or_default();
        // A long parcel numbers its lines: `0x00000000: 00000000 …`.
        let hex = hex.split_once(':').map_or(hex, |(_, rest)| rest);
        words.extend(hex.split_whitespace().map_while(|word| u32::from_str_radix(word, 16).ok()));
    }
    let value = match words[..] {
        [0, 0, low, high] | [0, 0, 1, low, high] => (u64::from(high) << 32 | u64::from(low)).cast_signed(),
        _ => return None,
    };
    (value != UNSUPPORTED).then_some(value)
}

/// What the twelve rails of a Raspberry Pi 5 leave out: converters, and what hangs on its ports. A public fit against a
/// meter before the board (docs/energy.md): `P = 1.1451 Σ U I + 0.5879 W`.
const PMIC_FIT: (f64, f64) = (1.1451, 0.5879);

/// `vcgencmd pmic_read_adc`, in either of its two forms: lines of `NAME_A current(7)=0.5A` and `NAME_V volt(15)=1.1V`, or
/// `NAME_A=0.5`. The total in W, from every rail that tells both.
#[must_use]
pub fn pmic(text: &str) -> Option<f64> {
    let value = |line: &str| line.rsplit_once('=')?.1.trim().trim_end_matches(['A', 'V']).parse::<f64>().ok();
    let find = |name: &str| {
        let line = text.lines().find(|line| line.split(['=', ' ']).find(|word| !word.is_empty()) == Some(name))?;
        value(line).filter(|value| value.is_finite() && *value >= 0.0)
    };
    let rails = text.lines().filter_map(|line| line.trim().split(['=', ' ']).next()?.strip_suffix("_A"));
    let watts: Vec<f64> =
        rails.filter_map(|rail| Some(find(&format!("{rail}_A"))? * find(&format!("{rail}_V"))?)).collect();
    (!watts.is_empty()).then(|| PMIC_FIT.0 * watts.iter().sum::<f64>() + PMIC_FIT.1)
}

/// What heads the table of a power-stats service, and what ends it.
const RAILS: (&str, &str) = ("PowerStats HAL 2.0 energy meter", "End of PowerStats HAL");
/// How the subsystems begin that compute.
const COMPUTES: [&str; 5] = ["CPU", "GPU", "TPU", "DDR", "Memory"];

/// The energy since boot in J of the rails that feed what computes, from a dump of Android's power-stats service, whose lines
/// are `[S2M_VDD_CPUCL2]:CPU(BIG)   412345.67 mWs`. Screen, modem and radio are left out: an inference does not use them.
/// `None` where the dump has no such rails.
#[must_use]
pub fn power_stats(text: &str) -> Option<f64> {
    let table = text.lines().skip_while(|line| !line.contains(RAILS.0)).skip(1);
    let rails = table.take_while(|line| !line.contains(RAILS.1)).filter_map(|line| {
        let (rail, told) = line.trim().rsplit_once(']')?;
        let subsystem = told.strip_prefix(':')?.split_whitespace().next()?;
        let computes = COMPUTES.iter().any(|part| subsystem.starts_with(part));
        let energy = told.split_once(" mWs")?.0.split_whitespace().next_back()?.parse::<f64>().ok()?;
        (rail.starts_with('[') && computes && energy.is_finite() && energy >= 0.0).then_some(energy / 1e3)
    });
    let joules: Vec<f64> = rails.collect();
    (!joules.is_empty()).then(|| joules.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form in which Google's service writes it, with fewer lines.
    const DUMP: &str = "\n============= PowerStats HAL 2.0 energy consumers ==============\n          Consumer     Cumulative Energy\n       CPU      99999999.00 mWs\n\
        ========== End of PowerStats HAL 2.0 energy consumers ==========\n\n\
        ============= PowerStats HAL 2.0 energy meter ==============\n                                   Channel    Cumulative Energy\n                 [S2M_VDD_CPUCL2]:CPU(BIG)        412345.50 mWs\n              [S4M_VDD_CPUCL0]:CPU(LITTLE)        100000.00 mWs\n                        [S2S_VDD_G3D]:GPU         20000.25 mWs\n                   [VSYS_PWR_DISPLAY]:Display   5000000.00 mWs\n                     [VSYS_PWR_MODEM]:Modem     7000000.00 mWs\n\
        ========== End of PowerStats HAL 2.0 energy meter ==========\n";

    #[test]
    fn the_rails_of_what_computes_add_up_and_screen_and_radio_are_none_of_them() {
        let joules = power_stats(DUMP).unwrap();
        assert!((joules - 532.345_75).abs() < 1e-9, "{joules}");
        let delta = DUMP.replace("412345.50 mWs", "412345.50 mWs (        12.00)");
        assert_eq!(power_stats(&delta), Some(joules), "what it has grown by since somebody else asked is not added");
    }

    #[test]
    fn a_dump_without_rails_that_compute_is_no_zero() {
        let none = DUMP.replace("CPU", "Sensor").replace("GPU", "Sensor");
        assert_eq!(power_stats(&none), None);
        assert_eq!(power_stats(&DUMP.replace(" mWs", "")), None);
        assert_eq!(power_stats(&DUMP.replace("HAL 2.0 energy meter", "HAL 2.0 state residencies")), None);
        assert_eq!(power_stats("Can't find service: android.hardware.power.stats.IPowerStats/default\n"), None);
        assert_eq!(power_stats(""), None);
    }

    #[test]
    fn a_uevent_gives_all_of_one_moment() {
        let text = "POWER_SUPPLY_NAME=battery\nPOWER_SUPPLY_STATUS=Not charging\nPOWER_SUPPLY_CAPACITY=64\n\
                    POWER_SUPPLY_VOLTAGE_NOW=4012000\nPOWER_SUPPLY_CURRENT_NOW=-512000\n\
                    POWER_SUPPLY_CHARGE_COUNTER=2880000\nPOWER_SUPPLY_TEMP=302\nPOWER_SUPPLY_CYCLE_COUNT=412\n\
                    POWER_SUPPLY_CHARGE_FULL=4100000\nPOWER_SUPPLY_CHARGE_FULL_DESIGN=5000000\nPOWER_SUPPLY_HEALTH=Good\n";
        let reading = uevent(text);
        assert_eq!((reading.current, reading.voltage_v), (Some(-512_000.0), Some(4.012)));
        assert_eq!((reading.counter, reading.level_percent), (Some(2_880_000.0), Some(64.0)));
        assert_eq!((reading.charging, reading.temperature_c), (Some(ChargingState::NotCharging), Some(30.2)));
        let pack = pack(text);
        assert_eq!((pack.cycles.present(), pack.health_share()), (Some(&412), Some(0.82)));
        assert_eq!(pack.technology.reason(), Some("the battery's uevent has no POWER_SUPPLY_TECHNOLOGY"));
    }

    #[test]
    fn what_a_uevent_does_not_say_is_no_zero() {
        let reading = uevent("POWER_SUPPLY_CURRENT_NOW=\nPOWER_SUPPLY_VOLTAGE_NOW=0\nPOWER_SUPPLY_CAPACITY=142\nx\n");
        assert_eq!(reading, BatteryReading::default());
        assert_eq!(uevent("POWER_SUPPLY_VOLTAGE_NOW=3912\n").voltage_v, Some(3.912), "some phones say mV");
        assert_eq!(uevent("POWER_SUPPLY_CURRENT_AVG=5\n").current, Some(5.0));
    }

    #[test]
    fn a_dump_is_read_leniently_and_a_faked_one_not_at_all() {
        let text = "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  miui_quick_charge: 0\n  \
                    Charge counter: 2880000\n  status: 2\n  level: 32\n  scale: 50\n  voltage: 4012\n  temperature: 302\n";
        let reading = dumpsys(text);
        assert_eq!((reading.powered, reading.charging), (Some(true), Some(ChargingState::Charging)));
        assert_eq!((reading.level_percent, reading.voltage_v), (Some(64.0), Some(4.012)));
        let faked = text.replace("state:", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)");
        assert_eq!(dumpsys(&faked), BatteryReading::default());
        assert_eq!(dumpsys("Can't find service: battery\n"), BatteryReading::default());
    }

    #[test]
    fn a_parcel_holds_its_number_with_and_without_the_mark_of_an_object() {
        let one = |words: &str| parcel(&format!("Result: Parcel({words}   '................')\n"));
        assert_eq!(one("00000000 00000000 ffffffff ffffffff"), Some(-1));
        assert_eq!(one("00000000 00000000 00000001 fff9b4ac ffffffff"), Some(-412_500));
        assert_eq!(one("00000000 00000000 00000000 80000000"), None, "not supported");
        assert_eq!(one("ffffffff 0000004a 00000000 00000000"), None, "an exception");
        assert_eq!(parcel("service: Service batteryproperties does not exist"), None);
        let long = "Result: Parcel(\n  0x00000000: 00000000 00000000 00000001 00000041 '............A...'\n  \
                    0x00000010: 00000000                            '....            ')\n";
        assert_eq!(parcel(long), Some(0x41));
    }

    #[test]
    fn a_word_that_a_phone_does_not_know_is_no_number() {
        assert_eq!(lone_number("-412500\n"), Some(-412_500.0));
        assert_eq!(lone_number("Unknown get option: current_now\n"), None);
        assert_eq!(lone_number("inf"), None);
    }

    #[test]
    fn a_board_controllers_rails_add_up_by_the_fit_in_both_forms() {
        let long = "   3V7_WL_SW_A current(0)=0.10000000A\n   VDD_CORE_A current(7)=2.00000000A\n\
                       3V7_WL_SW_V volt(8)=3.70000000V\n   VDD_CORE_V volt(15)=0.90000000V\n   EXT5V_V volt(24)=5.1V\n";
        let short = "3V7_WL_SW_A=0.1\nVDD_CORE_A=2.0\n3V7_WL_SW_V=3.7\nVDD_CORE_V=0.9\nEXT5V_V=5.1\n";
        for text in [long, short] {
            let watts = pmic(text).unwrap();
            assert!((watts - (1.1451 * (0.37 + 1.8) + 0.5879)).abs() < 1e-9, "{watts}");
        }
        assert_eq!(pmic("EXT5V_V volt(24)=5.1V\n"), None, "a voltage alone is no power");
        assert_eq!(pmic("VCHI initialization failed"), None);
    }
}
