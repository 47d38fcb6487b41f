//! What a device reports of one attempt: raw evidence, from which the server derives every number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::actual::Actual;
use crate::dataset::scorer::Figure;
use crate::energy::EnergyRecord;
use crate::model::TensorSpec;
use crate::operators::{MAX_OPERATORS, MAX_REST, OperatorProfile};
use crate::outcome::{Exit, Outcome};
use crate::profile::ProfileKind;
use crate::reading::Reading;
use crate::stage::Stage;

/// The version of [`Report`] that this build writes.
pub const REPORT_SCHEMA: u32 = 1;

/// Bytes of a message or a note.
pub const MAX_TEXT: usize = 8 << 10;
/// Bytes of a short text: a fact and its name, a bound, a name that an engine gave. A device cuts them; a longer one
/// breaks nothing.
pub const MAX_SHORT_TEXT: usize = 1 << 10;
pub const MAX_STAGES: usize = 512;
pub const MAX_GOLDEN: usize = 512;
pub const MAX_FACTS: usize = 256;
pub const MAX_BOUNDS_HIT: usize = 64;
/// Figures that one program tells.
pub const MAX_TOLD: usize = 64;
/// Inputs and outputs of a model.
pub const MAX_TENSORS: usize = 1024;
/// Axes of one of them.
const MAX_AXES: usize = 64;
/// Bytes of the system's logs.
pub const MAX_SYSTEM_LOG: usize = 64 << 10;
/// What stands at the end of a text that was cut.
pub const CUT_MARK: &str = "… (cut)";

/// Values of compared outputs that are kept of an attempt, so that anybody can compare them again. More are not kept.
pub const MAX_OUTPUT_VALUES: u32 = 1 << 16;

/// Packed bytes of truth and answers that are kept of an attempt. Without them no figure of their task can be derived.
#[must_use]
pub const fn max_evidence_bytes(profile: ProfileKind) -> usize {
    match profile {
        // No samples share the message.
        ProfileKind::AccuracyOnly => 2 << 20,
        ProfileKind::Quick | ProfileKind::Full | ProfileKind::Sustained | ProfileKind::Paced | ProfileKind::Energy => {
            1 << 20
        }
    }
}

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
    /// What the dataset's scorer says, where it has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// Three repeats gave identical bits.
    pub determinism: Reading<bool>,
    /// Where the time of an inference goes.
    #[serde(default = "operators_untold")]
    pub operators: Reading<OperatorProfile>,
    pub memory: Reading<Memory>,
    /// What the device drew, where the profile asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<EnergyRecord>,
    /// Last lines of the child's output, bounded.
    pub log: String,
    /// What the system's own logs say of the time of a child that failed, bounded; empty when nobody looked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system_log: String,
    /// Bounds that were hit: "output cut at 262144 bytes".
    pub bounds_hit: Vec<String>,
}

fn operators_untold() -> Reading<OperatorProfile> {
    Reading::absent("the agent that reported did not ask the engine")
}

impl Report {
    /// Within the bounds that its reader puts on it, whatever a child has said: a report that breaks one would be
    /// refused, and the outcome with it.
    #[must_use]
    pub fn within_bounds(mut self) -> Self {
        for text in self.message.iter_mut().chain(&mut self.actual.fallback) {
            cut(text, MAX_TEXT);
        }
        let Actual { accelerator, provider, precision, device, .. } = &mut self.actual;
        match device {
            Reading::Present(device) => cut(&mut device.name, MAX_SHORT_TEXT),
            Reading::Absent(why) => cut(why, MAX_SHORT_TEXT),
        }
        for reading in [accelerator, provider, precision] {
            let (Reading::Present(text) | Reading::Absent(text)) = reading;
            cut(text, MAX_SHORT_TEXT);
        }
        for record in &mut self.stages {
            record.note.iter_mut().for_each(|note| cut(note, MAX_TEXT));
        }
        cut_start(&mut self.system_log, MAX_SYSTEM_LOG);
        cut(&mut self.environment.runtime_version, MAX_SHORT_TEXT);
        for record in &mut self.golden {
            cut(&mut record.output, MAX_SHORT_TEXT);
        }
        for program in self.processes.iter_mut().filter_map(|process| process.program.as_mut()) {
            program.cut_texts();
        }
        let mut bounds = Vec::new();
        keep_first(&mut self.stages, MAX_STAGES, "stages", &mut bounds);
        keep_first(&mut self.golden, MAX_GOLDEN, "compared outputs", &mut bounds);
        if let Some(signature) = &self.actual.signature {
            let tensors = signature.inputs.len() + signature.outputs.len();
            let is_long = |tensor: &TensorSpec| tensor.name.len() > MAX_SHORT_TEXT || tensor.shape.len() > MAX_AXES;
            if tensors > MAX_TENSORS {
                bounds.push(format!("inputs and outputs dropped: {tensors} are more than {MAX_TENSORS}"));
                self.actual.signature = None;
            } else if signature.inputs.iter().chain(&signature.outputs).any(is_long) {
                bounds.push(format!(
                    "inputs and outputs dropped: a name over {MAX_SHORT_TEXT} bytes, or over {MAX_AXES} axes"
                ));
                self.actual.signature = None;
            }
        }
        keep_first(&mut self.actual.rest, MAX_REST, "operators beside the accelerator", &mut bounds);
        self.actual.rest.iter_mut().for_each(|name| cut(name, MAX_SHORT_TEXT));
        if let Reading::Present(profile) = &mut self.operators {
            keep_first(&mut profile.operators, MAX_OPERATORS, "operators", &mut bounds);
            for operator in &mut profile.operators {
                for text in [&mut operator.name, &mut operator.kind, &mut operator.place] {
                    cut(text, MAX_SHORT_TEXT);
                }
            }
        }
        self.environment.facts = self.facts_within_bounds(&mut bounds);
        self.bounds_hit.extend(bounds);
        self.bounds_hit.iter_mut().for_each(|bound| cut(bound, MAX_SHORT_TEXT));
        if self.bounds_hit.len() > MAX_BOUNDS_HIT {
            let more = self.bounds_hit.len() - (MAX_BOUNDS_HIT - 1);
            self.bounds_hit.truncate(MAX_BOUNDS_HIT - 1);
            self.bounds_hit.push(format!("{more} more bounds {CUT_MARK}"));
        }
        self
    }

    fn facts_within_bounds(&mut self, bounds: &mut Vec<String>) -> BTreeMap<String, String> {
        let mut facts: Vec<_> = std::mem::take(&mut self.environment.facts).into_iter().collect();
        keep_first(&mut facts, MAX_FACTS, "facts", bounds);
        for (name, value) in &mut facts {
            cut(name, MAX_SHORT_TEXT);
            cut(value, MAX_SHORT_TEXT);
        }
        facts.into_iter().collect()
    }
}

fn keep_first<T>(all: &mut Vec<T>, most: usize, what: &str, bounds: &mut Vec<String>) {
    if all.len() > most {
        bounds.push(format!("{what} cut at {most} ({} were there)", all.len()));
        all.truncate(most);
    }
}

/// Shortens a text to at most so many bytes, and says so in it.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - CUT_MARK.len()));
        text.push_str(CUT_MARK);
    }
}

/// Keeps the last bytes of a text, and says so in it.
fn cut_start(text: &mut String, most: usize) {
    if text.len() > most {
        let from = text.ceil_char_boundary(text.len() - (most - CUT_MARK.len() - 1));
        text.replace_range(..from, &format!("{CUT_MARK}\n"));
    }
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
    /// Has the engine tell the time of each operator and what ran it, and is timed for nothing else.
    Operators,
    /// Works and rests in turn while the device's power is read.
    Energy,
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
    /// Bytes that loading had the disk read: whether a cold load was one. Absent where the kernel does not tell.
    #[serde(default)]
    pub load_reads: Option<u64>,
    /// What opening the engine's package took from the disk; absent where it has none, or the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
    /// What of the load the engine took to compile or optimise the model, in ms; absent when it does not tell.
    #[serde(default)]
    pub compile_ms: Option<f64>,
    pub first_infer_ms: Option<f64>,
    pub warmup_iterations: Option<u32>,
    /// Evidence of interference in the measure window.
    pub window: Option<Window>,
    /// Absent when every inference is a sample.
    #[serde(default)]
    pub thinned: Option<Thinned>,
    /// The benchmark program that the process started, which loaded, warmed up and measured by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramRun>,
}

/// Whether a package's files came from the disk when a process opened them. A library is never read whole: what of it the
/// process then has in memory is all that had to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Bytes of the package's files in the process's memory.
    pub held: u64,
    /// Bytes that it had the disk read meanwhile.
    pub read: u64,
}

/// A run of a program that measures itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramRun {
    /// The runtime's name in suites.
    pub name: String,
    pub version: Reading<String>,
    /// From its start to its end on our clock, in ms: more time than that it cannot have measured.
    pub wall_ms: f64,
    /// Figures in its own words, apart from everything that is measured here.
    pub told: Vec<Told>,
}

/// A figure in a program's own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The word of the rule file: `latency_avg`.
    pub name: String,
    /// As it was printed.
    pub unit: String,
    pub value: Reading<f64>,
}

impl ProgramRun {
    fn cut_texts(&mut self) {
        let Self { name, version, wall_ms: _, told } = self;
        cut(name, MAX_SHORT_TEXT);
        let (Reading::Present(text) | Reading::Absent(text)) = version;
        cut(text, MAX_SHORT_TEXT);
        told.truncate(MAX_TOLD);
        for Told { name, unit, value } in told {
            cut(name, MAX_SHORT_TEXT);
            cut(unit, MAX_SHORT_TEXT);
            if let Reading::Absent(why) = value {
                cut(why, MAX_SHORT_TEXT);
            }
        }
    }

    /// The program with its version, as far as it told one.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.version {
            Reading::Present(version) => format!("{} {version}", self.name),
            Reading::Absent(_) => self.name.clone(),
        }
    }
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
    /// Of an engine that times itself: time that is missing from its samples, where it cannot be told why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaccounted: Option<Unaccounted>,
}

/// More time lies outside of the samples of an engine that times itself than is borne, and it may have waited for a CPU in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Unaccounted {
    /// In ms, as all of these.
    pub missing_ms: f64,
    pub borne_ms: f64,
    /// How long threads of its process and its caller's wanted a CPU and had none; absent where the kernel does not tell.
    pub waited_ms: Option<f64>,
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
    /// What a task asks of each example, as [`crate::evidence`] lays it out.
    Truth,
    /// What the model answered, laid out in the same way.
    Answers,
}

impl BlockKind {
    pub const ALL: [Self; 7] =
        [Self::LatencyNs, Self::StartUs, Self::TopClasses, Self::Labels, Self::Outputs, Self::Truth, Self::Answers];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LatencyNs => "latency_ns",
            Self::StartUs => "start_us",
            Self::TopClasses => "top_classes",
            Self::Labels => "labels",
            Self::Outputs => "outputs",
            Self::Truth => "truth",
            Self::Answers => "answers",
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

/// Comparison of one output with its reference, over all examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenRecord {
    pub output: String,
    pub comparison: crate::accuracy::golden::Comparison,
    /// What the dataset says of its references.
    #[serde(default)]
    pub standard: crate::accuracy::golden::Standard,
    /// Values that one example has in the block of outputs; absent when this output was not kept.
    #[serde(default)]
    pub kept: Option<u32>,
}

/// The memory pass: KiB of resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub base_kib: u64,
    /// Absent where the process's high-water mark could not be started anew after its inputs were made: it would be theirs.
    #[serde(default)]
    pub peak_kib: Option<u64>,
    pub retained_kib: u64,
    /// Proportional set size after a few inferences: pages that processes share count in parts. Absent where the kernel
    /// does not tell.
    #[serde(default)]
    pub pss_kib: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Signature;
    use crate::tensor::DType;

    fn report() -> Report {
        let absent = || Reading::absent("not read");
        Report {
            schema: REPORT_SCHEMA,
            outcome: Outcome::LoadFail,
            message: Some("it failed".to_owned()),
            failed_stage: Some(Stage::Load),
            stages: vec![StageRecord {
                stage: Stage::Fetch,
                process: None,
                start_us: 0,
                duration_us: Some(1),
                note: Some("1 files".to_owned()),
            }],
            processes: Vec::new(),
            blocks: Vec::new(),
            sensors: Vec::new(),
            environment: Environment {
                agent_version: "1".to_owned(),
                runtime_version: "tract 1".to_owned(),
                os: absent(),
                kernel: absent(),
                governor: absent(),
                launch: "process".to_owned(),
                facts: BTreeMap::from([("confinement".to_owned(), "landlock".to_owned())]),
            },
            actual: Actual {
                accelerator: absent(),
                provider: Reading::absent("not read"),
                device: Reading::absent("not read"),
                delegated: Reading::absent("not read"),
                rest: Vec::new(),
                precision: absent(),
                threads: Reading::absent("not read"),
                affinity: Reading::absent("not read"),
                fallback: None,
                signature: None,
                loaded: Vec::new(),
            },
            golden: Vec::new(),
            figures: Vec::new(),
            determinism: Reading::absent("not read"),
            operators: Reading::absent("not read"),
            memory: Reading::absent("not read"),
            energy: None,
            log: String::new(),
            system_log: String::new(),
            bounds_hit: vec!["output cut".to_owned()],
        }
    }

    #[test]
    fn what_is_within_the_bounds_stays_as_it_is() {
        assert_eq!(report().within_bounds(), report());
    }

    #[test]
    fn texts_that_are_too_long_are_cut_where_they_can_be_and_say_so() {
        let mut long = report();
        long.message = Some("é".repeat(MAX_TEXT));
        long.system_log = format!("{}the end", "é".repeat(MAX_SYSTEM_LOG));
        long.actual.fallback = Some("f".repeat(MAX_TEXT + 1));
        long.stages[0].note = Some("n".repeat(2 * MAX_TEXT));
        long.environment.runtime_version = "v".repeat(MAX_TEXT);
        long.environment.facts.insert("k".repeat(MAX_TEXT), "v".repeat(MAX_TEXT));
        long.bounds_hit.push("b".repeat(MAX_TEXT));
        let cut = long.within_bounds();
        assert_eq!(cut.outcome, Outcome::LoadFail);
        assert!(cut.system_log.len() <= MAX_SYSTEM_LOG && cut.system_log.starts_with("… (cut)\né"));
        assert!(cut.system_log.ends_with("the end"), "the last lines say the most");
        let note = cut.stages[0].note.as_ref().unwrap();
        for (text, most) in [
            (cut.message.as_ref().unwrap(), MAX_TEXT),
            (cut.actual.fallback.as_ref().unwrap(), MAX_TEXT),
            (note, MAX_TEXT),
            (&cut.environment.runtime_version, MAX_SHORT_TEXT),
            (cut.environment.facts.last_key_value().unwrap().0, MAX_SHORT_TEXT),
            (cut.environment.facts.last_key_value().unwrap().1, MAX_SHORT_TEXT),
            (&cut.bounds_hit[1], MAX_SHORT_TEXT),
        ] {
            assert!(text.len() <= most && text.len() > most - 4 && text.ends_with(CUT_MARK), "{}", text.len());
        }
    }

    #[test]
    fn of_too_many_the_first_are_kept_and_the_bound_is_told() {
        let mut many = report();
        many.stages = vec![many.stages[0].clone(); MAX_STAGES + 1];
        many.environment.facts = (0..=MAX_FACTS).map(|n| (n.to_string(), String::new())).collect();
        many.bounds_hit = (0..MAX_BOUNDS_HIT).map(|n| n.to_string()).collect();
        let tensor = TensorSpec { name: "t".to_owned(), dtype: DType::F32, shape: Vec::new() };
        many.actual.signature =
            Some(Signature { inputs: vec![tensor; MAX_TENSORS + 1], outputs: Vec::new(), precision_from: None });
        let cut = many.clone().within_bounds();
        assert_eq!((cut.stages.len(), cut.environment.facts.len()), (MAX_STAGES, MAX_FACTS));
        assert_eq!(cut.actual.signature, None);
        assert_eq!(cut.bounds_hit.len(), MAX_BOUNDS_HIT);
        assert_eq!(cut.bounds_hit.last().map(String::as_str), Some("4 more bounds … (cut)"));
        many.bounds_hit.clear();
        let told = many.within_bounds().bounds_hit;
        assert_eq!(told[0], "stages cut at 512 (513 were there)");
    }
}
