//! What CI runs, in order: cheap checks first, then one run of every test.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::command::{cargo, run as run_command};
use crate::postgres::Postgres;
use crate::stages::Stages;
use crate::{More, aa, arrows, cross, engines, phones, setup, soak};

/// Tests inject faults; without a test that asks for one, the points do nothing.
const FAULTS: &str = "seatrial-agent/faults,seatrial-server/faults";

/// `--deny warnings`, as `cargo clippy` hands words after `--` to its driver.
const DENY_WARNINGS: &str = "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__";

/// Cases of each property when that is all that is run. The usual run has proptest's 256.
const FUZZ_CASES: &str = "100000";

/// Histories of the schedule under faults. The usual run has 600.
const FUZZ_SEEDS: &str = "20000";

pub fn run(only: Option<&str>, more: &More) -> anyhow::Result<()> {
    let More { long, fuzz, cross, engines, soak } = *more;
    if fuzz {
        run_fuzz()?;
    }
    if cross {
        run_cross()?;
    }
    if long {
        aa::run(&aa::AaArgs::default())?;
    }
    if engines {
        engines::run_all(FAULTS)?;
    }
    if soak {
        soak::run(&soak::SoakArgs::default())?;
    }
    if fuzz || cross || long || engines || soak { Ok(()) } else { run_usual(only) }
}

/// Agents for other processors, each against a real server, and a look at whether one for Android would compile.
fn run_cross() -> anyhow::Result<()> {
    setup::run_all()?;
    let agents = cross::build_for_tests()?;
    let [own, boards] = engines::wheels_of_both()?;
    run_command(
        cargo()
            .args(["nextest", "run", "--workspace", "--features", FAULTS, "--locked", "--no-tests", "fail"])
            .args(["--profile", "cross", "--run-ignored", "only", "--success-output", "immediate"])
            .args(["-E", "package(seatrial-cli) & test(/^cross::/)"])
            .envs(agents)
            .env("SEATRIAL_TEST_WHEELS", own)
            .env("SEATRIAL_TEST_CROSS_AARCH64_WHEELS", boards),
    )?;
    cross::check_android()
}

/// Properties over bytes from outside are those of a test file `fuzz.rs`, of a module `fuzz`, and of HTTP ranges; beside
/// them, histories of the schedule.
fn run_fuzz() -> anyhow::Result<()> {
    setup::run_all()?;
    run_command(
        cargo()
            .args(["nextest", "run", "--workspace", "--features", FAULTS, "--locked", "--no-tests", "fail"])
            .args([
                "--profile",
                "fuzz",
                "-E",
                "binary(fuzz) | test(/(^|::)fuzz::/) | test(=artifacts::range::tests::no_header_leads_outside) \
                 | test(=schedule::simulation::under_any_faults_no_job_has_two_leases_and_once_they_stop_every_job_ends)",
            ])
            .env("PROPTEST_CASES", FUZZ_CASES)
            .env("SEATRIAL_SIMULATION_SEEDS", FUZZ_SEEDS),
    )
}

fn run_usual(only: Option<&str>) -> anyhow::Result<()> {
    let mut stages = Stages::new(only);
    if !is_ci() {
        setup::run_all()?;
        return run_stages(&mut stages, || Ok(()));
    }
    setup::for_building()?;
    // Downloads wait for the network, and the compiler waits for neither.
    let installing = std::thread::spawn(setup::for_running);
    run_stages(&mut stages, || installing.join().map_err(|_| anyhow::anyhow!("installing panicked"))?)
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// `installed` returns once everything is there that tests talk to.
fn run_stages(stages: &mut Stages, installed: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    stages.run("format", || run_command(cargo().args(["fmt", "--all", "--check"])))?;
    stages.run("arrows", arrows::check)?;
    stages.run("build and lints", || {
        run_command(linting()?.args([
            "build",
            "--workspace",
            "--all-targets",
            "--features",
            FAULTS,
            "--locked",
            "--keep-going",
        ]))
    })?;
    stages.run("documentation tests", || {
        run_command(linting()?.args(["test", "--workspace", "--doc", "--features", FAULTS, "--locked", "--quiet"]))
    })?;
    installed()?;
    let mut summary = String::new();
    stages.run("tests", || {
        summary = nextest()?;
        Ok(())
    })?;
    stages.print();
    println!("{summary}");
    Ok(())
}

/// A cargo whose compiler lints what it compiles. `cargo clippy` would read every crate once more, for ten minutes of two
/// cores, to lint what is then compiled for the tests. Clippy's driver is rustc with lints; it stands in for rustc for
/// crates of this workspace only.
fn linting() -> anyhow::Result<Command> {
    let mut cargo = cargo();
    cargo.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    if setup::has_known_compiler()? {
        cargo.env("CLIPPY_ARGS", DENY_WARNINGS);
    }
    if is_ci() {
        // A clean clone is compiled once: what would make the second time quicker costs the first.
        cargo.env("CARGO_INCREMENTAL", "0");
    }
    Ok(cargo)
}

/// Twice as many as there are CPUs: many tests wait, for a deadline or a process, and what measures has the machine to
/// itself (`.config/nextest.toml`).
fn test_threads() -> anyhow::Result<String> {
    let cpus = std::thread::available_parallelism().context("cannot tell how many CPUs there are")?;
    Ok((cpus.get() * 2).to_string())
}

/// Runs every test once, against a PostgreSQL of our own; returns the runner's summary, and which tests this machine
/// could not run.
fn nextest() -> anyhow::Result<String> {
    let postgres = Postgres::start()?;
    let skipped = tempfile::NamedTempFile::new().context("cannot make a scratch file")?;
    let mut child = linting()?
        .args(["nextest", "run", "--workspace", "--features", FAULTS, "--locked", "--profile", "ci"])
        .args(["--test-threads", &test_threads()?])
        .env("SEATRIAL_TEST_POSTGRES", postgres.url())
        .env("SEATRIAL_TEST_PYTHON", setup::python_path())
        .env("SEATRIAL_TEST_SKIPPED", skipped.path())
        .envs(phones::for_tests()?)
        .env("CARGO_TERM_COLOR", "never")
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo nextest")?;
    let stderr = child.stderr.take().context("cargo nextest has no error output")?;
    let mut summary = String::new();
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        eprintln!("{line}");
        if line.trim_start().starts_with("Summary [") {
            summary = line;
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("tests failed ({status})");
    }
    if summary.is_empty() {
        bail!("the test runner ended without a summary");
    }
    let skipped = std::fs::read_to_string(skipped.path()).context("cannot read which tests were skipped")?;
    Ok(account_for_skipped(&skipped, is_ci())? + &summary)
}

/// Tests that take a right which this machine does not give are named with the reason; CI has to give it.
fn account_for_skipped(skipped: &str, is_ci: bool) -> anyhow::Result<String> {
    let lines: Vec<String> = skipped.lines().map(|line| format!("     SKIPPED {line}\n")).collect();
    let lines = lines.concat();
    if is_ci && !lines.is_empty() {
        bail!("tests that this machine cannot run, and CI must:\n{lines}");
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_could_not_run_is_named_and_on_ci_it_is_a_failure() {
        let skipped = "a_disk_is_full: mount: permission denied\n";
        let named = account_for_skipped(skipped, false).unwrap();
        assert_eq!(named, "     SKIPPED a_disk_is_full: mount: permission denied\n");
        assert!(account_for_skipped(skipped, true).unwrap_err().to_string().contains("a_disk_is_full"));
        assert_eq!(account_for_skipped("", true).unwrap(), "", "the control: every test ran");
    }
}
