//! What a model answers to a dataset: first classes, comparisons with goldens, and what is no number.

use seatrial_core::accuracy::classification::top_classes;
use seatrial_core::accuracy::golden::Accumulator;
use seatrial_core::dataset::Binding;
use seatrial_core::outcome::Claim;
use seatrial_core::report::{GoldenRecord, MAX_OUTPUT_VALUES};
use seatrial_core::tensor::{DType, Tensor};

use super::{Failure, outputs};
use crate::data::{Examples, NamedTensor};

/// What the outputs of a dataset come to.
pub(super) struct Scores {
    /// Output that carries class scores; the first when absent.
    output: Option<String>,
    label_map: Option<Vec<u32>>,
    wants_classes: bool,
    /// Five a row.
    pub(super) top: Vec<i64>,
    golden: Vec<Compared>,
    pub(super) not_numbers: Option<String>,
}

impl Scores {
    pub(super) fn new(binding: &Binding, examples: &Examples) -> Self {
        let golden = examples.golden_names().map(Compared::new).collect();
        Self {
            output: binding.scores.clone(),
            label_map: binding.label_map.clone(),
            wants_classes: examples.labels().is_some(),
            top: Vec::new(),
            golden,
            not_numbers: None,
        }
    }

    pub(super) fn take(&mut self, outputs: &[NamedTensor], goldens: &[NamedTensor]) -> Result<(), Failure> {
        if self.not_numbers.is_none() && goldens.is_empty() {
            self.not_numbers = not_numbers(outputs);
        }
        if self.wants_classes {
            let scores = match &self.output {
                Some(name) => find(outputs, name)?,
                None => outputs.first().map(|(_, tensor)| tensor).ok_or_else(|| mismatch("no output at all"))?,
            };
            self.top.extend(self.mapped(top_classes(&scores.to_f64())));
        }
        for compared in &mut self.golden {
            let name = &compared.output;
            let (reference, actual) = (find(goldens, name)?, find(outputs, name)?);
            let actual = like(actual, reference)?;
            let pushed = compared.accumulator.push(reference, &actual);
            pushed.map_err(|error| mismatch(&format!("output {name:?}: {error}")))?;
            compared.outputs.push(&actual);
            if self.not_numbers.is_none() && has_nan(&actual) && !has_nan(reference) {
                self.not_numbers = Some(format!("output {name:?} holds NaN where its reference does not"));
            }
        }
        Ok(())
    }

    /// The dataset's classes of the model's; one that the map does not hold is no class.
    fn mapped(&self, top: [i64; 5]) -> [i64; 5] {
        let Some(map) = &self.label_map else { return top };
        top.map(|class| {
            usize::try_from(class).ok().and_then(|class| map.get(class)).map_or(-1, |&class| i64::from(class))
        })
    }

    /// The comparisons, the bits of the outputs that are kept, and what was not kept.
    pub(super) fn finish(self) -> (Vec<GoldenRecord>, Vec<i64>, Vec<String>) {
        let (mut records, mut bits, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for Compared { output, accumulator, outputs } in self.golden {
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
            records.push(GoldenRecord { output, comparison: accumulator.finish(), kept });
        }
        (records, bits, cut)
    }
}

/// One output, compared with its reference and kept as far as there is room.
struct Compared {
    output: String,
    accumulator: Accumulator,
    outputs: outputs::Outputs,
}

impl Compared {
    fn new(output: &str) -> Self {
        Self { output: output.to_owned(), accumulator: Accumulator::new(), outputs: outputs::Outputs::default() }
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

fn find<'a>(tensors: &'a [NamedTensor], name: &str) -> Result<&'a Tensor, Failure> {
    let found = tensors.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
    found.ok_or_else(|| {
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        mismatch(&format!("there is no output {name:?} (there are {names:?}): name it in the binding"))
    })
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
