//! Why a command failed: what, on what, why, and what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use seatrial_agent::certificate;
use seatrial_core::suite::Problem;
use tonic::{Code, Status};

use crate::exit::Exit;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Failed as described; the cause, if it is an error of its own, follows on the next lines.
    #[error("failed to {doing}")]
    Failed { doing: String, source: Box<dyn Error + Send + Sync>, hint: Option<String> },
    /// Failed for a reason that is complete in itself.
    #[error("{what}")]
    Plain { what: String, hint: Option<String> },
    #[error("failed to reach the server at {address}")]
    Unreachable { address: String, source: Box<dyn Error + Send + Sync> },
    #[error("not allowed to {doing}: {reason}")]
    Refused { doing: String, reason: String, hint: Option<String> },
    #[error("failed to {doing}: {reason}")]
    NotFound { doing: String, reason: String },
    #[error("{} has {}", file, crate::output::count(problems.len(), "problem"))]
    Problems { file: String, problems: Vec<Problem> },
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("interrupted")]
    Interrupted,
    #[error("failed to write the output")]
    Output(#[source] io::Error),
}

pub(crate) type Result<T> = std::result::Result<T, CliError>;

/// What hyper says of a request whose connection ended before it could be sent.
const UNSENT: &str = "operation was canceled";
const HUNG_UP: &str = "the server hung up after the handshake and its reason was lost: it asks for a certificate of your own \
                       (name yours by --certificate and --key), refuses the certificate that you named, or goes away";

impl CliError {
    pub(crate) fn failed(doing: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { doing: doing.into(), source: source.into(), hint: None }
    }

    pub(crate) fn plain(what: impl Into<String>) -> Self {
        Self::Plain { what: what.into(), hint: None }
    }

    /// Says what to do about it, unless the error does so already.
    #[must_use]
    pub(crate) fn with_hint(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Failed { hint, .. } | Self::Plain { hint, .. } | Self::Refused { hint, .. } => {
                hint.get_or_insert_with(|| text.into());
            }
            Self::Unreachable { .. }
            | Self::NotFound { .. }
            | Self::Problems { .. }
            | Self::Read { .. }
            | Self::Interrupted
            | Self::Output(_) => {}
        }
        self
    }

    /// No answer came from the server.
    pub(crate) fn unreachable(address: &str, why: String) -> Self {
        Self::turned_away(address, &why)
            .unwrap_or_else(|| Self::Unreachable { address: address.to_owned(), source: why.into() })
    }

    /// The server ended the connection for our certificate or the lack of one.
    pub(crate) fn turned_away(address: &str, why: &str) -> Option<Self> {
        // A request that finds its connection ended is not told of the alert that came just before.
        let hung_up = address.starts_with("https://") && why.contains(UNSENT);
        certificate::advice(why).or(hung_up.then_some(HUNG_UP)).map(|advice| Self::Refused {
            doing: format!("talk to the server at {address}"),
            reason: why.to_owned(),
            hint: Some(advice.to_owned()),
        })
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Output(_) if self.is_closed_pipe() => Exit::Ok,
            Self::Failed { .. } | Self::Plain { .. } | Self::Read { .. } | Self::Output(_) => Exit::Error,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Refused { .. } => Exit::Refused,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Problems { .. } => Exit::Invalid,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Whether the reader of our output went away (`seatrial runs | head`): the end, but no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the reader can do, when we know.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { hint, .. } | Self::Plain { hint, .. } | Self::Refused { hint, .. } => hint.clone(),
            Self::Unreachable { .. } => Some(
                "start one with `seatrial serve`, or name another with --server URL, SEATRIAL_SERVER or `seatrial login`"
                    .to_owned(),
            ),
            Self::NotFound { .. } => Some("`seatrial runs`, `models list` and `devices list` show what there is".to_owned()),
            Self::Problems { .. } | Self::Read { .. } | Self::Interrupted | Self::Output(_) => None,
        }
    }

    /// A call to the server that did not succeed.
    pub(crate) fn from_status(doing: impl Into<String>, address: &str, status: &Status) -> Self {
        let cause = status.source().and_then(|cause| Self::turned_away(address, &root_of(cause)));
        if let Some(refused) = cause.or_else(|| Self::turned_away(address, status.message())) {
            return refused;
        }
        let doing = doing.into();
        let reason = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated => Self::Refused {
                doing,
                reason,
                hint: Some(format!("sign in with `seatrial login {address}`, or give a token with --token-file FILE")),
            },
            Code::PermissionDenied => Self::Refused {
                doing,
                reason,
                hint: Some(
                    "an admin can issue a token with the role that this needs: `seatrial token create`".to_owned(),
                ),
            },
            Code::NotFound => Self::NotFound { doing, reason },
            Code::Unavailable if status.source().is_some() => Self::unreachable(address, root_of(status)),
            Code::Unimplemented => Self::Failed {
                doing,
                source: reason.into(),
                hint: Some(format!(
                    "the server at {address} may be older than this command line; compare `seatrial --version`"
                )),
            },
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::failed(doing, reason),
        }
    }
}

/// The innermost cause: "connection refused" rather than "transport error".
pub(crate) fn root_of(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_role_and_a_missing_token_both_exit_by_refused_but_say_different_things() {
        let denied =
            CliError::from_status("add a model", "http://lab:7077", &Status::permission_denied("needs submitter"));
        let unknown = CliError::from_status("add a model", "http://lab:7077", &Status::unauthenticated("no token"));
        assert_eq!((denied.exit(), unknown.exit()), (Exit::Refused, Exit::Refused));
        assert!(denied.hint().is_some_and(|hint| hint.contains("token create")));
        assert!(unknown.hint().is_some_and(|hint| hint.contains("seatrial login http://lab:7077")));
    }

    #[test]
    fn a_server_that_answers_unavailable_is_not_called_unreachable() {
        let answered =
            CliError::from_status("list runs", "http://lab:7077", &Status::unavailable("the database is locked"));
        assert_eq!(answered.exit(), Exit::Error);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let closed = CliError::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(closed.exit(), Exit::Ok);
        assert_eq!(CliError::Output(io::ErrorKind::StorageFull.into()).exit(), Exit::Error);
    }

    #[test]
    fn a_server_that_hangs_up_without_a_word_is_one_that_asks_for_certificates_only_where_there_are_any() {
        let over_tls = CliError::turned_away("https://lab:7077", UNSENT).unwrap();
        assert_eq!(over_tls.exit(), Exit::Refused);
        assert!(over_tls.hint().unwrap().contains("--certificate and --key"));
        assert!(CliError::turned_away("http://lab:7077", UNSENT).is_none());
        assert!(CliError::turned_away("https://lab:7077", "connection refused").is_none());
    }
}
