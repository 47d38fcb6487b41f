//! The rows that CSV and Parquet share.

use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::reading::Reading;
use seatrial_core::reason::Reason;
use seatrial_core::store::JobRow;

use super::{RunExport, csv};

/// One job and one of its metrics, or a job without metrics.
pub(super) struct Row<'a> {
    pub job: &'a JobRow,
    pub metric: Option<&'a Metric>,
}

pub(super) fn rows(export: &RunExport) -> Vec<Row<'_>> {
    fn of_job(entry: &super::JobExport) -> Vec<Row<'_>> {
        if entry.metrics.is_empty() {
            return vec![Row { job: &entry.job, metric: None }];
        }
        entry.metrics.iter().map(|metric| Row { job: &entry.job, metric: Some(metric) }).collect()
    }
    export.jobs.iter().flat_map(of_job).collect()
}

/// Columns of text, in order.
pub(super) const TEXT: [&str; 16] = [
    "run", "job", "model", "version", "variant", "dataset", "device", "backend", "profile", "state", "outcome",
    "stage", "message", "invalid", "metric", "unit",
];
/// Columns of numbers, in order; empty when the metric is absent.
pub(super) const NUMBERS: [&str; 3] = ["value", "low", "high"];
/// Why there is no value.
pub(super) const ABSENT: &str = "absent";

impl Row<'_> {
    pub(super) fn text(&self) -> [Option<String>; 16] {
        let job = self.job;
        [
            Some(job.run_number.to_string()),
            Some(job.id.to_string()),
            Some(job.model.clone()),
            Some(job.version.to_string()),
            Some(job.variant.clone()),
            job.dataset.clone(),
            Some(job.device_name.clone()),
            Some(job.backend.clone()),
            Some(job.profile.clone()),
            Some(job.state.as_str().to_owned()),
            job.outcome.map(crate::status::class_and_code),
            job.stage.map(|stage| stage.to_string()),
            job.message.clone(),
            (!job.invalid.is_empty()).then(|| Reason::joined(&job.invalid)),
            self.metric.map(|metric| metric.name.clone()),
            self.metric.map(|metric| metric.unit.clone()),
        ]
    }

    pub(super) fn numbers(&self) -> [Option<f64>; 3] {
        match self.metric.map(|metric| &metric.value) {
            Some(Reading::Present(Estimate { value, interval })) => {
                [Some(*value), interval.map(|bounds| bounds.0), interval.map(|bounds| bounds.1)]
            }
            Some(Reading::Absent(_)) | None => [None; 3],
        }
    }

    pub(super) fn absent(&self) -> Option<&str> {
        self.metric.and_then(|metric| metric.value.reason())
    }
}

pub(super) fn csv(export: &RunExport) -> String {
    let head: Vec<&str> = TEXT.iter().chain(&NUMBERS).copied().chain([ABSENT]).collect();
    let rows = rows(export);
    let lines = rows.iter().map(|row| {
        let text = row.text().into_iter().map(Option::unwrap_or_default);
        let numbers = row.numbers().map(|number| number.map(|value| value.to_string()).unwrap_or_default());
        text.chain(numbers).chain([row.absent().unwrap_or_default().to_owned()]).collect()
    });
    csv::write(&head, lines)
}
