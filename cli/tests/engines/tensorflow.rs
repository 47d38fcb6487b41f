//! TensorFlow, which no agent loads: a SavedModel on labelled data, through server and agent and its runner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{Fleet, Person, fixture};
use super::{value, variable, version};

#[test]
fn a_saved_model_is_evaluated_by_an_agent_through_its_runner_and_is_as_right_as_the_same_network_in_onnx() {
    let engines = variable("SEATRIAL_TEST_ENGINES");
    let person = Person::new();
    let data = person.path("server");
    let mut fleet = Fleet::serve(person, &data);
    let interpreter = format!("python-tensorflow={}", engines.join("tensorflow/bin/python").display());
    fleet.start_agent_with(&[("SEATRIAL_INTERPRETERS", interpreter.as_str())]);
    let text = |path: PathBuf| path.display().to_string();
    let runner = text(Path::new(env!("CARGO_MANIFEST_DIR")).join("../runners/tensorflow_graphs.toml"));
    fleet.seatrial(&["runtimes", "add", &runner]).success();
    let saved = ["saved_model.pb", "variables.index", "variables.data-00000-of-00001"]
        .map(|name| text(engines.join("models/digits-cnn.saved_model").join(name)));
    let (onnx, binding) = (fixture("models/digits-cnn.fp32.onnx"), fixture("binding.toml"));
    let files = [onnx.as_str(), saved[0].as_str(), saved[1].as_str(), saved[2].as_str()];
    let named = ["--binding", &binding, "--variant", "name=onnx", "--variant", "name=saved"];
    fleet.seatrial(&[&["models", "add", "digits-cnn"], &files[..], &named].concat()).success();
    fleet.seatrial(&["datasets", "add", &fixture("digits")]).success();

    let suite = "name = \"tensorflow\"\nmodels = [\"digits-cnn\"]\ndatasets = [\"digits\"]\nprofiles = [\"quick\"]\n\
                 backends = [{ runtime = \"tract\" }, { runtime = \"tensorflow\" }]\n[limits]\nmemory_mb = 8192\n\
                 [gate]\nallow_invalid = true\nallow_misfits = true\n";
    let path = fleet.person.write("tensorflow.toml", suite);
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let jobs = run["jobs"].as_array().unwrap_or_else(|| panic!("{run:#}")).iter();
    let jobs: BTreeMap<&str, &Value> = jobs.map(|job| (job["backend"].as_str().unwrap(), job)).collect();
    assert_eq!(jobs.keys().copied().collect::<Vec<_>>(), ["tensorflow cpu ×1", "tract cpu ×1"], "{run:#}");
    for job in jobs.values() {
        assert_eq!(job["outcome"], "ok", "{job:#}\n{}", fleet.logs());
        assert!(value(job, "lat_p50_ms") > 0.0, "{job:#}");
    }
    let [tensorflow, tract] = ["tensorflow cpu ×1", "tract cpu ×1"].map(|backend| value(jobs[backend], "top1"));
    assert!(tract > 0.9 && tensorflow == tract, "{tensorflow} and {tract} of 2,000 labelled digits");
    assert!(version(&fleet, jobs["tensorflow cpu ×1"]).starts_with("tensorflow 2."), "{run:#}");
    let cold = &jobs["tensorflow cpu ×1"]["metrics"]["load_cold_ms"];
    assert!(cold["value"].is_null(), "its framework stays in the page cache: {cold:#}");
}
