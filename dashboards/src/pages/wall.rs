//! The wall: a card for each device.

use seatrial_core::device::DeviceState;
use seatrial_core::live::{LiveDevice, Vitals};
use seatrial_core::store::{DeviceRow, JobRow};

use super::fleet::{at, place, quarantine};
use super::present::Present;
use super::{model_name, reading};
use crate::charts::progress;
use crate::format::{Moments, count, significant};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

/// A card of the wall.
pub(crate) struct Card {
    pub id: String,
    pub href: String,
    pub name: String,
    pub place: String,
    pub meta: String,
    /// Charge and temperatures; empty of a device that tells none.
    pub vitals: String,
    pub status: Html,
    pub class: &'static str,
    pub detail: String,
    pub progress: Html,
    /// How its last job ended; empty before its first.
    pub last: Option<Last>,
}

/// The last verdict.
pub(crate) struct Last {
    pub status: Html,
    pub model: String,
    pub when: Html,
}

#[derive(askama::Template)]
#[template(path = "parts/card.html")]
pub(crate) struct CardPart {
    pub card: Card,
}

pub(crate) fn card(device: &DeviceRow, present: &Present, moments: &Moments) -> Card {
    let words = moments.words;
    let meta = [&device.profile.soc, &device.profile.os].into_iter().filter_map(|reading| reading.present().cloned());
    let meta: Vec<String> = meta.collect();
    let live = present.session(device.id);
    let now = present.status(device, words);
    let (detail, progress) = doing(device, present, live, moments);
    Card {
        id: format!("device-{}", device.id),
        href: format!("/devices/{}", device.id),
        name: device.name.clone(),
        place: place(device),
        meta: if meta.is_empty() { reading(&device.profile.soc, words) } else { meta.join(" · ") },
        vitals: live.and_then(|live| live.vitals).map(|told| vitals(told, words)).unwrap_or_default(),
        class: if matches!(now.class, "s-failed") {
            " q"
        } else if device.state == DeviceState::Dark {
            " dk"
        } else {
            ""
        },
        status: html::status(&now),
        detail,
        progress,
        last: present.last_job(device.id).map(|job| last(job, moments)),
    }
}

fn doing(device: &DeviceRow, present: &Present, live: Option<&LiveDevice>, moments: &Moments) -> (String, Html) {
    let words = moments.words;
    if let Some(job) = live.and_then(|live| live.job.as_ref()) {
        let age = crate::format::duration(job.age, words);
        let detail =
            words.with("fleet.on_job", &[("job", &job.job.short()), ("stage", job.stage.as_str()), ("age", &age)]);
        let percent =
            |share: f64| words.with("chart.progress", &[("percent", &count((share * 100.0).round().max(0.0) as u64))]);
        let bar = job.progress.map(|share| progress::chart(share, &percent(share))).unwrap_or_default();
        return (detail, bar);
    }
    if let Some(stage) = live.and_then(|live| live.check) {
        return (words.with("fleet.on_check", &[("stage", stage.as_str())]), Html::default());
    }
    let service = present.service(device.id);
    let text = if let Some(link) = present.link(device.id).filter(|link| link.seen.advice.is_some()) {
        at(link, "")
    } else if device.state == DeviceState::Quarantined {
        quarantine(device, service, moments)
    } else if live.is_none() && status::needs_session(present.state(device)) {
        words.with("fleet.seen", &[("when", &moments.relative(device.last_seen_at))])
    } else if service.is_some_and(|row| row.service.is_on_probation()) {
        words.t("fleet.probation").into_owned()
    } else {
        let why = words.phrase(&device.state_reason);
        match service.and_then(|row| row.service.due()) {
            Some(until) => words.with("fleet.until", &[("why", &why), ("when", &moments.clock(until))]),
            None => why,
        }
    };
    (text, Html::default())
}

fn vitals(told: Vitals, words: Words) -> String {
    let Vitals { charge, charging, battery_c, chip_c } = told;
    let mut parts = Vec::new();
    if let Some(charge) = charge {
        let percent = count((charge * 100.0).round().max(0.0) as u64);
        let key = if charging == Some(true) { "fleet.charging" } else { "fleet.charge" };
        parts.push(words.with(key, &[("percent", &percent)]));
    }
    for (key, celsius) in [("fleet.battery", battery_c), ("fleet.chip", chip_c)] {
        parts.extend(celsius.map(|celsius| words.with(key, &[("celsius", &significant(celsius))])));
    }
    parts.join(" · ")
}

fn last(job: &JobRow, moments: &Moments) -> Last {
    Last {
        status: html::status(&status::job(job, moments.words)),
        model: model_name(job),
        when: job.finished_at.map(|at| html::ago(at, moments)).unwrap_or_default(),
    }
}
