//! What a run of a program comes to: samples, figures in its own words, evidence of where it ran, and failure.

use std::collections::BTreeMap;

use super::take::{Take, Texts};
use super::{Rule, Unit};
use crate::backend::Accelerator;
use crate::outcome::{Claim, Exit};
use crate::profile::MAX_SAMPLES;
use crate::reading::Reading as Read;
use crate::reason::Code;

/// Nanoseconds of a sample beyond which it is no measurement: a day.
const MAX_SAMPLE_NS: f64 = 86_400e9;

/// All that a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
    /// What the second program printed.
    pub viewer: Read<String>,
    /// Files that the rule names, by name.
    pub files: BTreeMap<String, Read<String>>,
}

/// A figure in the program's own words.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub name: String,
    pub unit: Unit,
    /// As it was printed.
    pub value: Read<f64>,
}

/// Why a run is no measurement. A signal and an exit code without a known reason stand in [`Left::exit`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub claim: Claim,
    pub message: String,
}

/// What was read from a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Durations of single inferences in ns, in order.
    pub samples_ns: Read<Vec<u64>>,
    pub told: Vec<Figure>,
    pub version: Read<String>,
    pub threads: Read<u16>,
    /// Where it really ran; absent when it does not say.
    pub accelerator: Read<String>,
    pub delegated: Read<(u32, u32)>,
    /// Why it ran elsewhere than it was asked to.
    pub fallback: Option<String>,
    pub failure: Option<Failure>,
}

impl Rule {
    /// Reads a run that was asked for on `accelerator`. The same run gives the same reading for ever.
    #[must_use]
    pub fn read(&self, accelerator: Accelerator, left: &Left) -> Reading {
        let texts = Texts::new(&self.name, left);
        let not_told = || texts.why(Code::NotTold, &[]);
        let samples_ns = match &self.samples {
            Some((unit, take)) => nanoseconds(take.numbers(&texts, MAX_SAMPLES as usize), *unit, &texts),
            None => Read::absent(not_told()),
        };
        let told: Vec<Figure> = self
            .told
            .iter()
            .map(|rule| Figure { name: rule.name.clone(), unit: rule.unit, value: rule.value.number(&texts) })
            .collect();
        let one = |take: &Option<Take>, group| match take {
            Some(take) => take.one(&texts, group),
            None => Read::absent(not_told()),
        };
        let threads = match one(&self.threads, "value") {
            Read::Present(text) => Read::from_option(text.parse().ok(), not_told()),
            Read::Absent(_) if !self.sets_threads() => Read::absent(texts.why(Code::ThreadsNotSet, &[])),
            Read::Absent(why) => Read::Absent(why),
        };
        let failure = self.failure(&texts, left.exit, &samples_ns, &told);
        let (actual, fallback) = self.where_it_ran(accelerator, &texts, failure.is_some() || !is_clean(left.exit));
        let delegated = self.accelerators.get(&accelerator).map(|rule| rule.delegated.as_slice()).unwrap_or_default();
        let shares: Vec<Read<(u32, u32)>> = delegated.iter().map(|take| take.share(&texts)).collect();
        let known = shares.iter().find(|share| share.reason() != Some(not_told().as_str()));
        let delegated = known.cloned().unwrap_or_else(|| Read::absent(not_told()));
        let fallback = fallback.or_else(|| {
            actual.present().filter(|_| delegated.present().is_none()).and_then(|_| self.in_doubt(accelerator, &texts))
        });
        Reading {
            samples_ns,
            told,
            version: one(&self.version, "version"),
            threads,
            accelerator: actual,
            delegated,
            fallback,
            failure,
        }
    }

    /// A run that failed is no evidence of where it would have run.
    fn where_it_ran(&self, asked: Accelerator, texts: &Texts<'_>, failed: bool) -> (Read<String>, Option<String>) {
        let not_told = || Read::absent(texts.why(Code::NotTold, &[]));
        let Some(rule) = self.accelerators.get(&asked).filter(|_| !failed) else { return (not_told(), None) };
        if let Some(said) = rule.fallback.iter().find_map(|take| take.find(texts)) {
            let said: String = said.chars().take(300).collect();
            return (not_told(), Some(said));
        }
        if rule.ran.is_empty() {
            return (not_told(), None);
        }
        if rule.ran.iter().all(|take| take.find(texts).is_some_and(|found| !found.is_empty())) {
            return (Read::Present(asked.as_str().to_owned()), None);
        }
        // Nothing that would be printed there was printed, so that it cannot pass as a run there.
        (not_told(), Some(texts.why(Code::RanElsewhere, &[("accelerator", &asked.as_str())])))
    }

    /// Why it is not known that all of it ran on an accelerator, where nodes are not counted.
    fn in_doubt(&self, asked: Accelerator, texts: &Texts<'_>) -> Option<String> {
        let rule = self.accelerators.get(&asked).filter(|_| asked != Accelerator::Cpu)?;
        let found = |take: &Take| take.find(texts).is_some_and(|found| !found.is_empty());
        let why = match &rule.doubt {
            None if !rule.whole.is_empty() && rule.whole.iter().all(found) => return None,
            None => texts.why(Code::NotTold, &[]),
            Some(doubt) => doubt.clone(),
        };
        Some(format!("it is not known whether all of it ran on the {}: {why}", asked.as_str()))
    }

    fn failure(&self, texts: &Texts<'_>, exit: Exit, samples: &Read<Vec<u64>>, told: &[Figure]) -> Option<Failure> {
        let known = self.failures.iter().find_map(|rule| {
            let said: String = rule.found.find(texts)?.chars().take(300).collect();
            let advice = rule.advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
            Some(Failure { claim: rule.class.claim(), message: format!("{}: {said}{advice}", self.name) })
        });
        if known.is_some() || !is_clean(exit) {
            return known;
        }
        let missing =
            self.told.iter().zip(told).find(|(rule, figure)| rule.required && figure.value.present().is_none());
        let what = match (&self.samples, samples, missing) {
            (Some(_), Read::Absent(why), _) => format!("its samples are missing: {why}"),
            (_, _, Some((rule, Figure { value: Read::Absent(why), .. }))) => format!("{} is missing: {why}", rule.name),
            _ => return None,
        };
        Some(Failure { claim: Claim::NoResult, message: format!("{} ended with code 0, and {what}", self.name) })
    }
}

fn is_clean(exit: Exit) -> bool {
    exit == Exit::Code(0)
}

fn nanoseconds(values: Read<Vec<f64>>, unit: Unit, texts: &Texts<'_>) -> Read<Vec<u64>> {
    let Some(each) = unit.nanoseconds() else { return Read::absent(texts.why(Code::NotTold, &[])) };
    match values {
        Read::Absent(why) => Read::Absent(why),
        Read::Present(values) => match values.iter().find(|&&value| value * each > MAX_SAMPLE_NS) {
            Some(value) => Read::absent(texts.why(Code::ToldNoNumber, &[("value", value)])),
            None => Read::Present(values.iter().map(|value| (value * each).round() as u64).collect()),
        },
    }
}
