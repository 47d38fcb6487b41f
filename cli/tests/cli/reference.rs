//! The figures of the demo's models against scikit-learn, scipy, numpy and ONNX Runtime.
//!
//! `SEATRIAL_TEST_PYTHON` names an interpreter with `fixtures/demo/requirements.txt`; `cargo xtask test` sets it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests that cannot go on fails the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Fleet, Person, fixture};

/// What `fixtures/check.py` reads, exported from a server as anybody would.
fn export(fleet: &Fleet, run: &str) -> PathBuf {
    let folder = fleet.person.path(&format!("run-{run}"));
    std::fs::create_dir_all(folder.join("jobs")).unwrap();
    let write = |arguments: &[&str], name: &str| {
        let path = folder.join(name);
        let output = ["--output", path.to_str().unwrap()];
        fleet.seatrial(&[&["export", run], arguments, &output[..]].concat()).success();
    };
    write(&["--format", "json"], "run.json");
    write(&["--predictions"], "predictions.csv");
    write(&["--outputs"], "outputs.csv");
    let text = std::fs::read_to_string(folder.join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&text).unwrap();
    for entry in run["jobs"].as_array().unwrap() {
        let id = entry["job"]["id"].as_str().unwrap();
        std::fs::write(folder.join(format!("jobs/{id}.json")), fleet.page_data(&format!("/jobs/{id}"))).unwrap();
    }
    folder
}

fn python() -> Command {
    let python = std::env::var_os("SEATRIAL_TEST_PYTHON");
    Command::new(python.expect("SEATRIAL_TEST_PYTHON is not set; `cargo xtask test` sets it"))
}

fn check(folder: &Path) -> Output {
    python().arg(fixture("../check.py")).arg(folder).output().unwrap()
}

/// Every line of the check, which found nothing wrong.
fn agreed(folder: &Path) -> Vec<Value> {
    let output = check(folder);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The check fails, with each of these words, when one thing in a file is changed.
fn refused(folder: &Path, file: &str, change: impl Fn(&str) -> String, faults: &[&str]) {
    let path = folder.join(file);
    let before = std::fs::read_to_string(&path).unwrap();
    let after = change(&before);
    assert_ne!(before, after, "{file}: the change changes something");
    std::fs::write(&path, after).unwrap();
    let output = check(folder);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{file}: {text}{}", String::from_utf8_lossy(&output.stderr));
    for fault in faults {
        assert!(text.contains(fault), "{file}: {fault:?} in {text}");
    }
    std::fs::write(&path, before).unwrap();
}

/// Changes one cell of a line; lines and cells count from 0, the head included.
fn cell(text: &str, line: usize, name: &str, change: impl Fn(&str) -> String) -> String {
    let mut lines: Vec<Vec<String>> = text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    let column = lines[0].iter().position(|head| head == name).unwrap();
    lines[line][column] = change(&lines[line][column]);
    lines.into_iter().map(|cells| cells.join(",") + "\r\n").collect()
}

#[test]
fn the_accuracy_of_the_demos_models_is_scikit_learns_and_their_classes_are_those_of_onnx_runtime() {
    let fleet = Fleet::start();
    fleet.register_digits();
    let suite = "name = \"digits\"\nmodels = [\"digits-mlp\", \"digits-cnn\"]\ndatasets = [\"digits\"]\n\
                 backends = [{ runtime = \"tract\" }]\nprofiles = [\"accuracy_only\"]\n";
    let path = fleet.person.write("digits.toml", suite);
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let folder = export(&fleet, "1");
    let checked = agreed(&folder);
    assert_eq!(checked.len(), 4, "both variants of both models were checked: {checked:#?}");
    for (job, checked) in run["jobs"].as_array().unwrap().iter().zip(&checked) {
        assert_eq!(job["model"], checked["model"]);
        assert_eq!(checked["examples"], 2000);
        for metric in ["top1", "top5"] {
            assert_eq!(job["metrics"][metric]["value"], checked[metric], "what the run prints is what was checked");
        }
    }

    let other = |class: &str| ((class.parse::<u8>().unwrap() + 1) % 10).to_string();
    let flipped = |text: &str| cell(text, 17, "class_1", other);
    refused(&folder, "predictions.csv", flipped, &["top1 is", "the confusion matrix is"]);
    refused(&folder, "predictions.csv", |text| cell(text, 17, "label", other), &["labels are not those"]);
    let run = std::fs::read_to_string(folder.join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    let metrics = run["jobs"][0]["metrics"].as_array().unwrap();
    let top1 = metrics.iter().find(|metric| metric["name"] == "top1").unwrap();
    let low = top1["value"]["present"]["interval"][0].to_string();
    let moved = (low.parse::<f64>().unwrap() + 1e-6).to_string();
    refused(&folder, "run.json", |text| text.replacen(&low, &moved, 1), &["an end of the interval of top1"]);
}

#[test]
fn outputs_are_those_of_onnx_runtime_within_the_tolerance_and_their_comparison_is_numpys() {
    let fleet = Fleet::start();
    fleet.register_digits();
    for model in ["digits-mlp", "digits-cnn"] {
        let suite = format!(
            "name = \"golden\"\nmodels = [\"{model}\"]\ndatasets = [\"{model}-golden\"]\n\
             backends = [{{ runtime = \"tract\" }}]\nprofiles = [\"accuracy_only\"]\n"
        );
        let path = fleet.person.write("golden.toml", &suite);
        fleet.seatrial(&["run", path.to_str().unwrap(), "--wait"]).success();
    }
    for run in ["1", "2"] {
        let checked = agreed(&export(&fleet, run));
        assert_eq!(checked.len(), 2, "fp32 and int8: {checked:#?}");
        assert!(checked.iter().all(|job| job["examples"] == 64), "{checked:#?}");
    }

    let folder = fleet.person.path("run-1");
    let by = |difference: f64| move |value: &str| (value.parse::<f64>().unwrap() + difference).to_string();
    refused(&folder, "outputs.csv", |text| cell(text, 5, "value", by(0.01)), &["a logit differs from ONNX Runtime's"]);
    refused(&folder, "outputs.csv", |text| cell(text, 5, "value", by(1e-6)), &["golden_"]);
    let last = |text: &str| text.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    refused(&folder, "outputs.csv", last, &["values of outputs are not the 640"]);
}

#[test]
fn a_folder_without_anything_to_check_is_no_agreement() {
    let person = Person::new();
    person.write("run.json", "{\"jobs\":[]}");
    for file in ["predictions.csv", "outputs.csv"] {
        person.write(file, "job\r\n");
    }
    assert_eq!(check(&person.path(".")).status.code(), Some(2));
}
