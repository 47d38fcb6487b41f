//! [`Read`]: each verb is one query, and says what it was doing when it fails.

use async_trait::async_trait;

use seatrial_core::ids::{AuditId, DeviceId, JobId, ProjectId, RunId};
use seatrial_core::job::AttemptRef;
use seatrial_core::metric::Metric;
use seatrial_core::report::Block;
use seatrial_core::store::{
    AttemptRow, AuditEntry, CanaryRow, DatasetDetail, DatasetRow, DeviceRow, JobRow, MisfitRow, ModelDetail, ModelRow,
    Part, QuarantineRow, Read, Result, RunRow, ServiceRow, TrackRow, TransitionRow,
};

use super::fault::Fault;
use super::{
    Database, canaries, datasets, devices, evidence, job_rows, models, people, quarantines, runs, runtimes, services,
};

/// Tells the caller what was being done.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, Fault> {
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|fault| fault.into_error(doing))
    }
}

#[async_trait]
impl Read for Database {
    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1")
            .execute(&self.read)
            .await
            .map(drop)
            .map_err(Fault::from)
            .doing("asking it for a sign of life")
    }

    async fn devices(&self) -> Result<Vec<DeviceRow>> {
        devices::all(&self.read).await.doing("reading devices")
    }

    async fn device(&self, id: DeviceId) -> Result<Option<DeviceRow>> {
        devices::one(&self.read, id).await.doing("reading a device")
    }

    async fn device_transitions(&self, id: DeviceId, limit: u32) -> Result<Vec<TransitionRow>> {
        devices::transitions(&self.read, id, limit).await.doing("reading the states of a device")
    }

    async fn device_service(&self, id: DeviceId) -> Result<ServiceRow> {
        services::of_device(&self.read, id).await.doing("reading what was decided of a device")
    }

    async fn services(&self) -> Result<Vec<ServiceRow>> {
        services::all(&self.read).await.doing("reading what was decided of devices")
    }

    async fn canaries(&self, device: DeviceId, limit: u32) -> Result<Vec<CanaryRow>> {
        canaries::of_device(&self.read, device, limit).await.doing("reading the health checks of a device")
    }

    async fn last_canaries(&self) -> Result<Vec<CanaryRow>> {
        canaries::last(&self.read).await.doing("reading the last health checks of devices")
    }

    async fn last_jobs(&self) -> Result<Vec<JobRow>> {
        job_rows::last(&self.read).await.doing("reading the last jobs of devices")
    }

    async fn models(&self, project: ProjectId) -> Result<Vec<ModelRow>> {
        models::all(&self.read, project).await.doing("reading models")
    }

    async fn model(&self, project: ProjectId, name: &str) -> Result<Option<ModelDetail>> {
        models::one(&self.read, project, name).await.doing("reading a model")
    }

    async fn datasets(&self, project: ProjectId) -> Result<Vec<DatasetRow>> {
        datasets::all(&self.read, project).await.doing("reading datasets")
    }

    async fn dataset(&self, project: ProjectId, name: &str) -> Result<Option<DatasetDetail>> {
        datasets::one(&self.read, project, name).await.doing("reading a dataset")
    }

    async fn tracks(&self, project: ProjectId) -> Result<Vec<TrackRow>> {
        runtimes::tracks(&self.read, project).await.doing("reading runtime packages")
    }

    async fn runs(&self, project: ProjectId, before: Option<i64>, limit: u32) -> Result<Vec<RunRow>> {
        runs::page(&self.read, project, before, limit).await.doing("reading runs")
    }

    async fn run(&self, id: RunId) -> Result<Option<RunRow>> {
        runs::one(&self.read, id).await.doing("reading a run")
    }

    async fn run_by_number(&self, project: ProjectId, number: i64) -> Result<Option<RunRow>> {
        runs::by_number(&self.read, project, number).await.doing("reading a run")
    }

    async fn jobs_part(&self, run: RunId, part: Part) -> Result<Vec<JobRow>> {
        job_rows::of_run(&self.read, run, part).await.doing("reading the jobs of a run")
    }

    async fn misfits_part(&self, run: RunId, part: Part) -> Result<Vec<MisfitRow>> {
        runs::misfits(&self.read, run, part).await.doing("reading the misfits of a run")
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>> {
        job_rows::one(&self.read, id).await.doing("reading a job")
    }

    async fn jobs_by_short_id(&self, short: &str) -> Result<Vec<JobRow>> {
        job_rows::by_short_id(&self.read, short).await.doing("reading a job")
    }

    async fn job_spec(&self, id: JobId) -> Result<Option<String>> {
        job_rows::spec(&self.read, id).await.doing("reading the specification of a job")
    }

    async fn attempts(&self, job: JobId) -> Result<Vec<AttemptRow>> {
        job_rows::attempts(&self.read, job).await.doing("reading the attempts of a job")
    }

    async fn report(&self, attempt: AttemptRef) -> Result<Option<String>> {
        evidence::report(&self.read, attempt).await.doing("reading a report")
    }

    async fn blocks(&self, attempt: AttemptRef) -> Result<Vec<Block>> {
        evidence::blocks(&self.read, attempt).await.doing("reading samples")
    }

    async fn metrics(&self, attempt: AttemptRef) -> Result<Vec<Metric>> {
        evidence::metrics(&self.read, attempt).await.doing("reading metrics")
    }

    async fn run_metrics_part(&self, run: RunId, part: Part) -> Result<Vec<(JobId, Metric)>> {
        evidence::run_metrics(&self.read, run, part).await.doing("reading the metrics of a run")
    }

    async fn run_metrics_named(&self, run: RunId, names: &[&str]) -> Result<Vec<(JobId, Metric)>> {
        evidence::run_metrics_named(&self.read, run, names).await.doing("reading some metrics of a run")
    }

    async fn quarantines(&self, project: ProjectId, lifted: bool, limit: u32) -> Result<Vec<QuarantineRow>> {
        quarantines::all(&self.read, project, lifted, limit).await.doing("reading quarantines")
    }

    async fn device_jobs(&self, device: DeviceId, limit: u32) -> Result<Vec<JobRow>> {
        job_rows::of_device(&self.read, device, limit).await.doing("reading the jobs of a device")
    }

    async fn model_jobs(&self, project: ProjectId, model: &str, limit: u32) -> Result<Vec<JobRow>> {
        job_rows::of_model(&self.read, project, model, limit).await.doing("reading the jobs of a model")
    }

    async fn audit(&self, project: ProjectId, before: Option<AuditId>, limit: u32) -> Result<Vec<AuditEntry>> {
        people::audit(&self.read, project, before, limit).await.doing("reading the audit log")
    }
}
