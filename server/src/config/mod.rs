//! Configuration: flags over environment over file, resolved once into a [`Config`] that holds no option undecided.

mod settings;

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use settings::Settings;

/// The port when none is given.
pub const DEFAULT_PORT: u16 = 7077;

/// Everything that a server is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of the embedded database, the artifacts and the lock.
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub database: Database,
    pub synchronous: Synchronous,
    pub artifacts: ArtifactLocation,
    pub limits: Limits,
    pub tls: Option<TlsFiles>,
    /// Allows an address that others can reach without TLS or without tokens.
    pub insecure: bool,
    /// Names by which browsers on this machine may reach the server, beside the loopback ones.
    pub hosts: Vec<String>,
    pub log: LogFormat,
    /// Makes an administrator's token when there is none, and shows it once.
    pub print_admin_token: bool,
    /// How long a soft shutdown waits for agents and requests.
    pub drain: Duration,
    /// How often artifacts that nothing holds are collected; never when zero.
    pub garbage_interval: Duration,
    /// Artifacts younger than this are never collected: their owner may still be on its way.
    pub garbage_min_age: Duration,
    /// Whether devices are checked for their health.
    pub canary: bool,
}

/// Where the rows are.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// `seatrial.db` in the data folder.
    Embedded,
    /// `sqlite:…` or `postgres://…`.
    Url(String),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Database {
    /// The address without its password.
    #[must_use]
    pub fn redacted(&self) -> String {
        match self {
            Self::Embedded => "embedded".to_owned(),
            Self::Url(url) => redact(url),
        }
    }
}

/// When a write of the embedded database counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// When it is on the disk: survives a power cut.
    #[default]
    Full,
    /// When the kernel has it: survives a killed process, may lose the last moments to a power cut.
    Normal,
}

impl Synchronous {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Normal => "normal",
        }
    }
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactLocation {
    Folder(PathBuf),
    /// An S3-compatible store; credentials come from the usual `AWS_*` variables.
    S3 {
        bucket: String,
        prefix: String,
        endpoint: Option<String>,
        region: Option<String>,
    },
}

/// Bounds at the edge. A bound that is hit is reported to the caller and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Open connections of one address (of one /64 for IPv6).
    pub connections_per_address: usize,
    /// From connection to first complete request; also for the TLS handshake.
    pub first_request: Duration,
    /// Silence within an upload.
    pub upload_stall: Duration,
    /// Bytes of one artifact.
    pub artifact_bytes: u64,
    /// Jobs that one suite may expand to.
    pub jobs_per_run: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 4096,
            first_request: Duration::from_secs(10),
            upload_stall: Duration::from_secs(30),
            artifact_bytes: 16 << 30,
            jobs_per_run: 20_000,
        }
    }
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// When given, every client must present a certificate that this authority has signed.
    pub client_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column}: {message}", path.display())]
    File { path: PathBuf, line: usize, column: usize, message: String },
    #[error("{option}: {why}")]
    Value { option: &'static str, why: String },
}

impl Config {
    /// A server of its own for tests, benchmarks and the demo: embedded in a folder, on a free loopback port, without
    /// health checks.
    #[must_use]
    pub fn embedded(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            artifacts: ArtifactLocation::Folder(data.join("artifacts")),
            data,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            database: Database::Embedded,
            synchronous: Synchronous::default(),
            limits: Limits::default(),
            tls: None,
            insecure: false,
            hosts: Vec::new(),
            log: LogFormat::default(),
            print_admin_token: false,
            drain: Duration::from_secs(30),
            garbage_interval: Duration::from_hours(1),
            garbage_min_age: Duration::from_hours(24),
            canary: false,
        }
    }

    /// What the store is opened with: an address, or the path of the embedded database.
    #[must_use]
    pub fn store_address(&self) -> String {
        match &self.database {
            Database::Embedded => self.data.join("seatrial.db").display().to_string(),
            Database::Url(url) => url.clone(),
        }
    }

    /// Whether only this machine can reach the server.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    /// The resolved configuration as a configuration file would say it, without secrets.
    #[must_use]
    pub fn dump(&self) -> String {
        let Self {
            data,
            listen,
            database,
            synchronous,
            artifacts,
            limits,
            tls,
            insecure,
            hosts,
            log,
            print_admin_token: _,
            drain,
            garbage_interval,
            garbage_min_age,
            canary,
        } = self;
        let mut text = String::new();
        let mut line = |key: &str, value: toml::Value| {
            let _ = writeln!(text, "{key} = {value}");
        };
        let path = |path: &Path| toml::Value::String(path.display().to_string());
        line("data", path(data));
        line("listen", listen.to_string().into());
        if let Database::Url(_) = database {
            line("database", database.redacted().into());
        }
        line("synchronous", synchronous.as_str().into());
        match artifacts {
            ArtifactLocation::Folder(folder) => line("artifacts", path(folder)),
            ArtifactLocation::S3 { bucket, prefix, endpoint, region } => {
                line("artifacts", format!("s3://{bucket}/{prefix}").into());
                if let Some(endpoint) = endpoint {
                    line("s3_endpoint", redact(endpoint).into());
                }
                if let Some(region) = region {
                    line("s3_region", region.as_str().into());
                }
            }
        }
        if let Some(TlsFiles { certificate, key, client_ca }) = tls {
            line("tls_certificate", path(certificate));
            line("tls_key", path(key));
            if let Some(authority) = client_ca {
                line("tls_client_ca", path(authority));
            }
        }
        line("insecure", (*insecure).into());
        line("hosts", hosts.clone().into());
        line("log_format", if *log == LogFormat::Json { "json" } else { "text" }.into());
        let Limits { connections, connections_per_address, first_request, upload_stall, artifact_bytes, jobs_per_run } =
            *limits;
        let number = |value: u64| toml::Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
        line("max_connections", number(connections as u64));
        line("max_connections_per_address", number(connections_per_address as u64));
        line("first_request_seconds", number(first_request.as_secs()));
        line("upload_stall_seconds", number(upload_stall.as_secs()));
        line("max_artifact_bytes", number(artifact_bytes));
        line("max_jobs_per_run", number(jobs_per_run as u64));
        line("drain_seconds", number(drain.as_secs()));
        line("garbage_interval_seconds", number(garbage_interval.as_secs()));
        line("garbage_min_age_seconds", number(garbage_min_age.as_secs()));
        line("canary", (*canary).into());
        text
    }
}

/// An address without what stands between `//` and `@` and without its query.
fn redact(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(address, _)| address);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://…@{place}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_dump_and_no_debug_text() {
        let config = Config {
            database: Database::Url("postgres://lab:hunter2@db.lab/seatrial?password=hunter2".into()),
            ..Config::embedded("/data")
        };
        for text in [config.dump(), format!("{config:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("postgres://…@db.lab/seatrial"), "{text}");
        }
    }

    #[test]
    fn a_dump_is_a_configuration_file_that_gives_the_same_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seatrial.toml");
        let config = Config {
            listen: "127.0.0.1:9000".parse().unwrap(),
            hosts: vec!["lab.local".into()],
            artifacts: ArtifactLocation::S3 {
                bucket: "models".into(),
                prefix: "sea/trial".into(),
                endpoint: Some("http://127.0.0.1:9000".into()),
                region: None,
            },
            ..Config::embedded(folder.path().join("data"))
        };
        std::fs::write(&file, config.dump()).unwrap();
        let settings = Settings { config: Some(file), ..Settings::default() };
        assert_eq!(settings.resolve().unwrap(), config);
    }
}
