//! llama-bench itself, which `cargo xtask test --engines` builds, with a tiny model.

use std::path::PathBuf;

use seatrial_core::backend::Accelerator;
use seatrial_core::block;
use seatrial_core::command::RULES_ROLE;
use seatrial_core::measure;
use seatrial_core::model::Format;
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::report::{BlockKind, Report};
use seatrial_core::runtimes::{PROGRAM_ROLE, PackageKind};

use crate::common;
use crate::digits::repository;

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; `cargo xtask test --engines` sets it")).into()
}

fn run(model: &[u8], accelerator: Accelerator) -> Report {
    let program = std::fs::read(variable("SEATRIAL_TEST_LLAMA_BENCH")).unwrap();
    let rules = repository().join("commands/llama-bench.toml");
    let rules = std::fs::read(rules).unwrap();
    let files = [(PROGRAM_ROLE, "llama-bench", program.as_slice()), (RULES_ROLE, "llama-bench.toml", rules.as_slice())];
    let mut spec = common::job("llama-bench", "tiny.gguf", model);
    spec.model.format = Format::Gguf;
    spec.model.signature.inputs.clear();
    spec.backend.accelerator = accelerator;
    spec.profile.stop.min_samples = 5;
    spec.package = Some(common::package("llama-bench", PackageKind::Command, &files));
    let home = tempfile::tempdir().unwrap();
    let report = common::run(spec.clone(), &[model, &program, &rules], &common::options(home.path()));
    let summary = measure::summarise(&spec, &report);
    assert!(summary.metrics.iter().all(|metric| !metric.name.starts_with("told.")));
    report
}

#[test]
fn its_repeats_are_samples_and_its_rates_its_own_words() {
    let report = run(&std::fs::read(variable("SEATRIAL_TEST_GGUF")).unwrap(), Accelerator::Cpu);
    assert_eq!(report.outcome, Outcome::Ok, "{:?}\n{}", report.message, report.log);
    assert_eq!(report.actual.accelerator, Reading::Present("cpu".to_owned()));
    assert_eq!(report.actual.threads, Reading::Present(1));
    let [latency] = report.blocks.as_slice() else { panic!("{:?}", report.blocks) };
    assert_eq!((latency.metric, latency.count), (BlockKind::LatencyNs, 5));
    let samples = block::unpack(&latency.bytes, latency.count).unwrap();
    let program = report.processes[0].program.as_ref().unwrap();
    assert_eq!(program.title(), "llama-bench 11434");
    let sum_ms = samples.iter().sum::<i64>() as f64 / 1e6;
    assert!(sum_ms > 0.0 && sum_ms < program.wall_ms, "{sum_ms} of {} ms", program.wall_ms);
    // It divides the 128 tokens of a repeat by its time.
    let told = program.told.iter().find(|told| told.name == "generation_rate_avg").unwrap();
    let rates: f64 = samples.iter().map(|&ns| 128e9 / ns as f64).sum::<f64>() / samples.len() as f64;
    let told = told.value.present().unwrap();
    assert!((told / rates - 1.0).abs() < 1e-3, "{told} tok/s, and {rates} by its samples");
    assert!(program.told.iter().all(|told| told.value.present().is_some()), "{:?}", program.told);
}

#[test]
fn a_build_without_a_gpu_says_nothing_and_is_a_fallback() {
    let report = run(&std::fs::read(variable("SEATRIAL_TEST_GGUF")).unwrap(), Accelerator::Gpu);
    assert_eq!(report.outcome, Outcome::OkFallback, "{:?}\n{}", report.message, report.log);
    assert!(report.actual.accelerator.present().is_none());
}

#[test]
fn a_file_that_is_no_model_cannot_be_loaded() {
    let report = run(b"GGUF, or not", Accelerator::Cpu);
    assert_eq!(report.outcome, Outcome::LoadFail, "{:?}\n{}", report.message, report.log);
}
