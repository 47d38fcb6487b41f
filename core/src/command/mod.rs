//! Benchmark programs of vendors: how one is called and how what it prints is read, by a rule file.
//!
//! [`Rule::parse`] is the only door: a rule that it lets through can be called and read without a further question.
//! [`Rule::call`] makes an argument vector from a closed set of placeholders, never a command line for a shell;
//! [`Rule::read`] turns what a run left into samples, figures and evidence. `docs/command.md` describes the file.
//!
//! A program's own figures are kept as it told them, apart from everything that is measured here. What it does not
//! tell is absent, with the reason.

mod call;
mod file;
mod read;
mod resolve;
mod take;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::Accelerator;
use crate::model::{Format, Precision};
use crate::outcome::Claim;
use crate::profile::ProfileKind;
use crate::reason::{Code, Reason};
use crate::stage::Stage;
use crate::suite::{Problem, document};
pub use call::{Asked, CallError, Called};
pub use read::{Failure, Figure, Left, Reading};
use take::Take;

/// A longer rule file is refused.
pub const MAX_RULE_BYTES: usize = 64 << 10;
/// Bytes of a stream or a file of the program that are read at most: the last ones.
pub const MAX_OUTPUT_BYTES: usize = 4 << 20;
/// The role of the rule file in a package.
pub const RULES_ROLE: &str = "rules";
/// The role of the second program in a package, which shows what the first has written.
pub const VIEWER_ROLE: &str = "viewer";

/// A rule file without faults.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub written_for: Vec<String>,
    pub formats: Vec<Format>,
    arguments: Vec<call::Words>,
    environment: Vec<(String, call::Word)>,
    /// Names of files in the output folder that the caller is to read.
    pub files: Vec<String>,
    viewer: Option<Vec<call::Words>>,
    accelerators: BTreeMap<Accelerator, AcceleratorRule>,
    version: Option<Take>,
    threads: Option<Take>,
    stages: Vec<(Stage, Regex)>,
    samples: Option<(Unit, Take)>,
    told: Vec<ToldRule>,
    failures: Vec<FailureRule>,
}

#[derive(Debug)]
struct AcceleratorRule {
    word: Option<String>,
    threads: Option<String>,
    arguments: Vec<call::Word>,
    precision: PrecisionRule,
    ran: Vec<Take>,
    fallback: Vec<Take>,
    whole: Vec<Take>,
    doubt: Option<String>,
    delegated: Vec<Take>,
}

/// In what a program computes.
#[derive(Debug)]
enum PrecisionRule {
    Unknown,
    /// In what the model's file says.
    Own,
    /// In what it is asked for, by these words.
    Words(BTreeMap<Precision, String>),
}

#[derive(Debug)]
struct ToldRule {
    name: String,
    unit: Unit,
    value: Take,
    required: bool,
}

#[derive(Debug)]
struct FailureRule {
    class: Class,
    found: Take,
    advice: Option<String>,
}

/// Units in which programs tell figures, as they print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "tok/s")]
    TokensPerSecond,
    #[serde(rename = "B")]
    Bytes,
    #[serde(rename = "KiB")]
    Kibibytes,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "MB")]
    Megabytes,
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "1")]
    One,
}

impl Unit {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::PerSecond => "1/s",
            Self::TokensPerSecond => "tok/s",
            Self::Bytes => "B",
            Self::Kibibytes => "KiB",
            Self::Mebibytes => "MiB",
            Self::Megabytes => "MB",
            Self::Percent => "%",
            Self::One => "1",
        }
    }

    /// Nanoseconds of one; `None` when it is no unit of time.
    #[must_use]
    pub fn nanoseconds(self) -> Option<f64> {
        match self {
            Self::Nanoseconds => Some(1.0),
            Self::Microseconds => Some(1e3),
            Self::Milliseconds => Some(1e6),
            Self::Seconds => Some(1e9),
            Self::PerSecond
            | Self::TokensPerSecond
            | Self::Bytes
            | Self::Kibibytes
            | Self::Mebibytes
            | Self::Megabytes
            | Self::Percent
            | Self::One => None,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Class {
    /// No such accelerator, driver or device here.
    UnsupportedBackend,
    UnsupportedOp,
    /// The model or a library cannot be loaded.
    LoadFail,
    CompileFail,
    OutOfMemory,
    RunFail,
    /// It was called wrongly.
    SpecError,
}

impl Class {
    const fn claim(self) -> Claim {
        match self {
            Self::UnsupportedBackend => Claim::UnsupportedBackend,
            Self::UnsupportedOp => Claim::UnsupportedOp,
            Self::LoadFail => Claim::LoadFail,
            Self::CompileFail => Claim::CompileFail,
            Self::OutOfMemory => Claim::OutOfMemory,
            Self::RunFail => Claim::RunFail,
            Self::SpecError => Claim::SpecError,
        }
    }
}

/// Stages that a program can be seen to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RuleStage {
    Load,
    FirstInference,
    Warmup,
    Measure,
}

impl RuleStage {
    const fn stage(self) -> Stage {
        match self {
            Self::Load => Stage::Load,
            Self::FirstInference => Stage::FirstInference,
            Self::Warmup => Stage::Warmup,
            Self::Measure => Stage::Measure,
        }
    }
}

impl Rule {
    /// Reads a rule file. `file` is the name for messages. On failure every problem is returned, in the order of the
    /// file.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Problem>> {
        let (written, mut reporter) = document::read::<file::RuleFile>(text, file, MAX_RULE_BYTES)?;
        match resolve::resolve(written, &mut reporter) {
            Some(rule) => reporter.finish(rule),
            None => Err(reporter.into_problems()),
        }
    }

    /// What the program can be asked for.
    pub fn accelerators(&self) -> impl Iterator<Item = Accelerator> + '_ {
        self.accelerators.keys().copied()
    }

    /// Whether a second program shows what the first has written.
    #[must_use]
    pub fn has_viewer(&self) -> bool {
        self.viewer.is_some()
    }

    /// The stage that the program is in before it has printed anything.
    #[must_use]
    pub fn first_stage(&self) -> Stage {
        if self.stages.is_empty() { Stage::Measure } else { Stage::Load }
    }

    /// The stage that a line says the program enters.
    #[must_use]
    pub fn stage_of(&self, line: &str) -> Option<Stage> {
        self.stages.iter().find(|(_, pattern)| pattern.is_match(line)).map(|(stage, _)| *stage)
    }
}

/// Whether a program that measures itself can do a job of this kind. It has no tensors to give or to take, so it runs
/// no dataset; and its inferences cannot be paced, nor be followed over time.
pub fn can_do(runtime: &str, profile: ProfileKind, has_dataset: bool) -> Result<(), Reason> {
    match profile {
        ProfileKind::Quick | ProfileKind::Full if has_dataset => {
            Err(Reason::new(Code::ProgramTakesNoDataset, &[("runtime", &runtime)]))
        }
        ProfileKind::Quick | ProfileKind::Full => Ok(()),
        ProfileKind::Sustained | ProfileKind::Paced | ProfileKind::AccuracyOnly | ProfileKind::Energy => {
            let arguments: [(&str, &dyn fmt::Display); 2] = [("runtime", &runtime), ("profile", &profile.as_str())];
            Err(Reason::new(Code::ProgramHasNoProfile, &arguments))
        }
    }
}
