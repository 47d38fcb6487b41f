//! What is measured, each as a process of its own that prints its address.

use std::io::Write as _;
use std::path::Path;

use seatrial_server::Config;
use seatrial_server::config::Synchronous;

use crate::baseline::dispatcher::Dispatcher;

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn announce(address: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{address}")?;
    Ok(stdout.flush()?)
}

/// The real server on an embedded database in `data`.
pub fn serve(data: &Path, synchronous: &str) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut config = Config::embedded(data);
        config.listen = "127.0.0.1:0".parse()?;
        config.synchronous = if synchronous == "normal" { Synchronous::Normal } else { Synchronous::Full };
        let running = seatrial_server::start(config).await?;
        announce(&running.url())?;
        std::future::pending::<()>().await;
        Ok(())
    })
}

/// The dispatcher that stores nothing.
pub fn dispatch() -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let dispatcher = Dispatcher::start().await?;
        announce(&format!("http://{}", dispatcher.address))?;
        std::future::pending::<()>().await;
        Ok(())
    })
}
