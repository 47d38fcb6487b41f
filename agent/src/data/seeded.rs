//! Inputs from a signature and a seed: the same on every device and in every version.

use seatrial_core::dataset::Binding;
use seatrial_core::model::{Axis, Signature};
use seatrial_core::tensor::{DType, Tensor};

use super::{DataError, NamedTensor, half};

/// Bytes of all generated inputs together.
const MAX_BYTES: usize = 1 << 30;

/// One tensor for each input. Floats are uniform in −1 to 1; bytes over their whole range; larger integers and booleans
/// are 0 or 1, so that they are valid indices. A named axis without a size in the binding has size 1.
pub fn seeded(signature: &Signature, binding: &Binding, seed: u64) -> Result<Vec<NamedTensor>, DataError> {
    let mut random = SplitMix(seed);
    let mut left = MAX_BYTES;
    let mut inputs = Vec::new();
    for spec in &signature.inputs {
        let shape: Vec<usize> = spec.shape.iter().map(|axis| size(axis, binding)).collect();
        let elements = shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis));
        let bytes =
            elements.and_then(|elements| elements.checked_mul(spec.dtype.size())).filter(|&bytes| bytes <= left);
        let (Some(elements), Some(bytes)) = (elements, bytes) else {
            let detail = format!("shape {shape:?} is too large to generate: give smaller axes in the binding");
            return Err(DataError::Input { input: spec.name.clone(), detail });
        };
        left -= bytes;
        inputs.push((spec.name.clone(), Tensor::new(spec.dtype, shape, generate(spec.dtype, elements, &mut random))?));
    }
    Ok(inputs)
}

fn size(axis: &Axis, binding: &Binding) -> usize {
    let size = match axis {
        Axis::Fixed(size) => *size,
        Axis::Named(name) => binding.axes.get(name).copied().unwrap_or(1),
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn generate(dtype: DType, elements: usize, random: &mut SplitMix) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(elements * dtype.size());
    for _ in 0..elements {
        let bits = random.next();
        // 53 bits make every double in 0 to 1 that is a multiple of 2^-53.
        let unit = (bits >> 11) as f64 * 2f64.powi(-53) * 2.0 - 1.0;
        let bit = bits & 1;
        match dtype {
            DType::F32 => bytes.extend((unit as f32).to_le_bytes()),
            DType::F64 => bytes.extend(unit.to_le_bytes()),
            DType::F16 => bytes.extend(half::from_f32(unit as f32).to_le_bytes()),
            DType::I8 | DType::U8 => bytes.push(bits as u8),
            DType::Bool => bytes.push(bit as u8),
            DType::I16 | DType::U16 => bytes.extend((bit as u16).to_le_bytes()),
            DType::I32 | DType::U32 => bytes.extend((bit as u32).to_le_bytes()),
            DType::I64 | DType::U64 => bytes.extend(bit.to_le_bytes()),
        }
    }
    bytes
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::model::TensorSpec;

    use super::*;

    fn signature(dtype: DType, shape: Vec<Axis>) -> Signature {
        Signature { inputs: vec![TensorSpec { name: "x".into(), dtype, shape }], outputs: vec![], precision_from: None }
    }

    #[test]
    fn the_generator_gives_its_published_numbers() {
        let mut random = SplitMix(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn one_seed_is_one_input_and_another_is_another() {
        let signature = signature(DType::F32, vec![Axis::Named("batch".into()), Axis::Fixed(8)]);
        let binding = Binding::default();
        let one = seeded(&signature, &binding, 1).unwrap();
        assert_eq!(one, seeded(&signature, &binding, 1).unwrap());
        assert_ne!(one, seeded(&signature, &binding, 2).unwrap());
        assert_eq!(one[0].1.shape(), [1, 8]);
        assert!(one[0].1.to_f64().iter().all(|value| value.abs() <= 1.0));
    }

    #[test]
    fn the_binding_decides_named_axes() {
        let signature = signature(DType::I64, vec![Axis::Named("sequence".into())]);
        let binding = Binding { axes: [("sequence".to_owned(), 5)].into(), ..Binding::default() };
        let inputs = seeded(&signature, &binding, 1).unwrap();
        assert_eq!(inputs[0].1.shape(), [5]);
        assert!(inputs[0].1.to_f64().iter().all(|&value| value == 0.0 || value == 1.0));
    }

    #[test]
    fn an_input_that_no_device_holds_is_refused() {
        let signature = signature(DType::F64, vec![Axis::Fixed(u64::MAX), Axis::Fixed(u64::MAX)]);
        assert!(seeded(&signature, &Binding::default(), 1).is_err());
    }
}
