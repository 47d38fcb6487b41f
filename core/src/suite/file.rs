//! The suite file as it is written. These types are the one source of what a file may hold: its JSON schema, the
//! check of a text and the reading of it all come from here.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::backend::{Accelerator, Affinity, Provider};
use crate::dataset::Binding;
use crate::gate::JudgeBy;
use crate::model::Precision;
use crate::profile::ProfileKind;

/// A Seatrial suite: models × datasets × backends × devices × measurement profiles, and a gate.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(title = "Seatrial suite")]
#[serde(deny_unknown_fields)]
pub(super) struct SuiteFile {
    /// Name of the suite, for people and for series.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What the suite is for.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub description: Option<String>,
    /// Which devices, as CEL over their profile and labels. Every device when absent.
    #[serde(default)]
    pub devices: Option<String>,
    /// Seed of generated inputs. 1 when absent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_u64))]
    pub seed: Option<u64>,
    /// What backends and profiles are unless they say otherwise themselves.
    #[serde(default)]
    pub defaults: Defaults,
    /// Models, each by name ("digits-cnn", "digits-cnn@prod", "digits-cnn@3") or as a table.
    #[schemars(length(min = 1, max = 1000))]
    pub models: Vec<ModelEntry>,
    /// Datasets, each by name ("digits", "digits@2") or as a table. Without any, inputs are generated from the seed.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub datasets: Vec<DatasetEntry>,
    /// How the models are executed. Lists in a table multiply.
    #[schemars(length(min = 1, max = 100))]
    pub backends: Vec<BackendTable>,
    /// How long, how often and how a variant is timed, each by name or as a table. "quick" when absent.
    #[serde(default)]
    #[schemars(length(min = 1, max = 5))]
    pub profiles: Option<Vec<ProfileEntry>>,
    /// How long a job waits for a device that takes no work, in minutes. 120 when absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 43_200))]
    pub max_wait_minutes: Option<u32>,
    /// Bounds of one attempt.
    #[serde(default)]
    pub limits: LimitsTable,
    /// What the run must fulfil to pass.
    #[serde(default)]
    pub gate: Option<GateTable>,
}

/// One value, or a list of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(#[schemars(length(min = 1, max = 64))] Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Defaults {
    pub backend: BackendDefaults,
    pub profile: ProfileNumbers,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ModelEntry {
    Name(String),
    Table(Box<ModelTable>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelTable {
    /// Name of the model.
    pub name: String,
    /// Number of a version, or an alias. "latest" when absent.
    #[serde(default)]
    pub version: Option<VersionKey>,
    /// Names of the variants. All when absent.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub variants: Option<Vec<String>>,
    /// Replaces the binding of the model version for every dataset of this suite.
    #[serde(default)]
    pub binding: Option<Binding>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum VersionKey {
    Number(#[schemars(range(min = 1))] u32),
    Alias(#[schemars(length(min = 1, max = 100))] String),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum DatasetEntry {
    Name(String),
    Table(DatasetTable),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasetTable {
    /// Name of the dataset.
    pub name: String,
    /// Number of a version. The newest when absent.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub version: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendTable {
    /// Inference engines: "tract", "onnxruntime", …
    #[serde(default)]
    pub runtime: Option<OneOrMany<String>>,
    /// Named lines of versions. The version built into the agent when absent.
    #[serde(default)]
    pub track: Option<OneOrMany<String>>,
    /// "cpu" when absent, or what the provider computes on.
    #[serde(default)]
    pub accelerator: Option<OneOrMany<Accelerator>>,
    /// Which of an engine's parts for the accelerator is to compute. The agent's choice when absent.
    #[serde(default)]
    pub provider: Option<OneOrMany<Provider>>,
    /// Inference threads. 1 when absent.
    #[serde(default)]
    pub threads: Option<OneOrMany<Threads>>,
    /// On which cores the inference threads may run. "any" when absent.
    #[serde(default)]
    pub affinity: Option<OneOrMany<Affinity>>,
    /// Precision in which the engine is asked to compute. Left to the variant when absent.
    #[serde(default)]
    pub precision: Option<OneOrMany<Precision>>,
}

/// Number of threads.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Threads(#[schemars(range(min = 1, max = 1024))] pub u16);

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BackendDefaults {
    pub runtime: Option<OneOrMany<String>>,
    pub track: Option<OneOrMany<String>>,
    pub accelerator: Option<OneOrMany<Accelerator>>,
    pub provider: Option<OneOrMany<Provider>>,
    pub threads: Option<OneOrMany<Threads>>,
    pub affinity: Option<OneOrMany<Affinity>>,
    pub precision: Option<OneOrMany<Precision>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ProfileEntry {
    Kind(ProfileKind),
    Table(ProfileTable),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileTable {
    /// Which profile.
    pub kind: ProfileKind,
    /// Timed inferences of a process, at least.
    #[serde(default)]
    #[schemars(range(min = 1, max = 400_000))]
    pub min_samples: Option<u32>,
    /// Timed inferences of a process, at most. Only time bounds them when absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 400_000))]
    pub max_samples: Option<u32>,
    /// Length of measuring in seconds, at least.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 870.0))]
    pub min_seconds: Option<f64>,
    /// Length of measuring in seconds, at most.
    #[serde(default)]
    #[schemars(range(min = 0.01, max = 870.0))]
    pub max_seconds: Option<f64>,
    /// Fresh processes that each load, warm up and measure.
    #[serde(default)]
    #[schemars(range(min = 1, max = 20))]
    pub processes: Option<u8>,
    /// For "paced": an inference is due every so many milliseconds.
    #[serde(default)]
    #[schemars(range(min = 0.1, max = 60_000.0))]
    pub interval_ms: Option<f64>,
    /// For "energy": pairs of idle and load, at most.
    #[serde(default)]
    #[schemars(range(min = 6, max = 24))]
    pub max_pairs: Option<usize>,
    /// For "energy": length in seconds of each phase of idle or load after it has settled, at least.
    #[serde(default)]
    #[schemars(range(min = 5.0, max = 300.0))]
    pub phase_seconds: Option<f64>,
    /// For "energy": updates of the gauge in each phase after it has settled, at least.
    #[serde(default)]
    #[schemars(range(min = 4, max = 100))]
    pub phase_updates: Option<u32>,
    /// For "energy": length in seconds of each of the three phases by which an unknown gauge is calibrated.
    #[serde(default)]
    #[schemars(range(min = 10.0, max = 120.0))]
    pub calibration_seconds: Option<f64>,
    /// When warming up ends.
    #[serde(default)]
    pub warmup: Option<WarmupTable>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProfileNumbers {
    /// Timed inferences of a process, at least.
    #[schemars(range(min = 1, max = 400_000))]
    pub min_samples: Option<u32>,
    /// Timed inferences of a process, at most. Only time bounds them when absent.
    #[schemars(range(min = 1, max = 400_000))]
    pub max_samples: Option<u32>,
    /// Length of measuring in seconds, at least.
    #[schemars(range(min = 0.0, max = 870.0))]
    pub min_seconds: Option<f64>,
    /// Length of measuring in seconds, at most.
    #[schemars(range(min = 0.01, max = 870.0))]
    pub max_seconds: Option<f64>,
    /// Fresh processes that each load, warm up and measure.
    #[schemars(range(min = 1, max = 20))]
    pub processes: Option<u8>,
    /// When warming up ends.
    pub warmup: Option<WarmupTable>,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WarmupTable {
    /// Inferences, at least.
    #[schemars(range(min = 1, max = 100_000))]
    pub min_iterations: Option<u32>,
    /// Length in seconds, at least.
    #[schemars(range(min = 0.0, max = 600.0))]
    pub min_seconds: Option<f64>,
    /// Share by which the median of the last five must still improve on the five before to go on.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_improvement: Option<f64>,
    /// Length in seconds, at most.
    #[schemars(range(min = 0.0, max = 600.0))]
    pub max_seconds: Option<f64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsTable {
    /// Address space of the child in MiB. 4096 when absent.
    #[schemars(range(min = 64, max = 1_048_576))]
    pub memory_mb: Option<u64>,
    /// Output of the child that is kept, in KiB. 256 when absent.
    #[schemars(range(min = 1, max = 1024))]
    pub output_kb: Option<u64>,
    /// How long each stage may take, in seconds.
    pub deadline_seconds: DeadlineTable,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeadlineTable {
    #[schemars(range(min = 1, max = 3600))]
    pub fetch: Option<u32>,
    #[schemars(range(min = 1, max = 3600))]
    pub prepare: Option<u32>,
    #[schemars(range(min = 1, max = 885))]
    pub load: Option<u32>,
    #[schemars(range(min = 1, max = 885))]
    pub first_inference: Option<u32>,
    #[schemars(range(min = 1, max = 885))]
    pub warmup: Option<u32>,
    #[schemars(range(min = 1, max = 885))]
    pub measure: Option<u32>,
    #[schemars(range(min = 1, max = 885))]
    pub accuracy: Option<u32>,
    #[schemars(range(min = 1, max = 885))]
    pub energy: Option<u32>,
    #[schemars(range(min = 1, max = 885))]
    pub teardown: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GateTable {
    /// Jobs that may end without a result that counts. 0 when absent.
    #[serde(default)]
    pub max_failed: u32,
    /// Whether a job may run elsewhere than on the accelerator that was asked for.
    #[serde(default)]
    pub allow_fallback: bool,
    /// Whether combinations may be unable to run.
    #[serde(default)]
    pub allow_misfits: bool,
    /// Whether numbers may be invalid because something interfered.
    #[serde(default)]
    pub allow_invalid: bool,
    /// Limits on metrics.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub metrics: Vec<MetricRuleTable>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricRuleTable {
    /// Name of the metric, as in docs/measurement.md: "lat_p50_ms".
    pub metric: String,
    /// The metric must not be less.
    #[serde(default)]
    pub min: Option<f64>,
    /// The metric must not be more.
    #[serde(default)]
    pub max: Option<f64>,
    /// What is compared with the limit: the unfavourable end of the 95 % interval, or the value itself.
    #[serde(default)]
    pub judge: JudgeBy,
    /// Only jobs of this model.
    #[serde(default)]
    pub model: Option<String>,
    /// Only jobs of this variant.
    #[serde(default)]
    pub variant: Option<String>,
    /// Only jobs on this dataset.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Only jobs with this backend, as tables show it: "tract cpu ×2".
    #[serde(default)]
    pub backend: Option<String>,
    /// Only jobs of this measurement profile.
    #[serde(default)]
    pub profile: Option<ProfileKind>,
    /// Only jobs on the device of this name.
    #[serde(default)]
    pub device: Option<String>,
}
