//! Agents for other processors: built by Debian's compiler with the standard library's source, which needs no foreign
//! architecture on the machine, and linked by Debian's cross compilers or Android's NDK.

mod android;
mod board;
mod emulator;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::command::{cargo, command, output, root};
use crate::setup::Need;
pub use android::check as check_android;
use board::{AARCH64, ARMV7};

#[derive(Debug, Clone, clap::Args)]
pub struct CrossArgs {
    target: Target,
    /// Cargo's profile; `lean` is what devices get
    #[arg(long, default_value = "lean")]
    profile: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    /// 64-bit Arm boards with glibc
    Aarch64,
    /// 32-bit Arm boards with glibc
    Armv7,
    /// 64-bit Arm phones, by the NDK in `ANDROID_NDK_HOME`; without one the agent is only type-checked
    Android,
}

pub fn run(args: &CrossArgs) -> anyhow::Result<()> {
    let board = match args.target {
        Target::Aarch64 => &AARCH64,
        Target::Armv7 => &ARMV7,
        Target::Android => return android::run(&args.profile),
    };
    println!("{}", board.build(&args.profile)?.display());
    Ok(())
}

/// Builds an agent for each board and says where tests find it and what runs it.
pub fn build_for_tests() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut variables = Vec::new();
    for board in [&AARCH64, &ARMV7] {
        let agent = board.build("dev")?;
        let prefix = format!("SEATRIAL_TEST_CROSS_{}", board.name);
        variables.push((format!("{prefix}_EMULATOR"), emulator::runner(board)?));
        variables.push((format!("{prefix}_AGENT"), agent));
    }
    Ok(variables)
}

/// What every target takes. Debian's compiler comes with the source that its standard library is built from.
const COMPILER: [Need; 2] = [
    Need { package: "rustc-web", present: has_compiler, reason: "compiles for other processors" },
    Need { package: "rust-web-src", present: has_source, reason: "the standard library for them is built from it" },
];

/// Where Debian has it; rustup's has no source of its library.
const RUSTC: &str = "/usr/bin/rustc";

fn has_compiler() -> bool {
    let least = env!("CARGO_PKG_RUST_VERSION");
    let version = output(command(RUSTC).arg("--version")).ok();
    let number = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split(['.', ' ']).map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    version.is_some_and(|version| number(version.trim_start_matches("rustc ")) >= number(least))
}

fn has_source() -> bool {
    let sysroot = output(command(RUSTC).args(["--print", "sysroot"])).unwrap_or_default();
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists()
}

/// A cargo that works on the agent for `triple`, in a folder of its own: another compiler would make this machine's
/// programs stale.
fn cross_cargo(subcommand: &str, triple: &str, profile: &str) -> Command {
    let mut cargo = cargo();
    cargo
        .args([subcommand, "--package", "seatrial-agent", "--locked", "--target", triple, "--profile", profile])
        .arg("-Zbuild-std=std,panic_abort")
        .env("RUSTC", RUSTC)
        // Building the standard library is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder());
    cargo
}

/// `CC_aarch64_unknown_linux_gnu` and `CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER`.
fn compile_c_with(cargo: &mut Command, triple: &str, compiler: &Path) {
    let word = triple.replace('-', "_");
    cargo.env(format!("CC_{word}"), compiler);
    cargo.env(format!("CARGO_TARGET_{}_LINKER", word.to_uppercase()), compiler);
}

/// Where cargo puts the agent of a target and profile.
fn built(triple: &str, profile: &str) -> PathBuf {
    let profile = if profile == "dev" { "debug" } else { profile };
    folder().join(triple).join(profile).join("seatrial-agent")
}

fn folder() -> PathBuf {
    root().join("target/cross")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_named_to_cargo_and_to_cc_in_their_own_ways() {
        let mut cargo = cross_cargo("build", "armv7-unknown-linux-gnueabihf", "dev");
        compile_c_with(&mut cargo, "armv7-unknown-linux-gnueabihf", Path::new("arm-linux-gnueabihf-gcc"));
        let set: Vec<_> =
            cargo.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?))).collect();
        assert!(set.contains(&("CC_armv7_unknown_linux_gnueabihf", "arm-linux-gnueabihf-gcc")), "{set:?}");
        assert!(set.contains(&("CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER", "arm-linux-gnueabihf-gcc")));
        assert!(built("a-b", "dev").ends_with("target/cross/a-b/debug/seatrial-agent"));
        assert!(built("a-b", "lean").ends_with("target/cross/a-b/lean/seatrial-agent"));
    }
}
