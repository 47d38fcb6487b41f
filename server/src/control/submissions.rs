//! From a suite's text to a stored run: the one way in for the command line and for the pages.

use std::sync::Arc;
use std::time::Duration;

use seatrial_core::device::DeviceState;
use seatrial_core::expand::{Catalog, Expansion, expand};
use seatrial_core::failure::{Quarantines, TripleVersions};
use seatrial_core::ids::{JobId, PrincipalId, ProjectId, ReservationId, RunId, SubmissionId};
use seatrial_core::job::JobSpec;
use seatrial_core::reason::Reason;
use seatrial_core::store::{
    JobOrigin, JobRow, NewJob, NewMisfit, NewRun, OpenJob, RunRow, RunState, Store, StoreError,
};
use seatrial_core::suite::{self, Problem, Suite};
use seatrial_core::time::Clock;
use tokio::sync::Semaphore;

use crate::error::{Code, Error};
use crate::fleet::{CancelError, Fleet};
use crate::system::entropy;

/// Plans, stores and cancels runs. Cheap to clone.
#[derive(Clone)]
pub struct Submissions {
    pub store: Arc<dyn Store>,
    pub fleet: Fleet,
    pub clock: Arc<dyn Clock>,
    /// Jobs that one run may have.
    pub max_jobs: usize,
    /// Suites that are being planned: each may take as much memory as a run of the largest size.
    pub planning: Arc<Semaphore>,
}

/// Quarantines that a plan looks at: the newest.
const MAX_QUARANTINES: u32 = 100_000;
/// Suites that are planned at one time.
pub const PLANS: usize = 2;

/// Why nothing was submitted.
#[derive(Debug)]
pub enum Refused {
    /// The suite is at fault.
    Suite(Vec<Problem>),
    Other(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

/// Who submits, and with which urgency.
#[derive(Debug, Clone, Copy)]
pub struct Submitter {
    pub principal: PrincipalId,
    pub project: ProjectId,
    pub priority: i32,
    /// What lets its jobs go to reserved devices.
    pub reservation: Option<ReservationId>,
}

/// What a run is made from.
struct Source {
    /// Name of the suite.
    suite: String,
    text: String,
    submission: Option<SubmissionId>,
    rerun_of: Option<JobId>,
    max_wait: Duration,
}

/// A run that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    pub run: RunId,
    pub number: i64,
    pub jobs: u32,
    pub misfits: u32,
}

impl Submissions {
    /// What the suite would do now.
    pub async fn plan(&self, project: ProjectId, text: &str, file: &str) -> Result<(Suite, Expansion), Refused> {
        let _turn = self.planning.acquire().await.map_err(|_| gone())?;
        let (text, file) = (text.to_owned(), file.to_owned());
        let suite = aside(move || suite::parse(&text, &file)).await?;
        let mut catalog = Catalog::default();
        for model in suite.models() {
            catalog.models.extend(self.store.model(project, model).await?);
        }
        for dataset in suite.datasets() {
            catalog.datasets.extend(self.store.dataset(project, dataset).await?);
        }
        catalog.tracks = self.store.tracks(project).await?;
        catalog.quarantines = self.store.quarantines(project, false, MAX_QUARANTINES).await?;
        let devices = self.store.devices().await?;
        let max_jobs = self.max_jobs;
        aside(move || expand(&suite, &catalog, &devices, max_jobs).map(|expansion| (suite, expansion))).await
    }

    /// Stores a run of the suite and wakes the fleet. A submission that has its run already is answered with that run.
    pub async fn submit(
        &self,
        submitter: Submitter,
        submission: Option<SubmissionId>,
        text: &str,
        file: &str,
    ) -> Result<Submitted, Refused> {
        if let Some(before) = self.submitted_before(submitter.project, submission, text).await? {
            return Ok(before);
        }
        let (suite, Expansion { jobs, misfits }) = self.plan(submitter.project, text, file).await?;
        let now = self.clock.now();
        let jobs = jobs.into_iter().map(|planned| NewJob {
            id: JobId::new(now, entropy()),
            device: planned.device,
            variant: planned.variant,
            dataset: planned.dataset,
            spec: Arc::unwrap_or_clone(planned.spec),
        });
        let source =
            Source { suite: suite.name, text: text.to_owned(), submission, rerun_of: None, max_wait: suite.max_wait };
        match self.store_run(submitter, source, jobs.collect(), misfits).await {
            // The same submission may have come twice at once.
            Err(error) if error.code == Code::Conflict => {
                Ok(self.submitted_before(submitter.project, submission, text).await?.ok_or(error)?)
            }
            stored => Ok(stored?),
        }
    }

    /// The run that this submission has made already.
    async fn submitted_before(
        &self,
        project: ProjectId,
        submission: Option<SubmissionId>,
        text: &str,
    ) -> Result<Option<Submitted>, Error> {
        let Some(submission) = submission else { return Ok(None) };
        let Some(run) = self.store.run_by_submission(project, submission).await? else { return Ok(None) };
        if run.suite_text != text {
            let why = format!("submission {submission} has made run {} of another suite", run.number);
            return Err(Error::new(Code::Conflict, why));
        }
        let (jobs, misfits) = (run.counts.total(), run.counts.misfits);
        Ok(Some(Submitted { run: run.id, number: run.number, jobs, misfits }))
    }

    /// Stores a run that repeats one job: same specification, same device. What is quarantined is not repeated.
    pub async fn rerun(&self, submitter: Submitter, job: JobRow) -> Result<Submitted, Error> {
        let origin = self.store.job_origin(job.id).await?;
        let JobOrigin { spec, dataset, device_state, suite, suite_text, max_wait } =
            origin.ok_or_else(|| Error::not_found(format!("job {}", job.short)))?;
        if device_state == DeviceState::Retired {
            return Err(Error::new(Code::Conflict, format!("device {} is retired", job.device_name)));
        }
        let spec: JobSpec = serde_json::from_str(&spec).map_err(|_| lost_specification(&job))?;
        if let Some(why) = self.quarantined(submitter.project, &job, &spec).await? {
            let JobRow { short, model, version, variant, backend, device_name, .. } = &job;
            let what = format!("{model} v{version} {variant} with {backend} on {device_name}");
            return Err(Error::new(Code::Conflict, format!("job {short} is left out: {what} is quarantined: {why}")));
        }
        let id = JobId::new(self.clock.now(), entropy());
        let jobs = vec![NewJob { id, device: job.device, variant: job.variant_id, dataset, spec }];
        let source = Source { suite, text: suite_text, submission: None, rerun_of: Some(job.id), max_wait };
        self.store_run(submitter, source, jobs, Vec::new()).await
    }

    /// Why a job is not repeated, if device, backend and model are quarantined together as they are now.
    async fn quarantined(&self, project: ProjectId, job: &JobRow, spec: &JobSpec) -> Result<Option<Reason>, Error> {
        let rows = self.store.quarantines(project, false, MAX_QUARANTINES).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let Some(device) = self.store.device(job.device).await? else { return Ok(None) };
        let versions = || TripleVersions::of(&spec.backend, spec.package.as_ref(), &device.profile);
        Ok(Quarantines::of(&rows).reason((job.device, job.variant_id), &spec.backend, versions))
    }

    async fn store_run(
        &self,
        submitter: Submitter,
        source: Source,
        jobs: Vec<NewJob>,
        misfits: Vec<NewMisfit>,
    ) -> Result<Submitted, Error> {
        let Submitter { principal, project, priority, reservation } = submitter;
        let Source { suite, text: suite_text, submission, rerun_of, max_wait } = source;
        let created_at = self.clock.now();
        let id = RunId::new(created_at, entropy());
        let run = NewRun {
            id,
            project,
            created_by: principal,
            created_at,
            suite,
            suite_text,
            submission,
            rerun_of,
            priority,
            max_wait,
            reservation,
            jobs,
            misfits,
        };
        let number = self.store.create_run(&run).await?;
        fail::fail_point!("run_stored");
        let submitted = Submitted { run: id, number, jobs: count(run.jobs.len()), misfits: count(run.misfits.len()) };
        let jobs = run.jobs.iter().map(|job| open(&run, job)).collect();
        if self.fleet.submitted(id, jobs).await.is_err() {
            // The run is stored, so it is not lost: the next server finds its jobs open.
            tracing::info!(run = number, "a run was stored while the server goes away");
        }
        Ok(submitted)
    }

    /// Ends what is open of a run; returns how many jobs that were.
    pub async fn cancel(&self, run: &RunRow) -> Result<u32, Error> {
        match run.state {
            RunState::Running => self.fleet.cancel(run.id).await.map_err(|error| match error {
                CancelError::Stopped(stopped) => Error::new(Code::Unavailable, stopped.to_string()),
                CancelError::Store(error) => Error::from(&*error),
            }),
            RunState::Done | RunState::Cancelled => {
                Err(Error::new(Code::Conflict, format!("run {} has ended", run.number)))
            }
        }
    }
}

/// Judges a suite off the threads that serve connections: a large one takes its time.
async fn aside<T: Send + 'static>(
    judge: impl FnOnce() -> Result<T, Vec<Problem>> + Send + 'static,
) -> Result<T, Refused> {
    let judged = tokio::task::spawn_blocking(judge).await;
    judged
        .map_err(|error| Error::new(Code::Internal, format!("the suite could not be planned: {error}")))?
        .map_err(Refused::Suite)
}

fn gone() -> Error {
    Error::new(Code::Unavailable, "the server goes away")
}

fn open(run: &NewRun, job: &NewJob) -> OpenJob {
    OpenJob {
        job: job.id,
        run: run.id,
        device: job.device,
        priority: run.priority,
        created_at: run.created_at,
        attempt: 0,
        infrastructure_failures: 0,
        crashes: 0,
        agent_deaths: 0,
        max_wait: run.max_wait,
        reservation: run.reservation,
        cancelled: false,
        leased_until: None,
    }
}

fn lost_specification(job: &JobRow) -> Error {
    Error::new(Code::Internal, format!("the specification of job {} cannot be read", job.short))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
