//! `predictions.{csv|parquet}` and `outputs.{csv|parquet}` of a run or of one job: sent job by job, so that no run is
//! too large to be exported.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use http::header;
use seatrial_core::evidence::Evidence;
use seatrial_core::job::{AttemptRef, JobSpec};
use seatrial_core::report::Report;
use seatrial_core::store::JobRow;

use super::run_number;
use super::samples::Samples;
use crate::Dashboards;
use crate::export::examples::{Asked, Kind, Table, Writer};
use crate::failure::Failure;
use crate::visit::Visit;

/// Of all jobs of a run.
pub(crate) async fn of_run(state: &Dashboards, visit: &Visit, number: i64, asked: Asked) -> Result<Response, Failure> {
    let run = state.read.run_by_number(visit.viewer.project, number).await?;
    let run = run.ok_or_else(|| Failure::NotFound { what: "gone.run", id: run_number(number) })?;
    let jobs = state.read.jobs(run.id).await?;
    Ok(download(state, jobs, &format!("run-{}", run_number(number)), asked))
}

/// Of the attempts that the rows name, in a file that begins with `name`.
pub(crate) fn download(state: &Dashboards, jobs: Vec<JobRow>, name: &str, asked: Asked) -> Response {
    let making = Making {
        state: state.clone(),
        kind: asked.kind,
        jobs: jobs.into_iter(),
        writer: Some(Writer::new(asked.format)),
    };
    // What fails under way breaks the connection off: half a file must not look like a whole one.
    let parts = stream::try_unfold(making, |mut making| async move {
        Ok::<_, Failure>(making.next().await?.map(|bytes| (bytes, making)))
    });
    let parts = parts.filter(|part| std::future::ready(!matches!(part, Ok(bytes) if bytes.is_empty())));
    let disposition = format!("attachment; filename=\"{name}-{}\"", asked.file_name());
    let headers = [
        (header::CONTENT_TYPE, asked.mime().to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, Body::from_stream(parts)).into_response()
}

struct Making {
    state: Dashboards,
    kind: Kind,
    jobs: std::vec::IntoIter<JobRow>,
    /// Taken by the end of the file.
    writer: Option<Writer>,
}

impl Making {
    /// The bytes of the next job, then those of the end, then none.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(writer) = &mut self.writer else { return Ok(None) };
        if let Some(job) = self.jobs.next() {
            return Ok(Some(writer.add(&table(&self.state, self.kind, &job).await?)?));
        }
        match self.writer.take() {
            Some(writer) => Ok(Some(writer.finish()?)),
            None => Ok(None),
        }
    }
}

async fn table(state: &Dashboards, kind: Kind, job: &JobRow) -> Result<Table, Failure> {
    let attempt = AttemptRef { job: job.id, attempt: job.attempt };
    let samples = Samples::unpack(&state.read.blocks(attempt).await?)?;
    Ok(match kind {
        Kind::Predictions => Table::predictions(job, &samples.labels, &samples.top_classes),
        Kind::Answers => {
            let spec: Option<JobSpec> =
                super::job::document(state.read.job_spec(job.id).await?, "job specification", job);
            let evidence = spec.and_then(|spec| spec.dataset).and_then(|dataset| {
                Evidence::read(dataset.task, dataset.examples, &samples.truth, &samples.answers).ok()
            });
            Table::answers(job, evidence.as_ref())
        }
        Kind::Outputs => {
            let report: Option<Report> = super::job::document(state.read.report(attempt).await?, "report", job);
            Table::outputs(job, &report.map(|report| report.golden).unwrap_or_default(), &samples.outputs)
        }
    })
}
