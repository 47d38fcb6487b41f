//! What of the fleet a run says nothing about.

use std::collections::BTreeMap;

use seatrial_core::ids::DeviceId;
use seatrial_core::reading::Reading;
use seatrial_core::store::DeviceRow;
use serde::Serialize;

use super::{Compat, Entry, Standing, Traits};

/// One trait of the fleet's devices.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cover {
    /// Key of its word.
    #[serde(rename = "trait")]
    pub label: &'static str,
    /// Values of which some device ran something.
    pub covered: Vec<String>,
    pub uncovered: Vec<Uncovered>,
    /// Devices of which the value is not known.
    pub unknown: usize,
}

/// A value that no device of the run stands for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Uncovered {
    pub value: String,
    /// Devices of the fleet that have it.
    pub devices: Vec<String>,
    /// Whether the run has combinations of them, none of which ran.
    pub tried: bool,
}

type Of = fn(&Traits) -> &Reading<String>;

/// Held against the whole fleet. A device counts once something of the model ran to its end on it, well or not: a job that
/// the lab or a misfit kept from running covers nothing.
pub(crate) fn cover(compat: &Compat, fleet: &[DeviceRow]) -> Vec<Cover> {
    const TRAITS: [(&str, Of); 4] = [
        ("compat.gpu", |traits| &traits.gpu_family),
        ("compat.rom", |traits| &traits.rom),
        ("compat.android", |traits| &traits.android),
        ("compat.soc", |traits| &traits.soc),
    ];
    let fleet: Vec<(&DeviceRow, Traits)> = fleet.iter().map(|row| (row, Traits::of(row))).collect();
    TRAITS.into_iter().map(|(label, of)| one(label, of, compat, &fleet)).collect()
}

fn one(label: &'static str, of: Of, compat: &Compat, fleet: &[(&DeviceRow, Traits)]) -> Cover {
    let mut values: BTreeMap<&str, Vec<&DeviceRow>> = BTreeMap::new();
    let mut unknown = 0;
    for (row, traits) in fleet {
        match of(traits) {
            Reading::Present(value) => values.entry(value).or_default().push(row),
            Reading::Absent(_) => unknown += 1,
        }
    }
    let (covered, uncovered): (Vec<_>, Vec<_>) = values.into_iter().partition(|(_, rows)| {
        rows.iter().any(|row| entries(compat, row.id).any(|entry| says_something(entry.standing)))
    });
    Cover {
        label,
        covered: covered.into_iter().map(|(value, _)| value.to_owned()).collect(),
        uncovered: uncovered
            .into_iter()
            .map(|(value, rows)| Uncovered {
                value: value.to_owned(),
                tried: rows.iter().any(|row| entries(compat, row.id).next().is_some()),
                devices: rows.iter().map(|row| row.name.clone()).collect(),
            })
            .collect(),
        unknown,
    }
}

fn entries(compat: &Compat, device: DeviceId) -> impl Iterator<Item = &Entry> {
    compat.entries.iter().filter(move |entry| entry.device == device)
}

const fn says_something(standing: Standing) -> bool {
    match standing {
        Standing::Ok
        | Standing::Invalid
        | Standing::Fallback
        | Standing::CannotLoad
        | Standing::NotBelieved
        | Standing::WrongOutput
        | Standing::Hung
        | Standing::Died => true,
        Standing::Misfit | Standing::Cancelled | Standing::Open | Standing::Misspecified | Standing::LabOrRom => false,
    }
}
