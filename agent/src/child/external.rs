//! Where an ONNX file says that its weights lie, looked at before an engine follows it: not every version of every engine
//! refuses a place outside of the model's folder, and not every kernel keeps a child from reading there.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Component, Path};

use rustix::fs::{Advice, fadvise};
use seatrial_core::model::Format;
use seatrial_core::outcome::Claim;

use super::Failure;
use crate::runtime::ModelFiles;

/// No parser of protobuf follows messages in messages further.
const MAX_DEPTH: usize = 128;
/// Bytes of a place that are looked at: no path is longer.
const MAX_PLACE: u64 = 4096;

/// Refuses a model whose weights are said to lie elsewhere than beside it. A file that is no ONNX is left to the engine.
pub(super) fn check(files: &ModelFiles<'_>) -> Result<(), Failure> {
    let (Format::Onnx, Ok(path)) = (files.format, files.main()) else { return Ok(()) };
    let Ok(file) = File::open(path) else { return Ok(()) };
    match places(file).iter().find_map(|place| refusal(place)) {
        None => Ok(()),
        Some(message) => Err(Failure { claim: Claim::SpecError, message }),
    }
}

/// Why weights are not looked for at a place.
fn refusal(place: &str) -> Option<String> {
    let mut beside = 0;
    for component in Path::new(place).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => beside += 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Some(format!(
                    "the model keeps weights in {place:?}, outside of its folder, which is never read: save it again \
                     with its external data beside it"
                ));
            }
        }
    }
    (beside > 1).then(|| {
        format!(
            "the model keeps weights in {place:?}, and the files of a model lie beside each other: save it again with its \
             external data in no other folder"
        )
    })
}

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

fn inside(message: Message, number: u64) -> Option<Message> {
    if message == Message::Tensor && number == EXTERNAL_DATA {
        return Some(Message::Entry);
    }
    FIELDS.iter().find(|(of, numbers, _)| *of == message && numbers.contains(&number)).map(|(_, _, held)| *held)
}

/// All places that a file names, as far as it can be read. Weights inside it are passed over.
fn places(file: File) -> Vec<String> {
    let Ok(end) = file.metadata().map(|about| about.len()) else { return Vec::new() };
    // The first load is a cold one: the kernel reads nothing ahead, and forgets what was read.
    let _ = fadvise(&file, 0, None, Advice::Random);
    let mut scanner = Scanner { file: BufReader::new(file), at: 0, places: Vec::new() };
    // What no parser can read to its end no engine follows.
    let _ = scanner.message(Message::Model, end, 0);
    let _ = fadvise(scanner.file.get_ref(), 0, None, Advice::DontNeed);
    scanner.places
}

struct Scanner {
    file: BufReader<File>,
    at: u64,
    places: Vec<String>,
}

impl Scanner {
    fn message(&mut self, message: Message, end: u64, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(malformed());
        }
        let (mut is_place, mut values) = (false, Vec::new());
        while self.at < end {
            let (number, kind) = self.key()?;
            let Some(length) = self.value(kind, depth)? else { continue };
            let inner = self.at.checked_add(length).filter(|inner| *inner <= end).ok_or_else(malformed)?;
            if message == Message::Entry && number == 1 {
                is_place |= self.text(inner)? == "location";
            } else if message == Message::Entry && number == 2 {
                values.push(self.text(inner)?);
            } else if let Some(held) = inside(message, number) {
                self.message(held, inner, depth + 1)?;
            } else {
                self.skip_to(inner)?;
            }
        }
        if is_place {
            self.places.append(&mut values);
        }
        Ok(())
    }

    /// Number and kind of the next field.
    fn key(&mut self) -> io::Result<(u64, u64)> {
        let key = self.varint()?;
        Ok((key >> 3, key & 7))
    }

    /// Passes over a value, or returns the length of one that says it.
    fn value(&mut self, kind: u64, depth: usize) -> io::Result<Option<u64>> {
        match kind {
            0 => drop(self.varint()?),
            1 => self.skip_to(self.at + 8)?,
            5 => self.skip_to(self.at + 4)?,
            2 => return self.varint().map(Some),
            3 if depth < MAX_DEPTH => self.group(depth + 1)?,
            _ => return Err(malformed()),
        }
        Ok(None)
    }

    /// A form of message that ends with a field of its own; ONNX has none, and parsers pass over it.
    fn group(&mut self, depth: usize) -> io::Result<()> {
        loop {
            match self.key()? {
                (_, 4) => return Ok(()),
                (_, kind) => {
                    if let Some(length) = self.value(kind, depth)? {
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
        let read = self.file.by_ref().take((end - self.at).min(MAX_PLACE)).read_to_end(&mut bytes)?;
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

fn malformed() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn written(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn of(bytes: &[u8]) -> Vec<String> {
        places(written(bytes))
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

    #[test]
    fn only_what_lies_beside_the_model_is_followed() {
        for place in ["weights.bin", "./weights.bin", "..weights", "weights..bin"] {
            assert_eq!(refusal(place), None, "{place}");
        }
        for place in ["../weights.bin", "../../etc/passwd", "/etc/passwd", "a/../../b", ".."] {
            assert!(refusal(place).unwrap().contains("outside of its folder"), "{place}");
        }
        assert!(refusal("weights/0.bin").unwrap().contains("beside each other"));
    }
}
