//! Classes of pixels from the output of a segmenter.

use super::{AnswerError, is_whole, mapped, shape};
use crate::accuracy::segmentation::NO_CLASS;
use crate::tensor::Tensor;

/// The dataset's class of each pixel, row by row: of whole numbers the class itself, of scores the class with the
/// highest one, the lower of equal ones. A class that the map does not hold is none, and so is a pixel without a number.
pub(super) fn read(
    name: &str,
    tensor: &Tensor,
    [height, width]: [usize; 2],
    map: Option<&[u32]>,
    classes: u32,
) -> Result<Vec<i64>, AnswerError> {
    let leading =
        |wanted: &[usize]| tensor.shape().strip_suffix(wanted).is_some_and(|rest| rest.iter().all(|&axis| axis == 1));
    let values = tensor.to_f64();
    let pixels = height * width;
    let model: Vec<Option<u32>> =
        if is_whole(tensor.dtype()) && (leading(&[height, width]) || leading(&[height, width, 1])) {
            values.iter().map(|&class| (0.0..=f64::from(u32::MAX)).contains(&class).then_some(class as u32)).collect()
        } else {
            let scores = values.len().checked_div(pixels).unwrap_or(0);
            if scores < 2 {
                return Err(wrong(name, tensor, [height, width]));
            }
            let place: &dyn Fn(usize, usize) -> usize = if leading(&[scores, height, width]) {
                &|pixel, class| class * pixels + pixel
            } else if leading(&[height, width, scores]) {
                &|pixel, class| pixel * scores + class
            } else {
                return Err(wrong(name, tensor, [height, width]));
            };
            (0..pixels).map(|pixel| best((0..scores).map(|class| values[place(pixel, class)]))).collect()
        };
    let answer = |class: Option<u32>| match (class.and_then(|class| mapped(map, class)), map) {
        (Some(class), Some(_)) if class >= classes => NO_CLASS,
        (Some(class), _) => i64::from(class),
        (None, _) => NO_CLASS,
    };
    Ok(model.into_iter().map(answer).collect())
}

fn best(scores: impl Iterator<Item = f64>) -> Option<u32> {
    let mut best: Option<(u32, f64)> = None;
    for (class, score) in (0..).zip(scores).filter(|(_, score)| !score.is_nan()) {
        if best.is_none_or(|(_, other)| score > other) {
            best = Some((class, score));
        }
    }
    best.map(|(class, _)| class)
}

fn wrong(name: &str, tensor: &Tensor, [height, width]: [usize; 2]) -> AnswerError {
    let expected = format!(
        "scores [classes, {height}, {width}] or [{height}, {width}, classes], or whole numbers [{height}, {width}], \
         which is the size of the dataset's masks"
    );
    shape(name, tensor, expected)
}
