//! QEMU, which runs a program of another processor on this machine.
//!
//! Debian 12 has 7.2, under which ONNX Runtime and LiteRT crash; its backports have 10. That one package is fetched into
//! `target`, and the machine's own sources of packages stay as they are.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::board::Board;
use super::folder;
use crate::command::{command, exists, output, run};
use crate::setup;

const OLDEST: u32 = 10;

/// A program that runs programs of a board: `runner PROGRAM WORDS…`.
pub fn runner(board: &Board) -> anyhow::Result<PathBuf> {
    let emulator = find(board.emulator)?;
    let path = folder().join(format!("run-{}", board.emulator));
    let text = format!("#!/bin/sh\nexec '{}' -L '{}' \"$@\"\n", emulator.display(), board.sysroot().display());
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn find(name: &str) -> anyhow::Result<PathBuf> {
    for installed in [name.to_owned(), format!("{name}-static")] {
        if exists(&installed) && is_new_enough(Path::new(&installed)) {
            return Ok(PathBuf::from(installed));
        }
    }
    let own = folder().join("qemu/usr/bin").join(name);
    if !own.exists() {
        fetch(&folder().join("qemu"))?;
    }
    if !is_new_enough(&own) {
        bail!("{} does not run here, or is older than {OLDEST}", own.display());
    }
    Ok(own)
}

fn is_new_enough(program: &Path) -> bool {
    let printed = output(command(program).arg("--version"));
    printed.ok().and_then(|text| major(&text)).is_some_and(|major| major >= OLDEST)
}

/// `qemu-arm version 10.0.2 (Debian …)` → 10.
fn major(printed: &str) -> Option<u32> {
    printed.split_once("version ")?.1.split('.').next()?.parse().ok()
}

/// Fetches the package from the backports of this machine's Debian and unpacks it into `into`.
fn fetch(into: &Path) -> anyhow::Result<()> {
    const WHAT: &str = "install qemu-user 10 or newer";
    if !exists("apt-get") || !exists("dpkg-deb") {
        bail!("{WHAT} with this system's package manager, then run this again");
    }
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.with_context(|| format!("/etc/os-release names no release of Debian: {WHAT}"))?;
    let known = output(command("apt-get").args([
        "indextargets",
        "--format",
        "$(RELEASE) $(REPO_URI)",
        "Identifier: Packages",
    ]))?;
    let mirror = mirror_of(codename, &known);
    let mirror = mirror.with_context(|| format!("no source of packages has the release {codename}: {WHAT}"))?;
    let suite = format!("{codename}-backports");
    if !setup::agreed(&format!("fetch qemu-user from {suite} into {}", into.display()))? {
        bail!("cannot run other processors' programs without qemu-user {OLDEST}");
    }
    let scratch = tempfile::tempdir().context("cannot make a scratch folder")?;
    fs::write(scratch.path().join("sources.list"), format!("deb {mirror} {suite} main\n"))?;
    for name in ["none", "lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(scratch.path().join(name))?;
    }
    run(apt(scratch.path()).args(["update", "--quiet"]))?;
    run(apt(scratch.path()).args(["download", "qemu-user"]))?;
    let files = fs::read_dir(scratch.path())?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let package = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.context("apt-get fetched no package")?;
    fs::create_dir_all(into)?;
    run(command("dpkg-deb").arg("--extract").arg(package).arg(into))
}

/// An apt that knows of one source only and leaves nothing behind.
fn apt(scratch: &Path) -> Command {
    let mut apt = command("apt-get");
    // The user to whom apt hands its downloads may not enter the folder.
    apt.current_dir(scratch).args(["-o", "APT::Sandbox::User=root"]);
    let options = [
        ("Dir::Etc::sourcelist", "sources.list"),
        ("Dir::Etc::sourceparts", "none"),
        ("Dir::State::lists", "lists"),
        ("Dir::Cache", "cache"),
    ];
    for (name, value) in options {
        apt.arg("-o").arg(format!("{name}={}", scratch.join(value).display()));
    }
    apt
}

/// Where the release comes from, as `RELEASE URI` lines tell.
fn mirror_of<'a>(codename: &str, known: &'a str) -> Option<&'a str> {
    known.lines().filter_map(|line| line.split_once(' ')).find(|(release, _)| *release == codename).map(|(_, uri)| uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_the_program_prints() {
        assert_eq!(major("qemu-arm version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright"), Some(10));
        assert_eq!(major("qemu-aarch64 version 7.2.22"), Some(7));
        assert_eq!(major("qemu-arm: unknown option"), None);
    }

    #[test]
    fn backports_come_from_where_the_release_itself_comes_from() {
        let known =
            "bookworm-updates http://a/debian/\nbookworm http://b/debian/\nbookworm-security http://c/debian/\n";
        assert_eq!(mirror_of("bookworm", known), Some("http://b/debian/"));
        assert_eq!(mirror_of("trixie", known), None);
    }
}
