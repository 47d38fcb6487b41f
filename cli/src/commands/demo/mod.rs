//! `seatrial demo`: this machine, evaluated for real. Server, agent, models, labelled data, one suite; then its table
//! and its pages. With `--phones`, simulated phones at a real adb server in the place of this machine.

mod embedded;
mod phones;
mod place;
mod show;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use seatrial_core::device::Profile;
use seatrial_proto::v1;
use seatrial_server::{Config, Running, Shutdown, StartError};

pub(crate) use self::phones::PHONE;
use self::phones::Phones;
use self::place::Place;
use self::show::Evaluated;
use super::models::{self, NewVersion};
use super::{Context, agent, datasets, follow, own_program};
use crate::args::DemoArgs;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::{self, Output};
use crate::settings::Settings;
use crate::upload::model::{BindingFile, MODEL_ROLE, PlannedFile, PlannedVariant, Where};

/// From the start of the agent until it has joined.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for phones: each is booted, gets the agent and starts it. A lab host tries again what took too long, as on a
/// computer with much else to do.
const PHONES_JOIN_TIMEOUT: Duration = Duration::from_mins(12);
const JOIN_POLL: Duration = Duration::from_millis(100);
/// A demo measures on a machine that is in use: it says so of the numbers rather than to wait for long.
const LOAD_WAIT_SECONDS: &str = "5";
/// From the request to end until the agent is killed.
const AGENT_GRACE: Duration = Duration::from_secs(5);
const SERVER_GRACE: Duration = Duration::from_secs(5);

pub(super) async fn run(args: DemoArgs, context: &Context) -> Result<Exit> {
    let DemoArgs { phones, without_energy, once, keep, data, port, output } = args;
    let place = Place::new(data, keep)?;
    place.log_to_file(context.global.verbose)?;
    let mut demo = tokio::select! {
        started = Demo::start(place, port, phones) => started?,
        signal = follow::interrupted() => return Err(signal),
    };
    let outcome = tokio::select! {
        outcome = demo.evaluate(without_energy, context.output(output), context) => outcome,
        signal = follow::interrupted() => Err(signal),
    };
    if outcome.is_ok() && !once {
        demo.stay_open().await;
    }
    demo.stop().await;
    outcome
}

/// A server in this process, and what it evaluates in processes of their own.
struct Demo {
    place: Place,
    server: Running,
    devices: Devices,
}

enum Devices {
    /// This machine, by its agent.
    Host(Box<tokio::process::Child>),
    Phones(Box<Phones>),
}

impl Demo {
    async fn start(place: Place, port: u16, phones: Option<u8>) -> Result<Self> {
        embedded::unpack(&place.files())?;
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        let config = Config { listen, ..Config::embedded(place.server()) };
        let server = seatrial_server::start(config).await.map_err(not_started)?;
        let devices = match phones {
            None => Devices::Host(Box::new(start_agent(&place, &server.url())?)),
            Some(count) => Devices::Phones(Box::new(Phones::start(&place, count).await?)),
        };
        Ok(Self { place, server, devices })
    }

    fn address(&self) -> String {
        self.server.url()
    }

    /// From an empty database to a verdict.
    async fn evaluate(&mut self, without_energy: bool, output: Output, context: &Context) -> Result<Exit> {
        output::note(&format!("seatrial demo · pages at {}", self.address()));
        let settings = Settings { address: self.address(), token: None, tls: None };
        let client = Client::connect(&settings).await?;
        let manifest = embedded::manifest()?;
        register(&client, &manifest, &self.place.files()).await?;
        let energy = manifest.energy;
        let suites = match &mut self.devices {
            Devices::Host(_) => vec![manifest.suite],
            Devices::Phones(phones) => {
                phones.look_after(&self.place, &client, &self.server.url()).await?;
                if without_energy { vec![manifest.phones] } else { vec![manifest.phones, energy.clone()] }
            }
        };
        let devices = self.joined(&client).await?;
        for device in &devices {
            output::note(&format!("device: {}", described(device)));
        }
        let phones = matches!(self.devices, Devices::Phones(_)).then_some(devices.as_slice());
        let mut evaluated = Vec::new();
        for suite in suites {
            if suite == energy {
                let phones = output::count(devices.len(), "phone");
                output::note(&format!("\n{phones} in turns: what an inference costs the battery, up to 5 min each"));
            }
            let ended = self.run(&client, suite, context).await?;
            let ended = Evaluated::of(&client, ended).await?;
            if !output.is_json() {
                ended.print(output)?;
            }
            evaluated.push(ended);
        }
        if output.is_json() {
            output::print_json(&show::json(&evaluated, phones))?;
        }
        let verdict = |ended: &Evaluated| follow::verdict(&ended.run);
        Ok(evaluated.iter().map(verdict).find(|exit| *exit != Exit::Ok).unwrap_or(Exit::Ok))
    }

    /// One suite to its end.
    async fn run(&self, client: &Client, suite: String, context: &Context) -> Result<v1::GetRunResponse> {
        let suite_toml = super::read_text(&self.place.files().join(&suite))?;
        let request = v1::SubmitRequest { suite_toml, file_name: suite, ..Default::default() };
        let submitted = super::run::submit(client, request).await?;
        output::note(&format!("run {}: {}\n", submitted.number, output::count(submitted.jobs as usize, "job")));
        follow::progress(client, &submitted.run, context.colour).await
    }

    /// The pages are there until somebody ends the demo.
    async fn stay_open(&self) {
        output::note(&format!("\nthe pages stay open at {} until Ctrl-C", self.address()));
        follow::interrupted().await;
    }

    /// Waits until every device has joined. An agent or a lab host that ended instead says why in its log.
    async fn joined(&mut self, client: &Client) -> Result<Vec<v1::Device>> {
        let (who, log, wanted, patience) = match &self.devices {
            Devices::Host(_) => ("agent", "agent.log", 1, JOIN_TIMEOUT),
            Devices::Phones(phones) => ("lab host", "lab.log", phones.count(), PHONES_JOIN_TIMEOUT),
        };
        let since = Instant::now();
        loop {
            let request = Client::request(v1::ListDevicesRequest { selector: String::new() });
            let devices =
                client.devices().list(request).await.map_err(client.failed("list the devices"))?.into_inner().devices;
            let connected: Vec<_> = devices.into_iter().filter(|device| device.connected).collect();
            if connected.len() >= wanted {
                return Ok(connected);
            }
            let failed = |how: String| {
                let tail = self.place.log_tail(log);
                Err(CliError::plain(format!("the demo's {who} {how}\n{tail}")))
            };
            let ended = match &mut self.devices {
                Devices::Host(agent) => {
                    agent.try_wait().map_err(|error| CliError::failed("watch the demo's agent", error))?
                }
                Devices::Phones(phones) => phones.ended()?,
            };
            if let Some(status) = ended {
                return failed(format!("ended with {status}"));
            }
            if since.elapsed() > patience {
                let (joined, waited) = (connected.len(), patience.as_secs());
                return failed(format!("has brought {joined} of {wanted} devices to the server in {waited} s"));
            }
            tokio::time::sleep(JOIN_POLL).await;
        }
    }

    /// Devices first, so that the server hears of their end; then the server; then the files.
    async fn stop(self) {
        match self.devices {
            Devices::Host(agent) => stop_agent(*agent).await,
            Devices::Phones(phones) => phones.stop().await,
        }
        self.server.shutdown(Shutdown::Soft { deadline: SERVER_GRACE }).await;
        self.place.close();
    }
}

async fn stop_agent(mut agent: tokio::process::Child) {
    if let Some(id) = agent.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
        // The first asks it to finish what it measures, the second not to: nobody would take the report.
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            rustix::process::kill_process(id, signal).ok();
        }
    }
    if tokio::time::timeout(AGENT_GRACE, agent.wait()).await.is_err() {
        agent.kill().await.ok();
    }
}

/// A device on one line: its name, and of a phone what it is.
fn described(device: &v1::Device) -> String {
    let profile: Option<Profile> = serde_json::from_str(&device.profile_json).ok();
    let Some(profile) = profile.filter(|profile| profile.android_api.present().is_some()) else {
        return device.name.clone();
    };
    let facts = [&profile.os, &profile.soc, &profile.gpu].map(|fact| fact.present().map(String::as_str));
    std::iter::once(device.name.as_str()).chain(facts.into_iter().flatten()).collect::<Vec<_>>().join(" · ")
}

fn not_started(error: StartError) -> CliError {
    let is_port = matches!(error, StartError::Listen { .. });
    let failed = CliError::failed("start the demo's server", error);
    if is_port { failed.with_hint("choose another --port, or leave it out: any free one will do") } else { failed }
}

/// In a process group of its own, so that Ctrl-C reaches it only through us.
fn start_agent(place: &Place, server: &str) -> Result<tokio::process::Child> {
    let log = place.log("agent.log")?;
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
        name: Some(variant.name.clone()),
        format,
        told: Some((variant.precision, Where::Manifest)),
        files: vec![PlannedFile { role: MODEL_ROLE, path, name }],
    })
}
