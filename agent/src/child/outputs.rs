//! Outputs that were compared with references, kept so that anybody can compare them again.

use seatrial_core::report::MAX_OUTPUT_VALUES;
use seatrial_core::tensor::Tensor;

/// The values of one output over all examples, as long as there is room for them.
#[derive(Default)]
pub(super) struct Outputs {
    /// Bits of each value as `f64`.
    bits: Vec<i64>,
    values_an_example: usize,
    /// Why no more are kept.
    refused: Option<String>,
}

impl Outputs {
    pub(super) fn push(&mut self, output: &Tensor) {
        if self.refused.is_some() {
            return;
        }
        let values = output.to_f64();
        if self.bits.is_empty() {
            self.values_an_example = values.len();
        }
        if values.len() != self.values_an_example {
            self.refuse("its examples are not all of one size".to_owned());
        } else if self.bits.len() + values.len() > MAX_OUTPUT_VALUES as usize {
            self.refuse(too_many());
        } else {
            self.bits.extend(values.into_iter().map(|value| value.to_bits().cast_signed()));
        }
    }

    /// The number of values of one example, and the bits of all; or why they are not kept.
    pub(super) fn finish(self, room: usize) -> Result<(u32, Vec<i64>), String> {
        match self.refused {
            Some(why) => Err(why),
            None if self.bits.len() > room => Err(too_many()),
            None => Ok((self.values_an_example as u32, self.bits)),
        }
    }

    fn refuse(&mut self, why: String) {
        self.refused = Some(why);
        self.bits = Vec::new();
    }
}

fn too_many() -> String {
    format!("more than {MAX_OUTPUT_VALUES} values in all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![1, values.len()], values).unwrap()
    }

    #[test]
    fn what_fits_is_kept_to_the_last_bit() {
        let mut outputs = Outputs::default();
        outputs.push(&tensor(&[0.1, f32::NAN]));
        outputs.push(&tensor(&[-0.0, f32::INFINITY]));
        let (values_an_example, bits) = outputs.finish(4).unwrap();
        assert_eq!(values_an_example, 2);
        let values: Vec<f64> = bits.into_iter().map(|bits| f64::from_bits(bits.cast_unsigned())).collect();
        assert_eq!(values[0], f64::from(0.1_f32));
        assert!(values[1].is_nan() && values[2].is_sign_negative() && values[3].is_infinite());
    }

    #[test]
    fn what_does_not_fit_is_dropped_whole_and_says_so() {
        let large = tensor(&vec![1.0; MAX_OUTPUT_VALUES as usize]);
        let mut outputs = Outputs::default();
        outputs.push(&large);
        outputs.push(&tensor(&[1.0]));
        assert!(outputs.finish(usize::MAX).is_err(), "an example of another size");
        let mut outputs = Outputs::default();
        outputs.push(&large);
        outputs.push(&large);
        assert_eq!(outputs.finish(usize::MAX).unwrap_err(), "more than 65536 values in all");
        let mut outputs = Outputs::default();
        outputs.push(&tensor(&[1.0, 2.0]));
        assert!(outputs.finish(1).is_err(), "another output took the room");
    }
}
