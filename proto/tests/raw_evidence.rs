//! Raw evidence of a device crosses the wire unchanged and within its bounds.

use seatrial_core::profile::{Ending, MAX_PIECE_BYTES, Piece, RawEvidence};
use seatrial_proto::{ConvertError, MAX_RAW_EVIDENCE, raw_evidence_from_wire, raw_evidence_to_wire};

#[test]
fn evidence_reads_back_as_it_was_and_an_older_agent_brings_none() {
    let mut evidence = RawEvidence::default();
    evidence.keep(Piece::Getprop, "[ro.product.brand]: [vivo]\n\0\u{fffd}".to_owned(), Ending::Cut);
    evidence.keep(Piece::Vkjson, String::new(), Ending::Failed(134));
    let wire = raw_evidence_to_wire(&evidence).unwrap();
    assert_eq!(raw_evidence_from_wire(&wire).unwrap(), Some(evidence));
    assert_eq!(raw_evidence_from_wire(&[]).unwrap(), None);
}

#[test]
fn evidence_over_its_bound_is_neither_sent_nor_unpacked() {
    let mut evidence = RawEvidence::default();
    for piece in Piece::ALL {
        evidence.keep(*piece, "\0".repeat(MAX_PIECE_BYTES), Ending::Whole);
    }
    let error = raw_evidence_to_wire(&evidence).unwrap_err();
    assert!(matches!(error, ConvertError::TooLarge { limit: MAX_RAW_EVIDENCE, .. }), "{error}");
    let bomb = zstd::bulk::compress(&vec![b' '; 64 << 20], 3).unwrap();
    let error = raw_evidence_from_wire(&bomb).unwrap_err();
    assert!(matches!(error, ConvertError::TooLarge { limit: MAX_RAW_EVIDENCE, .. }), "{error}");
    for damaged in [&b"no zstd"[..], &zstd::bulk::compress(b"[]", 1).unwrap()] {
        assert!(matches!(raw_evidence_from_wire(damaged), Err(ConvertError::Invalid { .. })));
    }
}
