//! `seatrial audit`: who wrote what, newest first.

use comfy_table::Table;
use seatrial_core::digest::Digest;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::Context;
use crate::args::OutputArgs;
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;
use crate::output::table::{Align, plain, quiet, row, table};
use crate::output::time::{moment, rfc3339};

pub(super) async fn run(limit: u32, before: Option<String>, output: OutputArgs, context: &Context) -> Result<Exit> {
    let output = context.output(output);
    let client = context.connect().await?;
    let entries = read(&client, limit as usize, before).await?;
    if entries.is_empty() && !output.is_json() {
        output::note("nothing is in the audit log");
        return Ok(Exit::Ok);
    }
    let data = json!({ "entries": entries.iter().map(entry_json).collect::<Vec<_>>() });
    output.emit(&data, || entry_table(&entries))?;
    Ok(Exit::Ok)
}

/// Page after page.
async fn read(client: &Client, limit: usize, mut before: Option<String>) -> Result<Vec<v1::AuditEntry>> {
    let mut entries = Vec::new();
    while entries.len() < limit {
        let left = u32::try_from(limit - entries.len()).unwrap_or(u32::MAX);
        let request = Client::request(v1::ListAuditRequest { before, limit: left });
        let page =
            client.audit().list(request).await.map_err(client.failed("read the audit log"))?.into_inner().entries;
        let Some(last) = page.last() else { break };
        before = Some(last.id.clone());
        entries.extend(page);
    }
    entries.truncate(limit);
    Ok(entries)
}

fn entry_json(entry: &v1::AuditEntry) -> Value {
    let v1::AuditEntry { id, at_us, principal, action, object, allowed, before, after } = entry;
    let hex = |bytes: &Option<bytes::Bytes>| {
        let digest = bytes.as_ref().and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok());
        digest.map(|bytes| Digest::from_bytes(bytes).to_string())
    };
    json!({
        "id": id,
        "at": rfc3339(*at_us),
        "principal": principal,
        "action": action,
        "object": object,
        "allowed": allowed,
        "before": hex(before),
        "after": hex(after),
    })
}

fn entry_table(entries: &[v1::AuditEntry]) -> Table {
    let mut table = table(&[
        ("at", Align::Words),
        ("who", Align::Words),
        ("what", Align::Words),
        ("on", Align::Words),
        ("allowed", Align::Words),
    ]);
    for entry in entries {
        table.add_row(row([
            quiet(moment(entry.at_us)),
            plain(&entry.principal),
            plain(&entry.action),
            plain(&entry.object),
            if entry.allowed { quiet("yes") } else { plain("no") },
        ]));
    }
    table
}
