//! Datasets and bindings: raw inputs with labels or goldens, and how a model's tensors are made from them.

pub mod coco;
pub mod frame;
pub mod labels;
pub mod npy;
pub mod outputs;
pub mod package;
pub mod scorer;
pub mod truth;

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
    /// Objects in each image, with their boxes and classes.
    Detection,
    /// The class of each pixel.
    Segmentation,
    /// The text that an example shows or says.
    Text,
    /// Any number of classes per example, such as the events in a sound.
    Multilabel,
    /// Embeddings that put examples of one identity next to each other.
    Retrieval,
    /// A number per example.
    Regression,
    /// Reference outputs per example.
    Golden,
    /// Whatever the program says that comes with the dataset. See [`scorer`].
    Custom,
}

impl Task {
    pub const ALL: [Self; 9] = [
        Self::Classification,
        Self::Detection,
        Self::Segmentation,
        Self::Text,
        Self::Multilabel,
        Self::Retrieval,
        Self::Regression,
        Self::Golden,
        Self::Custom,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Detection => "detection",
            Self::Segmentation => "segmentation",
            Self::Text => "text",
            Self::Multilabel => "multilabel",
            Self::Retrieval => "retrieval",
            Self::Regression => "regression",
            Self::Golden => "golden",
            Self::Custom => "custom",
        }
    }

    /// Whether a dataset of it names the classes that its labels are of.
    #[must_use]
    pub const fn has_classes(self) -> bool {
        match self {
            Self::Classification | Self::Detection | Self::Segmentation | Self::Multilabel => true,
            Self::Text | Self::Retrieval | Self::Regression | Self::Golden | Self::Custom => false,
        }
    }

    /// The metric that tells in one number how good a model is at it; a golden dataset has none, and one with a scorer has
    /// names of its own.
    #[must_use]
    pub const fn headline(self) -> Option<&'static str> {
        match self {
            Self::Classification => Some("top1"),
            Self::Detection => Some("map"),
            Self::Segmentation => Some("miou"),
            Self::Text => Some("cer"),
            Self::Multilabel => Some("f1_macro"),
            Self::Retrieval => Some("hit_1"),
            Self::Regression => Some("mae"),
            Self::Golden | Self::Custom => None,
        }
    }
}

impl std::str::FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|task| task.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("{text:?} is not a task ({known})")
        })
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
    /// The output that the task reads: class scores, a mask, an embedding, a number, characters; the first output when
    /// absent.
    pub scores: Option<String>,
    /// Score from which a class is answered (multilabel, [`outputs::ANSWERED_FROM`] when absent) and from which a box
    /// counts (detection, every box when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// How boxes are read, for detection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boxes: Option<outputs::Boxes>,
    /// How characters are read, for text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<outputs::Text>,
    /// Sizes of named axes: `batch = 1`.
    pub axes: BTreeMap<String, u64>,
    /// `label_map[i]` is the dataset's class of the model's class `i`; identity when absent. At most [`MAX_LABEL_MAP`]
    /// entries.
    pub label_map: Option<Vec<u32>>,
}

impl Binding {
    /// Keys of the outputs that cannot be meant, with the reason.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.threshold.is_some_and(f64::is_nan) {
            faults.push(("threshold", "expected a number".to_owned()));
        }
        let share = |share: f64| (0.0..=1.0).contains(&share);
        if self.boxes.as_ref().and_then(|boxes| boxes.nms).is_some_and(|nms| !share(nms)) {
            faults.push(("boxes.nms", "expected an intersection over union, 0 to 1".to_owned()));
        }
        let characters = self.text.as_ref().map_or(0, |text| text.alphabet.chars().count());
        if characters > outputs::MAX_ALPHABET {
            let most = outputs::MAX_ALPHABET;
            faults.push(("text.alphabet", format!("it has {characters} characters, and at most {most} are allowed")));
        }
        if self.text.is_some() && characters == 0 {
            faults.push(("text.alphabet", "a text needs characters".to_owned()));
        }
        faults
    }

    /// Every output that it names.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        let boxes = self.boxes.iter().flat_map(|boxes| {
            [Some(&boxes.tensor), boxes.classes.as_ref(), boxes.count.as_ref()].into_iter().flatten()
        });
        self.scores.iter().chain(boxes).map(String::as_str)
    }
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

impl InputBinding {
    /// Feeds an input as it is.
    #[must_use]
    pub fn plain(tensor: &str) -> Self {
        Self {
            tensor: tensor.to_owned(),
            source: None,
            resize: None,
            crop: None,
            channels: None,
            scale: None,
            mean: None,
            std: None,
            layout: None,
            shape: None,
            dtype: None,
            quantization: None,
        }
    }
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

impl Resize {
    /// Height and width of an image of this height and width after scaling, before any crop.
    #[must_use]
    pub fn target(&self, [height, width]: [u32; 2]) -> [u32; 2] {
        if !self.keep_aspect {
            return [self.height, self.width];
        }
        let factor = f64::max(f64::from(self.width) / f64::from(width), f64::from(self.height) / f64::from(height));
        let side = |pixels: u32| (f64::from(pixels) * factor).round() as u32;
        [side(height).max(self.height), side(width).max(self.width)]
    }
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
