//! The tables of `core/src/profile/tables`, parsed and checked once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::chip::ChipFile;
use super::graphics::{GpuFile, LibraryFile};
use super::names::NamesFile;
use super::plan::{self, PlanFile, Step};
use super::rom::{RomFile, RomRule};

/// Goes up with every change of a table or of how it is read, so that a stored finding says what it was found by.
pub const RULES_VERSION: u32 = 1;

/// A table that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the table {table} cannot be used: {why}")]
pub struct RulesError {
    table: &'static str,
    why: String,
}

/// Everything that decides what evidence means.
#[derive(Debug)]
pub struct Rules {
    plan: Vec<Step>,
    roms: RomFile,
    names: NamesFile,
    chips: ChipFile,
    cores: CoreFile,
    gpus: GpuFile,
    libraries: LibraryFile,
}

/// Texts of the tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts {
    pub evidence: &'static str,
    pub rom: &'static str,
    pub names: &'static str,
    pub soc: &'static str,
    pub cpu: &'static str,
    pub gpu: &'static str,
    pub libraries: &'static str,
}

pub(super) const TEXTS: Texts = Texts {
    evidence: include_str!("tables/evidence.toml"),
    rom: include_str!("tables/rom.toml"),
    names: include_str!("tables/names.toml"),
    soc: include_str!("tables/soc.toml"),
    cpu: include_str!("tables/cpu.toml"),
    gpu: include_str!("tables/gpu.toml"),
    libraries: include_str!("tables/libraries.toml"),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CoreFile {
    /// Implementer, part, name.
    cores: BTreeMap<String, BTreeMap<String, String>>,
}

/// A regular expression that is sound.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, regex::Error> {
        Regex::new(&text).map(Self)
    }
}

impl Pattern {
    pub(super) fn finds(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// What a pattern finds, written as `template` says: `$1` unless it says something.
pub(super) fn give(pattern: &Pattern, template: Option<&str>, text: &str) -> Option<String> {
    let captures = pattern.0.captures(text)?;
    let mut given = String::new();
    captures.expand(template.unwrap_or("$1"), &mut given);
    Some(given.trim().to_owned()).filter(|given| !given.is_empty())
}

/// A property, and what of its value is taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Take {
    pub property: String,
    #[serde(default, rename = "take")]
    pattern: Option<Pattern>,
    #[serde(default)]
    give: Option<String>,
}

/// The first number with dots.
static VERSION: LazyLock<Result<Pattern, regex::Error>> =
    LazyLock::new(|| Pattern::try_from(r"(\d+(?:\.\d+)*)".to_owned()));

impl Take {
    pub(super) fn version(&self, value: &str) -> Option<String> {
        let pattern = self.pattern.as_ref().or(VERSION.as_ref().ok())?;
        give(pattern, self.give.as_deref(), value)
    }

    pub(super) fn whole(&self, value: &str) -> Option<String> {
        match &self.pattern {
            Some(pattern) => give(pattern, self.give.as_deref(), value),
            None => Some(value.to_owned()),
        }
    }
}

impl Rules {
    /// The rules of this build. An error means that the build itself is wrong; a test forbids it.
    pub fn shipped() -> Result<&'static Self, &'static RulesError> {
        static RULES: LazyLock<Result<Rules, RulesError>> = LazyLock::new(|| Rules::parse(TEXTS));
        RULES.as_ref()
    }

    /// Reads the tables and holds them against each other.
    pub(super) fn parse(texts: Texts) -> Result<Self, RulesError> {
        let libraries: LibraryFile = table("libraries.toml", texts.libraries)?;
        let plan: PlanFile = table("evidence.toml", texts.evidence)?;
        let steps = plan::steps(plan, libraries.paths().cloned().collect());
        let rules = Self {
            plan: steps.map_err(|why| RulesError { table: "evidence.toml", why })?,
            roms: table("rom.toml", texts.rom)?,
            names: table("names.toml", texts.names)?,
            chips: table("soc.toml", texts.soc)?,
            cores: table("cpu.toml", texts.cpu)?,
            gpus: table("gpu.toml", texts.gpu)?,
            libraries,
        };
        rules.check()?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), RulesError> {
        let wrong = |table, why| Err(RulesError { table, why });
        let roms: BTreeSet<&str> = self.roms().map(|rule| rule.name.as_str()).collect();
        if roms.len() != self.roms.rom.len() {
            return wrong("rom.toml", "a ROM stands there twice".to_owned());
        }
        for rule in self.roms() {
            if rule.when.is_empty() || rule.when.iter().any(BTreeMap::is_empty) {
                return wrong("rom.toml", format!("{} has no condition", rule.name));
            }
            if let Some(lost) = rule.beside.iter().find(|beside| !roms.contains(beside.as_str())) {
                return wrong("rom.toml", format!("{} stands beside {lost}, which is no ROM there", rule.name));
            }
        }
        if let Some(brand) = self.names.brand.iter().find(|brand| self.names.maker(&brand.maker).is_none()) {
            return wrong("names.toml", format!("{} is of {}, which is no maker there", brand.name, brand.maker));
        }
        if self.names.has_empty_prefix() {
            return wrong("names.toml", "a prefix is empty".to_owned());
        }
        let models: BTreeSet<&str> = self.chips.soc.iter().map(|row| row.model.as_str()).collect();
        if models.len() != self.chips.soc.len() {
            return wrong("soc.toml", "a model stands there twice".to_owned());
        }
        if let Some(lost) = self.chips.signatures().find(|one| !models.contains(one.model.as_str())) {
            return wrong("soc.toml", format!("a signature is of {}, which has no row", lost.model));
        }
        match self.gpus.fault() {
            Some(why) => wrong("gpu.toml", why),
            None => Ok(()),
        }
    }

    /// What is to be asked of a device, in this order.
    #[must_use]
    pub fn plan(&self) -> &[Step] {
        &self.plan
    }

    pub(super) fn roms(&self) -> impl Iterator<Item = &RomRule> {
        self.roms.rom.iter()
    }

    pub(super) const fn names(&self) -> &NamesFile {
        &self.names
    }

    pub(super) const fn chips(&self) -> &ChipFile {
        &self.chips
    }

    pub(super) const fn gpus(&self) -> &GpuFile {
        &self.gpus
    }

    pub(super) const fn libraries(&self) -> &LibraryFile {
        &self.libraries
    }

    /// The name of a core, or its numbers.
    pub(super) fn core(&self, implementer: &str, part: &str) -> String {
        let named = self.cores.cores.get(implementer).and_then(|parts| parts.get(part));
        named.cloned().unwrap_or_else(|| super::clip(&format!("implementer {implementer}, part {part}")))
    }
}

fn table<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<T, RulesError> {
    toml::from_str(text).map_err(|error| RulesError { table, why: error.to_string() })
}
