//! The agent's command line, shared by `seatrial-agent` and `seatrial agent`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use seatrial_core::device::Profile;
use seatrial_core::reading::Reading;
use tracing_subscriber::EnvFilter;

use crate::attempt::Preflight;
use crate::command::CommandAction;
use crate::death::Earlier;
use crate::energy::Hook;
use crate::interpreters::{Interpreter, Interpreters};
use crate::probe::{Probe, SensorReading};
use crate::run::{self, Config};
use crate::runtime::runner::check;
use crate::server_args::ServerArgs;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Take jobs from a server and report what came of them
    Run(Box<RunArgs>),
    /// Look after the phones of this computer: put the agent on each and keep it running there (docs/devices.md)
    #[cfg(feature = "lab")]
    Lab(Box<crate::lab::LabArgs>),
    /// Phones of this computer, one by one
    #[cfg(feature = "lab")]
    Devices {
        #[command(subcommand)]
        action: crate::lab::DevicesAction,
    },
    /// Show what is known of this device, and what is not and why
    Probe(ProbeArgs),
    /// Engines that are programs of their own
    Runner {
        #[command(subcommand)]
        action: RunnerAction,
    },
    /// Rule files of benchmark programs
    Command {
        #[command(subcommand)]
        action: CommandAction,
    },
    /// One isolated process of an attempt
    #[command(hide = true)]
    Child { specification: PathBuf },
}

#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// The agent's own folder: cache, spool, identity
    #[arg(long, env = "SEATRIAL_AGENT_FOLDER", default_value = "seatrial-agent")]
    pub folder: PathBuf,
    /// One-time token: trades itself for a token of this device, once
    #[arg(long, env = "SEATRIAL_ENROL", hide_env_values = true)]
    pub enrol: Option<String>,
    /// Bytes of artifacts that are kept at most
    #[arg(long, env = "SEATRIAL_CACHE_BYTES", default_value_t = 4 << 30)]
    pub cache_bytes: u64,
    /// Bytes of reports that may wait for the server
    #[arg(long, env = "SEATRIAL_SPOOL_BYTES", default_value_t = 512 << 20)]
    pub spool_bytes: u64,
    /// Root of the file system that is probed
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// A program that runs runners, as in "python3=/usr/bin/python3"; repeated, or separated by commas in the variable
    #[arg(long = "interpreter", env = "SEATRIAL_INTERPRETERS", value_name = "NAME=PATH", value_delimiter = ',')]
    pub interpreters: Vec<Interpreter>,
    /// Program that makes this device findable, as by a lamp, when somebody looks for it (`seatrial devices find-me`)
    #[arg(long, env = "SEATRIAL_FIND_ME", value_name = "PROGRAM")]
    pub find_me: Option<PathBuf>,
    /// A program that prints the power of a meter beside this device in W, a reading a line, and where the meter is:
    /// "input:/opt/meter" before the device, "battery:/opt/meter" in the place of its battery (docs/energy.md)
    #[arg(long, env = "SEATRIAL_METER", value_name = "PLACE:PROGRAM")]
    pub meter: Option<Hook>,
    /// How long to wait for other load to fall before measuring, in seconds
    #[arg(long, default_value_t = 20)]
    pub load_wait: u64,
    /// How this agent was started, for the record
    #[arg(long, default_value = "process")]
    pub launch: String,
    /// Stands in for the machine's serial and id where several agents share one machine
    #[arg(long)]
    pub identity: Option<String>,
    /// ip:port of a tunnel through which the server is reached, as a lab host opens it
    #[arg(long, value_name = "IP:PORT")]
    pub via: Option<String>,
    /// Serial of this device where only its lab host can read it
    #[arg(long)]
    pub serial: Option<String>,
    /// Where this device is plugged in, as its lab host sees it
    #[arg(long)]
    pub usb_path: Option<String>,
    /// Exit status of the agent before this one, as its lab host saw it
    #[arg(long, hide = true, env = "SEATRIAL_EARLIER_EXIT", value_name = "STATUS")]
    pub earlier_exit: Option<u8>,
    /// What that agent logged
    #[arg(long, hide = true, env = "SEATRIAL_EARLIER_LOG", value_name = "FILE")]
    pub earlier_log: Option<PathBuf>,
    /// Program through which this one starts itself where the kernel cannot run it, as an emulator
    #[arg(long, hide = true, value_name = "PROGRAM")]
    pub through: Option<PathBuf>,
    /// Say that this device is simulated
    #[arg(long, hide = true, env = "SEATRIAL_SIMULATED")]
    pub simulated: bool,
    /// File whose lock is the right to measure, where simulated devices share a machine
    #[arg(long, hide = true, env = "SEATRIAL_TURN", value_name = "FILE")]
    pub turn: Option<PathBuf>,
    /// What is logged to standard error, as in "info" or "seatrial_agent=debug"
    #[arg(long, env = "SEATRIAL_LOG", default_value = "info")]
    pub log: String,
}

#[derive(Debug, Clone, Subcommand)]
pub enum RunnerAction {
    /// Hold a runner, or a dataset's scorer, against the protocol, and say what to do where it falls short (docs/runner.md)
    Check(CheckArgs),
}

#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The runner, or the scorer of a dataset
    pub program: PathBuf,
    /// What runs it: the path of a Python, …
    #[arg(long)]
    pub interpreter: Option<PathBuf>,
    /// A file of a model that it is to load, as in "model=net.pb"; repeated
    #[arg(long = "file", value_name = "ROLE=PATH", value_parser = role_and_path)]
    pub files: Vec<(String, PathBuf)>,
    /// Format of the model; the first that the runner names when absent
    #[arg(long)]
    pub format: Option<String>,
    #[arg(long, default_value = "cpu")]
    pub accelerator: String,
    #[arg(long, default_value_t = 1)]
    pub threads: u16,
    /// Of a scorer: the file with its labels
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Outputs that a scorer is to judge, as in "logits=logits.npy", whose first axis counts the examples; repeated
    #[arg(long = "output", value_name = "NAME=PATH", value_parser = role_and_path)]
    pub outputs: Vec<(String, PathBuf)>,
    /// Name of a figure that a scorer is asked for; repeated
    #[arg(long = "metric", value_name = "NAME")]
    pub metrics: Vec<String>,
    /// Only checks whose name holds this
    #[arg(long)]
    pub only: Option<String>,
}

fn role_and_path(text: &str) -> Result<(String, PathBuf), String> {
    let (role, path) =
        text.split_once('=').filter(|(role, _)| !role.is_empty()).ok_or("a role and a path: model=net.pb")?;
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    Ok((role.to_owned(), path))
}

#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArgs {
    #[arg(long, value_enum, default_value_t)]
    pub format: ProbeFormat,
    /// Root of the file system that is probed
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProbeFormat {
    #[default]
    Table,
    Json,
}

/// How to start a child of this program: itself, and the words before `child`.
pub fn child_command(words: &[&str]) -> io::Result<Vec<OsString>> {
    let program = std::env::current_exe()?.into_os_string();
    Ok(std::iter::once(program).chain(words.iter().map(OsString::from)).collect())
}

/// Runs a command. Exit code 0 is success; 1 is a failure that was explained on standard error.
pub fn main(args: Args, child_command: Vec<OsString>) -> ExitCode {
    #[cfg(feature = "faults")]
    let _faults = fail::FailScenario::setup();
    let result = match args.command {
        Command::Run(args) => start(*args, child_command),
        #[cfg(feature = "lab")]
        Command::Lab(args) => start_lab(*args),
        #[cfg(feature = "lab")]
        Command::Devices { action: crate::lab::DevicesAction::Check(args) } => check_phone(&args),
        Command::Probe(args) => probe(&args).map_err(|error| error.to_string()),
        Command::Runner { action: RunnerAction::Check(args) } => check(args),
        Command::Command { action } => crate::command::main(action, child_command),
        Command::Child { specification } => return crate::child::main(&specification),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seatrial agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: RunArgs, child_command: Vec<OsString>) -> Result<(), String> {
    start_log(&args.log)?;
    let token = args.server.token()?;
    let ServerArgs { server, ca, certificate, key, .. } = args.server;
    let config = Config {
        server,
        via: args.via,
        folder: args.folder,
        token,
        enrolment: args.enrol,
        authorities: ca,
        certificate,
        key,
        cache_bytes: args.cache_bytes,
        spool_bytes: args.spool_bytes,
        preflight: Preflight {
            load_wait: Duration::from_secs(args.load_wait),
            turn: args.turn,
            ..Preflight::default()
        },
        child_command: args.through.map(PathBuf::into_os_string).into_iter().chain(child_command).collect(),
        root: args.root,
        launch: args.launch,
        identity: args.identity,
        serial: args.serial,
        usb_path: args.usb_path,
        earlier: Earlier { exit: args.earlier_exit, log: args.earlier_log },
        interpreters: Interpreters::look(args.interpreters)?,
        find_me: args.find_me,
        meter: args.meter,
        simulated: args.simulated,
    };
    run::run(config).map_err(|error| error.to_string())
}

#[cfg(feature = "lab")]
fn start_lab(args: crate::lab::LabArgs) -> Result<(), String> {
    start_log(&args.log)?;
    let token = args.server.token()?;
    crate::lab::run(args.into_config(token)).map_err(|error| error.to_string())
}

#[cfg(feature = "lab")]
fn check_phone(args: &crate::lab::CheckupArgs) -> Result<(), String> {
    start_log("info")?;
    let text = crate::lab::check(args).map_err(|error| error.to_string())?;
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

fn start_log(filter: &str) -> Result<(), String> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| format!("--log {filter:?}: {error}"))?;
    // A program that links this library may have set up its own.
    let is_terminal = io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt().with_env_filter(parsed).with_ansi(is_terminal).with_writer(io::stderr).try_init();
    Ok(())
}

fn probe(args: &ProbeArgs) -> io::Result<()> {
    let probe = Probe::new(&args.root);
    let profile = probe.profile(false);
    let text = match args.format {
        ProbeFormat::Json => serde_json::to_string_pretty(&profile)? + "\n",
        ProbeFormat::Table => table(&profile, &probe.all_sensors()),
    };
    io::stdout().lock().write_all(text.as_bytes())
}

fn check(args: CheckArgs) -> Result<(), String> {
    let CheckArgs { program, interpreter, files, format, accelerator, threads, labels, outputs, metrics, only } = args;
    let shown = program.display().to_string();
    let labels = labels.map(std::path::absolute).transpose().map_err(|error| format!("checking {shown}: {error}"))?;
    let options =
        check::Options { program, interpreter, files, format, accelerator, threads, labels, outputs, metrics, only };
    let findings = check::run(&options).map_err(|error| format!("checking {shown}: {error}"))?;
    io::stdout().lock().write_all(check::table(&findings).as_bytes()).map_err(|error| error.to_string())?;
    let broken = findings.iter().filter(|finding| matches!(finding.verdict, check::Verdict::Broken(_))).count();
    if broken == 0 { Ok(()) } else { Err(format!("{shown} does not keep the protocol")) }
}

/// Two columns: what, and its value or why there is none.
fn table(profile: &Profile, sensors: &[SensorReading]) -> String {
    fn shown<T: std::fmt::Display>(reading: &Reading<T>) -> String {
        match reading {
            Reading::Present(value) => value.to_string(),
            Reading::Absent(reason) => format!("–  ({reason})"),
        }
    }
    let mut rows = vec![
        ("brand".to_owned(), shown(&profile.brand)),
        ("product".to_owned(), shown(&profile.product)),
        ("os".to_owned(), shown(&profile.os)),
        ("kernel".to_owned(), shown(&profile.kernel)),
        ("hostname".to_owned(), shown(&profile.hostname)),
        ("soc".to_owned(), shown(&profile.soc)),
        ("abi".to_owned(), profile.abi.clone()),
        ("android api".to_owned(), shown(&profile.android_api)),
        ("cpu".to_owned(), shown(&profile.cpu.model)),
        ("cpus".to_owned(), shown(&profile.cpu.count)),
    ];
    for (index, cluster) in profile.cpu.clusters.iter().enumerate() {
        let cpus: Vec<String> = cluster.cpus.iter().map(u16::to_string).collect();
        let frequency = shown(&cluster.max_frequency_khz.clone().map(|khz| format!("at most {} MHz", khz / 1000)));
        rows.push((format!("cluster {index}"), format!("cpu {}  {frequency}", cpus.join(" "))));
    }
    rows.push(("cpu features".to_owned(), shown(&profile.cpu.features.clone().map(|features| features.join(" ")))));
    rows.push(("memory".to_owned(), shown(&profile.memory_bytes.clone().map(|bytes| format!("{} MiB", bytes >> 20)))));
    rows.push(("gpu".to_owned(), shown(&profile.gpu)));
    rows.push(("gpu driver".to_owned(), shown(&profile.gpu_driver)));
    for runtime in &profile.runtimes {
        let formats: Vec<&str> = runtime.formats.iter().map(|format| format.as_str()).collect();
        rows.push(("runtime".to_owned(), format!("{} {} ({})", runtime.name, runtime.version, formats.join(", "))));
    }
    for SensorReading { sensor, unit, value } in sensors {
        let value =
            value.clone().map(|value| if *unit == "1" { format!("{value:.2}") } else { format!("{value:.1} {unit}") });
        rows.push((sensor.clone(), shown(&value)));
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_probe_shows_what_is_missing_and_why() {
        let probe = Probe::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/phone"));
        let text = table(&probe.profile(false), &probe.all_sensors());
        assert!(text.contains("battery/temperature"), "{text}");
        assert!(text.contains("33.5 °C"), "{text}");
        assert!(text.contains("thermal/pm8550b-bcl-lvl0-3"), "{text}");
        assert!(text.contains("–  (reads 0 °C, which no device has)"), "{text}");
    }
}
