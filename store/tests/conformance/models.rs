//! Artifacts, models, aliases, bindings, datasets.

use std::sync::Arc;

use seatrial_core::dataset::scorer::{Scorer, ScorerMetric};
use seatrial_core::dataset::{Binding, Task};
use seatrial_core::digest::Digest;
use seatrial_core::ids::{BindingId, DatasetId, ModelVersionId};
use seatrial_core::metric::Better;
use seatrial_core::model::{Format, Precision, Signature, SignatureStanding, TensorSpec};
use seatrial_core::store::{NewBinding, NewModelVersion, NewVariant, Store, StoreError};
use seatrial_core::tensor::DType;

use crate::world::*;

fn scores(name: &str) -> Binding {
    Binding { scores: Some(name.to_owned()), ..Binding::default() }
}

fn bound(dataset: Option<&str>, output: &str) -> NewBinding {
    NewBinding { id: fresh!(BindingId), dataset: dataset.map(str::to_owned), binding: scores(output) }
}

pub(crate) async fn a_version_brings_its_variants_its_bindings_and_the_alias_latest(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (fp32, int8) = (artifact(&*world.store, b"fp32").await, artifact(&*world.store, b"int8").await);
    let mut new = new_model("mobilenet", world.project, world.person, fp32);
    new.parent = Some(1);
    new.variants.push(new_variant("int8", int8));
    new.bindings = vec![bound(Some("digits"), "logits"), bound(None, "scores")];
    assert_eq!(world.store.add_model_version(&new).await.unwrap(), 2);

    let model = world.store.model(world.project, "mobilenet").await.unwrap().unwrap();
    assert_eq!(model.versions.iter().map(|version| version.number).collect::<Vec<_>>(), [2, 1], "newest first");
    let version = &model.versions[0];
    assert_eq!((version.id, version.parent, version.created_by.as_str()), (new.id, Some(1), "mara"));
    assert_eq!((&version.commit, &version.labels, &version.license), (&new.commit, &new.labels, &new.license));
    let names: Vec<&str> = version.variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!(names, ["fp32", "int8"]);
    assert_eq!(version.variants[1].manifest, new.variants[1].manifest);
    assert_eq!(version.variants[1].standing, SignatureStanding::Claimed);
    assert_eq!(version.bindings, [(Some("digits".to_owned()), scores("logits")), (None, scores("scores"))]);
    let aliases: Vec<_> = model.aliases.iter().map(|alias| (alias.alias.as_str(), alias.version)).collect();
    assert_eq!(aliases, [("latest", 2)]);

    let rows = world.store.models(world.project).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].versions, rows[0].latest, rows[0].variants.clone()),
        (2, 2, vec!["fp32".to_owned(), "int8".to_owned()])
    );
    assert_eq!(world.store.model(world.project, "resnet").await.unwrap(), None);
}

pub(crate) async fn a_variant_of_every_format_and_precision_is_kept(store: Arc<dyn Store>) {
    let world = world(store).await;
    let file = artifact(&*world.store, b"weights").await;
    let mut new = new_model("every", world.project, world.person, file);
    let of = |format: Format, precision: Precision| {
        let name = format!("{}-{}", format.as_str(), precision.as_str());
        NewVariant { format, precision, ..new_variant(&name, file) }
    };
    let formats = Format::ALL.into_iter().map(|format| of(format, Precision::Fp32));
    new.variants =
        formats.chain(Precision::ALL.map(|precision| of(Format::Onnx, precision)).into_iter().skip(1)).collect();
    world.store.add_model_version(&new).await.unwrap();
    let model = world.store.model(world.project, "every").await.unwrap().unwrap();
    let kept: Vec<(Format, Precision)> =
        model.versions[0].variants.iter().map(|variant| (variant.format, variant.precision)).collect();
    let expected: Vec<(Format, Precision)> =
        new.variants.iter().map(|variant| (variant.format, variant.precision)).collect();
    assert_eq!(kept, expected);
}

async fn refused(store: &dyn Store, new: &NewModelVersion) -> String {
    let error = store.add_model_version(new).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    error.to_string()
}

pub(crate) async fn a_version_whose_files_are_missing_is_refused_whole(store: Arc<dyn Store>) {
    let world = world(store).await;
    let missing = Digest::of(b"never uploaded");
    let message = refused(&*world.store, &new_model("resnet", world.project, world.person, missing)).await;
    assert!(message.contains(&missing.to_string()) && message.contains("upload it first"), "{message}");
    assert_eq!(world.store.model(world.project, "resnet").await.unwrap(), None);

    let file = artifact(&*world.store, b"weights").await;
    let mut twice = new_model("resnet", world.project, world.person, file);
    twice.variants.push(new_variant("fp32", file));
    let message = refused(&*world.store, &twice).await;
    assert_eq!(message, "model \"resnet\" has two variants named \"fp32\"");
    assert_eq!(world.store.model(world.project, "resnet").await.unwrap(), None);
}

pub(crate) async fn a_version_can_only_have_a_parent_that_exists(store: Arc<dyn Store>) {
    let world = world(store).await;
    let file = artifact(&*world.store, b"weights").await;
    let orphan = NewModelVersion { parent: Some(7), ..new_model("mobilenet", world.project, world.person, file) };
    let message = refused(&*world.store, &orphan).await;
    assert!(message.contains("no version 7"), "{message}");
}

pub(crate) async fn an_alias_moves_and_only_to_what_exists(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let file = artifact(&**store, b"weights").await;
    store.add_model_version(&new_model("mobilenet", world.project, world.person, file)).await.unwrap();
    assert!(store.move_alias(world.project, "mobilenet", "prod", 1, world.person, after(1)).await.unwrap());
    assert!(store.move_alias(world.project, "mobilenet", "prod", 2, world.person, after(2)).await.unwrap());
    assert!(!store.move_alias(world.project, "mobilenet", "prod", 3, world.person, after(3)).await.unwrap());
    assert!(!store.move_alias(world.project, "resnet", "prod", 1, world.person, after(3)).await.unwrap());
    let model = store.model(world.project, "mobilenet").await.unwrap().unwrap();
    let prod = model.aliases.iter().find(|alias| alias.alias == "prod").unwrap();
    assert_eq!((prod.version, prod.moved_at, prod.moved_by.as_str()), (2, after(2), "mara"));
}

pub(crate) async fn only_a_claimed_signature_is_settled(store: Arc<dyn Store>) {
    let world = world(store).await;
    let input = TensorSpec { name: "x".to_owned(), dtype: DType::F32, shape: Vec::new() };
    let found = Signature { inputs: vec![input], outputs: Vec::new(), precision_from: None };
    let store = &world.store;
    assert!(store.settle_signature(world.variant, SignatureStanding::Confirmed, Some(&found)).await.unwrap());
    assert!(!store.settle_signature(world.variant, SignatureStanding::Refused, None).await.unwrap());
    let model = store.model(world.project, "mobilenet").await.unwrap().unwrap();
    let variant = &model.versions[0].variants[0];
    assert_eq!((variant.standing, &variant.signature), (SignatureStanding::Confirmed, &found));
}

pub(crate) async fn a_binding_for_the_dataset_goes_before_the_one_for_any(store: Arc<dyn Store>) {
    let world = world(store).await;
    let file = artifact(&*world.store, b"weights").await;
    let mut new = new_model("resnet", world.project, world.person, file);
    new.bindings = vec![bound(None, "any"), bound(Some("digits"), "digits"), bound(Some("faces"), "faces")];
    world.store.add_model_version(&new).await.unwrap();
    let binding = |dataset| world.store.binding(new.id, dataset);
    assert_eq!(binding(Some(world.dataset)).await.unwrap(), Some(scores("digits")));
    assert_eq!(binding(None).await.unwrap(), Some(scores("any")));
    assert_eq!(world.store.binding(fresh!(ModelVersionId), None).await.unwrap(), None);
    assert_eq!(world.store.binding(world.version, Some(world.dataset)).await.unwrap(), None);
}

pub(crate) async fn dataset_versions_count_from_one(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let package = artifact(&**store, b"more images").await;
    let mut second = new_dataset("digits", world.project, world.person, package);
    second.dataset = fresh!(DatasetId);
    second.examples = 720;
    assert_eq!(store.add_dataset_version(&second).await.unwrap(), 2);
    let detail = store.dataset(world.project, "digits").await.unwrap().unwrap();
    let versions: Vec<_> =
        detail.versions.iter().map(|version| (version.number, version.examples, version.digest)).collect();
    assert_eq!(versions, [(2, 720, package), (1, 360, Digest::of(b"images"))]);
    let rows = store.datasets(world.project).await.unwrap();
    assert_eq!((rows.len(), rows[0].versions, rows[0].examples, rows[0].classes), (1, 2, 720, 10));
    assert_eq!((rows[0].task, rows[0].id), (Task::Classification, detail.id));
    assert_eq!(store.dataset(world.project, "faces").await.unwrap(), None);

    for task in Task::ALL {
        let mut of_task = new_dataset(&format!("of-{}", task.as_str()), world.project, world.person, package);
        of_task.task = task;
        of_task.scorer = (task == Task::Custom).then(scorer);
        store.add_dataset_version(&of_task).await.unwrap();
        let detail = store.dataset(world.project, &of_task.name).await.unwrap().unwrap();
        assert_eq!((detail.versions[0].task, &detail.versions[0].scorer), (task, &of_task.scorer));
    }

    let nowhere = new_dataset("faces", world.project, world.person, Digest::of(b"never uploaded"));
    assert!(matches!(store.add_dataset_version(&nowhere).await.unwrap_err(), StoreError::Conflict { .. }));
}

fn scorer() -> Scorer {
    let metric = ScorerMetric {
        name: "ece".to_owned(),
        unit: "1".to_owned(),
        better: Better::Lower,
        meaning: Some("期望校准误差".to_owned()),
    };
    Scorer {
        interpreter: "python3".to_owned(),
        program: "score.py".to_owned(),
        files: vec!["seatrial_runner.py".to_owned()],
        metrics: vec![metric],
    }
}

pub(crate) async fn an_artifact_that_is_held_is_never_forgotten(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (held, dataset, free) = (Digest::of(b"weights"), Digest::of(b"images"), artifact(&**store, b"nobody's").await);
    assert_eq!(store.unreferenced_artifacts(after(1), 10).await.unwrap(), [(free, 8)]);
    assert_eq!(store.unreferenced_artifacts(T0, 10).await.unwrap(), [], "only what is older");
    for digest in [held, dataset] {
        assert!(!store.forget_artifact(&digest).await.unwrap());
        assert!(store.artifact_size(&digest).await.unwrap().is_some());
    }
    assert!(store.forget_artifact(&free).await.unwrap());
    assert!(!store.forget_artifact(&free).await.unwrap(), "it is gone");
    assert_eq!(store.artifact_size(&free).await.unwrap(), None);
    let mut present = store.artifacts_present(&[held, free, dataset]).await.unwrap();
    present.sort();
    let mut expected = [held, dataset];
    expected.sort();
    assert_eq!(present, expected);
}

pub(crate) async fn an_artifact_that_is_recorded_again_is_young_again(store: Arc<dyn Store>) {
    let digest = artifact(&*store, b"left over").await;
    store.put_artifact(&digest, 9, after(100)).await.unwrap();
    assert_eq!(store.unreferenced_artifacts(after(50), 10).await.unwrap(), []);
    assert_eq!(store.unreferenced_artifacts(after(101), 10).await.unwrap(), [(digest, 9)]);
}
