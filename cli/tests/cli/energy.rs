//! Energy end to end and in real time: a real server, a real agent and its real child, on a battery whose truth is known.
//!
//! A thread plays the battery: it looks whether the agent's child computes, drains the simulated cells by what that costs,
//! and shows what the gauge would in a `uevent` under the agent's root. Computing costs the same power however much of the
//! machine other tests leave to it.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use seatrial_core::energy::source::ChargingState;
use seatrial_sim::battery::{Charger, Gauge, Pack};
use seatrial_sim::draw::{Draw, PhonePower};
use serde_json::Value;

use crate::support::{Fleet, Person};

/// An update four times a second, so that phases can be short.
const GAUGE: Gauge = Gauge { period_s: 0.25, ..Gauge::GOOD };
/// So many pairs give an interval.
const LOADS: usize = 6;
/// Two may be lost to a machine that lets nobody read the battery for a while.
const MOST_LOADS: usize = 8;
/// A child that used no CPU time for so long does not compute.
const STILL: Duration = Duration::from_millis(150);
/// Bursts of the phone's own doing are smaller than those of `sim/tests/energy.rs`, as phases are shorter here.
const DRAW: Draw = Draw {
    idle_w: 0.9,
    drift: 0.03,
    drift_s: 90.0,
    burst_w: 0.1,
    burst_s: 1.0,
    burst_every_s: 15.0,
    joules_per_cpu_s: 1.0,
};

fn suite() -> String {
    r#"
name = "energy"
models = [{ name = "digits-mlp", variants = ["fp32"] }]
backends = [{ runtime = "tract" }]
profiles = [{ kind = "energy", phase_seconds = 8, calibration_seconds = 12, max_pairs = 8, warmup = { min_seconds = 0.1 } }]
[gate]
allow_invalid = true
"#
    .to_owned()
}

/// The battery of a phone, beside its agent.
struct Battery {
    root: PathBuf,
    /// J that computing has cost.
    used: Arc<Mutex<f64>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Battery {
    /// Under a root that shows this machine's processors, and a battery of its own.
    fn start(person: &Person, agent_folder: &Path, net_w: f64, charger: Option<Charger>) -> Self {
        let root = person.path("root");
        let supply = root.join("sys/class/power_supply/battery");
        std::fs::create_dir_all(&supply).unwrap();
        std::os::unix::fs::symlink("/proc", root.join("proc")).unwrap();
        std::os::unix::fs::symlink("/sys/devices", root.join("sys/devices")).unwrap();
        std::fs::write(supply.join("type"), "Battery\n").unwrap();
        // Of Android's services one alone, which tells of the screen.
        let dumpsys = root.join("system/bin/dumpsys");
        std::fs::create_dir_all(dumpsys.parent().unwrap()).unwrap();
        std::fs::write(&dumpsys, "#!/bin/sh\n[ $1 = power ] && echo '  Display Power: state=ON'\n").unwrap();
        std::fs::set_permissions(&dumpsys, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut phone = PhonePower::new(DRAW, Pack::default(), GAUGE, 7);
        phone.plug(charger);
        phone.run(5.0, 0.0);
        show(&supply, &phone);
        let (used, ends) = (Arc::new(Mutex::new(0.0)), Arc::new(AtomicBool::new(false)));
        let folder = agent_folder.display().to_string();
        let (told, over) = (Arc::clone(&used), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            let mut children = Children { folder, cpu: HashMap::new(), looked: None, processes: Vec::new() };
            let (mut before, mut computed) = (Instant::now(), None);
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
                let now = Instant::now();
                if children.compute() {
                    computed = Some(now);
                }
                let computes = computed.is_some_and(|computed: Instant| now - computed < STILL);
                let seconds = (now - before).as_secs_f64();
                // A second of computing is a second of CPU time that costs so much.
                phone.run(seconds, if computes { net_w * seconds } else { 0.0 });
                before = now;
                show(&supply, &phone);
                *told.lock().unwrap() = phone.used_j();
            }
        });
        Self { root, used, ends, thread: Some(thread) }
    }
}

impl Drop for Battery {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What the phone's kernel would show now. A reader finds the old text or the new one whole.
fn show(supply: &Path, phone: &PhonePower) {
    let reading = phone.read();
    let is_charging = reading.charging == Some(ChargingState::Charging);
    let status = if is_charging { "Charging" } else { "Discharging" };
    let text = format!(
        "POWER_SUPPLY_NAME=battery\nPOWER_SUPPLY_STATUS={status}\nPOWER_SUPPLY_CAPACITY={}\n\
         POWER_SUPPLY_VOLTAGE_NOW={:.0}\nPOWER_SUPPLY_CURRENT_NOW={:.0}\nPOWER_SUPPLY_CHARGE_COUNTER={:.0}\n\
         POWER_SUPPLY_CHARGE_FULL=4600000\nPOWER_SUPPLY_CHARGE_FULL_DESIGN=5000000\nPOWER_SUPPLY_TEMP={:.0}\n",
        reading.level_percent.unwrap(),
        reading.voltage_v.unwrap() * 1e6,
        reading.current.unwrap(),
        reading.counter.unwrap(),
        reading.temperature_c.unwrap() * 10.0,
    );
    std::fs::write(supply.join("uevent.new"), text).unwrap();
    std::fs::rename(supply.join("uevent.new"), supply.join("uevent")).unwrap();
}

/// The agent's children, and the CPU time of each when it was looked at last, in ns.
struct Children {
    folder: String,
    cpu: HashMap<u32, u64>,
    looked: Option<Instant>,
    processes: Vec<u32>,
}

impl Children {
    /// Whether one has used CPU time since this was asked last.
    fn compute(&mut self) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() > Duration::from_millis(200)) {
            self.looked = Some(Instant::now());
            self.processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|it| self.child(&it)).collect();
        }
        let mut any = false;
        for &process in &self.processes {
            let now = cpu_ns(process).unwrap_or(0);
            let before = self.cpu.insert(process, now).unwrap_or(0);
            // Less than a millisecond in a look is no work: a watch that looks for its parent.
            any |= now > before + 1_000_000;
        }
        any
    }

    fn child(&self, entry: &std::fs::DirEntry) -> Option<u32> {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let words = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let mut words = words.split('\0');
        (words.any(|word| word == "child") && words.any(|word| word.starts_with(&self.folder))).then_some(process)
    }
}

/// Of all threads that live.
fn cpu_ns(process: u32) -> Option<u64> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let ran = threads.filter_map(|thread| {
        let schedule = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedule.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(ran.sum())
}

/// One energy job on a phone whose work costs so much; its page's data, and the battery with the truth.
fn measured(net_w: f64, charger: Option<Charger>) -> (Fleet, Value, Battery) {
    let person = Person::new();
    let data = person.path("server");
    let mut fleet = Fleet::serve(person, &data);
    let battery = Battery::start(&fleet.person, &fleet.agent_folder, net_w, charger);
    let root = battery.root.display().to_string();
    fleet.start_agent_told(&["--root", &root], &[]);
    fleet.register_digits();
    let suite = fleet.person.write("energy.toml", &suite());
    fleet.seatrial(&["run", suite.to_str().unwrap(), "--wait"]).success();
    let job = fleet.json(&["results", "1"])["jobs"][0]["id"].as_str().unwrap().to_owned();
    let page = serde_json::from_str(&fleet.page_data(&format!("/jobs/{job}"))).unwrap();
    (fleet, page, battery)
}

fn metric<'p>(page: &'p Value, name: &str) -> &'p Value {
    let all = page["metrics"].as_array().unwrap();
    &all.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("{name} in {all:#?}"))["value"]
}

/// Within so much of the truth, and the interval around the number.
fn is_true(net_w: f64, limit: f64) {
    let (fleet, page, battery) = measured(net_w, None);
    let energy = &page["energy"];
    assert_eq!(energy["grade"], "E1", "{energy:#}\n{}", fleet.logs());
    let record = &page["report"]["energy"];
    let loads = |recording: &str| {
        let phases = record[recording]["phases"].as_array().unwrap().clone();
        phases.into_iter().filter(|phase| phase["kind"] == "load").collect::<Vec<_>>()
    };
    let seconds = |phases: &[Value]| -> f64 {
        phases.iter().map(|phase| phase["end_s"].as_f64().unwrap() - phase["start_s"].as_f64().unwrap()).sum()
    };
    let (calibrating, measuring) = (loads("trace"), loads("recording"));
    assert_eq!(calibrating.len(), 1);
    assert!((LOADS..=MOST_LOADS).contains(&measuring.len()), "{measuring:#?}");
    let sensors = page["report"]["sensors"].as_array().unwrap();
    let screen = sensors.iter().find(|trace| trace["sensor"] == "android/screen").unwrap();
    let looks = screen["points"]["present"].as_array().unwrap();
    assert!(looks.len() > 3 + 2 * LOADS, "the screen was looked at in every phase: {screen:#}");
    assert!(looks.iter().all(|point| point[1] == 1.0), "{screen:#}");
    let inferences: u64 = measuring.iter().map(|phase| phase["inferences"].as_u64().unwrap()).sum();
    let truth_mj = net_w * seconds(&measuring) * 1e3 / inferences as f64;
    // The battery saw the work in these phases, and little beside it: the load of the model, and each border late.
    let worked_s = *battery.used.lock().unwrap() / net_w;
    let told_s = seconds(&measuring) + seconds(&calibrating);
    assert!((0.97..1.15).contains(&(worked_s / told_s)), "{worked_s} s of work, {told_s} s are told");
    let told = |name: &str, part: &str| {
        let figure = metric(&page, name);
        figure
            .pointer(part)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no {part} of {name}: {figure:#}\n{energy:#}"))
    };
    let [value, low, high] =
        ["/present/value", "/present/interval/0", "/present/interval/1"].map(|part| told("energy_per_infer_mj", part));
    assert!((value / truth_mj - 1.0).abs() <= limit, "{value} mJ [{low}, {high}], in truth {truth_mj} mJ");
    assert!(low < value && value < high);
    assert!(told("drain_pct_per_1k", "/present/value") > 0.0);
    assert_eq!(metric(&page, "energy_grade")["present"]["value"], 1.0);
    assert!(page["attempts"][0]["algorithm"].as_str().is_none_or(|it| it.contains("seatrial-energy-1")));
    // What is known of the gauge is known for the next job.
    assert!(fleet.agent_folder.join("energy/calibration.json").exists());
}

#[test]
fn two_watts_of_load_are_measured_to_within_five_percent_of_the_truth() {
    is_true(2.0, 0.05);
}

#[test]
fn half_a_watt_of_load_is_measured_to_within_twelve_percent_of_the_truth() {
    is_true(0.5, 0.12);
}

#[test]
fn a_phone_that_is_charging_yields_no_number_and_says_why() {
    let (_fleet, page, battery) = measured(2.0, Some(Charger::Gives(10.0)));
    assert_eq!(page["job"]["outcome"], "ok", "it ran, and was not measured");
    assert_eq!(page["energy"]["grade"], "E4");
    for metric in page["metrics"].as_array().unwrap() {
        let name = metric["name"].as_str().unwrap();
        if name == "model_size_mb" {
            continue;
        }
        let why = metric["value"]["absent"].as_str().unwrap_or_else(|| panic!("{metric:#}"));
        assert!(why.starts_with("the phone was supplied from outside"), "{name}: {why}");
    }
    let worked_s = *battery.used.lock().unwrap() / 2.0;
    assert!(worked_s < 10.0, "no phase of load was tried, and it worked for {worked_s} s");
}
