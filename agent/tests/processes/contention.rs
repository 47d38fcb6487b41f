//! What a child's own threads do to each other is told from what somebody else does to them.

use std::process::{Child, Command, Stdio};

use seatrial_core::backend::Affinity;
use seatrial_core::job::JobSpec;
use seatrial_core::measure;
use seatrial_core::reason::Reason;
use seatrial_core::report::{Report, Window};

use crate::common;

/// Runs a real model on one CPU.
fn on_cpu_0(threads: u16) -> (JobSpec, Report) {
    let home = tempfile::tempdir().unwrap();
    let model = include_bytes!("../../../fixtures/demo/models/digits-cnn.fp32.onnx");
    let mut spec = common::job("tract", "digits-cnn.onnx", model);
    spec.model.signature.inputs[0] = common::spec_of(&[1, 1, 28, 28]);
    spec.model.signature.inputs[0].name = "image".into();
    spec.backend.threads = threads;
    spec.backend.affinity = Affinity::Cpus(vec![0]);
    spec.profile.stop.min_time = std::time::Duration::from_secs(1);
    let report = common::run(spec.clone(), &[model], &common::options(home.path()));
    (spec, report)
}

fn window(report: &Report) -> &Window {
    report.processes[0].window.as_ref().unwrap_or_else(|| panic!("{:?}\n{}", report.message, report.log))
}

/// Share of CPU 0 that others took.
fn foreign(window: &Window) -> f64 {
    window.foreign_allowed_ms.unwrap() / window.monotonic_ms
}

/// A process that wants CPU 0 for itself; ended with its value.
struct Hog(Child);

impl Hog {
    fn start() -> Self {
        let spin = "while :; do :; done";
        Self(Command::new("taskset").args(["-c", "0", "sh", "-c", spin]).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn threads_that_share_a_cpu_wait_and_only_a_hog_among_them_makes_that_interference() {
    let (spec, crowded) = on_cpu_0(3);
    let own = window(&crowded);
    assert!(own.run_queue_wait_ms.unwrap() > 0.2 * own.monotonic_ms, "three threads on one CPU wait: {own:?}");

    let hog = Hog::start();
    for threads in [1, 3] {
        let (spec, report) = on_cpu_0(threads);
        let disturbed = window(&report);
        assert!(foreign(disturbed) > 0.1, "a hog takes its share: {disturbed:?}");
        let invalid = Reason::joined(&measure::summarise(&spec, &report).invalid);
        let reason = if threads == 1 { "waited for a CPU" } else { "of the 1 CPUs that 3 threads share" };
        assert!(invalid.contains(reason), "{threads} threads: {invalid}");
    }
    drop(hog);

    // The other side. How much else runs on this CPU is not ours to say, so the same job is judged as if nothing had.
    let mut alone = crowded.clone();
    let window = alone.processes[0].window.as_mut().unwrap();
    window.foreign_allowed_ms = Some(0.0);
    window.foreign_cpu = Some(0.0);
    let invalid = Reason::joined(&measure::summarise(&spec, &alone).invalid);
    assert!(!invalid.contains("waited") && !invalid.contains("share"), "{invalid}");
}
