//! The writes behind the buttons of the pages. The door has let the request in, and notes it in the audit log.

use async_trait::async_trait;
use seatrial_core::expand::PlannedJob;
use seatrial_core::ids::{JobId, PrincipalId, ProjectId, RunId, SubmissionId};
use seatrial_core::role::Role;
use seatrial_core::store::{MisfitRow, NewMisfit};
use seatrial_core::suite::Problem;
use seatrial_core::time::Timestamp;
use seatrial_dashboards::{ActionError, Actions, Preview, PreviewJob, SuiteProblem, Viewer};

use crate::control::submissions::{Refused, Submissions, Submitter};
use crate::error::{Code, Error};

/// How the pages call a suite that came from their form.
const FORM: &str = "suite.toml";

/// [`Actions`] over the same [`Submissions`] that the control API uses.
pub struct WebActions {
    pub submissions: Submissions,
    /// The operating system's user, who has no token.
    pub user: (String, PrincipalId),
}

#[async_trait]
impl Actions for WebActions {
    async fn preview(&self, viewer: &Viewer, suite_toml: &str) -> Result<Preview, ActionError> {
        needs(viewer, Role::Viewer)?;
        let (_, expansion) = self.submissions.plan(viewer.project, suite_toml, FORM).await.map_err(refused)?;
        let names = crate::control::device_names(self.submissions.store.devices().await?);
        Ok(Preview {
            jobs: expansion.jobs.into_iter().map(planned).collect(),
            misfits: expansion
                .misfits
                .into_iter()
                .map(|misfit| {
                    let NewMisfit { model, variant, dataset, backend, profile, device, reason } = misfit;
                    let device_name = device.and_then(|device| names.get(&device).cloned());
                    MisfitRow { model, variant, dataset, backend, profile, device, device_name, reason }
                })
                .collect(),
        })
    }

    async fn submit(&self, viewer: &Viewer, shown: Option<Timestamp>, suite_toml: &str) -> Result<i64, ActionError> {
        needs(viewer, Role::Submitter)?;
        let submitter = self.submitter(viewer).await?;
        let submission = shown.map(|shown| submission(submitter.principal, shown, suite_toml));
        let submitted = self.submissions.submit(submitter, submission, suite_toml, FORM).await.map_err(refused)?;
        Ok(submitted.number)
    }

    async fn cancel(&self, viewer: &Viewer, run: RunId) -> Result<(), ActionError> {
        needs(viewer, Role::Submitter)?;
        let row = self.submissions.store.run(run).await?.filter(|row| row.project == viewer.project);
        let row = row.ok_or_else(|| ActionError::NotFound { what: format!("run {run}") })?;
        self.submissions.cancel(&row).await.map(drop).map_err(other)
    }

    async fn rerun(&self, viewer: &Viewer, job: JobId) -> Result<i64, ActionError> {
        needs(viewer, Role::Submitter)?;
        let missing = || ActionError::NotFound { what: format!("job {}", job.short()) };
        let row = self.submissions.store.job(job).await?.ok_or_else(missing)?;
        let run = self.submissions.store.run(row.run).await?;
        if run.is_none_or(|run| run.project != viewer.project) {
            return Err(missing());
        }
        let submitter = self.submitter(viewer).await?;
        Ok(self.submissions.rerun(submitter, row).await.map_err(other)?.number)
    }
}

impl WebActions {
    /// The principal that a viewer's name stands for: names of principals are unique in a project.
    async fn submitter(&self, viewer: &Viewer) -> Result<Submitter, ActionError> {
        let (user, principal) = &self.user;
        let found = if viewer.name == *user {
            Some(*principal)
        } else {
            self.principal_of(&viewer.name, viewer.project).await?
        };
        match found {
            Some(principal) => Ok(Submitter { principal, project: viewer.project, priority: 0, reservation: None }),
            None => Err(ActionError::NotFound { what: format!("principal {:?}", viewer.name) }),
        }
    }

    async fn principal_of(&self, name: &str, project: ProjectId) -> Result<Option<PrincipalId>, ActionError> {
        let tokens = self.submissions.store.tokens().await?;
        let token = tokens.into_iter().find(|token| token.name == name && token.project == project);
        Ok(token.map(|token| token.principal))
    }
}

fn needs(viewer: &Viewer, role: Role) -> Result<(), ActionError> {
    if viewer.role.includes(role) { Ok(()) } else { Err(ActionError::Forbidden { needs: role }) }
}

/// One form with one text is one submission, however often its button is pressed.
fn submission(principal: PrincipalId, shown: Timestamp, suite_toml: &str) -> SubmissionId {
    let digest = blake3::Hasher::new().update(principal.as_uuid().as_bytes()).update(suite_toml.as_bytes()).finalize();
    let mut short = [0; 10];
    short.copy_from_slice(&digest.as_bytes()[..10]);
    SubmissionId::new(shown, short)
}

fn planned(job: PlannedJob) -> PreviewJob {
    let PlannedJob { device: _, device_name, variant: _, dataset: _, spec } = job;
    PreviewJob {
        device_name,
        model: spec.model.model.clone(),
        version: spec.model.version,
        variant: spec.model.variant.clone(),
        dataset: spec.dataset.as_ref().map(|dataset| dataset.dataset.clone()),
        backend: spec.backend.to_string(),
        profile: spec.profile.kind.as_str().to_owned(),
    }
}

fn refused(refused: Refused) -> ActionError {
    match refused {
        Refused::Suite(problems) => ActionError::Suite(problems.into_iter().map(problem).collect()),
        Refused::Other(error) => other(error),
    }
}

fn problem(problem: Problem) -> SuiteProblem {
    let Problem { file: _, line, column, message, suggestion } = problem;
    SuiteProblem { line, column, message, suggestion }
}

fn other(error: Error) -> ActionError {
    match error.code {
        Code::NotFound => ActionError::NotFound { what: error.message.trim_start_matches("there is no ").to_owned() },
        Code::Invalid
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::Conflict
        | Code::TooLarge
        | Code::Unavailable
        | Code::Full
        | Code::Internal => ActionError::Conflict(error.message),
    }
}
