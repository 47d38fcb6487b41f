//! Reports of a device that measures nothing.

use std::collections::BTreeMap;

use seatrial_core::actual::Actual;
use seatrial_core::block;
use seatrial_core::outcome::{Exit, Outcome};
use seatrial_core::reading::Reading;
use seatrial_core::report::{
    Block, BlockKind, Environment, ProcessRecord, ProcessRole, REPORT_SCHEMA, Report, StageRecord, Window,
};
use seatrial_core::stage::Stage;

/// Ways in which a device may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    NegativeLatency,
    NegativeLoadTime,
    /// A billion samples, in a block of a few bytes.
    BillionSamples,
    /// A stage that ends years from now.
    Future,
    /// Success without a sentinel.
    NoSentinel,
    /// Samples of a process that it does not list.
    ForeignProcess,
    /// Blocks that are each within bounds, and together are not.
    ManyValues,
    /// Starts that go backwards.
    BackInTime,
    /// Bytes that are no block.
    Garbage,
}

impl Lie {
    pub const ALL: [Self; 9] = [
        Self::NegativeLatency,
        Self::NegativeLoadTime,
        Self::BillionSamples,
        Self::Future,
        Self::NoSentinel,
        Self::ForeignProcess,
        Self::ManyValues,
        Self::BackInTime,
        Self::Garbage,
    ];

    /// Puts the lie into an honest report.
    #[must_use]
    pub fn told_in(self, mut report: Report) -> Report {
        let latency = report.blocks.iter_mut().find(|block| block.metric == BlockKind::LatencyNs);
        match self {
            Self::NegativeLatency => set(latency, &[-1]),
            Self::NegativeLoadTime => report.processes.iter_mut().for_each(|process| process.load_ms = Some(-1.0)),
            Self::BillionSamples => latency.into_iter().for_each(|block| block.count = 1_000_000_000),
            Self::Future => report.stages.iter_mut().for_each(|stage| stage.start_us = u64::MAX),
            Self::NoSentinel => report.processes.iter_mut().for_each(|process| process.sentinel = false),
            Self::ForeignProcess => latency.into_iter().for_each(|block| block.process = 9),
            Self::ManyValues => {
                let (values, first) = (vec![1; 400_000], report.processes[0].clone());
                let (count, bytes) = (values.len() as u32, block::pack(&values));
                let many = (1..=16).map(|process| Block {
                    metric: BlockKind::LatencyNs,
                    process,
                    count,
                    bytes: bytes.clone(),
                });
                report.blocks.extend(many);
                report.processes.extend((1..=16).map(|index| ProcessRecord { index, ..first.clone() }));
            }
            Self::BackInTime => {
                let starts = report.blocks.iter_mut().find(|block| block.metric == BlockKind::StartUs);
                set(starts, &[5, 4]);
            }
            Self::Garbage => latency.into_iter().for_each(|block| block.bytes = vec![0xff; 8]),
        }
        report
    }
}

fn set(block: Option<&mut Block>, values: &[i64]) {
    if let Some(block) = block {
        block.count = values.len() as u32;
        block.bytes = block::pack(values);
    }
}

/// A report of `samples` inferences of about a millisecond each.
#[must_use]
pub fn ok(samples: u32) -> Report {
    let latency: Vec<i64> = (0..i64::from(samples)).map(|i| 1_000_000 + (i * 7919) % 10_007).collect();
    let starts: Vec<i64> = (0..i64::from(samples)).map(|i| i * 1_010).collect();
    let block = |metric, values: &[i64]| Block { metric, process: 0, count: samples, bytes: block::pack(values) };
    let blocks = vec![block(BlockKind::LatencyNs, &latency), block(BlockKind::StartUs, &starts)];
    Report { blocks, ..ended(Outcome::Ok) }
}

/// A report of an attempt that ended in this way, without samples.
#[must_use]
pub fn ended(outcome: Outcome) -> Report {
    let (exit, sentinel) = match outcome {
        Outcome::Ok | Outcome::OkFallback | Outcome::NumericsFail | Outcome::AccuracyFail => (Exit::Code(0), true),
        Outcome::CrashSignal(signal) => (Exit::Signal(signal), false),
        Outcome::ExitNonzero(code) => (Exit::Code(code), false),
        Outcome::DriverExit0 => (Exit::Code(0), false),
        Outcome::OomKilled => (Exit::Signal(9), false),
        Outcome::HangTimeout => (Exit::Deadline, false),
        Outcome::Cancelled => (Exit::Stopped, false),
        Outcome::UnsupportedBackend
        | Outcome::UnsupportedOp
        | Outcome::LoadFail
        | Outcome::CompileFail
        | Outcome::ProtocolFail
        | Outcome::ThermalAbort
        | Outcome::BatteryLow
        | Outcome::DeviceLost
        | Outcome::AgentKilled
        | Outcome::InstallBlocked
        | Outcome::StorageFull
        | Outcome::TransferCorrupt
        | Outcome::SpecError
        | Outcome::HarnessError => (Exit::Code(1), false),
    };
    let process = ProcessRecord {
        index: 0,
        role: ProcessRole::Latency,
        exit,
        sentinel,
        load_reads: None,
        opened: None,
        compile_ms: None,
        load_ms: Some(12.5),
        first_infer_ms: Some(2.0),
        warmup_iterations: Some(5),
        window: Some(Window { wall_ms: 100.0, monotonic_ms: 100.0, own_cpu_ms: 99.0, ..Window::default() }),
        thinned: None,
        program: None,
    };
    let stage = |(index, stage)| StageRecord {
        stage,
        process: None,
        start_us: index as u64 * 1_000,
        duration_us: Some(1_000),
        note: None,
    };
    Report {
        schema: REPORT_SCHEMA,
        outcome,
        message: (!sentinel).then(|| format!("the fake was asked to end as {outcome}")),
        failed_stage: (!sentinel).then_some(Stage::Measure),
        stages: Stage::ALL.into_iter().enumerate().map(stage).collect(),
        processes: vec![process],
        blocks: vec![],
        sensors: vec![],
        environment: Environment {
            agent_version: "0.0.0-sim".to_owned(),
            runtime_version: "0.0.0-sim".to_owned(),
            os: Reading::Present("Simulated OS 1".to_owned()),
            kernel: Reading::absent("simulated"),
            governor: Reading::absent("simulated"),
            launch: "simulated".to_owned(),
            facts: BTreeMap::new(),
        },
        actual: Actual {
            accelerator: Reading::Present("cpu".to_owned()),
            provider: Reading::absent("simulated"),
            device: Reading::absent("not an accelerator"),
            delegated: Reading::absent("not an accelerator"),
            rest: Vec::new(),
            precision: Reading::absent("simulated"),
            threads: Reading::Present(1),
            affinity: Reading::absent("simulated"),
            fallback: None,
            signature: None,
            loaded: vec![],
        },
        golden: vec![],
        figures: vec![],
        determinism: Reading::absent("simulated"),
        operators: Reading::absent("not asked"),
        energy: None,
        memory: Reading::absent("simulated"),
        log: String::new(),
        system_log: String::new(),
        bounds_hit: vec![],
    }
}
