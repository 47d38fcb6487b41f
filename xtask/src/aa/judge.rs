//! What several demos say together. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use super::observe::Job;

/// Others take less CPU time than this share beside a job that should be valid.
const QUIET: f64 = 0.05;
/// A median that moved by more than this share of itself has moved.
const MOVED: f64 = 0.05;
/// The least share of jobs of which a claim must hold.
const GOAL: f64 = 0.95;

/// How far one metric of one job differs from run to run, among runs in which the job was valid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    pub job: String,
    pub metric: String,
    pub unit: String,
    pub runs: usize,
    pub mean: f64,
    /// Standard deviation (n − 1) over mean; 0 when all values are equal.
    pub cv: f64,
}

/// Something that should be so of nearly all jobs of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    pub name: &'static str,
    pub holds: usize,
    pub of: usize,
}

impl Claim {
    pub fn share(&self) -> Option<f64> {
        (self.of > 0).then(|| self.holds as f64 / self.of as f64)
    }

    /// A claim about no job at all is not shown, and so not met.
    pub fn met(&self) -> bool {
        self.share().is_some_and(|share| share >= GOAL)
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, holds, of } = self;
        serde_json::json!({ "name": name, "holds": holds, "of": of, "share": self.share(), "goal": GOAL, "met": self.met() })
            .serialize(serializer)
    }
}

fn is_valid(job: &Job) -> bool {
    job.invalid.is_empty()
}

pub fn spreads(runs: &[Vec<Job>]) -> Vec<Spread> {
    let mut values: BTreeMap<(&str, &str, &str), Vec<f64>> = BTreeMap::new();
    for job in runs.iter().flatten().filter(|job| is_valid(job)) {
        for (metric, (value, unit)) in &job.metrics {
            values.entry((metric, &job.key, unit)).or_default().push(*value);
        }
    }
    let spread = |((metric, job, unit), values): ((&str, &str, &str), Vec<f64>)| Spread {
        job: job.to_owned(),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        runs: values.len(),
        mean: mean(&values),
        cv: cv(&values),
    };
    values.into_iter().filter(|(_, values)| values.len() > 1).map(spread).collect()
}

pub fn claims(quiet: &[Vec<Job>], hogged: &[Vec<Job>]) -> Vec<Claim> {
    let usual = usual_medians(quiet);
    let undisturbed = |job: &&Job| job.foreign_cpu.is_some_and(|share| share < QUIET);
    let has_moved = |job: &&Job| moved_by(job, &usual).is_some_and(|share| share.abs() > MOVED);
    let all: Vec<&Job> = quiet.iter().flatten().filter(undisturbed).collect();
    let moved: Vec<&Job> = hogged.iter().flatten().filter(has_moved).collect();
    vec![
        Claim {
            name: "jobs with less than 5 % foreign CPU are valid",
            holds: all.iter().filter(|job| is_valid(job)).count(),
            of: all.len(),
        },
        Claim {
            name: "jobs beside a hog whose median moved by more than 5 % are flagged",
            holds: moved.iter().filter(|job| !is_valid(job)).count(),
            of: moved.len(),
        },
    ]
}

/// By which share of itself a job's median differs from what is usual for it.
fn moved_by(job: &Job, usual: &BTreeMap<&str, f64>) -> Option<f64> {
    Some(job.median()? / usual.get(job.key.as_str())? - 1.0)
}

/// The median over quiet runs of each job's median: of the valid ones, or of all when none was valid.
fn usual_medians(quiet: &[Vec<Job>]) -> BTreeMap<&str, f64> {
    let keys: BTreeSet<&str> = quiet.iter().flatten().map(|job| job.key.as_str()).collect();
    let of = |key: &str, only_valid: bool| {
        let jobs = quiet.iter().flatten().filter(|job| job.key == key && (is_valid(job) || !only_valid));
        median(jobs.filter_map(Job::median).collect())
    };
    keys.into_iter().filter_map(|key| Some((key, of(key, true).or_else(|| of(key, false))?))).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn cv(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / (values.len() as f64 - 1.0)).sqrt();
    if deviation == 0.0 { 0.0 } else { deviation / mean.abs() }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// For people: a line a metric, then what was invalid and why, then the claims.
pub fn tables(spreads: &[Spread], claims: &[Claim], quiet: &[Vec<Job>], hogged: &[Vec<Job>]) -> String {
    let mut out = format!("{:<22}{:>12}{:>12}  {}\n", "between-run cv", "typical", "largest", "of");
    let metrics: BTreeSet<&str> = spreads.iter().map(|spread| spread.metric.as_str()).collect();
    for metric in metrics {
        let of_metric: Vec<&Spread> = spreads.iter().filter(|spread| spread.metric == metric).collect();
        let typical = median(of_metric.iter().map(|spread| spread.cv).collect()).unwrap_or(0.0);
        let Some(worst) = of_metric.iter().max_by(|a, b| a.cv.total_cmp(&b.cv)) else { continue };
        let (typical, largest) = (percent(typical), percent(worst.cv));
        let _ = writeln!(out, "{metric:<22}{typical:>12}{largest:>12}  {} ({} runs)", worst.job, worst.runs);
    }
    let usual = usual_medians(quiet);
    for (what, runs) in [("on the machine as it is", quiet), ("beside a hog", hogged)] {
        let jobs: Vec<&Job> = runs.iter().flatten().collect();
        let invalid = jobs.iter().filter(|job| !is_valid(job)).count();
        let foreign = median(jobs.iter().filter_map(|job| job.foreign_cpu).collect());
        let foreign = foreign.map_or_else(|| "unknown".to_owned(), percent);
        let _ = writeln!(out, "\n{what}: {invalid} of {} jobs invalid, foreign CPU {foreign} (median)", jobs.len());
        let moves = jobs.iter().filter_map(|job| moved_by(job, &usual));
        if let Some(largest) = moves.max_by(|a, b| a.abs().total_cmp(&b.abs())) {
            let _ = writeln!(out, "  the median that moved furthest moved by {}", percent(largest));
        }
        for (reason, count) in reasons(&jobs) {
            let _ = writeln!(out, "  {count:>4}  {reason}");
        }
    }
    out.push('\n');
    for claim in claims {
        let share = claim.share().map_or_else(|| "no such job".to_owned(), percent);
        let verdict = match (claim.of, claim.met()) {
            (0, _) => "NOT SHOWN",
            (_, true) => "holds",
            (_, false) => "DOES NOT HOLD",
        };
        let Claim { name, holds, of } = claim;
        let _ = writeln!(out, "{verdict}: {name}: {share} ({holds} of {of}), at least {} wanted", percent(GOAL));
    }
    out
}

/// How often each reason was given, whatever its figures.
fn reasons(jobs: &[&Job]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for reason in jobs.iter().flat_map(|job| &job.invalid) {
        let has_figure = |word: &str| word.contains(|c: char| c.is_ascii_digit());
        let words: Vec<&str> = reason.split(' ').map(|word| if has_figure(word) { "#" } else { word }).collect();
        *counts.entry(words.join(" ")).or_insert(0) += 1;
    }
    counts
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(median: f64, foreign_cpu: f64, invalid: &[&str]) -> Job {
        Job {
            key: "digits-cnn fp32 · tract cpu ×1".to_owned(),
            invalid: invalid.iter().map(|&reason| reason.to_owned()).collect(),
            foreign_cpu: Some(foreign_cpu),
            metrics: [("lat_p50_ms".to_owned(), (median, "ms".to_owned()))].into(),
        }
    }

    fn runs(jobs: impl IntoIterator<Item = Job>) -> Vec<Vec<Job>> {
        jobs.into_iter().map(|job| vec![job]).collect()
    }

    #[test]
    fn the_spread_is_that_of_valid_jobs() {
        let quiet = runs([job(1.0, 0.0, &[]), job(3.0, 0.0, &[]), job(900.0, 0.5, &["foreign CPU"])]);
        let spreads = spreads(&quiet);
        assert_eq!((spreads.len(), spreads[0].runs, spreads[0].mean), (1, 2, 2.0));
        assert!((spreads[0].cv - 2.0_f64.sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(cv(&[5.0, 5.0]), 0.0);
    }

    #[test]
    fn a_moved_median_that_nothing_flags_breaks_the_claim() {
        let quiet = runs((0..20).map(|_| job(1.0, 0.01, &[])));
        let flagged = runs((0..19).map(|_| job(1.2, 0.5, &["foreign CPU"])));
        let claims_of = |hogged: &[Vec<Job>]| claims(&quiet, hogged);
        assert!(claims_of(&flagged).iter().all(Claim::met));
        let hidden = runs([job(1.2, 0.5, &[]), job(0.9, 0.5, &[])]);
        let claims = claims_of(&[flagged, hidden].concat());
        assert_eq!((claims[1].holds, claims[1].of, claims[1].met()), (19, 21, false));
        assert!(claims[0].met(), "the other claim is another matter");
    }

    #[test]
    fn a_median_that_stayed_need_not_be_flagged_and_shows_nothing() {
        let quiet = runs((0..20).map(|_| job(1.0, 0.01, &[])));
        let claims = claims(&quiet, &runs([job(1.04, 0.5, &[])]));
        assert_eq!((claims[1].of, claims[1].met()), (0, false), "a claim about nothing is not met");
        assert!(tables(&[], &claims, &quiet, &[]).contains("NOT SHOWN: jobs beside a hog"));
    }

    #[test]
    fn an_invalid_job_on_a_quiet_machine_breaks_the_claim() {
        let mut quiet: Vec<Job> = (0..10).map(|_| job(1.0, 0.01, &[])).collect();
        quiet.push(job(1.0, 0.2, &["foreign CPU 20.0 %"]));
        assert!(claims(&runs(quiet.clone()), &[])[0].met(), "a disturbed job is not meant");
        quiet.push(job(1.0, 0.01, &["drift"]));
        assert!(!claims(&runs(quiet), &[])[0].met());
    }

    #[test]
    fn reasons_are_counted_without_their_figures() {
        let jobs = [job(1.0, 0.1, &["foreign CPU took 12 %"]), job(1.0, 0.1, &["foreign CPU took 7.5 %"])];
        let counted = reasons(&jobs.iter().collect::<Vec<_>>());
        assert_eq!(counted, [("foreign CPU took # %".to_owned(), 2)].into());
    }
}
