//! A dataset that brings what judges it, from the folder to the gate.

use std::process::Command;

use serde_json::Value;

use super::support::{Fleet, Person, fixture, stderr, stdout};

/// An interpreter as agents are given it.
fn python() -> String {
    let named = std::env::var_os("SEATRIAL_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let told = Command::new(named).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    format!("python3={}", String::from_utf8(told.stdout).unwrap().trim())
}

/// The demo's digits, judged by the example scorer.
fn dataset(person: &Person) -> String {
    let folder = person.path("digits-calibration");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(fixture("digits/images.npy"), folder.join("images.npy")).unwrap();
    for name in ["calibration.py", "seatrial_runner.py"] {
        let runners = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../runners");
        std::fs::copy(runners.join(name), folder.join(name)).unwrap();
    }
    let labels = std::fs::read(fixture("digits/labels.npy")).unwrap();
    let labels = seatrial_core::dataset::npy::parse(&labels).unwrap().to_f64();
    let labels: Vec<u32> = labels.into_iter().map(|label| label as u32).collect();
    std::fs::write(folder.join("truth.json"), serde_json::json!({ "labels": labels }).to_string()).unwrap();
    let manifest = format!(
        "name = \"digits-calibration\"\ntask = \"custom\"\nexamples = {}\n\
         inputs = [{{ name = \"image\", kind = \"npy\", member = \"images.npy\" }}]\n\
         labels = {{ kind = \"file\", member = \"truth.json\" }}\n\
         [scorer]\nprogram = \"calibration.py\"\nfiles = [\"seatrial_runner.py\"]\n\
         [[scorer.metrics]]\nname = \"ece\"\nbetter = \"lower\"\n\
         [[scorer.metrics]]\nname = \"nll\"\nunit = \"nat\"\nbetter = \"lower\"\n",
        labels.len()
    );
    std::fs::write(folder.join("dataset.toml"), manifest).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn suite(metric: &str, max: f64) -> String {
    format!(
        "name = \"calibrated\"\nmodels = [{{ name = \"digits-mlp\", variants = [\"fp32\"] }}]\n\
         datasets = [\"digits-calibration\"]\nbackends = [{{ runtime = \"tract\" }}]\n\
         profiles = [\"accuracy_only\"]\n\
         [gate]\nallow_invalid = true\nmetrics = [{{ metric = \"{metric}\", max = {max} }}]\n"
    )
}

#[test]
fn a_dataset_with_its_own_scorer_is_added_placed_judged_and_gated() {
    let mut fleet = Fleet::start();
    fleet.register_digits();
    let folder = dataset(&fleet.person);
    fleet.seatrial(&["datasets", "add", &folder]).success();
    let listed = fleet.json(&["datasets", "list"]);
    let listed = listed["datasets"].as_array().unwrap().iter().find(|row| row["name"] == "digits-calibration");
    assert_eq!(listed.unwrap()["task"], "custom");

    let passing = fleet.person.write("passing.toml", &suite("custom.nll", 2.0));
    let assert = fleet.seatrial(&["run", passing.to_str().unwrap(), "--wait"]).code(6);
    let said = "the scorer of digits-calibration is run by python3, which the agent on the device does not have";
    assert!(stderr(&assert).contains(said), "{}", stderr(&assert));

    fleet.kill_agent();
    fleet.start_agent_with(&[("SEATRIAL_INTERPRETERS", &python())]);
    let assert = fleet.seatrial(&["run", passing.to_str().unwrap(), "--wait"]).success();
    assert!(stderr(&assert).contains("gate passed"), "{}\n{}", stderr(&assert), fleet.logs());
    let results = fleet.json(&["results", "1"]);
    let metrics = &results["jobs"][0]["metrics"];
    let [ece, nll] = ["custom.ece", "custom.nll"].map(|name| metrics[name]["value"].as_f64().unwrap());
    assert!((0.0..0.2).contains(&ece) && (0.0..1.0).contains(&nll), "{metrics:#}");
    assert_eq!(metrics["custom.nll"]["unit"], "nat");
    assert!(metrics["custom.nll"]["lo"].as_f64().unwrap() < nll, "{metrics:#}");
    let csv = stdout(&fleet.seatrial(&["export", "1", "--format", "csv"]).success());
    assert!(csv.contains(",custom.ece,1,"), "{csv}");

    let failing = fleet.person.write("failing.toml", &suite("custom.nll", 0.000_001));
    let assert = fleet.seatrial(&["run", failing.to_str().unwrap(), "--wait"]).code(3);
    assert!(stderr(&assert).contains("gate failed: 1 finding"), "{}", stderr(&assert));
    let unknown = fleet.person.write("unknown.toml", &suite("custom.brier", 1.0));
    let assert = fleet.seatrial(&["run", unknown.to_str().unwrap(), "--wait"]).code(6);
    assert!(stderr(&assert).contains("no scorer of its datasets tells \"custom.brier\""), "{}", stderr(&assert));

    // Without a server, on the same files.
    let model = fixture("models/digits-mlp.fp32.onnx");
    let binding = fixture("binding.toml");
    let tried = [
        "try",
        &model,
        "--time",
        "1s",
        "--binding",
        &binding,
        "--dataset",
        &folder,
        "--interpreter",
        &python(),
        "--format",
        "json",
    ]; // fmt: skip
    let assert = fleet.person.seatrial(&tried).success();
    let data: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert_eq!(data["outcome"], "ok", "{data:#}");
    assert_eq!(data["metrics"]["custom.ece"]["value"].as_f64(), Some(ece), "{data:#}");
    assert!(data["metrics"]["lat_p50_ms"]["value"].as_f64().is_some(), "{data:#}");
}

#[test]
fn a_scorer_whose_files_are_not_all_there_is_refused_before_anything_is_uploaded() {
    let person = Person::new();
    let folder = dataset(&person);
    std::fs::remove_file(std::path::Path::new(&folder).join("seatrial_runner.py")).unwrap();
    let model = fixture("models/digits-mlp.fp32.onnx");
    let assert = person.seatrial(&["try", &model, "--dataset", &folder]).code(1);
    assert!(stderr(&assert).contains("names members that are not in it: seatrial_runner.py"), "{}", stderr(&assert));
}
