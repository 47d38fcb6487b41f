//! `agent devices check SERIAL`: tries on a phone what nobody knows of it until somebody has tried, and writes what was
//! found so that it can be sent. The agent need not be there, and must not be at work.

mod scripts;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use seatrial_adb::{
    AdbLink, AdbServer, DeviceLink as _, Exec, ExecOutcome, Group, Keep, Life, LifeState, Limits, LinkError, Listed,
    State, Target,
};
use seatrial_core::lab::checkup::{Finding, Point, REPORT_SCHEMA, Report, Said};
use seatrial_core::profile::{self, Fact, Rules};
use seatrial_core::reading::Reading;

use super::host::is_plain;
use super::port::PortPower;
use crate::VERSION;

/// Of one script; the one that watches the gauge takes a quarter of it.
const WITHIN: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_secs(10);
/// Until a phone is there again.
const BACK_WITHIN: Duration = Duration::from_mins(2);
/// Between two looks whether it is.
const LOOK: Duration = Duration::from_secs(1);
const PROFILE: Keep = Keep { head: 1 << 20, tail: 64 << 10 };

#[derive(Debug, Clone, clap::Subcommand)]
pub enum DevicesAction {
    /// Try on a phone what nobody knows of it yet, and write a report (docs/devices.md)
    Check(CheckupArgs),
}

#[derive(Debug, Clone, clap::Args)]
pub struct CheckupArgs {
    /// The phone, as `adb devices` lists it
    pub serial: String,
    /// The adb server: host:port
    #[arg(long, env = "SEATRIAL_ADB", default_value = "127.0.0.1:5037")]
    pub adb: String,
    /// Folder of Seatrial on the phone
    #[arg(long, default_value = "/data/local/tmp/seatrial")]
    pub phone_folder: String,
    /// Program that cycles the power of the phone's port, as of `agent lab`; by default uhubctl, where it is installed
    #[arg(long, env = "SEATRIAL_PORT_POWER", value_name = "PROGRAM")]
    pub port_power: Option<PathBuf>,
    /// Seconds for which the phone is left alone while detached work runs on it
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub alone: u64,
    /// Folder for the report
    #[arg(long, default_value = ".")]
    pub out: PathBuf,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckupError {
    #[error("--phone-folder {0:?} is no absolute path of letters, digits, '-', '_' and '.'")]
    PhoneFolder(String),
    #[error("the adb server lists no phone {serial:?}; it lists {listed}")]
    NoSuchPhone { serial: String, listed: String },
    #[error("the phone {serial} is {state}: it must be listed as \"device\"")]
    NotUsable { serial: String, state: State },
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("writing the report {path} failed: {source}")]
    Report { path: PathBuf, source: io::Error },
    #[error("starting the event loop failed: {0}")]
    Start(io::Error),
}

/// Tries every point, writes the report as text and as JSON, and gives the text.
pub fn run(args: &CheckupArgs) -> Result<String, CheckupError> {
    let refused = |source| CheckupError::Report { path: args.out.clone(), source };
    std::fs::create_dir_all(&args.out).map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CheckupError::Start)?;
    let report = runtime.block_on(check(args))?;
    let text = report.text();
    let json = serde_json::to_string_pretty(&report).map_err(io::Error::from);
    let safe: String = args.serial.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
    for (ending, written) in [("txt", Ok(text.clone())), ("json", json)] {
        let path = args.out.join(format!("seatrial-check-{safe}.{ending}"));
        let written = written.and_then(|text| std::fs::write(&path, text));
        written.map_err(|source| CheckupError::Report { path, source })?;
    }
    Ok(text)
}

async fn check(args: &CheckupArgs) -> Result<Report, CheckupError> {
    if !is_plain(&args.phone_folder) {
        return Err(CheckupError::PhoneFolder(args.phone_folder.clone()));
    }
    let adb = AdbServer::at(args.adb.clone());
    let listed = listed(&adb, &args.serial).await?;
    let checkup = Checkup {
        adb,
        listed,
        folder: args.phone_folder.clone(),
        ports: PortPower::find(args.port_power.as_deref(), std::env::var_os("PATH")),
        alone: Duration::from_secs(args.alone),
    };
    let phone = checkup.identify().await;
    let mut findings = Vec::new();
    for point in Point::ALL {
        tracing::info!(point = point.as_str(), "{}", point.question());
        findings.push(match scripts::of(*point, &checkup.folder) {
            Some(script) => Finding::read(*point, &checkup.said(script, Keep::default()).await),
            None => checkup.leave_alone(*point).await,
        });
    }
    Ok(Report { schema: REPORT_SCHEMA, version: VERSION.to_owned(), serial: args.serial.clone(), phone, findings })
}

async fn listed(adb: &AdbServer, serial: &str) -> Result<Listed, CheckupError> {
    let all = adb.devices(&Limits::within(SHORT)).await?;
    let words: Vec<String> = all.iter().map(|one| format!("{} ({})", one.serial, one.state)).collect();
    let found = all.into_iter().find(|one| one.serial == serial);
    let found = found.ok_or_else(|| CheckupError::NoSuchPhone {
        serial: serial.to_owned(),
        listed: if words.is_empty() { "none".to_owned() } else { words.join(", ") },
    })?;
    if matches!(found.state, State::Device) {
        Ok(found)
    } else {
        Err(CheckupError::NotUsable { serial: serial.to_owned(), state: found.state })
    }
}

struct Checkup {
    adb: AdbServer,
    listed: Listed,
    folder: String,
    ports: PortPower,
    alone: Duration,
}

impl Checkup {
    fn link(&self) -> AdbLink {
        AdbLink::new(self.adb.clone(), Target::Serial(self.listed.serial.clone()))
    }

    async fn said(&self, script: String, keep: Keep) -> Said {
        let executed = self.link().exec(&Exec::new(script).keeping(keep), &Limits::within(WITHIN)).await;
        let code = match executed.outcome {
            ExecOutcome::Exited(code) => Some(code),
            ExecOutcome::Signaled(signal) => Some(signal.saturating_add(128)),
            ExecOutcome::TimedOut { .. }
            | ExecOutcome::Cancelled { .. }
            | ExecOutcome::TransportLost { .. }
            | ExecOutcome::Refused(_) => None,
        };
        let why = executed.outcome.failure().map(|failure| failure.to_string());
        Said { code, out: executed.stdout.text(), err: why.unwrap_or_else(|| executed.stderr.text()) }
    }

    /// What the profile's rules say that it is.
    async fn identify(&self) -> BTreeMap<String, String> {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let unknown = |why: String| BTreeMap::from([("profile".to_owned(), format!("unknown: {why}"))]);
        let rules = match Rules::shipped() {
            Ok(rules) => rules,
            Err(error) => return unknown(error.to_string()),
        };
        let script = match profile::script(rules, &nonce) {
            Ok(script) => script,
            Err(error) => return unknown(error.to_string()),
        };
        let said = self.said(script, PROFILE).await;
        let evidence = match profile::split(said.out.as_bytes(), &nonce) {
            Ok(evidence) => evidence,
            Err(error) => return unknown(error.to_string()),
        };
        let found = profile::read(&evidence, rules);
        let facts = [
            ("brand", text(&found.naming.brand, String::clone)),
            ("model", text(&found.naming.model, String::clone)),
            ("marketing name", text(&found.naming.marketing_name, String::clone)),
            (
                "rom",
                text(&found.rom, |rom| match &rom.version {
                    Reading::Present(version) => format!("{} {version}", rom.name),
                    Reading::Absent(_) => rom.name.clone(),
                }),
            ),
            ("android", text(&found.android_release, String::clone)),
            ("fingerprint", text(&found.fingerprint, String::clone)),
            (
                "chip",
                text(&found.chip, |chip| match &chip.model {
                    Reading::Present(model) => format!("{} {model}", chip.maker),
                    Reading::Absent(_) => chip.maker.clone(),
                }),
            ),
            ("gpu", text(&found.gpu, |gpu| gpu.model.present().unwrap_or(&gpu.family).clone())),
        ];
        facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Starts detached work, goes away, and looks afterwards how it fared.
    async fn leave_alone(&self, point: Point) -> Finding {
        if point == Point::Dark && !self.ports.can_switch(self.listed.usb.as_deref()) {
            return Finding::not_tried(point, "nothing here switches its port: uhubctl, or a program (--port-power)");
        }
        let group = Group::named(scripts::NAME, self.folder.clone());
        let start = group.start_script(scripts::BEATS, BACK_WITHIN + self.alone + WITHIN, ":");
        let folder = seatrial_adb::quote(&self.folder);
        let started = self.said(format!("mkdir -p {folder} && {start}"), Keep::default()).await;
        if started.code != Some(0) {
            return Finding::not_tried(point, &format!("detached work cannot be started: {}", started.err.trim()));
        }
        let begun = Instant::now();
        let away = self.away(point).await;
        let back = self.back().await;
        let during = begun.elapsed().as_secs_f64();
        let beats = self.said(scripts::beats(&self.folder), PROFILE).await;
        let life = self.said(group.look_script(), Keep::default()).await;
        let is_alive = Life::parse(&life.out).is_some_and(|life| life.state == LifeState::Alive);
        let cleared = self.link().kill(&group, &Limits::within(WITHIN)).await;
        if let Err(error) = cleared {
            tracing::warn!(%error, "detached work of the check may still run on the phone");
        }
        match away.and(back) {
            Err(why) => Finding::not_tried(point, &why),
            // A beat may be a second old when it is asked for.
            Ok(()) => Finding::survival(point, &beats.out, during - 2.0, is_alive),
        }
    }

    async fn away(&self, point: Point) -> Result<(), String> {
        let limits = Limits::within(SHORT);
        let serial = &self.listed.serial;
        if point == Point::Dark {
            return self.ports.cycle(self.listed.usb.as_deref(), serial).await;
        }
        let told = |error: LinkError| error.to_string();
        if self.is_by_tcp() {
            self.adb.disconnect(serial, &limits).await.map_err(told)?;
            tokio::time::sleep(self.alone).await;
            return self.adb.connect(serial, &limits).await.map(drop).map_err(told);
        }
        self.link().reconnect(&limits).await.map_err(told)?;
        tokio::time::sleep(self.alone).await;
        Ok(())
    }

    /// By TCP the serial is an address.
    fn is_by_tcp(&self) -> bool {
        self.listed.usb.is_none() && self.listed.serial.contains(':')
    }

    async fn back(&self) -> Result<(), String> {
        let since = Instant::now();
        loop {
            match self.link().heartbeat(&Limits::within(SHORT)).await {
                Ok(_) => return Ok(()),
                Err(error) if since.elapsed() > BACK_WITHIN => return Err(format!("it did not come back: {error}")),
                Err(_) => {
                    // An adb server takes such a link up again late, or not at all.
                    if self.is_by_tcp() {
                        let limits = Limits::within(SHORT);
                        let _ = self.adb.disconnect(&self.listed.serial, &limits).await;
                        let _ = self.adb.connect(&self.listed.serial, &limits).await;
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }
}

fn text<T>(fact: &Fact<T>, shown: impl Fn(&T) -> String) -> String {
    match fact {
        Reading::Present(found) => shown(&found.value),
        Reading::Absent(reason) => format!("unknown: {reason}"),
    }
}
