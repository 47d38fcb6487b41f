//! What it costs to hold idle agents, and what an idle agent costs its device.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use seatrial_sim::connection::dial;
use seatrial_sim::{Connection, Identity};

use crate::process::{Agent, Process};
use crate::ratio::{Goal, Measured};

const AGENTS: usize = 2000;
/// How long an idle agent is watched.
const WATCH: Duration = Duration::from_secs(20);

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rows = runtime.block_on(async {
        let baseline = kib_an_agent(&Process::start(&["inner-dispatcher"])?).await?;
        let folder = tempfile::tempdir()?;
        let data = folder.path().to_str().context("the scratch folder's name is not text")?;
        let subject = Process::start(&["inner-server", "--data", data, "--synchronous", "normal"])?;
        let value = kib_an_agent(&subject).await?;
        anyhow::Ok(vec![Measured {
            name: "server memory an idle agent / bare stream",
            unit: "KiB",
            value,
            baseline,
            goal: Goal::AtMost(1.25),
        }])
    })?;
    rows.extend(device()?);
    Ok(rows)
}

async fn kib_an_agent(subject: &Process) -> anyhow::Result<f64> {
    // The first connections pay for what all share.
    let mut open = Vec::with_capacity(AGENTS + 50);
    for index in 0..50 {
        open.push(connect(subject, index).await?);
    }
    let before = subject.resident_kib()?;
    for index in 50..AGENTS + 50 {
        open.push(connect(subject, index).await?);
    }
    Ok((subject.resident_kib()? - before) / AGENTS as f64)
}

async fn connect(subject: &Process, index: usize) -> anyhow::Result<Connection> {
    Ok(Connection::open(dial(&subject.address).await?, &Identity::named(&format!("idle-{index}"))).await?)
}

/// The lean agent as it is shipped.
fn device() -> anyhow::Result<Vec<Measured>> {
    let size = std::fs::metadata(Agent::binary()?).context("the lean agent has not been built")?.len();
    let folder = tempfile::tempdir()?;
    let data = folder.path().to_str().context("the scratch folder's name is not text")?;
    let server = Process::start(&["inner-server", "--data", data, "--synchronous", "normal"])?;
    let agent = Agent::start(&server.address, &folder.path().join("agent"))?;
    // Settled: what starting costs is not what idling costs.
    std::thread::sleep(Duration::from_secs(3));
    let (start, before) = (Instant::now(), agent.cpu_us()?);
    std::thread::sleep(WATCH);
    let share = (agent.cpu_us()? - before) / start.elapsed().as_micros() as f64;
    let resident = agent.resident_kib()?;
    let row = |name, unit, value, baseline| Measured { name, unit, value, baseline, goal: Goal::AtMost(1.0) };
    Ok(vec![
        row("agent binary, stripped / 25 MB", "MB", size as f64 / 1e6, 25.0),
        row("idle agent memory / 20 MB", "MB", resident * 1024.0 / 1e6, 20.0),
        row("idle agent CPU / 0.2 % of a core", "%", share * 100.0, 0.2),
    ])
}
