//! `cargo xtask bench`: builds the bench program with optimisation and runs it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::command::{cargo, run};
use crate::{engines, phones, setup};

pub fn run_bench(args: &[String]) -> anyhow::Result<()> {
    setup::run_all()?;
    run(cargo().args(["build", "--profile", "lean", "--package", "seatrial-agent"]))?;
    run(cargo()
        .args(["run", "--release", "--quiet", "--package", "seatrial-bench", "--"])
        .args(args)
        .env("SEATRIAL_BENCH_ONNXRUNTIME", onnxruntime(&setup::python_path())?)
        .env("SEATRIAL_BENCH_LITERT", engines::litert_library()?)
        .env("SEATRIAL_BENCH_ENGINES", engines::opencv()?)
        .envs(phones::for_tests()?))
}

/// The library in the `onnxruntime` package of the test interpreter.
fn onnxruntime(python: &Path) -> anyhow::Result<PathBuf> {
    let lib = python.parent().and_then(Path::parent).context("the interpreter stands in no environment")?.join("lib");
    let found = listed(&lib)?.into_iter().map(|python| python.join("site-packages/onnxruntime/capi"));
    let capi = found.into_iter().find(|folder| folder.is_dir()).context("the interpreter has no onnxruntime")?;
    let is_library = |path: &PathBuf| path.to_string_lossy().contains("/libonnxruntime.so.");
    listed(&capi)?.into_iter().find(is_library).context("onnxruntime has no library of its own")
}

fn listed(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
