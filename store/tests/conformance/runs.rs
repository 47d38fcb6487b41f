//! Runs, and jobs up to their result.

use std::sync::Arc;

use futures::future::join_all;
use seatrial_core::device::DeviceState;
use seatrial_core::ids::{DeviceId, JobId, ProjectId, RunId, SubmissionId, VariantId};
use seatrial_core::job::{AttemptRef, JobState};
use seatrial_core::outcome::Outcome;
use seatrial_core::reason::{Code, Reason};
use seatrial_core::stage::Stage;
use seatrial_core::store::{GiveBack, JobNext, NewMisfit, NewRun, Part, RunCounts, RunState, Store, StoreError};

use crate::world::*;

fn given_back(outcome: Outcome, next: JobNext) -> GiveBack {
    GiveBack {
        outcome,
        message: "the lease ended".to_owned(),
        failure: None,
        death: None,
        quarantine: None,
        next,
        verdict: outcome.verdict(0),
        agent_death: false,
        now: after(30),
    }
}

pub(crate) async fn a_run_is_stored_whole_or_not_at_all(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let mut run = world.run(vec![world.job(), world.job()]);
    run.misfits = vec![NewMisfit {
        model: "mobilenet".to_owned(),
        variant: "int8".to_owned(),
        dataset: None,
        backend: "litert gpu ×1".to_owned(),
        profile: "quick".to_owned(),
        device: Some(world.device.id),
        reason: Reason::new(Code::RuntimeNotOffered, &[("runtime", &"litert"), ("offered", &"tract")]),
    }];
    run.rerun_of = Some(fresh!(JobId));
    assert_eq!(store.create_run(&run).await.unwrap(), 1);

    let row = store.run(run.id).await.unwrap().unwrap();
    assert_eq!((row.number, row.state, row.suite.as_str()), (1, RunState::Running, "nightly"));
    assert_eq!(
        (row.suite_text.as_str(), row.rerun_of, row.created_by.as_str()),
        ("name = \"nightly\"", run.rerun_of, "mara")
    );
    assert_eq!(row.counts, RunCounts { queued: 2, misfits: 1, ..RunCounts::default() });
    assert_eq!(store.run_by_number(world.project, 1).await.unwrap(), Some(row));
    let misfits = store.misfits(run.id).await.unwrap();
    assert_eq!(
        (&misfits[0].reason, misfits[0].device_name.as_deref()),
        (&run.misfits[0].reason, Some("Xiaomi 15")),
        "with its code and arguments"
    );
    let jobs = store.jobs(run.id).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [run.jobs[0].id, run.jobs[1].id]);
    let job = &jobs[0];
    assert_eq!((job.state, job.attempt, job.outcome, job.stage), (JobState::Queued, 0, None, None));
    assert_eq!((job.model.as_str(), job.version, job.variant.as_str()), ("mobilenet", 1, "fp32"));
    assert_eq!(
        (job.dataset.as_deref(), job.backend.as_str(), job.profile.as_str()),
        (Some("digits"), "tract cpu ×2", "quick")
    );
    let spec: seatrial_core::job::JobSpec =
        serde_json::from_str(&store.job_spec(job.id).await.unwrap().unwrap()).unwrap();
    assert_eq!(spec, run.jobs[0].spec);

    let mut bad = world.run(vec![world.job(), world.job()]);
    bad.jobs[1].variant = fresh!(VariantId);
    let error = store.create_run(&bad).await.unwrap_err();
    assert!(error.to_string().contains("a variant that does not exist"), "{error}");
    assert_eq!(store.run(bad.id).await.unwrap(), None);
    assert_eq!(store.job(bad.jobs[0].id).await.unwrap(), None);

    let nowhere = NewRun { project: fresh!(ProjectId), ..world.run(Vec::new()) };
    assert!(matches!(store.create_run(&nowhere).await.unwrap_err(), StoreError::Conflict { .. }));
    assert_eq!(store.create_run(&world.run(Vec::new())).await.unwrap(), 2, "refused runs leave no gap");
}

pub(crate) async fn a_submission_has_one_run_however_often_it_is_stored(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let submission = fresh!(SubmissionId);
    let named = || NewRun { submission: Some(submission), ..world.run(vec![world.job()]) };
    assert_eq!(store.run_by_submission(world.project, submission).await.unwrap(), None);
    let runs = [named(), named(), named()];
    let answers = join_all(runs.iter().map(|run| store.create_run(run))).await;
    let refused = |answer: &&Result<i64, StoreError>| matches!(answer, Err(StoreError::Conflict { .. }));
    assert_eq!(answers.iter().filter(refused).count(), 2, "{answers:?}");
    let row = store.run_by_submission(world.project, submission).await.unwrap().unwrap();
    assert_eq!((row.number, row.counts.queued), (1, 1));
    assert_eq!(store.run_by_submission(fresh!(ProjectId), submission).await.unwrap(), None, "of another project");
    for _ in 0..2 {
        store.create_run(&world.run(Vec::new())).await.unwrap(); // runs without a name do not stand in each other's way
    }
}

pub(crate) async fn a_hundred_runs_at_once_are_numbered_without_gaps(store: Arc<dyn Store>) {
    let world = world(store).await;
    let runs: Vec<NewRun> = (0..100).map(|_| world.run(vec![world.job()])).collect();
    let mut numbers: Vec<i64> =
        join_all(runs.iter().map(|run| world.store.create_run(run))).await.into_iter().map(Result::unwrap).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=100).collect::<Vec<i64>>());
    assert_eq!(world.store.open_jobs().await.unwrap().len(), 100);
}

pub(crate) async fn one_bad_write_does_not_harm_its_neighbours(store: Arc<dyn Store>) {
    let world = world(store).await;
    let runs: Vec<NewRun> = (0..60)
        .map(|index| {
            let mut run = world.run(vec![world.job()]);
            if index % 20 == 7 {
                run.jobs[0].device = fresh!(DeviceId);
            }
            run
        })
        .collect();
    let answers = join_all(runs.iter().map(|run| world.store.create_run(run))).await;
    for (index, answer) in answers.iter().enumerate() {
        let stored = world.store.run(runs[index].id).await.unwrap().is_some();
        assert_eq!(answer.is_ok(), index % 20 != 7, "run {index}: {answer:?}");
        assert_eq!(stored, answer.is_ok(), "run {index}");
    }
}

pub(crate) async fn a_run_of_thousands_of_jobs_keeps_their_order(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (run, jobs) = world.run_of(3000).await;
    let stored: Vec<JobId> = world.store.jobs(run).await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(stored, jobs);
    let open: Vec<JobId> = world.store.open_jobs().await.unwrap().iter().map(|job| job.job).collect();
    assert_eq!(open, jobs);
    let claims: Vec<_> = jobs.iter().map(|&job| world.claim_of(job, 1)).collect();
    assert!(claimed(&*world.store, &claims).await.into_iter().all(|won| won));
}

pub(crate) async fn pages_of_runs_go_back_in_time(store: Arc<dyn Store>) {
    let world = world(store).await;
    for _ in 0..5 {
        world.run_of(1).await;
    }
    let numbers = async |before, limit| -> Vec<i64> {
        world.store.runs(world.project, before, limit).await.unwrap().iter().map(|run| run.number).collect()
    };
    assert_eq!(numbers(None, 2).await, [5, 4]);
    assert_eq!(numbers(Some(4), 2).await, [3, 2]);
    assert_eq!(numbers(Some(2), 10).await, [1]);
    assert_eq!(world.store.runs(fresh!(ProjectId), None, 10).await.unwrap(), []);
}

pub(crate) async fn counts_tell_every_way_in_which_a_job_can_stand(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (run, jobs) = world.run_of(9).await;
    let done = [Outcome::Ok, Outcome::Ok, Outcome::OkFallback, Outcome::CrashSignal(11), Outcome::Cancelled];
    for (&job, outcome) in jobs.iter().zip(done) {
        store.complete(&world.completion(world.claim(job, 1).await, outcome)).await.unwrap();
    }
    let mut noisy = world.completion(world.claim(jobs[5], 1).await, Outcome::Ok);
    noisy.invalid = vec!["foreign CPU 40 %".into()];
    store.complete(&noisy).await.unwrap();
    let quarantine = GiveBack { agent_death: true, ..given_back(Outcome::AgentKilled, JobNext::Quarantined) };
    store.give_back(world.claim(jobs[6], 1).await, &quarantine).await.unwrap();
    world.claim(jobs[7], 1).await;

    let counts = store.run(run).await.unwrap().unwrap().counts;
    let expected = RunCounts {
        queued: 1,
        leased: 1,
        ok: 3,
        fallback: 1,
        failed: 1,
        cancelled: 1,
        quarantined: 1,
        misfits: 0,
        invalid: 1,
    };
    assert_eq!(counts, expected);
    assert_eq!(counts.total(), 9);
}

pub(crate) async fn of_a_hundred_claims_exactly_one_succeeds(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (_, jobs) = world.run_of(1).await;
    let claim = [world.claim_of(jobs[0], 1)];
    let won = join_all((0..100).map(|_| world.store.claim(&claim))).await;
    assert_eq!(won.into_iter().filter(|won| won.as_deref().unwrap() != [None]).count(), 1);
    let attempts = world.store.attempts(jobs[0]).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].attempt, attempts[0].granted_at, attempts[0].lease_until), (1, after(1), after(16)));

    let (_, jobs) = world.run_of(1).await;
    let twice = [world.claim_of(jobs[0], 1), world.claim_of(jobs[0], 1)];
    assert_eq!(claimed(&*world.store, &twice).await, [true, false], "also within one call");
}

pub(crate) async fn a_job_can_be_done_again_from_its_origin(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let mut new = world.run(vec![world.job()]);
    new.max_wait = std::time::Duration::from_mins(7);
    store.create_run(&new).await.unwrap();
    let jobs = [new.jobs[0].id];
    let run = store.run(new.id).await.unwrap().unwrap();
    let origin = store.job_origin(jobs[0]).await.unwrap().unwrap();
    assert_eq!(Some(origin.spec), store.job_spec(jobs[0]).await.unwrap());
    assert_eq!((origin.suite, origin.suite_text, origin.max_wait), (run.suite, run.suite_text, new.max_wait));
    let device = store.device(world.device.id).await.unwrap().unwrap();
    assert_eq!(origin.device_state, device.state);
    assert!(store.set_device_state(device.id, device.state, DeviceState::Retired, "sold", after(1)).await.unwrap());
    assert_eq!(store.job_origin(jobs[0]).await.unwrap().unwrap().device_state, DeviceState::Retired);
    assert_eq!(store.job_origin(fresh!(JobId)).await.unwrap(), None);
}

pub(crate) async fn a_claim_names_the_next_attempt_and_the_jobs_own_device(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(2).await;
    let mut stranger = world.claim_of(jobs[0], 1);
    stranger.device =
        store.attach_device(fresh!(DeviceId), &agent_id("other"), &profile("OPPO", "A5"), "0", T0).await.unwrap().id;
    let claims = [world.claim_of(jobs[0], 2), stranger, world.claim_of(fresh!(JobId), 1), world.claim_of(jobs[1], 1)];
    let won = store.claim(&claims).await.unwrap();
    assert_eq!(won, [None, None, None, store.job_spec(jobs[1]).await.unwrap()]);
    assert_eq!(store.claim(&[]).await.unwrap(), Vec::<Option<String>>::new());
    assert_eq!(store.job(jobs[0]).await.unwrap().unwrap().state, JobState::Queued);
    let leased = store.job(jobs[1]).await.unwrap().unwrap();
    assert_eq!((leased.state, leased.started_at), (JobState::Leased { attempt: 1 }, Some(after(1))));
}

pub(crate) async fn entering_a_stage_moves_the_lease_of_the_holder_only(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    let first = world.claim(jobs[0], 1).await;
    assert!(store.enter_stage(first, Stage::Fetch, after(20)).await.unwrap());
    assert!(store.enter_stage(first, Stage::Load, after(40)).await.unwrap());
    assert_eq!(store.open_jobs().await.unwrap()[0].leased_until, Some(after(40)));
    assert_eq!(store.job(jobs[0]).await.unwrap().unwrap().stage, Some(Stage::Load));

    assert!(store.give_back(first, &given_back(Outcome::DeviceLost, JobNext::Queued)).await.unwrap());
    let second = world.claim(jobs[0], 2).await;
    assert!(!store.enter_stage(first, Stage::Measure, after(900)).await.unwrap(), "its lease has ended");
    assert!(store.enter_stage(second, Stage::Fetch, after(50)).await.unwrap());
    let leases: Vec<_> = store.attempts(jobs[0]).await.unwrap().iter().map(|attempt| attempt.lease_until).collect();
    assert_eq!(leases, [after(40), after(50)]);
    let nobody = AttemptRef { job: fresh!(JobId), attempt: 1 };
    assert!(!store.enter_stage(nobody, Stage::Fetch, after(20)).await.unwrap());
}

pub(crate) async fn a_cancelled_run_ends_what_waits_and_names_what_runs(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (run, jobs) = world.run_of(3).await;
    let (other, _) = world.run_of(1).await;
    let held = world.claim(jobs[1], 1).await;
    assert_eq!(store.cancel_run(run, after(5)).await.unwrap(), [(held, world.device.id)]);
    let states: Vec<_> = store.jobs(run).await.unwrap().iter().map(|job| job.state).collect();
    let cancelled = JobState::Done { outcome: Outcome::Cancelled };
    assert_eq!(states, [cancelled, JobState::Leased { attempt: 1 }, cancelled]);
    assert!(!store.finish_run(run, None, None, after(6)).await.unwrap(), "one attempt still runs");
    store.complete(&world.completion(held, Outcome::Cancelled)).await.unwrap();
    assert!(store.finish_run(run, None, None, after(7)).await.unwrap());
    assert_eq!(store.run(run).await.unwrap().unwrap().state, RunState::Cancelled);
    assert_eq!(store.cancel_run(run, after(8)).await.unwrap(), []);
    assert_eq!(store.run(other).await.unwrap().unwrap().counts.queued, 1, "other runs go on");
}

pub(crate) async fn a_job_of_a_cancelled_run_is_not_queued_again(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (run, jobs) = world.run_of(2).await;
    let (lost, retried) = (world.claim(jobs[0], 1).await, world.claim(jobs[1], 1).await);
    store.cancel_run(run, after(5)).await.unwrap();
    assert!(store.give_back(lost, &given_back(Outcome::DeviceLost, JobNext::Queued)).await.unwrap());
    let mut crash = world.completion(retried, Outcome::CrashSignal(11));
    crash.next = JobNext::Queued;
    store.complete(&crash).await.unwrap();
    for job in store.jobs(run).await.unwrap() {
        assert_eq!(job.state, JobState::Done { outcome: Outcome::Cancelled });
    }
    assert_eq!(store.open_jobs().await.unwrap(), []);
    assert_eq!(to_finish(&**store).await, [run]);
}

pub(crate) async fn a_run_finishes_once_and_only_when_no_job_is_open(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (run, jobs) = world.run_of(1).await;
    assert_eq!(to_finish(&**store).await, []);
    assert!(!store.finish_run(run, None, None, after(5)).await.unwrap());
    let attempt = world.claim(jobs[0], 1).await;
    assert!(!store.finish_run(run, None, None, after(5)).await.unwrap());
    store.complete(&world.completion(attempt, Outcome::Ok)).await.unwrap();
    assert_eq!(to_finish(&**store).await, [run]);
    let tries =
        join_all((0..20).map(|_| store.finish_run(run, Some("{\"passed\":true}"), Some(true), after(70)))).await;
    assert_eq!(tries.into_iter().filter(|done| *done.as_ref().unwrap()).count(), 1);
    let row = store.run(run).await.unwrap().unwrap();
    assert_eq!((row.state, row.finished_at, row.gate_passed), (RunState::Done, Some(after(70)), Some(true)));
    assert_eq!(row.gate.as_deref(), Some("{\"passed\":true}"));
    assert_eq!(to_finish(&**store).await, []);

    let (empty, _) = world.run_of(0).await;
    assert_eq!(to_finish(&**store).await, [empty], "a run of misfits only has nothing to wait for");
    assert!(!store.finish_run(fresh!(RunId), None, None, after(1)).await.unwrap());
}

pub(crate) async fn open_jobs_carry_what_a_new_start_must_know(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let mut urgent = world.run(vec![world.job(), world.job()]);
    urgent.priority = -3;
    store.create_run(&urgent).await.unwrap();
    let first = world.claim(urgent.jobs[0].id, 1).await;
    let death = GiveBack { agent_death: true, ..given_back(Outcome::AgentKilled, JobNext::Queued) };
    store.give_back(first, &death).await.unwrap();
    let second = world.claim(urgent.jobs[0].id, 2).await;
    let mut crash = world.completion(second, Outcome::HangTimeout);
    crash.next = JobNext::Queued;
    store.complete(&crash).await.unwrap();
    world.claim(urgent.jobs[0].id, 3).await;

    let open = store.open_jobs().await.unwrap();
    assert_eq!(open.len(), 2);
    let job = &open[0];
    assert_eq!((job.job, job.run, job.device, job.priority), (urgent.jobs[0].id, urgent.id, world.device.id, -3));
    assert_eq!((job.attempt, job.infrastructure_failures, job.crashes, job.agent_deaths), (3, 1, 1, 1));
    assert_eq!((job.leased_until, open[1].leased_until), (Some(after(16)), None));
    assert!(!job.cancelled && !open[1].cancelled);

    store.cancel_run(urgent.id, after(20)).await.unwrap();
    let open = store.open_jobs().await.unwrap();
    assert_eq!((open.len(), open[0].job, open[0].cancelled), (1, urgent.jobs[0].id, true));
    let again = given_back(Outcome::HarnessError, JobNext::Queued);
    assert!(store.give_back(AttemptRef { attempt: 3, ..first }, &again).await.unwrap());
    assert_eq!(store.open_jobs().await.unwrap(), [], "and does not wait again");
}

pub(crate) async fn the_last_jobs_of_a_device_and_of_a_model_come_newest_first(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(3).await;
    for (minute, &job) in [2, 1, 3].iter().zip(&jobs) {
        let mut completion = world.completion(world.claim(job, 1).await, Outcome::Ok);
        completion.received_at = after(60 * minute);
        store.complete(&completion).await.unwrap();
    }
    world.run_of(1).await;
    let ids = |rows: Vec<seatrial_core::store::JobRow>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(store.device_jobs(world.device.id, 2).await.unwrap()), [jobs[2], jobs[0]]);
    assert_eq!(ids(store.model_jobs(world.project, "mobilenet", 9).await.unwrap()), [jobs[2], jobs[0], jobs[1]]);
    assert_eq!(ids(store.model_jobs(world.project, "resnet", 9).await.unwrap()), []);
}

pub(crate) async fn a_job_is_found_by_its_short_id(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (_, jobs) = world.run_of(2).await;
    let found = world.store.jobs_by_short_id(&jobs[1].short()).await.unwrap();
    assert_eq!(found.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[1]]);
    assert_eq!(world.store.jobs_by_short_id("ffff-ffff").await.unwrap(), []);
    assert_eq!(world.store.job_spec(fresh!(JobId)).await.unwrap(), None);
}

pub(crate) async fn a_run_is_read_in_parts_that_make_the_whole(store: Arc<dyn Store>) {
    let world = world(store).await;
    let (run, jobs) = world.run_of(7).await;
    let attempt = world.claim(jobs[4], 1).await;
    world.store.complete(&world.completion(attempt, Outcome::Ok)).await.unwrap();
    let mut read = Vec::new();
    for from in [0, 3, 6, 9] {
        let part = world.store.jobs_part(run, Part { from, count: 3 }).await.unwrap();
        assert_eq!(part.len(), [3, 3, 1, 0][from as usize / 3]);
        read.extend(part);
    }
    assert_eq!(read, world.store.jobs(run).await.unwrap());
    let metrics = async |from| world.store.run_metrics_part(run, Part { from, count: 3 }).await.unwrap();
    assert_eq!(metrics(0).await, []);
    assert_eq!(metrics(3).await, world.store.run_metrics(run).await.unwrap());
    assert!(!metrics(3).await.is_empty(), "the control: there are some");
}

pub(crate) async fn only_a_job_that_waits_is_given_up_and_it_says_why(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (run, jobs) = world.run_of(2).await;
    assert_eq!(store.open_jobs().await.unwrap()[0].max_wait, std::time::Duration::from_mins(90));
    let leased = world.claim(jobs[0], 1).await;
    for after_attempt in [leased, AttemptRef { attempt: 0, ..leased }] {
        assert!(!store.give_up(after_attempt, "it is away", after(9)).await.unwrap(), "{after_attempt} runs");
    }
    let waiting = AttemptRef { job: jobs[1], attempt: 0 };
    assert!(!store.give_up(AttemptRef { attempt: 1, ..waiting }, "it is away", after(9)).await.unwrap());
    assert!(store.give_up(waiting, "it is away", after(9)).await.unwrap());
    assert!(!store.give_up(waiting, "again", after(10)).await.unwrap(), "it is over");
    let job = store.job(jobs[1]).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Done { outcome: Outcome::DeviceLost });
    assert_eq!((job.message.as_deref(), job.finished_at), (Some("it is away"), Some(after(9))));
    let counts = store.run(run).await.unwrap().unwrap().counts;
    assert_eq!((counts.leased, counts.failed), (1, 1));
}
