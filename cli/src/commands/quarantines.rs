//! `seatrial quarantines`: what fails together, and lifting it.

use comfy_table::Table;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::Context;
use crate::args::{OutputArgs, QuarantineAction};
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;
use crate::output::table::{Align, failure, plain, quiet, row, table};
use crate::output::time::{ago, rfc3339};

pub(super) async fn run(
    action: Option<QuarantineAction>,
    all: bool,
    output: OutputArgs,
    context: &Context,
) -> Result<Exit> {
    let client = context.connect().await?;
    match action {
        None => show(&client, all, context, output).await?,
        Some(QuarantineAction::Lift { quarantine }) => {
            let doing = format!("lift quarantine {quarantine}");
            let request = Client::request(v1::LiftQuarantineRequest { quarantine: quarantine.clone() });
            client.quarantines().lift(request).await.map_err(client.failed(&doing))?;
            output::note(&format!("quarantine {quarantine} is lifted: jobs of the next run are made again"));
        }
    }
    Ok(Exit::Ok)
}

async fn show(client: &Client, lifted: bool, context: &Context, output: OutputArgs) -> Result<()> {
    let output = context.output(output);
    let request = Client::request(v1::ListQuarantinesRequest { lifted });
    let listed = client.quarantines().list(request).await.map_err(client.failed("list the quarantines"))?;
    let quarantines = listed.into_inner().quarantines;
    if quarantines.is_empty() && !output.is_json() {
        output::note("nothing is in quarantine");
        return Ok(());
    }
    let data = json!({ "quarantines": quarantines.iter().map(quarantine_json).collect::<Vec<_>>() });
    output.emit(&data, || quarantine_table(&quarantines))
}

fn quarantine_json(quarantine: &v1::Quarantine) -> Value {
    let v1::Quarantine {
        id,
        short,
        device,
        device_name,
        model,
        version,
        variant,
        backend,
        runtime,
        build,
        standing,
        failure_class,
        blame,
        stage,
        job,
        attempt,
        created_us,
        lifted_us,
        lifted_by,
    } = quarantine;
    json!({
        "id": id,
        "short": short,
        "device": device,
        "device_name": device_name,
        "model": model,
        "version": version,
        "variant": variant,
        "backend": backend,
        "runtime": runtime,
        "build": build,
        "standing": standing,
        "failure_class": failure_class,
        "blame": blame,
        "stage": stage,
        "job": job,
        "attempt": attempt,
        "created_at": rfc3339(*created_us),
        "lifted_at": lifted_us.and_then(rfc3339),
        "lifted_by": lifted_by,
    })
}

fn quarantine_table(quarantines: &[v1::Quarantine]) -> Table {
    let mut table = table(&[
        ("quarantine", Align::Words),
        ("model", Align::Words),
        ("device", Align::Words),
        ("backend", Align::Words),
        ("class", Align::Words),
        ("blame", Align::Words),
        ("standing", Align::Words),
        ("since", Align::Words),
    ]);
    for quarantine in quarantines {
        let standing = match (quarantine.standing.as_str(), &quarantine.lifted_by) {
            ("in_force", _) => failure("in force"),
            ("lifted", Some(by)) => quiet(format!("lifted by {by}")),
            ("other_build", _) => quiet("over: the device has other software"),
            (other, _) => plain(other),
        };
        let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
        table.add_row(row([
            plain(&quarantine.short),
            plain(format!("{} v{} {}", quarantine.model, quarantine.version, quarantine.variant)),
            plain(&quarantine.device_name),
            plain(&quarantine.backend),
            plain(said(&quarantine.failure_class)),
            plain(said(&quarantine.blame)),
            standing,
            quiet(ago(quarantine.created_us)),
        ]));
    }
    table
}
