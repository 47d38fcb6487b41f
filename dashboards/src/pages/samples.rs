//! The raw samples of an attempt, unpacked: for charts, and as CSV or JSON to take away.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use seatrial_core::accuracy::classification::{self, Classification};
use seatrial_core::job::AttemptRef;
use seatrial_core::measure::samples::Series;
use seatrial_core::report::{Block, BlockKind, Report};
use seatrial_core::store::{JobRow, StoreError};
use serde::Serialize;

use crate::Dashboards;
use crate::export::csv;
use crate::export::examples::Asked;
use crate::failure::Failure;
use crate::visit::{Visit, file, json};

/// Timed inferences of one child process, in order.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Process {
    pub index: u8,
    pub latency_ns: Vec<i64>,
    /// Every how many inferences one is a sample, counted from the first.
    pub every: u32,
    /// Inferences that were timed, whether or not they are samples.
    pub inferences: u64,
    /// Since the first inference; as long as `latency_ns`, or empty when it was not recorded.
    pub start_us: Vec<i64>,
}

impl Process {
    /// As `core` derives numbers from it; `None` when it was not recorded when the inferences began.
    pub(crate) fn series(&self) -> Option<Series> {
        let known = !self.latency_ns.is_empty() && self.start_us.len() == self.latency_ns.len();
        known.then(|| Series {
            process: self.index,
            latency_ms: self.latency_ns.iter().map(|ns| *ns as f64 / 1e6).collect(),
            start_s: self.start_us.iter().map(|us| *us as f64 / 1e6).collect(),
            thinned: None,
        })
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    pub processes: Vec<Process>,
    pub labels: Vec<i64>,
    /// Five a label.
    pub top_classes: Vec<i64>,
    /// Compared outputs, in the order of the report's comparisons.
    pub outputs: Vec<f64>,
    /// What another task asked and what was answered, as `core::evidence` lays it out.
    pub truth: Vec<i64>,
    pub answers: Vec<i64>,
}

impl Samples {
    /// The report says which of the inferences the samples are.
    pub(crate) fn of(blocks: &[Block], report: Option<&Report>) -> Result<Self, Failure> {
        let mut samples = Self::unpack(blocks)?;
        for process in &mut samples.processes {
            let records = report.map_or(&[][..], |report| report.processes.as_slice());
            let record = records.iter().find(|record| record.index == process.index);
            if let Some(thinned) = record.and_then(|record| record.thinned) {
                process.every = thinned.every.max(1);
                process.inferences = thinned.inferences;
            }
        }
        Ok(samples)
    }

    pub(crate) fn unpack(blocks: &[Block]) -> Result<Self, Failure> {
        let mut processes: BTreeMap<u8, Process> = BTreeMap::new();
        let mut samples = Self::default();
        for block in blocks {
            let values = seatrial_core::block::unpack(&block.bytes, block.count).map_err(|error| {
                let what = format!("{} block of process {}", block.metric.as_str(), block.process);
                StoreError::Corrupt { what, why: error.to_string() }
            })?;
            let entry = || Process { index: block.process, every: 1, ..Process::default() };
            match block.metric {
                BlockKind::LatencyNs => processes.entry(block.process).or_insert_with(entry).latency_ns = values,
                BlockKind::StartUs => processes.entry(block.process).or_insert_with(entry).start_us = values,
                BlockKind::TopClasses => samples.top_classes = values,
                BlockKind::Labels => samples.labels = values,
                BlockKind::Outputs => {
                    samples.outputs = values.into_iter().map(|bits| f64::from_bits(bits.cast_unsigned())).collect();
                }
                BlockKind::Truth => samples.truth = values,
                BlockKind::Answers => samples.answers = values,
            }
        }
        samples.processes = processes.into_values().filter(|process| !process.latency_ns.is_empty()).collect();
        samples.processes.iter_mut().for_each(|process| process.inferences = process.latency_ns.len() as u64);
        Ok(samples)
    }

    /// In ms, a vector a process.
    pub(crate) fn milliseconds(&self) -> Vec<Vec<f64>> {
        self.processes.iter().map(|process| process.latency_ns.iter().map(|ns| *ns as f64 / 1e6).collect()).collect()
    }

    /// Every how many inferences one is a sample, and how many were timed; `None` when all of them are samples.
    pub(crate) fn thinned(&self) -> Option<(u32, u64)> {
        let every = self.processes.iter().map(|process| process.every).max().filter(|every| *every > 1)?;
        Some((every, self.processes.iter().map(|process| process.inferences).sum()))
    }

    pub(crate) fn count(&self) -> usize {
        self.processes.iter().map(|process| process.latency_ns.len()).sum()
    }

    /// `None` without labels; the reason when they do not fit together.
    pub(crate) fn classification(&self, classes: usize) -> Option<Result<Classification, String>> {
        if self.labels.is_empty() {
            return None;
        }
        let seen = classification::class_count(&self.labels, &self.top_classes).map(|seen| seen.max(classes as u32));
        Some(
            seen.and_then(|classes| classification::summarise(&self.labels, &self.top_classes, classes))
                .map_err(|error| error.to_string()),
        )
    }
}

#[derive(Serialize)]
struct Document<'a> {
    job: String,
    attempt: u32,
    processes: &'a [Process],
}

/// `/jobs/{id}/samples.{csv|json}`, `readings.csv` with every reading of gauge or meter, and what the model answered as `predictions.{csv|parquet}` and
/// `outputs.{csv|parquet}`: of the last attempt, or of `?attempt=n`.
pub(crate) async fn download(
    State(state): State<Dashboards>,
    Path((id, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Failure> {
    let job = super::job::find(&state, &visit, &id).await?;
    let attempt = super::job::attempt_number(&visit.setting, job.attempt);
    if let Some(asked) = Asked::parse(&name) {
        let name = format!("job-{}-{attempt}", job.short);
        return Ok(super::examples::download(&state, vec![JobRow { attempt, ..job }], &name, asked));
    }
    let blocks = state.read.blocks(AttemptRef { job: job.id, attempt }).await?;
    let report: Option<Report> =
        super::job::document(state.read.report(AttemptRef { job: job.id, attempt }).await?, "report", &job);
    let samples = Samples::of(&blocks, report.as_ref())?;
    let document = Document { job: job.id.to_string(), attempt, processes: &samples.processes };
    match name.as_str() {
        "samples.json" => json(&document),
        "readings.csv" => {
            let record = report.as_ref().and_then(|report| report.energy.as_ref());
            let record = record.ok_or_else(|| Failure::NotFound { what: "gone.export", id: name.clone() })?;
            let table = super::job::energy::table(record).into_bytes();
            Ok(file(&format!("job-{}-{attempt}-readings.csv", job.short), "text/csv; charset=utf-8", table))
        }
        "samples.csv" => {
            // The index is that of the inference, so that what was left out shows.
            let head = ["process", "index", "start_us", "latency_ns"];
            let rows = samples.processes.iter().flat_map(|process| {
                process.latency_ns.iter().enumerate().map(|(i, latency)| {
                    let start = process.start_us.get(i).map(i64::to_string).unwrap_or_default();
                    let inference = i as u64 * u64::from(process.every);
                    vec![process.index.to_string(), inference.to_string(), start, latency.to_string()]
                })
            });
            Ok(file(
                &format!("job-{}-{attempt}-samples.csv", job.short),
                "text/csv; charset=utf-8",
                csv::write(&head, rows).into_bytes(),
            ))
        }
        _ => Err(Failure::NotFound { what: "gone.export", id: name.chars().take(40).collect() }),
    }
}
