//! One sentence of behaviour each.

use super::*;
use crate::ids::ReservationId;
use crate::job::{Limits, ONLINE_GRANT};
use crate::lab::standing::Out;
use crate::outcome::RETRY_LIMIT;

const MAX_WAIT: Duration = Duration::from_mins(10);
const ONLINE: Grant = Grant::Online { length: ONLINE_GRANT };

/// A schedule with its clock, and shorthand for what happens to it.
struct Bench {
    schedule: Schedule,
    now: Monotonic,
    sessions: u8,
}

fn device(n: u8) -> DeviceId {
    DeviceId::new(Timestamp::from_micros(i64::from(n)), [n; 10])
}

fn job(n: u8) -> JobId {
    JobId::new(Timestamp::from_micros(i64::from(n)), [n; 10])
}

fn a_run() -> RunId {
    RunId::new(Timestamp::default(), [1; 10])
}

fn try_of(n: u8, attempt: u32) -> AttemptRef {
    AttemptRef { job: job(n), attempt }
}

fn open(n: u8, on: u8) -> OpenJob {
    OpenJob {
        job: job(n),
        run: a_run(),
        device: device(on),
        priority: 0,
        created_at: Timestamp::from_micros(i64::from(n)),
        attempt: 0,
        infrastructure_failures: 0,
        crashes: 0,
        agent_deaths: 0,
        max_wait: MAX_WAIT,
        reservation: None,
        cancelled: false,
        leased_until: None,
    }
}

impl Bench {
    fn new() -> Self {
        Self { schedule: Schedule::new(), now: Monotonic::from_nanos(1_000_000_000), sessions: 0 }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.schedule.step(self.now, input)
    }

    fn wait(&mut self, seconds: u64) -> Vec<Effect> {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.step(Input::Tick)
    }

    fn submit(&mut self, jobs: &[OpenJob]) -> Vec<Effect> {
        self.step(Input::Open { jobs: jobs.to_vec(), wall: Timestamp::default() })
    }

    fn attach_with(&mut self, n: u8, held: Vec<Held>, lost: Vec<AttemptRef>) -> Vec<Effect> {
        self.attach_after(n, held, lost, Killed::default())
    }

    fn attach_after(&mut self, n: u8, held: Vec<Held>, lost: Vec<AttemptRef>, killed: Killed) -> Vec<Effect> {
        self.sessions += 1;
        let session = SessionId::new(Timestamp::default(), [self.sessions; 10]);
        self.step(Input::Attached { device: device(n), session, admits: Admits::Everybody, held, lost, killed })
    }

    fn attach(&mut self, n: u8) -> Vec<Effect> {
        self.attach_with(n, vec![], vec![])
    }

    fn detach(&mut self, n: u8) -> Vec<Effect> {
        let session = SessionId::new(Timestamp::default(), [self.sessions; 10]);
        self.step(Input::Detached { device: device(n), session })
    }

    fn hear(&mut self, n: u8) -> Vec<Effect> {
        let session = SessionId::new(Timestamp::default(), [self.sessions; 10]);
        self.step(Input::Heard { device: device(n), session })
    }

    fn enter(&mut self, attempt: AttemptRef, stage: Stage) -> Vec<Effect> {
        let limits = Limits::default();
        let (grant, deadline) = (Grant::for_stage(stage, &limits), limits.deadline(stage));
        self.step(Input::StageEntered { attempt, device: device(1), stage, grant, deadline })
    }

    fn report(&mut self, attempt: AttemptRef, outcome: Outcome) -> Vec<Effect> {
        self.step(Input::Reported { attempt, device: device(1), outcome, verdict: outcome.verdict(0) })
    }

    fn store(&mut self, attempt: AttemptRef) -> Vec<Effect> {
        self.step(Input::Stored { attempt, accepted: Accepted::Stored })
    }

    /// Device 1 runs attempt 1 of job 1.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.submit(&[open(1, 1)]);
        bench.attach(1);
        bench.start(try_of(1, 1));
        bench
    }

    fn start(&mut self, attempt: AttemptRef) {
        self.step(Input::Claimed { attempt });
        self.step(Input::Accepted { attempt, device: device(1) });
    }
}

fn claims(effects: &[Effect]) -> Vec<AttemptRef> {
    let claim = |effect: &Effect| if let Effect::Claim { attempt, .. } = effect { Some(*attempt) } else { None };
    effects.iter().filter_map(claim).collect()
}

fn given_back(effects: &[Effect]) -> Option<(Outcome, JobNext, bool)> {
    effects.iter().find_map(|effect| {
        let Effect::GiveBack { outcome, next, agent_death, .. } = effect else { return None };
        Some((*outcome, *next, *agent_death))
    })
}

fn is_quarantined(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Quarantine { .. }))
}

#[test]
fn a_job_goes_to_its_idle_device_once_the_store_has_made_the_claim() {
    let mut bench = Bench::new();
    assert_eq!(bench.submit(&[open(1, 1)]), [], "its device is not here");
    let effects = bench.attach(1);
    assert!(matches!(effects[0], Effect::Welcome { .. }), "the welcome comes before everything else: {effects:?}");
    assert_eq!(claims(&effects), [try_of(1, 1)]);
    let assign = Effect::Assign { attempt: try_of(1, 1), device: device(1), grant: ONLINE };
    assert_eq!(bench.step(Input::Claimed { attempt: try_of(1, 1) }), [assign]);
}

#[test]
fn a_device_has_one_job_at_a_time_and_priority_goes_before_age() {
    let mut bench = Bench::new();
    bench.attach(1);
    let urgent = OpenJob { priority: 5, ..open(3, 1) };
    assert_eq!(claims(&bench.submit(&[open(2, 1), open(1, 1), urgent])), [try_of(3, 1)]);
    bench.start(try_of(3, 1));
    assert_eq!(claims(&bench.report(try_of(3, 1), Outcome::Ok)), [try_of(1, 1)], "the older of the other two");
}

#[test]
fn a_job_that_the_store_did_not_let_us_claim_is_read_again() {
    let mut bench = Bench::new();
    bench.attach(1);
    bench.submit(&[open(1, 1)]);
    let effects = bench.step(Input::ClaimLost { attempt: try_of(1, 1) });
    assert!(effects.contains(&Effect::ReadAgain), "{effects:?}");
    assert_eq!(bench.schedule.open_jobs(), 0);
}

#[test]
fn an_agent_that_was_killed_while_idle_swallows_no_job_and_costs_nobody() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    bench.attach(1);
    bench.step(Input::Claimed { attempt: try_of(1, 1) });
    bench.detach(1);
    let effects = bench.wait(ACCEPT_WITHIN.as_secs());
    assert_eq!(given_back(&effects), Some((Outcome::Cancelled, JobNext::Queued, false)));
    bench.step(Input::GaveBack { attempt: try_of(1, 1), held: true });
    assert_eq!(claims(&bench.attach(1)), [try_of(1, 2)]);
}

#[test]
fn an_agent_that_comes_back_without_the_assignment_gets_the_job_again_at_once() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    bench.attach(1);
    bench.step(Input::Claimed { attempt: try_of(1, 1) });
    bench.detach(1);
    assert_eq!(given_back(&bench.attach(1)), Some((Outcome::Cancelled, JobNext::Queued, false)));
    let effects = bench.step(Input::GaveBack { attempt: try_of(1, 1), held: true });
    assert_eq!(claims(&effects), [try_of(1, 2)]);
}

#[test]
fn a_device_whose_agent_goes_away_on_each_assignment_is_quarantined() {
    // It comes back before the server has stopped waiting for its answer, or after.
    for comes_back_after in [1, 10] {
        let mut bench = Bench::new();
        bench.submit(&[open(1, 1)]);
        bench.attach(1);
        for n in 1..=UNSTARTED_LIMIT {
            bench.step(Input::Claimed { attempt: try_of(1, n) });
            bench.detach(1);
            let mut effects = bench.wait(comes_back_after);
            effects.extend(bench.attach(1));
            assert_eq!(given_back(&effects), Some((Outcome::Cancelled, JobNext::Queued, false)));
            assert_eq!(is_quarantined(&effects), n == UNSTARTED_LIMIT, "after {n}");
            bench.step(Input::GaveBack { attempt: try_of(1, n), held: true });
            bench.wait(60);
        }
    }
}

#[test]
fn an_agent_that_starts_its_next_assignment_is_forgiven_what_it_left_unstarted() {
    let mut bench = Bench::new();
    bench.attach(1);
    for job in 1..=2 {
        bench.submit(&[open(job, 1)]);
        for n in 1..UNSTARTED_LIMIT {
            bench.step(Input::Claimed { attempt: try_of(job, n) });
            bench.detach(1);
            assert!(!is_quarantined(&bench.attach(1)), "job {job} after {n}");
            bench.step(Input::GaveBack { attempt: try_of(job, n), held: true });
            bench.wait(60);
        }
        bench.start(try_of(job, UNSTARTED_LIMIT));
        bench.report(try_of(job, UNSTARTED_LIMIT), Outcome::Ok);
        bench.store(try_of(job, UNSTARTED_LIMIT));
    }
    assert_eq!(bench.schedule.open_jobs(), 0);
}

#[test]
fn a_device_that_never_starts_what_it_is_given_is_quarantined() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    let mut effects = bench.attach(1);
    for n in 1..=UNSTARTED_LIMIT {
        bench.step(Input::Claimed { attempt: try_of(1, n) });
        effects = bench.wait(ACCEPT_WITHIN.as_secs());
        assert_eq!(is_quarantined(&effects), n == UNSTARTED_LIMIT, "after {n}");
        bench.step(Input::GaveBack { attempt: try_of(1, n), held: true });
        bench.attach(1);
        bench.wait(60);
    }
    assert!(effects.iter().any(|effect| matches!(effect, Effect::CloseSession { reason: CloseReason::Silent, .. })));
}

#[test]
fn a_handshake_does_not_undo_a_state_that_was_set_while_it_went_on() {
    for out in Out::ALL {
        let mut bench = Bench::new();
        bench.submit(&[open(1, 1)]);
        bench.step(Input::Admits { device: device(1), admits: Admits::Nobody(out) });
        assert_eq!(claims(&bench.attach(1)), [], "the handshake read it before: it {}", out.words());
        bench.detach(1);
        assert_eq!(claims(&bench.attach(1)), [], "nor does the next");
        let ready = Input::Admits { device: device(1), admits: Admits::Everybody };
        assert_eq!(claims(&bench.step(ready)), [try_of(1, 1)]);
    }
}

#[test]
fn a_handshake_tells_the_state_of_a_device_of_which_none_was_heard() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    let session = SessionId::new(Timestamp::default(), [9; 10]);
    let admits = Admits::Nobody(Out::Maintenance);
    let killed = Killed::default();
    let attached = Input::Attached { device: device(1), session, admits, held: vec![], lost: vec![], killed };
    assert_eq!(claims(&bench.step(attached)), []);
}

#[test]
fn a_device_that_refuses_is_left_alone_for_a_while() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    bench.attach(1);
    let attempt = try_of(1, 1);
    bench.step(Input::Claimed { attempt });
    let refused = Input::Refused { attempt, device: device(1), retryable: true, reason: "busy".into() };
    assert_eq!(given_back(&bench.step(refused)), Some((Outcome::Cancelled, JobNext::Queued, false)));
    assert_eq!(claims(&bench.step(Input::GaveBack { attempt, held: true })), []);
    assert_eq!(claims(&bench.wait(5)), [try_of(1, 2)]);
}

#[test]
fn a_job_that_the_agent_cannot_understand_is_over() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    bench.attach(1);
    let attempt = try_of(1, 1);
    bench.step(Input::Claimed { attempt });
    let refused = Input::Refused { attempt, device: device(1), retryable: false, reason: "schema 9".into() };
    let next = JobNext::Done(Outcome::SpecError);
    assert_eq!(given_back(&bench.step(refused)), Some((Outcome::SpecError, next, false)));
}

#[test]
fn a_live_stream_renews_the_lease_while_fetching_and_silence_ends_it() {
    let mut bench = Bench::running();
    bench.enter(try_of(1, 1), Stage::Fetch);
    for _ in 0..10 {
        assert_eq!(given_back(&bench.wait(10)), None);
        let renewed = Effect::Grant { attempt: try_of(1, 1), device: device(1), grant: ONLINE };
        assert_eq!(bench.hear(1), [renewed]);
        assert_eq!(bench.hear(1), [], "not with every word");
    }
    let effects = bench.wait(ONLINE_GRANT.as_secs() + LEASE_SLACK.as_secs());
    assert_eq!(given_back(&effects), Some((Outcome::DeviceLost, JobNext::Queued, false)));
}

#[test]
fn a_live_stream_does_not_keep_an_attempt_alive_beyond_the_deadline_of_its_stage() {
    let mut bench = Bench::running();
    bench.enter(try_of(1, 1), Stage::Prepare);
    let mut waited = 0;
    while given_back(&bench.wait(5)).is_none() {
        bench.hear(1);
        waited += 5;
        assert!(waited < 330, "preparing may take five minutes");
    }
    assert!(waited > 300);
}

#[test]
fn a_cable_that_is_lost_while_measuring_costs_nothing_within_the_stage_grant() {
    let mut bench = Bench::running();
    let effects = bench.enter(try_of(1, 1), Stage::Measure);
    assert!(matches!(effects[0], Effect::Grant { grant: Grant::Stage { .. }, .. }), "{effects:?}");
    bench.detach(1);
    assert_eq!(bench.wait(600), []);
    let held = Held { attempt: try_of(1, 1), ended: true };
    let effects = bench.attach_with(1, vec![held], vec![]);
    assert!(matches!(&effects[..], [Effect::Welcome { grants, .. }] if grants.len() == 1), "{effects:?}");
    let next = JobNext::Done(Outcome::Ok);
    let complete = Effect::Complete { attempt: try_of(1, 1), device: device(1), next, again: false };
    assert_eq!(bench.report(try_of(1, 1), Outcome::Ok), [complete]);
}

#[test]
fn nobody_can_stretch_a_lease_by_saying_the_same_stage_again() {
    let mut bench = Bench::running();
    bench.enter(try_of(1, 1), Stage::Measure);
    let mut effects = Vec::new();
    for _ in 0..60 {
        effects.extend(bench.wait(15));
        effects.extend(bench.enter(try_of(1, 1), Stage::Measure));
    }
    assert_eq!(given_back(&effects).map(|(outcome, ..)| outcome), Some(Outcome::DeviceLost));
}

#[test]
fn nobody_can_stretch_an_attempt_by_changing_stages_for_ever() {
    let mut bench = Bench::running();
    let mut effects = Vec::new();
    for minute in 0..7 * 60 {
        effects.extend(bench.wait(60));
        effects.extend(bench.enter(try_of(1, 1), if minute % 2 == 0 { Stage::Measure } else { Stage::Load }));
    }
    assert_eq!(given_back(&effects).map(|(outcome, ..)| outcome), Some(Outcome::DeviceLost));
}

#[test]
fn a_result_after_the_end_of_the_lease_is_not_taken() {
    let mut bench = Bench::running();
    bench.now = bench.now.plus(Duration::from_secs(17)); // no tick: the report itself meets the clock
    let effects = bench.report(try_of(1, 1), Outcome::Ok);
    assert_eq!(given_back(&effects).map(|(outcome, ..)| outcome), Some(Outcome::DeviceLost));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::RefuseReport { .. })), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Complete { .. })), "{effects:?}");
}

#[test]
fn another_devices_job_cannot_be_reported_staged_or_refused() {
    let mut bench = Bench::running();
    bench.attach(2);
    let attempt = try_of(1, 1);
    let effects =
        bench.step(Input::Reported { attempt, device: device(2), outcome: Outcome::Ok, verdict: Verdict::Done });
    assert!(matches!(effects[..], [Effect::RefuseReport { .. }]), "{effects:?}");
    let refused = Input::Refused { attempt, device: device(2), retryable: true, reason: String::new() };
    assert_eq!(bench.step(refused), []);
    let stage =
        Input::StageEntered { attempt, device: device(2), stage: Stage::Load, grant: ONLINE, deadline: ONLINE_GRANT };
    assert_eq!(bench.step(stage), []);
}

#[test]
fn infrastructure_is_tried_again_a_bounded_number_of_times() {
    let mut bench = Bench::running();
    for n in 1..=RETRY_LIMIT {
        assert!(matches!(
            bench.report(try_of(1, n), Outcome::HarnessError)[0],
            Effect::Complete { next: JobNext::Queued, .. }
        ));
        assert_eq!(claims(&bench.store(try_of(1, n))), [try_of(1, n + 1)]);
        bench.start(try_of(1, n + 1));
    }
    let last = bench.report(try_of(1, RETRY_LIMIT + 1), Outcome::HarnessError);
    let next = JobNext::Done(Outcome::HarnessError);
    assert_eq!(last, [Effect::Complete { attempt: try_of(1, RETRY_LIMIT + 1), device: device(1), next, again: false }]);
}

#[test]
fn a_job_that_killed_two_agents_is_quarantined_and_the_device_is_not() {
    let mut bench = Bench::running();
    let effects = bench.attach_with(1, vec![], vec![try_of(1, 1)]);
    assert_eq!(given_back(&effects), Some((Outcome::AgentKilled, JobNext::Queued, true)));
    bench.step(Input::GaveBack { attempt: try_of(1, 1), held: true });
    bench.start(try_of(1, 2));
    let effects = bench.attach_with(1, vec![], vec![try_of(1, 2)]);
    assert_eq!(given_back(&effects), Some((Outcome::AgentKilled, JobNext::Quarantined, true)));
    assert!(!is_quarantined(&effects));
    let effects = bench.step(Input::GaveBack { attempt: try_of(1, 2), held: true });
    assert_eq!(effects, [Effect::RunEnded { run: a_run() }]);
}

#[test]
fn an_agent_that_the_rom_has_killed_costs_its_job_a_try_and_is_not_counted_against_it() {
    let mut bench = Bench::running();
    let by_rom = Killed { verdict: Verdict::Retry, counts: false };
    for n in 1..=RETRY_LIMIT {
        let effects = bench.attach_after(1, vec![], vec![try_of(1, n)], by_rom);
        assert_eq!(given_back(&effects), Some((Outcome::AgentKilled, JobNext::Queued, false)));
        bench.step(Input::GaveBack { attempt: try_of(1, n), held: true });
        bench.start(try_of(1, n + 1));
    }
    let effects = bench.attach_after(1, vec![], vec![try_of(1, RETRY_LIMIT + 1)], by_rom);
    let next = JobNext::Done(Outcome::AgentKilled);
    assert_eq!(given_back(&effects), Some((Outcome::AgentKilled, next, false)), "bounded like any infrastructure");
}

#[test]
fn an_agent_that_dies_of_its_jobs_memory_twice_says_that_the_three_belong_in_quarantine() {
    let again = |effects: &[Effect]| {
        effects.iter().find_map(|effect| if let Effect::GiveBack { again, .. } = effect { Some(*again) } else { None })
    };
    let of_memory = Killed { verdict: Verdict::Repeat, counts: true };
    let mut bench = Bench::running();
    bench.submit(&[open(2, 1)]);
    assert_eq!(again(&bench.attach_after(1, vec![], vec![try_of(1, 1)], of_memory)), Some(false));
    bench.start(try_of(2, 1));
    bench.step(Input::GaveBack { attempt: try_of(1, 1), held: true });
    bench.report(try_of(2, 1), Outcome::Ok);
    bench.start(try_of(1, 2));
    let effects = bench.attach_after(1, vec![], vec![try_of(1, 2)], of_memory);
    assert_eq!(again(&effects), Some(true));
    assert_eq!(given_back(&effects), Some((Outcome::AgentKilled, JobNext::Quarantined, true)));
}

#[test]
fn what_waits_of_a_quarantined_triple_never_starts_and_the_device_goes_on_with_the_rest() {
    let mut bench = Bench::new();
    bench.submit(&[OpenJob { crashes: 1, ..open(1, 1) }, open(2, 1), open(3, 1)]);
    bench.attach(1);
    bench.start(try_of(1, 1));
    let effects = bench.report(try_of(1, 1), Outcome::CrashSignal(11));
    assert!(matches!(effects[..], [Effect::Complete { again: true, .. }]), "nothing is claimed yet: {effects:?}");
    assert_eq!(bench.step(Input::SetAside { jobs: vec![job(2), job(9)] }), []);
    assert_eq!(claims(&bench.store(try_of(1, 1))), [try_of(3, 1)]);

    let mut control = Bench::new();
    control.submit(&[open(1, 1), open(2, 1)]);
    control.attach(1);
    control.start(try_of(1, 1));
    let effects = control.report(try_of(1, 1), Outcome::CrashSignal(11));
    assert_eq!(claims(&effects), [try_of(2, 1)], "the control: once may be an accident, and the device goes on");
}

#[test]
fn a_job_that_is_set_aside_while_it_is_claimed_hears_it_from_the_store() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    bench.attach(1);
    assert_eq!(bench.step(Input::SetAside { jobs: vec![job(1)] }), []);
    let effects = bench.step(Input::ClaimLost { attempt: try_of(1, 1) });
    assert_eq!(effects, [Effect::ReadAgain, Effect::RunEnded { run: a_run() }]);
}

#[test]
fn a_device_that_loses_two_jobs_in_a_row_is_quarantined_until_an_operator_says_otherwise() {
    let mut bench = Bench::new();
    bench.submit(&[OpenJob { infrastructure_failures: RETRY_LIMIT, ..open(1, 1) }, open(2, 1), open(3, 1)]);
    bench.attach(1);
    bench.start(try_of(1, 1));
    assert!(!is_quarantined(&bench.wait(16)));
    bench.start(try_of(2, 1));
    let effects = bench.wait(16);
    assert!(is_quarantined(&effects), "{effects:?}");
    assert_eq!(claims(&effects), []);
    let back = bench.step(Input::Admits { device: device(1), admits: Admits::Everybody });
    assert_eq!(claims(&back), [try_of(3, 1)]);
}

#[test]
fn a_result_between_two_losses_forgives_the_first() {
    let mut bench = Bench::new();
    let hopeless = |n| OpenJob { infrastructure_failures: RETRY_LIMIT, ..open(n, 1) };
    bench.submit(&[hopeless(1), open(2, 1), hopeless(3)]);
    bench.attach(1);
    bench.start(try_of(1, 1));
    bench.wait(16);
    bench.start(try_of(2, 1));
    bench.report(try_of(2, 1), Outcome::NumericsFail);
    bench.start(try_of(3, 1));
    assert!(!is_quarantined(&bench.wait(16)));
}

#[test]
fn cancelling_ends_what_waits_and_asks_devices_to_end_what_runs() {
    let mut bench = Bench::running();
    bench.submit(&[open(2, 1)]);
    let effects = bench.step(Input::Cancel { run: a_run() });
    let cancel = Effect::CancelOnDevice { attempt: try_of(1, 1), device: device(1) };
    assert_eq!(effects, [Effect::CancelRun { run: a_run() }, cancel]);
    bench.step(Input::RunCancelled { run: a_run() });
    assert_eq!(bench.schedule.open_jobs(), 1, "the one that runs");
    bench.report(try_of(1, 1), Outcome::Cancelled);
    assert_eq!(bench.store(try_of(1, 1)), [Effect::RunEnded { run: a_run() }]);
}

#[test]
fn a_cancelled_job_does_not_wait_for_a_device_that_does_not_answer() {
    for connected in [true, false] {
        let mut bench = Bench::running();
        if !connected {
            bench.detach(1);
        }
        let mut effects = bench.step(Input::Cancel { run: a_run() });
        if connected {
            assert_eq!(given_back(&effects), None);
            effects = bench.wait(CANCEL_WITHIN.as_secs());
        }
        let next = JobNext::Done(Outcome::Cancelled);
        assert_eq!(given_back(&effects), Some((Outcome::Cancelled, next, false)));
    }
}

#[test]
fn a_cancelled_job_is_not_tried_again() {
    let mut bench = Bench::running();
    bench.step(Input::Cancel { run: a_run() });
    let effects = bench.report(try_of(1, 1), Outcome::CrashSignal(11));
    assert!(
        matches!(effects[0], Effect::Complete { next: JobNext::Done(Outcome::CrashSignal(11)), .. }),
        "{effects:?}"
    );
}

#[test]
fn a_crash_that_comes_again_on_the_same_device_says_so_and_only_then() {
    let again = |effects: &[Effect]| {
        effects.iter().find_map(|effect| if let Effect::Complete { again, .. } = effect { Some(*again) } else { None })
    };
    let mut bench = Bench::running();
    assert_eq!(
        again(&bench.report(try_of(1, 1), Outcome::CrashSignal(11))),
        Some(false),
        "it may have been an accident"
    );
    bench.store(try_of(1, 1));
    bench.start(try_of(1, 2));
    assert_eq!(again(&bench.report(try_of(1, 2), Outcome::HangTimeout)), Some(true));

    let mut flaky = Bench::running();
    flaky.report(try_of(1, 1), Outcome::CrashSignal(11));
    flaky.store(try_of(1, 1));
    flaky.start(try_of(1, 2));
    assert_eq!(again(&flaky.report(try_of(1, 2), Outcome::Ok)), Some(false), "the control: the second time it ran");
}

#[test]
fn a_class_decides_what_follows_where_its_outcome_knows_less() {
    let mut bench = Bench::running();
    // Killed by the ROM: signal 9 alone would be a crash.
    let effects = bench.step(Input::Reported {
        attempt: try_of(1, 1),
        device: device(1),
        outcome: Outcome::CrashSignal(9),
        verdict: Verdict::Retry,
    });
    assert!(matches!(effects[0], Effect::Complete { next: JobNext::Queued, again: false, .. }), "{effects:?}");
    let mut bench = Bench::running();
    // A GPU that was lost: its exit code alone would stand.
    let effects = bench.step(Input::Reported {
        attempt: try_of(1, 1),
        device: device(1),
        outcome: Outcome::ExitNonzero(70),
        verdict: Verdict::Repeat,
    });
    assert!(matches!(effects[0], Effect::Complete { next: JobNext::Queued, .. }), "{effects:?}");
}

#[test]
fn a_claim_that_comes_through_after_the_cancellation_is_given_back() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    bench.attach(1);
    bench.step(Input::Cancel { run: a_run() });
    let effects = bench.step(Input::Claimed { attempt: try_of(1, 1) });
    assert_eq!(given_back(&effects), Some((Outcome::Cancelled, JobNext::Done(Outcome::Cancelled), false)));
}

#[test]
fn a_cancellation_that_the_store_refuses_leaves_what_waits_in_its_queue() {
    let mut bench = Bench::running();
    bench.submit(&[open(2, 1), open(3, 2)]);
    bench.attach(2);
    bench.step(Input::Cancel { run: a_run() });
    bench.step(Input::ClaimLost { attempt: try_of(3, 1) });
    bench.step(Input::CancelFailed { run: a_run() });
    let effects = bench.report(try_of(1, 1), Outcome::Cancelled);
    assert_eq!(claims(&effects), [try_of(2, 1)], "the one that was asked to end makes room");
    let effects = bench.step(Input::Claimed { attempt: try_of(2, 1) });
    assert!(matches!(effects[..], [Effect::Assign { .. }]), "{effects:?}");
    let effects = bench.step(Input::RunCancelled { run: a_run() });
    let cancel = Effect::CancelOnDevice { attempt: try_of(2, 1), device: device(1) };
    assert_eq!(effects, [cancel], "another request came through");
}

#[test]
fn a_cancellation_that_was_accepted_is_carried_out_however_often_the_store_refuses_later() {
    let mut bench = Bench::running();
    bench.report(try_of(1, 1), Outcome::Ok);
    bench.step(Input::Cancel { run: a_run() });
    bench.step(Input::RunCancelled { run: a_run() });
    let again = [Effect::CancelRun { run: a_run() }];
    assert_eq!(bench.submit(&[open(2, 1)]), again);
    for _ in 0..2 {
        assert_eq!(bench.step(Input::CancelFailed { run: a_run() }), []);
        assert_eq!(bench.wait(CANCEL_AGAIN.as_secs() - 1), []);
        assert_eq!(bench.wait(1), again);
    }
    bench.step(Input::RunCancelled { run: a_run() });
    assert_eq!(bench.schedule.open_jobs(), 1, "the one whose result is being stored");
}

#[test]
fn after_a_restart_of_the_server_an_agent_goes_on_within_its_lease() {
    for seconds_left in [0, 300] {
        let mut bench = Bench::new();
        let until = Timestamp::from_micros(seconds_left * 1_000_000);
        bench.submit(&[OpenJob { attempt: 3, leased_until: Some(until), ..open(1, 1) }]);
        assert_eq!(bench.wait(14), [], "every agent has the time of an online grant to come back");
        let held = Held { attempt: try_of(1, 3), ended: false };
        let effects = bench.attach_with(1, vec![held], vec![]);
        assert!(matches!(&effects[..], [Effect::Welcome { stop, grants, .. }] if stop.is_empty() && grants.len() == 1));
        let complete = bench.report(try_of(1, 3), Outcome::Ok);
        assert!(matches!(complete[..], [Effect::Complete { next: JobNext::Done(Outcome::Ok), .. }]));
    }
}

#[test]
fn a_cancellation_outlives_the_server_that_acknowledged_it() {
    let mut bench = Bench::new();
    let leased = OpenJob { attempt: 3, leased_until: Some(Timestamp::from_micros(300_000_000)), ..open(1, 1) };
    let queued = open(2, 1);
    let effects = bench.submit(&[leased, queued].map(|job| OpenJob { cancelled: true, ..job }));
    assert_eq!(given_back(&effects), Some((Outcome::Cancelled, JobNext::Done(Outcome::Cancelled), false)));
    assert!(effects.contains(&Effect::CancelRun { run: a_run() }), "what waits: {effects:?}");
    let held = Held { attempt: try_of(1, 3), ended: false };
    let effects = bench.attach_with(1, vec![held], vec![]);
    assert!(
        matches!(&effects[..], [Effect::Welcome { stop, grants, .. }]
            if stop[..] == [try_of(1, 3)] && grants.is_empty()),
        "{effects:?}"
    );
    bench.step(Input::GaveBack { attempt: try_of(1, 3), held: true });
    let effects = bench.step(Input::RunCancelled { run: a_run() });
    assert!(effects.contains(&Effect::RunEnded { run: a_run() }), "{effects:?}");
}

#[test]
fn after_a_restart_a_job_whose_agent_does_not_come_back_is_offered_again_once() {
    let mut bench = Bench::new();
    bench.submit(&[OpenJob { attempt: 3, leased_until: Some(Timestamp::default()), ..open(1, 1) }]);
    let back = COME_BACK_WITHIN.as_secs() + LEASE_SLACK.as_secs();
    assert_eq!(given_back(&bench.wait(back - 1)), None, "it may still be on its way");
    let effects = bench.wait(1);
    assert_eq!(given_back(&effects), Some((Outcome::DeviceLost, JobNext::Queued, false)));
    assert_eq!(bench.wait(3600), []);
    let held = Held { attempt: try_of(1, 3), ended: false };
    bench.step(Input::GaveBack { attempt: try_of(1, 3), held: true });
    let effects = bench.attach_with(1, vec![held], vec![]);
    assert!(matches!(&effects[0], Effect::Welcome { stop, .. } if stop[..] == [try_of(1, 3)]), "{effects:?}");
    assert_eq!(claims(&effects), [try_of(1, 4)]);
}

#[test]
fn a_second_session_of_a_device_replaces_the_first_and_the_end_of_the_first_changes_nothing() {
    let mut bench = Bench::running();
    let first = SessionId::new(Timestamp::default(), [1; 10]);
    let held = Held { attempt: try_of(1, 1), ended: false };
    let effects = bench.attach_with(1, vec![held], vec![]);
    let closed = Effect::CloseSession { device: device(1), session: first, reason: CloseReason::Replaced };
    assert_eq!(effects[0], closed);
    assert_eq!(bench.step(Input::Detached { device: device(1), session: first }), []);
    assert!(matches!(bench.report(try_of(1, 1), Outcome::Ok)[..], [Effect::Complete { .. }]));
}

#[test]
fn a_duplicate_is_left_to_the_store_which_alone_remembers() {
    let mut bench = Bench::running();
    bench.report(try_of(1, 1), Outcome::Ok);
    assert!(matches!(bench.report(try_of(1, 1), Outcome::Ok)[..], [Effect::Complete { .. }]), "still being stored");
    bench.store(try_of(1, 1));
    assert!(matches!(bench.report(try_of(1, 1), Outcome::Ok)[..], [Effect::Complete { .. }]), "stored");
}

#[test]
fn a_draining_server_and_a_leaving_agent_start_nothing() {
    let mut bench = Bench::new();
    bench.attach(1);
    bench.step(Input::Drain);
    assert_eq!(bench.submit(&[open(1, 1)]), []);

    let mut bench = Bench::new();
    bench.attach(1);
    let session = SessionId::new(Timestamp::default(), [1; 10]);
    bench.step(Input::Leaving { device: device(1), session });
    assert_eq!(bench.submit(&[open(1, 1)]), []);
}

#[test]
fn a_report_that_breaks_its_bounds_ends_the_attempt_as_our_fault() {
    let mut bench = Bench::running();
    let attempt = try_of(1, 1);
    let effects = bench.step(Input::Malformed { attempt, device: device(1), reason: "10^9 samples".into() });
    assert!(matches!(effects[0], Effect::RefuseReport { .. }));
    assert_eq!(given_back(&effects), Some((Outcome::HarnessError, JobNext::Queued, false)));
}

#[test]
fn a_job_whose_device_takes_no_work_for_as_long_as_its_run_waits_ends_with_the_reason() {
    let given_up = |effects: &[Effect]| {
        effects.iter().find_map(|effect| {
            let Effect::GiveUp { attempt, reason } = effect else { return None };
            Some((*attempt, reason.clone()))
        })
    };
    // Of a device that never comes.
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    assert_eq!(given_up(&bench.wait(599)), None);
    let (attempt, reason) = given_up(&bench.wait(1)).unwrap();
    assert_eq!((attempt, reason.as_str()), (try_of(1, 0), "the device took no work for 10 min: it is not connected"));
    let effects = bench.step(Input::GaveBack { attempt, held: true });
    assert_eq!(effects, [Effect::RunEnded { run: a_run() }]);
    // Of one that is quarantined, and connected.
    bench.attach(1);
    bench.step(Input::Admits { device: device(1), admits: Admits::Nobody(Out::Quarantined) });
    bench.submit(&[open(2, 1)]);
    let (attempt, reason) = given_up(&bench.wait(600)).unwrap();
    assert!(reason.ends_with("it is quarantined"), "{reason}");
    // Whoever else has ended it meanwhile is believed.
    assert!(bench.step(Input::GaveBack { attempt, held: false }).contains(&Effect::ReadAgain));
    assert_eq!(bench.schedule.open_jobs(), 0);
}

#[test]
fn a_job_waits_as_long_as_it_takes_while_its_device_works_or_comes_back_in_time() {
    let is_given_up = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::GiveUp { .. }));
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1), open(2, 1)]);
    bench.attach(1);
    bench.start(try_of(1, 1));
    bench.enter(try_of(1, 1), Stage::Measure);
    assert!(!is_given_up(&bench.wait(650)), "the device works on another job");
    assert_eq!(claims(&bench.report(try_of(1, 1), Outcome::Ok)), [try_of(2, 1)]);
    bench.detach(1);
    bench.step(Input::Claimed { attempt: try_of(2, 1) });
    bench.step(Input::GaveBack { attempt: try_of(2, 1), held: true });
    assert!(!is_given_up(&bench.wait(599)));
    assert_eq!(claims(&bench.attach(1)), [try_of(2, 2)], "it came back in time");
    bench.step(Input::Claimed { attempt: try_of(2, 2) });
    bench.detach(1);
    assert_eq!(given_back(&bench.wait(5)), Some((Outcome::Cancelled, JobNext::Queued, false)));
    bench.step(Input::GaveBack { attempt: try_of(2, 2), held: true });
    assert!(!is_given_up(&bench.wait(599)), "waiting begins anew when the device goes away again");
    assert!(is_given_up(&bench.wait(1)));
}

fn reservation(n: u8) -> ReservationId {
    ReservationId::new(Timestamp::default(), [n; 10])
}

/// Gives the device to the jobs of a reservation.
fn reserve(n: u8) -> Input {
    Input::Admits { device: device(1), admits: Admits::Holders(reservation(n)) }
}

#[test]
fn a_reserved_device_takes_the_jobs_of_its_reservation_and_leaves_all_others_in_their_order() {
    let mut bench = Bench::new();
    let of = |n, reservation| OpenJob { reservation: Some(reservation), ..open(n, 1) };
    bench.submit(&[open(1, 1), of(2, reservation(2)), of(3, reservation(1)), open(4, 1)]);
    bench.step(reserve(1));
    assert_eq!(claims(&bench.attach(1)), [try_of(3, 1)], "the handshake read it before it was reserved");
    bench.start(try_of(3, 1));
    assert_eq!(claims(&bench.report(try_of(3, 1), Outcome::Ok)), [], "it waits for its holder");
    bench.store(try_of(3, 1));
    let free = Input::Admits { device: device(1), admits: Admits::Everybody };
    assert_eq!(claims(&bench.step(free)), [try_of(1, 1)]);
    bench.start(try_of(1, 1));
    assert_eq!(claims(&bench.report(try_of(1, 1), Outcome::Ok)), [try_of(2, 1)], "an ended reservation waits like all");
}

#[test]
fn a_claim_that_was_made_before_the_device_was_reserved_is_given_back() {
    let mut bench = Bench::new();
    bench.submit(&[open(1, 1)]);
    assert_eq!(claims(&bench.attach(1)), [try_of(1, 1)]);
    bench.step(reserve(1));
    let effects = bench.step(Input::Claimed { attempt: try_of(1, 1) });
    assert_eq!(given_back(&effects), Some((Outcome::Cancelled, JobNext::Queued, false)));
}

#[test]
fn a_job_does_not_wait_for_a_device_that_is_kept_for_others_longer_than_its_run_allows() {
    let mut bench = Bench::new();
    bench.attach(1);
    bench.step(reserve(1));
    bench.submit(&[open(1, 1), OpenJob { reservation: Some(reservation(1)), ..open(2, 1) }]);
    bench.start(try_of(2, 1));
    bench.enter(try_of(2, 1), Stage::Measure);
    let effects = bench.wait(600);
    let reason = effects.iter().find_map(|effect| {
        let Effect::GiveUp { attempt, reason } = effect else { return None };
        (*attempt == try_of(1, 0)).then_some(reason.as_str())
    });
    assert_eq!(reason, Some("the device took no work for 10 min: it is reserved"));
}
