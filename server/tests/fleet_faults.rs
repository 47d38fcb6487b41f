//! The server dies between two steps of its own: `cargo test -p seatrial-server --features faults --test fleet_faults`.
#![cfg_attr(feature = "faults", expect(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]
#![cfg(feature = "faults")]

#[expect(dead_code, reason = "other tests use the rest of the lab")]
#[path = "fleet/lab.rs"]
mod lab;

use seatrial_core::job::{AttemptRef, JobState};
use seatrial_core::outcome::Outcome;
use seatrial_sim::connection::held;
use seatrial_sim::{Connection, Identity, report};

use lab::{Lab, device_of, eventually};

/// Fault points are global: one test at a time.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A result that was stored, or is about to be, when the server dies: the agent brings it again, it is stored once.
async fn dies_while_storing(point: &str, is_stored: bool) {
    let _guard = ONE_AT_A_TIME.lock().await;
    let mut lab = Lab::new().await;
    let identity = Identity::named("a");
    let mut agent = lab.connect(&identity).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    fail::cfg(point, "pause").unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    if is_stored {
        eventually("the result is in the database", async || {
            matches!(lab.job(jobs[0]).await.state, JobState::Done { .. }).then_some(())
        })
        .await;
    } else {
        agent.hear().await.unwrap(); // received
        assert_eq!(lab.job(jobs[0]).await.state, JobState::Leased { attempt: 1 });
    }
    lab.restart().await;
    fail::remove(point);
    let mut hello = identity.hello().unwrap();
    hello.held = vec![held(attempt, true)];
    let mut agent = Connection::open_with(lab.dial().await, &identity, hello).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::Ok)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_result_whose_acknowledgement_was_lost_is_a_duplicate() {
    dies_while_storing("complete-after", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_result_that_was_received_and_not_stored_comes_again() {
    dies_while_storing("complete-before", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_dies_before_it_says_durable_is_told_again_and_keeps_one_result() {
    dies_while_storing("durable-before", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_whose_assignment_was_never_sent_is_given_out_again() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let mut lab = Lab::new().await;
    let identity = Identity::named("a");
    let agent = lab.connect(&identity).await;
    fail::cfg("claim-after", "pause").unwrap();
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    eventually("the claim is in the database", async || {
        (lab.job(jobs[0]).await.state == JobState::Leased { attempt: 1 }).then_some(())
    })
    .await;
    lab.restart().await;
    fail::remove("claim-after");
    let mut agent = lab.connect(&identity).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    assert_eq!(attempt, AttemptRef { job: jobs[0], attempt: 2 });
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::Ok);
}
