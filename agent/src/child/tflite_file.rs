//! What a TFLite file says of its weights: of which types they are. A flatbuffer, of which a few tables are read where they
//! stand, and no weights.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Advice, fadvise};
use seatrial_core::model::Precision;
use seatrial_core::weights::Weights;

use super::model_file::Looked;

/// Tensors that are looked at, and axes of one.
const MAX_TENSORS: u32 = 1 << 20;
const MAX_AXES: u32 = 64;
const IDENTIFIER: &[u8] = b"TFL3";

/// Fields of the schema's tables, by their number.
mod field {
    pub(super) const MODEL_SUBGRAPHS: u16 = 2;
    pub(super) const MODEL_BUFFERS: u16 = 4;
    pub(super) const SUBGRAPH_TENSORS: u16 = 0;
    pub(super) const TENSOR_SHAPE: u16 = 0;
    pub(super) const TENSOR_TYPE: u16 = 1;
    pub(super) const TENSOR_BUFFER: u16 = 2;
    pub(super) const BUFFER_DATA: u16 = 0;
    /// Of data behind the flatbuffer.
    pub(super) const BUFFER_SIZE: u16 = 2;
}

/// What a `TensorType` is. Whole numbers of more bits, booleans and texts are no weights.
#[expect(clippy::option_option, reason = "no weight is not a weight of a type that is none of ours")]
fn counted(kind: u8) -> Option<Option<Precision>> {
    match kind {
        0 => Some(Some(Precision::Fp32)),
        1 => Some(Some(Precision::Fp16)),
        18 => Some(Some(Precision::Bf16)),
        3 | 9 => Some(Some(Precision::Int8)),
        17 => Some(Some(Precision::Int4)),
        // 32 and 64 bits, text, truth, 16 bits, resources and variants.
        2 | 4..=7 | 12..=16 => None,
        // Complex numbers, doubles, and whatever comes.
        _ => Some(None),
    }
}

pub(super) fn look(file: &File) -> Looked {
    // The first load is a cold one: the kernel reads nothing ahead, and forgets what was read.
    let _ = fadvise(file, 0, None, Advice::Random);
    let weights = file.metadata().ok().and_then(|about| Reader { file, end: about.len() }.weights());
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    Looked { places: Vec::new(), whole: weights.is_some(), weights }
}

struct Reader<'a> {
    file: &'a File,
    end: u64,
}

/// Where a table stands.
type Table = u64;

impl Reader<'_> {
    /// `None` where the file is none of this format.
    fn weights(&self) -> Option<Weights> {
        let mut head = [0; 8];
        self.read(0, &mut head)?;
        let model = Table::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
        (&head[4..] == IDENTIFIER).then_some(())?;
        let (mut weights, mut left) = (Weights::default(), MAX_TENSORS);
        let (buffers, count) = self.list(model, field::MODEL_BUFFERS)?;
        let (graphs, graph_count) = self.list(model, field::MODEL_SUBGRAPHS)?;
        for graph in 0..graph_count {
            let graph = self.table(graphs, graph)?;
            let Some((tensors, tensor_count)) = self.list(graph, field::SUBGRAPH_TENSORS) else { continue };
            left = left.checked_sub(tensor_count)?;
            for tensor in 0..tensor_count {
                let tensor = self.table(tensors, tensor)?;
                let buffer = self.number(tensor, field::TENSOR_BUFFER)?;
                if buffer >= count || !self.holds_data(self.table(buffers, buffer)?)? {
                    continue;
                }
                let kind = match self.place(tensor, field::TENSOR_TYPE)? {
                    Some(at) => self.bytes::<1>(at)?[0],
                    None => 0,
                };
                if let Some(precision) = counted(kind) {
                    weights.add(precision, self.numbers(tensor)?);
                }
            }
        }
        Some(weights)
    }

    fn holds_data(&self, buffer: Table) -> Option<bool> {
        let inside = match self.place(buffer, field::BUFFER_DATA)? {
            Some(_) => {
                let (at, length) = self.list(buffer, field::BUFFER_DATA)?;
                // A file that was cut.
                (at + u64::from(length) <= self.end).then_some(length > 0)?
            }
            None => false,
        };
        let behind = match self.place(buffer, field::BUFFER_SIZE)? {
            Some(at) => u64::from_le_bytes(self.bytes(at)?) > 0,
            None => false,
        };
        Some(inside || behind)
    }

    /// How many a tensor holds; without a shape it is one.
    fn numbers(&self, tensor: Table) -> Option<u64> {
        if self.place(tensor, field::TENSOR_SHAPE)?.is_none() {
            return Some(1);
        }
        let (at, rank) = self.list(tensor, field::TENSOR_SHAPE)?;
        (rank <= MAX_AXES).then_some(())?;
        (0..rank).try_fold(1_u64, |product, axis| {
            let size = i32::from_le_bytes(self.bytes(at + 4 * u64::from(axis))?);
            Some(product.saturating_mul(u64::try_from(size).unwrap_or(0)))
        })
    }

    // --- flatbuffers ---

    /// Where a field of a table stands; the inner `None` where the table leaves it at its default.
    #[expect(clippy::option_option, reason = "unreadable is not absent")]
    fn place(&self, table: Table, field: u16) -> Option<Option<u64>> {
        let back = i32::from_le_bytes(self.bytes(table)?);
        let fields = table.checked_add_signed(-i64::from(back))?;
        let slot = 4 + 2 * u64::from(field);
        if slot + 2 > u64::from(u16::from_le_bytes(self.bytes(fields)?)) {
            return Some(None);
        }
        let offset = u16::from_le_bytes(self.bytes(fields + slot)?);
        Some((offset > 0).then(|| table + u64::from(offset)))
    }

    fn number(&self, table: Table, field: u16) -> Option<u32> {
        self.place(table, field)?.map_or(Some(0), |at| self.bytes(at).map(u32::from_le_bytes))
    }

    /// Where the entries of a list stand, and their number.
    fn list(&self, table: Table, field: u16) -> Option<(u64, u32)> {
        let at = self.place(table, field)??;
        let list = at + u64::from(u32::from_le_bytes(self.bytes(at)?));
        let length = u32::from_le_bytes(self.bytes(list)?);
        Some((list + 4, length))
    }

    fn table(&self, list: u64, index: u32) -> Option<Table> {
        let at = list + 4 * u64::from(index);
        Some(at + u64::from(u32::from_le_bytes(self.bytes(at)?)))
    }

    fn bytes<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        Some(bytes)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()> {
        self.file.read_exact_at(bytes, at).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn network() -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo/models/digits-cnn.fp32.tflite");
        std::fs::read(path).unwrap()
    }

    fn of(bytes: &[u8]) -> Looked {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        look(&file)
    }

    /// Where the types of the tensors that hold numbers stand.
    fn types(bytes: &[u8]) -> Vec<usize> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let reader = Reader { file: &file, end: bytes.len() as u64 };
        let model = Table::from(u32::from_le_bytes(reader.bytes(0).unwrap()));
        let (graphs, _) = reader.list(model, field::MODEL_SUBGRAPHS).unwrap();
        let (tensors, count) = reader.list(reader.table(graphs, 0).unwrap(), field::SUBGRAPH_TENSORS).unwrap();
        let place = |tensor| reader.place(reader.table(tensors, tensor).unwrap(), field::TENSOR_TYPE).unwrap();
        (0..count).filter_map(place).map(|at| at as usize).collect()
    }

    #[test]
    fn the_weights_of_a_file_are_counted_and_its_shapes_are_none() {
        let looked = of(&network());
        let parameters = 16 * 9 + 16 + 32 * 16 * 9 + 32 + 32 * 7 * 7 * 10 + 10;
        let expected = Weights { numbers: BTreeMap::from([(Precision::Fp32, parameters)]), others: 0 };
        assert_eq!((looked.weights, looked.whole), (Some(expected), true));
    }

    #[test]
    fn the_type_that_stands_in_the_file_counts() {
        // Types that are not the default, fp32, stand in the file: here those of the new shapes, int32.
        let mut changed = network();
        let places = types(&changed);
        assert!(!places.is_empty());
        for at in places {
            assert_eq!(changed[at], 2, "int32");
            changed[at] = 9;
        }
        let weights = of(&changed).weights.unwrap();
        assert!(weights.numbers[&Precision::Int8] > 0, "{weights:?}");
        for (kind, precision) in [(1, Precision::Fp16), (3, Precision::Int8), (17, Precision::Int4)] {
            assert_eq!(counted(kind), Some(Some(precision)));
        }
    }

    #[test]
    fn what_is_cut_or_damaged_says_nothing_and_is_never_a_panic() {
        let whole = network();
        for end in (0..whole.len()).step_by(997) {
            of(&whole[..end]);
        }
        assert_eq!(of(&whole[..whole.len() / 2]), Looked::default());
        for at in (0..2048).step_by(7) {
            for value in [0, 0xff, whole[at] ^ 1] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                of(&damaged);
            }
        }
        assert_eq!(of(b"well"), Looked::default());
        assert_eq!(of(&[0xff; 100]), Looked::default());
    }
}
