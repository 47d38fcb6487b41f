//! The phones that the program describes: what they are, and what their batteries show of what is really used.

use std::collections::BTreeSet;
use std::path::Path;

use seatrial_core::profile::{Fact, Rules, Standing, read, script, split};
use seatrial_sim::phone::{Description, Fault};

use super::lab::{Connected, Lab, With, until};
use super::skipped::unless_missing;

const NONCE: &str = "4f2a90c1d7e8";

fn value<T: Clone>(fact: &Fact<T>) -> Option<T> {
    fact.present().map(|found| found.value.clone())
}

/// What is known of the device whose dump the phone has.
fn expected(name: &str) -> toml::Table {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/phones").join(name);
    toml::from_str(&std::fs::read_to_string(folder.join("expected.toml")).unwrap()).unwrap()
}

#[tokio::test]
async fn each_shipped_phone_is_identified_as_what_it_is_by_the_profile_of_real_ones() {
    let test = "each_shipped_phone_is_identified_as_what_it_is_by_the_profile_of_real_ones";
    let Some(lab) = unless_missing(test, Lab::open().await) else { return };
    let rules = Rules::shipped().unwrap();
    let text = script(rules, NONCE).unwrap();
    let names = Description::shipped_names();
    assert_eq!(names.len(), 12);
    let (mut brands, mut roms, mut families) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for name in names {
        let phone = lab.shipped(name).await;
        let output = phone.adb(&["shell", &text]).await;
        let findings = read(&split(output.out.as_bytes(), NONCE).unwrap(), rules);
        let rom = value(&findings.rom).unwrap();
        let found = [
            ("brand", value(&findings.naming.brand)),
            ("model", value(&findings.naming.model)),
            ("marketing_name", value(&findings.naming.marketing_name)),
            ("rom", Some(rom.name)),
            ("rom_version", rom.version.into_present()),
            ("android_release", value(&findings.android_release)),
            ("chip", value(&findings.chip).and_then(|chip| chip.model.into_present())),
            ("gpu_family", value(&findings.gpu).map(|gpu| gpu.family)),
            ("gpu", value(&findings.gpu).and_then(|gpu| gpu.model.into_present())),
        ];
        let expected = expected(name);
        for (key, found) in &found {
            let expected = expected.get(*key).map(|value| value.as_str().unwrap().to_owned());
            assert_eq!(*found, expected, "{key} of {name}");
        }
        assert_eq!(findings.naming.brand.present().map(|brand| brand.standing), Some(Standing::Told), "{name}");
        let memory = expected["memory_bytes"].as_integer().unwrap();
        assert_eq!(value(&findings.memory_bytes), Some(memory.cast_unsigned()), "{name}");
        let clusters = expected["clusters"].as_array().unwrap().len();
        assert_eq!(findings.cores.clusters.len(), clusters, "{name}");
        // What runs there is built for this machine, and nothing says otherwise.
        let abi = if cfg!(target_arch = "x86_64") { "x86_64" } else { "arm64-v8a" };
        assert_eq!(value(&findings.abis), Some(vec![abi.to_owned()]), "{name}");
        assert_eq!(phone.shell("echo $SEATRIAL_SIMULATED").await, "true", "an agent there knows what it is in");
        let [(_, brand), .., (_, family), _] = found;
        brands.extend(brand);
        roms.insert(value(&findings.rom).unwrap().name);
        families.extend(family);
        phone.phone.stop().await.unwrap();
    }
    assert_eq!(brands.len(), 12, "{brands:?}");
    assert!(roms.len() >= 10 && families.len() >= 6, "{roms:?} {families:?}");
}

/// A line of the battery's uevent.
async fn gauge(phone: &Connected<'_>, supply: &str, key: &str) -> Option<i64> {
    let text = phone.shell(&format!("cat /sys/class/power_supply/{supply}/uevent")).await;
    text.lines().find_map(|line| line.strip_prefix(&format!("POWER_SUPPLY_{key}="))).map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn what_programs_really_use_comes_out_of_the_battery_and_the_gauge_says_it_in_its_own_way() {
    let test = "what_programs_really_use_comes_out_of_the_battery_and_the_gauge_says_it_in_its_own_way";
    let Some(lab) = unless_missing(test, Lab::open().await) else { return };
    // Negative µA, positive µA, and negative mA, of phones that draw 2.2, 2.3 and 1.8 J for a second of the processor.
    let (xiaomi, oneplus, honor) =
        tokio::join!(lab.shipped("xiaomi-14"), lab.shipped("oneplus-11-global"), lab.shipped("honor-50"));
    for phone in [&xiaomi, &oneplus, &honor] {
        assert_eq!(phone.shell("cat /sys/class/power_supply/battery/status").await, "Charging");
        phone.phone.inflict(Fault::Dark).await.unwrap();
        let status = phone.place("sys/class/power_supply/battery/status");
        until("it discharges", async || std::fs::read_to_string(&status).unwrap() == "Discharging\n").await;
        phone.phone.mend().await.unwrap();
        phone.connect().await;
        // Its own daemon, its shells and what boots use something, too.
        let before = phone.truth();
        phone.detach("timeout 3 sh -c \"while :; do :; done\"; echo done > done").await;
        until("the program has ended", async || phone.place("data/local/tmp/done").exists()).await;
        until("its energy is counted", async || phone.truth().cpu_joules - before.cpu_joules > 2.0).await;
    }
    for (phone, unit, sign) in [(&xiaomi, 1e3, -1.0), (&oneplus, 1e3, 1.0), (&honor, 1.0, -1.0)] {
        let charging = gauge(phone, "battery", "CURRENT_NOW").await.unwrap() as f64;
        let ma = charging / unit * -sign;
        assert!((100.0..2_000.0).contains(&ma), "{ma} mA into it from a port of 5 W, by the gauge's own sign and unit");
    }
}

#[tokio::test]
async fn a_phone_without_a_current_has_none_anywhere_and_a_denied_one_only_in_the_frameworks_words() {
    let test = "a_phone_without_a_current_has_none_anywhere_and_a_denied_one_only_in_the_frameworks_words";
    let Some(lab) = unless_missing(test, Lab::open().await) else { return };
    let (vivo, nubia) = tokio::join!(lab.shipped("vivo-y30"), lab.shipped("nubia-z70-ultra"));
    assert_eq!(gauge(&vivo, "battery", "CURRENT_NOW").await, None);
    let counter = gauge(&vivo, "battery", "CHARGE_COUNTER").await.unwrap();
    assert_eq!(counter % 50_000, 0, "it is the percentage of 5,000 mAh: {counter}");
    assert_ne!(vivo.adb(&["shell", "cat /sys/class/power_supply/battery/current_now"]).await.code, Some(0));
    let denied = nubia.adb(&["shell", "cat /sys/class/power_supply/battery/uevent"]).await;
    assert!(denied.code == Some(1) && denied.err.contains("Permission denied"), "{denied:?}");
    let said: i64 = nubia.shell("cmd battery get current_now").await.parse().unwrap();
    assert!(said > 0, "it charges, by the interface's sign: {said}");
}

#[tokio::test]
async fn work_warms_a_phone_and_one_that_lowers_its_clocks_in_silence_says_nothing_of_it() {
    let test = "work_warms_a_phone_and_one_that_lowers_its_clocks_in_silence_says_nothing_of_it";
    let Some(lab) = unless_missing(test, Lab::open().await) else { return };
    let described = lab.path().join("described");
    std::fs::create_dir(&described).unwrap();
    let write = |name: &str, text: &str| std::fs::write(described.join(name), text).unwrap();
    write("getprop.txt", "[ro.product.model]: [warm]\n");
    write("cpus.txt", "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq=3000000\n");
    // Soon warm, so that a machine that is busy with other things warms it as well.
    let cap = "cap = { above_celsius = 30.0, share = 0.5, silent = true }";
    write("power.toml", &format!("[heat]\nkelvin_per_w = 60.0\nseconds = 1.0\n{cap}\n"));
    let phone = lab.start(Description::read(&described).unwrap(), "warm", With::default()).await;
    let node = |name: &str| phone.place(&format!("sys/devices/system/cpu/cpufreq/policy0/{name}"));
    let khz = |name: &str| std::fs::read_to_string(node(name)).unwrap().trim().parse::<u64>().unwrap();
    // The control. Booting is work as well, and warms it for a moment.
    let idle = (3_000_000, 300_000);
    until("it is idle and cool", async || (khz("scaling_max_freq"), khz("scaling_cur_freq")) == idle).await;
    phone.detach("exec timeout 60 sh -c \"while :; do :; done\"").await;
    until("its clock is up, and lowered", async || khz("scaling_cur_freq") == 1_500_000).await;
    assert_eq!(khz("scaling_max_freq"), 1_500_000);
    let zone = phone.shell("cat /sys/class/thermal/thermal_zone0/temp").await;
    assert!(zone.parse::<i64>().unwrap() > 30_000, "{zone}");
    assert!(phone.shell("dumpsys thermalservice").await.contains("Thermal Status: 0"));
}
