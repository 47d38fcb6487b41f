//! Devices by their evidence, their names, states and labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use seatrial_core::device::{DeviceState, Evidence};
use seatrial_core::ids::DeviceId;
use seatrial_core::store::{DeviceRow, Store, StoreError};

use crate::world::*;

async fn attach(store: &dyn Store, evidence: &Evidence, product: &str) -> DeviceRow {
    store.attach_device(fresh!(DeviceId), evidence, &profile("Xiaomi", product), "0.1.0", T0).await.unwrap()
}

pub(crate) async fn a_device_that_returns_keeps_its_id_and_its_name(store: Arc<dyn Store>) {
    let first = attach(&*store, &agent_id("a"), "15").await;
    assert_eq!((first.name.as_str(), first.state), ("Xiaomi 15", DeviceState::Discovered));
    let evidence = agent_id("a");
    let again = store
        .attach_device(fresh!(DeviceId), &evidence, &profile("Xiaomi", "15 Pro"), "0.2.0", after(9))
        .await
        .unwrap();
    assert_eq!((again.id, again.name.as_str()), (first.id, "Xiaomi 15"));
    assert_eq!((again.agent_version.as_str(), again.last_seen_at, again.created_at), ("0.2.0", after(9), T0));
    assert_eq!(again.profile, profile("Xiaomi", "15 Pro"), "what is probed now is what is known");
    assert_eq!(store.devices().await.unwrap(), std::slice::from_ref(&again));
    assert_eq!(store.device(first.id).await.unwrap(), Some(again));
    assert_eq!(store.device(fresh!(DeviceId)).await.unwrap(), None);
}

pub(crate) async fn twins_get_numbers_and_stay_apart(store: Arc<dyn Store>) {
    let serial = |agent: &str, usb: &str| Evidence {
        agent_id: Some(agent.to_owned()),
        hardware_serial: Some("0123456789ABCDEF".to_owned()),
        usb_path: Some(usb.to_owned()),
        machine_id: None,
    };
    let one = attach(&*store, &agent_id("a"), "Redmi 9A").await;
    attach(&*store, &serial("a", "1-1"), "Redmi 9A").await;
    let two = attach(&*store, &agent_id("b"), "Redmi 9A").await;
    attach(&*store, &serial("b", "1-2"), "Redmi 9A").await;
    assert_eq!((one.name.as_str(), two.name.as_str()), ("Xiaomi Redmi 9A", "Xiaomi Redmi 9A №2"));
    assert_eq!(store.devices().await.unwrap().len(), 2);

    let wiped = |usb: &str| Evidence { agent_id: None, ..serial("", usb) };
    assert_eq!(attach(&*store, &wiped("1-2"), "Redmi 9A").await.id, two.id, "the socket tells twins apart");
    let unknown = attach(&*store, &wiped("2-1"), "Redmi 9A").await;
    assert!(![one.id, two.id].contains(&unknown.id), "a shared serial alone is no match");
    assert_eq!(unknown.name, "Xiaomi Redmi 9A №3");
}

pub(crate) async fn evidence_that_is_missing_once_is_not_forgotten(store: Arc<dyn Store>) {
    let full = Evidence {
        agent_id: Some("a".to_owned()),
        hardware_serial: Some("S".to_owned()),
        machine_id: Some("M".to_owned()),
        usb_path: None,
    };
    let first = attach(&*store, &full, "15").await;
    let again = attach(&*store, &agent_id("a"), "15").await;
    assert_eq!((again.id, again.evidence), (first.id, full));
}

pub(crate) async fn the_newest_evidence_of_a_device_is_kept_beside_its_profile(store: Arc<dyn Store>) {
    let row = attach(&*store, &agent_id("a"), "15").await;
    assert_eq!(store.raw_evidence(row.id).await.unwrap(), None);
    for document in [&b"first\0"[..], b"second", b"second"] {
        store.keep_raw_evidence(row.id, document).await.unwrap();
        assert_eq!(store.raw_evidence(row.id).await.unwrap().as_deref(), Some(document));
    }
    assert_eq!(store.device(row.id).await.unwrap(), Some(row.clone()), "nothing else of it changes");
    let read_again = profile("Xiaomi", "15 Ultra");
    assert!(store.set_device_profile(row.id, &read_again).await.unwrap());
    assert_eq!(store.device(row.id).await.unwrap().unwrap().profile, read_again);
    attach(&*store, &agent_id("a"), "15").await;
    assert_eq!(store.raw_evidence(row.id).await.unwrap().as_deref(), Some(&b"second"[..]));

    let nobody = fresh!(DeviceId);
    store.keep_raw_evidence(nobody, b"x").await.unwrap();
    assert_eq!(store.raw_evidence(nobody).await.unwrap(), None);
    assert!(!store.set_device_profile(nobody, &read_again).await.unwrap());
}

pub(crate) async fn a_state_changes_only_from_the_state_it_is_in(store: Arc<dyn Store>) {
    let id = attach(&*store, &agent_id("a"), "15").await.id;
    let (discovered, ready, running) = (DeviceState::Discovered, DeviceState::Ready, DeviceState::Running);
    assert!(store.set_device_state(id, discovered, ready, "attached", after(1)).await.unwrap());
    assert!(!store.set_device_state(id, discovered, running, "late", after(2)).await.unwrap());
    assert!(store.set_device_state(id, ready, running, "job", after(3)).await.unwrap());
    let device = store.device(id).await.unwrap().unwrap();
    assert_eq!((device.state, device.state_reason.as_str()), (running, "job"));
    let transitions = store.device_transitions(id, 10).await.unwrap();
    let seen: Vec<_> = transitions.iter().map(|row| (row.from, row.to, row.reason.as_str(), row.at)).collect();
    assert_eq!(seen, [(ready, running, "job", after(3)), (discovered, ready, "attached", after(1))]);
    assert_eq!(store.device_transitions(id, 1).await.unwrap().len(), 1);
}

pub(crate) async fn names_are_unique_and_labels_are_replaced(store: Arc<dyn Store>) {
    let one = attach(&*store, &agent_id("a"), "15").await.id;
    let two = attach(&*store, &agent_id("b"), "14").await.id;
    assert!(store.rename_device(one, "bench 7").await.unwrap());
    assert!(!store.rename_device(fresh!(DeviceId), "nobody").await.unwrap());
    let error = store.rename_device(two, "bench 7").await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(error.to_string(), "another device is named \"bench 7\"; names of devices are unique");

    let labels = |key: &str| BTreeMap::from([(key.to_owned(), "A3".to_owned())]);
    assert!(store.set_device_labels(one, &labels("shelf")).await.unwrap());
    assert!(store.set_device_labels(one, &labels("rack")).await.unwrap());
    assert!(!store.set_device_labels(fresh!(DeviceId), &labels("rack")).await.unwrap());
    assert_eq!(store.device(one).await.unwrap().unwrap().labels, labels("rack"));
}

pub(crate) async fn a_device_never_looks_longer_unseen_than_it_is(store: Arc<dyn Store>) {
    let one = attach(&*store, &agent_id("a"), "15").await.id;
    let two = attach(&*store, &agent_id("b"), "15").await.id;
    store.touch_devices(&[one], after(60)).await.unwrap();
    store.touch_devices(&[one, two], after(30)).await.unwrap();
    store.touch_devices(&[], after(90)).await.unwrap();
    assert_eq!(store.device(one).await.unwrap().unwrap().last_seen_at, after(60));
    assert_eq!(store.device(two).await.unwrap().unwrap().last_seen_at, after(30));
}

pub(crate) async fn a_zero_character_is_replaced_wherever_it_comes_in(store: Arc<dyn Store>) {
    let zero = |text: &str| format!("{text}\0");
    let evidence = Evidence {
        agent_id: Some(zero("a")),
        hardware_serial: Some(zero("s")),
        machine_id: Some(zero("m")),
        usb_path: Some(zero("u")),
    };
    let row = store
        .attach_device(fresh!(DeviceId), &evidence, &profile(&zero("Xiaomi"), "15"), &zero("1"), T0)
        .await
        .unwrap();
    assert_eq!((row.agent_version.as_str(), row.evidence.usb_path.as_deref()), ("1\u{fffd}", Some("u\u{fffd}")));
    assert!(store.rename_device(row.id, &zero("shelf")).await.unwrap());
    assert!(store.set_device_labels(row.id, &BTreeMap::from([(zero("k"), zero("v"))])).await.unwrap());
    assert!(store.set_device_state(row.id, row.state, DeviceState::Ready, &zero("why"), T0).await.unwrap());
    assert_eq!(store.device(row.id).await.unwrap().unwrap().name, "shelf\u{fffd}");

    let world = world(store).await;
    let store = &world.store;
    assert_eq!(store.model(world.project, &zero("mobilenet")).await.unwrap(), None);
    assert_eq!(store.dataset(world.project, &zero("digits")).await.unwrap(), None);
    assert_eq!(store.model_jobs(world.project, &zero("mobilenet"), 9).await.unwrap(), []);
    assert_eq!(store.jobs_by_short_id(&zero("7f3a")).await.unwrap(), []);
    let moved = store.move_alias(world.project, "mobilenet", &zero("prod"), 1, world.person, T0).await;
    assert!(moved.unwrap());
    let file = artifact(&**store, b"other weights").await;
    let mut model = new_model(&zero("net"), world.project, world.person, file);
    (model.commit, model.build_address) = (Some(zero("c")), Some(zero("b")));
    (model.origin, model.license) = (Some(zero("o")), Some(zero("l")));
    for variant in &mut model.variants {
        variant.manifest.entries[0].file_name = zero("f");
    }
    store.add_model_version(&model).await.unwrap();
    let version = &store.model(world.project, &zero("net")).await.unwrap().unwrap().versions[0];
    assert_eq!((version.commit.as_deref(), version.license.as_deref()), (Some("c\u{fffd}"), Some("l\u{fffd}")));
    let package = artifact(&**store, b"other images").await;
    let mut dataset = new_dataset(&zero("set"), world.project, world.person, package);
    (dataset.origin, dataset.license) = (Some(zero("o")), Some(zero("l")));
    store.add_dataset_version(&dataset).await.unwrap();
    let mut run = world.run(vec![world.job()]);
    (run.suite, run.suite_text) = (zero("nightly"), zero("name"));
    store.create_run(&run).await.unwrap();
    let waiting = seatrial_core::job::AttemptRef { job: run.jobs[0].id, attempt: 0 };
    assert!(store.give_up(waiting, &zero("away"), T0).await.unwrap());
    assert_eq!(store.job(run.jobs[0].id).await.unwrap().unwrap().message.as_deref(), Some("away\u{fffd}"));
}

pub(crate) async fn looking_for_a_device_changes_nothing(store: Arc<dyn Store>) {
    let known = attach(&*store, &agent_id("a"), "15").await;
    let seen = Evidence { machine_id: Some("new board".to_owned()), ..agent_id("a") };
    assert_eq!(store.device_by_evidence(&seen).await.unwrap(), Some(known.clone()));
    assert_eq!(store.device_by_evidence(&agent_id("b")).await.unwrap(), None);
    assert_eq!(store.devices().await.unwrap(), [known]);
}
