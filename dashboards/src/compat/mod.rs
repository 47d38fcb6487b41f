//! What ran where: models × devices of a run, each cell the worst of its backends, with what is behind it. Data alone;
//! the page and the files for others are made from it.

mod against;
mod cover;
mod redact;
mod traits;

use std::collections::BTreeMap;

use seatrial_core::backend::{Accelerator, Backend};
use seatrial_core::failure::Failure;
use seatrial_core::ids::{DeviceId, JobId};
use seatrial_core::job::JobState;
use seatrial_core::outcome::{Family, Outcome};
use seatrial_core::reading::Reading;
use seatrial_core::reason::Reason;
use seatrial_core::stage::Stage;
use seatrial_core::store::{DeviceRow, JobRow, MisfitRow};
use serde::Serialize;

pub(crate) use against::{Against, Change};
pub(crate) use cover::{Cover, Uncovered, cover};
pub(crate) use redact::redact;
pub(crate) use traits::{By, Traits};

/// How a combination stands, from good to bad. What was never tried is not among what ran, and never a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Cannot run, with its reason.
    Misfit,
    Ok,
    Cancelled,
    /// Queued or running.
    Open,
    /// Ran, and something disturbed it.
    Invalid,
    Fallback,
    Misspecified,
    LabOrRom,
    CannotLoad,
    NotBelieved,
    WrongOutput,
    Hung,
    Died,
}

impl Standing {
    pub(crate) const fn of(job: &JobRow) -> Self {
        match job.state {
            JobState::Queued | JobState::Leased { .. } => Self::Open,
            JobState::Quarantined => Self::LabOrRom,
            JobState::Done { outcome } => match outcome.family() {
                Family::Ok if job.invalid.is_empty() => Self::Ok,
                Family::Ok => Self::Invalid,
                Family::Fallback => Self::Fallback,
                Family::Died => Self::Died,
                Family::Hung => Self::Hung,
                Family::WrongOutput => Self::WrongOutput,
                Family::CannotLoad => Self::CannotLoad,
                Family::NotBelieved => Self::NotBelieved,
                Family::LabOrRom => Self::LabOrRom,
                Family::Misspecified => Self::Misspecified,
                Family::Cancelled => Self::Cancelled,
            },
        }
    }

    /// As exports spell it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Misfit => "misfit",
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Open => "open",
            Self::Invalid => "invalid",
            Self::Fallback => "fallback",
            Self::Misspecified => "misspecified",
            Self::LabOrRom => "lab_or_rom",
            Self::CannotLoad => "cannot_load",
            Self::NotBelieved => "not_believed",
            Self::WrongOutput => "wrong_output",
            Self::Hung => "hung",
            Self::Died => "died",
        }
    }

    /// Whether it has ended without what was asked for, by whosever doing.
    pub(crate) const fn is_failure(self) -> bool {
        match self {
            Self::Misspecified
            | Self::LabOrRom
            | Self::CannotLoad
            | Self::NotBelieved
            | Self::WrongOutput
            | Self::Hung
            | Self::Died => true,
            Self::Misfit | Self::Ok | Self::Cancelled | Self::Open | Self::Invalid | Self::Fallback => false,
        }
    }

    /// Glyph, class of the cell, class of the word, and key of the word in the catalogue.
    pub(crate) const fn looks(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Misfit => ("misfit", "hm", "s-misfit", "state.misfit"),
            Self::Ok => ("ok", "", "s-ok", "outcome.ok"),
            Self::Cancelled => ("misfit", "hm", "s-misfit", "outcome.cancelled"),
            Self::Open => ("queued", "que", "s-ok", "compat.open"),
            Self::Invalid => ("fallback", "hs", "s-suspect", "compat.invalid"),
            Self::Fallback => ("fallback", "hs", "s-fallback", "outcome.fallback"),
            Self::Misspecified => ("cannot", "hx", "s-failed", "outcome.spec_error"),
            Self::LabOrRom => ("lab", "hx", "s-failed", "outcome.lab_or_rom"),
            Self::CannotLoad => ("cannot", "hx", "s-failed", "outcome.cannot_load"),
            Self::NotBelieved => ("numeric", "hx", "s-failed", "outcome.not_believed"),
            Self::WrongOutput => ("numeric", "hx", "s-failed", "outcome.wrong_output"),
            Self::Hung => ("hang", "hx", "s-failed", "outcome.hung"),
            Self::Died => ("failed", "hx", "s-failed", "outcome.died"),
        }
    }
}

/// One combination of the run: a job, or a misfit.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    pub model: String,
    /// Absent of a misfit of a model that has no job in the run.
    pub version: Option<u32>,
    pub variant: String,
    pub dataset: Option<String>,
    pub profile: String,
    pub device: DeviceId,
    /// As it is stored.
    pub backend: String,
    /// What it asks for; why the text cannot be read, where it cannot.
    pub accelerator: Reading<Accelerator>,
    pub standing: Standing,
    pub outcome: Option<Outcome>,
    pub stage: Option<Stage>,
    pub failure: Option<Failure>,
    pub message: Option<String>,
    pub invalid: Vec<Reason>,
    /// Why it cannot run.
    pub misfit: Option<Reason>,
    /// Attempts that the job took.
    pub attempts: u32,
    pub job: Option<JobId>,
}

impl Entry {
    fn of_job(job: &JobRow) -> Self {
        Self {
            model: job.model.clone(),
            version: Some(job.version),
            variant: job.variant.clone(),
            dataset: job.dataset.clone(),
            profile: job.profile.clone(),
            device: job.device,
            accelerator: accelerator(&job.backend),
            backend: job.backend.clone(),
            standing: Standing::of(job),
            outcome: job.outcome,
            stage: job.stage,
            failure: job.failure.clone(),
            message: job.message.clone(),
            invalid: job.invalid.clone(),
            misfit: None,
            attempts: job.attempt,
            job: Some(job.id),
        }
    }

    fn of_misfit(misfit: &MisfitRow, device: DeviceId) -> Self {
        Self {
            model: misfit.model.clone(),
            version: None,
            variant: misfit.variant.clone(),
            dataset: misfit.dataset.clone(),
            profile: misfit.profile.clone(),
            device,
            accelerator: accelerator(&misfit.backend),
            backend: misfit.backend.clone(),
            standing: Standing::Misfit,
            outcome: None,
            stage: None,
            failure: None,
            message: None,
            invalid: Vec::new(),
            misfit: Some(misfit.reason.clone()),
            attempts: 0,
            job: None,
        }
    }
}

fn accelerator(backend: &str) -> Reading<Accelerator> {
    match backend.parse::<Backend>() {
        Ok(backend) => Reading::Present(backend.accelerator),
        Err(error) => Reading::absent(error.to_string()),
    }
}

/// A device of the run with what it is grouped and filtered by.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Device {
    pub id: DeviceId,
    pub name: String,
    #[serde(flatten)]
    pub traits: Traits,
}

/// A row's key: a model and its variant. Versions are attributes: two runs are compared across them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Row {
    pub model: String,
    pub variant: String,
}

/// A run by model and device.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compat {
    /// In the order of the columns.
    pub devices: Vec<Device>,
    pub rows: Vec<Row>,
    pub entries: Vec<Entry>,
}

/// The combinations of one model and one device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub standing: Standing,
    pub ok: usize,
    pub entries: &'a [&'a Entry],
}

impl<'a> Cell<'a> {
    /// The worst of what ran; a misfit only where nothing did.
    pub(crate) fn of(entries: &'a [&'a Entry]) -> Option<Self> {
        let worst = entries.iter().map(|entry| entry.standing).max()?;
        let ok = entries.iter().filter(|entry| entry.standing == Standing::Ok).count();
        Some(Self { standing: worst, ok, entries })
    }

    /// The combination that decided.
    pub(crate) fn decided(&self) -> Option<&'a Entry> {
        self.entries.iter().copied().find(|entry| entry.standing == self.standing)
    }
}

/// Entries by row and device.
pub(crate) type Cells<'a> = BTreeMap<(&'a str, &'a str, DeviceId), Vec<&'a Entry>>;

impl Compat {
    /// Of all jobs and misfits of a run. Devices stand in groups, and within them in the order in which they come.
    pub(crate) fn of(jobs: &[JobRow], misfits: &[MisfitRow], devices: &[DeviceRow], by: By) -> Self {
        let placed = misfits.iter().filter_map(|misfit| Some(Entry::of_misfit(misfit, misfit.device?)));
        let mut entries: Vec<Entry> = jobs.iter().map(Entry::of_job).chain(placed).collect();
        let versions: BTreeMap<String, u32> = jobs.iter().map(|job| (job.model.clone(), job.version)).collect();
        for entry in &mut entries {
            entry.version = entry.version.or_else(|| versions.get(&entry.model).copied());
        }
        let mut used: Vec<Device> = Vec::new();
        let known = devices.iter().filter(|row| entries.iter().any(|entry| entry.device == row.id));
        used.extend(known.map(|row| Device { id: row.id, name: row.name.clone(), traits: Traits::of(row) }));
        for entry in &entries {
            if !used.iter().any(|device| device.id == entry.device) {
                let named = jobs.iter().find(|job| job.device == entry.device).map(|job| job.device_name.clone());
                let name = named.unwrap_or_else(|| entry.device.to_string());
                used.push(Device { id: entry.device, name, traits: Traits::unknown() });
            }
        }
        used.sort_by_cached_key(|device| by.key(&device.traits));
        Self { devices: used, rows: Vec::new(), entries }.with_rows()
    }

    fn with_rows(mut self) -> Self {
        let rows = self.entries.iter().map(|entry| Row { model: entry.model.clone(), variant: entry.variant.clone() });
        self.rows = rows.collect();
        self.rows.sort();
        self.rows.dedup();
        self
    }

    /// Only what is wanted; devices and models without any of it go.
    pub(crate) fn filtered(mut self, wanted: impl Fn(&Entry, &Device) -> bool) -> Self {
        let devices: BTreeMap<DeviceId, &Device> = self.devices.iter().map(|device| (device.id, device)).collect();
        self.entries.retain(|entry| devices.get(&entry.device).is_some_and(|device| wanted(entry, device)));
        let entries = &self.entries;
        self.devices.retain(|device| entries.iter().any(|entry| entry.device == device.id));
        self.with_rows()
    }

    pub(crate) fn cells(&self) -> Cells<'_> {
        let mut cells = Cells::new();
        for entry in &self.entries {
            cells.entry((&entry.model, &entry.variant, entry.device)).or_default().push(entry);
        }
        cells
    }

    /// Pairs of model and device by how they stand.
    pub(crate) fn counts(&self) -> BTreeMap<Standing, usize> {
        let mut counts = BTreeMap::new();
        for entries in self.cells().values() {
            if let Some(cell) = Cell::of(entries) {
                *counts.entry(cell.standing).or_default() += 1;
            }
        }
        counts
    }
}
