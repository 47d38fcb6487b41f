//! A push of 100 MB to a phone, with its digests and checks, against the adb command's own: Debian's adb server and the
//! daemon that phones run, in namespaces of their own, which `cargo xtask bench` fetches.

use std::process::Stdio;
use std::time::Instant;

use anyhow::Context as _;
use seatrial_adb::{DeviceLink as _, Limits};

use crate::lab::{ADB, ADBD_ROOT, FOLDER, Lab, namespaces, noise};
use crate::ratio::{Goal, Measured, median};

const BYTES: usize = 100_000_000;
/// Of either, one after the other; their medians are compared.
const PUSHES: usize = 5;

pub fn round() -> anyhow::Result<Vec<Measured>> {
    for variable in [ADB, ADBD_ROOT] {
        std::env::var_os(variable).with_context(|| format!("{variable} is not set: run `cargo xtask bench push`"))?;
    }
    let output = namespaces()
        .args(["sh", "-c", "\"$0\" \"$@\"; exit $?"])
        .arg(std::env::current_exe()?)
        .arg("inner-push")
        .stderr(Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "inside its namespaces the push ended with {}", output.status);
    let (value, baseline) = serde_json::from_slice(&output.stdout).context("what the push printed")?;
    let name = "push of 100 MB to a phone, checked / adb push";
    Ok(vec![Measured { name, unit: "MB/s", value, baseline, goal: Goal::AtLeast(0.6) }])
}

/// Prints both rates, ours first, in MB/s.
pub fn inside() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut lab = Lab::open().await;
        let phone = lab.phone().await;
        let (link, local) = (phone.link(&lab.server()), lab.file("noise", &noise(BYTES, 8)));
        let (mut ours, mut its) = (Vec::new(), Vec::new());
        for _ in 0..PUSHES {
            let begun = Instant::now();
            let mut adb = lab.adb();
            adb.args(["-s", &phone.serial(), "push"]).arg(&local).arg(format!("{FOLDER}/its")).stdout(Stdio::null());
            anyhow::ensure!(adb.status()?.success(), "adb push failed");
            its.push(begun.elapsed().as_secs_f64());
            let begun = Instant::now();
            link.push(&local, &format!("{FOLDER}/ours"), 0o644, &Limits::for_bytes(BYTES as u64)).await?;
            ours.push(begun.elapsed().as_secs_f64());
        }
        let rate = |times| BYTES as f64 / 1e6 / median(times);
        println!("{}", serde_json::to_string(&(rate(ours), rate(its)))?);
        Ok(())
    })
}
