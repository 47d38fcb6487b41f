//! Installs what the tests need and the machine lacks.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::command::{cargo, command, exists, output, root, run};

/// The version of the test runner that builds on the compiler of `rust-version`.
const NEXTEST: &str = "0.9.143";

/// What a Debian package brings, and how to see that it is there.
pub struct Need {
    pub package: &'static str,
    pub present: fn() -> bool,
    pub reason: &'static str,
}

const NEEDS: &[Need] = &[
    Need { package: "postgresql", present: has_postgres, reason: "the store is tested on PostgreSQL" },
    Need { package: "chromium", present: || exists("chromium"), reason: "pages are tested in a real browser" },
    Need { package: "fonts-noto-cjk", present: has_cjk_font, reason: "pages are looked at in Chinese" },
    Need { package: "adb", present: || exists("adb"), reason: "phones are reached through a real adb server" },
    Need { package: "iproute2", present: || exists("ip"), reason: "simulated labs have networks of their own" },
    Need {
        package: "python3-venv",
        present: has_venv,
        reason: "figures are compared with numpy, ONNX Runtime and pycocotools; an S3 store",
    },
];

pub fn run_all() -> anyhow::Result<()> {
    for_building()?;
    for_running()
}

/// What the tests are built with.
pub fn for_building() -> anyhow::Result<()> {
    rust_components()?;
    nextest()
}

/// What the tests talk to once they run.
pub fn for_running() -> anyhow::Result<()> {
    debian_packages(NEEDS)?;
    python()
}

/// The interpreter of the virtual environment in which reference figures are computed.
pub fn python_path() -> PathBuf {
    root().join("target/python/bin/python")
}

/// Installs the packages of what is missing.
pub fn debian_packages(needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    println!("missing on this machine:");
    for need in &missing {
        println!("  {:<24}{}", need.package, need.reason);
    }
    if !exists("apt-get") {
        bail!("install {} with this system's package manager, then run this again", names.join(", "));
    }
    let as_root = output(command("id").arg("-u"))?.trim() == "0";
    let mut install: Vec<&str> = if as_root { vec![] } else { vec!["sudo"] };
    install.extend(["apt-get", "install", "--yes", "--no-install-recommends"]);
    install.extend(&names);
    if !agreed(&format!("run `{}`", install.join(" ")))? {
        bail!("cannot go on without {}", names.join(", "));
    }
    let mut update: Vec<&str> = if as_root { vec![] } else { vec!["sudo"] };
    update.extend(["apt-get", "update", "--quiet"]);
    for line in [&update, &install] {
        run(command(line[0]).args(&line[1..]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    Ok(())
}

/// Asks before anything is installed. CI has agreed beforehand; where nobody can be asked, it is said and done: this command
/// is there to do its own set-up.
fn agreed(what: &str) -> anyhow::Result<bool> {
    if std::env::var_os("CI").is_some() {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        println!("{what}: nobody is here to be asked");
        return Ok(true);
    }
    print!("{what}? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("no answer to read")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn rust_components() -> anyhow::Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        // rustup puts a program of this name on the path even where the component is missing.
        let works = cargo().args([subcommand, "--version"]).output().is_ok_and(|output| output.status.success());
        if !works {
            run(command("rustup").args(["component", "add", component]))
                .with_context(|| format!("{component} is missing"))?;
        }
    }
    Ok(())
}

/// Whether this is the compiler whose warnings are errors here: a newer one may warn of what nobody has seen yet.
pub fn has_known_compiler() -> anyhow::Result<bool> {
    let version = output(command("rustc").arg("--version"))?;
    Ok(is_of_version(&version, env!("CARGO_PKG_RUST_VERSION")))
}

fn is_of_version(printed: &str, known: &str) -> bool {
    printed
        .strip_prefix("rustc ")
        .and_then(|rest| rest.strip_prefix(known))
        .is_some_and(|rest| !rest.starts_with(|sign: char| sign.is_ascii_digit()))
}

fn nextest() -> anyhow::Result<()> {
    if exists("cargo-nextest") {
        return Ok(());
    }
    println!("building the test runner cargo-nextest {NEXTEST}; once, a few minutes");
    run(command("cargo").args(["install", "--locked", "--version", NEXTEST, "cargo-nextest"]))
}

/// What the virtual environment holds, in versions that these files pin.
const REQUIREMENTS: [&str; 2] = ["fixtures/demo/requirements.txt", "xtask/requirements.txt"];

fn python() -> anyhow::Result<()> {
    environment(&root().join("target/python"), &REQUIREMENTS.map(|name| root().join(name)))
}

/// A virtual environment that holds what these files pin, and nothing of an earlier one.
pub fn environment(folder: &Path, files: &[PathBuf]) -> anyhow::Result<()> {
    let texts = files
        .iter()
        .map(|path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())));
    let wanted = texts.collect::<anyhow::Result<Vec<_>>>()?.concat();
    let (stamp, python) = (folder.join("installed.txt"), folder.join("bin/python"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(());
    }
    run(command("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut install = command(python);
    // What is imported is compiled then; most of what is installed never is.
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]);
    for file in files {
        install.arg("-r").arg(file);
    }
    run(&mut install)?;
    std::fs::write(&stamp, wanted).context("cannot note what was installed")
}

fn has_postgres() -> bool {
    crate::postgres::bin_folder().is_ok()
}

fn has_venv() -> bool {
    command("python3").args(["-c", "import venv, ensurepip"]).output().is_ok_and(|output| output.status.success())
}

fn has_cjk_font() -> bool {
    std::path::Path::new("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_errors_only_on_the_compiler_that_is_known() {
        assert!(is_of_version("rustc 1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(!is_of_version("rustc 1.96.0 (000000000 2026-05-28)", "1.95"));
        assert!(!is_of_version("rustc 1.950.0", "1.95"));
    }
}
