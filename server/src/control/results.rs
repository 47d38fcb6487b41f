//! One job with everything behind its numbers.

use seatrial_core::job::{AttemptRef, JobState};
use seatrial_proto::v1::results_server::Results;
use seatrial_proto::v1::{GetJobRequest, GetJobResponse};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, find};
use crate::error::{Code, Error};

#[tonic::async_trait]
impl Results for Control {
    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let Called { caller, note: _, message: GetJobRequest { job } } = Called::from(request)?;
        let row = find::job(self.store.as_ref(), caller.project, &job).await?;
        let spec = self.store.job_spec(row.id).await.map_err(Error::from)?;
        let spec_json =
            spec.ok_or_else(|| Error::new(Code::Internal, format!("job {} has no specification", row.short)))?;
        let last = AttemptRef { job: row.id, attempt: row.attempt };
        let (report_json, metrics) = match row.state {
            JobState::Queued if row.attempt == 0 => (None, Vec::new()),
            JobState::Queued | JobState::Leased { .. } | JobState::Done { .. } | JobState::Quarantined => (
                self.store.report(last).await.map_err(Error::from)?,
                self.store.metrics(last).await.map_err(Error::from)?,
            ),
        };
        Ok(Response::new(GetJobResponse { job: Some(convert::job(row, metrics)), spec_json, report_json }))
    }
}
