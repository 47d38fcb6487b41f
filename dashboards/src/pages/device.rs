//! A device: whether it is healthy, what it is, what it did.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::response::Response;
use seatrial_core::device::{DeviceState, RuntimeOffer};
use seatrial_core::energy::source::{ChargingState, Field};
use seatrial_core::energy::{BatteryFacts, SourceRecord, care};
use seatrial_core::ids::JobId;
use seatrial_core::reading::Reading;
use seatrial_core::store::{CanaryRow, DeviceRow, JobRow, ServiceRow, TransitionRow};
use serde::Serialize;

use super::canary::{self, CanaryLines};
use super::findings::{self, FindingLines};
use super::fleet::quarantine;
use super::present::Present;
use super::{JobLines, Numbers, job, job_line, numbers_of, reading};
use crate::Dashboards;
use crate::failure::Failure;
use crate::format::{DASH, Moments, count, memory_size, significant};
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;
use crate::visit::Visit;

/// Jobs and transitions that the page lists.
const RECENT: u32 = 30;

#[derive(Serialize)]
struct Data {
    device: DeviceRow,
    online: bool,
    state: DeviceState,
    /// What was decided of it last, if anything was.
    #[serde(skip)]
    service: Option<ServiceRow>,
    transitions: Vec<TransitionRow>,
    /// Newest first.
    canaries: Vec<CanaryRow>,
    jobs: Vec<JobRow>,
    #[serde(skip)]
    numbers: HashMap<JobId, Numbers>,
}

struct TransitionLine {
    at: Html,
    from: Html,
    to: Html,
    by: String,
    reason: String,
}

struct RuntimeLine {
    name: String,
    version: String,
    origin: String,
    formats: String,
    accelerators: String,
    /// Each accelerator that it has code for and cannot use here, with the reason.
    absent: Vec<(&'static str, String)>,
}

impl RuntimeLine {
    fn new(offer: &RuntimeOffer, origin: &str, words: Words) -> Self {
        let formats: Vec<&str> = offer.formats.iter().map(|format| format.as_str()).collect();
        let accelerators: Vec<&str> = offer.accelerators.iter().map(|accelerator| accelerator.as_str()).collect();
        Self {
            name: offer.name.clone(),
            version: offer.version.clone(),
            origin: words.t(origin).into_owned(),
            formats: formats.join(", "),
            accelerators: if accelerators.is_empty() { DASH.to_string() } else { accelerators.join(", ") },
            absent: offer.absent.iter().map(|(accelerator, why)| (accelerator.as_str(), why.clone())).collect(),
        }
    }
}

#[derive(askama::Template)]
#[template(path = "pages/device.html")]
struct Page {
    frame: Frame,
    name: String,
    id: String,
    tag: Html,
    sentence: String,
    sub: String,
    facts: Vec<(String, String)>,
    clusters: Vec<(String, String)>,
    features: String,
    runtimes: Vec<RuntimeLine>,
    sensors: Vec<(String, String)>,
    /// `None` of an agent that does not tell.
    findings: Option<FindingLines>,
    battery: Option<BatteryLines>,
    /// `None` of a device that was never checked.
    canary: Option<CanaryLines>,
    labels: Vec<(String, String)>,
    evidence: Vec<(String, String)>,
    transitions: Vec<TransitionLine>,
    /// What an operator may do with it, each with its meaning.
    commands: Vec<(String, String)>,
    jobs: JobLines,
}

pub(crate) async fn page(
    State(state): State<Dashboards>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let gone = || Failure::NotFound { what: "gone.device", id: id.chars().take(40).collect() };
    let id = id.parse().map_err(|_| gone())?;
    let device = state.read.device(id).await?.ok_or_else(gone)?;
    let jobs = state.read.device_jobs(id, RECENT).await?;
    let present = Present::read(&state, std::slice::from_ref(&device)).await?;
    let data = Data {
        numbers: numbers_of(&state, &jobs).await?,
        jobs,
        online: present.is_online(&device),
        state: present.state(&device),
        service: present.service(id).cloned(),
        transitions: state.read.device_transitions(id, RECENT).await?,
        canaries: state.read.canaries(id, RECENT).await?,
        device,
    };
    let moments = &visit.setting.moments;
    let words = moments.words;
    visit.answer(&data, None, || {
        let device = &data.device;
        let profile = &device.profile;
        Page {
            frame: Frame::new(&visit.setting, device.name.clone(), Nav::Fleet)
                .with_exports(&visit.setting, false)
                .simulated(profile.simulated),
            name: device.name.clone(),
            id: device.id.to_string(),
            tag: html::tag(&status::device_now(data.state, data.online, words)),
            sentence: sentence(&data, words),
            sub: sub(&data, moments),
            facts: facts(device, words),
            clusters: profile.cpu.clusters.iter().map(|cluster| cluster_line(cluster, words)).collect(),
            features: reading(&profile.cpu.features.clone().map(|features| features.join(" ")), words),
            runtimes: {
                let built_in = profile.runtimes.iter().map(|offer| RuntimeLine::new(offer, "device.built_in", words));
                let packages = profile.packages.iter().map(|offer| RuntimeLine::new(offer, "device.packaged", words));
                built_in.chain(packages).collect()
            },
            sensors: sensors(device, words),
            findings: profile.findings.as_ref().map(|findings| findings::lines(findings, words)),
            battery: profile.battery.as_ref().map(|battery| battery_lines(battery, words)),
            canary: canary::lines(&data.canaries, moments),
            labels: device.labels.clone().into_iter().collect(),
            evidence: evidence(device, words),
            commands: commands(device, words),
            transitions: data
                .transitions
                .iter()
                .map(|row| TransitionLine {
                    at: html::ago(row.at, moments),
                    from: html::status(&status::device(row.from, words)),
                    to: html::status(&status::device(row.to, words)),
                    by: row.by.clone().unwrap_or_else(|| words.t("device.by_server").into_owned()),
                    reason: words.phrase(&row.reason),
                })
                .collect(),
            jobs: {
                let lines = data.jobs.iter().map(|job| job_line(job, data.numbers.get(&job.id), moments));
                JobLines { of_device: true, ..lines.collect() }
            },
        }
    })
}

fn sentence(data: &Data, words: Words) -> String {
    let state = status::device_now(data.state, data.online, words).word;
    let failed = |job: &&JobRow| job.outcome.is_some_and(status::is_failure);
    let bad = data.jobs.iter().filter(failed).count();
    let values = [("name", data.device.name.as_str()), ("state", state.as_str())];
    if data.jobs.is_empty() {
        words.with("device.sentence_new", &values)
    } else if bad == 0 {
        words.count("device.sentence_fine", data.jobs.len() as u64, &values)
    } else {
        let (bad, all) = (count(bad as u64), count(data.jobs.len() as u64));
        words.with("device.sentence_failed", &[values[0], values[1], ("bad", &bad), ("all", &all)])
    }
}

fn sub(data: &Data, moments: &Moments) -> String {
    let words = moments.words;
    let device = &data.device;
    let seen = words.with(
        "device.seen",
        &[
            ("when", &moments.relative(device.last_seen_at)),
            ("joined", &moments.clock(device.created_at)),
            ("version", &device.agent_version),
        ],
    );
    let quarantine =
        (device.state == DeviceState::Quarantined).then(|| quarantine(device, data.service.as_ref(), moments));
    words.sentences(&quarantine.into_iter().chain([seen]).collect::<Vec<_>>())
}

/// As they are typed: the name in quotes where a shell would take it apart.
fn commands(device: &DeviceRow, words: Words) -> Vec<(String, String)> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = if device.name.chars().all(is_plain) {
        device.name.clone()
    } else {
        format!("'{}'", device.name.replace('\'', r"'\''"))
    };
    let command = |key: &str, verb: &str, options: &str| {
        (words.t(key).into_owned(), format!("seatrial devices {verb} {name}{options}"))
    };
    let out = [
        command("device.hold", "hold", " --for 2h"),
        command("device.quarantine", "quarantine", " --reason '…'"),
        command("device.maintenance", "maintenance", " --reason '…'"),
    ];
    let release = command("device.release", "release", "");
    let history = command("device.history", "history", "");
    let check = command("device.canary_now", "canary", " --now");
    match device.state {
        DeviceState::Reserved | DeviceState::Quarantined | DeviceState::Maintenance | DeviceState::Retired => {
            vec![release, history]
        }
        DeviceState::Discovered
        | DeviceState::Unauthorized
        | DeviceState::Ready
        | DeviceState::Preparing
        | DeviceState::Running
        | DeviceState::Dark
        | DeviceState::Cooling
        | DeviceState::Charging
        | DeviceState::Recovering => out.into_iter().chain([check, history]).collect(),
    }
}

fn facts(device: &DeviceRow, words: Words) -> Vec<(String, String)> {
    let profile = &device.profile;
    let memory = profile.memory_bytes.clone().map(memory_size);
    let api = profile.android_api.clone().map(|api| api.to_string());
    let fact = |key: &str, value: String| (words.t(key).into_owned(), value);
    vec![
        fact("device.brand", reading(&profile.brand, words)),
        fact("device.product", reading(&profile.product, words)),
        fact("device.hostname", reading(&profile.hostname, words)),
        fact("device.os", reading(&profile.os, words)),
        fact("device.kernel", reading(&profile.kernel, words)),
        fact("device.soc", reading(&profile.soc, words)),
        fact(
            "device.cpu",
            words.with(
                "device.cpu_line",
                &[
                    ("model", &reading(&profile.cpu.model, words)),
                    ("n", &profile.cpu.count.present().map_or_else(|| "?".to_owned(), u16::to_string)),
                    ("arch", &profile.cpu.architecture),
                ],
            ),
        ),
        fact("device.gpu", reading(&profile.gpu, words)),
        fact("device.gpu_driver", reading(&profile.gpu_driver, words)),
        fact("device.memory", reading(&memory, words)),
        fact("device.abi", profile.abi.clone()),
        fact("device.api", reading(&api, words)),
    ]
}

/// What a battery tells of itself.
struct BatteryLines {
    /// Why it may swell.
    risks: Vec<String>,
    facts: Vec<(String, String)>,
    /// What is known of its gauge, and what shows it.
    calibration: Vec<(String, String, String)>,
    uncalibrated: bool,
    /// Sources that give a current or a charge, or why they do not.
    sources: Vec<(String, String)>,
}

fn battery_lines(battery: &BatteryFacts, words: Words) -> BatteryLines {
    let BatteryFacts { sources, pack, reading: now, calibration } = battery;
    let fact = |key: &str, value: String| (words.t(key).into_owned(), value);
    let shown = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| DASH.to_string(), |value| format!("{} {unit}", significant(value)))
    };
    let charge = |microamp_hours: &Reading<u64>| match microamp_hours {
        Reading::Present(value) => format!("{} mAh", count(value / 1000)),
        Reading::Absent(why) => words.absent(why),
    };
    let state = now.charging.map(|state| match state {
        ChargingState::Unknown => "device.battery_unknown",
        ChargingState::Charging => "device.battery_charging",
        ChargingState::Discharging => "device.battery_discharging",
        ChargingState::NotCharging => "device.battery_not_charging",
        ChargingState::Full => "device.battery_full",
    });
    let state = state.map_or_else(|| DASH.to_string(), |key| words.t(key).into_owned());
    let share = pack.health_share().map(|share| share * 100.0);
    let told = |source: &&SourceRecord| matches!(source.field, Field::Current | Field::Counter | Field::Power);
    BatteryLines {
        risks: care::swelling_risk(pack, now).iter().map(|risk| words.reason(risk)).collect(),
        facts: vec![
            fact("device.battery_level", format!("{}{}{state}", shown(now.level_percent, "%"), words.semicolon())),
            fact("device.battery_temperature", shown(now.temperature_c, "°C")),
            fact("device.battery_design", charge(&pack.design_uah)),
            fact("device.battery_holds", charge(&pack.full_uah)),
            fact(
                "device.battery_health",
                match share {
                    Some(_) => shown(share, "%"),
                    None => reading(&pack.health, words),
                },
            ),
            fact("device.battery_cycles", reading(&pack.cycles.clone().map(|cycles| count(cycles.into())), words)),
        ],
        calibration: calibration.as_ref().map(|it| job::energy::calibration(it, words)).unwrap_or_default(),
        uncalibrated: calibration.is_none(),
        sources: sources
            .iter()
            .filter(told)
            .map(|source| (format!("{} {}", source.source, source.field), job::energy::state(&source.state, words)))
            .collect(),
    }
}

fn cluster_line(cluster: &seatrial_core::device::CpuCluster, words: Words) -> (String, String) {
    let cpus: Vec<String> = cluster.cpus.iter().map(u16::to_string).collect();
    let frequency = match &cluster.max_frequency_khz {
        Reading::Present(khz) => format!("{} GHz", crate::format::significant(*khz as f64 / 1e6)),
        Reading::Absent(reason) => words.absent(reason),
    };
    (words.with("device.cpus", &[("list", &cpus.join(", "))]), frequency)
}

/// What can be read, then what cannot with its reason.
fn sensors(device: &DeviceRow, words: Words) -> Vec<(String, String)> {
    let readable = device.profile.sensors.iter().map(|name| (name.clone(), words.t("device.readable").into_owned()));
    let absent = device.profile.absent_sensors.iter().map(|(name, reason)| (name.clone(), words.absent(reason)));
    readable.chain(absent).collect()
}

fn evidence(device: &DeviceRow, words: Words) -> Vec<(String, String)> {
    let evidence = &device.evidence;
    let line = |key: &str, value: &Option<String>| {
        (words.t(key).into_owned(), value.clone().unwrap_or_else(|| DASH.to_string()))
    };
    vec![
        line("device.serial", &evidence.hardware_serial),
        line("device.machine_id", &evidence.machine_id),
        line("device.agent_id", &evidence.agent_id),
        line("device.usb", &evidence.usb_path),
    ]
}
