//! What a device computes differently from another: the outputs that each result kept against those of one device.

use std::collections::{BTreeMap, HashMap};

use futures::future::try_join3;
use seatrial_core::accuracy::kept::{self, Difference, Kept};
use seatrial_core::backend::Accelerator;
use seatrial_core::digest::Digest;
use seatrial_core::ids::JobId;
use seatrial_core::job::{AttemptRef, JobSpec};
use seatrial_core::reason::{Code, Reason};
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::store::JobRow;
use serde::{Serialize, Serializer};

use super::accelerator;
use super::job::document;
use super::outputs::Compared;
use super::samples::Samples;
use crate::Dashboards;
use crate::failure::Failure;
use crate::status;

/// A result's outputs against those of the reference device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Apart {
    /// The others of its variant and dataset are held against this one.
    Reference,
    From {
        job: JobId,
        device: String,
        backend: String,
        #[serde(flatten)]
        difference: Difference,
    },
    Absent(#[serde(serialize_with = "text")] Reason),
}

fn text<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.text())
}

/// What each row is held against, of rows in the order of a page. Of a variant and dataset, the first valid row of an
/// x86-64 CPU is the reference, else that of another CPU, else the first; a row of another device is held against the same
/// backend of that one's CPU where it has it, so that only the device differs.
pub(crate) fn references(rows: &[Compared]) -> Vec<Option<JobRow>> {
    let mut groups: BTreeMap<_, Vec<&Compared>> = BTreeMap::new();
    for row in rows {
        groups.entry((&row.job.dataset, &row.job.variant)).or_default().push(row);
    }
    let on_cpu = |row: &Compared| accelerator(&row.job.backend) == Accelerator::Cpu;
    let mut first: HashMap<_, &Compared> = HashMap::new();
    let mut of_backend: HashMap<_, &Compared> = HashMap::new();
    for (group, rows) in groups {
        let valid = || rows.iter().copied().filter(|row| row.max_abs.is_some() && status::is_comparable(&row.job));
        let x86 = valid().find(|row| row.abi.starts_with("x86_64") && on_cpu(row));
        let cpu = || valid().find(|row| on_cpu(row));
        let Some(reference) = x86.or_else(cpu).or_else(|| valid().next()) else { continue };
        first.insert(group, reference);
        for row in valid().filter(|row| row.job.device == reference.job.device && on_cpu(row)) {
            of_backend.insert((group, &row.job.backend), row);
        }
    }
    let reference = |row: &Compared| {
        let group = (&row.job.dataset, &row.job.variant);
        let first = first.get(&group)?;
        let same = of_backend.get(&(group, &row.job.backend)).filter(|same| same.job.device != row.job.device);
        Some(same.unwrap_or(first).job.clone())
    };
    rows.iter().map(reference).collect()
}

/// What an attempt kept, and the dataset on which.
struct Stored {
    dataset: Option<Digest>,
    kept: Kept,
}

async fn stored(state: &Dashboards, job: &JobRow) -> Result<Result<Stored, Reason>, Failure> {
    let attempt = AttemptRef { job: job.id, attempt: job.attempt };
    let reads = (state.read.job_spec(job.id), state.read.report(attempt), state.read.blocks(attempt));
    let (spec, report, mut blocks) = try_join3(reads.0, reads.1, reads.2).await?;
    blocks.retain(|block| block.metric == BlockKind::Outputs);
    let spec: Option<JobSpec> = document(spec, "job specification", job);
    let report: Option<Report> = document(report, "report", job);
    let dataset = spec.and_then(|spec| spec.dataset).map(|dataset| dataset.digest);
    let samples = match Samples::unpack(&blocks) {
        Ok(samples) => samples,
        Err(error) => {
            let block = BlockKind::Outputs.as_str();
            return Ok(Err(Reason::new(Code::BlockUnusable, &[("block", &block), ("why", &error)])));
        }
    };
    let comparisons = report.map(|report| report.golden).unwrap_or_default();
    Ok(Kept::read(&comparisons, &samples.outputs).map(|kept| Stored { dataset, kept }))
}

/// Compares these rows with their references, each of which is read once.
pub(crate) async fn compare(
    state: &Dashboards,
    rows: &mut [Compared],
    references: &[Option<JobRow>],
) -> Result<(), Failure> {
    let mut by_reference: BTreeMap<JobId, (&JobRow, Vec<&mut Compared>)> = BTreeMap::new();
    for (row, reference) in rows.iter_mut().zip(references) {
        match reference {
            None => row.apart = Apart::Absent(Reason::new(Code::NoDeviceToCompare, &[])),
            Some(reference) if reference.id == row.job.id => row.apart = Apart::Reference,
            Some(reference) => by_reference.entry(reference.id).or_insert((reference, Vec::new())).1.push(row),
        }
    }
    for (reference, rows) in by_reference.into_values() {
        let of = stored(state, reference).await?;
        for row in rows {
            row.apart = match difference(&of, &stored(state, &row.job).await?, reference) {
                Ok(difference) => Apart::From {
                    job: reference.id,
                    device: reference.device_name.clone(),
                    backend: reference.backend.clone(),
                    difference,
                },
                Err(why) => Apart::Absent(why),
            };
        }
    }
    Ok(())
}

fn difference(
    reference: &Result<Stored, Reason>,
    actual: &Result<Stored, Reason>,
    job: &JobRow,
) -> Result<Difference, Reason> {
    let actual = actual.as_ref().map_err(Clone::clone)?;
    let there = |why: &Reason| Reason::new(Code::NotComparedThere, &[("device", &job.device_name), ("why", why)]);
    let reference = reference.as_ref().map_err(there)?;
    if reference.dataset != actual.dataset {
        return Err(Reason::new(Code::OtherDatasetVersion, &[]));
    }
    kept::compare(&reference.kept, &actual.kept)
}
