//! A session outside of any job, for what compares it with the engine's own interface in one process.

use std::path::{Path, PathBuf};

use seatrial_core::backend::Accelerator;
use seatrial_core::model::{Axis, Format, Precision, TensorSpec};
use seatrial_core::outcome::Claim;
use seatrial_core::runtimes::{Engine, PackageKind};
use seatrial_core::tensor::Tensor;

use super::{LoadRequest, ModelFiles, RuntimeError, Session, by_name, library};
use crate::child::spec::{PlacedFile, PlacedPackage};
use crate::data::NamedTensor;

/// Loads a model of f32 inputs with one thread on the CPU, and hands it `values` of as many numbers as each input has.
///
/// `engine` with its library and version; tract without. The engine stays loaded for as long as the process lives.
///
/// # Errors
/// What the engine says of library or model.
pub fn open(
    engine: Option<(Engine, &Path, &str)>,
    model: &Path,
    values: &dyn Fn(usize) -> Vec<f32>,
) -> Result<Box<dyn Session>, RuntimeError> {
    let (format, runtime) = match engine {
        None => (Format::Onnx, by_name("tract")?),
        Some((engine, path, version)) => (engine.formats()[0], library(engine, &placed(engine, path, version))?),
    };
    let (folder, file_name) = parts(model);
    let files = [PlacedFile { role: format.main_role().to_owned(), file_name }];
    let files = ModelFiles { folder: &folder, files: &files, format };
    let runtime = Box::leak(runtime);
    let signature = runtime.describe(&files)?;
    let inputs = signature.inputs.iter().map(|input| filled(input, values)).collect::<Result<Vec<_>, _>>()?;
    let request = LoadRequest {
        accelerator: Accelerator::Cpu,
        threads: 1,
        provider: None,
        precision: None,
        variant: Precision::Fp32,
        inputs: &inputs,
        operator_profile: None,
    };
    let mut session = runtime.load(&files, &request)?;
    session.set_inputs(&inputs)?;
    Ok(session)
}

fn placed(engine: Engine, library: &Path, version: &str) -> PlacedPackage {
    let (folder, file_name) = parts(library);
    PlacedPackage {
        folder,
        runtime: engine.as_str().to_owned(),
        kind: PackageKind::Library { engine },
        version: version.to_owned(),
        main: Some(file_name),
        rules: None,
        viewer: None,
        interpreter: None,
    }
}

/// Folder and name; of a path without a name its loading fails with the path.
fn parts(path: &Path) -> (PathBuf, String) {
    let folder = path.parent().unwrap_or(path).to_owned();
    (folder, path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn filled(input: &TensorSpec, values: &dyn Fn(usize) -> Vec<f32>) -> Result<NamedTensor, RuntimeError> {
    let refused = |why: String| RuntimeError::new(Claim::SpecError, format!("input {:?}: {why}", input.name));
    let size = |axis: &Axis| match axis {
        Axis::Fixed(size) => usize::try_from(*size).ok(),
        Axis::Named(_) => None,
    };
    let shape: Option<Vec<usize>> = input.shape.iter().map(size).collect();
    let shape = shape.ok_or_else(|| refused("it has a free axis".to_owned()))?;
    let count = shape.iter().product();
    let tensor = Tensor::from_f32(shape, &values(count)).map_err(|error| refused(error.to_string()))?;
    Ok((input.name.clone(), tensor))
}
