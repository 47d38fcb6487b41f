//! How a variant is executed: runtime, accelerator, threads, affinity, precision.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Precision;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    #[default]
    Cpu,
    Gpu,
    Npu,
}

impl Accelerator {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Npu => "npu",
        }
    }
}

impl std::str::FromStr for Accelerator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Cpu, Self::Gpu, Self::Npu];
        let found = all.into_iter().find(|accelerator| accelerator.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not an accelerator (cpu, gpu, npu)"))
    }
}

/// A part of an engine that computes: its own choice for an accelerator is meant where none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    Xnnpack,
    Webgpu,
    Qnn,
    Nnapi,
}

impl Provider {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xnnpack => "xnnpack",
            Self::Webgpu => "webgpu",
            Self::Qnn => "qnn",
            Self::Nnapi => "nnapi",
        }
    }

    /// What it computes on.
    #[must_use]
    pub const fn accelerator(self) -> Accelerator {
        match self {
            Self::Xnnpack => Accelerator::Cpu,
            Self::Webgpu => Accelerator::Gpu,
            Self::Qnn | Self::Nnapi => Accelerator::Npu,
        }
    }
}

/// On which cores the inference threads may run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// Wherever the kernel puts them.
    #[default]
    Any,
    /// The cluster with the lowest maximum frequency.
    Little,
    /// The clusters between the lowest and the highest.
    Mid,
    /// Every cluster but the lowest.
    Big,
    /// The cluster with the highest maximum frequency.
    Prime,
    /// Exactly these CPUs, by number.
    Cpus(Vec<u16>),
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Little => f.write_str("little"),
            Self::Mid => f.write_str("mid"),
            Self::Big => f.write_str("big"),
            Self::Prime => f.write_str("prime"),
            Self::Cpus(cpus) => {
                f.write_str("cpus ")?;
                let text: Vec<String> = cpus.iter().map(u16::to_string).collect();
                f.write_str(&text.join("+"))
            }
        }
    }
}

/// Runtime track × accelerator and provider × threads × affinity × precision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    /// The inference engine: `tract`, `onnxruntime`, `litert`, …
    pub runtime: String,
    /// The named line of versions of the runtime; `None` for the version built into the agent.
    pub track: Option<String>,
    pub accelerator: Accelerator,
    /// One of several parts of the engine for this accelerator; `None` leaves the choice to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Inference threads, at least 1.
    pub threads: u16,
    pub affinity: Affinity,
    /// The precision in which the engine is asked to compute; `None` leaves it to the variant.
    pub precision: Option<Precision>,
}

impl fmt::Display for Backend {
    /// `tract cpu ×2`, with track, provider, affinity and precision only where they differ from the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.runtime)?;
        if let Some(track) = &self.track {
            write!(f, "@{track}")?;
        }
        write!(f, " {}", self.accelerator.as_str())?;
        if let Some(provider) = self.provider {
            write!(f, " by {}", provider.as_str())?;
        }
        write!(f, " ×{}", self.threads)?;
        if self.affinity != Affinity::Any {
            write!(f, " {}", self.affinity)?;
        }
        if let Some(precision) = self.precision {
            write!(f, " {}", precision.as_str())?;
        }
        Ok(())
    }
}
