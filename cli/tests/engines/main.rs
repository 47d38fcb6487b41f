//! One model on every engine that runs here, from the packages that users have, through server and agent.
//!
//! `cargo xtask test --engines` fetches them and names their folder in `SEATRIAL_TEST_WHEELS`, and a software Vulkan that
//! is new enough for WebGPU in `SEATRIAL_TEST_VULKAN`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod formats;
mod opencl;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary, which use more of it")]
mod support;
mod tensorflow;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Fleet, fixture, stderr};

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; `cargo xtask test --engines` sets it")).into()
}

/// The wheel whose name begins so.
fn wheel(beginning: &str) -> String {
    let folder = variable("SEATRIAL_TEST_WHEELS");
    let mut names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(beginning);
    names.find(is_it).unwrap_or_else(|| panic!("no {beginning} in {}", folder.display())).display().to_string()
}

/// What an agent needs to find the software GPU, and nothing else.
fn vulkan(driver: &str) -> Vec<(&'static str, String)> {
    let description = variable(driver);
    let text: Value = serde_json::from_slice(&std::fs::read(&description).unwrap()).unwrap();
    let library = PathBuf::from(text["ICD"]["library_path"].as_str().unwrap());
    let runtime = std::env::temp_dir();
    vec![
        ("VK_DRIVER_FILES", description.display().to_string()),
        ("LD_LIBRARY_PATH", library.parent().unwrap().display().to_string()),
        ("XDG_RUNTIME_DIR", runtime.display().to_string()),
    ]
}

/// A fleet with every engine in its track, the digits CNN in two formats, and a labelled dataset whose reference outputs
/// ONNX Runtime 1.31.1 has made.
fn fleet(environment: &[(&'static str, String)]) -> Fleet {
    let person = support::Person::new();
    let data = person.path("server");
    let mut fleet = Fleet::serve(person, &data);
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fleet.start_agent_with(&environment);
    for (wheel, track) in [
        (wheel("onnxruntime-1.30"), "1.30"),
        (wheel("onnxruntime-1.31"), "1.31"),
        (wheel("onnxruntime_webgpu-"), "webgpu"),
        (wheel("ai_edge_litert-"), "stable"),
    ] {
        fleet.seatrial(&["runtimes", "add", &wheel, "--track", track]).success();
    }
    let (onnx, tflite) = (fixture("models/digits-cnn.fp32.onnx"), fixture("models/digits-cnn.fp32.tflite"));
    let binding = fixture("binding.toml");
    let names = ["--variant", "name=onnx", "--variant", "name=tflite"];
    let add = ["models", "add", "digits-cnn", &onnx, &tflite, "--binding", &binding];
    fleet.seatrial(&[&add[..], &names].concat()).success();
    let out = fleet.person.path("golden");
    let (out, reference) = (out.to_str().unwrap(), wheel("onnxruntime-1.31"));
    let golden = ["datasets", "golden", "--dataset", &fixture("digits"), &onnx, "--runtime", &reference];
    let made = fleet.seatrial(&[&golden[..], &["--binding", &binding, "--out", out]].concat()).success();
    assert!(stderr(&made).contains("by onnxruntime 1.31.1 cpu ×1"), "{}", stderr(&made));
    fleet.seatrial(&["datasets", "add", out]).success();
    fleet
}

const CPU: &str = r#"
{ runtime = "tract" }, { runtime = "tract", threads = 2 },
{ runtime = "onnxruntime", track = "1.30" }, { runtime = "onnxruntime", track = "1.30", threads = 2 },
{ runtime = "onnxruntime", track = "1.31" }, { runtime = "onnxruntime", track = "1.31", threads = 2 },
{ runtime = "litert" }, { runtime = "litert", threads = 2 }"#;
const GPU: &str = r#"
{ runtime = "onnxruntime", track = "webgpu", accelerator = "gpu" },
{ runtime = "litert", accelerator = "gpu" }"#;
/// Half precision where it is asked for, and a provider that no wheel has.
const SPECIAL: &str = r#"
{ runtime = "litert", accelerator = "gpu", precision = "fp16" },
{ runtime = "onnxruntime", track = "1.31", provider = "xnnpack" }"#;
const HALF: &str = "tflite litert gpu ×1 fp16";
const XNNPACK: &str = "onnx onnxruntime@1.31 cpu by xnnpack ×1";

/// Jobs of a run by variant and backend; what does not fit is a misfit and no job.
fn run(fleet: &Fleet, name: &str, backends: &str, profile: &str) -> BTreeMap<String, Value> {
    let suite = format!(
        "name = \"{name}\"\nmodels = [\"digits-cnn\"]\ndatasets = [\"digits-golden\"]\nprofiles = [\"{profile}\"]\n\
         backends = [{}]\n[gate]\nallow_invalid = true\nallow_misfits = true\n",
        backends.replace('\n', " ")
    );
    jobs_of(fleet, name, &suite)
}

/// Jobs of a suite by variant and backend.
fn jobs_of(fleet: &Fleet, name: &str, suite: &str) -> BTreeMap<String, Value> {
    let path = fleet.person.write(&format!("{name}.toml"), suite);
    let assert = fleet.seatrial(&["run", path.to_str().unwrap(), "--wait", "--format", "json"]);
    let run: Value = serde_json::from_slice(&assert.get_output().stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", stderr(&assert), fleet.logs()));
    let jobs = run["jobs"].as_array().unwrap_or_else(|| panic!("{run:#}")).iter();
    let jobs = jobs.map(|job| {
        let key = format!("{} {}", job["variant"].as_str().unwrap(), job["backend"].as_str().unwrap());
        (key, job.clone())
    });
    jobs.collect()
}

fn value(job: &Value, metric: &str) -> f64 {
    job["metrics"][metric]["value"].as_f64().unwrap_or_else(|| panic!("no {metric}: {job:#}"))
}

#[test]
fn one_suite_holds_every_engine_and_version_and_accelerator_against_one_reference() {
    let fleet = fleet(&vulkan("SEATRIAL_TEST_VULKAN"));
    let mut jobs = run(&fleet, "engines", &format!("{CPU}, {GPU}, {SPECIAL}"), "quick");
    check_the_pages(&fleet);
    let (half, xnnpack) = (jobs.remove(HALF).unwrap(), jobs.remove(XNNPACK).unwrap());
    assert_eq!(half["outcome"], "ok_fallback", "{half:#}");
    assert!(value(&half, "golden_max_abs") > 1e-3, "the control: what fp16 does to the outputs is seen: {half:#}");
    assert_eq!(xnnpack["outcome"], "unsupported_backend", "{xnnpack:#}");
    assert!(xnnpack["message"].as_str().unwrap().contains("1.31.1 was built without xnnpack"), "{xnnpack:#}");
    let expected = [
        "onnx onnxruntime@1.30 cpu ×1",
        "onnx onnxruntime@1.30 cpu ×2",
        "onnx onnxruntime@1.31 cpu ×1",
        "onnx onnxruntime@1.31 cpu ×2",
        "onnx onnxruntime@webgpu gpu ×1",
        "onnx tract cpu ×1",
        "onnx tract cpu ×2",
        "tflite litert cpu ×1",
        "tflite litert cpu ×2",
        "tflite litert gpu ×1",
    ];
    assert_eq!(jobs.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    let right = value(&jobs["onnx onnxruntime@1.31 cpu ×1"], "top1");
    assert!(right > 0.9, "{right}");
    for (key, job) in &jobs {
        // A software rasterizer shows that the path works; it is no GPU.
        let expected = if key.contains(" gpu ") { "ok_fallback" } else { "ok" };
        assert_eq!(job["outcome"], expected, "{key}: {job:#}\n{}", fleet.logs());
        if expected == "ok_fallback" {
            let message = job["message"].as_str().unwrap();
            assert!(message.contains("the GPU is a program that computes on the CPU: llvmpipe"), "{key}: {message}");
        }
        assert!((value(job, "top1") - right).abs() <= 1.0 / 2000.0, "{key}: {job:#}");
        assert!(value(job, "golden_cosine") > 0.9999, "{key}: {job:#}");
        assert!(value(job, "golden_max_abs") < 1e-3, "{key} computes in fp32: {job:#}");
        assert!(value(job, "lat_p50_ms") > 0.0, "{key}");
    }
    assert_eq!(value(&jobs["onnx onnxruntime@1.31 cpu ×1"], "golden_max_abs"), 0.0, "the reference itself");
    let versions: Vec<String> =
        ["onnx onnxruntime@1.30 cpu ×1", "onnx onnxruntime@1.31 cpu ×1", "tflite litert cpu ×1"]
            .map(|key| version(&fleet, &jobs[key]))
            .to_vec();
    assert_eq!(versions, ["onnxruntime 1.30.0", "onnxruntime 1.31.1", "litert 2.3.0, as the package says"]);
    let page = job_page(&fleet, &jobs["onnx onnxruntime@webgpu gpu ×1"]);
    let delegated = &page["report"]["actual"]["delegated"]["present"];
    assert!(delegated[0].as_u64().unwrap() > 0 && delegated[0] == delegated[1], "{:#}", page["report"]["actual"]);
}

/// What the page of a job in profile `full` tells beside its figures: the engine's own operators, and every kind of load.
fn check_a_full_job(fleet: &Fleet, key: &str, job: &Value) {
    assert_eq!(job["outcome"], "ok", "{key}: {job:#}\n{}", fleet.logs());
    let report = &job_page(fleet, job)["report"];
    let operators = &report["operators"]["present"];
    assert!(operators["runs"].as_u64().is_some_and(|runs| runs > 0), "{key} tells of no operators: {report:#}");
    assert!(operators["operators"].as_array().is_some_and(|all| !all.is_empty()), "{key}: {operators:#}");
    let untold = |bound: &Value| bound.as_str().unwrap_or_default().contains("did not tell");
    assert!(!report["bounds_hit"].as_array().unwrap().iter().any(untold), "{key}: {:#}", report["bounds_hit"]);
    assert!(value(job, "load_warm_ms") > 0.0, "{key}");
    // ONNX Runtime does not tell compiling from loading, and says so.
    let compiled = &job["metrics"]["compile_ms"];
    assert_eq!(compiled["value"].is_null(), key.contains("onnxruntime"), "{key}: {compiled:#}");
    assert!(compiled["value"].is_number() || compiled["absent"].is_string(), "{key}: {compiled:#}");
}

#[test]
fn every_engine_tells_of_its_operators_on_the_cpu_and_of_its_loads() {
    let fleet = fleet(&[]);
    let backends = "{ runtime = \"tract\" }, { runtime = \"onnxruntime\", track = \"1.31\" }, { runtime = \"litert\" }";
    let jobs = run(&fleet, "full", backends, "full");
    assert_eq!(jobs.len(), 3, "{jobs:#?}");
    for (key, job) in &jobs {
        check_a_full_job(&fleet, key, job);
    }
}

/// A golden set of the digits by ONNX Runtime 1.31.1 from this variant of the digits CNN.
fn golden_by(fleet: &Fleet, precision: &str) -> String {
    let (name, reference) = (format!("golden-{precision}"), wheel("onnxruntime-1.31"));
    let out = fleet.person.path(&name).display().to_string();
    let (model, binding) = (fixture(&format!("models/digits-cnn.{precision}.onnx")), fixture("binding.toml"));
    let source = fixture("digits");
    let make = ["datasets", "golden", "--dataset", &source, &model, "--runtime", &reference, "--name", &name];
    fleet.seatrial(&[&make[..], &["--binding", &binding, "--out", &out]].concat()).success();
    fleet.seatrial(&["datasets", "add", &out]).success();
    name
}

#[test]
fn three_precisions_of_one_version_are_compared_with_the_whole_and_int8_with_int8() {
    let fleet = fleet(&[]);
    let files = ["fp32", "fp16", "int8"].map(|precision| fixture(&format!("models/digits-cnn.{precision}.onnx")));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let add = [&["models", "add", "digits-three"], &files[..], &["--binding", &fixture("binding.toml")]].concat();
    fleet.seatrial(&add).success();
    golden_by(&fleet, "int8");
    let of = |dataset: &str, variants: &str| {
        let suite = format!(
            "name = \"{dataset}\"\nmodels = [{{ name = \"digits-three\", variants = [{variants}] }}]\n\
             datasets = [\"{dataset}\"]\nprofiles = [\"accuracy_only\"]\n\
             backends = [{{ runtime = \"onnxruntime\", track = \"1.31\" }}, {{ runtime = \"onnxruntime\", track = \"1.30\" }}, \
             {{ runtime = \"tract\" }}]\n[gate]\nmax_failed = 100\nallow_invalid = true\n"
        );
        jobs_of(&fleet, dataset, &suite)
    };
    let against_fp32 = of("digits-golden", "\"fp32\", \"fp16\", \"int8\"");
    let on =
        |jobs: &BTreeMap<String, Value>, variant: &str, backend: &str| jobs[&format!("{variant} {backend} ×1")].clone();
    let ort = "onnxruntime@1.31 cpu";
    for backend in [ort, "onnxruntime@1.30 cpu", "tract cpu"] {
        let whole = on(&against_fp32, "fp32", backend);
        let (half, int8) = (on(&against_fp32, "fp16", backend), on(&against_fp32, "int8", backend));
        let half_too = backend != "tract cpu";
        if !half_too {
            // It knows no Gemm in halves, and says so.
            assert_eq!(half["outcome"], "load_fail", "{half:#}");
        }
        for job in [&whole, &int8].into_iter().chain(half_too.then_some(&half)) {
            assert_eq!(job["outcome"], "ok", "{job:#}\n{}", fleet.logs());
            assert!(value(job, "top1") > 0.97, "{job:#}");
        }
        let far = |job: &Value| value(job, "golden_max_abs");
        assert!(far(&whole) < 1e-3, "{whole:#}");
        assert!(!half_too || (1e-4..0.1).contains(&far(&half)), "rounded to halves, and no more: {half:#}");
        // Without VNNI ONNX Runtime saturates pairs of products: docs/runtimes.md.
        assert!((0.1..8.0).contains(&far(&int8)), "{int8:#}");
    }
    let against_int8 = of("golden-int8", "\"int8\"");
    let itself = on(&against_int8, "int8", ort);
    assert_eq!((itself["outcome"].as_str(), value(&itself, "golden_max_abs")), (Some("ok"), 0.0), "{itself:#}");
    assert_eq!(value(&itself, "golden_argmax_agree"), 1.0, "{itself:#}");
    // Another engine rounds otherwise. Whether that is near enough depends on the processor; that it is compared does not.
    let other = on(&against_int8, "int8", "tract cpu");
    assert!(["ok", "numerics_fail"].contains(&other["outcome"].as_str().unwrap()), "{other:#}");
    assert!(value(&other, "golden_max_abs") > 0.0 && value(&other, "top1") > 0.97, "{other:#}");
    let page: Value = serde_json::from_str(&fleet.page_data("/models/digits-three")).unwrap();
    let results = page["results"].as_array().unwrap().iter().map(|row| row["job"]["variant"].as_str().unwrap());
    let variants: std::collections::BTreeSet<&str> = results.collect();
    assert_eq!(variants.into_iter().collect::<Vec<_>>(), ["fp16", "fp32", "int8"], "{:#}", page["results"]);
}

/// The model's page holds every engine, version and accelerator side by side, and the run's page every job.
fn check_the_pages(fleet: &Fleet) {
    let page: Value = serde_json::from_str(&fleet.page_data("/models/digits-cnn")).unwrap();
    let backends = |list: &str| -> Vec<String> {
        let rows = page[list].as_array().unwrap().iter();
        let mut backends: Vec<String> = rows.map(|row| row["job"]["backend"].as_str().unwrap().to_owned()).collect();
        backends.sort();
        backends
    };
    assert_eq!(backends("results").len(), 12, "a combination that failed stands there too: {:#}", page["results"]);
    assert_eq!(backends("outputs").len(), 12, "one that gave none stands there too: {:#}", page["outputs"]);
    let without = page["outputs"].as_array().unwrap().iter().filter(|row| row["max_abs"].is_null());
    assert_eq!(without.count(), 1, "{:#}", page["outputs"]);
    let abis = page["outputs"].as_array().unwrap().iter().map(|row| row["abi"].as_str().unwrap());
    assert!(abis.into_iter().all(|abi| abi.ends_with("-linux-gnu")), "{:#}", page["outputs"]);
    let pairs = page["against_cpu"].as_array().unwrap();
    assert_eq!(pairs.len(), 3, "a GPU for each variant and precision, beside the CPU: {pairs:#?}");
    let run = fleet.page_data("/runs/1");
    for backend in backends("results") {
        assert!(run.contains(&backend), "{backend} is on no page of its run");
    }
}

fn job_page(fleet: &Fleet, job: &Value) -> Value {
    serde_json::from_str(&fleet.page_data(&format!("/jobs/{}", job["id"].as_str().unwrap()))).unwrap()
}

fn version(fleet: &Fleet, job: &Value) -> String {
    job_page(fleet, job)["report"]["environment"]["runtime_version"].as_str().unwrap().to_owned()
}

#[test]
fn without_a_driver_the_gpu_is_an_unsupported_backend_and_no_cpu_stands_in_for_it() {
    let nowhere = Path::new("/nonexistent/driver.json").display().to_string();
    let fleet = fleet(&[("VK_DRIVER_FILES", nowhere)]);
    let jobs = run(&fleet, "no-gpu", GPU, "accuracy_only");
    assert_eq!(jobs.len(), 2, "{jobs:#?}");
    for (key, job) in &jobs {
        assert_eq!(job["outcome"], "unsupported_backend", "{key}: {job:#}\n{}", fleet.logs());
        assert!(job["metrics"]["top1"]["value"].is_null(), "{key}: {job:#}");
    }
}

#[test]
fn a_driver_that_is_too_old_is_never_a_pass_of_the_gpu() {
    let fleet = fleet(&vulkan("SEATRIAL_TEST_OLD_VULKAN"));
    let jobs = run(&fleet, "old-driver", GPU, "accuracy_only");
    assert_eq!(jobs.len(), 2, "{jobs:#?}");
    for (key, job) in &jobs {
        assert_eq!(job["outcome"], "unsupported_backend", "{key}: {job:#}\n{}", fleet.logs());
        assert!(job["metrics"]["top1"]["value"].is_null(), "{key}: {job:#}");
    }
}

#[test]
fn a_vendors_program_is_a_runtime_like_any_other() {
    let person = support::Person::new();
    let data = person.path("server");
    let mut fleet = Fleet::serve(person, &data);
    fleet.start_agent_with(&[]);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../commands/llama-bench.toml");
    let (program, model) = (variable("SEATRIAL_TEST_LLAMA_BENCH"), variable("SEATRIAL_TEST_GGUF"));
    let (program, model) = (program.to_str().unwrap(), model.to_str().unwrap());
    let add = ["runtimes", "add", program, "--rules", rules.to_str().unwrap(), "--version", "b11434"];
    fleet.seatrial(&add).success();
    fleet.seatrial(&["models", "add", "tiny", model]).success();
    let suite = "name = \"llama\"\nmodels = [\"tiny\"]\nprofiles = [\"quick\"]\nbackends = [{ runtime = \"llama-bench\" }]\n\
                 [gate]\nallow_invalid = true\n";
    let path = fleet.person.write("llama.toml", suite);
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let job = &run["jobs"][0];
    assert_eq!(job["outcome"], "ok", "{run:#}\n{}", fleet.logs());
    assert!(value(job, "lat_p50_ms") > 0.0 && value(job, "told.generation_rate_avg") > 0.0, "{run:#}");
    assert_eq!(version(&fleet, job), "llama-bench 11434");
}
