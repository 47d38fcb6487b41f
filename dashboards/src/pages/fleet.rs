//! The fleet: what works, what needs a person, and every device with what it does now.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use seatrial_core::device::DeviceState;
use seatrial_core::live::LiveDevice;
use seatrial_core::stage::Stage;
use seatrial_core::store::DeviceRow;
use serde::Serialize;

use super::list::{Asked, Facet, Listing};
use super::{order, reading, sessions};
use crate::Dashboards;
use crate::charts::progress;
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
    online: bool,
    draining: bool,
    job: Option<String>,
    stage: Option<Stage>,
    progress: Option<f64>,
}

#[derive(Serialize)]
struct Data {
    /// Those of this page.
    devices: Vec<DeviceRow>,
    now: Vec<Now>,
    total: usize,
    /// Value of `after` for the next page, when there is one.
    after: Option<String>,
}

/// A device that waits for somebody.
pub(crate) struct Person {
    pub status: Html,
    pub href: String,
    pub name: String,
    pub place: String,
    pub what: String,
}

/// A card of the wall.
pub(crate) struct Card {
    pub id: String,
    pub href: String,
    pub name: String,
    pub place: String,
    pub meta: String,
    pub status: Html,
    pub class: &'static str,
    pub detail: String,
    pub progress: Html,
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
    facets: Vec<Facet>,
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

fn place(device: &DeviceRow) -> String {
    device.labels.get("shelf").cloned().unwrap_or_default()
}

pub(crate) fn fleet(state: &Dashboards, mut devices: Vec<DeviceRow>, moments: &Moments) -> Fleet {
    let words = moments.words;
    order(&mut devices);
    let sessions = sessions(state);
    let mut counts: Vec<(status::Status, usize)> = Vec::new();
    let mut persons = Vec::new();
    let mut fit_count = 0;
    for device in &devices {
        let live = sessions.get(&device.id);
        let online = live.is_some();
        fit_count += usize::from(fit(device, online));
        let now = status::device_now(state_now(device, live), online, words);
        match counts.iter_mut().find(|(known, _)| *known == now) {
            Some((_, n)) => *n += 1,
            None => counts.push((now.clone(), 1)),
        }
        let what = match device.state {
            DeviceState::Unauthorized => words.t("fleet.allow_debugging").into_owned(),
            DeviceState::Quarantined => quarantine(device, words),
            DeviceState::Discovered
            | DeviceState::Ready
            | DeviceState::Reserved
            | DeviceState::Preparing
            | DeviceState::Running
            | DeviceState::Cooling
            | DeviceState::Charging
            | DeviceState::Recovering
                if !online =>
            {
                words.with("fleet.silent", &[("when", &moments.relative(device.last_seen_at))])
            }
            DeviceState::Discovered
            | DeviceState::Ready
            | DeviceState::Reserved
            | DeviceState::Preparing
            | DeviceState::Running
            | DeviceState::Dark
            | DeviceState::Cooling
            | DeviceState::Charging
            | DeviceState::Recovering
            | DeviceState::Maintenance
            | DeviceState::Retired => continue,
        };
        persons.push(Person {
            status: html::status(&now),
            href: format!("/devices/{}", device.id),
            name: device.name.clone(),
            place: place(device),
            what,
        });
    }
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let sentence = if devices.is_empty() {
        words.t("fleet.none").into_owned()
    } else {
        words.count("fleet.sentence", devices.len() as u64, &[("fit", &fit_count.to_string())])
    };
    Fleet {
        online: devices.iter().filter(|device| sessions.contains_key(&device.id)).count(),
        sentence,
        waiting: persons.len(),
        persons: persons.into_iter().take(PERSONS).collect(),
        counts: counts.into_iter().map(|(status, n)| (html::status(&status), n)).collect(),
        simulated: devices.iter().any(|device| device.profile.simulated),
        devices,
    }
}

/// Why nobody may use the device, and until when.
pub(crate) fn quarantine(device: &DeviceRow, words: Words) -> String {
    words.with("fleet.quarantined", &[("reason", &words.phrase(&device.state_reason))])
}

pub(crate) async fn page(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let devices = state.read.devices().await?;
    let moments = &visit.setting.moments;
    let words = moments.words;
    let fleet = fleet(&state, devices, moments);
    let live = sessions(&state);
    let wanted: Vec<&str> = visit.setting.parameters("state").collect();
    let shown = |device: &DeviceRow| wanted.is_empty() || wanted.contains(&shown_state(device, live.get(&device.id)));
    let matching: Vec<DeviceRow> = fleet.devices.iter().filter(|device| shown(device)).cloned().collect();
    let asked = Asked { setting: &visit.setting, anchor: "wall" };
    let Listing { rows, total, after, place: part, first, next, .. } =
        asked.list(&[], matching, |device| device.id.to_string());
    let now = rows.iter().map(|device| now(device, live.get(&device.id))).collect();
    let data = Data { now, devices: rows, total, after };
    visit.answer(&data, Some(&|| table(&data.devices)), || {
        let mut shelves: BTreeMap<String, Vec<Card>> = BTreeMap::new();
        for device in &data.devices {
            shelves.entry(place(device)).or_default().push(card(device, live.get(&device.id), moments));
        }
        Page {
            sub: words.with(
                "fleet.sub",
                &[("online", &count(fleet.online as u64)), ("total", &count(fleet.devices.len() as u64))],
            ),
            facets: facets(&visit.setting, &fleet.devices, &live),
            none_match: if data.devices.is_empty() {
                words.with(
                    "fleet.no_match",
                    &[("filter", &wanted.join(", ")), ("n", &count(fleet.devices.len() as u64))],
                )
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

/// The state as filters spell it: `offline` is not one of the store's.
fn shown_state(device: &DeviceRow, live: Option<&LiveDevice>) -> &'static str {
    if live.is_none() && status::needs_session(device.state) { "offline" } else { state_now(device, live).as_str() }
}

/// The state that is kept, or what the open session tells meanwhile: a device with an attempt is running.
pub(crate) fn state_now(device: &DeviceRow, live: Option<&LiveDevice>) -> DeviceState {
    match (device.state, live.and_then(|live| live.job.as_ref())) {
        (DeviceState::Ready | DeviceState::Reserved | DeviceState::Preparing, Some(_)) => DeviceState::Running,
        (state, _) => state,
    }
}

fn facets(
    setting: &Setting,
    devices: &[DeviceRow],
    live: &std::collections::HashMap<seatrial_core::ids::DeviceId, LiveDevice>,
) -> Vec<Facet> {
    let words = setting.words;
    let current = setting.parameter("state");
    let mut states: BTreeMap<&str, (String, usize)> = BTreeMap::new();
    for device in devices {
        let live = live.get(&device.id);
        let entry = states
            .entry(shown_state(device, live))
            .or_insert_with(|| (status::device_now(state_now(device, live), live.is_some(), words).word, 0));
        entry.1 += 1;
    }
    let all = Facet {
        label: words.t("fleet.all").into_owned(),
        count: count(devices.len() as u64),
        href: setting.link_with(&[("state", None), ("after", None)]),
        current: current.is_none(),
    };
    let each = states.into_iter().map(|(state, (label, n))| Facet {
        label,
        count: count(n as u64),
        href: setting.link_with(&[("state", Some(state)), ("after", None)]),
        current: current == Some(state),
    });
    std::iter::once(all).chain(each).collect()
}

fn now(device: &DeviceRow, live: Option<&LiveDevice>) -> Now {
    let job = live.and_then(|live| live.job.as_ref());
    Now {
        device: device.id.to_string(),
        online: live.is_some(),
        draining: live.is_some_and(|live| live.draining),
        job: job.map(|job| job.job.to_string()),
        stage: job.map(|job| job.stage),
        progress: job.and_then(|job| job.progress),
    }
}

pub(crate) fn card(device: &DeviceRow, live: Option<&LiveDevice>, moments: &Moments) -> Card {
    let words = moments.words;
    let meta = [&device.profile.soc, &device.profile.os].into_iter().filter_map(|reading| reading.present().cloned());
    let meta: Vec<String> = meta.collect();
    let job = live.and_then(|live| live.job.as_ref());
    let now = status::device_now(state_now(device, live), live.is_some(), words);
    let (detail, bar) = match job {
        Some(job) => {
            let age = crate::format::duration(job.age, words);
            let detail =
                words.with("fleet.on_job", &[("job", &job.job.short()), ("stage", job.stage.as_str()), ("age", &age)]);
            let percent = |share: f64| {
                words.with("chart.progress", &[("percent", &count((share * 100.0).round().max(0.0) as u64))])
            };
            (detail, job.progress.map(|share| progress::chart(share, &percent(share))).unwrap_or_default())
        }
        None if live.is_none() && status::needs_session(device.state) => {
            (words.with("fleet.seen", &[("when", &moments.relative(device.last_seen_at))]), Html::default())
        }
        None if device.state == DeviceState::Quarantined => (quarantine(device, words), Html::default()),
        None => (words.phrase(&device.state_reason), Html::default()),
    };
    let attention = matches!(now.class, "s-failed");
    Card {
        id: format!("device-{}", device.id),
        href: format!("/devices/{}", device.id),
        name: device.name.clone(),
        place: place(device),
        meta: if meta.is_empty() { reading(&device.profile.soc, words) } else { meta.join(" · ") },
        status: html::status(&now),
        class: if attention {
            " q"
        } else if device.state == DeviceState::Dark {
            " dk"
        } else {
            ""
        },
        detail,
        progress: bar,
    }
}

fn table(devices: &[DeviceRow]) -> String {
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
            device.state.to_string(),
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

#[derive(askama::Template)]
#[template(path = "parts/card.html")]
pub(crate) struct CardPart {
    pub card: Card,
}
