//! What crashes twice is not tried again as it is, until an operator says so or something of it changes.

use seatrial_core::failure::{Class, Death};
use seatrial_core::job::AttemptRef;
use seatrial_core::outcome::{Exit, Outcome};
use seatrial_proto::v1::audit_client::AuditClient;
use seatrial_proto::v1::devices_client::DevicesClient;
use seatrial_proto::v1::quarantines_client::QuarantinesClient;
use seatrial_proto::{attempt_to_wire, death_to_wire, v1};
use seatrial_server::Config;
use seatrial_sim::connection::dial;
use seatrial_sim::{Connection, report};

use crate::runs::{add_model, get, identity, runs, submit, suite};
use crate::support::{Lab, eventually};

/// Takes the next job, which crashes if it asks for one thread.
async fn one_thread_crashes(agent: &mut Connection) {
    let (attempt, assignment) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    let crashes = assignment.spec_json.contains("\"threads\":1,");
    let report = if crashes { report::ended(Outcome::CrashSignal(11)) } else { report::ok(100) };
    agent.report(attempt, &report).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
}

/// Takes the next job and reports that it ended so.
async fn ends(agent: &mut Connection, outcome: Outcome) {
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    let report = if outcome == Outcome::Ok { report::ok(100) } else { report::ended(outcome) };
    agent.report(attempt, &report).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn what_crashes_twice_is_a_misfit_until_an_operator_lifts_its_quarantine() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    let mut quarantines = QuarantinesClient::connect(lab.server.url()).await.unwrap();

    submit(&mut runs, suite(2)).await;
    for _ in 0..3 {
        let listed = quarantines.list(v1::ListQuarantinesRequest { lifted: true }).await.unwrap().into_inner();
        assert!(listed.quarantines.is_empty(), "once may be an accident: {listed:?}");
        one_thread_crashes(&mut agent).await;
    }

    let listed = quarantines.list(v1::ListQuarantinesRequest { lifted: false }).await.unwrap().into_inner();
    let [quarantine] = listed.quarantines.as_slice() else { panic!("{listed:?}") };
    assert_eq!((quarantine.model.as_str(), quarantine.backend.as_str()), ("m", "tract cpu ×1"));
    assert_eq!((quarantine.failure_class.as_deref(), quarantine.blame.as_deref()), (Some("segfault"), Some("binary")));
    assert_eq!((quarantine.standing.as_str(), quarantine.attempt), ("in_force", 2));
    let (run, _) = get(&mut runs, "1").await;
    let crashed = run.jobs.iter().find(|job| job.backend == "tract cpu ×1").unwrap();
    assert_eq!((crashed.failure_class.as_deref(), crashed.id.as_str()), (Some("segfault"), quarantine.job.as_str()));

    let second = submit(&mut runs, suite(2)).await;
    assert_eq!((second.jobs, second.misfits), (1, 1));
    ends(&mut agent, Outcome::Ok).await;
    let (run, _) = get(&mut runs, "2").await;
    let why = &run.misfits[0].reason;
    assert!(why.starts_with("this model crashed or hung twice") && why.contains(&quarantine.short), "{why}");

    quarantines.lift(v1::LiftQuarantineRequest { quarantine: quarantine.short.clone() }).await.unwrap();
    let again = quarantines.lift(v1::LiftQuarantineRequest { quarantine: quarantine.short.clone() }).await.unwrap_err();
    assert_eq!(again.code(), tonic::Code::NotFound, "{again}");
    let third = submit(&mut runs, suite(2)).await;
    assert_eq!((third.jobs, third.misfits), (2, 0));
    let audit = AuditClient::connect(lab.server.url()).await.unwrap();
    let is_it = |entry: &v1::AuditEntry| {
        entry.action.ends_with("Quarantines/Lift") && entry.object.contains("m v1 fp32 with tract cpu ×1 on")
    };
    eventually("the audit log names what was lifted", async || {
        let listed = audit.clone().list(v1::ListAuditRequest { before: None, limit: 50 }).await.unwrap();
        listed.into_inner().entries.iter().any(is_it)
    })
    .await;
}

#[tokio::test]
async fn another_build_of_the_device_ends_a_quarantine_by_itself() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut updated = identity("a");
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &updated).await.unwrap();
    let mut runs = runs(&lab).await;
    submit(&mut runs, suite(1)).await;
    ends(&mut agent, Outcome::HangTimeout).await;
    ends(&mut agent, Outcome::CrashSignal(6)).await;
    drop(agent);

    updated.profile.kernel = seatrial_core::reading::Reading::Present("99.1".to_owned());
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &updated).await.unwrap();
    let submitted = submit(&mut runs, suite(1)).await;
    assert_eq!((submitted.jobs, submitted.misfits), (1, 0));
    ends(&mut agent, Outcome::Ok).await;
    let mut quarantines = QuarantinesClient::connect(lab.server.url()).await.unwrap();
    let listed = quarantines.list(v1::ListQuarantinesRequest { lifted: false }).await.unwrap().into_inner();
    assert_eq!(listed.quarantines[0].standing, "other_build");
}

#[tokio::test]
async fn a_crash_that_does_not_come_again_is_flaky_and_quarantines_nothing() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    submit(&mut runs, suite(1)).await;
    ends(&mut agent, Outcome::CrashSignal(11)).await;
    ends(&mut agent, Outcome::Ok).await;
    let mut quarantines = QuarantinesClient::connect(lab.server.url()).await.unwrap();
    let listed = quarantines.list(v1::ListQuarantinesRequest { lifted: true }).await.unwrap().into_inner();
    assert!(listed.quarantines.is_empty(), "{listed:?}");
    let (run, _) = get(&mut runs, "1").await;
    assert_eq!((run.jobs[0].attempt, run.jobs[0].failure_class.as_deref()), (2, None), "the last attempt stands");
}

#[tokio::test]
async fn failures_of_older_rules_are_judged_again_when_a_server_starts() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    submit(&mut runs, suite(1)).await;
    ends(&mut agent, Outcome::UnsupportedOp).await;
    let (run, _) = get(&mut runs, "1").await;
    let attempt = AttemptRef { job: run.jobs[0].id.parse().unwrap(), attempt: 1 };
    lab.server.store.set_failures(0, &[(attempt, None)]).await.unwrap();
    assert_eq!(lab.server.store.attempts(attempt.job).await.unwrap()[0].failure, None, "the control");
    drop(agent);

    let folder = lab.stop().await;
    let server = seatrial_server::start(Config::embedded(folder.path().join("data"))).await.unwrap();
    let lab = Lab { server, folder };
    eventually("the failure has its class again", async || {
        let failure = lab.server.store.attempts(attempt.job).await.unwrap()[0].failure.clone();
        failure.is_some_and(|failure| failure.class == Class::UnsupportedOperator)
    })
    .await;
}

/// Has the one job that waits crash twice.
async fn crash_twice(agent: &mut Connection) {
    ends(agent, Outcome::CrashSignal(11)).await;
    ends(agent, Outcome::CrashSignal(11)).await;
}

#[tokio::test]
async fn jobs_that_wait_for_what_is_quarantined_meanwhile_end_with_the_reason_and_a_rerun_says_what_to_lift() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity("a")).await.unwrap();
    let mut runs = runs(&lab).await;
    let mut quarantines = QuarantinesClient::connect(lab.server.url()).await.unwrap();
    submit(&mut runs, suite(1)).await;
    ends(&mut agent, Outcome::CrashSignal(11)).await;
    let (repeated, _) = agent.assignment().await.unwrap();
    agent.accept(repeated).await.unwrap();
    // Of the two backends here one is the same as above.
    let second = submit(&mut runs, suite(2)).await;
    assert_eq!((second.jobs, second.misfits), (2, 0), "they wait, since nothing is quarantined yet");
    agent.report(repeated, &report::ended(Outcome::CrashSignal(11))).await.unwrap();
    assert_eq!(agent.verdict(repeated).await.unwrap(), Ok(()));
    let listed = quarantines.list(v1::ListQuarantinesRequest { lifted: false }).await.unwrap().into_inner();
    let [quarantine] = listed.quarantines.as_slice() else { panic!("{listed:?}") };

    let (attempt, assignment) = agent.assignment().await.unwrap();
    assert!(!assignment.spec_json.contains("\"threads\":1,"), "the other backend goes on: {}", assignment.spec_json);
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(100)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    eventually("the run ends, and nothing of it waits", async || {
        get(&mut runs.clone(), "2").await.0.run.unwrap().state == "done"
    })
    .await;
    let (run, _) = get(&mut runs, "2").await;
    let aside = run.jobs.iter().find(|job| job.backend == "tract cpu ×1").unwrap();
    let why = aside.message.clone().unwrap_or_default();
    assert_eq!((aside.state.as_str(), aside.attempt), ("quarantined", 0), "{aside:?}");
    assert!(why.starts_with("this model crashed or hung twice") && why.contains(&quarantine.short), "{why}");

    let again = v1::RerunRequest { job: aside.id.clone() };
    let refused = runs.rerun(again.clone()).await.unwrap_err();
    let lift = format!("seatrial quarantines lift {}", quarantine.short);
    let named = ["m v1 fp32 with tract cpu ×1 on", "is quarantined", lift.as_str()];
    assert!(named.iter().all(|words| refused.message().contains(words)), "{refused}");
    quarantines.lift(v1::LiftQuarantineRequest { quarantine: quarantine.short.clone() }).await.unwrap();
    runs.rerun(again).await.unwrap();
    ends(&mut agent, Outcome::Ok).await;
}

#[tokio::test]
async fn a_device_that_comes_back_with_the_build_that_failed_is_not_given_what_had_waited_for_another() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let failed = identity("a");
    let mut updated = identity("a");
    updated.profile.kernel = seatrial_core::reading::Reading::Present("99.1".to_owned());
    let mut runs = runs(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &failed).await.unwrap();
    submit(&mut runs, suite(1)).await;
    crash_twice(&mut agent).await;
    drop(agent);
    let agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &updated).await.unwrap();
    drop(agent);
    let devices = DevicesClient::connect(lab.server.url()).await.unwrap();
    eventually("the device is away", async || {
        let listed = devices.clone().list(v1::ListDevicesRequest::default()).await.unwrap().into_inner();
        !listed.devices[0].connected
    })
    .await;
    let waiting = submit(&mut runs, suite(1)).await;
    assert_eq!((waiting.jobs, waiting.misfits), (1, 0), "of this build nothing is known");
    let _agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &failed).await.unwrap();
    eventually("the job ends, which this build may not have", async || {
        get(&mut runs.clone(), "2").await.0.jobs[0].state == "quarantined"
    })
    .await;
}

#[tokio::test]
async fn what_the_next_agent_tells_of_the_death_of_the_one_before_decides_its_class() {
    let lab = Lab::start().await;
    add_model(&lab).await;
    let identity = identity("a");
    let mut runs = runs(&lab).await;
    let mut agent = Connection::open(dial(&lab.server.url()).await.unwrap(), &identity).await.unwrap();
    submit(&mut runs, suite(1)).await;
    // More often than an agent may die by the job's own doing.
    for _ in 0..2 {
        let (attempt, _) = agent.assignment().await.unwrap();
        agent.accept(attempt).await.unwrap();
        drop(agent);
        let death = Death {
            pid: Some(15188),
            exit: Some(Exit::Signal(9)),
            system: "D OplusHansManager: kill pid 15188 uid 2000 reason: night clean".to_owned(),
            ..Death::default()
        };
        let hello = v1::Hello {
            lost: vec![attempt_to_wire(attempt)],
            death: death_to_wire(&death).unwrap().into(),
            ..identity.hello().unwrap()
        };
        agent = Connection::open_with(dial(&lab.server.url()).await.unwrap(), &identity, hello).await.unwrap();
        let store = &lab.server.store;
        let row = async || store.attempts(attempt.job).await.unwrap()[attempt.attempt as usize - 1].clone();
        eventually("the attempt has ended", async || row().await.ended_at.is_some()).await;
        let lost = row().await;
        let failure = lost.failure.as_ref().unwrap();
        assert_eq!((failure.class, failure.stage), (Class::KilledByRom, None));
        assert_eq!(lost.death.as_ref(), Some(&death), "kept, for rules that come later");
        assert!(lost.message.as_ref().unwrap().ends_with("it was ended by signal 9"), "{lost:?}");
    }
    ends(&mut agent, Outcome::Ok).await;
    assert_eq!(get(&mut runs, "1").await.0.jobs[0].state, "done", "the ROM's doing is not held against the job");
}
