//! Fake agents under the bench's own control, and the jobs that they are given.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context as _, bail};
use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::digest::Digest;
use seatrial_core::model::{Axis, Format, Signature, TensorSpec};
use seatrial_core::report::Report;
use seatrial_core::tensor::DType;
use seatrial_proto::v1;
use seatrial_proto::v1::models_client::ModelsClient;
use seatrial_proto::v1::runs_client::RunsClient;
use seatrial_sim::connection::dial;
use seatrial_sim::{Connection, Identity};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// What an agent tells the bench.
#[derive(Debug, Clone, Copy)]
pub enum Word {
    /// It holds a job since then.
    Holds(Instant),
    /// The result of the job is durable.
    Durable,
}

/// Agents with open sessions. Dropping this closes them.
pub struct Agents {
    /// Device id of each, in order.
    pub devices: Vec<String>,
    /// One receiver an agent, in order.
    pub words: Vec<mpsc::Receiver<Word>>,
    _tasks: JoinSet<()>,
}

/// Opens `count` sessions on connections of their own; each accepts every job at once and reports `report`.
pub async fn start(address: &str, count: usize, report: &Report) -> anyhow::Result<Agents> {
    let mut tasks = JoinSet::new();
    let (mut devices, mut words) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for index in 0..count {
        let connection = Connection::open(dial(address).await?, &identity(index)).await?;
        devices.push(connection.welcome.device.clone());
        let (say, hear) = mpsc::channel(64);
        words.push(hear);
        let mut report = report.clone();
        report.actual.signature = Some(signature());
        tasks.spawn(work(connection, report, say));
    }
    Ok(Agents { devices, words, _tasks: tasks })
}

fn identity(index: usize) -> Identity {
    let mut identity = Identity::named(&format!("bench-{index}"));
    identity.profile.runtimes = vec![RuntimeOffer {
        name: "tract".to_owned(),
        version: "0.0.0".to_owned(),
        formats: vec![Format::Onnx],
        accelerators: vec![Accelerator::Cpu],
        absent: std::collections::BTreeMap::new(),
    }];
    identity
}

async fn work(mut connection: Connection, report: Report, say: mpsc::Sender<Word>) {
    loop {
        let Ok((attempt, _)) = connection.assignment().await else { return };
        if say.send(Word::Holds(Instant::now())).await.is_err() {
            return;
        }
        let sent = async {
            connection.accept(attempt).await?;
            connection.report(attempt, &report).await?;
            connection.verdict(attempt).await
        };
        if !matches!(sent.await, Ok(Ok(()))) || say.send(Word::Durable).await.is_err() {
            return;
        }
    }
}

/// A finished job on each device, to be run again: id by device.
pub async fn first_jobs(address: &str, agents: &mut Agents) -> anyhow::Result<HashMap<String, String>> {
    let channel = dial(address).await?;
    add_fake_model(address, channel.clone()).await?;
    let mut runs = RunsClient::new(channel);
    let submitted = runs.submit(suite("simulated")).await.context("the server refused the bench's suite")?.into_inner();
    for words in &mut agents.words {
        durable(words).await?;
    }
    let (mut jobs, mut page) = (HashMap::new(), String::new());
    loop {
        let request = v1::GetRunRequest { run: submitted.run.clone(), page };
        let run = runs.get(request).await?.into_inner();
        jobs.extend(run.jobs.into_iter().map(|job| (job.device, job.id)));
        if run.next_page.is_empty() {
            return Ok(jobs);
        }
        page = run.next_page;
    }
}

/// A suite of one job on each device that the selector holds for.
fn suite(devices: &str) -> v1::SubmitRequest {
    let suite_toml = format!(
        "name = \"bench\"\ndevices = '{devices}'\n[[models]]\nname = \"bench\"\n[[backends]]\nruntime = \
         \"tract\"\n[[profiles]]\nkind = \"quick\"\n"
    );
    v1::SubmitRequest { suite_toml, file_name: "bench.toml".to_owned(), ..Default::default() }
}

/// A suite of one job on the agent of this number.
pub fn suite_of_one(index: usize) -> v1::SubmitRequest {
    suite(&format!("product == \"Fake bench-{index}\""))
}

async fn add_fake_model(address: &str, channel: Channel) -> anyhow::Result<()> {
    let bytes = b"never parsed: the agents of a bench are fakes".to_vec();
    add_model(address, channel, bytes, &signature()).await
}

/// What is claimed of the fake model, and what each fake agent finds.
fn signature() -> Signature {
    let tensor = |name: &str| TensorSpec { name: name.to_owned(), dtype: DType::F32, shape: vec![Axis::Fixed(1)] };
    Signature { inputs: vec![tensor("x")], outputs: vec![tensor("y")], precision_from: None }
}

/// Registers `bytes` as the fp32 variant of an ONNX model of the bench's name.
pub async fn add_model(address: &str, channel: Channel, bytes: Vec<u8>, signature: &Signature) -> anyhow::Result<()> {
    let digest = Digest::of(&bytes);
    let file = v1::FileRef {
        role: "model".to_owned(),
        digest: digest.as_bytes().to_vec().into(),
        size: bytes.len() as u64,
        file_name: "bench.onnx".to_owned(),
    };
    crate::download::upload(address, &digest, bytes).await?;
    let variant = v1::NewVariant {
        name: "fp32".to_owned(),
        format: "onnx".to_owned(),
        precision: "fp32".to_owned(),
        files: vec![file],
        signature_json: serde_json::to_string(signature)?,
    };
    let request = v1::AddModelRequest { name: "bench".to_owned(), variants: vec![variant], ..Default::default() };
    ModelsClient::new(channel).add(request).await.context("the server refused the bench's model")?;
    Ok(())
}

/// Waits until the agent's next result is durable.
pub async fn durable(words: &mut mpsc::Receiver<Word>) -> anyhow::Result<()> {
    loop {
        match words.recv().await {
            Some(Word::Durable) => return Ok(()),
            Some(Word::Holds(_)) => {}
            None => bail!("an agent lost its session"),
        }
    }
}

/// Waits until the agent holds a job, and says since when.
pub async fn holds(words: &mut mpsc::Receiver<Word>) -> anyhow::Result<Instant> {
    loop {
        match words.recv().await {
            Some(Word::Holds(since)) => return Ok(since),
            Some(Word::Durable) => {}
            None => bail!("an agent lost its session"),
        }
    }
}
