//! `cargo xtask test --engines`: every engine that can run here for real, with the packages that users have. Fetched once
//! into `target/engines`; too much for the usual run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::command::{cargo, command, root, run};
use crate::debian::{self, Suite};
use crate::{programs, setup};

/// Wheels as users have them: engine and version.
const WHEELS: &[&str] =
    &["onnxruntime==1.30.0", "onnxruntime==1.31.1", "onnxruntime-webgpu==1.27.0", "ai-edge-litert==2.3.0"];
/// Of these there are wheels for 64-bit Arm too.
const WHEELS_OF_BOARDS: &[&str] = &["onnxruntime==1.31.1", "ai-edge-litert==2.3.0"];
/// The tags of those wheels.
const BOARD_TAGS: [&str; 2] = ["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"];
/// Mesa's software Vulkan: that of backports is new enough for WebGPU, the release's is not.
const VULKAN: &str = "mesa-vulkan-drivers";
/// OpenCL whose one device is the CPU, and the library by which programs find it.
const OPENCL: &str = "pocl-opencl-icd";
const OPENCL_LOADER: &str = "ocl-icd-libopencl1";
/// Engines behind runners, and what `fixtures/demo/to_frameworks.py` writes for each: its environment is
/// `target/engines/NAME`, of the versions that `runners/NAME.txt` pins.
const BEHIND_RUNNERS: [(&str, &str); 2] = [("opencv", "caffe"), ("tensorflow", "tensorflow")];
/// The network of the demo that every engine behind a runner gets.
const NETWORK: &str = "fixtures/demo/models/digits-cnn.fp32.onnx";

pub fn run_all(features: &str) -> anyhow::Result<()> {
    setup::run_all()?;
    let wheels = fetched("wheels", WHEELS, &[])?;
    let vulkan = lavapipe(&debian::unpacked(VULKAN, &[], Suite::Backports)?, "lavapipe")?;
    let old_vulkan = lavapipe(&debian::unpacked(VULKAN, &[], Suite::Release)?, "old-lavapipe")?;
    let opencl = pocl(&debian::unpacked(OPENCL, &[OPENCL_LOADER], Suite::Release)?)?;
    let folder = root().join("target/engines");
    for (engine, framework) in BEHIND_RUNNERS {
        environment(engine, framework, &folder)?;
    }
    let (llama_bench, gguf) = programs::llama_bench_and_model()?;
    run(cargo()
        .args(["nextest", "run", "--workspace", "--features"])
        .arg(format!("{features},seatrial-cli/engines,seatrial-agent/engines"))
        .args(["--locked", "--no-tests", "fail", "--profile", "engines", "-E", "binary(engines)"])
        .env("SEATRIAL_TEST_PYTHON", setup::python_path())
        .env("SEATRIAL_TEST_ENGINES", folder)
        .env("SEATRIAL_TEST_LLAMA_BENCH", llama_bench)
        .env("SEATRIAL_TEST_GGUF", gguf)
        .env("SEATRIAL_TEST_WHEELS", wheels)
        .env("SEATRIAL_TEST_VULKAN", vulkan)
        .env("SEATRIAL_TEST_OLD_VULKAN", old_vulkan)
        .env("SEATRIAL_TEST_OPENCL", opencl))
}

/// The folder with OpenCV's environment and the network as a Caffe net, for the benchmark.
pub fn opencv() -> anyhow::Result<PathBuf> {
    let folder = root().join("target/engines");
    let [(engine, framework), _] = BEHIND_RUNNERS;
    environment(engine, framework, &folder)?;
    Ok(folder)
}

/// An engine's Python, and the network in the engine's own format.
fn environment(engine: &str, framework: &str, folder: &Path) -> anyhow::Result<()> {
    let environment = folder.join(engine);
    setup::environment(&environment, &[root().join(format!("runners/{engine}.txt"))])?;
    run(command(environment.join("bin/python"))
        .args(["fixtures/demo/to_frameworks.py", framework, NETWORK])
        .arg(folder.join("models")))
}

/// Folders of wheels of the same engines for this machine and for 64-bit Arm boards.
pub fn wheels_of_both() -> anyhow::Result<[PathBuf; 2]> {
    let tags: Vec<&str> = BOARD_TAGS.iter().flat_map(|tag| ["--platform", *tag]).collect();
    Ok([fetched("wheels", WHEELS, &[])?, fetched("wheels-aarch64", WHEELS_OF_BOARDS, &tags)?])
}

/// LiteRT's library, taken out of its wheel.
pub fn litert_library() -> anyhow::Result<PathBuf> {
    const MEMBER: &str = "ai_edge_litert/libLiteRt.so";
    let wheels = fetched("wheels", WHEELS, &[])?;
    let library = wheels.join("libLiteRt.so");
    if !library.exists() {
        let script = "import glob, sys, zipfile\n\
                      wheel, = glob.glob(sys.argv[1] + '/ai_edge_litert-*.whl')\n\
                      open(sys.argv[3], 'wb').write(zipfile.ZipFile(wheel).read(sys.argv[2]))";
        run(command(setup::python_path()).args(["-c", script]).arg(&wheels).arg(MEMBER).arg(&library))?;
    }
    Ok(library)
}

/// The folder that holds these wheels.
fn fetched(name: &str, wheels: &[&str], tags: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = root().join("target/engines").join(name);
    let stamp = folder.join("fetched.txt");
    let wanted = wheels.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == wanted) {
        return Ok(folder);
    }
    for wheel in wheels {
        println!("fetching {wheel}");
        run(command(setup::python_path())
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary=:all:", "--dest"])
            .arg(&folder)
            .args(tags)
            .arg(wheel))?;
    }
    std::fs::write(&stamp, wanted).context("cannot note what was fetched")?;
    Ok(folder)
}

/// A library of an unpacked package.
fn library(unpacked: &Path, name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let library = unpacked.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)).join(name);
    if !library.exists() {
        bail!("{} is not there: the package {package} has changed", library.display());
    }
    Ok(library)
}

/// A folder that lists the unpacked OpenCL, with its library where it now lies.
fn pocl(unpacked: &Path) -> anyhow::Result<PathBuf> {
    let library = library(unpacked, "libpocl.so.2", OPENCL)?;
    let vendors = root().join("target/engines/opencl");
    std::fs::create_dir_all(&vendors).with_context(|| format!("cannot make {}", vendors.display()))?;
    std::fs::write(vendors.join("pocl.icd"), format!("{}\n", library.display())).context("cannot list the driver")?;
    Ok(vendors)
}

/// The description of an unpacked driver, with its library where it now lies.
fn lavapipe(unpacked: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let library = library(unpacked, "libvulkan_lvp.so", VULKAN)?;
    let description = serde_json::json!({
        "file_format_version": "1.0.0",
        "ICD": { "library_path": library, "api_version": "1.3.0" },
    });
    let path = root().join("target/engines").join(name).with_extension("json");
    std::fs::write(&path, description.to_string()).context("cannot describe the driver")?;
    Ok(path)
}
