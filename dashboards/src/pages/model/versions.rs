//! What is registered of a model: versions, their variants, where they come from.

use seatrial_core::model::{SignatureStanding, TensorSpec};
use seatrial_core::store::{ModelDetail, VersionRow};
use seatrial_core::weights::PrecisionFrom;

use crate::format::{DASH, Moments, file_size};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status::{self, Status};

pub(super) struct VariantLine {
    pub name: String,
    pub format: &'static str,
    pub precision: String,
    pub size: String,
    /// Name; role and digest.
    pub files: Vec<(String, String)>,
    pub standing: Html,
    pub inputs: String,
    pub outputs: String,
}

pub(super) struct VersionLine {
    pub number: u32,
    pub aliases: String,
    pub parent: String,
    pub commit: String,
    pub by: String,
    pub when: Html,
    pub variants: String,
}

/// `input f32 [batch, 3, 224, 224]`.
fn tensors(specs: &[TensorSpec]) -> String {
    let one = |spec: &TensorSpec| {
        let shape: Vec<String> = spec.shape.iter().map(ToString::to_string).collect();
        format!("{} {} [{}]", spec.name, spec.dtype.as_str(), shape.join(", "))
    };
    if specs.is_empty() { DASH.to_string() } else { specs.iter().map(one).collect::<Vec<_>>().join("; ") }
}

pub(super) fn variant_lines(version: &VersionRow, words: Words) -> Vec<VariantLine> {
    let standing = |standing| -> Status {
        match standing {
            SignatureStanding::Claimed => status::missing(words.t("model.claimed")),
            SignatureStanding::Confirmed => status::passed(words.t("model.confirmed")),
            SignatureStanding::Refused => status::failed(words.t("model.refused")),
        }
    };
    version
        .variants
        .iter()
        .map(|variant| VariantLine {
            name: variant.name.clone(),
            format: variant.format.as_str(),
            precision: match variant.signature.precision_from {
                Some(PrecisionFrom::Assumed) => {
                    words.with("model.assumed", &[("precision", variant.precision.as_str())])
                }
                Some(PrecisionFrom::Read(_) | PrecisionFrom::Told) | None => variant.precision.as_str().to_owned(),
            },
            size: file_size(variant.manifest.size()),
            files: variant
                .manifest
                .entries
                .iter()
                .map(|entry| (entry.file_name.clone(), format!("{}, b3:{}", entry.role, entry.digest.short())))
                .collect(),
            standing: html::status(&standing(variant.standing)),
            inputs: tensors(&variant.signature.inputs),
            outputs: tensors(&variant.signature.outputs),
        })
        .collect()
}

pub(super) fn version_line(model: &ModelDetail, version: &VersionRow, moments: &Moments) -> VersionLine {
    let aliases: Vec<&str> = model
        .aliases
        .iter()
        .filter(|alias| alias.version == version.number)
        .map(|alias| alias.alias.as_str())
        .collect();
    VersionLine {
        number: version.number,
        aliases: aliases.join(", "),
        parent: version
            .parent
            .map_or_else(String::new, |parent| moments.words.with("model.from_version", &[("n", &parent.to_string())])),
        commit: version.commit.clone().unwrap_or_else(|| DASH.to_string()),
        by: version.created_by.clone(),
        when: html::ago(version.created_at, moments),
        variants: version.variants.iter().map(|variant| variant.name.clone()).collect::<Vec<_>>().join(", "),
    }
}

pub(super) fn facts(version: &VersionRow, words: Words) -> Vec<(String, String)> {
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| words.t("model.not_stated").into_owned());
    let mut facts = vec![
        (words.t("model.origin").into_owned(), or(&version.origin)),
        (words.t("model.licence").into_owned(), or(&version.license)),
        (words.t("model.build").into_owned(), or(&version.build_address)),
    ];
    facts.extend(version.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    facts
}
