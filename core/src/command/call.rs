//! From a rule to an argument vector: placeholders of a closed set, and never a shell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::{AcceleratorRule, PrecisionRule, Rule};
use crate::actual::AS_IN_THE_MODEL;
use crate::backend::Accelerator;
use crate::model::Precision;
use crate::profile::MeasurementProfile;
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// The file that the engine is pointed to.
    Model,
    /// The file of this role of the variant.
    File(String),
    /// Folder of the variant's files.
    Folder,
    /// Folder of the package's files.
    Package,
    /// The one folder that the program may write to.
    Output,
    Threads,
    /// The accelerator's word.
    Accelerator,
    /// The word for the precision.
    Precision,
    /// Least inferences.
    Runs,
    /// Least inferences before them.
    Warmup,
    /// Least time of measuring, in s.
    Seconds,
    /// Most time of measuring, in s.
    MaxSeconds,
    /// Least time of warming up, in s.
    WarmupSeconds,
    /// Shapes of all inputs as ncnn writes them.
    Shapes,
    /// A list of files with generated inputs.
    Inputs,
}

impl Placeholder {
    pub(super) const NAMES: [&str; 15] = [
        "model",
        "file:ROLE",
        "folder",
        "package",
        "output",
        "threads",
        "accelerator",
        "precision",
        "runs",
        "warmup",
        "seconds",
        "max_seconds",
        "warmup_seconds",
        "shapes",
        "inputs",
    ];

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "model" => Self::Model,
            "folder" => Self::Folder,
            "package" => Self::Package,
            "output" => Self::Output,
            "threads" => Self::Threads,
            "accelerator" => Self::Accelerator,
            "precision" => Self::Precision,
            "runs" => Self::Runs,
            "warmup" => Self::Warmup,
            "seconds" => Self::Seconds,
            "max_seconds" => Self::MaxSeconds,
            "warmup_seconds" => Self::WarmupSeconds,
            "shapes" => Self::Shapes,
            "inputs" => Self::Inputs,
            other => Self::File(other.strip_prefix("file:").filter(|role| !role.is_empty())?.to_owned()),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word(Vec<Part>);

/// Arguments that stand or go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub words: Vec<Word>,
    /// Left out when a placeholder has no value.
    pub optional: bool,
}

impl Word {
    /// Reads `--graph={model}`; a brace is written twice. The error names what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = rest
                .split_once('}')
                .filter(|_| brace == "{")
                .ok_or_else(|| format!("{text:?} has a brace without its other; a brace itself is written twice"))?;
            let placeholder = Placeholder::named(name).ok_or_else(|| format!("{{{name}}} is no placeholder"))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Placeholder(placeholder));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    pub(super) fn uses(&self, placeholder: &Placeholder) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Placeholder(used) if used == placeholder))
    }

    fn fill(&self, asked: &Asked<'_>, rule: &AcceleratorRule) -> Result<String, CallError> {
        self.0.iter().try_fold(String::new(), |mut text, part| {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Placeholder(placeholder) => text.push_str(&asked.value(placeholder, rule)?),
            }
            Ok(text)
        })
    }
}

/// What a program is asked to do. Paths are texts, for they become words.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub model: &'a str,
    pub folder: &'a str,
    /// The variant's files by role.
    pub files: &'a BTreeMap<String, String>,
    pub package: &'a str,
    pub output: &'a str,
    pub accelerator: Accelerator,
    /// What the suite asks for, if anything.
    pub precision: Option<Precision>,
    /// The precision of the variant's own numbers.
    pub variant: Precision,
    /// At least 1.
    pub threads: u16,
    pub profile: &'a MeasurementProfile,
    /// The shape of each input, in order; absent when an axis has no size.
    pub shapes: Option<&'a [Vec<u64>]>,
    /// A list of files with generated inputs, where they were made.
    pub inputs: Option<&'a str>,
}

/// How a program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Arguments of the second program, where the rule has one.
    pub viewer: Option<Vec<String>>,
    /// In what the program computes when it is called so.
    pub precision: Reading<String>,
}

/// Why a program cannot be called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("its rule file has no accelerator {}", .0.as_str())]
    NoAccelerator(Accelerator),
    #[error("it needs a file with the role {0:?}, and the variant has none")]
    NoFile(String),
    #[error(
        "it needs the sizes of the model's inputs, and they are not known: claim a signature and set open axes in the binding"
    )]
    NoShapes,
    #[error("it needs files with inputs, and none were made: claim a signature")]
    NoInputs,
    #[error("its rule file gives no word for {}", .0.as_str())]
    NoWord(Accelerator),
    #[error("its rule file knows no way to have it compute in {} there", .0.as_str())]
    NoPrecision(Precision),
}

impl Asked<'_> {
    fn value(&self, placeholder: &Placeholder, rule: &AcceleratorRule) -> Result<String, CallError> {
        let stop = &self.profile.stop;
        Ok(match placeholder {
            Placeholder::Model => self.model.to_owned(),
            Placeholder::File(role) => self.files.get(role).cloned().ok_or_else(|| CallError::NoFile(role.clone()))?,
            Placeholder::Folder => self.folder.to_owned(),
            Placeholder::Package => self.package.to_owned(),
            Placeholder::Output => self.output.to_owned(),
            Placeholder::Threads => rule.threads.clone().unwrap_or_else(|| self.threads.to_string()),
            Placeholder::Precision => {
                self.word_of_precision(rule)?.map_or_else(String::new, |(_, word)| word.to_owned())
            }
            Placeholder::Accelerator => rule.word.clone().ok_or(CallError::NoWord(self.accelerator))?,
            Placeholder::Runs => stop.min_samples.max(1).to_string(),
            Placeholder::Warmup => self.profile.warmup.min_iterations.to_string(),
            Placeholder::Seconds => whole_seconds(stop.min_time).to_string(),
            Placeholder::MaxSeconds => whole_seconds(stop.max_time).to_string(),
            Placeholder::WarmupSeconds => self.profile.warmup.min_time.as_secs_f64().to_string(),
            Placeholder::Shapes => inner_first(self.shapes.ok_or(CallError::NoShapes)?),
            Placeholder::Inputs => self.inputs.ok_or(CallError::NoInputs)?.to_owned(),
        })
    }

    /// In what it is to compute, with the word for it, where it has to be told. Where nobody asks, that is the variant's
    /// own precision, or else fp32: never fewer bits than the model has.
    fn word_of_precision<'r>(&self, rule: &'r AcceleratorRule) -> Result<Option<(Precision, &'r str)>, CallError> {
        let no_way = CallError::NoPrecision(self.precision.unwrap_or(self.variant));
        match &rule.precision {
            PrecisionRule::Unknown if self.precision.is_none() => Ok(None),
            PrecisionRule::Own if self.precision.is_none_or(|asked| asked == self.variant) => Ok(None),
            PrecisionRule::Unknown | PrecisionRule::Own => Err(no_way),
            PrecisionRule::Words(words) => {
                let candidates = match self.precision {
                    Some(asked) => [asked; 2],
                    None => [self.variant, Precision::Fp32],
                };
                let known = candidates.iter().find_map(|one| words.get_key_value(one));
                known.map(|(precision, word)| Some((*precision, word.as_str()))).ok_or(no_way)
            }
        }
    }

    fn fill(&self, all: &[Words], rule: &AcceleratorRule) -> Result<Vec<String>, CallError> {
        let mut filled = Vec::new();
        for Words { words, optional } in all {
            match words.iter().map(|each| each.fill(self, rule)).collect::<Result<Vec<String>, _>>() {
                Ok(words) => filled.extend(words),
                Err(_) if *optional => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Rounded up: no program measures for less than it was asked to.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// `[224,224,3],[1000]`: the innermost axis first, without a leading axis of one.
fn inner_first(shapes: &[Vec<u64>]) -> String {
    let mut text = String::new();
    for (index, shape) in shapes.iter().enumerate() {
        let axes = match shape.as_slice() {
            [1, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        let axes: Vec<String> = axes.iter().rev().map(u64::to_string).collect();
        let _ = write!(text, "{}[{}]", if index == 0 { "" } else { "," }, axes.join(","));
    }
    text
}

impl Rule {
    /// The words with which the program is started.
    pub fn call(&self, asked: &Asked<'_>) -> Result<Called, CallError> {
        let rule = self.accelerators.get(&asked.accelerator).ok_or(CallError::NoAccelerator(asked.accelerator))?;
        let precision = match (asked.word_of_precision(rule)?, &rule.precision) {
            (Some((precision, _)), _) => Reading::Present(precision.as_str().to_owned()),
            (None, PrecisionRule::Own) => Reading::Present(AS_IN_THE_MODEL.to_owned()),
            (None, PrecisionRule::Unknown | PrecisionRule::Words(_)) => {
                Reading::absent(Reason::new(Code::NotTold, &[("program", &self.name)]).text())
            }
        };
        let mut arguments: Vec<String> =
            rule.arguments.iter().map(|each| each.fill(asked, rule)).collect::<Result<_, _>>()?;
        arguments.extend(asked.fill(&self.arguments, rule)?);
        let environment = self.environment.iter().map(|(name, value)| Ok((name.clone(), value.fill(asked, rule)?)));
        Ok(Called {
            arguments,
            environment: environment.collect::<Result<_, CallError>>()?,
            viewer: self.viewer.as_ref().map(|words| asked.fill(words, rule)).transpose()?,
            precision,
        })
    }

    /// Whether the program reads inputs that the caller has to make.
    #[must_use]
    pub fn wants_inputs(&self) -> bool {
        self.uses(&Placeholder::Inputs)
    }

    /// Whether the program is told how many threads to use.
    pub(super) fn sets_threads(&self) -> bool {
        self.uses(&Placeholder::Threads)
    }

    pub(super) fn uses(&self, placeholder: &Placeholder) -> bool {
        let words = self.arguments.iter().flat_map(|words| &words.words);
        words.chain(self.environment.iter().map(|(_, value)| value)).any(|word| word.uses(placeholder))
    }
}
