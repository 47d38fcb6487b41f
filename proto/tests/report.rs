//! Reports cross the wire unchanged, and nothing that a device sends makes the reader use more than its bounds.

use std::collections::BTreeMap;

use seatrial_core::actual::Actual;
use seatrial_core::ids::JobId;
use seatrial_core::job::AttemptRef;
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::report::{Block, BlockKind, Environment, REPORT_SCHEMA, Report};
use seatrial_core::time::Timestamp;
use seatrial_proto::{ConvertError, MAX_BLOCKS, MAX_DOCUMENT, report_from_wire, report_to_wire, v1};

fn attempt() -> AttemptRef {
    AttemptRef { job: JobId::new(Timestamp::from_micros(1), [3; 10]), attempt: 2 }
}

fn report() -> Report {
    Report {
        schema: REPORT_SCHEMA,
        outcome: Outcome::CrashSignal(11),
        message: Some("the child was ended by signal 11 (SIGSEGV)".to_owned()),
        failed_stage: None,
        stages: vec![],
        processes: vec![],
        blocks: vec![
            Block { metric: BlockKind::LatencyNs, process: 0, count: 3, bytes: vec![1, 2, 3] },
            Block { metric: BlockKind::Labels, process: 4, count: 0, bytes: vec![] },
        ],
        sensors: vec![],
        environment: Environment {
            agent_version: "0.1.0".to_owned(),
            runtime_version: "0.23".to_owned(),
            os: Reading::Present("Debian".to_owned()),
            kernel: Reading::absent("denied"),
            governor: Reading::absent("no such file"),
            launch: "process".to_owned(),
            facts: BTreeMap::new(),
        },
        actual: Actual {
            accelerator: Reading::Present("cpu".to_owned()),
            provider: Reading::absent("not told"),
            device: Reading::absent("not told"),
            delegated: Reading::absent("not an accelerator"),
            rest: Vec::new(),
            precision: Reading::absent("not known"),
            threads: Reading::Present(1),
            affinity: Reading::absent("not asked for"),
            fallback: None,
            signature: None,
            loaded: vec![],
        },
        golden: vec![],
        figures: vec![],
        determinism: Reading::absent("not run"),
        operators: Reading::absent("not asked"),
        energy: None,
        memory: Reading::absent("not run"),
        log: "line\n".to_owned(),
        system_log: String::new(),
        bounds_hit: vec![],
    }
}

#[test]
fn a_report_reads_back_as_it_was_with_its_blocks() {
    let wire = report_to_wire(attempt(), &report()).unwrap();
    assert_eq!(report_from_wire(wire).unwrap(), (attempt(), report()));
}

#[test]
fn a_document_that_unpacks_to_more_than_its_bound_is_refused_without_being_unpacked() {
    let bomb = zstd::bulk::compress(&vec![b' '; 64 << 20], 3).unwrap();
    assert!(bomb.len() < 64 << 10, "it is small on the wire");
    let mut wire = report_to_wire(attempt(), &report()).unwrap();
    wire.document = bomb.into();
    let error = report_from_wire(wire).unwrap_err();
    assert!(matches!(error, ConvertError::TooLarge { limit: MAX_DOCUMENT, .. }), "{error}");
}

#[test]
fn what_is_no_report_is_refused_with_its_reason() {
    let good = || report_to_wire(attempt(), &report()).unwrap();
    let cases: [(v1::Report, &str); 6] = [
        (v1::Report { attempt: None, ..good() }, "lacks its attempt"),
        (v1::Report { document: vec![0; 10].into(), ..good() }, "document is not valid"),
        (v1::Report { document: zstd::bulk::compress(b"{}", 1).unwrap().into(), ..good() }, "missing field"),
        (v1::Report { blocks: vec![v1::Block::default(); MAX_BLOCKS + 1], ..good() }, "over the limit"),
        (
            v1::Report { blocks: vec![v1::Block { kind: "nonsense".into(), ..Default::default() }], ..good() },
            "nonsense",
        ),
        (
            v1::Report {
                blocks: vec![v1::Block { kind: "latency_ns".into(), count: 1_000_000_000, ..Default::default() }],
                ..good()
            },
            "over the limit",
        ),
    ];
    for (wire, reason) in cases {
        let error = report_from_wire(wire).unwrap_err().to_string();
        assert!(error.contains(reason), "{error:?} should tell of {reason:?}");
    }
}

#[test]
fn a_number_that_is_none_does_not_cross_the_wire() {
    let mut infinite = report();
    infinite.sensors.push(seatrial_core::report::SensorTrace {
        sensor: "thermal".to_owned(),
        unit: "°C".to_owned(),
        points: Reading::Present(vec![(0, f64::NAN)]),
    });
    let wire = report_to_wire(attempt(), &infinite).unwrap();
    assert!(report_from_wire(wire).is_err(), "JSON has no NaN: the reader must not make a number of it");
}

#[path = "../../core/tests/mutation/mod.rs"]
mod mutation;

/// `cargo xtask test --fuzz` runs very many cases of it.
#[expect(clippy::unwrap_used, reason = "a helper of tests that cannot go on fails the test")]
mod fuzz {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn sound() -> Vec<u8> {
        report_to_wire(attempt(), &report()).unwrap().encode_to_vec()
    }

    proptest! {
        #[test]
        fn a_broken_report_is_refused_or_keeps_to_its_bounds(bytes in mutation::broken(sound())) {
            if let Ok(wire) = v1::Report::decode(bytes.as_slice())
                && let Ok((_, report)) = report_from_wire(wire)
            {
                prop_assert!(report.blocks.len() <= MAX_BLOCKS);
            }
        }
    }
}
