//! What a model answers to a dataset: first classes, answers of other tasks, comparisons with goldens, and what is no
//! number.

use seatrial_core::accuracy::classification::top_classes;
use seatrial_core::accuracy::golden::{Accumulator, Standard};
use seatrial_core::answers::{AnswerError, Answers, Outputs, mapped};
use seatrial_core::dataset::Binding;
use seatrial_core::dataset::frame::Frame;
use seatrial_core::dataset::truth::Truth;
use seatrial_core::outcome::Claim;
use seatrial_core::report::{GoldenRecord, MAX_OUTPUT_VALUES};
use seatrial_core::tensor::{DType, Tensor};

use super::{Failure, outputs};
use crate::data::{Examples, NamedTensor};

/// What the outputs of a dataset come to.
pub(super) struct Scores {
    asked: Asked,
    golden: Vec<Compared>,
    pub(super) not_numbers: Option<String>,
}

/// What the dataset's task wants to know.
enum Asked {
    /// Nothing but the comparison with references.
    References,
    Classes(FirstClasses),
    Task(Box<Answers>),
}

/// Labels and first classes of a classification.
pub(super) struct FirstClasses {
    /// Output that carries class scores; the first when absent.
    output: Option<String>,
    label_map: Option<Vec<u32>>,
    /// Classes that the dataset names.
    classes: u32,
    pub(super) labels: Vec<i64>,
    /// Five a row.
    pub(super) top: Vec<i64>,
}

/// What a report keeps of them.
pub(super) struct Kept {
    pub(super) classes: Option<FirstClasses>,
    /// Series of truth and answers.
    pub(super) evidence: Option<(Vec<i64>, Vec<i64>)>,
    pub(super) golden: Vec<GoldenRecord>,
    /// Bits of the compared outputs.
    pub(super) outputs: Vec<i64>,
    /// What was not kept.
    pub(super) cut: Vec<String>,
}

impl Scores {
    /// Where `judged` is false, the labels do not matter, and how outputs are read as answers need not be known.
    pub(super) fn new(binding: &Binding, examples: &mut Examples, judged: bool) -> Result<Self, Failure> {
        let standard = *examples.standard();
        let golden = examples.golden_names().map(|output| Compared::new(output, standard)).collect();
        let classes = examples.classes();
        let asked = match examples.take_truth().filter(|_| judged) {
            None => Asked::References,
            Some(Truth::Classes(labels)) => Asked::Classes(FirstClasses {
                output: binding.scores.clone(),
                label_map: binding.label_map.clone(),
                classes,
                labels: labels.into_iter().map(i64::from).collect(),
                top: Vec::new(),
            }),
            Some(truth) => Answers::new(truth, classes, binding)?
                .map_or(Asked::References, |answers| Asked::Task(Box::new(answers))),
        };
        Ok(Self { asked, golden, not_numbers: None })
    }

    pub(super) fn take(
        &mut self,
        outputs: &[NamedTensor],
        goldens: &[NamedTensor],
        frame: Option<Frame>,
    ) -> Result<(), Failure> {
        if self.not_numbers.is_none() {
            let is_compared = |name: &str| self.golden.iter().any(|compared| compared.output == name);
            let alone: Vec<NamedTensor> = outputs.iter().filter(|(name, _)| !is_compared(name)).cloned().collect();
            self.not_numbers = not_numbers(&alone);
        }
        match &mut self.asked {
            Asked::References => {}
            Asked::Classes(classes) => {
                let (name, scores) = Outputs(outputs).find_or_first(classes.output.as_deref())?;
                let map = classes.label_map.as_deref();
                let (given, known) = (scores.shape().iter().product::<usize>(), classes.classes as usize);
                if map.is_none() && given != known {
                    return Err(mismatch(&format!(
                        "output {name:?} has {given} scores, and the dataset has {known} classes: name the dataset's class \
                         of each score in the binding's `label_map`, or the output that holds the scores in its `scores`"
                    )));
                }
                // One that the map does not hold is no class.
                let known = |class| u32::try_from(class).ok().and_then(|class| mapped(map, class));
                let top = top_classes(&scores.to_f64());
                classes.top.extend(top.map(|class| known(class).map_or(-1, i64::from)));
            }
            Asked::Task(answers) => answers.take(Outputs(outputs), frame)?,
        }
        for compared in &mut self.golden {
            let name = &compared.output;
            let (reference, actual) = (Outputs(goldens).find(name)?, Outputs(outputs).find(name)?);
            let actual = like(actual, reference)?;
            let actual = miscomputed(&actual).unwrap_or(actual);
            let pushed = compared.accumulator.push(reference, &actual);
            pushed.map_err(|error| mismatch(&format!("output {name:?}: {error}")))?;
            compared.outputs.push(&actual);
            if self.not_numbers.is_none() && has_nan(&actual) && !has_nan(reference) {
                self.not_numbers = Some(format!("output {name:?} holds NaN where its reference does not"));
            }
        }
        Ok(())
    }

    /// Outputs that are not numbers are the model's fault, whatever a scorer makes of them.
    pub(super) fn blame(&self, failure: Failure) -> Failure {
        match &self.not_numbers {
            Some(message) => Failure { claim: Claim::NumericsFail, message: message.clone() },
            None => failure,
        }
    }

    /// What is kept of a dataset of so many examples.
    pub(super) fn finish(self, examples: u32) -> Result<Kept, Failure> {
        let (golden, outputs, cut) = finish_golden(self.golden);
        let (classes, evidence) = match self.asked {
            Asked::References => (None, None),
            Asked::Classes(classes) => (Some(classes), None),
            Asked::Task(answers) => (None, Some(answers.finish()?.series(examples))),
        };
        Ok(Kept { classes, evidence, golden, outputs, cut })
    }
}

/// The comparisons, the bits of the outputs that are kept, and what was not kept.
fn finish_golden(golden: Vec<Compared>) -> (Vec<GoldenRecord>, Vec<i64>, Vec<String>) {
    let (mut records, mut bits, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    for Compared { output, standard, accumulator, outputs } in golden {
        let kept = match outputs.finish(MAX_OUTPUT_VALUES as usize - bits.len()) {
            Ok((values_an_example, values)) => {
                bits.extend(values);
                Some(values_an_example)
            }
            Err(why) => {
                cut.push(format!("output {output:?} is not kept: {why}"));
                None
            }
        };
        records.push(GoldenRecord { output, comparison: accumulator.finish(), standard, kept });
    }
    (records, bits, cut)
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Self {
        let numerics = matches!(error, AnswerError::NotNumber { .. });
        let claim = if numerics { Claim::NumericsFail } else { Claim::SpecError };
        Self { claim, message: error.to_string() }
    }
}

/// One output, compared with its reference and kept as far as there is room.
struct Compared {
    output: String,
    standard: Standard,
    accumulator: Accumulator,
    outputs: outputs::Outputs,
}

impl Compared {
    fn new(output: &str, standard: Standard) -> Self {
        let (accumulator, outputs) = (Accumulator::new(), outputs::Outputs::default());
        Self { output: output.to_owned(), standard, accumulator, outputs }
    }
}

/// An output in the shape of its reference, when they differ only by axes of size 1.
fn like(actual: &Tensor, reference: &Tensor) -> Result<Tensor, Failure> {
    let plain = |shape: &[usize]| shape.iter().copied().filter(|&axis| axis != 1).collect::<Vec<_>>();
    if plain(actual.shape()) != plain(reference.shape()) {
        let text = format!("an output of shape {:?} cannot be compared with {:?}", actual.shape(), reference.shape());
        return Err(mismatch(&text));
    }
    Tensor::new(actual.dtype(), reference.shape().to_vec(), actual.bytes().to_vec())
        .map_err(|error| mismatch(&error.to_string()))
}

/// The output of a device that computes wrongly, where a test wants one.
fn miscomputed(output: &Tensor) -> Option<Tensor> {
    fail::fail_point!("outputs-miscomputed", |_| {
        let values: Vec<f32> = output.to_f64().into_iter().map(|value| value as f32 + 0.5).collect();
        Tensor::from_f32(output.shape().to_vec(), &values).ok()
    });
    let _ = output;
    None
}

fn mismatch(message: &str) -> Failure {
    Failure { claim: Claim::SpecError, message: message.to_owned() }
}

pub(super) fn not_numbers(outputs: &[NamedTensor]) -> Option<String> {
    let (name, _) = outputs.iter().find(|(_, tensor)| has_nan(tensor))?;
    Some(format!("output {name:?} holds NaN"))
}

fn has_nan(tensor: &Tensor) -> bool {
    let float = matches!(tensor.dtype(), DType::F32 | DType::F64 | DType::F16);
    float && tensor.to_f64().iter().any(|value| value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_size_1_count_for_nothing_when_an_output_is_compared_and_every_other_does() {
        let tensor = |shape: &[usize]| Tensor::from_f32(shape.to_vec(), &vec![1.0; shape.iter().product()]).unwrap();
        for (actual, reference) in [(&[1, 10][..], &[10][..]), (&[2, 5, 1], &[1, 2, 5]), (&[1], &[])] {
            assert_eq!(like(&tensor(actual), &tensor(reference)).unwrap().shape(), reference);
        }
        for (actual, reference) in [(&[10][..], &[2, 5][..]), (&[5, 2], &[2, 5]), (&[2, 10], &[10])] {
            let failure = like(&tensor(actual), &tensor(reference)).unwrap_err();
            assert_eq!(failure.claim, Claim::SpecError);
            assert!(failure.message.contains("cannot be compared"), "{}", failure.message);
        }
    }
}
