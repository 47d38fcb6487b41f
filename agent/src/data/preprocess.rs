//! From one example to what the model is given, in the order of the fields of a binding.

use seatrial_core::dataset::{Channels, InputBinding, Layout, Quantization};
use seatrial_core::model::TensorSpec;
use seatrial_core::tensor::{DType, Tensor};

use super::{half, images};

/// Applies a binding: resize, crop, channels, scale, mean, std, layout, shape, type and quantisation.
pub(super) fn apply(binding: &InputBinding, declared: Option<&TensorSpec>, raw: Tensor) -> Result<Tensor, String> {
    let mut tensor = raw;
    if let Some(resize) = &binding.resize {
        tensor = images::resize(&tensor, resize)?;
    }
    if let Some(crop) = binding.crop {
        tensor = images::crop(&tensor, crop)?;
    }
    if let Some(channels) = binding.channels {
        tensor = select_channels(&tensor, channels)?;
    }
    let arithmetic = binding.scale.is_some() || binding.mean.is_some() || binding.std.is_some();
    if arithmetic || binding.quantization.is_some() {
        tensor = normalise(binding, &tensor)?;
    }
    if let Some(layout) = binding.layout {
        tensor = lay_out(&tensor, layout)?;
    }
    tensor = reshape(binding.shape.as_deref(), declared, tensor)?;
    match (binding.quantization, binding.dtype) {
        (Some(quantization), dtype) => quantise(&tensor, quantization, dtype.unwrap_or(DType::U8)),
        (None, Some(dtype)) => convert(&tensor, dtype),
        (None, None) => Ok(tensor),
    }
}

fn select_channels(tensor: &Tensor, channels: Channels) -> Result<Tensor, String> {
    let (DType::U8, &[height, width, 3]) = (tensor.dtype(), tensor.shape()) else {
        let text = format!("channels need an RGB image of bytes, not {} {:?}", tensor.dtype().as_str(), tensor.shape());
        return Err(text);
    };
    let pixels = tensor.bytes().chunks_exact(3);
    let (bytes, count): (Vec<u8>, usize) = match channels {
        Channels::Rgb => (tensor.bytes().to_vec(), 3),
        Channels::Bgr => (pixels.flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect(), 3),
        Channels::Gray => (pixels.map(luma).collect(), 1),
    };
    Tensor::new(DType::U8, vec![height, width, count], bytes).map_err(|error| error.to_string())
}

/// ITU-R BT.601, in whole numbers as PIL's convert("L") does it.
fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [u32::from(pixel[0]), u32::from(pixel[1]), u32::from(pixel[2])];
    ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
}

/// `(value · scale − mean) / std` in f32, as numpy does it on float32 arrays.
fn normalise(binding: &InputBinding, tensor: &Tensor) -> Result<Tensor, String> {
    let channels = tensor.shape().last().copied().unwrap_or(1);
    let pick = |name: &str, values: &Option<Vec<f32>>, neutral: f32| match values.as_deref() {
        None => Ok(vec![neutral; channels]),
        Some([one]) => Ok(vec![*one; channels]),
        Some(many) if many.len() == channels => Ok(many.to_vec()),
        Some(many) => Err(format!("{name} has {} values for {channels} channels", many.len())),
    };
    let scale = binding.scale.unwrap_or(1.0);
    let (mean, std) = (pick("mean", &binding.mean, 0.0)?, pick("std", &binding.std, 1.0)?);
    let values: Vec<f32> = tensor
        .to_f64()
        .into_iter()
        .enumerate()
        .map(|(index, value)| (value as f32 * scale - mean[index % channels]) / std[index % channels])
        .collect();
    Tensor::from_f32(tensor.shape().to_vec(), &values).map_err(|error| error.to_string())
}

/// From `[height, width, channels]`, with an axis for the batch of one.
fn lay_out(tensor: &Tensor, layout: Layout) -> Result<Tensor, String> {
    let &[height, width, channels] = tensor.shape() else {
        return Err(format!("a layout needs [height, width, channels], not {:?}", tensor.shape()));
    };
    let size = tensor.dtype().size();
    let (shape, bytes) = match layout {
        Layout::Nhwc => (vec![1, height, width, channels], tensor.bytes().to_vec()),
        Layout::Nchw => {
            let mut bytes = Vec::with_capacity(tensor.bytes().len());
            for channel in 0..channels {
                for pixel in 0..height * width {
                    let from = (pixel * channels + channel) * size;
                    bytes.extend_from_slice(&tensor.bytes()[from..from + size]);
                }
            }
            (vec![1, channels, height, width], bytes)
        }
    };
    Tensor::new(tensor.dtype(), shape, bytes).map_err(|error| error.to_string())
}

/// The shape that was asked for; else a batch axis of one where the model declares one axis more.
fn reshape(asked: Option<&[u64]>, declared: Option<&TensorSpec>, tensor: Tensor) -> Result<Tensor, String> {
    let shape: Vec<usize> = match asked {
        Some(asked) => {
            let asked: Vec<usize> = asked.iter().map(|&axis| axis as usize).collect();
            let plain = |shape: &[usize]| shape.iter().copied().filter(|&axis| axis != 1).collect::<Vec<_>>();
            if plain(&asked) != plain(tensor.shape()) {
                return Err(format!("shape {asked:?} differs from {:?} by more than axes of size 1", tensor.shape()));
            }
            asked
        }
        None if declared.is_some_and(|spec| spec.shape.len() == tensor.shape().len() + 1) => {
            [&[1], tensor.shape()].concat()
        }
        None => return Ok(tensor),
    };
    let dtype = tensor.dtype();
    Tensor::new(dtype, shape, tensor.into_bytes()).map_err(|error| error.to_string())
}

/// `q = round(value / scale) + zero_point`, ties to even as ONNX's QuantizeLinear, clamped to the type.
fn quantise(tensor: &Tensor, quantization: Quantization, dtype: DType) -> Result<Tensor, String> {
    let Quantization { scale, zero_point } = quantization;
    let zero_point = f64::from(zero_point);
    let (low, high) = match dtype {
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::U16 => (0.0, 65535.0),
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        DType::F32 | DType::F64 | DType::F16 | DType::U32 | DType::I64 | DType::U64 | DType::Bool => {
            return Err(format!("quantisation to {} is not defined", dtype.as_str()));
        }
    };
    let values =
        tensor.to_f64().into_iter().map(|value| f64::from((value as f32 / scale).round_ties_even()) + zero_point);
    encode(tensor.shape(), dtype, values.map(|value| value.clamp(low, high)))
}

fn convert(tensor: &Tensor, dtype: DType) -> Result<Tensor, String> {
    if tensor.dtype() == dtype {
        return Ok(tensor.clone());
    }
    encode(tensor.shape(), dtype, tensor.to_f64().into_iter())
}

/// Values as a type: fractions are cut off and what does not fit is clamped, as Rust's `as` does.
fn encode(shape: &[usize], dtype: DType, values: impl Iterator<Item = f64>) -> Result<Tensor, String> {
    macro_rules! write {
        ($kind:ty) => {
            values.flat_map(|value| (value as $kind).to_le_bytes()).collect()
        };
    }
    let bytes: Vec<u8> = match dtype {
        DType::F32 => write!(f32),
        DType::F64 => write!(f64),
        DType::F16 => values.flat_map(|value| half::from_f32(value as f32).to_le_bytes()).collect(),
        DType::I8 => write!(i8),
        DType::U8 => write!(u8),
        DType::I16 => write!(i16),
        DType::U16 => write!(u16),
        DType::I32 => write!(i32),
        DType::U32 => write!(u32),
        DType::I64 => write!(i64),
        DType::U64 => write!(u64),
        DType::Bool => values.map(|value| u8::from(value != 0.0)).collect(),
    };
    Tensor::new(dtype, shape.to_vec(), bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use seatrial_core::model::Axis;

    use super::*;

    fn image() -> Tensor {
        // Two pixels: red-ish and blue-ish.
        Tensor::new(DType::U8, vec![1, 2, 3], vec![200, 10, 20, 5, 15, 250]).unwrap()
    }

    #[test]
    fn an_empty_binding_changes_nothing() {
        assert_eq!(apply(&InputBinding::plain("x"), None, image()).unwrap(), image());
    }

    #[test]
    fn arithmetic_is_scale_then_mean_then_std() {
        let binding =
            InputBinding { scale: Some(0.5), mean: Some(vec![1.0]), std: Some(vec![2.0]), ..InputBinding::plain("x") };
        let tensor = apply(&binding, None, image()).unwrap();
        assert_eq!(tensor.to_f64(), [49.5, 2.0, 4.5, 0.75, 3.25, 62.0]);
        assert_eq!(tensor.dtype(), DType::F32);
    }

    #[test]
    fn layout_moves_channels_first_and_adds_the_batch() {
        let binding = InputBinding { layout: Some(Layout::Nchw), ..InputBinding::plain("x") };
        let tensor = apply(&binding, None, image()).unwrap();
        assert_eq!(tensor.shape(), [1, 3, 1, 2]);
        assert_eq!(tensor.bytes(), [200, 5, 10, 15, 20, 250]);
    }

    #[test]
    fn means_are_by_channel_before_the_layout() {
        let binding = InputBinding {
            mean: Some(vec![200.0, 10.0, 20.0]),
            layout: Some(Layout::Nchw),
            channels: Some(Channels::Rgb),
            ..InputBinding::plain("x")
        };
        assert_eq!(apply(&binding, None, image()).unwrap().to_f64(), [0.0, -195.0, 0.0, 5.0, 0.0, 230.0]);
    }

    #[test]
    fn a_batch_axis_is_added_only_where_the_model_has_one() {
        let spec = |axes: usize| TensorSpec { name: "x".into(), dtype: DType::U8, shape: vec![Axis::Fixed(1); axes] };
        assert_eq!(apply(&InputBinding::plain("x"), Some(&spec(4)), image()).unwrap().shape(), [1, 1, 2, 3]);
        assert_eq!(apply(&InputBinding::plain("x"), Some(&spec(3)), image()).unwrap().shape(), [1, 2, 3]);
    }

    #[test]
    fn a_shape_may_differ_by_axes_of_one_only() {
        let shape = |axes: &[u64]| InputBinding { shape: Some(axes.to_vec()), ..InputBinding::plain("x") };
        assert_eq!(apply(&shape(&[1, 1, 1, 2, 3]), None, image()).unwrap().shape(), [1, 1, 1, 2, 3]);
        assert!(apply(&shape(&[6]), None, image()).is_err());
    }

    #[test]
    fn quantisation_rounds_ties_to_even_and_clamps() {
        let quantization = Some(Quantization { scale: 0.5, zero_point: -128 });
        let binding = InputBinding { quantization, dtype: Some(DType::I8), ..InputBinding::plain("x") };
        let raw = Tensor::from_f32(vec![5], &[0.25, 0.75, -1.0, 1000.0, 64.0]).unwrap();
        let tensor = apply(&binding, None, raw).unwrap();
        assert_eq!(tensor.to_f64(), [-128.0, -126.0, -128.0, 127.0, 0.0]);
    }

    #[test]
    fn the_wrong_number_of_means_is_an_error_that_says_so() {
        let binding = InputBinding { mean: Some(vec![1.0, 2.0]), ..InputBinding::plain("x") };
        assert_eq!(apply(&binding, None, image()).unwrap_err(), "mean has 2 values for 3 channels");
    }

    #[test]
    fn grey_is_the_luma_of_pil() {
        let binding = InputBinding { channels: Some(Channels::Gray), ..InputBinding::plain("x") };
        assert_eq!(apply(&binding, None, image()).unwrap().bytes(), [68, 39]);
    }
}
