//! An engine that is not built in: from a library of this machine, through server and agent, to figures.
//!
//! `SEATRIAL_TEST_PYTHON` names an interpreter with `fixtures/demo/requirements.txt`, which brings ONNX Runtime's library;
//! `cargo xtask test` sets it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{Fleet, Person, fixture, stderr, stdout};

/// The shared library in the `onnxruntime` package of the test interpreter.
pub(crate) fn onnxruntime() -> PathBuf {
    let python = std::env::var_os("SEATRIAL_TEST_PYTHON");
    let python = PathBuf::from(python.unwrap_or_else(|| panic!("SEATRIAL_TEST_PYTHON: `cargo xtask test` sets it")));
    let lib = python.parent().and_then(Path::parent).unwrap().join("lib");
    let names = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let capi = names(&lib).into_iter().map(|python| python.join("site-packages/onnxruntime/capi"));
    let capi = capi.into_iter().find(|folder| folder.is_dir()).unwrap();
    let is_library = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("libonnxruntime.so.");
    names(&capi).into_iter().find(is_library).unwrap()
}

fn suite(backends: &str) -> String {
    format!(
        "name = \"engines\"\nmodels = [{{ name = \"digits-mlp\", variants = [\"fp32\"] }}]\ndatasets = [\"digits\"]\n\
         profiles = [\"accuracy_only\"]\nbackends = [{backends}]\n"
    )
}

#[test]
fn an_engine_from_a_package_answers_as_the_built_in_one_does_and_says_what_it_offers() {
    let mut fleet = Fleet::start();
    fleet.register_digits();
    let library = onnxruntime();
    let library = library.to_str().unwrap();
    let dry = stderr(&fleet.seatrial(&["runtimes", "add", library, "--dry-run"]).success());
    assert!(dry.contains("onnxruntime 1.") && dry.contains("would enter track stable"), "{dry}");
    let added = stderr(&fleet.seatrial(&["runtimes", "add", library]).success());
    assert!(added.contains("is the newest of track stable"), "{added}");
    let again = fleet.json(&["runtimes", "add", library]);
    assert_eq!(again["packages"][0]["added"], false, "{again:#}");

    let path = fleet.person.write("engines.toml", &suite("{ runtime = \"tract\" }, { runtime = \"onnxruntime\" }"));
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let jobs = run["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2, "{run:#}");
    let right = |job: &Value| job["metrics"]["top1"]["value"].as_f64();
    assert!(jobs.iter().all(|job| job["outcome"] == "ok"), "{run:#}");
    assert!(right(&jobs[0]).is_some() && right(&jobs[0]) == right(&jobs[1]), "{run:#}");
    let told = fleet.page_data(&format!("/jobs/{}", jobs[1]["id"].as_str().unwrap()));
    assert!(told.contains("\"runtime_offers\":\"cpu\""), "{told}");

    let packages = |fleet: &Fleet| fleet.json(&["devices"])["devices"][0]["profile"]["packages"].clone();
    assert_eq!(packages(&fleet), Value::Array(Vec::new()), "not asked when it said hello");
    fleet.kill_agent();
    fleet.start_agent();
    let told = packages(&fleet);
    assert_eq!((&told[0]["name"], &told[0]["accelerators"][0]), (&"onnxruntime".into(), &"cpu".into()), "{told:#}");
    assert_eq!(told.as_array().unwrap().len(), 1);
}

#[test]
fn a_track_that_is_not_there_is_a_misfit_with_what_there_is() {
    let fleet = Fleet::start();
    fleet.register_digits();
    fleet.seatrial(&["runtimes", "add", onnxruntime().to_str().unwrap(), "--track", "nightly"]).success();
    let backends = "{ runtime = \"tract\" }, { runtime = \"onnxruntime\", track = \"1.30\" }";
    let path = fleet.person.write("engines.toml", &suite(backends));
    let submitted = stdout(&fleet.seatrial(&["run", path.to_str().unwrap(), "--format", "json"]).success());
    let submitted: Value = serde_json::from_str(&submitted).unwrap();
    assert_eq!((&submitted["jobs"], &submitted["misfits"]), (&Value::from(1), &Value::from(1)), "{submitted:#}");
}

#[test]
fn what_is_no_package_is_refused_with_its_reason_before_anything_is_sent() {
    let fleet = Fleet::start();
    let text = fleet.person.write("notes.whl", "not an archive");
    let refused = stderr(&fleet.seatrial(&["runtimes", "add", text.to_str().unwrap()]).code(1));
    assert!(refused.contains("neither a zip"), "{refused}");
    let own = std::env::current_exe().unwrap();
    let refused = stderr(&fleet.seatrial(&["runtimes", "add", own.to_str().unwrap()]).code(1));
    assert!(refused.contains("none of its 1 libraries is an engine that agents load"), "{refused}");
}

/// A suite of what is measured, on a machine that other tests load.
fn measured(model: &str, runtime: &str, profiles: &str) -> String {
    format!(
        "name = \"measured\"\nmodels = [\"{model}\"]\nprofiles = [{profiles}]\nbackends = [{{ runtime = \"{runtime}\" }}]\n\
         [gate]\nallow_invalid = true\nallow_misfits = true\n"
    )
}

/// A runner by the SDK: doubles two numbers in 0.3 ms.
const DOUBLER: &str = r#"
import struct, time
from seatrial_runner import Loaded, Runner, Value, serve, tensor

class Doubler(Runner):
    runtime, version, formats = "doubler", "1.2", ["caffe"]

    def load(self, request):
        return Loaded(inputs=[tensor("x", "f32", [1, 2])], outputs=[tensor("y", "f32", [1, 2])])

    def set_inputs(self, inputs):
        self.x = struct.unpack("<2f", inputs["x"].content)

    def infer(self):
        end = time.perf_counter_ns() + 300_000
        while time.perf_counter_ns() < end:
            pass
        self.y = [2 * x for x in self.x]

    def outputs(self):
        return [Value("y", "f32", [1, 2], struct.pack("<2f", *self.y))]

serve(Doubler())
"#;

const DOUBLERS_DESCRIPTION: &str = r#"
runtime = "doubler"
version = "1.2"
interpreter = "python3"
formats = ["caffe"]
program = "doubler.py"
files = ["seatrial_runner.py"]
"#;

#[test]
fn a_runner_is_added_by_its_description_and_measures_on_a_device_that_has_its_interpreter() {
    let person = Person::new();
    let data = person.path("server");
    let mut fleet = Fleet::serve(person, &data);
    let python = std::env::var("SEATRIAL_TEST_PYTHON").expect("`cargo xtask test` sets it");
    fleet.start_agent_with(&[("SEATRIAL_INTERPRETERS", &format!("python3={python}"))]);

    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runners/seatrial_runner.py");
    std::fs::copy(sdk, fleet.person.path("seatrial_runner.py")).unwrap();
    let program = fleet.person.write("doubler.py", DOUBLER);
    fleet.person.write("doubler.toml", DOUBLERS_DESCRIPTION);
    let added = stderr(&fleet.seatrial(&["runtimes", "add", program.to_str().unwrap()]).success());
    assert!(added.contains("doubler 1.2 for any device") && added.contains("newest of track stable"), "{added}");
    let net = ["net.prototxt", "net.caffemodel"].map(|name| fleet.person.write(name, name));
    let [text, weights] = net.each_ref().map(|path| path.to_str().unwrap());
    let net = fleet.json(&["models", "add", "net", text, weights]);
    assert_eq!(net["variants"][0]["precision_from"], "assumed", "nobody says it, and the file is not read: {net:#}");
    let shown = stdout(&fleet.seatrial(&["models", "show", "net"]).success());
    assert!(shown.contains("fp32 (assumed)"), "{shown}");
    assert!(fleet.page_data("/models/net").contains("\"precision_from\":\"assumed\""));

    let suite = fleet.person.write("runner.toml", &measured("net", "doubler", "\"quick\""));
    let run = fleet.json(&["run", suite.to_str().unwrap(), "--wait"]);
    let job = &run["jobs"][0];
    assert_eq!(job["outcome"], "ok", "{run:#}\n{}", fleet.logs());
    let median = job["metrics"]["lat_p50_ms"]["value"].as_f64().unwrap();
    assert!((0.3..10.0).contains(&median), "{median} ms: {run:#}");
}

/// How `cat` is called and read: as a benchmark program whose figures stand in its model.
const PRINTERS_RULES: &str = r#"
name = "printer"
written_for = ["9"]
formats = ["gguf"]
[call]
arguments = ["{model}"]
[accelerators.cpu]
[version]
pattern = '^printer (?<version>\S+)'
[[told]]
name = "latency_avg"
unit = "ms"
value = '^avg (?<value>\S+) ms'
required = true
[[told]]
name = "memory"
unit = "MiB"
value = '^memory (?<value>\S+)'
"#;

#[test]
fn a_benchmark_program_is_added_with_its_rules_and_its_words_are_shown_as_its_own() {
    let fleet = Fleet::start();
    let rules = fleet.person.write("printer.toml", PRINTERS_RULES);
    let program = fleet.person.path("printer");
    std::fs::copy("/bin/cat", &program).unwrap();
    let (program, rules) = (program.to_str().unwrap(), rules.to_str().unwrap());
    let refused = stderr(&fleet.seatrial(&["runtimes", "add", program, "--rules", rules]).code(1));
    assert!(refused.contains("nothing tells the version of printer"), "{refused}");
    let add = ["runtimes", "add", program, "--rules", rules, "--version", "9.1"];
    let added = stderr(&fleet.seatrial(&add).success());
    assert!(added.contains("printer 9.1 for ") && added.contains("newest of track stable"), "{added}");
    let model = fleet.person.write("words.gguf", "printer 9.1\navg 0.001 ms\n");
    fleet.seatrial(&["models", "add", "words", model.to_str().unwrap()]).success();

    let suite = fleet.person.write("printer-suite.toml", &measured("words", "printer", "\"quick\", \"sustained\""));
    let run = fleet.json(&["run", suite.to_str().unwrap(), "--wait"]);
    let job = &run["jobs"][0];
    assert_eq!(job["outcome"], "ok", "{run:#}\n{}", fleet.logs());
    let metrics = &job["metrics"];
    assert_eq!(metrics["told.latency_avg"]["value"].as_f64(), Some(0.001), "{run:#}");
    assert!(metrics["told.memory"]["absent"].as_str().unwrap().contains("does not tell it"), "{run:#}");
    assert!(metrics["lat_p50_ms"]["value"].is_null(), "an average is no median: {run:#}");
    let reason = run["misfits"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("it knows no profile sustained"), "{run:#}");
}

/// A model of the agent's tests.
fn small(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/models").join(name).display().to_string()
}

#[test]
fn a_model_that_the_built_in_engine_does_not_know_is_added_with_a_warning_and_runs_on_one_that_does() {
    let fleet = Fleet::start();
    let library = onnxruntime();
    let library = library.to_str().unwrap();
    fleet.seatrial(&["runtimes", "add", library]).success();
    for (name, file) in [("newer", "newer_operators.onnx"), ("four-bits", "four_bits.onnx")] {
        let binding = fleet.person.write("axes.toml", "[axes]\nbatch = 1\n");
        let add = ["models", "add", name, &small(file), "--binding", binding.to_str().unwrap()];
        let said = stderr(&fleet.seatrial(&add).success());
        assert!(said.contains("warning: the engine that is built in cannot read") && said.contains(file), "{said}");
        assert!(said.contains("read by the first device that loads it"), "{said}");
    }
    let suite = "name = \"newer\"\nmodels = [\"newer\", \"four-bits\"]\nprofiles = [\"quick\"]\n\
                 backends = [{ runtime = \"tract\" }, { runtime = \"onnxruntime\" }]\n[gate]\nallow_invalid = true\n";
    let path = fleet.person.write("newer.toml", suite);
    let assert = fleet.seatrial(&["run", path.to_str().unwrap(), "--wait", "--format", "json"]);
    let run: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    let outcome = |model: &str, runtime: &str| {
        let is_it = |job: &&Value| job["model"] == model && job["backend"].as_str().unwrap().starts_with(runtime);
        let job = run["jobs"].as_array().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("{model}: {run:#}"));
        job["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(outcome("four-bits", "onnxruntime"), "ok", "{run:#}");
    assert!(["load_fail", "unsupported_op"].contains(&outcome("four-bits", "tract").as_str()), "{run:#}");
    for runtime in ["tract", "onnxruntime"] {
        assert_eq!(outcome("newer", runtime), "load_fail", "the device tells: {run:#}");
    }
    let tried = fleet.seatrial(&["try", &small("four_bits.onnx"), "--axis", "batch=1", "--runtime", library]).success();
    assert!(stderr(&tried).contains("onnx int4"), "{}", stderr(&tried));
}

#[test]
fn the_precision_of_a_model_is_its_weights_and_a_name_that_says_another_is_refused() {
    let fleet = Fleet::start();
    let (int8, half) = (fixture("models/digits-cnn.int8.onnx"), fixture("models/digits-cnn.fp16.onnx"));
    let [unnamed, lying] = ["net.onnx", "net-fp32.onnx"].map(|name| fleet.person.path(name).display().to_string());
    std::fs::copy(&int8, &unnamed).unwrap();
    std::fs::copy(&half, &lying).unwrap();
    let refused = stderr(&fleet.seatrial(&["models", "add", "net", &lying]).code(1));
    for said in ["net-fp32.onnx", "its file name says another precision", "are fp16", "hint"] {
        assert!(refused.contains(said), "{said}: {refused}");
    }
    let told = ["models", "add", "net", &unnamed, "--variant", "precision=fp32"];
    let refused = stderr(&fleet.seatrial(&told).code(1));
    assert!(refused.contains("its --variant option") && refused.contains("are int8"), "{refused}");
    let tiny = fixture("models/digits-cnn.fp32.tflite");
    let added = fleet.json(&["models", "add", "net", &unnamed, &half, &tiny]);
    let told: Vec<[&str; 3]> = added["variants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variant| ["name", "precision", "precision_from"].map(|key| variant[key].as_str().unwrap()))
        .collect();
    assert_eq!(told, [["int8", "int8", "read"], ["fp16", "fp16", "read"], ["fp32", "fp32", "read"]], "{added:#}");
    let shown = stdout(&fleet.seatrial(&["models", "show", "net"]).success());
    assert!(!shown.contains("assumed"), "{shown}");
}
