//! Devices, runs and jobs by what people call them. What belongs to another project does not exist.

use std::str::FromStr as _;

use seatrial_core::ids::{DeviceId, JobId, ProjectId, RunId};
use seatrial_core::store::{DeviceRow, JobRow, Read, RunRow};

use super::validate::shown;
use crate::error::Error;

/// By id or name.
pub(super) async fn device(store: &(impl Read + ?Sized), text: &str) -> Result<DeviceRow, Error> {
    if let Ok(id) = DeviceId::from_str(text) {
        return store.device(id).await?.ok_or_else(|| Error::not_found(format!("device {id}")));
    }
    let named = store.devices().await?.into_iter().find(|device| device.name == text);
    named.ok_or_else(|| Error::not_found(format!("device {:?}", shown(text))))
}

/// By id, or by number with or without `#`.
pub(super) async fn run(store: &(impl Read + ?Sized), project: ProjectId, text: &str) -> Result<RunRow, Error> {
    let row = if let Ok(id) = RunId::from_str(text) {
        store.run(id).await?.filter(|run| run.project == project)
    } else {
        let number = text
            .trim_start_matches('#')
            .parse()
            .map_err(|_| Error::field("run", format!("{:?} is neither the number nor the id of a run", shown(text))))?;
        store.run_by_number(project, number).await?
    };
    row.ok_or_else(|| Error::not_found(format!("run {}", shown(text))))
}

/// By id or short id.
pub(super) async fn job(store: &(impl Read + ?Sized), project: ProjectId, text: &str) -> Result<JobRow, Error> {
    let found = match JobId::from_str(text) {
        Ok(id) => store.job(id).await?.into_iter().collect(),
        Err(_) => store.jobs_by_short_id(text).await?,
    };
    let mut ours: Vec<JobRow> = found.into_iter().filter(|job| job.project == project).collect();
    match (ours.pop(), ours.len()) {
        (Some(job), 0) => Ok(job),
        (Some(_), more) => Err(Error::field("job", format!("{} jobs are called {text}; give the whole id", more + 1))),
        (None, _) => Err(Error::not_found(format!("job {:?}", shown(text)))),
    }
}
