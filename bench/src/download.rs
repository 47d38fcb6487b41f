//! Artifact download over HTTP with the digest checked by the reader, against bare loopback TCP.

use std::time::Instant;

use anyhow::Context as _;
use futures::StreamExt as _;
use seatrial_core::digest::Digest;
use tokio::task::JoinSet;

use crate::baseline::tcp;
use crate::process::Process;
use crate::ratio::{Goal, Measured};

const SIZE: usize = 64 << 20;

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let data = folder.path().to_str().context("the scratch folder's name is not text")?;
        let subject = Process::start(&["inner-server", "--data", data, "--synchronous", "full"])?;
        let bytes: Vec<u8> = (0..SIZE as u32 / 4).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let digest = Digest::of(&bytes);
        upload(&subject.address, &digest, bytes).await?;
        let mut rows = Vec::new();
        for (readers, name) in [(1, "download, 1 reader / bare TCP"), (8, "download, 8 readers / bare TCP")] {
            let baseline = tcp::rate(readers, SIZE).await?;
            let value = rate(&subject.address, digest, readers).await?;
            let scale = 1e-9;
            rows.push(Measured {
                name,
                unit: "GB/s",
                value: value * scale,
                baseline: baseline * scale,
                goal: Goal::AtLeast(0.5),
            });
        }
        Ok(rows)
    })
}

/// Puts bytes in place under their digest.
pub async fn upload(address: &str, digest: &Digest, bytes: Vec<u8>) -> anyhow::Result<()> {
    let answer = reqwest::Client::new().put(format!("{address}/artifacts/{digest}")).body(bytes).send().await?;
    let status = answer.status();
    anyhow::ensure!(status.is_success(), "upload was answered {status}: {}", answer.text().await.unwrap_or_default());
    Ok(())
}

async fn rate(address: &str, digest: Digest, readers: usize) -> anyhow::Result<f64> {
    // An agent makes its client once, with what it trusts; a reader has a connection of its own.
    let clients: Vec<reqwest::Client> = (0..readers).map(|_| reqwest::Client::new()).collect();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients {
        let url = format!("{address}/artifacts/{digest}");
        tasks.spawn(async move {
            let mut body = client.get(url).send().await?.error_for_status()?.bytes_stream();
            let mut hasher = blake3::Hasher::new();
            while let Some(chunk) = body.next().await {
                hasher.update(&chunk?);
            }
            anyhow::ensure!(hasher.finalize().as_bytes() == digest.as_bytes(), "the bytes do not fit their digest");
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok((readers * SIZE) as f64 / start.elapsed().as_secs_f64())
}
