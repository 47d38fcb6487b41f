//! Two jobs on the same examples: what became wrong and what became right.

use seatrial_core::accuracy::paired::{self, Paired};
use seatrial_core::digest::Digest;
use seatrial_core::job::{AttemptRef, JobSpec};
use seatrial_core::measure::task;
use seatrial_core::store::JobRow;
use serde::Serialize;

use super::job::document;
use super::model_name;
use crate::Dashboards;
use crate::failure::Failure;
use crate::format::{count, fixed, small};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

/// Which examples of a dataset one job answered right.
pub(crate) struct Answered {
    job: JobRow,
    /// The dataset package.
    dataset: Digest,
    right: Vec<bool>,
}

impl Answered {
    /// Of an attempt; `None` without a dataset whose task knows right and wrong, and for evidence that cannot be judged.
    pub(crate) async fn of(state: &Dashboards, job: &JobRow, attempt: u32) -> Result<Option<Self>, Failure> {
        let spec: Option<JobSpec> = document(state.read.job_spec(job.id).await?, "job specification", job);
        let Some(dataset) = spec.and_then(|spec| spec.dataset) else { return Ok(None) };
        let blocks = state.read.blocks(AttemptRef { job: job.id, attempt }).await?;
        let (of, examples) = (dataset.task, dataset.examples);
        let judged = tokio::task::spawn_blocking(move || task::right(of, examples, &blocks)).await;
        let stopped = |error| Failure::Conflict(format!("judging the answers of job {} stopped: {error}", job.short));
        let right = judged
            .map_err(stopped)?
            .inspect_err(|why| tracing::warn!(job = %job.id, %why, "answers that cannot be paired"));
        let answered = |right| Self { job: job.clone(), dataset: dataset.digest, right };
        Ok(right.ok().flatten().map(answered))
    }
}

/// McNemar's exact test of two jobs. The first is what the second is compared with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    pub first: JobRow,
    pub second: JobRow,
    pub examples: u32,
    /// Examples that only the first answered right, and that only the second did.
    pub to_wrong: u32,
    pub to_right: u32,
    pub p: f64,
    /// Share that the second answered right minus that of the first, and its interval at 95 %.
    pub difference: f64,
    pub interval: (f64, f64),
}

/// `None` for jobs of different datasets, or without an example that both were judged on.
pub(crate) fn compare(first: &Answered, second: &Answered) -> Option<Comparison> {
    if first.dataset != second.dataset {
        return None;
    }
    let Paired { only_first, only_second, p, difference, interval, .. } =
        paired::compare(&first.right, &second.right).ok().flatten()?;
    Some(Comparison {
        first: first.job.clone(),
        second: second.job.clone(),
        examples: first.right.len() as u32,
        to_wrong: only_first,
        to_right: only_second,
        p,
        difference,
        interval,
    })
}

/// A comparison in a table.
pub(crate) struct Line {
    pub what: String,
    pub against: String,
    /// How the job ended that it is held against.
    pub against_status: Html,
    pub href: String,
    pub examples: String,
    pub to_wrong: String,
    pub to_right: String,
    /// In points of a hundred.
    pub difference: String,
    pub interval: String,
    pub p: String,
}

impl Comparison {
    pub(crate) fn line(&self, words: Words) -> Line {
        let points = |share: f64| {
            let sign = if share > 0.0 { "+" } else { "" };
            format!("{sign}{}", fixed(share * 100.0, 1))
        };
        Line {
            what: format!("{} · {}", model_name(&self.second), self.second.backend),
            against: format!("{} · {}", model_name(&self.first), self.first.backend),
            against_status: html::status(&status::job(&self.first, words)),
            href: format!("/jobs/{}?against={}", self.second.id, self.first.short),
            examples: count(self.examples.into()),
            to_wrong: count(self.to_wrong.into()),
            to_right: count(self.to_right.into()),
            difference: points(self.difference),
            interval: format!("[{}, {}]", points(self.interval.0), points(self.interval.1)),
            p: small(self.p),
        }
    }

    /// What the test says, and no more than that.
    pub(crate) fn sentence(&self, words: Words) -> String {
        let key = match (self.to_wrong + self.to_right, self.p < 0.05) {
            (0, _) => "paired.same",
            (_, true) if self.difference < 0.0 => "paired.worse",
            (_, true) => "paired.better",
            (_, false) => "paired.chance",
        };
        words.with(
            key,
            &[
                ("wrong", &count(self.to_wrong.into())),
                ("right", &count(self.to_right.into())),
                ("n", &count(self.examples.into())),
                ("p", &small(self.p)),
            ],
        )
    }
}
