//! From the file as it is written to a suite: defaults are filled in, lists multiplied, and everything is judged that
//! a schema cannot say.

mod backends;
mod gate;
mod models;
mod profiles;

use std::collections::BTreeMap;
use std::time::Duration;

use super::document::Reporter;
use super::file::SuiteFile;
use super::{DEFAULT_MAX_WAIT, DatasetPick, MAX_COMBINATIONS, ModelPick, Suite, VersionPick};
use crate::profile::ProfileKind;
use crate::selector::Selector;
use backends::resolve_backends;
use gate::resolve_gate;
use models::{resolve_dataset, resolve_model};
use profiles::{resolve_limits, resolve_profiles};

/// `None` when a part could not be made; then the reporter says why.
pub(super) fn resolve(written: SuiteFile, file: &str, reporter: &mut Reporter<'_>) -> Option<Suite> {
    let SuiteFile {
        name,
        description,
        devices,
        seed,
        defaults,
        models,
        datasets,
        backends,
        profiles,
        max_wait_minutes,
        limits,
        gate,
    } = written;
    if name.chars().any(char::is_control) || name.trim() != name {
        reporter.at("name", "`name`: expected text on one line, without space at its ends", None);
    }
    let devices = resolve_selector(devices.as_deref().unwrap_or_default(), reporter);
    let model_picks: Vec<Option<ModelPick>> =
        models.into_iter().enumerate().map(|(index, entry)| resolve_model(index, entry, reporter)).collect();
    let dataset_picks: Vec<Option<DatasetPick>> =
        datasets.into_iter().enumerate().map(|(index, entry)| resolve_dataset(index, entry, reporter)).collect();
    let limits = resolve_limits(&limits);
    let backends = resolve_backends(&defaults.backend, backends, reporter);
    let profiles = resolve_profiles(&defaults.profile, profiles, &limits, reporter);
    let suite = Suite {
        name,
        description,
        devices: devices?,
        backends: backends?,
        profiles,
        max_wait: max_wait_minutes.map_or(DEFAULT_MAX_WAIT, |minutes| Duration::from_mins(minutes.into())),
        limits,
        gate: None,
        seed: seed.unwrap_or(1),
        model_picks: model_picks.into_iter().collect::<Option<_>>()?,
        dataset_picks: dataset_picks.into_iter().collect::<Option<_>>()?,
        file: file.to_owned(),
        devices_place: reporter.place("devices"),
    };
    judge_whole(&suite, reporter);
    let gate = gate.map(|gate| resolve_gate(gate, &suite, reporter));
    Some(Suite { gate, ..suite })
}

fn judge_whole(suite: &Suite, reporter: &mut Reporter<'_>) {
    let models: Vec<(&str, &VersionPick)> =
        suite.model_picks.iter().map(|pick| (pick.name.as_str(), &pick.version)).collect();
    let hint = "name a model once and list its variants there";
    report_duplicates("models", &models, |(name, _)| (*name).to_owned(), Some(hint), reporter);
    let datasets: Vec<(&str, Option<u32>)> =
        suite.dataset_picks.iter().map(|pick| (pick.name.as_str(), pick.version)).collect();
    report_duplicates("datasets", &datasets, |(name, _)| (*name).to_owned(), None, reporter);
    let factors =
        [suite.model_picks.len(), suite.dataset_picks.len().max(1), suite.backends.len(), suite.profiles.len()];
    let combinations = factors.into_iter().fold(1, usize::saturating_mul);
    if combinations > MAX_COMBINATIONS {
        let message =
            format!("the suite asks for {combinations} combinations, and at most {MAX_COMBINATIONS} are allowed");
        reporter.at("", message, Some("split the suite".to_owned()));
    }
    if suite.dataset_picks.is_empty() && suite.profiles.iter().any(|profile| profile.kind == ProfileKind::AccuracyOnly)
    {
        let hint = "add `datasets`, or choose another profile".to_owned();
        reporter.at("profiles", "`profiles`: \"accuracy_only\" needs a dataset, and the suite names none", Some(hint));
    }
}

/// Reports every item of a list that stands in it already.
fn report_duplicates<T: Ord>(
    list: &str,
    items: &[T],
    shown: impl Fn(&T) -> String,
    hint: Option<&str>,
    reporter: &mut Reporter<'_>,
) {
    let mut first: BTreeMap<&T, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(earlier) = first.get(item) {
            let line = reporter.place(&format!("{list}[{earlier}]")).line;
            let message = format!("`{list}[{index}]`: \"{}\" is a duplicate of line {line}", shown(item));
            reporter.at(&format!("{list}[{index}]"), message, hint.map(str::to_owned));
        } else {
            first.insert(item, index);
        }
    }
}

fn resolve_selector(text: &str, reporter: &mut Reporter<'_>) -> Option<Selector> {
    match Selector::parse(text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            reporter.at("devices", format!("`devices`: {error}"), error.suggestion());
            None
        }
    }
}
