//! Structured logs to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// What is logged when nothing else is asked for.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,sqlx=warn,tower=warn,rustls=warn";

/// Sends the process's logs to standard error. `filter` as `RUST_LOG` spells it. Does nothing when logging has been
/// set up already, as in tests.
pub fn init(format: LogFormat, filter: Option<&str>) {
    let filter = filter.map_or_else(|| EnvFilter::new(DEFAULT_FILTER), EnvFilter::new);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_span_list(false)).try_init(),
    };
    if set.is_err() {
        tracing::debug!("logging was set up before");
    }
}
