//! Agents for other processors, run under an emulator against a real server, beside the agent of this machine.
//!
//! `cargo xtask test --cross` builds them and says where they are; the usual run leaves these tests out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;

use crate::support::{Fleet, fixture, stdout};

/// The largest difference of a logit between two processors, as docs/measurement.md has it between two engines.
const TOLERANCE: f64 = 1e-4;

/// An agent of another processor, and the program that runs it here.
struct Foreign {
    emulator: PathBuf,
    agent: PathBuf,
}

impl Foreign {
    /// `SEATRIAL_TEST_CROSS_AARCH64_AGENT` and `…_EMULATOR`.
    fn given(name: &str) -> Self {
        let path = |what: &str| {
            let variable = format!("SEATRIAL_TEST_CROSS_{name}_{what}");
            let path = std::env::var_os(&variable);
            PathBuf::from(path.unwrap_or_else(|| panic!("{variable} is not set; `cargo xtask test --cross` sets it")))
        };
        Self { emulator: path("EMULATOR"), agent: path("AGENT") }
    }

    /// An agent of a device of its own, which ends with the value.
    fn start(&self, fleet: &Fleet) -> Running {
        let log = std::fs::File::options().append(true).open(fleet.person.path("agent.log")).unwrap();
        let mut command = Command::new(&self.emulator);
        command
            .arg(&self.agent)
            .args(["run", "--load-wait", "0", "--identity", "foreign", "--server", &fleet.address, "--folder"])
            .arg(fleet.person.path("foreign"))
            .arg("--through")
            .arg(&self.emulator)
            .stderr(log);
        Running(command.spawn().unwrap())
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Values of outputs by engine, device, example and element.
type Outputs = BTreeMap<String, BTreeMap<String, BTreeMap<(String, String), f64>>>;

fn outputs(csv: &str) -> Outputs {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let column = |name: &str| head.iter().position(|known| *known == name).unwrap();
    let [engine, device, example, element, value] = ["backend", "device", "example", "element", "value"].map(column);
    let mut all = Outputs::new();
    for cells in lines {
        let place = (cells[example].to_owned(), cells[element].to_owned());
        let of_device = all.entry(cells[engine].to_owned()).or_default().entry(cells[device].to_owned()).or_default();
        of_device.insert(place, cells[value].parse().unwrap());
    }
    all
}

/// The wheel of this name in the folder that a variable names.
fn wheel(folder: &str, name: &str) -> String {
    let folder = std::env::var_os(folder).unwrap_or_else(|| panic!("{folder} is not set"));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = files.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name));
    found.unwrap_or_else(|| panic!("no wheel {name}")).display().to_string()
}

/// What one suite runs on both devices.
struct Trial {
    models: &'static str,
    backends: &'static str,
    /// Each with two datasets on two devices.
    combinations: usize,
}

const TRACT: Trial = Trial {
    models: "{ name = \"digits-mlp\", variants = [\"onnx\"] }",
    backends: "{ runtime = \"tract\" }",
    combinations: 1,
};
const ENGINES: Trial = Trial {
    models: "{ name = \"digits-mlp\", variants = [\"onnx\", \"tflite\"] }",
    backends: "{ runtime = \"tract\" }, { runtime = \"onnxruntime\" }, { runtime = \"litert\" }",
    combinations: 3,
};

/// This machine's agent and a foreign one, each a device of the same server.
fn two_devices(name: &str, abi: &str) -> (Fleet, Running) {
    let foreign = Foreign::given(name);
    let fleet = Fleet::start();
    let [onnx, tflite] = ["onnx", "tflite"].map(|format| fixture(&format!("models/digits-mlp.fp32.{format}")));
    let add = ["models", "add", "digits-mlp", &onnx, &tflite, "--variant", "name=onnx", "--variant", "name=tflite"];
    fleet.seatrial(&[&add[..], &["--binding", &fixture("binding.toml")]].concat()).success();
    for dataset in ["digits", "digits-mlp-golden"] {
        fleet.seatrial(&["datasets", "add", &fixture(dataset)]).success();
    }
    let own = fleet.json(&["devices"])["devices"][0]["id"].clone();
    fleet.seatrial(&["devices", "rename", own.as_str().unwrap(), "own"]).success();
    let running = foreign.start(&fleet);
    let devices = || fleet.json(&["devices"])["devices"].as_array().unwrap().clone();
    fleet.eventually(&format!("the agent for {abi} has joined"), |_| devices().len() == 2);
    let device = devices().into_iter().find(|device| device["name"] != "own").unwrap();
    fleet.seatrial(&["devices", "rename", device["id"].as_str().unwrap(), "foreign"]).success();
    let profile = &device["profile"];
    assert_eq!(profile["abi"], abi);
    for reading in ["model", "features"] {
        let absent = profile["cpu"][reading]["absent"].as_str().unwrap_or_default();
        assert!(absent.contains("emulated"), "the host's processor is not this agent's: {profile:#}");
    }
    (fleet, running)
}

/// Both devices evaluate the same models on the same data; returns the largest difference of an output for each engine.
fn evaluate(fleet: &Fleet, trial: &Trial) -> BTreeMap<String, f64> {
    let Trial { models, backends, combinations } = trial;
    let suite = format!(
        "name = \"cross\"\nmodels = [{models}]\ndatasets = [\"digits\", \"digits-mlp-golden\"]\n\
         backends = [{backends}]\nprofiles = [\"accuracy_only\"]\n"
    );
    let path = fleet.person.write("cross.toml", &suite);
    let assert = fleet.seatrial(&["run", path.to_str().unwrap(), "--wait", "--format", "json"]);
    let run: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    let jobs = run["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), combinations * 4, "two datasets on two devices: {run:#}");
    assert!(jobs.iter().all(|job| job["outcome"] == "ok"), "{run:#}\n{}", fleet.logs());
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(fixture("expected.json")).unwrap()).unwrap();
    let right = expected["digits-mlp"]["fp32"]["top1"].as_f64().unwrap();
    let top1: Vec<f64> = jobs.iter().filter_map(|job| job["metrics"]["top1"]["value"].as_f64()).collect();
    assert_eq!(top1.len(), combinations * 2);
    assert!(top1.iter().all(|top1| (top1 - right).abs() < 0.002), "{top1:?}, not {right}");

    check_the_page(fleet, *combinations);
    let csv = stdout(&fleet.seatrial(&["export", "1", "--outputs"]).success());
    outputs(&csv).into_iter().map(|(engine, devices)| (engine, difference(&devices))).collect()
}

/// The model's page holds both processors against the same references, and the foreign one against this machine's.
fn check_the_page(fleet: &Fleet, combinations: usize) {
    let page: Value = serde_json::from_str(&fleet.page_data("/models/digits-mlp")).unwrap();
    let rows = page["outputs"].as_array().unwrap();
    assert_eq!(rows.len(), combinations * 2, "{rows:#?}");
    let own = format!("{}-linux-gnu", std::env::consts::ARCH);
    for row in rows {
        let (device, abi) = (&row["job"]["device_name"], row["abi"].as_str().unwrap());
        assert_eq!(device == "own", abi == own, "{row:#}");
        assert!(row["max_abs"].as_f64().unwrap() <= TOLERANCE && row["argmax_agree"] == 1.0, "{row:#}");
        if device == "foreign" {
            let from = &row["apart"]["from"];
            assert_eq!((&from["device"], &from["backend"]), (&"own".into(), &row["job"]["backend"]), "{row:#}");
            assert_eq!((&from["elements"], &from["not_finite"]), (&640.into(), &0.into()), "{row:#}");
            assert!(from["max_abs"].as_f64().unwrap() <= TOLERANCE, "{row:#}");
        }
    }
}

/// The largest difference between the two devices of one engine.
fn difference(devices: &BTreeMap<String, BTreeMap<(String, String), f64>>) -> f64 {
    assert_eq!(devices.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&"own".to_owned(), &"foreign".to_owned()]));
    let (own, foreign) = (&devices["own"], &devices["foreign"]);
    assert_eq!(own.len(), 640, "ten logits of 64 examples");
    assert!(own.keys().eq(foreign.keys()));
    own.iter().map(|(place, value)| (value - foreign[place]).abs()).fold(0.0, f64::max)
}

#[test]
#[ignore = "takes an agent for aarch64, an emulator and wheels: cargo xtask test --cross"]
fn an_agent_for_aarch64_answers_as_this_machines_does_with_every_engine() {
    let (fleet, _running) = two_devices("AARCH64", "aarch64-linux-gnu");
    for name in ["onnxruntime-1.31", "ai_edge_litert-"] {
        for folder in ["SEATRIAL_TEST_WHEELS", "SEATRIAL_TEST_CROSS_AARCH64_WHEELS"] {
            fleet.seatrial(&["runtimes", "add", &wheel(folder, name)]).success();
        }
    }
    let differences = evaluate(&fleet, &ENGINES);
    println!("largest difference of a logit on aarch64: {differences:?}");
    assert_eq!(differences.len(), 3);
    for (engine, difference) in differences {
        assert!(difference <= TOLERANCE, "a logit of {engine} differs by {difference}");
    }
}

#[test]
#[ignore = "takes an agent for armv7 and an emulator: cargo xtask test --cross"]
fn an_agent_for_armv7_answers_as_this_machines_does() {
    let (fleet, _running) = two_devices("ARMV7", "arm-linux-gnueabihf");
    let differences = evaluate(&fleet, &TRACT);
    println!("largest difference of a logit on armv7: {differences:?}");
    assert!(differences.values().all(|difference| *difference <= TOLERANCE), "{differences:?}");
}

#[test]
#[ignore = "takes agents for other processors: cargo xtask test --cross"]
fn an_agent_for_another_processor_is_added_under_its_own_abi() {
    let fleet = Fleet::start();
    for (name, abi) in [("AARCH64", "aarch64-linux-gnu"), ("ARMV7", "arm-linux-gnueabihf")] {
        let Foreign { agent, emulator: _ } = Foreign::given(name);
        let added = fleet.json(&["agents", "add", agent.to_str().unwrap()]);
        assert_eq!((&added["abi"], &added["version"]), (&abi.into(), &env!("CARGO_PKG_VERSION").into()));
        let output = format!("fetched-{abi}");
        fleet.seatrial(&["agents", "get", "--abi", abi, "--output", &output]).success();
        assert!(std::fs::read(fleet.person.path(&output)).unwrap() == std::fs::read(agent).unwrap(), "{abi}");
    }
}
