//! The first day with a phone: what nobody knows of it until somebody has tried, point by point, and what came of each.
//! The answers decide how it can be measured, and the report can be sent to somebody who does not have the phone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Version of the report.
pub const REPORT_SCHEMA: u32 = 1;
/// Characters of what a phone said that a finding keeps.
const MAX_SAID: usize = 2000;
/// Detached work that stood still for longer than this was stopped, in s.
const LONGEST_GAP_S: f64 = 5.0;

macro_rules! points {
    ($($name:ident = $text:literal, $question:literal;)*) => {
        /// One thing to try.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Point { $($name,)* }

        impl Point {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it answers.
            #[must_use]
            pub const fn question(self) -> &'static str {
                match self { $(Self::$name => $question,)* }
            }
        }
    };
}

points! {
    Tools = "tools", "which of the tools that a lab host uses does its shell have?";
    Execution = "execution", "can a program be run from its folder?";
    Uevent = "uevent", "may the shell read the battery's uevent?";
    CmdBattery = "cmd_battery", "does `cmd battery get` tell the current?";
    Dumpsys = "dumpsys", "does `dumpsys battery` tell level, voltage and temperature?";
    ServiceCall = "service_call", "does `service call batteryproperties` tell the current?";
    Gauge = "gauge", "how often does the gauge move?";
    ThermalZones = "thermal_zones", "which thermal zones can be read?";
    ThermalService = "thermal_service", "is the framework's thermal service ready?";
    Clocks = "clocks", "can clocks and their limits be read?";
    OpenCl = "opencl", "does its own linker load an OpenCL library for a program of the shell?";
    Affinity = "affinity", "can a program be kept on one processor?";
    KeepAwake = "keep_awake", "can it be kept awake while plugged in, and set back?";
    FixedPerformance = "fixed_performance", "does it have the fixed performance mode?";
    Detached = "detached", "does detached work go on when the link goes?";
    Dark = "dark", "does detached work go on while its port gives no power?";
}

/// What came of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Works,
    /// In part; what does not work is said.
    Partly,
    Missing,
    Denied,
    Failed,
    /// Nobody knows: it could not be tried.
    NotTried,
}

impl Verdict {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Partly => "partly",
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::NotTried => "not tried",
        }
    }
}

/// One point, tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub point: Point,
    pub verdict: Verdict,
    /// In one sentence.
    pub told: String,
    /// The phone's own words, shortened.
    pub said: String,
}

/// What a command on the phone ended with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// `None`: it did not end, or the link was lost; `err` says which.
    pub code: Option<u8>,
    pub out: String,
    pub err: String,
}

/// Everything that was found, with what the phone is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub schema: u32,
    /// Of the program that tried.
    pub version: String,
    pub serial: String,
    /// Brand, model, ROM, chip, GPU, Android, build: what is known of each.
    pub phone: BTreeMap<String, String>,
    pub findings: Vec<Finding>,
}

impl Finding {
    #[must_use]
    pub fn not_tried(point: Point, why: &str) -> Self {
        Self { point, verdict: Verdict::NotTried, told: why.to_owned(), said: String::new() }
    }

    fn of(point: Point, verdict: Verdict, told: impl Into<String>, said: &Said) -> Self {
        let mut words = [said.out.trim(), said.err.trim()].join("\n").trim().to_owned();
        if let Some((at, _)) = words.char_indices().nth(MAX_SAID) {
            words.truncate(at);
            words.push('…');
        }
        Self { point, verdict, told: told.into(), said: words }
    }

    /// What the answer of the point's script means. `Detached` and `Dark` are judged by [`Finding::survival`].
    #[must_use]
    pub fn read(point: Point, said: &Said) -> Self {
        let finding = |verdict, told: String| Self::of(point, verdict, told, said);
        let Some(code) = said.code else { return finding(Verdict::Failed, "it gave no answer".to_owned()) };
        if let Some((verdict, told)) = refused(code, said) {
            return finding(verdict, told);
        }
        let (verdict, told) = match point {
            Point::Tools => tools(&said.out),
            Point::Execution => (Verdict::Works, "a program runs from its folder".to_owned()),
            Point::Uevent => uevent(&said.out),
            Point::CmdBattery => number(&said.out, "cmd battery get current_now"),
            Point::Dumpsys => keys(&said.out, &["level", "voltage", "temperature"]),
            Point::ServiceCall => parcel(&said.out),
            Point::Gauge => gauge(&said.out),
            Point::ThermalZones => listed(&said.out, "thermal zone"),
            Point::ThermalService => thermal_service(&said.out),
            Point::Clocks => listed(&said.out, "frequency domain"),
            Point::OpenCl => opencl(&said.out),
            Point::Affinity => affinity(&said.out),
            Point::KeepAwake => keep_awake(&said.out),
            Point::FixedPerformance => (Verdict::Works, "it is accepted, and taken back".to_owned()),
            Point::Detached | Point::Dark => (Verdict::Failed, "it has no script".to_owned()),
        };
        finding(verdict, told)
    }

    /// Of detached work that wrote the uptime once a second: `beats` are what it wrote in all, `during` how long the link
    /// or the port was away, in s.
    #[must_use]
    pub fn survival(point: Point, beats: &str, during: f64, is_alive: bool) -> Self {
        let times: Vec<f64> = beats.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        let said = Said { out: format!("{} beats, the last at {:?}", times.len(), times.last()), ..Said::default() };
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        let lived = times.first().zip(times.last()).map_or(0.0, |(first, last)| last - first);
        let (verdict, told) = if !is_alive {
            (Verdict::Failed, format!("it was ended after {lived:.0} s; the phone was left alone for {during:.0} s"))
        } else if lived < during {
            (Verdict::Failed, format!("it wrote for {lived:.0} s of {during:.0} s, and lives: it did not get to run"))
        } else if gap > LONGEST_GAP_S {
            (Verdict::Partly, format!("it lives, and stood still for {gap:.0} s: the phone slept, or held it back"))
        } else {
            (Verdict::Works, format!("it went on for all of {during:.0} s"))
        };
        Self::of(point, verdict, told, &said)
    }
}

/// What no script wants to hear, whatever it asks.
fn refused(code: u8, said: &Said) -> Option<(Verdict, String)> {
    let words = format!("{}\n{}", said.out, said.err);
    let has = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    if code == 0 {
        return None;
    }
    Some(if has(&["Permission denied", "SecurityException", "Operation not permitted", "EACCES"]) {
        (Verdict::Denied, format!("the phone refuses it (exit code {code})"))
    } else if code == 127
        || has(&[
            "not found",
            "No such file",
            "Can't find service",
            "does not exist",
            "Unknown command",
            "No shell command",
        ])
    {
        (Verdict::Missing, format!("the phone does not have it (exit code {code})"))
    } else {
        (Verdict::Failed, format!("it ended with exit code {code}"))
    })
}

/// Lines of `NAME PATH`, or of the name alone where there is none.
fn tools(text: &str) -> (Verdict, String) {
    let (has, lacks): (Vec<&str>, Vec<&str>) = text.lines().map(str::trim).partition(|line| line.contains(' '));
    let lacks: Vec<&str> = lacks.into_iter().filter(|name| !name.is_empty()).collect();
    match (has.len(), lacks.is_empty()) {
        (0, _) => (Verdict::Missing, "it has none of them".to_owned()),
        (count, true) => (Verdict::Works, format!("it has all {count}")),
        (_, false) => (Verdict::Partly, format!("it lacks {}", lacks.join(", "))),
    }
}

fn uevent(text: &str) -> (Verdict, String) {
    let wanted = ["CURRENT_NOW", "VOLTAGE_NOW", "CHARGE_COUNTER", "CAPACITY", "STATUS", "TEMP"];
    let has = |name: &&str| text.lines().any(|line| line.starts_with(&format!("POWER_SUPPLY_{name}=")));
    let (has, lacks): (Vec<&str>, Vec<&str>) = wanted.into_iter().partition(has);
    match (has.is_empty(), lacks.is_empty()) {
        (true, _) => (Verdict::Missing, "no supply that is a battery tells anything".to_owned()),
        (false, true) => (Verdict::Works, "everything stands in it".to_owned()),
        (false, false) => (Verdict::Partly, format!("it lacks {}", lacks.join(", "))),
    }
}

fn number(text: &str, what: &str) -> (Verdict, String) {
    match text.trim().parse::<i64>() {
        Ok(value) => (Verdict::Works, format!("it tells {value}")),
        Err(_) => (Verdict::Missing, format!("`{what}` is no number here")),
    }
}

fn keys(text: &str, wanted: &[&str]) -> (Verdict, String) {
    if text.contains("UPDATES STOPPED") {
        return (Verdict::Failed, "it is faked: `dumpsys battery reset` first".to_owned());
    }
    let has = |key: &&&str| text.lines().any(|line| line.trim().starts_with(&format!("{key}:")));
    let lacks: Vec<&str> = wanted.iter().filter(|key| !has(key)).copied().collect();
    match lacks.len() {
        0 => (Verdict::Works, "it tells them".to_owned()),
        count if count == wanted.len() => (Verdict::Missing, "it tells none of them".to_owned()),
        _ => (Verdict::Partly, format!("it lacks {}", lacks.join(", "))),
    }
}

/// The first word of a parcel is 0 where there was no exception, and the second a status.
fn parcel(text: &str) -> (Verdict, String) {
    let Some((_, words)) = text.split_once("Parcel(") else {
        return (Verdict::Missing, "it answers with no parcel".to_owned());
    };
    let words: Vec<u32> =
        words.split_whitespace().map_while(|word| u32::from_str_radix(word.trim_end_matches(':'), 16).ok()).collect();
    match words.as_slice() {
        [0, 0, low, high, ..] => {
            let value = (u64::from(*high) << 32 | u64::from(*low)).cast_signed();
            if value == i64::MIN {
                (Verdict::Missing, "it says that there is none".to_owned())
            } else {
                (Verdict::Works, format!("it tells {value}"))
            }
        }
        _ => (Verdict::Denied, "it answers with an exception".to_owned()),
    }
}

/// Lines of `UPTIME VALUE`, in time.
fn gauge(text: &str) -> (Verdict, String) {
    let row = |line: &str| {
        let (time, value) = line.split_once(' ')?;
        Some((time.parse::<f64>().ok()?, value.trim().parse::<i64>().ok()?))
    };
    let rows: Vec<(f64, i64)> = text.lines().filter_map(row).collect();
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return (Verdict::Missing, "no current can be read".to_owned());
    };
    let seconds = last.0 - first.0;
    let changes = rows.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let (low, high) = rows.iter().fold((i64::MAX, i64::MIN), |(low, high), row| (low.min(row.1), high.max(row.1)));
    match changes {
        0 => (Verdict::Failed, format!("it stood at {low} for {seconds:.0} s")),
        changes => {
            let period = seconds / changes as f64;
            (Verdict::Works, format!("it moved every {period:.1} s, between {low} and {high}, {} readings", rows.len()))
        }
    }
}

/// Lines of `NAME VALUE`, or of the name alone where it cannot be read.
fn listed(text: &str, what: &str) -> (Verdict, String) {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let readable = lines.iter().filter(|line| line.contains(' ')).count();
    match (readable, lines.len()) {
        (_, 0) => (Verdict::Missing, format!("it shows no {what}")),
        (0, all) => (Verdict::Denied, format!("none of {all} can be read")),
        (readable, all) if readable < all => (Verdict::Partly, format!("{readable} of {all} can be read")),
        (_, all) => (Verdict::Works, format!("all {all} can be read")),
    }
}

fn thermal_service(text: &str) -> (Verdict, String) {
    let status = text.lines().find_map(|line| line.trim().strip_prefix("Thermal Status:")).map(str::trim);
    match status {
        None => (Verdict::Missing, "it tells no thermal status".to_owned()),
        Some(status) if text.contains("HAL Ready: true") => {
            (Verdict::Works, format!("it is ready, at status {status}"))
        }
        Some(status) => (Verdict::Partly, format!("it tells status {status}, and its HAL is not ready")),
    }
}

/// Lines of `PATH ok`, or of `PATH` and what the linker said.
fn opencl(text: &str) -> (Verdict, String) {
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    match lines.iter().find(|(_, said)| *said == "ok") {
        Some((path, _)) => (Verdict::Works, format!("it loads {path}")),
        None if lines.is_empty() => (Verdict::Missing, "there is no OpenCL library at any known place".to_owned()),
        None => (Verdict::Failed, format!("none of {} can be loaded", lines.len())),
    }
}

fn affinity(text: &str) -> (Verdict, String) {
    match text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(str::trim) {
        Some("0") => (Verdict::Works, "a program stays on processor 0".to_owned()),
        Some(list) => (Verdict::Failed, format!("it was asked to stay on 0 and may run on {list}")),
        None => (Verdict::Missing, "the kernel does not tell where a program may run".to_owned()),
    }
}

/// Three lines: the setting before, as it was set, and as it was set back.
fn keep_awake(text: &str) -> (Verdict, String) {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    match lines.as_slice() {
        [before, "15", after] if before == after => (Verdict::Works, format!("it was {before}, and is again")),
        [before, "15", after] => (Verdict::Partly, format!("it was {before} and is {after} now: set it back by hand")),
        _ => (Verdict::Denied, "the setting does not take".to_owned()),
    }
}

impl Report {
    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("Seatrial {}: what {} can do\n\n", self.version, self.serial);
        for (key, value) in &self.phone {
            // Writing into a text does not fail.
            let _ = writeln!(text, "{key}: {value}");
        }
        for Finding { point, verdict, told, said } in &self.findings {
            let _ = writeln!(text, "\n{} {}\n  {}: {told}", point.as_str(), point.question(), verdict.as_str());
            for line in said.lines() {
                let _ = writeln!(text, "  | {line}");
            }
        }
        text
    }
}

#[cfg(test)]
#[path = "checkup_tests.rs"]
mod tests;
