//! The dataset package: a folder or a zip with `dataset.toml` and the members that it names.
//!
//! This reads the manifest and judges what can be judged without the members' bytes. Members are named flat, so that
//! no name is ever a path. A classification package looks like this:
//!
//! ```
//! # use seatrial_core::dataset::package::PackageManifest;
//! let text = r#"
//! name = "digits"                       # letters, digits, '.', '_' and '-'
//! task = "classification"               # one of [`Task`](super::Task)
//! license = "CC-BY-4.0"
//! origin = "https://archive.ics.uci.edu/dataset/80"
//! examples = 360                        # every member must hold as many
//! classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
//!
//! [[inputs]]                            # one table for each input, by name
//! name = "image"
//! kind = "npy"                          # first axis: the examples
//! member = "images.npy"
//!
//! [labels]
//! kind = "npy"                          # one integer per example: the index of its class
//! member = "labels.npy"
//!
//! [[goldens]]                           # required when the task is "golden", allowed with any
//! name = "logits"                       # the model's output
//! kind = "npz"
//! member = "reference.npz"
//! array = "logits"
//! "#;
//! let manifest = PackageManifest::parse(text, "dataset.toml").unwrap();
//! assert_eq!(manifest.members(), ["images.npy", "labels.npy", "reference.npz"]);
//! ```
//!
//! The other kinds of members:
//!
//! ```
//! # use seatrial_core::dataset::package::PackageManifest;
//! let text = r#"
//! name = "street"
//! task = "classification"
//! examples = 2
//! classes = ["cat", "dog"]
//!
//! [[inputs]]
//! name = "photo"
//! kind = "image"                        # png, jpeg or bmp, one file an example
//! pattern = "photo-{index:04}.jpg"      # photo-0000.jpg, photo-0001.jpg; or members = ["a.jpg", "b.jpg"]
//!
//! [[inputs]]
//! name = "embedding"
//! kind = "raw"                          # little-endian, dense, row-major, all examples one after the other
//! member = "embedding.bin"
//! dtype = "f32"
//! shape = [128]                         # of one example
//!
//! [labels]
//! kind = "csv"                          # first line: the columns; then one line an example, in order
//! member = "labels.csv"
//! column = "label"                      # holds the name or the index of the class
//! "#;
//! let manifest = PackageManifest::parse(text, "dataset.toml").unwrap();
//! assert_eq!(manifest.members(), ["photo-0000.jpg", "photo-0001.jpg", "embedding.bin", "labels.csv"]);
//! ```

mod written;

use std::collections::BTreeSet;

use serde::Serialize;

use super::Task;
use super::scorer::Scorer;
use crate::accuracy::golden::Standard;
use crate::suite::Problem;
use crate::suite::document;
use crate::tensor::DType;

/// Name of the manifest in its package.
pub const MANIFEST_NAME: &str = "dataset.toml";
/// A longer manifest is refused.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// Members that a package may name: one an example, and the arrays beside them.
pub const MAX_MEMBERS: usize = 101_000;
/// Examples that a dataset may hold, so that labels and answers fit into one report beside its samples.
pub const MAX_EXAMPLES: u32 = 100_000;
/// Bytes of one raw member, and of one tensor that is read from a package.
pub const MAX_TENSOR_BYTES: u64 = 4 << 30;
/// Bytes of the member that holds the labels.
pub const MAX_LABEL_BYTES: u64 = 512 << 20;

/// A package's manifest without faults.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackageManifest {
    pub name: String,
    pub task: Task,
    pub description: Option<String>,
    pub license: Option<String>,
    pub origin: Option<String>,
    pub examples: u32,
    /// Names of the classes; a label is an index into them. Empty for a task without classes.
    pub classes: Vec<String>,
    /// At least one, with distinct names.
    pub inputs: Vec<TensorSource>,
    /// Present unless the task is golden; a scorer may do without.
    pub labels: Option<LabelSource>,
    /// Reference outputs; at least one when the task is golden.
    pub goldens: Vec<TensorSource>,
    /// What the goldens are, and how near outputs must come to them.
    pub standard: Standard,
    /// What judges the outputs when the task is custom, and only then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scorer: Option<Scorer>,
}

/// A named tensor of the package: an input, or a reference output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorSource {
    pub name: String,
    pub data: TensorData,
}

/// Where the examples of a tensor are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TensorData {
    /// All examples in one array; the first axis counts them.
    Npy { member: String },
    /// The same, as one array of an npz file.
    Npz { member: String, array: String },
    /// All examples one after the other: little-endian, dense, row-major. `shape` is that of one example.
    Raw { member: String, dtype: DType, shape: Vec<usize> },
    /// One encoded image an example.
    Image { members: ImageMembers },
}

/// Names of the images, in the order of the examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageMembers {
    Listed(Vec<String>),
    Pattern(Pattern),
}

/// `photo-{index:04}.jpg`: names numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pattern {
    before: String,
    /// Digits to which the number is padded with zeros.
    width: usize,
    after: String,
}

/// Where the labels are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelSource {
    pub member: String,
    #[serde(flatten)]
    pub form: LabelForm,
    /// Class of pixels that are in no figure; segmentation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<u32>,
    /// The first so many examples are searched for among the others, not each among all others; retrieval only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries: Option<u32>,
}

/// How the labels are written. Which forms a task reads stands in `docs/dataset.md`; [`super::truth::read`] reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LabelForm {
    /// An array whose first axis counts the examples.
    Npy,
    /// A column of a table, one line an example.
    Csv { column: String },
    /// One line an example.
    Lines,
    /// Annotations of boxes as COCO has them.
    Coco,
    /// Any file, which the scorer alone understands.
    File,
}

impl PackageManifest {
    /// Reads `dataset.toml`. `file` is the name for messages.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Problem>> {
        let (manifest, mut reporter) = document::read::<written::ManifestFile>(text, file, MAX_MANIFEST_BYTES)?;
        let manifest = manifest.judge(&mut reporter);
        match manifest {
            Some(manifest) => reporter.finish(manifest),
            None => Err(reporter.into_problems()),
        }
    }

    /// Every member that may be read from the package, each once: inputs, labels, goldens, and what the scorer is
    /// made of.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        let labels = self.labels.iter().map(|labels| labels.member.clone());
        let inputs = self.inputs.iter().flat_map(|input| input.data.members(self.examples));
        let goldens = self.goldens.iter().flat_map(|golden| golden.data.members(self.examples));
        let scorer = self.scorer.iter().flat_map(Scorer::members).cloned();
        let mut seen = BTreeSet::new();
        inputs.chain(labels).chain(goldens).chain(scorer).filter(|member| seen.insert(member.clone())).collect()
    }

    /// The members that hold nothing but goldens.
    #[must_use]
    pub fn golden_members(&self) -> Vec<String> {
        let kept = Self { goldens: Vec::new(), ..self.clone() }.members();
        self.members().into_iter().filter(|member| !kept.contains(member)).collect()
    }
}

impl TensorData {
    /// The members that hold the tensor, in the order of the examples.
    #[must_use]
    pub fn members(&self, examples: u32) -> Vec<String> {
        match self {
            Self::Npy { member } | Self::Npz { member, .. } | Self::Raw { member, .. } => vec![member.clone()],
            Self::Image { members: ImageMembers::Listed(members) } => members.clone(),
            Self::Image { members: ImageMembers::Pattern(pattern) } => (0..examples).map(|i| pattern.name(i)).collect(),
        }
    }
}

impl ImageMembers {
    /// The image of example `index`.
    #[must_use]
    pub fn name(&self, index: u32) -> Option<String> {
        match self {
            Self::Listed(members) => members.get(index as usize).cloned(),
            Self::Pattern(pattern) => Some(pattern.name(index)),
        }
    }
}

impl Pattern {
    /// Reads `photo-{index}.jpg` or `photo-{index:04}.jpg`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} must hold {{index}} or {{index:05}} exactly once");
        let (before, rest) = text.split_once('{').ok_or_else(fault)?;
        let (inside, after) = rest.split_once('}').ok_or_else(fault)?;
        let width = match inside.strip_prefix("index").ok_or_else(fault)? {
            "" => 0,
            width => width.strip_prefix(":0").and_then(|digits| digits.parse().ok()).ok_or_else(fault)?,
        };
        if !(0..=9).contains(&width) || after.contains(['{', '}']) || before.contains('}') {
            return Err(fault());
        }
        Ok(Self { before: before.to_owned(), width, after: after.to_owned() })
    }

    /// The member of example `index`.
    #[must_use]
    pub fn name(&self, index: u32) -> String {
        format!("{}{index:0width$}{}", self.before, self.after, width = self.width)
    }
}

/// Whether a name may be a member: flat, printable and no longer than 255 bytes. The text says what is wrong.
pub fn check_member_name(name: &str) -> Result<(), String> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > 255 {
        "it is longer than 255 bytes"
    } else if name == "." || name == ".." {
        "it is not a file"
    } else if name.contains(['/', '\\']) {
        "members lie flat in the package, without folders"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else if name == MANIFEST_NAME {
        "that is the manifest itself"
    } else {
        return Ok(());
    };
    Err(format!("{:?} cannot be a member's name: {why}", name.chars().take(80).collect::<String>()))
}

/// Whether a name may name a dataset or model: 1 to 100 letters, digits, `.`, `_` and `-`.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Size of a raw member in bytes; `None` when it does not fit 64 bits.
#[must_use]
pub fn raw_bytes(dtype: DType, shape: &[usize], examples: u32) -> Option<u64> {
    shape.iter().try_fold(u64::from(examples) * dtype.size() as u64, |bytes, &axis| bytes.checked_mul(axis as u64))
}

/// The JSON schema of a manifest.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    document::schema_of::<written::ManifestFile>()
}

#[cfg(test)]
mod tests;
