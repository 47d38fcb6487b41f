//! Bare loopback TCP: bytes from memory to readers that throw them away.

use std::time::Instant;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CHUNK: usize = 256 << 10;

/// Bytes a second that `readers` together take from one listener, each reading `total` bytes.
pub async fn rate(readers: usize, total: usize) -> anyhow::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    for _ in 0..readers {
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            let mut buffer = vec![0; CHUNK];
            while stream.read(&mut buffer).await? > 0 {}
            Ok::<_, std::io::Error>(())
        });
    }
    let start = Instant::now();
    for _ in 0..readers {
        let (mut stream, _) = listener.accept().await?;
        tasks.spawn(async move {
            let chunk = vec![7; CHUNK];
            let mut left = total;
            while left > 0 {
                let now = left.min(CHUNK);
                stream.write_all(&chunk[..now]).await?;
                left -= now;
            }
            stream.shutdown().await
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok((readers * total) as f64 / start.elapsed().as_secs_f64())
}
