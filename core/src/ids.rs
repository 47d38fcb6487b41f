//! Every identifier is its own type; all of them are UUIDv7 and are written as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// Why a text is not an identifier.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a {kind} id (expected a UUID such as 0199f0c2-5b1e-7cc3-98c4-dc0c0c07398f)")]
pub struct ParseIdError {
    kind: &'static str,
    text: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// What the id names, in the words of the glossary.
            pub const KIND: &'static str = $kind;

            /// A new id from the caller's clock and 10 bytes of the caller's entropy.
            #[must_use]
            pub fn new(now: Timestamp, entropy: [u8; 10]) -> Self {
                Self(v7(now, entropy))
            }

            /// Eight hexadecimal digits of the random part, as `7f3a-0c12`: short enough to say aloud.
            #[must_use]
            pub fn short(&self) -> String {
                let tail = &self.0.as_bytes()[12..16];
                format!("{:02x}{:02x}-{:02x}{:02x}", tail[0], tail[1], tail[2], tail[3])
            }

            #[must_use]
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", $kind, self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| ParseIdError { kind: $kind, text: text.to_owned() })
            }
        }
    )*};
}

ids! {
    /// What groups models, datasets, suites, runs and their people.
    ProjectId = "project";
    /// Who acts.
    PrincipalId = "principal";
    /// A bearer token (its record; the secret itself is never stored).
    TokenId = "token";
    /// A quarantine of a device, a backend and a model together.
    QuarantineId = "quarantine";
    /// A one-time right for a device to join.
    EnrolmentId = "enrolment";
    /// One phone, board or host.
    DeviceId = "device";
    ModelId = "model";
    ModelVersionId = "model version";
    /// Format and precision of one model version.
    VariantId = "variant";
    DatasetId = "dataset";
    DatasetVersionId = "dataset version";
    BindingId = "binding";
    TrackId = "track";
    RuntimePackageId = "runtime package";
    SuiteId = "suite";
    RunId = "run";
    /// One submission of a suite, named by whoever submits, so that repeating it makes no second run.
    SubmissionId = "submission";
    JobId = "job";
    /// Devices that are kept for the runs of whoever has its token.
    ReservationId = "reservation";
    AuditId = "audit entry";
    /// One stay of an agent on the server's port.
    SessionId = "session";
}

fn v7(now: Timestamp, entropy: [u8; 10]) -> Uuid {
    let millis = u64::try_from(now.as_micros().max(0) / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &entropy).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let early = JobId::new(Timestamp::from_micros(1_000_000), [0xff; 10]);
        let late = JobId::new(Timestamp::from_micros(2_000_000), [0; 10]);
        assert!(early < late);
        assert!(early.to_string() < late.to_string(), "text sorts as the value does");
    }

    #[test]
    fn an_id_reads_back_from_its_own_text_and_from_nothing_else() {
        let id = RunId::new(Timestamp::from_micros(5), [7; 10]);
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        let error = "run-5".parse::<RunId>().unwrap_err();
        assert!(error.to_string().starts_with("\"run-5\" is not a run id"));
    }
}
