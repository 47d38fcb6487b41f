//! What an ONNX file says of its weights: where they lie, and of which types they are. Read as far as that needs, without
//! the weights themselves.

use std::fs::File;
use std::io::{self, BufReader, Read as _};

use rustix::fs::{Advice, fadvise};
use seatrial_core::model::Precision;
use seatrial_core::weights::Weights;

use super::model_file::Looked;

/// No parser of protobuf follows messages in messages further.
const MAX_DEPTH: usize = 128;
/// Bytes of a text that are looked at: no path is longer.
const MAX_TEXT: u64 = 4096;

/// Messages of onnx.proto on the way to a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    Sparse,
    Tensor,
    /// A name and a value of a tensor's external data.
    Entry,
}

/// Fields with messages in which there may be tensors: of which message, their numbers, and what they hold.
const FIELDS: [(Message, &[u64], Message); 14] = [
    (Message::Model, &[7], Message::Graph),
    (Message::Model, &[20], Message::Training),
    (Message::Model, &[25], Message::Function),
    (Message::Training, &[1, 2], Message::Graph),
    (Message::Graph, &[1], Message::Node),
    (Message::Graph, &[5], Message::Tensor),
    (Message::Graph, &[15], Message::Sparse),
    (Message::Function, &[7], Message::Node),
    (Message::Function, &[11], Message::Attribute),
    (Message::Node, &[5], Message::Attribute),
    (Message::Attribute, &[5, 10], Message::Tensor),
    (Message::Attribute, &[6, 11], Message::Graph),
    (Message::Attribute, &[22, 23], Message::Sparse),
    (Message::Sparse, &[1, 2], Message::Tensor),
];
/// Where a tensor names the place of its weights.
const EXTERNAL_DATA: u64 = 13;
/// Where it says its sizes and its type.
const DIMS: u64 = 1;
const DATA_TYPE: u64 = 2;
/// Where a node names its operator.
const OPERATOR: u64 = 4;
/// Fields that every model has: its graph, and the versions of its operators.
const GRAPH: u64 = 7;
const OPERATOR_SETS: u64 = 8;

/// Ends of the names of operators that take weights packed as bytes, in fewer bits than their type says: `MatMulNBits`,
/// `MatMulBnb4`, `GatherBlockQuantized`, `QMoE`.
const PACKED: [&str; 4] = ["NBits", "Bnb4", "BlockQuantized", "MoE"];

/// What a type of `TensorProto.DataType` is. Whole numbers of more bits, booleans and texts are no weights.
#[expect(clippy::option_option, reason = "no weight is not a weight of a type that is none of ours")]
fn counted(data_type: u64) -> Option<Option<Precision>> {
    match data_type {
        1 => Some(Some(Precision::Fp32)),
        10 => Some(Some(Precision::Fp16)),
        16 => Some(Some(Precision::Bf16)),
        2 | 3 => Some(Some(Precision::Int8)),
        21 | 22 => Some(Some(Precision::Int4)),
        // Undefined, 16, 32 and 64 bits, text, truth.
        0 | 4..=9 | 12 | 13 => None,
        // Doubles, complex numbers, 8-bit and 4-bit floats, 2-bit integers, and whatever comes.
        _ => Some(None),
    }
}

fn inside(message: Message, number: u64) -> Option<Message> {
    if message == Message::Tensor && number == EXTERNAL_DATA {
        return Some(Message::Entry);
    }
    FIELDS.iter().find(|(of, numbers, _)| *of == message && numbers.contains(&number)).map(|(_, _, held)| *held)
}

/// All places that a file names, and the types of its weights, as far as it can be read. Weights inside it are passed over.
pub(super) fn look(file: File) -> Looked {
    let Ok(end) = file.metadata().map(|about| about.len()) else { return Looked::default() };
    // The first load is a cold one: the kernel reads nothing ahead, and forgets what was read.
    let _ = fadvise(&file, 0, None, Advice::Random);
    let mut scanner = Scanner::new(BufReader::new(file));
    // What no parser can read to its end no engine follows.
    let read = scanner.message(Message::Model, end, 0);
    let _ = fadvise(scanner.file.get_ref(), 0, None, Advice::DontNeed);
    let Scanner { places, weights, packed, graphs, operator_sets, .. } = scanner;
    let whole = read.is_ok() && graphs > 0 && operator_sets > 0;
    Looked { places, weights: (whole && !packed).then_some(weights), whole }
}

struct Scanner {
    file: BufReader<File>,
    at: u64,
    places: Vec<String>,
    weights: Weights,
    /// There are weights whose type does not tell their bits.
    packed: bool,
    graphs: u32,
    operator_sets: u32,
}

/// What a tensor says of itself; one without sizes is a single number.
struct Tensor {
    data_type: u64,
    numbers: u64,
}

/// The value of a field, as far as it was read.
enum Value {
    Number(u64),
    /// It says how many bytes follow.
    Length(u64),
    Passed,
}

impl Scanner {
    fn new(file: BufReader<File>) -> Self {
        let weights = Weights::default();
        Self { file, at: 0, places: Vec::new(), weights, packed: false, graphs: 0, operator_sets: 0 }
    }

    fn message(&mut self, message: Message, end: u64, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(malformed());
        }
        let (mut is_place, mut values) = (false, Vec::new());
        let mut tensor = Tensor { data_type: 0, numbers: 1 };
        while self.at < end {
            let (number, kind) = self.key()?;
            let length = match self.value(kind, depth)? {
                Value::Length(length) => length,
                Value::Number(value) => {
                    tensor.take(number, value);
                    continue;
                }
                Value::Passed => continue,
            };
            let inner = self.at.checked_add(length).filter(|inner| *inner <= end).ok_or_else(malformed)?;
            match (message, number) {
                (Message::Entry, 1) => is_place |= self.text(inner)? == "location",
                (Message::Entry, 2) => values.push(self.text(inner)?),
                (Message::Node, OPERATOR) => {
                    let operator = self.text(inner)?;
                    self.packed |= PACKED.iter().any(|end| operator.ends_with(end));
                }
                (Message::Tensor, DIMS) => {
                    while self.at < inner {
                        let size = self.varint()?;
                        tensor.take(DIMS, size);
                    }
                }
                (Message::Model, OPERATOR_SETS) => {
                    self.operator_sets = self.operator_sets.saturating_add(1);
                    self.skip_to(inner)?;
                }
                (_, _) => match inside(message, number) {
                    Some(held) => {
                        let graph = message == Message::Model && number == GRAPH;
                        self.graphs = self.graphs.saturating_add(u32::from(graph));
                        self.message(held, inner, depth + 1)?;
                    }
                    None => self.skip_to(inner)?,
                },
            }
        }
        if is_place {
            self.places.append(&mut values);
        }
        if message == Message::Tensor
            && let Some(precision) = counted(tensor.data_type)
        {
            self.weights.add(precision, tensor.numbers);
        }
        // A field that goes beyond its message.
        if self.at == end { Ok(()) } else { Err(malformed()) }
    }

    /// Number and kind of the next field.
    fn key(&mut self) -> io::Result<(u64, u64)> {
        let key = self.varint()?;
        Ok((key >> 3, key & 7))
    }

    /// Reads a number, passes over another value, or returns the length of one that says it.
    fn value(&mut self, kind: u64, depth: usize) -> io::Result<Value> {
        match kind {
            0 => return self.varint().map(Value::Number),
            1 => self.skip_to(self.at + 8)?,
            5 => self.skip_to(self.at + 4)?,
            2 => return self.varint().map(Value::Length),
            3 if depth < MAX_DEPTH => self.group(depth + 1)?,
            _ => return Err(malformed()),
        }
        Ok(Value::Passed)
    }

    /// A form of message that ends with a field of its own; ONNX has none, and parsers pass over it.
    fn group(&mut self, depth: usize) -> io::Result<()> {
        loop {
            match self.key()? {
                (_, 4) => return Ok(()),
                (_, kind) => {
                    if let Value::Length(length) = self.value(kind, depth)? {
                        self.skip_to(self.at.checked_add(length).ok_or_else(malformed)?)?;
                    }
                }
            }
        }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed())
    }

    /// A text up to there, or its beginning.
    fn text(&mut self, end: u64) -> io::Result<String> {
        let mut bytes = Vec::new();
        let read = self.file.by_ref().take((end - self.at).min(MAX_TEXT)).read_to_end(&mut bytes)?;
        self.at += read as u64;
        self.skip_to(end)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn skip_to(&mut self, end: u64) -> io::Result<()> {
        let by = i64::try_from(end - self.at).map_err(|_| malformed())?;
        self.file.seek_relative(by)?;
        self.at = end;
        Ok(())
    }
}

impl Tensor {
    /// A number that the tensor's message holds.
    fn take(&mut self, field: u64, value: u64) {
        match field {
            // A size below zero is none.
            DIMS => self.numbers = self.numbers.saturating_mul(i64::try_from(value).map_or(0, |_| value)),
            DATA_TYPE => self.data_type = value,
            _ => {}
        }
    }
}

fn malformed() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn written(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn of(bytes: &[u8]) -> Vec<String> {
        look(written(bytes)).places
    }

    /// A field that says its length.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let key = (u32::from(number) << 3) | 2;
        let mut out = if key < 0x80 { vec![key as u8] } else { vec![key as u8 | 0x80, (key >> 7) as u8] };
        assert!(content.len() < 0x4000);
        out.extend([content.len() as u8 | 0x80, (content.len() >> 7) as u8]);
        out.extend(content);
        out
    }

    fn tensor(place: &str) -> Vec<u8> {
        let entry =
            |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
        [field(9, b"weights inside"), entry("offset", "0"), entry("location", place)].concat()
    }

    #[test]
    fn a_place_is_found_wherever_a_model_may_hold_a_tensor() {
        let in_node = |attribute: &[u8]| field(5, attribute);
        let graph = |content: &[u8]| field(7, content);
        let deep = graph(&field(1, &in_node(&field(6, &field(1, &in_node(&field(5, &tensor("deep"))))))));
        for (place, model) in [
            ("initializer", graph(&field(5, &tensor("initializer")))),
            ("constant", graph(&field(1, &in_node(&field(5, &tensor("constant")))))),
            ("list", graph(&field(1, &in_node(&field(10, &tensor("list")))))),
            ("sparse", graph(&field(15, &field(1, &tensor("sparse"))))),
            ("function", field(25, &field(7, &in_node(&field(5, &tensor("function")))))),
            ("training", field(20, &field(1, &field(5, &tensor("training"))))),
            ("deep", deep),
        ] {
            assert_eq!(of(&model), [place]);
            // A number, a group and a field of the future before it change nothing.
            let before = [vec![0x08, 9, 0x1b, 0x10, 1, 0x1c], field(99, b"future")].concat();
            assert_eq!(of(&[before, model].concat()), [place]);
        }
        let name = field(7, &field(2, &tensor("in a text")));
        assert_eq!(of(&name), Vec::<String>::new(), "the control: a text that looks like a tensor is none");
    }

    #[test]
    fn what_is_cut_or_damaged_is_left_to_the_engine_and_never_a_panic() {
        let model = field(7, &[field(5, &tensor("a")), field(5, &tensor("b"))].concat());
        assert_eq!(of(&model), ["a", "b"]);
        for at in 0..model.len() {
            of(&model[..at]);
            for value in [0, 0x7f, 0x80, 0xff, model[at] ^ 1, model[at].wrapping_add(3)] {
                let mut damaged = model.clone();
                damaged[at] = value;
                of(&damaged);
            }
        }
        let groups = vec![0x0b; 100_000];
        assert_eq!(of(&groups), Vec::<String>::new(), "groups without end");
    }

    /// A tensor of these sizes, said one by one or packed.
    fn sized(data_type: u8, sizes: &[u8], packed: bool) -> Vec<u8> {
        let dims = if packed { field(1, sizes) } else { sizes.iter().flat_map(|size| [0x08, *size]).collect() };
        [dims, vec![0x10, data_type]].concat()
    }

    /// A model with these initializers, which multiplies by this operator.
    fn model_of(tensors: &[Vec<u8>], operator: &str) -> Vec<u8> {
        let initializers = tensors.iter().flat_map(|tensor| field(5, tensor));
        let node = field(1, &field(4, operator.as_bytes()));
        [field(7, &[node, initializers.collect()].concat()), field(8, &[0x10, 17])].concat()
    }

    #[test]
    fn weights_are_counted_by_their_types() {
        let counted = |tensors: &[Vec<u8>]| look(written(&model_of(tensors, "MatMul"))).weights.unwrap();
        for packed in [false, true] {
            for (data_type, precision) in [
                (1, Precision::Fp32),
                (10, Precision::Fp16),
                (16, Precision::Bf16),
                (2, Precision::Int8),
                (3, Precision::Int8),
                (21, Precision::Int4),
                (22, Precision::Int4),
            ] {
                let tensors = [sized(data_type, &[100, 3], packed), sized(7, &[120], packed), sized(6, &[90], packed)];
                assert_eq!(counted(&tensors).precision(), Some(precision), "{data_type}");
                assert_eq!(counted(&tensors).numbers, BTreeMap::from([(precision, 300)]));
            }
        }
        let quantised = counted(&[sized(3, &[64, 9], false), sized(1, &[], false), sized(3, &[], false)]);
        assert_eq!(quantised.numbers, BTreeMap::from([(Precision::Int8, 577), (Precision::Fp32, 1)]));
        assert_eq!(counted(&[sized(11, &[64], false)]).precision(), None, "doubles");
        assert_eq!(counted(&[]), Weights::default());
    }

    #[test]
    fn weights_that_are_packed_by_an_operator_of_their_own_do_not_tell_their_bits() {
        let bytes = [sized(2, &[64, 64], false)];
        for operator in ["MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "QMoE"] {
            let looked = look(written(&model_of(&bytes, operator)));
            assert_eq!((looked.weights, looked.whole), (None, true), "{operator}");
        }
        assert!(look(written(&model_of(&bytes, "MatMulInteger"))).weights.is_some(), "the control");
    }

    #[test]
    fn a_file_is_whole_when_it_can_be_read_to_its_end_and_has_what_every_model_has() {
        let model = model_of(&[sized(1, &[4, 3], false)], "MatMul");
        assert!(look(written(&model)).whole);
        for end in 0..model.len() {
            let looked = look(written(&model[..end]));
            assert!(!looked.whole && looked.weights.is_none(), "cut at {end} of {}", model.len());
        }
        assert!(!look(written(&[0xff; 100])).whole);
    }
}
