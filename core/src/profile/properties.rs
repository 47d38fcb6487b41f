//! Android's properties, as `getprop` prints them: `[key]: [value]`, where a value may go over several lines.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::evidence::{Piece, RawEvidence};
use super::{Fact, Found, Standing};
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// Phones have up to about 2,000.
pub const MAX_PROPERTIES: usize = 8192;
/// Longer values are no value that a rule looks at.
const MAX_VALUE: usize = 4096;

/// Why some properties may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Cut,
    Garbled,
}

impl Doubt {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "the list of properties is cut off",
            Self::Garbled => "the list of properties is garbled",
        }
    }

    const fn code(self) -> Code {
        match self {
            Self::Cut => Code::PropertiesCut,
            Self::Garbled => Code::PropertiesGarbled,
        }
    }
}

/// The properties of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    values: BTreeMap<String, String>,
    /// Keys that were told twice, with different values: neither is believed.
    contradicted: BTreeSet<String>,
    doubt: Option<Doubt>,
    /// Why there are none at all.
    none: Option<String>,
}

impl Properties {
    /// The properties in the evidence.
    #[must_use]
    pub fn of(evidence: &RawEvidence) -> Self {
        match evidence.said(Piece::Getprop) {
            Ok(said) => Self::parse(said.text, said.whole),
            Err(reason) => Self {
                values: BTreeMap::new(),
                contradicted: BTreeSet::new(),
                doubt: Some(Doubt::Cut),
                none: Some(reason),
            },
        }
    }

    /// Reads a dump; `whole` says that nothing is known to be missing.
    #[must_use]
    pub fn parse(dump: &str, whole: bool) -> Self {
        let mut properties = Self {
            values: BTreeMap::new(),
            contradicted: BTreeSet::new(),
            doubt: (!whole).then_some(Doubt::Cut),
            none: None,
        };
        let mut open: Option<(String, String)> = None;
        for line in dump.lines().map(|line| line.trim_end_matches('\r')) {
            let begun = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ["));
            match (begun.filter(|(key, _)| is_key(key)), open.take()) {
                (Some((key, value)), before) => {
                    if before.is_some() {
                        properties.garbled();
                    }
                    match value.strip_suffix(']') {
                        Some(value) => properties.add(key.to_owned(), value.to_owned()),
                        None => open = Some((key.to_owned(), value.to_owned())),
                    }
                }
                (None, Some((key, mut value))) => {
                    value.push('\n');
                    match line.strip_suffix(']') {
                        Some(last) => properties.add(key, value + last),
                        None if value.len() > MAX_VALUE => properties.garbled(),
                        None => open = Some((key, value + line)),
                    }
                }
                (None, None) if line.trim().is_empty() => {}
                (None, None) => properties.garbled(),
            }
        }
        if open.is_some() {
            properties.garbled();
        }
        if properties.values.is_empty() {
            properties.none = Some("the list of properties holds none".to_owned());
        }
        properties
    }

    fn add(&mut self, key: String, value: String) {
        if value.len() > MAX_VALUE || self.values.len() >= MAX_PROPERTIES {
            self.garbled();
            return;
        }
        match self.values.get(&key) {
            Some(before) if *before != value => {
                self.contradicted.insert(key);
            }
            Some(_) => {}
            None => {
                self.values.insert(key, value);
            }
        }
    }

    fn garbled(&mut self) {
        self.doubt.get_or_insert(Doubt::Garbled);
    }

    /// The value of a property that is set, told once and not empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let value = self.values.get(key).filter(|_| !self.contradicted.contains(key))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// Why a property that is not there may still be on the device. Where this says something, nothing may be
    /// concluded from what is missing.
    #[must_use]
    pub fn doubt(&self) -> Option<&'static str> {
        self.doubt.map(Doubt::as_str)
    }

    /// True when the device has properties, which is to say Android.
    pub(super) fn is_android(&self) -> bool {
        !self.values.is_empty()
    }

    /// True when a key was told twice with different values.
    pub(super) fn is_contradicted(&self, key: &str) -> bool {
        self.contradicted.contains(key)
    }

    /// Why none of these properties has a value.
    pub(super) fn absence(&self, keys: &[&str]) -> String {
        let names = keys.join(" or ");
        let contradicted = keys.iter().find(|key| self.contradicted.contains(**key));
        match (&self.none, contradicted, self.doubt()) {
            (Some(none), _, _) => none.clone(),
            (None, Some(key), _) => format!("{key} is told twice, with different values"),
            (None, None, Some(doubt)) => format!("there is no property {names}, but {doubt}"),
            (None, None, None) => format!("there is no property {names}"),
        }
    }

    /// The first of these properties that has a value.
    pub(super) fn first<'k>(&self, keys: &[&'k str]) -> Option<(&'k str, &str)> {
        keys.iter().find_map(|key| Some((*key, self.get(key)?)))
    }

    pub(super) fn fact(&self, keys: &[&str]) -> Fact<String> {
        match self.first(keys) {
            Some((key, value)) => Reading::Present(Found::told(value.to_owned(), quote(key, value))),
            None => Reading::Absent(self.absence(keys)),
        }
    }

    pub(super) fn parsed<T: FromStr>(&self, keys: &[&str], what: &str) -> Fact<T> {
        match self.fact(keys) {
            Reading::Present(Found { value, from, .. }) => match value.parse() {
                Ok(value) => Reading::Present(Found { value, standing: Standing::Told, from }),
                Err(_) => Reading::Absent(format!("{from} is not {what}")),
            },
            Reading::Absent(reason) => Reading::Absent(reason),
        }
    }

    pub(super) fn warnings(&self) -> Vec<Reason> {
        let mut warnings = Vec::new();
        if self.is_android()
            && let Some(doubt) = self.doubt
        {
            warnings.push(Reason::new(doubt.code(), &[]));
        }
        if !self.contradicted.is_empty() {
            let keys: Vec<&str> = self.contradicted.iter().take(8).map(String::as_str).collect();
            warnings.push(Reason::new(Code::PropertiesContradict, &[("keys", &keys.join(", "))]));
        }
        warnings
    }
}

/// `ro.soc.model = SM8650`.
pub(super) fn quote(key: &str, value: &str) -> String {
    format!("{key} = {value}")
}

/// Values are free text; keys are not, and so a value's second line is not mistaken for an entry.
fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@/+".contains(&byte);
    !key.is_empty() && key.len() <= 256 && key.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_have_brackets_and_lines() {
        let dump = "[a.b]: [one]\n[c]: [first\nsecond]: [no]\nthird]\n[d]: []\n[e]: [x]]\n";
        let properties = Properties::parse(dump, true);
        assert_eq!(properties.get("a.b"), Some("one"));
        assert_eq!(properties.get("c"), Some("first\nsecond]: [no"), "a line that ends in a bracket ends the value");
        assert_eq!((properties.get("d"), properties.get("e")), (None, Some("x]")));
    }

    #[test]
    fn lines_end_as_an_old_connection_ends_them() {
        let properties = Properties::parse("[a]: [1]\r\n[b]: [2\r\n3]\r\n", true);
        assert_eq!((properties.get("a"), properties.get("b")), (Some("1"), Some("2\n3")));
        assert_eq!(properties.doubt(), None);
    }

    #[test]
    fn a_key_with_two_values_has_none() {
        let properties = Properties::parse("[a]: [1]\n[b]: [2]\n[a]: [3]\n[b]: [2]\n", true);
        assert_eq!((properties.get("a"), properties.get("b")), (None, Some("2")));
        assert!(properties.absence(&["a"]).contains("twice"));
        assert_eq!(properties.warnings()[0].code(), Some(Code::PropertiesContradict));
    }

    #[test]
    fn a_list_that_ends_within_an_entry_is_doubtful() {
        for dump in ["[a]: [1]\n[b]: [2", "[a]: [1]\n[b", "[a]: [1]\n[b]: [2\n[c]: [3]\n", "getprop: no\n[a]: [1]\n"] {
            assert!(Properties::parse(dump, true).doubt().is_some(), "{dump:?}");
        }
        assert!(Properties::parse("[a]: [1]\n", false).doubt().is_some());
        assert_eq!(Properties::parse("[a]: [1]\n\n", true).doubt(), None);
    }

    #[test]
    fn more_properties_than_any_phone_has_are_not_read() {
        let lines: Vec<String> = (0..=MAX_PROPERTIES).map(|number| format!("[k{number}]: [v]")).collect();
        let dump = lines.join("\n");
        let properties = Properties::parse(&dump, true);
        assert_eq!(properties.values.len(), MAX_PROPERTIES);
        assert!(properties.doubt().is_some());
    }
}
