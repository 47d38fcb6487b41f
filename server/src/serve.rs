//! `seatrial serve`: a server with signals.

use std::io::Write as _;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::start::{Running, Shutdown, StartError, start};

/// Runs a server until it is told to stop: the first SIGTERM or SIGINT drains, the second drops everything.
pub async fn run(config: Config) -> Result<(), ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    raise_descriptor_limit();
    let drain = config.drain;
    let running = tokio::select! {
        started = start(config) => started?,
        () = signals.next() => return Ok(()),
    };
    announce(&running).map_err(ServeError::Output)?;
    tokio::select! {
        () = signals.next() => {}
        () = running.taken_over() => {
            running.shutdown(Shutdown::Hard).await;
            return Err(ServeError::TakenOver);
        }
    }
    tracing::info!(seconds = drain.as_secs(), "draining; a second signal ends at once");
    let hard = running.hard_stop();
    let soft = running.shutdown(Shutdown::Soft { deadline: drain });
    tokio::pin!(soft);
    tokio::select! {
        () = &mut soft => {}
        () = signals.next() => {
            tracing::warn!("ending at once");
            hard.cancel();
            soft.await;
        }
    }
    tracing::info!("ended");
    Ok(())
}

/// Why `serve` failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(
        "another server has become the active one on this database while this one had no connection to it: start this \
         one again to have it stand by"
    )]
    TakenOver,
    #[error("cannot receive signals: {0}")]
    Signals(#[source] std::io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[source] std::io::Error),
}

/// The address is the result of `serve`, and the token exists nowhere else: both go to standard output, not to the log.
fn announce(running: &Running) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {}", running.url())?;
    if let Some(token) = &running.admin_token {
        writeln!(out, "administrator's token, shown once: {}", token.reveal())?;
    }
    out.flush()
}

/// Every agent is a file descriptor; the soft limit of a login shell is 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the number of open files stays limited as it is");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
