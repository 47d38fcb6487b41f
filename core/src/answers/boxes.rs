//! Boxes from the outputs of a detector.

use std::collections::BTreeMap;

use super::{AnswerError, Outputs, finite, mapped, shape};
use crate::accuracy::detection::{AnswerBox, MAX_DETECTIONS, MAX_MAGNITUDE, Rectangle, overlap};
use crate::dataset::Binding;
use crate::dataset::frame::Frame;
use crate::dataset::outputs::{BoxFormat, Boxes};
use crate::tensor::Tensor;

/// The boxes of one image: those of the dataset's classes whose score reaches the threshold, what overlaps suppressed
/// where that is asked for, and of each class the hundred best, which are all that are judged.
pub(super) fn read(
    outputs: Outputs<'_>,
    boxes: &Boxes,
    binding: &Binding,
    frame: Frame,
    classes: u32,
    image: u32,
) -> Result<Vec<AnswerBox>, AnswerError> {
    let rows = Rows::of(&boxes.tensor, outputs.find(&boxes.tensor)?, boxes.transposed)?;
    if rows.width < 4 {
        return Err(rows.shape("four coordinates a box"));
    }
    let count = match &boxes.count {
        Some(name) => {
            let count = finite(name, outputs.find(name)?, "number of boxes")?;
            count.first().map_or(rows.count, |&count| (count.max(0.0) as usize).min(rows.count))
        }
        None => rows.count,
    };
    let answered = Answered::of(outputs, boxes, binding, &rows)?;
    let threshold = binding.threshold.unwrap_or(f64::NEG_INFINITY);
    let mut per_class: BTreeMap<u32, Vec<AnswerBox>> = BTreeMap::new();
    for index in 0..count {
        let (class, score) = answered.at(&rows, index);
        let wrong = |value, what| AnswerError::NotNumber { output: boxes.tensor.clone(), value, what };
        if !score.is_finite() {
            return Err(wrong(score, "score of a box"));
        }
        let known = class.and_then(|class| mapped(binding.label_map.as_deref(), class));
        let Some(class) = known.filter(|&class| class < classes && score >= threshold) else { continue };
        let corners = corners(boxes.format, rows.four(index));
        let rectangle = frame.back(corners, boxes.normalized);
        if let Some(&value) = rectangle.iter().find(|value| value.is_nan() || value.abs() > MAX_MAGNITUDE) {
            return Err(wrong(value, "coordinate of a box"));
        }
        per_class.entry(class).or_default().push(AnswerBox { image, class, rectangle, score });
    }
    Ok(per_class.into_values().flat_map(|boxes_of_class| best(boxes_of_class, boxes.nms)).collect())
}

/// The best first, equal scores in their order; each that overlaps a better one too much is left out.
fn best(mut boxes: Vec<AnswerBox>, nms: Option<f64>) -> Vec<AnswerBox> {
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<AnswerBox> = Vec::new();
    for answer in boxes {
        if kept.len() == MAX_DETECTIONS {
            break;
        }
        let suppresses = |better: &AnswerBox, most| overlap(better.rectangle, answer.rectangle) > most;
        if nms.is_none_or(|most| !kept.iter().any(|better| suppresses(better, most))) {
            kept.push(answer);
        }
    }
    kept
}

/// Left, top, right, bottom.
fn corners(format: BoxFormat, [a, b, c, d]: Rectangle) -> [f64; 4] {
    match format {
        BoxFormat::Xyxy => [a, b, c, d],
        BoxFormat::Yxyx => [b, a, d, c],
        BoxFormat::Xywh => [a, b, a + c, b + d],
        BoxFormat::Cxcywh => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
    }
}

/// One row a box.
struct Rows<'a> {
    name: &'a str,
    tensor: &'a Tensor,
    count: usize,
    width: usize,
    transposed: bool,
    values: Vec<f64>,
}

impl<'a> Rows<'a> {
    fn of(name: &'a str, tensor: &'a Tensor, transposed: bool) -> Result<Self, AnswerError> {
        let mut axes = tensor.shape();
        while let [1, rest @ ..] = axes
            && rest.len() >= 2
        {
            axes = rest;
        }
        let &[first, second] = axes else {
            return Err(shape(name, tensor, "one row a box".to_owned()));
        };
        let (count, width) = if transposed { (second, first) } else { (first, second) };
        Ok(Self { name, tensor, count, width, transposed, values: tensor.to_f64() })
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[if self.transposed { column * self.count + row } else { row * self.width + column }]
    }

    fn four(&self, row: usize) -> Rectangle {
        std::array::from_fn(|column| self.at(row, column))
    }

    fn shape(&self, expected: &str) -> AnswerError {
        shape(self.name, self.tensor, expected.to_owned())
    }
}

/// Where class and score of a box are.
enum Answered<'a> {
    /// A score and a class for each box.
    One { scores: Vec<f64>, classes: Vec<f64> },
    /// A score for each box and class, from a column on; in rows of their own or those of the coordinates.
    Each { apart: Option<Rows<'a>>, from: usize, objectness: bool },
}

impl<'a> Answered<'a> {
    fn of(outputs: Outputs<'a>, boxes: &'a Boxes, binding: &'a Binding, rows: &Rows<'_>) -> Result<Self, AnswerError> {
        let apart = |name: Option<&'a str>| name.filter(|name| *name != boxes.tensor);
        let list = |name: &str| {
            let tensor = outputs.find(name)?;
            if tensor.len() == rows.count {
                Ok(tensor.to_f64())
            } else {
                Err(shape(name, tensor, format!("one value for each of {} boxes", rows.count)))
            }
        };
        let column = |column: usize| {
            if column < rows.width {
                Ok((0..rows.count).map(|row| rows.at(row, column)).collect())
            } else {
                Err(rows.shape("coordinates, score and class in a row"))
            }
        };
        let scores = apart(binding.scores.as_deref());
        let classes = boxes.classes.as_deref();
        Ok(match (scores, classes) {
            (scores, Some(classes)) => Self::One {
                scores: scores.map_or_else(|| column(4), list)?,
                classes: match apart(Some(classes)) {
                    Some(name) => list(name)?,
                    None => column(if scores.is_some() { 4 } else { 5 })?,
                },
            },
            (Some(scores), None) => {
                let apart = Rows::of(scores, outputs.find(scores)?, boxes.transposed)?;
                if apart.count != rows.count {
                    return Err(apart.shape(&format!("a row for each of {} boxes", rows.count)));
                }
                Self::Each { apart: Some(apart), from: 0, objectness: boxes.objectness }
            }
            (None, None) => {
                if rows.width < 5 + usize::from(boxes.objectness) {
                    return Err(rows.shape("scores behind the coordinates, or `scores` in the binding"));
                }
                Self::Each { apart: None, from: 4, objectness: boxes.objectness }
            }
        })
    }

    /// The model's class and the score of a box. A class below zero is none.
    fn at(&self, rows: &Rows<'_>, index: usize) -> (Option<u32>, f64) {
        match self {
            Self::One { scores, classes } => {
                let class = classes[index].round();
                ((0.0..=f64::from(u32::MAX)).contains(&class).then_some(class as u32), scores[index])
            }
            Self::Each { apart, from, objectness } => {
                let rows = apart.as_ref().unwrap_or(rows);
                let (factor, from) = if *objectness { (rows.at(index, *from), from + 1) } else { (1.0, *from) };
                let scores = (from..rows.width).map(|column| factor * rows.at(index, column));
                // The first of equal ones; what is no number shows as such.
                let mut best = (None, f64::NAN);
                for (class, score) in (0..).zip(scores) {
                    if score.is_nan() {
                        return (Some(class), score);
                    }
                    if best.0.is_none() || score > best.1 {
                        best = (Some(class), score);
                    }
                }
                best
            }
        }
    }
}
