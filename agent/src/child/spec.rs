//! What a parent and its child write for each other, each in the child's own folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use seatrial_core::actual::Actual;
use seatrial_core::backend::Accelerator;
use seatrial_core::command::{RULES_ROLE, VIEWER_ROLE};
use seatrial_core::dataset::scorer::Figure;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::job::JobSpec;
use seatrial_core::model::Signature;
use seatrial_core::operators::OperatorProfile;
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::report::{BlockKind, GoldenRecord, Memory, Opened, ProgramRun, Thinned, Window};
use seatrial_core::runtimes::{PackageKind, RuntimePackage};
use seatrial_core::time::Monotonic;
use seatrial_core::weights::Weights;
use serde::{Deserialize, Serialize};

/// Version of these documents: parent and child are the same program, so any other is a mistake.
pub(crate) const SPEC_SCHEMA: u32 = 1;
/// The child's result, written before the sentinel.
pub(crate) const RESULT_FILE: &str = "result.json";
/// Its presence with [`SENTINEL_TEXT`] says that the child got to its end; the last thing it writes.
pub(crate) const SENTINEL_FILE: &str = "sentinel";
pub(crate) const SENTINEL_TEXT: &str = "seatrial child finished";
/// The stage log.
pub(crate) const EVENTS_FILE: &str = "events.jsonl";

/// What one child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChildSpec {
    pub schema: u32,
    pub task: Task,
    pub index: u8,
    /// Folder of the model's files.
    pub model: PathBuf,
    pub files: Vec<PlacedFile>,
    /// The dataset package.
    pub dataset: Option<PathBuf>,
    /// What the engine is loaded from; absent for one that is built in.
    pub package: Option<PlacedPackage>,
    /// What runs the dataset's scorer, in the process that judges by it.
    pub scorer: Option<PathBuf>,
    /// The one folder that the child may write to.
    pub out: PathBuf,
    /// CPUs to run on; wherever the kernel puts it when absent.
    pub affinity: Option<Vec<u16>>,
    /// When the parent started the child, on the boot clock.
    pub spawned: Monotonic,
    pub job: JobSpec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Reads the signature.
    Describe,
    /// Loads the engine, and no model, to ask what it offers.
    Probe,
    /// Loads, warms up and measures; repeats an inference where no dataset will.
    Latency { determinism: bool },
    /// Loads and runs while memory is watched.
    Memory,
    /// Runs the dataset once.
    Accuracy { keep_outputs: bool },
    /// Has the engine tell of its operators.
    Operators,
    /// Works and rests in turn, as the parent orders.
    Energy,
}

impl ChildSpec {
    /// Whether the child has business with the devices and drivers of an accelerator.
    pub(crate) fn reaches_accelerators(&self) -> bool {
        self.task == Task::Probe || self.job.backend.accelerator != Accelerator::Cpu
    }
}

/// A file of the variant, in the model's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedFile {
    pub role: String,
    pub file_name: String,
}

/// The files of a runtime, beside each other in a folder of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlacedPackage {
    pub folder: PathBuf,
    pub runtime: String,
    pub kind: PackageKind,
    pub version: String,
    /// Name of the file that is loaded or started; absent from a manifest without one.
    pub main: Option<String>,
    /// Names of a benchmark program's rule file and of its second program.
    pub rules: Option<String>,
    pub viewer: Option<String>,
    /// What runs it on this device, where it does not run by itself.
    pub interpreter: Option<PathBuf>,
}

impl PlacedPackage {
    pub(crate) fn new(package: &RuntimePackage, folder: PathBuf) -> Self {
        let named = |role| package.manifest.role(role).map(|entry| entry.file_name.clone());
        let of_command = |role| if package.kind == PackageKind::Command { named(role) } else { None };
        Self {
            folder,
            runtime: package.runtime.clone(),
            kind: package.kind.clone(),
            version: package.version.clone(),
            main: named(package.kind.main_role()),
            rules: of_command(RULES_ROLE),
            viewer: of_command(VIEWER_ROLE),
            interpreter: None,
        }
    }

    /// The program of a package that is one.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        match self.kind {
            PackageKind::Library { .. } => None,
            PackageKind::Runner { .. } | PackageKind::Command => self.main.as_ref().map(|name| self.folder.join(name)),
        }
    }

    /// What of its files is started by itself.
    pub(crate) fn started(&self) -> Vec<PathBuf> {
        let program = if self.interpreter.is_none() { self.program() } else { None };
        program.into_iter().chain(self.viewer.as_ref().map(|name| self.folder.join(name))).collect()
    }
}

/// What a child has found out, whole or up to its failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChildResult {
    pub claim: Option<Claim>,
    pub message: Option<String>,
    pub load_ms: Option<f64>,
    pub load_reads: Option<u64>,
    pub opened: Option<Opened>,
    pub compile_ms: Option<f64>,
    pub first_infer_ms: Option<f64>,
    pub warmup_iterations: Option<u32>,
    pub window: Option<Window>,
    pub thinned: Option<Thinned>,
    pub actual: Actual,
    pub golden: Vec<GoldenRecord>,
    pub figures: Vec<Figure>,
    pub determinism: Option<Reading<bool>>,
    pub memory: Option<Memory>,
    pub operators: Option<OperatorProfile>,
    pub signature: Option<Signature>,
    /// What the model's file says of its weights, in a process that describes it.
    pub weights: Option<Weights>,
    /// Whether that process could read the file to its end, with every file that it names beside it.
    pub whole: bool,
    pub offer: Option<RuntimeOffer>,
    pub blocks: Vec<BlockFile>,
    /// Outputs that were to be kept whole.
    pub references: Vec<ReferenceFile>,
    pub facts: BTreeMap<String, String>,
    pub runtime_version: Option<String>,
    pub bounds_hit: Vec<String>,
    pub program: Option<ProgramRun>,
}

impl Default for ChildResult {
    fn default() -> Self {
        Self {
            claim: None,
            message: None,
            load_ms: None,
            load_reads: None,
            opened: None,
            compile_ms: None,
            first_infer_ms: None,
            warmup_iterations: None,
            window: None,
            thinned: None,
            actual: Actual::unknown("the model was not loaded"),
            golden: Vec::new(),
            figures: Vec::new(),
            determinism: None,
            memory: None,
            operators: None,
            signature: None,
            weights: None,
            whole: false,
            offer: None,
            blocks: Vec::new(),
            references: Vec::new(),
            facts: BTreeMap::new(),
            runtime_version: None,
            bounds_hit: Vec::new(),
            program: None,
        }
    }
}

/// A packed series in a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockFile {
    pub kind: BlockKind,
    pub count: u32,
}

impl BlockFile {
    pub(crate) fn name(kind: BlockKind) -> String {
        format!("{}.block", kind.as_str())
    }
}

/// An output over all examples, in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceFile {
    pub output: String,
    pub file_name: String,
}

/// Whether a name is a file beside its siblings, wherever they stand: no folder, no parent, nothing hidden.
pub(crate) fn is_flat(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | ' ' | '(' | ')' | '=' | ',' | '@');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_any_path_are_flat() {
        for name in ["model.onnx", "weights (1).bin", "模型.onnx", "model.onnx_data"] {
            assert!(is_flat(name), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "a\\b", "C:x"] {
            assert!(!is_flat(name), "{name:?}");
        }
    }
}
