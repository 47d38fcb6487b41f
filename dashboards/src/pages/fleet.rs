//! The fleet: what works, what needs a person, and every device with what it does now.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use seatrial_core::device::DeviceState;
use seatrial_core::lab::activity::Activity;
use seatrial_core::lab::canary::Health;
use seatrial_core::lab::seen::Advice;
use seatrial_core::live::{LiveSeen, Vitals};
use seatrial_core::stage::Stage;
use seatrial_core::store::{DeviceRow, ServiceRow};
use seatrial_core::time::Timestamp;
use serde::Serialize;

use super::list::{Asked, Facet, Listing};
use super::order;
use super::present::Present;
use super::wall::{Card, CardPart, card};
use crate::Dashboards;
use crate::export::csv;
use crate::failure::Failure;
use crate::format::{Moments, count};
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;
use crate::visit::{Setting, Visit};

/// What the present says of one device, for JSON.
#[derive(Serialize)]
struct Now {
    device: String,
    state: DeviceState,
    online: bool,
    draining: bool,
    job: Option<String>,
    stage: Option<Stage>,
    progress: Option<f64>,
    /// When its state ends by itself.
    until: Option<Timestamp>,
    decided_by: Option<String>,
    probation: bool,
    charge: Option<f64>,
    charging: Option<bool>,
    battery_c: Option<f64>,
    chip_c: Option<f64>,
    last_job: Option<String>,
    last_outcome: Option<String>,
    /// What its last health check found, and when.
    health: Option<Health>,
    checked_at: Option<Timestamp>,
}

/// A phone on a cable that is no device yet, for JSON.
#[derive(Serialize)]
struct Stranger {
    host: String,
    serial: String,
    usb_path: Option<String>,
    state: String,
    advice: Option<&'static str>,
}

#[derive(Serialize)]
struct Data {
    /// Those of this page.
    devices: Vec<DeviceRow>,
    now: Vec<Now>,
    /// Of the whole fleet.
    strangers: Vec<Stranger>,
    total: usize,
    /// Value of `after` for the next page, when there is one.
    after: Option<String>,
}

/// A device that waits for somebody.
pub(crate) struct Person {
    pub status: Html,
    /// Empty of a phone that has no page.
    pub href: String,
    pub name: String,
    pub place: String,
    pub what: String,
}

/// The fleet as two pages show it.
pub(crate) struct Fleet {
    pub devices: Vec<DeviceRow>,
    pub online: usize,
    pub sentence: String,
    /// The first of those that wait.
    pub persons: Vec<Person>,
    /// How many there are.
    pub waiting: usize,
    /// Status with the number of devices in it.
    pub counts: Vec<(Html, usize)>,
    pub simulated: bool,
}

struct Shelf {
    name: String,
    note: String,
    cards: Vec<Card>,
}

#[derive(askama::Template)]
#[template(path = "pages/fleet.html")]
struct Page {
    frame: Frame,
    sentence: String,
    sub: String,
    groups: Vec<Group>,
    persons: Vec<Person>,
    waiting: usize,
    shelves: Vec<Shelf>,
    command: String,
    empty: bool,
    none_match: String,
    /// Which devices of how many, when not all are on this page.
    part: String,
    first: Option<String>,
    next: Option<String>,
}

/// The values of one filter.
struct Group {
    label: String,
    facets: Vec<Facet>,
}

/// Devices that need a person and are listed for it; all are on the wall.
const PERSONS: usize = 20;

/// The command that makes this machine a device.
pub(crate) fn join_command(setting: &Setting) -> String {
    format!("seatrial-agent run --server {}", setting.address)
}

/// Whether a device can take work without anybody's help.
fn fit(device: &DeviceRow, online: bool) -> bool {
    match device.state {
        DeviceState::Dark => true,
        DeviceState::Ready
        | DeviceState::Reserved
        | DeviceState::Preparing
        | DeviceState::Running
        | DeviceState::Cooling
        | DeviceState::Charging => online,
        DeviceState::Discovered
        | DeviceState::Unauthorized
        | DeviceState::Recovering
        | DeviceState::Quarantined
        | DeviceState::Maintenance
        | DeviceState::Retired => false,
    }
}

pub(crate) fn place(device: &DeviceRow) -> String {
    device.labels.get("shelf").cloned().unwrap_or_default()
}

pub(crate) fn fleet(present: &Present, mut devices: Vec<DeviceRow>, moments: &Moments) -> Fleet {
    let words = moments.words;
    order(&mut devices);
    let mut counts: Vec<(status::Status, usize)> = Vec::new();
    let mut persons = Vec::new();
    let mut fit_count = 0;
    for device in &devices {
        fit_count += usize::from(fit(device, present.is_online(device)));
        let now = present.status(device, words);
        match counts.iter_mut().find(|(known, _)| *known == now) {
            Some((_, n)) => *n += 1,
            None => counts.push((now.clone(), 1)),
        }
        let Some(what) = wants(device, present, moments) else { continue };
        persons.push(Person {
            status: html::status(&now),
            href: format!("/devices/{}", device.id),
            name: device.name.clone(),
            place: present.link(device.id).map_or_else(|| place(device), |link| at(link, &place(device))),
            what,
        });
    }
    persons.extend(present.strangers.iter().map(|stranger| stranger_person(stranger, words)));
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let sentence = if devices.is_empty() {
        words.t("fleet.none").into_owned()
    } else {
        words.count("fleet.sentence", devices.len() as u64, &[("fit", &fit_count.to_string())])
    };
    Fleet {
        online: devices.iter().filter(|device| present.is_online(device)).count(),
        sentence,
        waiting: persons.len(),
        persons: persons.into_iter().take(PERSONS).collect(),
        counts: counts.into_iter().map(|(status, n)| (html::status(&status), n)).collect(),
        simulated: devices.iter().any(|device| device.profile.simulated),
        devices,
    }
}

/// What somebody is to do about a device; nothing where nobody has to.
fn wants(device: &DeviceRow, present: &Present, moments: &Moments) -> Option<String> {
    let words = moments.words;
    match device.state {
        DeviceState::Quarantined => return Some(quarantine(device, present.service(device.id), moments)),
        DeviceState::Dark | DeviceState::Maintenance | DeviceState::Retired => return None,
        DeviceState::Discovered
        | DeviceState::Unauthorized
        | DeviceState::Ready
        | DeviceState::Reserved
        | DeviceState::Preparing
        | DeviceState::Running
        | DeviceState::Cooling
        | DeviceState::Charging
        | DeviceState::Recovering => {}
    }
    if present.is_online(device) {
        None
    } else if let Some(advice) = present.link(device.id).and_then(|link| link.seen.advice) {
        Some(words.advice(advice))
    } else if device.state == DeviceState::Unauthorized {
        Some(words.t("fleet.allow_debugging").into_owned())
    } else {
        Some(words.with("fleet.silent", &[("when", &moments.relative(device.last_seen_at))]))
    }
}

/// Where a phone is plugged in, after the shelf that its label tells.
pub(crate) fn at(link: &LiveSeen, shelf: &str) -> String {
    let parts = [shelf, &link.host, link.seen.usb_path.as_deref().unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn stranger_person(stranger: &LiveSeen, words: Words) -> Person {
    let advice = stranger.seen.advice;
    let status = match advice.and_then(|advice| Activity::of_link(Some(advice))) {
        Some(activity) => status::device(activity.state(), words),
        None => status::missing(stranger.seen.state.clone()),
    };
    Person {
        status: html::status(&status),
        href: String::new(),
        name: stranger.seen.serial.clone(),
        place: at(stranger, ""),
        what: advice.map(|advice| words.advice(advice)).unwrap_or_default(),
    }
}

/// Why nobody may use the device, and until when.
pub(crate) fn quarantine(device: &DeviceRow, service: Option<&ServiceRow>, moments: &Moments) -> String {
    let words = moments.words;
    let reason = words.phrase(&device.state_reason);
    match service.and_then(|row| row.service.due()) {
        Some(until) => words.with("fleet.quarantined_until", &[("reason", &reason), ("when", &moments.clock(until))]),
        None => words.with("fleet.quarantined", &[("reason", &reason)]),
    }
}

/// What one stream sends again, by element: who needs somebody, the sentence, and every card.
pub(crate) fn parts(
    fleet: &Fleet,
    present: &Present,
    frame: &Frame,
    moments: &Moments,
) -> Result<Vec<(String, Html)>, Failure> {
    let render = |part: &dyn askama::DynTemplate| part.dyn_render().map(Html::trusted);
    let words = moments.words;
    let (persons, waiting) = (&fleet.persons, fleet.waiting);
    let mut parts = vec![
        ("lede".to_owned(), render(&LedePart { frame, sentence: &fleet.sentence, sub: &sub(fleet, words) })?),
        ("persons".to_owned(), render(&PersonsPart { frame, persons, waiting })?),
    ];
    for device in &fleet.devices {
        let card = card(device, present, moments);
        parts.push((card.id.clone(), render(&CardPart { card })?));
    }
    Ok(parts)
}

fn sub(fleet: &Fleet, words: Words) -> String {
    let (online, total) = (count(fleet.online as u64), count(fleet.devices.len() as u64));
    words.with("fleet.sub", &[("online", &online), ("total", &total)])
}

#[derive(askama::Template)]
#[template(path = "parts/fleet_lede.html")]
struct LedePart<'a> {
    frame: &'a Frame,
    sentence: &'a str,
    sub: &'a str,
}

#[derive(askama::Template)]
#[template(path = "parts/fleet_persons.html")]
struct PersonsPart<'a> {
    frame: &'a Frame,
    persons: &'a [Person],
    waiting: usize,
}

/// The address's word for devices without a shelf.
const NO_SHELF: &str = "none";

fn shelf_word(device: &DeviceRow) -> &str {
    device.labels.get("shelf").filter(|shelf| !shelf.is_empty()).map_or(NO_SHELF, String::as_str)
}

pub(crate) async fn page(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let devices = state.read.devices().await?;
    let moments = &visit.setting.moments;
    let words = moments.words;
    let present = Present::read(&state, &devices).await?;
    let fleet = fleet(&present, devices, moments);
    let states: Vec<&str> = visit.setting.parameters("state").collect();
    let places: Vec<&str> = visit.setting.parameters("shelf").collect();
    let is_shown = |device: &DeviceRow| {
        (states.is_empty() || states.contains(&present.word(device)))
            && (places.is_empty() || places.contains(&shelf_word(device)))
    };
    let matching: Vec<DeviceRow> = fleet.devices.iter().filter(|device| is_shown(device)).cloned().collect();
    let asked = Asked { setting: &visit.setting, anchor: "wall" };
    let Listing { rows, total, after, place: part, first, next, .. } =
        asked.list(&[], matching, |device| device.id.to_string());
    let now = rows.iter().map(|device| now(device, &present)).collect();
    let strangers = present.strangers.iter().map(stranger).collect();
    let data = Data { now, devices: rows, strangers, total, after };
    visit.answer(&data, Some(&|| table(&data.devices, &present)), || {
        let mut shelves: BTreeMap<String, Vec<Card>> = BTreeMap::new();
        for device in &data.devices {
            shelves.entry(place(device)).or_default().push(card(device, &present, moments));
        }
        Page {
            sub: sub(&fleet, words),
            groups: groups(&visit.setting, &fleet.devices, &present),
            none_match: if data.devices.is_empty() {
                let filter = [states, places].concat().join(", ");
                words.with("fleet.no_match", &[("filter", &filter), ("n", &count(fleet.devices.len() as u64))])
            } else {
                String::new()
            },
            empty: fleet.devices.is_empty(),
            sentence: fleet.sentence,
            persons: fleet.persons,
            waiting: fleet.waiting,
            shelves: shelves.into_iter().map(|(name, cards)| shelf(&name, cards, words)).collect(),
            command: join_command(&visit.setting),
            part,
            first,
            next,
            frame: Frame {
                full: true,
                live: Some(visit.setting.link_to("/devices/live")),
                ..Frame::new(&visit.setting, words.t("nav.fleet").into_owned(), Nav::Fleet)
                    .with_exports(&visit.setting, true)
                    .simulated(fleet.simulated)
            },
        }
    })
}

fn shelf(name: &str, cards: Vec<Card>, words: Words) -> Shelf {
    Shelf {
        name: if name.is_empty() {
            words.t("fleet.no_shelf").into_owned()
        } else {
            words.with("fleet.shelf", &[("name", name)])
        },
        note: words.count("fleet.devices", cards.len() as u64, &[]),
        cards,
    }
}

fn groups(setting: &Setting, devices: &[DeviceRow], present: &Present) -> Vec<Group> {
    let words = setting.words;
    let state = |device: &DeviceRow| (present.word(device).to_owned(), present.status(device, words).word);
    let shelf = |device: &DeviceRow| {
        let word = shelf_word(device);
        let label = if word == NO_SHELF { words.t("fleet.no_shelf").into_owned() } else { word.to_owned() };
        (word.to_owned(), label)
    };
    let states = group(setting, "state", words.t("col.state").into_owned(), devices, state);
    let shelves = group(setting, "shelf", words.t("col.place").into_owned(), devices, shelf);
    // One shelf is no choice: all, and that one.
    std::iter::once(states).chain(Some(shelves).filter(|group| group.facets.len() > 2)).collect()
}

/// All, and each value that the devices have, with its number.
fn group(
    setting: &Setting,
    key: &'static str,
    label: String,
    devices: &[DeviceRow],
    value: impl Fn(&DeviceRow) -> (String, String),
) -> Group {
    let current = setting.parameter(key);
    let mut values: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for device in devices {
        let (word, label) = value(device);
        values.entry(word).or_insert((label, 0)).1 += 1;
    }
    let all = Facet {
        label: setting.words.t("fleet.all").into_owned(),
        count: count(devices.len() as u64),
        href: setting.link_with(&[(key, None), ("after", None)]),
        current: current.is_none(),
    };
    let each = values.into_iter().map(|(word, (label, n))| Facet {
        label,
        count: count(n as u64),
        href: setting.link_with(&[(key, Some(&word)), ("after", None)]),
        current: current == Some(word.as_str()),
    });
    Group { label, facets: std::iter::once(all).chain(each).collect() }
}

fn stranger(live: &LiveSeen) -> Stranger {
    let LiveSeen { host, seen, age: _ } = live.clone();
    let advice = seen.advice.map(Advice::as_str);
    Stranger { host, serial: seen.serial, usb_path: seen.usb_path, state: seen.state, advice }
}

fn now(device: &DeviceRow, present: &Present) -> Now {
    let live = present.session(device.id);
    let job = live.and_then(|live| live.job.as_ref());
    let service = present.service(device.id);
    let last = present.last_job(device.id);
    let Vitals { charge, charging, battery_c, chip_c } = live.and_then(|live| live.vitals).unwrap_or_default();
    Now {
        device: device.id.to_string(),
        state: present.state(device),
        online: live.is_some(),
        draining: live.is_some_and(|live| live.draining),
        job: job.map(|job| job.job.to_string()),
        stage: job.map(|job| job.stage),
        progress: job.and_then(|job| job.progress),
        until: service.and_then(|row| row.service.due()),
        decided_by: service.and_then(|row| row.by.clone()),
        probation: service.is_some_and(|row| row.service.is_on_probation()),
        charge,
        charging,
        battery_c,
        chip_c,
        last_job: last.map(|job| job.id.to_string()),
        last_outcome: last.and_then(|job| job.outcome).map(status::class_and_code),
        health: present.canary(device.id).map(|canary| canary.judgement.health),
        checked_at: present.canary(device.id).map(|canary| canary.at),
    }
}

fn table(devices: &[DeviceRow], present: &Present) -> String {
    let text = |reading: &seatrial_core::reading::Reading<String>| reading.present().cloned().unwrap_or_default();
    let head = [
        "id",
        "name",
        "state",
        "reason",
        "brand",
        "product",
        "os",
        "soc",
        "gpu",
        "gpu_driver",
        "abi",
        "cpus",
        "memory_bytes",
        "agent_version",
        "last_seen_us",
    ];
    let rows = devices.iter().map(|device| {
        let profile = &device.profile;
        vec![
            device.id.to_string(),
            device.name.clone(),
            present.state(device).to_string(),
            device.state_reason.clone(),
            text(&profile.brand),
            text(&profile.product),
            text(&profile.os),
            text(&profile.soc),
            text(&profile.gpu),
            text(&profile.gpu_driver),
            profile.abi.clone(),
            profile.cpu.count.present().map(u16::to_string).unwrap_or_default(),
            profile.memory_bytes.present().map(u64::to_string).unwrap_or_default(),
            device.agent_version.clone(),
            device.last_seen_at.as_micros().to_string(),
        ]
    });
    csv::write(&head, rows)
}
