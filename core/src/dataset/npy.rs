//! Reads NumPy's array files (`.npy`, format versions 1 to 3) from bytes, and writes them.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Only dense, little-endian, row-major
//! arrays of numbers and booleans are read. Anything else is refused with the call that would make it readable,
//! rather than converted: what is measured must be what was packed.

use crate::tensor::{DType, Tensor, TensorError};

const MAGIC: &[u8] = b"\x93NUMPY";
/// A header of numbers is far shorter; a longer one is no array of ours.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Bytes at the beginning of a file that hold its header, with mark, version and length.
pub const START_BYTES: usize = MAX_HEADER_BYTES + 12;
/// Axes of an array.
const MAX_AXES: usize = 32;

/// Why bytes are not an array that can be read.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum NpyError {
    #[error("not an npy file: it does not begin with NumPy's mark")]
    Mark,
    #[error("npy format version {major}.{minor} is not known (1 to 3 are)")]
    Version { major: u8, minor: u8 },
    #[error("the npy header is cut off or longer than {MAX_HEADER_BYTES} bytes")]
    Truncated,
    #[error("the npy header cannot be read: {0}")]
    Header(String),
    #[error("the array is stored in Fortran order; save numpy.ascontiguousarray(array) instead")]
    FortranOrder,
    #[error("element type {0:?} is not read: expected little-endian numbers or booleans, as after array.astype('<f4')")]
    ElementType(String),
    #[error(transparent)]
    Size(#[from] TensorError),
}

/// What an npy file says of its array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Offset in bytes at which the elements begin.
    pub data_offset: usize,
}

/// Reads a whole file.
pub fn parse(bytes: &[u8]) -> Result<Tensor, NpyError> {
    let Header { dtype, shape, data_offset } = header(bytes)?;
    Ok(Tensor::new(dtype, shape, bytes[data_offset..].to_vec())?)
}

/// Reads the header alone; the first [`START_BYTES`] of a file always hold it.
pub fn header(bytes: &[u8]) -> Result<Header, NpyError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::Mark)?;
    let (&[major, minor], rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Truncated)?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Truncated)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(NpyError::Truncated)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        _ => return Err(NpyError::Version { major, minor }),
    };
    let text = rest.get(..length).filter(|text| text.len() <= MAX_HEADER_BYTES).ok_or(NpyError::Truncated)?;
    let text = std::str::from_utf8(text).map_err(|_| NpyError::Header("it is not text".to_owned()))?;
    let (dtype, shape) = Dictionary { rest: text }.read()?;
    Ok(Header { dtype, shape, data_offset: bytes.len() - rest.len() + length })
}

/// A file of format version 1.0 that holds the tensor.
#[must_use]
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let axes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let (descr, axes, comma) = (description(tensor.dtype()), axes.join(", "), if axes.len() == 1 { "," } else { "" });
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}{comma}), }}");
    // Mark, version and length are ten bytes; the elements begin at a multiple of 64.
    let length = (MAGIC.len() + 4 + dictionary.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let mut bytes = [MAGIC, &[1, 0], &(length as u16).to_le_bytes(), dictionary.as_bytes()].concat();
    bytes.resize(MAGIC.len() + 4 + length - 1, b' ');
    bytes.push(b'\n');
    bytes.extend_from_slice(tensor.bytes());
    bytes
}

/// The Python dictionary of a header: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct Dictionary<'t> {
    rest: &'t str,
}

impl<'t> Dictionary<'t> {
    fn read(mut self) -> Result<(DType, Vec<usize>), NpyError> {
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.accept('}') {
            let key = self.string()?;
            self.expect(':')?;
            match key {
                "descr" if self.peek() == Some('[') => return Err(NpyError::ElementType("a structure".to_owned())),
                "descr" => dtype = Some(element_type(self.string()?)?),
                "fortran_order" => fortran_order = Some(self.boolean()?),
                "shape" => shape = Some(self.shape()?),
                _ => {
                    return Err(NpyError::Header(format!(
                        "unknown key {:?}",
                        key.chars().take(40).collect::<String>()
                    )));
                }
            }
            if !self.accept(',') {
                self.expect('}')?;
                break;
            }
        }
        if !self.rest.trim().is_empty() {
            return Err(NpyError::Header("something follows its end".to_owned()));
        }
        let missing = |key: &str| NpyError::Header(format!("key '{key}' is missing"));
        if fortran_order.ok_or_else(|| missing("fortran_order"))? {
            return Err(NpyError::FortranOrder);
        }
        Ok((dtype.ok_or_else(|| missing("descr"))?, shape.ok_or_else(|| missing("shape"))?))
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn accept(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(sign);
        if found {
            self.rest = &self.rest[sign.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, sign: char) -> Result<(), NpyError> {
        if self.accept(sign) { Ok(()) } else { Err(NpyError::Header(format!("'{sign}' is missing"))) }
    }

    fn string(&mut self) -> Result<&'t str, NpyError> {
        let fault = || NpyError::Header("a quoted word is missing".to_owned());
        let quote = self.peek().filter(|sign| matches!(sign, '\'' | '"')).ok_or_else(fault)?;
        let (word, rest) = self.rest[1..].split_once(quote).ok_or_else(fault)?;
        self.rest = rest;
        Ok(word)
    }

    fn boolean(&mut self) -> Result<bool, NpyError> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(NpyError::Header("'fortran_order' is neither True nor False".to_owned()))
    }

    fn shape(&mut self) -> Result<Vec<usize>, NpyError> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.accept(')') {
            self.peek();
            let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let axis =
                self.rest[..digits].parse().map_err(|_| NpyError::Header("an axis is not a number".to_owned()))?;
            shape.push(axis);
            self.rest = self.rest[digits..].trim_start_matches('L');
            if shape.len() > MAX_AXES {
                return Err(NpyError::Header(format!("it has more than {MAX_AXES} axes")));
            }
            if !self.accept(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

/// NumPy's array-protocol type: byte order, kind, bytes.
fn element_type(descr: &str) -> Result<DType, NpyError> {
    match descr {
        "<f4" => Ok(DType::F32),
        "<f8" => Ok(DType::F64),
        "<f2" => Ok(DType::F16),
        "|i1" | "<i1" => Ok(DType::I8),
        "|u1" | "<u1" => Ok(DType::U8),
        "<i2" => Ok(DType::I16),
        "<u2" => Ok(DType::U16),
        "<i4" => Ok(DType::I32),
        "<u4" => Ok(DType::U32),
        "<i8" => Ok(DType::I64),
        "<u8" => Ok(DType::U64),
        "|b1" | "<b1" => Ok(DType::Bool),
        _ => Err(NpyError::ElementType(descr.chars().take(40).collect())),
    }
}

const fn description(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::U16 => "<u2",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::I64 => "<i8",
        DType::U64 => "<u8",
        DType::Bool => "|b1",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC, &[version, 0]].concat();
        if version == 1 {
            bytes.extend((header.len() as u16).to_le_bytes());
        } else {
            bytes.extend((header.len() as u32).to_le_bytes());
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    /// As `numpy.save` writes `numpy.arange(6, dtype='<i2').reshape(2, 3)`.
    fn saved_by_numpy() -> Vec<u8> {
        let mut header = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }".to_owned();
        while !(10 + header.len() + 1).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        file(1, &header, &[0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0])
    }

    #[test]
    fn an_array_reads_as_numpy_saved_it() {
        let tensor = parse(&saved_by_numpy()).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (DType::I16, &[2, 3][..]));
        assert_eq!(tensor.to_f64(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(header(&saved_by_numpy()).unwrap().data_offset, 128);
    }

    #[test]
    fn what_is_written_is_what_numpy_saves_and_reads_back() {
        let tensor = parse(&saved_by_numpy()).unwrap();
        assert_eq!(write(&tensor), saved_by_numpy());
        for shape in [vec![], vec![3], vec![0, 4], vec![2, 1, 3]] {
            let tensor = Tensor::from_f32(shape.clone(), &vec![1.5; shape.iter().product()]).unwrap();
            let written = write(&tensor);
            assert_eq!(header(&written).unwrap().data_offset % 64, 0);
            assert_eq!(parse(&written), Ok(tensor));
        }
    }

    #[test]
    fn every_version_and_shape_is_read() {
        for version in 1..=3 {
            for (shape, axes, length) in
                [("()", vec![], 1), ("(3,)", vec![3], 3), ("(2, 1)", vec![2, 1], 2), ("(0, 4)", vec![0, 4], 0)]
            {
                let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}");
                let tensor = parse(&file(version, &header, &vec![7; length])).unwrap();
                assert_eq!(tensor.shape(), axes, "version {version}, shape {shape}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_reason() {
        let header =
            |descr: &str, fortran: &str| format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': (1,)}}");
        let error = |header: &str| parse(&file(1, header, &[0; 4])).unwrap_err();
        assert_eq!(error(&header("'<f4'", "True")), NpyError::FortranOrder);
        assert_eq!(error(&header("'>f4'", "False")), NpyError::ElementType(">f4".to_owned()));
        assert_eq!(error(&header("'<U5'", "False")), NpyError::ElementType("<U5".to_owned()));
        assert_eq!(error(&header("[('a', '<f4')]", "False")), NpyError::ElementType("a structure".to_owned()));
        assert_eq!(
            error("{'descr': '<f4', 'shape': (1,)}"),
            NpyError::Header("key 'fortran_order' is missing".to_owned())
        );
        assert!(matches!(
            error(&header("'<f8'", "False")),
            NpyError::Size(TensorError::Size { expected: 8, actual: 4, .. })
        ));
        assert_eq!(parse(b"PK\x03\x04"), Err(NpyError::Mark));
        assert_eq!(parse(&file(4, "{}", &[])), Err(NpyError::Version { major: 4, minor: 0 }));
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = saved_by_numpy();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn a_shape_too_large_for_memory_is_refused_before_anything_is_allocated() {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (18446744073709551615, 2)}";
        assert!(matches!(parse(&file(1, header, &[])), Err(NpyError::Size(TensorError::TooLarge(_)))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in prop::collection::vec(any::<u8>(), 0..200), header in "[{}'(),a-z0-9: <>|]{0,80}") {
            let _ = parse(&tail);
            let _ = parse(&[MAGIC, &tail].concat());
            let _ = parse(&file(1, &header, &tail));
        }
    }
}
