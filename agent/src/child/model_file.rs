//! A model's file, looked at before an engine opens it: where it says that its weights lie, for not every version of every
//! engine refuses a place outside of the model's folder, and not every kernel keeps a child from reading there; and of which
//! types they are, for an engine computes in what the file holds, whatever somebody has said of it.

use std::fs::File;
use std::path::{Component, Path};

use seatrial_core::job::ModelRef;
use seatrial_core::model::Format;
use seatrial_core::outcome::Claim;
use seatrial_core::weights::Weights;

use super::{Failure, onnx_file, tflite_file};
use crate::runtime::ModelFiles;

/// What a file says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Where its weights lie that it does not hold itself.
    pub places: Vec<String>,
    /// Absent where it does not tell.
    pub weights: Option<Weights>,
    /// It could be read to its end, as a file of its format.
    pub whole: bool,
}

impl Looked {
    /// A file of a format that is not read, or that is none of its format, says nothing: it is left to the engine.
    pub(super) fn at(files: &ModelFiles<'_>) -> Self {
        let Ok(file) = files.main().map_err(drop).and_then(|path| File::open(path).map_err(drop)) else {
            return Self::default();
        };
        match files.format {
            Format::Onnx => onnx_file::look(file),
            Format::Tflite => tflite_file::look(&file),
            Format::Nnef
            | Format::Caffe
            | Format::FrozenGraph
            | Format::SavedModel
            | Format::Gguf
            | Format::Ncnn
            | Format::Mnn
            | Format::Rknn
            | Format::Qnn => Self::default(),
        }
    }

    /// Refuses a model whose weights are said to lie elsewhere than beside it.
    pub(super) fn check_places(&self) -> Result<(), Failure> {
        match self.places.iter().find_map(|place| refusal(place)) {
            None => Ok(()),
            Some(message) => Err(Failure { claim: Claim::SpecError, message }),
        }
    }

    /// Refuses a model whose weights are not what is said of them: its numbers would stand in the wrong row.
    pub(super) fn check_precision(&self, model: &ModelRef) -> Result<(), Failure> {
        match self.weights.as_ref().and_then(|weights| weights.contradiction(model.precision)) {
            None => Ok(()),
            Some(contradiction) => Err(Failure {
                claim: Claim::SpecError,
                message: format!(
                    "the model's precision is not what was claimed when it was added: {contradiction}; add it again"
                ),
            }),
        }
    }

    /// Whether every file that it names for its weights is beside it.
    pub(super) fn is_complete(&self, files: &ModelFiles<'_>) -> bool {
        let given = |place: &str| files.files.iter().any(|file| Path::new(place).ends_with(&file.file_name));
        self.places.iter().all(|place| given(place))
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

#[cfg(test)]
mod tests {
    use super::*;

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
