//! Dense tensors as bytes: the currency between datasets, engines and comparisons.

use serde::{Deserialize, Serialize};

/// Element type. Bytes are little-endian and dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DType {
    F32,
    F64,
    F16,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
}

impl DType {
    pub const ALL: [Self; 12] = [
        Self::F32,
        Self::F64,
        Self::F16,
        Self::I8,
        Self::U8,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::Bool,
    ];

    /// Size of one element in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::Bool => "bool",
        }
    }
}

/// A dense, row-major tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Bytes that do not fit their shape.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum TensorError {
    #[error("a {dtype} tensor of shape {shape:?} takes {expected} bytes, got {actual}", dtype = dtype.as_str())]
    Size { dtype: DType, shape: Vec<usize>, expected: usize, actual: usize },
    #[error("shape {0:?} is too large")]
    TooLarge(Vec<usize>),
}

impl Tensor {
    /// # Errors
    /// When `bytes` is not exactly the size that `dtype` and `shape` take.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, TensorError> {
        let expected = shape
            .iter()
            .try_fold(dtype.size(), |product, &axis| product.checked_mul(axis))
            .ok_or_else(|| TensorError::TooLarge(shape.clone()))?;
        if bytes.len() == expected {
            Ok(Self { dtype, shape, bytes })
        } else {
            Err(TensorError::Size { dtype, actual: bytes.len(), shape, expected })
        }
    }

    /// # Errors
    /// When the number of values is not that of the shape.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Self, TensorError> {
        Self::new(DType::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The values as `f64`, exact for every type but the largest 64-bit integers.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        macro_rules! read {
            ($kind:ty, $convert:expr) => {
                self.bytes
                    .chunks_exact(size_of::<$kind>())
                    .filter_map(|chunk| chunk.try_into().ok().map(<$kind>::from_le_bytes))
                    .map($convert)
                    .collect()
            };
        }
        match self.dtype {
            DType::F32 => read!(f32, f64::from),
            DType::F64 => read!(f64, |value| value),
            DType::F16 => self.bytes.chunks_exact(2).map(|pair| half(u16::from_le_bytes([pair[0], pair[1]]))).collect(),
            DType::I8 => read!(i8, f64::from),
            DType::U8 | DType::Bool => self.bytes.iter().map(|&byte| f64::from(byte)).collect(),
            DType::I16 => read!(i16, f64::from),
            DType::U16 => read!(u16, f64::from),
            DType::I32 => read!(i32, f64::from),
            DType::U32 => read!(u32, f64::from),
            DType::I64 => read!(i64, |value| value as f64),
            DType::U64 => read!(u64, |value| value as f64),
        }
    }
}

/// IEEE 754 binary16 to double.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((bits >> 10) & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_do_not_fit_the_shape_are_refused() {
        assert!(Tensor::new(DType::F32, vec![2, 2], vec![0; 16]).is_ok());
        let error = Tensor::new(DType::F32, vec![2, 2], vec![0; 15]).unwrap_err();
        assert_eq!(error.to_string(), "a f32 tensor of shape [2, 2] takes 16 bytes, got 15");
        assert!(matches!(Tensor::new(DType::F64, vec![usize::MAX, 3], vec![]), Err(TensorError::TooLarge(_))));
    }

    #[test]
    fn half_precision_reads_as_ieee_754_says() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f64.powi(-24)), (0x3555, 0.333_251_953_125)]
        {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan());
        assert_eq!(half(0xfc00), f64::NEG_INFINITY);
    }
}
