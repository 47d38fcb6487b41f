//! Logs of this process, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Warnings by default; `-v` and `-vv` say more; `SEATRIAL_LOG` overrides with a filter such as `seatrial_server=debug`.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2.. => LevelFilter::DEBUG,
    };
    let filter =
        EnvFilter::builder().with_default_directive(level.into()).with_env_var("SEATRIAL_LOG").from_env_lossy();
    let started = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    if started.is_err() {
        tracing::debug!("logs were set up before");
    }
}

/// Everything from `info` on, into a file.
pub(crate) fn start_in_file(file: std::fs::File) {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var("SEATRIAL_LOG")
        .from_env_lossy();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file))
        .try_init();
    if started.is_err() {
        tracing::debug!("logs were set up before");
    }
}
