//! Results: stored once, from the holder only, and given back as they came.

use std::sync::Arc;

use futures::future::join_all;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use seatrial_core::ids::{DeviceId, JobId};
use seatrial_core::job::{AttemptRef, JobState};
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::outcome::{Outcome, Verdict};
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::report::Report;
use seatrial_core::stage::Stage;
use seatrial_core::store::{Accepted, GiveBack, JobNext, Store};

use crate::world::*;

pub(crate) async fn a_result_comes_back_as_it_was_sent(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    let sent = world.completion(world.claim(jobs[0], 1).await, Outcome::CrashSignal(11));
    assert_eq!(store.complete(&sent).await.unwrap(), Accepted::Stored);

    let mut report: Report = serde_json::from_str(&store.report(sent.attempt).await.unwrap().unwrap()).unwrap();
    report.blocks = store.blocks(sent.attempt).await.unwrap();
    assert_eq!(report, sent.report);
    assert_eq!(store.metrics(sent.attempt).await.unwrap(), sent.metrics);

    let attempts = store.attempts(jobs[0]).await.unwrap();
    let attempt = &attempts[0];
    assert_eq!(
        (attempts.len(), attempt.outcome, attempt.failed_stage),
        (1, Some(sent.report.outcome), Some(Stage::Measure))
    );
    assert_eq!((attempt.ended_at, &attempt.stages), (Some(after(60)), &sent.report.stages));
    let job = store.job(jobs[0]).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Done { outcome: Outcome::CrashSignal(11) });
    assert_eq!(
        (job.outcome, job.stage, job.finished_at),
        (Some(Outcome::CrashSignal(11)), Some(Stage::Measure), Some(after(60)))
    );
    assert_eq!(job.message.as_deref(), Some("a line with a zero\u{fffd}in it"));

    let nothing = AttemptRef { attempt: 2, ..sent.attempt };
    assert_eq!(store.report(nothing).await.unwrap(), None);
    assert_eq!(store.blocks(nothing).await.unwrap(), []);
    assert_eq!(store.metrics(nothing).await.unwrap(), []);
}

pub(crate) async fn a_result_that_comes_twice_is_a_duplicate(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(2).await;
    let first = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    assert_eq!(store.complete(&first).await.unwrap(), Accepted::Stored);
    let mut other = first.clone();
    other.report = report(Outcome::HangTimeout);
    other.next = JobNext::Queued;
    assert_eq!(store.complete(&other).await.unwrap(), Accepted::Duplicate);
    assert_eq!(store.job(jobs[0]).await.unwrap().unwrap().state, JobState::Done { outcome: Outcome::Ok });

    let mut retried = world.completion(world.claim(jobs[1], 1).await, Outcome::CrashSignal(6));
    retried.next = JobNext::Queued;
    assert_eq!(store.complete(&retried).await.unwrap(), Accepted::Stored);
    world.claim(jobs[1], 2).await;
    assert_eq!(store.complete(&retried).await.unwrap(), Accepted::Duplicate, "also when the job has gone on");
}

pub(crate) async fn of_a_hundred_equal_results_exactly_one_is_stored(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (_, jobs) = world.run_of(1).await;
    let result = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    let answers = join_all((0..100).map(|_| world.store.complete(&result))).await;
    let answers: Vec<Accepted> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|&&answer| answer == Accepted::Stored).count(), 1);
    assert_eq!(answers.iter().filter(|&&answer| answer == Accepted::Duplicate).count(), 99);
    assert_eq!(world.store.metrics(result.attempt).await.unwrap().len(), 3);
}

pub(crate) async fn a_result_of_an_ended_lease_is_stale_and_changes_nothing(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    let late = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    let lost = GiveBack {
        outcome: Outcome::DeviceLost,
        message: "no sign of life for 15 s".to_owned(),
        failure: None,
        death: None,
        quarantine: None,
        next: JobNext::Queued,
        verdict: Verdict::Retry,
        agent_death: false,
        now: after(20),
    };
    assert!(store.give_back(late.attempt, &lost).await.unwrap());
    assert_eq!(store.complete(&late).await.unwrap(), Accepted::Stale, "while nobody holds the job");
    let second = world.claim(jobs[0], 2).await;
    assert_eq!(store.complete(&late).await.unwrap(), Accepted::Stale, "while somebody else holds it");
    assert_eq!(store.report(late.attempt).await.unwrap(), None);
    assert_eq!(store.job(jobs[0]).await.unwrap().unwrap().state, JobState::Leased { attempt: 2 });

    assert_eq!(store.complete(&world.completion(second, Outcome::Ok)).await.unwrap(), Accepted::Stored);
    let outcomes: Vec<_> = store.attempts(jobs[0]).await.unwrap().iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::DeviceLost), Some(Outcome::Ok)]);
}

pub(crate) async fn a_result_from_another_device_is_stale(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    let mut forged = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    forged.device =
        store.attach_device(fresh!(DeviceId), &agent_id("liar"), &profile("OPPO", "A5"), "0", T0).await.unwrap().id;
    assert_eq!(store.complete(&forged).await.unwrap(), Accepted::Stale);
    forged.device = world.device.id;
    assert_eq!(store.complete(&forged).await.unwrap(), Accepted::Stored);
}

pub(crate) async fn a_result_of_a_job_that_does_not_exist_is_unknown(store: Arc<dyn Store>) {
    let world = world(store).await;
    let nobody = AttemptRef { job: fresh!(JobId), attempt: 1 };
    assert_eq!(world.store.complete(&world.completion(nobody, Outcome::Ok)).await.unwrap(), Accepted::Unknown);
}

pub(crate) async fn a_job_that_is_given_back_counts_why(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    let outcomes = [Outcome::DeviceLost, Outcome::TransferCorrupt, Outcome::OomKilled, Outcome::StorageFull];
    for (attempt, outcome) in (1..).zip(outcomes) {
        let held = world.claim(jobs[0], attempt).await;
        let back = GiveBack {
            outcome,
            message: "x".to_owned(),
            failure: None,
            death: None,
            quarantine: None,
            next: JobNext::Queued,
            verdict: outcome.verdict(0),
            agent_death: false,
            now: after(9),
        };
        assert!(store.give_back(held, &back).await.unwrap());
    }
    let open = &store.open_jobs().await.unwrap()[0];
    assert_eq!((open.attempt, open.infrastructure_failures, open.crashes, open.agent_deaths), (4, 2, 1, 0));
    let job = store.job(jobs[0]).await.unwrap().unwrap();
    assert_eq!((job.state, job.outcome, job.finished_at), (JobState::Queued, Some(Outcome::StorageFull), None));
}

pub(crate) async fn a_job_that_costs_agents_their_lives_is_quarantined(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    for (attempt, next) in [(1, JobNext::Queued), (2, JobNext::Quarantined)] {
        let held = world.claim(jobs[0], attempt).await;
        let death = GiveBack {
            outcome: Outcome::AgentKilled,
            message: "gone".to_owned(),
            failure: None,
            death: None,
            quarantine: None,
            next,
            verdict: Verdict::Retry,
            agent_death: true,
            now: after(9),
        };
        assert!(store.give_back(held, &death).await.unwrap());
    }
    let job = store.job(jobs[0]).await.unwrap().unwrap();
    assert_eq!((job.state, job.outcome), (JobState::Quarantined, Some(Outcome::AgentKilled)));
    assert_eq!(store.claim(&[world.claim_of(jobs[0], 3)]).await.unwrap(), [None]);
    assert_eq!(store.open_jobs().await.unwrap(), []);
}

pub(crate) async fn only_the_holder_gives_a_job_back(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (_, jobs) = world.run_of(1).await;
    let held = world.claim(jobs[0], 1).await;
    let back = GiveBack {
        outcome: Outcome::DeviceLost,
        message: "x".to_owned(),
        failure: None,
        death: None,
        quarantine: None,
        next: JobNext::Queued,
        verdict: Verdict::Retry,
        agent_death: false,
        now: T0,
    };
    assert!(!world.store.give_back(AttemptRef { attempt: 2, ..held }, &back).await.unwrap());
    let tries = join_all((0..20).map(|_| world.store.give_back(held, &back))).await;
    assert_eq!(tries.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(world.store.open_jobs().await.unwrap()[0].infrastructure_failures, 1);
}

/// Metrics travel as decimal text inside JSON; nothing may be lost on the way.
pub(crate) async fn numbers_survive_to_the_last_bit(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (_, jobs) = world.run_of(1).await;
    let mut result = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    let mut random = TestRunner::deterministic();
    let strategy = any::<f64>().prop_filter("finite", |value| value.is_finite());
    let odd = [
        0.0,
        -0.0,
        0.1 + 0.2,
        1.0 / 3.0,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        5e-324,
        9_007_199_254_740_993.0,
        1e23,
        347.0 / 360.0,
    ];
    let any_value: Vec<f64> = (0..4000).map(|_| strategy.new_tree(&mut random).unwrap().current()).collect();
    // What is really measured lies near 1.
    let near_one = any_value.iter().map(|value| 1.0 + value.to_bits() as f64 / u64::MAX as f64);
    let values: Vec<f64> = odd.into_iter().chain(near_one).chain(any_value.iter().copied()).collect();
    let metric = |value: &f64| {
        Metric::new("lat_p50_ms", Reading::Present(Estimate { value: *value, interval: Some((*value, -value)) }))
    };
    result.metrics = values.iter().map(metric).collect();
    world.store.complete(&result).await.unwrap();
    let back = world.store.metrics(result.attempt).await.unwrap();
    assert_eq!(back.len(), result.metrics.len());
    for (sent, back) in result.metrics.iter().zip(&back) {
        assert_eq!(sent, back);
    }
}

pub(crate) async fn a_value_that_is_no_number_is_absent_with_its_reason(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (_, jobs) = world.run_of(1).await;
    let mut result = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    result.metrics = vec![Metric::exact("lat_rcv", f64::NAN), Metric::exact("golden_sqnr_db", f64::INFINITY)];
    world.store.complete(&result).await.unwrap();
    let expected = [
        Metric::absent("lat_rcv", "the derived value is NaN"),
        Metric::absent("golden_sqnr_db", "the derived value is inf"),
    ];
    assert_eq!(world.store.metrics(result.attempt).await.unwrap(), expected);
}

pub(crate) async fn interference_makes_a_row_invalid_and_keeps_it(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (_, jobs) = world.run_of(1).await;
    let mut result = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    result.invalid = vec![Reason::new(Code::NoEvidence, &[]).of_process(1), "clock drop".into()];
    world.store.complete(&result).await.unwrap();
    assert_eq!(world.store.job(jobs[0]).await.unwrap().unwrap().invalid, result.invalid);
    assert_eq!(world.store.attempts(jobs[0]).await.unwrap()[0].invalid, result.invalid);
    assert_eq!(world.store.metrics(result.attempt).await.unwrap(), result.metrics);
}

pub(crate) async fn metrics_of_a_run_are_those_of_the_last_attempts(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (run, jobs) = world.run_of(2).await;
    let mut first = world.completion(world.claim(jobs[0], 1).await, Outcome::CrashSignal(11));
    first.metrics = vec![Metric::exact("lat_p50_ms", 1.0)];
    first.next = JobNext::Queued;
    store.complete(&first).await.unwrap();
    for (&job, attempt) in jobs.iter().zip([2, 1]) {
        let mut result = world.completion(world.claim(job, attempt).await, Outcome::Ok);
        result.metrics = vec![Metric::exact("lat_p50_ms", 2.0), Metric::exact("lat_p90_ms", 3.0)];
        store.complete(&result).await.unwrap();
    }
    let metrics = store.run_metrics(run).await.unwrap();
    let values: Vec<_> = metrics.iter().map(|(job, metric)| (*job, metric.value.present().unwrap().value)).collect();
    assert_eq!(values, [(jobs[0], 2.0), (jobs[0], 3.0), (jobs[1], 2.0), (jobs[1], 3.0)]);
    let p90 = store.run_metrics_named(run, &["lat_p90_ms", "top1"]).await.unwrap();
    assert_eq!(p90, [metrics[1].clone(), metrics[3].clone()]);
    assert_eq!(store.run_metrics_named(run, &["lat_p50_ms", "lat_p90_ms"]).await.unwrap(), metrics);
    assert_eq!(store.run_metrics_named(run, &[]).await.unwrap(), []);
}

pub(crate) async fn an_attempt_that_is_judged_worse_than_it_says_shows_the_judgement_and_why(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    let why = "output logits: cosine similarity 0.8000, limit 0.9900";
    let mut judged = world.completion(world.claim(jobs[0], 1).await, Outcome::Ok);
    (judged.outcome, judged.next) = (Outcome::NumericsFail, JobNext::Done(Outcome::NumericsFail));
    (judged.message, judged.failed_stage) = (Some(why.to_owned()), Some(Stage::Accuracy));
    assert_eq!(store.complete(&judged).await.unwrap(), Accepted::Stored);

    let attempts = store.attempts(jobs[0]).await.unwrap();
    let attempt = &attempts[0];
    assert_eq!(
        (attempt.outcome, attempt.failed_stage, attempt.message.as_deref()),
        (Some(Outcome::NumericsFail), Some(Stage::Accuracy), Some(why))
    );
    let job = store.job(jobs[0]).await.unwrap().unwrap();
    assert_eq!(
        (job.outcome, job.stage, job.message.as_deref()),
        (Some(Outcome::NumericsFail), Some(Stage::Accuracy), Some(why))
    );
    let report: Report = serde_json::from_str(&store.report(judged.attempt).await.unwrap().unwrap()).unwrap();
    assert_eq!(report.outcome, Outcome::Ok, "the evidence is kept as it came");
}
