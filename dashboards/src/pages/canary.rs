//! The health checks of a device, on its page.

use seatrial_core::lab::canary::{Due, Health};
use seatrial_core::store::CanaryRow;

use crate::format::{DASH, Moments, significant};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status::{self, Status};

/// Checks that the card lists beside the last.
const SHOWN: usize = 8;

pub(crate) struct CanaryLines {
    pub status: Html,
    pub facts: Vec<(String, Html)>,
    /// What is wrong, or why nothing is known.
    pub reasons: Vec<String>,
    pub earlier: Vec<CanaryLine>,
}

pub(crate) struct CanaryLine {
    pub at: Html,
    pub status: Html,
    pub latency: String,
    pub due: String,
}

pub(crate) fn lines(canaries: &[CanaryRow], moments: &Moments) -> Option<CanaryLines> {
    let words = moments.words;
    let (last, earlier) = canaries.split_first()?;
    let text = |text: String| Html::trusted(html::escape(&text));
    let fact = |key: &str, value: Html| (words.t(key).into_owned(), value);
    let message = last.found.message.iter().map(|message| words.phrase(message));
    let again = (last.judgement.health == Health::Unknown).then(|| words.t("device.canary_again").into_owned());
    Some(CanaryLines {
        status: html::tag(&health(last.judgement.health, words)),
        facts: vec![
            fact("col.when", html::ago(last.at, moments)),
            fact("device.canary_due", text(due(last, words))),
            fact("device.canary_latency", text(latency(last))),
            fact("device.canary_band", text(band(last, words))),
            fact("device.rom", text(if last.rom.is_empty() { DASH.to_string() } else { last.rom.clone() })),
        ],
        reasons: last.judgement.reasons.iter().map(|reason| words.reason(reason)).chain(message).chain(again).collect(),
        earlier: earlier
            .iter()
            .take(SHOWN)
            .map(|row| CanaryLine {
                at: html::ago(row.at, moments),
                status: html::status(&health(row.judgement.health, words)),
                latency: latency(row),
                due: due(row, words),
            })
            .collect(),
    })
}

fn health(health: Health, words: Words) -> Status {
    match health {
        Health::Healthy => status::passed(words.t("device.canary_healthy")),
        Health::Sick => status::failed(words.t("device.canary_sick")),
        Health::Unknown => status::missing(words.t("device.canary_unknown")),
    }
}

fn due(row: &CanaryRow, words: Words) -> String {
    let key = match row.due {
        Due::NeverChecked => "device.canary_never_checked",
        Due::Rebooted => "device.canary_rebooted",
        Due::SystemChanged => "device.canary_system_changed",
        Due::WasSick => "device.canary_was_sick",
        Due::Failures => "device.canary_failures",
        Due::ADayAgo => "device.canary_a_day_ago",
        Due::Asked => "device.canary_asked",
    };
    words.t(key).into_owned()
}

fn latency(row: &CanaryRow) -> String {
    row.found.latency_ms.map_or_else(|| DASH.to_string(), |value| format!("{} ms", significant(value)))
}

fn band(row: &CanaryRow, words: Words) -> String {
    match (row.judgement.usual_ms, row.judgement.limit_ms()) {
        (Some(usual), Some(limit)) => {
            words.with("device.canary_limit", &[("usual", &significant(usual)), ("limit", &significant(limit))])
        }
        (_, None) | (None, _) => words.t("device.canary_no_band").into_owned(),
    }
}
