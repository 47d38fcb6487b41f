//! Model files: which of them is a variant, which is its external data, of which precision it is, and what its binding says.

use std::path::{Path, PathBuf};

use seatrial_core::dataset::Binding;
use seatrial_core::model::{Format, Precision};
use seatrial_core::weights::{PrecisionFrom, Weights};
use serde::Deserialize;

use crate::args::VariantOption;
use crate::error::{CliError, Result};

/// The role of a variant's main file, and of the files beside it.
pub(crate) const MODEL_ROLE: &str = "model";
pub(crate) const EXTERNAL_DATA_ROLE: &str = "external_data";

/// A variant as the command line describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedVariant {
    /// That of its precision where nobody gives one.
    pub name: Option<String>,
    pub format: Format,
    /// What is said of its precision, and where.
    pub told: Option<(Precision, Where)>,
    /// The model first.
    pub files: Vec<PlannedFile>,
}

/// Where a precision is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    Option,
    FileName,
    /// In the demo's own manifest.
    Manifest,
}

/// A variant of which is known what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    pub name: String,
    pub format: Format,
    pub precision: Precision,
    pub precision_from: PrecisionFrom,
    pub files: Vec<PlannedFile>,
}

impl Variant {
    /// `fp32`, and whether nobody knows that.
    pub(crate) fn precision_text(&self) -> String {
        precision_text(self.precision, Some(&self.precision_from))
    }
}

/// `fp32`, and whether nobody knows that.
pub(crate) fn precision_text(precision: Precision, from: Option<&PrecisionFrom>) -> String {
    match from {
        Some(PrecisionFrom::Assumed) => format!("{} (assumed)", precision.as_str()),
        Some(PrecisionFrom::Read(_) | PrecisionFrom::Told) | None => precision.as_str().to_owned(),
    }
}

impl PlannedVariant {
    /// With what its file says of its weights, which nobody may contradict.
    pub(crate) fn settle(self, weights: Option<Weights>) -> Result<Variant> {
        let Self { name, format, told, files } = self;
        let read = weights.as_ref().and_then(Weights::precision);
        let (precision, precision_from) = match (told, read, weights) {
            (Some((told, place)), Some(_), Some(weights)) => {
                if let Some(contradiction) = weights.contradiction(told) {
                    return Err(contradicted(&files[0].path, &contradiction, place));
                }
                (told, PrecisionFrom::Read(weights))
            }
            (None, Some(read), Some(weights)) => (read, PrecisionFrom::Read(weights)),
            (Some((told, _)), _, _) => (told, PrecisionFrom::Told),
            (None, _, _) => (Precision::Fp32, PrecisionFrom::Assumed),
        };
        let name = name.unwrap_or_else(|| precision.as_str().to_owned());
        Ok(Variant { name, format, precision, precision_from, files })
    }
}

fn contradicted(model: &Path, contradiction: &str, place: Where) -> CliError {
    let (by, hint) = match place {
        Where::Option => ("its --variant option", "leave out precision=…: it is read from the file"),
        Where::FileName => ("its file name", "rename the file, or say what it is with --variant precision=…"),
        Where::Manifest => ("the manifest", "correct the manifest"),
    };
    let model = model.display();
    CliError::plain(format!("{model}: {by} says another precision than its weights have: {contradiction}"))
        .with_hint(hint)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub role: &'static str,
    pub path: PathBuf,
    /// Flat: what an engine asks for is found under this name.
    pub name: String,
}

/// Groups files into variants: a file whose name tells a format begins one, and the files after it are its external
/// data. The two files of a Caffe net are one. `options` go with the variants in their order.
pub(crate) fn plan(files: &[PathBuf], options: &[VariantOption]) -> Result<Vec<PlannedVariant>> {
    let mut groups: Vec<(Format, Vec<PlannedFile>)> = Vec::new();
    for path in files {
        let name = flat_name(path)?;
        match (Format::of_file_name(&name), groups.last_mut()) {
            (Some(Format::Caffe), Some((Format::Caffe, files))) if files.len() == 1 => {
                files.push(PlannedFile { role: role(&name), path: path.clone(), name });
            }
            (Some(format), _) => {
                groups.push((format, vec![PlannedFile { role: role(&name), path: path.clone(), name }]));
            }
            (None, Some((_, files))) => files.push(PlannedFile { role: EXTERNAL_DATA_ROLE, path: path.clone(), name }),
            (None, None) => return Err(unrecognised(path)),
        }
    }
    groups.iter().try_for_each(|(format, files)| refuse_half(*format, files))?;
    if options.len() > groups.len() {
        return Err(CliError::plain(format!(
            "{} for {}",
            crate::output::count(options.len(), "--variant option"),
            crate::output::count(groups.len(), "model file")
        ))
        .with_hint("give one --variant for each model file, in their order"));
    }
    let none = VariantOption::default();
    let chosen = options.iter().chain(std::iter::repeat(&none));
    Ok(groups.into_iter().zip(chosen).map(|((format, files), option)| variant(format, files, option)).collect())
}

/// What a model's own file is to the engine.
fn role(name: &str) -> &'static str {
    let ends_with = |ending: &str| name.to_ascii_lowercase().ends_with(ending);
    if ends_with(".prototxt") {
        "prototxt"
    } else if ends_with(".caffemodel") {
        "caffemodel"
    } else {
        MODEL_ROLE
    }
}

/// A Caffe net is a description and its weights.
fn refuse_half(format: Format, files: &[PlannedFile]) -> Result<()> {
    let has = |role| files.iter().any(|file| file.role == role);
    if format != Format::Caffe || (has("prototxt") && has("caffemodel")) {
        return Ok(());
    }
    let [only, ..] = files else { return Ok(()) };
    Err(CliError::plain(format!("{} is one half of a Caffe net", only.path.display()))
        .with_hint("give the .prototxt and the .caffemodel one after the other"))
}

fn variant(format: Format, files: Vec<PlannedFile>, option: &VariantOption) -> PlannedVariant {
    let by_name = || Some((files.first().and_then(|file| precision_of_name(&file.name))?, Where::FileName));
    let told = option.precision.map(|precision| (precision, Where::Option)).or_else(by_name);
    PlannedVariant { name: option.name.clone(), format, told, files }
}

fn flat_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| CliError::plain(format!("{} has no file name in UTF-8", path.display())))
}

fn unrecognised(path: &Path) -> CliError {
    CliError::plain(format!("{} is not a model file that seatrial knows", path.display())).with_hint(
        "a model is named .onnx, .tflite, .nnef.tgz, .prototxt with .caffemodel, .pb or saved_model.pb, .gguf, .param (ncnn), \
         .mnn, .rknn or .serialized.bin (QNN); its external data files come after it on the command line",
    )
}

/// Names that nobody gave are known once the files are read.
pub(crate) fn refuse_equal_names(variants: &[Variant]) -> Result<()> {
    for (index, variant) in variants.iter().enumerate() {
        if let Some(earlier) = variants[..index].iter().find(|earlier| earlier.name == variant.name) {
            let [first, second] = [earlier, variant].map(|one| one.files[0].path.display().to_string());
            return Err(CliError::plain(format!("{first} and {second} would both be the variant {:?}", variant.name))
                .with_hint("name each with --variant name=…,precision=…, in the order of the model files"));
        }
    }
    Ok(())
}

/// The precision that a file name tells: `digits-int8.onnx`.
fn precision_of_name(name: &str) -> Option<Precision> {
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    words.find_map(|word| Precision::ALL.into_iter().find(|precision| precision.as_str() == word))
}

/// A binding file: the keys of a binding, and the dataset that it is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BindingFile {
    /// None for any.
    pub dataset: Option<String>,
    pub binding: Binding,
}

impl BindingFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|error| {
            CliError::failed(format!("read the binding {}", path.display()), error)
                .with_hint("docs/dataset.md lists the keys of a binding")
        })
    }

    fn parse(text: &str) -> std::result::Result<Self, toml::de::Error> {
        let mut table: toml::Table = toml::from_str(text)?;
        let dataset = table.remove("dataset").map(String::deserialize).transpose()?;
        let binding = Binding::deserialize(table)?;
        Ok(Self { dataset, binding })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(files: &[&str], options: &[VariantOption]) -> Result<Vec<PlannedVariant>> {
        plan(&files.iter().map(PathBuf::from).collect::<Vec<_>>(), options)
    }

    #[test]
    fn files_after_a_model_are_its_external_data_under_flat_names() {
        let variants = planned(&["out/a-fp32.onnx", "out/weights.bin", "out/a-int8.onnx"], &[]).unwrap();
        let variants: Vec<Variant> = variants.into_iter().map(|variant| variant.settle(None).unwrap()).collect();
        let shape: Vec<(&str, Vec<(&str, &str)>)> = variants
            .iter()
            .map(|variant| {
                (variant.name.as_str(), variant.files.iter().map(|file| (file.role, file.name.as_str())).collect())
            })
            .collect();
        let expected = vec![
            ("fp32", vec![("model", "a-fp32.onnx"), ("external_data", "weights.bin")]),
            ("int8", vec![("model", "a-int8.onnx")]),
        ];
        assert_eq!(shape, expected);
    }

    #[test]
    fn a_caffe_net_is_two_files_in_any_order_and_a_saved_model_has_its_variables() {
        let files =
            ["a.caffemodel", "a.prototxt", "b.prototxt", "b.caffemodel", "saved_model.pb", "variables.index", "f.pb"];
        let options = ["a", "b", "s", "f"].map(|name| VariantOption { name: Some(name.to_owned()), precision: None });
        let variants = planned(&files, &options).unwrap();
        let shape: Vec<(Format, Vec<&str>)> = variants
            .iter()
            .map(|variant| (variant.format, variant.files.iter().map(|file| file.role).collect()))
            .collect();
        let expected = vec![
            (Format::Caffe, vec!["caffemodel", "prototxt"]),
            (Format::Caffe, vec!["prototxt", "caffemodel"]),
            (Format::SavedModel, vec!["model", "external_data"]),
            (Format::FrozenGraph, vec!["model"]),
        ];
        assert_eq!(shape, expected);
        for half in [&["a.prototxt"][..], &["a.caffemodel", "b.onnx"], &["a.prototxt", "b.prototxt"]] {
            let error = planned(half, &[]).unwrap_err().to_string();
            assert!(error.starts_with("a.") && error.contains("one half of a Caffe net"), "{error}");
        }
    }

    fn of(precision: Precision) -> Weights {
        let mut weights = Weights::default();
        weights.add(Some(precision), 20_000);
        weights
    }

    /// Name, precision and whose word it is of each file, with the weights that its name begins with.
    fn settled(
        files: &[(&str, Option<Weights>)],
        options: &[VariantOption],
    ) -> Result<Vec<(String, String, &'static str)>> {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let settled = planned(&names, options)?.into_iter().zip(files);
        let settled =
            settled.map(|(variant, (_, weights))| variant.settle(weights.clone())).collect::<Result<Vec<_>>>()?;
        refuse_equal_names(&settled)?;
        let told =
            |variant: &Variant| (variant.name.clone(), variant.precision_text(), variant.precision_from.as_str());
        Ok(settled.iter().map(told).collect())
    }

    fn row(name: &str, precision: &str, from: &'static str) -> (String, String, &'static str) {
        (name.to_owned(), precision.to_owned(), from)
    }

    #[test]
    fn options_go_with_the_models_in_their_order_and_win_over_file_names() {
        let options = [VariantOption { name: Some("q".to_owned()), precision: Some(Precision::Int8) }];
        let found = settled(&[("a-fp16.onnx", None), ("b.onnx", None)], &options).unwrap();
        assert_eq!(found, [row("q", "int8", "told"), row("fp32", "fp32 (assumed)", "assumed")]);
    }

    #[test]
    fn a_precision_that_nobody_says_is_that_of_the_weights() {
        let files =
            [("a.onnx", Some(of(Precision::Int8))), ("b.onnx", Some(of(Precision::Fp16))), ("c.caffe.pb", None)];
        let found = settled(&files, &[]).unwrap();
        let expected =
            [row("int8", "int8", "read"), row("fp16", "fp16", "read"), row("fp32", "fp32 (assumed)", "assumed")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_precision_that_the_weights_contradict_is_refused_wherever_it_is_said() {
        let error = settled(&[("net-fp32.onnx", Some(of(Precision::Int8)))], &[]).unwrap_err().to_string();
        for said in ["net-fp32.onnx", "its file name", "fp32 is said", "20000 of the 20000", "are int8"] {
            assert!(error.contains(said), "{said}: {error}");
        }
        let option = |precision| [VariantOption { name: None, precision: Some(precision) }];
        let error =
            settled(&[("net.onnx", Some(of(Precision::Fp16)))], &option(Precision::Fp32)).unwrap_err().to_string();
        assert!(error.contains("its --variant option") && error.contains("are fp16"), "{error}");
        let right = settled(&[("net.onnx", Some(of(Precision::Fp16)))], &option(Precision::Fp16)).unwrap();
        assert_eq!(right, [row("fp16", "fp16", "read")], "the control");
    }

    #[test]
    fn two_variants_of_one_name_too_many_options_and_unknown_files_are_refused() {
        assert!(settled(&[("a.onnx", None), ("b.onnx", None)], &[]).is_err());
        assert!(planned(&["a.onnx"], &[VariantOption::default(), VariantOption::default()]).is_err());
        let error = planned(&["weights.pt"], &[]).unwrap_err();
        assert!(error.to_string().contains("weights.pt"), "{error}");
    }

    #[test]
    fn a_binding_may_name_its_dataset_and_refuses_unknown_keys() {
        let file = BindingFile::parse("dataset = \"digits\"\nscores = \"logits\"\n[axes]\nbatch = 1\n").unwrap();
        assert_eq!(file.dataset.as_deref(), Some("digits"));
        assert_eq!(file.binding.scores.as_deref(), Some("logits"));
        assert!(BindingFile::parse("score = \"logits\"").is_err());
    }
}
