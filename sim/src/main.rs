//! `seatrial-phone`: one simulated phone, for a person or a test with an adb server of their own.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use seatrial_sim::phone::{self, Config, Description, Fault, Phone, PhoneError, control};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(version, about = "A simulated phone for a real adb server (docs/simulated-phone.md)")]
enum Command {
    /// Boot a phone, say its address and its folder, and stay until a signal ends it
    Run(Run),
    /// The phones that this program describes
    List,
    /// Make something go wrong with the running phone of a folder; "mend" ends every fault that lasts
    Tell { folder: PathBuf, fault: String },
    /// The phone's own daemon
    #[command(hide = true)]
    Adbd { identity: String },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Folder that describes the phone, or the name of one that this program describes ("list" tells them)
    description: PathBuf,
    /// Folder for the phone's files; by default one that goes when the phone goes
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Port on loopback, outside of 5555 to 5585; any that is free when absent
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long, default_value = "SIM00001")]
    serial: String,
    /// A property that stands over the description's, as in "ro.product.locale=en-GB"; repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Reached without a cable: it runs on its battery
    #[arg(long)]
    unplugged: bool,
    /// Seconds from the end of power to the first process
    #[arg(long, default_value_t = 3.0)]
    boot_time: f64,
    /// File whose lock is the right to measure
    #[arg(long)]
    turn: Option<PathBuf>,
    /// A fault from the start on; repeated
    #[arg(long = "fault")]
    faults: Vec<Fault>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a name and a value: ro.product.locale=…")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Adbd { identity } => phone::adbd(&identity),
        Command::Run(run) => ended(start(run)),
        Command::List => {
            ended(async { Ok(writeln!(std::io::stdout(), "{}", Description::shipped_names().join("\n"))?) })
        }
        Command::Tell { folder, fault } => {
            ended(async move { control::tell(&folder, &fault).await.map_err(Into::into) })
        }
    }
}

fn ended(work: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seatrial-phone: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A name goes before a folder that is called the same.
fn description(word: &Path) -> Result<Description, PhoneError> {
    let shipped = word.to_str().filter(|word| Description::shipped_names().contains(word));
    shipped.map_or_else(|| Description::read(word), Description::shipped)
}

async fn start(run: Run) -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let boot_time = Duration::try_from_secs_f64(run.boot_time)?;
    let folder = run.folder.unwrap_or_else(|| home.path().to_owned());
    let config = Config {
        description: description(&run.description)?,
        folder: folder.clone(),
        port: run.port,
        serial: run.serial,
        properties: run.properties,
        program: vec![std::env::current_exe()?.into(), OsString::from("adbd")],
        power: None,
        is_plugged: !run.unplugged,
        boot_time,
        turn: run.turn,
    };
    let phone = Phone::start(config).await?;
    for fault in run.faults {
        phone.inflict(fault).await?;
    }
    let mut terminated = signal(SignalKind::terminate())?;
    writeln!(std::io::stdout(), "{} {}", phone.address(), folder.display())?;
    tokio::select! {
        ended = control::serve(&phone, &folder) => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(phone.stop().await?)
}
