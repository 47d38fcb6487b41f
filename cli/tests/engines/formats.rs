//! TFLite files that LiteRT does not read: of another version of the format, or of another engine.

use std::path::{Path, PathBuf};

use super::support::{Person, fixture, stderr, stdout};
use super::wheel;

/// What `seatrial try` says of a file.
fn tried(person: &Person, path: &Path, runtime: &str) -> String {
    let tried = person.seatrial(&["try", path.to_str().unwrap(), "--runtime", runtime]);
    format!("{}\n{}", stdout(&tried), stderr(&tried))
}

/// Where a TFLite file says the version of its schema: the first field of its root table.
fn schema_version(model: &[u8]) -> usize {
    let number = |at: usize, bytes: usize| {
        model[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let table = number(0, 4);
    table + number(table - number(table, 4) + 4, 2)
}

fn written(person: &Person, name: &str, bytes: &[u8]) -> PathBuf {
    let path = person.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_tflite_file_of_another_schema_or_of_another_engine_fails_to_load_in_the_engines_words() {
    let person = Person::new();
    let litert = wheel("ai_edge_litert-");
    let whole = std::fs::read(fixture("models/digits-cnn.fp32.tflite")).unwrap();
    let at = schema_version(&whole);
    assert_eq!(whole[at..at + 4], [3, 0, 0, 0], "what it is");
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let onnx = std::fs::read(fixture("models/digits-cnn.fp32.onnx")).unwrap();
    for (name, bytes, said) in [
        ("older.tflite", with(at, &[2]), "schema version 2 not equal to supported version 3"),
        ("newer.tflite", with(at, &[99]), "schema version 99 not equal to supported version 3"),
        ("outdated.tflite", with(4, b"TFL2"), "model identifier 'TFL2', should be 'TFL3'"),
        ("onnx.tflite", onnx, "should be 'TFL3'"),
    ] {
        let told = tried(&person, &written(&person, name, &bytes), &litert);
        assert!(told.contains("load_fail") && told.contains(said), "{name}: {told}");
    }
    let told = tried(&person, &written(&person, "whole.tflite", &whole), &litert);
    assert!(told.contains("lat_p50_ms") && !told.contains("load_fail"), "the control: {told}");
}
