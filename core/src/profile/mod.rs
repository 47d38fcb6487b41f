//! Profiles: what a device is ([`read`]), and how a measurement is made ([`MeasurementProfile`]).
//!
//! What a device is, is read from raw evidence: what a few commands and files said ([`RawEvidence`]), by tables that
//! are data ([`Rules`]). The evidence is kept, so that later rules can be run over it again. A finding names what
//! decided it; what is not known is absent with the reason, and never a guess that looks like a fact.
//! `docs/profile.md` says of each finding where it comes from and what it cannot know.

mod chip;
mod cores;
mod describe;
mod evidence;
mod glob;
mod graphics;
mod measurement;
mod names;
mod plan;
mod properties;
mod rom;
mod room;
mod rules;
mod script;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use chip::Chip;
pub use cores::{Cluster, Cores};
pub use describe::read_again;
pub use evidence::{Collected, Ending, MAX_PIECE_BYTES, Piece, RawEvidence};
pub use glob::matches as path_matches;
pub use graphics::{Gpu, GpuDriver, Library};
pub use measurement::{
    ANY_SAMPLES, LONGEST_ENERGY_S, MAX_SAMPLES, MeasurementProfile, ProfileKind, StopRule, WarmupRule,
};
pub use names::Naming;
pub use plan::{Source, Step};
pub use properties::{MAX_PROPERTIES, Properties};
pub use rom::Rom;
pub use room::Storage;
pub use rules::{RULES_VERSION, Rules, RulesError};
pub use script::{NONCE_BYTES, ScriptError, script, split};

use crate::reading::Reading;
use crate::reason::Reason;

/// What a finding is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The device says so.
    Told,
    /// A table says that such devices have it.
    ByTable,
    /// The device says so, and contradicts itself: a custom ROM or a spoofing module may be at work.
    Disputed,
}

/// A value with what decided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found<T> {
    pub value: T,
    pub standing: Standing,
    /// `ro.soc.model = SM8650`, `GLES: ARM, Mali-G610, …`: clipped.
    pub from: String,
}

/// A finding, or the reason why there is none.
pub type Fact<T> = Reading<Found<T>>;

/// Characters of evidence that a finding quotes.
const MAX_QUOTE: usize = 120;

impl<T> Found<T> {
    fn told(value: T, from: impl AsRef<str>) -> Self {
        Self { value, standing: Standing::Told, from: clip(from.as_ref()) }
    }

    fn by_table(value: T, from: impl AsRef<str>) -> Self {
        Self { value, standing: Standing::ByTable, from: clip(from.as_ref()) }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_QUOTE).map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

/// What the evidence says a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Of the rules that found it.
    pub rules: u32,
    pub naming: Naming,
    /// ROM of a phone, distribution of a board.
    pub rom: Fact<Rom>,
    pub android_release: Fact<String>,
    pub android_api: Fact<u32>,
    pub fingerprint: Fact<String>,
    /// `2026-10-01`.
    pub security_patch: Fact<String>,
    /// In bytes.
    pub page_size: Fact<u32>,
    /// Binary interfaces, the preferred first: `arm64-v8a`; of a board the machine's name: `aarch64`.
    pub abis: Fact<Vec<String>>,
    pub chip: Fact<Chip>,
    pub cores: Cores,
    pub gpu: Fact<Gpu>,
    pub gpu_driver: Fact<GpuDriver>,
    /// Libraries of accelerators that are there; whether they work only an attempt shows.
    pub libraries: Fact<Vec<Library>>,
    /// Services of NNAPI drivers, by name.
    pub nnapi: Fact<Vec<String>>,
    /// What the kernel manages, which is less than what is sold.
    pub memory_bytes: Fact<u64>,
    pub storage: Fact<Storage>,
    /// What an operator should know before a number of this device is believed.
    pub warnings: Vec<Reason>,
    /// Why nothing may be measured here.
    pub unfit: Option<Reason>,
}

/// Reads evidence by rules. Pure: the same evidence and rules give the same findings.
#[must_use]
pub fn read(evidence: &RawEvidence, rules: &Rules) -> Findings {
    let properties = Properties::of(evidence);
    let mut warnings = properties.warnings();
    let rom = rom::read(evidence, &properties, rules, &mut warnings);
    let naming = names::read(evidence, &properties, rules, &mut warnings);
    let cores = cores::read(evidence, rules);
    let chip = chip::read(evidence, &properties, &cores, rules, &mut warnings);
    let gpu = graphics::gpu(evidence, &properties, &chip, rules);
    Findings {
        rules: RULES_VERSION,
        naming,
        unfit: rom.unfit,
        rom: rom.found,
        android_release: properties.fact(&["ro.build.version.release", "ro.system.build.version.release"]),
        android_api: properties.parsed(&["ro.build.version.sdk", "ro.system.build.version.sdk"], "an API level"),
        fingerprint: properties.fact(&["ro.build.fingerprint", "ro.system.build.fingerprint"]),
        security_patch: properties.fact(&["ro.build.version.security_patch"]),
        page_size: room::page_size(evidence),
        abis: room::abis(evidence, &properties),
        gpu_driver: graphics::driver(evidence, &properties, rules),
        libraries: graphics::libraries(evidence, rules),
        nnapi: graphics::nnapi(evidence),
        memory_bytes: room::memory(evidence),
        storage: room::storage(evidence),
        chip,
        cores,
        gpu,
        warnings,
    }
}
