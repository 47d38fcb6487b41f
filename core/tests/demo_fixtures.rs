//! The demo's committed packages and figures are what the rest of the project takes them to be.

use seatrial_core::dataset::Task;
use seatrial_core::dataset::package::PackageManifest;

const DIGITS: &str = include_str!("../../fixtures/demo/digits/dataset.toml");
const MLP_GOLDEN: &str = include_str!("../../fixtures/demo/digits-mlp-golden/dataset.toml");
const CNN_GOLDEN: &str = include_str!("../../fixtures/demo/digits-cnn-golden/dataset.toml");
const EXPECTED: &str = include_str!("../../fixtures/demo/expected.json");

#[expect(clippy::unwrap_used, reason = "a package that cannot be read fails the test that asked for it")]
fn parse(text: &str) -> PackageManifest {
    PackageManifest::parse(text, "dataset.toml").unwrap()
}

#[test]
fn the_labelled_digits_are_a_sound_package() {
    let package = parse(DIGITS);
    assert_eq!((package.name.as_str(), package.task, package.examples), ("digits", Task::Classification, 2_000));
    assert_eq!(package.classes.len(), 10);
    assert_eq!(package.members(), ["images.npy", "labels.npy"]);
    assert!(package.license.is_some() && package.origin.is_some(), "origin and licence are stated");
}

#[test]
fn the_goldens_are_sound_packages() {
    for (text, name) in [(MLP_GOLDEN, "digits-mlp-golden"), (CNN_GOLDEN, "digits-cnn-golden")] {
        let package = parse(text);
        assert_eq!((package.name.as_str(), package.task, package.examples), (name, Task::Golden, 64));
        assert_eq!(package.goldens.iter().map(|golden| golden.name.as_str()).collect::<Vec<_>>(), ["logits"]);
    }
}

#[test]
fn the_variants_trade_size_against_accuracy() {
    let expected: serde_json::Value = serde_json::from_str(EXPECTED).unwrap();
    let figure = |model: &str, variant: &str, key: &str| expected[model][variant][key].as_f64().unwrap();
    for model in ["digits-mlp", "digits-cnn"] {
        let smaller = figure(model, "fp32", "bytes") / figure(model, "int8", "bytes");
        assert!(smaller > 3.0, "the int8 variant of {model} is {smaller:.1} times smaller");
    }
    assert!(figure("digits-cnn", "fp32", "top1") > figure("digits-mlp", "fp32", "top1"));
    assert!(figure("digits-cnn", "fp32", "bytes") < figure("digits-mlp", "fp32", "bytes"));
}
