//! `seatrial token`: who may do what.

use comfy_table::Table;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::Context;
use crate::args::TokenAction;
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::table::{Align, plain, quiet, row, table};
use crate::output::time::{moment, rfc3339};
use crate::output::{self, Output};

pub(super) async fn run(action: TokenAction, context: &Context) -> Result<Exit> {
    let client = context.connect().await?;
    match action {
        TokenAction::Create { name, role, valid, output } => {
            let valid_seconds = valid.map_or(0, |valid| valid.as_secs());
            let request = Client::request(v1::CreateTokenRequest {
                name: name.clone(),
                role: role.as_str().to_owned(),
                valid_seconds,
            });
            let created = client.tokens().create(request).await.map_err(client.failed("issue a token"))?.into_inner();
            let v1::CreateTokenResponse { id, token } = created;
            show_once(
                context.output(output),
                &token,
                &json!({ "id": id, "name": name, "role": role.as_str(), "token": token }),
            )?;
            output::note(&format!(
                "\nhint: this is the only time that it is shown; `seatrial token revoke {id}` ends it"
            ));
        }
        TokenAction::List { output } => {
            let request = Client::request(v1::ListTokensRequest {});
            let tokens =
                client.tokens().list(request).await.map_err(client.failed("list the tokens"))?.into_inner().tokens;
            let data = json!({ "tokens": tokens.iter().map(token_json).collect::<Vec<_>>() });
            context.output(output).emit(&data, || token_table(&tokens))?;
        }
        TokenAction::Revoke { id } => {
            let request = Client::request(v1::RevokeTokenRequest { id: id.clone() });
            client.tokens().revoke(request).await.map_err(client.failed("revoke the token"))?;
            output::note(&format!("token {id} is revoked"));
        }
        TokenAction::Enrol { valid, output } => {
            let request = Client::request(v1::CreateEnrolmentRequest { valid_seconds: valid.as_secs() });
            let created =
                client.tokens().enrol(request).await.map_err(client.failed("issue an enrolment"))?.into_inner();
            let v1::CreateEnrolmentResponse { token, expires_us } = created;
            show_once(context.output(output), &token, &json!({ "token": token, "expires_at": rfc3339(expires_us) }))?;
            output::note(&format!("\nhint: one device can join with it until {}", moment(expires_us)));
        }
    }
    Ok(Exit::Ok)
}

/// A secret alone on stdout, so that a script can take it.
fn show_once(output: Output, secret: &str, data: &Value) -> Result<()> {
    if output.is_json() { output::print_json(data) } else { output::print_text(secret) }
}

fn token_json(token: &v1::Token) -> Value {
    let v1::Token { id, name, role, created_us, expires_us, revoked_us, device } = token;
    json!({
        "id": id,
        "name": name,
        "role": role,
        "created_at": rfc3339(*created_us),
        "expires_at": expires_us.and_then(rfc3339),
        "revoked_at": revoked_us.and_then(rfc3339),
        "device": device,
    })
}

fn token_table(tokens: &[v1::Token]) -> Table {
    let mut table = table(&[
        ("name", Align::Words),
        ("role", Align::Words),
        ("device", Align::Words),
        ("created", Align::Words),
        ("state", Align::Words),
        ("id", Align::Words),
    ]);
    for token in tokens {
        let state = match (token.revoked_us, token.expires_us) {
            (Some(at), _) => quiet(format!("revoked {}", moment(at))),
            (None, Some(at)) => plain(format!("until {}", moment(at))),
            (None, None) => plain("until revoked"),
        };
        table.add_row(row([
            plain(&token.name),
            plain(&token.role),
            quiet(token.device.as_deref().unwrap_or("–")),
            quiet(moment(token.created_us)),
            state,
            quiet(&token.id),
        ]));
    }
    table
}
