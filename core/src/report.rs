//! What a device reports of one attempt: raw evidence, from which the server derives every number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::outcome::{Exit, Outcome};
use crate::reading::Reading;
use crate::stage::Stage;

/// The version of [`Report`] that this build writes.
pub const REPORT_SCHEMA: u32 = 1;

/// Values of compared outputs that are kept of an attempt, so that anybody can compare them again. More are not kept.
pub const MAX_OUTPUT_VALUES: u32 = 1 << 16;

/// All that a device knows of an attempt. Offsets are microseconds since the attempt began on the device's boot clock;
/// nothing in a report is a wall time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this document.
    pub schema: u32,
    pub outcome: Outcome,
    /// What failed, why and what to do, when it failed.
    pub message: Option<String>,
    /// The stage at which the attempt ended, when it failed.
    pub failed_stage: Option<Stage>,
    pub stages: Vec<StageRecord>,
    pub processes: Vec<ProcessRecord>,
    /// Packed series, beside the document so that they need no text form. See [`crate::block`].
    #[serde(skip)]
    pub blocks: Vec<Block>,
    pub sensors: Vec<SensorTrace>,
    pub environment: Environment,
    pub actual: Actual,
    pub golden: Vec<GoldenRecord>,
    /// Three repeats gave identical bits.
    pub determinism: Reading<bool>,
    pub memory: Reading<Memory>,
    /// Last lines of the child's output, bounded.
    pub log: String,
    /// Bounds that were hit: "output cut at 262144 bytes".
    pub bounds_hit: Vec<String>,
}

/// One stage as it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRecord {
    pub stage: Stage,
    /// Which child process, from 0; `None` for stages of the agent itself.
    pub process: Option<u8>,
    /// Offset of its start in µs.
    pub start_us: u64,
    /// Duration in µs; absent when it did not end.
    pub duration_us: Option<u64>,
    /// One line of detail: "cache hit, 0 bytes moved".
    pub note: Option<String>,
}

/// What a child process of an attempt was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessRole {
    /// Loads, warms up and measures.
    Latency,
    /// Runs with memory sampling, and is never timed.
    Memory,
    /// Runs the dataset once.
    Accuracy,
}

/// One child process and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessRecord {
    pub index: u8,
    pub role: ProcessRole,
    pub exit: Exit,
    pub sentinel: bool,
    /// Load in ms; the first process of an attempt loads cold, later ones warm.
    pub load_ms: Option<f64>,
    pub first_infer_ms: Option<f64>,
    pub warmup_iterations: Option<u32>,
    /// Evidence of interference in the measure window.
    pub window: Option<Window>,
    /// Absent when every inference is a sample.
    #[serde(default)]
    pub thinned: Option<Thinned>,
}

/// What happened around the timed samples of one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Window {
    /// Length on the boot clock, in ms.
    pub wall_ms: f64,
    /// Length on the monotonic clock: shorter than `wall_ms` when the device slept.
    pub monotonic_ms: f64,
    /// CPU time of the child in the window, in ms.
    pub own_cpu_ms: f64,
    /// CPU time of everything else on the device, stolen time included, as a share of all CPUs' time.
    pub foreign_cpu: Option<f64>,
    /// Share of all CPUs' time that the hypervisor took.
    pub stolen_cpu: Option<f64>,
    /// Times that the child was taken off a CPU against its will.
    pub involuntary_switches: Option<u64>,
    pub voluntary_switches: Option<u64>,
    /// Time that the child's threads waited for a CPU, in ms.
    pub run_queue_wait_ms: Option<f64>,
    /// The longest such wait of one thread, in ms.
    #[serde(default)]
    pub worst_wait_ms: Option<f64>,
    /// CPU time and wait together of the thread that wanted to run longest, in ms.
    #[serde(default)]
    pub busiest_thread_ms: Option<f64>,
    /// CPU time of everything else on the CPUs that the child was allowed, stolen time included, in ms.
    #[serde(default)]
    pub foreign_allowed_ms: Option<f64>,
    pub major_faults: Option<u64>,
}

/// More inferences were timed than there was room for: every `every`-th of them is a sample, from the first on.
///
/// What the thinned samples would not show as it was, stands here of all inferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinned {
    pub every: u32,
    /// Timed inferences.
    pub inferences: u64,
    /// Sum of their durations, the shortest and the longest, in ns.
    pub total_ns: u64,
    pub least_ns: u64,
    pub most_ns: u64,
}

/// A packed series of integers. `metric` says what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub metric: BlockKind,
    pub process: u8,
    /// Number of values.
    pub count: u32,
    pub bytes: Vec<u8>,
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Duration of each timed inference, in ns, in order.
    LatencyNs,
    /// Start of each timed inference, in µs since the first, in order.
    StartUs,
    /// The first five classes of each example, best first, −1 where there are fewer.
    TopClasses,
    /// The label of each example.
    Labels,
    /// Outputs that were compared with references: the bits of each value as `f64`, output by output in the order of
    /// [`Report::golden`], example by example.
    Outputs,
}

impl BlockKind {
    pub const ALL: [Self; 5] = [Self::LatencyNs, Self::StartUs, Self::TopClasses, Self::Labels, Self::Outputs];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LatencyNs => "latency_ns",
            Self::StartUs => "start_us",
            Self::TopClasses => "top_classes",
            Self::Labels => "labels",
            Self::Outputs => "outputs",
        }
    }
}

impl std::str::FromStr for BlockKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a kind of sample block"))
    }
}

/// A sensor over the attempt, at most a reading a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensorTrace {
    /// `thermal/x86_pkg_temp-1`, `cpu0/frequency`, `battery/current`.
    pub sensor: String,
    /// `°C`, `MHz`, `mA`, …
    pub unit: String,
    /// Offsets in ms and values; or why there are none.
    pub points: Reading<Vec<(u32, f64)>>,
}

/// The state of the device around the attempt. Digested, so that equal surroundings are stored once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub agent_version: String,
    pub runtime_version: String,
    pub os: Reading<String>,
    pub kernel: Reading<String>,
    pub governor: Reading<String>,
    /// Launch path: `process`, `adb shell`, …
    pub launch: String,
    /// Anything else that was recorded: load average, free memory, uptime, charge, cpuset.
    pub facts: BTreeMap<String, String>,
}

/// What really executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actual {
    pub accelerator: Reading<String>,
    /// Nodes on the accelerator asked for, of all nodes.
    pub delegated: Reading<(u32, u32)>,
    pub precision: Reading<String>,
    pub threads: Reading<u16>,
    /// CPUs that the inference threads were allowed.
    pub affinity: Reading<Vec<u16>>,
    /// Why the engine fell back, when it did.
    pub fallback: Option<String>,
    /// Inputs and outputs as the engine found them in the model's file; absent when no process read it to its end.
    #[serde(default)]
    pub signature: Option<crate::model::Signature>,
    /// Digests of what was loaded.
    pub loaded: Vec<Digest>,
}

/// Comparison of one output with its reference, over all examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenRecord {
    pub output: String,
    pub comparison: crate::accuracy::golden::Comparison,
    /// Values that one example has in the block of outputs; absent when this output was not kept.
    #[serde(default)]
    pub kept: Option<u32>,
}

/// The memory pass: KiB of resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub base_kib: u64,
    pub peak_kib: u64,
    pub retained_kib: u64,
}
