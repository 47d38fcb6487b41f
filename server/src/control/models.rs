//! Models, their versions, variants and aliases.

use std::collections::HashSet;

use seatrial_core::dataset::{Binding, MAX_LABEL_MAP};
use seatrial_core::ids::{BindingId, ModelId, ModelVersionId, VariantId};
use seatrial_core::model::{Format, Manifest, ManifestEntry, Signature};
use seatrial_core::store::{NewBinding, NewModelVersion, NewVariant};
use seatrial_core::time::Timestamp;
use seatrial_core::weights::PrecisionFrom;
use seatrial_proto::v1::models_server::Models;
use seatrial_proto::v1::{
    self, AddModelRequest, AddModelResponse, GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse,
    MoveAliasRequest, MoveAliasResponse,
};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, validate};
use crate::auth::Caller;
use crate::error::Error;
use crate::system::entropy;

const MAX_VARIANTS: usize = 32;
const MAX_FILES: usize = 64;
const MAX_BINDINGS: usize = 64;
const MAX_TENSORS: usize = 256;

#[tonic::async_trait]
impl Models for Control {
    async fn add(&self, request: Request<AddModelRequest>) -> Result<Response<AddModelResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        note.object(format!("model {}", validate::shown(&message.name)));
        let version = checked(&caller, message, self.clock.now())?;
        self.check_files(&version.variants).await?;
        let number = self.store.add_model_version(&version).await.map_err(Error::from)?;
        note.object(format!("model {} version {number}", version.name));
        Ok(Response::new(AddModelResponse { version: number }))
    }

    async fn list(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let Called { caller, note: _, message: ListModelsRequest {} } = Called::from(request)?;
        let models = self.store.models(caller.project).await.map_err(Error::from)?;
        Ok(Response::new(ListModelsResponse { models: models.into_iter().map(convert::model).collect() }))
    }

    async fn get(&self, request: Request<GetModelRequest>) -> Result<Response<GetModelResponse>, Status> {
        let Called { caller, note: _, message: GetModelRequest { name } } = Called::from(request)?;
        let detail = self.store.model(caller.project, &name).await.map_err(Error::from)?;
        let detail = detail.ok_or_else(|| Error::not_found(format!("model {:?}", validate::shown(&name))))?;
        Ok(Response::new(GetModelResponse { detail_json: convert::json(&detail)? }))
    }

    async fn move_alias(&self, request: Request<MoveAliasRequest>) -> Result<Response<MoveAliasResponse>, Status> {
        let Called { caller, note, message: MoveAliasRequest { model, alias, version } } = Called::from(request)?;
        note.object(format!(
            "model {} alias {} to version {version}",
            validate::shown(&model),
            validate::shown(&alias)
        ));
        let alias = validate::name("alias", &alias)?;
        if alias.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::field("alias", "digits alone name a version").into());
        }
        let now = self.clock.now();
        let moved = self.store.move_alias(caller.project, &model, &alias, version, caller.principal, now).await;
        if !moved.map_err(Error::from)? {
            return Err(Error::not_found(format!("version {version} of model {:?}", validate::shown(&model))).into());
        }
        Ok(Response::new(MoveAliasResponse {}))
    }
}

impl Control {
    /// Every file must have been uploaded, and be as large as the manifest says.
    async fn check_files(&self, variants: &[NewVariant]) -> Result<(), Error> {
        for (v, variant) in variants.iter().enumerate() {
            for (f, entry) in variant.manifest.entries.iter().enumerate() {
                let field = format!("variants[{v}].files[{f}].");
                self.check_artifact(&field, &entry.digest, entry.size).await?;
            }
        }
        Ok(())
    }

    /// `within` is what stands before the names of the fields `digest` and `size`.
    pub(super) async fn check_artifact(
        &self,
        within: &str,
        digest: &seatrial_core::digest::Digest,
        size: u64,
    ) -> Result<(), Error> {
        match self.artifacts.size(digest).await? {
            Some(stored) if stored == size => Ok(()),
            Some(stored) => {
                Err(Error::field(format!("{within}size"), format!("{size} bytes, but the artifact has {stored}")))
            }
            None => {
                let why = format!("artifact {digest} is not on this server; upload it first (PUT /artifacts/{digest})");
                Err(Error::field(format!("{within}digest"), why))
            }
        }
    }
}

fn checked(caller: &Caller, message: AddModelRequest, now: Timestamp) -> Result<NewModelVersion, Error> {
    let AddModelRequest { name, variants, parent, commit, build_address, labels, origin, license, bindings } = message;
    let name = validate::name("name", &name)?;
    if variants.is_empty() || variants.len() > MAX_VARIANTS {
        return Err(Error::field(
            "variants",
            format!("{} variants; a version has 1 to {MAX_VARIANTS}", variants.len()),
        ));
    }
    if bindings.len() > MAX_BINDINGS {
        return Err(Error::field(
            "bindings",
            format!("{} bindings; at most {MAX_BINDINGS} are accepted", bindings.len()),
        ));
    }
    let variants: Vec<NewVariant> = variants
        .into_iter()
        .enumerate()
        .map(|(index, variant)| checked_variant(&format!("variants[{index}]"), variant, now))
        .collect::<Result<_, _>>()?;
    let mut names = HashSet::new();
    if let Some(index) = variants.iter().position(|variant| !names.insert(variant.name.as_str())) {
        return Err(Error::field(format!("variants[{index}].name"), "another variant has this name"));
    }
    let bindings = bindings
        .into_iter()
        .enumerate()
        .map(|(index, binding)| checked_binding(&format!("bindings[{index}]"), binding, now))
        .collect::<Result<_, _>>()?;
    Ok(NewModelVersion {
        model: ModelId::new(now, entropy()),
        id: ModelVersionId::new(now, entropy()),
        project: caller.project,
        name,
        created_by: caller.principal,
        created_at: now,
        parent,
        commit: validate::text("commit", commit)?,
        build_address: validate::text("build_address", build_address)?,
        labels: validate::labels("labels", labels)?,
        origin: validate::text("origin", origin)?,
        license: validate::text("license", license)?,
        variants,
        bindings,
    })
}

fn checked_variant(field: &str, variant: v1::NewVariant, now: Timestamp) -> Result<NewVariant, Error> {
    let v1::NewVariant { name, format, precision, files, signature_json } = variant;
    let signature: Signature = validate::json(&format!("{field}.signature_json"), &signature_json)?;
    if signature.inputs.len() > MAX_TENSORS || signature.outputs.len() > MAX_TENSORS {
        return Err(Error::field(format!("{field}.signature_json"), format!("more than {MAX_TENSORS} tensors")));
    }
    let format: Format = validate::word(&format!("{field}.format"), &format)?;
    let precision = validate::word(&format!("{field}.precision"), &precision)?;
    if let Some(PrecisionFrom::Read(weights)) = &signature.precision_from
        && let Some(contradiction) = weights.contradiction(precision)
    {
        return Err(Error::field(format!("{field}.precision"), contradiction));
    }
    Ok(NewVariant {
        id: VariantId::new(now, entropy()),
        name: validate::name(&format!("{field}.name"), &name)?,
        format,
        precision,
        manifest: checked_manifest(&format!("{field}.files"), files, format)?,
        signature,
    })
}

fn checked_manifest(field: &str, files: Vec<v1::FileRef>, format: Format) -> Result<Manifest, Error> {
    if files.len() > MAX_FILES {
        return Err(Error::field(field, format!("{} files; a variant has at most {MAX_FILES}", files.len())));
    }
    let mut entries: Vec<ManifestEntry> = Vec::with_capacity(files.len());
    for (index, v1::FileRef { role, digest, size, file_name }) in files.into_iter().enumerate() {
        let field = format!("{field}[{index}]");
        let file_name = validate::file_name(&format!("{field}.file_name"), &file_name)?;
        // Some file systems do not tell case.
        if entries.iter().any(|entry| entry.file_name.to_lowercase() == file_name.to_lowercase()) {
            return Err(Error::field(format!("{field}.file_name"), format!("{file_name:?} is given twice")));
        }
        entries.push(ManifestEntry {
            role: validate::name(&format!("{field}.role"), &role)?,
            digest: validate::digest(&format!("{field}.digest"), &digest)?,
            size,
            file_name,
        });
    }
    let manifest = Manifest { entries };
    let main = format.main_role();
    if manifest.role(main).is_none() {
        return Err(Error::field(field, format!("no file has the role {main:?}")));
    }
    Ok(manifest)
}

fn checked_binding(field: &str, binding: v1::NewBinding, now: Timestamp) -> Result<NewBinding, Error> {
    let v1::NewBinding { dataset, binding_json } = binding;
    let binding: Binding = validate::json(&format!("{field}.binding_json"), &binding_json)?;
    let entries = binding.label_map.as_ref().map_or(0, Vec::len);
    if entries > MAX_LABEL_MAP {
        let why = format!("{entries} entries; at most {MAX_LABEL_MAP} are accepted");
        return Err(Error::field(format!("{field}.binding_json.label_map"), why));
    }
    if let Some((key, why)) = binding.faults().into_iter().next() {
        return Err(Error::field(format!("{field}.binding_json.{key}"), why));
    }
    Ok(NewBinding {
        id: BindingId::new(now, entropy()),
        dataset: dataset.map(|dataset| validate::name(&format!("{field}.dataset"), &dataset)).transpose()?,
        binding,
    })
}

#[cfg(test)]
mod tests {
    use seatrial_core::model::Precision;
    use seatrial_core::weights::Weights;

    use super::*;

    fn added(precision: &str, weights: Precision) -> Result<NewVariant, Error> {
        let mut counted = Weights::default();
        counted.add(Some(weights), 9_000);
        let signature = Signature { precision_from: Some(PrecisionFrom::Read(counted)), ..Signature::default() };
        let file = v1::FileRef {
            role: "model".to_owned(),
            digest: vec![1; 32].into(),
            size: 9,
            file_name: "m.onnx".to_owned(),
        };
        let variant = v1::NewVariant {
            name: "v".to_owned(),
            format: "onnx".to_owned(),
            precision: precision.to_owned(),
            files: vec![file],
            signature_json: serde_json::to_string(&signature).unwrap(),
        };
        checked_variant("variants[0]", variant, Timestamp::from_micros(1))
    }

    #[test]
    fn a_variant_of_another_precision_than_its_weights_is_refused_by_whoever_adds_it() {
        let refused = added("fp32", Precision::Int8).unwrap_err().to_string();
        assert!(refused.contains("9000 of the 9000 numbers that the file holds are int8"), "{refused}");
        assert_eq!(added("int8", Precision::Int8).unwrap().precision, Precision::Int8, "the control");
    }
}
