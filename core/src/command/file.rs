//! The rule file as it is written. These types are the one source of what a file may hold.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Class, RuleStage, Unit};
use crate::model::{Format, Precision};

/// How a benchmark program is called and what its output says.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(title = "Seatrial rule file of a benchmark program")]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    /// The program's name, by which suites call it as a runtime.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Versions of the program whose output was read to write this file.
    #[schemars(length(min = 1, max = 16))]
    pub written_for: Vec<String>,
    /// The model formats that it reads.
    #[schemars(length(min = 1, max = 16))]
    pub formats: Vec<Format>,
    pub call: CallTable,
    pub accelerators: AcceleratorTables,
    /// Where it tells its version: group `version`.
    #[serde(default)]
    pub version: Option<TakeEntry>,
    /// Where it tells with how many threads it ran: group `value`.
    #[serde(default)]
    pub threads: Option<TakeEntry>,
    /// What it prints on entering a stage. Without any, the whole run is the stage `measure`.
    #[serde(default)]
    #[schemars(length(max = 4))]
    pub stages: Vec<StageTable>,
    /// Durations of single inferences, when it tells them.
    #[serde(default)]
    pub samples: Option<SamplesTable>,
    /// Figures in the program's own words.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub told: Vec<ToldTable>,
    /// What says that it failed, whatever its exit code; the first that is found counts.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub failures: Vec<FailureTable>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallTable {
    /// Words after the program's name. A list among them is left out whole when one of its placeholders has no value.
    #[schemars(length(max = 64))]
    pub arguments: Vec<WordEntry>,
    /// Variables of its environment, beside those that every child has.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Names of files that it writes into its output folder and that are read.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub files: Vec<String>,
    /// Words after the name of a second program of the package, which is started when the first has ended well and
    /// whose output is the source `viewer`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub viewer: Option<Vec<WordEntry>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum WordEntry {
    Word(#[schemars(length(max = 1024))] String),
    Group(#[schemars(length(min = 1, max = 16))] Vec<String>),
}

/// What it can be asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceleratorTables {
    #[serde(default)]
    pub cpu: Option<AcceleratorTable>,
    #[serde(default)]
    pub gpu: Option<AcceleratorTable>,
    #[serde(default)]
    pub npu: Option<AcceleratorTable>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceleratorTable {
    /// What `{accelerator}` stands for.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    pub word: Option<String>,
    /// What `{threads}` stands for where it is no number of threads.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub threads: Option<String>,
    /// Further words before the others.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub arguments: Vec<String>,
    /// In what it computes here. Not known when absent.
    #[serde(default)]
    pub precision: Option<PrecisionEntry>,
    /// What must all be found for a run to have been on this accelerator.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub ran: Vec<TakeEntry>,
    /// Any of these says that it ran elsewhere.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub fallback: Vec<TakeEntry>,
    /// What must all be found for every node to have run on it, where it does not tell how many did.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub whole: Vec<TakeEntry>,
    /// Why it cannot be known that every node ran on it. Then no run passes.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    pub doubt: Option<String>,
    /// How many nodes ran on it: groups `on` and `of`, or `on` and `rest`. The first that is found counts; its matches
    /// that differ are parts of a graph, and are added up.
    #[serde(default)]
    #[schemars(length(max = 4))]
    pub delegated: Vec<TakeEntry>,
}

/// Either `"model"`, when it computes in the precision of the model's file, or what `{precision}` stands for in each
/// precision that it can be asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum PrecisionEntry {
    Own(#[schemars(length(min = 1, max = 16))] String),
    Words(BTreeMap<Precision, String>),
}

/// Where something is read: a regular expression over all that the program printed, or a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum TakeEntry {
    Pattern(#[schemars(length(min = 1, max = 512))] String),
    Table(TakeTable),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeTable {
    /// `stdout`, `stderr`, `output` (both, in this order), `viewer`, or `file:` and a name of `call.files`. `output`
    /// when absent.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128))]
    pub from: Option<String>,
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    pub pattern: Option<String>,
    /// Reading begins behind the first place where this is found.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    pub after: Option<String>,
    /// A JSON pointer (RFC 6901) into a source that is one JSON document.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub pointer: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StageTable {
    pub stage: RuleStage,
    /// Over one line of either stream.
    #[schemars(length(min = 1, max = 512))]
    pub pattern: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SamplesTable {
    pub unit: Unit,
    /// Group `value`, once a sample; or a pointer to a list of numbers.
    pub values: TakeEntry,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToldTable {
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    pub unit: Unit,
    /// Group `value`; or a pointer to a number.
    pub value: TakeEntry,
    /// A run that does not tell it has measured nothing.
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureTable {
    pub class: Class,
    pub found: TakeEntry,
    /// What to do about it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    pub advice: Option<String>,
}
