//! Models, their versions and variants, and the signature that a variant claims.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::tensor::DType;

/// The file format of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Onnx,
    Nnef,
    Tflite,
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Onnx, Self::Nnef, Self::Tflite];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Nnef => "nnef",
            Self::Tflite => "tflite",
        }
    }

    /// The format that a file name suggests.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        const ENDINGS: [(&str, Format); 6] = [
            (".onnx", Format::Onnx),
            (".nnef.tgz", Format::Nnef),
            (".nnef.tar", Format::Nnef),
            (".nnef.tar.gz", Format::Nnef),
            (".tflite", Format::Tflite),
            (".litertlm", Format::Tflite),
        ];
        let name = name.to_ascii_lowercase();
        ENDINGS.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a model format (onnx, nnef, tflite)"))
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
