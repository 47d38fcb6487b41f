//! The peak of the memory pass is the model's, whatever it took to read the inputs.

use std::ffi::OsString;
use std::io::Write as _;

use seatrial_core::dataset::Task;
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec};
use seatrial_core::measure::{self, Summary};
use seatrial_core::metric::Metric;
use seatrial_core::model::Signature;
use seatrial_core::outcome::Outcome;
use seatrial_core::reason::Code;

use crate::common;

const EXAMPLES: usize = 64;
const SCRIPT: &[u8] = b"well";

/// Examples of so many bytes each, for a model of two classes.
fn dataset(bytes: usize) -> Vec<u8> {
    let manifest = format!(
        "name = \"bytes\"\ntask = \"classification\"\nexamples = {EXAMPLES}\nclasses = [\"a\", \"b\"]\n\
         [[inputs]]\nname = \"input\"\nkind = \"raw\"\nmember = \"inputs.bin\"\ndtype = \"u8\"\nshape = [{bytes}]\n\
         [labels]\nkind = \"lines\"\nmember = \"labels.txt\"\n"
    );
    let members: [(&str, Vec<u8>); 3] = [
        ("dataset.toml", manifest.into_bytes()),
        ("inputs.bin", vec![7; bytes * EXAMPLES]),
        ("labels.txt", "a\n".repeat(EXAMPLES).into_bytes()),
    ];
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(name, stored).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What a job on such a dataset comes to; `fault` is what happens to the mark.
fn measured(bytes: usize, fault: Option<&str>) -> Summary {
    let home = tempfile::tempdir().unwrap();
    let mut options = common::options(home.path());
    if let Some(fault) = fault {
        let words: [OsString; 2] = ["env".into(), format!("FAILPOINTS=memory-mark={fault}").into()];
        options.child_command = words.into_iter().chain(common::child_command()).collect();
    }
    let package = dataset(bytes);
    let mut spec: JobSpec = common::job("fake", "script.onnx", SCRIPT);
    spec.model.signature = Signature::default();
    spec.dataset = Some(DatasetRef {
        dataset: "bytes".into(),
        version: 1,
        digest: Digest::of(&package),
        size: package.len() as u64,
        task: Task::Classification,
        examples: EXAMPLES as u32,
    });
    let report = common::run(spec.clone(), &[SCRIPT, &package], &options);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    let confinement = report.environment.facts["confinement"].as_str();
    assert!(confinement.starts_with("landlock") || confinement.starts_with("none: this kernel"), "{confinement}");
    measure::summarise(&spec, &report)
}

fn metric<'a>(summary: &'a Summary, name: &str) -> &'a Metric {
    summary.metrics.iter().find(|metric| metric.name == name).unwrap()
}

fn value(summary: &Summary, name: &str) -> f64 {
    metric(summary, name).value.present().unwrap_or_else(|| panic!("{:?}", metric(summary, name))).value
}

#[test]
fn the_peak_of_a_model_does_not_move_with_the_size_of_its_dataset() {
    const LARGE: usize = 2 << 20;
    let small = measured(4, None);
    let large = measured(LARGE, None);
    for name in ["mem_peak_rss_mb", "mem_model_mb"] {
        let (small, large) = (value(&small, name), value(&large, name));
        // The first example alone has 2 MiB.
        assert!((large - small).abs() < 8.0, "{name}: {small} and, with 128 MiB of inputs, {large} MiB");
    }
    // The control: where the mark stays where the inputs left it, it is theirs.
    let theirs = measured(LARGE, Some("return(forgotten)"));
    for name in ["mem_peak_rss_mb", "mem_model_mb"] {
        let (own, theirs) = (value(&small, name), value(&theirs, name));
        assert!(theirs > own + 100.0, "{name}: {own} and, with the mark of the inputs, {theirs} MiB");
    }
}

#[test]
fn a_mark_that_may_not_be_started_anew_makes_no_peak_and_says_why() {
    let refused = measured(4, Some("return"));
    for name in ["mem_peak_rss_mb", "mem_model_mb"] {
        assert_eq!(metric(&refused, name).value.reason(), Some(Code::PeakUnmarked.template()), "{name}");
    }
    assert!(value(&refused, "mem_base_mb") > 1.0, "what the mark has no part in is there");
    let retained = metric(&refused, "mem_retained_mb").value.present();
    assert!(retained.is_some());
}
