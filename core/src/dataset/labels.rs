//! Labels of one value an example: from an array, a CSV column or the lines of a text.
//!
//! A label that is missing or means nothing is an error and never a wrong answer: it would lower an accuracy that the
//! model does not deserve.

use super::npy::NpyError;
use crate::accuracy::deviation::MAX_MAGNITUDE;
use crate::accuracy::text::MAX_LENGTH;
use crate::evidence::MAX_VALUES;
use crate::suite::problem::nearest;
use crate::tensor::{DType, Tensor};

/// Why labels cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum LabelError {
    #[error("there are {found} labels for {examples} examples")]
    Count { found: usize, examples: u32 },
    #[error("labels of type {dtype} and shape {shape:?} cannot be used: expected {expected}", dtype = dtype.as_str())]
    Array { dtype: DType, shape: Vec<usize>, expected: &'static str },
    #[error(transparent)]
    Npy(#[from] NpyError),
    #[error("the annotations cannot be read: {0}")]
    Coco(#[from] super::coco::CocoError),
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
    #[error("line {line}: class {class:?} is there twice")]
    Twice { line: usize, class: String },
    #[error("line {line}: {text:?} is not a number")]
    Number { line: usize, text: String },
    #[error("line {line}: a text of {length} characters, at most {MAX_LENGTH} are compared")]
    TooLong { line: usize, length: usize },
    #[error("{0} characters in all, at most {MAX_VALUES} are kept of a dataset")]
    TooManyCharacters(usize),
    #[error("value {value} of example {example} is neither 0 nor 1")]
    Flag { example: usize, value: i128 },
    #[error("value {value} of example {example} is not a finite number within ±{MAX_MAGNITUDE:e}")]
    Value { example: usize, value: f64 },
    #[error("identity {identity} of example {example} is not from 0 to {}", u32::MAX)]
    Identity { example: usize, identity: i128 },
    #[error("no example has the identity of another, so that there is nothing to find")]
    NothingToFind,
    #[error("pixel {pixel} of example {example} has class {class}, which is neither a class nor the ignored one")]
    Pixel { example: usize, pixel: usize, class: i128 },
}

const ONE_INTEGER: &str = "one integer an example";

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default()
}

/// Labels from an integer array of shape `[examples]` or `[examples, 1]`.
pub fn from_tensor(tensor: &Tensor, examples: u32, classes: &[String]) -> Result<Vec<u32>, LabelError> {
    let label = |(example, label): (usize, i128)| match u32::try_from(label) {
        Ok(index) if (index as usize) < classes.len() => Ok(index),
        Ok(_) | Err(_) => Err(LabelError::OutOfRange { example, label, last: classes.len().saturating_sub(1) }),
    };
    one_each(tensor, examples)?.into_iter().enumerate().map(label).collect()
}

/// The integers of an array of shape `[examples]` or `[examples, 1]`.
pub(super) fn one_each(tensor: &Tensor, examples: u32) -> Result<Vec<i128>, LabelError> {
    let refuse = || refused(tensor, ONE_INTEGER);
    check_count(tensor, examples).ok_or_else(refuse)??;
    integers(tensor).ok_or_else(refuse)
}

/// The numbers of an array of shape `[examples]` or `[examples, 1]`.
pub(super) fn numbers(tensor: &Tensor, examples: u32) -> Result<Vec<f64>, LabelError> {
    check_count(tensor, examples).ok_or_else(|| refused(tensor, "one number an example"))??;
    Ok(tensor.to_f64())
}

/// `None` for another shape than one value an example.
fn check_count(tensor: &Tensor, examples: u32) -> Option<Result<(), LabelError>> {
    let shape = tensor.shape();
    let &[found] = shape.strip_suffix(&[1]).filter(|shape| shape.len() == 1).unwrap_or(shape) else { return None };
    Some(if found == examples as usize { Ok(()) } else { Err(LabelError::Count { found, examples }) })
}

pub(super) fn refused(tensor: &Tensor, expected: &'static str) -> LabelError {
    LabelError::Array { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), expected }
}

/// `None` for a type that has fractions, or for booleans.
pub(super) fn integers(tensor: &Tensor) -> Option<Vec<i128>> {
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

/// A label as it is written, with the number of its line.
pub(super) type Field = (usize, String);

/// A column of a CSV text (RFC 4180, but no field goes over a line's end): the first line names the columns, then one
/// line an example, in order.
pub(super) fn csv_column(bytes: &[u8], column: &str, examples: u32) -> Result<Vec<Field>, LabelError> {
    let mut lines = text_lines(bytes)?.filter(|(_, line)| !line.is_empty());
    let (number, first) = lines.next().unwrap_or((1, ""));
    let names = fields(first, number)?;
    let position = names.iter().position(|name| name == column).ok_or_else(|| LabelError::Column {
        column: column.to_owned(),
        near: nearest(column, names.iter().map(String::as_str)).map(str::to_owned),
        known: names.join(", ").chars().take(200).collect(),
    })?;
    let field = |(line, row): (usize, &str)| {
        let mut row = fields(row, line)?;
        if position < row.len() {
            Ok((line, row.swap_remove(position)))
        } else {
            Err(LabelError::Field { line, column: column.to_owned() })
        }
    };
    counted(lines.map(field).collect::<Result<_, _>>()?, examples)
}

/// The lines of a text, one an example, in order.
pub(super) fn lines(bytes: &[u8], examples: u32) -> Result<Vec<Field>, LabelError> {
    counted(text_lines(bytes)?.map(|(line, text)| (line, text.to_owned())).collect(), examples)
}

fn text_lines(bytes: &[u8]) -> Result<impl Iterator<Item = (usize, &str)>, LabelError> {
    let text = std::str::from_utf8(bytes).map_err(|_| LabelError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.lines().enumerate().map(|(index, line)| (index + 1, line)))
}

fn counted(fields: Vec<Field>, examples: u32) -> Result<Vec<Field>, LabelError> {
    if fields.len() == examples as usize {
        Ok(fields)
    } else {
        Err(LabelError::Count { found: fields.len(), examples })
    }
}

/// Classes by the names that they have, or else by their index.
pub(super) struct Classes<'a> {
    names: &'a [String],
    index: std::collections::HashMap<&'a str, u32>,
}

impl<'a> Classes<'a> {
    pub(super) fn new(names: &'a [String]) -> Self {
        Self { names, index: names.iter().zip(0..).map(|(name, index)| (name.as_str(), index)).collect() }
    }

    pub(super) fn named(&self, name: &str) -> Option<u32> {
        self.index.get(name).copied()
    }

    pub(super) fn find(&self, field: &str) -> Option<u32> {
        let by_index = || field.parse::<u32>().ok().filter(|&index| (index as usize) < self.names.len());
        self.named(field).or_else(by_index)
    }

    fn read(&self, line: usize, field: &str) -> Result<u32, LabelError> {
        self.find(field).ok_or_else(|| LabelError::Class {
            line,
            label: field.chars().take(80).collect(),
            near: nearest(field, self.names.iter().map(String::as_str)).map(str::to_owned),
        })
    }
}

/// A field is the name of a class or else its index.
pub(super) fn classes_of(fields: &[Field], classes: &[String]) -> Result<Vec<u32>, LabelError> {
    let known = Classes::new(classes);
    fields.iter().map(|(line, field)| known.read(*line, field)).collect()
}

/// A field is one class, or several with `;` between them, or with `,` where there is no `;`. An empty one is none.
pub(super) fn sets_of(fields: &[Field], classes: &[String]) -> Result<Vec<Vec<u32>>, LabelError> {
    let known = Classes::new(classes);
    let set = |(line, field): &Field| {
        if let Some(class) = known.find(field.trim()) {
            return Ok(vec![class]);
        }
        let separator = if field.contains(';') { ';' } else { ',' };
        let parts = field.split(separator).map(str::trim).filter(|part| !part.is_empty());
        let mut set = parts.map(|part| known.read(*line, part)).collect::<Result<Vec<_>, _>>()?;
        set.sort_unstable();
        match set.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(LabelError::Twice { line: *line, class: classes[pair[0] as usize].clone() }),
            None => Ok(set),
        }
    };
    fields.iter().map(set).collect()
}

/// A field is a text.
pub(super) fn texts_of(fields: Vec<Field>) -> Result<Vec<String>, LabelError> {
    let mut all = 0;
    for (line, text) in &fields {
        let length = text.chars().count();
        if length > MAX_LENGTH {
            return Err(LabelError::TooLong { line: *line, length });
        }
        all += length;
    }
    if all + fields.len() >= MAX_VALUES as usize {
        return Err(LabelError::TooManyCharacters(all));
    }
    Ok(fields.into_iter().map(|(_, text)| text).collect())
}

/// A field is a number.
pub(super) fn numbers_of(fields: &[Field]) -> Result<Vec<f64>, LabelError> {
    let number = |(line, text): &Field| {
        let wrong = || LabelError::Number { line: *line, text: text.chars().take(80).collect() };
        text.trim().parse::<f64>().map_err(|_| wrong())
    };
    fields.iter().map(number).collect()
}

/// Equal fields are one identity; numbered in the order in which they first come.
pub(super) fn identities_of(fields: &[Field]) -> Vec<u32> {
    let mut known = std::collections::HashMap::new();
    fields
        .iter()
        .map(|(_, name)| {
            let next = known.len() as u32;
            *known.entry(name.as_str()).or_insert(next)
        })
        .collect()
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

    fn parse_csv(bytes: &[u8], column: &str, examples: u32) -> Result<Vec<u32>, LabelError> {
        classes_of(&csv_column(bytes, column, examples)?, &classes())
    }

    fn csv(text: &str, examples: u32) -> Result<Vec<u32>, LabelError> {
        parse_csv(text.as_bytes(), "label", examples)
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
        assert_eq!(parse_csv(&[0xff], "label", 1), Err(LabelError::Encoding));
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
    fn a_set_is_one_name_before_it_is_a_list() {
        let classes = ["dog", "rain, heavy", "siren"].map(str::to_owned);
        let sets = |text: &str| sets_of(&lines(text.as_bytes(), 1).unwrap(), &classes);
        assert_eq!(sets("rain, heavy\n"), Ok(vec![vec![1]]));
        assert_eq!(sets("siren; rain, heavy;0"), Ok(vec![vec![0, 1, 2]]));
        assert_eq!(sets("siren,dog"), Ok(vec![vec![0, 2]]));
        assert_eq!(sets("\n"), Ok(vec![vec![]]), "no event at all is an answer");
        assert_eq!(sets("dog,dog").unwrap_err().to_string(), "line 1: class \"dog\" is there twice");
        assert!(matches!(sets("dog,cat"), Err(LabelError::Class { line: 1, .. })));
    }

    #[test]
    fn every_line_is_an_example_and_an_empty_one_an_empty_text() {
        assert_eq!(
            texts_of(lines("ab\r\n\n你好".as_bytes(), 3).unwrap()),
            Ok(vec!["ab".into(), String::new(), "你好".into()])
        );
        assert_eq!(lines(b"ab\n\n", 3), Err(LabelError::Count { found: 2, examples: 3 }));
        let long = "x".repeat(MAX_LENGTH + 1);
        assert_eq!(texts_of(vec![(4, long)]), Err(LabelError::TooLong { line: 4, length: MAX_LENGTH + 1 }));
    }

    #[test]
    fn identities_are_texts_and_numbers_are_numbers() {
        let fields = |text: &str| lines(text.as_bytes(), 3).unwrap();
        assert_eq!(identities_of(&fields("anna\nben\nanna")), [0, 1, 0]);
        assert_eq!(numbers_of(&fields("1\n -2.5 \n1e3")), Ok(vec![1.0, -2.5, 1000.0]));
        assert_eq!(numbers_of(&fields("1\n2\n3,5")).unwrap_err().to_string(), "line 3: \"3,5\" is not a number");
    }

    #[test]
    fn one_example_alone_is_not_mistaken_for_an_axis() {
        let single = Tensor::new(DType::U8, vec![1], vec![2]).unwrap();
        assert_eq!(from_tensor(&single, 1, &classes()), Ok(vec![2]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\",\na-c0-9]{0,60}") {
            let _ = parse_csv(&bytes, "label", 3);
            let _ = csv(&text, 3);
            let _ = csv(&format!("label\n{text}"), 3);
        }
    }
}
