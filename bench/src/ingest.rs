//! Ingest of samples, from an agent's message to a durable row.
//!
//! Seatrial stores no row a sample; what that would cost at best stands beside what it does.

use std::f64::consts::TAU;
use std::time::Instant;

use anyhow::Context as _;
use rand::{Rng as _, SeedableRng as _};
use seatrial_core::block;
use seatrial_core::report::{BlockKind, Report};
use seatrial_proto::v1;
use seatrial_proto::v1::runs_client::RunsClient;
use seatrial_sim::connection::dial;
use tokio::task::JoinSet;

use crate::agents;
use crate::baseline::sqlite;
use crate::process::Process;
use crate::ratio::{Goal, Measured};

const AGENTS: usize = 8;
const REPORTS_EACH: usize = 12;
/// A long attempt: what a phone sends after ten minutes at 3 ms an inference.
const SAMPLES: u32 = 200_000;

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let report = realistic(SAMPLES);
        let ours = samples_a_second(&report).await?;
        let folder = tempfile::tempdir()?;
        let latency = report.blocks.iter().find(|block| block.metric == BlockKind::LatencyNs);
        let latency = latency.context("the report has no latencies")?;
        let bytes: Vec<u8> = report.blocks.iter().flat_map(|block| block.bytes.iter().copied()).collect();
        let blocks = sqlite::packed_rate(folder.path(), "full", &bytes, AGENTS * REPORTS_EACH)?;
        let rows = sqlite::row_rate(folder.path(), "full", SAMPLES)?;
        let row = |name, unit, value, baseline, goal| Measured { name, unit, value, baseline, goal };
        Ok(vec![
            row(
                "packed ingest end to end / rusqlite, packed",
                "samples/s",
                ours,
                blocks * f64::from(SAMPLES),
                Goal::AtLeast(0.35),
            ),
            row("packed ingest end to end / rusqlite, row a sample", "samples/s", ours, rows, Goal::AtLeast(5.0)),
            row(
                "bytes of a latency / 4.2 B",
                "B",
                latency.bytes.len() as f64 / f64::from(SAMPLES),
                4.2,
                Goal::AtMost(1.0),
            ),
        ])
    })
}

/// Latencies around 8 ms with a log-normal body of 3 %, a thermal drift of 10 % and spikes in half a percent: repeating
/// patterns would pack into nothing.
fn realistic(samples: u32) -> Report {
    let mut random = rand::rngs::StdRng::seed_from_u64(8);
    let mut report = seatrial_sim::report::ok(samples);
    let (mut latencies, mut starts, mut now) = (Vec::new(), Vec::new(), 0.0);
    for index in 0..samples {
        // A normal deviate by Box and Muller.
        let normal = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt() * (TAU * random.random::<f64>()).cos();
        let drift = 1.0 + 0.1 * f64::from(index) / f64::from(samples);
        let spike = if random.random_bool(0.005) { random.random_range(1.5..4.0) } else { 1.0 };
        let ns = (8e6 * (0.03 * normal).exp() * drift * spike).round();
        starts.push((now / 1e3) as i64);
        latencies.push(ns as i64);
        now += ns + 2e3;
    }
    for block in &mut report.blocks {
        block.bytes = block::pack(if block.metric == BlockKind::LatencyNs { &latencies } else { &starts });
    }
    report
}

async fn samples_a_second(report: &Report) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().to_str().context("the scratch folder's name is not text")?;
    let subject = Process::start(&["inner-server", "--data", data, "--synchronous", "full"])?;
    let mut agents = agents::start(&subject.address, AGENTS, report).await?;
    let by_device = agents::first_jobs(&subject.address, &mut agents).await?;
    let start = Instant::now();
    let mut submitters = JoinSet::new();
    for (device, mut words) in agents.devices.clone().into_iter().zip(std::mem::take(&mut agents.words)) {
        let job = by_device.get(&device).cloned().context("a device was given no job")?;
        let address = subject.address.clone();
        submitters.spawn(async move {
            let mut runs = RunsClient::new(dial(&address).await?);
            for _ in 0..REPORTS_EACH {
                runs.rerun(v1::RerunRequest { job: job.clone() }).await?;
                agents::durable(&mut words).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = submitters.join_next().await {
        ended??;
    }
    Ok((AGENTS * REPORTS_EACH) as f64 * f64::from(SAMPLES) / start.elapsed().as_secs_f64())
}
