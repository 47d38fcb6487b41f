//! The fleet half of the server, from the wire to the database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "fleet/gates.rs"]
mod gates;
#[path = "fleet/lab.rs"]
mod lab;
#[path = "fleet/standing.rs"]
mod standing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seatrial_core::accuracy::golden::{Comparison, Standard};
use seatrial_core::job::{AttemptRef, JobState};
use seatrial_core::live::Live as _;
use seatrial_core::model::{Axis, Signature, SignatureStanding, TensorSpec};
use seatrial_core::outcome::{Outcome, RETRY_LIMIT};
use seatrial_core::report::GoldenRecord;
use seatrial_core::stage::Stage;
use seatrial_core::store::{AttemptRow, NewEnrolment, RunState};
use seatrial_core::tensor::DType;
use seatrial_proto::v1::agent_message::Message;
use seatrial_proto::v1::agent_service_client::AgentServiceClient;
use seatrial_proto::v1::server_message::Message as Word;
use seatrial_proto::{attempt_from_wire, attempt_to_wire, evidence_to_wire, v1};
use seatrial_server::auth::Caller;
use seatrial_server::auth::token::{Kind, Secret};
use seatrial_server::system::entropy;
use seatrial_sim::connection::{dial, held};
use seatrial_sim::{Answer, Connection, FakeAgent, Identity, Lie, Script, SimError, report};

use lab::{Lab, device_of, eventually};

fn code(error: SimError) -> tonic::Code {
    let SimError::Status(status) = error else { panic!("{error}") };
    status.code()
}

fn refused(connection: Result<Connection, SimError>) -> tonic::Code {
    match connection {
        Ok(connection) => panic!("welcomed: {:?}", connection.welcome),
        Err(error) => code(error),
    }
}

/// Hears words until one is what the caller waits for.
async fn until(connection: &mut Connection, mut is_it: impl FnMut(&Word) -> bool) -> Word {
    loop {
        let word = connection.hear().await.unwrap();
        if is_it(&word) {
            return word;
        }
    }
}

#[tokio::test]
async fn a_job_is_assigned_run_and_stored_with_what_is_derived_from_it() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let (run, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, assignment) = agent.assignment().await.unwrap();
    assert_eq!(attempt, AttemptRef { job: jobs[0], attempt: 1 });
    assert!(assignment.spec_json.contains("\"digits\""));
    agent.accept(attempt).await.unwrap();
    agent.enter(attempt, Stage::Measure).await.unwrap();
    until(&mut agent, |word| matches!(word, Word::Grant(grant) if grant.kind() == v1::GrantKind::Stage)).await;
    agent.report(attempt, &report::ok(100)).await.unwrap();
    until(&mut agent, |word| matches!(word, Word::Received(_))).await;
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::Ok);
    assert_eq!(lab.run_state(run).await, RunState::Done);
    let metrics = lab.store.metrics(attempt).await.unwrap();
    assert!(
        metrics.iter().any(|metric| metric.name == "lat_p50_ms" && metric.value.present().is_some()),
        "{metrics:?}"
    );
    assert_eq!(lab.store.blocks(attempt).await.unwrap().len(), 2, "raw samples are kept");
}

#[tokio::test]
async fn outputs_beyond_their_limits_are_a_failure_of_numerics_that_says_which_and_why() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    let mut wrong = report::ok(100);
    let comparison = Comparison {
        examples: 4,
        elements: 40,
        max_abs: 1.0,
        mean_abs: 0.5,
        cosine: Some(0.8),
        sqnr_db: Some(4.0),
        argmax_agree: 1,
        nan_count: 0,
        inf_count: 0,
    };
    wrong.golden.push(GoldenRecord {
        output: "logits".to_owned(),
        comparison,
        standard: Standard::default(),
        kept: None,
    });
    agent.report(attempt, &wrong).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::NumericsFail);

    let why = "output logits: cosine similarity 0.8000, limit 0.9900; \
               output logits: signal to noise 4.0 dB, limit 30.0 dB";
    let attempts = lab.store.attempts(jobs[0]).await.unwrap();
    let told = |row: &AttemptRow| (row.outcome, row.failed_stage, row.message.clone());
    assert_eq!(told(&attempts[0]), (Some(Outcome::NumericsFail), Some(Stage::Accuracy), Some(why.to_owned())));
    let job = lab.job(jobs[0]).await;
    assert_eq!((job.stage, job.message.as_deref()), (Some(Stage::Accuracy), Some(why)));
}

fn signature(classes: u64) -> Signature {
    let tensor = |name: &str, size| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: vec![Axis::Named("batch".to_owned()), Axis::Fixed(size)],
    };
    Signature { inputs: vec![tensor("image", 784)], outputs: vec![tensor("logits", classes)], precision_from: None }
}

/// What stands of the variant after a job whose client claimed the one and whose device found the other.
async fn settled(claimed: &Signature, found: Option<Signature>) -> (SignatureStanding, Signature) {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let report = |found| {
        let mut report = report::ok(10);
        report.actual.signature = found;
        report
    };
    // What a second device finds changes nothing.
    for found in [found, Some(signature(1000))] {
        lab.submit_of(&[device_of(&agent)], claimed).await;
        let (attempt, _) = agent.assignment().await.unwrap();
        agent.accept(attempt).await.unwrap();
        let silent = found.is_none();
        agent.report(attempt, &report(found)).await.unwrap();
        assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
        if silent {
            break;
        }
    }
    let model = lab.store.model(lab.project, "digits").await.unwrap().unwrap();
    let variant = model.versions[0].variants[0].clone();
    (variant.standing, variant.signature)
}

#[tokio::test]
async fn the_first_device_that_reads_a_model_confirms_or_refuses_what_was_claimed_of_it() {
    let (nothing, ten, twelve) = (Signature::default(), signature(10), signature(12));
    let standing = async |found| settled(&ten, found).await.0;
    assert_eq!(standing(Some(ten.clone())).await, SignatureStanding::Confirmed);
    assert_eq!(standing(Some(twelve)).await, SignatureStanding::Refused);
    assert_eq!(standing(None).await, SignatureStanding::Claimed, "a device that does not tell");
    assert_eq!(settled(&nothing, Some(ten.clone())).await, (SignatureStanding::Confirmed, ten));
}

#[tokio::test]
async fn progress_within_a_stage_is_shown_and_asks_for_no_grant() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    let told = |stage: Stage, progress| {
        let attempt = Some(attempt_to_wire(attempt));
        Message::Stage(v1::StageEntered { attempt, stage: stage.to_string(), at_us: 0, progress })
    };
    let shown = || lab.fleet.devices()[0].job.as_ref().map(|job| (job.stage, job.progress));
    let is_grant = |word: &Word| matches!(word, Word::Grant(_));

    agent.say(told(Stage::Measure, None)).await.unwrap();
    until(&mut agent, is_grant).await;
    for share in [0.25, 0.5] {
        agent.say(told(Stage::Measure, Some(share))).await.unwrap();
        eventually("it is shown", async || (shown() == Some((Stage::Measure, Some(share)))).then_some(())).await;
    }
    // A stage that was entered while the cable was out is told with its progress, and is granted. That this grant is
    // the next one shows that the two before asked for none.
    agent.say(told(Stage::Accuracy, Some(0.75))).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    let mut grants = 0;
    until(&mut agent, |word| {
        grants += u32::from(is_grant(word));
        matches!(word, Word::Durable(_))
    })
    .await;
    assert_eq!(grants, 1);
}

#[tokio::test]
async fn a_duplicate_result_is_acknowledged_and_stored_once() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let mut agent = lab.connect(&identity).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    for _ in 0..3 {
        agent.report(attempt, &report::ok(10)).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    }
    // The acknowledgement was lost, and the agent comes back with its spool.
    drop(agent);
    let mut hello = identity.hello().unwrap();
    hello.held = vec![held(attempt, true)];
    let mut agent = Connection::open_with(lab.dial().await, &identity, hello).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::Ok)]);
    assert_eq!(lab.fleet.finished().get("ok"), Some(&1), "counted once");
}

#[tokio::test]
async fn a_lease_that_ends_puts_the_job_back_once_and_the_late_result_is_refused() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (first, _) = agent.assignment().await.unwrap();
    agent.accept(first).await.unwrap();
    agent.enter(first, Stage::Fetch).await.unwrap();
    until(&mut agent, |word| matches!(word, Word::Grant(_))).await;
    lab.pass(Duration::from_secs(17)).await;
    let stop = until(&mut agent, |word| matches!(word, Word::Cancel(_))).await;
    assert!(matches!(stop, Word::Cancel(cancel) if attempt_from_wire(cancel.attempt.clone()).unwrap() == first));
    let (second, _) = agent.assignment().await.unwrap();
    assert_eq!(second, AttemptRef { attempt: 2, ..first });
    agent.report(first, &report::ok(10)).await.unwrap();
    let reason = agent.verdict(first).await.unwrap().unwrap_err();
    assert!(reason.contains("no longer holds"), "{reason}");
    agent.accept(second).await.unwrap();
    agent.report(second, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(second).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::DeviceLost), Some(Outcome::Ok)]);
}

#[tokio::test]
async fn an_agent_killed_while_idle_loses_no_job() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let agent = lab.connect(&identity).await;
    let device = device_of(&agent);
    drop(agent);
    let (_, jobs) = lab.submit(&[device]).await; // most likely before the server has noticed
    let mut agent = lab.connect(&identity).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::Ok);
}

#[tokio::test]
async fn an_agent_that_only_listens_is_let_go_and_the_job_goes_to_its_next_session() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let mut agent = lab.connect(&identity).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (ignored, _) = agent.assignment().await.unwrap();
    lab.pass(Duration::from_secs(6)).await;
    let end = loop {
        if let Err(error) = agent.hear().await {
            break code(error);
        }
    };
    assert_eq!(end, tonic::Code::DeadlineExceeded);
    lab.pass(Duration::from_secs(10)).await;
    let mut agent = lab.connect(&identity).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    assert!(attempt.attempt > ignored.attempt);
    agent.accept(attempt).await.unwrap();
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await.last(), Some(&Some(Outcome::Ok)));
}

#[tokio::test]
async fn cancelling_a_run_ends_what_waits_and_stops_what_runs() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let device = device_of(&agent);
    let (run, jobs) = lab.submit(&[device, device, device]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.enter(attempt, Stage::Measure).await.unwrap();
    until(&mut agent, |word| matches!(word, Word::Grant(_))).await;
    assert_eq!(lab.fleet.cancel(run).await.unwrap(), 3);
    until(&mut agent, |word| matches!(word, Word::Cancel(_))).await;
    agent.report(attempt, &report::ended(Outcome::Cancelled)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    for job in jobs {
        assert_eq!(lab.outcome(job).await, Outcome::Cancelled);
    }
    assert_eq!(lab.run_state(run).await, RunState::Cancelled);
}

#[tokio::test]
async fn a_device_that_does_not_answer_a_cancellation_does_not_hold_the_run_up() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let (run, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.enter(attempt, Stage::Measure).await.unwrap();
    lab.fleet.cancel(run).await.unwrap();
    until(&mut agent, |word| matches!(word, Word::Cancel(_))).await;
    lab.pass(Duration::from_secs(11)).await;
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::Cancelled);
}

#[tokio::test]
async fn a_cancellation_that_was_acknowledged_outlives_a_restart_of_the_server() {
    let mut lab = Lab::new().await;
    let identity = Identity::named("a");
    let mut agent = lab.connect(&identity).await;
    let (run, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.enter(attempt, Stage::Measure).await.unwrap();
    until(&mut agent, |word| matches!(word, Word::Grant(_))).await;
    assert_eq!(lab.fleet.cancel(run).await.unwrap(), 1);
    lab.restart().await; // before the device has stopped
    let mut hello = identity.hello().unwrap();
    hello.held = vec![held(attempt, false)];
    let agent = Connection::open_with(lab.dial().await, &identity, hello).await.unwrap();
    assert_eq!(agent.welcome.stop, vec![attempt_to_wire(attempt)]);
    assert_eq!(agent.welcome.grants, vec![]);
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::Cancelled);
    assert_eq!(lab.run_state(run).await, RunState::Cancelled);
}

#[tokio::test]
async fn a_restart_of_the_server_in_the_middle_of_a_job_costs_nothing() {
    let mut lab = Lab::new().await;
    let identity = Identity::named("a");
    let mut agent = lab.connect(&identity).await;
    let (run, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    agent.enter(attempt, Stage::Measure).await.unwrap();
    until(&mut agent, |word| matches!(word, Word::Grant(_))).await;
    lab.restart().await;
    let mut hello = identity.hello().unwrap();
    hello.held = vec![held(attempt, false)];
    let mut agent = Connection::open_with(lab.dial().await, &identity, hello).await.unwrap();
    assert_eq!(agent.welcome.stop, vec![]);
    assert_eq!(agent.welcome.grants.len(), 1, "it goes on under a grant of the new server");
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::Ok)]);
    assert_eq!(lab.run_state(run).await, RunState::Done);
}

#[tokio::test]
async fn after_a_restart_a_job_whose_agent_has_forgotten_it_is_given_out_again() {
    let mut lab = Lab::new().await;
    let identity = Identity::named("a");
    let mut agent = lab.connect(&identity).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (first, _) = agent.assignment().await.unwrap();
    agent.accept(first).await.unwrap();
    lab.restart().await;
    let mut hello = identity.hello().unwrap();
    hello.lost = vec![attempt_to_wire(first)];
    let mut agent = Connection::open_with(lab.dial().await, &identity, hello).await.unwrap();
    let (second, _) = agent.assignment().await.unwrap();
    assert_eq!(second, AttemptRef { attempt: 2, ..first });
    agent.accept(second).await.unwrap();
    agent.report(second, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(second).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::AgentKilled), Some(Outcome::Ok)]);
}

#[tokio::test]
async fn a_job_that_kills_its_agents_is_quarantined() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let first = lab.connect(&identity).await;
    let device = device_of(&first);
    drop(first);
    let (run, jobs) = lab.submit(&[device]).await;
    let _agent = FakeAgent::start(&lab.address, identity, Script { answer: Answer::Die, ..Script::default() });
    eventually("the job is quarantined", async || {
        (lab.job(jobs[0]).await.state == JobState::Quarantined).then_some(())
    })
    .await;
    assert_eq!(lab.run_state(run).await, RunState::Done);
    let killed = lab.attempts(jobs[0]).await.iter().filter(|outcome| **outcome == Some(Outcome::AgentKilled)).count();
    assert_eq!(killed, 2);
}

#[tokio::test]
async fn a_lying_device_costs_its_own_attempt_and_nothing_else() {
    for lie in Lie::ALL {
        let lab = Lab::new().await;
        let mut agent = lab.connect(&Identity::named("liar")).await;
        let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
        for _ in 0..=RETRY_LIMIT {
            let (attempt, _) = agent.assignment().await.unwrap();
            agent.accept(attempt).await.unwrap();
            agent.report(attempt, &lie.told_in(report::ok(10))).await.unwrap();
            let verdict = agent.verdict(attempt).await.unwrap();
            assert!(verdict.is_err(), "{lie:?} was believed");
        }
        assert_eq!(lab.outcome(jobs[0]).await, Outcome::HarnessError, "{lie:?}");
        let (_, honest) = lab.submit(&[device_of(&agent)]).await;
        let (attempt, _) = agent.assignment().await.unwrap();
        agent.accept(attempt).await.unwrap();
        agent.report(attempt, &report::ok(10)).await.unwrap();
        assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
        assert_eq!(lab.outcome(honest[0]).await, Outcome::Ok);
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_costs_no_outcome() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let (_, jobs) = lab.submit(&[device_of(&agent)]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    let message = Some("the model says: ".to_owned() + &"x".repeat(1 << 20));
    let report = seatrial_core::report::Report { message, ..report::ended(Outcome::UnsupportedOp) };
    agent.report(attempt, &report).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.outcome(jobs[0]).await, Outcome::UnsupportedOp);
    let stored = lab.store.attempts(jobs[0]).await.unwrap()[0].message.clone().unwrap();
    assert!(stored.len() <= 8 << 10 && stored.starts_with("the model says") && stored.ends_with("[cut by the server]"));
}

#[tokio::test]
async fn one_device_can_never_speak_for_another() {
    let lab = Lab::new().await;
    let mut victim = lab.connect(&Identity::named("victim")).await;
    let mut thief = lab.connect(&Identity::named("thief")).await;
    let (_, jobs) = lab.submit(&[device_of(&victim)]).await;
    let (attempt, _) = victim.assignment().await.unwrap();
    victim.accept(attempt).await.unwrap();
    thief.enter(attempt, Stage::Energy).await.unwrap();
    let refusal =
        v1::AssignmentRefused { attempt: Some(attempt_to_wire(attempt)), reason: "mine".to_owned(), retryable: false };
    thief.say(Message::Refused(refusal)).await.unwrap();
    thief.report(attempt, &report::ended(Outcome::SpecError)).await.unwrap();
    let reason = thief.verdict(attempt).await.unwrap().unwrap_err();
    assert!(reason.contains("never given to this device"), "{reason}");
    // Not even when it says that it holds the attempt.
    let identity = Identity::named("thief");
    let mut hello = identity.hello().unwrap();
    hello.held = vec![held(attempt, true)];
    let mut thief = Connection::open_with(lab.dial().await, &identity, hello).await.unwrap();
    assert_eq!(thief.welcome.grants, vec![]);
    thief.report(attempt, &report::ended(Outcome::SpecError)).await.unwrap();
    let reason = thief.verdict(attempt).await.unwrap().unwrap_err();
    assert!(reason.contains("another device"), "{reason}");
    victim.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(victim.verdict(attempt).await.unwrap(), Ok(()));
    assert_eq!(lab.attempts(jobs[0]).await, [Some(Outcome::Ok)]);
}

#[tokio::test]
async fn a_second_session_of_a_device_replaces_the_first() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let mut first = lab.connect(&identity).await;
    let second = lab.connect(&identity).await;
    assert_eq!(device_of(&first), device_of(&second));
    assert_eq!(code(first.hear().await.unwrap_err()), tonic::Code::Aborted);
    assert_eq!(lab.fleet.devices().len(), 1);
}

#[tokio::test]
async fn an_agent_whose_evidence_contradicts_the_connected_device_is_refused() {
    let lab = Lab::new().await;
    let first = lab.connect(&Identity::named("a")).await;
    let mut other = Identity::named("b");
    other.evidence.agent_id = Some(first.welcome.device.clone());
    let before = lab.store.device(device_of(&first)).await.unwrap().unwrap();
    assert_eq!(refused(Connection::open(lab.dial().await, &other).await), tonic::Code::AlreadyExists);
    assert_eq!(lab.fleet.devices().len(), 1);
    let after = lab.store.device(device_of(&first)).await.unwrap().unwrap();
    assert_eq!(
        (after.evidence, after.profile),
        (before.evidence.clone(), before.profile),
        "not a word of it is stored"
    );
    // The control: once the device has left, whoever has its id may be it, with another board in it.
    drop(first);
    eventually("it has left", async || lab.fleet.devices().is_empty().then_some(())).await;
    let second = lab.connect(&other).await;
    let changed = lab.store.device(device_of(&second)).await.unwrap().unwrap();
    assert_eq!(changed.id, before.id);
    assert_ne!(changed.evidence, before.evidence);
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused_in_words() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let future = v1::Hello { protocol_min: 7, protocol_max: 9, ..identity.hello().unwrap() };
    let error = Connection::open_with(lab.dial().await, &identity, future).await.err().unwrap();
    assert!(error.to_string().contains("the agent speaks protocol 7 to 9, this server 1 to 1"), "{error}");
    let huge = v1::Hello { profile_json: "x".repeat(1 << 20), ..identity.hello().unwrap() };
    let code = refused(Connection::open_with(lab.dial().await, &identity, huge).await);
    assert_eq!(code, tonic::Code::InvalidArgument);
    let beat = Message::Heartbeat(v1::Heartbeat {});
    let (_outbox, mut inbox) = Connection::begin(lab.dial().await, &identity, beat).await.unwrap();
    assert_eq!(inbox.message().await.unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(lab.fleet.devices().len(), 0);
}

#[tokio::test]
async fn an_agent_that_reconnects_without_end_is_held_off() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    let channel = lab.dial().await;
    let mut last = None;
    for _ in 0..100 {
        last = Some(Connection::open(channel.clone(), &identity).await);
        if let Some(Err(_)) = &last {
            break;
        }
    }
    assert_eq!(refused(last.unwrap()), tonic::Code::ResourceExhausted);
    assert!(Connection::open(channel, &Identity::named("b")).await.is_ok(), "its neighbour is not");
}

impl Lab {
    async fn enrolment(&self) -> Secret {
        let secret = Secret::new(Kind::Enrolment, entropy());
        let now = seatrial_core::time::Clock::now(&*self.clock);
        let enrolment = NewEnrolment {
            id: seatrial_core::ids::EnrolmentId::new(now, entropy()),
            project: self.project,
            created_by: self.principal,
            hash: secret.hash(),
            created_at: now,
            expires_at: now.plus(Duration::from_mins(10)),
        };
        self.store.create_enrolment(&enrolment).await.unwrap();
        secret
    }

    async fn enrol(&self, secret: &Secret, identity: &Identity) -> Result<String, tonic::Status> {
        let mut client = AgentServiceClient::new(dial(&self.address).await.unwrap());
        let mut request =
            tonic::Request::new(v1::EnrolRequest { evidence: Some(evidence_to_wire(&identity.evidence)) });
        request.metadata_mut().insert("authorization", format!("Bearer {}", secret.reveal()).parse().unwrap());
        Ok(client.enrol(request).await?.into_inner().token)
    }

    /// What the door does with a token.
    async fn admit(&self, token: &str) {
        let hash = Secret::parse(token).unwrap().hash();
        let row = self.store.token_by_hash(&hash).await.unwrap().unwrap();
        let caller = Caller {
            principal: row.principal,
            principal_name: row.name,
            project: row.project,
            role: row.role,
            device: row.device,
            token: Some(row.id),
        };
        self.callers.lock().unwrap().insert(hash, caller);
    }
}

#[tokio::test]
async fn a_device_enrols_once_and_its_token_is_bound_to_it() {
    let lab = Lab::new().await;
    let enrolment = lab.enrolment().await;
    let identity = Identity::named("a");
    let token = lab.enrol(&enrolment, &identity).await.unwrap();
    let again = lab.enrol(&enrolment, &identity).await.unwrap_err();
    assert_eq!(again.code(), tonic::Code::Unauthenticated, "{again}");

    lab.admit(&token).await;
    let agent = Connection::open(lab.dial().await, &identity.clone().with_token(&token)).await.unwrap();
    let row = lab.store.token_by_hash(&Secret::parse(&token).unwrap().hash()).await.unwrap().unwrap();
    assert_eq!(row.device, Some(device_of(&agent)));

    // The token of one device with the evidence of another is still the first device.
    let neighbour = lab.connect(&Identity::named("b")).await;
    drop(agent);
    lab.admit(&token).await;
    let disguised = Identity::named("b").with_token(&token);
    let own = row.device.unwrap();
    eventually("the server has noticed that the first session is gone", async || {
        (!lab.fleet.devices().iter().any(|live| live.device == own)).then_some(())
    })
    .await;
    let disguised = Connection::open(lab.dial().await, &disguised).await.unwrap();
    assert_eq!(device_of(&disguised), own);
    assert_ne!(device_of(&disguised), device_of(&neighbour));
}

#[tokio::test]
async fn a_new_token_cannot_take_over_a_device_that_has_one() {
    let lab = Lab::new().await;
    let identity = Identity::named("a");
    for (n, expected) in [(0, None), (1, Some(tonic::Code::PermissionDenied))] {
        let token = lab.enrol(&lab.enrolment().await, &identity).await.unwrap();
        lab.admit(&token).await;
        let opened = Connection::open(lab.dial().await, &identity.clone().with_token(&token)).await;
        assert_eq!(opened.err().map(code), expected, "token {n}");
    }
}

#[tokio::test]
async fn of_fifty_agents_that_race_for_one_enrolment_exactly_one_joins() {
    let lab = Arc::new(Lab::new().await);
    let enrolment = lab.enrolment().await;
    let joins = (0..50).map(|n| {
        let (lab, enrolment) = (lab.clone(), enrolment.clone());
        tokio::spawn(async move { lab.enrol(&enrolment, &Identity::named(&n.to_string())).await.is_ok() })
    });
    let mut joined = 0;
    for join in joins.collect::<Vec<_>>() {
        joined += usize::from(join.await.unwrap());
    }
    assert_eq!(joined, 1);
}

#[tokio::test]
async fn a_draining_server_stores_what_runs_and_starts_nothing() {
    let lab = Lab::new().await;
    let mut agent = lab.connect(&Identity::named("a")).await;
    let device = device_of(&agent);
    let (_, jobs) = lab.submit(&[device, device]).await;
    let (attempt, _) = agent.assignment().await.unwrap();
    agent.accept(attempt).await.unwrap();
    lab.fleet.drain("an upgrade").await;
    let drain = until(&mut agent, |word| matches!(word, Word::Drain(_))).await;
    assert!(matches!(drain, Word::Drain(drain) if drain.reason == "an upgrade"));
    agent.report(attempt, &report::ok(10)).await.unwrap();
    assert_eq!(agent.verdict(attempt).await.unwrap(), Ok(()));
    lab.fleet.drain("again").await;
    let other = jobs.iter().find(|job| **job != attempt.job).unwrap();
    assert_eq!(lab.job(*other).await.state, JobState::Queued);
}

#[tokio::test]
async fn fifty_agents_some_of_them_killed_run_five_hundred_jobs_each_exactly_once() {
    let lab = Lab::new().await;
    let identities: Vec<Identity> = (0..50).map(|n| Identity::named(&n.to_string())).collect();
    let script = || Script { stages: vec![Stage::Fetch, Stage::Measure], copies: 2, ..Script::default() };
    let tally = Arc::default();
    let start =
        |identity: &Identity| FakeAgent::start_counted(&lab.address, identity.clone(), script(), Arc::clone(&tally));
    let mut agents: Vec<FakeAgent> = identities.iter().map(start).collect();
    eventually("all are connected", async || (lab.fleet.devices().len() == 50).then_some(())).await;
    let devices: Vec<_> = lab.fleet.devices().iter().map(|live| live.device).collect();
    let mut runs = Vec::new();
    for round in 0..10 {
        runs.push(lab.submit(&devices).await);
        let victim = round * 5;
        drop(agents.swap_remove(victim.min(agents.len() - 1))); // killed, idle or not
    }
    drop(agents);
    let _agents: Vec<FakeAgent> = identities.iter().map(start).collect();
    for (run, jobs) in runs {
        assert_eq!(lab.run_state(run).await, RunState::Done);
        for job in jobs {
            let results = lab.attempts(job).await.into_iter().filter(|outcome| *outcome == Some(Outcome::Ok)).count();
            assert_eq!(results, 1, "{job:?}");
        }
    }
    assert!(tally.durable.load(Ordering::Relaxed) >= 500);
}
