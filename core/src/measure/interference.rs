//! What makes the samples of a process invalid: evidence that something else took part in them.
//!
//! An invalid attempt is shown with its reasons, never hidden, and enters no series. Evidence that a device cannot
//! give does not invalidate, but a window without any evidence of what else ran does. Where the limits come from
//! stands in `docs/measurement.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::samples::Series;
use super::{android, stats};
use crate::backend::Accelerator;
use crate::profile::ProfileKind;
use crate::reason::{Code, Reason};
use crate::report::{SensorTrace, Unaccounted, Window};

/// Sensor names that the rules look at, as the probes spell them.
pub mod sensor {
    /// `cpu0/frequency`: current clock of a CPU in MHz.
    pub const CPU_PREFIX: &str = "cpu";
    pub const FREQUENCY_SUFFIX: &str = "/frequency";
    /// `cpu0/frequency_max`: the clock up to which the governor may go; a thermal engine lowers it.
    pub const FREQUENCY_LIMIT_SUFFIX: &str = "/frequency_max";
    /// `thermal/x86_pkg_temp-1`: temperature of a zone in °C.
    pub const THERMAL_PREFIX: &str = "thermal/";
    /// `cooling/thermal-cpufreq-0-0`: state of a cooling device as a share of its most, 0 when it does nothing.
    pub const COOLING_PREFIX: &str = "cooling/";
    /// `battery/temperature` in °C.
    pub const BATTERY_TEMPERATURE: &str = "battery/temperature";
    /// Read between processes: Android's thermal status, from 0 (none) to 6 (shutdown).
    pub const THERMAL_STATUS: &str = "android/thermal_status";
    /// Read between processes: 1 while the screen is on.
    pub const SCREEN: &str = "android/screen";
    /// Read between processes: how bright the screen is set to be, in steps of the system.
    pub const BRIGHTNESS: &str = "android/brightness";
    /// Read between processes: 1 where the brightness follows the light.
    pub const BRIGHTNESS_FOLLOWS: &str = "android/brightness_automatic";
    /// Read between processes: 1 while the battery saver is on.
    pub const BATTERY_SAVER: &str = "android/battery_saver";
    /// `skin/SKIN`: temperature of the skin in °C, read between processes.
    pub const SKIN_PREFIX: &str = "skin/";
    /// Unit of every temperature.
    pub const CELSIUS: &str = "°C";
}

/// How much of each kind of interference is borne.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// CPU time of everything else, stolen time included, as a share of all CPUs' time.
    pub foreign_cpu: f64,
    /// The same over the idle and the load of an energy measurement, of which a latency's share is too strict: what a
    /// device does by itself falls out of the difference.
    pub foreign_cpu_beside_energy: f64,
    /// Time that others kept one thread of the child from its CPU, as a share of the time that the busiest thread
    /// wanted to run.
    pub waiting: f64,
    /// Times a second of its own CPU time that the child was taken off a CPU against its will. Judged only where
    /// waiting is not known.
    pub involuntary_per_cpu_second: f64,
    /// CPU time of a CPU-bound child that runs back to back, as a share of the window; less means that it stood still.
    pub running: f64,
    /// Page faults served from disk, per timed inference.
    pub major_faults_per_inference: f64,
    /// Change of the fastest CPU's clock from the first to the last third of the window, as a share.
    pub clock_change: f64,
    /// Slowdown of the median from the first to the last third of the samples, as a share.
    pub drift: f64,
    /// Hottest zone, in °C.
    pub zone_celsius: f64,
    /// Battery, in °C.
    pub battery_celsius: f64,
    /// Difference between boot clock and monotonic clock over the window, in ms.
    pub asleep_ms: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            foreign_cpu: 0.05,
            foreign_cpu_beside_energy: 0.10,
            waiting: 0.05,
            involuntary_per_cpu_second: 50.0,
            running: 0.90,
            major_faults_per_inference: 0.01,
            clock_change: 0.10,
            drift: 0.05,
            zone_celsius: 95.0,
            battery_celsius: 45.0,
            asleep_ms: 10.0,
        }
    }
}

/// Fewer timed inferences than this make no measurement, whatever a suite asks for: the median has an interval from six
/// on.
pub const LEAST_INFERENCES: u64 = 6;
/// A shorter window makes no measurement, whatever a suite asks for. The kernel counts CPU time in ticks of 10 ms, and
/// twenty of them are the fewest of which one is no more than the share of foreign CPU that is borne.
pub const LEAST_WINDOW_MS: f64 = 200.0;

/// One process as it was measured.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    pub profile: ProfileKind,
    pub accelerator: Accelerator,
    /// Fewer timed inferences than this are less than was asked for.
    pub min_samples: u32,
    pub series: &'a Series,
    pub sensors: &'a [SensorTrace],
    /// The measure window as offsets in ms since the attempt began; `None` takes sensors over the whole attempt.
    pub span_ms: Option<(f64, f64)>,
    /// CPUs that the inference threads were allowed, when known.
    pub affinity: Option<&'a [u16]>,
    /// Inference threads.
    pub threads: u16,
    /// Whether a program measured itself: then the window holds its start and its load as well, and it need not tell
    /// samples.
    pub measures_itself: bool,
}

/// Every reason why the samples of the window are invalid, in words and numbers; empty when they are valid.
#[must_use]
pub fn judge(window: &Window, conditions: &Conditions<'_>, limits: &Limits) -> Vec<Reason> {
    let mut reasons = Vec::new();
    reasons.extend(too_few(conditions));
    reasons.extend(too_short(window));
    reasons.extend(asleep(window, limits));
    reasons.extend(foreign_cpu(window, limits.foreign_cpu));
    reasons.extend(descheduled(window, conditions, limits));
    reasons.extend(unaccounted(window));
    reasons.extend(stood_still(window, conditions, limits));
    reasons.extend(major_faults(window, conditions, limits));
    reasons.extend(no_evidence(window));
    reasons.extend(hot(conditions, limits));
    let states = States::of(conditions);
    reasons.extend(screen_changed(states));
    reasons.extend(saver(states));
    // Throttling is what a sustained run looks for, and a paced run leaves the clock to the governor.
    match conditions.profile {
        ProfileKind::Quick | ProfileKind::Full => {
            reasons.extend(throttled(conditions));
            reasons.extend(thermal_status(states));
            reasons.extend(clock_changed(conditions, limits));
            reasons.extend(drifted(conditions, limits));
        }
        ProfileKind::Sustained | ProfileKind::Paced | ProfileKind::AccuracyOnly | ProfileKind::Energy => {}
    }
    let process = conditions.series.process;
    reasons.into_iter().map(|reason| reason.of_process(process)).collect()
}

/// Why a window is no evidence of what a device draws: it slept, others computed, its screen was another in one phase than
/// in the next, or its saver was on. Load and rest in turn change the clock and the temperature by themselves. `span_ms` is
/// the stage as offsets since the attempt began; `None` takes sensors over the whole attempt.
#[must_use]
pub fn judge_energy(
    window: Option<&Window>,
    sensors: &[SensorTrace],
    span_ms: Option<(f64, f64)>,
    limits: &Limits,
) -> Vec<Reason> {
    let states = States { sensors, span_ms };
    let slept = window.and_then(|window| asleep(window, limits));
    let foreign = window.and_then(|window| foreign_cpu(window, limits.foreign_cpu_beside_energy));
    let screen = screen_changed(states).or_else(|| brightness(states));
    slept.into_iter().chain(foreign).chain(screen).chain(saver(states)).collect()
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}

fn too_few(conditions: &Conditions<'_>) -> Option<Reason> {
    let (inferences, _) = conditions.series.totals();
    let tells_none = conditions.measures_itself && inferences == 0;
    if tells_none {
        None
    } else if inferences < u64::from(conditions.min_samples) {
        Some(Reason::new(Code::TooFewSamples, &[("samples", &inferences), ("least", &conditions.min_samples)]))
    } else if inferences < LEAST_INFERENCES {
        Some(Reason::new(Code::TooFewForAny, &[("samples", &inferences), ("least", &LEAST_INFERENCES)]))
    } else {
        None
    }
}

/// In a window of hardly any ticks, nothing is known of what else ran.
fn too_short(window: &Window) -> Option<Reason> {
    let length_ms = window.monotonic_ms;
    (length_ms < LEAST_WINDOW_MS)
        .then(|| Reason::new(Code::WindowTooShort, &[("ms", &whole(length_ms)), ("least", &whole(LEAST_WINDOW_MS))]))
}

fn asleep(window: &Window, limits: &Limits) -> Option<Reason> {
    let asleep_ms = window.wall_ms - window.monotonic_ms;
    (asleep_ms > limits.asleep_ms).then(|| Reason::new(Code::Slept, &[("ms", &whole(asleep_ms))]))
}

fn foreign_cpu(window: &Window, limit: f64) -> Option<Reason> {
    let foreign = window.foreign_cpu.filter(|&share| share > limit)?;
    let (share, limit) = (percent(foreign), percent(limit));
    Some(match window.stolen_cpu.filter(|&stolen| stolen >= 0.005) {
        Some(stolen) => {
            let stolen = percent(stolen / foreign);
            Reason::new(Code::StolenCpu, &[("share", &share), ("stolen", &stolen), ("limit", &limit)])
        }
        None => Reason::new(Code::ForeignCpu, &[("share", &share), ("limit", &limit)]),
    })
}

/// Kept from its CPU by others: on the evidence of waiting, or of being switched out where waiting is not known.
///
/// Threads of the child may wait for each other as well, which is what the backend asked for and no interference. Two
/// facts tell them apart. Others cannot have kept a thread waiting for longer than they themselves ran on its CPUs.
/// And when there are more threads than CPUs, what others cost is the share of those CPUs that they took.
fn descheduled(window: &Window, conditions: &Conditions<'_>, limits: &Limits) -> Option<Reason> {
    let cpus = conditions.affinity.map(<[u16]>::len).filter(|&cpus| cpus > 0);
    match (cpus, window.foreign_allowed_ms) {
        (Some(cpus), Some(foreign_ms)) if usize::from(conditions.threads) > cpus => {
            crowded_out(window, conditions.threads, cpus, foreign_ms, limits)
        }
        _ if window.run_queue_wait_ms.is_some() => kept_waiting(window, limits),
        _ => switched_out(window, limits),
    }
}

/// More threads than CPUs.
fn crowded_out(window: &Window, threads: u16, cpus: usize, foreign_ms: f64, limits: &Limits) -> Option<Reason> {
    let taken = foreign_ms / (cpus as f64 * window.monotonic_ms);
    (taken > limits.foreign_cpu).then(|| {
        let (share, limit) = (percent(taken), percent(limits.foreign_cpu));
        let arguments: [(&str, &dyn Display); 4] =
            [("share", &share), ("cpus", &cpus), ("threads", &threads), ("limit", &limit)];
        Reason::new(Code::CrowdedOut, &arguments)
    })
}

fn kept_waiting(window: &Window, limits: &Limits) -> Option<Reason> {
    let wait_ms = window.worst_wait_ms.or(window.run_queue_wait_ms)?;
    let wait_ms = window.foreign_allowed_ms.map_or(wait_ms, |foreign_ms| wait_ms.min(foreign_ms));
    // A report of an agent that did not tell threads apart has the sums of all.
    let wanted_ms = window.busiest_thread_ms.unwrap_or(window.own_cpu_ms + wait_ms);
    let waiting = wait_ms / wanted_ms;
    (waiting > limits.waiting).then(|| {
        let (share, limit) = (percent(waiting), percent(limits.waiting));
        Reason::new(Code::Waited, &[("share", &share), ("ms", &whole(wait_ms)), ("limit", &limit)])
    })
}

fn switched_out(window: &Window, limits: &Limits) -> Option<Reason> {
    let switches = window.involuntary_switches?;
    let rate = switches as f64 / (window.own_cpu_ms / 1e3);
    (rate > limits.involuntary_per_cpu_second).then(|| {
        let limit = whole(limits.involuntary_per_cpu_second);
        Reason::new(Code::Descheduled, &[("rate", &whole(rate)), ("switches", &switches), ("limit", &limit)])
    })
}

/// Neither believed nor called a lie.
fn unaccounted(window: &Window) -> Option<Reason> {
    let Unaccounted { missing_ms, borne_ms, waited_ms } = window.unaccounted?;
    let (ms, borne) = (whole(missing_ms), whole(borne_ms));
    Some(match waited_ms {
        Some(waited) => Reason::new(Code::TimesUntold, &[("ms", &ms), ("borne", &borne), ("waited", &whole(waited))]),
        None => Reason::new(Code::TimesUnseen, &[("ms", &ms), ("borne", &borne)]),
    })
}

fn stood_still(window: &Window, conditions: &Conditions<'_>, limits: &Limits) -> Option<Reason> {
    let back_to_back = match conditions.profile {
        ProfileKind::Quick | ProfileKind::Full | ProfileKind::Sustained => true,
        ProfileKind::Paced | ProfileKind::AccuracyOnly | ProfileKind::Energy => false,
    };
    let on_cpu = match conditions.accelerator {
        Accelerator::Cpu => true,
        Accelerator::Gpu | Accelerator::Npu => false,
    };
    let running = window.own_cpu_ms / window.monotonic_ms;
    (back_to_back && on_cpu && !conditions.measures_itself && running < limits.running)
        .then(|| Reason::new(Code::StoodStill, &[("share", &percent(running)), ("least", &percent(limits.running))]))
}

fn major_faults(window: &Window, conditions: &Conditions<'_>, limits: &Limits) -> Option<Reason> {
    let faults = window.major_faults?;
    let (inferences, _) = conditions.series.totals();
    let allowed = (limits.major_faults_per_inference * inferences as f64).max(1.0);
    (faults as f64 > allowed)
        .then(|| Reason::new(Code::MajorFaults, &[("faults", &faults), ("limit", &whole(allowed))]))
}

fn no_evidence(window: &Window) -> Option<Reason> {
    let nothing =
        window.foreign_cpu.is_none() && window.run_queue_wait_ms.is_none() && window.involuntary_switches.is_none();
    nothing.then(|| Reason::new(Code::NoEvidence, &[]))
}

/// Readings of a sensor within the measure window.
fn readings(trace: &SensorTrace, conditions: &Conditions<'_>) -> Vec<(f64, f64)> {
    let (from, until) = conditions.span_ms.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    finite(trace).filter(|&(at_ms, _)| (from..=until).contains(&at_ms)).collect()
}

fn finite(trace: &SensorTrace) -> impl Iterator<Item = (f64, f64)> {
    let points = trace.points.present().map_or(&[][..], Vec::as_slice);
    points.iter().map(|&(at_ms, value)| (f64::from(at_ms), value)).filter(|(_, value)| value.is_finite())
}

/// The sensor with the highest reading among those that `select` takes.
fn hottest<'a>(conditions: &Conditions<'a>, select: impl Fn(&SensorTrace) -> bool) -> Option<(&'a SensorTrace, f64)> {
    conditions
        .sensors
        .iter()
        .filter(|trace| select(trace))
        .filter_map(|trace| {
            Some((trace, readings(trace, conditions).into_iter().map(|(_, value)| value).reduce(f64::max)?))
        })
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn hot(conditions: &Conditions<'_>, limits: &Limits) -> Vec<Reason> {
    let zone =
        hottest(conditions, |trace| trace.sensor.starts_with(sensor::THERMAL_PREFIX) && trace.unit == sensor::CELSIUS);
    let battery = hottest(conditions, |trace| trace.sensor == sensor::BATTERY_TEMPERATURE);
    [(zone, limits.zone_celsius), (battery, limits.battery_celsius)]
        .into_iter()
        .filter_map(|(found, limit)| {
            let (trace, celsius) = found.filter(|&(_, celsius)| celsius >= limit)?;
            let (celsius, limit) = (format!("{celsius:.1}"), format!("{limit:.1}"));
            Some(Reason::new(Code::Hot, &[("sensor", &trace.sensor), ("celsius", &celsius), ("limit", &limit)]))
        })
        .collect()
}

/// What is asked only while nothing is timed, and the window that it is asked around.
#[derive(Debug, Clone, Copy)]
struct States<'a> {
    sensors: &'a [SensorTrace],
    span_ms: Option<(f64, f64)>,
}

impl<'a> States<'a> {
    const fn of(conditions: &Conditions<'a>) -> Self {
        Self { sensors: conditions.sensors, span_ms: conditions.span_ms }
    }

    /// The last reading before the window, those within, and the first after it.
    fn around(self, name: &str) -> Vec<f64> {
        let Some(trace) = self.sensors.iter().find(|trace| trace.sensor == name) else { return Vec::new() };
        let (from, until) = self.span_ms.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let before = finite(trace).take_while(|&(at_ms, _)| at_ms < from).last();
        let within = finite(trace).filter(|&(at_ms, _)| (from..=until).contains(&at_ms));
        let after = finite(trace).find(|&(at_ms, _)| at_ms > until);
        before.into_iter().chain(within).chain(after).map(|(_, value)| value).collect()
    }
}

/// What the system says of its heat.
fn thermal_status(states: States<'_>) -> Option<Reason> {
    let worst = states.around(sensor::THERMAL_STATUS).into_iter().reduce(f64::max)?;
    (worst >= android::THERMAL_STATUS_LIMIT).then(|| {
        let (status, limit) = (whole(worst), whole(android::THERMAL_STATUS_LIMIT));
        Reason::new(Code::ThermalStatus, &[("status", &status), ("limit", &limit)])
    })
}

/// Many ROMs cap clocks while the screen is off.
fn screen_changed(states: States<'_>) -> Option<Reason> {
    let screen = states.around(sensor::SCREEN);
    screen.windows(2).any(|pair| pair[0] != pair[1]).then(|| Reason::new(Code::ScreenChanged, &[]))
}

/// A screen that is on, or of which nobody tells, draws as it is bright. One that is off draws nothing.
fn brightness(states: States<'_>) -> Option<Reason> {
    let is_off = states.around(sensor::SCREEN).first() == Some(&0.0);
    if is_off {
        return None;
    }
    let steps = states.around(sensor::BRIGHTNESS);
    if let Some(pair) = steps.windows(2).find(|pair| pair[0] != pair[1]) {
        let [from, to] = [pair[0], pair[1]].map(whole);
        return Some(Reason::new(Code::BrightnessChanged, &[("from", &from), ("to", &to)]));
    }
    let follows = states.around(sensor::BRIGHTNESS_FOLLOWS).into_iter().any(|state| state > 0.0);
    follows.then(|| Reason::new(Code::BrightnessFollows, &[]))
}

fn saver(states: States<'_>) -> Option<Reason> {
    let is_on = states.around(sensor::BATTERY_SAVER).into_iter().any(|state| state > 0.0);
    is_on.then(|| Reason::new(Code::BatterySaver, &[]))
}

/// What the device itself says of throttling.
fn throttled(conditions: &Conditions<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some((trace, state)) =
        hottest(conditions, |trace| is_processor_cooling(&trace.sensor)).filter(|&(_, state)| state > 0.0)
    {
        reasons.push(Reason::new(Code::Throttling, &[("sensor", &trace.sensor), ("state", &percent(state))]));
    }
    reasons.extend(conditions.sensors.iter().filter_map(|trace| clock_limited(trace, conditions)));
    reasons
}

/// A limit that was lowered before the window began holds all of it down, so it is compared with what it was since the
/// attempt began.
fn clock_limited(trace: &SensorTrace, conditions: &Conditions<'_>) -> Option<Reason> {
    if !trace.sensor.ends_with(sensor::FREQUENCY_LIMIT_SUFFIX) {
        return None;
    }
    let lowest = readings(trace, conditions).into_iter().map(|(_, value)| value).reduce(f64::min)?;
    let until = conditions.span_ms.map_or(f64::INFINITY, |(_, until)| until);
    let highest = finite(trace).filter(|&(at_ms, _)| at_ms <= until).map(|(_, value)| value).reduce(f64::max)?;
    let (from, to) = (whole(highest), whole(lowest));
    let arguments: [(&str, &dyn Display); 4] =
        [("sensor", &trace.sensor), ("from", &from), ("to", &to), ("unit", &trace.unit)];
    (lowest < highest).then(|| Reason::new(Code::ClockLimited, &arguments))
}

/// Fans may turn as they like; a cooling device that holds back a processor may not act.
fn is_processor_cooling(sensor: &str) -> bool {
    sensor.strip_prefix(sensor::COOLING_PREFIX).map(str::to_ascii_lowercase).is_some_and(|kind| {
        ["cpufreq", "processor", "gpu", "devfreq", "intel_powerclamp"].iter().any(|known| kind.contains(known))
    })
}

/// The clock of the fastest allowed CPU, first third of the window against the last. The fastest at each moment is the
/// one that runs the model; idle ones are clocked down and say nothing.
fn clock_changed(conditions: &Conditions<'_>, limits: &Limits) -> Option<Reason> {
    let mut fastest: BTreeMap<u64, f64> = BTreeMap::new();
    for trace in allowed_clocks(conditions) {
        for (at_ms, megahertz) in readings(trace, conditions) {
            fastest.entry(at_ms as u64).and_modify(|known| *known = known.max(megahertz)).or_insert(megahertz);
        }
    }
    let clocks: Vec<f64> = fastest.into_values().collect();
    let (first, last) = ends(&clocks, MIN_CLOCKS)?;
    let change = last / first - 1.0;
    (change.abs() > limits.clock_change).then(|| {
        let (from, to, limit) = (whole(first), whole(last), percent(limits.clock_change));
        let change = format!("{:+.0} %", change * 100.0);
        Reason::new(Code::ClockChanged, &[("from", &from), ("to", &to), ("change", &change), ("limit", &limit)])
    })
}

/// The clocks of the CPUs that the inference threads were allowed. A sensor speaks for its CPU and for those after it
/// that have none of their own: a frequency domain is named by its first CPU.
fn allowed_clocks<'a>(conditions: &Conditions<'a>) -> Vec<&'a SensorTrace> {
    let clocks: BTreeMap<u16, &SensorTrace> =
        conditions.sensors.iter().filter_map(|trace| Some((clocked_cpu(trace)?, trace))).collect();
    match conditions.affinity {
        None => clocks.into_values().collect(),
        Some(cpus) => {
            let domains: BTreeSet<u16> =
                cpus.iter().filter_map(|cpu| clocks.range(..=cpu).next_back().map(|(&first, _)| first)).collect();
            clocks.into_iter().filter(|(first, _)| domains.contains(first)).map(|(_, trace)| trace).collect()
        }
    }
}

fn clocked_cpu(trace: &SensorTrace) -> Option<u16> {
    trace.sensor.strip_prefix(sensor::CPU_PREFIX)?.strip_suffix(sensor::FREQUENCY_SUFFIX)?.parse().ok()
}

fn drifted(conditions: &Conditions<'_>, limits: &Limits) -> Option<Reason> {
    let (first, last) = ends(&conditions.series.latency_ms, MIN_DRIFT_SAMPLES)?;
    let drift = last / first - 1.0;
    (drift > limits.drift).then(|| {
        let (first, last) = (format!("{first:.4}"), format!("{last:.4}"));
        let (share, limit) = (percent(drift), percent(limits.drift));
        Reason::new(Code::Drifted, &[("share", &share), ("last", &last), ("first", &first), ("limit", &limit)])
    })
}

/// Readings of the clock that make a third worth its median.
const MIN_CLOCKS: usize = 6;
/// Samples that make a third worth its median.
const MIN_DRIFT_SAMPLES: usize = 30;

/// Medians of the first and the last third, when there are enough values and the first is positive.
fn ends(values: &[f64], least: usize) -> Option<(f64, f64)> {
    if values.len() < least {
        return None;
    }
    let third = values.len() / 3;
    let first = stats::median_of(values[..third].iter().copied())?;
    let last = stats::median_of(values[values.len() - third..].iter().copied())?;
    (first > 0.0).then_some((first, last))
}

#[cfg(test)]
#[path = "interference_tests.rs"]
mod tests;
