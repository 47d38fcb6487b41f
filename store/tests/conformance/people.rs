//! Projects, tokens, enrolments, audit, leases of reconcilers.

use std::sync::Arc;

use futures::future::join_all;
use seatrial_core::digest::Digest;
use seatrial_core::ids::{AuditId, DeviceId, EnrolmentId, PrincipalId, ProjectId};
use seatrial_core::role::Role;
use seatrial_core::store::{AuditEntry, AuditRow, NewEnrolment, NewToken, Store, StoreError};

use crate::world::*;

pub(crate) async fn the_first_start_makes_a_project_and_the_second_finds_it(store: Arc<dyn Store>) {
    let first = store.bootstrap(&seed("mara")).await.unwrap();
    let second = store.bootstrap(&seed("mara")).await.unwrap();
    assert_eq!(first, second);
    let other = store.bootstrap(&seed("jun")).await.unwrap();
    assert_eq!(other.project, first.project);
    assert_ne!(other.principal, first.principal);
}

pub(crate) async fn a_token_is_found_by_its_hash_before_and_after_it_is_revoked(store: Arc<dyn Store>) {
    let project = store.bootstrap(&seed("mara")).await.unwrap().project;
    let new = token(project, "ci", b"secret");
    store.create_token(&new).await.unwrap();
    let found = store.token_by_hash(&Digest::of(b"secret")).await.unwrap().unwrap();
    assert_eq!((found.id, found.role, found.expires_at, found.revoked_at), (new.id, new.role, new.expires_at, None));
    assert_eq!(store.token_by_hash(&Digest::of(b"guess")).await.unwrap(), None);

    assert!(store.revoke_token(new.id, after(5)).await.unwrap());
    assert!(!store.revoke_token(new.id, after(6)).await.unwrap(), "it was revoked before");
    assert_eq!(store.tokens().await.unwrap()[0].revoked_at, Some(after(5)));
}

pub(crate) async fn only_a_token_in_force_that_is_no_devices_counts_as_a_person(store: Arc<dyn Store>) {
    let project = store.bootstrap(&seed("mara")).await.unwrap().project;
    assert!(!store.has_people(T0).await.unwrap());
    let agent = NewToken { role: Role::Agent, expires_at: None, ..token(project, "phone", b"agent") };
    store.create_token(&agent).await.unwrap();
    assert!(!store.has_people(T0).await.unwrap(), "a device is nobody");

    let short = NewToken { role: Role::Viewer, expires_at: Some(after(10)), ..token(project, "mara", b"short") };
    store.create_token(&short).await.unwrap();
    assert!(store.has_people(after(9)).await.unwrap());
    assert!(!store.has_people(after(10)).await.unwrap(), "it has expired");

    let lasting = NewToken { role: Role::Admin, expires_at: None, ..token(project, "jun", b"lasting") };
    store.create_token(&lasting).await.unwrap();
    assert!(store.has_people(after(10)).await.unwrap());
    assert!(store.revoke_token(lasting.id, after(11)).await.unwrap());
    assert!(!store.has_people(after(12)).await.unwrap(), "it was revoked");
}

pub(crate) async fn a_person_is_known_once_a_token_was_made_for_one_whatever_became_of_it(store: Arc<dyn Store>) {
    let project = store.bootstrap(&seed("mara")).await.unwrap().project;
    let device = NewToken { role: Role::Agent, ..token(project, "phone", b"device") };
    store.create_token(&device).await.unwrap();
    assert!(!store.knows_people().await.unwrap(), "a device is nobody");
    let person = NewToken { role: Role::Viewer, expires_at: Some(T0), ..token(project, "ci", b"secret") };
    store.create_token(&person).await.unwrap();
    assert!(store.knows_people().await.unwrap(), "expired");
    assert!(store.revoke_token(person.id, after(5)).await.unwrap());
    assert!(store.knows_people().await.unwrap(), "revoked");
}

pub(crate) async fn a_token_with_a_taken_secret_is_refused_in_words(store: Arc<dyn Store>) {
    let project = store.bootstrap(&seed("mara")).await.unwrap().project;
    store.create_token(&token(project, "ci", b"secret")).await.unwrap();
    let error = store.create_token(&token(project, "night", b"secret")).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert!(error.to_string().contains("token \"night\" cannot be stored"), "{error}");
    assert_eq!(store.tokens().await.unwrap().len(), 1);
}

async fn enrolment(store: &dyn Store) -> NewEnrolment {
    let first = store.bootstrap(&seed("mara")).await.unwrap();
    let enrolment = NewEnrolment {
        id: fresh!(EnrolmentId),
        project: first.project,
        created_by: first.principal,
        hash: Digest::of(b"one time"),
        created_at: T0,
        expires_at: after(600),
    };
    store.create_enrolment(&enrolment).await.unwrap();
    enrolment
}

pub(crate) async fn of_a_hundred_enrolments_exactly_one_succeeds(store: Arc<dyn Store>) {
    let enrolment = enrolment(&*store).await;
    let tokens: Vec<_> =
        (0..100).map(|n: u32| token(enrolment.project, &format!("device {n}"), &n.to_be_bytes())).collect();
    let tries = tokens.iter().map(|token| store.use_enrolment(&enrolment.hash, token, after(1)));
    let won: Vec<bool> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(won.iter().filter(|&&won| won).count(), 1);

    let winner = &tokens[won.iter().position(|&won| won).unwrap()];
    assert_eq!(store.tokens().await.unwrap().iter().map(|token| token.id).collect::<Vec<_>>(), [winner.id]);
}

pub(crate) async fn an_enrolment_that_has_expired_lets_nobody_in(store: Arc<dyn Store>) {
    let enrolment = enrolment(&*store).await;
    let late = token(enrolment.project, "late", b"late");
    assert!(!store.use_enrolment(&enrolment.hash, &late, after(600)).await.unwrap());
    assert!(!store.use_enrolment(&Digest::of(b"guess"), &late, after(1)).await.unwrap());
    assert!(store.tokens().await.unwrap().is_empty());
}

pub(crate) async fn a_token_belongs_to_the_device_that_came_first(store: Arc<dyn Store>) {
    let project = store.bootstrap(&seed("mara")).await.unwrap().project;
    let token = token(project, "phone", b"secret");
    store.create_token(&token).await.unwrap();
    let (first, second) = (fresh!(DeviceId), fresh!(DeviceId));
    assert!(store.bind_token(token.id, first).await.unwrap());
    assert!(store.bind_token(token.id, first).await.unwrap());
    assert!(!store.bind_token(token.id, second).await.unwrap());
    assert_eq!(store.tokens().await.unwrap()[0].device, Some(first));
}

pub(crate) async fn the_audit_log_gives_back_what_was_written_newest_first(store: Arc<dyn Store>) {
    let first = store.bootstrap(&seed("mara")).await.unwrap();
    let entry = |object: &str, allowed| AuditRow {
        id: fresh!(AuditId),
        at: after(3),
        principal: first.principal,
        project: first.project,
        action: "PUT /artifacts/{digest}".to_owned(),
        object: object.to_owned(),
        allowed,
        before: None,
        after: Some(Digest::of(object.as_bytes())),
    };
    let (old, new) = (entry("型号", true), entry("b", false));
    store.append_audit(&[old.clone(), new.clone()]).await.unwrap();
    let [old, new] = [old, new].map(|row| AuditEntry { row, by: Some("mara".to_owned()) });
    let read = async |before, limit| store.audit(first.project, before, limit).await.unwrap();
    assert_eq!(read(None, 10).await, [new.clone(), old.clone()]);
    assert_eq!(read(None, 1).await, std::slice::from_ref(&new));
    assert_eq!(read(Some(new.row.id), 10).await, std::slice::from_ref(&old), "the page after it");
    assert_eq!(read(Some(old.row.id), 10).await, []);
    assert_eq!(store.audit(fresh!(ProjectId), None, 10).await.unwrap(), [], "of another project");

    let stranger = AuditRow { principal: fresh!(PrincipalId), ..entry("zero\0character", true) };
    store.append_audit(&[stranger]).await.unwrap();
    let newest = &read(None, 1).await[0];
    assert_eq!((newest.row.object.as_str(), &newest.by), ("zero\u{fffd}character", &None));
}

pub(crate) async fn a_reconcilers_lease_has_one_holder_until_it_ends(store: Arc<dyn Store>) {
    let holders: Vec<String> = (0..20).map(|n| format!("replica {n}")).collect();
    let tries = holders.iter().map(|holder| store.take_lease("gc", holder, T0, after(10)));
    let won: Vec<bool> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(won.iter().filter(|&&won| won).count(), 1);

    let holder = &holders[won.iter().position(|&won| won).unwrap()];
    assert!(store.take_lease("gc", holder, after(5), after(15)).await.unwrap(), "the holder renews");
    assert!(!store.take_lease("gc", "another", after(14), after(30)).await.unwrap());
    assert!(store.take_lease("gc", "another", after(15), after(30)).await.unwrap(), "it has ended");
    assert!(store.take_lease("retry", holder, T0, after(10)).await.unwrap(), "names are apart");
}
