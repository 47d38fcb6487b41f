//! The whole thing as a person runs it: real server, real agent, the demo's models and data.

use crate::support::{Fleet, Person, fixture, is_evaluating, processes_of, stderr, stdout, within};
use serde_json::Value;

/// Of runs on a machine that does other things as well.
const DISTURBED: &str = "[gate]\nallow_invalid = true";

/// Digits on the small model, `threads` a job each, `seconds` of measuring, and a gate if there is one.
fn suite(threads: &str, seconds: f64, gate: &str) -> String {
    format!(
        r#"
name = "test"
models = [{{ name = "digits-mlp", variants = ["fp32"] }}]
datasets = ["digits"]
backends = [{{ runtime = "tract", threads = {threads} }}]
profiles = [{{ kind = "quick", min_seconds = {seconds}, warmup = {{ min_seconds = 0.1 }} }}]
{gate}
"#
    )
}

fn value(metrics: &Value, name: &str) -> f64 {
    metrics[name]["value"].as_f64().unwrap_or_else(|| panic!("{name} in {metrics:#}"))
}

#[test]
fn the_demo_ends_with_every_job_ok_and_leaves_nothing_behind() {
    let person = Person::new();
    let assert = person.seatrial(&["demo", "--once", "--format", "json"]).success();
    let data: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(fixture("expected.json")).unwrap()).unwrap();
    assert_eq!(data.as_object().unwrap().keys().collect::<Vec<_>>(), ["jobs"]);
    let jobs = data["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 8, "two models, two variants, two numbers of threads");
    for job in jobs {
        let keys: Vec<&String> = job.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["backend", "device", "invalid", "metrics", "model", "outcome", "profile", "variant"]);
        assert_eq!(job["outcome"], "ok", "{job:#}");
        let metrics = &job["metrics"];
        let [p50, lo, hi] = ["value", "lo", "hi"].map(|key| metrics["lat_p50_ms"][key].as_f64().unwrap());
        assert!(0.0 < lo && lo <= p50 && p50 <= hi && hi < 1000.0, "{job:#}");
        assert_eq!(metrics["lat_p50_ms"]["unit"], "ms");
        assert!(p50 <= value(metrics, "lat_p90_ms"));
        let right = &expected[job["model"].as_str().unwrap()][job["variant"].as_str().unwrap()];
        assert_eq!(value(metrics, "model_size_mb"), right["bytes"].as_f64().unwrap() / 1e6);
        assert!((value(metrics, "top1") - right["top1"].as_f64().unwrap()).abs() < 0.002, "{job:#}");
        for metric in metrics.as_object().unwrap().values() {
            assert!(metric["value"].is_number() || metric["absent"].is_string(), "missing is never silent: {job:#}");
        }
    }
    assert_eq!(person.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_run_exits_by_its_gate_and_its_results_can_be_read_in_every_form() {
    let fleet = Fleet::start();
    fleet.register_digits();
    let passing = "[gate]\nallow_invalid = true\nmetrics = [{ metric = \"top1\", min = 0.5 }]";
    let suite_path = fleet.person.write("passing.toml", &suite("[1]", 0.2, passing));
    let standing = || fleet.json(&["models", "show", "digits-mlp"])["versions"][0]["variants"][0]["standing"].clone();
    assert_eq!(standing(), "claimed");
    let assert = fleet.seatrial(&["run", suite_path.to_str().unwrap(), "--wait"]).success();
    assert!(stderr(&assert).contains("gate passed"), "{}", stderr(&assert));
    assert!(stdout(&assert).contains("digits-mlp"));
    assert_eq!(standing(), "confirmed", "a device has read the file");
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(fleet.json(&["devices"])["devices"][0]["name"], hostname.trim());

    let failing = "[gate]\nallow_invalid = true\nmetrics = [{ metric = \"lat_p50_ms\", max = 0.000001 }]";
    let suite_path = fleet.person.write("failing.toml", &suite("[1]", 0.2, failing));
    let assert = fleet.seatrial(&["run", suite_path.to_str().unwrap(), "--wait"]).code(3);
    assert!(stderr(&assert).contains("gate failed: 1 finding"), "{}", stderr(&assert));
    fleet.seatrial(&["watch", "2"]).code(3);

    let results = fleet.json(&["results", "2"]);
    let short = results["jobs"][0]["short"].as_str().unwrap();
    let job = fleet.json(&["results", short]);
    assert_eq!(job["job"]["outcome"], "ok");
    assert_eq!(job["spec"]["model"]["model"], "digits-mlp");
    let csv = stdout(&fleet.seatrial(&["export", "2", "--format", "csv"]).success());
    assert!(csv.lines().count() > 10 && csv.contains("lat_p50_ms"), "{csv}");
    let junit = stdout(&fleet.seatrial(&["export", "2", "--format", "junit"]).success());
    assert!(junit.contains("<testcase"), "{junit}");
    let parquet = fleet.person.path("run.parquet");
    fleet.seatrial(&["export", "2", "--format", "parquet", "--output", parquet.to_str().unwrap()]).success();
    assert_eq!(&std::fs::read(&parquet).unwrap()[..4], b"PAR1");
    let assert = fleet.seatrial(&["export", "2", "--format", "parquet", "--output", parquet.to_str().unwrap()]).code(1);
    assert!(stderr(&assert).contains("exists"), "a file is never written over: {}", stderr(&assert));
    fleet.seatrial(&["rerun", short, "--wait"]).code(3);
    fleet.seatrial(&["results", "99"]).code(7);
}

#[test]
fn a_demo_that_is_killed_takes_its_agent_along_and_the_next_one_clears_its_folder() {
    let person = Person::new();
    let start = || person.command().arg("demo").stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut demo = start();
    within(60, "the demo measures", || person.left_behind().first().is_some_and(|folder| is_evaluating(folder)));
    let folder = person.left_behind().remove(0);
    demo.kill().unwrap();
    demo.wait().unwrap();
    within(3, "agent and child are gone", || processes_of(&folder) == 0);
    assert!(folder.is_dir(), "the control: nobody was left to remove it");

    let mut next = start();
    within(30, "the next demo has a folder", || {
        let left = person.left_behind();
        !folder.exists() && left.len() == 1 && processes_of(&left[0]) >= 1
    });
    let interrupted = std::process::Command::new("kill").args(["-INT", &next.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    next.wait().unwrap();
    assert_eq!(person.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn quantised_outputs_stay_near_the_reference_that_another_engine_gave() {
    let fleet = Fleet::start();
    fleet.register_digits();
    for model in ["digits-mlp", "digits-cnn"] {
        let text = format!(
            "name = \"golden\"\nmodels = [\"{model}\"]\ndatasets = [\"{model}-golden\"]\nbackends = [{{ runtime = \"tract\" }}]\n\
             profiles = [\"accuracy_only\"]\n"
        );
        let path = fleet.person.write("golden.toml", &text);
        let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
        for job in run["jobs"].as_array().unwrap() {
            let metrics = &job["metrics"];
            let (cosine, largest) = if job["variant"] == "fp32" { (0.999_999, 1e-3) } else { (0.98, 5.0) };
            assert!(value(metrics, "golden_cosine") >= cosine, "{job:#}");
            assert!(value(metrics, "golden_max_abs") <= largest, "{job:#}");
        }
    }
}

#[test]
fn a_job_that_was_submitted_while_its_agent_lay_dead_runs_when_it_is_back() {
    let mut fleet = Fleet::start();
    fleet.register_digits();
    let path = fleet.person.write("later.toml", &suite("[1]", 0.2, DISTURBED));
    fleet.kill_agent();
    fleet.seatrial(&["run", path.to_str().unwrap()]).success();
    let jobs = || fleet.json(&["results", "1"])["jobs"].clone();
    assert!(jobs()[0]["outcome"].is_null(), "the control: without its agent it waits: {:#}", jobs());
    fleet.start_agent();
    let assert = fleet.seatrial(&["watch", "1", "--format", "json"]).success();
    let run: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert_eq!((&run["jobs"][0]["outcome"], run["jobs"].as_array().map(Vec::len)), (&Value::from("ok"), Some(1)));
}

#[test]
fn a_run_ends_although_its_agent_is_killed_in_the_middle() {
    let mut fleet = Fleet::start();
    fleet.register_digits();
    let path = fleet.person.write("long.toml", &suite("[1, 2]", 4.0, DISTURBED));
    fleet.seatrial(&["run", path.to_str().unwrap()]).success();
    fleet.eventually("it measures", |fleet| fleet.json(&["results", "1"])["jobs"][0]["stage"] == "measure");
    fleet.kill_agent();
    fleet.start_agent();
    let run = {
        let assert = fleet.seatrial(&["watch", "1", "--format", "json"]).success();
        serde_json::from_str::<Value>(&stdout(&assert)).unwrap()
    };
    let jobs = run["jobs"].as_array().unwrap();
    assert!(jobs.iter().all(|job| job["outcome"] == "ok"), "{run:#}");
    assert_eq!(jobs[0]["attempt"], 2, "the attempt that was lost is not hidden: {run:#}");
}

#[test]
fn a_model_is_tried_without_a_server_and_without_a_trace() {
    let person = Person::new();
    let model = fixture("models/digits-mlp.fp32.onnx");
    let assert = person.seatrial(&["try", &model, "--time", "1s", "--format", "json"]).success();
    let data: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert_eq!(data["outcome"], "ok");
    assert!(value(&data["metrics"], "lat_p50_ms") > 0.0);
    assert_eq!(person.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_truncated_model_is_refused_by_its_name_and_leaves_nothing_behind() {
    let person = Person::new();
    let whole = std::fs::read(fixture("models/digits-mlp.fp32.onnx")).unwrap();
    std::fs::write(person.path("half.onnx"), &whole[..whole.len() / 2]).unwrap();
    let assert = person.seatrial(&["try", "half.onnx"]).code(1);
    assert!(stderr(&assert).contains("half.onnx"), "{}", stderr(&assert));
    assert_eq!(person.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_an_operator_does_with_a_device_shows() {
    let fleet = Fleet::start();
    let name = fleet.json(&["devices"])["devices"][0]["name"].as_str().unwrap().to_owned();
    fleet.seatrial(&["devices", "label", &name, "shelf=A3", "owner=qa"]).success();
    fleet.seatrial(&["devices", "label", &name, "owner-"]).success();
    fleet.seatrial(&["devices", "rename", &name, "bench-1"]).success();
    let device = fleet.json(&["devices", "--selector", "labels.shelf == 'A3'"])["devices"][0].clone();
    assert_eq!(device["name"], "bench-1");
    assert_eq!(device["labels"], serde_json::json!({ "shelf": "A3" }));
    fleet.seatrial(&["devices", "maintenance", "bench-1", "--reason", "new battery"]).success();
    let device = fleet.json(&["devices"])["devices"][0].clone();
    assert_eq!((device["state"].as_str(), device["state_reason"].as_str()), (Some("maintenance"), Some("new battery")));
    fleet.seatrial(&["devices", "release", "bench-1"]).success();
    fleet.seatrial(&["devices", "retire", "nobody"]).code(7);
}
