//! `/artifacts/{digest}`: PUT, GET with Range and ETag, HEAD.

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use seatrial_core::digest::Digest;
use seatrial_core::ids::DeviceId;
use seatrial_core::role::Role;

use super::range::{self, Wanted};
use super::{ArtifactError, Artifacts, Received};
use crate::auth::Caller;
use crate::auth::audit::Note;
use crate::canary;
use crate::error::{Chain, Code, Error};
use crate::fleet::Fleet;

/// What the handlers need.
#[derive(Clone)]
pub struct Door {
    pub artifacts: Artifacts,
    pub fleet: Fleet,
}

/// `PUT /artifacts/{digest}`: 201 when stored, 200 when it was there before.
pub async fn put(
    State(door): State<Door>,
    Path(digest): Path<String>,
    Extension(note): Extension<Note>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let digest = parse(&digest)?;
    note.object(format!("artifact {digest}"));
    note.digests(None, Some(digest));
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bytes = request.into_body().into_data_stream();
    match door.artifacts.receive(digest, declared, bytes).await? {
        Received::Stored => Ok(StatusCode::CREATED),
        Received::Present => Ok(StatusCode::OK),
    }
}

/// `GET` and `HEAD /artifacts/{digest}`.
pub async fn get(
    State(door): State<Door>,
    Path(digest): Path<String>,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let digest = parse(&digest)?;
    allow(&door, &caller, &digest).await?;
    let built_in = canary::bytes(&digest);
    let size = match built_in {
        Some(bytes) => Some(bytes.len() as u64),
        None => door.artifacts.size(&digest).await.map_err(ArtifactError::from)?,
    };
    let size = size.ok_or_else(|| Error::not_found(format!("artifact {}", digest.short())))?;
    let tag = format!("\"{digest}\"");
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.to_str().is_ok_and(|known| known.contains(&tag))) {
        return Ok((StatusCode::NOT_MODIFIED, common(&tag)).into_response());
    }
    let wanted = headers.get(RANGE).filter(|_| is_same(&headers, &tag)).and_then(|range| range.to_str().ok());
    let (status, start, length) = match wanted.map_or(Wanted::Whole, |header| range::parse(header, size)) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Wanted::Unsatisfiable => {
            let outside = [(CONTENT_RANGE, number(&format!("bytes */{size}")))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, outside, common(&tag)).into_response());
        }
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else if let Some(bytes) = built_in {
        let part = start as usize..(start + length) as usize; // within its size
        Body::from(bytes.get(part).unwrap_or_default())
    } else {
        Body::from_stream(door.artifacts.read(&digest, start, length).await?)
    };
    let mut response = (status, [(CONTENT_LENGTH, number(&length))], common(&tag), body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let part = number(&format!("bytes {start}-{}/{size}", start + length - 1));
        response.headers_mut().insert(CONTENT_RANGE, part);
    }
    Ok(response)
}

/// An agent gets what its own assignment carries, and any newest agent; people get everything of the server.
async fn allow(Door { artifacts, fleet }: &Door, caller: &Caller, digest: &Digest) -> Result<(), Error> {
    if caller.role != Role::Agent || caller.device.is_some_and(|device| is_assigned(fleet, device, digest)) {
        return Ok(());
    }
    if artifacts.is_newest_agent(digest).await? {
        return Ok(());
    }
    let why = format!("artifact {} is not part of what this device was assigned", digest.short());
    Err(Error::new(Code::Forbidden, why))
}

fn is_assigned(fleet: &Fleet, device: DeviceId, digest: &Digest) -> bool {
    let spec = fleet.attempt_of(device).and_then(|attempt| fleet.active(attempt, device));
    spec.is_some_and(|spec| spec.parsed.artifacts().any(|(carried, _)| carried == *digest))
}

/// A range of something else than the client has begun with would be nonsense: without its tag it gets all.
fn is_same(headers: &HeaderMap, tag: &str) -> bool {
    headers.get(IF_RANGE).is_none_or(|known| known.as_bytes() == tag.as_bytes())
}

fn common(tag: &str) -> [(HeaderName, HeaderValue); 5] {
    [
        (ETAG, number(&tag)),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        // The address names the content: it can never change.
        (CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable")),
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    ]
}

/// A header value of digits and ASCII punctuation.
fn number(text: &impl ToString) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn parse(digest: &str) -> Result<Digest, Error> {
    digest.parse().map_err(|error| Error::field("digest", error))
}

/// What the HTTP door answers instead of an artifact.
#[derive(Debug)]
pub struct Refusal(StatusCode, Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.code.http(), error)
    }
}

impl From<ArtifactError> for Refusal {
    fn from(error: ArtifactError) -> Self {
        let (status, code) = match &error {
            ArtifactError::WrongDigest { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Code::Invalid),
            ArtifactError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge),
            ArtifactError::Short { .. } | ArtifactError::Interrupted { .. } => (StatusCode::BAD_REQUEST, Code::Invalid),
            ArtifactError::Stalled { .. } => (StatusCode::REQUEST_TIMEOUT, Code::Invalid),
            ArtifactError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, Code::Full),
            ArtifactError::Io { .. } => {
                tracing::error!(error = %Chain(&error), "the artifact store failed");
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            ArtifactError::Lost(_) | ArtifactError::Unusable(_) => {
                tracing::error!(error = %Chain(&error), "an artifact could not be served");
                (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
            }
            ArtifactError::Store(_) => {
                let ArtifactError::Store(error) = error else { return Self::from(Error::new(Code::Internal, "")) };
                return Self::from(Error::from(error));
            }
        };
        Self(status, Error::new(code, error.to_string()))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        let mut response = error.into_response();
        *response.status_mut() = status;
        response
    }
}
