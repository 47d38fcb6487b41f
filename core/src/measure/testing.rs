//! Reports and specifications for tests.

use std::collections::BTreeMap;

use crate::actual::Actual;
use crate::backend::{Accelerator, Affinity, Backend};
use crate::block;
use crate::dataset::{Binding, Task};
use crate::digest::Digest;
use crate::job::{DatasetRef, JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use crate::model::{Axis, Format, Manifest, ManifestEntry, Precision, Signature, TensorSpec};
use crate::outcome::{Exit, Outcome};
use crate::profile::{MeasurementProfile, ProfileKind};
use crate::reading::Reading;
use crate::report::{Block, BlockKind, Environment, ProcessRecord, ProcessRole, REPORT_SCHEMA, Report, Window};
use crate::tensor::DType;

pub(super) fn block(metric: BlockKind, process: u8, values: &[i64]) -> Block {
    Block { metric, process, count: values.len() as u32, bytes: block::pack(values) }
}

/// A report that went well and says nothing.
pub(super) fn report() -> Report {
    Report {
        schema: REPORT_SCHEMA,
        outcome: Outcome::Ok,
        message: None,
        failed_stage: None,
        stages: Vec::new(),
        processes: Vec::new(),
        blocks: Vec::new(),
        sensors: Vec::new(),
        environment: Environment {
            agent_version: "1".to_owned(),
            runtime_version: "1".to_owned(),
            os: Reading::absent("not read"),
            kernel: Reading::absent("not read"),
            governor: Reading::absent("not read"),
            launch: "process".to_owned(),
            facts: BTreeMap::new(),
        },
        actual: Actual {
            accelerator: Reading::absent("not read"),
            provider: Reading::absent("not read"),
            device: Reading::absent("not read"),
            delegated: Reading::absent("not read"),
            rest: Vec::new(),
            precision: Reading::absent("not read"),
            threads: Reading::absent("not read"),
            affinity: Reading::absent("not read"),
            fallback: None,
            signature: None,
            loaded: Vec::new(),
        },
        golden: Vec::new(),
        figures: Vec::new(),
        determinism: Reading::absent("not repeated"),
        operators: Reading::absent("not asked"),
        energy: None,
        memory: Reading::absent("no memory pass"),
        log: String::new(),
        system_log: String::new(),
        bounds_hit: Vec::new(),
    }
}

/// A process that measured for ten quiet seconds.
pub(super) fn process(index: u8, load_ms: f64) -> ProcessRecord {
    ProcessRecord {
        index,
        role: ProcessRole::Latency,
        exit: Exit::Code(0),
        sentinel: true,
        load_ms: Some(load_ms),
        load_reads: Some(4 << 20),
        opened: None,
        compile_ms: None,
        first_infer_ms: Some(load_ms / 10.0),
        thinned: None,
        program: None,
        warmup_iterations: Some(50),
        window: Some(Window {
            wall_ms: 10_000.0,
            monotonic_ms: 10_000.0,
            own_cpu_ms: 9_950.0,
            foreign_cpu: Some(0.01),
            stolen_cpu: Some(0.0),
            involuntary_switches: Some(10),
            voluntary_switches: Some(10),
            run_queue_wait_ms: Some(5.0),
            worst_wait_ms: Some(5.0),
            busiest_thread_ms: Some(9_955.0),
            foreign_allowed_ms: Some(100.0),
            major_faults: Some(0),
            unaccounted: None,
        }),
    }
}

/// One fp32 variant of 1.5 MB that takes `batch` images.
pub(super) fn spec(kind: ProfileKind, task: Option<Task>, batch: u64) -> JobSpec {
    let tensor = |name: &str, rest: &[u64]| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: std::iter::once(batch).chain(rest.iter().copied()).map(Axis::Fixed).collect(),
    };
    JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: "digits".to_owned(),
            version: 1,
            variant: "fp32".to_owned(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: Manifest {
                entries: vec![ManifestEntry {
                    role: "model".to_owned(),
                    digest: Digest::of(b"model"),
                    size: 1_500_000,
                    file_name: "model.onnx".to_owned(),
                }],
            },
            signature: Signature {
                inputs: vec![tensor("image", &[1, 28, 28])],
                outputs: vec![tensor("logits", &[10])],
                precision_from: None,
            },
        },
        binding: Binding::default(),
        dataset: task.map(|task| DatasetRef {
            dataset: "digits".to_owned(),
            version: 1,
            digest: Digest::of(b"dataset"),
            size: 1,
            task,
            examples: 4,
            scorer: (task == Task::Custom).then(crate::dataset::scorer::tests::scorer),
        }),
        package: None,
        backend: Backend {
            runtime: "tract".to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        profile: MeasurementProfile::of(kind),
        limits: Limits::default(),
        seed: 1,
    }
}
