//! `seatrial devices`: the fleet, and what an operator does with it.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use seatrial_core::device::Profile;
use seatrial_core::reading::Reading;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::Context;
use crate::args::{DeviceAction, LabelChange, OutputArgs, Withdraw, WithdrawFor};
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::table::{Align, attention, failure, plain, quiet, row, table};
use crate::output::time::{ago, length as time_length, moment, rfc3339};
use crate::output::{self, Output};

pub(super) async fn run(
    action: Option<DeviceAction>,
    selector: Option<String>,
    output: OutputArgs,
    context: &Context,
) -> Result<Exit> {
    let client = context.connect().await?;
    match action.unwrap_or(DeviceAction::List) {
        DeviceAction::List => show(&client, selector.unwrap_or_default(), context, output).await?,
        DeviceAction::Label { device, changes } => label(&client, &device, &changes).await?,
        DeviceAction::Rename { device, name } => {
            let doing = format!("rename {device}");
            let request = Client::request(v1::RenameDeviceRequest { device: device.clone(), name: name.clone() });
            client.devices().rename(request).await.map_err(client.failed(&doing))?;
            output::note(&format!("{device} is now {name}"));
        }
        DeviceAction::Hold(withdraw) => withdraw_for(&client, "held", withdraw).await?,
        DeviceAction::Quarantine(withdraw) => withdraw_for(&client, "quarantined", withdraw).await?,
        DeviceAction::Maintenance(Withdraw { device, reason }) => {
            set_state(&client, device, "maintenance", reason, None).await?;
        }
        DeviceAction::Retire(Withdraw { device, reason }) => {
            set_state(&client, device, "retired", reason, None).await?;
        }
        DeviceAction::Release { device } => set_state(&client, device, "ready", String::new(), None).await?,
        DeviceAction::FindMe { device } => {
            let doing = format!("find {device}");
            let request = Client::request(v1::FindDeviceRequest { device });
            let found = client.devices().find_me(request).await.map_err(client.failed(&doing))?.into_inner();
            output::note(&format!("{}: {}", found.name, found.what));
        }
        DeviceAction::Canary { device, now: true, limit: _, output } => {
            return super::canary::now(&client, device, context.output(output)).await;
        }
        DeviceAction::Canary { device, now: false, limit, output } => {
            super::canary::history(&client, device, limit, context.output(output)).await?;
        }
        DeviceAction::History { device, limit, output } => {
            history(&client, device, limit, context.output(output)).await?;
        }
    }
    Ok(Exit::Ok)
}

async fn withdraw_for(client: &Client, state: &str, WithdrawFor { device, reason, length }: WithdrawFor) -> Result<()> {
    set_state(client, device, state, reason.unwrap_or_default(), length).await
}

async fn history(client: &Client, device: String, limit: u32, output: Output) -> Result<()> {
    let doing = format!("read the history of {device}");
    let request = Client::request(v1::DeviceHistoryRequest { device, limit });
    let history = client.devices().history(request).await.map_err(client.failed(&doing))?.into_inner();
    let v1::DeviceHistoryResponse { device, name, transitions } = history;
    if transitions.is_empty() && !output.is_json() {
        output::note(&format!("nothing was ever decided of {name}"));
        return Ok(());
    }
    let data = json!({ "device": device, "name": name, "transitions": transitions.iter().map(|step| {
        let v1::Transition { at_us, from, to, reason, by } = step;
        json!({ "at": rfc3339(*at_us), "from": from, "to": to, "reason": reason, "by": by })
    }).collect::<Vec<_>>() });
    output.emit(&data, || {
        let mut table = table(&[
            ("when", Align::Words),
            ("from", Align::Words),
            ("to", Align::Words),
            ("by", Align::Words),
            ("reason", Align::Words),
        ]);
        for v1::Transition { at_us, from, to, reason, by } in &transitions {
            let by = by.as_deref().unwrap_or("the server");
            table.add_row(row([plain(moment(*at_us)), quiet(from), plain(to), plain(by), plain(reason)]));
        }
        table
    })
}

async fn show(client: &Client, selector: String, context: &Context, output: OutputArgs) -> Result<()> {
    let output = context.output(output);
    let devices = list(client, selector.clone()).await?;
    if devices.is_empty() && !output.is_json() {
        let text = if selector.is_empty() {
            format!(
                "no device has joined\n\nhint: `seatrial agent run --server {}` on a device lets it join",
                client.address()
            )
        } else {
            "no device matches the selector".to_owned()
        };
        output::note(&text);
        return Ok(());
    }
    let data = json!({ "devices": devices.iter().map(device_json).collect::<Vec<_>>() });
    output.emit(&data, || device_table(&devices))
}

async fn list(client: &Client, selector: String) -> Result<Vec<v1::Device>> {
    let request = Client::request(v1::ListDevicesRequest { selector });
    Ok(client.devices().list(request).await.map_err(client.failed("list the devices"))?.into_inner().devices)
}

/// Reads the labels, changes those that were named, and writes all of them back.
async fn label(client: &Client, device: &str, changes: &[LabelChange]) -> Result<()> {
    let doing = format!("label {device}");
    let devices = list(client, String::new()).await?;
    let found = devices.into_iter().find(|found| found.id == device || found.name == device);
    let found = found
        .ok_or_else(|| CliError::NotFound { doing: doing.clone(), reason: format!("there is no device {device}") })?;
    let mut labels: BTreeMap<String, String> =
        found.labels.into_iter().map(|v1::Label { key, value }| (key, value)).collect();
    for change in changes {
        match change {
            LabelChange::Set { key, value } => {
                labels.insert(key.clone(), value.clone());
            }
            LabelChange::Remove { key } => {
                labels.remove(key);
            }
        }
    }
    let text = label_text(labels.iter());
    let labels = labels.into_iter().map(|(key, value)| v1::Label { key, value }).collect();
    let request = Client::request(v1::SetLabelsRequest { device: found.id, labels });
    client.devices().set_labels(request).await.map_err(client.failed(&doing))?;
    output::note(&format!("labels of {}: {text}", found.name));
    Ok(())
}

/// `state` as the protocol asks for it.
async fn set_state(
    client: &Client,
    device: String,
    state: &str,
    reason: String,
    length: Option<Duration>,
) -> Result<()> {
    let doing = format!("set {device} to {state}");
    let length_s = length.map(|length| u32::try_from(length.as_secs()).unwrap_or(u32::MAX));
    let request = v1::SetDeviceStateRequest { device: device.clone(), state: state.to_owned(), reason, length_s };
    client.devices().set_state(Client::request(request)).await.map_err(client.failed(&doing))?;
    let until = length.map_or_else(String::new, |length| format!(" for {}", time_length(length)));
    output::note(&format!("{device} is {state}{until}"));
    Ok(())
}

fn label_text<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let pairs: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { "–".to_owned() } else { pairs.join(" ") }
}

fn device_json(device: &v1::Device) -> Value {
    let v1::Device {
        id,
        name,
        state,
        state_reason,
        connected,
        profile_json,
        labels,
        agent_version,
        last_seen_us,
        job,
        until_us,
        decided_by,
        probation,
        canary,
    } = device;
    let labels: BTreeMap<&str, &str> = labels.iter().map(|label| (label.key.as_str(), label.value.as_str())).collect();
    json!({
        "id": id,
        "name": name,
        "state": state,
        "state_reason": state_reason,
        "until": until_us.and_then(rfc3339),
        "decided_by": decided_by,
        "probation": probation,
        "canary": canary.as_ref().map(super::canary::json),
        "connected": connected,
        "job": Some(job).filter(|job| !job.is_empty()),
        "labels": labels,
        "agent_version": agent_version,
        "last_seen_at": rfc3339(*last_seen_us),
        "profile": serde_json::from_str::<Value>(profile_json).unwrap_or(Value::Null),
    })
}

fn device_table(devices: &[v1::Device]) -> Table {
    let mut table = table(&[
        ("device", Align::Words),
        ("state", Align::Words),
        ("job", Align::Words),
        ("seen", Align::Words),
        ("processor", Align::Words),
        ("system", Align::Words),
        ("labels", Align::Words),
    ]);
    for device in devices {
        let profile: Option<Profile> = serde_json::from_str(&device.profile_json).ok();
        let state = if device.state_reason.is_empty() || is_at_work(&device.state) {
            device.state.clone()
        } else {
            format!("{}: {}", device.state, device.state_reason)
        };
        let state = match device.until_us {
            Some(until) => format!("{state} (until {})", moment(until)),
            None if device.probation => format!("{state} (on probation)"),
            None => state,
        };
        table.add_row(row([
            plain(&device.name),
            match device.state.as_str() {
                "quarantined" | "unauthorized" => failure(state),
                "cooling" | "recovering" => attention(state),
                _ => plain(state),
            },
            plain(if device.job.is_empty() { "–" } else { &device.job }),
            if device.connected { plain("connected") } else { attention(ago(device.last_seen_us)) },
            plain(profile.as_ref().map_or_else(|| "–".to_owned(), processor)),
            quiet(profile.as_ref().map_or("–", |profile| present(&profile.os))),
            quiet(label_text(device.labels.iter().map(|label| (&label.key, &label.value)))),
        ]));
    }
    table
}

fn is_at_work(state: &str) -> bool {
    matches!(state, "ready" | "preparing" | "running")
}

/// The name of the chip if it is known, else that of its processor.
fn processor(profile: &Profile) -> String {
    let name =
        profile.soc.present().or(profile.cpu.model.present()).map_or(profile.cpu.architecture.as_str(), String::as_str);
    match profile.cpu.count {
        Reading::Present(count) => format!("{name} ×{count}"),
        Reading::Absent(_) => name.to_owned(),
    }
}

fn present(reading: &Reading<String>) -> &str {
    reading.present().map_or("–", String::as_str)
}
