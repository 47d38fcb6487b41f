//! The rules of `core/src/failure/rules.toml`, parsed and checked once.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::{Blame, Class, Source};
use crate::backend::Accelerator;
use crate::outcome::Outcome;
use crate::stage::Stage;

/// A rule file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rules of failures cannot be used: {0}")]
pub struct RulesError(String);

/// What decides the class of a failure.
#[derive(Debug)]
pub struct Rules {
    version: u32,
    classes: BTreeMap<Class, ClassRule>,
    pub(super) in_order: Vec<Rule>,
}

/// What follows from a class.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassRule {
    pub blame: Blame,
    #[serde(default)]
    pub retryable: bool,
    #[serde(default)]
    pub quarantine: bool,
}

/// One rule: every condition that it names must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub class: Class,
    /// In place of the class's own.
    #[serde(default)]
    pub blame: Option<Blame>,
    /// Words of the taxonomy.
    #[serde(default)]
    pub outcome: Vec<String>,
    #[serde(default)]
    pub signal: Vec<i32>,
    #[serde(default)]
    pub code: Vec<i32>,
    #[serde(default)]
    pub stage: Vec<Stage>,
    #[serde(default)]
    pub accelerator: Vec<Accelerator>,
    #[serde(default)]
    pub boot_changed: bool,
    /// Whether we ended the process.
    #[serde(default)]
    pub our_kill: Option<bool>,
    #[serde(default)]
    pub text: Option<Pattern>,
    /// Where the text may stand; anywhere when empty.
    #[serde(default, rename = "in")]
    pub sources: Vec<Source>,
    /// The line with the text speaks of the process that ended.
    #[serde(default)]
    pub ours: bool,
}

impl Rule {
    const fn has_condition(&self) -> bool {
        self.boot_changed
            || self.our_kill.is_some()
            || self.text.is_some()
            || !self.outcome.is_empty()
            || !self.signal.is_empty()
            || !self.code.is_empty()
            || !self.stage.is_empty()
            || !self.accelerator.is_empty()
    }
}

/// A sound expression; `^` and `$` are those of a line.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(pub Regex);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, regex::Error> {
        RegexBuilder::new(&text).multi_line(true).build().map(Self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    class: BTreeMap<Class, ClassRule>,
    rule: Vec<Rule>,
}

impl Rules {
    /// The rules of this build.
    pub fn shipped() -> Result<&'static Self, RulesError> {
        static SHIPPED: LazyLock<Result<Rules, RulesError>> = LazyLock::new(|| Rules::read(include_str!("rules.toml")));
        SHIPPED.as_ref().map_err(Clone::clone)
    }

    /// Reads and checks a rule file.
    pub fn read(text: &str) -> Result<Self, RulesError> {
        let File { version, class: classes, rule: rules } =
            toml::from_str(text).map_err(|error| RulesError(error.to_string()))?;
        if let Some(missing) = Class::ALL.iter().find(|class| !classes.contains_key(class)) {
            return Err(RulesError(format!("nothing says what follows from {missing}")));
        }
        for (index, rule) in rules.iter().enumerate() {
            let class = rule.class;
            if rule.ours && rule.text.is_none() {
                return Err(RulesError(format!("rule {index} ({class}) looks for a line of ours and names no text")));
            }
            if !rule.has_condition() {
                return Err(RulesError(format!("rule {index} ({class}) names no condition and would take everything")));
            }
            if let Some(unknown) = rule.outcome.iter().find(|word| !Outcome::ALL.iter().any(|it| it.class() == *word)) {
                return Err(RulesError(format!("rule {index} ({class}): {unknown:?} is no outcome")));
            }
        }
        Ok(Self { version, classes, in_order: rules })
    }

    /// Goes up with every change of the file, so that a stored class says what it was found by.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What follows from a class. Every class has an entry; [`Rules::read`] saw to it.
    pub(super) fn of(&self, class: Class) -> ClassRule {
        let nothing_follows = ClassRule { blame: Blame::Lab, retryable: false, quarantine: false };
        self.classes.get(&class).copied().unwrap_or(nothing_follows)
    }
}
