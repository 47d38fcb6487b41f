//! Jobs and attempts: what a device is asked to do, and for how long.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::dataset::scorer::Scorer;
use crate::dataset::{Binding, Task};
use crate::digest::Digest;
use crate::ids::JobId;
use crate::model::{Format, Manifest, Precision, Signature};
use crate::outcome::Outcome;
use crate::profile::MeasurementProfile;
use crate::runtimes::RuntimePackage;
use crate::stage::Stage;

/// One try of a job. The number fences: only the holder's is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptRef {
    pub job: JobId,
    /// Counts from 1.
    pub attempt: u32,
}

impl fmt::Display for AttemptRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} attempt {}", self.job.short(), self.attempt)
    }
}

/// Where a job stands. A status carries what it implies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    /// An agent holds attempt `attempt`.
    Leased {
        attempt: u32,
    },
    Done {
        outcome: Outcome,
    },
    /// Has cost [`crate::outcome::AGENT_DEATH_LIMIT`] agents their lives.
    Quarantined,
}

impl JobState {
    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased { .. } => "leased",
            Self::Done { .. } => "done",
            Self::Quarantined => "quarantined",
        }
    }
}

/// For how long an attempt may run before somebody else may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Renewed by the stream.
    Online { length: Duration },
    /// Covers the stage's own deadline; the stream may be gone.
    Stage { length: Duration },
    /// Declared length for battery runs with USB cut; nobody else gets the job until it ends.
    Offline { length: Duration },
}

/// Length of a grant that the stream renews.
pub const ONLINE_GRANT: Duration = Duration::from_secs(15);
/// No stage grant is longer.
pub const MAX_STAGE_GRANT: Duration = Duration::from_mins(15);

impl Grant {
    #[must_use]
    pub const fn length(self) -> Duration {
        match self {
            Self::Online { length } | Self::Stage { length } | Self::Offline { length } => length,
        }
    }

    /// The grant that goes with a stage.
    #[must_use]
    pub fn for_stage(stage: Stage, limits: &Limits) -> Self {
        if stage.outlives_the_stream() {
            let length = limits.deadline(stage).saturating_add(ONLINE_GRANT).min(MAX_STAGE_GRANT);
            Self::Stage { length }
        } else {
            Self::Online { length: ONLINE_GRANT }
        }
    }
}

/// Bounds of one attempt. A bound that is hit is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Address space of the child in bytes.
    pub memory_bytes: u64,
    /// Standard output and error of the child, kept at most.
    pub output_bytes: u64,
    /// How long each stage may take.
    pub deadlines: BTreeMap<Stage, Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = [
            (Stage::Fetch, 600),
            (Stage::Prepare, 300),
            (Stage::Load, 120),
            (Stage::FirstInference, 120),
            (Stage::Warmup, 60),
            (Stage::Measure, 660),
            (Stage::Accuracy, 840),
            (Stage::Energy, 840),
            (Stage::Teardown, 30),
        ];
        Self {
            memory_bytes: 4 << 30,
            output_bytes: 256 << 10,
            deadlines: seconds.into_iter().map(|(stage, s)| (stage, Duration::from_secs(s))).collect(),
        }
    }
}

impl Limits {
    /// The stage's deadline; a stage that is not listed gets a minute.
    #[must_use]
    pub fn deadline(&self, stage: Stage) -> Duration {
        self.deadlines.get(&stage).copied().unwrap_or(Duration::from_mins(1))
    }
}

/// The variant that a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    pub model: String,
    pub version: u32,
    pub variant: String,
    pub format: Format,
    pub precision: Precision,
    pub manifest: Manifest,
    pub signature: Signature,
}

/// The dataset package that a job reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRef {
    pub dataset: String,
    pub version: u32,
    /// The package: one zip.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    pub task: Task,
    pub examples: u32,
    /// What judges the outputs when the task is custom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorer: Option<Scorer>,
}

/// Everything that a device needs to run a job, and nothing else: stored with the job, sent with its assignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Version of this document.
    pub schema: u32,
    pub model: ModelRef,
    pub binding: Binding,
    pub dataset: Option<DatasetRef>,
    pub backend: Backend,
    /// What the backend's engine is loaded from; absent for one that is built into the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<RuntimePackage>,
    pub profile: MeasurementProfile,
    pub limits: Limits,
    /// For generated inputs.
    pub seed: u64,
}

/// The version of [`JobSpec`] that this build writes.
pub const SPEC_SCHEMA: u32 = 1;

impl JobSpec {
    /// Artifacts that the device must have: every file of the variant, then the dataset, then those of the engine.
    pub fn artifacts(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        let files = self.model.manifest.entries.iter().map(|entry| (entry.digest, entry.size));
        let libraries = self.package.iter().flat_map(|package| &package.manifest.entries);
        files
            .chain(self.dataset.iter().map(|dataset| (dataset.digest, dataset.size)))
            .chain(libraries.map(|entry| (entry.digest, entry.size)))
    }
}
