//! The session told as sentences: a clock that only the test moves, and no socket.

use std::time::Duration;

use super::*;
use crate::backend::{Accelerator, Affinity, Backend};
use crate::dataset::Binding;
use crate::ids::JobId;
use crate::job::{Limits, ModelRef, ONLINE_GRANT, SPEC_SCHEMA};
use crate::model::{Format, Manifest, Precision, Signature};
use crate::profile::{MeasurementProfile, ProfileKind};
use crate::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_secs(4);

fn attempt(number: u8) -> AttemptRef {
    AttemptRef { job: JobId::new(Timestamp::from_micros(1), [number; 10]), attempt: 1 }
}

fn spec() -> Box<JobSpec> {
    Box::new(JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: "digits".into(),
            version: 1,
            variant: "fp32".into(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: Manifest::default(),
            signature: Signature::default(),
        },
        binding: Binding::default(),
        dataset: None,
        package: None,
        backend: Backend {
            runtime: "tract".into(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        profile: MeasurementProfile::of(ProfileKind::Quick),
        limits: Limits::default(),
        seed: 1,
    })
}

fn assignment(attempt: AttemptRef) -> Input {
    Input::Received(FromServer::Assignment { attempt, spec: spec(), grant: Grant::Online { length: ONLINE_GRANT } })
}

fn stage_grant(attempt: AttemptRef, seconds: u64) -> Input {
    let grant = Grant::Stage { length: Duration::from_secs(seconds) };
    Input::Received(FromServer::Grant { attempt, grant })
}

fn progress(attempt: AttemptRef, stage: Stage) -> Progress {
    Progress { attempt, stage, at: SECOND, share: None }
}

fn welcome() -> Welcome {
    Welcome {
        device: "device-1".into(),
        heartbeat: HEARTBEAT,
        stop: vec![],
        grants: vec![],
        artifact_prefix: "/artifacts/".into(),
    }
}

/// An agent with a clock that the test moves.
struct Agent {
    session: Session,
    now: Monotonic,
    jitter: f64,
}

impl Agent {
    fn started(held: Held) -> Self {
        let now = Monotonic::from_nanos(1_000_000_000);
        Self { session: Session::new(Settings::default(), held, now), now, jitter: 1.0 }
    }

    /// Connected and welcomed.
    fn online() -> Self {
        let mut agent = Self::started(Held::default());
        agent.connect(welcome());
        agent
    }

    fn running(attempt: AttemptRef) -> Self {
        let mut agent = Self::online();
        agent.step(assignment(attempt));
        agent
    }

    fn connect(&mut self, welcome: Welcome) -> Vec<Effect> {
        self.step(Input::Tick);
        self.step(Input::Connected);
        self.step(Input::Received(FromServer::Welcome(welcome)))
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.session.step(Moment { now: self.now, jitter: self.jitter }, input)
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now = self.now.plus(time);
        self
    }

    fn cut(&mut self) -> Vec<Effect> {
        self.step(Input::Disconnected { reason: "reset".into() })
    }

    /// Goes from deadline to deadline, as the driver does, with a server that keeps silent; all effects on the way.
    fn run_for(&mut self, time: Duration) -> Vec<Effect> {
        let end = self.now.plus(time);
        let mut all = Vec::new();
        loop {
            let effects = self.step(Input::Tick);
            let wake = effects.iter().find_map(|effect| if let Effect::WakeAt(at) = effect { Some(*at) } else { None });
            all.extend(effects);
            let Some(wake) = wake.filter(|&wake| wake <= end) else { break };
            assert!(wake >= self.now, "a wake in the past would spin");
            self.now = wake;
        }
        self.now = end;
        all
    }
}

fn wake(effects: &[Effect]) -> Option<Monotonic> {
    effects.iter().find_map(|effect| if let Effect::WakeAt(at) = effect { Some(*at) } else { None })
}

fn starts(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Start { .. })).count()
}

fn abort(effects: &[Effect]) -> Option<&Stop> {
    effects.iter().find_map(|effect| if let Effect::Abort { stop, .. } = effect { Some(stop) } else { None })
}

fn hello(effects: &[Effect]) -> Option<(&[HeldAttempt], &[AttemptRef])> {
    effects.iter().find_map(|effect| {
        if let Effect::Send(ToServer::Hello { held, lost }) = effect {
            Some((held.as_slice(), lost.as_slice()))
        } else {
            None
        }
    })
}

#[test]
fn no_job_is_taken_while_a_process_of_the_last_one_lives_and_the_refusal_names_it() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Orphans { attempt: attempt(1), processes: vec![4711] });
    // The grant ends, the server gives the job away and has another for this device.
    agent.step(stage_grant(attempt(1), 5));
    agent.after(5 * SECOND).step(Input::Tick);
    let refused = agent.step(assignment(attempt(2)));
    let said = refused.iter().find_map(|effect| {
        let Effect::Send(ToServer::Refused { attempt, reason, retryable: true }) = effect else { return None };
        Some((*attempt, reason.clone()))
    });
    let (refused, reason) = said.expect("it is refused for now");
    assert_eq!(refused, attempt(2));
    assert!(reason.contains("[4711]") && reason.contains("end them by hand"), "{reason}");
    agent.step(Input::Ended { attempt: attempt(1), reported: false });
    let taken = agent.step(assignment(attempt(2)));
    assert!(taken.contains(&Effect::Send(ToServer::Accepted(attempt(2)))), "{taken:?}");
}

#[test]
fn the_first_step_opens_the_stream_and_the_hello_is_the_first_message() {
    let mut agent = Agent::started(Held::default());
    assert!(agent.step(Input::Tick).contains(&Effect::Connect));
    let effects = agent.step(Input::Connected);
    assert_eq!(hello(&effects), Some((&[][..], &[][..])));
}

#[test]
fn a_stream_is_opened_once_however_often_time_passes() {
    let mut agent = Agent::started(Held::default());
    agent.step(Input::Tick);
    assert!(!agent.after(SECOND).step(Input::Tick).contains(&Effect::Connect));
}

#[test]
fn nothing_is_sent_before_the_welcome() {
    let mut agent = Agent::started(Held { pending: vec![attempt(1)], lost: vec![] });
    agent.step(Input::Tick);
    let effects = agent.step(Input::Connected);
    assert!(!effects.contains(&Effect::Deliver(attempt(1))));
    let effects = agent.step(Input::Received(FromServer::Welcome(welcome())));
    assert!(effects.contains(&Effect::Deliver(attempt(1))));
}

#[test]
fn the_welcome_brings_the_id_to_remember() {
    let mut agent = Agent::started(Held::default());
    let effects = agent.connect(welcome());
    let expected = Effect::Remember { device: "device-1".into(), artifact_prefix: "/artifacts/".into() };
    assert!(effects.contains(&expected));
}

#[test]
fn a_connection_that_is_not_answered_is_given_up() {
    let mut agent = Agent::started(Held::default());
    agent.step(Input::Tick);
    agent.step(Input::Connected);
    let effects = agent.after(10 * SECOND).step(Input::Tick);
    assert!(effects.contains(&Effect::Disconnect));
    assert!(wake(&effects).is_some_and(|at| at > agent.now), "and tried again later");
}

#[test]
fn waits_grow_and_stay_bounded_while_the_server_is_away_for_an_hour() {
    let mut agent = Agent::online();
    agent.after(60 * SECOND);
    agent.step(Input::Received(FromServer::Heartbeat));
    agent.cut();
    let hour = agent.now.plus(3600 * SECOND);
    let mut waits = Vec::new();
    while agent.now < hour {
        let effects = agent.step(Input::Tick);
        if effects.contains(&Effect::Connect) {
            let effects = agent.cut();
            waits.push(wake(&effects).expect("a next try").since(agent.now));
        }
        agent.now = wake(&agent.step(Input::Tick)).expect("a next try");
    }
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert_eq!(waits.last(), Some(&(15 * SECOND)));
    assert!(waits.len() > 200, "it never stops trying: {}", waits.len());
}

#[test]
fn jitter_spreads_the_return_of_a_fleet() {
    let waits = [0.0, 0.5, 1.0].map(|jitter| {
        let mut agent = Agent::online();
        agent.jitter = jitter;
        agent.after(20 * SECOND);
        let effects = agent.cut();
        wake(&effects).expect("a next try").since(agent.now)
    });
    assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
}

#[test]
fn a_server_that_drops_every_session_at_once_meets_growing_waits() {
    let mut agent = Agent::online();
    let first = wake(&agent.cut()).expect("a next try").since(agent.now);
    agent.now = agent.now.plus(first);
    agent.connect(welcome());
    let second = wake(&agent.cut()).expect("a next try").since(agent.now);
    assert!(second > first, "{first:?} {second:?}");
}

#[test]
fn an_idle_agent_speaks_often_enough() {
    let mut agent = Agent::online();
    let effects = agent.after(HEARTBEAT / 2).step(Input::Tick);
    assert!(effects.contains(&Effect::Send(ToServer::Heartbeat)));
}

#[test]
fn a_silent_server_is_left_and_tried_again() {
    let mut agent = Agent::online();
    let effects = agent.run_for(HEARTBEAT * 4);
    assert!(effects.contains(&Effect::Disconnect));
    assert!(effects.contains(&Effect::Connect));
}

#[test]
fn a_server_that_only_sends_heartbeats_keeps_the_stream() {
    let mut agent = Agent::online();
    for _ in 0..10 {
        agent.after(HEARTBEAT);
        let effects = agent.step(Input::Received(FromServer::Heartbeat));
        assert!(!effects.contains(&Effect::Disconnect));
    }
}

#[test]
fn an_assignment_is_accepted_and_started() {
    let mut agent = Agent::online();
    let effects = agent.step(assignment(attempt(1)));
    assert!(effects.contains(&Effect::Send(ToServer::Accepted(attempt(1)))));
    assert_eq!(starts(&effects), 1);
}

#[test]
fn the_same_assignment_again_is_accepted_and_not_started_twice() {
    let mut agent = Agent::running(attempt(1));
    let effects = agent.step(assignment(attempt(1)));
    assert!(effects.contains(&Effect::Send(ToServer::Accepted(attempt(1)))));
    assert_eq!(starts(&effects), 0);
}

#[test]
fn a_second_job_is_refused_while_one_runs() {
    let mut agent = Agent::running(attempt(1));
    let effects = agent.step(assignment(attempt(2)));
    let refused = effects.iter().any(|effect| {
        matches!(effect, Effect::Send(ToServer::Refused { attempt: refused, retryable: true, .. }) if *refused == attempt(2))
    });
    assert!(refused, "{effects:?}");
    assert_eq!(agent.session.running(), Some(attempt(1)));
}

#[test]
fn an_attempt_that_has_reported_is_not_run_again() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Ended { attempt: attempt(1), reported: true });
    assert_eq!(starts(&agent.step(assignment(attempt(1)))), 0);
}

#[test]
fn an_assignment_that_cannot_be_read_is_refused_for_good() {
    let mut agent = Agent::online();
    let unreadable = FromServer::Unreadable { attempt: attempt(1), reason: "schema 9".into() };
    let effects = agent.step(Input::Received(unreadable));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(ToServer::Refused { retryable: false, .. }))));
}

#[test]
fn work_is_refused_while_too_many_reports_wait() {
    let pending = (0..64).map(attempt).collect();
    let mut agent = Agent::started(Held { pending, lost: vec![] });
    agent.connect(welcome());
    assert_eq!(starts(&agent.step(assignment(attempt(99)))), 0);
}

#[test]
fn an_attempt_is_stopped_when_its_grant_ends() {
    let mut agent = Agent::running(attempt(1));
    agent.cut();
    assert!(agent.session.may_record(attempt(1), agent.now));
    let effects = agent.run_for(ONLINE_GRANT);
    assert!(matches!(abort(&effects), Some(Stop::NotOurs(_))), "{effects:?}");
    assert!(!agent.session.may_record(attempt(1), agent.now));
}

#[test]
fn a_device_ends_before_the_servers_own_count_does() {
    let mut agent = Agent::running(attempt(1));
    agent.cut();
    let effects = agent.run_for(ONLINE_GRANT.checked_sub(Duration::from_millis(500)).expect("longer"));
    assert!(abort(&effects).is_some());
}

#[test]
fn the_driver_is_woken_no_later_than_the_grant_ends() {
    let mut agent = Agent::running(attempt(1));
    let effects = agent.step(Input::Tick);
    assert!(wake(&effects).is_some_and(|at| at <= agent.now.plus(ONLINE_GRANT)));
}

#[test]
fn a_device_that_slept_stops_at_its_first_step() {
    let mut agent = Agent::running(attempt(1));
    agent.step(stage_grant(attempt(1), 600));
    // Nothing happens for eight hours: the device was suspended and the boot clock went on.
    agent.after(8 * 3600 * SECOND);
    assert!(!agent.session.may_record(attempt(1), agent.now), "even before the step");
    let effects = agent.step(Input::Progressed(progress(attempt(1), Stage::Measure)));
    assert!(matches!(abort(&effects), Some(Stop::NotOurs(_))));
    let told = effects.iter().any(|effect| matches!(effect, Effect::Send(ToServer::Stage(_))));
    assert!(!told, "and asks for no new grant");
}

#[test]
fn a_renewed_grant_keeps_the_attempt() {
    let mut agent = Agent::running(attempt(1));
    for _ in 0..10 {
        agent.after(5 * SECOND);
        let grant = Grant::Online { length: ONLINE_GRANT };
        let effects = agent.step(Input::Received(FromServer::Grant { attempt: attempt(1), grant }));
        assert_eq!(abort(&effects), None);
    }
}

#[test]
fn a_lost_cable_does_not_cost_a_measurement() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Progressed(progress(attempt(1), Stage::Measure)));
    agent.step(stage_grant(attempt(1), 675));
    agent.cut();
    let effects = agent.run_for(600 * SECOND);
    assert_eq!(abort(&effects), None);
    let effects = agent.step(Input::Ended { attempt: attempt(1), reported: true });
    assert_eq!(abort(&effects), None);
    agent.now = agent.now.plus(15 * SECOND);
    assert!(agent.connect(welcome()).contains(&Effect::Deliver(attempt(1))));
}

#[test]
fn a_grant_for_another_attempt_changes_nothing() {
    let mut agent = Agent::running(attempt(1));
    agent.step(stage_grant(attempt(2), 600));
    let effects = agent.after(ONLINE_GRANT).step(Input::Tick);
    assert!(abort(&effects).is_some());
}

#[test]
fn a_grant_that_comes_after_the_end_revives_nothing() {
    let mut agent = Agent::running(attempt(1));
    agent.after(ONLINE_GRANT).step(Input::Tick);
    agent.step(stage_grant(attempt(1), 600));
    assert!(!agent.session.may_record(attempt(1), agent.now));
}

#[test]
fn a_stopped_attempt_blocks_the_next_job_until_it_is_gone() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Received(FromServer::Cancel { attempt: attempt(1), reason: "by hand".into() }));
    assert_eq!(starts(&agent.step(assignment(attempt(2)))), 0);
    agent.step(Input::Ended { attempt: attempt(1), reported: true });
    assert_eq!(starts(&agent.step(assignment(attempt(2)))), 1);
}

#[test]
fn a_cancel_stops_the_attempt_once_and_its_report_is_delivered() {
    let mut agent = Agent::running(attempt(1));
    let cancel = || Input::Received(FromServer::Cancel { attempt: attempt(1), reason: "by hand".into() });
    assert_eq!(abort(&agent.step(cancel())), Some(&Stop::Cancelled("by hand".into())));
    assert_eq!(abort(&agent.step(cancel())), None);
    let effects = agent.step(Input::Ended { attempt: attempt(1), reported: true });
    assert!(effects.contains(&Effect::Deliver(attempt(1))));
}

#[test]
fn a_cancel_for_what_does_not_run_is_nothing() {
    let mut agent = Agent::online();
    let effects = agent.step(Input::Received(FromServer::Cancel { attempt: attempt(1), reason: String::new() }));
    assert_eq!(abort(&effects), None);
}

#[test]
fn after_a_cut_the_hello_names_what_runs_and_what_is_held() {
    let mut agent = Agent::running(attempt(2));
    agent.step(Input::Ended { attempt: attempt(2), reported: true });
    agent.step(assignment(attempt(3)));
    agent.step(Input::Progressed(progress(attempt(3), Stage::Load)));
    agent.cut();
    agent.after(SECOND).step(Input::Tick);
    let effects = agent.step(Input::Connected);
    let (held, _) = hello(&effects).expect("a hello");
    let expected = [
        HeldAttempt { attempt: attempt(3), ended: false, stage: Stage::Load },
        HeldAttempt { attempt: attempt(2), ended: true, stage: Stage::Teardown },
    ];
    assert_eq!(held, expected);
}

#[test]
fn a_resumed_attempt_goes_on_under_its_new_grant_and_says_its_stage() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Progressed(progress(attempt(1), Stage::Measure)));
    agent.cut();
    agent.after(SECOND);
    let grants = vec![(attempt(1), Grant::Stage { length: 600 * SECOND })];
    let effects = agent.connect(Welcome { grants, ..welcome() });
    assert!(effects.contains(&Effect::Send(ToServer::Stage(progress(attempt(1), Stage::Measure)))));
    agent.after(300 * SECOND);
    assert!(agent.session.may_record(attempt(1), agent.now));
}

#[test]
fn an_attempt_that_was_given_away_is_stopped_at_the_welcome() {
    let mut agent = Agent::running(attempt(1));
    agent.cut();
    agent.after(SECOND);
    let effects = agent.connect(Welcome { stop: vec![attempt(1)], ..welcome() });
    assert!(matches!(abort(&effects), Some(Stop::NotOurs(_))));
}

#[test]
fn an_attempt_that_an_earlier_process_lost_is_named_until_the_server_has_welcomed() {
    let mut agent = Agent::started(Held { pending: vec![], lost: vec![attempt(7)] });
    agent.step(Input::Tick);
    let effects = agent.step(Input::Connected);
    assert_eq!(hello(&effects).expect("a hello").1, [attempt(7)]);
    agent.cut();
    agent.after(SECOND).step(Input::Tick);
    let effects = agent.step(Input::Connected);
    assert_eq!(hello(&effects).expect("a hello").1, [attempt(7)], "the first hello may not have arrived");
    let effects = agent.step(Input::Received(FromServer::Welcome(welcome())));
    assert!(effects.contains(&Effect::ForgetLost(vec![attempt(7)])));
}

#[test]
fn a_report_is_kept_until_it_is_durable() {
    let mut agent = Agent::running(attempt(1));
    let effects = agent.step(Input::Ended { attempt: attempt(1), reported: true });
    assert!(effects.contains(&Effect::Deliver(attempt(1))));
    let effects = agent.step(Input::Received(FromServer::ReportReceived(attempt(1))));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Discard { .. })));
    let effects = agent.step(Input::Received(FromServer::ReportDurable(attempt(1))));
    assert!(effects.contains(&Effect::Discard { attempt: attempt(1), refused: None }));
}

#[test]
fn a_report_that_was_received_and_never_durable_is_offered_again() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Ended { attempt: attempt(1), reported: true });
    agent.step(Input::Received(FromServer::ReportReceived(attempt(1))));
    let mut again = false;
    for _ in 0..8 {
        agent.after(HEARTBEAT);
        again |= agent.step(Input::Received(FromServer::Heartbeat)).contains(&Effect::Deliver(attempt(1)));
    }
    assert!(again);
}

#[test]
fn a_report_is_offered_again_after_each_cut() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Ended { attempt: attempt(1), reported: true });
    for _ in 0..3 {
        agent.cut();
        agent.after(20 * SECOND);
        assert!(agent.connect(welcome()).contains(&Effect::Deliver(attempt(1))));
    }
}

#[test]
fn reports_go_one_after_another() {
    let mut agent = Agent::started(Held { pending: vec![attempt(1), attempt(2)], lost: vec![] });
    let effects = agent.connect(welcome());
    assert!(effects.contains(&Effect::Deliver(attempt(1))) && !effects.contains(&Effect::Deliver(attempt(2))));
    let effects = agent.step(Input::Received(FromServer::ReportReceived(attempt(1))));
    assert!(effects.contains(&Effect::Deliver(attempt(2))), "received is enough for the next to follow");
}

#[test]
fn a_refused_report_is_dropped_with_its_reason() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Ended { attempt: attempt(1), reported: true });
    let refused = FromServer::ReportRefused { attempt: attempt(1), reason: "stale attempt".into() };
    let effects = agent.step(Input::Received(refused));
    assert!(effects.contains(&Effect::Discard { attempt: attempt(1), refused: Some("stale attempt".into()) }));
}

#[test]
fn an_acknowledgement_that_comes_twice_discards_once() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Ended { attempt: attempt(1), reported: true });
    agent.step(Input::Received(FromServer::ReportDurable(attempt(1))));
    let effects = agent.step(Input::Received(FromServer::ReportDurable(attempt(1))));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Discard { .. })));
}

#[test]
fn a_report_that_rotted_in_the_spool_is_declared_lost() {
    let mut agent = Agent::started(Held { pending: vec![attempt(1)], lost: vec![] });
    agent.connect(welcome());
    assert!(agent.step(Input::Undeliverable(attempt(1))).contains(&Effect::Disconnect));
    agent.after(20 * SECOND).step(Input::Tick);
    let effects = agent.step(Input::Connected);
    assert_eq!(hello(&effects).expect("a hello"), (&[][..], &[attempt(1)][..]));
}

#[test]
fn a_drain_finishes_the_job_delivers_its_report_and_leaves() {
    let mut agent = Agent::running(attempt(1));
    let effects = agent.step(Input::Shutdown(Shutdown::Drain));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(ToServer::Drain { .. }))));
    assert_eq!(abort(&effects), None);
    let effects = agent.step(Input::Ended { attempt: attempt(1), reported: true });
    assert!(!effects.contains(&Effect::Exit));
    let effects = agent.step(Input::Received(FromServer::ReportDurable(attempt(1))));
    assert!(effects.contains(&Effect::Exit));
}

#[test]
fn a_draining_agent_takes_no_job() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Shutdown(Shutdown::Drain));
    assert_eq!(starts(&agent.step(assignment(attempt(2)))), 0);
}

#[test]
fn a_drain_does_not_wait_for_a_server_that_is_away() {
    let mut agent = Agent::running(attempt(1));
    agent.cut();
    agent.step(Input::Shutdown(Shutdown::Drain));
    let effects = agent.step(Input::Ended { attempt: attempt(1), reported: true });
    assert!(effects.contains(&Effect::Exit), "the spool keeps the report");
}

#[test]
fn a_drain_does_not_wait_for_ever_for_an_acknowledgement() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Ended { attempt: attempt(1), reported: true });
    agent.step(Input::Shutdown(Shutdown::Drain));
    agent.after(31 * SECOND);
    assert!(agent.step(Input::Received(FromServer::Heartbeat)).contains(&Effect::Exit));
}

#[test]
fn an_idle_agent_that_is_asked_to_stop_leaves_at_once() {
    assert!(Agent::online().step(Input::Shutdown(Shutdown::Drain)).contains(&Effect::Exit));
}

#[test]
fn a_hard_stop_ends_the_job_and_leaves_when_it_is_gone() {
    let mut agent = Agent::running(attempt(1));
    agent.step(Input::Shutdown(Shutdown::Drain));
    let effects = agent.step(Input::Shutdown(Shutdown::Hard));
    assert_eq!(abort(&effects), Some(&Stop::Shutdown));
    assert!(!effects.contains(&Effect::Exit));
    assert!(agent.step(Input::Ended { attempt: attempt(1), reported: false }).contains(&Effect::Exit));
}

#[test]
fn a_server_that_goes_away_is_left_alone_for_as_long_as_it_asks() {
    let mut agent = Agent::online();
    let leave = FromServer::Drain { reason: "restart".into(), retry_after: 20 * SECOND };
    let effects = agent.step(Input::Received(leave));
    assert!(effects.contains(&Effect::Disconnect));
    assert!(wake(&effects).is_some_and(|at| at.since(agent.now) >= 20 * SECOND));
}

#[test]
fn an_agent_with_work_keeps_its_stream_to_a_server_that_goes_away() {
    let mut agent = Agent::running(attempt(1));
    let leave = FromServer::Drain { reason: "restart".into(), retry_after: 5 * SECOND };
    assert!(!agent.step(Input::Received(leave)).contains(&Effect::Disconnect));
    let effects = agent.cut();
    assert!(wake(&effects).is_some_and(|at| at.since(agent.now) >= 5 * SECOND));
}

#[test]
fn words_of_a_stream_that_was_given_up_are_ignored() {
    let mut agent = Agent::online();
    agent.cut();
    assert_eq!(starts(&agent.step(assignment(attempt(1)))), 0);
}
