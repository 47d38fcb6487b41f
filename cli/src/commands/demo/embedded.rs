//! The demo's models, data and suite, embedded in the binary, and the manifest that says what they are.

use std::path::Path;

use seatrial_core::model::Precision;
use serde::Deserialize;

use super::place::OTHER_PLACE;
use crate::error::{CliError, Result};

macro_rules! embedded {
    ($($path:literal)*) => {
        /// Every file by its path under the demo's folder.
        pub const FILES: &[(&str, &[u8])] = &[$(($path, include_bytes!(concat!("../../../../fixtures/demo/", $path)))),*];
    };
}

embedded! {
    "demo.toml"
    "suite.toml"
    "phones.toml"
    "phones-energy.toml"
    "binding.toml"
    "models/digits-mlp.fp32.onnx"
    "models/digits-mlp.int8.onnx"
    "models/digits-cnn.fp32.onnx"
    "models/digits-cnn.int8.onnx"
    "digits/dataset.toml"
    "digits/images.npy"
    "digits/labels.npy"
    "digits-mlp-golden/dataset.toml"
    "digits-mlp-golden/images.npy"
    "digits-mlp-golden/logits.npy"
    "digits-cnn-golden/dataset.toml"
    "digits-cnn-golden/images.npy"
    "digits-cnn-golden/logits.npy"
}

const MANIFEST: &str = include_str!("../../../../fixtures/demo/demo.toml");

/// `demo.toml`: what to register, and which suite to run on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub suite: String,
    /// Suite for simulated phones.
    pub phones: String,
    /// What is measured on them after it, and takes minutes a phone.
    pub energy: String,
    /// Folders of dataset packages.
    pub datasets: Vec<String>,
    pub models: Vec<Model>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub name: String,
    pub origin: String,
    pub license: String,
    /// Binding for any dataset.
    pub binding: String,
    pub variants: Vec<Variant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    pub name: String,
    pub precision: Precision,
    pub file: String,
}

pub(super) fn manifest() -> Result<Manifest> {
    toml::from_str(MANIFEST).map_err(|error| CliError::failed("read the demo's own manifest", error))
}

/// Writes every file under `folder`.
pub(super) fn unpack(folder: &Path) -> Result<()> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs_err::create_dir_all(parent)
            .and_then(|()| fs_err::write(&path, bytes))
            .map_err(|error| CliError::failed("unpack the demo's models and data", error).with_hint(OTHER_PLACE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use seatrial_core::dataset::package::PackageManifest;

    use super::*;
    use crate::upload::model::BindingFile;

    #[test]
    fn exactly_the_files_that_the_manifests_name_are_embedded() {
        let manifest = manifest().unwrap();
        let text =
            |name: &str| String::from_utf8(FILES.iter().find(|(found, _)| *found == name).unwrap().1.to_vec()).unwrap();
        let suites = [&manifest.suite, &manifest.phones, &manifest.energy];
        let mut named: BTreeSet<String> = suites.into_iter().cloned().chain(["demo.toml".to_owned()]).collect();
        for model in &manifest.models {
            named.insert(model.binding.clone());
            named.extend(model.variants.iter().map(|variant| variant.file.clone()));
        }
        for dataset in &manifest.datasets {
            let at = format!("{dataset}/dataset.toml");
            let package = PackageManifest::parse(&text(&at), &at).unwrap();
            assert_eq!(&package.name, dataset);
            named.insert(at);
            named.extend(package.members().iter().map(|member| format!("{dataset}/{member}")));
        }
        let embedded: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(embedded, named);
    }

    #[test]
    fn the_suite_and_the_bindings_are_right_in_themselves() {
        let folder = tempfile::tempdir().unwrap();
        unpack(folder.path()).unwrap();
        let manifest = manifest().unwrap();
        let names: Vec<&str> = manifest.models.iter().map(|model| model.name.as_str()).collect();
        for name in [&manifest.suite, &manifest.phones, &manifest.energy] {
            let suite = fs_err::read_to_string(folder.path().join(name)).unwrap();
            let suite = seatrial_core::suite::parse(&suite, name).unwrap();
            assert!(suite.models().iter().all(|model| names.contains(model)), "{name}");
        }
        for model in &manifest.models {
            BindingFile::read(&folder.path().join(&model.binding)).unwrap();
        }
    }
}
