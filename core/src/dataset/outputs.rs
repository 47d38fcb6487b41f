//! How the outputs of a model are read, where one tensor of scores does not say it all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Score from which a class is answered, where a binding says nothing else.
pub const ANSWERED_FROM: f64 = 0.5;
/// Characters of an alphabet: more than the largest of public text recognisers have.
pub const MAX_ALPHABET: usize = 1 << 15;

/// How boxes stand in the outputs. Axes of size 1 in front do not count.
///
/// Coordinates are those of the image that the model was given; they are taken back to the dataset's image through
/// resize and crop. Scores are in the binding's `scores`: one a box where `classes` is named, else one a box and class,
/// of which the highest counts. Where `scores` is absent or the same output, each row holds four coordinates and then
/// the scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Boxes {
    /// Output with the coordinates: `[boxes, 4]`, or `[boxes, 4 + scores]`.
    pub tensor: String,
    pub format: BoxFormat,
    /// Coordinates are shares of the image, 0 to 1, and not pixels.
    #[serde(default)]
    pub normalized: bool,
    /// Output with the class of each box. The same output as `tensor` when a row is coordinates, score, class.
    #[serde(default)]
    pub classes: Option<String>,
    /// Output with the number of boxes that count, from the first on; all when absent.
    #[serde(default)]
    pub count: Option<String>,
    /// Boxes are along the last axis: `[4, boxes]`, `[classes, boxes]`.
    #[serde(default)]
    pub transposed: bool,
    /// The first score of a row is that of any object; those of the classes are multiplied by it.
    #[serde(default)]
    pub objectness: bool,
    /// Of two boxes of a class whose intersection over union is larger, the one with the lower score goes. Nothing is
    /// suppressed when absent: the model has done it, or needs none.
    #[serde(default)]
    pub nms: Option<f64>,
}

/// What the four coordinates of a box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Left, top, width, height.
    Xywh,
    /// Centre across, centre down, width, height.
    Cxcywh,
}

/// How an output becomes a text.
///
/// Scores `[steps, classes]` are read by their best path: the class with the highest score of each step, equal ones in
/// a row once, blanks left out (Graves et al. 2006). Whole numbers are the classes themselves, one a character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The characters of the classes in their order, without the blank. At most [`MAX_ALPHABET`].
    pub alphabet: String,
    /// The class that is no character. Scores need one.
    #[serde(default)]
    pub blank: Option<u32>,
    /// The class behind which nothing is read.
    #[serde(default)]
    pub end: Option<u32>,
}

impl Text {
    /// The character of a class: `None` for the blank, and an error for a class that is neither.
    pub fn character(&self, alphabet: &[char], class: u32) -> Result<Option<char>, u32> {
        match self.blank {
            Some(blank) if class == blank => Ok(None),
            Some(blank) if class > blank => alphabet.get(class as usize - 1).copied().map(Some).ok_or(class),
            Some(_) | None => alphabet.get(class as usize).copied().map(Some).ok_or(class),
        }
    }
}
