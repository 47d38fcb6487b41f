//! The store fails the server in chosen calls: nothing is lost, nothing is done twice, nothing is acknowledged early.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fleet/failing.rs"]
mod failing;
#[expect(dead_code, reason = "other tests use the rest of the lab")]
#[path = "fleet/lab.rs"]
mod lab;

use std::sync::Arc;
use std::time::Duration;

use seatrial_core::job::{AttemptRef, JobState};
use seatrial_core::model::Signature;
use seatrial_core::outcome::Outcome;
use seatrial_core::stage::Stage;
use seatrial_core::store::RunState;
use seatrial_proto::v1::server_message::Message as Word;
use seatrial_server::http::{NotReady, Readiness, Reporting};
use seatrial_server::metrics::Metrics;
use seatrial_server::net::Stop;
use seatrial_server::tasks::{FinishRuns, Reconciler as _};
use seatrial_sim::connection::held;
use seatrial_sim::{Connection, FakeAgent, Identity, Script, report};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as _;
use tonic_health::server::{HealthReporter, HealthService};

use failing::{Failing, Fails, Says};
use lab::{Lab, device_of, eventually};

/// Long enough for an acknowledgement that is going to come, and for a store that is tried again a few times.
const A_WHILE: Duration = Duration::from_millis(500);

async fn lab() -> (Lab, Arc<Failing>) {
    let mut failing = None;
    let lab = Lab::around(|store| failing.insert(Failing::around(store)).clone()).await;
    (lab, failing.unwrap())
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_costs_nothing_but_time() {
    let (lab, store) = lab().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    for verb in ["claim", "enter_stage", "complete", "finish_run"] {
        store.plan(verb, Fails::Before(Says::Unavailable), 3);
    }
    let (run, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.enter(attempt, Stage::Measure).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::Ok)]);
    assert_eq!((store.calls("claim"), store.calls("complete")), (4, 4), "the control: each failed three times");
    eventually("the run ends", async || {
        lab.fleet.submitted(run, vec![]).await.unwrap(); // a round that failed waits for the next signal
        (lab.store.run(run).await.unwrap().unwrap().state == RunState::Done).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_error_that_does_not_pass_ends_the_job_as_our_fault_and_is_not_tried_again() {
    let (lab, store) = lab().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    store.plan("complete", Fails::Before(Says::Corrupt), 1);
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert!(agent.verdict(attempt).await.unwrap().is_err(), "what is not stored is not acknowledged");
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::HarnessError);
    assert_eq!(store.calls("complete"), 1);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_recognised_as_ours() {
    let (lab, store) = lab().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    store.plan("claim", Fails::After(Says::Unavailable), 1);
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    assert_eq!(attempt, AttemptRef { job: jobs[0], attempt: 1 }, "and not given out a second time");
    assert_eq!(store.calls("claim"), 2, "the control: the second claim of it came second");
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::Ok)]);
}

#[tokio::test]
async fn a_claim_that_is_recognised_and_whose_specification_cannot_be_read_ends_its_job_and_blocks_nothing() {
    let (lab, store) = lab().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    store.plan("claim", Fails::After(Says::Unavailable), 1);
    store.plan("job_spec", Fails::Before(Says::Corrupt), 1);
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    eventually("the job ends", async || matches!(lab.job(jobs[0]).await.state, JobState::Done { .. }).then_some(()))
        .await;
    assert_eq!(store.calls("job_spec"), 1, "the control: that is where it failed");
    let (_, next) = lab.submit(&[device_of(&agent)]).await;
    assert_eq!(agent.assignment().await.unwrap().0.job, next[0]);
}

/// A report that arrives while results cannot be stored; the agent is killed, comes back and sends it again.
async fn sent_again_after(fails: Fails, is_stored: bool) {
    let (lab, store) = lab().await;
    let identity = Identity::named("a");
    let mut agent = lab.connect(&identity).await;
    let (run, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    store.plan("complete", fails, 1000);
    agent.report(attempt, &report::ok(10)).await.unwrap();
    while !matches!(agent.hear().await.unwrap(), Word::Received(_)) {}
    let early = tokio::time::timeout(A_WHILE, agent.verdict(attempt)).await;
    assert!(early.is_err(), "{early:?} before it was durable");
    assert_eq!(matches!(lab.job(jobs[0]).await.state, JobState::Done { .. }), is_stored);
    drop(agent);

    let mut hello = identity.hello().unwrap();
    hello.held = vec![held(attempt, true)];
    let mut agent = Connection::open_with(lab.dial().await, &identity, hello).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    store.heal();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::Ok)]);
    assert_eq!(lab.store.blocks(attempt).await.unwrap().len(), 2, "samples are there once");
    assert_eq!(lab.run_state(run).await, RunState::Done);
    assert_eq!(lab.fleet.finished().values().sum::<u64>(), u64::from(!is_stored), "counted once at most");
}

#[tokio::test]
async fn a_result_that_finds_no_room_is_not_acknowledged_and_comes_again() {
    sent_again_after(Fails::Before(Says::Full), false).await;
}

#[tokio::test]
async fn a_result_whose_commit_was_not_confirmed_is_not_acknowledged_and_is_stored_once() {
    sent_again_after(Fails::After(Says::Unavailable), true).await;
}

#[tokio::test]
async fn an_agent_that_comes_while_the_store_is_away_is_told_so_and_comes_back() {
    let (lab, store) = lab().await;
    store.plan("attach_device", Fails::Before(Says::Unavailable), 2);
    let agent = FakeAgent::start(&lab.address, Identity::named("a"), Script::default());
    let live = || seatrial_core::live::Live::devices(&lab.fleet);
    let device = eventually("it is connected", async || live().first().map(|live| live.device)).await;
    assert_eq!(store.calls("attach_device"), 3, "two that failed, one that made the device under the id it keeps");
    let (_, jobs) = lab.submit(&[device]).await;
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::Ok);
    drop(agent);
}

#[tokio::test]
async fn a_job_is_given_up_once_although_the_store_is_away_meanwhile() {
    let (lab, store) = lab().await;
    let agent = lab.connect(&Identity::named("a")).await;
    let device = device_of(&agent);
    drop(agent);
    let live = || seatrial_core::live::Live::devices(&lab.fleet);
    eventually("it has left", async || live().is_empty().then_some(())).await;
    let (run, jobs) = lab.submit(&[device]).await;
    // It waits from when the actor has it, by the clock of that moment.
    eventually("the fleet has the job", async || (lab.fleet.counts().queued == 1).then_some(())).await;
    store.plan("give_up", Fails::Before(Says::Unavailable), 1);
    store.plan("give_up", Fails::After(Says::Unavailable), 1);
    lab.pass(Duration::from_mins(9)).await;
    assert_eq!(lab.job(jobs[0]).await.state, JobState::Queued, "the control: its run waits ten minutes");
    lab.pass(Duration::from_mins(1)).await;
    eventually("it is given up", async || (store.calls("give_up") == 3).then_some(())).await;
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::DeviceLost);
    let message = lab.job(jobs[0]).await.message.unwrap();
    assert_eq!(message, "the device took no work for 10 min: it is not connected");
    assert_eq!(lab.run_state(run).await, RunState::Done);
    assert_eq!(lab.attempts(jobs[0]).await, [], "it was never tried");
}

#[tokio::test]
async fn the_health_service_says_while_the_store_does_not_answer_and_again_when_it_does() {
    let (lab, store) = lab().await;
    let stop = Stop::default();
    let readiness =
        Readiness { store: store.clone(), clock: lab.clock.clone(), metrics: Metrics::new(), stop: stop.clone() };
    let reporter = HealthReporter::new();
    let health = HealthService::from_health_reporter(reporter.clone());
    let says = async |expected: ServingStatus| {
        eventually("health says it", async || {
            for service in ["", "agents"] {
                let request = HealthCheckRequest { service: service.to_owned() };
                let said = health.check(tonic::Request::new(request)).await.unwrap().into_inner().status();
                if said != expected {
                    return None;
                }
            }
            Some(())
        })
        .await;
    };
    let mut reporting = Reporting::new(readiness.clone(), reporter, &["agents"]);
    reporting.look().await;
    let keeping = tokio::spawn(reporting.keep(Duration::from_millis(5)));
    says(ServingStatus::Serving).await;
    store.plan("ping", Fails::Before(Says::Unavailable), 1_000_000);
    says(ServingStatus::NotServing).await;
    assert_eq!(readiness.judge().await, Err(NotReady::NoStore), "as /readyz");
    store.heal();
    says(ServingStatus::Serving).await;
    stop.draining.cancel();
    says(ServingStatus::NotServing).await;
    assert_eq!(readiness.judge().await, Err(NotReady::Draining));
    stop.soft.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn a_cancellation_that_the_store_refuses_is_refused_to_everybody_and_what_waits_goes_on() {
    let (lab, store) = lab().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let device = device_of(&agent);
    let (run, jobs) = lab.submit(&[device, device]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    store.plan("cancel_run", Fails::Before(Says::Corrupt), 2);
    let (first, second) = tokio::join!(lab.fleet.cancel(run), lab.fleet.cancel(run));
    assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
    agent.report(attempt, &report::ended(Outcome::Cancelled)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    let (next, _) = agent.assignment().await.unwrap();
    assert_ne!(next.job, attempt.job, "the other job does not wait for ever");
    assert_eq!(store.calls("cancel_run"), 2, "the control: that is what failed");
    agent.accept(next).await.unwrap();
    assert_eq!(lab.fleet.cancel(run).await.unwrap(), 1);
    agent.report(next, &report::ended(Outcome::Cancelled)).await.unwrap();
    assert_eq!(agent.verdict(next).await.unwrap(), Ok(()));
    lab.run_state(run).await;
    for job in jobs {
        assert_eq!(lab.outcome(job).await, Outcome::Cancelled);
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_ended_keeps_no_other_from_its_end() {
    let (mut lab, store) = lab().await;
    lab.end_reconcilers();
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = lab.new_run(&[], &Signature::default());
        lab.store.create_run(&run).await.unwrap();
        runs.push(run.id);
    }
    store.plan("finish_run", Fails::Before(Says::Corrupt), 1);
    let reconciler = FinishRuns::new(lab.fleet.clone(), lab.store.clone(), lab.clock.clone());
    let error = reconciler.reconcile().await.unwrap_err().to_string();
    assert!(error.starts_with("2 runs ended, 1 could not, the first of them run "), "{error}");
    let mut open = 0;
    for run in runs {
        open += u32::from(lab.store.run(run).await.unwrap().unwrap().state == RunState::Running);
    }
    assert_eq!((open, store.calls("finish_run")), (1, 3));
}
