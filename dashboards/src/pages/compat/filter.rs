//! Which combinations an address asks for, and what else it could ask for.

use std::collections::BTreeMap;

use seatrial_core::reading::Reading;
use seatrial_core::store::RunRow;

use super::{Data, run_number};
use crate::compat::{By, Device, Entry, Standing};
use crate::i18n::Words;
use crate::pages::list::Facet;
use crate::visit::Setting;

/// What has no value: a trait that nothing tells, a backend that cannot be read.
const NONE: &str = "-";

/// A value of a combination by which it can be filtered.
type Value = fn(&Entry, &Device) -> Option<String>;

fn told(reading: &Reading<String>) -> String {
    reading.present().cloned().unwrap_or_else(|| NONE.to_owned())
}

/// As the address spells them, with keys of their words.
const FIELDS: [(&str, &str, Value); 9] = [
    ("model", "col.model", |entry, _| Some(entry.model.clone())),
    ("brand", "compat.brand", |_, device| Some(told(&device.traits.brand))),
    ("rom", "compat.rom", |_, device| Some(told(&device.traits.rom))),
    ("soc", "compat.soc", |_, device| Some(told(&device.traits.soc))),
    ("gpu", "compat.gpu", |_, device| Some(told(&device.traits.gpu_family))),
    ("android", "compat.android", |_, device| Some(told(&device.traits.android))),
    ("accelerator", "compat.accelerator", |entry, _| {
        Some(entry.accelerator.present().map_or(NONE, |accelerator| accelerator.as_str()).to_owned())
    }),
    ("class", "failure.class", |entry, _| entry.failure.as_ref().map(|failure| failure.class.to_string())),
    ("blame", "failure.blame", |entry, _| entry.failure.as_ref().map(|failure| failure.blame.to_string())),
];

/// The filters of an address.
pub(super) struct Filter {
    wanted: Vec<(Value, String)>,
    failing: bool,
}

impl Filter {
    pub(super) fn of(setting: &Setting) -> Self {
        let wanted = FIELDS.iter().filter_map(|(name, _, value)| Some((*value, setting.parameter(name)?.to_owned())));
        Self { wanted: wanted.collect(), failing: setting.parameter("show") == Some("failing") }
    }

    pub(super) fn wants(&self, entry: &Entry, device: &Device) -> bool {
        let fails = matches!(entry.standing, Standing::Fallback | Standing::Invalid) || entry.standing.is_failure();
        (!self.failing || fails)
            && self.wanted.iter().all(|(value, wanted)| value(entry, device).as_ref() == Some(wanted))
    }
}

/// A field of the form of filters.
pub(super) struct Choice {
    pub name: &'static str,
    pub label: String,
    pub options: Vec<Item>,
}

pub(super) struct Item {
    pub value: String,
    pub label: String,
    pub chosen: bool,
}

/// Everything that may be chosen.
pub(super) struct Choices {
    pub by: Vec<Facet>,
    pub show: Vec<Facet>,
    pub fields: Vec<Choice>,
    /// Parameters that the form must carry on.
    pub kept: Vec<(String, String)>,
    /// This page without filters, where it has any.
    pub clear: Option<String>,
}

impl Choices {
    pub(super) fn of(data: &Data, runs: &[RunRow], setting: &Setting) -> Self {
        let words = setting.words;
        let facet = |key: &str, label: &str, value: Option<&str>, current: bool, count: String| Facet {
            label: words.t(label).into_owned(),
            count,
            href: setting.link_with(&[(key, value), ("cell", None)]),
            current,
        };
        let chosen = By::parse(setting.parameter("by"));
        let failing = setting.parameter("show") == Some("failing");
        let mut fields: Vec<Choice> =
            FIELDS.iter().filter_map(|(name, label, value)| field(data, name, label, *value, setting)).collect();
        fields.push(against(data, runs, setting));
        let names: Vec<&str> = FIELDS.iter().map(|(name, ..)| *name).chain(["against", "cell", "show"]).collect();
        let is_filter = |name: &str| names.contains(&name);
        let kept = setting.query.iter().filter(|(name, _)| !is_filter(name) || name == "show");
        let without: Vec<(&str, Option<&str>)> = names.iter().map(|name| (*name, None)).collect();
        Self {
            by: By::ALL
                .into_iter()
                .map(|by| facet("by", by.label(), Some(by.as_str()), by == chosen, String::new()))
                .collect(),
            show: vec![
                facet("show", "compat.all", None, !failing, String::new()),
                facet("show", "compat.failing", Some("failing"), failing, String::new()),
            ],
            fields,
            kept: kept.cloned().collect(),
            clear: names
                .iter()
                .any(|name| *name != "cell" && setting.parameter(name).is_some())
                .then(|| setting.link_with(&without)),
        }
    }
}

/// `None` where there is nothing to choose.
fn field(data: &Data, name: &'static str, label: &str, value: Value, setting: &Setting) -> Option<Choice> {
    let words = setting.words;
    let chosen = setting.parameter(name);
    let mut values: BTreeMap<String, usize> = BTreeMap::new();
    let devices: BTreeMap<_, _> = data.whole.devices.iter().map(|device| (device.id, device)).collect();
    for entry in &data.whole.entries {
        let Some(device) = devices.get(&entry.device) else { continue };
        if let Some(value) = value(entry, device) {
            *values.entry(value).or_default() += 1;
        }
    }
    if let Some(chosen) = chosen {
        values.entry(chosen.to_owned()).or_default();
    }
    if values.len() < 2 && chosen.is_none() {
        return None;
    }
    let all = Item { value: String::new(), label: words.t("compat.any").into_owned(), chosen: chosen.is_none() };
    let items = values.into_iter().map(|(value, count)| Item {
        label: format!("{} ({count})", shown(name, &value, words)),
        chosen: chosen == Some(value.as_str()),
        value,
    });
    Some(Choice { name, label: words.t(label).into_owned(), options: [all].into_iter().chain(items).collect() })
}

/// A value in the language's words.
fn shown(name: &str, value: &str, words: Words) -> String {
    match (name, value) {
        ("accelerator", NONE) => words.t("compat.unreadable").into_owned(),
        (_, NONE) => words.t("compat.not_told").into_owned(),
        ("class", _) => value.parse().map_or_else(|_| value.to_owned(), |class| words.class(class)),
        ("blame", _) => value.parse().map_or_else(|_| value.to_owned(), |blame| words.blame(blame)),
        _ => value.to_owned(),
    }
}

fn against(data: &Data, runs: &[RunRow], setting: &Setting) -> Choice {
    let words = setting.words;
    let chosen = setting.parameter("against");
    let none = Item { value: String::new(), label: words.t("compat.no_run").into_owned(), chosen: chosen.is_none() };
    let others = runs.iter().filter(|run| run.id != data.run.id).map(|run| Item {
        value: run.number.to_string(),
        label: format!("{} · {}", run_number(run.number), run.suite),
        chosen: chosen == Some(run.number.to_string().as_str()),
    });
    Choice {
        name: "against",
        label: words.t("compat.against").into_owned(),
        options: [none].into_iter().chain(others).collect(),
    }
}
