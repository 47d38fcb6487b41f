//! What judges the outputs of a dataset of the task `custom`: a program that comes with the data, and the figures that it
//! is asked for. So a metric has the version and the digest of the data that it judges, and no engine has a part in it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::package::is_plain_name;
use crate::metric::{Better, Estimate, Metric};
use crate::reading::Reading;

/// What begins the name of every metric of a scorer. None of these is in the registry.
pub const PREFIX: &str = "custom.";
/// What runs a scorer whose manifest names nothing else. A program that runs by itself is for one processor, and a dataset
/// is for all.
pub const DEFAULT_INTERPRETER: &str = "python3";
/// Metrics of one scorer.
pub const MAX_METRICS: usize = 16;
/// Files that lie beside its program.
pub const MAX_FILES: usize = 32;
/// Bytes of its program, and of each of these files.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// Bytes of the reason why a figure has no value. A device cuts it.
pub const MAX_REASON: usize = 1 << 10;
/// Letters of a unit.
const MAX_UNIT: usize = 16;
/// Letters of a meaning.
const MAX_MEANING: usize = 200;

/// The scorer of a dataset version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scorer {
    /// By its name in the agent's configuration.
    pub interpreter: String,
    /// The member that is run.
    pub program: String,
    /// Members that lie beside it.
    pub files: Vec<String>,
    pub metrics: Vec<ScorerMetric>,
}

/// A number that a scorer is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScorerMetric {
    /// Without [`PREFIX`].
    pub name: String,
    pub unit: String,
    pub better: Better,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// What a scorer says of one of its metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Without [`PREFIX`].
    pub name: String,
    pub value: Reading<Estimate>,
    /// Examples that it rests on, where the scorer tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<u32>,
}

/// Whether a name may be that of a scorer's metric: 1 to 40 lower-case letters, digits and `_`, a letter first.
#[must_use]
pub fn is_metric_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Whether a member may be laid beside others on a device.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    is_plain_name(name) && !name.starts_with('.')
}

impl Scorer {
    /// Keys of it that cannot be meant, with the reason.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let Self { interpreter, program, files, metrics } = self;
        let mut faults = Vec::new();
        if !is_plain_name(interpreter) {
            let why = format!("{interpreter:?} is not a name of an interpreter, such as python3");
            faults.push(("interpreter".to_owned(), why));
        }
        let member = "letters, digits, '.', '_' and '-', no '.' first";
        if !is_file_name(program) {
            faults.push(("program".to_owned(), format!("{program:?} is not a member's name: expected {member}")));
        }
        if files.len() > MAX_FILES {
            faults.push(("files".to_owned(), format!("{} files, at most {MAX_FILES} are laid beside it", files.len())));
        }
        let mut beside = BTreeSet::from([program.as_str()]);
        for (index, file) in files.iter().enumerate() {
            let key = format!("files[{index}]");
            if !is_file_name(file) {
                faults.push((key, format!("{file:?} is not a member's name: expected {member}")));
            } else if !beside.insert(file) {
                faults.push((key, format!("{file:?} is there twice")));
            }
        }
        if metrics.is_empty() || metrics.len() > MAX_METRICS {
            faults.push(("metrics".to_owned(), format!("expected 1 to {MAX_METRICS} metrics, not {}", metrics.len())));
        }
        let mut known = BTreeSet::new();
        for (index, metric) in metrics.iter().enumerate() {
            let mut faulty = |key: &str, why: String| faults.push((format!("metrics[{index}].{key}"), why));
            let ScorerMetric { name, unit, better: _, meaning } = metric;
            if !is_metric_name(name) {
                let why = format!("{name:?}: expected 1 to 40 lower-case letters, digits and '_', a letter first");
                faulty("name", why);
            } else if !known.insert(name) {
                faulty("name", format!("{name:?} is there twice"));
            }
            if !is_line(unit, MAX_UNIT) || unit.contains(char::is_whitespace) {
                faulty("unit", format!("{unit:?} is not a unit: expected 1 to {MAX_UNIT} characters without space"));
            }
            if meaning.as_ref().is_some_and(|meaning| !is_line(meaning, MAX_MEANING)) {
                faulty("meaning", format!("expected one line of 1 to {MAX_MEANING} characters"));
            }
        }
        faults
    }

    /// Every member that it needs.
    pub fn members(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.program).chain(&self.files)
    }

    /// Why these cannot be its figures over so many examples: each metric has exactly one, which is a finite number
    /// within its bounds and rests on no more examples than there are, or says why there is none.
    #[must_use]
    pub fn refuted(&self, figures: &[Figure], examples: u32) -> Option<String> {
        let mut open: BTreeSet<&str> = self.metrics.iter().map(|metric| metric.name.as_str()).collect();
        for figure in figures {
            let name = figure.name.as_str();
            let shown: String = name.chars().take(80).collect();
            if !open.remove(name) {
                let known = self.metrics.iter().any(|metric| metric.name == name);
                let what = if known { "twice" } else { "which the dataset does not ask for" };
                return Some(format!("it tells {shown:?}, {what}"));
            }
            if let Some(why) = figure.refuted(examples) {
                return Some(format!("{shown}: {why}"));
            }
        }
        open.first().map(|missing| format!("it does not tell {missing:?}"))
    }

    /// The figures as metrics with their units, in the order of the manifest; `None` when one is missing.
    #[must_use]
    pub fn named(&self, figures: &[Figure]) -> Option<Vec<Metric>> {
        let metric = |metric: &ScorerMetric| {
            let figure = figures.iter().find(|figure| figure.name == metric.name)?;
            Some(metric.with(figure.value.clone()))
        };
        self.metrics.iter().map(metric).collect()
    }

    /// The metric of this name, with its prefix.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&ScorerMetric> {
        let name = name.strip_prefix(PREFIX)?;
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

impl ScorerMetric {
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    #[must_use]
    pub fn with(&self, value: Reading<Estimate>) -> Metric {
        Metric { name: self.full_name(), unit: self.unit.clone(), value }
    }
}

impl Figure {
    fn refuted(&self, examples: u32) -> Option<String> {
        let Self { name: _, value, examples: rests_on } = self;
        if let Some(told) = rests_on.filter(|told| !(1..=examples).contains(told)) {
            return Some(format!("it rests on {told} examples, and the dataset has {examples}"));
        }
        match value {
            Reading::Absent(why) if why.trim().is_empty() => Some("it has neither a value nor a reason".to_owned()),
            Reading::Absent(why) if why.len() > MAX_REASON => {
                Some(format!("its reason is longer than {MAX_REASON} bytes"))
            }
            Reading::Absent(_) => None,
            Reading::Present(Estimate { value, interval }) => {
                let (low, high) = interval.unwrap_or((*value, *value));
                if ![*value, low, high].into_iter().all(f64::is_finite) {
                    Some(format!("{value} [{low}, {high}] is not a finite number"))
                } else if low > *value || *value > high {
                    Some(format!("{value} does not lie within its own bounds [{low}, {high}]"))
                } else {
                    None
                }
            }
        }
    }
}

fn is_line(text: &str, most: usize) -> bool {
    let length = text.chars().count();
    (1..=most).contains(&length) && text.trim() == text && !text.chars().any(char::is_control)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two metrics: a share and a number that is better when it is lower.
    pub(crate) fn scorer() -> Scorer {
        let metric = |name: &str, unit: &str, better| ScorerMetric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            meaning: None,
        };
        Scorer {
            interpreter: DEFAULT_INTERPRETER.to_owned(),
            program: "score.py".to_owned(),
            files: vec!["seatrial_runner.py".to_owned()],
            metrics: vec![metric("ece", "1", Better::Lower), metric("nll", "nat", Better::Lower)],
        }
    }

    pub(crate) fn figure(name: &str, value: f64) -> Figure {
        let value = Reading::Present(Estimate { value, interval: None });
        Figure { name: name.to_owned(), value, examples: None }
    }

    fn within(name: &str, value: f64, interval: (f64, f64)) -> Figure {
        let value = Reading::Present(Estimate { value, interval: Some(interval) });
        Figure { name: name.to_owned(), value, examples: Some(4) }
    }

    fn absent(name: &str, why: &str) -> Figure {
        Figure { name: name.to_owned(), value: Reading::absent(why), examples: None }
    }

    #[test]
    fn figures_that_can_be_true_become_metrics_with_their_units_in_the_order_of_the_manifest() {
        let figures = [within("nll", -0.5, (-0.5, 2.0)), absent("ece", "no example has a label")];
        assert_eq!(scorer().refuted(&figures, 4), None);
        let metrics = scorer().named(&figures).unwrap();
        let told: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
        assert_eq!(told, [("custom.ece", "1"), ("custom.nll", "nat")]);
        assert_eq!(metrics[0].value.reason(), Some("no example has a label"));
        assert_eq!(metrics[1].value.present().unwrap().interval, Some((-0.5, 2.0)));
        assert!(metrics.iter().all(|metric| crate::metric::kind(&metric.name).is_none()));
    }

    #[test]
    fn every_lie_of_a_scorer_is_refuted_and_named() {
        let more = |examples| Figure { examples: Some(examples), ..figure("ece", 0.1) };
        for (first, said) in [
            (figure("f1", 0.1), "it tells \"f1\", which the dataset does not ask for"),
            (figure("nll", 0.1), "it tells \"nll\", twice"),
            (figure("ece", f64::NAN), "ece: NaN [NaN, NaN] is not a finite number"),
            (figure("ece", f64::INFINITY), "is not a finite number"),
            (within("ece", 0.1, (0.05, f64::NAN)), "is not a finite number"),
            (within("ece", 0.1, (0.2, 0.05)), "ece: 0.1 does not lie within its own bounds [0.2, 0.05]"),
            (within("ece", 0.1, (0.2, 0.3)), "does not lie within its own bounds"),
            (more(5), "it rests on 5 examples, and the dataset has 4"),
            (more(0), "it rests on 0 examples"),
            (absent("ece", " "), "neither a value nor a reason"),
            (absent("ece", &"x".repeat(MAX_REASON + 1)), "its reason is longer"),
        ] {
            let why = scorer().refuted(&[figure("nll", 1.0), first], 4).unwrap_or_default();
            assert!(why.contains(said), "{said}: {why}");
        }
        assert_eq!(scorer().refuted(&[figure("nll", 1.0)], 4).unwrap(), "it does not tell \"ece\"");
        assert_eq!(scorer().named(&[figure("nll", 1.0)]), None);
        assert_eq!(scorer().refuted(&[figure("nll", 1.0), more(4)], 4), None, "the control");
    }

    #[test]
    fn a_metric_has_a_plain_lower_case_name() {
        for name in ["ece", "f1_macro", "p95"] {
            assert!(is_metric_name(name), "{name}");
        }
        for name in ["", "ECE", "1st", "_x", "a b", "a.b", "é", &"x".repeat(41)] {
            assert!(!is_metric_name(name), "{name}");
        }
    }
}
