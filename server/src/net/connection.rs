//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::admission::Place;
use super::{Peer, Stop};
use crate::metrics::{Closed, Metrics};

/// HTTP/1: from one response to the whole head of the next request.
const NEXT_REQUEST: Duration = Duration::from_mins(1);
/// HTTP/2: a peer is asked for a sign of life this often, and has this long to give one.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// How long, and for how many bytes, a peer is listened to whose handshake failed.
const PARTING: (Duration, u64) = (Duration::from_secs(1), 64 << 10);
const MAX_STREAMS: u32 = 256;
const MAX_HEADERS: u32 = 32 << 10;
/// Flow control of uploads over HTTP/2, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

pub(super) struct Connection {
    pub stream: TcpStream,
    pub address: SocketAddr,
    pub tls: Option<TlsAcceptor>,
    /// From connection to first request.
    pub deadline: Duration,
    pub router: Router,
    pub metrics: Metrics,
    pub stop: Stop,
    pub place: Place,
}

impl Connection {
    pub(super) async fn serve(self) {
        let Self { stream, address, tls, deadline, router, metrics, stop, place } = self;
        metrics.connection_opened();
        let hard = stop.hard.clone();
        let work = async {
            // A peer that is gone already has no local address to speak of.
            let Ok(local) = stream.local_addr() else { return };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps Nagle's algorithm");
            }
            let session = Session {
                peer: Peer { address, local, tls: tls.is_some() },
                deadline,
                router,
                metrics: &metrics,
                stop,
            };
            match tls {
                None => session.serve(stream).await,
                Some(tls) => match tokio::time::timeout(deadline, tls.accept(stream).into_fallible()).await {
                    Ok(Ok(stream)) => session.serve(stream).await,
                    Ok(Err((error, stream))) => {
                        tracing::debug!(%address, %error, "a TLS handshake failed");
                        metrics.connection_closed(Closed::Handshake);
                        part(stream).await;
                    }
                    Err(_) => metrics.connection_closed(Closed::Handshake),
                },
            }
        };
        hard.run_until_cancelled(work).await;
        metrics.connection_ended();
        drop(place);
    }
}

/// Lets the peer read the alert that says why. While anything that it has sent is unread, to close is to reset the
/// connection, and a peer that is still sending hears of nothing else.
async fn part(mut stream: TcpStream) {
    let parting = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(PARTING.1), &mut tokio::io::sink()).await
    };
    // How it ends is the peer's affair.
    let _ = tokio::time::timeout(PARTING.0, parting).await;
}

struct Session<'a> {
    peer: Peer,
    deadline: Duration,
    router: Router,
    metrics: &'a Metrics,
    stop: Stop,
}

impl Session<'_> {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { peer, deadline, router, metrics, stop } = self;
        let heard = Arc::new(AtomicBool::new(false));
        let hears = heard.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            hears.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let mut router = router.clone();
            async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
        });
        let builder = builder();
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut silence = pin!(tokio::time::sleep(deadline));
        let (mut timed, mut draining) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(address = %peer.address, %error, "a connection broke");
                    }
                    return;
                }
                () = &mut silence, if timed => {
                    timed = false;
                    if !heard.load(Ordering::Relaxed) {
                        metrics.connection_closed(Closed::Silent);
                        return;
                    }
                }
                () = stop.soft.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST).max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}
