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

/// Why a text is no backend: what it has where something else was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a backend such as `tract cpu ×2`: {why}")]
pub struct ParseBackendError {
    text: String,
    why: String,
}

impl std::str::FromStr for Backend {
    type Err = ParseBackendError;

    /// The reverse of its display.
    fn from_str(text: &str) -> Result<Self, ParseBackendError> {
        let fail = |why: String| ParseBackendError { text: text.to_owned(), why };
        let mut words = text.split_whitespace();
        let mut next = |what: &str| words.next().ok_or_else(|| fail(format!("it ends before the {what}")));
        let name = next("runtime")?;
        let (runtime, track) = match name.split_once('@') {
            Some((runtime, track)) => (runtime, Some(track.to_owned())),
            None => (name, None),
        };
        let accelerator = next("accelerator")?.parse().map_err(fail)?;
        let mut word = next("threads")?;
        let mut provider = None;
        if word == "by" {
            let name = next("provider")?;
            let all = [Provider::Xnnpack, Provider::Webgpu, Provider::Qnn, Provider::Nnapi];
            let found = all.into_iter().find(|provider| provider.as_str() == name);
            provider = Some(found.ok_or_else(|| fail(format!("{name:?} is no provider")))?);
            word = next("threads")?;
        }
        let threads = word.strip_prefix('×').and_then(|count| count.parse().ok());
        let threads = threads.ok_or_else(|| fail(format!("{word:?} is no number of threads")))?;
        let (mut affinity, mut precision) = (Affinity::Any, None);
        while let Some(word) = words.next() {
            affinity = match word {
                "little" => Affinity::Little,
                "mid" => Affinity::Mid,
                "big" => Affinity::Big,
                "prime" => Affinity::Prime,
                "cpus" => {
                    let list = words.next().unwrap_or_default();
                    let cpus: Result<Vec<u16>, _> = list.split('+').map(str::parse).collect();
                    Affinity::Cpus(cpus.map_err(|_| fail(format!("{list:?} is no list of CPUs")))?)
                }
                other => {
                    precision = Some(other.parse().map_err(fail)?);
                    affinity
                }
            };
        }
        Ok(Self { runtime: runtime.to_owned(), track, accelerator, provider, threads, affinity, precision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_comes_back_from_its_text() {
        let plain = Backend {
            runtime: "tract".to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 2,
            affinity: Affinity::Any,
            precision: None,
        };
        let full = Backend {
            runtime: "onnxruntime".to_owned(),
            track: Some("1.30".to_owned()),
            accelerator: Accelerator::Gpu,
            provider: Some(Provider::Webgpu),
            threads: 4,
            affinity: Affinity::Cpus(vec![4, 7]),
            precision: Some(Precision::Fp16),
        };
        let big = Backend { affinity: Affinity::Big, ..plain.clone() };
        let half = Backend { precision: Some(Precision::Fp16), ..plain.clone() };
        for backend in [plain, full, big, half] {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
    }

    #[test]
    fn a_text_that_is_no_backend_says_what_is_wrong_with_it() {
        for (text, why) in [
            ("", "it ends before the runtime"),
            ("tract", "it ends before the accelerator"),
            ("tract tpu ×2", "\"tpu\" is not an accelerator (cpu, gpu, npu)"),
            ("tract cpu 2", "\"2\" is no number of threads"),
            ("ort gpu by metal ×1", "\"metal\" is no provider"),
            ("tract cpu ×2 cpus a", "\"a\" is no list of CPUs"),
            ("tract cpu ×2 fast", "\"fast\" is not a precision (fp32, fp16, bf16, int8, int4)"),
        ] {
            let said = text.parse::<Backend>().unwrap_err().to_string();
            assert!(said.ends_with(why), "{said}");
        }
    }
}
