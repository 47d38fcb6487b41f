//! Readers of what comes from outside, against broken input: they answer, and neither panic nor make anything out of
//! nothing. `cargo xtask test --fuzz` runs very many cases.

mod mutation;

use mutation::broken;
use proptest::prelude::*;
use seatrial_core::block;
use seatrial_core::dataset::npy;
use seatrial_core::dataset::package::PackageManifest;
use seatrial_core::dataset::truth::{self, Truth};
use seatrial_core::selector::Selector;
use seatrial_core::suite;

const SUITE: &str = r#"
name = "night"
description = "every model on every phone"
models = ["digits-mlp@3", { name = "digits-cnn", version = "prod", variants = ["fp32", "int8"] }]
datasets = ["digits"]
devices = 'abi == "arm64-v8a" && memory_gb >= 4 && labels.shelf == "A3"'
seed = 7

[[backends]]
runtime = "tract"
threads = [1, 2]
affinity = "big"

[[profiles]]
kind = "quick"
min_seconds = 6
warmup = { min_seconds = 0.5 }

[gate]
allow_invalid = true
metrics = [{ metric = "top1", min = 0.97 }, { metric = "lat_p50_ms", max = 5.0 }]
"#;

const PACKAGE: &str = r#"
name = "digits"
task = "classification"
examples = 3
classes = ["0", "1", "2"]

[[inputs]]
name = "image"
kind = "npz"
member = "images.npz"
array = "images"

[[inputs]]
name = "photo"
kind = "image"
pattern = "photo-{index:04}.jpg"

[[goldens]]
name = "logits"
kind = "raw"
member = "logits.bin"
dtype = "f32"
shape = [10]

[labels]
kind = "csv"
member = "labels.csv"
column = "label"
"#;

fn array() -> Vec<u8> {
    let mut head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".to_owned();
    while !(10 + head.len() + 1).is_multiple_of(64) {
        head.push(' ');
    }
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    bytes.extend((0..6).flat_map(|value| (value as f32).to_le_bytes()));
    bytes
}

const COCO: &str = r#"{"images": [{"id": 9, "file_name": "a.jpg"}, {"id": 3}],
    "categories": [{"id": 18, "name": "one"}, {"id": 1, "name": "two"}],
    "annotations": [{"image_id": 3, "category_id": 1, "bbox": [1, 2.5, 10, 20], "area": 150.25, "iscrowd": 0},
        {"image_id": 9, "category_id": 18, "bbox": [0, 0, 4, 5]}]}"#;

/// A dataset of two examples and three classes.
fn labelled(task: &str, labels: &str) -> PackageManifest {
    let classes = if task == "text" { "" } else { "classes = [\"zero\", \"one\", \"two\"]\n" };
    let text = format!(
        "name = \"d\"\ntask = \"{task}\"\nexamples = 2\n{classes}labels = {{ {labels}, member = \"l\" }}\n\
         inputs = [{{ name = \"x\", kind = \"npy\", member = \"x.npy\" }}]\n"
    );
    PackageManifest::parse(&text, "dataset.toml").unwrap_or_else(|problems| panic!("{problems:?}"))
}

const CSV: &str = "kind = \"csv\", column = \"label\"";

#[test]
fn the_sound_inputs_get_far() {
    assert_eq!(npy::parse(&array()).unwrap().shape(), [2, 3]);
    assert_eq!(suite::parse(SUITE, "night.toml").err(), None);
    assert_eq!(PackageManifest::parse(PACKAGE, "dataset.toml").err(), None);
    assert!(truth::read(&labelled("classification", CSV), b"file,label\na,0\nb,2\n").is_ok());
    assert!(truth::read(&labelled("detection", "kind = \"coco\""), COCO.as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn a_broken_suite_is_refused_with_problems_that_lie_in_it(bytes in broken(SUITE)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Err(problems) = suite::parse(&text, "night.toml") {
            prop_assert!(!problems.is_empty());
            let lines = text.split('\n').count();
            for problem in problems {
                prop_assert!(problem.line as usize <= lines, "{problem:?} in {lines} lines");
                prop_assert!(!problem.message.is_empty());
            }
        }
    }

    #[test]
    fn a_broken_dataset_manifest_names_no_member_outside(bytes in broken(PACKAGE)) {
        let text = String::from_utf8_lossy(&bytes);
        match PackageManifest::parse(&text, "dataset.toml") {
            Err(problems) => prop_assert!(!problems.is_empty()),
            Ok(package) => for member in package.members() {
                prop_assert!(!member.starts_with('/') && !member.split('/').any(|part| part == ".."), "{member:?}");
            },
        }
    }

    #[test]
    fn a_broken_array_is_refused_or_holds_just_the_bytes_that_it_has(bytes in broken(array())) {
        if let Ok(tensor) = npy::parse(&bytes) {
            prop_assert!(tensor.bytes().len() <= bytes.len());
            prop_assert_eq!(tensor.to_f64().len(), tensor.shape().iter().product::<usize>());
        }
    }

    #[test]
    fn broken_labels_are_refused_or_are_classes(bytes in broken("file,label\na,zero\nb,two\n")) {
        if let Ok(Some(Truth::Classes(labels))) = truth::read(&labelled("classification", CSV), &bytes) {
            prop_assert!(labels.len() == 2 && labels.iter().all(|&label| label < 3));
        }
        if let Ok(Some(Truth::Sets(sets))) = truth::read(&labelled("multilabel", CSV), &bytes) {
            prop_assert!(sets.len() == 2 && sets.iter().flatten().all(|&label| label < 3));
        }
        if let Ok(Some(Truth::Texts(texts))) = truth::read(&labelled("text", "kind = \"lines\""), &bytes) {
            prop_assert_eq!(texts.len(), 2);
        }
    }

    #[test]
    fn broken_annotations_are_refused_or_lie_in_the_images(bytes in broken(COCO)) {
        if let Ok(Some(Truth::Boxes(boxes))) = truth::read(&labelled("detection", "kind = \"coco\""), &bytes) {
            prop_assert!(boxes.iter().all(|object| object.image < 2 && object.class < 3 && object.area >= 0.0));
        }
    }

    #[test]
    fn a_broken_block_is_refused_or_holds_as_many_values_as_it_should(
        values in prop::collection::vec(-1000_i64..1000, 0..200),
        wrong_count in prop::option::of(any::<u32>()),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = block::pack(&values);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let count = wrong_count.unwrap_or(values.len() as u32);
        if let Ok(read) = block::unpack(&bytes, count) {
            prop_assert_eq!(read.len(), count as usize);
        }
    }

    #[test]
    fn any_bytes_are_a_block_of_the_size_asked_for_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0..5000_u32) {
        if let Ok(read) = block::unpack(&bytes, count) {
            prop_assert_eq!(read.len(), count as usize);
        }
    }

    #[test]
    fn a_broken_selector_is_refused_or_reads_only_names(bytes in broken("labels.shelf == 'A3' && memory_gb >= 4 || abi in ['x86_64', 'arm64-v8a']")) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert!(selector.reads().iter().all(|name| !name.is_empty()));
        }
    }
}
