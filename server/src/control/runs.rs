//! Runs: preview, submit, look, watch, cancel, repeat.

use std::collections::HashMap;
use std::pin::Pin;

use futures::Stream;
use seatrial_core::expand::PlannedJob;
use seatrial_core::ids::{DeviceId, ParseIdError};
use seatrial_core::live::Live as _;
use seatrial_core::store::{DeviceRow, NewMisfit};
use seatrial_proto::v1::runs_server::Runs;
use seatrial_proto::v1::{
    self, CancelRunRequest, CancelRunResponse, GetRunRequest, GetRunResponse, ListRunsRequest, ListRunsResponse,
    PreviewRequest, PreviewResponse, RerunRequest, RerunResponse, RunEvent, SubmitRequest, SubmitResponse,
    WatchRequest,
};
use tonic::{Request, Response, Status};

use super::submissions::{Refused, Submitter};
use super::{Called, Control, convert, find, pages, problems, validate, watch};
use crate::auth::Caller;
use crate::error::Error;

const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 50;
const MAX_PRIORITY: i32 = 1000;
/// Bytes of a suite's file name, for messages.
const MAX_FILE_NAME: usize = 1000;

#[tonic::async_trait]
impl Runs for Control {
    async fn preview(&self, request: Request<PreviewRequest>) -> Result<Response<PreviewResponse>, Status> {
        let Called { caller, note: _, message: PreviewRequest { suite_toml, file_name } } = Called::from(request)?;
        let file = checked_file_name(&file_name)?;
        match self.submissions.plan(caller.project, &suite_toml, file).await {
            Ok((suite, expansion)) => {
                let names = device_names(self.store.devices().await.map_err(Error::from)?);
                let mut preview = PreviewResponse {
                    name: suite.name,
                    jobs: expansion.jobs.into_iter().map(planned).collect(),
                    misfits: expansion.misfits.into_iter().map(|misfit| planned_misfit(misfit, &names)).collect(),
                    ..PreviewResponse::default()
                };
                pages::bound_preview(&mut preview);
                Ok(Response::new(preview))
            }
            Err(Refused::Suite(found)) => Ok(Response::new(PreviewResponse {
                problems: found.into_iter().map(problems::message).collect(),
                ..PreviewResponse::default()
            })),
            Err(Refused::Other(error)) => Err(error.into()),
        }
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        let SubmitRequest { suite_toml, file_name, priority, submission, reservation } = message;
        let file = checked_file_name(&file_name)?;
        if priority.abs() > MAX_PRIORITY {
            return Err(Error::field("priority", format!("{priority}; from -{MAX_PRIORITY} to {MAX_PRIORITY}")).into());
        }
        let submission = (!submission.is_empty()).then(|| submission.parse()).transpose();
        let submission = submission.map_err(|error: ParseIdError| Error::field("submission", error))?;
        let reservation = self.reservation_of(&reservation).await?;
        let submitter = Submitter { reservation, ..submitter(&caller, priority) };
        let submitted = self.submissions.submit(submitter, submission, &suite_toml, file).await;
        let submitted = submitted.map_err(|refused| match refused {
            Refused::Suite(found) => problems::error(&found),
            Refused::Other(error) => error,
        })?;
        note.object(format!("run {}", submitted.number));
        Ok(Response::new(SubmitResponse {
            run: submitted.run.to_string(),
            number: submitted.number,
            jobs: submitted.jobs,
            misfits: submitted.misfits,
        }))
    }

    async fn list(&self, request: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        let Called { caller, note: _, message: ListRunsRequest { before, limit } } = Called::from(request)?;
        let limit = if limit == 0 { DEFAULT_PAGE } else { limit.min(MAX_PAGE) };
        let runs = self.store.runs(caller.project, before, limit).await.map_err(Error::from)?;
        Ok(Response::new(ListRunsResponse { runs: runs.iter().map(convert::run).collect() }))
    }

    async fn get(&self, request: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        let Called { caller, note: _, message: GetRunRequest { run, page } } = Called::from(request)?;
        let from = page.parse()?;
        let run = find::run(self.store.as_ref(), caller.project, &run).await?;
        let (page, _) = pages::page(self.store.as_ref(), &run, from).await?;
        Ok(Response::new(page))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<RunEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let Called { caller, note: _, message: WatchRequest { run } } = Called::from(request)?;
        // Listen first: what happens between reading and listening would be lost.
        let events = self.fleet.events();
        let run = find::run(self.store.as_ref(), caller.project, &run).await?;
        Ok(Response::new(watch::watch(self.store.clone(), run.id, events)))
    }

    async fn cancel(&self, request: Request<CancelRunRequest>) -> Result<Response<CancelRunResponse>, Status> {
        let Called { caller, note, message: CancelRunRequest { run } } = Called::from(request)?;
        note.object(format!("run {}", validate::shown(&run)));
        let run = find::run(self.store.as_ref(), caller.project, &run).await?;
        note.object(format!("run {}", run.number));
        let cancelled = self.submissions.cancel(&run).await?;
        Ok(Response::new(CancelRunResponse { cancelled }))
    }

    async fn rerun(&self, request: Request<RerunRequest>) -> Result<Response<RerunResponse>, Status> {
        let Called { caller, note, message: RerunRequest { job } } = Called::from(request)?;
        note.object(format!("job {}", validate::shown(&job)));
        let job = find::job(self.store.as_ref(), caller.project, &job).await?;
        let repeated = job.short.clone();
        let submitted = self.submissions.rerun(submitter(&caller, 0), job).await?;
        note.object(format!("run {} repeats job {repeated}", submitted.number));
        Ok(Response::new(RerunResponse { run: submitted.run.to_string(), number: submitted.number }))
    }
}

fn submitter(caller: &Caller, priority: i32) -> Submitter {
    Submitter { principal: caller.principal, project: caller.project, priority, reservation: None }
}

fn checked_file_name(name: &str) -> Result<&str, Error> {
    if name.is_empty() {
        return Ok("suite.toml");
    }
    if name.len() > MAX_FILE_NAME || name.chars().any(char::is_control) {
        return Err(Error::field(
            "file_name",
            format!("at most {MAX_FILE_NAME} bytes without control characters are accepted"),
        ));
    }
    Ok(name)
}

fn planned(job: PlannedJob) -> v1::PreviewJob {
    let PlannedJob { device: _, device_name, variant: _, dataset: _, spec } = job;
    v1::PreviewJob {
        model: spec.model.model.clone(),
        version: spec.model.version,
        variant: spec.model.variant.clone(),
        dataset: spec.dataset.as_ref().map(|dataset| dataset.dataset.clone()),
        backend: spec.backend.to_string(),
        profile: spec.profile.kind.as_str().to_owned(),
        device: device_name,
    }
}

pub(crate) fn device_names(devices: Vec<DeviceRow>) -> HashMap<DeviceId, String> {
    devices.into_iter().map(|device| (device.id, device.name)).collect()
}

fn planned_misfit(misfit: NewMisfit, names: &HashMap<DeviceId, String>) -> v1::Misfit {
    let NewMisfit { model, variant, dataset, backend, profile, device, reason } = misfit;
    let device = device.and_then(|device| names.get(&device).cloned());
    v1::Misfit { model, variant, dataset, backend, profile, device, reason: reason.into() }
}
