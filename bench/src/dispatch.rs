//! Dispatch: from the start of the submit call to the moment at which an idle agent holds the job.

use std::time::Instant;

use anyhow::Context as _;
use seatrial_proto::v1;
use seatrial_proto::v1::runs_client::RunsClient;
use seatrial_sim::connection::dial;
use tokio::task::JoinSet;

use crate::agents::{self, Agents};
use crate::baseline::sqlite;
use crate::process::Process;
use crate::ratio::{Goal, Measured, median};

const AGENTS: usize = 50;
const LATENCY_JOBS: usize = 400;
const RATE_JOBS_EACH: usize = 60;

/// What a caller asks for.
#[derive(Clone, Copy)]
enum Call {
    /// One job once more.
    Rerun,
    /// A suite of one job: its text is parsed, and every device looked at.
    Submit,
}

/// Median latencies in µs, jobs a second, and the subject's CPU time a job in µs.
struct Figures {
    rerun_us: f64,
    submit_us: f64,
    rate: f64,
    cpu_us: f64,
}

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let baseline = of_dispatcher().await.context("baseline dispatcher")?;
        let normal = of_server("normal").await.context("server at WAL-normal")?;
        let shipped = of_server("full").await.context("server as shipped")?;
        let folder = tempfile::tempdir()?;
        let commit = sqlite::full_commit_us(folder.path(), 300)?;
        let row = |name, unit, value, baseline, goal| Measured { name, unit, value, baseline, goal };
        Ok(vec![
            row("dispatch p50, WAL-normal / no store", "µs", normal.rerun_us, baseline.rerun_us, Goal::AtMost(2.0)),
            row("the same for a suite", "µs", normal.submit_us, baseline.submit_us, Goal::AtMost(2.0)),
            row("dispatch rate, WAL-normal / no store", "jobs/s", normal.rate, baseline.rate, Goal::AtLeast(0.5)),
            row("dispatch p50, as shipped / one full commit", "µs", shipped.rerun_us, commit, Goal::AtMost(1.2)),
            row("the same for a suite, as shipped", "µs", shipped.submit_us, commit, Goal::AtMost(1.2)),
            row("dispatch rate, as shipped / no store", "jobs/s", shipped.rate, baseline.rate, Goal::AtLeast(0.3)),
            row("server CPU a job / 200 µs", "µs", normal.cpu_us, 200.0, Goal::AtMost(1.0)),
        ])
    })
}

async fn of_dispatcher() -> anyhow::Result<Figures> {
    let subject = Process::start(&["inner-dispatcher"])?;
    let agents = agents::start(&subject.address, AGENTS, &seatrial_sim::report::ok(16)).await?;
    // It names each agent after the job that it will be given.
    let jobs = agents.devices.clone();
    figures(&subject, agents, jobs, false).await
}

async fn of_server(synchronous: &str) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().to_str().context("the scratch folder's name is not text")?;
    let subject = Process::start(&["inner-server", "--data", data, "--synchronous", synchronous])?;
    let mut agents = agents::start(&subject.address, AGENTS, &seatrial_sim::report::ok(16)).await?;
    let by_device = agents::first_jobs(&subject.address, &mut agents).await?;
    let jobs = agents
        .devices
        .iter()
        .map(|device| by_device.get(device).cloned().context("a device was given no job"))
        .collect::<anyhow::Result<_>>()?;
    figures(&subject, agents, jobs, true).await
}

async fn figures(
    subject: &Process,
    mut agents: Agents,
    jobs: Vec<String>,
    knows_suites: bool,
) -> anyhow::Result<Figures> {
    let rerun_us = latency(&subject.address, &mut agents, &jobs, Call::Rerun).await?;
    let submit_us =
        if knows_suites { latency(&subject.address, &mut agents, &jobs, Call::Submit).await? } else { rerun_us };
    let before = subject.cpu_us()?;
    let start = Instant::now();
    let mut submitters = JoinSet::new();
    for (job, mut words) in jobs.into_iter().zip(std::mem::take(&mut agents.words)) {
        let address = subject.address.clone();
        submitters.spawn(async move {
            let mut runs = RunsClient::new(dial(&address).await?);
            for _ in 0..RATE_JOBS_EACH {
                runs.rerun(v1::RerunRequest { job: job.clone() }).await?;
                agents::durable(&mut words).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = submitters.join_next().await {
        ended??;
    }
    let done = (AGENTS * RATE_JOBS_EACH) as f64;
    let rate = done / start.elapsed().as_secs_f64();
    Ok(Figures { rerun_us, submit_us, rate, cpu_us: (subject.cpu_us()? - before) / done })
}

/// One job at a time, each on the next agent in turn.
async fn latency(address: &str, agents: &mut Agents, jobs: &[String], call: Call) -> anyhow::Result<f64> {
    let mut runs = RunsClient::new(dial(address).await?);
    let mut times = Vec::with_capacity(LATENCY_JOBS);
    for turn in 0..LATENCY_JOBS {
        let index = turn % jobs.len();
        let start = Instant::now();
        match call {
            Call::Rerun => drop(runs.rerun(v1::RerunRequest { job: jobs[index].clone() }).await?),
            Call::Submit => drop(runs.submit(agents::suite_of_one(index)).await?),
        }
        let held = agents::holds(&mut agents.words[index]).await?;
        times.push(held.saturating_duration_since(start).as_secs_f64() * 1e6);
        agents::durable(&mut agents.words[index]).await?;
    }
    Ok(median(times))
}
