//! Reads a model's signature and the types of its weights in a child, as `models add` does: no other process ever parses a
//! model.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::dataset::Binding;
use seatrial_core::job::{JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::model::{Format, Manifest, Precision, Signature};
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::stage::Stage;
use seatrial_core::weights::Weights;

use crate::attempt::{self, Described, Guard, Order, Preflight};
pub use crate::child::spec::PlacedFile;
use crate::child::spec::is_flat;
use crate::interpreters::Interpreters;
use crate::local::Scratch;

/// Reading takes no longer.
const DEADLINE: Duration = Duration::from_mins(1);

/// A file of a model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// `model`, `external_data`, …
    pub role: String,
    /// The flat name under which the engine finds it.
    pub file_name: String,
    pub path: PathBuf,
}

/// What a model's file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Empty where no engine that is built in reads the format, and where it could not read this file.
    pub signature: Signature,
    /// The types of its weights; absent where the file, or its format, does not tell.
    pub weights: Option<Weights>,
    /// Why the engine that is built in could not read a file that is whole. The first device that loads it tells.
    pub unread: Option<String>,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("{0:?} is not a flat file name")]
    Name(String),
    #[error("placing the model's files: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Unreadable(String),
}

/// Whether an engine that is built in reads such a file. Of any other the first device that loads it tells.
#[must_use]
pub fn can_read(format: Format) -> bool {
    crate::runtime::offers().iter().any(|offer| offer.formats.contains(&format))
}

/// Whether anything is read of such a file before a device loads it.
const fn tells(format: Format) -> bool {
    match format {
        Format::Onnx | Format::Nnef | Format::Tflite => true,
        Format::Caffe
        | Format::FrozenGraph
        | Format::SavedModel
        | Format::Gguf
        | Format::Ncnn
        | Format::Mnn
        | Format::Rknn
        | Format::Qnn => false,
    }
}

/// The inputs and outputs that the model's file declares, and the types of its weights. The files are laid out in a folder of their own in `scratch`,
/// which is removed afterwards.
pub fn read(
    child_command: &[OsString],
    scratch: &Path,
    format: Format,
    files: &[LocalFile],
) -> Result<Read, SignatureError> {
    if !tells(format) {
        return Ok(Read::default());
    }
    attempt::prepare_process();
    let scratch = Scratch::create(scratch)?;
    let model = scratch.path.join("model");
    fs::create_dir(&model)?;
    let mut placed = Vec::new();
    for LocalFile { role, file_name, path } in files {
        if !is_flat(file_name) {
            return Err(SignatureError::Name(file_name.clone()));
        }
        fs::copy(path, model.join(file_name))?;
        placed.push(PlacedFile { role: role.clone(), file_name: file_name.clone() });
    }
    let order = Order {
        spec: spec(format),
        mark: scratch.mark(),
        folder: scratch.path.clone(),
        child_command: child_command.to_vec(),
        preflight: Preflight::default(),
        guard: Guard::default(),
        root: PathBuf::from("/"),
        launch: "process".to_owned(),
        references: None,
        probes: None,
        interpreters: Interpreters::default(),
        gauge: None,
        meter: None,
        outlast_orphans: false,
    };
    let Described { signature, weights, unread } =
        attempt::describe(&order, placed).map_err(SignatureError::Unreadable)?;
    Ok(Read { signature, weights, unread })
}

/// What a child needs to know to read a file: nearly nothing.
fn spec(format: Format) -> JobSpec {
    let deadlines = BTreeMap::from([(Stage::Prepare, DEADLINE), (Stage::Load, DEADLINE)]);
    JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: String::new(),
            version: 0,
            variant: String::new(),
            format,
            precision: Precision::Fp32,
            manifest: Manifest::default(),
            signature: Signature::default(),
        },
        binding: Binding::default(),
        dataset: None,
        package: None,
        backend: Backend {
            runtime: "tract".to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        profile: MeasurementProfile::of(ProfileKind::Quick),
        limits: Limits { deadlines, ..Limits::default() },
        seed: 0,
    }
}
