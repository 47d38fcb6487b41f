//! Health checks among jobs, in simulated time.

use proptest::prelude::*;

use super::*;
use crate::job::ONLINE_GRANT;
use crate::lab::canary::{AGAIN, EVERY, Last, PAUSE};
use crate::lab::standing::Out;

/// One device, its store and its agent, all of which do at once what they are told.
struct Lab {
    schedule: Schedule,
    now: Monotonic,
    boots: u8,
    fingerprint: &'static str,
    /// What its checks find.
    health: Health,
    /// How its jobs end.
    outcome: Outcome,
    /// What the device was given, in order, with the moment.
    given: Vec<(Given, Duration)>,
    jobs: u8,
    ids: u16,
    quarantined: bool,
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Job,
    Check(Due),
}

const START: Monotonic = Monotonic::from_nanos(1_000_000_000);
const DAWN: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn device() -> DeviceId {
    DeviceId::new(DAWN, [1; 10])
}

fn run() -> RunId {
    RunId::new(DAWN, [1; 10])
}

impl Lab {
    fn new() -> Self {
        Self {
            schedule: Schedule::new(),
            now: START,
            boots: 0,
            fingerprint: "f1",
            health: Health::Healthy,
            outcome: Outcome::Ok,
            given: Vec::new(),
            jobs: 0,
            ids: 0,
            quarantined: false,
            last: None,
        }
    }

    /// Of an id that no job has.
    fn entropy(&mut self) -> [u8; 10] {
        self.ids += 1;
        let [high, low] = self.ids.to_be_bytes();
        [255, high, low, 0, 0, 0, 0, 0, 0, 0]
    }

    fn wall(&self) -> Timestamp {
        DAWN.plus(self.now.since(START))
    }

    /// The checks that were made, and after how many jobs.
    fn given(&self) -> Vec<Given> {
        self.given.iter().map(|(given, _)| *given).collect()
    }

    fn checks(&self) -> Vec<Due> {
        let due = |given| if let Given::Check(due) = given { Some(due) } else { None };
        self.given().into_iter().filter_map(due).collect()
    }

    fn step(&mut self, input: Input) {
        let effects = self.schedule.step(self.now, input);
        for effect in &effects {
            self.perform(effect);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of the rest nothing follows here")]
    fn perform(&mut self, effect: &Effect) {
        let at = self.now.since(START);
        match *effect {
            Effect::Claim { attempt, .. } => self.step(Input::Claimed { attempt }),
            Effect::Check { device, due } => {
                self.given.push((Given::Check(due), at));
                let job = JobId::new(DAWN, self.entropy());
                self.step(Input::Check { device, attempt: AttemptRef { job, attempt: 1 } });
            }
            Effect::Assign { attempt, device, .. } => {
                assert!(!self.quarantined, "a sick device gets nothing");
                self.step(Input::Accepted { attempt, device });
                if self.schedule.run_of(attempt.job).is_some() {
                    self.given.push((Given::Job, at));
                }
                let is_check = self.schedule.is_check(attempt.job);
                let outcome = if is_check { Outcome::Ok } else { self.outcome };
                if outcome == Outcome::DeviceLost {
                    return; // its lease ends
                }
                self.step(Input::Reported { attempt, device, outcome, verdict: outcome.verdict(0) });
            }
            Effect::Complete { attempt, .. } => self.step(Input::Stored { attempt, accepted: Accepted::Stored }),
            Effect::GiveBack { attempt, .. } => self.step(Input::GaveBack { attempt, held: true }),
            Effect::Judge { attempt, .. } => {
                let health = self.health;
                if health != Health::Unknown {
                    let (boot_id, fingerprint) = (self.boot(), self.fingerprint.to_owned());
                    let healthy = health == Health::Healthy;
                    self.last = Some(Last { at: self.wall(), boot_id, fingerprint, healthy });
                }
                self.step(Input::Checked { attempt, health, reason: "it is sick".to_owned() });
            }
            Effect::Quarantine { .. } => self.quarantined = true,
            _ => {}
        }
    }

    fn boot(&self) -> String {
        format!("boot {}", self.boots)
    }

    fn attach_as(&mut self, known: Option<Known>) {
        let wall = self.wall();
        self.step(Input::Watch { device: device(), known, wall });
        let session = SessionId::new(DAWN, self.entropy());
        let admits = Admits::Everybody;
        let killed = Killed::default();
        self.step(Input::Attached { device: device(), session, admits, held: vec![], lost: vec![], killed });
    }

    fn attach(&mut self) {
        let known = Known { last: self.last.clone(), boot_id: self.boot(), fingerprint: self.fingerprint.to_owned() };
        self.attach_as(Some(known));
    }

    fn reboot(&mut self) {
        self.boots += 1;
        self.attach();
    }

    fn submit(&mut self, count: u8) {
        let jobs = (0..count).map(|_| {
            self.jobs += 1;
            OpenJob {
                job: JobId::new(DAWN, [self.jobs; 10]),
                run: run(),
                device: device(),
                priority: i32::MAX,
                created_at: DAWN,
                attempt: 0,
                infrastructure_failures: 0,
                crashes: 0,
                agent_deaths: 0,
                max_wait: Duration::from_hours(24 * 30),
                reservation: None,
                cancelled: false,
                leased_until: None,
            }
        });
        let jobs = jobs.collect();
        let wall = self.wall();
        self.step(Input::Open { jobs, wall });
    }

    /// Time passes, and everything that is due by then happens when it is.
    fn wait(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(at) = self.schedule.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
        self.now = end;
        self.step(Input::Tick);
    }

    fn admit(&mut self, admits: Admits) {
        self.quarantined = matches!(admits, Admits::Nobody(_));
        self.step(Input::Admits { device: device(), admits });
    }
}

#[test]
fn a_device_is_checked_before_its_first_job_and_after_each_boot_and_each_new_system() {
    let mut lab = Lab::new();
    lab.submit(2);
    lab.attach();
    assert_eq!(lab.given(), [Given::Check(Due::NeverChecked), Given::Job, Given::Job]);
    lab.attach();
    lab.submit(1);
    assert_eq!(lab.checks().len(), 1, "its agent was started again, nothing else");
    lab.reboot();
    lab.fingerprint = "f2";
    lab.attach();
    lab.submit(1);
    let (rebooted, changed) = (Given::Check(Due::Rebooted), Given::Check(Due::SystemChanged));
    assert_eq!(lab.given()[3..], [Given::Job, rebooted, changed, Given::Job]);
    assert_eq!(lab.schedule.open_jobs(), 0);
}

#[test]
fn a_server_without_checks_gives_a_device_nothing_but_jobs() {
    let mut lab = Lab::new();
    lab.submit(3);
    lab.attach_as(None);
    lab.step(Input::CheckNow { device: device() });
    lab.wait(EVERY * 3);
    assert_eq!(lab.given(), [Given::Job; 3]);
}

#[test]
fn an_idle_device_is_checked_once_a_day_and_a_busy_one_between_two_jobs() {
    let mut lab = Lab::new();
    lab.attach();
    lab.wait(EVERY * 3 + Duration::from_hours(1));
    assert_eq!(lab.checks(), [Due::NeverChecked, Due::ADayAgo, Due::ADayAgo, Due::ADayAgo]);
    let days: Vec<u64> = lab.given.iter().map(|(_, at)| at.as_secs() / 3600).collect();
    assert_eq!(days, [0, 24, 48, 72]);

    let mut lab = Lab::new();
    lab.outcome = Outcome::DeviceLost; // a job that takes its time
    lab.attach();
    lab.wait(EVERY.saturating_sub(Duration::from_secs(1)));
    lab.submit(1);
    lab.wait(Duration::from_secs(2));
    assert_eq!(lab.given(), [Given::Check(Due::NeverChecked), Given::Job], "it works");
    lab.outcome = Outcome::Ok;
    lab.wait(Duration::from_mins(5));
    assert_eq!(lab.given()[2..], [Given::Check(Due::ADayAgo), Given::Job], "the job it lost comes after");
}

#[test]
fn two_failures_of_the_lab_in_a_row_make_a_check_due_before_the_next_job() {
    let mut lab = Lab::new();
    lab.attach();
    lab.wait(PAUSE);
    lab.outcome = Outcome::HarnessError;
    lab.submit(1);
    // A job is tried three times; before the third try its device is looked at.
    assert_eq!(lab.given()[1..], [Given::Job, Given::Job, Given::Check(Due::Failures), Given::Job]);
    lab.outcome = Outcome::CrashSignal(11);
    lab.wait(PAUSE);
    lab.submit(2);
    assert_eq!(lab.checks().len(), 2, "what the model does is no failure of the lab");
}

#[test]
fn a_sick_device_gets_no_job_and_is_checked_again_once_it_is_back() {
    let mut lab = Lab::new();
    lab.health = Health::Sick;
    lab.submit(2);
    lab.attach();
    assert!(lab.quarantined);
    lab.wait(EVERY * 2);
    assert_eq!(lab.given(), [Given::Check(Due::NeverChecked)], "nor is it checked while it is out");
    lab.admit(Admits::Everybody);
    assert!(lab.quarantined, "it is sick still");
    lab.health = Health::Healthy;
    lab.admit(Admits::Everybody);
    let again = Given::Check(Due::WasSick);
    assert_eq!(lab.given()[1..], [again, again, Given::Job, Given::Job]);
}

#[test]
fn a_device_that_is_out_of_service_is_never_checked_and_a_reserved_one_is() {
    for out in Out::ALL {
        let mut lab = Lab::new();
        lab.step(Input::Admits { device: device(), admits: Admits::Nobody(out) });
        lab.attach();
        lab.step(Input::CheckNow { device: device() });
        lab.wait(EVERY * 2);
        assert_eq!(lab.given(), [], "{out:?}");
    }
    let mut lab = Lab::new();
    let reservation = crate::ids::ReservationId::new(DAWN, [5; 10]);
    lab.step(Input::Admits { device: device(), admits: Admits::Holders(reservation) });
    lab.submit(1);
    lab.attach();
    assert_eq!(lab.given(), [Given::Check(Due::NeverChecked)], "the job is not of its holders");
}

#[test]
fn a_check_that_measured_nothing_keeps_no_job_waiting_and_is_tried_again_less_and_less() {
    let mut lab = Lab::new();
    lab.health = Health::Unknown;
    lab.submit(1);
    lab.attach();
    assert_eq!(lab.given(), [Given::Check(Due::NeverChecked), Given::Job]);
    lab.wait(AGAIN.first);
    assert_eq!(lab.checks().len(), 2);
    lab.wait(Duration::from_hours(24 * 7));
    let most = 7 + 24 * 7 / 6;
    assert!((20..=most).contains(&lab.checks().len()), "{} in a week", lab.checks().len());
}

#[test]
fn an_operator_has_a_device_checked_at_once_or_when_its_job_has_ended() {
    let mut lab = Lab::new();
    lab.attach();
    lab.step(Input::CheckNow { device: device() });
    assert_eq!(lab.checks(), [Due::NeverChecked, Due::Asked]);
    lab.outcome = Outcome::DeviceLost;
    lab.submit(1);
    lab.step(Input::CheckNow { device: device() });
    assert_eq!(lab.checks().len(), 2, "it works");
    lab.outcome = Outcome::Ok;
    lab.wait(Duration::from_mins(1));
    assert_eq!(lab.given()[2..], [Given::Job, Given::Check(Due::Asked), Given::Job]);
}

/// A device that is given a check and does nothing of its own.
fn asked() -> (Schedule, AttemptRef, Vec<Effect>) {
    let mut schedule = Schedule::new();
    let known = Known { last: None, boot_id: String::new(), fingerprint: String::new() };
    schedule.step(START, Input::Watch { device: device(), known: Some(known), wall: DAWN });
    let session = SessionId::new(DAWN, [1; 10]);
    let (admits, killed) = (Admits::Everybody, Killed::default());
    let attached = Input::Attached { device: device(), session, admits, held: vec![], lost: vec![], killed };
    let effects = schedule.step(START, attached);
    assert!(matches!(effects[0], Effect::Welcome { .. }), "the welcome comes before everything else: {effects:?}");
    assert_eq!(effects[1..], [Effect::Check { device: device(), due: Due::NeverChecked }]);
    let attempt = AttemptRef { job: JobId::new(DAWN, [7; 10]), attempt: 1 };
    let effects = schedule.step(START, Input::Check { device: device(), attempt });
    (schedule, attempt, effects)
}

fn lost(effects: &[Effect]) -> Option<Outcome> {
    effects.iter().find_map(|effect| {
        let Effect::CheckLost { outcome, due: Due::NeverChecked, .. } = effect else { return None };
        Some(*outcome)
    })
}

#[test]
fn a_check_has_a_lease_like_a_job_and_touches_no_store() {
    let (mut schedule, attempt, effects) = asked();
    let grant = Grant::Online { length: ONLINE_GRANT };
    assert_eq!(effects, [Effect::Assign { attempt, device: device(), grant }]);
    assert_eq!((schedule.open_jobs(), schedule.run_of(attempt.job)), (0, None), "it is nobody's job");
    schedule.step(START, Input::Accepted { attempt, device: device() });
    let grant = Grant::Stage { length: Duration::from_secs(20) };
    let deadline = Duration::from_secs(20);
    let entered = Input::StageEntered { attempt, device: device(), stage: Stage::Load, grant, deadline };
    assert_eq!(schedule.step(START, entered), [Effect::Grant { attempt, device: device(), grant }]);
    let effects = schedule.step(START.plus(Duration::from_secs(21)), Input::Tick);
    assert!(matches!(effects[0], Effect::StopOnDevice { .. }), "{effects:?}");
    assert_eq!(lost(&effects), Some(Outcome::DeviceLost));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::GiveBack { .. } | Effect::RunEnded { .. })));
}

#[test]
fn a_check_that_is_not_accepted_or_refused_or_malformed_is_lost_and_its_report_counts_once() {
    let (mut schedule, ..) = asked();
    assert_eq!(lost(&schedule.step(START.plus(ACCEPT_WITHIN), Input::Tick)), Some(Outcome::Cancelled));
    let (mut schedule, attempt, _) = asked();
    let refused = Input::Refused { attempt, device: device(), retryable: false, reason: "what?".to_owned() };
    assert_eq!(lost(&schedule.step(START, refused)), Some(Outcome::SpecError));
    let (mut schedule, attempt, _) = asked();
    let malformed = Input::Malformed { attempt, device: device(), reason: "too long".to_owned() };
    assert_eq!(lost(&schedule.step(START, malformed)), Some(Outcome::HarnessError));

    let (mut schedule, attempt, _) = asked();
    let outcome = Outcome::Ok;
    let report = Input::Reported { attempt, device: device(), outcome, verdict: outcome.verdict(0) };
    let judge = Effect::Judge { attempt, device: device(), due: Due::NeverChecked };
    assert_eq!(schedule.step(START, report.clone()), [judge]);
    assert!(matches!(schedule.step(START, report)[..], [Effect::RefuseReport { .. }]));
    let other = AttemptRef { attempt: 2, ..attempt };
    let checked = |attempt| Input::Checked { attempt, health: Health::Sick, reason: "it is sick".to_owned() };
    assert_eq!(schedule.step(START, checked(other)), []);
    let sick = Effect::Quarantine { device: device(), reason: "it is sick".to_owned() };
    assert_eq!(schedule.step(START, checked(attempt)), [sick]);
    assert_eq!(schedule.step(START, checked(attempt)), [], "it is judged once");
}

#[test]
fn a_device_that_passes_its_checks_is_quarantined_all_the_same_when_it_loses_two_jobs() {
    let mut lab = Lab::new();
    lab.attach();
    lab.outcome = Outcome::DeviceLost;
    lab.submit(1);
    lab.wait(Duration::from_secs(17));
    lab.step(Input::CheckNow { device: device() });
    lab.submit(1);
    lab.wait(Duration::from_mins(10));
    assert!(lab.quarantined, "{:?}", lab.given);
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    Submit(u8),
    Reboot,
    Attach,
    Update,
    Minutes(u16),
    JobsEnd(Outcome),
    ChecksFind(Health),
    Asked,
    Admitted,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (1..4u8).prop_map(Happens::Submit),
        1 => Just(Happens::Reboot),
        1 => Just(Happens::Attach),
        1 => Just(Happens::Update),
        3 => (1..1_000u16).prop_map(Happens::Minutes),
        3 => prop_oneof![Just(Outcome::Ok), Just(Outcome::HarnessError), Just(Outcome::CrashSignal(11))]
            .prop_map(Happens::JobsEnd),
        2 => prop_oneof![Just(Health::Healthy), Just(Health::Unknown), Just(Health::Sick)].prop_map(Happens::ChecksFind),
        1 => Just(Happens::Asked),
        3 => Just(Happens::Admitted),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_checks_starve_no_queue_and_no_job_begins_on_a_device_that_is_known_to_be_sick(
        story in proptest::collection::vec(happens(), 1..60)
    ) {
        let mut lab = Lab::new();
        lab.attach();
        let (mut causes, mut jobs) = (1, 0u8);
        for event in story {
            match event {
                Happens::Submit(count) if jobs < 90 => { jobs += count; lab.submit(count); }
                Happens::Reboot => { causes += 1; lab.reboot(); }
                Happens::Attach => lab.attach(),
                Happens::Update => {
                    causes += 1;
                    lab.fingerprint = if lab.fingerprint == "f1" { "f2" } else { "f1" };
                    lab.attach();
                }
                Happens::Minutes(minutes) => lab.wait(Duration::from_secs(u64::from(minutes) * 60)),
                Happens::JobsEnd(outcome) => lab.outcome = outcome,
                Happens::ChecksFind(health) => lab.health = health,
                Happens::Asked => { causes += 1; lab.step(Input::CheckNow { device: device() }); }
                Happens::Admitted if lab.quarantined => { causes += 1; lab.admit(Admits::Everybody); }
                Happens::Submit(_) | Happens::Admitted => {}
            }
            // Jobs that wait do so for a device that is out, never for a check.
            prop_assert!(lab.quarantined || lab.schedule.open_jobs() == 0, "{} wait", lab.schedule.open_jobs());
        }
        let tries = lab.given().iter().filter(|given| **given == Given::Job).count();
        let by_time = lab.now.since(START).as_secs() / AGAIN.first.as_secs();
        let most = causes + tries / 2 + usize::try_from(by_time).unwrap();
        prop_assert!(lab.checks().len() <= most, "{} checks, {causes} causes, {tries} tries", lab.checks().len());
        lab.health = Health::Healthy;
        lab.admit(Admits::Everybody);
        prop_assert_eq!(lab.schedule.open_jobs(), 0);
    }
}
