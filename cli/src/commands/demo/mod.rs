//! `seatrial demo`: this machine, evaluated for real. Server, agent, models, labelled data, one suite; then its table
//! and its pages.

mod embedded;
mod place;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use seatrial_proto::v1;
use seatrial_server::{Config, Running, Shutdown, StartError};
use serde_json::json;

use self::place::Place;
use super::models::{self, NewVersion};
use super::{Context, agent, datasets, follow, own_program};
use crate::args::DemoArgs;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::{self, Output, json};
use crate::settings::Settings;
use crate::upload::model::{BindingFile, MODEL_ROLE, PlannedFile, PlannedVariant};

/// From the start of the agent until it has joined.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
const JOIN_POLL: Duration = Duration::from_millis(100);
/// A demo measures on a machine that is in use: it says so of the numbers rather than to wait for long.
const LOAD_WAIT_SECONDS: &str = "5";
/// From the request to end until the agent is killed.
const AGENT_GRACE: Duration = Duration::from_secs(5);
const SERVER_GRACE: Duration = Duration::from_secs(5);

pub(super) async fn run(args: DemoArgs, context: &Context) -> Result<Exit> {
    let DemoArgs { once, keep, data, port, output } = args;
    let place = Place::new(data, keep)?;
    place.log_to_file(context.global.verbose)?;
    let mut demo = tokio::select! {
        started = Demo::start(place, port) => started?,
        signal = follow::interrupted() => return Err(signal),
    };
    let outcome = tokio::select! {
        outcome = demo.evaluate(context.output(output), context) => outcome,
        signal = follow::interrupted() => Err(signal),
    };
    if outcome.is_ok() && !once {
        demo.stay_open().await;
    }
    demo.stop().await;
    outcome
}

/// A server in this process, and an agent as a process of its own.
struct Demo {
    place: Place,
    server: Running,
    agent: tokio::process::Child,
}

impl Demo {
    async fn start(place: Place, port: u16) -> Result<Self> {
        embedded::unpack(&place.files())?;
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        let config = Config { listen, ..Config::embedded(place.server()) };
        let server = seatrial_server::start(config).await.map_err(not_started)?;
        let agent = start_agent(&place, &server.url())?;
        Ok(Self { place, server, agent })
    }

    fn address(&self) -> String {
        self.server.url()
    }

    /// From an empty database to a verdict.
    async fn evaluate(&mut self, output: Output, context: &Context) -> Result<Exit> {
        output::note(&format!("seatrial demo · pages at {}", self.address()));
        let settings = Settings { address: self.address(), token: None, tls: None };
        let client = Client::connect(&settings).await?;
        let manifest = embedded::manifest()?;
        register(&client, &manifest, &self.place.files()).await?;
        let device = self.joined(&client).await?;
        output::note(&format!("device: {}", device.name));
        let suite_toml = super::read_text(&self.place.files().join(&manifest.suite))?;
        let request = v1::SubmitRequest { suite_toml, file_name: manifest.suite, ..Default::default() };
        let submitted = super::run::submit(&client, request).await?;
        output::note(&format!("run {}: {}\n", submitted.number, output::count(submitted.jobs as usize, "job")));
        let ended = follow::progress(&client, &submitted.run, context.colour).await?;
        show(&ended, output)?;
        Ok(follow::verdict(&ended))
    }

    /// The pages are there until somebody ends the demo.
    async fn stay_open(&self) {
        output::note(&format!("\nthe pages stay open at {} until Ctrl-C", self.address()));
        follow::interrupted().await;
    }

    /// Waits until the agent has joined. An agent that ended instead says why in its log.
    async fn joined(&mut self, client: &Client) -> Result<v1::Device> {
        let since = Instant::now();
        loop {
            let request = Client::request(v1::ListDevicesRequest { selector: String::new() });
            let devices =
                client.devices().list(request).await.map_err(client.failed("list the devices"))?.into_inner().devices;
            if let Some(device) = devices.into_iter().find(|device| device.connected) {
                return Ok(device);
            }
            let ended = self.agent.try_wait().map_err(|error| CliError::failed("watch the demo's agent", error))?;
            if let Some(status) = ended {
                return Err(CliError::plain(format!(
                    "the demo's agent ended with {status}\n{}",
                    self.place.agent_log_tail()
                )));
            }
            if since.elapsed() > JOIN_TIMEOUT {
                let waited = JOIN_TIMEOUT.as_secs();
                return Err(CliError::plain(format!(
                    "the demo's agent has not joined in {waited} s\n{}",
                    self.place.agent_log_tail()
                )));
            }
            tokio::time::sleep(JOIN_POLL).await;
        }
    }

    /// Agent first, so that the server hears of its end; then the server; then the files.
    async fn stop(mut self) {
        if let Some(id) = self.agent.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // The first asks it to finish what it measures, the second not to: nobody would take the report.
            for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
                rustix::process::kill_process(id, signal).ok();
            }
        }
        if tokio::time::timeout(AGENT_GRACE, self.agent.wait()).await.is_err() {
            self.agent.kill().await.ok();
        }
        self.server.shutdown(Shutdown::Soft { deadline: SERVER_GRACE }).await;
        self.place.close();
    }
}

fn not_started(error: StartError) -> CliError {
    let is_port = matches!(error, StartError::Listen { .. });
    let failed = CliError::failed("start the demo's server", error);
    if is_port { failed.with_hint("choose another --port, or leave it out: any free one will do") } else { failed }
}

/// In a process group of its own, so that Ctrl-C reaches it only through us.
fn start_agent(place: &Place, server: &str) -> Result<tokio::process::Child> {
    let log = place.agent_log()?;
    let mut command = tokio::process::Command::new(own_program()?);
    command
        .arg(agent::DEMO_AGENT)
        .args(["run", "--server", server, "--load-wait", LOAD_WAIT_SECONDS, "--folder"])
        .arg(place.agent())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(|error| CliError::failed("start the demo's agent", error))
}

async fn register(client: &Client, manifest: &embedded::Manifest, files: &Path) -> Result<()> {
    for model in &manifest.models {
        let variants = model.variants.iter().map(|variant| planned(variant, files)).collect::<Result<Vec<_>>>()?;
        let new = NewVersion {
            name: model.name.clone(),
            variants,
            bindings: vec![BindingFile::read(&files.join(&model.binding))?],
            parent: None,
            commit: None,
            build_address: None,
            labels: std::collections::BTreeMap::new(),
            origin: Some(model.origin.clone()),
            license: Some(model.license.clone()),
        };
        // What is laid out to be read is the demo's own as well, and goes with it, however it ends.
        models::register(client, new, files).await?;
    }
    for dataset in &manifest.datasets {
        datasets::register(client, &files.join(dataset), None).await?;
    }
    let names: Vec<&str> = manifest.models.iter().map(|model| model.name.as_str()).collect();
    output::note(&format!("models: {} · datasets: {}", names.join(", "), manifest.datasets.join(", ")));
    Ok(())
}

fn planned(variant: &embedded::Variant, files: &Path) -> Result<PlannedVariant> {
    let path = files.join(&variant.file);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let format = seatrial_core::model::Format::of_file_name(&name)
        .ok_or_else(|| CliError::plain(format!("the demo's manifest names {name}, which is no model file")))?;
    Ok(PlannedVariant {
        name: variant.name.clone(),
        format,
        precision: variant.precision,
        assumed: false,
        files: vec![PlannedFile { role: MODEL_ROLE, path, name }],
    })
}

fn show(ended: &v1::GetRunResponse, output: Output) -> Result<()> {
    if output.is_json() {
        return output::print_json(&json!({ "jobs": ended.jobs.iter().map(json::demo_job).collect::<Vec<_>>() }));
    }
    if let Some(summary) = &ended.run {
        output::note(&format!("{}\n", output::run::sentence(summary)));
    }
    follow::results(&ended.jobs, output::run::Ids::Hidden, output)?;
    if !ended.misfits.is_empty() {
        output::print_text("")?;
        output.table(output::run::misfits(&ended.misfits))?;
    }
    Ok(())
}
