//! Runtime packages and their tracks.

use std::sync::Arc;

use seatrial_core::backend::Accelerator;
use seatrial_core::digest::Digest;
use seatrial_core::ids::{RuntimePackageId, TrackId};
use seatrial_core::model::{Format, Manifest, ManifestEntry};
use seatrial_core::runtimes::{ENGINE_ROLE, Engine, PackageKind, RuntimePackage};
use seatrial_core::store::{NewRuntimePackage, Store, StoreError, TrackRow};

use crate::world::*;

fn package(world: &World, track: &str, version: &str, abi: &str, library: Digest) -> NewRuntimePackage {
    let entry = ManifestEntry {
        role: ENGINE_ROLE.to_owned(),
        digest: library,
        size: 8,
        file_name: "libonnxruntime.so".to_owned(),
    };
    NewRuntimePackage {
        id: fresh!(RuntimePackageId),
        track_id: fresh!(TrackId),
        project: world.project,
        track: track.to_owned(),
        package: RuntimePackage {
            runtime: "onnxruntime".to_owned(),
            kind: PackageKind::Library { engine: Engine::Onnxruntime },
            version: version.to_owned(),
            abi: Some(abi.parse().unwrap()),
            accelerators: vec![Accelerator::Cpu, Accelerator::Gpu],
            formats: vec![Format::Onnx],
            manifest: Manifest { entries: vec![entry] },
        },
        created_by: world.person,
        created_at: T0,
    }
}

fn version_for(track: &TrackRow, abi: &str) -> Option<String> {
    track.package_for(Some(abi.parse().unwrap())).map(|package| package.version.clone())
}

pub(crate) async fn the_newest_package_of_a_track_for_an_abi_is_the_one_that_jobs_get(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &*world.store;
    let (old, new, arm) =
        (artifact(store, b"1.30").await, artifact(store, b"1.31").await, artifact(store, b"arm").await);
    let (host, phone) = ("x86_64-linux-gnu", "aarch64-linux-android");
    let first = package(&world, "stable", "1.30.0", host, old);
    for new in [
        first.clone(),
        package(&world, "stable", "1.31.1", host, new),
        package(&world, "stable", "1.29.0", phone, arm),
        package(&world, "1.30", "1.30.0", host, old),
    ] {
        assert!(store.add_runtime_package(&new).await.unwrap());
    }
    let tracks = store.tracks(world.project).await.unwrap();
    let names: Vec<&str> = tracks.iter().map(|track| track.name.as_str()).collect();
    assert_eq!(names, ["1.30", "stable"]);
    assert_eq!(tracks[1].packages.len(), 3, "older packages are kept");
    assert_eq!(version_for(&tracks[1], host).as_deref(), Some("1.31.1"));
    assert_eq!(version_for(&tracks[1], phone).as_deref(), Some("1.29.0"));
    assert_eq!(version_for(&tracks[0], phone), None);
    let stored = tracks[1].packages.last().unwrap();
    assert_eq!((&stored.package, stored.created_by.as_str(), stored.created_at), (&first.package, "mara", T0));
}

pub(crate) async fn the_same_package_again_is_not_another_and_an_older_one_can_come_back(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &*world.store;
    let (old, new) = (artifact(store, b"1.30").await, artifact(store, b"1.31").await);
    let host = "x86_64-linux-gnu";
    let mut added = Vec::new();
    for (version, library) in [("1.30.0", old), ("1.30.0", old), ("1.31.1", new), ("1.30.0", old)] {
        added.push(store.add_runtime_package(&package(&world, "stable", version, host, library)).await.unwrap());
    }
    assert_eq!(added, [true, false, true, true]);
    let tracks = store.tracks(world.project).await.unwrap();
    assert_eq!((tracks[0].packages.len(), version_for(&tracks[0], host).as_deref()), (3, Some("1.30.0")));
}

pub(crate) async fn what_is_no_machine_code_serves_every_device(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &*world.store;
    let script = artifact(store, b"script").await;
    let mut new = package(&world, "stable", "4.11.0", "x86_64-linux-gnu", script);
    "caffe".clone_into(&mut new.package.runtime);
    new.package.kind = PackageKind::Runner { interpreter: Some("python3".to_owned()) };
    new.package.abi = None;
    new.package.formats = Vec::new();
    assert!(store.add_runtime_package(&new).await.unwrap());
    let tracks = store.tracks(world.project).await.unwrap();
    assert_eq!((tracks[0].runtime.as_str(), &tracks[0].packages[0].package), ("caffe", &new.package));
    assert_eq!(version_for(&tracks[0], "aarch64-linux-android").as_deref(), Some("4.11.0"));
    assert_eq!(tracks[0].package_for(None).map(|package| package.version.as_str()), Some("4.11.0"));
}

pub(crate) async fn a_package_holds_its_files_and_one_without_files_is_refused(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &*world.store;
    let library = artifact(store, b"1.31").await;
    assert!(store.unreferenced_artifacts(after(1), 10).await.unwrap().iter().any(|(digest, _)| *digest == library));
    store.add_runtime_package(&package(&world, "stable", "1.31.1", "x86_64-linux-gnu", library)).await.unwrap();
    assert!(!store.unreferenced_artifacts(after(1), 10).await.unwrap().iter().any(|(digest, _)| *digest == library));
    assert!(!store.forget_artifact(&library).await.unwrap());

    let missing = package(&world, "stable", "1.32.0", "x86_64-linux-gnu", Digest::of(b"never uploaded"));
    let error = store.add_runtime_package(&missing).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict { what } if what.contains("upload it first")), "{error:?}");
    assert_eq!(store.tracks(world.project).await.unwrap()[0].packages.len(), 1);
}
