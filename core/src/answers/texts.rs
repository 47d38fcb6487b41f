//! Texts from the output of a recogniser.

use super::{AnswerError, is_whole, shape};
use crate::accuracy::classification::top_classes;
use crate::dataset::outputs::Text;
use crate::tensor::Tensor;

/// The text of one example: whole numbers are characters, scores `[steps, classes]` are read by their best path.
pub(super) fn read(name: &str, tensor: &Tensor, text: &Text, alphabet: &[char]) -> Result<String, AnswerError> {
    let values = tensor.to_f64();
    let classes: Vec<i64> = if is_whole(tensor.dtype()) {
        values.iter().map(|&class| class as i64).collect()
    } else {
        if text.blank.is_none() {
            return Err(AnswerError::NoBlank);
        }
        let width = alphabet.len() + 1;
        let axes = tensor.shape();
        let long = axes.iter().rev().skip(1).filter(|&&axis| axis != 1).count();
        if axes.last() != Some(&width) || long > 1 {
            let expected = format!("[steps, {width}]: the {} characters of the alphabet and the blank", width - 1);
            return Err(shape(name, tensor, expected));
        }
        if let Some(&value) = values.iter().find(|value| value.is_nan()) {
            return Err(AnswerError::NotNumber { output: name.to_owned(), value, what: "score of a character" });
        }
        let mut path: Vec<i64> = values.chunks_exact(width).map(|scores| top_classes(scores)[0]).collect();
        path.dedup();
        path
    };
    let mut answer = String::new();
    for class in classes {
        let wrong = || AnswerError::Character { output: name.to_owned(), class, characters: alphabet.len() };
        let class = u32::try_from(class).map_err(|_| wrong())?;
        if text.end == Some(class) {
            break;
        }
        answer.extend(text.character(alphabet, class).map_err(|_| wrong())?);
    }
    Ok(answer)
}
