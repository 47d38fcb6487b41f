//! Ingest of samples, from an agent's message to a durable row.
//!
//! Seatrial stores no row a sample; what that would cost at best stands beside what it does.

use std::f64::consts::TAU;
use std::path::Path;
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

/// Reports of one length, and how many of them each agent sends.
struct Load {
    samples: u32,
    reports_each: usize,
}

/// A long attempt: what a phone sends after ten minutes at 3 ms an inference.
const LONG: Load = Load { samples: 200_000, reports_each: 12 };
/// The shortest attempt for which the bytes of a sample count.
const SHORT: Load = Load { samples: 1_000, reports_each: 60 };

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let long = ingest(&LONG, folder.path()).await?;
        let short = ingest(&SHORT, folder.path()).await?;
        let rows = sqlite::row_rate(folder.path(), "full", LONG.samples)?;
        let row = |name, unit, value, baseline, goal| Measured { name, unit, value, baseline, goal };
        Ok(vec![
            row(
                "packed ingest end to end / rusqlite, packed",
                "samples/s",
                long.samples_a_second,
                long.baseline,
                Goal::AtLeast(0.35),
            ),
            row(
                "the same in reports of 1,000 samples",
                "samples/s",
                short.samples_a_second,
                short.baseline,
                Goal::AtLeast(0.35),
            ),
            row(
                "packed ingest end to end / rusqlite, row a sample",
                "samples/s",
                long.samples_a_second,
                rows,
                Goal::AtLeast(5.0),
            ),
            row("bytes of a sample, 200,000 a report / 4.2 B", "B", long.bytes_a_value, 4.2, Goal::AtMost(1.0)),
            row("bytes of a sample, 1,000 a report / 4.2 B", "B", short.bytes_a_value, 4.2, Goal::AtMost(1.0)),
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

struct Figures {
    samples_a_second: f64,
    /// The same blocks, put into a table by rusqlite.
    baseline: f64,
    /// Growth of the table of blocks, index and free space included, over the values in it.
    bytes_a_value: f64,
}

async fn ingest(load: &Load, scratch: &Path) -> anyhow::Result<Figures> {
    let report = realistic(load.samples);
    let bytes: Vec<u8> = report.blocks.iter().flat_map(|block| block.bytes.iter().copied()).collect();
    let blocks = sqlite::packed_rate(scratch, "full", &bytes, AGENTS * load.reports_each)?;
    let folder = tempfile::tempdir()?;
    let samples_a_second = samples_a_second(load, &report, folder.path()).await?;
    Ok(Figures {
        samples_a_second,
        baseline: blocks * f64::from(load.samples),
        bytes_a_value: sqlite::bytes_a_value(folder.path())?,
    })
}

async fn samples_a_second(load: &Load, report: &Report, folder: &Path) -> anyhow::Result<f64> {
    let data = folder.to_str().context("the scratch folder's name is not text")?;
    let subject = Process::start(&["inner-server", "--data", data, "--synchronous", "full"])?;
    let mut agents = agents::start(&subject.address, AGENTS, report).await?;
    let by_device = agents::first_jobs(&subject.address, &mut agents).await?;
    let reports_each = load.reports_each;
    let start = Instant::now();
    let mut submitters = JoinSet::new();
    for (device, mut words) in agents.devices.clone().into_iter().zip(std::mem::take(&mut agents.words)) {
        let job = by_device.get(&device).cloned().context("a device was given no job")?;
        let address = subject.address.clone();
        submitters.spawn(async move {
            let mut runs = RunsClient::new(dial(&address).await?);
            for _ in 0..reports_each {
                runs.rerun(v1::RerunRequest { job: job.clone() }).await?;
                agents::durable(&mut words).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = submitters.join_next().await {
        ended??;
    }
    Ok((AGENTS * reports_each) as f64 * f64::from(load.samples) / start.elapsed().as_secs_f64())
}
