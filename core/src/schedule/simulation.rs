//! Seeded random histories of a whole fleet, with an oracle beside the schedule and agents that do everything wrong.
//!
//! `SEATRIAL_SIMULATION_SEEDS` and `SEATRIAL_SIMULATION_EVENTS` make it longer. A failure names its seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::ids::ReservationId;
use crate::job::{Limits, ONLINE_GRANT};
use crate::lab::standing::Out;
use crate::outcome::{AGENT_DEATH_LIMIT, RETRY_LIMIT, Verdict};

const SECOND: u64 = 1_000_000_000;

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn entropy(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes
    }
}

/// Protections that a control takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The store takes any result, whichever attempt it is of.
    Fencing,
    /// The judge's clock runs fast.
    Clock,
    /// Attempts that end without a result are not given back.
    GivingBack,
    /// A job is assigned without the device being free.
    OneAtATime,
    /// What waits of a quarantined triple is left in its queue.
    SettingAside,
}

#[derive(Debug, Clone)]
struct Stored {
    open: OpenJob,
    state: State,
    attempt: u32,
    results: BTreeSet<u32>,
    lost: u32,
    crashed: u32,
    deaths: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Leased,
    Ended,
}

/// What a device hears.
#[derive(Debug, Clone)]
enum Word {
    Assign(AttemptRef, Grant),
    Grant(AttemptRef, Grant),
    Cancel(AttemptRef),
    Stop(AttemptRef),
    Forget(AttemptRef),
}

struct Agent {
    device: DeviceId,
    session: Option<SessionId>,
    running: Option<(AttemptRef, usize)>,
    until: u64,
    spool: Vec<(AttemptRef, Outcome)>,
    lost: Vec<AttemptRef>,
    killed: Killed,
    hears: VecDeque<Word>,
    says: VecDeque<Input>,
    admits: Admits,
}

struct World {
    random: Random,
    broken: Broken,
    now: u64,
    skew: u64,
    schedule: Schedule,
    store: BTreeMap<JobId, Stored>,
    agents: Vec<Agent>,
    /// Whether what may fail does.
    faults: bool,
    /// Effects that the store has yet to perform.
    pending: Vec<Effect>,
    runs: Vec<RunId>,
    /// By the server's clock, as an observer of the effects alone would see it.
    leases: BTreeMap<JobId, (u32, DeviceId, u64)>,
    /// Device and model (which is all that there is of a triple here) that are quarantined.
    quarantined: BTreeSet<(DeviceId, bool)>,
    fault: Option<String>,
    seen: BTreeSet<&'static str>,
}

/// Jobs are of two models.
fn model_of(job: JobId) -> bool {
    job.to_string().bytes().last().is_some_and(|byte| byte % 2 == 0)
}

const STAGES: [Stage; 4] = [Stage::Fetch, Stage::Load, Stage::Measure, Stage::Teardown];

fn a_reservation() -> ReservationId {
    ReservationId::new(Timestamp::default(), [5; 10])
}

impl World {
    fn new(seed: u64, broken: Broken) -> Self {
        let mut random = Random(seed);
        let agents = (0..=random.below(4)).map(|i| Agent {
            device: DeviceId::new(Timestamp::from_micros(i as i64), [i as u8; 10]),
            session: None,
            running: None,
            until: 0,
            spool: Vec::new(),
            lost: Vec::new(),
            killed: Killed::default(),
            hears: VecDeque::new(),
            says: VecDeque::new(),
            admits: Admits::Everybody,
        });
        let agents = agents.collect();
        Self {
            random,
            broken,
            now: SECOND,
            skew: 0,
            schedule: Schedule::new(),
            store: BTreeMap::new(),
            agents,
            faults: true,
            pending: Vec::new(),
            runs: Vec::new(),
            leases: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            fault: None,
            seen: BTreeSet::new(),
        }
    }

    fn fail(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_micros((self.now / 1000) as i64)
    }

    // --- the driver ---

    fn step(&mut self, input: Input) {
        if self.broken == Broken::Clock && matches!(input, Input::Tick) {
            self.skew += 10 * SECOND;
        }
        if let Input::Refused { attempt, .. } | Input::Malformed { attempt, .. } = &input {
            self.leases.remove(&attempt.job);
        }
        let effects = self.schedule.step(Monotonic::from_nanos(self.now + self.skew), input);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        self.observe(&effect);
        match effect {
            Effect::Assign { attempt, device, grant } => self.tell(device, Word::Assign(attempt, grant)),
            Effect::Grant { attempt, device, grant } => self.tell(device, Word::Grant(attempt, grant)),
            Effect::CancelOnDevice { attempt, device } => self.tell(device, Word::Cancel(attempt)),
            Effect::StopOnDevice { attempt, device, .. } => self.tell(device, Word::Stop(attempt)),
            Effect::RefuseReport { attempt, device, .. } => self.tell(device, Word::Forget(attempt)),
            Effect::Welcome { device, stop, grants, .. } => {
                for attempt in stop {
                    self.tell(device, Word::Stop(attempt));
                }
                for (attempt, grant) in grants {
                    self.tell(device, Word::Grant(attempt, grant));
                }
            }
            Effect::CloseSession { device, session, .. } => {
                if let Some(agent) = self.agents.iter_mut().find(|agent| agent.device == device)
                    && agent.session == Some(session)
                {
                    agent.hang_up();
                }
            }
            Effect::Quarantine { device, .. } => {
                if let Some(agent) = self.agents.iter_mut().find(|agent| agent.device == device) {
                    agent.admits = Admits::Nobody(Out::Quarantined);
                }
            }
            Effect::NoteStage { attempt, lease, .. } => {
                let until = self.wall().plus(lease);
                if let Some(job) = self.store.get_mut(&attempt.job)
                    && job.state == State::Leased
                    && job.attempt == attempt.attempt
                {
                    job.open.leased_until = Some(until);
                }
            }
            Effect::GiveBack { .. } if self.broken == Broken::GivingBack => {}
            Effect::Claim { .. }
            | Effect::GiveBack { .. }
            | Effect::GiveUp { .. }
            | Effect::Complete { .. }
            | Effect::CancelRun { .. } => {
                self.pending.push(effect);
            }
            Effect::ReadAgain => {
                let jobs = self.open_jobs().into_iter().filter(|job| job.leased_until.is_none()).collect();
                let wall = self.wall();
                self.step(Input::Open { jobs, wall });
            }
            Effect::Check { .. } | Effect::Judge { .. } | Effect::CheckLost { .. } => {
                self.fail(format!("{effect:?} for a device without checks"));
            }
            Effect::RunEnded { run } => {
                if self.broken == Broken::Nothing
                    && self.store.values().any(|job| job.open.run == run && job.state != State::Ended)
                {
                    self.fail(format!("{run:?} is said to have ended with open jobs"));
                }
            }
        }
    }

    /// The oracle: what the effects alone say about who may run what.
    fn observe(&mut self, effect: &Effect) {
        let (now, name) = (self.now, format!("{effect:?}"));
        self.seen.insert(match effect {
            Effect::Claim { .. } => "claim",
            Effect::Assign { .. } => "assign",
            Effect::Grant { .. } => "grant",
            Effect::NoteStage { .. } => "note stage",
            Effect::Welcome { .. } => "welcome",
            Effect::CloseSession { .. } => "close",
            Effect::CancelOnDevice { .. } => "cancel on device",
            Effect::StopOnDevice { .. } => "stop",
            Effect::GiveBack { .. } => "give back",
            Effect::GiveUp { .. } => "give up",
            Effect::Complete { .. } => "complete",
            Effect::RefuseReport { .. } => "refuse",
            Effect::Quarantine { .. } => "quarantine",
            Effect::CancelRun { .. } => "cancel run",
            Effect::RunEnded { .. } => "run ended",
            Effect::Check { .. } | Effect::Judge { .. } | Effect::CheckLost { .. } => "check",
            Effect::ReadAgain => "read again",
        });
        match effect {
            Effect::Assign { attempt, device, grant } => {
                if self.store[&attempt.job].open.cancelled {
                    self.fail(format!("{name} at {now}, though its run was cancelled"));
                }
                if self.quarantined.contains(&(*device, model_of(attempt.job))) {
                    self.fail(format!("{name} at {now}, though what it is about is quarantined"));
                }
                let until = now + grant.length().as_nanos() as u64;
                let clash = self
                    .leases
                    .iter()
                    .find(|(job, (_, holder, end))| *end > now && (**job == attempt.job || (holder == device)));
                if let Some((job, lease)) = clash {
                    self.fail(format!("{name} while {job:?} is leased: {lease:?} at {now}"));
                }
                self.leases.insert(attempt.job, (attempt.attempt, *device, until));
            }
            Effect::Grant { attempt, grant, .. } => {
                if let Some(lease) = self.leases.get_mut(&attempt.job) {
                    lease.2 = now + grant.length().as_nanos() as u64;
                }
            }
            Effect::Complete { attempt, .. } => {
                if self.leases.get(&attempt.job).is_some_and(|lease| lease.0 == attempt.attempt) {
                    self.leases.remove(&attempt.job);
                }
            }
            Effect::GiveBack { attempt, outcome: Outcome::DeviceLost, .. } => {
                if let Some((_, _, until)) = self.leases.remove(&attempt.job)
                    && until > now
                {
                    self.fail(format!("{name}, but its lease ends in {} ms", (until - now) / 1_000_000));
                }
            }
            Effect::CancelOnDevice { attempt, .. } | Effect::GiveBack { attempt, .. } => {
                self.leases.remove(&attempt.job);
            }
            Effect::Welcome { device, grants, .. } => {
                let granted = |job: &JobId| grants.iter().find(|(attempt, _)| attempt.job == *job);
                self.leases.retain(|job, (_, holder, until)| {
                    if let Some((_, grant)) = granted(job) {
                        *until = now + grant.length().as_nanos() as u64;
                    }
                    holder != device || granted(job).is_some()
                });
                for (attempt, grant) in grants {
                    let until = now + grant.length().as_nanos() as u64;
                    self.leases.entry(attempt.job).or_insert((attempt.attempt, *device, until));
                }
            }
            Effect::GiveUp { attempt, .. } => {
                let OpenJob { device: on, reservation, .. } = self.store[&attempt.job].open;
                let lease = self.leases.get(&attempt.job);
                let works = self
                    .agents
                    .iter()
                    .any(|agent| agent.device == on && agent.session.is_some() && agent.admits.job(reservation));
                if works || lease.is_some_and(|(_, _, until)| *until > now) {
                    self.fail(format!("{name} at {now}, though its device works or holds it: {lease:?}"));
                }
            }
            Effect::Claim { .. }
            | Effect::NoteStage { .. }
            | Effect::CloseSession { .. }
            | Effect::StopOnDevice { .. }
            | Effect::RefuseReport { .. }
            | Effect::Quarantine { .. }
            | Effect::Check { .. }
            | Effect::Judge { .. }
            | Effect::CheckLost { .. }
            | Effect::CancelRun { .. }
            | Effect::RunEnded { .. }
            | Effect::ReadAgain => {}
        }
    }

    fn tell(&mut self, device: DeviceId, word: Word) {
        if let Some(agent) = self.agents.iter_mut().find(|agent| agent.device == device && agent.session.is_some()) {
            agent.hears.push_back(word);
        }
    }

    fn open_jobs(&self) -> Vec<OpenJob> {
        let open = self.store.values().filter(|job| job.state != State::Ended);
        open.map(|job| OpenJob {
            attempt: job.attempt,
            infrastructure_failures: job.lost,
            crashes: job.crashed,
            agent_deaths: job.deaths,
            leased_until: job.open.leased_until.filter(|_| job.state == State::Leased),
            ..job.open.clone()
        })
        .collect()
    }

    // --- the store ---

    #[expect(clippy::wildcard_enum_match_arm, reason = "only what the store performs was put aside")]
    fn perform_pending(&mut self, index: usize) {
        match self.pending.swap_remove(index) {
            Effect::Claim { attempt, grant, .. } => {
                let until = self.wall().plus(grant.length());
                let job = self.store.get_mut(&attempt.job).filter(|job| job.state == State::Queued);
                let won = job.map(|job| {
                    job.state = State::Leased;
                    job.attempt = attempt.attempt;
                    job.open.leased_until = Some(until);
                });
                self.step(if won.is_some() { Input::Claimed { attempt } } else { Input::ClaimLost { attempt } });
            }
            Effect::Complete { attempt, device, next, again } => self.complete(attempt, device, next, again),
            Effect::GiveBack { attempt, next, verdict, agent_death, again, .. } => {
                let holds = self.holds(attempt);
                if holds {
                    self.end_attempt(attempt, verdict, next, agent_death);
                    if again {
                        self.quarantine(attempt.job);
                    }
                }
                self.step(Input::GaveBack { attempt, held: holds });
            }
            Effect::GiveUp { attempt, .. } => {
                let waits = |job: &&mut Stored| job.state == State::Queued && job.attempt == attempt.attempt;
                let held = self.store.get_mut(&attempt.job).filter(waits).map(|job| job.state = State::Ended).is_some();
                self.step(Input::GaveBack { attempt, held });
            }
            Effect::CancelRun { run } if self.faults && self.random.chance(30) => {
                self.step(Input::CancelFailed { run });
            }
            Effect::CancelRun { run } => {
                for job in self.store.values_mut().filter(|job| job.open.run == run) {
                    job.open.cancelled = true;
                    if job.state == State::Queued {
                        job.state = State::Ended;
                    }
                }
                self.step(Input::RunCancelled { run });
            }
            other => unreachable!("the store performs no {other:?}"),
        }
    }

    fn holds(&self, attempt: AttemptRef) -> bool {
        self.store.get(&attempt.job).is_some_and(|job| {
            job.state == State::Leased && (job.attempt == attempt.attempt || self.broken == Broken::Fencing)
        })
    }

    /// Device and model are quarantined; what waits of them ends.
    fn quarantine(&mut self, job: JobId) {
        let device = self.store[&job].open.device;
        self.quarantined.insert((device, model_of(job)));
        if self.broken == Broken::SettingAside {
            return;
        }
        let model = model_of(job);
        let mut jobs = Vec::new();
        for (&id, job) in &mut self.store {
            if job.open.device == device && model_of(id) == model && job.state == State::Queued {
                job.state = State::Ended;
                jobs.push(id);
            }
        }
        self.step(Input::SetAside { jobs });
    }

    fn complete(&mut self, attempt: AttemptRef, device: DeviceId, next: JobNext, again: bool) {
        let known = self.store.get(&attempt.job).is_some_and(|job| job.results.contains(&attempt.attempt));
        let accepted = if known && self.broken != Broken::Fencing {
            Accepted::Duplicate
        } else if self.holds(attempt) {
            let JobNext::Done(outcome) = next else {
                return self.accept(attempt, device, Verdict::Retry, next);
            };
            if again {
                self.quarantine(attempt.job);
            }
            return self.accept(attempt, device, outcome.verdict(0), next);
        } else {
            Accepted::Stale
        };
        self.answer(attempt, device, accepted);
    }

    fn accept(&mut self, attempt: AttemptRef, device: DeviceId, verdict: Verdict, next: JobNext) {
        let job = self.store.get_mut(&attempt.job).expect("it holds the job");
        let (current, fresh) = (job.attempt, job.results.insert(attempt.attempt));
        if current != attempt.attempt {
            self.fail(format!("{attempt} was accepted while attempt {current} holds the job"));
        }
        if !fresh {
            self.fail(format!("the result of {attempt} was accepted twice"));
        }
        self.end_attempt(attempt, verdict, next, false);
        self.answer(attempt, device, Accepted::Stored);
    }

    fn answer(&mut self, attempt: AttemptRef, device: DeviceId, accepted: Accepted) {
        self.tell(device, Word::Forget(attempt));
        self.step(Input::Stored { attempt, accepted });
    }

    fn end_attempt(&mut self, attempt: AttemptRef, verdict: Verdict, next: JobNext, agent_death: bool) {
        let job = self.store.get_mut(&attempt.job).expect("it holds the job");
        let is_quarantined = self.quarantined.contains(&(job.open.device, model_of(attempt.job)));
        let waits = next == JobNext::Queued && (self.broken == Broken::SettingAside || !is_quarantined);
        job.deaths += u32::from(agent_death);
        match verdict {
            Verdict::Retry => job.lost += 1,
            Verdict::Repeat => job.crashed += 1,
            Verdict::Done => {}
        }
        job.state = if waits { State::Queued } else { State::Ended };
        let spent = (job.lost, job.deaths);
        if spent.0 > 2 * RETRY_LIMIT + 2 || spent.1 > AGENT_DEATH_LIMIT {
            self.fail(format!("{attempt} goes on after {} losses and {} deaths", spent.0, spent.1));
        }
    }

    // --- the fleet ---

    fn connect(&mut self, index: usize) {
        let session = SessionId::new(self.wall(), self.random.entropy());
        let agent = &mut self.agents[index];
        agent.hang_up();
        agent.session = Some(session);
        let running = agent.running.map(|(attempt, _)| Held { attempt, ended: false });
        let held: Vec<Held> =
            agent.spool.iter().map(|&(attempt, _)| Held { attempt, ended: true }).chain(running).collect();
        let (lost, killed) = (std::mem::take(&mut agent.lost), agent.killed);
        let (device, admits) = (agent.device, agent.admits);
        let reports: Vec<Input> = agent
            .spool
            .iter()
            .map(|&(attempt, outcome)| Input::Reported { attempt, device, outcome, verdict: outcome.verdict(0) })
            .collect();
        agent.says.extend(reports);
        self.step(Input::Attached { device, session, admits, held, lost, killed });
    }

    fn disconnect(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        if let Some(session) = agent.session {
            let device = agent.device;
            agent.hang_up();
            self.step(Input::Detached { device, session });
        }
    }

    fn kill(&mut self, index: usize) {
        let deaths = [
            Killed::default(),
            Killed { verdict: Verdict::Retry, counts: false },
            Killed { verdict: Verdict::Repeat, counts: true },
        ];
        let killed = deaths[self.random.below(deaths.len() as u64) as usize];
        let agent = &mut self.agents[index];
        agent.killed = killed;
        agent.lost.extend(agent.running.take().map(|(attempt, _)| attempt));
        self.disconnect(index);
    }

    /// The agent hears its next word, says its next, or goes on with its work.
    fn act(&mut self, index: usize, faulty: bool) {
        let now = self.now;
        let agent = &mut self.agents[index];
        let device = agent.device;
        if agent.running.is_some() && agent.until <= now {
            agent.running = None; // its lease has ended: no sample after the end
        }
        if let Some(word) = agent.hears.pop_front() {
            match word {
                Word::Assign(attempt, grant) => {
                    if faulty && self.random.chance(10) {
                        return; // never heard
                    }
                    let agent = &mut self.agents[index];
                    if agent.running.is_some() || (faulty && self.random.chance(5)) {
                        let retryable = !faulty || agent.running.is_some() || self.random.chance(80);
                        agent.says.push_back(Input::Refused { attempt, device, retryable, reason: "busy".into() });
                    } else {
                        agent.running = Some((attempt, 0));
                        agent.until = now + grant.length().as_nanos() as u64;
                        agent.says.push_back(Input::Accepted { attempt, device });
                    }
                }
                Word::Grant(attempt, grant) if agent.runs(attempt) => {
                    agent.until = now + grant.length().as_nanos() as u64;
                }
                Word::Cancel(attempt) if agent.runs(attempt) => agent.finish(attempt, Outcome::Cancelled),
                Word::Stop(attempt) if agent.runs(attempt) => agent.running = None,
                Word::Forget(attempt) => agent.spool.retain(|&(held, _)| held != attempt),
                Word::Grant(..) | Word::Cancel(_) | Word::Stop(_) => {}
            }
        } else if let Some(input) = agent.says.pop_front() {
            if agent.session.is_some() {
                if faulty && matches!(input, Input::Reported { .. }) && self.random.chance(20) {
                    self.step(input.clone());
                }
                self.step(input);
            }
        } else if let Some((attempt, stage)) = agent.running {
            if let Some(&entered) = STAGES.get(stage) {
                agent.running = Some((attempt, stage + 1));
                let limits = Limits::default();
                let (grant, deadline) = (Grant::for_stage(entered, &limits), limits.deadline(entered));
                agent.says.push_back(Input::StageEntered { attempt, device, stage: entered, grant, deadline });
            } else {
                let outcome = if faulty { self.random_outcome() } else { Outcome::Ok };
                self.agents[index].finish(attempt, outcome);
            }
        } else if let Some(session) = agent.session {
            self.step(Input::Heard { device, session });
        }
    }

    fn random_outcome(&mut self) -> Outcome {
        let outcomes =
            [Outcome::Ok, Outcome::CrashSignal(11), Outcome::HarnessError, Outcome::NumericsFail, Outcome::AgentKilled];
        outcomes[self.random.below(outcomes.len() as u64) as usize]
    }

    fn submit(&mut self) {
        let run = RunId::new(self.wall(), self.random.entropy());
        self.runs.push(run);
        let mut jobs = Vec::new();
        for _ in 0..=self.random.below(4) {
            let device = self.agents[self.random.below(self.agents.len() as u64) as usize].device;
            let job = JobId::new(self.wall(), self.random.entropy());
            if self.quarantined.contains(&(device, model_of(job))) {
                continue; // a misfit
            }
            let open = OpenJob {
                job,
                run,
                device,
                priority: self.random.below(3) as i32,
                created_at: self.wall(),
                attempt: 0,
                infrastructure_failures: 0,
                crashes: 0,
                agent_deaths: 0,
                max_wait: Duration::from_secs(1 + self.random.below(300)),
                reservation: self.random.chance(30).then(a_reservation),
                cancelled: false,
                leased_until: None,
            };
            let stored = Stored {
                open: open.clone(),
                state: State::Queued,
                attempt: 0,
                results: BTreeSet::new(),
                lost: 0,
                crashed: 0,
                deaths: 0,
            };
            self.store.insert(open.job, stored);
            jobs.push(open);
        }
        let wall = self.wall();
        self.step(Input::Open { jobs, wall });
        if self.broken == Broken::OneAtATime
            && let Some((&job, stored)) = self.store.iter().next_back()
        {
            let (attempt, device) = (AttemptRef { job, attempt: 1 }, stored.open.device);
            self.perform(Effect::Assign { attempt, device, grant: Grant::Online { length: ONLINE_GRANT } });
        }
    }

    /// The server is killed and comes back on the same database.
    fn restart(&mut self) {
        self.schedule = Schedule::new();
        self.pending.clear();
        self.agents.iter_mut().for_each(Agent::hang_up);
        let (jobs, wall) = (self.open_jobs(), self.wall());
        self.step(Input::Open { jobs, wall });
        // The new judge has granted nothing yet; what the old one granted is what the agents bring along.
        self.leases.clear();
    }

    fn pass(&mut self, nanos: u64) {
        let target = self.now + nanos;
        while let Some(due) = self.schedule.next_deadline().map(Monotonic::as_nanos).filter(|due| *due <= target) {
            self.now = self.now.max(due);
            self.step(Input::Tick);
            if self.broken == Broken::Clock {
                break;
            }
        }
        self.now = target;
        self.step(Input::Tick);
    }

    fn random_event(&mut self) {
        let index = self.random.below(self.agents.len() as u64) as usize;
        match self.random.below(100) {
            0..6 => self.submit(),
            6..14 => self.connect(index),
            14..17 => self.disconnect(index),
            17..19 => self.kill(index),
            19..20 => self.restart(),
            20..22 => {
                if let Some(&run) = self.runs.get(self.random.below(self.runs.len().max(1) as u64) as usize) {
                    self.step(Input::Cancel { run });
                }
            }
            22..24 => {
                let admits = match self.random.below(4) {
                    0 | 1 => Admits::Everybody,
                    2 => Admits::Holders(a_reservation()),
                    _ => Admits::Nobody(Out::Maintenance),
                };
                self.admit(index, admits);
            }
            24..25 => {
                if let Some((attempt, _)) = self.agents[index].running.take() {
                    let device = self.agents[index].device;
                    self.step(Input::Malformed { attempt, device, reason: "NaN".into() });
                }
            }
            25..45 => {
                if !self.pending.is_empty() {
                    let op = self.random.below(self.pending.len() as u64) as usize;
                    self.perform_pending(op);
                }
            }
            45..48 => {
                let long = self.random.below(60 * SECOND);
                self.pass(long);
            }
            48..56 => {
                let short = self.random.below(SECOND);
                self.pass(short);
            }
            _ => self.act(index, true),
        }
    }

    fn admit(&mut self, index: usize, admits: Admits) {
        self.agents[index].admits = admits;
        let device = self.agents[index].device;
        self.step(Input::Admits { device, admits });
    }

    /// Faults have stopped: everybody is here and behaves.
    fn recover(&mut self) {
        self.faults = false;
        for index in 0..self.agents.len() {
            self.connect(index);
            self.admit(index, Admits::Everybody);
        }
        for _ in 0..4000 {
            if self.fault.is_some() || self.store.values().all(|job| job.state == State::Ended) {
                return;
            }
            while !self.pending.is_empty() {
                self.perform_pending(0);
            }
            for index in 0..self.agents.len() {
                if self.agents[index].session.is_none() {
                    self.connect(index);
                }
                for _ in 0..4 {
                    self.act(index, false);
                }
                if self.agents[index].admits == Admits::Nobody(Out::Quarantined) {
                    self.admit(index, Admits::Everybody);
                }
            }
            self.pass(SECOND);
        }
        let stuck: Vec<_> = self.store.iter().filter(|(_, job)| job.state != State::Ended).collect();
        let text = format!("{} jobs never end, the first: {:?}", stuck.len(), stuck.first());
        self.fail(text);
    }
}

impl Agent {
    fn hang_up(&mut self) {
        self.session = None;
        self.hears.clear();
        self.says.clear();
    }

    fn runs(&self, attempt: AttemptRef) -> bool {
        self.running.is_some_and(|(running, _)| running == attempt)
    }

    fn finish(&mut self, attempt: AttemptRef, outcome: Outcome) {
        self.running = None;
        self.spool.push((attempt, outcome));
        self.says.push_back(Input::Reported { attempt, device: self.device, outcome, verdict: outcome.verdict(0) });
    }
}

fn run(seed: u64, events: u64, broken: Broken) -> (Option<String>, BTreeSet<&'static str>) {
    let mut world = World::new(seed, broken);
    for _ in 0..events {
        world.random_event();
        if world.fault.is_some() {
            break;
        }
    }
    world.recover();
    if world.fault.is_none() && world.schedule.open_jobs() > 0 {
        world.fail(format!("{} jobs are over and still in the schedule", world.schedule.open_jobs()));
    }
    (world.fault, world.seen)
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn under_any_faults_no_job_has_two_leases_and_once_they_stop_every_job_ends() {
    let events = from_environment("SEATRIAL_SIMULATION_EVENTS", 300);
    let mut seen = BTreeSet::new();
    for seed in 0..from_environment("SEATRIAL_SIMULATION_SEEDS", 600) {
        let (fault, effects) = run(seed, events, Broken::Nothing);
        seen.extend(effects);
        if let Some(fault) = fault {
            panic!("seed {seed}: {fault}");
        }
    }
    assert_eq!(seen.len(), 16, "the histories reach every effect, these only: {seen:?}");
}

#[test]
fn the_oracle_notices_every_protection_that_is_taken_away() {
    for broken in [Broken::Fencing, Broken::Clock, Broken::GivingBack, Broken::OneAtATime, Broken::SettingAside] {
        let caught = (0..200).any(|seed| run(seed, 300, broken).0.is_some());
        assert!(caught, "nobody noticed in 200 histories that {broken:?} was taken away");
    }
}

#[test]
fn ten_thousand_queued_jobs_on_a_thousand_devices_cost_little_each() {
    let mut random = Random(7);
    let devices: Vec<DeviceId> =
        (0..1000).map(|i| DeviceId::new(Timestamp::from_micros(i), random.entropy())).collect();
    let run = RunId::new(Timestamp::default(), [1; 10]);
    let jobs = (0..20_000).map(|i| OpenJob {
        job: JobId::new(Timestamp::from_micros(i * 1000), random.entropy()),
        run,
        device: devices[i as usize % devices.len()],
        priority: 0,
        created_at: Timestamp::from_micros(i),
        attempt: 0,
        infrastructure_failures: 0,
        crashes: 0,
        agent_deaths: 0,
        max_wait: Duration::from_hours(1),
        reservation: None,
        cancelled: false,
        leased_until: None,
    });
    let mut schedule = Schedule::new();
    let now = Monotonic::from_nanos(SECOND);
    schedule.step(now, Input::Open { jobs: jobs.collect(), wall: Timestamp::default() });
    let mut claims = Vec::new();
    for &device in &devices {
        let session = SessionId::new(Timestamp::default(), random.entropy());
        let admits = Admits::Everybody;
        claims.extend(schedule.step(
            now,
            Input::Attached { device, session, admits, held: vec![], lost: vec![], killed: Killed::default() },
        ));
    }
    let mut ended = 0;
    while let Some(effect) = claims.pop() {
        let Effect::Claim { attempt, device, .. } = effect else { continue };
        schedule.step(now, Input::Claimed { attempt });
        schedule.step(now, Input::Accepted { attempt, device });
        claims.extend(
            schedule.step(now, Input::Reported { attempt, device, outcome: Outcome::Ok, verdict: Verdict::Done }),
        );
        claims.extend(schedule.step(now, Input::Stored { attempt, accepted: Accepted::Stored }));
        ended += 1;
    }
    assert_eq!(ended, 20_000);
    assert_eq!(schedule.open_jobs(), 0);
}

#[test]
fn the_same_history_gives_the_same_effects() {
    let trace = |seed| {
        let mut world = World::new(seed, Broken::Nothing);
        (0..300).for_each(|_| world.random_event());
        format!("{:?} {:?}", world.schedule, world.pending)
    };
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed));
    }
}
