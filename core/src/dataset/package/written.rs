//! The manifest as it is written, and from there to the manifest without faults.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    ImageMembers, LabelForm, LabelSource, MAX_MEMBERS, MAX_TENSOR_BYTES, PackageManifest, Pattern, TensorData,
    TensorSource, check_member_name, is_plain_name, raw_bytes,
};
use crate::accuracy::golden::Standard;
use crate::dataset::Task;
use crate::dataset::scorer::{DEFAULT_INTERPRETER, Scorer, ScorerMetric, is_file_name};
use crate::metric::Better;
use crate::model::Precision;
use crate::suite::document::Reporter;
use crate::suite::problem::one_of;
use crate::tensor::DType;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestFile {
    name: String,
    task: Task,
    #[serde(default)]
    #[schemars(length(max = 2000))]
    description: Option<String>,
    #[serde(default)]
    #[schemars(length(max = 2000))]
    license: Option<String>,
    #[serde(default)]
    #[schemars(length(max = 2000))]
    origin: Option<String>,
    #[schemars(range(min = 1, max = 100_000))]
    examples: u32,
    #[serde(default)]
    #[schemars(length(max = 4096))]
    classes: Vec<String>,
    #[schemars(length(min = 1, max = 64))]
    inputs: Vec<SourceFile>,
    #[serde(default)]
    labels: Option<LabelsFile>,
    #[serde(default)]
    #[schemars(length(max = 64))]
    goldens: Vec<SourceFile>,
    #[serde(default)]
    reference: Option<ReferenceFile>,
    #[serde(default)]
    limits: Option<LimitsFile>,
    #[serde(default)]
    scorer: Option<ScorerFile>,
}

/// What computed the goldens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReferenceFile {
    precision: Precision,
}

/// How near outputs must come to the goldens. What is not said has a default by task and precision.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    /// Least cosine similarity of any example.
    #[serde(default)]
    #[schemars(range(min = -1.0, max = 1.0))]
    cosine: Option<f64>,
    /// Least signal to noise ratio over all examples, in dB.
    #[serde(default)]
    #[schemars(range(min = -400.0, max = 400.0))]
    sqnr_db: Option<f64>,
    /// Largest difference of any element.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    max_abs: Option<f64>,
    /// Least share of examples whose largest element is the reference's.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    argmax_agree: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    kind: SourceKind,
    #[serde(default)]
    member: Option<String>,
    #[serde(default)]
    array: Option<String>,
    #[serde(default)]
    dtype: Option<DType>,
    #[serde(default)]
    #[schemars(length(max = 8))]
    shape: Option<Vec<u32>>,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    #[schemars(length(min = 1, max = 100_000))]
    members: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SourceKind {
    Npy,
    Npz,
    Raw,
    Image,
}

impl SourceKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Raw => "raw",
            Self::Image => "image",
        }
    }

    /// The keys that go with it, beside `name` and `kind`.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Npy => &["member"],
            Self::Npz => &["member", "array"],
            Self::Raw => &["member", "dtype", "shape"],
            Self::Image => &["pattern", "members"],
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LabelsFile {
    kind: LabelsKind,
    member: String,
    #[serde(default)]
    column: Option<String>,
    #[serde(default)]
    ignore: Option<u32>,
    #[serde(default)]
    #[schemars(range(min = 1))]
    queries: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScorerFile {
    #[serde(default)]
    interpreter: Option<String>,
    program: String,
    #[serde(default)]
    files: Vec<String>,
    metrics: Vec<ScorerMetricFile>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScorerMetricFile {
    name: String,
    #[serde(default)]
    unit: Option<String>,
    better: Better,
    #[serde(default)]
    meaning: Option<String>,
}

impl From<ScorerFile> for Scorer {
    fn from(written: ScorerFile) -> Self {
        let ScorerFile { interpreter, program, files, metrics } = written;
        let metric = |ScorerMetricFile { name, unit, better, meaning }| ScorerMetric {
            name,
            unit: unit.unwrap_or_else(|| "1".to_owned()),
            better,
            meaning,
        };
        Self {
            interpreter: interpreter.unwrap_or_else(|| DEFAULT_INTERPRETER.to_owned()),
            program,
            files,
            metrics: metrics.into_iter().map(metric).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum LabelsKind {
    Npy,
    Csv,
    Lines,
    Coco,
    File,
}

impl LabelsKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Csv => "csv",
            Self::Lines => "lines",
            Self::Coco => "coco",
            Self::File => "file",
        }
    }

    /// Those that a task reads.
    const fn of(task: Task) -> &'static [Self] {
        match task {
            Task::Classification | Task::Multilabel | Task::Retrieval | Task::Regression => {
                &[Self::Npy, Self::Csv, Self::Lines]
            }
            Task::Text => &[Self::Lines, Self::Csv],
            Task::Segmentation => &[Self::Npy],
            Task::Detection => &[Self::Coco],
            Task::Custom => &[Self::File],
            Task::Golden => &[],
        }
    }

    fn list(task: Task) -> String {
        one_of(Self::of(task).iter().map(|kind| kind.as_str()))
    }
}

// --- from the file to the manifest ---

impl ManifestFile {
    /// `None` when a part could not be made; then the reporter says why.
    pub(super) fn judge(self, reporter: &mut Reporter<'_>) -> Option<PackageManifest> {
        let Self {
            name,
            task,
            description,
            license,
            origin,
            examples,
            classes,
            inputs,
            labels,
            goldens,
            reference,
            limits,
            scorer,
        } = self;
        if !is_plain_name(&name) {
            let message =
                format!("`name`: {name:?} is not a name: expected 1 to 100 letters, digits, '.', '_' and '-'");
            reporter.at("name", message, None);
        }
        judge_task(task, &classes, labels.is_some(), goldens.len(), reporter);
        for (key, written) in [("reference", reference.is_some()), ("limits", limits.is_some())] {
            if written && goldens.is_empty() {
                reporter.at(key, format!("`{key}`: there are no `[[goldens]]` that it could be of"), None);
            }
        }
        distinct("classes", "", classes.iter().map(String::as_str), reporter);
        distinct("inputs", ".name", inputs.iter().map(|input| input.name.as_str()), reporter);
        distinct("goldens", ".name", goldens.iter().map(|golden| golden.name.as_str()), reporter);
        let scorer = judge_scorer(task, scorer, reporter);
        let inputs = judge_sources("inputs", inputs, examples, reporter);
        let goldens = judge_sources("goldens", goldens, examples, reporter);
        let labels = match labels {
            Some(labels) => Some(labels.judge(task, examples, reporter)?),
            None => None,
        };
        let is_scorers = |member: &String| scorer.iter().flat_map(Scorer::members).any(|of_scorer| of_scorer == member);
        if labels.as_ref().is_some_and(|labels| is_scorers(&labels.member)) {
            reporter.at("labels.member", "`labels.member`: that is a file of the scorer", None);
        }
        let manifest = PackageManifest {
            name,
            task,
            description,
            license,
            origin,
            examples,
            classes,
            inputs: inputs?,
            labels,
            goldens: goldens?,
            standard: standard(reference.as_ref(), limits.as_ref()),
            scorer,
        };
        let members: usize = manifest.inputs.iter().chain(&manifest.goldens).map(|source| source.count(examples)).sum();
        if members > MAX_MEMBERS {
            let message = format!("the package has {members} members, and at most {MAX_MEMBERS} are read");
            reporter.at("inputs", message, Some("put the examples into one npy file".to_owned()));
            return None;
        }
        Some(manifest)
    }
}

fn standard(reference: Option<&ReferenceFile>, limits: Option<&LimitsFile>) -> Standard {
    let precision = reference.map(|reference| reference.precision);
    match limits {
        None => Standard { precision, ..Standard::default() },
        Some(&LimitsFile { cosine, sqnr_db, max_abs, argmax_agree }) => {
            Standard { precision, cosine, sqnr_db, max_abs, argmax_agree }
        }
    }
}

impl TensorSource {
    fn count(&self, examples: u32) -> usize {
        match &self.data {
            TensorData::Npy { .. } | TensorData::Npz { .. } | TensorData::Raw { .. } => 1,
            TensorData::Image { .. } => examples as usize,
        }
    }
}

fn judge_task(task: Task, classes: &[String], labels: bool, goldens: usize, reporter: &mut Reporter<'_>) {
    let name = task.as_str();
    if task.has_classes() {
        let (least, most) = classes_of(task);
        if classes.len() < least {
            let message = format!("`classes`: a {name} dataset names at least {least} classes");
            reporter.at("classes", message, None);
        }
        if classes.len() > most {
            let message = format!("`classes`: a {name} dataset names at most {most} classes, not {}", classes.len());
            reporter.at("classes", message, None);
        }
    } else if !classes.is_empty() {
        let hint = Some("set task = \"classification\"".to_owned());
        reporter.at("classes", format!("`classes`: a {name} dataset has no classes"), hint);
    }
    if task == Task::Golden {
        if goldens == 0 {
            let hint = "add [[goldens]] with the name of the output and its member".to_owned();
            reporter.at("", "a golden dataset needs `[[goldens]]`", Some(hint));
        }
        if labels {
            let hint = Some("set task = \"classification\"".to_owned());
            reporter.at("labels", "`labels`: a golden dataset has no labels", hint);
        }
    } else if !labels && task != Task::Custom {
        let hint = format!("add [labels] with kind = {} and the member that holds them", LabelsKind::list(task));
        reporter.at("", format!("a {name} dataset needs `[labels]`"), Some(hint));
    }
}

/// The scorer of a custom dataset, without faults; what is wrong with it stands beside its key.
fn judge_scorer(task: Task, scorer: Option<ScorerFile>, reporter: &mut Reporter<'_>) -> Option<Scorer> {
    match (task == Task::Custom, scorer) {
        (false, None) => None,
        (false, Some(_)) => {
            let message = format!("`scorer`: a {} dataset has no scorer", task.as_str());
            reporter.at("scorer", message, Some("set task = \"custom\"".to_owned()));
            None
        }
        (true, None) => {
            let hint = "add [scorer] with its program and files, and [[scorer.metrics]]".to_owned();
            reporter.at("", "a custom dataset needs `[scorer]`", Some(hint));
            None
        }
        (true, Some(written)) => {
            let scorer = Scorer::from(written);
            for (key, why) in scorer.faults() {
                let path = format!("scorer.{key}");
                reporter.at(&path, format!("`{path}`: {why}"), None);
            }
            Some(scorer)
        }
    }
}

/// How many classes, at least and at most.
const fn classes_of(task: Task) -> (usize, usize) {
    let most = match task {
        Task::Segmentation => crate::accuracy::segmentation::MAX_CLASSES,
        Task::Classification
        | Task::Detection
        | Task::Text
        | Task::Multilabel
        | Task::Retrieval
        | Task::Regression
        | Task::Golden
        | Task::Custom => crate::accuracy::classification::MAX_CLASSES,
    };
    let least = match task {
        Task::Classification | Task::Segmentation => 2,
        Task::Detection
        | Task::Multilabel
        | Task::Text
        | Task::Retrieval
        | Task::Regression
        | Task::Golden
        | Task::Custom => 1,
    };
    (least, most as usize)
}

/// Reports every name of a list that stands in it already.
fn distinct<'a>(list: &str, field: &str, names: impl Iterator<Item = &'a str>, reporter: &mut Reporter<'_>) {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in names.enumerate() {
        if let Some(earlier) = first.insert(name, index) {
            let line = reporter.place(&format!("{list}[{earlier}]{field}")).line;
            let message = format!("`{list}[{index}]{field}`: {name:?} is a duplicate of line {line}");
            reporter.at(&format!("{list}[{index}]{field}"), message, None);
        }
    }
}

fn judge_sources(
    list: &str,
    sources: Vec<SourceFile>,
    examples: u32,
    reporter: &mut Reporter<'_>,
) -> Option<Vec<TensorSource>> {
    let judged: Vec<Option<TensorSource>> = sources
        .into_iter()
        .enumerate()
        .map(|(index, source)| source.judge(&format!("{list}[{index}]"), list == "goldens", examples, reporter))
        .collect();
    judged.into_iter().collect()
}

impl SourceFile {
    fn judge(self, path: &str, golden: bool, examples: u32, reporter: &mut Reporter<'_>) -> Option<TensorSource> {
        self.foreign_keys(path, reporter);
        let kind = self.kind;
        let Self { name, kind: _, member, array, dtype, shape, pattern, members } = self;
        let data = match kind {
            SourceKind::Npy => TensorData::Npy { member: judge_member(path, kind, member, reporter)? },
            SourceKind::Npz => {
                let array = required(path, "array", kind, array, reporter);
                TensorData::Npz { member: judge_member(path, kind, member, reporter)?, array: array? }
            }
            SourceKind::Raw => {
                let dtype = required(path, "dtype", kind, dtype, reporter);
                let shape = required(path, "shape", kind, shape, reporter);
                let member = judge_member(path, kind, member, reporter)?;
                let (dtype, shape) = (dtype?, shape?.into_iter().map(|axis| axis as usize).collect::<Vec<_>>());
                if raw_bytes(dtype, &shape, examples).is_none_or(|bytes| bytes == 0 || bytes > MAX_TENSOR_BYTES) {
                    let message = format!(
                        "`{path}.shape`: {examples} examples of shape {shape:?} make a tensor that is empty or larger than {MAX_TENSOR_BYTES} bytes"
                    );
                    reporter.at(&format!("{path}.shape"), message, None);
                }
                TensorData::Raw { member, dtype, shape }
            }
            SourceKind::Image if golden => {
                reporter.at(
                    &format!("{path}.kind"),
                    format!("`{path}.kind`: an image cannot be a reference output"),
                    None,
                );
                return None;
            }
            SourceKind::Image => {
                TensorData::Image { members: judge_images(path, pattern, members, examples, reporter)? }
            }
        };
        Some(TensorSource { name, data })
    }

    /// Reports the keys that belong to another kind.
    fn foreign_keys(&self, path: &str, reporter: &mut Reporter<'_>) {
        let given = [
            ("member", self.member.is_some()),
            ("array", self.array.is_some()),
            ("dtype", self.dtype.is_some()),
            ("shape", self.shape.is_some()),
            ("pattern", self.pattern.is_some()),
            ("members", self.members.is_some()),
        ];
        for (key, given) in given {
            if given && !self.kind.keys().contains(&key) {
                let message = format!("`{path}.{key}`: does not go with kind = \"{}\"", self.kind.as_str());
                let hint = format!("the keys of this kind are name, kind, {}", self.kind.keys().join(", "));
                reporter.at(&format!("{path}.{key}"), message, Some(hint));
            }
        }
    }
}

fn required<T>(path: &str, key: &str, kind: SourceKind, value: Option<T>, reporter: &mut Reporter<'_>) -> Option<T> {
    if value.is_none() {
        reporter.at(path, format!("`{path}`: kind = \"{}\" needs the key `{key}`", kind.as_str()), None);
    }
    value
}

fn judge_member(path: &str, kind: SourceKind, member: Option<String>, reporter: &mut Reporter<'_>) -> Option<String> {
    let member = required(path, "member", kind, member, reporter)?;
    judge_name(&format!("{path}.member"), &member, reporter);
    Some(member)
}

fn judge_name(path: &str, name: &str, reporter: &mut Reporter<'_>) {
    if let Err(why) = check_member_name(name) {
        reporter.at(path, format!("`{path}`: {why}"), None);
    }
}

fn judge_images(
    path: &str,
    pattern: Option<String>,
    members: Option<Vec<String>>,
    examples: u32,
    reporter: &mut Reporter<'_>,
) -> Option<ImageMembers> {
    match (pattern, members) {
        (Some(pattern), None) => match Pattern::parse(&pattern) {
            Ok(pattern) => {
                judge_name(&format!("{path}.pattern"), &pattern.name(examples - 1), reporter);
                Some(ImageMembers::Pattern(pattern))
            }
            Err(why) => {
                reporter.at(&format!("{path}.pattern"), format!("`{path}.pattern`: {why}"), None);
                None
            }
        },
        (None, Some(members)) => {
            for (index, member) in members.iter().enumerate() {
                judge_name(&format!("{path}.members[{index}]"), member, reporter);
            }
            if members.len() != examples as usize {
                let message = format!("`{path}.members`: {} images are listed for {examples} examples", members.len());
                reporter.at(&format!("{path}.members"), message, None);
            }
            Some(ImageMembers::Listed(members))
        }
        (Some(_), Some(_)) | (None, None) => {
            let message = format!("`{path}`: kind = \"image\" needs either `pattern` or `members`");
            reporter.at(path, message, Some("pattern = \"photo-{index:05}.png\"".to_owned()));
            None
        }
    }
}

impl LabelsFile {
    fn judge(self, task: Task, examples: u32, reporter: &mut Reporter<'_>) -> Option<LabelSource> {
        let Self { kind, member, column, ignore, queries } = self;
        judge_name("labels.member", &member, reporter);
        if kind == LabelsKind::File && !is_file_name(&member) {
            let message = format!(
                "`labels.member`: {member:?} is laid beside the scorer: expected letters, digits, '.', '_' and '-', no '.' first"
            );
            reporter.at("labels.member", message, None);
        }
        let mut refuse = |key: &str, message: &str| reporter.at(key, format!("`{key}`: {message}"), None);
        if task != Task::Golden && !LabelsKind::of(task).contains(&kind) {
            let message = format!("a {} dataset reads kind = {}", task.as_str(), LabelsKind::list(task));
            refuse("labels.kind", &message);
        }
        if ignore.is_some() && task != Task::Segmentation {
            refuse("labels.ignore", "goes with task = \"segmentation\" alone");
        }
        if queries.is_some() && task != Task::Retrieval {
            refuse("labels.queries", "goes with task = \"retrieval\" alone");
        }
        if queries.is_some_and(|queries| queries == 0 || queries >= examples) {
            refuse("labels.queries", "expected at least 1, and fewer than there are examples: the others are searched");
        }
        let form = match (kind, column) {
            (LabelsKind::Csv, Some(column)) => LabelForm::Csv { column },
            (LabelsKind::Csv, None) => {
                reporter.at("labels", "`labels`: kind = \"csv\" needs the key `column`", None);
                return None;
            }
            (LabelsKind::Npy | LabelsKind::Lines | LabelsKind::Coco | LabelsKind::File, Some(_)) => {
                refuse("labels.column", &format!("does not go with kind = \"{}\"", kind.as_str()));
                return None;
            }
            (LabelsKind::Npy, None) => LabelForm::Npy,
            (LabelsKind::Lines, None) => LabelForm::Lines,
            (LabelsKind::Coco, None) => LabelForm::Coco,
            (LabelsKind::File, None) => LabelForm::File,
        };
        Some(LabelSource { member, form, ignore, queries })
    }
}
