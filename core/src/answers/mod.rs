//! What a model answers to a dataset, read from its outputs as the binding says.

mod boxes;
mod regions;
#[cfg(test)]
mod tests;
mod texts;

use crate::accuracy::detection::{AnswerBox, TruthBox};
use crate::accuracy::multilabel;
use crate::accuracy::retrieval::{self, Gallery, RetrievalError};
use crate::accuracy::segmentation::{Pixels, SegmentationError};
use crate::dataset::Binding;
use crate::dataset::frame::Frame;
use crate::dataset::outputs::ANSWERED_FROM;
use crate::dataset::truth::{Identities, Masks, Truth};
use crate::evidence::{Decision, Evidence, MAX_VALUES};
use crate::tensor::{DType, Tensor};

/// Multiplications that ranking the items of all queries may take, so that a slow device ends within the stage.
pub const MAX_WORK: u64 = 1 << 36;

/// Outputs that cannot be read as answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnswerError {
    #[error("there is no output {name:?} (there are {known:?}): name it in the binding")]
    NoOutput { name: String, known: Vec<String> },
    #[error("the model has no output at all")]
    NoOutputs,
    #[error("output {output:?} of shape {shape:?} cannot be read: expected {expected}")]
    Shape { output: String, shape: Vec<usize>, expected: String },
    #[error("the binding has no [{0}], which says how outputs are read for this task")]
    NoBinding(&'static str),
    #[error("no input is an image, so that coordinates cannot be taken back to it")]
    NoImage,
    #[error("output {output:?} holds {value}, which is no {what}")]
    NotNumber { output: String, value: f64, what: &'static str },
    #[error(
        "class {class} of output {output:?} is neither the blank nor one of the {characters} characters of the alphabet"
    )]
    Character { output: String, class: i64, characters: usize },
    #[error("a blank is needed to read scores as text: set `text.blank` in the binding")]
    NoBlank,
    #[error("more than {MAX_VALUES} values would have to be reported: {0}")]
    TooMany(&'static str),
    #[error(
        "{queries} queries among {items} items of {components} components take too long: at most {MAX_WORK} multiplications are made"
    )]
    TooMuchWork { queries: usize, items: usize, components: usize },
    #[error(transparent)]
    Segmentation(#[from] SegmentationError),
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
}

/// Outputs of a model by name, in its order.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a>(pub &'a [(String, Tensor)]);

impl<'a> Outputs<'a> {
    pub fn find(self, name: &str) -> Result<&'a Tensor, AnswerError> {
        let found = self.0.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
        let known = || self.0.iter().map(|(name, _)| name.clone()).collect();
        found.ok_or_else(|| AnswerError::NoOutput { name: name.to_owned(), known: known() })
    }

    /// The output of this name, or the first one.
    pub fn find_or_first(self, name: Option<&str>) -> Result<(&'a str, &'a Tensor), AnswerError> {
        match name {
            Some(name) => {
                self.find(name)?;
                let same = self.0.iter().find(|(other, _)| other == name);
                same.map(|(name, tensor)| (name.as_str(), tensor)).ok_or(AnswerError::NoOutputs)
            }
            None => self.0.first().map(|(name, tensor)| (name.as_str(), tensor)).ok_or(AnswerError::NoOutputs),
        }
    }
}

/// The dataset's class of the model's; `None` when the map does not hold it.
#[must_use]
pub fn mapped(label_map: Option<&[u32]>, class: u32) -> Option<u32> {
    match label_map {
        Some(map) => map.get(class as usize).copied(),
        None => Some(class),
    }
}

/// Answers to a dataset, example by example.
#[derive(Debug)]
pub struct Answers {
    binding: Binding,
    classes: u32,
    examples: u32,
    so_far: SoFar,
}

#[derive(Debug)]
enum SoFar {
    Boxes { truth: Vec<TruthBox>, answers: Vec<AnswerBox> },
    Regions { masks: Masks, pixels: Pixels },
    Texts { alphabet: Vec<char>, truth: Vec<String>, answers: Vec<String>, characters: usize },
    Sets { truth: Vec<Vec<u32>>, answers: Vec<Decision>, classes: usize },
    Embeddings { identities: Identities, components: Option<usize>, values: Vec<f64> },
    Values { truth: Vec<f64>, answers: Vec<f64> },
}

impl Answers {
    /// `None` for classification, whose answers are the first classes.
    pub fn new(truth: Truth, classes: u32, binding: &Binding) -> Result<Option<Self>, AnswerError> {
        let so_far = match truth {
            Truth::Classes(_) => return Ok(None),
            Truth::Boxes(truth) => {
                if binding.boxes.is_none() {
                    return Err(AnswerError::NoBinding("boxes"));
                }
                SoFar::Boxes { truth, answers: Vec::new() }
            }
            Truth::Masks(masks) => SoFar::Regions { masks, pixels: Pixels::new(classes)? },
            Truth::Texts(truth) => {
                let text = binding.text.as_ref().ok_or(AnswerError::NoBinding("text"))?;
                SoFar::Texts { alphabet: text.alphabet.chars().collect(), truth, answers: Vec::new(), characters: 0 }
            }
            Truth::Sets(truth) => SoFar::Sets { truth, answers: Vec::new(), classes: 0 },
            Truth::Identities(identities) => SoFar::Embeddings { identities, components: None, values: Vec::new() },
            Truth::Values(truth) => SoFar::Values { truth, answers: Vec::new() },
        };
        Ok(Some(Self { binding: binding.clone(), classes, examples: 0, so_far }))
    }

    /// Reads the outputs for the next example. `frame` says where the model's image lies in that of the dataset.
    pub fn take(&mut self, outputs: Outputs<'_>, frame: Option<Frame>) -> Result<(), AnswerError> {
        let Self { binding, classes, examples, so_far } = self;
        let scores = binding.scores.as_deref();
        let map = binding.label_map.as_deref();
        match so_far {
            SoFar::Boxes { answers, .. } => {
                let boxes = binding.boxes.as_ref().ok_or(AnswerError::NoBinding("boxes"))?;
                let frame = frame.ok_or(AnswerError::NoImage)?;
                answers.extend(boxes::read(outputs, boxes, binding, frame, *classes, *examples)?);
                if answers.len() > (MAX_VALUES as usize - 1) / 7 {
                    return Err(AnswerError::TooMany("set or raise `threshold` in the binding, or use fewer images"));
                }
            }
            SoFar::Regions { masks, pixels } => {
                let (name, tensor) = outputs.find_or_first(scores)?;
                let answer = regions::read(name, tensor, masks.size(), map, *classes)?;
                pixels.push(&masks.example(*examples), &answer, masks.ignored)?;
            }
            SoFar::Texts { alphabet, answers, characters, .. } => {
                let text = binding.text.as_ref().ok_or(AnswerError::NoBinding("text"))?;
                let (name, tensor) = outputs.find_or_first(scores)?;
                let answer = texts::read(name, tensor, text, alphabet)?;
                *characters += 1 + answer.chars().count();
                if *characters >= MAX_VALUES as usize {
                    return Err(AnswerError::TooMany("use fewer examples"));
                }
                answers.push(answer);
            }
            SoFar::Sets { answers, classes: answered, .. } => {
                let (name, tensor) = outputs.find_or_first(scores)?;
                let decision = decide(name, tensor, binding.threshold.unwrap_or(ANSWERED_FROM), map, *classes)?;
                *answered += 2 + decision.answered.len();
                if *answered >= MAX_VALUES as usize {
                    return Err(AnswerError::TooMany("raise `threshold` in the binding, or use fewer examples"));
                }
                answers.push(decision);
            }
            SoFar::Embeddings { components, values, .. } => {
                let (name, tensor) = outputs.find_or_first(scores)?;
                let expected = *components.get_or_insert(tensor.len());
                if tensor.len() != expected || expected == 0 {
                    return Err(shape(name, tensor, format!("an embedding of {expected} components, as the first")));
                }
                if values.len() + expected > retrieval::MAX_COMPONENTS {
                    return Err(RetrievalError::TooManyValues(values.len() + expected).into());
                }
                values.extend(finite(name, tensor, "component of an embedding")?);
            }
            SoFar::Values { answers, .. } => {
                let (name, tensor) = outputs.find_or_first(scores)?;
                match finite(name, tensor, "answer")?[..] {
                    [value] => answers.push(value),
                    _ => return Err(shape(name, tensor, "one number".to_owned())),
                }
            }
        }
        *examples += 1;
        Ok(())
    }

    /// Truth and answers together. What is ranked, is ranked here.
    pub fn finish(self) -> Result<Evidence, AnswerError> {
        Ok(match self.so_far {
            SoFar::Boxes { truth, answers } => Evidence::Detection { truth, answers },
            SoFar::Regions { pixels, .. } => Evidence::Segmentation(pixels),
            SoFar::Texts { truth, answers, .. } => Evidence::Text { truth, answers },
            SoFar::Sets { truth, answers, .. } => Evidence::Multilabel { truth, answers },
            SoFar::Embeddings { identities, components, values } => {
                let ranked = rank(&identities, components.unwrap_or(1), &values)?;
                Evidence::Retrieval { identities, ranked }
            }
            SoFar::Values { truth, answers } => Evidence::Regression { truth, answers },
        })
    }
}

/// Which of the dataset's classes an output with a score for each of the model's answers.
fn decide(
    name: &str,
    tensor: &Tensor,
    threshold: f64,
    map: Option<&[u32]>,
    classes: u32,
) -> Result<Decision, AnswerError> {
    if tensor.shape().iter().filter(|&&axis| axis != 1).count() > 1 {
        return Err(shape(name, tensor, "one score a class".to_owned()));
    }
    let known = |class: u32| mapped(map, class).filter(|&class| class < classes);
    let Decision { best, answered } = multilabel::decide(&tensor.to_f64(), threshold);
    let mut answered: Vec<u32> = answered.into_iter().filter_map(known).collect();
    answered.sort_unstable();
    answered.dedup();
    Ok(Decision { best: best.and_then(known), answered })
}

fn rank(identities: &Identities, components: usize, values: &[f64]) -> Result<Vec<i64>, AnswerError> {
    let (queries, items) = identities.parts();
    let work =
        [queries.len(), items.len(), components].into_iter().try_fold(1_u64, |work, n| work.checked_mul(n as u64));
    if work.is_none_or(|work| work > MAX_WORK) {
        return Err(AnswerError::TooMuchWork { queries: queries.len(), items: items.len(), components });
    }
    // Where the queries are apart, the items come behind them.
    let apart = identities.queries.is_some();
    let gallery = Gallery::new(components, if apart { &values[queries.len() * components..] } else { values })?;
    let mut ranked = Vec::with_capacity(queries.len() * retrieval::KEPT);
    for (index, query) in values.chunks_exact(components).take(queries.len()).enumerate() {
        ranked.extend(gallery.nearest(query, (!apart).then_some(index))?);
    }
    Ok(ranked)
}

fn shape(name: &str, tensor: &Tensor, expected: String) -> AnswerError {
    AnswerError::Shape { output: name.to_owned(), shape: tensor.shape().to_vec(), expected }
}

fn finite(name: &str, tensor: &Tensor, what: &'static str) -> Result<Vec<f64>, AnswerError> {
    let values = tensor.to_f64();
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(AnswerError::NotNumber { output: name.to_owned(), value, what }),
        None => Ok(values),
    }
}

const fn is_whole(dtype: DType) -> bool {
    match dtype {
        DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32 | DType::U32 | DType::I64 | DType::U64 => true,
        DType::F32 | DType::F64 | DType::F16 | DType::Bool => false,
    }
}
