//! A store that fails where a test tells it to: before a call is made, or after it was made and before its answer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use seatrial_core::dataset::Binding;
use seatrial_core::device::{DeviceState, Evidence, Labels, Profile};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{
    AuditId, DatasetVersionId, DeviceId, JobId, ModelVersionId, PrincipalId, ProjectId, QuarantineId, ReservationId,
    RunId, SubmissionId, TokenId, VariantId,
};
use seatrial_core::job::AttemptRef;
use seatrial_core::metric::Metric;
use seatrial_core::model::{Signature, SignatureStanding};
use seatrial_core::report::Block;
use seatrial_core::stage::Stage;
use seatrial_core::store::*;
use seatrial_core::time::Timestamp;

/// What a planned failure says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Says {
    Unavailable,
    Full,
    /// Trying again will not help.
    Corrupt,
}

/// When it happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fails {
    /// Nothing was done.
    Before(Says),
    /// It was done, and the answer is lost.
    After(Says),
}

pub(crate) struct Failing {
    inner: Arc<dyn Store>,
    plan: Mutex<HashMap<&'static str, VecDeque<Fails>>>,
    calls: Mutex<BTreeMap<&'static str, u32>>,
}

impl Failing {
    pub(crate) fn around(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, plan: Mutex::default(), calls: Mutex::default() })
    }

    /// The next `times` calls of a verb fail.
    pub(crate) fn plan(&self, verb: &'static str, fails: Fails, times: usize) {
        self.plan.lock().unwrap().entry(verb).or_default().extend(std::iter::repeat_n(fails, times));
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        self.plan.lock().unwrap().clear();
    }

    /// How often a verb was called.
    pub(crate) fn calls(&self, verb: &str) -> u32 {
        self.calls.lock().unwrap().get(verb).copied().unwrap_or(0)
    }

    fn next(&self, verb: &'static str) -> Option<Fails> {
        *self.calls.lock().unwrap().entry(verb).or_default() += 1;
        self.plan.lock().unwrap().get_mut(verb)?.pop_front()
    }
}

impl Says {
    fn error(self, doing: &'static str) -> StoreError {
        let source = || "the test says so".into();
        match self {
            Self::Unavailable => StoreError::Unavailable { doing, source: source() },
            Self::Full => StoreError::Full { doing, source: source() },
            Self::Corrupt => StoreError::Corrupt { what: doing.to_owned(), why: "the test says so".to_owned() },
        }
    }
}

macro_rules! failing {
    ($trait:ident { $($verb:ident($($name:ident: $type:ty),*) -> $answer:ty;)* } $($more:tt)*) => {
        #[async_trait]
        impl $trait for Failing {
            $(async fn $verb(&self, $($name: $type),*) -> Result<$answer> {
                let planned = self.next(stringify!($verb));
                if let Some(Fails::Before(says)) = planned {
                    return Err(says.error(stringify!($verb)));
                }
                let answer = self.inner.$verb($($name),*).await?;
                match planned {
                    Some(Fails::After(says)) => Err(says.error(stringify!($verb))),
                    Some(Fails::Before(_)) | None => Ok(answer),
                }
            })*
            $($more)*
        }
    };
}

failing!(Read {
    ping() -> ();
    devices() -> Vec<DeviceRow>;
    device(id: DeviceId) -> Option<DeviceRow>;
    device_transitions(id: DeviceId, limit: u32) -> Vec<TransitionRow>;
    device_service(id: DeviceId) -> ServiceRow;
    services() -> Vec<ServiceRow>;
    canaries(device: DeviceId, limit: u32) -> Vec<CanaryRow>;
    last_canaries() -> Vec<CanaryRow>;
    last_jobs() -> Vec<JobRow>;
    models(project: ProjectId) -> Vec<ModelRow>;
    model(project: ProjectId, name: &str) -> Option<ModelDetail>;
    datasets(project: ProjectId) -> Vec<DatasetRow>;
    dataset(project: ProjectId, name: &str) -> Option<DatasetDetail>;
    tracks(project: ProjectId) -> Vec<TrackRow>;
    runs(project: ProjectId, before: Option<i64>, limit: u32) -> Vec<RunRow>;
    run(id: RunId) -> Option<RunRow>;
    run_by_number(project: ProjectId, number: i64) -> Option<RunRow>;
    jobs_part(run: RunId, part: Part) -> Vec<JobRow>;
    misfits_part(run: RunId, part: Part) -> Vec<MisfitRow>;
    job(id: JobId) -> Option<JobRow>;
    jobs_by_short_id(short: &str) -> Vec<JobRow>;
    job_spec(id: JobId) -> Option<String>;
    attempts(job: JobId) -> Vec<AttemptRow>;
    report(attempt: AttemptRef) -> Option<String>;
    blocks(attempt: AttemptRef) -> Vec<Block>;
    metrics(attempt: AttemptRef) -> Vec<Metric>;
    run_metrics_part(run: RunId, part: Part) -> Vec<(JobId, Metric)>;
    run_metrics_named(run: RunId, names: &[&str]) -> Vec<(JobId, Metric)>;
    quarantines(project: ProjectId, lifted: bool, limit: u32) -> Vec<QuarantineRow>;
    device_jobs(device: DeviceId, limit: u32) -> Vec<JobRow>;
    model_jobs(project: ProjectId, model: &str, limit: u32) -> Vec<JobRow>;
    audit(project: ProjectId, before: Option<AuditId>, limit: u32) -> Vec<AuditEntry>;
});

failing!(Store {
    bootstrap(seed: &BootstrapSeed) -> Bootstrap;
    create_token(token: &NewToken) -> ();
    token_by_hash(hash: &Digest) -> Option<TokenRow>;
    tokens() -> Vec<TokenRow>;
    revoke_token(id: TokenId, now: Timestamp) -> bool;
    has_people(now: Timestamp) -> bool;
    knows_people() -> bool;
    create_enrolment(enrolment: &NewEnrolment) -> ();
    use_enrolment(hash: &Digest, token: &NewToken, now: Timestamp) -> bool;
    bind_token(token: TokenId, device: DeviceId) -> bool;
    append_audit(entries: &[AuditRow]) -> ();
    attach_device(fresh: DeviceId, evidence: &Evidence, profile: &Profile, agent_version: &str, now: Timestamp)
        -> DeviceRow;
    device_by_evidence(evidence: &Evidence) -> Option<DeviceRow>;
    keep_raw_evidence(id: DeviceId, document: &[u8]) -> ();
    raw_evidence(id: DeviceId) -> Option<Vec<u8>>;
    set_device_profile(id: DeviceId, profile: &Profile) -> bool;
    touch_devices(devices: &[DeviceId], now: Timestamp) -> ();
    set_device_state(id: DeviceId, from: DeviceState, to: DeviceState, reason: &str, now: Timestamp) -> bool;
    services_due(now: Timestamp) -> Vec<ServiceRow>;
    add_canary(canary: &CanaryRow) -> ();
    decide(changes: &[ServiceChange]) -> bool;
    reserve(reservation: &NewReservation, changes: &[ServiceChange]) -> bool;
    reservations(now: Timestamp) -> Vec<ReservationRow>;
    reservation_by_hash(hash: &Digest, now: Timestamp) -> Option<ReservationId>;
    reserved_devices(id: ReservationId) -> Vec<ServiceRow>;
    end_reservation(id: ReservationId, changes: &[ServiceChange], now: Timestamp) -> bool;
    set_device_labels(id: DeviceId, labels: &Labels) -> bool;
    rename_device(id: DeviceId, name: &str) -> bool;
    put_artifact(digest: &Digest, size: u64, now: Timestamp) -> ();
    artifacts_present(digests: &[Digest]) -> Vec<Digest>;
    artifact_size(digest: &Digest) -> Option<u64>;
    unreferenced_artifacts(before: Timestamp, limit: u32) -> Vec<(Digest, u64)>;
    forget_artifact(digest: &Digest) -> bool;
    add_model_version(version: &NewModelVersion) -> u32;
    move_alias(project: ProjectId, model: &str, alias: &str, version: u32, by: PrincipalId, now: Timestamp) -> bool;
    settle_signature(variant: VariantId, standing: SignatureStanding, found: Option<&Signature>) -> bool;
    add_runtime_package(package: &NewRuntimePackage) -> bool;
    add_dataset_version(version: &NewDatasetVersion) -> u32;
    add_agent_build(build: &NewAgentBuild) -> bool;
    agent_builds() -> Vec<AgentBuildRow>;
    is_newest_agent(digest: &Digest) -> bool;
    binding(version: ModelVersionId, dataset: Option<DatasetVersionId>) -> Option<Binding>;
    create_run(run: &NewRun) -> i64;
    run_by_submission(project: ProjectId, submission: SubmissionId) -> Option<RunRow>;
    job_origin(id: JobId) -> Option<JobOrigin>;
    open_jobs() -> Vec<OpenJob>;
    claim(claims: &[Claim]) -> Vec<Option<String>>;
    enter_stage(attempt: AttemptRef, stage: Stage, lease_until: Timestamp) -> bool;
    complete(completion: &Completion) -> Accepted;
    give_back(attempt: AttemptRef, give_back: &GiveBack) -> bool;
    unjudged(rules: u32, limit: u32) -> Vec<Unjudged>;
    set_failures(rules: u32, judged: &[(AttemptRef, Option<Failure>)]) -> ();
    lift_quarantine(project: ProjectId, id: QuarantineId, by: PrincipalId, now: Timestamp) -> bool;
    suspects(device: DeviceId, limit: u32) -> Vec<Suspect>;
    set_aside(jobs: &[(JobId, String)], now: Timestamp) -> Vec<JobId>;
    give_up(after: AttemptRef, reason: &str, now: Timestamp) -> bool;
    cancel_run(run: RunId, now: Timestamp) -> Vec<(AttemptRef, DeviceId)>;
    finish_run(run: RunId, gate: Option<&str>, passed: Option<bool>, now: Timestamp) -> bool;
    runs_to_finish() -> Vec<RunRow>;
    take_lease(name: &str, holder: &str, now: Timestamp, until: Timestamp) -> bool;
}
    async fn taken_over(&self) {
        self.inner.taken_over().await;
    }
);
