//! Boards with Linux and glibc.

use std::path::{Path, PathBuf};

use super::{COMPILER, built, compile_c_with, cross_cargo};
use crate::command::{exists, run};
use crate::setup::{self, Need};

pub struct Board {
    /// In the names of variables.
    pub name: &'static str,
    /// As Rust calls it.
    triple: &'static str,
    /// As GNU calls it: the prefix of its compiler and its folder under /usr.
    gnu: &'static str,
    /// The engines of its agent; all when empty.
    engines: &'static [&'static str],
    /// The emulator's program.
    pub emulator: &'static str,
    needs: [Need; 2],
}

pub const AARCH64: Board = Board {
    name: "AARCH64",
    triple: "aarch64-unknown-linux-gnu",
    gnu: "aarch64-linux-gnu",
    engines: &[],
    emulator: "qemu-aarch64",
    needs: [
        Need {
            package: "gcc-aarch64-linux-gnu",
            present: || exists("aarch64-linux-gnu-gcc"),
            reason: "compiles C and links for 64-bit Arm",
        },
        Need {
            package: "libc6-dev-arm64-cross",
            present: || Path::new("/usr/aarch64-linux-gnu/include/stdio.h").exists(),
            reason: "the C library of 64-bit Arm",
        },
    ],
};

pub const ARMV7: Board = Board {
    name: "ARMV7",
    triple: "armv7-unknown-linux-gnueabihf",
    gnu: "arm-linux-gnueabihf",
    // No package of another engine exists for it, and LiteRT's bindings are for 64 bits.
    engines: &["tract"],
    emulator: "qemu-arm",
    needs: [
        Need {
            package: "gcc-arm-linux-gnueabihf",
            present: || exists("arm-linux-gnueabihf-gcc"),
            reason: "compiles C and links for 32-bit Arm",
        },
        Need {
            package: "libc6-dev-armhf-cross",
            present: || Path::new("/usr/arm-linux-gnueabihf/include/stdio.h").exists(),
            reason: "the C library of 32-bit Arm",
        },
    ],
};

impl Board {
    /// Builds the agent and returns its path.
    pub fn build(&self, profile: &str) -> anyhow::Result<PathBuf> {
        self.install()?;
        let mut cargo = cross_cargo("build", self.triple, profile);
        compile_c_with(&mut cargo, self.triple, Path::new(&self.compiler()));
        if !self.engines.is_empty() {
            cargo.args(["--no-default-features", "--features", &self.engines.join(",")]);
        }
        run(&mut cargo)?;
        Ok(built(self.triple, profile))
    }

    pub fn install(&self) -> anyhow::Result<()> {
        setup::debian_packages(&COMPILER)?;
        setup::debian_packages(&self.needs)
    }

    pub fn compiler(&self) -> String {
        format!("{}-gcc", self.gnu)
    }

    /// Where the loader and the C library of its programs are.
    pub fn sysroot(&self) -> PathBuf {
        Path::new("/usr").join(self.gnu)
    }
}
