//! Builds of the agent.

use std::sync::Arc;

use seatrial_core::agents::AgentBuild;
use seatrial_core::digest::Digest;
use seatrial_core::store::{AGENT_BUILDS, NewAgentBuild, Store, StoreError};

use crate::world::*;

fn build(world: &World, abi: &str, version: &str, digest: Digest) -> NewAgentBuild {
    let build = AgentBuild { abi: abi.parse().unwrap(), version: version.to_owned(), digest, size: 8 };
    NewAgentBuild { build, created_by: world.person, created_at: T0 }
}

async fn versions(store: &dyn Store, abi: &str) -> Vec<String> {
    let rows = store.agent_builds().await.unwrap().into_iter();
    rows.filter(|row| row.build.abi.to_string() == abi).map(|row| row.build.version).collect()
}

const BOARD: &str = "aarch64-linux-gnu";
const PHONE: &str = "aarch64-linux-android";

pub(crate) async fn devices_get_the_newest_agent_of_their_abi_and_an_older_one_can_come_back(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &*world.store;
    let (old, new, phone) =
        (artifact(store, b"old").await, artifact(store, b"new").await, artifact(store, b"ph").await);
    let first = build(&world, BOARD, "0.1.0", old);
    for (build, added) in [
        (first.clone(), true),
        (build(&world, PHONE, "0.1.0", phone), true),
        (build(&world, BOARD, "0.2.0", new), true),
        (build(&world, BOARD, "0.2.0", new), false),
    ] {
        assert_eq!(store.add_agent_build(&build).await.unwrap(), added, "{build:?}");
    }
    assert_eq!(versions(store, BOARD).await, ["0.2.0", "0.1.0"]);
    let newest = async |digest: Digest| store.is_newest_agent(&digest).await.unwrap();
    assert_eq!([newest(old).await, newest(new).await, newest(phone).await], [false, true, true]);
    let rows = store.agent_builds().await.unwrap();
    let stored = rows.iter().find(|row| row.build == first.build).unwrap();
    assert_eq!((stored.created_by.as_str(), stored.created_at), ("mara", T0));

    assert!(store.add_agent_build(&first).await.unwrap());
    assert_eq!(versions(store, BOARD).await, ["0.1.0", "0.2.0", "0.1.0"]);
    assert_eq!([newest(old).await, newest(new).await], [true, false]);
}

pub(crate) async fn an_agent_build_holds_its_bytes_until_ten_newer_ones_have_come(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &*world.store;
    let first = artifact(store, b"first").await;
    store.add_agent_build(&build(&world, BOARD, "0.0.0", first)).await.unwrap();
    for number in 1..AGENT_BUILDS {
        let next = artifact(store, &number.to_be_bytes()).await;
        store.add_agent_build(&build(&world, BOARD, &format!("0.0.{number}"), next)).await.unwrap();
    }
    assert_eq!(store.unreferenced_artifacts(after(1), 100).await.unwrap(), []);
    assert!(!store.forget_artifact(&first).await.unwrap());

    let last = artifact(store, b"last").await;
    store.add_agent_build(&build(&world, BOARD, "1.0.0", last)).await.unwrap();
    let kept = versions(store, BOARD).await;
    assert_eq!((kept.len(), kept[0].as_str()), (AGENT_BUILDS as usize, "1.0.0"));
    assert_eq!(store.unreferenced_artifacts(after(1), 100).await.unwrap(), [(first, 5)]);
    assert!(store.forget_artifact(&first).await.unwrap());
}

pub(crate) async fn an_agent_build_without_its_bytes_is_refused(store: Arc<dyn Store>) {
    let world = world(store).await;
    let missing = build(&world, BOARD, "0.1.0", Digest::of(b"never uploaded"));
    let error = world.store.add_agent_build(&missing).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict { what } if what.contains("upload it first")), "{error:?}");
    assert_eq!(world.store.agent_builds().await.unwrap(), []);
}
