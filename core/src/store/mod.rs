//! What the server keeps, as domain verbs. One implementation per database, one conformance suite for both.
//!
//! Every change of status is compare-and-set: a verb that may find that somebody else was first says so in its
//! return type. Absence is not an error until a caller says so, hence `Result<Option<T>>`. Writers of many rows take
//! slices, since one statement a row is the slowest way to fill a database.

mod rows;

pub use rows::*;

use async_trait::async_trait;

use crate::device::{DeviceState, Evidence, Labels, Profile};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::ids::{
    AuditId, DatasetVersionId, DeviceId, JobId, ModelVersionId, PrincipalId, ProjectId, QuarantineId, ReservationId,
    RunId, SubmissionId, TokenId, VariantId,
};
use crate::job::AttemptRef;
use crate::metric::Metric;
use crate::model::{Signature, SignatureStanding};
use crate::time::Timestamp;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer, is locked, or broke the connection. Trying again may help.
    #[error("the database is not available while {doing}")]
    Unavailable { doing: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// Another server is the active one on this database. Trying again helps once that one has ended.
    #[error("another server is active on this database ({holder})")]
    Held { holder: String },
    /// The disk or the database is full. Reads go on.
    #[error("the database has no room left while {doing}")]
    Full { doing: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// The write contradicts what is stored: a name taken, a reference to nothing.
    #[error("{what}")]
    Conflict { what: String },
    /// What is stored cannot be read back: a fault of ours, or damage.
    #[error("stored {what} cannot be read: {why}")]
    Corrupt { what: String, why: String },
    /// The schema in the database is newer than this build, or a migration failed.
    #[error("the schema of the database does not fit this build: {0}")]
    Schema(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } | Self::Held { .. } => true,
            Self::Conflict { .. } | Self::Corrupt { .. } | Self::Schema(_) => false,
        }
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// Builds of the agent that are kept of each ABI: what devices are served, and what an operator may go back to.
pub const AGENT_BUILDS: u32 = 10;

/// What pages and exports read. Dashboards see this and nothing else.
#[async_trait]
pub trait Read: Send + Sync {
    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;

    async fn devices(&self) -> Result<Vec<DeviceRow>>;
    async fn device(&self, id: DeviceId) -> Result<Option<DeviceRow>>;
    /// Newest first.
    async fn device_transitions(&self, id: DeviceId, limit: u32) -> Result<Vec<TransitionRow>>;
    /// What was decided of a device last; a row of revision 0 while there was nothing.
    async fn device_service(&self, id: DeviceId) -> Result<ServiceRow>;
    /// The same of every device of which something was.
    async fn services(&self) -> Result<Vec<ServiceRow>>;
    /// The health checks of a device, newest first.
    async fn canaries(&self, device: DeviceId, limit: u32) -> Result<Vec<CanaryRow>>;
    /// The last one of every device that had one.
    async fn last_canaries(&self) -> Result<Vec<CanaryRow>>;
    /// The last finished job of every device that has one.
    async fn last_jobs(&self) -> Result<Vec<JobRow>>;

    async fn models(&self, project: ProjectId) -> Result<Vec<ModelRow>>;
    /// Versions newest first, each with its variants.
    async fn model(&self, project: ProjectId, name: &str) -> Result<Option<ModelDetail>>;
    async fn datasets(&self, project: ProjectId) -> Result<Vec<DatasetRow>>;
    /// Versions newest first.
    async fn dataset(&self, project: ProjectId, name: &str) -> Result<Option<DatasetDetail>>;
    /// By runtime and name, each with its packages.
    async fn tracks(&self, project: ProjectId) -> Result<Vec<TrackRow>>;

    /// Newest first; `before` is the number of the last run of the page before.
    async fn runs(&self, project: ProjectId, before: Option<i64>, limit: u32) -> Result<Vec<RunRow>>;
    async fn run(&self, id: RunId) -> Result<Option<RunRow>>;
    async fn run_by_number(&self, project: ProjectId, number: i64) -> Result<Option<RunRow>>;
    /// Jobs of a run with the summary of their last attempts, in the order of expansion.
    async fn jobs_part(&self, run: RunId, part: Part) -> Result<Vec<JobRow>>;
    async fn jobs(&self, run: RunId) -> Result<Vec<JobRow>> {
        self.jobs_part(run, Part::ALL).await
    }
    async fn misfits_part(&self, run: RunId, part: Part) -> Result<Vec<MisfitRow>>;
    async fn misfits(&self, run: RunId) -> Result<Vec<MisfitRow>> {
        self.misfits_part(run, Part::ALL).await
    }
    async fn job(&self, id: JobId) -> Result<Option<JobRow>>;
    /// Jobs whose short id is `short`; more than one is possible and then the caller must ask for more digits.
    async fn jobs_by_short_id(&self, short: &str) -> Result<Vec<JobRow>>;
    /// The specification that was sent, as JSON of [`crate::job::JobSpec`].
    async fn job_spec(&self, id: JobId) -> Result<Option<String>>;
    /// Oldest first.
    async fn attempts(&self, job: JobId) -> Result<Vec<AttemptRow>>;
    /// The report document without its blocks, as JSON of [`crate::report::Report`].
    async fn report(&self, attempt: AttemptRef) -> Result<Option<String>>;
    async fn blocks(&self, attempt: AttemptRef) -> Result<Vec<crate::report::Block>>;
    async fn metrics(&self, attempt: AttemptRef) -> Result<Vec<Metric>>;
    /// Metrics of the last attempts of jobs of a run, in one read.
    async fn run_metrics_part(&self, run: RunId, part: Part) -> Result<Vec<(JobId, Metric)>>;
    async fn run_metrics(&self, run: RunId) -> Result<Vec<(JobId, Metric)>> {
        self.run_metrics_part(run, Part::ALL).await
    }
    /// Those of these metrics that the last attempts of a run's jobs have: what a table shows of many jobs is little of
    /// what each of them has.
    async fn run_metrics_named(&self, run: RunId, names: &[&str]) -> Result<Vec<(JobId, Metric)>>;
    /// The last finished jobs of a device, newest first.
    async fn device_jobs(&self, device: DeviceId, limit: u32) -> Result<Vec<JobRow>>;
    /// Quarantines of device, backend and model, newest first; lifted ones only when asked for.
    async fn quarantines(&self, project: ProjectId, lifted: bool, limit: u32) -> Result<Vec<QuarantineRow>>;
    /// The last finished jobs of a model, newest first.
    async fn model_jobs(&self, project: ProjectId, model: &str, limit: u32) -> Result<Vec<JobRow>>;

    /// Newest first; `before` is the last entry of the page before.
    async fn audit(&self, project: ProjectId, before: Option<AuditId>, limit: u32) -> Result<Vec<AuditEntry>>;
}

/// Everything else that the server does to its database.
#[async_trait]
pub trait Store: Read {
    // --- people and doors ---

    /// The default project and the principal of the operating system's user; made when missing.
    async fn bootstrap(&self, seed: &BootstrapSeed) -> Result<Bootstrap>;
    async fn create_token(&self, token: &NewToken) -> Result<()>;
    /// The token with this hash, expired and revoked ones included: the caller judges.
    async fn token_by_hash(&self, hash: &Digest) -> Result<Option<TokenRow>>;
    async fn tokens(&self) -> Result<Vec<TokenRow>>;
    /// False when there is no such token or it was revoked already.
    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<bool>;
    /// Whether a token is in force at `now` that is not a device's: somebody can still get in.
    async fn has_people(&self, now: Timestamp) -> Result<bool>;
    /// Whether a token was ever made for a person, expired and revoked ones included: that ends the loopback rule.
    async fn knows_people(&self) -> Result<bool>;
    async fn create_enrolment(&self, enrolment: &NewEnrolment) -> Result<()>;
    /// Uses a one-time enrolment and stores the device's own token, both or neither. False when the enrolment does not
    /// exist, has expired or was used: of a hundred callers exactly one gets true.
    async fn use_enrolment(&self, hash: &Digest, token: &NewToken, now: Timestamp) -> Result<bool>;
    /// Binds a device's own token to the device as which it first attached. True when the token is this device's, from
    /// now on or since before; false when it is another's.
    async fn bind_token(&self, token: TokenId, device: DeviceId) -> Result<bool>;
    async fn append_audit(&self, entries: &[AuditRow]) -> Result<()>;

    // --- devices ---

    /// Finds the device by its evidence or makes it, and stores what was probed. `fresh` is the id if it is new.
    async fn attach_device(
        &self,
        fresh: DeviceId,
        evidence: &Evidence,
        profile: &Profile,
        agent_version: &str,
        now: Timestamp,
    ) -> Result<DeviceRow>;
    /// The device that [`Store::attach_device`] would find; nothing is changed.
    async fn device_by_evidence(&self, evidence: &Evidence) -> Result<Option<DeviceRow>>;
    /// Keeps what the profile was read from, as zstd JSON of [`crate::profile::RawEvidence`], in place of what was kept.
    async fn keep_raw_evidence(&self, id: DeviceId, document: &[u8]) -> Result<()>;
    async fn raw_evidence(&self, id: DeviceId) -> Result<Option<Vec<u8>>>;
    /// Stores what was read again. False when there is no such device.
    async fn set_device_profile(&self, id: DeviceId, profile: &Profile) -> Result<bool>;
    /// Marks many devices as seen, in one statement.
    async fn touch_devices(&self, devices: &[DeviceId], now: Timestamp) -> Result<()>;
    /// Compare-and-set with a logged reason. False when the state was not `from`.
    async fn set_device_state(
        &self,
        id: DeviceId,
        from: DeviceState,
        to: DeviceState,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool>;
    /// Devices whose service is to be looked at by now, as it changes with time.
    async fn services_due(&self, now: Timestamp) -> Result<Vec<ServiceRow>>;
    /// Stores decisions with the states that follow from them, and logs them; all or nothing. False when one of them
    /// was not made from the last decision about its device.
    async fn decide(&self, changes: &[ServiceChange]) -> Result<bool>;
    /// Stores a reservation with the decisions that give it its devices; all or nothing, like [`Store::decide`].
    async fn reserve(&self, reservation: &NewReservation, changes: &[ServiceChange]) -> Result<bool>;
    /// Those that last beyond `now` and were not ended, oldest first.
    async fn reservations(&self, now: Timestamp) -> Result<Vec<ReservationRow>>;
    /// The one of this token that lasts beyond `now` and was not ended.
    async fn reservation_by_hash(&self, hash: &Digest, now: Timestamp) -> Result<Option<ReservationId>>;
    /// The devices that a reservation has.
    async fn reserved_devices(&self, id: ReservationId) -> Result<Vec<ServiceRow>>;
    /// Ends a reservation with the decisions that take its devices back; like [`Store::decide`].
    async fn end_reservation(&self, id: ReservationId, changes: &[ServiceChange], now: Timestamp) -> Result<bool>;
    /// Stores a health check, once, and forgets all but the newest [`KEPT`](crate::lab::canary::KEPT) of its device.
    async fn add_canary(&self, canary: &CanaryRow) -> Result<()>;
    /// Replaces the labels. False when there is no such device.
    async fn set_device_labels(&self, id: DeviceId, labels: &Labels) -> Result<bool>;
    /// False when there is no such device. A name in use by another device is a conflict.
    async fn rename_device(&self, id: DeviceId, name: &str) -> Result<bool>;

    // --- artifacts, models, datasets ---

    /// Records an artifact whose bytes are in place. Recording it again is not an error.
    async fn put_artifact(&self, digest: &Digest, size: u64, now: Timestamp) -> Result<()>;
    /// Which of these are recorded.
    async fn artifacts_present(&self, digests: &[Digest]) -> Result<Vec<Digest>>;
    async fn artifact_size(&self, digest: &Digest) -> Result<Option<u64>>;
    /// Recorded before `before` and held by nothing: no variant, dataset version, runtime package, agent build or
    /// unfinished job.
    async fn unreferenced_artifacts(&self, before: Timestamp, limit: u32) -> Result<Vec<(Digest, u64)>>;
    /// Forgets an artifact, unless something has come to hold it. True when forgotten: only then may its bytes go.
    async fn forget_artifact(&self, digest: &Digest) -> Result<bool>;
    /// A new version of a model (made when its name is new) with its variants; moves the alias `latest`.
    /// Returns the number of the version.
    async fn add_model_version(&self, version: &NewModelVersion) -> Result<u32>;
    /// Points an alias at a version, keeping the move. False when the model or the version does not exist.
    async fn move_alias(
        &self,
        project: ProjectId,
        model: &str,
        alias: &str,
        version: u32,
        by: PrincipalId,
        now: Timestamp,
    ) -> Result<bool>;
    /// What a device found when it first loaded the variant. Only a claimed signature can change its standing.
    async fn settle_signature(
        &self,
        variant: VariantId,
        standing: SignatureStanding,
        found: Option<&Signature>,
    ) -> Result<bool>;
    /// Puts a package at the head of its track. False when the newest of the track for this ABI has the same files.
    async fn add_runtime_package(&self, package: &NewRuntimePackage) -> Result<bool>;
    async fn add_dataset_version(&self, version: &NewDatasetVersion) -> Result<u32>;
    /// Makes a build of the agent the newest of its ABI, and forgets the oldest when there are more than
    /// [`AGENT_BUILDS`] of it. False when it is the newest already: nothing is stored then.
    async fn add_agent_build(&self, build: &NewAgentBuild) -> Result<bool>;
    /// Those of one ABI together, newest first.
    async fn agent_builds(&self) -> Result<Vec<AgentBuildRow>>;
    /// Whether these bytes are the newest build of an ABI, which every device may have.
    async fn is_newest_agent(&self, digest: &Digest) -> Result<bool>;
    /// The binding of a model version for a dataset, or for any dataset.
    async fn binding(
        &self,
        version: ModelVersionId,
        dataset: Option<DatasetVersionId>,
    ) -> Result<Option<crate::dataset::Binding>>;

    // --- runs and jobs ---

    /// Stores a run with its jobs and misfits, all or nothing. Returns the run's number within its project. A submission
    /// that has its run already is a conflict.
    async fn create_run(&self, run: &NewRun) -> Result<i64>;
    async fn run_by_submission(&self, project: ProjectId, submission: SubmissionId) -> Result<Option<RunRow>>;
    /// What is needed to do a job again.
    async fn job_origin(&self, id: JobId) -> Result<Option<JobOrigin>>;
    /// Jobs that are queued or leased, oldest first: what the fleet actor starts from.
    async fn open_jobs(&self) -> Result<Vec<OpenJob>>;
    /// `queued → leased` for many jobs, each on its own: entry `i` is the specification of claim `i`'s job, as
    /// [`Read::job_spec`] gives it, if the claim was first.
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<String>>>;
    /// Notes the stage that an attempt has entered and moves the end of its lease, if it still holds its job.
    async fn enter_stage(
        &self,
        attempt: AttemptRef,
        stage: crate::stage::Stage,
        lease_until: Timestamp,
    ) -> Result<bool>;
    /// Stores an attempt's result with everything derived from it, if the attempt still holds its job.
    async fn complete(&self, completion: &Completion) -> Result<Accepted>;
    /// `leased → queued` (or `→ done`, or `→ quarantined`) without a result, if the attempt still holds its job.
    async fn give_back(&self, attempt: AttemptRef, give_back: &GiveBack) -> Result<bool>;
    /// Failed attempts that rules older than this version have judged, or none, in a fixed order.
    async fn unjudged(&self, rules: u32, limit: u32) -> Result<Vec<Unjudged>>;
    /// Stores what rules of this version say of ended attempts; nothing else of them changes.
    async fn set_failures(&self, rules: u32, judged: &[(AttemptRef, Option<Failure>)]) -> Result<()>;
    /// Ends a quarantine. False when there is none, or it was lifted already.
    async fn lift_quarantine(
        &self,
        project: ProjectId,
        id: QuarantineId,
        by: PrincipalId,
        now: Timestamp,
    ) -> Result<bool>;
    /// Jobs of a device that wait and are of a device, backend and variant in quarantine: the oldest, at most so many.
    async fn suspects(&self, device: DeviceId, limit: u32) -> Result<Vec<Suspect>>;
    /// `queued → quarantined` for jobs that have not begun, each with its reason: those that were still queued.
    async fn set_aside(&self, jobs: &[(JobId, String)], now: Timestamp) -> Result<Vec<JobId>>;
    /// `queued → done` as [`device_lost`](crate::outcome::Outcome::DeviceLost), for a job whose device does not come: if
    /// the job still waits after this attempt (0 before its first).
    async fn give_up(&self, after: AttemptRef, reason: &str, now: Timestamp) -> Result<bool>;
    /// Ends every queued job of a run as cancelled and returns the attempts that still hold one.
    async fn cancel_run(&self, run: RunId, now: Timestamp) -> Result<Vec<(AttemptRef, DeviceId)>>;
    /// `running → done` (or `cancelled`) when no job of the run is open. The gate's judgement is stored with it.
    async fn finish_run(&self, run: RunId, gate: Option<&str>, passed: Option<bool>, now: Timestamp) -> Result<bool>;
    /// Runs that are still `running` though none of their jobs is open.
    async fn runs_to_finish(&self) -> Result<Vec<RunRow>>;

    /// Resolves when another server has become the active one on this database, and every write of this one fails.
    async fn taken_over(&self);

    /// Takes or renews a named lease of a reconciler, so that one replica does the work. False when another holds it.
    async fn take_lease(&self, name: &str, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool>;
}
