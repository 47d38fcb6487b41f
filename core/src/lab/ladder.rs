//! What is tried, step by step, to get a device back that does not do what it should: from what costs nothing to what needs
//! a person. A device has a budget of each step, so that none is rebooted all night.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Monotonic;

/// How far back tries count against the budget.
pub const WINDOW: Duration = Duration::from_hours(6);

/// One thing to try, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The same command once more.
    Retry,
    /// The link anew: reconnect, for wireless disconnect and connect.
    RestartLink,
    /// Whatever of ours still runs on it.
    KillStray,
    Reboot,
    /// The USB port off and on.
    PowerCycle,
    /// Somebody has to look at it.
    Person,
}

impl Step {
    pub const ALL: [Self; 6] =
        [Self::Retry, Self::RestartLink, Self::KillStray, Self::Reboot, Self::PowerCycle, Self::Person];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RestartLink => "restart_link",
            Self::KillStray => "kill_stray",
            Self::Reboot => "reboot",
            Self::PowerCycle => "power_cycle",
            Self::Person => "person",
        }
    }

    /// How often it is tried on one device within [`WINDOW`].
    #[must_use]
    pub const fn budget(self) -> usize {
        match self {
            Self::Retry => 8,
            Self::RestartLink => 4,
            Self::KillStray => 3,
            Self::Reboot | Self::PowerCycle => 2,
            Self::Person => usize::MAX,
        }
    }

    /// How long it may take until the device answers again.
    #[must_use]
    pub const fn patience(self) -> Duration {
        match self {
            Self::Retry => Duration::from_secs(10),
            Self::RestartLink => Duration::from_secs(30),
            Self::KillStray => Duration::from_secs(15),
            Self::Reboot => Duration::from_mins(5),
            Self::PowerCycle => Duration::from_mins(3),
            Self::Person => Duration::MAX,
        }
    }

    const fn needs_link(self) -> bool {
        match self {
            Self::KillStray | Self::Reboot => true,
            Self::Retry | Self::RestartLink | Self::PowerCycle | Self::Person => false,
        }
    }
}

/// What is known when the next step is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Whether commands reach the device at all.
    pub answers: bool,
    /// Whether the port can be switched: by the hub, or by a command of the operator's.
    pub can_switch_port: bool,
    /// Whether a reboot brings it back without a person: no lock that has to be opened first, allowed by its operator.
    pub may_reboot: bool,
}

/// The tries of one device.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    tried: Vec<(Monotonic, Step)>,
    /// The last step of the trouble that goes on.
    current: Option<Step>,
}

impl Ladder {
    /// The next thing to try: higher than the last of this trouble, possible, and within its budget.
    pub fn next(&mut self, situation: Situation, now: Monotonic) -> Step {
        self.tried.retain(|&(at, _)| now.since(at) <= WINDOW);
        let spent = |step: Step| self.tried.iter().filter(|&&(_, tried)| tried == step).count();
        let is_possible = |step: Step| match step {
            Step::PowerCycle => situation.can_switch_port,
            Step::Reboot => situation.may_reboot && situation.answers,
            Step::Retry | Step::RestartLink | Step::KillStray | Step::Person => situation.answers || !step.needs_link(),
        };
        let higher = |step: &Step| self.current.is_none_or(|current| *step > current);
        let step = Step::ALL
            .into_iter()
            .filter(higher)
            .find(|&step| is_possible(step) && spent(step) < step.budget())
            .unwrap_or(Step::Person);
        if step != Step::Person {
            self.tried.push((now, step));
        }
        self.current = Some(step);
        step
    }

    /// The device does what it should: the next trouble begins at the bottom, with what is left of the budgets.
    pub const fn is_well(&mut self) {
        self.current = None;
    }

    /// Which step of how many the device is at.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        let current = self.current?;
        let index = Step::ALL.iter().position(|&step| step == current)?;
        Some((index + 1, Step::ALL.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Situation = Situation { answers: true, can_switch_port: true, may_reboot: true };

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    fn climb(ladder: &mut Ladder, situation: Situation, now: Monotonic) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            steps.push(ladder.next(situation, now));
            if steps.last() == Some(&Step::Person) {
                return steps;
            }
        }
    }

    #[test]
    fn what_costs_least_is_tried_first_and_a_person_last() {
        assert_eq!(climb(&mut Ladder::default(), ALL, at(0)), Step::ALL);
    }

    #[test]
    fn a_device_that_does_not_answer_is_not_asked_to_reboot_and_one_port_in_a_dumb_hub_is_not_switched() {
        let deaf = Situation { answers: false, ..ALL };
        let steps = climb(&mut Ladder::default(), deaf, at(0));
        assert_eq!(steps, [Step::Retry, Step::RestartLink, Step::PowerCycle, Step::Person]);
        let dumb = Situation { can_switch_port: false, ..deaf };
        assert_eq!(climb(&mut Ladder::default(), dumb, at(0)), [Step::Retry, Step::RestartLink, Step::Person]);
    }

    #[test]
    fn nobody_is_rebooted_all_night() {
        let mut ladder = Ladder::default();
        let reboots = (0..20).filter(|trouble| {
            let steps = climb(&mut ladder, ALL, at(trouble * 60));
            ladder.is_well();
            steps.contains(&Step::Reboot)
        });
        assert_eq!(reboots.count(), Step::Reboot.budget());
        let steps = climb(&mut ladder, ALL, at(7 * 3600 + 1200));
        assert!(steps.contains(&Step::Reboot), "the budget comes back: {steps:?}");
    }

    #[test]
    fn a_trouble_after_a_good_time_begins_at_the_bottom() {
        let mut ladder = Ladder::default();
        ladder.next(ALL, at(0));
        assert_eq!((ladder.next(ALL, at(1)), ladder.place()), (Step::RestartLink, Some((2, 6))));
        ladder.is_well();
        assert_eq!((ladder.place(), ladder.next(ALL, at(100))), (None, Step::Retry));
    }

    proptest! {
        #[test]
        fn every_trouble_ends_with_a_person_within_six_steps(
            seconds in prop::collection::vec(0_u64..20_000, 1..40), answers: bool, can_switch_port: bool, may_reboot: bool,
        ) {
            let situation = Situation { answers, can_switch_port, may_reboot };
            let (mut ladder, mut now) = (Ladder::default(), 0);
            for gap in seconds {
                now += gap;
                prop_assert!(climb(&mut ladder, situation, at(now)).len() <= Step::ALL.len());
                ladder.is_well();
            }
            prop_assert!(ladder.tried.len() <= 19, "{} tries are remembered", ladder.tried.len());
        }
    }
}
