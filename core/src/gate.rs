//! The gate: whether a run fulfils what its suite asks.
//!
//! What is missing is never a pass: a rule without a job to judge, a job without the metric, a job that failed. A job
//! whose numbers are invalid, or that fell back, counts as one that failed unless the suite allows it. So nothing that
//! makes a run worse can make it pass. Each doubt is a finding with its job, so that the verdict can be argued with.

use std::cmp::Ordering;
use std::fmt::Display;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::job::JobState;
use crate::metric::{Estimate, Metric};
use crate::outcome::Family;
use crate::reading::Reading;
use crate::reason::{Code, Reason};
use crate::store::{JobRow, MisfitRow};

/// What a run must fulfil to pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Gate {
    /// Jobs that may end without a result that counts: failed, or fallen back or invalid where that is not allowed.
    pub max_failed: u32,
    pub allow_fallback: bool,
    pub allow_misfits: bool,
    pub allow_invalid: bool,
    pub metrics: Vec<MetricRule>,
}

/// A limit on a metric, for the jobs that every given filter matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRule {
    pub metric: String,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub judge: JudgeBy,
    pub model: Option<String>,
    pub variant: Option<String>,
    pub dataset: Option<String>,
    /// As [`crate::backend::Backend`] displays.
    pub backend: Option<String>,
    pub profile: Option<String>,
    /// Name of the device.
    pub device: Option<String>,
}

impl Gate {
    /// What of it a rerun of one job must fulfil: rules about other jobs have nothing to judge there, and the failures
    /// that the whole suite tolerates are not one job's to use up.
    #[must_use]
    pub fn of_rerun(&self, jobs: &[(JobRow, Vec<Metric>)]) -> Self {
        let concerns = |rule: &&MetricRule| jobs.iter().any(|(job, _)| rule.matches(job));
        let metrics = self.metrics.iter().filter(concerns).cloned().collect();
        Self { max_failed: 0, metrics, ..*self }
    }
}

/// What of an estimate is compared with the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum JudgeBy {
    /// The unfavourable end of the 95 % interval: passing means that the limit holds beyond the noise.
    #[default]
    Bound,
    /// The value itself.
    Value,
}

/// Findings beyond this are counted and not listed.
pub const MAX_FINDINGS: usize = 1000;

/// The verdict on a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    pub passed: bool,
    /// Why it did not pass, in the order of the jobs; empty when it did.
    pub findings: Vec<Finding>,
    /// Findings that are not listed.
    pub omitted: u32,
    /// Jobs that were judged.
    pub jobs: u32,
    /// Comparisons of a metric with its rule.
    pub comparisons: u32,
}

/// One reason why a run does not pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// The job, unless the finding is about none.
    pub job: Option<JobId>,
    /// Short id, model, variant, device and so on, in one line.
    pub subject: String,
    pub message: String,
    /// What the message was made from, where it says more than the job itself does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The number that was compared, where it is about one.
    pub value: Option<f64>,
    /// What it was compared with.
    pub limit: Option<f64>,
}

impl Finding {
    fn new(kind: FindingKind, job: Option<&JobRow>, subject: String, why: Reason) -> Self {
        let message = why.text().to_owned();
        let reason = why.code().is_some().then_some(why);
        Self { kind, job: job.map(|job| job.id), subject, message, reason, value: None, limit: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The run has no job.
    NothingRan,
    /// The gate cannot be read, so nothing was judged.
    GateUnreadable,
    Failed,
    Fallback,
    Misfit,
    Invalid,
    /// A rule matches no job.
    NothingToJudge,
    /// A job lacks the metric.
    Missing,
    /// A metric is beyond its limit.
    BeyondLimit,
}

/// Judges a run that has ended.
#[must_use]
pub fn judge(gate: &Gate, jobs: &[(JobRow, Vec<Metric>)], misfits: &[MisfitRow]) -> Judgement {
    let mut findings = Findings::default();
    if jobs.is_empty() {
        findings.add(FindingKind::NothingRan, None, "the run".to_owned(), Reason::new(Code::NothingRan, &[]));
    }
    let tolerated = judge_outcomes(gate, jobs, &mut findings);
    if !gate.allow_misfits {
        for misfit in misfits {
            let why = Reason::new(Code::CannotRun, &[("why", &misfit.reason)]);
            findings.push(Finding {
                reason: Some(misfit.reason.clone()),
                ..Finding::new(FindingKind::Misfit, None, misfit_subject(misfit), why)
            });
        }
    }
    let comparisons = gate.metrics.iter().map(|rule| judge_rule(gate, rule, jobs, tolerated, &mut findings)).sum();
    let Findings { listed, omitted } = findings;
    Judgement { passed: listed.is_empty(), findings: listed, omitted, jobs: jobs.len() as u32, comparisons }
}

/// The verdict on a run whose gate cannot be read any more.
#[must_use]
pub fn unreadable(why: &str) -> Judgement {
    let why = Reason::new(Code::GateUnreadable, &[("why", &why)]);
    let finding = Finding::new(FindingKind::GateUnreadable, None, "the gate".to_owned(), why);
    Judgement { passed: false, findings: vec![finding], omitted: 0, jobs: 0, comparisons: 0 }
}

#[derive(Default)]
struct Findings {
    listed: Vec<Finding>,
    omitted: u32,
}

impl Findings {
    fn add(&mut self, kind: FindingKind, job: Option<&JobRow>, subject: String, why: Reason) {
        self.push(Finding::new(kind, job, subject, why));
    }

    fn push(&mut self, finding: Finding) {
        if self.listed.len() < MAX_FINDINGS {
            self.listed.push(finding);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }
}

/// Why a job's result does not count, if it does not.
fn doubt(gate: &Gate, job: &JobRow) -> Option<(FindingKind, Reason)> {
    let family = match job.state {
        JobState::Done { outcome } => outcome.family(),
        JobState::Queued | JobState::Leased { .. } | JobState::Quarantined => {
            return Some((FindingKind::Failed, failure(job).into()));
        }
    };
    match family {
        Family::Fallback if !gate.allow_fallback => {
            Some((FindingKind::Fallback, Reason::new(Code::OtherAccelerator, &[])))
        }
        Family::Ok | Family::Fallback if !job.invalid.is_empty() && !gate.allow_invalid => {
            let message = format!("the job's numbers are invalid: {}", Reason::joined(&job.invalid));
            Some((FindingKind::Invalid, message.into()))
        }
        Family::Ok | Family::Fallback => None,
        Family::Died
        | Family::Hung
        | Family::WrongOutput
        | Family::CannotLoad
        | Family::NotBelieved
        | Family::LabOrRom
        | Family::Misspecified
        | Family::Cancelled => Some((FindingKind::Failed, failure(job).into())),
    }
}

/// Lists the jobs whose results do not count if they are too many, and returns whether they are tolerated.
fn judge_outcomes(gate: &Gate, jobs: &[(JobRow, Vec<Metric>)], findings: &mut Findings) -> bool {
    let doubts = jobs.iter().filter_map(|(job, _)| doubt(gate, job).map(|(kind, message)| (job, kind, message)));
    let doubts: Vec<(&JobRow, FindingKind, Reason)> = doubts.collect();
    let tolerated = doubts.len() <= gate.max_failed as usize;
    if !tolerated {
        for (job, kind, message) in doubts {
            findings.add(kind, Some(job), subject(job), message);
        }
    }
    tolerated
}

/// Judges every job that the rule matches and returns how many metrics were compared.
///
/// A job whose result does not count has no metric to compare. If the gate tolerates it otherwise, that is a finding
/// here; else it is listed already.
fn judge_rule(
    gate: &Gate,
    rule: &MetricRule,
    jobs: &[(JobRow, Vec<Metric>)],
    tolerated: bool,
    findings: &mut Findings,
) -> u32 {
    let matched: Vec<&(JobRow, Vec<Metric>)> = jobs.iter().filter(|(job, _)| rule.matches(job)).collect();
    if matched.is_empty() {
        findings.add(FindingKind::NothingToJudge, None, rule.subject(), Reason::new(Code::NothingToJudge, &[]));
    }
    let mut comparisons = 0;
    for (job, metrics) in matched {
        let missing = |why: &str| Reason::new(Code::MetricMissing, &[("metric", &rule.metric), ("why", &why)]);
        match (doubt(gate, job), value_of(&rule.metric, metrics)) {
            (Some((_, why)), _) if tolerated => {
                findings.add(FindingKind::Missing, Some(job), subject(job), missing(&why));
            }
            (Some(_), _) => {}
            (None, Err(why)) => findings.add(FindingKind::Missing, Some(job), subject(job), missing(&why)),
            (None, Ok((estimate, unit))) => {
                comparisons += 1;
                if let Some(finding) = rule.compare(job, estimate, unit) {
                    findings.push(finding);
                }
            }
        }
    }
    comparisons
}

/// The value of a metric with its unit, or why there is none.
fn value_of<'m>(metric: &str, metrics: &'m [Metric]) -> Result<(Estimate, &'m str), String> {
    let found = metrics.iter().find(|found| found.name == metric);
    match found.map(|found| (&found.value, found.unit.as_str())) {
        Some((Reading::Present(estimate), unit)) if estimate.value.is_finite() => Ok((*estimate, unit)),
        Some((Reading::Present(_), _)) => Err("its value is not a finite number".to_owned()),
        Some((Reading::Absent(reason), _)) => Err(reason.clone()),
        None => Err("the job did not measure it".to_owned()),
    }
}

impl MetricRule {
    fn matches(&self, job: &JobRow) -> bool {
        let Self { metric: _, min: _, max: _, judge: _, model, variant, dataset, backend, profile, device } = self;
        let is = |filter: &Option<String>, value: &str| filter.as_deref().is_none_or(|wanted| wanted == value);
        is(model, &job.model)
            && is(variant, &job.variant)
            && is(backend, &job.backend)
            && is(profile, &job.profile)
            && is(device, &job.device_name)
            && dataset.as_ref().is_none_or(|wanted| job.dataset.as_deref().map(name_alone) == Some(wanted))
    }

    fn compare(&self, job: &JobRow, estimate: Estimate, unit: &str) -> Option<Finding> {
        let (low, high) = match (self.judge, estimate.interval) {
            (JudgeBy::Bound, Some((low, high))) => (low, high),
            (JudgeBy::Value, _) | (JudgeBy::Bound, None) => (estimate.value, estimate.value),
        };
        // A bound that is not a number is beyond every limit.
        let is_above = |max: &f64| high.partial_cmp(max).is_none_or(Ordering::is_gt);
        let is_below = |min: &f64| low.partial_cmp(min).is_none_or(Ordering::is_lt);
        let above = self.max.filter(is_above).map(|max| (high, max, Code::AboveLimit, Code::BoundAboveLimit));
        let below = self.min.filter(is_below).map(|min| (low, min, Code::BelowLimit, Code::BoundBelowLimit));
        let (value, limit, itself, its_bound) = above.or(below)?;
        let shown = |number: f64| {
            let number = six_digits(number);
            if unit == "1" { number.to_string() } else { format!("{number} {unit}") }
        };
        let code = if value == estimate.value { itself } else { its_bound };
        let (number, bound, limit_text) = (shown(estimate.value), shown(value), shown(limit));
        let arguments: [(&str, &dyn Display); 4] =
            [("metric", &self.metric), ("value", &number), ("bound", &bound), ("limit", &limit_text)];
        let why = Reason::new(code, &arguments);
        let finding = Finding::new(FindingKind::BeyondLimit, Some(job), subject(job), why);
        Some(Finding { value: Some(value), limit: Some(limit), ..finding })
    }

    fn subject(&self) -> String {
        let Self { metric, min: _, max: _, judge: _, model, variant, dataset, backend, profile, device } = self;
        let filters = [model, variant, dataset, backend, profile, device];
        let given: Vec<&str> = filters.into_iter().flatten().map(String::as_str).collect();
        if given.is_empty() {
            format!("rule on {metric}")
        } else {
            format!("rule on {metric} for {}", given.join(", "))
        }
    }
}

/// The name of `name@version`.
fn name_alone(reference: &str) -> &str {
    reference.split_once('@').map_or(reference, |(name, _)| name)
}

/// The number rounded to six significant digits, for people.
fn six_digits(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return number;
    }
    let scale = 10f64.powi(5 - number.abs().log10().floor() as i32);
    let rounded = (number * scale).round() / scale;
    if rounded.is_finite() { rounded } else { number }
}

fn failure(job: &JobRow) -> String {
    let state = match job.state {
        JobState::Done { outcome } => format!("the job ended as {outcome}"),
        JobState::Quarantined => "the job is quarantined".to_owned(),
        JobState::Queued => "the job has not run".to_owned(),
        JobState::Leased { .. } => "the job is still running".to_owned(),
    };
    match (&job.stage, &job.message) {
        (Some(stage), Some(message)) => format!("{state} in {stage}: {message}"),
        (None, Some(message)) => format!("{state}: {message}"),
        (Some(stage), None) => format!("{state} in {stage}"),
        (None, None) => state,
    }
}

fn subject(job: &JobRow) -> String {
    let JobRow { short, model, version, variant, dataset, backend, profile, device_name, .. } = job;
    let dataset = dataset.as_deref().map(|dataset| format!(" on {dataset}")).unwrap_or_default();
    format!("{short} {model}@{version}/{variant}{dataset}, {backend}, {profile}, {device_name}")
}

fn misfit_subject(misfit: &MisfitRow) -> String {
    let MisfitRow { model, variant, dataset, backend, profile, device: _, device_name, reason: _ } = misfit;
    let dataset = dataset.as_deref().map(|dataset| format!(" on {dataset}")).unwrap_or_default();
    format!("{model}/{variant}{dataset}, {backend}, {profile}, {}", device_name.as_deref().unwrap_or("no device"))
}

#[cfg(test)]
mod tests;
