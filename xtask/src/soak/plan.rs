//! What goes wrong, when, and with which phone: the same seed gives the same plan.

use std::time::Duration;

/// Seconds between two faults, at least and at most.
const BETWEEN: (u64, u64) = (4, 16);

/// Each fault by its word (docs/simulated-phone.md), and for how many seconds it lasts: from, to. Zero for one that is over
/// at once.
const FAULTS: &[(&str, u64, u64)] = &[
    ("cut", 0, 0),
    ("cut=200000", 0, 0),
    ("stall", 5, 30),
    ("slow=50000", 10, 30),
    ("dark", 10, 60),
    ("unauthorized", 5, 20),
    ("offline", 5, 20),
    ("frozen", 5, 30),
    ("reboot", 0, 0),
    ("killed", 0, 0),
    ("heat=88", 20, 60),
    ("charge=5", 20, 60),
    ("denied=/sys/class/thermal", 20, 60),
];

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Since the one before it began.
    pub after: Duration,
    /// Number of the phone.
    pub phone: usize,
    pub word: &'static str,
    /// Until it is mended; `None` for one that is over at once.
    pub lasts: Option<Duration>,
}

/// Faults without an end.
pub struct Plan {
    state: u64,
    phones: usize,
}

impl Plan {
    pub fn new(seed: u64, phones: usize) -> Self {
        Self { state: seed, phones }
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.draw() % (to - from + 1)
    }
}

impl Iterator for Plan {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        let after = Duration::from_secs(self.between(BETWEEN.0, BETWEEN.1));
        let phone = self.between(0, self.phones as u64 - 1) as usize;
        let (word, from, to) = FAULTS[self.between(0, FAULTS.len() as u64 - 1) as usize];
        let lasts = (to > 0).then(|| Duration::from_secs(self.between(from, to)));
        Some(Fault { after, phone, word, lasts })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        let plan = |seed| Plan::new(seed, 12).take(50).collect::<Vec<_>>();
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn an_hour_holds_every_fault_on_every_phone_and_each_ends() {
        let mut time = Duration::ZERO;
        let mut seen = BTreeSet::new();
        for Fault { after, phone, word, lasts } in Plan::new(1, 3) {
            time += after;
            if time > Duration::from_hours(1) {
                break;
            }
            assert!(lasts.is_none_or(|lasts| lasts <= Duration::from_mins(1)));
            seen.insert((phone, word));
        }
        assert_eq!(seen.len(), 3 * FAULTS.len());
    }
}
