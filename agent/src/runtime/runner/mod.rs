//! Engines that are programs: any program that speaks `runner.proto` over its standard input and output.
//!
//! A runner is a process of its own below the child, within the child's confinement and bounds. It times itself: its
//! times are believed as far as the child's own clock does not refute them ([`seatrial_core::measure::plausible`]).

pub mod check;
mod claims;
mod client;
mod frames;
mod process;
pub(crate) mod scorer;
mod session;
mod tensors;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;

use seatrial_core::backend::{Accelerator, Backend};
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Format, Manifest, Precision, Signature};
use seatrial_core::outcome::Claim;
use seatrial_proto::v1;

use super::{LoadRequest, ModelFiles, Runtime, RuntimeError, Session};
use crate::child::spec::{ChildSpec, PlacedPackage};
use client::Client;

/// What a program is called in messages.
const RUNNER: &str = "runner";
const SCORER: &str = "scorer";

/// A program that speaks the protocol, on this device.
#[derive(Debug, Clone)]
struct Program {
    /// [`RUNNER`] or [`SCORER`].
    what: &'static str,
    /// What runs it, from the agent's own configuration; none for one that runs by itself.
    interpreter: Option<PathBuf>,
    path: PathBuf,
}

/// The engine behind a program.
pub(super) struct Runner<'a> {
    package: &'a PlacedPackage,
    program: Program,
    /// Where the program may write.
    folder: PathBuf,
    manifest: &'a Manifest,
    backend: &'a Backend,
    /// The precision of the variant's own numbers.
    variant: Precision,
    version: OnceCell<String>,
    /// Of the model that was loaded last.
    signature: RefCell<Option<Signature>>,
}

impl<'a> Runner<'a> {
    pub(super) fn open(package: &'a PlacedPackage, spec: &'a ChildSpec) -> Result<Self, RuntimeError> {
        let Some(path) = package.program() else {
            return Err(RuntimeError::new(Claim::SpecError, "the runtime package names no program"));
        };
        let program = Program { what: RUNNER, interpreter: package.interpreter.clone(), path };
        Ok(Self {
            package,
            program,
            folder: spec.out.join("runner"),
            manifest: &spec.job.model.manifest,
            backend: &spec.job.backend,
            variant: spec.job.model.precision,
            version: OnceCell::new(),
            signature: RefCell::default(),
        })
    }

    /// A fresh process, and what it says of the model.
    fn start(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<session::Loaded, RuntimeError> {
        let client = Client::start(&self.program, &self.folder, request.accelerator.as_str(), request.threads)?;
        let hello = client.hello();
        let _ = self.version.set(hello.version.clone());
        self.check(hello, files.format, request.accelerator)?;
        let wire = v1::Load {
            files: self.files(files),
            format: files.format.as_str().to_owned(),
            accelerator: request.accelerator.as_str().to_owned(),
            precision: request.precision.map_or_else(String::new, |precision| precision.as_str().to_owned()),
            threads: request.threads.into(),
            affinity: crate::child::cpus::allowed()
                .into_present()
                .unwrap_or_default()
                .into_iter()
                .map(u32::from)
                .collect(),
            cache_folder: self.folder.to_string_lossy().into_owned(),
            options: std::collections::HashMap::new(),
            allow_fallback: false,
        };
        let loaded = session::Loaded::load(client, wire, &self.folder, &self.package.folder)?;
        *self.signature.borrow_mut() = Some(loaded.signature()?);
        Ok(loaded)
    }

    fn check(&self, hello: &v1::RunnerHello, format: Format, accelerator: Accelerator) -> Result<(), RuntimeError> {
        let v1::RunnerHello { runtime, version, formats, accelerators, .. } = hello;
        let refuse = |claim, message: String| Err(RuntimeError::new(claim, message));
        let kinds: Vec<&str> = accelerators.iter().map(|one| one.kind.as_str()).collect();
        if *runtime != self.package.runtime {
            let expected = &self.package.runtime;
            refuse(Claim::SpecError, format!("the program is the runner of {runtime:?}, and {expected:?} is asked for"))
        } else if !formats.iter().any(|known| known == format.as_str()) {
            let message = format!("{runtime} {version} reads {}, not {}", formats.join(", "), format.as_str());
            refuse(Claim::UnsupportedBackend, message)
        } else if !kinds.contains(&accelerator.as_str()) {
            let message = format!("{runtime} {version} has {} here, not {}", kinds.join(", "), accelerator.as_str());
            refuse(Claim::UnsupportedBackend, message)
        } else {
            Ok(())
        }
    }

    fn files(&self, model: &ModelFiles<'_>) -> Vec<v1::RunnerFile> {
        let files = model.files.iter().map(|file| {
            let entry = self.manifest.entries.iter().find(|entry| entry.file_name == file.file_name);
            v1::RunnerFile {
                role: file.role.clone(),
                path: model.folder.join(&file.file_name).to_string_lossy().into_owned(),
                digest: entry.map(|entry| entry.digest.as_bytes().to_vec().into()).unwrap_or_default(),
            }
        });
        files.collect()
    }
}

impl Runtime for Runner<'_> {
    fn name(&self) -> &str {
        &self.package.runtime
    }

    fn version(&self) -> String {
        self.version.get().unwrap_or(&self.package.version).clone()
    }

    fn probe(&self) -> RuntimeOffer {
        // What it can do it tells to whoever starts it; what its package claims stands in the package.
        RuntimeOffer {
            name: self.name().to_owned(),
            version: self.version(),
            formats: Vec::new(),
            accelerators: Vec::new(),
            absent: BTreeMap::new(),
        }
    }

    /// What the process that has the model said of it; else another is started for the answer.
    fn describe(&self, files: &ModelFiles<'_>) -> Result<Signature, RuntimeError> {
        if let Some(signature) = self.signature.borrow().as_ref() {
            return Ok(signature.clone());
        }
        let request = LoadRequest {
            accelerator: self.backend.accelerator,
            threads: self.backend.threads.max(1),
            provider: self.backend.provider,
            precision: self.backend.precision,
            variant: self.variant,
            inputs: &[],
            operator_profile: None,
        };
        self.start(files, &request)?.signature()
    }

    fn load(&self, files: &ModelFiles<'_>, request: &LoadRequest<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        Ok(Box::new(self.start(files, request)?))
    }
}
