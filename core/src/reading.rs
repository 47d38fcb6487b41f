//! A value that may be absent, with the reason why. Missing is never zero.

use serde::{Deserialize, Deserializer, Serialize};

/// A value that was read, or the reason why it was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    Present(T),
    /// Why there is no value, for the person who reads it: "denied by the kernel", "no such sensor".
    Absent(String),
}

impl<T> Reading<T> {
    pub fn absent(reason: impl Into<String>) -> Self {
        Self::Absent(reason.into())
    }

    pub const fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent(_) => None,
        }
    }

    pub fn into_present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent(_) => None,
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Present(_) => None,
            Self::Absent(reason) => Some(reason),
        }
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Present(value) => Reading::Present(f(value)),
            Self::Absent(reason) => Reading::Absent(reason),
        }
    }

    /// The value, or `Absent` with the reason given.
    pub fn from_option(value: Option<T>, reason: impl Into<String>) -> Self {
        value.map_or_else(|| Self::Absent(reason.into()), Self::Present)
    }
}

/// Reads a field that was a plain value in older documents.
pub fn or_plain<'de, D, T>(deserializer: D) -> Result<Reading<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Document<T> {
        Reading(Reading<T>),
        Plain(T),
    }
    Ok(match Document::deserialize(deserializer)? {
        Document::Reading(reading) => reading,
        Document::Plain(value) => Reading::Present(value),
    })
}
