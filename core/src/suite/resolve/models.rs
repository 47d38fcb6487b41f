//! Models and datasets as a suite names them, and its own bindings.

use super::report_duplicates;
use crate::dataset::package::is_plain_name;
use crate::dataset::{Binding, MAX_LABEL_MAP};
use crate::suite::document::Reporter;
use crate::suite::file::{DatasetEntry, DatasetTable, ModelEntry, ModelTable, VersionKey};
use crate::suite::{DatasetPick, ModelPick, VersionPick};

pub(super) fn resolve_model(index: usize, entry: ModelEntry, reporter: &mut Reporter<'_>) -> Option<ModelPick> {
    let path = format!("models[{index}]");
    let place = reporter.place(&path);
    let ModelTable { name, version, variants, binding } = match entry {
        ModelEntry::Name(reference) => {
            let (name, version) = split_reference(&path, &reference, reporter)?;
            let version =
                version.map(|version| version.parse().map_or_else(|_| VersionKey::Alias(version), VersionKey::Number));
            ModelTable { name, version, variants: None, binding: None }
        }
        ModelEntry::Table(table) => {
            judge_name(&format!("{path}.name"), &table.name, reporter)?;
            *table
        }
    };
    if let Some(variants) = &variants {
        report_duplicates(&format!("{path}.variants"), variants, String::clone, None, reporter);
    }
    if let Some(binding) = &binding {
        judge_binding(&format!("{path}.binding"), binding, reporter);
    }
    let version = match version {
        None => VersionPick::Alias("latest".to_owned()),
        Some(VersionKey::Number(number)) => VersionPick::Number(number),
        Some(VersionKey::Alias(alias)) => VersionPick::Alias(alias),
    };
    Some(ModelPick { name, version, variants, binding, place })
}

pub(super) fn resolve_dataset(index: usize, entry: DatasetEntry, reporter: &mut Reporter<'_>) -> Option<DatasetPick> {
    let path = format!("datasets[{index}]");
    let place = reporter.place(&path);
    match entry {
        DatasetEntry::Table(DatasetTable { name, version }) => {
            judge_name(&format!("{path}.name"), &name, reporter)?;
            Some(DatasetPick { name, version, place })
        }
        DatasetEntry::Name(reference) => {
            let (name, version) = split_reference(&path, &reference, reporter)?;
            let version = match version.map(|version| version.parse::<u32>()) {
                None => None,
                Some(Ok(number)) if number > 0 => Some(number),
                Some(Ok(_) | Err(_)) => {
                    let message = format!("`{path}`: {reference:?} names no version: expected a number behind '@'");
                    reporter.at(&path, message, None);
                    return None;
                }
            };
            Some(DatasetPick { name, version, place })
        }
    }
}

/// `name@version` in its parts.
fn split_reference(path: &str, reference: &str, reporter: &mut Reporter<'_>) -> Option<(String, Option<String>)> {
    let (name, version) = match reference.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (reference, None),
    };
    judge_name(path, name, reporter)?;
    if let Some(version) = version {
        judge_name(path, version, reporter)?;
    }
    Some((name.to_owned(), version.map(str::to_owned)))
}

pub(super) fn judge_name(path: &str, name: &str, reporter: &mut Reporter<'_>) -> Option<()> {
    if is_plain_name(name) {
        return Some(());
    }
    let shown: String = name.chars().take(80).collect();
    let message = format!("`{path}`: {shown:?} is not a name: expected 1 to 100 letters, digits, '.', '_' and '-'");
    reporter.at(path, message, None);
    None
}

fn judge_binding(path: &str, binding: &Binding, reporter: &mut Reporter<'_>) {
    let entries = binding.label_map.as_ref().map_or(0, Vec::len);
    if entries > MAX_LABEL_MAP {
        let message = format!("`{path}.label_map`: it has {entries} entries, and at most {MAX_LABEL_MAP} are allowed");
        reporter.at(&format!("{path}.label_map"), message, None);
    }
    for (key, why) in binding.faults() {
        reporter.at(&format!("{path}.{key}"), format!("`{path}.{key}`: {why}"), None);
    }
    for (axis, &size) in &binding.axes {
        if size == 0 {
            reporter.at(
                &format!("{path}.axes.{axis}"),
                format!("`{path}.axes.{axis}`: an axis has at least size 1"),
                None,
            );
        }
    }
    for (index, input) in binding.inputs.iter().enumerate() {
        let path = format!("{path}.inputs[{index}]");
        let mut refuse = |key: &str, message: &str| {
            reporter.at(&format!("{path}.{key}"), format!("`{path}.{key}`: {message}"), None);
        };
        if input.std.iter().flatten().any(|&std| std == 0.0) {
            refuse("std", "dividing by 0 has no result");
        }
        if input.resize.is_some_and(|resize| resize.height == 0 || resize.width == 0) {
            refuse("resize", "expected a size of at least 1 × 1");
        }
        if input.crop.is_some_and(|crop| crop.contains(&0)) {
            refuse("crop", "expected a size of at least 1 × 1");
        }
        if input.resize.is_some_and(|resize| resize.keep_aspect) && input.crop.is_none() {
            refuse("resize", "`keep_aspect` leaves the width open, so `crop` must follow");
        }
        if input.shape.iter().flatten().any(|&axis| axis == 0) {
            refuse("shape", "an axis has at least size 1");
        }
        if input.quantization.is_some_and(|quantization| quantization.scale == 0.0) {
            refuse("quantization", "a scale of 0 has no result");
        }
    }
}
