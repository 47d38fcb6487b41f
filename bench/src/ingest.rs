//! Ingest of packed samples, from an agent's message to a durable row.

use std::time::Instant;

use anyhow::Context as _;
use seatrial_core::report::Report;
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
        let report = seatrial_sim::report::ok(SAMPLES);
        let ours = samples_a_second(&report).await?;
        let folder = tempfile::tempdir()?;
        let bytes: Vec<u8> = report.blocks.iter().flat_map(|block| block.bytes.iter().copied()).collect();
        let blocks = sqlite::packed_rate(folder.path(), "full", &bytes, AGENTS * REPORTS_EACH)?;
        let baseline = blocks * f64::from(SAMPLES);
        let stored = bytes.len() as f64 / f64::from(SAMPLES);
        Ok(vec![
            Measured {
                name: "packed ingest end to end / rusqlite",
                unit: "samples/s",
                value: ours,
                baseline,
                goal: Goal::AtLeast(0.35),
            },
            Measured {
                name: "bytes a sample (latency and start) / 8.4",
                unit: "B",
                value: stored,
                baseline: 8.4,
                goal: Goal::AtMost(1.0),
            },
        ])
    })
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
