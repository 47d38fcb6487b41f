//! Datasets and bindings: raw inputs with labels or goldens, and how a model's tensors are made from them.

pub mod labels;
pub mod npy;
pub mod package;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tensor::DType;

/// What a dataset asks of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One label per example, from a fixed list of classes.
    Classification,
    /// Reference outputs per example.
    Golden,
}

impl Task {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Golden => "golden",
        }
    }
}

impl std::str::FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "classification" => Ok(Self::Classification),
            "golden" => Ok(Self::Golden),
            _ => Err(format!("{text:?} is not a task (classification, golden)")),
        }
    }
}

/// Entries of a label map: more classes than the largest public sets of images have.
pub const MAX_LABEL_MAP: usize = 1 << 15;

/// Preprocessing, tensor names, shapes for dynamic axes and label map: belongs to the model version, a suite may
/// override it. An empty binding feeds each dataset input to the model input of the same name, unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Binding {
    pub inputs: Vec<InputBinding>,
    /// The output that carries class scores; the first output when absent.
    pub scores: Option<String>,
    /// Sizes of named axes: `batch = 1`.
    pub axes: BTreeMap<String, u64>,
    /// `label_map[i]` is the dataset's class of the model's class `i`; identity when absent. At most [`MAX_LABEL_MAP`]
    /// entries.
    pub label_map: Option<Vec<u32>>,
}

/// How one model input is made from one dataset input. Steps are applied in the order of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputBinding {
    /// Name of the model's input.
    pub tensor: String,
    /// Name of the dataset's input; the same name when absent.
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub resize: Option<Resize>,
    /// Centre crop to `[height, width]` after resizing.
    #[serde(default)]
    pub crop: Option<[u32; 2]>,
    #[serde(default)]
    pub channels: Option<Channels>,
    /// Multiplies every raw value before mean and std: `0.00392156862745098` for 1/255.
    #[serde(default)]
    pub scale: Option<f32>,
    /// One value, or one a channel; subtracted after scaling.
    #[serde(default)]
    pub mean: Option<Vec<f32>>,
    /// One value, or one a channel; divides last.
    #[serde(default)]
    pub std: Option<Vec<f32>>,
    #[serde(default)]
    pub layout: Option<Layout>,
    /// Shape that the model is given, when it differs from the dataset's only by axes of size 1.
    #[serde(default)]
    pub shape: Option<Vec<u64>>,
    /// Element type that the model is given; f32 when any arithmetic is asked for.
    #[serde(default)]
    pub dtype: Option<DType>,
    #[serde(default)]
    pub quantization: Option<Quantization>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    pub height: u32,
    pub width: u32,
    #[serde(default)]
    pub filter: Filter,
    /// Scale the shorter side and keep the proportions; crop must follow.
    #[serde(default)]
    pub keep_aspect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    Nearest,
    #[default]
    Bilinear,
    Bicubic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    Rgb,
    Bgr,
    Gray,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    Nchw,
    Nhwc,
}

/// `q = round(value / scale) + zero_point`, clamped to the type.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    pub scale: f32,
    pub zero_point: i32,
}
