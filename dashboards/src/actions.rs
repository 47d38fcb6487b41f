//! What a page can ask the server to do. The server implements [`Actions`]; the pages never write to a store.
//!
//! Every write is a POST of a form with a field named `csrf`. The handlers of this crate refuse a form whose `csrf` is
//! not that of its [`Viewer`] (compared in constant time), before anything else is looked at. The server puts the
//! `Viewer` into the request's extensions; a request without one gets the page "not signed in" with status 401.

use async_trait::async_trait;
use seatrial_core::ids::{JobId, ProjectId, RunId};
use seatrial_core::role::Role;
use seatrial_core::store::MisfitRow;
use seatrial_core::time::Timestamp;
use serde::Serialize;

/// Who looks at a page, and for which project. A request extension, set by the server's edge.
#[derive(Clone)]
pub struct Viewer {
    pub name: String,
    pub role: Role,
    pub project: ProjectId,
    /// Bound to the viewer's session; every form carries it as the field `csrf`.
    pub csrf: String,
    /// Signed in with a token that the browser keeps, which it can be asked to forget.
    pub session: bool,
}

impl std::fmt::Debug for Viewer {
    /// Without the CSRF token: this may be logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

/// What a suite would do if it were submitted now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Preview {
    pub jobs: Vec<PreviewJob>,
    pub misfits: Vec<MisfitRow>,
}

/// A job that would be queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewJob {
    pub device_name: String,
    pub model: String,
    pub version: u32,
    pub variant: String,
    pub dataset: Option<String>,
    /// As [`seatrial_core::backend::Backend`] displays.
    pub backend: String,
    pub profile: String,
}

/// Something wrong with a suite, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuiteProblem {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    pub message: String,
    /// What would be right.
    pub suggestion: Option<String>,
}

/// Why an action was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    #[error("the suite has {} problem(s)", .0.len())]
    Suite(Vec<SuiteProblem>),
    #[error("the role does not allow this; it needs {}", needs.as_str())]
    Forbidden { needs: Role },
    /// `what` as a person would name it: `run 0611`, `job 7f3a-0c12`.
    #[error("there is no {what}")]
    NotFound { what: String },
    /// The state of things does not allow it: "run 0611 has ended".
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Store(#[from] seatrial_core::store::StoreError),
}

/// The writes behind the pages' buttons. Implementations check the viewer's role and audit each call.
#[async_trait]
pub trait Actions: Send + Sync {
    /// Expands a suite against the fleet as it is, and changes nothing. Needs only `viewer`.
    async fn preview(&self, viewer: &Viewer, suite_toml: &str) -> Result<Preview, ActionError>;
    /// Submits a suite; returns the run's number. A form that the same viewer sends twice with one text, `shown` at the
    /// same moment, makes one run; without that moment each makes its own.
    async fn submit(&self, viewer: &Viewer, shown: Option<Timestamp>, suite_toml: &str) -> Result<i64, ActionError>;
    /// Cancels what is still open of a run.
    async fn cancel(&self, viewer: &Viewer, run: RunId) -> Result<(), ActionError>;
    /// Submits a run that repeats one job; returns the new run's number.
    async fn rerun(&self, viewer: &Viewer, job: JobId) -> Result<i64, ActionError>;
}
