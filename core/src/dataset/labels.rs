//! Labels of a classification dataset: one class index per example, from an integer array or from a CSV column.
//!
//! A label that is missing or means no class is an error and never a wrong answer: it would lower an accuracy that the
//! model does not deserve.

use crate::suite::problem::nearest;
use crate::tensor::{DType, Tensor};

/// Why labels cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    #[error("there are {found} labels for {examples} examples")]
    Count { found: usize, examples: u32 },
    #[error("labels of type {dtype} and shape {shape:?} cannot be used: expected one integer an example", dtype = dtype.as_str())]
    Array { dtype: DType, shape: Vec<usize> },
    #[error("label {label} of example {example} is no class: expected 0 to {last}")]
    OutOfRange { example: usize, label: i128, last: usize },
    #[error("the labels are not text in UTF-8")]
    Encoding,
    #[error("there is no column {column:?}{}; the first line names {known}", hint(.near.as_deref()))]
    Column { column: String, near: Option<String>, known: String },
    #[error("line {line}: a quoted field does not end on its line")]
    Quote { line: usize },
    #[error("line {line}: column {column:?} is missing")]
    Field { line: usize, column: String },
    #[error("line {line}: {label:?} is neither the name nor the index of a class{}", hint(.near.as_deref()))]
    Class { line: usize, label: String, near: Option<String> },
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default()
}

/// Labels from an integer array of shape `[examples]` or `[examples, 1]`.
pub fn from_tensor(tensor: &Tensor, examples: u32, classes: &[String]) -> Result<Vec<u32>, LabelError> {
    let refuse = || LabelError::Array { dtype: tensor.dtype(), shape: tensor.shape().to_vec() };
    let &[found] = tensor.shape().strip_suffix(&[1]).filter(|shape| shape.len() == 1).unwrap_or(tensor.shape()) else {
        return Err(refuse());
    };
    if found != examples as usize {
        return Err(LabelError::Count { found, examples });
    }
    let integers = integers(tensor).ok_or_else(refuse)?;
    let label = |(example, label): (usize, i128)| match u32::try_from(label) {
        Ok(index) if (index as usize) < classes.len() => Ok(index),
        Ok(_) | Err(_) => Err(LabelError::OutOfRange { example, label, last: classes.len().saturating_sub(1) }),
    };
    integers.into_iter().enumerate().map(label).collect()
}

fn integers(tensor: &Tensor) -> Option<Vec<i128>> {
    macro_rules! read {
        ($kind:ty) => {{
            let elements = tensor.bytes().chunks_exact(size_of::<$kind>());
            let values = elements.filter_map(|element| element.try_into().ok().map(<$kind>::from_le_bytes));
            Some(values.map(i128::from).collect())
        }};
    }
    match tensor.dtype() {
        DType::I8 => read!(i8),
        DType::U8 => read!(u8),
        DType::I16 => read!(i16),
        DType::U16 => read!(u16),
        DType::I32 => read!(i32),
        DType::U32 => read!(u32),
        DType::I64 => read!(i64),
        DType::U64 => read!(u64),
        DType::F32 | DType::F64 | DType::F16 | DType::Bool => None,
    }
}

/// Labels from a column of a CSV text (RFC 4180, but no field goes over a line's end): the first line names the
/// columns, then one line an example, in order. A field is the name of a class or else its index.
pub fn parse_csv(bytes: &[u8], column: &str, examples: u32, classes: &[String]) -> Result<Vec<u32>, LabelError> {
    let text = std::str::from_utf8(bytes).map_err(|_| LabelError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines =
        text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty());
    let (number, first) = lines.next().unwrap_or((1, ""));
    let names = fields(first, number)?;
    let position = names.iter().position(|name| name == column).ok_or_else(|| LabelError::Column {
        column: column.to_owned(),
        near: nearest(column, names.iter().map(String::as_str)).map(str::to_owned),
        known: names.join(", ").chars().take(200).collect(),
    })?;
    let index: std::collections::HashMap<&str, u32> =
        classes.iter().zip(0..).map(|(name, index)| (name.as_str(), index)).collect();
    let mut labels = Vec::new();
    for (line, row) in lines {
        let row = fields(row, line)?;
        let field = row.get(position).ok_or_else(|| LabelError::Field { line, column: column.to_owned() })?;
        let by_index = || field.parse::<u32>().ok().filter(|&index| (index as usize) < classes.len());
        let label = index.get(field.as_str()).copied().or_else(by_index).ok_or_else(|| LabelError::Class {
            line,
            label: field.chars().take(80).collect(),
            near: nearest(field, classes.iter().map(String::as_str)).map(str::to_owned),
        })?;
        labels.push(label);
    }
    if labels.len() == examples as usize {
        Ok(labels)
    } else {
        Err(LabelError::Count { found: labels.len(), examples })
    }
}

/// The fields of one line, without their quotes.
fn fields(line: &str, number: usize) -> Result<Vec<String>, LabelError> {
    let mut fields = Vec::new();
    let mut signs = line.chars().peekable();
    loop {
        let mut field = String::new();
        if signs.next_if_eq(&'"').is_some() {
            loop {
                match signs.next() {
                    Some('"') if signs.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(sign) => field.push(sign),
                    None => return Err(LabelError::Quote { line: number }),
                }
            }
        }
        while let Some(sign) = signs.next_if(|&sign| sign != ',') {
            field.push(sign);
        }
        fields.push(field);
        if signs.next().is_none() {
            return Ok(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn classes() -> Vec<String> {
        ["cat", "dog", "1"].map(str::to_owned).to_vec()
    }

    fn csv(text: &str, examples: u32) -> Result<Vec<u32>, LabelError> {
        parse_csv(text.as_bytes(), "label", examples, &classes())
    }

    #[test]
    fn a_field_is_a_name_before_it_is_an_index() {
        assert_eq!(csv("file,label\na.png,dog\nb.png,0\nc.png,1\n", 3), Ok(vec![1, 0, 2]));
    }

    #[test]
    fn quotes_carriage_returns_and_a_byte_order_mark_are_read() {
        assert_eq!(csv("\u{feff}\"label\",note\r\n\"cat\",\"a, \"\"b\"\"\"\r\n", 1), Ok(vec![0]));
        assert_eq!(csv("label\n\"cat", 1), Err(LabelError::Quote { line: 2 }));
    }

    #[test]
    fn a_missing_label_is_an_error_and_not_a_wrong_answer() {
        assert_eq!(csv("label\ncat\n", 2), Err(LabelError::Count { found: 1, examples: 2 }));
        assert_eq!(csv("note,label\nx\n", 1), Err(LabelError::Field { line: 2, column: "label".to_owned() }));
        let error = csv("label\ncatt\n", 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: \"catt\" is neither the name nor the index of a class (did you mean \"cat\"?)"
        );
        let error = csv("Labels\ncat\n", 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no column \"label\" (did you mean \"Labels\"?); the first line names Labels"
        );
        assert_eq!(parse_csv(&[0xff], "label", 1, &classes()), Err(LabelError::Encoding));
    }

    #[test]
    fn integer_arrays_of_any_width_are_labels_and_others_are_not() {
        let column =
            Tensor::new(DType::I64, vec![2, 1], [1_i64, 2].iter().flat_map(|label| label.to_le_bytes()).collect())
                .unwrap();
        assert_eq!(from_tensor(&column, 2, &classes()), Ok(vec![1, 2]));
        let outside = Tensor::new(DType::I8, vec![2], vec![0, 0xff]).unwrap();
        assert_eq!(
            from_tensor(&outside, 2, &classes()),
            Err(LabelError::OutOfRange { example: 1, label: -1, last: 2 })
        );
        assert_eq!(from_tensor(&outside, 3, &classes()), Err(LabelError::Count { found: 2, examples: 3 }));
        let scores = Tensor::new(DType::F32, vec![1], vec![0; 4]).unwrap();
        assert!(matches!(from_tensor(&scores, 1, &classes()), Err(LabelError::Array { .. })));
        let one_hot = Tensor::new(DType::U8, vec![1, 3], vec![0; 3]).unwrap();
        assert!(matches!(from_tensor(&one_hot, 1, &classes()), Err(LabelError::Array { .. })));
    }

    #[test]
    fn one_example_alone_is_not_mistaken_for_an_axis() {
        let single = Tensor::new(DType::U8, vec![1], vec![2]).unwrap();
        assert_eq!(from_tensor(&single, 1, &classes()), Ok(vec![2]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\",\na-c0-9]{0,60}") {
            let _ = parse_csv(&bytes, "label", 3, &classes());
            let _ = csv(&text, 3);
            let _ = csv(&format!("label\n{text}"), 3);
        }
    }
}
