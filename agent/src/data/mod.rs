//! Inputs, labels and references of a job: from a dataset package, or generated from the signature.

mod half;
mod images;
mod package;
mod preprocess;
mod seeded;

use std::path::Path;

use seatrial_core::accuracy::golden::Standard;
use seatrial_core::dataset::frame::Frame;
use seatrial_core::dataset::package::{PackageManifest, TensorData, TensorSource, raw_bytes};
use seatrial_core::dataset::scorer::Scorer;
use seatrial_core::dataset::truth::{self, Truth};
use seatrial_core::dataset::{Binding, InputBinding, npy};
use seatrial_core::model::{Signature, TensorSpec};
use seatrial_core::tensor::{Tensor, TensorError};

pub use images::size as image_size;
pub use seeded::seeded;

use package::Package;

/// A tensor by its name.
pub type NamedTensor = (String, Tensor);

/// Why inputs cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("dataset package: {0}")]
    Package(String),
    #[error("member {member:?} of the dataset: {detail}")]
    Member { member: String, detail: String },
    #[error("input {input:?}: {detail}")]
    Input { input: String, detail: String },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The examples of a dataset as a model wants them.
#[derive(Debug)]
pub struct Examples {
    package: Package,
    count: u32,
    inputs: Vec<BoundInput>,
    truth: Option<Truth>,
    /// Classes that the dataset names.
    classes: u32,
    goldens: Vec<(String, Column)>,
    standard: Standard,
    scorer: Option<Scorer>,
    /// The member that only the scorer understands.
    scorer_labels: Option<String>,
}

/// A model's input and where it comes from.
#[derive(Debug)]
struct BoundInput {
    binding: InputBinding,
    /// Shape that the model declares, when it is known.
    declared: Option<TensorSpec>,
    column: Column,
}

/// One tensor over all examples.
#[derive(Debug)]
enum Column {
    /// In memory; the first axis counts the examples.
    Whole(Tensor),
    /// Decoded one by one.
    Images(Vec<String>),
}

impl Examples {
    /// Reads the manifest, everything but images, and the labels.
    pub fn open(path: &Path, binding: &Binding, signature: &Signature) -> Result<Self, DataError> {
        let mut package = Package::open(path)?;
        let manifest = package.manifest()?;
        let inputs = bind(&mut package, &manifest, binding, signature, Reach::All)?;
        let truth = read_truth(&mut package, &manifest)?;
        let mut goldens = Vec::new();
        for source in &manifest.goldens {
            goldens.push((source.name.clone(), read_column(&mut package, source, manifest.examples, Reach::All)?));
        }
        let classes = manifest.classes.len() as u32;
        let scorer_labels = manifest.labels.filter(|_| manifest.scorer.is_some()).map(|labels| labels.member);
        let (standard, scorer) = (manifest.standard, manifest.scorer);
        let count = manifest.examples;
        Ok(Self { package, count, inputs, truth, classes, goldens, standard, scorer, scorer_labels })
    }

    /// The inputs of the first example, by reading hardly more but where they are arrays of npz files: what a process has
    /// read and given up again may stay with its allocator, and would be counted for the model.
    pub fn first(path: &Path, binding: &Binding, signature: &Signature) -> Result<Vec<NamedTensor>, DataError> {
        let mut package = Package::open(path)?;
        let manifest = package.manifest()?;
        let mut first = Self {
            inputs: bind(&mut package, &manifest, binding, signature, Reach::First)?,
            package,
            count: 1,
            truth: None,
            classes: 0,
            goldens: Vec::new(),
            standard: manifest.standard,
            scorer: None,
            scorer_labels: None,
        };
        first.inputs(0)
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// What is known of every example, once: it may be large.
    pub fn take_truth(&mut self) -> Option<Truth> {
        self.truth.take()
    }

    pub fn classes(&self) -> u32 {
        self.classes
    }

    /// What the package says of its goldens.
    pub fn standard(&self) -> &Standard {
        &self.standard
    }

    pub fn golden_names(&self) -> impl Iterator<Item = &str> {
        self.goldens.iter().map(|(name, _)| name.as_str())
    }

    /// The program that comes with the dataset.
    pub fn scorer(&self) -> Option<&Scorer> {
        self.scorer.as_ref()
    }

    /// What the scorer is made of, and whether a member is its labels.
    pub fn scorer_members(&self) -> Vec<(String, bool)> {
        let files = self.scorer.iter().flat_map(Scorer::members).map(|file| (file.clone(), false));
        files.chain(self.scorer_labels.iter().map(|labels| (labels.clone(), true))).collect()
    }

    pub fn scorer_member(&mut self, member: &str, is_labels: bool) -> Result<Vec<u8>, DataError> {
        if is_labels { self.package.read_labels(member) } else { self.package.read_program(member) }
    }

    /// What the model is given for an example.
    pub fn inputs(&mut self, index: u32) -> Result<Vec<NamedTensor>, DataError> {
        self.framed(index).map(|(inputs, _)| inputs)
    }

    /// The same, and where the image of the first input that is one lies in the dataset's.
    pub fn framed(&mut self, index: u32) -> Result<(Vec<NamedTensor>, Option<Frame>), DataError> {
        let Self { package, inputs, count, .. } = self;
        let mut frame = None;
        let mut tensors = Vec::with_capacity(inputs.len());
        for input in inputs {
            let raw = input.column.example(package, index, *count)?;
            frame = frame.or_else(|| Frame::of(&input.binding, raw.shape()));
            let ready = preprocess::apply(&input.binding, input.declared.as_ref(), raw)
                .map_err(|detail| DataError::Input { input: input.binding.tensor.clone(), detail })?;
            tensors.push((input.binding.tensor.clone(), ready));
        }
        Ok((tensors, frame))
    }

    /// Reference outputs of an example.
    pub fn goldens(&mut self, index: u32) -> Result<Vec<NamedTensor>, DataError> {
        let Self { package, goldens, count, .. } = self;
        goldens.iter().map(|(name, column)| Ok((name.clone(), column.example(package, index, *count)?))).collect()
    }
}

/// Each binding with its source; without bindings, each dataset input with the model input of its name.
fn bind(
    package: &mut Package,
    manifest: &PackageManifest,
    binding: &Binding,
    signature: &Signature,
    reach: Reach,
) -> Result<Vec<BoundInput>, DataError> {
    let unchanged = || manifest.inputs.iter().map(|source| InputBinding::plain(&source.name)).collect();
    let bindings: Vec<InputBinding> = if binding.inputs.is_empty() { unchanged() } else { binding.inputs.clone() };
    let mut bound = Vec::new();
    for binding in bindings {
        let name = binding.source.as_ref().unwrap_or(&binding.tensor);
        let source = manifest.inputs.iter().find(|source| source.name == *name).ok_or_else(|| {
            let known: Vec<&str> = manifest.inputs.iter().map(|source| source.name.as_str()).collect();
            let detail = format!("the dataset has no input {name:?} (it has {known:?}): set `source` in the binding");
            DataError::Input { input: binding.tensor.clone(), detail }
        })?;
        let declared = signature.inputs.iter().find(|spec| spec.name == binding.tensor).cloned();
        if declared.is_none() && !signature.inputs.is_empty() {
            let known: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
            let detail = format!("the model has no such input (it has {known:?}): set `tensor` in the binding");
            return Err(DataError::Input { input: binding.tensor, detail });
        }
        bound.push(BoundInput { column: read_column(package, source, manifest.examples, reach)?, declared, binding });
    }
    Ok(bound)
}

/// How many examples of a tensor are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    All,
    First,
}

fn read_column(package: &mut Package, source: &TensorSource, examples: u32, reach: Reach) -> Result<Column, DataError> {
    match reach {
        Reach::All => read_all(package, source, examples),
        Reach::First => read_first(package, source, examples),
    }
}

fn read_first(package: &mut Package, source: &TensorSource, examples: u32) -> Result<Column, DataError> {
    let wrong = |member: &str, detail: String| DataError::Member { member: member.to_owned(), detail };
    let tensor = match &source.data {
        TensorData::Image { .. } => return Ok(Column::Images(source.data.members(examples))),
        TensorData::Npy { member } => first_row(examples, |most| package.start(member, most))
            .and_then(|row| row.map_err(|detail| wrong(member, detail)))?,
        TensorData::Npz { member, array } => {
            let inner = format!("{array}.npy");
            first_row(examples, |most| package.nested_start(member, &inner, most))
                .and_then(|row| row.map_err(|detail| wrong(member, detail)))?
        }
        TensorData::Raw { member, dtype, shape } => {
            let size = raw_bytes(*dtype, shape, 1).ok_or_else(|| wrong(member, "an example has no size".to_owned()))?;
            Tensor::new(*dtype, [&[1], shape.as_slice()].concat(), package.start(member, size)?)
                .map_err(|error| wrong(member, error.to_string()))?
        }
    };
    Ok(Column::Whole(tensor))
}

/// The first example of an npy file that must hold so many; `read` gives so many bytes from its beginning.
fn first_row(
    examples: u32,
    mut read: impl FnMut(u64) -> Result<Vec<u8>, DataError>,
) -> Result<Result<Tensor, String>, DataError> {
    let header = match npy::header(&read(npy::START_BYTES as u64)?) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let npy::Header { dtype, mut shape, data_offset } = header;
    if shape.first() != Some(&(examples as usize)) {
        return Ok(Err(format!("shape {shape:?} does not begin with the {examples} examples")));
    }
    shape[0] = 1;
    let size = shape.iter().try_fold(dtype.size() as u64, |size, &axis| size.checked_mul(axis as u64));
    let mut bytes = read(size.and_then(|size| size.checked_add(data_offset as u64)).unwrap_or(u64::MAX))?;
    let row = bytes.split_off(data_offset.min(bytes.len()));
    Ok(Tensor::new(dtype, shape, row).map_err(|error| error.to_string()))
}

fn read_all(package: &mut Package, source: &TensorSource, examples: u32) -> Result<Column, DataError> {
    let wrong = |member: &str, detail: String| DataError::Member { member: member.to_owned(), detail };
    let (member, tensor) = match &source.data {
        TensorData::Image { .. } => return Ok(Column::Images(source.data.members(examples))),
        TensorData::Npy { member } => {
            let tensor = npy::parse(&package.read(member)?).map_err(|error| wrong(member, error.to_string()))?;
            (member, tensor)
        }
        TensorData::Npz { member, array } => {
            let bytes = package.read_nested(member, &format!("{array}.npy"))?;
            (member, npy::parse(&bytes).map_err(|error| wrong(member, error.to_string()))?)
        }
        TensorData::Raw { member, dtype, shape } => {
            let all = [&[examples as usize], shape.as_slice()].concat();
            let tensor =
                Tensor::new(*dtype, all, package.read(member)?).map_err(|error| wrong(member, error.to_string()))?;
            (member, tensor)
        }
    };
    match tensor.shape().first() {
        Some(&first) if first == examples as usize => Ok(Column::Whole(tensor)),
        _ => Err(wrong(member, format!("shape {:?} does not begin with the {examples} examples", tensor.shape()))),
    }
}

fn read_truth(package: &mut Package, manifest: &PackageManifest) -> Result<Option<Truth>, DataError> {
    let Some(source) = manifest.labels.as_ref().filter(|_| manifest.scorer.is_none()) else { return Ok(None) };
    truth::read(manifest, &package.read_labels(&source.member)?)
        .map_err(|error| DataError::Member { member: source.member.clone(), detail: error.to_string() })
}

impl Column {
    fn example(&self, package: &mut Package, index: u32, count: u32) -> Result<Tensor, DataError> {
        match self {
            Self::Whole(tensor) => {
                let size = tensor.bytes().len() / count.max(1) as usize;
                let from = size * index as usize;
                let bytes = tensor.bytes()[from..from + size].to_vec();
                Ok(Tensor::new(tensor.dtype(), tensor.shape()[1..].to_vec(), bytes)?)
            }
            Self::Images(members) => {
                let member = members.get(index as usize).map(String::as_str).unwrap_or_default();
                images::decode(&package.read(member)?)
                    .map_err(|detail| DataError::Member { member: member.to_owned(), detail })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_first_example_alone_is_that_of_all_however_it_is_packed() {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let whole = npy::write(&Tensor::from_f32(vec![3, 2], &values).unwrap());
        let zip = |members: &[(&str, &[u8])]| {
            let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            for (name, bytes) in members {
                writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
                writer.write_all(bytes).unwrap();
            }
            writer.finish().unwrap().into_inner()
        };
        let manifest = b"name = \"three\"\ntask = \"regression\"\nexamples = 3\n\
            [[inputs]]\nname = \"a\"\nkind = \"npy\"\nmember = \"a.npy\"\n\
            [[inputs]]\nname = \"b\"\nkind = \"npz\"\nmember = \"b.npz\"\narray = \"b\"\n\
            [[inputs]]\nname = \"c\"\nkind = \"raw\"\nmember = \"c.bin\"\ndtype = \"f32\"\nshape = [2]\n\
            [labels]\nkind = \"lines\"\nmember = \"y.txt\"\n";
        let raw = &whole[whole.len() - 24..];
        let at = |first: &[u8]| {
            let npz = zip(&[("b.npy", &whole)]);
            let members: [(&str, &[u8]); 5] = [
                ("dataset.toml", manifest),
                ("a.npy", first),
                ("b.npz", &npz),
                ("c.bin", raw),
                ("y.txt", b"1\n2\n3\n"),
            ];
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&zip(&members)).unwrap();
            file
        };
        let (binding, signature) = (Binding::default(), Signature::default());
        let file = at(&whole);
        let first = Examples::first(file.path(), &binding, &signature).unwrap();
        assert_eq!(first, Examples::open(file.path(), &binding, &signature).unwrap().inputs(0).unwrap());
        assert_eq!(first.len(), 3);
        assert!(first.iter().all(|(_, tensor)| tensor.shape() == [2] && tensor.to_f64() == [0.0, 1.0]), "{first:?}");
        let other = npy::write(&Tensor::from_f32(vec![2, 3], &values).unwrap());
        for broken in [&whole[..whole.len() - 20], b"random", &other] {
            assert!(Examples::first(at(broken).path(), &binding, &signature).is_err());
        }
    }
}
