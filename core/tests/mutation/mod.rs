//! Sound bytes, broken in a few places: what gets past the first check of a parser and into its corners.

use proptest::prelude::*;
use proptest::sample::Index;

/// Bits that parsers have stumbled over.
const ODD: [&[u8]; 16] = [
    b"-1",
    b"1e999",
    b"nan",
    b"18446744073709551616",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\"",
    b"'''",
    b"[[",
    b"{",
    b"}",
    b"=",
    b"(,",
    b"\n",
    b"\xf0\x9f\x9a\xa2",
    b"null",
];

#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index),
    Insert(Index, &'static [u8]),
    Overwrite(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Cut(from, to)),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Repeat(from, to)),
        (any::<Index>(), prop::sample::select(&ODD[..])).prop_map(|(at, odd)| Change::Insert(at, odd)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Overwrite(at, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: Change) {
    let place = |index: Index, bytes: &Vec<u8>| index.index(bytes.len() + 1);
    let range = |from: Index, to: Index, bytes: &Vec<u8>| {
        let (one, other) = (place(from, bytes), place(to, bytes));
        one.min(other)..one.max(other)
    };
    match change {
        Change::Flip(at, bit) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Change::Flip(..) => {}
        Change::Cut(from, to) => drop(bytes.drain(range(from, to, bytes))),
        Change::Repeat(from, to) => bytes.extend_from_within(range(from, to, bytes)),
        Change::Insert(at, odd) => drop(bytes.splice(place(at, bytes)..place(at, bytes), odd.iter().copied())),
        Change::Overwrite(at, new) => {
            let at = place(at, bytes);
            let end = (at + new.len()).min(bytes.len());
            drop(bytes.splice(at..end, new));
        }
    }
}

/// `sound` after one to five changes.
pub fn broken(sound: impl Into<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let sound = sound.into();
    prop::collection::vec(change(), 1..6).prop_map(move |changes| {
        let mut bytes = sound.clone();
        for change in changes {
            apply(&mut bytes, change);
        }
        bytes
    })
}
