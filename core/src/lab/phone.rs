//! What a lab host does next with one phone: it is made to run the agent, looked at, and got back when it does not do
//! what it should. `next` tells one act at a time; whoever performs it tells how it ended.

use std::time::Duration;

use super::flaps::{DEBOUNCE, Flaps, Meaning};
use super::ladder::{Ladder, Situation, Step};
use super::standing::{MOST_STRIKES, probation};
use crate::time::Monotonic;

/// A phone that keeps its agent alive for so long is well: its next trouble begins at the bottom of the ladder.
pub const STEADY: Duration = Duration::from_mins(2);
/// After so long the quarantines of before lengthen no other.
pub const FORGIVEN: Duration = Duration::from_hours(1);
/// An agent that lives and that the server does not hear for so long is trouble.
pub const MUTE: Duration = Duration::from_mins(1);
/// Before the same is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Before what failed by nobody's fault on the phone is tried again.
const ELSEWHERE_PAUSE: Duration = Duration::from_secs(15);
/// A phone that is listed as one that will pass, and does not for so long, is in trouble.
const PASSING: Duration = Duration::from_mins(1);

/// How the adb server lists a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It takes commands.
    Usable,
    /// It does not now, and may with nobody's help: offline, or still connecting.
    Passing,
    /// It does not until somebody does something: unauthorized, no permissions, in its bootloader.
    Unusable,
    Away,
}

/// One thing to do with a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Find out what it is, and whether it has started up.
    Identify,
    /// Put the agent for it on it.
    Install,
    /// Open its way to the server.
    Tunnel,
    /// Start the agent, unless it runs.
    Start,
    /// Ask whether the agent lives.
    Check,
    /// Keep what the phone tells of an agent's death.
    Collect,
    RestartLink,
    KillStray,
    Reboot,
    PowerCycle,
    /// Ask the agent to end, since the phone is out of service.
    Stop,
    /// Tell that somebody has to look at it.
    CallPerson,
}

/// Why an act did not do what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No answer, or none in time.
    Silent,
    /// It answered, and it did not come out right.
    Failed,
    /// The agent has ended, and nobody had asked it to.
    AgentDied,
    /// The agent has ended as it was asked to, and another is to be started.
    AgentEnded,
    /// The agent lives, and the server does not hear it.
    Mute,
    /// Nothing on the phone is to blame: the server is away, or has no agent for it.
    Elsewhere,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Act(Act),
    /// Nothing, until this moment or a change of the link.
    WaitUntil(Monotonic),
    /// Nothing, until the link changes.
    Wait,
}

/// What a lab host may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Powers {
    /// Between two looks at the agent.
    pub heartbeat: Duration,
    pub may_reboot: bool,
    pub can_switch_port: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// This is next, not before a moment.
    Toward(Act, Monotonic),
    Watching {
        since: Monotonic,
        look_at: Monotonic,
    },
    /// The next step of the ladder is to be chosen.
    Troubled {
        answers: bool,
    },
    /// The step's act is to be done.
    Recovering(Step),
    /// It was done, and the phone has until then to be usable.
    Returning {
        until: Monotonic,
    },
    /// Out of service until then.
    Resting {
        until: Monotonic,
        ends_by_replug: bool,
    },
}

/// One phone of a lab host.
#[derive(Debug, Clone)]
pub struct Phone {
    powers: Powers,
    link: (Link, Monotonic),
    mode: Mode,
    ladder: Ladder,
    flaps: Flaps,
    /// Quarantines since it was last well for long.
    strikes: u32,
}

impl Phone {
    /// A phone that is not there yet.
    #[must_use]
    pub fn new(powers: Powers, now: Monotonic) -> Self {
        let mode = Mode::Toward(Act::Identify, now);
        Self { powers, link: (Link::Away, now), mode, ladder: Ladder::default(), flaps: Flaps::default(), strikes: 0 }
    }

    /// How it is listed now. `anew`: over another connection than before, so that nothing that hung on the old one is there.
    pub fn listed(&mut self, link: Link, anew: bool, now: Monotonic) {
        let (was, since) = self.link;
        if was == link && !anew {
            return;
        }
        self.link = (link, if was == link { since } else { now });
        match link {
            Link::Usable => {
                self.flaps.back();
                let was_away = was == Link::Away && now.since(since) >= DEBOUNCE;
                match self.mode {
                    Mode::Resting { ends_by_replug, .. } if !(ends_by_replug && was_away) => {}
                    Mode::Toward(Act::Stop, _) => {}
                    Mode::Toward(..)
                    | Mode::Watching { .. }
                    | Mode::Troubled { .. }
                    | Mode::Recovering(_)
                    | Mode::Returning { .. }
                    | Mode::Resting { .. } => self.mode = Mode::Toward(Act::Identify, now),
                }
            }
            Link::Passing | Link::Unusable | Link::Away => self.flaps.gone(now),
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: Monotonic) -> Next {
        if let Meaning::Unsteady(_) = self.flaps.tick(now) {
            self.mode = Mode::Toward(Act::Stop, now);
        }
        if let (Mode::Toward(..) | Mode::Watching { .. }, (Link::Passing, since)) = (self.mode, self.link)
            && now.since(since) >= PASSING
        {
            self.mode = Mode::Troubled { answers: false };
        }
        if let Mode::Returning { until } = self.mode
            && now >= until
        {
            self.mode = match self.link.0 {
                Link::Usable => Mode::Toward(Act::Identify, now),
                Link::Passing | Link::Unusable | Link::Away => Mode::Troubled { answers: false },
            };
        }
        if let Mode::Troubled { answers } = self.mode {
            self.choose(answers, now);
        }
        let usable = self.link.0 == Link::Usable;
        match self.mode {
            Mode::Recovering(step) => Next::Act(act_of(step)),
            Mode::Returning { until } => Next::WaitUntil(until),
            Mode::Resting { until, .. } if now < until => Next::WaitUntil(until),
            Mode::Resting { .. } => {
                self.mode = Mode::Toward(Act::Identify, now);
                self.next(now)
            }
            Mode::Toward(act, at) if usable => {
                if now >= at {
                    Next::Act(act)
                } else {
                    Next::WaitUntil(at)
                }
            }
            Mode::Watching { look_at, .. } if usable => {
                if now >= look_at {
                    Next::Act(Act::Check)
                } else {
                    Next::WaitUntil(look_at)
                }
            }
            Mode::Toward(..) | Mode::Watching { .. } => self.wait_for_link(now),
            Mode::Troubled { .. } => Next::WaitUntil(now),
        }
    }

    /// Until an absence counts, or what should pass has not passed.
    fn wait_for_link(&self, now: Monotonic) -> Next {
        let (link, since) = self.link;
        let due = [Some(since.plus(DEBOUNCE)), (link == Link::Passing).then(|| since.plus(PASSING))];
        due.into_iter().flatten().filter(|&at| at > now).min().map_or(Next::Wait, Next::WaitUntil)
    }

    fn choose(&mut self, answers: bool, now: Monotonic) {
        let Powers { may_reboot, can_switch_port, .. } = self.powers;
        let situation = Situation { answers, can_switch_port, may_reboot };
        let mut step = self.ladder.next(situation, now);
        // What takes no commands is not asked once more.
        if step == Step::Retry && self.link.0 != Link::Usable {
            step = self.ladder.next(situation, now);
        }
        self.mode = match step {
            Step::Retry => Mode::Toward(Act::Identify, now.plus(RETRY_PAUSE)),
            Step::RestartLink | Step::KillStray | Step::Reboot | Step::PowerCycle | Step::Person => {
                Mode::Recovering(step)
            }
        };
        match step {
            Step::RestartLink | Step::Reboot | Step::PowerCycle => self.flaps.expect(),
            Step::Retry | Step::KillStray | Step::Person => {}
        }
    }

    /// How an act ended. Acts that need the phone and that failed while it is away were stopped by that, and say nothing.
    pub fn done(&mut self, act: Act, result: Result<(), Trouble>, now: Monotonic) {
        let at = |act| Mode::Toward(act, now);
        self.mode = match (act, result) {
            (Act::Identify, Ok(())) => at(Act::Install),
            (Act::Install, Ok(())) => at(Act::Tunnel),
            (Act::Tunnel, Ok(())) => at(Act::Start),
            (Act::Start, Ok(())) => Mode::Watching { since: now, look_at: now.plus(self.powers.heartbeat) },
            (Act::Check, Ok(())) => self.is_alive(now),
            (Act::Check, Err(Trouble::AgentDied)) => at(Act::Collect),
            (Act::Check, Err(Trouble::AgentEnded)) | (Act::KillStray, Ok(())) => at(Act::Identify),
            // What cannot be kept is no reason to leave the phone without an agent.
            (Act::Collect, _) => Mode::Troubled { answers: true },
            (Act::RestartLink | Act::Reboot | Act::PowerCycle, Ok(())) => {
                Mode::Returning { until: now.plus(step_of(act).patience()) }
            }
            (Act::Stop, Ok(())) => self.rests(false, now),
            (Act::CallPerson, _) => self.rests(true, now),
            (_, Err(Trouble::Elsewhere)) => Mode::Toward(act, now.plus(ELSEWHERE_PAUSE)),
            (Act::RestartLink | Act::KillStray | Act::Reboot | Act::PowerCycle, Err(trouble)) => {
                Mode::Troubled { answers: trouble != Trouble::Silent }
            }
            (Act::Identify | Act::Install | Act::Tunnel | Act::Start | Act::Check | Act::Stop, Err(trouble)) => {
                match self.link.0 {
                    Link::Usable => Mode::Troubled { answers: trouble != Trouble::Silent },
                    Link::Passing | Link::Unusable | Link::Away if act == Act::Stop => at(Act::Stop),
                    Link::Passing | Link::Unusable | Link::Away => at(Act::Identify),
                }
            }
        };
    }

    fn is_alive(&mut self, now: Monotonic) -> Mode {
        let since = match self.mode {
            Mode::Watching { since, .. } => since,
            Mode::Toward(..)
            | Mode::Troubled { .. }
            | Mode::Recovering(_)
            | Mode::Returning { .. }
            | Mode::Resting { .. } => now,
        };
        if now.since(since) >= STEADY {
            self.ladder.is_well();
        }
        if now.since(since) >= FORGIVEN {
            self.strikes = 0;
        }
        Mode::Watching { since, look_at: now.plus(self.powers.heartbeat) }
    }

    fn rests(&mut self, ends_by_replug: bool, now: Monotonic) -> Mode {
        let length = probation(self.strikes.min(MOST_STRIKES));
        self.strikes = self.strikes.saturating_add(1);
        Mode::Resting { until: now.plus(length), ends_by_replug }
    }

    /// Whether it is out of service, and until when.
    #[must_use]
    pub const fn rests_until(&self) -> Option<Monotonic> {
        match self.mode {
            Mode::Resting { until, .. } => Some(until),
            Mode::Toward(..)
            | Mode::Watching { .. }
            | Mode::Troubled { .. }
            | Mode::Recovering(_)
            | Mode::Returning { .. } => None,
        }
    }

    /// Whether nothing but an agent that lives was found.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        matches!(self.mode, Mode::Watching { .. })
    }

    /// Which step of how many is tried to get it back.
    #[must_use]
    pub fn place_on_ladder(&self) -> Option<(usize, usize)> {
        self.ladder.place()
    }
}

const fn act_of(step: Step) -> Act {
    match step {
        Step::Retry => Act::Identify,
        Step::RestartLink => Act::RestartLink,
        Step::KillStray => Act::KillStray,
        Step::Reboot => Act::Reboot,
        Step::PowerCycle => Act::PowerCycle,
        Step::Person => Act::CallPerson,
    }
}

const fn step_of(act: Act) -> Step {
    match act {
        Act::RestartLink => Step::RestartLink,
        Act::KillStray => Step::KillStray,
        Act::Reboot => Step::Reboot,
        Act::PowerCycle => Step::PowerCycle,
        Act::CallPerson => Step::Person,
        Act::Identify | Act::Install | Act::Tunnel | Act::Start | Act::Check | Act::Collect | Act::Stop => Step::Retry,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POWERS: Powers = Powers { heartbeat: Duration::from_secs(10), may_reboot: true, can_switch_port: true };
    const ZERO: Monotonic = Monotonic::from_nanos(0);

    /// A phone with a clock, to which each act is done as a table says.
    struct Lab {
        phone: Phone,
        now: Monotonic,
    }

    impl Lab {
        fn new(powers: Powers) -> Self {
            let mut phone = Phone::new(powers, ZERO);
            phone.listed(Link::Usable, true, ZERO);
            Self { phone, now: ZERO }
        }

        /// Waits as long as it is told to, and performs one act.
        fn act(&mut self, result: Result<(), Trouble>) -> Act {
            loop {
                match self.phone.next(self.now) {
                    Next::Act(act) => {
                        self.phone.done(act, result, self.now);
                        return act;
                    }
                    Next::WaitUntil(at) => {
                        assert!(at > self.now, "it waits for what is past");
                        self.now = at;
                    }
                    Next::Wait => panic!("it waits for its link"),
                }
            }
        }

        fn acts(&mut self, results: &[Result<(), Trouble>]) -> Vec<Act> {
            results.iter().map(|&result| self.act(result)).collect()
        }

        fn list(&mut self, link: Link, after: u64) {
            self.now = self.now.plus(Duration::from_secs(after));
            self.phone.listed(link, true, self.now);
        }

        fn watched(powers: Powers) -> Self {
            let mut lab = Self::new(powers);
            assert_eq!(lab.acts(&[Ok(()); 4]), [Act::Identify, Act::Install, Act::Tunnel, Act::Start]);
            assert!(lab.phone.is_watched());
            lab
        }
    }

    #[test]
    fn a_phone_that_appears_gets_the_agent_and_is_looked_at_each_heartbeat() {
        let mut lab = Lab::watched(POWERS);
        assert_eq!(lab.acts(&[Ok(()); 3]), [Act::Check; 3]);
        assert_eq!(lab.now, ZERO.plus(Duration::from_secs(30)));
    }

    #[test]
    fn an_agent_that_died_leaves_its_evidence_and_is_started_again() {
        let mut lab = Lab::watched(POWERS);
        let acts = lab.acts(&[Err(Trouble::AgentDied), Ok(()), Ok(()), Ok(()), Ok(()), Ok(())]);
        assert_eq!(acts, [Act::Check, Act::Collect, Act::Identify, Act::Install, Act::Tunnel, Act::Start]);
        assert!(lab.phone.is_watched());
    }

    #[test]
    fn an_agent_that_was_asked_to_end_is_followed_by_another_without_any_trouble() {
        let mut lab = Lab::watched(POWERS);
        let acts = lab.acts(&[Err(Trouble::AgentEnded), Ok(()), Ok(()), Ok(()), Ok(())]);
        assert_eq!(acts, [Act::Check, Act::Identify, Act::Install, Act::Tunnel, Act::Start]);
        assert_eq!(lab.phone.place_on_ladder(), None);
    }

    #[test]
    fn an_agent_that_dies_again_and_again_goes_up_the_ladder_to_a_person_and_the_phone_rests() {
        let mut lab = Lab::watched(POWERS);
        let mut taken: Vec<Act> = Vec::new();
        while lab.phone.rests_until().is_none() {
            match lab.phone.next(lab.now) {
                Next::WaitUntil(_)
                    if matches!(taken.last(), Some(Act::RestartLink | Act::Reboot | Act::PowerCycle)) =>
                {
                    lab.list(Link::Usable, 10);
                }
                Next::WaitUntil(at) => lab.now = at,
                Next::Act(act) => {
                    let result = if act == Act::Check { Err(Trouble::AgentDied) } else { Ok(()) };
                    taken.push(lab.act(result));
                }
                Next::Wait => panic!("it is usable"),
            }
        }
        taken.retain(|act| step_of(*act) != Step::Retry);
        assert_eq!(taken, [Act::RestartLink, Act::KillStray, Act::Reboot, Act::PowerCycle, Act::CallPerson]);
        let rest = lab.phone.rests_until().unwrap().since(lab.now);
        assert_eq!(rest, probation(0));
        assert_eq!(lab.act(Ok(())), Act::Identify, "it is tried again after its probation");
    }

    #[test]
    fn an_agent_that_lived_long_has_its_next_trouble_at_the_bottom() {
        let mut lab = Lab::watched(POWERS);
        lab.acts(&[Err(Trouble::AgentDied), Ok(()), Ok(()), Ok(()), Ok(()), Ok(())]);
        assert_eq!(lab.phone.place_on_ladder(), Some((1, 6)));
        while lab.now.since(ZERO) < STEADY + Duration::from_secs(30) {
            lab.act(Ok(()));
        }
        assert_eq!(lab.phone.place_on_ladder(), None);
    }

    #[test]
    fn a_frozen_phone_is_not_asked_to_reboot_but_its_port_is_switched() {
        let mut lab = Lab::watched(POWERS);
        let silent = Err(Trouble::Silent);
        let acts = lab.acts(&[silent, silent, Ok(()), silent, silent, Ok(())]);
        let climbed = [Act::Identify, Act::RestartLink, Act::Identify, Act::PowerCycle, Act::CallPerson];
        assert_eq!(
            (acts[0], &acts[1..]),
            (Act::Check, &climbed[..]),
            "a reconnection is looked at before the next step"
        );
        let mut dumb = Lab::watched(Powers { can_switch_port: false, ..POWERS });
        let acts = dumb.acts(&[silent, silent, Err(Trouble::Failed), Ok(())]);
        assert_eq!(acts, [Act::Check, Act::Identify, Act::RestartLink, Act::KillStray], "it has answered");
    }

    #[test]
    fn a_phone_that_was_unplugged_is_waited_for_and_nobody_climbs() {
        let mut lab = Lab::watched(POWERS);
        lab.list(Link::Away, 5);
        assert_eq!(lab.phone.next(lab.now), Next::WaitUntil(lab.now.plus(DEBOUNCE)));
        lab.now = lab.now.plus(DEBOUNCE);
        assert_eq!(lab.phone.next(lab.now), Next::Wait);
        lab.list(Link::Usable, 3600);
        assert_eq!(lab.act(Ok(())), Act::Identify, "its tunnel is gone with its link");
        assert_eq!(lab.phone.place_on_ladder(), None);
    }

    #[test]
    fn what_fails_because_the_link_went_is_no_trouble_of_its_own() {
        let mut lab = Lab::new(POWERS);
        let Next::Act(act) = lab.phone.next(lab.now) else { panic!("it has something to do") };
        lab.list(Link::Away, 1);
        lab.phone.done(act, Err(Trouble::Silent), lab.now);
        assert_eq!(lab.phone.place_on_ladder(), None);
    }

    #[test]
    fn a_phone_that_waits_for_a_person_is_left_alone_and_one_that_should_pass_is_not() {
        let mut lab = Lab::new(POWERS);
        lab.list(Link::Unusable, 0);
        lab.now = lab.now.plus(Duration::from_hours(1));
        assert_eq!(lab.phone.next(lab.now), Next::Wait);
        let mut lab = Lab::new(POWERS);
        lab.list(Link::Passing, 0);
        lab.now = lab.now.plus(PASSING);
        assert_eq!(lab.act(Err(Trouble::Silent)), Act::RestartLink, "its link is restarted");
    }

    #[test]
    fn a_phone_that_comes_and_goes_has_its_agent_stopped_and_rests() {
        let mut lab = Lab::watched(POWERS);
        let mut stopped = false;
        for _ in 0..6 {
            lab.list(Link::Away, 30);
            lab.now = lab.now.plus(Duration::from_secs(5));
            lab.phone.next(lab.now);
            lab.list(Link::Usable, 1);
            stopped = lab.act(Ok(())) == Act::Stop;
        }
        assert!(stopped);
        let until = lab.phone.rests_until().unwrap();
        lab.list(Link::Away, 10);
        lab.list(Link::Usable, 10);
        assert_eq!(lab.phone.rests_until(), Some(until), "to plug it in again is what it does all the time");
    }

    #[test]
    fn a_person_who_plugs_a_phone_in_again_ends_its_rest() {
        let mut lab = Lab::watched(Powers { can_switch_port: false, ..POWERS });
        lab.acts(&[Err(Trouble::Silent), Err(Trouble::Silent), Err(Trouble::Silent), Ok(())]);
        assert!(lab.phone.rests_until().is_some());
        lab.list(Link::Away, 100);
        lab.list(Link::Usable, 10);
        assert_eq!(lab.act(Ok(())), Act::Identify);
    }

    #[test]
    fn a_server_that_is_away_is_no_fault_of_the_phone() {
        let mut lab = Lab::new(POWERS);
        let acts = lab.acts(&[Ok(()), Err(Trouble::Elsewhere), Err(Trouble::Elsewhere), Ok(())]);
        assert_eq!(acts, [Act::Identify, Act::Install, Act::Install, Act::Install]);
        assert_eq!(lab.phone.place_on_ladder(), None);
    }

    #[test]
    fn each_quarantine_is_longer_than_the_one_before() {
        let mut lab = Lab::new(Powers { can_switch_port: false, ..POWERS });
        let mut rests = Vec::new();
        while rests.len() < 3 {
            lab.act(Err(Trouble::Silent));
            if let Some(until) = lab.phone.rests_until() {
                rests.push(until.since(lab.now));
                lab.now = until;
            }
        }
        assert_eq!(rests, [probation(0), probation(1), probation(2)]);
    }

    fn outcome() -> impl Strategy<Value = Result<(), Trouble>> {
        prop_oneof![
            4 => Just(Ok(())),
            1 => prop::sample::select(vec![
                Trouble::Silent, Trouble::Failed, Trouble::AgentDied, Trouble::AgentEnded, Trouble::Mute, Trouble::Elsewhere,
            ]).prop_map(Err),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_it_never_waits_for_what_is_past_and_a_usable_phone_is_never_forgotten(
            events in prop::collection::vec((outcome(), prop::option::weighted(0.3, 0_usize..4), 0_u64..90), 1..200),
        ) {
            let mut phone = Phone::new(POWERS, ZERO);
            let mut now = ZERO;
            for (result, listed, gap) in events {
                now = now.plus(Duration::from_secs(gap));
                if let Some(index) = listed {
                    phone.listed([Link::Usable, Link::Passing, Link::Unusable, Link::Away][index], true, now);
                }
                match phone.next(now) {
                    Next::Act(act) => phone.done(act, result, now),
                    Next::WaitUntil(at) => prop_assert!(at > now, "{phone:?}"),
                    Next::Wait => prop_assert!(phone.link.0 != Link::Usable, "{phone:?}"),
                }
            }
        }
    }
}
