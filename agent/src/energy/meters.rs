//! Meters that are not a battery's gauge: power sensors of boards, a board controller's rails, a processor's own counter,
//! and a program of the agent's own configuration that reads a meter beside the device.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use seatrial_core::energy::recording::Meter;
use seatrial_core::energy::signal::Trace;
use seatrial_core::energy::source::{Answer, Field, Scope, Source, State};
use seatrial_core::energy::{SourceRecord, read};
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};

use crate::probe::files::Files;
use crate::probe::tool;

const HWMON: &str = "sys/class/hwmon";
const IIO: &str = "sys/bus/iio/devices";
const RAPL: &str = "sys/class/powercap";
/// Channels of one chip: an INA3221 has three.
const CHANNELS: std::ops::RangeInclusive<u8> = 1..=3;
/// Labels of the channel that sees all of a board, by their makers: Orin's, and the Nano's of JetPack 4.
const INPUT_LABELS: [&str; 4] = ["VDD_IN", "POM_5V_IN", "VIN", "INPUT"];
/// New values of a chip that does not say how often it has one, in s: what INA chips average over by default, and more.
const CHIP_PERIOD_S: f64 = 0.14;
/// The kernel has a new value of a processor's counter each millisecond; one call of a board controller takes 20.
const RAPL_PERIOD_S: f64 = 0.01;
const PMIC_PERIOD_S: f64 = 0.1;
const PMIC_WITHIN: Duration = Duration::from_secs(2);
/// Of a call of Android's power-stats service, which reads every rail.
const RAILS_PERIOD_S: f64 = 1.0;
const RAILS_WITHIN: Duration = Duration::from_secs(2);
const RAILS: [&str; 2] = ["dumpsys", "android.hardware.power.stats.IPowerStats/default"];
/// Between two lines of a program, unless it is quicker, in s.
const HOOK_PERIOD_S: f64 = 1.0;
/// A longer line of a program is none of a meter.
const MAX_LINE: u64 = 256;

/// A program of the agent's own configuration that prints the power of a meter in W, a reading a line, for as long as it
/// lives: `input:/opt/meter --port /dev/ttyUSB0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Before the device, or in the place of its battery.
    pub scope: Scope,
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

impl FromStr for Hook {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault =
            || format!("{text:?} is no place and program, such as input:/opt/meter or battery:/opt/meter ARGUMENT");
        let (place, command) = text.split_once(':').ok_or_else(fault)?;
        let scope = match place {
            "input" => Scope::Input,
            "battery" => Scope::Battery,
            _ => return Err(fault()),
        };
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().map(PathBuf::from).filter(|program| program.is_absolute()).ok_or_else(fault)?;
        Ok(Self { scope, program, arguments: words.collect() })
    }
}

/// A meter that was found, and what it is.
#[derive(Debug)]
pub(crate) struct Found {
    pub source: Source,
    pub scope: Scope,
    pub period_s: f64,
    /// Whether it gives an energy since some start, and not a power.
    pub total: bool,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    /// Channels that add up to a power.
    Channels(Files, Vec<Channel>),
    Pmic(Files),
    Rails(Files),
    Zones(Files, Vec<Zone>),
    Hook(Running),
}

/// One channel of a power sensor.
#[derive(Debug, Clone, PartialEq)]
enum Channel {
    /// A path that holds µW, or mW by the factor in W.
    Power(String, f64),
    /// Paths that hold mV and mA.
    Product(String, String),
}

/// One energy counter that goes back to zero.
#[derive(Debug)]
struct Zone {
    path: String,
    range_uj: f64,
    before_uj: Option<f64>,
    turns: f64,
}

/// What was found, and how each of them answers.
pub(crate) struct Meters {
    pub best: Option<Found>,
    pub sources: Vec<SourceRecord>,
}

/// The meter to use. One that sees a part of the device only is used where the battery cannot tell: `has_gauge` is whether
/// it can, now.
pub(crate) fn find(root: &Path, hook: Option<&Hook>, has_gauge: bool) -> Result<Meters, String> {
    let files = Files::new(root);
    let mut sources = Vec::new();
    let hooked = hook.map(Running::start).transpose()?;
    let chips = chips(&files, &mut sources);
    let pmic = pmic(&files, &mut sources);
    let power_stats = power_stats(&files, &mut sources);
    let rapl = rapl(&files, &mut sources);
    let (inputs, rails): (Vec<Found>, Vec<Found>) = chips.into_iter().partition(|chip| chip.scope == Scope::Input);
    let hooked = hooked.zip(hook).map(|(running, hook)| Found {
        source: Source::ExternalMeter,
        scope: hook.scope,
        period_s: HOOK_PERIOD_S,
        total: false,
        reader: Reader::Hook(running),
    });
    let parts = pmic.into_iter().chain(rails).chain(power_stats).chain(rapl).filter(|_| !has_gauge);
    let best = hooked.into_iter().chain(inputs).chain(parts).next();
    Ok(Meters { best, sources })
}

impl Found {
    /// As a recording has it, before its first reading.
    pub(crate) fn meter(&self) -> Meter {
        let points = Vec::new();
        let trace = if self.total { Trace::Total { points, step: 0.0 } } else { Trace::Rate { points, step: 0.0 } };
        Meter { source: self.source, scope: self.scope, period_s: self.period_s, trace }
    }

    /// Power in W, or energy in J since some start; `None` where it cannot be read now, or has nothing new.
    pub(crate) fn read(&mut self) -> Option<f64> {
        match &mut self.reader {
            Reader::Channels(files, channels) => channels.iter().map(|channel| channel.watts(files)).sum(),
            Reader::Pmic(files) => read_pmic(files),
            Reader::Rails(files) => read_rails(files),
            Reader::Zones(files, zones) => zones.iter_mut().map(|zone| zone.joules(files)).sum(),
            Reader::Hook(running) => running.take(),
        }
    }
}

impl Channel {
    fn watts(&self, files: &Files) -> Option<f64> {
        let number = |path: &str| files.number::<f64>(path).into_present();
        match self {
            Self::Power(path, unit) => Some(number(path)? * unit),
            Self::Product(volts, amps) => Some(number(volts)? * number(amps)? / 1e6),
        }
    }
}

impl Zone {
    fn joules(&mut self, files: &Files) -> Option<f64> {
        let now: f64 = files.number(&self.path).into_present()?;
        if self.before_uj.is_some_and(|before| now < before) {
            self.turns += self.range_uj;
        }
        self.before_uj = Some(now);
        Some((now + self.turns) / 1e6)
    }
}

fn record(source: Source, answer: &Reading<f64>) -> SourceRecord {
    let told = match answer {
        Reading::Present(value) => Answer::Value(*value),
        Reading::Absent(why) => {
            let code = Reason::read(why).and_then(|reason| reason.code());
            if code == Some(Code::NotReadable) { Answer::Denied } else { Answer::Missing }
        }
    };
    let state = State::of(source, Field::Power, &[(0.0, told)]);
    SourceRecord { source, field: Field::Power, state, value: answer.present().copied() }
}

/// Power sensors by the name of their chip, never by their number: that changes from start to start. A channel whose label
/// says that it sees the whole board is alone; of the others all together are some rails.
fn chips(files: &Files, sources: &mut Vec<SourceRecord>) -> Vec<Found> {
    let mut channels: Vec<(Option<String>, Channel, f64)> = Vec::new();
    for monitor in files.entries(HWMON, "hwmon") {
        let name = files.text(&format!("{monitor}/name")).into_present().unwrap_or_default();
        if !(name.starts_with("ina") || name == "power_meter") {
            continue;
        }
        let period_s = files.number::<f64>(&format!("{monitor}/update_interval")).into_present();
        let period_s = period_s.filter(|&ms| ms > 0.0).map_or(CHIP_PERIOD_S, |ms| ms / 1e3);
        for number in CHANNELS {
            let path = |kind: &str, what: &str| format!("{monitor}/{kind}{number}_{what}");
            let label = |kind: &str| files.text(&path(kind, "label")).into_present();
            let power = path("power", "input");
            let (volts, amps) = (path("in", "input"), path("curr", "input"));
            if files.exists(&power) {
                channels.push((label("power").or_else(|| label("in")), Channel::Power(power, 1e-6), period_s));
            } else if files.exists(&volts) && files.exists(&amps) {
                channels.push((label("in").or_else(|| label("curr")), Channel::Product(volts, amps), period_s));
            }
        }
    }
    // JetPack 4 has the same chip without hwmon.
    for device in files.entries(IIO, "iio:device") {
        for number in 0..3 {
            let power = format!("{device}/in_power{number}_input");
            if files.exists(&power) {
                let label = files.text(&format!("{device}/rail_name_{number}")).into_present();
                channels.push((label, Channel::Power(power, 1e-3), CHIP_PERIOD_S));
            }
        }
    }
    if channels.is_empty() {
        return Vec::new();
    }
    let sees_all = |label: &Option<String>| label.as_deref().is_some_and(|label| INPUT_LABELS.contains(&label));
    let (inputs, rails): (Vec<_>, Vec<_>) = channels.into_iter().partition(|(label, ..)| sees_all(label));
    let found = |scope, channels: Vec<(Option<String>, Channel, f64)>| {
        let period_s = channels.iter().map(|(.., period_s)| *period_s).fold(0.0, f64::max);
        let channels = channels.into_iter().map(|(_, channel, _)| channel).collect();
        let reader = Reader::Channels(files.clone(), channels);
        Found { source: Source::Hwmon, scope, period_s, total: false, reader }
    };
    // Of two that see the whole board, one is enough.
    let input = inputs.into_iter().next().map(|input| found(Scope::Input, vec![input]));
    let rails = (!rails.is_empty()).then(|| found(Scope::Rail, rails));
    let mut all: Vec<Found> = input.into_iter().chain(rails).collect();
    all.retain_mut(|chip| {
        let watts = Reading::from_option(chip.read(), Code::NoPowerRead.template());
        sources.push(record(Source::Hwmon, &watts));
        watts.present().is_some()
    });
    all
}

fn read_pmic(files: &Files) -> Option<f64> {
    read::pmic(&tool::run(files.root(), &["vcgencmd", "pmic_read_adc"], PMIC_WITHIN).0)
}

/// Only the fifth generation has currents of its rails.
fn pmic(files: &Files, sources: &mut Vec<SourceRecord>) -> Option<Found> {
    let model = files.text("proc/device-tree/model").into_present()?;
    if !model.contains("Raspberry Pi 5") {
        return None;
    }
    let watts = Reading::from_option(read_pmic(files), Code::NoPowerRead.template());
    sources.push(record(Source::Pmic, &watts));
    watts.present()?;
    let reader = Reader::Pmic(files.clone());
    Some(Found { source: Source::Pmic, scope: Scope::Rail, period_s: PMIC_PERIOD_S, total: false, reader })
}

fn read_rails(files: &Files) -> Option<f64> {
    read::power_stats(&tool::run(files.root(), &RAILS, RAILS_WITHIN).0)
}

/// Rails behind the battery, as Pixels tell them: true while the phone is charged too. Nothing else has the service.
fn power_stats(files: &Files, sources: &mut Vec<SourceRecord>) -> Option<Found> {
    if !files.exists("system/bin/dumpsys") {
        return None;
    }
    let joules = Reading::from_option(read_rails(files), Code::NoPowerRead.template());
    sources.push(record(Source::PowerStats, &joules));
    joules.present()?;
    let reader = Reader::Rails(files.clone());
    Some(Found { source: Source::PowerStats, scope: Scope::Rail, period_s: RAILS_PERIOD_S, total: true, reader })
}

/// The packages of a processor; its parts are in them.
fn rapl(files: &Files, sources: &mut Vec<SourceRecord>) -> Option<Found> {
    let packages = files.entries(RAPL, "intel-rapl:").into_iter().filter(|zone| {
        let is_part = zone.rsplit('/').next().is_some_and(|name| name.matches(':').count() > 1);
        let name = files.text(&format!("{zone}/name")).into_present().unwrap_or_default();
        !is_part && name.starts_with("package")
    });
    let mut zones = Vec::new();
    for zone in packages {
        let path = format!("{zone}/energy_uj");
        let energy = files.number::<f64>(&path);
        sources.push(record(Source::Rapl, &energy.clone().map(|microjoules| microjoules / 1e6)));
        energy.present()?;
        let range_uj = files.number(&format!("{zone}/max_energy_range_uj")).into_present()?;
        zones.push(Zone { path, range_uj, before_uj: None, turns: 0.0 });
    }
    let reader = Reader::Zones(files.clone(), zones);
    let has_any = matches!(&reader, Reader::Zones(_, zones) if !zones.is_empty());
    let found = Found { source: Source::Rapl, scope: Scope::Package, period_s: RAPL_PERIOD_S, total: true, reader };
    has_any.then_some(found)
}

/// A program that was started, and what it said last. It ends with the value.
#[derive(Debug)]
struct Running {
    child: Child,
    last: Arc<Mutex<Option<f64>>>,
}

impl Running {
    fn start(hook: &Hook) -> Result<Self, String> {
        let fault = |error: std::io::Error| format!("the meter {}: {error}", hook.program.display());
        let mut command = Command::new(&hook.program);
        command.args(&hook.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(fault)?;
        let last = Arc::new(Mutex::new(None));
        if let Some(pipe) = child.stdout.take() {
            let last = Arc::clone(&last);
            let heard = move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = String::new();
                // A line that is too long is read in parts, none of which is a number.
                while matches!(pipe.by_ref().take(MAX_LINE).read_line(&mut line), Ok(1..)) {
                    if let Some(watts) = read::lone_number(&line) {
                        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(watts);
                    }
                    line.clear();
                }
            };
            thread::Builder::new().name("meter".to_owned()).spawn(heard).map_err(fault)?;
        }
        Ok(Self { child, last })
    }

    /// What it has said since it was asked last.
    fn take(&self) -> Option<f64> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn program(root: &Path, path: &str, body: &str) -> PathBuf {
        put(root, path, &format!("#!/bin/sh\n{body}\n"));
        let path = root.join(path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn best(root: &Path, has_gauge: bool) -> Option<Found> {
        find(root, None, has_gauge).unwrap().best
    }

    /// An Orin's three channels, of which one sees the whole module.
    #[test]
    fn a_channel_that_sees_the_whole_board_is_taken_before_its_rails() {
        let home = tempfile::tempdir().unwrap();
        let chip = "sys/class/hwmon/hwmon3";
        put(home.path(), &format!("{chip}/name"), "ina3221\n");
        for (number, label, volts, amps) in
            [(1, "VDD_IN", 4992, 1240), (2, "VDD_CPU_GPU_CV", 4984, 410), (3, "VDD_SOC", 4984, 300)]
        {
            put(home.path(), &format!("{chip}/in{number}_label"), label);
            put(home.path(), &format!("{chip}/in{number}_input"), &volts.to_string());
            put(home.path(), &format!("{chip}/curr{number}_input"), &amps.to_string());
        }
        let mut found = best(home.path(), true).unwrap();
        assert_eq!((found.source, found.scope), (Source::Hwmon, Scope::Input));
        assert!((found.read().unwrap() - 4.992 * 1.24).abs() < 1e-9);
    }

    #[test]
    fn chips_that_do_not_say_what_they_see_are_rails_and_add_up_where_no_battery_tells() {
        let home = tempfile::tempdir().unwrap();
        for (number, microwatts) in [(0, 1_250_000), (1, 4_000_000)] {
            put(home.path(), &format!("sys/class/hwmon/hwmon{number}/name"), "ina226");
            put(home.path(), &format!("sys/class/hwmon/hwmon{number}/power1_input"), &microwatts.to_string());
            put(home.path(), &format!("sys/class/hwmon/hwmon{number}/update_interval"), "560");
        }
        put(home.path(), "sys/class/hwmon/hwmon2/name", "nvme");
        let mut found = best(home.path(), false).unwrap();
        assert_eq!((found.scope, found.period_s, found.read()), (Scope::Rail, 0.56, Some(5.25)));
        assert!(best(home.path(), true).is_none(), "a part of the device is no measure of it where the battery is one");
    }

    #[test]
    fn a_nano_of_jetpack_4_has_its_chip_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        let device = "sys/bus/iio/devices/iio:device0";
        put(home.path(), &format!("{device}/rail_name_0"), "POM_5V_IN\n");
        put(home.path(), &format!("{device}/in_power0_input"), "2500\n");
        put(home.path(), &format!("{device}/rail_name_1"), "POM_5V_GPU\n");
        put(home.path(), &format!("{device}/in_power1_input"), "600\n");
        let mut found = best(home.path(), false).unwrap();
        assert_eq!((found.scope, found.read()), (Scope::Input, Some(2.5)));
    }

    #[test]
    fn a_processors_counters_add_up_and_go_on_when_one_goes_back_to_zero() {
        let home = tempfile::tempdir().unwrap();
        let zone = |number: &str, name: &str, energy: &str| {
            put(home.path(), &format!("sys/class/powercap/intel-rapl:{number}/name"), name);
            put(home.path(), &format!("sys/class/powercap/intel-rapl:{number}/energy_uj"), energy);
            put(home.path(), &format!("sys/class/powercap/intel-rapl:{number}/max_energy_range_uj"), "10000000");
        };
        zone("0", "package-0", "9000000");
        zone("1", "package-1", "1000000");
        zone("0:0", "core", "5000000");
        let mut found = best(home.path(), false).unwrap();
        assert_eq!((found.source, found.scope, found.total), (Source::Rapl, Scope::Package, true));
        assert_eq!(found.read(), Some(10.0));
        zone("0", "package-0", "500000");
        assert_eq!(found.read(), Some(11.5));
    }

    #[test]
    fn a_boards_controller_is_asked_by_its_program() {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0");
        program(
            home.path(),
            "usr/bin/vcgencmd",
            "echo ' VDD_CORE_A current(7)=2.0A'; echo ' VDD_CORE_V volt(15)=0.9V'",
        );
        let mut found = best(home.path(), false).unwrap();
        assert_eq!((found.source, found.scope), (Source::Pmic, Scope::Rail));
        assert!((found.read().unwrap() - (1.1451 * 1.8 + 0.5879)).abs() < 1e-9);
        program(home.path(), "usr/bin/vcgencmd", "echo 'VCHI initialization failed' >&2; exit 255");
        let meters = find(home.path(), None, false).unwrap();
        assert!(meters.best.is_none() && matches!(meters.sources[0].state, State::Missing(_)), "{:?}", meters.sources);
    }

    #[test]
    fn a_phones_rails_are_asked_where_its_gauge_tells_nothing_and_a_phone_without_them_says_so() {
        let home = tempfile::tempdir().unwrap();
        let rails = "echo 'PowerStats HAL 2.0 energy meter'; echo '  [S2M_VDD_CPUCL2]:CPU(BIG)  2500.00 mWs'";
        let dumpsys = |body: &str| program(home.path(), "system/bin/dumpsys", body);
        dumpsys(&format!("[ \"$1\" = android.hardware.power.stats.IPowerStats/default ] || exit 1; {rails}"));
        let mut found = best(home.path(), false).unwrap();
        assert_eq!((found.source, found.scope, found.total), (Source::PowerStats, Scope::Rail, true));
        assert_eq!(found.read(), Some(2.5));
        assert!(best(home.path(), true).is_none(), "a part of the phone is no measure of it where its gauge is one");
        dumpsys("echo \"Can't find service: $1\"");
        let meters = find(home.path(), None, false).unwrap();
        assert!(meters.best.is_none() && matches!(meters.sources[0].state, State::Missing(_)), "{:?}", meters.sources);
    }

    #[test]
    fn a_meter_beside_the_device_goes_before_all_others_and_ends_with_its_reader() {
        let home = tempfile::tempdir().unwrap();
        let mark = home.path().join("pid").display().to_string();
        let meter = program(home.path(), "meter", &format!("echo $$ > {mark}; echo 4.5; echo noise; exec sleep 1000"));
        let hook: Hook = format!("input:{} --port x", meter.display()).parse().unwrap();
        assert_eq!(hook.arguments, ["--port", "x"]);
        let mut found = find(home.path(), Some(&hook), true).unwrap().best.unwrap();
        assert_eq!((found.source, found.scope), (Source::ExternalMeter, Scope::Input));
        let said = (0..500).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            found.read()
        });
        assert_eq!(said, Some(4.5));
        let process = std::fs::read_to_string(home.path().join("pid")).unwrap();
        drop(found);
        assert!(!Path::new("/proc").join(process.trim()).exists());
    }

    #[test]
    fn a_meter_is_named_by_its_place_and_an_absolute_path() {
        for text in ["/opt/meter", "input:meter", "rail:/opt/meter", "input:", ""] {
            assert!(text.parse::<Hook>().unwrap_err().contains("input:/opt/meter"), "{text}");
        }
        let missing: Hook = "battery:/nonexistent/meter".parse().unwrap();
        let home = tempfile::tempdir().unwrap();
        let Err(error) = find(home.path(), Some(&missing), false) else { panic!("it was found") };
        assert!(error.contains("/nonexistent/meter"), "{error}");
    }
}
