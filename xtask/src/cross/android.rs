//! Phones: an agent for Android's own C library, which alone can load the libraries of an engine there.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::board::AARCH64;
use super::{COMPILER, built, compile_c_with, cross_cargo};
use crate::command::run as run_command;
use crate::setup;

const TRIPLE: &str = "aarch64-linux-android";
/// Android 9: the oldest for which the agent is linked.
const API: u32 = 28;

/// Builds the agent with the NDK in `ANDROID_NDK_HOME`, or says what only can be done without one.
pub fn run(profile: &str) -> anyhow::Result<()> {
    let Some(ndk) = std::env::var_os("ANDROID_NDK_HOME") else {
        println!("ANDROID_NDK_HOME is not set: the agent for Android is only type-checked");
        return check();
    };
    println!("{}", build(Path::new(&ndk), profile)?.display());
    Ok(())
}

fn build(ndk: &Path, profile: &str) -> anyhow::Result<PathBuf> {
    setup::debian_packages(&COMPILER)?;
    let tools = ndk.join("toolchains/llvm/prebuilt/linux-x86_64/bin");
    let clang = tools.join(format!("{TRIPLE}{API}-clang"));
    if !clang.exists() {
        bail!("ANDROID_NDK_HOME names no NDK: there is no {}", clang.display());
    }
    let mut cargo = cross_cargo("build", TRIPLE, profile);
    compile_c_with(&mut cargo, TRIPLE, &clang);
    run_command(
        cargo
            .env("AR_aarch64_linux_android", tools.join("llvm-ar"))
            // Kernels with pages of 16 KB load nothing else; programs that Android runs are position-independent.
            .env(
                "CARGO_TARGET_AARCH64_LINUX_ANDROID_RUSTFLAGS",
                "-C relocation-model=pic -C link-arg=-pie -C link-arg=-Wl,-z,max-page-size=16384",
            ),
    )?;
    Ok(built(TRIPLE, profile))
}

/// Whether the agent would compile. What it brings of C is compiled for glibc, and linked with nothing.
pub fn check() -> anyhow::Result<()> {
    AARCH64.install()?;
    let mut cargo = cross_cargo("check", TRIPLE, "dev");
    compile_c_with(&mut cargo, TRIPLE, Path::new(&AARCH64.compiler()));
    run_command(&mut cargo)
}
