//! `seatrial reserve`, `reservations`, `unreserve`: devices for the runs that bring a token.

use comfy_table::Table;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::Context;
use crate::args::{OutputArgs, ReserveArgs};
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;
use crate::output::table::{Align, plain, quiet, row, table};
use crate::output::time::{moment, rfc3339};

pub(super) async fn reserve(args: ReserveArgs, context: &Context) -> Result<Exit> {
    let ReserveArgs { selector, devices, length, reason, output } = args;
    let output = context.output(output);
    let client = context.connect().await?;
    let request = Client::request(v1::CreateReservationRequest {
        selector: selector.unwrap_or_default(),
        devices: devices.unwrap_or(0),
        length_s: u32::try_from(length.as_secs()).unwrap_or(u32::MAX),
        reason: reason.unwrap_or_default(),
    });
    let created = client.reservations().create(request).await.map_err(client.failed("reserve devices"))?.into_inner();
    let v1::CreateReservationResponse { reservation, token, passed_over } = created;
    let reservation = reservation.unwrap_or_default();
    if output.is_json() {
        let mut data = reservation_json(&reservation);
        data["token"] = json!(token);
        data["passed_over"] = json!(passed_over);
        output::print_json(&data)?;
        return Ok(Exit::Ok);
    }
    output::print_text(&token)?; // alone on stdout, so that a script can take it
    let v1::Reservation { id, devices, until_us, .. } = &reservation;
    let count = output::count(devices.len(), "device");
    output::note(&format!("\n{count} reserved until {}: {}", moment(*until_us), devices.join(", ")));
    for why in &passed_over {
        output::note(&format!("  not reserved: {why}"));
    }
    output::note(&format!(
        "\nhint: the token is shown this once: `seatrial run suite.toml --reservation TOKEN` uses it; \
         `seatrial unreserve {id}` ends it"
    ));
    Ok(Exit::Ok)
}

pub(super) async fn list(output: OutputArgs, context: &Context) -> Result<Exit> {
    let client = context.connect().await?;
    let request = Client::request(v1::ListReservationsRequest {});
    let listed = client.reservations().list(request).await.map_err(client.failed("list the reservations"))?;
    let reservations = listed.into_inner().reservations;
    let output = context.output(output);
    if reservations.is_empty() && !output.is_json() {
        output::note("no device is reserved");
        return Ok(Exit::Ok);
    }
    let data = json!({ "reservations": reservations.iter().map(reservation_json).collect::<Vec<_>>() });
    output.emit(&data, || reservation_table(&reservations))?;
    Ok(Exit::Ok)
}

pub(super) async fn end(reservation: String, context: &Context) -> Result<Exit> {
    let client = context.connect().await?;
    let doing = format!("end reservation {reservation}");
    let request = Client::request(v1::EndReservationRequest { reservation: reservation.clone() });
    let ended = client.reservations().end(request).await.map_err(client.failed(&doing))?.into_inner();
    let count = output::count(ended.devices as usize, "device");
    output::note(&format!("reservation {reservation} has ended: {count} for everybody again"));
    Ok(Exit::Ok)
}

fn reservation_json(reservation: &v1::Reservation) -> Value {
    let v1::Reservation { id, principal, selector, reason, created_us, until_us, devices } = reservation;
    json!({
        "id": id,
        "by": principal,
        "selector": selector,
        "reason": reason,
        "created_at": rfc3339(*created_us),
        "until": rfc3339(*until_us),
        "devices": devices,
    })
}

fn reservation_table(reservations: &[v1::Reservation]) -> Table {
    let mut table = table(&[
        ("by", Align::Words),
        ("until", Align::Words),
        ("devices", Align::Words),
        ("reason", Align::Words),
        ("id", Align::Words),
    ]);
    for reservation in reservations {
        let v1::Reservation { id, principal, selector: _, reason, created_us: _, until_us, devices } = reservation;
        let devices = if devices.is_empty() { "–".to_owned() } else { devices.join(", ") };
        table.add_row(row([plain(principal), plain(moment(*until_us)), plain(devices), quiet(reason), quiet(id)]));
    }
    table
}
