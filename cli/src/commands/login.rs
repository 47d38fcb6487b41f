//! `seatrial login`: remembers a server and the token for it, after the server has accepted both.

use std::io::{self, IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use seatrial_proto::v1;

use super::Context;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output;
use crate::settings::{self, Login, Settings, Token};

/// No token is longer.
const MAX_TOKEN_BYTES: u64 = 4096;

pub(super) async fn run(address: &str, forget: bool, context: &Context) -> Result<Exit> {
    let address = settings::normalise(address)?;
    let path = settings::login_file().ok_or_else(|| {
        CliError::plain("there is no place for the login file").with_hint("set HOME or XDG_CONFIG_HOME")
    })?;
    if forget {
        let known = Login::read(&path)?.is_some_and(|login| login.server == address);
        if known {
            fs_err::remove_file(&path)
                .map_err(|error| CliError::failed(format!("remove {}", path.display()), error))?;
        }
        output::note(&format!(
            "{address} is {}",
            if known { "forgotten" } else { "not the server that is remembered" }
        ));
        return Ok(Exit::Ok);
    }
    let given = Settings::load_for(&context.global, &address)?;
    let token = match given.token.clone() {
        Some(token) => Some(token),
        None => ask_for_token()?,
    };
    let client = Client::connect(&Settings { token: token.clone(), ..given }).await?;
    let info =
        client.server().info(Client::request(v1::InfoRequest {})).await.map_err(client.failed("sign in"))?.into_inner();
    Login { server: address.clone(), token: token.map(|token| token.expose().to_owned()) }.write(&path)?;
    let v1::InfoResponse { version, role, principal, project, .. } = info;
    output::note(&format!("signed in to {address} (seatrial {version}) as {principal}, {role} of {project}"));
    output::note(&format!("saved in {}", path.display()));
    Ok(Exit::Ok)
}

/// From the terminal without showing it, or from a pipe. Empty for a server that asks for none.
fn ask_for_token() -> Result<Option<Token>> {
    let stdin = io::stdin();
    let text = if stdin.is_terminal() {
        output::note("Token (empty for none):");
        without_echo(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        })
    } else {
        let mut text = String::new();
        stdin.lock().take(MAX_TOKEN_BYTES).read_to_string(&mut text).map(|_| text)
    };
    let text = text.map_err(|error| CliError::failed("read the token", error))?;
    match text.trim() {
        "" => Ok(None),
        text => Token::parse(text).map(Some).ok_or_else(|| CliError::plain("that is not a token")),
    }
}

fn without_echo<T>(read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
    let outcome = read();
    tcsetattr(io::stdin(), OptionalActions::Flush, &before)?;
    outcome
}
