//! The suite file: models × datasets × backends × device selector × measurement profiles × gate.
//!
//! [`parse`] is the only door: whatever it lets through is right in itself. Whether the models, variants and devices
//! that a suite names exist is for [`crate::expand`] to say, which knows them. `docs/suite.md` describes the file.

pub(crate) mod document;
mod file;
pub(crate) mod problem;
mod resolve;
mod schema;

pub use problem::{Problem, render};

use std::time::Duration;

use crate::backend::Backend;
use crate::dataset::Binding;
use crate::gate::Gate;
use crate::job::Limits;
use crate::profile::MeasurementProfile;
use crate::selector::Selector;
use problem::Place;

/// A longer suite file is refused.
pub const MAX_SUITE_BYTES: usize = 256 << 10;
/// Models × datasets × backends × profiles that a suite may ask for, before devices; variants count once they are known.
pub const MAX_COMBINATIONS: usize = 10_000;

/// How long a job waits for a device that takes no work, unless its suite says otherwise.
pub const DEFAULT_MAX_WAIT: Duration = Duration::from_hours(2);

/// A suite without faults in itself.
#[derive(Debug, Clone)]
pub struct Suite {
    pub name: String,
    pub description: Option<String>,
    pub devices: Selector,
    /// Every combination of the file's lists, without duplicates.
    pub backends: Vec<Backend>,
    /// At most one of each kind.
    pub profiles: Vec<MeasurementProfile>,
    /// How long a job waits for a device that takes no work: one that is not connected, quarantined, in maintenance.
    pub max_wait: Duration,
    pub limits: Limits,
    pub gate: Option<Gate>,
    /// For generated inputs.
    pub seed: u64,
    pub(crate) model_picks: Vec<ModelPick>,
    pub(crate) dataset_picks: Vec<DatasetPick>,
    /// Where the text came from, for the problems that only expansion can find.
    pub(crate) file: String,
    pub(crate) devices_place: Place,
}

/// A model as a suite names it.
#[derive(Debug, Clone)]
pub(crate) struct ModelPick {
    pub name: String,
    pub version: VersionPick,
    /// All variants when absent.
    pub variants: Option<Vec<String>>,
    pub binding: Option<Binding>,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VersionPick {
    Number(u32),
    Alias(String),
}

/// A dataset as a suite names it.
#[derive(Debug, Clone)]
pub(crate) struct DatasetPick {
    pub name: String,
    /// The newest when absent.
    pub version: Option<u32>,
    pub place: Place,
}

/// Reads a suite. `file` is the name for messages. On failure every problem is returned, in the order of the file.
pub fn parse(text: &str, file: &str) -> Result<Suite, Vec<Problem>> {
    let (written, mut reporter) = document::read::<file::SuiteFile>(text, file, MAX_SUITE_BYTES)?;
    let suite = resolve::resolve(written, file, &mut reporter);
    match suite {
        Some(suite) => reporter.finish(suite),
        None => Err(reporter.into_problems()),
    }
}

/// The JSON schema of a suite file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    document::schema_of::<file::SuiteFile>()
}

impl Suite {
    /// Names of the models, each once: what the catalog must hold for [`crate::expand::expand`].
    #[must_use]
    pub fn models(&self) -> Vec<&str> {
        distinct(self.model_picks.iter().map(|pick| pick.name.as_str()))
    }

    /// Names of the datasets, each once.
    #[must_use]
    pub fn datasets(&self) -> Vec<&str> {
        distinct(self.dataset_picks.iter().map(|pick| pick.name.as_str()))
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
