//! The stages of an attempt, in order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Artifacts reach the device.
    Fetch,
    /// Preflight, cool-down, preprocessing of inputs.
    Prepare,
    /// From process start to a session that is ready.
    Load,
    FirstInference,
    Warmup,
    Measure,
    /// Task metrics and comparison with golden outputs; also the memory pass.
    Accuracy,
    Energy,
    Teardown,
}

impl Stage {
    pub const ALL: [Self; 9] = [
        Self::Fetch,
        Self::Prepare,
        Self::Load,
        Self::FirstInference,
        Self::Warmup,
        Self::Measure,
        Self::Accuracy,
        Self::Energy,
        Self::Teardown,
    ];

    /// The name in code, in the database and in every language of the pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::FirstInference => "first_inference",
            Self::Warmup => "warmup",
            Self::Measure => "measure",
            Self::Accuracy => "accuracy",
            Self::Energy => "energy",
            Self::Teardown => "teardown",
        }
    }

    /// Whether a lost connection must not cost what is being done: the grant covers the stage's own deadline.
    #[must_use]
    pub const fn outlives_the_stream(self) -> bool {
        match self {
            Self::Fetch | Self::Prepare => false,
            Self::Load
            | Self::FirstInference
            | Self::Warmup
            | Self::Measure
            | Self::Accuracy
            | Self::Energy
            | Self::Teardown => true,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no stage.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a stage")]
pub struct UnknownStage(String);

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| UnknownStage(text.to_owned()))
    }
}
