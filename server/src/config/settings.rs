//! What a person may set, and how flags, environment and file become one [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{ArtifactLocation, Config, ConfigError, DEFAULT_PORT, Database, Limits, LogFormat, Synchronous, TlsFiles};

/// Options of `seatrial serve`. The same names, with `_` for `-`, are the keys of the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Configuration file (TOML); flags and environment win over it.
    #[arg(long, env = "SEATRIAL_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Folder for the embedded database, artifacts and lock [default: ~/.local/share/seatrial].
    #[arg(long, env = "SEATRIAL_DATA", value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Address and port [default: 127.0.0.1:7077]. Others than loopback need TLS and tokens.
    #[arg(long, env = "SEATRIAL_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// `postgres://…` or `sqlite:…` [default: a file in the data folder].
    #[arg(long, env = "SEATRIAL_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
    /// When a write of the embedded database counts as done [default: full].
    #[arg(long, env = "SEATRIAL_SYNCHRONOUS", value_name = "WHEN")]
    pub synchronous: Option<Synchronous>,
    /// Folder, or `s3://bucket/prefix` with credentials from AWS_* variables [default: in the data folder].
    #[arg(long, env = "SEATRIAL_ARTIFACTS", value_name = "PLACE")]
    pub artifacts: Option<String>,
    /// Address of an S3-compatible store other than Amazon's.
    #[arg(long, env = "SEATRIAL_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,
    /// Region of the S3 store.
    #[arg(long, env = "SEATRIAL_S3_REGION", value_name = "REGION")]
    pub s3_region: Option<String>,
    /// Certificate chain (PEM).
    #[arg(long, env = "SEATRIAL_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, env = "SEATRIAL_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authority that must have signed every client's certificate (PEM).
    #[arg(long, env = "SEATRIAL_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Listen where others can connect without TLS or without tokens.
    #[arg(long, env = "SEATRIAL_INSECURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub insecure: Option<bool>,
    /// Names by which browsers on this machine may reach the server, beside localhost.
    #[arg(long, env = "SEATRIAL_HOSTS", value_name = "NAME", value_delimiter = ',')]
    pub hosts: Option<Vec<String>>,
    /// Form of the log on standard error [default: text].
    #[arg(long, env = "SEATRIAL_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Makes an administrator's token if there is none, prints it once, and goes on.
    #[arg(long)]
    #[serde(skip)]
    pub print_admin_token: bool,
    /// Open connections at most [default: 16384].
    #[arg(long, env = "SEATRIAL_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,
    /// Open connections of one address at most [default: 4096].
    #[arg(long, env = "SEATRIAL_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER")]
    pub max_connections_per_address: Option<usize>,
    /// Time from connection to first request [default: 10].
    #[arg(long, env = "SEATRIAL_FIRST_REQUEST_SECONDS", value_name = "SECONDS")]
    pub first_request_seconds: Option<u64>,
    /// Longest silence within an upload [default: 30].
    #[arg(long, env = "SEATRIAL_UPLOAD_STALL_SECONDS", value_name = "SECONDS")]
    pub upload_stall_seconds: Option<u64>,
    /// Size of one artifact at most [default: 16 GiB].
    #[arg(long, env = "SEATRIAL_MAX_ARTIFACT_BYTES", value_name = "BYTES")]
    pub max_artifact_bytes: Option<u64>,
    /// Jobs that one suite may expand to [default: 20000].
    #[arg(long, env = "SEATRIAL_MAX_JOBS_PER_RUN", value_name = "NUMBER")]
    pub max_jobs_per_run: Option<usize>,
    /// How long a soft shutdown waits for agents and requests [default: 30].
    #[arg(long, env = "SEATRIAL_DRAIN_SECONDS", value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,
    /// How often artifacts that nothing holds are collected; 0 for never [default: 3600].
    #[arg(long, env = "SEATRIAL_GARBAGE_INTERVAL_SECONDS", value_name = "SECONDS")]
    pub garbage_interval_seconds: Option<u64>,
    /// Age below which an artifact is never collected [default: 86400].
    #[arg(long, env = "SEATRIAL_GARBAGE_MIN_AGE_SECONDS", value_name = "SECONDS")]
    pub garbage_min_age_seconds: Option<u64>,
    /// Checks the health of each device by a small model: after a boot or a change, after failures, daily [default: true].
    #[arg(long, env = "SEATRIAL_CANARY", value_name = "BOOL")]
    pub canary: Option<bool>,
}

macro_rules! either {
    ($first:ident or $second:ident: $($field:ident),* ; keep $($kept:ident),*) => {
        Settings { $($field: $first.$field.or($second.$field),)* $($kept: $first.$kept,)* }
    };
}

impl Settings {
    /// Reads the file if one is named, lets flags and environment win, and decides everything else.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let file = self.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        self.over(file).decide()
    }

    /// These settings, and where they are silent the others.
    fn over(self, other: Self) -> Self {
        either!(self or other: data, listen, database, synchronous, artifacts, s3_endpoint, s3_region, tls_certificate,
            tls_key, tls_client_ca, insecure, hosts, log_format, max_connections, max_connections_per_address,
            first_request_seconds, upload_stall_seconds, max_artifact_bytes, max_jobs_per_run, drain_seconds,
            garbage_interval_seconds, garbage_min_age_seconds, canary; keep config, print_admin_token)
    }

    fn decide(self) -> Result<Config, ConfigError> {
        let data = match self.data {
            Some(data) => data,
            None => default_data_folder()?,
        };
        let defaults = Config::embedded(&data);
        let tls = tls_files(self.tls_certificate, self.tls_key, self.tls_client_ca)?;
        let artifacts = match self.artifacts {
            Some(place) => artifact_location(&place, self.s3_endpoint, self.s3_region)?,
            None => defaults.artifacts,
        };
        Ok(Config {
            listen: self.listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT)),
            database: self.database.map(database).transpose()?.unwrap_or(Database::Embedded),
            synchronous: self.synchronous.unwrap_or_default(),
            artifacts,
            limits: Limits {
                connections: at_least_one("max_connections", self.max_connections, defaults.limits.connections)?,
                connections_per_address: at_least_one(
                    "max_connections_per_address",
                    self.max_connections_per_address,
                    defaults.limits.connections_per_address,
                )?,
                first_request: seconds(self.first_request_seconds, defaults.limits.first_request),
                upload_stall: seconds(self.upload_stall_seconds, defaults.limits.upload_stall),
                artifact_bytes: self.max_artifact_bytes.unwrap_or(defaults.limits.artifact_bytes),
                jobs_per_run: at_least_one("max_jobs_per_run", self.max_jobs_per_run, defaults.limits.jobs_per_run)?,
            },
            tls,
            insecure: self.insecure.unwrap_or(false),
            hosts: self.hosts.unwrap_or_default(),
            log: self.log_format.unwrap_or_default(),
            print_admin_token: self.print_admin_token,
            drain: seconds(self.drain_seconds, defaults.drain),
            garbage_interval: seconds(self.garbage_interval_seconds, defaults.garbage_interval),
            garbage_min_age: seconds(self.garbage_min_age_seconds, defaults.garbage_min_age),
            canary: self.canary.unwrap_or(true),
            data,
        })
    }
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse_file(path, &text)
}

fn parse_file(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start).min(text.len());
        let before = &text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
        let message = with_suggestion(error.message());
        ConfigError::File { path: path.to_owned(), line, column, message }
    })
}

/// Turns serde's list of every known key into the one that was meant.
fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (true, Some(unknown)) = (message.starts_with("unknown field"), quoted.next()) else {
        return message.to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    let likeness = |key: &str| if unknown.starts_with(key) { 0 } else { distance(unknown, key) };
    match known.iter().map(|key| (likeness(key), key)).min() {
        Some((distance, key)) if distance <= 1 + unknown.len() / 3 => {
            format!("unknown key \"{unknown}\"; did you mean \"{key}\"?")
        }
        Some(_) | None => format!("unknown key \"{unknown}\"; known are {}", known.join(", ")),
    }
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.chars().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(ca != cb)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[row.len() - 1]
}

fn default_data_folder() -> Result<PathBuf, ConfigError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| Some(set("HOME")?.join(".local/share")))
        .map(|base| base.join("seatrial"))
        .ok_or_else(|| ConfigError::Value {
            option: "data",
            why: "neither HOME nor XDG_DATA_HOME is set; name a folder with --data".into(),
        })
}

fn database(url: String) -> Result<Database, ConfigError> {
    if ["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme)) {
        Ok(Database::Url(url))
    } else {
        let why = format!("{:?} is neither postgres://… nor sqlite:…", super::redact(&url));
        Err(ConfigError::Value { option: "database", why })
    }
}

fn artifact_location(
    place: &str,
    endpoint: Option<String>,
    region: Option<String>,
) -> Result<ArtifactLocation, ConfigError> {
    let Some(rest) = place.strip_prefix("s3://") else {
        return Ok(ArtifactLocation::Folder(PathBuf::from(place)));
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        let why = format!("{place:?} names no bucket (expected s3://bucket/prefix)");
        return Err(ConfigError::Value { option: "artifacts", why });
    }
    let prefix = prefix.trim_matches('/').to_owned();
    Ok(ArtifactLocation::S3 { bucket: bucket.to_owned(), prefix, endpoint, region })
}

fn tls_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>, ConfigError> {
    match (certificate, key, client_ca) {
        (Some(certificate), Some(key), client_ca) => Ok(Some(TlsFiles { certificate, key, client_ca })),
        (None, None, None) => Ok(None),
        (Some(_), None, _) => {
            Err(ConfigError::Value { option: "tls_key", why: "missing beside tls_certificate".into() })
        }
        (None, _, _) => {
            Err(ConfigError::Value { option: "tls_certificate", why: "missing beside other TLS options".into() })
        }
    }
}

fn at_least_one(option: &'static str, value: Option<usize>, default: usize) -> Result<usize, ConfigError> {
    match value {
        Some(0) => Err(ConfigError::Value { option, why: "must be at least 1".into() }),
        Some(value) => Ok(value),
        None => Ok(default),
    }
}

fn seconds(value: Option<u64>, default: Duration) -> Duration {
    value.map_or(default, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_error(text: &str) -> String {
        parse_file(Path::new("seatrial.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_key_that_was_meant() {
        assert_eq!(
            file_error("data = \"/data\"\nlisten_adress = \"127.0.0.1:1\"\n"),
            "seatrial.toml:2:1: unknown key \"listen_adress\"; did you mean \"listen\"?"
        );
        assert!(
            file_error("colour = 1").starts_with("seatrial.toml:1:1: unknown key \"colour\"; known are data, listen, ")
        );
        assert_eq!(file_error("lisen = \"x\""), "seatrial.toml:1:1: unknown key \"lisen\"; did you mean \"listen\"?");
    }

    #[test]
    fn a_wrong_type_or_value_is_named_with_its_place() {
        assert!(file_error("max_connections = \"many\"").starts_with("seatrial.toml:1:19: invalid type"));
        assert!(file_error("\nlisten = \"here\"").starts_with("seatrial.toml:2:10: "));
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = parse_file(Path::new("f"), "listen = \"127.0.0.1:1\"\nmax_connections = 5\n").unwrap();
        let flags = Settings { data: Some("/d".into()), listen: "127.0.0.1:2".parse().ok(), ..Settings::default() };
        let config = flags.over(file).decide().unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.limits.connections, 5);
        assert_eq!(config.limits.connections_per_address, Limits::default().connections_per_address);
    }

    #[test]
    fn halves_of_tls_and_useless_bounds_are_refused_by_name() {
        let settings = |change: fn(&mut Settings)| {
            let mut settings = Settings { data: Some("/d".into()), ..Settings::default() };
            change(&mut settings);
            settings.resolve().unwrap_err().to_string()
        };
        assert_eq!(settings(|s| s.tls_certificate = Some("c".into())), "tls_key: missing beside tls_certificate");
        assert!(settings(|s| s.tls_client_ca = Some("c".into())).starts_with("tls_certificate: missing"));
        assert_eq!(settings(|s| s.max_connections = Some(0)), "max_connections: must be at least 1");
        assert!(settings(|s| s.artifacts = Some("s3:///x".into())).contains("names no bucket"));
        let refused = settings(|s| s.database = Some("mysql://u:secret@h/d".into()));
        assert!(refused.contains("neither postgres://") && !refused.contains("secret"), "{refused}");
    }
}
