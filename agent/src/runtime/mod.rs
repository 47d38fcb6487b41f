//! Inference engines, one file each. Used only inside a child: nothing else parses a model.

#[cfg(feature = "faults")]
pub(crate) mod fake;
#[cfg(feature = "tract")]
mod tract;

use std::path::{Path, PathBuf};

use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Format, Precision, Signature};
use seatrial_core::outcome::Claim;
use seatrial_core::report::Actual;

use crate::child::spec::PlacedFile;
use crate::child::timing::Timed;
use crate::data::NamedTensor;

/// An engine. To add one: a file beside this, and a line in [`all`].
pub trait Runtime {
    fn name(&self) -> &'static str;

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

    /// Converts what every following inference is given.
    fn set_inputs(&mut self, inputs: &[NamedTensor]) -> Result<(), RuntimeError>;

    /// Outputs of the last inference.
    fn outputs(&mut self) -> Result<Vec<NamedTensor>, RuntimeError>;
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
    pub precision: Option<Precision>,
    /// What it will be given, with every axis decided.
    pub inputs: &'a [NamedTensor],
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
        let main = self.files.iter().find(|file| file.role == "model").or_else(|| self.files.first());
        main.map(|file| self.folder.join(&file.file_name))
            .ok_or_else(|| RuntimeError::new(Claim::SpecError, "the variant has no file with the role \"model\""))
    }
}

/// Every engine of this build.
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

/// The engine of a backend.
pub fn by_name(name: &str) -> Result<Box<dyn Runtime>, RuntimeError> {
    all().into_iter().find(|runtime| runtime.name() == name).ok_or_else(|| {
        let known: Vec<&str> = all().iter().map(|runtime| runtime.name()).collect();
        RuntimeError::new(Claim::UnsupportedBackend, format!("this agent has no runtime {name:?} (it has {known:?})"))
    })
}
