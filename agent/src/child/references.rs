//! Outputs over all examples, kept whole to become the reference of others.

use std::path::Path;

use seatrial_core::dataset::npy;
use seatrial_core::outcome::Claim;
use seatrial_core::tensor::{DType, Tensor};

use super::spec::ReferenceFile;
use super::{Failure, write_synced};
use crate::data::NamedTensor;

/// Bytes of all outputs together; each is a file, and below what a child may write in one.
const MAX_BYTES: usize = 128 << 20;

#[derive(Default)]
pub(super) struct References {
    examples: usize,
    outputs: Vec<Output>,
    bytes: usize,
}

struct Output {
    name: String,
    dtype: DType,
    /// Of one example.
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl References {
    pub(super) fn push(&mut self, outputs: &[NamedTensor]) -> Result<(), Failure> {
        if self.examples == 0 {
            self.outputs = outputs.iter().map(|(name, tensor)| Output::new(name, tensor)).collect();
        }
        if outputs.len() != self.outputs.len() {
            return Err(refuse("the number of outputs changes between examples".to_owned()));
        }
        for (output, (name, tensor)) in self.outputs.iter_mut().zip(outputs) {
            let alike = (&output.name, output.dtype, output.shape.as_slice()) == (name, tensor.dtype(), tensor.shape());
            if !alike {
                return Err(refuse(format!("output {name:?} changes its type or shape between examples")));
            }
            self.bytes += tensor.bytes().len();
            output.bytes.extend_from_slice(tensor.bytes());
        }
        if self.bytes > MAX_BYTES {
            return Err(refuse(format!("the outputs are more than {} MiB: take fewer examples", MAX_BYTES >> 20)));
        }
        self.examples += 1;
        Ok(())
    }

    /// One file an output; the first axis counts the examples.
    pub(super) fn write(self, out: &Path) -> Result<Vec<ReferenceFile>, Failure> {
        let Self { examples, outputs, .. } = self;
        let mut files = Vec::new();
        for (index, Output { name, dtype, shape, bytes }) in outputs.into_iter().enumerate() {
            let shape = std::iter::once(examples).chain(shape).collect();
            let tensor = Tensor::new(dtype, shape, bytes).map_err(|error| refuse(error.to_string()))?;
            let file_name = format!("golden-{index}.npy");
            write_synced(&out.join(&file_name), &npy::write(&tensor))?;
            files.push(ReferenceFile { output: name, file_name });
        }
        Ok(files)
    }
}

impl Output {
    fn new(name: &str, tensor: &Tensor) -> Self {
        Self { name: name.to_owned(), dtype: tensor.dtype(), shape: tensor.shape().to_vec(), bytes: Vec::new() }
    }
}

fn refuse(message: String) -> Failure {
    Failure { claim: Claim::SpecError, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(values: &[f32]) -> Vec<NamedTensor> {
        vec![("logits".to_owned(), Tensor::from_f32(vec![1, values.len()], values).unwrap())]
    }

    #[test]
    fn outputs_are_kept_to_the_bit_with_the_examples_as_first_axis() {
        let home = tempfile::tempdir().unwrap();
        let mut references = References::default();
        references.push(&outputs(&[0.1, f32::NAN])).unwrap();
        references.push(&outputs(&[-0.0, 3.0])).unwrap();
        let files = references.write(home.path()).unwrap();
        assert_eq!((files.len(), files[0].output.as_str()), (1, "logits"));
        let read = npy::parse(&std::fs::read(home.path().join(&files[0].file_name)).unwrap()).unwrap();
        assert_eq!(read.shape(), [2, 1, 2]);
        let bits: Vec<u32> = [0.1, f32::NAN, -0.0, 3.0].map(f32::to_bits).to_vec();
        let kept: Vec<u32> = read.bytes().chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(kept, bits);
    }

    #[test]
    fn an_output_that_changes_its_shape_is_refused() {
        let mut references = References::default();
        references.push(&outputs(&[1.0])).unwrap();
        let refused = references.push(&outputs(&[1.0, 2.0])).unwrap_err();
        assert!(refused.message.contains("\"logits\" changes"), "{}", refused.message);
    }
}
