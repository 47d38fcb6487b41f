//! How an agent and a lab host are told of their server.

use std::path::PathBuf;

#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// The server, as this computer reaches it: http://host:port or https://host:port
    #[arg(long, env = "SEATRIAL_SERVER", default_value = "http://127.0.0.1:7077")]
    pub server: String,
    /// File that holds the token; an agent keeps the one that it got at enrolment, a lab host needs an operator's, which
    /// fetches agents and lets phones join
    #[arg(long, env = "SEATRIAL_TOKEN_FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// The token itself
    #[arg(long, env = "SEATRIAL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// PEM file of the authorities that may vouch for the server; by default the system's
    #[arg(long, env = "SEATRIAL_CA")]
    pub ca: Option<PathBuf>,
    /// PEM file of the certificate to show to a server that asks for one
    #[arg(long, env = "SEATRIAL_CERTIFICATE")]
    pub certificate: Option<PathBuf>,
    /// PEM file of that certificate's private key
    #[arg(long, env = "SEATRIAL_KEY")]
    pub key: Option<PathBuf>,
}

impl ServerArgs {
    /// The token, which is read where a file is named.
    ///
    /// # Errors
    /// The file cannot be read; says which.
    pub fn token(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("--token-file {}: {error}", path.display()))?;
        Ok(Some(text.trim().to_owned()))
    }
}
