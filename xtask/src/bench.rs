//! `cargo xtask bench`: builds the bench program with optimisation and runs it.

use crate::command::{cargo, run};

pub fn run_bench(args: &[String]) -> anyhow::Result<()> {
    run(cargo().args(["build", "--profile", "lean", "--package", "seatrial-agent"]))?;
    run(cargo().args(["run", "--release", "--quiet", "--package", "seatrial-bench", "--"]).args(args))
}
