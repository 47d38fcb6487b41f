//! Reads the device. Everything is under a root that tests replace by a recorded tree; what cannot be read is absent
//! with the reason, never zero.

mod android;
pub(crate) mod battery;
mod cooling;
mod cpu;
mod evidence;
pub(crate) mod files;
mod frequency;
mod gpu;
mod identity;
mod load;
mod logs;
mod memory;
mod os;
pub(crate) use os::abi;
mod power;
pub(crate) mod thermal;
pub(crate) mod tool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use seatrial_core::backend::Affinity;
use seatrial_core::device::{Evidence, Profile};
use seatrial_core::placement;
use seatrial_core::profile::{Findings, RawEvidence};
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::report::Environment;

pub use battery::Battery;
use files::Files;
pub use load::CpuTimes;

use crate::{VERSION, runtime};

/// Sensors that one device is asked for at most.
const MAX_SENSORS: usize = 96;

/// One reading of one sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorReading {
    /// Unique on the device: `thermal/x86_pkg_temp-1`, `cpu0/frequency`, `battery/current`.
    pub sensor: String,
    pub unit: &'static str,
    pub value: Reading<f64>,
}

/// A device, through its file system.
#[derive(Debug, Clone)]
pub struct Probe {
    files: Files,
    /// Read once: it takes seconds on a phone, and changes with a reboot at the earliest.
    seen: Arc<OnceLock<Option<(Findings, RawEvidence)>>>,
}

impl Probe {
    pub fn new(root: &Path) -> Self {
        Self { files: Files::new(root), seen: Arc::default() }
    }

    /// What the device is.
    pub fn profile(&self, simulated: bool) -> Profile {
        let mut readings = self.all_sensors();
        readings.extend(self.states());
        let (present, absent): (Vec<_>, Vec<_>) =
            readings.into_iter().partition(|reading| reading.value.present().is_some());
        let absent_sensors: BTreeMap<String, String> = absent
            .into_iter()
            .map(|reading| (reading.sensor, reading.value.reason().unwrap_or("not read").to_owned()))
            .collect();
        let mut profile = Profile {
            brand: os::brand(&self.files),
            product: os::product(&self.files),
            os: os::name(&self.files),
            kernel: os::kernel(&self.files),
            hostname: os::hostname(&self.files),
            soc: os::soc(&self.files),
            cpu: cpu::read(&self.files),
            gpu: gpu::model(&self.files),
            gpu_driver: gpu::driver(&self.files),
            memory_bytes: memory::total(&self.files),
            abi: os::abi(),
            android_api: os::android_api(&self.files),
            sensors: present.into_iter().map(|reading| reading.sensor).collect(),
            absent_sensors,
            runtimes: runtime::offers(),
            engines: runtime::engines(),
            packages: Vec::new(),
            interpreters: BTreeMap::new(),
            findings: None,
            battery: None,
            simulated,
        };
        if let Some((findings, _)) = self.seen() {
            findings.clone().describe(&mut profile);
        }
        profile
    }

    /// What the profile was read from.
    pub fn raw_evidence(&self) -> Option<&RawEvidence> {
        self.seen().map(|(_, evidence)| evidence)
    }

    fn seen(&self) -> Option<&(Findings, RawEvidence)> {
        self.seen.get_or_init(|| evidence::look(&self.files)).as_ref()
    }

    /// What tells this device from another; the agent adds the id that it was given.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            agent_id: None,
            hardware_serial: identity::hardware_serial(&self.files).into_present(),
            machine_id: identity::machine_id(&self.files).into_present(),
            usb_path: None,
        }
    }

    /// The state of the device before an attempt.
    pub fn environment(&self, launch: &str) -> Environment {
        Environment {
            agent_version: VERSION.to_owned(),
            runtime_version: String::new(),
            os: os::name(&self.files),
            kernel: os::kernel(&self.files),
            governor: frequency::governor(&self.files),
            launch: launch.to_owned(),
            facts: self.facts(),
        }
    }

    fn facts(&self) -> BTreeMap<String, String> {
        let text = |reading: Reading<String>| match reading {
            Reading::Present(text) => text,
            Reading::Absent(reason) => format!("absent: {reason}"),
        };
        let bytes = |reading: Reading<u64>| text(reading.map(|bytes| format!("{bytes} bytes")));
        [
            ("load_average", text(load::average(&self.files))),
            ("memory_available", bytes(memory::available(&self.files))),
            ("uptime", text(load::uptime(&self.files))),
            ("cpuset", text(cpu::allowed(&self.files))),
            ("turbo", text(frequency::turbo(&self.files))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// What the system's own logs say of the last while, as far as they can be read; empty where they cannot.
    pub fn system_log(&self, age: Duration) -> String {
        logs::of_the_last(&self.files, age)
    }

    /// Why the device has started, as it says itself; empty where it does not.
    pub fn boot_reason(&self) -> String {
        logs::boot_reason(&self.files)
    }

    /// Sensors that can be read now.
    pub fn sensors(&self) -> Vec<SensorReading> {
        self.all_sensors().into_iter().filter(|reading| reading.value.present().is_some()).collect()
    }

    /// Every sensor that the device has, and the ones that one would expect of it.
    pub fn all_sensors(&self) -> Vec<SensorReading> {
        // A device may have more zones than fit: what there is only one of comes first, then what rules look at.
        let mut readings = battery::readings(&self.files);
        readings.extend(power::readings(&self.files));
        readings.extend(frequency::readings(&self.files));
        readings.extend(cooling::readings(&self.files));
        readings.extend(thermal::readings(&self.files));
        bound(&mut readings);
        readings
    }

    /// What is asked between processes only, since asking disturbs: how hot the system finds itself, screen, saver.
    pub fn states(&self) -> Vec<SensorReading> {
        android::readings(&self.files)
    }

    pub fn memory_available(&self) -> Reading<u64> {
        memory::available(&self.files)
    }

    pub fn battery(&self) -> Battery {
        battery::read(&self.files)
    }

    /// The hottest thermal zone of the chip, in °C.
    pub fn hottest_chip(&self) -> Option<(String, f64)> {
        thermal::hottest(&thermal::readings(&self.files))
    }

    pub fn cpu_times(&self) -> Reading<CpuTimes> {
        load::cpu_times(&self.files)
    }

    /// Processes that the kernel has killed for memory since it started.
    pub fn oom_kills(&self) -> Option<u64> {
        memory::oom_kills(&self.files)
    }

    /// Whether this is a phone or another device that runs Android.
    pub fn is_android(&self) -> bool {
        os::android_api(&self.files).present().is_some()
    }

    /// The CPUs of an affinity on this device, as placement decides it; `None` for any.
    pub fn resolve_affinity(&self, affinity: &Affinity) -> Result<Option<Vec<u16>>, Reason> {
        placement::cpus_of(affinity, &cpu::read(&self.files))
    }

    /// What names the build of the system: its fingerprint, or that of its kernel.
    pub fn build(&self) -> String {
        let fingerprint = self.seen().and_then(|(findings, _)| findings.fingerprint.present());
        match (fingerprint, os::kernel(&self.files)) {
            (Some(found), _) => found.value.clone(),
            (None, Reading::Present(kernel)) => format!("kernel {kernel}"),
            (None, Reading::Absent(_)) => "unknown".to_owned(),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.files.root().to_owned()
    }
}

/// What cannot be read gives way to what can. The last place tells that there were more.
fn bound(readings: &mut Vec<SensorReading>) {
    let count = readings.len();
    if count > MAX_SENSORS {
        readings.sort_by_key(|reading| reading.value.present().is_none());
        readings.truncate(MAX_SENSORS - 1);
        let reason = Reason::new(Code::TooManySensors, &[("count", &count), ("read", &readings.len())]);
        readings.push(SensorReading { sensor: "more".to_owned(), unit: "1", value: Reading::absent(reason) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn tree(name: &str) -> Probe {
        Probe::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees").join(name))
    }

    #[test]
    fn a_phone_has_three_clusters_a_battery_and_a_rom() {
        let profile = tree("phone").profile(false);
        let clusters: Vec<_> = profile.cpu.clusters.iter().map(|cluster| cluster.cpus.clone()).collect();
        assert_eq!(clusters, [vec![0, 1, 2, 3], vec![4, 5, 6], vec![7]]);
        assert_eq!(profile.brand, Reading::Present("Xiaomi".into()));
        assert_eq!(profile.android_api, Reading::Present(35));
        assert_eq!(profile.gpu, Reading::Present("Adreno 830".into()), "the kernel writes Adreno830v2");
        assert!(profile.sensors.contains(&"battery/temperature".to_owned()), "{:?}", profile.sensors);
        let features = profile.cpu.features.into_present().unwrap();
        assert!(features.contains(&"asimddp".to_owned()));
        assert!(!features.contains(&"sve2".to_owned()), "only the prime core of this phone has it");
        let gpu = profile.findings.unwrap().gpu.into_present().unwrap();
        assert_eq!(gpu.from, "/sys/class/kgsl/kgsl-3d0/gpu_model = Adreno830v2");
    }

    #[test]
    fn an_affinity_means_on_the_device_what_it_means_to_placement() {
        let cpus = |name: &str, affinity| tree(name).resolve_affinity(&affinity).map_err(String::from);
        assert_eq!(cpus("phone", Affinity::Any), Ok(None));
        assert_eq!(cpus("phone", Affinity::Little), Ok(Some(vec![0, 1, 2, 3])));
        assert_eq!(cpus("phone", Affinity::Big), Ok(Some(vec![4, 5, 6, 7])));
        let alike = |word: &str| Err(format!("the device's CPUs are all alike, so it has no {word} cores"));
        assert_eq!(cpus("vm", Affinity::Big), alike("big"));
        assert_eq!(cpus("pi", Affinity::Little), alike("little"));
        assert_eq!(cpus("vm", Affinity::Cpus(vec![2])), Err("the device has no CPU 2".to_owned()));
    }

    #[test]
    fn a_virtual_machine_lacks_sensors_and_says_why() {
        let profile = tree("vm").profile(false);
        assert!(profile.sensors.is_empty(), "{:?}", profile.sensors);
        for sensor in ["thermal", "battery", "cpu/frequency", "cooling", "power"] {
            assert!(profile.absent_sensors.contains_key(sensor), "{sensor}: {:?}", profile.absent_sensors);
        }
        assert_eq!(profile.os, Reading::Present("Debian GNU/Linux 12 (bookworm)".into()));
        assert_eq!(profile.hostname, Reading::Present("bench-7".into()));
        assert!(profile.gpu.reason().is_some());
    }

    #[test]
    fn a_board_is_named_by_its_device_tree() {
        let probe = tree("pi");
        let profile = probe.profile(false);
        assert_eq!(profile.product, Reading::Present("Raspberry Pi 5 Model B Rev 1.0".into()));
        assert_eq!(probe.evidence().hardware_serial.as_deref(), Some("1ab2c3d4e5f60718"));
        assert_eq!(probe.hottest_chip(), Some(("cpu-thermal-0".to_owned(), 51.35)));
    }

    #[test]
    fn a_clock_that_a_thermal_engine_holds_down_shows_in_what_the_governor_may_take() {
        let readings = tree("phone").sensors();
        let value = |sensor: &str| {
            let reading = readings.iter().find(|reading| reading.sensor == sensor);
            reading.and_then(|reading| reading.value.present().copied())
        };
        assert_eq!(value("cpu4/frequency"), Some(1996.8));
        assert_eq!(value("cpu4/frequency_max"), Some(2803.2), "the cores could do 3148.8");
        assert_eq!(value("cpu7/frequency_max"), Some(3302.4));
    }

    #[test]
    fn twins_of_one_kind_are_sensors_of_their_own() {
        let readings = tree("twins").sensors();
        let value = |sensor: &str| {
            let reading = readings.iter().find(|reading| reading.sensor == sensor);
            reading.and_then(|reading| reading.value.present().copied())
        };
        assert_eq!((value("thermal/acpitz-0"), value("thermal/acpitz-1")), (Some(30.0), Some(70.0)));
        assert_eq!((value("power/ina226-0"), value("power/ina226-1")), (Some(1.25), Some(4.0)));
        for name in ["twins", "phone", "pi", "vm"] {
            let names: Vec<String> = tree(name).all_sensors().into_iter().map(|reading| reading.sensor).collect();
            let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
            assert_eq!(distinct.len(), names.len(), "{name}: {names:?}");
        }
    }

    #[test]
    fn of_more_sensors_than_are_read_the_last_says_how_many_there_are() {
        let home = tempfile::tempdir().unwrap();
        for zone in 0..120 {
            let folder = home.path().join(format!("sys/class/thermal/thermal_zone{zone}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("type"), "tsens").unwrap();
            std::fs::write(folder.join("temp"), "40000").unwrap();
        }
        let policy = home.path().join("sys/devices/system/cpu/cpufreq/policy0");
        std::fs::create_dir_all(&policy).unwrap();
        std::fs::write(policy.join("scaling_cur_freq"), "1800000").unwrap();
        let probe = Probe::new(home.path());
        let readings = probe.all_sensors();
        assert_eq!(readings.len(), MAX_SENSORS);
        assert!(readings.iter().any(|reading| reading.sensor == "cpu0/frequency"), "zones take no clock's place");
        let reason = readings.last().and_then(|reading| reading.value.reason()).unwrap();
        assert!(reason.contains("of which 95 are read"), "{reason}");
        assert!(probe.profile(false).absent_sensors.contains_key("more"));
    }

    #[test]
    fn an_empty_tree_gives_reasons_and_no_number() {
        let home = tempfile::tempdir().unwrap();
        let probe = Probe::new(home.path());
        let profile = probe.profile(false);
        assert!(profile.memory_bytes.reason().is_some_and(|reason| reason.contains("meminfo")), "{profile:?}");
        assert!(profile.cpu.count.reason().is_some_and(|reason| reason.contains("cpuinfo")), "{profile:?}");
        assert!(profile.cpu.features.reason().is_some_and(|reason| reason.contains("cpuinfo")), "{profile:?}");
        assert!(profile.cpu.clusters.is_empty(), "{profile:?}");
        assert!(probe.battery().charge.reason().is_some());
        assert!(probe.cpu_times().reason().is_some());
        assert_eq!(probe.oom_kills(), None);
        assert_eq!(probe.hottest_chip(), None);
    }

    #[test]
    fn the_kernel_of_this_machine_is_readable() {
        let probe = Probe::new(Path::new("/"));
        assert!(probe.profile(false).memory_bytes.present().is_some());
        assert!(probe.cpu_times().present().is_some());
    }
}
