//! One small error for everything that a caller hears, and its only mapping to gRPC and to HTTP.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use seatrial_core::store::StoreError;
use serde::Serialize;

pub(crate) use crate::fleet::Chain;

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request itself is wrong; sending it again will not help.
    Invalid,
    /// No credentials, or none that are known.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    NotFound,
    /// Contradicts what is there: a name taken, a run that has ended.
    Conflict,
    /// A bound was hit.
    TooLarge,
    /// The server cannot now; the same request may succeed later.
    Unavailable,
    /// Disk or database are full.
    Full,
    /// A fault of ours.
    Internal,
}

impl Code {
    #[must_use]
    pub const fn grpc(self) -> tonic::Code {
        match self {
            Self::Invalid => tonic::Code::InvalidArgument,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::Forbidden => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::Conflict => tonic::Code::FailedPrecondition,
            Self::TooLarge => tonic::Code::OutOfRange,
            Self::Unavailable => tonic::Code::Unavailable,
            Self::Full => tonic::Code::ResourceExhausted,
            Self::Internal => tonic::Code::Internal,
        }
    }

    #[must_use]
    pub const fn http(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable | Self::Full => true,
            Self::Invalid
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::TooLarge
            | Self::Internal => false,
        }
    }
}

/// What a caller is told: a code, the field at fault if one is, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub code: Code,
    /// The request's field, as the protocol spells it.
    pub field: Option<String>,
    pub message: String,
}

impl Error {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, field: None, message: message.into() }
    }

    /// A field of the request is wrong.
    #[must_use]
    pub fn field(field: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self { code: Code::Invalid, message: format!("{field}: {why}"), field: Some(field) }
    }

    /// `what` as a person would name it: `run 611`.
    #[must_use]
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what}"))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for Error {
    /// What a caller is told of the database is short; the whole chain goes to the log, once, here.
    fn from(error: &StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable { .. } | StoreError::Held { .. } => Code::Unavailable,
            StoreError::Full { .. } => Code::Full,
            StoreError::Conflict { .. } => Code::Conflict,
            StoreError::Corrupt { .. } | StoreError::Schema(_) => Code::Internal,
        };
        if code != Code::Conflict {
            tracing::error!(error = %Chain(error), "the store failed");
        }
        Self::new(code, error.to_string())
    }
}

/// Name of the metadata entry that carries the field at fault.
pub const FIELD_METADATA: &str = "seatrial-field";

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let Error { code, field, message } = error;
        let mut status = Self::new(code.grpc(), message);
        if let Some(value) = field.and_then(|field| field.parse().ok()) {
            status.metadata_mut().insert(FIELD_METADATA, value);
        }
        status
    }
}

#[derive(Serialize)]
struct Body {
    code: Code,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message: String,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Self { code, field, message } = self;
        (code.http(), Json(Body { code, field, message })).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_at_fault_reaches_both_kinds_of_client() {
        let error = Error::field("variants[0].format", "\"pt\" is not a model format");
        let status = tonic::Status::from(error.clone());
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.metadata().get(FIELD_METADATA).unwrap(), "variants[0].format");
        assert_eq!(status.message(), "variants[0].format: \"pt\" is not a model format");
        assert_eq!(error.into_response().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_chain_names_every_source() {
        let source = Box::new(std::io::Error::other("disk on fire"));
        let error = StoreError::Unavailable { doing: "storing a run", source };
        assert_eq!(Chain(&error).to_string(), "the database is not available while storing a run: disk on fire");
        assert_eq!(Error::from(error).code, Code::Unavailable);
    }
}
