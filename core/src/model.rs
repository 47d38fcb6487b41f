//! Models, their versions and variants, and the signature that a variant claims.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::tensor::DType;
use crate::weights::PrecisionFrom;

/// The file format of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Onnx,
    Nnef,
    Tflite,
    /// A prototxt and a caffemodel.
    Caffe,
    /// A TensorFlow graph with its variables turned into constants: one `.pb`.
    FrozenGraph,
    /// A TensorFlow SavedModel: `saved_model.pb` and the files of its `variables` folder.
    SavedModel,
    /// llama.cpp's.
    Gguf,
    Ncnn,
    Mnn,
    /// Rockchip's.
    Rknn,
    /// A context binary of Qualcomm's QNN.
    Qnn,
}

impl Format {
    pub const ALL: [Self; 11] = [
        Self::Onnx,
        Self::Nnef,
        Self::Tflite,
        Self::Caffe,
        Self::FrozenGraph,
        Self::SavedModel,
        Self::Gguf,
        Self::Ncnn,
        Self::Mnn,
        Self::Rknn,
        Self::Qnn,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Nnef => "nnef",
            Self::Tflite => "tflite",
            Self::Caffe => "caffe",
            Self::FrozenGraph => "frozen_graph",
            Self::SavedModel => "saved_model",
            Self::Gguf => "gguf",
            Self::Ncnn => "ncnn",
            Self::Mnn => "mnn",
            Self::Rknn => "rknn",
            Self::Qnn => "qnn",
        }
    }

    /// The role of a variant's main file.
    #[must_use]
    pub const fn main_role(self) -> &'static str {
        match self {
            Self::Caffe => "prototxt",
            Self::Onnx
            | Self::Nnef
            | Self::Tflite
            | Self::FrozenGraph
            | Self::SavedModel
            | Self::Gguf
            | Self::Ncnn
            | Self::Mnn
            | Self::Rknn
            | Self::Qnn => "model",
        }
    }

    /// The format that a file name suggests.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        const ENDINGS: [(&str, Format); 14] = [
            (".onnx", Format::Onnx),
            (".nnef.tgz", Format::Nnef),
            (".nnef.tar", Format::Nnef),
            (".nnef.tar.gz", Format::Nnef),
            (".tflite", Format::Tflite),
            (".litertlm", Format::Tflite),
            (".prototxt", Format::Caffe),
            (".caffemodel", Format::Caffe),
            (".pb", Format::FrozenGraph),
            (".gguf", Format::Gguf),
            (".param", Format::Ncnn),
            (".mnn", Format::Mnn),
            (".rknn", Format::Rknn),
            (".serialized.bin", Format::Qnn),
        ];
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "saved_model.pb" => return Some(Self::SavedModel),
            // Beside a SavedModel, and no model.
            "fingerprint.pb" => return None,
            _ => {}
        }
        ENDINGS.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a model format ({})", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// Numeric precision of a variant's weights, or of a computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    Fp32,
    Fp16,
    Bf16,
    Int8,
    Int4,
}

impl Precision {
    pub const ALL: [Self; 5] = [Self::Fp32, Self::Fp16, Self::Bf16, Self::Int8, Self::Int4];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// Bits of one number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fp32 => 32,
            Self::Fp16 | Self::Bf16 => 16,
            Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a precision (fp32, fp16, bf16, int8, int4)"))
    }
}

/// One file of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// What the file is to the engine: `model`, `external_data`, `weights`, `tokenizer`, …
    pub role: String,
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// The flat name under which the engine finds it; never a path.
    pub file_name: String,
}

/// Everything that is one variant, by role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Manifest {
    pub entries: Vec<ManifestEntry>,
}

impl Manifest {
    /// Total size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// The file that has this role.
    #[must_use]
    pub fn role(&self, role: &str) -> Option<&ManifestEntry> {
        self.entries.iter().find(|entry| entry.role == role)
    }
}

/// One axis of a tensor: a number, or the name of an axis that the caller fixes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axis {
    Fixed(u64),
    Named(String),
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<Axis>,
}

/// Inputs and outputs by name, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
    /// Whose word the variant's precision is; absent from what was stored before anybody asked, and from what a device
    /// finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision_from: Option<PrecisionFrom>,
}

impl Signature {
    /// In which way what was found cannot be what this claims; `None` when both can be true.
    ///
    /// Engines name axes differently and infer more or fewer sizes, so a named axis agrees with any size, and outputs
    /// count only where the claim has some.
    #[must_use]
    pub fn contradiction(&self, found: &Self) -> Option<String> {
        let sides = [("input", &self.inputs, &found.inputs), ("output", &self.outputs, &found.outputs)];
        sides.into_iter().filter(|(_, claimed, _)| !claimed.is_empty()).find_map(|(side, claimed, found)| {
            let names = |tensors: &[TensorSpec]| {
                let mut names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
                names.sort();
                names
            };
            if names(claimed) != names(found) {
                return Some(format!("{side}s {:?} are claimed and the file has {:?}", names(claimed), names(found)));
            }
            let pairs = claimed.iter().filter_map(|tensor| Some((tensor, named(found, &tensor.name)?)));
            pairs.into_iter().find(|(claimed, found)| !claimed.agrees(found)).map(|(claimed, found)| {
                format!("{side} {:?} is claimed as {claimed} and is {found} in the file", claimed.name)
            })
        })
    }
}

fn named<'a>(tensors: &'a [TensorSpec], name: &str) -> Option<&'a TensorSpec> {
    tensors.iter().find(|tensor| tensor.name == name)
}

impl TensorSpec {
    fn agrees(&self, other: &Self) -> bool {
        let axes = self.shape.iter().zip(&other.shape);
        self.dtype == other.dtype
            && self.shape.len() == other.shape.len()
            && axes.into_iter().all(|(one, other)| match (one, other) {
                (Axis::Fixed(one), Axis::Fixed(other)) => one == other,
                (Axis::Named(_), _) | (_, Axis::Named(_)) => true,
            })
    }
}

/// `f32 [batch, 3, 224, 224]`
impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.shape.iter().map(Axis::to_string).collect();
        write!(f, "{} [{}]", self.dtype.as_str(), axes.join(", "))
    }
}

/// Whether a device has loaded the variant and found the signature as claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureStanding {
    Claimed,
    Confirmed,
    Refused,
}

impl SignatureStanding {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dtype: DType, shape: &[Axis]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    fn image(batch: Axis, classes: u64) -> Signature {
        Signature {
            inputs: vec![tensor("image", DType::F32, &[batch, Axis::Fixed(28)])],
            outputs: vec![tensor("logits", DType::F32, &[Axis::Fixed(1), Axis::Fixed(classes)])],
            precision_from: None,
        }
    }

    #[test]
    fn a_named_axis_agrees_with_any_size_and_with_any_name() {
        let named = |name: &str| image(Axis::Named(name.to_owned()), 10);
        for (claimed, found) in [
            (named("batch"), image(Axis::Fixed(1), 10)),
            (image(Axis::Fixed(8), 10), named("N")),
            (named("batch"), named("axis0")),
            (Signature::default(), image(Axis::Fixed(1), 10)),
            (Signature { outputs: Vec::new(), ..named("batch") }, named("batch")),
        ] {
            assert_eq!(claimed.contradiction(&found), None, "{claimed:?} against {found:?}");
        }
    }

    #[test]
    fn what_cannot_both_be_true_is_said() {
        let claimed = image(Axis::Fixed(1), 10);
        let ten = || image(Axis::Fixed(1), 10);
        let mut other_type = ten();
        other_type.inputs[0].dtype = DType::U8;
        let mut other_rank = ten();
        other_rank.inputs[0].shape.push(Axis::Named("x".to_owned()));
        let mut renamed = ten();
        renamed.inputs[0].name = "pixels".to_owned();
        for (found, said) in [
            (image(Axis::Fixed(1), 12), r#"output "logits" is claimed as f32 [1, 10] and is f32 [1, 12] in the file"#),
            (other_type, r#"input "image" is claimed as f32 [1, 28] and is u8 [1, 28] in the file"#),
            (other_rank, r#"input "image" is claimed as f32 [1, 28] and is f32 [1, 28, x] in the file"#),
            (renamed, r#"inputs ["image"] are claimed and the file has ["pixels"]"#),
        ] {
            assert_eq!(claimed.contradiction(&found).as_deref(), Some(said));
        }
    }
}
