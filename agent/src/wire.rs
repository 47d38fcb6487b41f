//! Between the session's words and the protocol's messages.

use std::time::Duration;

use prost::Message as _;
use seatrial_core::device::{Evidence, Profile};
use seatrial_core::failure::Death;
use seatrial_core::job::{AttemptRef, SPEC_SCHEMA};
use seatrial_core::profile::RawEvidence;
use seatrial_core::reading::Reading;
use seatrial_core::reason::Code;
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::session::{FromServer, HeldAttempt, Progress, ToServer, Welcome};
use seatrial_proto::v1::{self, agent_message, server_message};
use seatrial_proto::{
    ConvertError, PROTOCOL_MAX, PROTOCOL_MIN, attempt_from_wire, attempt_to_wire, death_to_wire, evidence_to_wire,
    grant_from_wire, raw_evidence_to_wire, report_to_wire,
};

use crate::VERSION;
use crate::probe::Battery;

/// What a hello says beside what the session holds.
pub(crate) struct Introduction {
    pub evidence: Evidence,
    pub profile: Profile,
    pub raw_evidence: Option<RawEvidence>,
    pub boots: Boots,
    /// How the process before died, where it lost attempts.
    pub death: Option<Death>,
}

/// This boot of the device and the one of the process of this agent before; empty when not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Boots {
    pub now: String,
    pub before: String,
}

/// `introduce` is asked only for a hello: probing takes a moment.
pub(crate) fn to_wire(
    message: ToServer,
    introduce: impl FnOnce() -> Introduction,
) -> Result<v1::AgentMessage, serde_json::Error> {
    let message = match message {
        ToServer::Hello { held, lost } => agent_message::Message::Hello(Box::new(hello(held, lost, introduce())?)),
        ToServer::Heartbeat => agent_message::Message::Heartbeat(v1::Heartbeat {}),
        ToServer::Accepted(attempt) => {
            agent_message::Message::Accepted(v1::AssignmentAccepted { attempt: Some(attempt_to_wire(attempt)) })
        }
        ToServer::Refused { attempt, reason, retryable } => {
            let attempt = Some(attempt_to_wire(attempt));
            agent_message::Message::Refused(v1::AssignmentRefused { attempt, reason, retryable })
        }
        ToServer::Stage(progress) => agent_message::Message::Stage(stage(progress)),
        ToServer::Drain { reason } => agent_message::Message::Drain(v1::Drain { reason, retry_after_ms: 0 }),
    };
    Ok(v1::AgentMessage { message: Some(message) })
}

/// How a device is that has nothing to do; `None` of one that tells nothing.
pub(crate) fn vitals(battery: &Battery, chip: Option<(String, f64)>) -> Option<v1::AgentMessage> {
    let vitals = v1::Vitals {
        charge: battery.charge.present().copied(),
        charging: battery.charging.present().copied(),
        battery_celsius: battery.temperature_c.present().copied(),
        chip_celsius: chip.map(|(_, celsius)| celsius),
    };
    let message = agent_message::Message::Vitals(vitals);
    (vitals != v1::Vitals::default()).then_some(v1::AgentMessage { message: Some(message) })
}

fn hello(
    held: Vec<HeldAttempt>,
    lost: Vec<AttemptRef>,
    introduction: Introduction,
) -> Result<v1::Hello, serde_json::Error> {
    let Introduction { evidence, profile, raw_evidence, boots, death } = introduction;
    // An agent that cannot bring it is still one that works.
    let raw_evidence = raw_evidence.map(|raw| raw_evidence_to_wire(&raw)).transpose().unwrap_or_else(|error| {
        tracing::error!(%error, "the server is not told what the profile was read from");
        None
    });
    let death = death.filter(|_| !lost.is_empty()).map(|death| death_to_wire(&death)).transpose();
    let death = death.unwrap_or_else(|error| {
        tracing::error!(%error, "the server is not told how the agent before this one died");
        None
    });
    let held = held.into_iter().map(|HeldAttempt { attempt, ended, stage }| v1::HeldAttempt {
        attempt: Some(attempt_to_wire(attempt)),
        ended,
        stage: stage.to_string(),
    });
    Ok(v1::Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        agent_version: VERSION.to_owned(),
        evidence: Some(evidence_to_wire(&evidence)),
        profile_json: serde_json::to_string(&profile)?,
        held: held.collect(),
        lost: lost.into_iter().map(attempt_to_wire).collect(),
        raw_evidence: raw_evidence.unwrap_or_default().into(),
        boot_id: boots.now,
        boot_before: boots.before,
        death: death.unwrap_or_default().into(),
    })
}

fn stage(progress: Progress) -> v1::StageEntered {
    let Progress { attempt, stage, at, share } = progress;
    v1::StageEntered {
        attempt: Some(attempt_to_wire(attempt)),
        stage: stage.to_string(),
        at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
        progress: share,
    }
}

pub(crate) fn is_find_me(message: &v1::ServerMessage) -> bool {
    matches!(message.message, Some(server_message::Message::FindMe(_)))
}

/// The answer to it: what was done, or why nothing was.
pub(crate) fn found(result: Result<String, String>) -> v1::AgentMessage {
    let done = result.is_ok();
    let what = result.unwrap_or_else(|why| why);
    v1::AgentMessage { message: Some(agent_message::Message::Found(v1::Found { what, done })) }
}

/// `None` for a message of a newer server that this agent does not know.
pub(crate) fn from_wire(message: v1::ServerMessage) -> Result<Option<FromServer>, ConvertError> {
    let Some(message) = message.message else { return Ok(None) };
    let milliseconds = |ms: u32| Duration::from_millis(u64::from(ms));
    Ok(Some(match message {
        server_message::Message::Welcome(it) => FromServer::Welcome(welcome(it)?),
        server_message::Message::Heartbeat(v1::Heartbeat {}) => FromServer::Heartbeat,
        server_message::Message::Assignment(it) => assignment(it)?,
        server_message::Message::Grant(it) => {
            let (attempt, grant) = grant_from_wire(Some(it))?;
            FromServer::Grant { attempt, grant }
        }
        server_message::Message::Cancel(v1::Cancel { attempt, reason }) => {
            FromServer::Cancel { attempt: attempt_from_wire(attempt)?, reason }
        }
        server_message::Message::Received(it) => FromServer::ReportReceived(attempt_from_wire(it.attempt)?),
        server_message::Message::Durable(it) => FromServer::ReportDurable(attempt_from_wire(it.attempt)?),
        server_message::Message::ReportRefused(v1::ReportRefused { attempt, reason }) => {
            FromServer::ReportRefused { attempt: attempt_from_wire(attempt)?, reason }
        }
        server_message::Message::FindMe(_) => return Ok(None), // no matter of the session
        server_message::Message::Drain(v1::Drain { reason, retry_after_ms }) => {
            FromServer::Drain { reason, retry_after: milliseconds(retry_after_ms) }
        }
    }))
}

fn welcome(message: v1::Welcome) -> Result<Welcome, ConvertError> {
    let v1::Welcome {
        protocol: _,
        device,
        device_name: _,
        session: _,
        heartbeat_ms,
        stop,
        artifact_prefix,
        server_version: _,
        grants,
    } = message;
    Ok(Welcome {
        device,
        heartbeat: Duration::from_millis(u64::from(heartbeat_ms)),
        stop: stop.into_iter().map(|attempt| attempt_from_wire(Some(attempt))).collect::<Result<_, _>>()?,
        grants: grants.into_iter().map(|grant| grant_from_wire(Some(grant))).collect::<Result<_, _>>()?,
        artifact_prefix,
    })
}

/// A specification that cannot be read is an answer to the server, not an error of the stream.
fn assignment(message: v1::Assignment) -> Result<FromServer, ConvertError> {
    let v1::Assignment { attempt, spec_json, grant } = message;
    let attempt = attempt_from_wire(attempt)?;
    let (_, grant) = grant_from_wire(grant)?;
    let unreadable = |reason: String| Ok(FromServer::Unreadable { attempt, reason });
    match serde_json::from_str::<seatrial_core::job::JobSpec>(&spec_json) {
        Ok(spec) if spec.schema != SPEC_SCHEMA => {
            unreadable(format!("specification of version {}, this agent knows {SPEC_SCHEMA}", spec.schema))
        }
        Ok(spec) => Ok(FromServer::Assignment { attempt, spec: Box::new(spec), grant }),
        Err(error) => unreadable(format!("the specification cannot be read: {error}")),
    }
}

/// A report in bytes, as it is spooled and sent. Samples, readings and examples are bounded so that it fits. One that is
/// too large all the same loses what can be missed most: first outputs, then the trace of a calibration, the log, sensor traces and the starts of
/// samples. Each loss is stated in the report, and the last two make its numbers invalid.
pub(crate) fn encode_report(attempt: AttemptRef, mut report: Report) -> Result<Vec<u8>, ConvertError> {
    // Whether there was anything to drop.
    type Cut = (&'static str, fn(&mut Report) -> bool);
    const CUTS: [Cut; 5] = [
        ("outputs", |report| {
            report.blocks.retain(|block| block.metric != BlockKind::Outputs);
            true
        }),
        ("the trace by which the gauge was calibrated", |report| {
            report.energy.as_mut().and_then(|energy| energy.trace.take()).is_some()
        }),
        ("the log", |report| {
            report.log.clear();
            true
        }),
        ("sensor traces", |report| {
            let dropped = || Reading::absent(Code::TraceDropped.template());
            report.sensors.iter_mut().for_each(|trace| trace.points = dropped());
            true
        }),
        ("starts of samples", |report| {
            report.blocks.retain(|block| block.metric != BlockKind::StartUs);
            true
        }),
    ];
    for (what, cut) in CUTS {
        match report_to_wire(attempt, &report) {
            Err(ConvertError::TooLarge { .. }) => {
                if cut(&mut report) {
                    report.bounds_hit.push(format!("{what} dropped: the report was too large for a message"));
                }
            }
            Err(error @ (ConvertError::Missing(_) | ConvertError::Invalid { .. })) => return Err(error),
            Ok(wire) => return Ok(wire.encode_to_vec()),
        }
    }
    Ok(report_to_wire(attempt, &report)?.encode_to_vec())
}

pub(crate) fn decode_report(bytes: &[u8]) -> Result<v1::AgentMessage, prost::DecodeError> {
    let report = v1::Report::decode(bytes)?;
    Ok(v1::AgentMessage { message: Some(agent_message::Message::Report(report)) })
}

#[cfg(test)]
mod tests {
    use seatrial_core::accuracy::golden::{Accumulator, Standard};
    use seatrial_core::block;
    use seatrial_core::dataset::package::MAX_EXAMPLES;
    use seatrial_core::ids::JobId;
    use seatrial_core::outcome::{Exit, Outcome};
    use seatrial_core::profile::{MAX_SAMPLES, MeasurementProfile, ProfileKind};
    use seatrial_core::report::{
        Block, Environment, GoldenRecord, MAX_OUTPUT_VALUES, ProcessRecord, ProcessRole, REPORT_SCHEMA, SensorTrace,
        max_evidence_bytes,
    };
    use seatrial_core::time::Timestamp;
    use seatrial_proto::report_from_wire;

    use super::*;
    use seatrial_core::actual::Actual;

    /// Numbers from 0 to 1 that look random and never change (SplitMix64).
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// Near enough to Gauss.
        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.next()).sum::<f64>() - 6.0
        }

        fn below(&mut self, limit: u32) -> i64 {
            (self.next() * f64::from(limit)) as i64
        }
    }

    fn attempt() -> AttemptRef {
        AttemptRef { job: JobId::new(Timestamp::from_micros(1), [3; 10]), attempt: 1 }
    }

    fn packed(metric: BlockKind, process: u8, values: &[i64]) -> Block {
        Block { metric, process, count: values.len() as u32, bytes: block::pack(values) }
    }

    fn process(index: u8) -> ProcessRecord {
        ProcessRecord {
            index,
            role: ProcessRole::Latency,
            exit: Exit::Code(0),
            sentinel: true,
            load_ms: Some(1.0),
            load_reads: None,
            opened: None,
            compile_ms: None,
            first_infer_ms: Some(1.0),
            warmup_iterations: Some(9),
            window: None,
            thinned: None,
            program: None,
        }
    }

    /// Everything at its bound at once. Latencies are log-normal around `level_ms` with heavy tails, begun at any
    /// microsecond; predictions hit all classes alike; outputs are noise.
    fn full(processes: u8, level_ms: f64, classes: u32) -> Report {
        let mut noise = Noise(7);
        let room = MeasurementProfile { processes, ..MeasurementProfile::of(ProfileKind::Full) }.room();
        let mut blocks = Vec::new();
        for process in 0..processes {
            let latencies: Vec<i64> =
                (0..room).map(|_| (level_ms * 1e6 * (0.6 * noise.normal()).exp()) as i64).collect();
            let mut now_ns = 0;
            let starts: Vec<i64> = latencies
                .iter()
                .map(|latency| {
                    let start = now_ns / 1000;
                    now_ns += latency + noise.below(20_000);
                    start
                })
                .collect();
            blocks.push(packed(BlockKind::LatencyNs, process, &latencies));
            blocks.push(packed(BlockKind::StartUs, process, &starts));
        }
        let mut answers = |count: u32| -> Vec<i64> { (0..count).map(|_| noise.below(classes)).collect() };
        blocks.push(packed(BlockKind::Labels, processes, &answers(MAX_EXAMPLES)));
        blocks.push(packed(BlockKind::TopClasses, processes, &answers(5 * MAX_EXAMPLES)));
        let outputs: Vec<i64> =
            (0..MAX_OUTPUT_VALUES).map(|_| f64::from(noise.normal() as f32).to_bits().cast_signed()).collect();
        blocks.push(packed(BlockKind::Outputs, processes, &outputs));
        let mut reading = |at: u32| (at * 1_003, (noise.next() * 1e6).round() / 1e3);
        let sensor = |i: u32| SensorTrace {
            sensor: format!("thermal/zone-{i}"),
            unit: "°C".to_owned(),
            points: Reading::Present((0..500).map(&mut reading).collect()),
        };
        Report {
            schema: REPORT_SCHEMA,
            outcome: Outcome::Ok,
            message: None,
            failed_stage: None,
            stages: Vec::new(),
            processes: (0..processes).map(process).collect(),
            blocks,
            sensors: (0..100).map(sensor).collect(),
            environment: Environment {
                agent_version: VERSION.to_owned(),
                runtime_version: "1".to_owned(),
                os: Reading::absent("not read"),
                kernel: Reading::absent("not read"),
                governor: Reading::absent("not read"),
                launch: "process".to_owned(),
                facts: std::collections::BTreeMap::new(),
            },
            actual: Actual::unknown("not loaded"),
            golden: vec![GoldenRecord {
                output: "logits".to_owned(),
                comparison: Accumulator::new().finish(),
                standard: Standard::default(),
                kept: Some(1),
            }],
            figures: Vec::new(),
            determinism: Reading::Present(true),
            operators: Reading::absent("not asked"),
            energy: None,
            memory: Reading::absent("no memory pass"),
            log: "a line of a log\n".repeat(4_000),
            system_log: String::new(),
            bounds_hit: Vec::new(),
        }
    }

    #[test]
    fn a_report_with_everything_at_its_bound_fits_its_message_whole() {
        // As long as 400,000 samples can be on average within the longest measure stage, and as short as models are.
        for (processes, level_ms) in [(1, 1.5), (3, 4.5), (20, 30.0), (3, 0.02)] {
            let report = full(processes, level_ms, 4096);
            let bytes = encode_report(attempt(), report.clone()).unwrap();
            let (_, read) = report_from_wire(v1::Report::decode(bytes.as_slice()).unwrap()).unwrap();
            assert_eq!(read.bounds_hit, Vec::<String>::new(), "{processes} processes, {} bytes", bytes.len());
            assert_eq!(read.blocks, report.blocks);
            let samples = read.blocks.iter().filter(|block| block.metric == BlockKind::LatencyNs);
            let samples: u32 = samples.map(|block| block.count).sum();
            assert!(samples <= MAX_SAMPLES && samples > MAX_SAMPLES - 20, "{samples}");
        }
    }

    /// Truth and answers of another task at their bound in bytes, in place of labels and classes.
    #[test]
    fn evidence_at_its_bound_fits_beside_everything_else() {
        let mut report = full(3, 4.5, 4096);
        report.blocks.retain(|block| !matches!(block.metric, BlockKind::Labels | BlockKind::TopClasses));
        let bytes = max_evidence_bytes(ProfileKind::Full) / 2;
        for metric in [BlockKind::Truth, BlockKind::Answers] {
            report.blocks.push(Block { metric, process: 3, count: 1, bytes: vec![0xa5; bytes] });
        }
        let (_, read) =
            report_from_wire(v1::Report::decode(encode_report(attempt(), report.clone()).unwrap().as_slice()).unwrap())
                .unwrap();
        assert_eq!(read.bounds_hit, Vec::<String>::new());

        report.blocks.retain(|block| matches!(block.metric, BlockKind::Outputs | BlockKind::Answers));
        let alone = max_evidence_bytes(ProfileKind::AccuracyOnly);
        report.blocks.push(Block { metric: BlockKind::Truth, process: 3, count: 1, bytes: vec![0xa5; alone - bytes] });
        let (_, read) =
            report_from_wire(v1::Report::decode(encode_report(attempt(), report).unwrap().as_slice()).unwrap())
                .unwrap();
        assert_eq!(read.bounds_hit, Vec::<String>::new(), "without samples there is room for more");
    }

    #[test]
    fn what_is_dropped_from_a_report_that_is_too_large_is_named_and_latencies_stay() {
        let mut report = full(3, 4.5, 4096);
        let timed = |block: &&Block| matches!(block.metric, BlockKind::LatencyNs | BlockKind::StartUs);
        let again = |block: &Block| Block { process: block.process + 100, ..block.clone() };
        let twice: Vec<Block> = report.blocks.iter().filter(timed).map(again).collect();
        report.blocks.extend(twice);
        let bytes = encode_report(attempt(), report).unwrap();
        let (_, read) = report_from_wire(v1::Report::decode(bytes.as_slice()).unwrap()).unwrap();
        let dropped = |what: &str| format!("{what} dropped: the report was too large for a message");
        let all = ["outputs", "the log", "sensor traces", "starts of samples"].map(dropped);
        assert_eq!(read.bounds_hit, all);
        assert!(read.sensors.iter().all(|trace| trace.points.reason() == Some(Code::TraceDropped.template())));
        assert!(read.blocks.iter().any(|block| block.metric == BlockKind::LatencyNs));
    }
}
