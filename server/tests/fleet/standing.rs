//! Devices that are taken out of service and come back.

use std::time::Duration;

use seatrial_core::device::DeviceState;
use seatrial_core::ids::DeviceId;
use seatrial_core::lab::standing::{FIRST_PROBATION, Standing};
use seatrial_core::store::ServiceRow;
use seatrial_server::tasks::{EndServices, Reconciler as _};
use seatrial_sim::{Answer, FakeAgent, Identity, Script, report};

use crate::lab::{Lab, device_of, eventually};

async fn service(lab: &Lab, device: DeviceId) -> ServiceRow {
    lab.store.device_service(device).await.unwrap()
}

/// A device whose agent died with two jobs, which is one too many.
async fn quarantined() -> (Lab, Identity, DeviceId) {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let first = lab.connect(&identity).await;
    let device = device_of(&first);
    drop(first);
    let agent = FakeAgent::start(&lab.address, identity.clone(), Script { answer: Answer::Die, ..Script::default() });
    lab.submit(&[device, device]).await;
    eventually("the device is quarantined", async || {
        let row = service(&lab, device).await;
        matches!(row.service.standing, Standing::Quarantined { .. }).then_some(())
    })
    .await;
    drop(agent);
    (lab, identity, device)
}

#[tokio::test]
async fn a_quarantine_ends_by_itself_and_a_job_that_ends_well_ends_the_probation_after_it() {
    let (mut lab, identity, device) = quarantined().await;
    lab.end_reconcilers();
    let end = EndServices::new(lab.fleet.clone(), lab.store.clone(), lab.clock.clone());
    assert_eq!(end.reconcile().await.unwrap(), "", "the control: its time has not come");
    assert_eq!(lab.store.device(device).await.unwrap().unwrap().state, DeviceState::Quarantined);
    let mut agent = lab.connect(&identity).await;
    lab.submit(&[device]).await;
    let early = tokio::time::timeout(Duration::from_millis(300), agent.assignment()).await;
    assert!(early.is_err(), "the control: it gets no job meanwhile");

    lab.pass(FIRST_PROBATION + Duration::from_secs(1)).await;
    drop(agent); // the server has heard nothing for minutes
    assert_eq!(end.reconcile().await.unwrap(), "1 devices looked at");
    let row = service(&lab, device).await;
    assert!(row.service.is_on_probation(), "{row:?}");
    assert_eq!(row.by, None);
    let mut agent = lab.connect(&identity).await;
    lab.submit(&[device]).await; // the other has waited as long as its run allows
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(100)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    eventually("it is trusted again", async || (!service(&lab, device).await.service.is_on_probation()).then_some(()))
        .await;
    let log = lab.store.device_transitions(device, 10).await.unwrap();
    let said: Vec<&str> = log.iter().rev().map(|row| row.reason.as_str()).collect();
    assert_eq!(
        said,
        [
            "its agent has attached",
            "lost 2 jobs in a row",
            "its quarantine has ended: it is on probation until it works well",
            "it works well: its probation has ended",
        ]
    );
}

#[tokio::test]
async fn a_decision_that_is_told_late_undoes_none_that_came_after_it() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let device = device_of(&agent);
    let out = |revision, reason: &str| {
        let standing = Standing::Maintenance { reason: reason.to_owned() };
        let mut row = ServiceRow { revision, ..ServiceRow::untouched(device) };
        row.service.standing = standing;
        row
    };
    lab.fleet.decided(out(3, "fan")).await.unwrap();
    lab.fleet.decided(ServiceRow { revision: 2, ..ServiceRow::untouched(device) }).await.unwrap();
    lab.submit(&[device]).await;
    let early = tokio::time::timeout(Duration::from_millis(300), agent.assignment()).await;
    assert!(early.is_err(), "the second decision came late");
    lab.fleet.decided(ServiceRow { revision: 4, ..ServiceRow::untouched(device) }).await.unwrap();
    agent.assignment().await.unwrap();
}
