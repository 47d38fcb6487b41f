//! Jobs that do what a test tells them, on a real agent with its fake engine: held at a stage for as long as the test
//! likes, and let go.

use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;
use seatrial_core::model::{Axis, Format, Precision, Signature, TensorSpec};
use seatrial_core::stage::Stage;
use seatrial_core::tensor::DType;
use seatrial_proto::v1;
use serde_json::Value;

use crate::support::{Fleet, stdout};

/// A job that stops at a stage until it is let go.
pub struct Held {
    pub run: String,
    gate: PathBuf,
}

impl Held {
    pub fn let_go(&self) {
        std::fs::write(&self.gate, "").unwrap();
    }
}

impl Fleet {
    /// Registers a model that is a script for the fake engine. No process but its child ever parses it.
    pub fn register_script(&self, name: &str, script: &str) {
        let digest = Digest::of(script.as_bytes());
        let tensor = |name: &str, size| TensorSpec {
            name: name.to_owned(),
            dtype: DType::F32,
            shape: vec![Axis::Fixed(1), Axis::Fixed(size)],
        };
        let signature =
            Signature { inputs: vec![tensor("input", 4)], outputs: vec![tensor("output", 2)], precision_from: None };
        let file = v1::FileRef {
            role: "model".to_owned(),
            digest: digest.as_bytes().to_vec().into(),
            size: script.len() as u64,
            file_name: "script.onnx".to_owned(),
        };
        let variant = v1::NewVariant {
            name: "fp32".to_owned(),
            format: Format::Onnx.as_str().to_owned(),
            precision: Precision::Fp32.as_str().to_owned(),
            files: vec![file],
            signature_json: serde_json::to_string(&signature).unwrap(),
        };
        let request = v1::AddModelRequest { name: name.to_owned(), variants: vec![variant], ..Default::default() };
        let (status, why) = self.put(&digest, script.as_bytes().to_vec());
        assert!(status.is_success(), "{status}: {why}");
        run_here(async {
            let client = v1::models_client::ModelsClient::connect(self.address.clone());
            client.await.unwrap().add(request).await.unwrap();
        });
    }

    /// Uploads an artifact as any client would; the answer.
    pub fn put(&self, digest: &Digest, bytes: impl Into<reqwest::Body>) -> (reqwest::StatusCode, String) {
        let request = client().put(format!("{}/artifacts/{digest}", self.address)).body(bytes);
        run_here(async {
            let answer = request.send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        })
    }

    /// Submits short jobs of these models; returns the run's number.
    pub fn submit_scripts(&self, models: &[&str]) -> String {
        let text = format!(
            "name = \"scripts\"\nmodels = {models:?}\nbackends = [{{ runtime = \"fake\" }}]\n\
             profiles = [{{ kind = \"quick\", min_seconds = 0.05, warmup = {{ min_seconds = 0.01 }} }}]\n\
             [gate]\nallow_invalid = true\n"
        );
        let path = self.person.write("scripts.toml", &text);
        let assert = self.seatrial(&["run", path.to_str().unwrap(), "--format", "json"]).success();
        let submitted: Value = serde_json::from_str(&stdout(&assert)).unwrap();
        submitted["number"].to_string()
    }

    /// A job that is held at this stage now.
    pub fn hold(&self, name: &str, stage: Stage) -> Held {
        let gate = self.register_held(name, stage);
        let held = Held { run: self.submit_scripts(&[name]), gate };
        self.reaches(stage);
        held
    }

    /// A model whose jobs stop at this stage, and the file for which they wait.
    fn register_held(&self, name: &str, stage: Stage) -> PathBuf {
        let gate = self.person.path(&format!("{name}.go"));
        self.register_script(name, &format!("wait for {} in {stage}", gate.display()));
        gate
    }

    /// Waits until a child has entered this stage.
    fn reaches(&self, stage: Stage) {
        self.eventually(&format!("a child is in {stage}"), |_| {
            stage_of_child(&self.agent_folder).as_deref() == Some(stage.as_str())
        });
    }

    /// The run once it is over, and every attempt of its jobs as `outcome at stage`.
    pub fn ended(&self, run: &str) -> (Value, Vec<Vec<String>>) {
        // A run whose jobs are not all `ok` exits by that.
        let assert = self.seatrial(&["watch", run, "--format", "json"]);
        let run: Value = serde_json::from_str(&stdout(&assert)).unwrap_or_else(|_| panic!("{assert:?}"));
        let attempts = run["jobs"].as_array().unwrap().iter().map(|job| self.attempts(job)).collect();
        (run, attempts)
    }

    fn attempts(&self, job: &Value) -> Vec<String> {
        let page = self.page_data(&format!("/jobs/{}", job["id"].as_str().unwrap()));
        let page: Value = serde_json::from_str(&page).unwrap();
        let attempts = page["attempts"].as_array().unwrap().iter();
        attempts.map(|attempt| shown(&attempt["outcome"], &attempt["failed_stage"])).collect()
    }

    /// Reports that wait on the device's disk for the server's word that they are durable.
    pub fn spooled(&self) -> usize {
        let entries = std::fs::read_dir(self.agent_folder.join("spool")).unwrap().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "report")).count()
    }

    /// The next job of the same device.
    pub fn runs_another(&self) {
        self.register_script("another", "well");
        let run = self.submit_scripts(&["another"]);
        assert_eq!(self.ended(&run).1, [["ok"]], "the next job runs; logs: {}", self.logs());
    }
}

/// `ok`, or `crash_signal(9) at warmup`.
fn shown(outcome: &Value, stage: &Value) -> String {
    let of_class = outcome.as_object().and_then(|class| class.iter().next());
    let outcome = match of_class {
        Some((class, code)) => format!("{class}({code})"),
        None => outcome.as_str().unwrap_or("open").to_owned(),
    };
    stage.as_str().map_or_else(|| outcome.clone(), |stage| format!("{outcome} at {stage}"))
}

/// The stage that the newest child of an agent has told last.
fn stage_of_child(agent: &Path) -> Option<String> {
    let attempts = std::fs::read_dir(agent.join("attempts")).ok()?.flatten();
    let children = attempts.filter_map(|attempt| std::fs::read_dir(attempt.path()).ok()).flatten().flatten();
    let logs = children.map(|child| child.path().join("events.jsonl")).filter(|path| path.exists());
    let newest = logs.max_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())?;
    let text = std::fs::read_to_string(newest).ok()?;
    let last: Value = serde_json::from_str(text.lines().last()?).ok()?;
    Some(last["stage"].as_str()?.to_owned())
}

/// The child's process, while it runs.
pub fn child_of(agent: &Path) -> u32 {
    let folder = agent.to_str().unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (line.contains(folder) && line.split('\0').any(|word| word == "child")).then_some(pid)
    });
    let pids: Vec<u32> = pids.collect();
    assert_eq!(pids.len(), 1, "one child: {pids:?}");
    pids[0]
}

pub fn client() -> reqwest::Client {
    // A second one changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}

pub fn run_here<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
