//! OpenCV asked for a GPU where OpenCL has none: `SEATRIAL_TEST_OPENCL` names the folder that lists PoCL, whose one device is
//! the CPU. Left alone, OpenCV computes on the CPU there and says so in its output at most.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{Fleet, Person, fixture, stderr};
use super::{job_page, value, variable};

/// What an agent needs to find PoCL, and nothing else.
fn pocl() -> Vec<(&'static str, String)> {
    let vendors = variable("SEATRIAL_TEST_OPENCL");
    let driver = std::fs::read_to_string(vendors.join("pocl.icd")).unwrap();
    let libraries = Path::new(driver.trim()).parent().unwrap();
    // Some of the libraries are links to a folder beside it, and a child reads only what is named.
    let paths = std::env::join_paths([libraries, libraries.parent().unwrap()]).unwrap();
    vec![("OCL_ICD_VENDORS", vendors.display().to_string()), ("LD_LIBRARY_PATH", paths.into_string().unwrap())]
}

/// The digits CNN as a Caffe net, on OpenCV's CPU and on what it takes for a GPU.
struct Run {
    fleet: Fleet,
    jobs: BTreeMap<String, Value>,
}

impl Run {
    fn new(environment: &[(&str, String)]) -> Self {
        let engines = variable("SEATRIAL_TEST_ENGINES");
        let person = Person::new();
        let data = person.path("server");
        let mut fleet = Fleet::serve(person, &data);
        let interpreter = format!("python-opencv={}", engines.join("opencv/bin/python").display());
        let given = environment.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<(&str, &str)> = given.chain([("SEATRIAL_INTERPRETERS", interpreter.as_str())]).collect();
        fleet.start_agent_with(&all);
        let text = |path: PathBuf| path.display().to_string();
        let runner = text(Path::new(env!("CARGO_MANIFEST_DIR")).join("../runners/caffe_opencv.toml"));
        fleet.seatrial(&["runtimes", "add", &runner]).success();
        let net = ["prototxt", "caffemodel"].map(|end| text(engines.join("models/digits-cnn").with_extension(end)));
        let binding = fixture("binding.toml");
        fleet.seatrial(&["models", "add", "digits-cnn", &net[0], &net[1], "--binding", &binding]).success();
        fleet.seatrial(&["datasets", "add", &fixture("digits-cnn-golden")]).success();
        let suite = "name = \"opencl\"\nmodels = [\"digits-cnn\"]\ndatasets = [\"digits-cnn-golden\"]\n\
                     profiles = [\"accuracy_only\"]\n\
                     backends = [{ runtime = \"opencv\" }, { runtime = \"opencv\", accelerator = \"gpu\" }]\n";
        let path = fleet.person.write("opencl.toml", suite);
        let assert = fleet.seatrial(&["run", path.to_str().unwrap(), "--wait", "--format", "json"]);
        let run: Value = serde_json::from_slice(&assert.get_output().stdout)
            .unwrap_or_else(|_| panic!("{}\n{}", stderr(&assert), fleet.logs()));
        let jobs = run["jobs"].as_array().unwrap_or_else(|| panic!("{run:#}")).iter();
        let jobs = jobs.map(|job| (job["backend"].as_str().unwrap().to_owned(), job.clone())).collect();
        let run = Self { fleet, jobs };
        let cpu = run.job("cpu");
        assert_eq!(cpu["outcome"], "ok", "the control: {cpu:#}\n{}", run.fleet.logs());
        assert!(value(cpu, "golden_cosine") > 0.9999, "{cpu:#}");
        run
    }

    fn job(&self, accelerator: &str) -> &Value {
        let job = self.jobs.iter().find(|(backend, _)| backend.contains(&format!(" {accelerator} ")));
        job.unwrap_or_else(|| panic!("no job on the {accelerator}: {:#?}", self.jobs)).1
    }

    /// The job on the GPU, whose outcome and words are these.
    fn gpu(&self, outcome: &str, words: &[&str]) -> &Value {
        let job = self.job("gpu");
        assert_eq!(job["outcome"], outcome, "{job:#}\n{}", self.fleet.logs());
        let message = job["message"].as_str().unwrap_or_default();
        assert!(words.iter().all(|words| message.contains(words)), "{message}");
        job
    }
}

#[test]
fn an_opencl_that_has_only_the_cpu_is_no_gpu_and_no_cpu_stands_in_for_it() {
    let run = Run::new(&pocl());
    let words = ["gpu is asked for and cpu computes", "OpenCV puts none of 6 layers on the OpenCL device"];
    let gpu = run.gpu("unsupported_backend", &words);
    assert!(gpu["metrics"]["golden_cosine"]["value"].is_null(), "{gpu:#}");
}

#[test]
fn opencl_on_the_cpu_that_opencv_is_told_to_take_is_a_fallback_with_its_device() {
    let told = ("OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES", "1".to_owned());
    let run = Run::new(&[pocl(), vec![told]].concat());
    let gpu = run.gpu("ok_fallback", &["is a program that computes on the CPU", "not whether their OpenCL code ran"]);
    assert!(value(gpu, "golden_cosine") > 0.9999, "{gpu:#}");
    let page = job_page(&run.fleet, gpu);
    let device = page["report"]["environment"]["facts"]["gpu"].as_str().unwrap_or_default();
    assert!(device.contains("(OpenCL, ") && device.ends_with(", software"), "{device}");
    assert!(page["report"]["actual"]["delegated"]["present"].is_null(), "{:#}", page["report"]["actual"]);
}

#[test]
fn without_opencl_the_gpu_is_an_unsupported_backend() {
    let nowhere = ("OCL_ICD_VENDORS", "/nonexistent/vendors".to_owned());
    Run::new(&[nowhere]).gpu("unsupported_backend", &["has cpu here, not gpu"]);
}
