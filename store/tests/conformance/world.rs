//! What the tests need of the world: ids, devices, models, runs and reports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seatrial_core::actual::Actual;
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::dataset::{Binding, Task};
use seatrial_core::device::{Cpu, Evidence, Profile};
use seatrial_core::digest::Digest;
use seatrial_core::ids::*;
use seatrial_core::job::{AttemptRef, JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::model::{Format, Manifest, ManifestEntry, Precision, Signature};
use seatrial_core::outcome::{Exit, Outcome};
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::reading::Reading;
use seatrial_core::report::*;
use seatrial_core::role::Role;
use seatrial_core::stage::Stage;
use seatrial_core::store::*;
use seatrial_core::time::Timestamp;

/// The start of the tests' time.
pub(crate) const T0: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

pub(crate) fn after(seconds: u64) -> Timestamp {
    T0.plus(Duration::from_secs(seconds))
}

/// Counts up, so that every id of a test is another.
pub(crate) fn entropy() -> [u8; 10] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

macro_rules! fresh {
    ($kind:ty) => {
        <$kind>::new($crate::world::T0, $crate::world::entropy())
    };
}
pub(crate) use fresh;

/// A store with a project, a person, a device, a model and a dataset in it.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) project: ProjectId,
    pub(crate) person: PrincipalId,
    pub(crate) device: DeviceRow,
    pub(crate) variant: VariantId,
    pub(crate) version: ModelVersionId,
    pub(crate) dataset: DatasetVersionId,
}

pub(crate) async fn world(store: Arc<dyn Store>) -> World {
    let Bootstrap { project, principal } = store.bootstrap(&seed("mara")).await.unwrap();
    let device =
        store.attach_device(fresh!(DeviceId), &agent_id("a-1"), &profile("Xiaomi", "15"), "0.1.0", T0).await.unwrap();
    let file = artifact(&*store, b"weights").await;
    let model = new_model("mobilenet", project, principal, file);
    store.add_model_version(&model).await.unwrap();
    let package = artifact(&*store, b"images").await;
    let dataset = new_dataset("digits", project, principal, package);
    store.add_dataset_version(&dataset).await.unwrap();
    World {
        store,
        project,
        person: principal,
        device,
        variant: model.variants[0].id,
        version: model.id,
        dataset: dataset.id,
    }
}

impl World {
    pub(crate) fn job(&self) -> NewJob {
        NewJob {
            id: fresh!(JobId),
            device: self.device.id,
            variant: self.variant,
            dataset: Some(self.dataset),
            spec: spec(),
        }
    }

    pub(crate) fn run(&self, jobs: Vec<NewJob>) -> NewRun {
        NewRun {
            id: fresh!(RunId),
            project: self.project,
            created_by: self.person,
            created_at: T0,
            suite: "nightly".to_owned(),
            suite_text: "name = \"nightly\"".to_owned(),
            submission: None,
            rerun_of: None,
            priority: 0,
            max_wait: Duration::from_mins(90),
            reservation: None,
            jobs,
            misfits: Vec::new(),
        }
    }

    /// A run of `count` jobs.
    pub(crate) async fn run_of(&self, count: usize) -> (RunId, Vec<JobId>) {
        let run = self.run((0..count).map(|_| self.job()).collect());
        self.store.create_run(&run).await.unwrap();
        (run.id, run.jobs.iter().map(|job| job.id).collect())
    }

    pub(crate) fn claim_of(&self, job: JobId, attempt: u32) -> Claim {
        Claim {
            attempt: AttemptRef { job, attempt },
            device: self.device.id,
            granted_at: after(1),
            lease_until: after(16),
        }
    }

    pub(crate) async fn claim(&self, job: JobId, attempt: u32) -> AttemptRef {
        let claim = self.claim_of(job, attempt);
        assert_eq!(claimed(&*self.store, &[claim]).await, [true], "{} is claimed", claim.attempt);
        claim.attempt
    }

    pub(crate) fn completion(&self, attempt: AttemptRef, outcome: Outcome) -> Completion {
        let report = report(outcome);
        Completion {
            attempt,
            device: self.device.id,
            received_at: after(60),
            outcome,
            message: report.message.clone(),
            failed_stage: report.failed_stage,
            failure: None,
            quarantine: None,
            report,
            metrics: vec![
                Metric::new("lat_p50_ms", Reading::Present(Estimate { value: 7.25, interval: Some((7.0, 7.5)) })),
                Metric::exact("lat_samples", 3.0),
                Metric::absent("top1", "the job has no dataset"),
            ],
            invalid: Vec::new(),
            algorithm: "measure-1".to_owned(),
            next: JobNext::Done(outcome),
        }
    }
}

pub(crate) fn seed(user: &str) -> BootstrapSeed {
    BootstrapSeed { project: fresh!(ProjectId), principal: fresh!(PrincipalId), user: user.to_owned(), now: T0 }
}

pub(crate) fn token(project: ProjectId, name: &str, secret: &[u8]) -> NewToken {
    NewToken {
        id: fresh!(TokenId),
        principal: fresh!(PrincipalId),
        project,
        name: name.to_owned(),
        role: Role::Submitter,
        hash: Digest::of(secret),
        device: None,
        created_at: T0,
        expires_at: Some(after(3600)),
    }
}

pub(crate) fn agent_id(text: &str) -> Evidence {
    Evidence { agent_id: Some(text.to_owned()), ..Evidence::default() }
}

pub(crate) fn profile(brand: &str, product: &str) -> Profile {
    Profile {
        brand: Reading::Present(brand.to_owned()),
        product: Reading::Present(product.to_owned()),
        os: Reading::Present("HyperOS 2.0.112".to_owned()),
        kernel: Reading::absent("denied by the kernel"),
        hostname: Reading::absent("not told"),
        soc: Reading::Present("SM8750".to_owned()),
        cpu: Cpu {
            model: Reading::absent("not in /proc/cpuinfo"),
            architecture: "aarch64".to_owned(),
            count: Reading::Present(8),
            clusters: Vec::new(),
            features: Reading::Present(vec!["asimddp".to_owned()]),
        },
        gpu: Reading::absent("no library"),
        gpu_driver: Reading::absent("no library"),
        memory_bytes: Reading::Present(12 << 30),
        abi: "arm64-v8a".to_owned(),
        android_api: Reading::Present(35),
        sensors: Vec::new(),
        absent_sensors: BTreeMap::new(),
        runtimes: Vec::new(),
        engines: Vec::new(),
        packages: Vec::new(),
        interpreters: BTreeMap::new(),
        findings: None,
        battery: None,
        simulated: false,
    }
}

pub(crate) async fn artifact(store: &dyn Store, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    store.put_artifact(&digest, bytes.len() as u64, T0).await.unwrap();
    digest
}

pub(crate) fn new_model(name: &str, project: ProjectId, person: PrincipalId, file: Digest) -> NewModelVersion {
    NewModelVersion {
        model: fresh!(ModelId),
        id: fresh!(ModelVersionId),
        project,
        name: name.to_owned(),
        created_by: person,
        created_at: T0,
        parent: None,
        commit: Some("4f1c2ab".to_owned()),
        build_address: None,
        labels: BTreeMap::from([("branch".to_owned(), "main".to_owned())]),
        origin: Some("trained here".to_owned()),
        license: Some("Apache-2.0".to_owned()),
        variants: vec![new_variant("fp32", file)],
        bindings: Vec::new(),
    }
}

pub(crate) fn new_variant(name: &str, file: Digest) -> NewVariant {
    NewVariant {
        id: fresh!(VariantId),
        name: name.to_owned(),
        format: Format::Onnx,
        precision: Precision::Fp32,
        manifest: Manifest {
            entries: vec![ManifestEntry {
                role: "model".to_owned(),
                digest: file,
                size: 7,
                file_name: "model.onnx".to_owned(),
            }],
        },
        signature: Signature::default(),
    }
}

pub(crate) fn new_dataset(name: &str, project: ProjectId, person: PrincipalId, digest: Digest) -> NewDatasetVersion {
    NewDatasetVersion {
        dataset: fresh!(DatasetId),
        id: fresh!(DatasetVersionId),
        project,
        name: name.to_owned(),
        created_by: person,
        created_at: T0,
        digest,
        size: 6,
        task: Task::Classification,
        examples: 360,
        classes: (0..10).map(|class| class.to_string()).collect(),
        scorer: None,
        origin: None,
        license: Some("CC-BY-4.0".to_owned()),
    }
}

pub(crate) fn spec() -> JobSpec {
    JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: "mobilenet".to_owned(),
            version: 1,
            variant: "fp32".to_owned(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: Manifest::default(),
            signature: Signature::default(),
        },
        binding: Binding::default(),
        dataset: None,
        package: None,
        backend: Backend {
            runtime: "tract".to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 2,
            affinity: Affinity::Any,
            precision: None,
        },
        profile: MeasurementProfile::of(ProfileKind::Quick),
        limits: Limits::default(),
        seed: u64::MAX,
    }
}

pub(crate) fn report(outcome: Outcome) -> Report {
    Report {
        schema: REPORT_SCHEMA,
        outcome,
        message: Some("a line with a zero\0in it".to_owned()),
        failed_stage: (outcome != Outcome::Ok).then_some(Stage::Measure),
        stages: vec![
            StageRecord {
                stage: Stage::Fetch,
                process: None,
                start_us: 0,
                duration_us: Some(1500),
                note: Some("cache hit".to_owned()),
            },
            StageRecord { stage: Stage::Measure, process: Some(0), start_us: 1500, duration_us: None, note: None },
        ],
        processes: vec![ProcessRecord {
            index: 0,
            role: ProcessRole::Latency,
            exit: Exit::Code(0),
            sentinel: true,
            load_reads: None,
            opened: None,
            compile_ms: None,
            load_ms: Some(12.5),
            first_infer_ms: Some(9.0),
            thinned: None,
            program: None,
            warmup_iterations: Some(5),
            window: None,
        }],
        blocks: vec![
            Block { metric: BlockKind::LatencyNs, process: 0, count: 3, bytes: vec![0, 1, 2, 255] },
            Block { metric: BlockKind::StartUs, process: 0, count: 0, bytes: Vec::new() },
            Block { metric: BlockKind::Labels, process: 1, count: 2, bytes: vec![9, 8] },
            Block { metric: BlockKind::Truth, process: 1, count: 1, bytes: vec![7] },
            Block { metric: BlockKind::Answers, process: 1, count: 1, bytes: vec![6, 5] },
        ],
        sensors: Vec::new(),
        environment: Environment {
            agent_version: "0.1.0".to_owned(),
            runtime_version: "tract 0.23".to_owned(),
            os: Reading::absent("not read"),
            kernel: Reading::Present("6.1".to_owned()),
            governor: Reading::Present("schedutil".to_owned()),
            launch: "process".to_owned(),
            facts: BTreeMap::from([("uptime_s".to_owned(), "4711".to_owned())]),
        },
        actual: Actual {
            accelerator: Reading::Present("cpu".to_owned()),
            provider: Reading::absent("not told"),
            device: Reading::absent("not told"),
            delegated: Reading::absent("not asked for"),
            rest: Vec::new(),
            precision: Reading::Present("fp32".to_owned()),
            threads: Reading::Present(2),
            affinity: Reading::Present(vec![0, 1]),
            fallback: None,
            signature: None,
            loaded: vec![Digest::of(b"weights")],
        },
        golden: Vec::new(),
        figures: Vec::new(),
        determinism: Reading::Present(true),
        operators: Reading::absent("not asked"),
        energy: None,
        memory: Reading::Present(Memory { base_kib: 10, peak_kib: Some(30), retained_kib: 12, pss_kib: None }),
        log: "日志 \0 log".to_owned(),
        system_log: String::new(),
        bounds_hit: vec!["output cut at 262144 bytes".to_owned()],
    }
}

/// Which of the claims were first.
pub(crate) async fn claimed(store: &dyn Store, claims: &[Claim]) -> Vec<bool> {
    store.claim(claims).await.unwrap().iter().map(Option::is_some).collect()
}

/// Runs that wait for their end, by id.
pub(crate) async fn to_finish(store: &dyn Store) -> Vec<RunId> {
    store.runs_to_finish().await.unwrap().iter().map(|run| run.id).collect()
}
