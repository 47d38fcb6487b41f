//! The one TCP port: our own accept loop, since no stock server closes silent connections.

mod admission;
mod connection;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::metrics::{Closed, Metrics};
use admission::Admission;

/// Waits after `accept` found no file descriptor, doubling up to the second one.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

const LOG_AGAIN: Duration = Duration::from_mins(1);

/// The two ends of a connection. A request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    pub local: SocketAddr,
    pub tls: bool,
}

/// When to stop. `draining`: take no more work, and say so to whoever asks. `soft`: accept nothing new, finish what was
/// asked. `hard`: drop everything.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    pub draining: CancellationToken,
    pub soft: CancellationToken,
    pub hard: CancellationToken,
}

/// What the accept loop needs.
pub struct Port {
    pub listener: TcpListener,
    pub tls: Option<Arc<ServerConfig>>,
    pub limits: Limits,
    pub router: Router,
    pub metrics: Metrics,
    pub stop: Stop,
}

impl Port {
    /// Serves until the soft stop and then waits for the open connections; the hard stop ends those too.
    pub async fn serve(self) {
        let connections = TaskTracker::new();
        let tls = self.tls.map(tokio_rustls::TlsAcceptor::from);
        let admission = Admission::new(self.limits.connections, self.limits.connections_per_address);
        let mut accepting =
            Accepting { listener: self.listener, trouble: None, logged: None, metrics: self.metrics.clone() };
        while let Some((stream, address)) = self.stop.soft.run_until_cancelled(accepting.next()).await {
            let place = match admission.admit(address.ip()) {
                Ok(place) => place,
                Err(refused) => {
                    self.metrics.connection_closed(refused);
                    continue;
                }
            };
            let connection = connection::Connection {
                stream,
                address,
                tls: tls.clone(),
                deadline: self.limits.first_request,
                router: self.router.clone(),
                metrics: self.metrics.clone(),
                stop: self.stop.clone(),
                place,
            };
            connections.spawn(connection.serve());
        }
        drop(accepting);
        connections.close();
        connections.wait().await;
    }
}

/// A listener that outlives the lack of file descriptors.
struct Accepting {
    listener: TcpListener,
    /// Present while `accept` fails: how long to wait next.
    trouble: Option<Duration>,
    /// When the trouble was last logged, so that it is logged once and not a thousand times.
    logged: Option<Instant>,
    metrics: Metrics,
}

impl Accepting {
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    if self.trouble.take().is_some() {
                        tracing::info!("accepting connections again");
                    }
                    return accepted;
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => self.wait_out(&error).await,
            }
        }
    }

    async fn wait_out(&mut self, error: &io::Error) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_AGAIN) {
            self.logged = Some(Instant::now());
            tracing::error!(%error, "cannot accept connections; open ones go on, and this is tried again");
        }
        let wait = self.trouble.unwrap_or(BACK_OFF.0);
        self.metrics.connection_closed(Closed::Descriptors);
        tokio::time::sleep(wait).await;
        self.trouble = Some((wait * 2).min(BACK_OFF.1));
    }
}

/// Whether the peer, and not this process, is the cause.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
