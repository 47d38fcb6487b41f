//! What a second job with the same model moves: the agent as it is shipped, a real model, the server's own count.

use std::path::Path;

use anyhow::Context as _;
use seatrial_agent::signature::{self, LocalFile};
use seatrial_core::model::Format;
use seatrial_proto::v1;
use seatrial_proto::v1::runs_client::RunsClient;
use seatrial_sim::connection::dial;
use tonic::transport::Channel;

use crate::agents::add_model;
use crate::process::{Agent, Process};
use crate::ratio::{Goal, Measured};

const SUITE: &str = "name = \"bench\"\n[[models]]\nname = \"bench\"\n[[backends]]\nruntime = \"tract\"\n\
                     [[profiles]]\nkind = \"quick\"\n";

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("server");
        let data = data.to_str().context("the scratch folder's name is not text")?;
        let server = Process::start(&["inner-server", "--data", data, "--synchronous", "normal"])?;
        let channel = dial(&server.address).await?;
        let size = register(&server.address, channel.clone()).await?;
        let _agent = Agent::start(&server.address, &folder.path().join("agent"))?;
        let mut runs = RunsClient::new(channel);
        until_connected(&mut runs).await?;
        let request = v1::SubmitRequest {
            suite_toml: SUITE.to_owned(),
            file_name: "bench.toml".to_owned(),
            ..Default::default()
        };
        let first = runs.submit(request).await?.into_inner().run;
        let job = finished(&mut runs, first).await?;
        let moved = bytes_out(&server.address).await?;
        anyhow::ensure!(moved >= size, "the first job moved {moved} bytes of a model of {size}");
        let second = runs.rerun(v1::RerunRequest { job }).await?.into_inner().run;
        finished(&mut runs, second).await?;
        let again = bytes_out(&server.address).await? - moved;
        Ok(vec![Measured {
            name: "model bytes moved by a second job / first",
            unit: "B",
            value: again as f64,
            baseline: moved as f64,
            goal: Goal::AtMost(0.0),
        }])
    })
}

/// Registers the demo's smaller model; returns its size.
async fn register(address: &str, channel: Channel) -> anyhow::Result<u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo/models/digits-mlp.fp32.onnx");
    let bytes = std::fs::read(&path).context("the demo's model cannot be read")?;
    let size = bytes.len() as u64;
    let file = LocalFile { role: "model".to_owned(), file_name: "model.onnx".to_owned(), path };
    let read = signature::read(
        &seatrial_agent::cli::child_command(&["agent"])?,
        &std::env::temp_dir(),
        Format::Onnx,
        &[file],
    )?;
    add_model(address, channel, bytes, &read.signature).await?;
    Ok(size)
}

/// Waits until a submitted suite would give a job, that is, until the agent has shaken hands.
async fn until_connected(runs: &mut RunsClient<Channel>) -> anyhow::Result<()> {
    for _ in 0..100 {
        let preview =
            runs.preview(v1::PreviewRequest { suite_toml: SUITE.to_owned(), file_name: "bench.toml".to_owned() });
        if preview.await.is_ok_and(|preview| !preview.into_inner().jobs.is_empty()) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("the agent did not connect within 10 s")
}

/// Watches a run to its end; its only job.
async fn finished(runs: &mut RunsClient<Channel>, run: String) -> anyhow::Result<String> {
    let mut events = runs.watch(v1::WatchRequest { run: run.clone() }).await?.into_inner();
    while events.message().await?.is_some() {}
    let run = runs.get(v1::GetRunRequest { run, ..Default::default() }).await?.into_inner();
    let job = run.jobs.into_iter().next().context("the run has no job")?;
    anyhow::ensure!(job.outcome.as_deref() == Some("ok"), "the job ended as {:?}: {:?}", job.outcome, job.message);
    Ok(job.id)
}

/// Bytes of artifacts that have left the server.
async fn bytes_out(address: &str) -> anyhow::Result<u64> {
    let text = reqwest::get(format!("{address}/metrics")).await?.error_for_status()?.text().await?;
    let line = text.lines().find(|line| line.starts_with("seatrial_artifact_bytes_total{direction=\"Out\"}"));
    let count = line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse().ok());
    count.context("/metrics says nothing of artifacts sent")
}
