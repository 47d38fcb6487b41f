//! Two languages from one catalogue file each. Placeholders are `{name}`; nothing in a catalogue is HTML.
//!
//! A key that does not exist shows as itself; a test keeps that from happening, and keeps both files in step.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use http::{HeaderMap, header};
use seatrial_core::failure::{Blame, Class, Source};
use seatrial_core::lab::seen::Advice;
use seatrial_core::metric::{self, Better};
use seatrial_core::reason::{Code, Reason};
use seatrial_core::role::Role;

const ENGLISH: &str = include_str!("../i18n/en.toml");
const CHINESE: &str = include_str!("../i18n/zh-CN.toml");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// As `lang` attributes and the cookie spell it.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::English => Self::Chinese,
            Self::Chinese => Self::English,
        }
    }

    /// The language of a tag such as `zh`, `zh-Hans-CN` or `en-GB`; `None` when it is neither of ours.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("zh") {
            Some(Self::Chinese)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::English)
        } else {
            None
        }
    }

    /// The address decides, then the cookie `lang`, then `Accept-Language`, then English.
    #[must_use]
    pub fn negotiate(asked: Option<&str>, headers: &HeaderMap) -> Self {
        asked
            .and_then(Self::of_tag)
            .or_else(|| cookie(headers, "lang").and_then(Self::of_tag))
            .or_else(|| accepted(headers))
            .unwrap_or(Self::English)
    }

    fn catalogue(self) -> &'static HashMap<String, String> {
        match self {
            Self::English => &CATALOGUES[0],
            Self::Chinese => &CATALOGUES[1],
        }
    }
}

/// Parsed once. A catalogue that does not parse is empty: keys show instead of words, and a test fails.
static CATALOGUES: LazyLock<[HashMap<String, String>; 2]> =
    LazyLock::new(|| [ENGLISH, CHINESE].map(|text| parse(text).unwrap_or_default()));

fn parse(text: &str) -> Result<HashMap<String, String>, toml::de::Error> {
    let sections: HashMap<String, HashMap<String, String>> = toml::from_str(text)?;
    let keys = sections.into_iter().flat_map(|(section, entries)| {
        entries.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
    });
    Ok(keys.collect())
}

/// The English of every reason, as the crate that gives them has it: translations are held against it.
#[cfg(test)]
fn reasons() -> impl Iterator<Item = (String, String)> {
    Code::ALL.iter().map(|code| (reason_key(*code), code.template().to_owned()))
}

/// The English meaning of every metric, as the registry has it.
#[cfg(test)]
fn meanings() -> impl Iterator<Item = (String, String)> {
    metric::REGISTRY.iter().map(|kind| (metric_key(kind.name), kind.meaning.to_owned()))
}

/// The English text of every advice.
#[cfg(test)]
fn advices() -> impl Iterator<Item = (String, String)> {
    Advice::ALL.iter().map(|advice| (advice_key(*advice), advice.text().to_owned()))
}

fn advice_key(advice: Advice) -> String {
    format!("advice.{}", advice.as_str())
}

fn metric_key(metric: &str) -> String {
    format!("metric.{metric}")
}

fn reason_key(code: Code) -> String {
    format!("reason.{}", code.as_str())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The supported language with the highest weight; the first of equals.
fn accepted(headers: &HeaderMap) -> Option<Language> {
    let line = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let mut best: Option<(f64, Language)> = None;
    for part in line.split(',').take(16) {
        let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
        let weight = parameters.trim().strip_prefix("q=").map_or(1.0, |q| q.parse().unwrap_or(0.0));
        let Some(language) = Language::of_tag(tag) else { continue };
        if weight > 0.0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
            best = Some((weight, language));
        }
    }
    best.map(|(_, language)| language)
}

/// The words of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words(pub Language);

impl Words {
    /// The text of a key without placeholders.
    #[must_use]
    pub fn t<'a>(&self, key: &'a str) -> Cow<'a, str> {
        match self.0.catalogue().get(key) {
            Some(text) => Cow::Borrowed(text.as_str()),
            None => Cow::Borrowed(key),
        }
    }

    /// The text of a key with its placeholders filled.
    #[must_use]
    pub fn with(&self, key: &str, values: &[(&str, &str)]) -> String {
        fill(&self.t(key), values)
    }

    /// The text of `key.one` or of `key.other`, with `{n}` filled; Chinese has only the latter.
    #[must_use]
    pub fn count(&self, key: &str, n: u64, values: &[(&str, &str)]) -> String {
        let one = self.0 == Language::English && n == 1;
        let text = self.t(&format!("{key}_{}", if one { "one" } else { "other" })).into_owned();
        let n = crate::format::count(n);
        let mut values = values.to_vec();
        values.push(("n", &n));
        fill(&text, &values)
    }

    /// Why something is as it is. A reason that is only text stays as it was written.
    #[must_use]
    pub fn reason(&self, reason: &Reason) -> String {
        match (self.0, reason.code()) {
            (Language::English, _) => reason.text().to_owned(),
            (Language::Chinese, None) => self.phrase(reason.text()),
            (Language::Chinese, Some(code)) => {
                let arguments: Vec<(&str, String)> =
                    reason.arguments().map(|(name, value)| (name, self.phrase(value))).collect();
                let arguments: Vec<(&str, &str)> =
                    arguments.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let said = self.with(&reason_key(code), &arguments);
                match reason.process() {
                    Some(process) => self.with("number.of_process", &[("n", &process.to_string()), ("reason", &said)]),
                    None => said,
                }
            }
        }
    }

    /// Several reasons, each as [`Self::reason`] says it, as one line.
    #[must_use]
    pub fn reasons(&self, reasons: &[Reason]) -> String {
        let said: Vec<String> = reasons.iter().map(|reason| self.reason(reason)).collect();
        said.join(self.semicolon())
    }

    /// What stands between clauses.
    #[must_use]
    pub const fn semicolon(&self) -> &'static str {
        match self.0 {
            Language::English => "; ",
            Language::Chinese => "；",
        }
    }

    /// A text of the server or an agent that crossed a border as text alone: translated when it is, as a whole, one of
    /// the reasons that we know, or several of them joined; left as it is otherwise.
    #[must_use]
    pub fn phrase(&self, text: &str) -> String {
        if self.0 == Language::English {
            return text.to_owned();
        }
        let known = |text: &str| {
            let reason = Reason::read(text)?;
            let arguments: Vec<(&str, String)> =
                reason.arguments().map(|(name, value)| (name, value.replace(" or ", " 或 "))).collect();
            let arguments: Vec<(&str, &str)> = arguments.iter().map(|(name, value)| (*name, value.as_str())).collect();
            Some(self.with(&reason_key(reason.code()?), &arguments))
        };
        let joined = || text.split("; ").map(known).collect::<Option<Vec<String>>>();
        known(text).or_else(|| Some(joined()?.join(self.semicolon()))).unwrap_or_else(|| text.to_owned())
    }

    /// What stands in the place of a number that is not there.
    #[must_use]
    pub fn absent(&self, reason: &str) -> String {
        self.with("number.absent", &[("reason", &self.phrase(reason))])
    }

    /// What somebody is to do about a phone.
    #[must_use]
    pub fn advice(&self, advice: Advice) -> String {
        match self.0 {
            Language::English => {
                let mut letters = advice.text().chars();
                let first = letters.next().map(|first| first.to_ascii_uppercase());
                first.into_iter().chain(letters).chain(['.']).collect()
            }
            Language::Chinese => format!("{}。", self.t(&advice_key(advice))),
        }
    }

    /// What a metric means, in one sentence; empty for one that the registry does not know.
    #[must_use]
    pub fn meaning(&self, metric: &str) -> String {
        let Some(kind) = metric::kind(metric) else { return String::new() };
        match self.0 {
            Language::English => kind.meaning.to_owned(),
            Language::Chinese => self.t(&metric_key(metric)).into_owned(),
        }
    }

    /// Which way of a metric is better.
    #[must_use]
    pub fn better(&self, better: Better) -> Cow<'static, str> {
        self.t(match better {
            Better::Higher => "dataset.higher",
            Better::Lower => "dataset.lower",
            Better::Neither => "dataset.neither",
        })
    }

    /// A class of failure in a few words.
    #[must_use]
    pub fn class(&self, class: Class) -> String {
        self.t(&format!("class.{class}")).into_owned()
    }

    /// What to do about a class of failure.
    #[must_use]
    pub fn remedy(&self, class: Class) -> String {
        self.t(&format!("remedy.{class}")).into_owned()
    }

    /// Whose doing a failure is.
    #[must_use]
    pub fn blame(&self, blame: Blame) -> String {
        self.t(&format!("blame.{blame}")).into_owned()
    }

    /// Where what decided was found.
    #[must_use]
    pub fn source(&self, source: Source) -> String {
        self.t(&format!("source.{}", source.as_str())).into_owned()
    }

    /// A role in words.
    #[must_use]
    pub fn role(&self, role: Role) -> Cow<'static, str> {
        self.t(match role {
            Role::Viewer => "role.viewer",
            Role::Submitter => "role.submitter",
            Role::Operator => "role.operator",
            Role::Admin => "role.admin",
            Role::Agent => "role.agent",
        })
    }

    /// Joins the parts of a list as the language does.
    #[must_use]
    pub fn list(&self, parts: &[String]) -> String {
        match self.0 {
            Language::English => parts.join(", "),
            Language::Chinese => parts.join("、"),
        }
    }

    /// Joins sentences as the language does.
    #[must_use]
    pub fn sentences(&self, parts: &[String]) -> String {
        match self.0 {
            Language::English => parts.join(" "),
            Language::Chinese => parts.concat(),
        }
    }
}

/// One pass: what a value brings is never read as a placeholder.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        out.push_str(values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
    }

    fn sources() -> String {
        fn read(folder: &Path, out: &mut String) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    read(&path, out);
                } else {
                    out.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let mut out = String::new();
        for folder in ["src", "templates"] {
            read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut out);
        }
        out
    }

    #[test]
    fn several_reasons_that_crossed_as_one_text_are_said_in_the_language() {
        let text = "output logits: cosine similarity 0.8000, limit 0.9900; output logits: signal to noise 4.0 dB, limit 30.0 dB";
        let said = Words(Language::Chinese).phrase(text);
        assert_eq!(said, "输出 logits：余弦相似度 0.8000，限值 0.9900；输出 logits：信噪比 4.0 dB，限值 30.0 dB");
        assert_eq!(Words(Language::English).phrase(text), text);
        let neither = Words(Language::Chinese).phrase("there is no property ro.a.name or ro.b.name");
        assert_eq!(neither, "没有属性 ro.a.name 或 ro.b.name");
        let foreign = "no samples; and the moon was full";
        assert_eq!(Words(Language::Chinese).phrase(foreign), foreign, "all of it or nothing");
    }

    #[test]
    fn both_catalogues_have_the_same_keys_and_placeholders() {
        let mut english = parse(ENGLISH).expect("en.toml parses");
        english.extend(reasons().chain(meanings()).chain(advices()));
        let chinese = parse(CHINESE).expect("zh-CN.toml parses");
        let keys = |catalogue: &HashMap<String, String>| catalogue.keys().cloned().collect::<BTreeSet<_>>();
        let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
        // A Chinese count has one form.
        let english_keys: BTreeSet<_> = keys(&english).into_iter().filter(|key| !key.ends_with("_one")).collect();
        assert_eq!(only(&english_keys, &keys(&chinese)), [""; 0], "in en.toml only");
        assert_eq!(only(&keys(&chinese), &english_keys), [""; 0], "in zh-CN.toml only");
        for (key, text) in &chinese {
            assert_eq!(placeholders(&english[key]), placeholders(text), "placeholders of {key}");
            assert!(!text.is_empty(), "{key} is empty");
        }
    }

    #[test]
    fn every_key_is_used_and_every_used_key_exists() {
        let english = parse(ENGLISH).unwrap();
        let sections: BTreeSet<&str> = english.keys().filter_map(|key| key.split('.').next()).collect();
        let sources = sources();
        let quoted: BTreeSet<&str> = sources.split('"').filter(|text| text.len() < 60).collect();
        // Keys that are made from the words of an enum; `words.rs` makes them and its test goes through all values.
        // Those of facts are made from the names that agents give.
        let made = ["state.", "outcome.", "why.", "fact.", "class.", "remedy.", "blame.", "source."];
        for key in english.keys() {
            let base = key.trim_end_matches("_one").trim_end_matches("_other");
            let used =
                quoted.contains(key.as_str()) || quoted.contains(base) || made.iter().any(|part| key.starts_with(part));
            assert!(used, "{key} is not used anywhere");
        }
        for text in quoted {
            let Some((section, name)) = text.split_once('.') else { continue };
            let is_key = sections.contains(section)
                && !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            let exists = english.contains_key(text) || english.contains_key(&format!("{text}_other"));
            assert!(!is_key || exists, "{text:?} is used but is in no catalogue");
        }
    }

    #[test]
    fn every_class_of_failure_has_its_words_and_its_remedy_and_no_others_are_there() {
        let english = parse(ENGLISH).unwrap();
        let classes = Class::ALL.iter().flat_map(|class| [format!("class.{class}"), format!("remedy.{class}")]);
        let blames = Blame::ALL.iter().map(|blame| format!("blame.{blame}"));
        let sources = Source::ALL.iter().map(|source| format!("source.{}", source.as_str()));
        let expected: BTreeSet<String> = classes.chain(blames).chain(sources).collect();
        let made = ["class.", "remedy.", "blame.", "source."];
        let there = english.keys().filter(|key| made.iter().any(|section| key.starts_with(section)));
        assert_eq!(there.cloned().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn a_value_is_never_read_as_a_placeholder() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "x")]), "{b} and x");
        assert_eq!(fill("open {", &[]), "open {");
    }

    #[test]
    fn the_address_wins_over_the_cookie_and_the_cookie_over_the_browser() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, "fr, en;q=0.4, zh-Hans-CN;q=0.7".parse().unwrap());
        assert_eq!(Language::negotiate(None, &headers), Language::Chinese);
        headers.insert(header::COOKIE, "theme=dark; lang=en".parse().unwrap());
        assert_eq!(Language::negotiate(None, &headers), Language::English);
        assert_eq!(Language::negotiate(Some("zh"), &headers), Language::Chinese);
        assert_eq!(Language::negotiate(Some("klingon"), &HeaderMap::new()), Language::English);
    }
}
