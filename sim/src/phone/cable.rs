//! The cable between the adb server and the daemon, where everything happens that is wrong with a link.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;
/// Connections at once; an adb server makes one.
const MOST: usize = 16;

/// The state of the cable. A change of `cuts` or an unplugged cable drops every connection.
#[derive(Debug, Clone)]
pub struct Link {
    pub plugged: bool,
    pub flowing: bool,
    pub bytes_per_second: Option<u64>,
    pub cuts: u32,
    /// Bytes until the connection drops; `u64::MAX` for never.
    pub left: Arc<AtomicU64>,
}

impl Link {
    pub fn unplugged() -> Self {
        let left = Arc::new(AtomicU64::new(u64::MAX));
        Self { plugged: false, flowing: true, bytes_per_second: None, cuts: 0, left }
    }
}

/// Listens for the adb server while the cable is plugged in, and leads each connection to the daemon whose socket is
/// in `folder`. The port is taken anew each time; while somebody else has it, the phone cannot be reached.
pub async fn run(port: u16, folder: PathBuf, mut link: watch::Receiver<Link>) {
    loop {
        if link.wait_for(|link| link.plugged).await.is_err() {
            return;
        }
        let listener = match listen(port) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%error, port, "the port of a simulated phone is taken");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let mut carried = JoinSet::new();
        let (cuts, watched) = (link.borrow().cuts, link.clone());
        loop {
            tokio::select! {
                accepted = listener.accept(), if carried.len() < MOST => if let Ok((host, _)) = accepted {
                    carried.spawn(carry(host, folder.clone(), watched.clone()));
                },
                Some(_) = carried.join_next() => {}
                changed = link.wait_for(|link| !link.plugged || link.cuts != cuts) => match changed {
                    Ok(_) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

/// On loopback only: whoever reaches a phone's port may run commands.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Whichever end hangs up first, the other is hung up on.
async fn carry(host: TcpStream, folder: PathBuf, link: watch::Receiver<Link>) -> io::Result<()> {
    host.set_nodelay(true)?;
    let daemon = dial(&folder).await?;
    let (host_out, host_in) = host.into_split();
    let (daemon_out, daemon_in) = daemon.into_split();
    tokio::select! {
        ended = pass(host_out, daemon_in, link.clone()) => ended,
        ended = pass(daemon_out, host_in, link) => ended,
    }
}

/// A socket's path may have 108 bytes, and the folder of a phone may lie deeper.
async fn dial(folder: &Path) -> io::Result<UnixStream> {
    let folder = File::open(folder)?;
    UnixStream::connect(format!("/proc/self/fd/{}/adbd", folder.as_raw_fd())).await
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<Link>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let rate = link.borrow().bytes_per_second;
        // A slow link moves a little ten times in a second, not much once.
        let most = rate.map_or(CHUNK, |rate| (rate / 10).clamp(1, CHUNK as u64) as usize);
        let count = from.read(&mut buffer[..most]).await?;
        if count == 0 {
            return Ok(());
        }
        let Ok(link) = link.wait_for(|link| link.flowing).await.map(|link| link.clone()) else { return Ok(()) };
        let passing = take(&link.left, count as u64) as usize;
        to.write_all(&buffer[..passing]).await?;
        if passing < count {
            link.left.store(u64::MAX, Ordering::Relaxed);
            return Ok(());
        }
        if let Some(rate) = rate {
            tokio::time::sleep(Duration::from_secs_f64(count as f64 / rate as f64)).await;
        }
    }
}

/// How many of so many bytes may still pass.
fn take(left: &AtomicU64, wanted: u64) -> u64 {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        (left != u64::MAX).then(|| left.saturating_sub(wanted))
    });
    taken.map_or(wanted, |left| left.min(wanted))
}
