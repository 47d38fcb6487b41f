//! A proxy between two ends of a link that counts bytes, and cuts or stalls when so many have passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to each connection.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    None,
    /// Both directions end when this many bytes have come from the server.
    CutDown(u64),
    /// Both end when this many have gone to it.
    CutUp(u64),
    /// After this many from it, nothing comes any more, and nothing is closed.
    StallDown(u64),
    StallUp(u64),
    /// The first time that a word passes in either direction, in one piece, it is another of the same length.
    Replace(&'static str, &'static str),
}

pub struct Proxy {
    port: u16,
    task: JoinHandle<()>,
    /// Bytes that have gone to the server, on all connections.
    pub up: Arc<AtomicU64>,
    bitten: Arc<AtomicBool>,
}

impl Proxy {
    /// `only`: the fault is that of the connection with this number; others are left alone.
    pub async fn start(to: String, fault: Fault, only: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (up, bitten) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let notes = (up.clone(), bitten.clone());
        let task = tokio::spawn(async move {
            for number in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(&to).await else { continue };
                let fault = if only.is_none_or(|only| only == number) { fault } else { Fault::None };
                tokio::spawn(carry(client, server, fault, notes.clone()));
            }
        });
        Self { port, task, up, bitten }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Whether the fault has happened.
    pub fn has_bitten(&self) -> bool {
        self.bitten.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: TcpStream, fault: Fault, (up, bitten): (Arc<AtomicU64>, Arc<AtomicBool>)) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (down_bound, up_bound, stalls) = match fault {
        Fault::None | Fault::Replace(..) => (u64::MAX, u64::MAX, false),
        Fault::CutDown(bytes) => (bytes, u64::MAX, false),
        Fault::CutUp(bytes) => (u64::MAX, bytes, false),
        Fault::StallDown(bytes) => (bytes, u64::MAX, true),
        Fault::StallUp(bytes) => (u64::MAX, bytes, true),
    };
    let words = if let Fault::Replace(from, to) = fault { Some((from, to)) } else { None };
    let one_way = async |mut from, mut to, bound, words, count: &AtomicU64| {
        if pump(&mut from, &mut to, bound, words, count).await {
            bitten.store(true, Ordering::SeqCst);
            if stalls {
                std::future::pending::<()>().await;
            }
        }
    };
    let down = AtomicU64::new(0);
    // Whichever direction ends takes the other with it.
    tokio::select! {
        () = one_way(from_client, to_server, up_bound, words, &up) => {}
        () = one_way(from_server, to_client, down_bound, words, &down) => {}
    }
}

/// Carries at most `bound` bytes; whether that was the end of it.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    bound: u64,
    words: Option<(&str, &str)>,
    count: &AtomicU64,
) -> bool {
    let (mut left, mut buffer) = (bound, vec![0; 64 << 10]);
    loop {
        if left == 0 {
            return true;
        }
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return false };
        let passed = left.min(read as u64) as usize;
        if let Some((word, other)) = words {
            replace(&mut buffer[..passed], word.as_bytes(), other.as_bytes());
        }
        if to.write_all(&buffer[..passed]).await.is_err() {
            return false;
        }
        left -= passed as u64;
        count.fetch_add(passed as u64, Ordering::SeqCst);
    }
}

fn replace(bytes: &mut [u8], word: &[u8], other: &[u8]) {
    assert_eq!(word.len(), other.len());
    if let Some(at) = bytes.windows(word.len()).position(|window| window == word) {
        bytes[at..at + word.len()].copy_from_slice(other);
    }
}
