//! Failures with their classes, judged again by newer rules, and quarantines of what fails together.

use std::sync::Arc;

use seatrial_core::failure::{Blame, Class, Death, Failure, Seen, Source, TripleVersions};
use seatrial_core::ids::QuarantineId;
use seatrial_core::job::JobState;
use seatrial_core::outcome::{Exit, Outcome, Verdict};
use seatrial_core::stage::Stage;
use seatrial_core::store::{Accepted, Completion, GiveBack, JobNext, NewQuarantine, Store, Unjudged};

use crate::world::*;

fn failure(class: Class, rules: u32) -> Failure {
    Failure {
        class,
        stage: Some(Stage::Measure),
        blame: Blame::Driver,
        retryable: false,
        quarantine: true,
        seen: Some(Seen { source: Source::System, line: "日志 \0 line".to_owned() }),
        rules,
    }
}

pub(crate) async fn the_class_of_a_failure_stands_with_its_attempt(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (run, jobs) = world.run_of(2).await;
    let told = failure(Class::Segfault, 3);
    let crashed = world.completion(world.claim(jobs[0], 1).await, Outcome::CrashSignal(11));
    store.complete(&Completion { failure: Some(told.clone()), ..crashed }).await.unwrap();
    store.complete(&world.completion(world.claim(jobs[1], 1).await, Outcome::Ok)).await.unwrap();

    let rows = store.jobs(run).await.unwrap();
    assert_eq!((&rows[0].failure, &rows[1].failure), (&Some(told.clone()), &None));
    assert_eq!(store.attempts(jobs[0]).await.unwrap()[0].failure, Some(told));
    assert_eq!(store.attempts(jobs[1]).await.unwrap()[0].failure, None);
}

pub(crate) async fn a_class_counts_as_what_follows_from_it(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(2).await;
    // Killed by the ROM: a signal, and not the job's doing.
    let rom = Failure { retryable: true, quarantine: false, ..failure(Class::KilledByRom, 1) };
    for (job, failure) in [(jobs[0], Some(rom)), (jobs[1], None)] {
        let ended = world.completion(world.claim(job, 1).await, Outcome::CrashSignal(9));
        store.complete(&Completion { failure, next: JobNext::Queued, ..ended }).await.unwrap();
    }
    let open = store.open_jobs().await.unwrap();
    let counts: Vec<_> = open.iter().map(|job| (job.infrastructure_failures, job.crashes)).collect();
    assert_eq!(counts, [(1, 0), (0, 1)]);
}

pub(crate) async fn failures_of_older_rules_are_found_until_they_are_judged_again(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(4).await;
    let unjudged = world.completion(world.claim(jobs[0], 1).await, Outcome::ExitNonzero(3));
    let older = world.completion(world.claim(jobs[1], 1).await, Outcome::HangTimeout);
    let older = Completion { failure: Some(failure(Class::Hang, 1)), ..older };
    let passed = world.completion(world.claim(jobs[2], 1).await, Outcome::Ok);
    for ended in [&unjudged, &older, &passed] {
        store.complete(ended).await.unwrap();
    }
    let lost = GiveBack {
        outcome: Outcome::DeviceLost,
        message: "the lease ended".to_owned(),
        failure: Some(failure(Class::LinkLost, 2)),
        death: None,
        quarantine: None,
        next: JobNext::Queued,
        verdict: Verdict::Retry,
        agent_death: false,
        now: after(70),
    };
    assert!(store.give_back(world.claim(jobs[3], 1).await, &lost).await.unwrap());

    let found = store.unjudged(2, 10).await.unwrap();
    let attempts: Vec<_> = found.iter().map(|one| one.attempt).collect();
    assert_eq!(
        attempts,
        [unjudged.attempt, older.attempt],
        "what passed has none, what rules of now have judged is done"
    );
    let Unjudged { attempt: _, outcome, failed_stage, message, backend, death } = &found[0];
    assert_eq!((*outcome, *failed_stage), (Outcome::ExitNonzero(3), Some(Stage::Measure)));
    assert!(message.is_some() && death.is_none() && backend.contains("cpu"), "{backend}");
    assert_eq!(store.unjudged(2, 1).await.unwrap().len(), 1);

    let told = failure(Class::Unknown, 2);
    store.set_failures(2, &[(unjudged.attempt, Some(told.clone())), (older.attempt, None)]).await.unwrap();
    assert_eq!(store.unjudged(2, 10).await.unwrap(), []);
    assert_eq!(store.attempts(jobs[0]).await.unwrap()[0].failure, Some(told));
    assert_eq!(store.attempts(jobs[1]).await.unwrap()[0].failure, None);
    assert_eq!(store.unjudged(3, 10).await.unwrap().len(), 3, "the next rules judge them all again");
}

pub(crate) async fn what_fails_together_is_quarantined_once_and_an_operator_lifts_it(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(3).await;
    let versions = TripleVersions { runtime: "tract 0.22".to_owned(), build: "build \0 1".to_owned() };
    let quarantine = |seconds| NewQuarantine {
        id: fresh!(QuarantineId),
        device: world.device.id,
        versions: versions.clone(),
        created_at: after(seconds),
    };
    let told = failure(Class::Segfault, 1);
    let mut ids = Vec::new();
    for (job, seconds) in [(jobs[0], 60), (jobs[1], 61)] {
        let ended = world.completion(world.claim(job, 1).await, Outcome::CrashSignal(11));
        let new = quarantine(seconds);
        ids.push(new.id);
        let ended = Completion { failure: Some(told.clone()), quarantine: Some(new), ..ended };
        assert_eq!(store.complete(&ended).await.unwrap(), Accepted::Stored);
    }
    let rows = store.quarantines(world.project, false, 10).await.unwrap();
    assert_eq!(rows.len(), 1, "the same three are in quarantine once");
    let row = &rows[0];
    let job = store.job(jobs[0]).await.unwrap().unwrap();
    assert_eq!((row.id, row.job, row.attempt, row.device), (ids[0], jobs[0], 1, world.device.id));
    assert_eq!(
        (&row.model, row.version, &row.variant, &row.backend),
        (&job.model, job.version, &job.variant, &job.backend)
    );
    assert_eq!((&row.versions.runtime, row.versions.build.as_str()), (&versions.runtime, "build \u{fffd} 1"));
    assert_eq!(
        (row.failure.as_ref(), row.variant_id, &row.device_name),
        (Some(&told), job.variant_id, &job.device_name)
    );

    let by = world.person;
    assert!(store.lift_quarantine(world.project, row.id, by, after(90)).await.unwrap());
    assert!(!store.lift_quarantine(world.project, row.id, by, after(91)).await.unwrap(), "it is lifted already");
    assert!(!store.lift_quarantine(world.project, ids[1], by, after(91)).await.unwrap(), "there never was one");
    assert_eq!(store.quarantines(world.project, false, 10).await.unwrap(), []);
    let lifted = &store.quarantines(world.project, true, 10).await.unwrap()[0];
    assert_eq!(lifted.lifted_at, Some(after(90)));
    assert!(lifted.lifted_by.is_some());

    let again = world.completion(world.claim(jobs[2], 1).await, Outcome::CrashSignal(11));
    let again = Completion { failure: Some(told), quarantine: Some(quarantine(99)), ..again };
    store.complete(&again).await.unwrap();
    assert_eq!(store.quarantines(world.project, false, 10).await.unwrap().len(), 1, "it may come again");
}

pub(crate) async fn how_an_agent_died_stands_with_the_attempt_for_rules_that_come_later(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(1).await;
    let death = Death {
        pid: Some(15188),
        exit: Some(Exit::Signal(9)),
        system: "杀 \0 kill pid 15188".to_owned(),
        boot_before: Some("a".to_owned()),
        ..Death::default()
    };
    let died = GiveBack {
        outcome: Outcome::AgentKilled,
        message: "the agent was killed".to_owned(),
        failure: Some(failure(Class::OutOfMemory, 1)),
        death: Some(death.clone()),
        quarantine: Some(NewQuarantine {
            id: fresh!(QuarantineId),
            device: world.device.id,
            versions: TripleVersions { runtime: "tract".to_owned(), build: "1".to_owned() },
            created_at: after(70),
        }),
        next: JobNext::Queued,
        verdict: Verdict::Repeat,
        agent_death: false,
        now: after(70),
    };
    assert!(store.give_back(world.claim(jobs[0], 1).await, &died).await.unwrap());
    let open = &store.open_jobs().await.unwrap()[0];
    assert_eq!((open.infrastructure_failures, open.crashes, open.agent_deaths), (0, 1, 0), "as it was told");
    assert_eq!(store.attempts(jobs[0]).await.unwrap()[0].death.as_ref(), Some(&death));
    assert_eq!(store.unjudged(2, 10).await.unwrap()[0].death.as_ref(), Some(&death));
    assert_eq!(store.quarantines(world.project, false, 10).await.unwrap().len(), 1);
}

pub(crate) async fn jobs_that_wait_for_what_is_quarantined_are_found_and_end_with_the_reason(store: Arc<dyn Store>) {
    let world = world(store).await;
    let store = &world.store;
    let (_, jobs) = world.run_of(3).await;
    let device = world.device.id;
    assert_eq!(store.suspects(device, 10).await.unwrap(), [], "nothing is quarantined");
    let versions = TripleVersions { runtime: "tract 0.22".to_owned(), build: "1".to_owned() };
    let new = NewQuarantine { id: fresh!(QuarantineId), device, versions: versions.clone(), created_at: after(60) };
    let told = failure(Class::Segfault, 1);
    let ended = world.completion(world.claim(jobs[0], 1).await, Outcome::CrashSignal(11));
    let ended = Completion { failure: Some(told.clone()), quarantine: Some(new.clone()), ..ended };
    store.complete(&ended).await.unwrap();
    world.claim(jobs[1], 1).await;

    let found = store.suspects(device, 10).await.unwrap();
    let [suspect] = found.as_slice() else { panic!("one is done, one runs, one waits: {found:?}") };
    let job = store.job(jobs[2]).await.unwrap().unwrap();
    assert_eq!((suspect.job, suspect.run, suspect.quarantine), (jobs[2], job.run, new.id));
    assert_eq!((&suspect.versions, suspect.failure.as_ref()), (&versions, Some(&told)));
    assert_eq!(Some(&suspect.spec), store.job_spec(jobs[2]).await.unwrap().as_ref());

    let aside: Vec<_> = jobs.iter().map(|&job| (job, "隔离 \0".to_owned())).collect();
    assert_eq!(store.set_aside(&aside, after(61)).await.unwrap(), [jobs[2]], "only what waits");
    assert_eq!(store.set_aside(&[], after(61)).await.unwrap(), []);
    let job = store.job(jobs[2]).await.unwrap().unwrap();
    assert_eq!((job.state, job.outcome, job.attempt), (JobState::Quarantined, None, 0));
    assert_eq!((job.message.as_deref(), job.finished_at), (Some("隔离 \u{fffd}"), Some(after(61))));
    assert_eq!(store.suspects(device, 10).await.unwrap(), []);
    assert_eq!(store.claim(&[world.claim_of(jobs[2], 1)]).await.unwrap(), [None], "nobody gets it any more");
}
