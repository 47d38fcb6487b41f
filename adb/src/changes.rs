//! Devices that come and go, from whole lists. Pure: clocks are the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::listing::Listed;

/// What is different in a newer list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Appeared(Listed),
    /// Its state, its transport or what it says of itself; another transport id is a reconnection.
    Changed {
        from: Listed,
        to: Listed,
    },
    Gone(Listed),
}

/// A device by where it is: serial, port, and which of those that share both.
type Key = (String, Option<String>, usize);

fn keyed(list: &[Listed]) -> BTreeMap<Key, &Listed> {
    let mut keyed = BTreeMap::new();
    for listed in list {
        let mut key = (listed.serial.clone(), listed.usb.clone(), 0);
        while keyed.contains_key(&key) {
            key.2 += 1;
        }
        keyed.insert(key, listed);
    }
    keyed
}

/// What changed from one list to the next; those that left come first.
#[must_use]
pub fn changes(before: &[Listed], after: &[Listed]) -> Vec<Change> {
    let (before, after) = (keyed(before), keyed(after));
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|(_, at)| Change::Gone((*at).clone()));
    let came = after.iter().filter_map(|(key, &now)| match before.get(key) {
        None => Some(Change::Appeared(now.clone())),
        Some(&was) if was != now => Some(Change::Changed { from: was.clone(), to: now.clone() }),
        Some(_) => None,
    });
    gone.chain(came).collect()
}

/// Lists without flicker: a device counts as gone only when it has been missing for the whole `grace`. A phone that restarts
/// is missing for 20 to 90 s.
#[derive(Debug, Clone)]
pub struct Presence {
    grace: Duration,
    /// The last word of each, and since when it is missing.
    known: BTreeMap<Key, (Listed, Option<Duration>)>,
}

impl Presence {
    #[must_use]
    pub const fn new(grace: Duration) -> Self {
        Self { grace, known: BTreeMap::new() }
    }

    /// What a list says at `now`, on any clock that does not go back. Call it again with the same list at
    /// [`Presence::next`].
    pub fn step(&mut self, now: Duration, list: &[Listed]) -> Vec<Change> {
        let list = keyed(list);
        let mut found = Vec::new();
        self.known.retain(|key, (last, missing)| {
            if list.contains_key(key) {
                *missing = None;
                return true;
            }
            let since = *missing.get_or_insert(now);
            let stays = now.saturating_sub(since) < self.grace;
            if !stays {
                found.push(Change::Gone(last.clone()));
            }
            stays
        });
        for (key, listed) in list {
            match self.known.insert(key, (listed.clone(), None)) {
                None => found.push(Change::Appeared(listed.clone())),
                Some((last, _)) if last != *listed => found.push(Change::Changed { from: last, to: listed.clone() }),
                Some(_) => {}
            }
        }
        found
    }

    /// When the next missing device will count as gone.
    pub fn next(&self) -> Option<Duration> {
        self.known.values().filter_map(|(_, missing)| *missing).min().map(|since| since + self.grace)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listing::parse_listing;

    const SECOND: Duration = Duration::from_secs(1);

    fn list(text: &str) -> Vec<Listed> {
        parse_listing(text)
    }

    #[test]
    fn an_empty_list_is_an_event() {
        let before = list("a\tdevice\nb\tdevice\n");
        assert_eq!(changes(&before, &[]), before.iter().cloned().map(Change::Gone).collect::<Vec<_>>());
        assert_eq!(changes(&[], &[]), []);
    }

    #[test]
    fn a_phone_that_leaves_a_twin_behind_is_the_one_that_is_gone() {
        let twins = list("x device usb:1-1 transport_id:1\nx device usb:1-2 transport_id:2");
        assert_eq!(changes(&twins, &twins[1..]), [Change::Gone(twins[0].clone())]);
        let same_port = list("x device transport_id:1\nx device transport_id:2");
        assert_eq!(changes(&same_port, &same_port).len(), 0);
        assert_eq!(changes(&[], &same_port).len(), 2);
    }

    #[test]
    fn another_transport_is_a_reconnection_of_the_same_device() {
        let (was, is) = (list("x offline transport_id:1"), list("x device transport_id:5"));
        assert_eq!(changes(&was, &is), [Change::Changed { from: was[0].clone(), to: is[0].clone() }]);
    }

    #[test]
    fn a_restarting_phone_is_gone_only_after_the_grace() {
        let phone = list("x device usb:1-1 transport_id:1");
        let again = list("x device usb:1-1 transport_id:2");
        let mut presence = Presence::new(SECOND * 90);
        assert_eq!(presence.step(Duration::ZERO, &phone), [Change::Appeared(phone[0].clone())]);
        assert_eq!((presence.step(SECOND * 10, &[]), presence.next()), (vec![], Some(SECOND * 100)));
        assert_eq!(presence.step(SECOND * 99, &[]), []);
        let back = Change::Changed { from: phone[0].clone(), to: again[0].clone() };
        assert_eq!((presence.step(SECOND * 99, &again), presence.next()), (vec![back], None));
        assert_eq!(presence.step(SECOND * 100, &[]), []);
        assert_eq!(presence.step(SECOND * 190, &[]), [Change::Gone(again[0].clone())]);
        assert_eq!((presence.step(SECOND * 200, &[]), presence.next()), (vec![], None));
    }

    fn some_list() -> impl Strategy<Value = Vec<Listed>> {
        prop::collection::vec(("[ab]", "device|offline", 1_u8..3, 0_u64..4), 0..5).prop_map(|lines| {
            let lines: Vec<String> =
                lines.iter().map(|(a, b, port, id)| format!("{a} {b} usb:{port} transport_id:{id}")).collect();
            list(&lines.join("\n"))
        })
    }

    proptest! {
        #[test]
        fn without_grace_presence_says_what_the_difference_of_lists_is(lists in prop::collection::vec(some_list(), 1..8)) {
            let mut presence = Presence::new(Duration::ZERO);
            let mut before = Vec::new();
            for (index, list) in lines_of(&lists) {
                prop_assert_eq!(presence.step(SECOND * index, list), changes(&before, list));
                before.clone_from(list);
            }
        }

        #[test]
        fn changes_applied_to_the_old_list_give_the_new_one(before in some_list(), after in some_list()) {
            let mut now = before.clone();
            for change in changes(&before, &after) {
                let mut remove = |old: &Listed| { let at = now.iter().position(|one| one == old).unwrap(); now.remove(at); };
                match change {
                    Change::Gone(old) => remove(&old),
                    Change::Changed { from, to } => { remove(&from); now.push(to); }
                    Change::Appeared(new) => now.push(new),
                }
            }
            now.sort();
            let mut after = after;
            after.sort();
            prop_assert_eq!(now, after);
        }
    }

    fn lines_of(lists: &[Vec<Listed>]) -> impl Iterator<Item = (u32, &Vec<Listed>)> {
        (0..).zip(lists)
    }
}
