//! Whether a runner costs its engine time: the same engine in a loop of its own, and behind a runner.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use seatrial_agent::local::Options;
use seatrial_core::measure;
use seatrial_core::model::Format;
use seatrial_core::outcome::Outcome;

use crate::common;
use crate::digits::{engines, interpreters, job, model, package, repository};

/// Pairs of measurements, one after the other, of which the median ratio counts.
const PAIRS: usize = 9;
/// What a runner may add to the median on a machine that others use too. The figure for a quiet one, within 2 %, is in
/// docs/performance.md: a test is no benchmark.
const SHARE: f64 = 0.25;

/// Median of a second in ms.
fn alone(files: &[&Path]) -> f64 {
    let script = repository().join("agent/tests/runners/opencv_alone.py");
    let output = Command::new(engines().join("opencv/bin/python")).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn behind_a_runner(files: &[(&str, std::path::PathBuf)]) -> f64 {
    let (mut spec, mut contents) = job("opencv", Format::Caffe, files);
    let (package, own) = package("opencv", "caffe_opencv.py", Format::Caffe);
    spec.package = Some(package);
    contents.extend(own);
    spec.profile.stop.min_time = Duration::from_secs(1);
    let home = tempfile::tempdir().unwrap();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let report =
        common::run(spec.clone(), &contents, &Options { interpreters: interpreters(), ..common::options(home.path()) });
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let metrics = measure::summarise(&spec, &report).metrics;
    let median = metrics.into_iter().find(|metric| metric.name == "lat_p50_ms").unwrap();
    median.value.into_present().unwrap().value
}

#[test]
fn the_median_of_an_engine_behind_a_runner_is_that_of_the_engine_alone() {
    let files = [("prototxt", model("digits-cnn.prototxt")), ("caffemodel", model("digits-cnn.caffemodel"))];
    let paths = [files[0].1.as_path(), files[1].1.as_path()];
    let pairs: Vec<(f64, f64)> = (0..PAIRS).map(|_| (alone(&paths), behind_a_runner(&files))).collect();
    let mut ratios: Vec<f64> = pairs.iter().map(|(alone, behind)| behind / alone).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[PAIRS / 2];
    println!("behind a runner / alone: {ratio:.4} of {pairs:?} ms");
    assert!((ratio - 1.0).abs() <= SHARE, "{ratio:.4} of {pairs:?} ms");
}
