//! QEMU, which runs a program of another processor on this machine.
//!
//! Debian 12 has 7.2, under which ONNX Runtime and LiteRT crash; its backports have 10.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::board::Board;
use super::folder;
use crate::command::{command, exists, output};
use crate::debian::{self, Suite};

const OLDEST: u32 = 10;
const PACKAGE: &str = "qemu-user";

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
    let fetched = debian::unpacked(PACKAGE, &[], Suite::Backports)?.join("usr/bin").join(name);
    if !is_new_enough(&fetched) {
        bail!("{} does not run here, or is older than {OLDEST}", fetched.display());
    }
    Ok(fetched)
}

fn is_new_enough(program: &Path) -> bool {
    let printed = output(command(program).arg("--version"));
    printed.ok().and_then(|text| major(&text)).is_some_and(|major| major >= OLDEST)
}

/// `qemu-arm version 10.0.2 (Debian …)` → 10.
fn major(printed: &str) -> Option<u32> {
    printed.split_once("version ")?.1.split('.').next()?.parse().ok()
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
}
