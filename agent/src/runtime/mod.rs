//! Inference engines, one file each. Used only inside a child: nothing else parses a model or loads a library.

#[doc(hidden)]
pub mod alone;
#[cfg(feature = "faults")]
pub(crate) mod fake;
#[cfg(feature = "litert")]
mod litert;
#[cfg(feature = "onnxruntime")]
mod onnxruntime;
#[cfg(any(feature = "onnxruntime", feature = "litert"))]
mod package;
pub mod runner;
#[cfg(feature = "tract")]
mod tract;
#[cfg(any(feature = "onnxruntime", feature = "litert"))]
mod vulkan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_core::actual::Actual;
use seatrial_core::backend::{Accelerator, Backend, Provider};
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Format, Precision, Signature};
use seatrial_core::operators::OperatorProfile;
use seatrial_core::outcome::Claim;
use seatrial_core::report::{Opened, Unaccounted};
use seatrial_core::runtimes::{Engine, PackageKind};
use seatrial_core::tensor::Tensor;

use crate::child::spec::{ChildSpec, PlacedFile, PlacedPackage};
use crate::child::timing::Timed;
use crate::data::NamedTensor;

/// An engine. To add one: a file beside this, and a line in [`all`].
pub trait Runtime {
    fn name(&self) -> &str;

    /// The engine's own word, where it can tell; else whose word it is.
    fn version(&self) -> String;

    /// What the engine can do on this device, without loading anything.
    fn probe(&self) -> RuntimeOffer;

    /// Inputs and outputs of a model, as its file declares them.
    fn describe(&self, files: &ModelFiles<'_>) -> Result<Signature, RuntimeError>;

    /// A session that is ready to run.
    fn load(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<Box<dyn Session>, RuntimeError>;
}

/// A loaded model. [`Timed::infer`] is all that is timed.
pub trait Session: Timed<Error = RuntimeError> {
    /// What really executes: never assumed from what was asked for.
    fn actual(&self) -> Actual;

    /// What else the engine's surroundings are, for the record of the job: `gpu` = `llvmpipe, software`.
    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// How long compiling or optimising the model took of its load, where the engine tells it apart.
    fn compiled_in(&self) -> Option<Duration> {
        None
    }

    /// Converts what every following inference is given.
    fn set_inputs(&mut self, inputs: &[NamedTensor]) -> Result<(), RuntimeError>;

    /// Outputs of the last inference.
    fn outputs(&mut self) -> Result<Vec<NamedTensor>, RuntimeError>;

    /// What each operator took in the inferences so far, where the session was loaded to tell; else why not. Asked
    /// once, after the last inference; [`Session::actual`] knows more afterwards.
    fn operators(&mut self) -> Result<OperatorProfile, String> {
        Err("this engine does not tell".to_owned())
    }

    /// What is known of an engine in a process of its own; `None` for one in this process.
    fn outside(&self) -> Option<&Outside> {
        None
    }

    /// Lets go of the model but not of the process, so that it can be seen what that retains.
    fn release(&mut self) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// An engine's own process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outside {
    pub process: u32,
    /// Resident memory before it loaded the model.
    pub base_kib: Option<u64>,
    /// Bytes that it had the disk read while it loaded.
    pub load_reads: Option<u64>,
    /// What it took of its package's files from the disk to start.
    pub opened: Option<Opened>,
    /// For the record.
    pub facts: BTreeMap<String, String>,
    /// Of its last request: time that is missing from its samples, where it cannot be told why.
    pub unaccounted: Option<Unaccounted>,
}

/// Files of a variant, beside each other.
#[derive(Debug, Clone, Copy)]
pub struct ModelFiles<'a> {
    pub folder: &'a Path,
    pub files: &'a [PlacedFile],
    pub format: Format,
}

/// How a model is to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct LoadRequest<'a> {
    pub accelerator: Accelerator,
    /// At least 1.
    pub threads: u16,
    /// Which of the engine's parts for the accelerator, where one is asked for.
    pub provider: Option<Provider>,
    pub precision: Option<Precision>,
    /// The precision of the variant's own numbers.
    pub variant: Precision,
    /// What it will be given, with every axis decided.
    pub inputs: &'a [NamedTensor],
    /// The folder for what the engine tells of its operators, in the one process that asks.
    pub operator_profile: Option<&'a Path>,
}

/// What an engine could not do, and what that means for the outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuntimeError {
    pub claim: Claim,
    pub message: String,
}

impl RuntimeError {
    pub fn new(claim: Claim, message: impl Into<String>) -> Self {
        Self { claim, message: message.into() }
    }
}

impl ModelFiles<'_> {
    /// The file that the engine is pointed to.
    pub fn main(&self) -> Result<PathBuf, RuntimeError> {
        let main = self.files.iter().find(|file| file.role == self.format.main_role());
        main.map(|file| self.folder.join(&file.file_name)).ok_or_else(|| {
            let message = format!("the variant has no file with the role {:?}", self.format.main_role());
            RuntimeError::new(Claim::SpecError, message)
        })
    }
}

/// Every engine that is built in.
fn all() -> Vec<Box<dyn Runtime>> {
    vec![
        #[cfg(feature = "tract")]
        Box::new(tract::Tract),
        #[cfg(feature = "faults")]
        Box::new(fake::Fake),
    ]
}

/// What this build offers.
pub fn offers() -> Vec<RuntimeOffer> {
    all().iter().map(|runtime| runtime.probe()).collect()
}

/// Engines that this build can load from a runtime package.
pub fn engines() -> Vec<Engine> {
    vec![
        #[cfg(feature = "onnxruntime")]
        Engine::Onnxruntime,
        #[cfg(feature = "litert")]
        Engine::Litert,
    ]
}

/// Whether the engine of a job tells of its operators.
pub(crate) fn tells_operators(backend: &Backend, package: Option<&PackageKind>) -> bool {
    match package {
        None => backend.runtime == "tract",
        Some(PackageKind::Library { engine: Engine::Onnxruntime }) => true,
        // With its profiler on, an inference of LiteRT 2.3 on the GPU fails: "Profile is not implemented".
        Some(PackageKind::Library { engine: Engine::Litert }) => backend.accelerator == Accelerator::Cpu,
        Some(PackageKind::Runner { .. } | PackageKind::Command) => false,
    }
}

/// The engine of a child's job: from its package when it has one, else built in.
pub(crate) fn open(spec: &ChildSpec) -> Result<Box<dyn Runtime + '_>, RuntimeError> {
    match &spec.package {
        None => by_name(&spec.job.backend.runtime),
        Some(package) => load(package, spec),
    }
}

fn load<'a>(package: &'a PlacedPackage, spec: &'a ChildSpec) -> Result<Box<dyn Runtime + 'a>, RuntimeError> {
    match package.kind {
        PackageKind::Library { engine } => library(engine, package),
        PackageKind::Runner { .. } => Ok(Box::new(runner::Runner::open(package, spec)?)),
        PackageKind::Command => {
            let message = format!("{} is a program that measures itself, and no engine", package.runtime);
            Err(RuntimeError::new(Claim::SpecError, message))
        }
    }
}

/// An engine whose library this is.
fn library(engine: Engine, package: &PlacedPackage) -> Result<Box<dyn Runtime>, RuntimeError> {
    match engine {
        #[cfg(feature = "onnxruntime")]
        Engine::Onnxruntime => Ok(Box::new(onnxruntime::Onnxruntime::open(package)?)),
        #[cfg(feature = "litert")]
        Engine::Litert => Ok(Box::new(litert::Litert::open(package)?)),
        #[cfg(not(feature = "onnxruntime"))]
        Engine::Onnxruntime => Err(not_built(package)),
        #[cfg(not(feature = "litert"))]
        Engine::Litert => Err(not_built(package)),
    }
}

#[cfg(not(all(feature = "onnxruntime", feature = "litert")))]
fn not_built(package: &PlacedPackage) -> RuntimeError {
    RuntimeError::new(Claim::UnsupportedBackend, format!("this agent is built without {}", package.runtime))
}

/// For an engine that computes in whatever the model's file says: it can be asked for nothing else.
fn own_precision(engine: &str, request: &LoadRequest<'_>) -> Result<(), RuntimeError> {
    match request.precision.filter(|asked| *asked != request.variant) {
        None => Ok(()),
        Some(asked) => {
            let (asked, own) = (asked.as_str(), request.variant.as_str());
            let message = format!("{engine} computes in the model's own precision, {own}, and is asked for {asked}");
            Err(RuntimeError::new(Claim::UnsupportedBackend, message))
        }
    }
}

/// The tensor for an input.
pub(crate) fn input<'a>(inputs: &'a [NamedTensor], name: &str) -> Result<&'a Tensor, RuntimeError> {
    let found = inputs.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor);
    found.ok_or_else(|| {
        let given: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("the model wants an input {name:?} and is given {given:?}: name it in the binding");
        RuntimeError::new(Claim::SpecError, message)
    })
}

fn by_name(name: &str) -> Result<Box<dyn Runtime>, RuntimeError> {
    let (mut found, others): (Vec<_>, Vec<_>) = all().into_iter().partition(|runtime| runtime.name() == name);
    found.pop().ok_or_else(|| {
        let known: Vec<&str> = others.iter().map(|runtime| runtime.name()).collect();
        RuntimeError::new(Claim::UnsupportedBackend, format!("this agent has no runtime {name:?} (it has {known:?})"))
    })
}
