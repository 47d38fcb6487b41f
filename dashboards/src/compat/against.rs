//! A run beside another: which pairs of model and device stand otherwise.

use std::collections::BTreeMap;

use seatrial_core::ids::DeviceId;
use serde::Serialize;

use super::{Cell, Compat, Standing};

/// How a pair changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Worse,
    Better,
    /// Stands otherwise, and neither is a failure: still open, cancelled, or not tried.
    Other,
    /// Not in the other run.
    New,
    /// Only in the other run.
    Gone,
}

impl Change {
    /// Glyph, class of the word and its key.
    pub(crate) const fn looks(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Worse => ("confirmed", "s-confirmed", "compat.worse"),
            Self::Better => ("improved", "s-improved", "compat.better"),
            Self::Other => ("suspect", "s-suspect", "compat.other"),
            Self::New => ("ready", "s-ok", "compat.new"),
            Self::Gone => ("missing", "s-missing", "compat.gone"),
        }
    }
}

/// One pair that stands otherwise.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Difference {
    pub model: String,
    pub variant: String,
    pub device: DeviceId,
    pub device_name: String,
    pub change: Change,
    pub was: Option<Standing>,
    pub is: Option<Standing>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Against {
    /// Number of the other run.
    pub run: i64,
    /// In the order of the matrix; what is gone comes last.
    pub differences: Vec<Difference>,
}

impl Against {
    /// `now` and `then` carry the same filters.
    pub(crate) fn of(run: i64, now: &Compat, then: &Compat) -> Self {
        let standings = |compat: &Compat| -> BTreeMap<(String, String, DeviceId), Standing> {
            let cells = compat.cells();
            let each = cells.iter().filter_map(|((model, variant, device), entries)| {
                Some((((*model).to_owned(), (*variant).to_owned(), *device), Cell::of(entries)?.standing))
            });
            each.collect()
        };
        let (is, was) = (standings(now), standings(then));
        let name = |id: DeviceId| {
            let devices = now.devices.iter().chain(&then.devices);
            devices.into_iter().find(|device| device.id == id).map_or_else(|| id.to_string(), |it| it.name.clone())
        };
        let mut differences = Vec::new();
        for ((model, variant, device), now) in &is {
            let before = was.get(&(model.clone(), variant.clone(), *device)).copied();
            let Some(change) = change(before, *now) else { continue };
            let (model, variant, device_name) = (model.clone(), variant.clone(), name(*device));
            differences.push(Difference {
                model,
                variant,
                device: *device,
                device_name,
                change,
                was: before,
                is: Some(*now),
            });
        }
        for ((model, variant, device), before) in was.iter().filter(|(key, _)| !is.contains_key(key)) {
            differences.push(Difference {
                model: model.clone(),
                variant: variant.clone(),
                device: *device,
                device_name: name(*device),
                change: Change::Gone,
                was: Some(*before),
                is: None,
            });
        }
        Self { run, differences }
    }

    pub(crate) fn of_cell(&self, model: &str, variant: &str, device: DeviceId) -> Option<&Difference> {
        self.differences.iter().find(|one| one.model == model && one.variant == variant && one.device == device)
    }

    pub(crate) fn count(&self, change: Change) -> usize {
        self.differences.iter().filter(|one| one.change == change).count()
    }
}

/// `None` when a pair stands as it did.
fn change(was: Option<Standing>, is: Standing) -> Option<Change> {
    let Some(was) = was else { return Some(Change::New) };
    if was == is {
        return None;
    }
    // What is open, was cancelled or was not tried says nothing about the model: then nothing got better or worse.
    let says = |standing: Standing| !matches!(standing, Standing::Misfit | Standing::Cancelled | Standing::Open);
    Some(match (says(was), says(is)) {
        (true, true) if is > was => Change::Worse,
        (true, true) => Change::Better,
        (false, _) if is.is_failure() => Change::Worse,
        (_, false) | (false, true) => Change::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_both_times_got_better_and_a_failure_after_nothing_is_worse() {
        for (was, is, expected) in [
            (Some(Standing::Ok), Standing::Ok, None),
            (Some(Standing::Ok), Standing::Died, Some(Change::Worse)),
            (Some(Standing::Died), Standing::Ok, Some(Change::Better)),
            (Some(Standing::Died), Standing::Misfit, Some(Change::Other)),
            (Some(Standing::Died), Standing::Open, Some(Change::Other)),
            (Some(Standing::Misfit), Standing::Ok, Some(Change::Other)),
            (Some(Standing::Misfit), Standing::Died, Some(Change::Worse)),
            (None, Standing::Ok, Some(Change::New)),
        ] {
            assert_eq!(change(was, is), expected, "{was:?} → {is:?}");
        }
    }
}
