//! What was decided of devices, and reservations.

use std::sync::Arc;
use std::time::Duration;

use seatrial_core::device::DeviceState;
use seatrial_core::digest::Digest;
use seatrial_core::ids::{DeviceId, ReservationId};
use seatrial_core::lab::standing::{Admits, Order};
use seatrial_core::outcome::Outcome;
use seatrial_core::store::{NewReservation, ServiceChange, ServiceRow, Store, StoreError};
use seatrial_core::time::Timestamp;

use crate::world::*;

async fn attach(store: &dyn Store, name: &str) -> DeviceId {
    let profile = profile("Xiaomi", name);
    store.attach_device(fresh!(DeviceId), &agent_id(name), &profile, "0.1.0", T0).await.unwrap().id
}

/// What follows the last decision by an order of li's.
fn next(last: &ServiceRow, order: &Order, now: Timestamp) -> ServiceChange {
    let service = last.service.after(order, now).unwrap();
    let reason = service.words(&last.service);
    let by = Some("li".to_owned());
    ServiceChange { row: ServiceRow { device: last.device, service, revision: last.revision + 1, by, at: now }, reason }
}

fn quarantine() -> Order {
    Order::Quarantine { reason: "smells".to_owned(), length: None }
}

pub(crate) async fn a_decision_counts_only_when_it_follows_the_last(store: Arc<dyn Store>) {
    let device = attach(&*store, "a").await;
    let untouched = store.device_service(device).await.unwrap();
    assert_eq!(untouched, ServiceRow::untouched(device));
    assert_eq!(store.services().await.unwrap(), []);
    let first = next(&untouched, &quarantine(), after(1));
    assert!(store.decide(std::slice::from_ref(&first)).await.unwrap());
    assert_eq!(store.device_service(device).await.unwrap(), first.row);
    let late = next(&untouched, &Order::Maintain { reason: "late".to_owned() }, after(2));
    assert!(!store.decide(&[late]).await.unwrap());
    assert_eq!(store.services().await.unwrap(), std::slice::from_ref(&first.row));
    assert!(store.decide(&[next(&first.row, &Order::Release, after(3))]).await.unwrap());
    assert_eq!(store.device_service(device).await.unwrap().service.admits(), Admits::Everybody);

    let nobody = next(&ServiceRow::untouched(fresh!(DeviceId)), &quarantine(), after(4));
    let error = store.decide(&[nobody]).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

pub(crate) async fn a_decision_brings_the_devices_state_and_its_log_with_who_made_it(store: Arc<dyn Store>) {
    let device = attach(&*store, "a").await;
    let first = next(&ServiceRow::untouched(device), &quarantine(), after(1));
    assert!(store.decide(std::slice::from_ref(&first)).await.unwrap());
    let row = store.device(device).await.unwrap().unwrap();
    assert_eq!((row.state, row.state_reason.as_str()), (DeviceState::Quarantined, "smells"));
    let hold = Order::Hold { by: "li".to_owned(), reason: "zero \0".to_owned(), length: None };
    let held = next(&next(&first.row, &Order::Release, after(2)).row, &hold, after(3));
    assert!(store.decide(&[next(&first.row, &Order::Release, after(2))]).await.unwrap());
    assert!(store.decide(&[held]).await.unwrap());
    let log = store.device_transitions(device, 10).await.unwrap();
    let said: Vec<_> = log.iter().map(|row| (row.from, row.to, row.by.as_deref(), row.at)).collect();
    let (discovered, ready) = (DeviceState::Discovered, DeviceState::Ready);
    let (quarantined, reserved) = (DeviceState::Quarantined, DeviceState::Reserved);
    let li = Some("li");
    assert_eq!(
        said,
        [(ready, reserved, li, after(3)), (quarantined, ready, li, after(2)), (discovered, quarantined, li, after(1)),]
    );
    assert_eq!(log[0].reason, "held by li: zero \u{fffd}");
}

pub(crate) async fn of_a_hundred_decisions_at_once_exactly_one_follows_the_last(store: Arc<dyn Store>) {
    let device = attach(&*store, "a").await;
    let change = next(&ServiceRow::untouched(device), &quarantine(), after(1));
    let tries = (0..100).map(|_| {
        let (store, change) = (store.clone(), change.clone());
        tokio::spawn(async move { store.decide(&[change]).await.unwrap() })
    });
    let won = futures::future::join_all(tries).await;
    assert_eq!(won.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(store.device_transitions(device, 10).await.unwrap().len(), 1);
}

pub(crate) async fn decisions_that_belong_together_are_stored_together_or_not_at_all(store: Arc<dyn Store>) {
    let (one, two) = (attach(&*store, "a").await, attach(&*store, "b").await);
    let stale = ServiceRow { revision: 7, ..ServiceRow::untouched(two) };
    let both = [next(&ServiceRow::untouched(one), &quarantine(), after(1)), next(&stale, &quarantine(), after(1))];
    assert!(!store.decide(&both).await.unwrap());
    assert_eq!(store.services().await.unwrap(), []);
    assert_eq!(store.device(one).await.unwrap().unwrap().state, DeviceState::Discovered);
    let both = [one, two].map(|id| next(&ServiceRow::untouched(id), &quarantine(), after(1)));
    assert!(store.decide(&both).await.unwrap());
    assert_eq!(store.services().await.unwrap().len(), 2);
}

pub(crate) async fn what_ends_by_itself_is_found_when_its_time_has_come(store: Arc<dyn Store>) {
    let device = attach(&*store, "a").await;
    let order = Order::Quarantine { reason: "hot".to_owned(), length: Some(Duration::from_mins(1)) };
    let change = next(&ServiceRow::untouched(device), &order, after(10));
    assert!(store.decide(std::slice::from_ref(&change)).await.unwrap());
    assert_eq!(store.services_due(after(69)).await.unwrap(), []);
    assert_eq!(store.services_due(after(70)).await.unwrap(), std::slice::from_ref(&change.row));
    assert!(store.decide(&[next(&change.row, &Order::Tick, after(70))]).await.unwrap());
    assert_eq!(store.services_due(after(700)).await.unwrap(), []);
}

/// A reservation of these devices for a minute, from second 10 on, with the decisions that it takes.
fn reservation(world: &World, devices: &[DeviceId]) -> (NewReservation, Vec<ServiceChange>) {
    let id = fresh!(ReservationId);
    let new = NewReservation {
        id,
        project: world.project,
        principal: world.person,
        selector: "labels.shelf == \"A3\"".to_owned(),
        hash: Digest::of(id.to_string().as_bytes()),
        reason: "camera".to_owned(),
        created_at: after(10),
        until: after(70),
    };
    let order = Order::Reserve { reservation: id, by: "li".to_owned(), length: Duration::from_mins(1) };
    let changes = devices.iter().map(|&id| next(&ServiceRow::untouched(id), &order, after(10)));
    (new, changes.collect())
}

pub(crate) async fn a_reservation_is_found_by_its_token_until_it_ends(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let other = attach(&**store, "b").await;
    let (new, changes) = reservation(&world, &[world.device.id, other]);
    assert!(store.reserve(&new, &changes).await.unwrap());
    assert_eq!(store.reservation_by_hash(&new.hash, after(69)).await.unwrap(), Some(new.id));
    assert_eq!(store.reservation_by_hash(&new.hash, after(70)).await.unwrap(), None);
    assert_eq!(store.reservation_by_hash(&Digest::of(b"else"), after(11)).await.unwrap(), None);
    let rows = store.reservations(after(69)).await.unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.id, row.principal, row.until), (new.id, world.person, after(70)));
    assert_eq!((row.selector.as_str(), row.reason.as_str()), (new.selector.as_str(), "camera"));
    assert_eq!(row.devices.len(), 2);
    assert_eq!(store.reservations(after(70)).await.unwrap(), []);

    let (again, late) = reservation(&world, &[world.device.id]);
    assert!(!store.reserve(&again, &late).await.unwrap(), "the device is another's now");
    assert_eq!(store.reservations(after(69)).await.unwrap().len(), 1);
}

pub(crate) async fn a_reservation_that_ends_early_gives_its_devices_back(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (new, changes) = reservation(&world, &[world.device.id]);
    assert!(store.reserve(&new, &changes).await.unwrap());
    let held = store.reserved_devices(new.id).await.unwrap();
    assert_eq!(held, [changes[0].row.clone()]);
    let back: Vec<ServiceChange> =
        held.iter().map(|row| next(row, &Order::Unreserve { reservation: new.id }, after(20))).collect();
    assert!(store.end_reservation(new.id, &back, after(20)).await.unwrap());
    assert!(!store.end_reservation(new.id, &[], after(21)).await.unwrap(), "it has ended");
    assert_eq!(store.reservation_by_hash(&new.hash, after(21)).await.unwrap(), None);
    assert_eq!(store.reserved_devices(new.id).await.unwrap(), []);
    assert_eq!(store.device_service(world.device.id).await.unwrap().service.admits(), Admits::Everybody);
}

pub(crate) async fn a_run_keeps_the_reservation_that_it_brought(store: Arc<dyn Store>) {
    let world = world(store).await;
    let id = fresh!(ReservationId);
    let mut run = world.run(vec![world.job()]);
    run.reservation = Some(id);
    world.store.create_run(&run).await.unwrap();
    world.run_of(1).await;
    let brought: Vec<_> = world.store.open_jobs().await.unwrap().iter().map(|job| job.reservation).collect();
    assert_eq!(brought, [Some(id), None]);
}

pub(crate) async fn the_last_job_of_each_device_is_the_one_that_finished_last(store: Arc<dyn Store>) {
    let world = world(store).await;
    attach(&*world.store, "idle").await;
    assert_eq!(world.store.last_jobs().await.unwrap(), []);
    let (_, jobs) = world.run_of(3).await;
    for (job, at) in [(jobs[1], 30), (jobs[0], 20)] {
        let mut completion = world.completion(world.claim(job, 1).await, Outcome::Ok);
        completion.received_at = after(at);
        world.store.complete(&completion).await.unwrap();
    }
    let last: Vec<_> = world.store.last_jobs().await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(last, [jobs[1]]);
}
