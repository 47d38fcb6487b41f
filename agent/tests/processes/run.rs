//! `seatrial-agent run` as a process of its own, against a server that the test plays.

use std::time::{Duration, Instant};

use seatrial_core::digest::Digest;
use seatrial_core::job::Grant;
use seatrial_core::outcome::Outcome;
use seatrial_core::runtimes::{ENGINE_ROLE, Engine, PackageKind};
use seatrial_core::stage::Stage;
use seatrial_proto::v1::agent_message::Message as FromAgent;
use seatrial_proto::v1::server_message::Message as ToAgent;
use seatrial_proto::{attempt_to_wire, grant_to_wire, report_from_wire, v1};

use crate::common;
use crate::engines;
use crate::stand_in::{Agent, PATIENCE, Server, attempt, job, quiet, spooled};

#[tokio::test]
async fn a_job_is_taken_run_reported_and_its_report_kept_until_durable() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    assert!(session.hello.profile_json.contains("\"tract\"") && session.hello.held.is_empty());
    session.assign(attempt(1), &job("well")).await;
    let (of, report) = session.report().await;
    assert_eq!((of, report.outcome), (attempt(1), Outcome::Ok), "{:?}", report.message);

    spooled(home.path(), 1).await;
    session.durable(attempt(1)).await;
    spooled(home.path(), 0).await;

    // The second job with the same model moves no byte of it.
    session.assign(attempt(2), &job("well")).await;
    let (_, report) = session.report().await;
    assert_eq!(report.stages[0].note.as_deref(), Some("1 files, 0 bytes moved"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_runtime_package_is_fetched_and_asked_what_it_offers_once_on_a_device() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(engines::library());
    server.offer(b"well");
    server.offer(b"well again");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    let mut offers = Vec::new();
    for (number, script) in [(1, "well"), (2, "well again")] {
        session.assign(attempt(number), &engines::job(script)).await;
        let report = session.delivered().await;
        assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
        offers.push(report.environment.facts["runtime_offers"].clone());
        // Whoever reads this remembers; whoever asks the library again does not learn it.
        for answer in std::fs::read_dir(home.path().join("probes")).unwrap() {
            let path = answer.unwrap().path();
            let told = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, told.replace("\"accelerators\":[\"cpu\"", "\"accelerators\":[\"npu\"")).unwrap();
        }
    }
    assert!(offers[0].contains("cpu") && !offers[0].contains("npu"), "{offers:?}");
    assert!(offers[1].contains("npu") && !offers[1].contains("cpu"), "{offers:?}");
    let library = Digest::of(engines::library()).to_string();
    assert_eq!(server.requests().iter().filter(|(digest, _)| *digest == library).count(), 1);
}

#[tokio::test]
async fn a_library_that_could_not_be_asked_is_not_asked_again_by_the_next_job() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let library = b"no library";
    server.offer(library);
    server.offer(b"well");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = engines::job("well");
    let kind = PackageKind::Library { engine: Engine::Litert };
    spec.package = Some(common::package("litert", kind, &[(ENGINE_ROLE, "libLiteRt.so", library)]));
    let mut told = Vec::new();
    for number in [1, 2] {
        session.assign(attempt(number), &spec).await;
        let report = session.delivered().await;
        assert_eq!(report.outcome, Outcome::UnsupportedBackend, "{:?}\n{}", report.message, report.log);
        told.push(report.environment.facts["runtime_offers"].clone());
        // As above: whoever asks again does not learn it.
        for answer in std::fs::read_dir(home.path().join("probes")).unwrap() {
            let path = answer.unwrap().path();
            let kept = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, kept.replace("cannot be loaded", "is remembered")).unwrap();
        }
    }
    assert!(told[0].contains("no cpu: ") && told[0].contains("cannot be loaded"), "{told:?}");
    assert!(told[1].contains("is remembered"), "{told:?}");
}

#[tokio::test]
async fn how_far_a_stage_is_is_told_while_it_lasts() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.profile.stop.min_time = Duration::from_secs(4);
    spec.profile.stop.max_samples = u32::MAX;
    session.assign(attempt(1), &spec).await;
    let (first, second) = (session.share("measure").await, session.share("measure").await);
    assert!(0.0 < first && first < second && second < 1.0, "{first} then {second}");
    assert_eq!(session.report().await.1.outcome, Outcome::Ok);
}

#[tokio::test]
async fn an_interrupted_transfer_goes_on_where_it_ended() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well in inference");
    server.artifacts.lock().unwrap().cuts = vec![3, 5];
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well in inference")).await;
    let (_, report) = session.report().await;
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    assert_eq!(server.requests().iter().map(|(_, from)| *from).collect::<Vec<_>>(), [0, 5, 8]);
}

#[tokio::test]
async fn a_transfer_that_is_too_slow_ends_with_its_reason_and_the_next_attempt_goes_on_from_there() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    server.artifacts.lock().unwrap().stall = true;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.limits.deadlines.insert(Stage::Fetch, Duration::from_secs(2));
    session.assign(attempt(1), &spec).await;
    let report = session.delivered().await;
    assert_eq!((report.outcome, report.failed_stage), (Outcome::HarnessError, Some(Stage::Fetch)));
    let message = report.message.unwrap();
    assert!(message.contains("in the 2 s that fetching may take: 1 of its 4 bytes are here"), "{message}");

    server.artifacts.lock().unwrap().stall = false;
    session.assign(attempt(2), &spec).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
    assert_eq!(server.requests().iter().map(|(_, from)| *from).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn an_artifact_that_was_altered_in_the_cache_is_fetched_again_and_never_measured() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);

    let cached = home.path().join("cache").join(Digest::of(b"well").to_string());
    std::fs::set_permissions(&cached, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&cached, b"hang").unwrap();
    session.assign(attempt(2), &job("well")).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.message);
    assert_eq!(report.stages[0].note.as_deref(), Some("1 files, 4 bytes moved"));
    assert_eq!(std::fs::read(&cached).unwrap(), b"well");
}

#[tokio::test]
async fn bytes_that_are_not_the_digests_never_become_an_artifact() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    server.artifacts.lock().unwrap().damage = true;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::TransferCorrupt, "{:?}", report.message);
    assert!(!home.path().join("cache").join(Digest::of(b"well").to_string()).exists());
    // The control: the same transfer undamaged.
    server.artifacts.lock().unwrap().damage = false;
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
    // And the protection taken away: an agent that does not compare digests runs other bytes than were asked for.
    server.artifacts.lock().unwrap().damage = true;
    let other = tempfile::tempdir().unwrap();
    let _trusting = Agent::with_faults(server.address, other.path(), &[], "cache-digest=return");
    let mut session = server.session().await;
    session.assign(attempt(3), &job("well")).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::LoadFail, "{:?}", report.message);
}

#[tokio::test]
async fn an_agent_that_did_not_look_for_the_sentinel_would_take_an_early_exit_for_a_success() {
    let script = "exit 0 in load";
    let mut outcomes = Vec::new();
    for faults in ["", "sentinel-unread=return"] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start().await;
        server.offer(script.as_bytes());
        let _agent = Agent::with_faults(server.address, home.path(), &[], faults);
        let mut session = server.session().await;
        session.assign(attempt(1), &job(script)).await;
        outcomes.push(session.delivered().await.outcome);
    }
    assert_eq!(outcomes, [Outcome::DriverExit0, Outcome::Ok]);
}

#[tokio::test]
async fn an_artifact_that_the_cache_cannot_hold_is_storage_full_and_the_next_job_runs() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let large = format!("well{}", " ".repeat(5000));
    server.offer(large.as_bytes());
    server.offer(b"well");
    server.offer(b"well in load");
    let _agent = Agent::start(server.address, home.path(), &["--cache-bytes", "12"]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job(&large)).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::StorageFull, "{:?}", report.message);
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
    // The older one makes room for the newer.
    session.assign(attempt(3), &job("well in load")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
    let cached = |bytes: &[u8]| home.path().join("cache").join(Digest::of(bytes).to_string()).exists();
    assert!(!cached(b"well") && cached(b"well in load"));
}

#[tokio::test]
async fn a_killed_agent_leaves_no_process_and_names_the_attempt_that_it_lost() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    assert!(!common::left_behind(home.path()).is_empty(), "the control: there is a child");
    agent.signal(9);
    agent.ended().await;
    quiet(home.path()).await;

    let _agent = Agent::start(server.address, home.path(), &[]);
    let session = server.session().await;
    assert_eq!(session.hello.lost, [attempt_to_wire(attempt(1))]);
    assert!(session.hello.held.is_empty());
}

#[tokio::test]
async fn an_agent_that_cannot_remove_what_a_job_left_goes_on_and_forgets_the_job() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    agent.signal(9);
    agent.ended().await;

    // The first session forgets what it was told as lost; the second has nothing to tell.
    for lost in [vec![attempt_to_wire(attempt(1))], vec![]] {
        let mut agent = Agent::with_faults(server.address, home.path(), &[], "folder-remove=return");
        let mut session = server.session().await;
        assert_eq!(session.hello.lost, lost);
        session.until(|message| matches!(message, FromAgent::Heartbeat(_)).then_some(())).await;
        agent.signal(9);
        agent.ended().await;
    }
    assert_eq!(std::fs::read_dir(home.path().join("attempts")).unwrap().count(), 1, "the control: it was not removed");
}

#[tokio::test]
async fn a_job_that_kills_its_agent_leaves_no_process_either() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"kill parent in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let session = server.session().await;
    session.assign(attempt(1), &job("kill parent in load")).await;
    agent.ended().await;
    quiet(home.path()).await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    assert_eq!(server.session().await.hello.lost.len(), 1);
}

#[tokio::test]
async fn an_escaped_process_of_a_killed_agent_is_gone_before_the_next_hello() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"fork bomb in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("fork bomb in load")).await;
    session.stage("load").await;
    while common::left_behind(home.path()).len() < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.signal(9);
    agent.ended().await;
    assert!(!common::left_behind(home.path()).is_empty(), "the control: they outlive the agent");
    let _agent = Agent::start(server.address, home.path(), &[]);
    server.session().await;
    assert_eq!(common::left_behind(home.path()), Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_takes_no_job_while_a_process_of_the_last_one_cannot_be_ended() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"setsid escape in load");
    server.offer(b"well");
    let _agent = Agent::with_faults(server.address, home.path(), &[], "sweep-kill=return");
    let mut session = server.session().await;
    session.assign(attempt(1), &job("setsid escape in load")).await;
    session.stage("accuracy").await;
    let grant = grant_to_wire(attempt(1), Grant::Online { length: Duration::from_secs(1) });
    session.say(ToAgent::Grant(grant)).await;

    // The server has given the job away, and has another one for this device.
    let orphans = loop {
        let reason = refusal(&mut session).await.expect("the next job is taken beside an orphan");
        if reason.contains("do not end") {
            break common::left_behind(home.path());
        }
        assert!(reason.contains("busy"), "{reason}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(orphans.len(), 1);
    assert!(std::process::Command::new("kill").arg("-9").args(&orphans).status().unwrap().success());
    let begun = Instant::now();
    while refusal(&mut session).await.is_some() {
        assert!(begun.elapsed() < PATIENCE, "the agent does not notice that it is gone");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (of, report) = session.report().await;
    assert_eq!((of, report.outcome), (attempt(2), Outcome::Ok), "{:?}", report.message);
}

/// Why the second job is not taken; `None` when it is.
async fn refusal(session: &mut crate::stand_in::Session) -> Option<String> {
    session.assign(attempt(2), &job("well")).await;
    session
        .until(|message| match message {
            FromAgent::Refused(refused) => Some(Some(refused.reason)),
            FromAgent::Accepted(_) => Some(None),
            FromAgent::Hello(_)
            | FromAgent::Heartbeat(_)
            | FromAgent::Vitals(_)
            | FromAgent::Found(_)
            | FromAgent::Stage(_)
            | FromAgent::Report(_)
            | FromAgent::Drain(_) => None,
        })
        .await
}

#[tokio::test]
async fn a_report_outlives_server_and_agent() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    session.report().await;
    agent.signal(9);
    agent.ended().await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    assert_eq!(session.hello.held.len(), 1);
    assert!(session.hello.lost.is_empty(), "a spooled report is not lost");
    assert_eq!(session.report().await.0, attempt(1));
}

#[tokio::test]
async fn a_report_waits_on_disk_for_a_server_that_is_away_and_is_delivered_once() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let address = server.address;
    let _agent = Agent::start(address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.profile.stop.min_time = Duration::from_secs(1);
    session.assign(attempt(1), &spec).await;
    session.stage("measure").await;
    drop((session, server));
    spooled(home.path(), 1).await;
    // Long enough for several attempts to connect, none of which costs the report.
    tokio::time::sleep(Duration::from_secs(4)).await;
    spooled(home.path(), 1).await;

    let mut server = Server::at(&address.to_string()).await;
    server.offer(b"well");
    let mut session = server.session().await;
    let (of, report) = session.report().await;
    assert_eq!((of, report.outcome), (attempt(1), Outcome::Ok), "the job went on without the server");
    session.durable(attempt(1)).await;
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.report().await.0, attempt(2), "the first is not sent again");
    session.durable(attempt(2)).await;
    spooled(home.path(), 0).await;
}

#[tokio::test]
async fn a_grant_that_ends_stops_the_attempt_within_a_second_and_nothing_is_reported() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    let grant = grant_to_wire(attempt(1), Grant::Online { length: Duration::from_secs(1) });
    session.say(ToAgent::Grant(grant)).await;
    tokio::time::sleep(Duration::from_millis(1800)).await;
    assert_eq!(common::left_behind(home.path()), Vec::<String>::new());
    // The agent is free again, and the first thing that it reports is the next job.
    server.offer(b"well");
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.report().await.0, attempt(2));
}

#[tokio::test]
async fn a_frozen_agent_whose_grant_ended_records_nothing_after_the_thaw() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    let mut spec = job("well");
    spec.profile.stop.min_time = Duration::from_millis(1500);
    session.assign(attempt(1), &spec).await;
    session.stage("measure").await;
    let grant = grant_to_wire(attempt(1), Grant::Online { length: Duration::from_secs(2) });
    session.say(ToAgent::Grant(grant)).await;
    session.until(|message| matches!(message, FromAgent::Heartbeat(_) | FromAgent::Stage(_)).then_some(())).await;
    // The child ends by itself while the agent is frozen; the grant ends as well.
    agent.signal(19);
    tokio::time::sleep(Duration::from_secs(3)).await;
    agent.signal(18);
    let mut session = match tokio::time::timeout(Duration::from_millis(500), server.sessions.recv()).await {
        Ok(_) => panic!("the stream is still open"),
        Err(_) => session,
    };
    session.assign(attempt(2), &job("well")).await;
    let first = session.until(|message| {
        let FromAgent::Report(report) = message else { return None };
        Some(report_from_wire(report).unwrap().0)
    });
    assert_eq!(first.await, attempt(2), "no report of the attempt whose grant ended");
}

#[tokio::test]
async fn a_cancelled_job_is_reported_as_cancelled() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let _agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    session
        .say(ToAgent::Cancel(v1::Cancel { attempt: Some(attempt_to_wire(attempt(1))), reason: "by hand".into() }))
        .await;
    assert_eq!(session.report().await.1.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn terminate_drains_and_a_second_one_does_not_wait() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"hang in load");
    let mut agent = Agent::start(server.address, home.path(), &[]);
    let mut session = server.session().await;
    session.assign(attempt(1), &job("hang in load")).await;
    session.stage("load").await;
    agent.signal(15);
    session.until(|message| matches!(message, FromAgent::Drain(_)).then_some(())).await;
    assert!(agent.0.try_wait().unwrap().is_none(), "it finishes what runs");
    agent.signal(15);
    assert!(agent.ended().await.success());
    quiet(home.path()).await;
}

#[tokio::test]
async fn enrolment_trades_the_one_time_token_for_a_token_that_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let mut agent = Agent::start(server.address, home.path(), &["--enrol", "once"]);
    assert_eq!(server.session().await.authorization.as_deref(), Some("Bearer own"));
    let begun = Instant::now();
    while !home.path().join("device").exists() {
        assert!(begun.elapsed() < PATIENCE, "the agent does not keep its id");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    agent.signal(15);
    agent.ended().await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let session = server.session().await;
    assert_eq!(session.authorization.as_deref(), Some("Bearer own"));
    let evidence = session.hello.evidence.unwrap();
    assert_eq!(evidence.agent_id.as_deref(), Some("0199f0c2-5b1e-7cc3-98c4-dc0c0c07398f"));
}

#[tokio::test]
async fn a_wrong_one_time_token_ends_the_agent_with_an_explanation() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let mut agent = Agent::start(server.address, home.path(), &["--enrol", "twice"]);
    assert!(!agent.ended().await.success());
}

/// Kills the agent while it stands at a fault point between the end of an attempt and its report on disk.
async fn killed_at(point: &str) -> (Vec<v1::AttemptRef>, Vec<v1::AttemptRef>) {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let mut agent = Agent::with_faults(server.address, home.path(), &[], &format!("{point}=sleep(60000)"));
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    session.stage("accuracy").await;
    let reached = || {
        let entries = std::fs::read_dir(home.path().join("spool")).unwrap().flatten();
        point == "report-before-spool" || entries.filter(|entry| entry.path().is_file()).count() > 0
    };
    while !reached() || !common::left_behind(home.path()).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    agent.signal(9);
    agent.ended().await;
    let _agent = Agent::start(server.address, home.path(), &[]);
    let hello = server.session().await.hello;
    (hello.held.into_iter().filter_map(|held| held.attempt).collect(), hello.lost)
}

#[tokio::test]
async fn a_kill_at_any_point_of_spooling_leaves_the_attempt_either_reported_or_lost_and_never_both() {
    let this = || vec![attempt_to_wire(attempt(1))];
    for point in ["report-before-spool", "spool-before-sync", "spool-before-rename"] {
        assert_eq!(killed_at(point).await, (vec![], this()), "{point}");
    }
    assert_eq!(killed_at("spool-before-folder-sync").await, (this(), vec![]));
}

#[tokio::test]
async fn an_agent_that_gets_no_thread_for_an_attempt_reports_that_and_takes_the_next_job() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::with_faults(server.address, home.path(), &[], "attempt-spawn=1*return");
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::HarnessError);
    assert!(report.message.unwrap().contains("starting the attempt's thread"));
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_full_disk_under_the_cache_is_storage_full_and_passes() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::with_faults(server.address, home.path(), &[], "cache-write=1*return");
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::StorageFull);
    // The control: the disk has room again.
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_full_disk_under_the_spool_still_reports_what_is_essential() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.offer(b"well");
    let _agent = Agent::with_faults(server.address, home.path(), &[], "spool-before-write=1*return");
    let mut session = server.session().await;
    session.assign(attempt(1), &job("well")).await;
    let report = session.delivered().await;
    assert_eq!(report.outcome, Outcome::StorageFull);
    assert!(report.message.unwrap().contains("the attempt ended with ok"));
    session.assign(attempt(2), &job("well")).await;
    assert_eq!(session.delivered().await.outcome, Outcome::Ok);
}
