//! Inputs, labels and references of a job: from a dataset package, or generated from the signature.

mod half;
mod images;
mod package;
mod preprocess;
mod seeded;

use std::path::Path;

use seatrial_core::dataset::frame::Frame;
use seatrial_core::dataset::package::{PackageManifest, TensorData, TensorSource};
use seatrial_core::dataset::scorer::Scorer;
use seatrial_core::dataset::truth::{self, Truth};
use seatrial_core::dataset::{Binding, InputBinding, npy};
use seatrial_core::model::{Signature, TensorSpec};
use seatrial_core::tensor::{Tensor, TensorError};

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
        let inputs = bind(&mut package, &manifest, binding, signature)?;
        let truth = read_truth(&mut package, &manifest)?;
        let mut goldens = Vec::new();
        for source in &manifest.goldens {
            goldens.push((source.name.clone(), read_column(&mut package, source, manifest.examples)?));
        }
        let classes = manifest.classes.len() as u32;
        let scorer_labels = manifest.labels.filter(|_| manifest.scorer.is_some()).map(|labels| labels.member);
        let scorer = manifest.scorer;
        Ok(Self { package, count: manifest.examples, inputs, truth, classes, goldens, scorer, scorer_labels })
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
        bound.push(BoundInput { column: read_column(package, source, manifest.examples)?, declared, binding });
    }
    Ok(bound)
}

fn read_column(package: &mut Package, source: &TensorSource, examples: u32) -> Result<Column, DataError> {
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
