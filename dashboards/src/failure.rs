//! Pages for what went wrong: not found, no right, a failed store, a fault of ours.
//!
//! A handler returns a [`Failure`]; it travels in the response's extensions to [`render`], which knows the language.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use seatrial_core::role::Role;
use seatrial_core::store::StoreError;
use serde::Serialize;

use crate::Dashboards;
use crate::actions::{ActionError, SuiteProblem};
use crate::frame::{Frame, Nav};
use crate::visit::{Setting, Wanted, html, json};

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the request carries no viewer")]
    NotSignedIn,
    #[error("the role does not allow this; it needs {}", needs.as_str())]
    Forbidden { needs: Role },
    #[error("the form's csrf field is not the viewer's")]
    StaleForm,
    /// `what` is a key of the catalogue's section `gone`.
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    #[error("the suite has {} problem(s)", .0.len())]
    Suite(Vec<SuiteProblem>),
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the page does not render")]
    Render(#[from] askama::Error),
    #[error("the data does not serialise")]
    Serialise(#[from] serde_json::Error),
    #[error("{0}")]
    Export(#[from] crate::export::ExportError),
}

impl From<ActionError> for Failure {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::Suite(problems) => Self::Suite(problems),
            ActionError::Forbidden { needs } => Self::Forbidden { needs },
            ActionError::NotFound { what } => Self::NotFound { what: "gone.thing", id: what },
            ActionError::Conflict(why) => Self::Conflict(why),
            ActionError::Store(error) => Self::Store(error),
        }
    }
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } | Self::StaleForm => StatusCode::FORBIDDEN,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Suite(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Store(StoreError::Unavailable { .. } | StoreError::Full { .. } | StoreError::Held { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Store(StoreError::Conflict { .. } | StoreError::Corrupt { .. } | StoreError::Schema(_))
            | Self::Render(_)
            | Self::Serialise(_)
            | Self::Export(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// What a failed page says.
#[derive(Serialize)]
struct Told {
    error: String,
    detail: String,
    /// Stands in the log beside the cause.
    reference: Option<String>,
    problems: Vec<SuiteProblem>,
}

#[derive(askama::Template)]
#[template(path = "pages/failure.html")]
struct FailurePage {
    frame: Frame,
    told: Told,
    retry: bool,
}

/// Turns failures into pages, keeps the language chosen by address, and sets the headers that every answer carries.
pub(crate) async fn render(State(state): State<Dashboards>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let setting = Setting::read(&parts, &state);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(failure) = response.extensions_mut().remove::<Arc<Failure>>() {
        let status = response.status();
        response = page(&failure, &setting);
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    if let Some(cookie) = setting.language_cookie() {
        headers.append(header::SET_COOKIE, cookie);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept, Accept-Language, Cookie"));
    response
}

/// Own style and script only; nothing inline, nothing framed, forms only to us.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn page(failure: &Failure, setting: &Setting) -> Response {
    let told = told(failure, setting);
    let rendered = match setting.wanted {
        Wanted::Json => json(&told),
        Wanted::Html | Wanted::Csv => {
            let title = told.error.clone();
            let retry =
                matches!(failure, Failure::Store(_) | Failure::Render(_) | Failure::Serialise(_) | Failure::Export(_));
            html(&FailurePage { frame: Frame::new(setting, title, Nav::None), told, retry })
        }
    };
    rendered.unwrap_or_else(|error| {
        tracing::error!(%error, "the page of a failure failed");
        "this page failed; nothing was changed\n".into_response()
    })
}

fn told(failure: &Failure, setting: &Setting) -> Told {
    let words = setting.words;
    let mut told = Told { error: String::new(), detail: String::new(), reference: None, problems: Vec::new() };
    match failure {
        Failure::NotSignedIn => {
            told.error = words.t("error.not_signed_in").into_owned();
            told.detail = words.with("error.not_signed_in_detail", &[("command", "seatrial login")]);
        }
        Failure::Forbidden { needs } => {
            let role = setting.viewer.as_ref().map_or_else(Default::default, |(_, role)| words.role(*role));
            told.error = words.with("error.forbidden", &[("role", &role), ("needs", &words.role(*needs))]);
            told.detail = words.t("error.forbidden_detail").into_owned();
        }
        Failure::StaleForm => {
            told.error = words.t("error.stale_form").into_owned();
            told.detail = words.t("error.stale_form_detail").into_owned();
        }
        Failure::NotFound { what, id } => {
            let what = words.t(what);
            told.error = words.with("error.not_found", &[("what", &what), ("id", id)]);
            told.detail = words.t("error.not_found_detail").into_owned();
        }
        Failure::Suite(problems) => {
            told.error = words.count("error.suite", problems.len() as u64, &[]);
            told.detail = words.t("error.suite_detail").into_owned();
            told.problems.clone_from(problems);
        }
        Failure::Conflict(why) => {
            told.error = words.t("error.conflict").into_owned();
            told.detail.clone_from(why);
        }
        Failure::Store(
            error @ (StoreError::Unavailable { .. } | StoreError::Full { .. } | StoreError::Held { .. }),
        ) => {
            told.reference = Some(logged(error, setting));
            told.error = words.t("error.store").into_owned();
            told.detail = words.t("error.store_detail").into_owned();
        }
        Failure::Store(_) | Failure::Render(_) | Failure::Serialise(_) | Failure::Export(_) => {
            let reference = logged(failure, setting);
            told.error = words.with("error.ours", &[("reference", &reference)]);
            told.detail = words.t("error.ours_detail").into_owned();
            told.reference = Some(reference);
        }
    }
    told
}

/// Logs the chain of causes under a reference that the page shows: four digits of the digest of moment and place.
fn logged(error: &dyn std::error::Error, setting: &Setting) -> String {
    let place = format!("{} {}", setting.moments.now.as_micros(), setting.path);
    let reference = seatrial_core::digest::Digest::of(place.as_bytes()).short()[..4].to_owned();
    let mut causes = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(reference, path = setting.path, error = causes, "a page failed");
    reference
}
