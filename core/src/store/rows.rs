//! The rows that go in and out of the store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agents::AgentBuild;
use crate::dataset::scorer::Scorer;
use crate::dataset::{Binding, Task};
use crate::device::{DeviceState, Evidence, Labels, Profile};
use crate::digest::Digest;
use crate::failure::{Death, Failure, TripleVersions};
use crate::ids::{
    AuditId, BindingId, DatasetId, DatasetVersionId, DeviceId, EnrolmentId, JobId, ModelId, ModelVersionId,
    PrincipalId, ProjectId, QuarantineId, ReservationId, RunId, RuntimePackageId, SubmissionId, TokenId, TrackId,
    VariantId,
};
use crate::job::{AttemptRef, JobSpec, JobState};
use crate::lab::canary::{Due, Found, Judgement};
use crate::lab::standing::Service;
use crate::metric::Metric;
use crate::model::{Format, Manifest, Precision, Signature, SignatureStanding};
use crate::outcome::{Outcome, Verdict};
use crate::reason::Reason;
use crate::report::{Report, StageRecord};
use crate::role::Role;
use crate::runtimes::{Abi, RuntimePackage};
use crate::stage::Stage;
use crate::time::Timestamp;

// --- people and doors ---

/// Ids and name for what [`super::Store::bootstrap`] may have to make.
#[derive(Debug, Clone)]
pub struct BootstrapSeed {
    pub project: ProjectId,
    pub principal: PrincipalId,
    /// The operating system's user name.
    pub user: String,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    pub project: ProjectId,
    pub principal: PrincipalId,
}

/// A token to be stored: its hash, never its secret. Makes a principal of the same name when there is none.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub id: TokenId,
    /// Used if a principal of this name must be made.
    pub principal: PrincipalId,
    pub project: ProjectId,
    pub name: String,
    pub role: Role,
    /// BLAKE3 of the secret.
    pub hash: Digest,
    /// For a device's own token: the only device it may speak for, once it has attached.
    pub device: Option<DeviceId>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    pub principal: PrincipalId,
    pub project: ProjectId,
    pub name: String,
    pub role: Role,
    pub device: Option<DeviceId>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct NewEnrolment {
    pub id: EnrolmentId,
    pub project: ProjectId,
    pub created_by: PrincipalId,
    pub hash: Digest,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    pub id: AuditId,
    pub at: Timestamp,
    pub principal: PrincipalId,
    pub project: ProjectId,
    /// The method or route: `seatrial.v1.Runs/Submit`, `PUT /artifacts/{digest}`.
    pub action: String,
    /// What was acted on.
    pub object: String,
    pub allowed: bool,
    /// Digest of the object before and after, where it has one.
    pub before: Option<Digest>,
    pub after: Option<Digest>,
}

/// What is read of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub row: AuditRow,
    /// Name of the principal; none for one whom nobody has registered.
    pub by: Option<String>,
}

// --- devices ---

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceRow {
    pub id: DeviceId,
    /// Unique; from the profile (`Xiaomi 15`, `№2` for twins) until an operator names it.
    pub name: String,
    pub state: DeviceState,
    pub state_reason: String,
    pub evidence: Evidence,
    pub profile: Profile,
    pub labels: Labels,
    pub agent_version: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransitionRow {
    pub at: Timestamp,
    pub from: DeviceState,
    pub to: DeviceState,
    pub reason: String,
    /// Name of whoever decided it; `None` for the server itself.
    pub by: Option<String>,
}

/// What was decided of a device, last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRow {
    pub device: DeviceId,
    pub service: Service,
    /// Counts the decisions; 0 while there was none.
    pub revision: u64,
    /// Name of whoever decided it; `None` for the server itself.
    pub by: Option<String>,
    pub at: Timestamp,
}

impl ServiceRow {
    /// Of a device of which nothing was ever decided.
    #[must_use]
    pub fn untouched(device: DeviceId) -> Self {
        Self { device, service: Service::default(), revision: 0, by: None, at: Timestamp::default() }
    }
}

/// A decision about a device, with the words for its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// As it will be; its revision is the next after the one that it is made from.
    pub row: ServiceRow,
    pub reason: String,
}

/// Devices that are kept for the runs of whoever brings a token.
#[derive(Debug, Clone)]
pub struct NewReservation {
    pub id: ReservationId,
    pub project: ProjectId,
    pub principal: PrincipalId,
    /// The selector by which the devices were found; empty for any.
    pub selector: String,
    /// BLAKE3 of the secret.
    pub hash: Digest,
    pub reason: String,
    pub created_at: Timestamp,
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationRow {
    pub id: ReservationId,
    pub project: ProjectId,
    pub principal: PrincipalId,
    /// Name of the principal.
    pub by: String,
    pub selector: String,
    pub reason: String,
    pub created_at: Timestamp,
    pub until: Timestamp,
    /// Those that it still has, by name.
    pub devices: Vec<String>,
}

/// A health check of a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CanaryRow {
    /// Of the attempt that checked, which was no job of a run.
    pub id: JobId,
    pub device: DeviceId,
    /// When it ended.
    pub at: Timestamp,
    pub due: Due,
    /// The device's boot as the kernel names it; empty when not known.
    pub boot_id: String,
    /// See [`crate::lab::canary::fingerprint`].
    pub fingerprint: String,
    /// The system in words.
    pub rom: String,
    pub found: Found,
    #[serde(flatten)]
    pub judgement: Judgement,
}

// --- artifacts, models, datasets ---

#[derive(Debug, Clone)]
pub struct NewVariant {
    pub id: VariantId,
    /// Unique within the version: `fp32`, `int8`.
    pub name: String,
    pub format: Format,
    pub precision: Precision,
    pub manifest: Manifest,
    /// As the client read it: claimed until a device has loaded the variant.
    pub signature: Signature,
}

#[derive(Debug, Clone)]
pub struct NewModelVersion {
    pub model: ModelId,
    pub id: ModelVersionId,
    pub project: ProjectId,
    pub name: String,
    pub created_by: PrincipalId,
    pub created_at: Timestamp,
    /// Number of the version that this one was made from.
    pub parent: Option<u32>,
    pub commit: Option<String>,
    pub build_address: Option<String>,
    pub labels: Labels,
    /// Origin and licence, for the model page.
    pub origin: Option<String>,
    pub license: Option<String>,
    pub variants: Vec<NewVariant>,
    /// Bindings, each for one dataset by name or for any.
    pub bindings: Vec<NewBinding>,
}

#[derive(Debug, Clone)]
pub struct NewBinding {
    pub id: BindingId,
    /// Name of the dataset; `None` for any.
    pub dataset: Option<String>,
    pub binding: Binding,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelRow {
    pub id: ModelId,
    pub name: String,
    pub versions: u32,
    pub latest: u32,
    pub variants: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDetail {
    pub id: ModelId,
    pub name: String,
    pub versions: Vec<VersionRow>,
    /// Alias and the version it names now, by name.
    pub aliases: Vec<AliasRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRow {
    pub alias: String,
    pub version: u32,
    pub moved_at: Timestamp,
    pub moved_by: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionRow {
    pub id: ModelVersionId,
    pub number: u32,
    pub parent: Option<u32>,
    pub commit: Option<String>,
    pub build_address: Option<String>,
    pub labels: Labels,
    pub origin: Option<String>,
    pub license: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub variants: Vec<VariantRow>,
    /// Dataset name (`None` for any) and its binding.
    pub bindings: Vec<(Option<String>, Binding)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantRow {
    pub id: VariantId,
    pub name: String,
    pub format: Format,
    pub precision: Precision,
    pub manifest: Manifest,
    pub signature: Signature,
    pub standing: SignatureStanding,
}

#[derive(Debug, Clone)]
pub struct NewAgentBuild {
    pub build: AgentBuild,
    pub created_by: PrincipalId,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBuildRow {
    pub build: AgentBuild,
    /// Name of who added it.
    pub created_by: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewDatasetVersion {
    pub dataset: DatasetId,
    pub id: DatasetVersionId,
    pub project: ProjectId,
    pub name: String,
    pub created_by: PrincipalId,
    pub created_at: Timestamp,
    /// The package.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    pub task: Task,
    pub examples: u32,
    pub classes: Vec<String>,
    /// What judges the outputs when the task is custom.
    pub scorer: Option<Scorer>,
    pub origin: Option<String>,
    pub license: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetRow {
    pub id: DatasetId,
    pub name: String,
    pub versions: u32,
    pub task: Task,
    pub examples: u32,
    /// Size in bytes of the newest version.
    pub size: u64,
    pub classes: u32,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetDetail {
    pub id: DatasetId,
    pub name: String,
    pub versions: Vec<DatasetVersionRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetVersionRow {
    pub id: DatasetVersionId,
    pub number: u32,
    pub digest: Digest,
    pub size: u64,
    pub task: Task,
    pub examples: u32,
    pub classes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scorer: Option<Scorer>,
    pub origin: Option<String>,
    pub license: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
}

// --- runtimes ---

/// A package that enters a track, which is made when its name is new.
#[derive(Debug, Clone)]
pub struct NewRuntimePackage {
    pub id: RuntimePackageId,
    /// Used if the track must be made.
    pub track_id: TrackId,
    pub project: ProjectId,
    /// Unique among the tracks of the package's runtime.
    pub track: String,
    pub package: RuntimePackage,
    pub created_by: PrincipalId,
    pub created_at: Timestamp,
}

/// A named line of versions of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackRow {
    pub runtime: String,
    pub name: String,
    /// Newest first; for each ABI the first is the one that jobs get.
    pub packages: Vec<PackageRow>,
}

impl TrackRow {
    /// The package that a device of this ABI gets: the newest that was built for it, or for any.
    #[must_use]
    pub fn package_for(&self, abi: Option<Abi>) -> Option<&RuntimePackage> {
        self.packages.iter().map(|row| &row.package).find(|package| package.abi.is_none() || package.abi == abi)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRow {
    pub package: RuntimePackage,
    pub created_at: Timestamp,
    pub created_by: String,
}

// --- runs and jobs ---

#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub project: ProjectId,
    pub created_by: PrincipalId,
    pub created_at: Timestamp,
    /// Name of the suite.
    pub suite: String,
    /// The suite file as it was submitted.
    pub suite_text: String,
    /// Unique within the project, when whoever submitted has named it.
    pub submission: Option<SubmissionId>,
    /// The job that this run repeats, for a rerun.
    pub rerun_of: Option<JobId>,
    pub priority: i32,
    /// How long its jobs wait for a device that takes no work.
    pub max_wait: Duration,
    /// What lets its jobs go to reserved devices.
    pub reservation: Option<ReservationId>,
    pub jobs: Vec<NewJob>,
    pub misfits: Vec<NewMisfit>,
}

#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: JobId,
    pub device: DeviceId,
    pub variant: VariantId,
    pub dataset: Option<DatasetVersionId>,
    pub spec: JobSpec,
}

/// A combination that cannot run, with its reason: a cell of the matrix, never silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMisfit {
    pub model: String,
    pub variant: String,
    pub dataset: Option<String>,
    /// As [`crate::backend::Backend`] displays.
    pub backend: String,
    pub profile: String,
    /// `None` when the selector matched no device at all.
    pub device: Option<DeviceId>,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Running,
    Done,
    Cancelled,
}

impl RunState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    pub id: RunId,
    /// Counts from 1 within the project.
    pub number: i64,
    pub project: ProjectId,
    pub suite: String,
    pub suite_text: String,
    pub rerun_of: Option<JobId>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub state: RunState,
    pub finished_at: Option<Timestamp>,
    /// JSON of [`crate::gate::Judgement`], once the run has ended and if its suite has a gate.
    pub gate: Option<String>,
    pub gate_passed: Option<bool>,
    pub counts: RunCounts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct RunCounts {
    pub queued: u32,
    pub leased: u32,
    pub ok: u32,
    pub fallback: u32,
    pub failed: u32,
    pub cancelled: u32,
    pub quarantined: u32,
    pub misfits: u32,
    /// Ended with `ok` or `ok_fallback`, but interference made the numbers invalid.
    pub invalid: u32,
}

impl RunCounts {
    #[must_use]
    pub const fn total(&self) -> u32 {
        let Self { queued, leased, ok, fallback, failed, cancelled, quarantined, misfits: _, invalid: _ } = *self;
        queued + leased + ok + fallback + failed + cancelled + quarantined
    }

    #[must_use]
    pub const fn open(&self) -> u32 {
        self.queued + self.leased
    }
}

/// Some of the rows of a run, counted from 0 in the order of expansion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub from: u32,
    pub count: u32,
}

impl Part {
    pub const ALL: Self = Self { from: 0, count: u32::MAX };
}

/// A job with the summary of its last attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRow {
    pub id: JobId,
    pub short: String,
    pub project: ProjectId,
    pub run: RunId,
    pub run_number: i64,
    pub device: DeviceId,
    pub device_name: String,
    pub model: String,
    pub version: u32,
    pub variant: String,
    pub variant_id: VariantId,
    pub dataset: Option<String>,
    /// As [`crate::backend::Backend`] displays.
    pub backend: String,
    pub profile: String,
    pub state: JobState,
    /// Attempts so far.
    pub attempt: u32,
    /// Stage of the last attempt, while it runs or where it failed.
    pub stage: Option<Stage>,
    pub outcome: Option<Outcome>,
    /// Why it ended without a last attempt that says so, else what the last attempt says.
    pub message: Option<String>,
    /// Why it failed, by the rules of the build that judged it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why the numbers are not valid; empty when they are, or when there are none yet.
    pub invalid: Vec<Reason>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// What a job was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOrigin {
    /// JSON of [`crate::job::JobSpec`].
    pub spec: String,
    pub dataset: Option<DatasetVersionId>,
    /// Of its device, now.
    pub device_state: DeviceState,
    /// Name and text of its run's suite.
    pub suite: String,
    pub suite_text: String,
    /// As in [`NewRun`], of its run.
    pub max_wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MisfitRow {
    pub model: String,
    pub variant: String,
    pub dataset: Option<String>,
    pub backend: String,
    pub profile: String,
    pub device: Option<DeviceId>,
    pub device_name: Option<String>,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRow {
    pub attempt: u32,
    pub device: DeviceId,
    pub granted_at: Timestamp,
    pub lease_until: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub failed_stage: Option<Stage>,
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How its agent died, where it cost one its life and something is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub death: Option<Death>,
    pub invalid: Vec<Reason>,
    pub stages: Vec<StageRecord>,
}

/// What the fleet actor must know of a job that is not over.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJob {
    pub job: JobId,
    pub run: RunId,
    pub device: DeviceId,
    pub priority: i32,
    pub created_at: Timestamp,
    /// Attempts so far.
    pub attempt: u32,
    /// Attempts that ended as infrastructure's fault, and as a crash or hang.
    pub infrastructure_failures: u32,
    pub crashes: u32,
    /// Agents that died while they held it.
    pub agent_deaths: u32,
    /// How long it waits for a device that takes no work.
    pub max_wait: Duration,
    /// What its run brought.
    pub reservation: Option<ReservationId>,
    /// Somebody has asked for the end of its run.
    pub cancelled: bool,
    /// When leased: the end of the lease.
    pub leased_until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub attempt: AttemptRef,
    pub device: DeviceId,
    pub granted_at: Timestamp,
    pub lease_until: Timestamp,
}

/// A result as the server stores it: the evidence, and what was derived from it.
#[derive(Debug, Clone)]
pub struct Completion {
    pub attempt: AttemptRef,
    pub device: DeviceId,
    pub received_at: Timestamp,
    /// The report with its blocks, as it came.
    pub report: Report,
    /// How the attempt ended: as the report says, or worse by what was derived from it.
    pub outcome: Outcome,
    /// Why, for a person.
    pub message: Option<String>,
    pub failed_stage: Option<Stage>,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
    /// Stored with the result: device, backend and model have failed together twice.
    pub quarantine: Option<NewQuarantine>,
    /// Derived by `core::measure`; replaces what an earlier algorithm derived.
    pub metrics: Vec<Metric>,
    /// Why the numbers are not valid; empty when they are.
    pub invalid: Vec<Reason>,
    /// Name and version of the derivation.
    pub algorithm: String,
    /// What becomes of the job.
    pub next: JobNext,
}

/// What becomes of a job after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobNext {
    Done(Outcome),
    Queued,
    Quarantined,
}

/// An attempt that ended without a result.
#[derive(Debug, Clone)]
pub struct GiveBack {
    pub outcome: Outcome,
    pub message: String,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
    /// Where its agent died: what is known of that.
    pub death: Option<Death>,
    /// Stored with it: device, backend and model have failed together twice.
    pub quarantine: Option<NewQuarantine>,
    pub next: JobNext,
    /// What it counts as.
    pub verdict: Verdict,
    /// Whether it cost an agent its life, as one of those that a job may cost.
    pub agent_death: bool,
    pub now: Timestamp,
}

/// A failed attempt that older rules have judged, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    pub attempt: AttemptRef,
    pub outcome: Outcome,
    pub failed_stage: Option<Stage>,
    pub message: Option<String>,
    /// As [`crate::backend::Backend`] displays.
    pub backend: String,
    /// How its agent died, where something is known of that.
    pub death: Option<Death>,
}

/// A job that waits, and a quarantine that was not lifted of its device, backend and variant. Whether it is about the
/// versions that the job would have is to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    pub job: JobId,
    pub run: RunId,
    /// As [`Read::job_spec`](super::Read::job_spec) gives it.
    pub spec: String,
    pub quarantine: QuarantineId,
    pub versions: TripleVersions,
    /// Of the attempt that decided.
    pub failure: Option<Failure>,
}

/// A device, a backend and a model that fail together: no further job of them is made while all versions stay as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct NewQuarantine {
    pub id: QuarantineId,
    pub device: DeviceId,
    /// What the device and the runtime were.
    pub versions: TripleVersions,
    pub created_at: Timestamp,
}

/// As it is kept, with the names of what it is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuarantineRow {
    pub id: QuarantineId,
    pub project: ProjectId,
    pub device: DeviceId,
    pub device_name: String,
    pub variant_id: VariantId,
    pub model: String,
    pub version: u32,
    pub variant: String,
    /// As [`crate::backend::Backend`] displays.
    pub backend: String,
    pub versions: TripleVersions,
    /// Of the attempt that decided, by the rules that judged it last.
    pub failure: Option<Failure>,
    pub job: JobId,
    pub attempt: u32,
    pub created_at: Timestamp,
    pub lifted_at: Option<Timestamp>,
    /// Name of who lifted it.
    pub lifted_by: Option<String>,
}

/// What happened to a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Stored, durably.
    Stored,
    /// This attempt's result was stored before: acknowledge and ignore.
    Duplicate,
    /// The attempt no longer holds the job: refuse, and tell the device to forget it.
    Stale,
    /// There is no such job.
    Unknown,
}
