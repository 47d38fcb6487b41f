//! A phone whose link comes and goes: a bad cable, a weak hub, a dying port. A phone that reboots is away for a while too,
//! so an absence counts only when it was not announced.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Monotonic;

/// How far back absences count.
pub const WINDOW: Duration = Duration::from_hours(1);
/// So many in the window are one too many.
pub const LIMIT: usize = 6;

/// A phone that is back within this time was never away: USB re-enumerates when a mode changes.
pub const DEBOUNCE: Duration = Duration::from_secs(3);

/// Absences of one device.
#[derive(Debug, Clone, Default)]
pub struct Flaps {
    gone_at: Option<Monotonic>,
    expected: bool,
    /// Moments of absences that count, oldest first; [`LIMIT`] at most.
    counted: VecDeque<Monotonic>,
}

/// What a change of the link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: it was not away long enough, or was known to be away.
    Nothing,
    /// It is gone, for this many counted times in the window.
    Lost(usize),
    /// It comes and goes too often to be measured with.
    Unsteady(usize),
}

impl Flaps {
    /// The device will be away by our own doing: a reboot, a dark window, a power cycle.
    pub const fn expect(&mut self) {
        self.expected = true;
    }

    /// The link is gone.
    pub fn gone(&mut self, now: Monotonic) {
        self.gone_at.get_or_insert(now);
    }

    /// Whether an absence has lasted long enough to count; asked again while it lasts, and it counts once.
    pub fn tick(&mut self, now: Monotonic) -> Meaning {
        let Some(gone_at) = self.gone_at else { return Meaning::Nothing };
        if self.expected || now.since(gone_at) < DEBOUNCE || self.counted.back() == Some(&gone_at) {
            return Meaning::Nothing;
        }
        while self.counted.front().is_some_and(|&first| now.since(first) > WINDOW) || self.counted.len() >= LIMIT {
            self.counted.pop_front();
        }
        self.counted.push_back(gone_at);
        match self.counted.len() {
            LIMIT.. => Meaning::Unsteady(self.counted.len()),
            count => Meaning::Lost(count),
        }
    }

    /// The link is there again.
    pub const fn back(&mut self) {
        self.gone_at = None;
        self.expected = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    /// One absence of ten seconds that begins at this second.
    fn absence(flaps: &mut Flaps, second: u64) -> Meaning {
        flaps.gone(at(second));
        let meaning = flaps.tick(at(second + 10));
        assert_eq!(flaps.tick(at(second + 11)), Meaning::Nothing, "it counts once");
        flaps.back();
        meaning
    }

    #[test]
    fn a_link_that_is_lost_six_times_in_an_hour_is_unsteady() {
        let mut flaps = Flaps::default();
        for count in 1..6 {
            assert_eq!(absence(&mut flaps, count as u64 * 60), Meaning::Lost(count));
        }
        assert_eq!(absence(&mut flaps, 400), Meaning::Unsteady(6));
        assert_eq!(absence(&mut flaps, 500), Meaning::Unsteady(6), "and stays it while it goes on");
    }

    #[test]
    fn the_same_number_over_a_day_is_not() {
        let mut flaps = Flaps::default();
        for count in 0..20 {
            assert_eq!(absence(&mut flaps, count * 4 * 3600), Meaning::Lost(1));
        }
    }

    #[test]
    fn a_moment_away_and_an_absence_of_our_own_doing_count_nothing() {
        let mut flaps = Flaps::default();
        flaps.gone(at(1));
        assert_eq!(flaps.tick(at(2)), Meaning::Nothing, "USB re-enumerates");
        flaps.back();
        flaps.expect();
        flaps.gone(at(10));
        assert_eq!(flaps.tick(at(90)), Meaning::Nothing, "it was told to reboot");
        flaps.back();
        assert_eq!(absence(&mut flaps, 200), Meaning::Lost(1), "the next is its own");
    }
}
