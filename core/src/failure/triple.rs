//! What a quarantine of device, backend and model is about: versions of all that could have caused the failure. When one
//! of them changes the quarantine no longer matches, and ends by itself.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::backend::Backend;
use crate::device::Profile;
use crate::ids::{DeviceId, QuarantineId, VariantId};
use crate::reading::Reading;
use crate::reason::{Code, Reason};
use crate::runtimes::RuntimePackage;
use crate::store::QuarantineRow;

/// The versions beside device, variant and backend, in the words in which they are stored and compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TripleVersions {
    /// See [`runtime_of`].
    pub runtime: String,
    /// See [`build_of`].
    pub build: String,
}

impl TripleVersions {
    /// Of a job on a device as it is now.
    #[must_use]
    pub fn of(backend: &Backend, package: Option<&RuntimePackage>, profile: &Profile) -> Self {
        Self { runtime: runtime_of(backend, package, profile), build: build_of(profile) }
    }
}

/// The runtime that a job gets: the package by version and digest, else what the agent has built in.
#[must_use]
pub fn runtime_of(backend: &Backend, package: Option<&RuntimePackage>, profile: &Profile) -> String {
    if let Some(package) = package {
        let digest = package.digest().map(|digest| digest.short()).unwrap_or_default();
        return format!("{} {} {digest}", package.runtime, package.version).trim_end().to_owned();
    }
    let offers = profile.runtimes.iter().filter(|offer| offer.name == backend.runtime);
    let versions: Vec<&str> = offers.map(|offer| offer.version.as_str()).collect();
    format!("{} {}", backend.runtime, versions.join(", ")).trim_end().to_owned()
}

/// The software of the device itself: the build of its ROM (fingerprint, else system and kernel) and the GPU's driver.
#[must_use]
pub fn build_of(profile: &Profile) -> String {
    let findings = profile.findings.as_ref();
    let fingerprint = findings.and_then(|findings| findings.fingerprint.present()).map(|found| found.value.as_str());
    let system = match fingerprint {
        Some(fingerprint) => fingerprint.to_owned(),
        None => format!("{} {}", told(&profile.os), told(&profile.kernel)),
    };
    format!("{system}; gpu driver {}", told(&profile.gpu_driver))
}

fn told(reading: &Reading<String>) -> &str {
    reading.present().map_or("unknown", String::as_str)
}

/// How a quarantine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TripleStanding {
    InForce,
    /// The device has other software than the one that failed.
    OtherBuild,
    Lifted,
}

impl TripleStanding {
    /// Of a quarantine and the device as it is now, as far as it is known.
    #[must_use]
    pub fn of(row: &QuarantineRow, profile: Option<&Profile>) -> Self {
        if row.lifted_at.is_some() {
            Self::Lifted
        } else if profile.is_some_and(|profile| build_of(profile) != row.versions.build) {
            Self::OtherBuild
        } else {
            Self::InForce
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::OtherBuild => "other_build",
            Self::Lifted => "lifted",
        }
    }
}

/// Why a job of what is quarantined does not run. `failure` is that of the attempt that decided.
#[must_use]
pub fn quarantined(failure: Option<&Failure>, id: QuarantineId) -> Reason {
    let class = failure.map_or("unknown", |failure| failure.class.as_str());
    Reason::new(Code::TripleQuarantined, &[("class", &class), ("id", &id.short())])
}

/// Quarantines by what they are about, for an expansion that asks for each of its cells.
#[derive(Debug, Default)]
pub struct Quarantines<'q> {
    by_triple: HashMap<(DeviceId, VariantId), Vec<&'q QuarantineRow>>,
}

impl<'q> Quarantines<'q> {
    #[must_use]
    pub fn of(rows: &'q [QuarantineRow]) -> Self {
        let mut by_triple: HashMap<_, Vec<_>> = HashMap::new();
        for row in rows.iter().filter(|row| row.lifted_at.is_none()) {
            by_triple.entry((row.device, row.variant_id)).or_default().push(row);
        }
        Self { by_triple }
    }

    /// Why a job is not made; `None` when nothing is against it. `versions` are those that the job would have.
    pub fn reason(
        &self,
        triple: (DeviceId, VariantId),
        backend: &Backend,
        versions: impl FnOnce() -> TripleVersions,
    ) -> Option<Reason> {
        let rows = self.by_triple.get(&triple)?;
        let (backend, versions) = (backend.to_string(), versions());
        let row = rows.iter().find(|row| row.backend == backend && row.versions == versions)?;
        Some(quarantined(row.failure.as_ref(), row.id))
    }
}
