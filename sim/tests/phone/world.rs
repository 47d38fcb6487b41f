//! What a phone is to the programs in it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seatrial_sim::phone::{Fault, Load, Power, Shown, Status};

use super::lab::{Lab, With, until};
use super::skipped::unless_missing;

#[tokio::test]
async fn commands_are_the_shell_user_on_the_file_system_of_the_phone() {
    let Some(lab) = unless_missing("commands_are_the_shell_user_on_the_file_system_of_the_phone", Lab::open().await)
    else {
        return;
    };
    let phone = lab.phone("rmx").await;
    assert_eq!(phone.shell("id -u; id -un; echo $TMPDIR; pwd").await, "2000\nshell\n/data/local/tmp\n/");
    let foreign = "for place in home root tmp var srv; do [ -e /$place ] && echo $place; done; echo none";
    assert_eq!(phone.shell(foreign).await, "none", "nothing of this machine but its programs and libraries");
    assert_eq!(phone.shell("cat /sys/class/power_supply/battery/type").await, "Battery");
    let code = async |command| phone.adb(&["shell", command]).await.code;
    assert_eq!(code("echo x > /system/x").await, Some(2), "the system is read only");
    assert_eq!(code("cp /system/bin/true /sdcard/true; chmod 755 /sdcard/true; /sdcard/true").await, Some(126));
    assert_eq!(code("cp /system/bin/true /data/local/tmp/true; /data/local/tmp/true").await, Some(0));
    for harm in ["chmod 600 /dev/null", "echo 1 > /proc/sys/vm/drop_caches", "touch /usr/x", "rm /dev/null"] {
        assert_ne!(code(harm).await, Some(0), "{harm}: the machine around the phone is out of reach");
    }
    assert_eq!(code("echo x > /dev/null").await, Some(0));
    let denied = phone.adb(&["shell", "cat /sys/class/power_supply/battery/current_now"]).await;
    assert!(denied.code == Some(1) && denied.err.contains("Permission denied"), "{denied:?}");
    // Of a pull that fails, adb removes the file that it was to write: never name a device there.
    let here = tempfile::tempdir().unwrap();
    let here = here.path().join("current_now").display().to_string();
    let denied = phone.adb(&["pull", "/sys/class/power_supply/battery/current_now", &here]).await;
    assert!(denied.code == Some(1) && (denied.out + &denied.err).contains("Permission denied"));
}

#[tokio::test]
async fn androids_own_programs_answer_as_the_description_says() {
    let Some(lab) = unless_missing("androids_own_programs_answer_as_the_description_says", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    assert!(phone.shell("dumpsys SurfaceFlinger").await.starts_with("GLES: Qualcomm, Adreno (TM) 740"));
    assert_eq!(phone.adb(&["shell", "cmd gpu vkjson"]).await.code, Some(134));
    assert_eq!(phone.adb(&["shell", "cmd nonsense"]).await.code, Some(20));
    assert_eq!(phone.shell("head -1 /proc/cpuinfo; tail -3 /proc/cpuinfo").await.lines().count(), 3);
    assert_eq!(phone.shell("settings get global device_name").await, "Xiaomi 13");
    assert_eq!(phone.shell("svc power stayon usb; settings get global stay_on_while_plugged_in").await, "2");
    assert_eq!(phone.shell("settings delete global stay_on_while_plugged_in").await, "Deleted 1 rows");
    assert_eq!(phone.shell("settings get global stay_on_while_plugged_in").await, "null");
    assert_eq!(phone.shell("input keyevent 26; dumpsys power | grep -o mWake.*").await, "mWakefulness=Asleep");
    assert!(phone.shell("logcat -d -b main,crash").await.ends_with("I/boot    (    1): the phone is described"));
    assert_eq!(phone.shell("logcat -c; logcat -d").await, "");

    phone.shell("dumpsys battery unplug; dumpsys battery set level 3").await;
    let faked = phone.shell("dumpsys battery").await;
    assert!(faked.contains("UPDATES STOPPED") && faked.contains("USB powered: false") && faked.contains("level: 3"));
    assert_eq!(phone.shell("cat /sys/class/power_supply/battery/capacity").await, "64", "only the framework is faked");
    let restored = phone.shell("dumpsys battery reset; dumpsys battery").await;
    assert!(restored.contains("USB powered: true") && restored.contains("level: 64"), "{restored}");
    assert!(restored.contains("miui_quick_charge: 0"), "lines of the maker stay");
}

/// Its charge falls by 1 µAh for each ms of CPU, whatever the time.
struct Meter {
    used: Arc<Mutex<Duration>>,
}

impl Power for Meter {
    fn advance(&mut self, load: Load) -> Shown {
        let mut used = self.used.lock().unwrap();
        *used += load.cpu;
        let charge = 3_000_000 - used.as_millis() as i64;
        let status = if load.plugged { Status::Charging } else { Status::Discharging };
        let [voltage, current, charge] = [3_900_000, -charge, charge].map(Some);
        Shown { status: Some(status), capacity: Some(50), voltage, current, charge, temperature: None, chip: None }
    }
}

#[tokio::test]
async fn the_battery_follows_the_cpu_time_that_the_phone_uses() {
    let Some(lab) = unless_missing("the_battery_follows_the_cpu_time_that_the_phone_uses", Lab::open().await) else {
        return;
    };
    let used = Arc::new(Mutex::new(Duration::ZERO));
    let power = Some(Box::new(Meter { used: used.clone() }) as Box<dyn Power>);
    let phone = lab.phone_with("fuxi", "metered", With { power, ..With::default() }).await;
    let counter = async || -> i64 {
        let path = "/sys/class/power_supply/battery";
        let text = phone.shell(&format!("cat {path}/charge_counter; grep CHARGE_COUNTER {path}/uevent")).await;
        let (node, uevent) = text.split_once('\n').unwrap();
        let line = uevent.strip_prefix("POWER_SUPPLY_CHARGE_COUNTER=").unwrap();
        assert!((node.parse::<i64>().unwrap() - line.parse::<i64>().unwrap()).abs() < 2000, "{text}");
        node.parse().unwrap()
    };
    let before = counter().await;
    // A detached program and its child: what has ended counts as well.
    phone.detach("timeout 4 sh -c \"while :; do :; done\"; echo done > done").await;
    until("the program has ended", async || phone.place("data/local/tmp/done").exists()).await;
    let burnt = used.lock().unwrap().as_millis() as i64;
    until("the node has followed", async || counter().await <= 3_000_000 - burnt).await;
    assert!(before - counter().await > 500, "a program that did nothing but compute for 4 s");

    let parcel = phone.shell("service call batteryproperties 1 i32 2").await;
    let low = parcel.split_whitespace().nth(3).unwrap();
    let shown = i64::from(u32::from_str_radix(low, 16).unwrap().cast_signed());
    assert!((shown + counter().await).abs() < 2000, "the current is the negative of the charge here: {parcel}");
    assert_eq!(phone.shell("cat /sys/class/power_supply/battery/status").await, "Charging");
    phone.phone.inflict(Fault::Dark).await.unwrap();
    let status = phone.place("sys/class/power_supply/battery/status");
    until("the port gives no power", async || std::fs::read_to_string(&status).unwrap() == "Discharging\n").await;
    assert_eq!(std::fs::read_to_string(phone.place("sys/class/power_supply/usb/online")).unwrap(), "0\n");
}

#[tokio::test]
async fn phones_of_one_machine_take_turns_at_measuring() {
    let Some(lab) = unless_missing("phones_of_one_machine_take_turns_at_measuring", Lab::open().await) else { return };
    let turn = lab.path().join("turn");
    std::fs::write(&turn, "").unwrap();
    let with = || With { turn: Some(turn.clone()), ..With::default() };
    let first = lab.phone_with("fuxi", "first", with()).await;
    let second = lab.phone_with("fuxi", "second", with()).await;
    assert_eq!(second.shell("flock --nonblock $SEATRIAL_TURN true; echo $?").await, "0");
    first.detach("exec flock $SEATRIAL_TURN sh -c \"echo x > holds; sleep 1000\"").await;
    until("the first has its turn", async || first.place("data/local/tmp/holds").exists()).await;
    assert_eq!(second.shell("flock --nonblock $SEATRIAL_TURN true; echo $?").await, "1");
    first.phone.inflict(Fault::Reboot).await.unwrap();
    assert_eq!(second.shell("flock $SEATRIAL_TURN echo mine").await, "mine", "a turn ends with whoever had it");
}

#[tokio::test]
async fn the_real_agent_runs_in_the_phone_and_stays_when_the_link_goes() {
    let name = "the_real_agent_runs_in_the_phone_and_stays_when_the_link_goes";
    let beside = Path::new(env!("CARGO_BIN_EXE_seatrial-phone")).with_file_name("seatrial-agent");
    let agent = std::env::var_os("SEATRIAL_TEST_AGENT").map_or(beside, Into::into);
    let agent = if agent.exists() { Ok(agent) } else { Err("no seatrial-agent was built".to_owned()) };
    let Some(agent) = unless_missing(name, agent) else { return };
    let Some(lab) = unless_missing(name, Lab::open().await) else { return };
    let phone = lab.phone("fuxi").await;
    let there = "/data/local/tmp/seatrial-agent";
    assert_eq!(phone.adb(&["push", agent.to_str().unwrap(), there]).await.code, Some(0));
    let profile = phone.shell(&format!("{there} probe --root / --format json 2>/dev/null")).await;
    for part in ["battery/temperature", "thermal/cpu-1-0-0-0", "thermal/gpuss-0-1", "asimddp"] {
        assert!(profile.contains(part), "{part}: {profile}");
    }
    assert!(!profile.contains("\"i8mm\""), "the features are the description's, not this machine's: {profile}");
    phone.detach(&format!("exec {there} run --server http://127.0.0.1:7077 --folder agent --identity fuxi")).await;
    let folder = phone.place("data/local/tmp/agent/lock");
    until("the agent has its folder", async || folder.exists()).await;
    phone.phone.inflict(Fault::Dark).await.unwrap();
    phone.phone.mend().await.unwrap();
    phone.connect().await;
    let line = phone.shell("cat /proc/$(cat /data/local/tmp/pid)/cmdline | tr '\\0' ' '").await;
    assert!(line.starts_with(&format!("{there} run ")), "{line}");
}
