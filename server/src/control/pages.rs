//! What is larger than a message, in parts that fit: a run with thousands of jobs, and the preview of one.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use prost::Message;
use seatrial_core::gate::Judgement;
use seatrial_core::ids::JobId;
use seatrial_core::metric::Metric;
use seatrial_core::store::{Part, Read, RunRow};
use seatrial_proto::MAX_MESSAGE;
use seatrial_proto::v1::{GetRunResponse, PreviewResponse};

use super::convert;
use crate::error::Error;

/// Bytes of rows in a page; what is left of a message is for the run itself and its gate.
const PAGE_BYTES: usize = MAX_MESSAGE / 2;
/// Rows that are read for a page.
const PAGE_ROWS: u32 = 1000;
/// Bytes of a gate's findings; those beyond are counted and not listed.
const GATE_BYTES: usize = MAX_MESSAGE / 4;

/// Where a page begins: at a job, or once all jobs are told, at a misfit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    Jobs(u32),
    Misfits(u32),
}

impl Cursor {
    pub(super) const START: Self = Self::Jobs(0);
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(from) => write!(f, "j{from}"),
            Self::Misfits(from) => write!(f, "m{from}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::field("page", "expected nothing, or `next_page` of the page before".to_owned());
        let number = |text: &str| text.parse().map_err(|_| unknown());
        if text.is_empty() {
            return Ok(Self::START);
        }
        match text.split_at_checked(1) {
            Some(("j", from)) => number(from).map(Self::Jobs),
            Some(("m", from)) => number(from).map(Self::Misfits),
            Some(_) | None => Err(unknown()),
        }
    }
}

/// What is left of a page. The first row always fits, so that every page tells something.
#[derive(Default)]
pub(super) struct Room {
    used: usize,
}

impl Room {
    pub(super) fn holds(&mut self, row: &impl Message) -> bool {
        let first = self.used == 0;
        self.used += row.encoded_len() + 8; // its tag and length
        first || self.used <= PAGE_BYTES
    }
}

/// The page of a run that begins at `from`, and where the next one does.
pub(super) async fn page(
    store: &(impl Read + ?Sized),
    run: &RunRow,
    from: Cursor,
) -> Result<(GetRunResponse, Option<Cursor>), Error> {
    let gate_json = if from == Cursor::START { run.gate.as_deref().map(bounded_gate) } else { None };
    let mut page = GetRunResponse { run: Some(convert::run(run)), gate_json, ..GetRunResponse::default() };
    let mut room = Room::default();
    let next = match from {
        Cursor::Jobs(from) => match add_jobs(store, run, from, &mut page, &mut room).await? {
            Some(next) => Some(next),
            None => add_misfits(store, run, 0, &mut page, &mut room).await?,
        },
        Cursor::Misfits(from) => add_misfits(store, run, from, &mut page, &mut room).await?,
    };
    page.next_page = next.map(|cursor| cursor.to_string()).unwrap_or_default();
    Ok((page, next))
}

/// Adds jobs; `None` when all are told.
async fn add_jobs(
    store: &(impl Read + ?Sized),
    run: &RunRow,
    from: u32,
    page: &mut GetRunResponse,
    room: &mut Room,
) -> Result<Option<Cursor>, Error> {
    let part = Part { from, count: PAGE_ROWS };
    let mut metrics: HashMap<JobId, Vec<Metric>> = HashMap::new();
    for (job, metric) in store.run_metrics_part(run.id, part).await? {
        metrics.entry(job).or_default().push(metric);
    }
    let jobs = store.jobs_part(run.id, part).await?;
    let is_last = jobs.len() < PAGE_ROWS as usize;
    for (told, job) in jobs.into_iter().enumerate() {
        let metrics = metrics.remove(&job.id).unwrap_or_default();
        let job = convert::job(job, metrics);
        if !room.holds(&job) {
            return Ok(Some(Cursor::Jobs(from + told as u32)));
        }
        page.jobs.push(job);
    }
    Ok((!is_last).then(|| Cursor::Jobs(from + PAGE_ROWS)))
}

/// Adds misfits; `None` when all are told.
async fn add_misfits(
    store: &(impl Read + ?Sized),
    run: &RunRow,
    from: u32,
    page: &mut GetRunResponse,
    room: &mut Room,
) -> Result<Option<Cursor>, Error> {
    if from >= run.counts.misfits {
        return Ok(None);
    }
    let misfits = store.misfits_part(run.id, Part { from, count: PAGE_ROWS }).await?;
    let is_last = misfits.len() < PAGE_ROWS as usize;
    for (told, misfit) in misfits.into_iter().enumerate() {
        let misfit = convert::misfit(misfit);
        if !room.holds(&misfit) {
            return Ok(Some(Cursor::Misfits(from + told as u32)));
        }
        page.misfits.push(misfit);
    }
    Ok((!is_last).then(|| Cursor::Misfits(from + PAGE_ROWS)))
}

/// The judgement with as many findings as fit; the others are counted.
fn bounded_gate(text: &str) -> String {
    if text.len() <= GATE_BYTES {
        return text.to_owned();
    }
    let Ok(mut judgement) = serde_json::from_str::<Judgement>(text) else { return text.to_owned() };
    let mut left = GATE_BYTES;
    let fitting = judgement.findings.iter().take_while(|finding| {
        let size = finding.message.len() + finding.subject.len() + 200;
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    });
    let listed = fitting.count();
    judgement.omitted = judgement.omitted.saturating_add((judgement.findings.len() - listed) as u32);
    judgement.findings.truncate(listed);
    serde_json::to_string(&judgement).unwrap_or_else(|_| text.to_owned())
}

/// Shortens the lists of a preview to what fits into a message; the totals stay.
pub(super) fn bound_preview(preview: &mut PreviewResponse) {
    (preview.jobs_total, preview.misfits_total) = (preview.jobs.len() as u32, preview.misfits.len() as u32);
    let mut room = Room::default();
    let jobs = preview.jobs.iter().take_while(|job| room.holds(*job)).count();
    preview.jobs.truncate(jobs);
    let misfits = preview.misfits.iter().take_while(|misfit| room.holds(*misfit)).count();
    preview.misfits.truncate(misfits);
}

#[cfg(test)]
mod tests {
    use seatrial_core::gate::{Finding, FindingKind};
    use seatrial_proto::v1::PreviewJob;

    use super::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written_and_nonsense_is_refused() {
        for cursor in [Cursor::START, Cursor::Jobs(17), Cursor::Misfits(0), Cursor::Misfits(u32::MAX)] {
            assert_eq!(cursor.to_string().parse::<Cursor>().ok(), Some(cursor));
        }
        assert_eq!("".parse::<Cursor>().ok(), Some(Cursor::START));
        for text in ["j", "x1", "1", "j-1", "j99999999999", "é1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_preview_and_a_gate_are_cut_to_a_message_and_say_how_much_there_is() {
        let job = PreviewJob { model: "m".repeat(1000), ..PreviewJob::default() };
        let mut preview = PreviewResponse { jobs: vec![job; 20_000], ..PreviewResponse::default() };
        assert!(preview.encoded_len() > MAX_MESSAGE, "the control: whole it does not fit");
        bound_preview(&mut preview);
        assert!(preview.encoded_len() < MAX_MESSAGE && preview.jobs.len() > 1000);
        assert_eq!(preview.jobs_total, 20_000);

        let finding = Finding {
            kind: FindingKind::Failed,
            job: None,
            subject: "s".to_owned(),
            message: "m".repeat(8000),
            reason: None,
            value: None,
            limit: None,
        };
        let judgement =
            Judgement { passed: false, findings: vec![finding; 1000], omitted: 5, jobs: 2000, comparisons: 0 };
        let text = bounded_gate(&serde_json::to_string(&judgement).unwrap());
        assert!(text.len() <= GATE_BYTES);
        let cut: Judgement = serde_json::from_str(&text).unwrap();
        assert_eq!(cut.findings.len() as u32 + cut.omitted, 1005);
    }
}
