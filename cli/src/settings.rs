//! Which server to talk to and as whom: flags, then environment, then the file that `seatrial login` writes.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use seatrial_agent::certificate::ClientCertificate;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::error::{CliError, Result};

/// Where `seatrial serve` listens unless it is told otherwise. A test keeps it so.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7077";

/// System bundles of trusted certificates, as the common distributions place them.
const SYSTEM_CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// A token; never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// The token in a text, without the line end that editors and `echo` leave.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let token = text.trim();
        let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| Self(token.to_owned()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A server and how to reach it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Without a slash at its end.
    pub address: String,
    pub token: Option<Token>,
    /// Only read for https.
    pub tls: Option<Tls>,
}

/// Whom to trust, and who we are.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// PEM of the certificates to trust.
    pub authorities: Vec<u8>,
    /// For a server that asks for one.
    pub own: Option<Arc<ClientCertificate>>,
}

impl Settings {
    pub(crate) fn load(global: &Global) -> Result<Self> {
        let saved = match login_file() {
            Some(path) => Login::read(&path)?,
            None => None,
        };
        let environment = std::env::var("SEATRIAL_TOKEN").ok();
        Self::decide(global, environment.as_deref(), saved)
    }

    /// For a server that is named now, whatever is saved.
    pub(crate) fn load_for(global: &Global, address: &str) -> Result<Self> {
        let environment = std::env::var("SEATRIAL_TOKEN").ok();
        let named = Global { server: Some(address.to_owned()), ..global.clone() };
        Self::decide(&named, environment.as_deref(), None)
    }

    /// A saved token goes to the server that it was saved for, and to no other.
    fn decide(global: &Global, environment: Option<&str>, saved: Option<Login>) -> Result<Self> {
        let named = global.server.as_deref().map(normalise).transpose()?;
        let address = named
            .or_else(|| saved.as_ref().map(|login| login.server.clone()))
            .unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let token = match (&global.token_file, environment) {
            (Some(path), _) => Some(read_token(path)?),
            (None, Some(text)) => {
                Some(Token::parse(text).ok_or_else(|| CliError::plain("SEATRIAL_TOKEN does not hold a token"))?)
            }
            (None, None) => saved
                .filter(|login| login.server == address)
                .and_then(|login| login.token)
                .and_then(|token| Token::parse(&token)),
        };
        let tls = if address.starts_with("https://") { Some(Tls::read(global)?) } else { None };
        Ok(Self { address, token, tls })
    }
}

impl Tls {
    fn read(global: &Global) -> Result<Self> {
        let authorities = authorities(global.ca.as_deref())?;
        let own = ClientCertificate::read(global.certificate.as_deref(), global.key.as_deref())
            .map_err(|error| CliError::plain(error.to_string()))?;
        Ok(Self { authorities, own: own.map(Arc::new) })
    }
}

fn read_token(path: &Path) -> Result<Token> {
    let text = fs_err::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    Token::parse(&text).ok_or_else(|| CliError::plain(format!("{} does not hold a token", path.display())))
}

fn authorities(named: Option<&Path>) -> Result<Vec<u8>> {
    let system = SYSTEM_CERTIFICATES.map(Path::new);
    let path = named.or_else(|| system.into_iter().find(|path| path.exists())).ok_or_else(|| {
        CliError::plain("the system has no bundle of trusted certificates")
            .with_hint("install ca-certificates, or name the server's authority with --ca FILE")
    })?;
    fs_err::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// An address with its scheme and without a slash at its end; a bare `host:port` is http.
pub(crate) fn normalise(text: &str) -> Result<String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let trimmed = with_scheme.trim_end_matches('/');
    let well_formed = trimmed.parse::<tonic::transport::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.path() == "/"
    });
    if well_formed {
        Ok(trimmed.to_owned())
    } else {
        Err(CliError::plain(format!("{text:?} is not the address of a server"))
            .with_hint(format!("expected scheme, host and port: {DEFAULT_SERVER}")))
    }
}

/// What `seatrial login` remembers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub server: String,
    pub token: Option<String>,
}

impl Login {
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CliError::Read { path: path.to_owned(), source }),
        };
        let broken = |error| {
            CliError::failed(format!("read {}", path.display()), error)
                .with_hint("`seatrial login URL` writes it anew; `seatrial login URL --forget` removes it")
        };
        toml::from_str(&text).map(Some).map_err(broken)
    }

    /// Readable and writable by its owner only, from its first moment, and whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let doing = || format!("write {}", path.display());
        let text = toml::to_string(self).map_err(|error| CliError::failed(doing(), error))?;
        let partial = path.with_extension("partial");
        let write = || -> io::Result<()> {
            if let Some(folder) = path.parent() {
                fs_err::create_dir_all(folder)?;
            }
            if partial.exists() {
                fs_err::remove_file(&partial)?;
            }
            let mut file = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs_err::rename(&partial, path)
        };
        write().map_err(|error| CliError::failed(doing(), error))
    }
}

/// `$XDG_CONFIG_HOME/seatrial/login.toml`, else `~/.config/seatrial/login.toml`; none without a home.
pub(crate) fn login_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("seatrial").join("login.toml"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::ColorChoice;

    use super::*;

    fn global(server: Option<&str>) -> Global {
        let server = server.map(str::to_owned);
        Global {
            server,
            token_file: None,
            ca: None,
            certificate: None,
            key: None,
            color: ColorChoice::Never,
            verbose: 0,
        }
    }

    fn saved() -> Login {
        Login { server: "http://lab:7077".to_owned(), token: Some("secret".to_owned()) }
    }

    #[test]
    fn the_default_is_where_a_server_listens_by_default() {
        assert_eq!(DEFAULT_SERVER, format!("http://127.0.0.1:{}", seatrial_server::config::DEFAULT_PORT));
    }

    #[test]
    fn a_saved_token_never_goes_to_another_server() {
        let own = Settings::decide(&global(None), None, Some(saved())).unwrap();
        assert_eq!((own.address.as_str(), own.token), ("http://lab:7077", Token::parse("secret")));
        let other = Settings::decide(&global(Some("http://elsewhere:7077")), None, Some(saved())).unwrap();
        assert_eq!(other.token, None);
    }

    #[test]
    fn the_environment_wins_over_the_file_and_a_token_is_never_shown() {
        let settings = Settings::decide(&global(None), Some("from-ci\n"), Some(saved())).unwrap();
        assert_eq!(settings.token, Token::parse("from-ci"));
        assert!(!format!("{settings:?}").contains("from-ci"));
    }

    #[test]
    fn an_address_is_brought_into_one_form_or_refused() {
        assert_eq!(normalise("127.0.0.1:7077").unwrap(), "http://127.0.0.1:7077");
        assert_eq!(normalise("https://lab.example/").unwrap(), "https://lab.example");
        for wrong in ["", "ftp://lab", "http://", "http://lab/runs", "a b"] {
            assert!(normalise(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_login_file_is_private_and_replaces_a_readable_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seatrial/login.toml");
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, "server = \"http://old\"\n").unwrap();
        saved().write(&path).unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Login::read(&path).unwrap().unwrap().token.as_deref(), Some("secret"));
        assert_eq!(fs_err::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no partial file is left");
    }
}
