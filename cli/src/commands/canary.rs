//! `seatrial devices canary`: what the health checks of a device found.

use comfy_table::Table;
use seatrial_proto::v1;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::table::{Align, attention, failure, plain, quiet, row, table};
use crate::output::time::{moment, rfc3339};
use crate::output::{self, Output};

/// A sick device ends the command as a gate that failed does.
pub(super) async fn now(client: &Client, device: String, output: Output) -> Result<Exit> {
    let doing = format!("check {device}");
    let request = Client::request(v1::CheckNowRequest { device });
    let checked = client.devices().check_now(request).await.map_err(client.failed(&doing))?.into_inner();
    let v1::CheckNowResponse { name, canary } = checked;
    let canary = canary.ok_or_else(|| CliError::plain("the server did not say what the check found"))?;
    output.emit(&json!({ "name": name, "canary": json(&canary) }), || lines(std::slice::from_ref(&canary)))?;
    Ok(if canary.health == "sick" { Exit::GateFailed } else { Exit::Ok })
}

pub(super) async fn history(client: &Client, device: String, limit: u32, output: Output) -> Result<()> {
    let doing = format!("read the health checks of {device}");
    let request = Client::request(v1::CanariesRequest { device, limit });
    let checks = client.devices().canaries(request).await.map_err(client.failed(&doing))?.into_inner();
    let v1::CanariesResponse { device, name, canaries } = checks;
    if canaries.is_empty() && !output.is_json() {
        output::note(&format!("{name} was never checked"));
        return Ok(());
    }
    let data = json!({ "device": device, "name": name, "canaries": canaries.iter().map(json).collect::<Vec<_>>() });
    output.emit(&data, || lines(&canaries))
}

pub(super) fn json(canary: &v1::Canary) -> Value {
    let v1::Canary {
        id,
        at_us,
        due,
        boot_id,
        fingerprint,
        rom,
        health,
        reasons,
        outcome,
        message,
        latency_ms,
        usual_ms,
        limit_ms,
    } = canary;
    json!({
        "id": id,
        "at": rfc3339(*at_us),
        "due": due,
        "boot_id": boot_id,
        "fingerprint": fingerprint,
        "rom": rom,
        "health": health,
        "reasons": reasons,
        "outcome": outcome,
        "message": message,
        "latency_ms": latency_ms,
        "usual_ms": usual_ms,
        "limit_ms": limit_ms,
    })
}

fn lines(canaries: &[v1::Canary]) -> Table {
    let mut table = table(&[
        ("when", Align::Words),
        ("health", Align::Words),
        ("latency", Align::Numbers),
        ("usual", Align::Numbers),
        ("because", Align::Words),
        ("found", Align::Words),
    ]);
    let milliseconds = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3} ms"));
    for canary in canaries {
        let found: Vec<&str> = canary.reasons.iter().chain(&canary.message).map(String::as_str).collect();
        table.add_row(row([
            plain(moment(canary.at_us)),
            match canary.health.as_str() {
                "sick" => failure(&canary.health),
                "healthy" => plain(&canary.health),
                _ => attention(&canary.health),
            },
            plain(milliseconds(canary.latency_ms)),
            quiet(milliseconds(canary.usual_ms)),
            quiet(canary.due.replace('_', " ")),
            plain(found.join("; ")),
        ]));
    }
    table
}
