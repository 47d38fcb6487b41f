//! Tensors between the child and a runner: in the frame, or above 1 MiB in a file of the runner's folder.

use std::io;
use std::path::Path;

use seatrial_core::model::{Axis, TensorSpec};
use seatrial_core::tensor::{DType, Tensor};
use seatrial_proto::v1::tensor_value::Content;
use seatrial_proto::v1::{self, ElementType};

use crate::child::spec::is_flat;
use crate::data::NamedTensor;
use crate::plain::read_plain;

/// A larger tensor goes by file, in bytes.
pub(super) const INLINE: usize = 1 << 20;
/// Nor do the tensors of one request take more of its frame together.
const INLINE_TOGETHER: usize = 8 << 20;
/// No output is larger, in bytes: the bound of a child's files.
const MAX_OUTPUT: u64 = 256 << 20;

/// All inputs of a request.
pub(super) fn to_wire(inputs: &[NamedTensor], folder: &Path) -> io::Result<Vec<v1::TensorValue>> {
    let mut left = INLINE_TOGETHER;
    let wire = inputs.iter().enumerate().map(|(index, (name, tensor))| {
        let size = tensor.bytes().len();
        let inline = size <= INLINE.min(left);
        if inline {
            left -= size;
        }
        value(index, name, tensor, inline, folder)
    });
    wire.collect()
}

/// One tensor, in the frame or in a file.
pub(super) fn value(
    index: usize,
    name: &str,
    tensor: &Tensor,
    inline: bool,
    folder: &Path,
) -> io::Result<v1::TensorValue> {
    let content = if inline {
        Content::Bytes(tensor.bytes().to_vec().into())
    } else {
        let file = format!("input-{index}.bin");
        std::fs::write(folder.join(&file), tensor.bytes())?;
        Content::File(file)
    };
    Ok(v1::TensorValue {
        name: name.to_owned(),
        element_type: element_type(tensor.dtype()).into(),
        shape: tensor.shape().iter().map(|&axis| axis as i64).collect(),
        content: Some(content),
    })
}

/// Bytes of all of these, in the frame or in a file.
pub(super) fn bytes(values: &[v1::TensorValue], folder: &Path) -> u64 {
    let size = |value: &v1::TensorValue| match &value.content {
        Some(Content::Bytes(bytes)) => bytes.len() as u64,
        Some(Content::File(file)) if is_flat(file) => {
            std::fs::symlink_metadata(folder.join(file)).map_or(0, |file| file.len().min(MAX_OUTPUT))
        }
        Some(Content::File(_)) | None => 0,
    };
    values.iter().map(size).sum()
}

/// What a runner says is an output, as far as its bytes bear it out.
pub(super) fn from_wire(value: &v1::TensorValue, folder: &Path) -> Result<NamedTensor, String> {
    let name = &value.name;
    let wrong = |why: String| format!("output {name:?}: {why}");
    let kind = dtype(value.element_type()).map_err(wrong)?;
    let shape: Option<Vec<usize>> = value.shape.iter().map(|&axis| usize::try_from(axis).ok()).collect();
    let shape = shape.ok_or_else(|| wrong(format!("shape {:?} has a negative axis", value.shape)))?;
    let bytes = match &value.content {
        Some(Content::Bytes(bytes)) => bytes.to_vec(),
        Some(Content::File(file)) if is_flat(file) => {
            read_plain(folder, file, MAX_OUTPUT).map_err(|error| wrong(format!("its file {file:?}: {error}")))?
        }
        Some(Content::File(file)) => return Err(wrong(format!("{file:?} is no flat name"))),
        None => return Err(wrong("it has neither bytes nor a file".to_owned())),
    };
    let tensor = Tensor::new(kind, shape, bytes).map_err(|error| wrong(error.to_string()))?;
    Ok((name.clone(), tensor))
}

/// An input or output as the runner declares it.
pub(super) fn declared(tensor: &v1::RunnerTensor) -> Result<TensorSpec, String> {
    let axis = |(index, &size): (usize, &i64)| match u64::try_from(size) {
        Ok(size) => Axis::Fixed(size),
        Err(_) => Axis::Named(format!("axis{index}")),
    };
    let dtype = dtype(tensor.element_type()).map_err(|why| format!("{:?}: {why}", tensor.name))?;
    Ok(TensorSpec { name: tensor.name.clone(), dtype, shape: tensor.shape.iter().enumerate().map(axis).collect() })
}

/// In which way outputs are not what was declared of them.
pub(super) fn contradiction(declared: &[TensorSpec], outputs: &[NamedTensor]) -> Option<String> {
    let said: Vec<&str> = declared.iter().map(|spec| spec.name.as_str()).collect();
    let given: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    if said != given {
        return Some(format!("outputs {said:?} are declared and {given:?} are given"));
    }
    declared.iter().zip(outputs).find_map(|(spec, (name, tensor))| {
        let axes = spec.shape.len() == tensor.shape().len()
            && spec.shape.iter().zip(tensor.shape()).all(|(axis, &size)| match axis {
                Axis::Fixed(fixed) => *fixed == size as u64,
                Axis::Named(_) => true,
            });
        let is_same = spec.dtype == tensor.dtype() && axes;
        let given = || format!("{} {:?}", tensor.dtype().as_str(), tensor.shape());
        (!is_same).then(|| format!("output {name:?} is declared as {spec} and is {}", given()))
    })
}

pub(super) const fn element_type(dtype: DType) -> ElementType {
    match dtype {
        DType::F32 => ElementType::F32,
        DType::F64 => ElementType::F64,
        DType::F16 => ElementType::F16,
        DType::I8 => ElementType::I8,
        DType::U8 => ElementType::U8,
        DType::I16 => ElementType::I16,
        DType::U16 => ElementType::U16,
        DType::I32 => ElementType::I32,
        DType::U32 => ElementType::U32,
        DType::I64 => ElementType::I64,
        DType::U64 => ElementType::U64,
        DType::Bool => ElementType::Bool,
    }
}

fn dtype(kind: ElementType) -> Result<DType, String> {
    Ok(match kind {
        ElementType::F32 => DType::F32,
        ElementType::F64 => DType::F64,
        ElementType::F16 => DType::F16,
        ElementType::I8 => DType::I8,
        ElementType::U8 => DType::U8,
        ElementType::I16 => DType::I16,
        ElementType::U16 => DType::U16,
        ElementType::I32 => DType::I32,
        ElementType::U32 => DType::U32,
        ElementType::I64 => DType::I64,
        ElementType::U64 => DType::U64,
        ElementType::Bool => DType::Bool,
        ElementType::Bf16 | ElementType::I4 | ElementType::U4 | ElementType::String | ElementType::Unspecified => {
            return Err(format!("elements of type {} are not read", kind.as_str_name()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(elements: usize) -> Tensor {
        Tensor::new(DType::U8, vec![1, elements], vec![7; elements]).unwrap()
    }

    #[test]
    fn small_tensors_go_in_the_frame_and_large_ones_by_file() {
        let home = tempfile::tempdir().unwrap();
        let inputs = vec![("small".to_owned(), tensor(INLINE)), ("large".to_owned(), tensor(INLINE + 1))];
        let wire = to_wire(&inputs, home.path()).unwrap();
        assert!(matches!(wire[0].content, Some(Content::Bytes(_))));
        assert!(matches!(wire[1].content, Some(Content::File(_))));
        let back: Vec<NamedTensor> = wire.iter().map(|value| from_wire(value, home.path()).unwrap()).collect();
        assert_eq!(back, inputs);
        let many: Vec<NamedTensor> = (0..20).map(|index| (index.to_string(), tensor(INLINE))).collect();
        let inline = |value: &&v1::TensorValue| matches!(value.content, Some(Content::Bytes(_)));
        assert_eq!(to_wire(&many, home.path()).unwrap().iter().filter(inline).count(), 8, "a frame has a bound");
    }

    #[test]
    fn an_output_that_is_not_what_it_says_is_refused() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("short.bin"), [0; 3]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("link.bin")).unwrap();
        let good = value(0, "y", &tensor(4), true, home.path()).unwrap();
        assert!(from_wire(&good, home.path()).is_ok(), "the control");
        let with = |content| v1::TensorValue { content, ..good.clone() };
        for (value, said) in [
            (v1::TensorValue { shape: vec![1, 5], ..good.clone() }, "takes 5 bytes, got 4"),
            (v1::TensorValue { shape: vec![-1, 4], ..good.clone() }, "negative axis"),
            (v1::TensorValue { element_type: 16, ..good.clone() }, "are not read"),
            (with(Some(Content::File("short.bin".into()))), "takes 4 bytes, got 3"),
            (with(Some(Content::File("link.bin".into()))), "link.bin"),
            (with(Some(Content::File("../out".into()))), "no flat name"),
            (with(None), "neither bytes nor a file"),
        ] {
            let error = from_wire(&value, home.path()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn outputs_are_held_against_what_was_declared() {
        let spec =
            |name: &str, shape: &[Axis]| TensorSpec { name: name.into(), dtype: DType::U8, shape: shape.to_vec() };
        let outputs = [("y".to_owned(), tensor(4))];
        let open = [Axis::Named("axis0".into()), Axis::Fixed(4)];
        assert_eq!(contradiction(&[spec("y", &open)], &outputs), None);
        let fixed = [Axis::Fixed(1), Axis::Fixed(5)];
        let said = contradiction(&[spec("y", &fixed)], &outputs).unwrap();
        assert_eq!(said, "output \"y\" is declared as u8 [1, 5] and is u8 [1, 4]");
        assert!(contradiction(&[spec("z", &open)], &outputs).is_some());
        assert!(contradiction(&[], &outputs).is_some());
    }
}
