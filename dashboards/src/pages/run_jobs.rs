//! All jobs of a run as a list: filtered, sorted and cut as the address asks.

use std::collections::HashMap;

use seatrial_core::ids::JobId;
use seatrial_core::job::JobState;
use seatrial_core::outcome::Family;
use seatrial_core::store::JobRow;

use super::list::{Asked, Facet, Listing};
use super::{JobLines, Numbers, job_columns, job_line};
use crate::format::count;
use crate::visit::Setting;

/// The filter of all that needs eyes.
pub(crate) const ATTENTION: &str = "attention";

/// How a job stands, as filters tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Valid,
    Failed,
    Fallback,
    Invalid,
    Open,
    Cancelled,
}

impl Kind {
    /// With the key of its word, in the order of the filters.
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Valid, "valid", "run.figure_valid"),
        (Self::Failed, "failed", "run.figure_failed"),
        (Self::Fallback, "fallback", "run.figure_fallback"),
        (Self::Invalid, "invalid", "run.figure_invalid"),
        (Self::Open, "open", "run.figure_open"),
        (Self::Cancelled, "cancelled", "run.figure_cancelled"),
    ];

    const fn of(job: &JobRow) -> Self {
        match job.state {
            JobState::Queued | JobState::Leased { .. } => Self::Open,
            JobState::Quarantined => Self::Failed,
            JobState::Done { outcome } => match outcome.family() {
                Family::Ok if job.invalid.is_empty() => Self::Valid,
                Family::Ok => Self::Invalid,
                Family::Fallback => Self::Fallback,
                Family::Cancelled => Self::Cancelled,
                Family::Died
                | Family::Hung
                | Family::WrongOutput
                | Family::CannotLoad
                | Family::NotBelieved
                | Family::LabOrRom
                | Family::Misspecified => Self::Failed,
            },
        }
    }
}

/// Whether a job has ended without a valid result of what was asked.
pub(crate) const fn needs_eyes(job: &JobRow) -> bool {
    match Kind::of(job) {
        Kind::Failed | Kind::Fallback | Kind::Invalid => true,
        Kind::Valid | Kind::Open | Kind::Cancelled => false,
    }
}

/// The card "all jobs".
pub(crate) struct Jobs {
    pub facets: Vec<Facet>,
    pub lines: JobLines,
    pub place: String,
    pub first: Option<String>,
    pub next: Option<String>,
    /// Which filter leaves nothing; empty when something is left.
    pub none_match: String,
    /// The address asks for something of the list, so that it is shown at once.
    pub asked: bool,
}

pub(crate) fn jobs(rows: &[JobRow], numbers: &HashMap<JobId, Numbers>, setting: &Setting) -> Jobs {
    let words = setting.words;
    let asked = Asked { setting, anchor: "jobs" };
    let show = setting.parameter("show");
    let kind = Kind::ALL.into_iter().find(|(_, name, _)| Some(*name) == show).map(|(kind, _, _)| kind);
    let marked = show == Some(ATTENTION);
    let is_chosen =
        |job: &&JobRow| if marked { needs_eyes(job) } else { kind.is_none_or(|kind| Kind::of(job) == kind) };
    let chosen: Vec<&JobRow> = rows.iter().filter(is_chosen).collect();
    let none_match = if chosen.is_empty() && !rows.is_empty() {
        words.with("run.no_match", &[("filter", show.unwrap_or_default()), ("n", &count(rows.len() as u64))])
    } else {
        String::new()
    };
    let Listing { heads, rows: page, place, first, next, .. } =
        asked.list(&job_columns(numbers, words), chosen, |job| job.id.to_string());
    let lines = page.into_iter().map(|job| job_line(job, numbers.get(&job.id), &setting.moments));
    Jobs {
        facets: facets(rows, show, &asked),
        lines: lines.collect::<JobLines>().sorted_by(heads),
        place,
        first,
        next,
        none_match,
        asked: ["show", "sort", "after"].into_iter().any(|key| setting.parameter(key).is_some()),
    }
}

/// All, and each kind that the run has.
fn facets(rows: &[JobRow], current: Option<&str>, asked: &Asked<'_>) -> Vec<Facet> {
    let words = asked.setting.words;
    let facet = |label: &str, n: usize, show: Option<&str>| Facet {
        label: words.t(label).into_owned(),
        count: count(n as u64),
        href: asked.link(&[("show", show), ("after", None)]),
        current: current == show,
    };
    let all = facet("fleet.all", rows.len(), None);
    let marked = facet("run.attention", rows.iter().filter(|job| needs_eyes(job)).count(), Some(ATTENTION));
    let each = Kind::ALL.into_iter().filter_map(|(kind, name, label)| {
        let n = rows.iter().filter(|job| Kind::of(job) == kind).count();
        (n > 0 || current == Some(name)).then(|| facet(label, n, Some(name)))
    });
    [all, marked].into_iter().chain(each).collect()
}
