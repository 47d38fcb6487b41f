//! What went wrong inside the database, before it is known for whom.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use seatrial_core::store::StoreError;

use crate::dialect;

/// What an error of the database means to us; the dialect judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unavailable,
    Full,
    Constraint,
    /// The database refuses what we ask or cannot read what it has.
    Broken,
}

/// A failure that several callers of one batch may have to be told of, hence `Clone`.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Unavailable(Cause),
    Full(Cause),
    /// Another server is the active one.
    Held {
        holder: String,
    },
    /// A constraint that no verb has put into words.
    Constraint(String),
    /// In words for people.
    Conflict(String),
    Corrupt {
        what: String,
        why: String,
    },
}

/// One cause with several owners.
#[derive(Debug, Clone)]
pub(crate) struct Cause(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Fault {
    pub(crate) fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Cause(Arc::new(cause)))
    }

    pub(crate) fn corrupt(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Corrupt { what: what.into(), why: why.to_string() }
    }

    /// Whether the database itself failed, so that no other write of the batch would fare better.
    pub(crate) const fn concerns_everybody(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Full(_) | Self::Held { .. } => true,
            Self::Constraint(_) | Self::Conflict(_) | Self::Corrupt { .. } => false,
        }
    }

    /// The error for a caller, who wanted `doing`.
    pub(crate) fn into_error(self, doing: &'static str) -> StoreError {
        match self {
            Self::Unavailable(cause) => StoreError::Unavailable { doing, source: Box::new(cause) },
            Self::Full(cause) => StoreError::Full { doing, source: Box::new(cause) },
            Self::Held { holder } => StoreError::Held { holder },
            Self::Constraint(detail) => {
                StoreError::Conflict { what: format!("{doing} contradicts what is stored: {detail}") }
            }
            Self::Conflict(what) => StoreError::Conflict { what },
            Self::Corrupt { what, why } => StoreError::Corrupt { what, why },
        }
    }
}

impl From<sqlx::Error> for Fault {
    #[expect(clippy::wildcard_enum_match_arm, reason = "not ours, and it may grow")]
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(database) => dialect::kind(&**database),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Kind::Unavailable,
            _ => Kind::Broken,
        };
        match kind {
            Kind::Unavailable => Self::unavailable(error),
            Kind::Full => Self::Full(Cause(Arc::new(error))),
            Kind::Constraint => Self::Constraint(error.to_string()),
            Kind::Broken => Self::corrupt("data", error),
        }
    }
}

/// Puts a violated constraint into words.
pub(crate) trait OrConflict<T> {
    fn or_conflict(self, what: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> OrConflict<T> for Result<T, sqlx::Error> {
    fn or_conflict(self, what: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| match Fault::from(error) {
            Fault::Constraint(_) => Fault::Conflict(what()),
            other @ (Fault::Unavailable(_)
            | Fault::Full(_)
            | Fault::Held { .. }
            | Fault::Conflict(_)
            | Fault::Corrupt { .. }) => other,
        })
    }
}
