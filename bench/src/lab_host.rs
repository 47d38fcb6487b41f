//! What it costs a computer to look after thirty phones that do nothing: simulated ones, each with a real agent, behind a
//! real adb server.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use seatrial_core::digest::Digest;
use seatrial_proto::v1;
use seatrial_proto::v1::agents_client::AgentsClient;
use seatrial_proto::v1::devices_client::DevicesClient;
use seatrial_sim::connection::dial;
use seatrial_sim::phone::{Config, Description, Phone};

use crate::download::upload;
use crate::lab::ADB;
use crate::process::{Agent, Owned, Process, cpu_us, resident_kib};
use crate::ratio::{Goal, Measured};

const PHONES: usize = 30;
/// Until all of them have their agent: each gets ten megabytes and starts it.
const PATIENCE: Duration = Duration::from_mins(10);
/// Settled: what taking up a phone costs is not what watching it costs.
const SETTLE: Duration = Duration::from_secs(20);
const WATCH: Duration = Duration::from_mins(1);
const ABI: &str = "x86_64-linux-gnu";

pub fn round() -> anyhow::Result<Vec<Measured>> {
    let adb: PathBuf =
        std::env::var_os(ADB).context("SEATRIAL_TEST_ADB is not set: run `cargo xtask bench lab`")?.into();
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(watch(&adb, folder.path()))
}

async fn watch(adb: &Path, folder: &Path) -> anyhow::Result<Vec<Measured>> {
    let data = folder.join("server");
    let data = data.to_str().context("the scratch folder's name is not text")?;
    let server = Process::start(&["inner-server", "--data", data, "--synchronous", "normal"])?;
    add_agent(&server.address).await?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let _adb_server = Owned::start(adb_command(adb, port, folder).args(["nodaemon", "server"]))?;
    let mut phones = Vec::with_capacity(PHONES);
    for index in 0..PHONES {
        let phone = Phone::start(config(folder, index)?).await?;
        connect(adb, port, folder, &phone).await?;
        phones.push(phone);
    }
    let host = lab_host(&server.address, port, &folder.join("lab"))?;
    all_joined(&server.address).await?;
    tokio::time::sleep(SETTLE).await;
    let (start, before) = (Instant::now(), cpu_us(host.id())?);
    tokio::time::sleep(WATCH).await;
    let share = (cpu_us(host.id())? - before) / start.elapsed().as_micros() as f64;
    let resident = resident_kib(host.id())?;
    for phone in phones {
        phone.stop().await?;
    }
    let row = |name, unit, value, baseline| Measured { name, unit, value, baseline, goal: Goal::AtMost(1.0) };
    Ok(vec![
        row("lab host with 30 phones, CPU / 10 % of a core", "%", share * 100.0, 10.0),
        row("lab host with 30 phones, memory / 150 MB", "MB", resident * 1024.0 / 1e6, 150.0),
    ])
}

async fn add_agent(server: &str) -> anyhow::Result<()> {
    let bytes = std::fs::read(Agent::binary()?).context("the lean agent has not been built")?;
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    upload(server, &digest, bytes).await?;
    let request = v1::AddAgentRequest {
        digest: digest.as_bytes().to_vec().into(),
        size,
        abi: ABI.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    AgentsClient::new(dial(server).await?).add(request).await?;
    Ok(())
}

fn adb_command(adb: &Path, port: u16, home: &Path) -> Command {
    let mut command = Command::new(adb);
    command.args(["-P", &port.to_string()]).env("HOME", home).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn config(folder: &Path, index: usize) -> anyhow::Result<Config> {
    let described = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/tests/phones/fuxi");
    Ok(Config {
        description: Description::read(&described)?,
        folder: folder.join(format!("phone-{index}")),
        port: 0,
        serial: format!("BENCH{index:03}"),
        properties: vec![("ro.product.cpu.abilist".to_owned(), String::new())],
        program: vec![std::env::current_exe()?.into(), "inner-phone".into()],
        power: None,
        is_plugged: true,
        boot_time: Duration::ZERO,
        turn: None,
    })
}

/// The adb server may still be starting when it is asked.
async fn connect(adb: &Path, port: u16, home: &Path, phone: &Phone) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let address = phone.address().to_string();
        adb_command(adb, port, home).args(["connect", &address]).status()?;
        if adb_command(adb, port, home).args(["-s", &address, "shell", "true"]).status()?.success() {
            return Ok(());
        }
        anyhow::ensure!(since.elapsed() < PATIENCE, "the phone at {address} does not answer adb");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// This program as one, which like `seatrial agent lab` is a part of a large one.
fn lab_host(server: &str, port: u16, folder: &Path) -> anyhow::Result<Owned> {
    let adb = format!("127.0.0.1:{port}");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["agent", "lab", "--server", server, "--adb", &adb, "--folder"]).arg(folder).stderr(Stdio::null());
    Owned::start(&mut command)
}

async fn all_joined(server: &str) -> anyhow::Result<()> {
    let mut devices = DevicesClient::new(dial(server).await?);
    let since = Instant::now();
    loop {
        let listed = devices.list(v1::ListDevicesRequest { selector: String::new() }).await?.into_inner().devices;
        let connected = listed.iter().filter(|device| device.connected).count();
        if connected == PHONES {
            return Ok(());
        }
        anyhow::ensure!(since.elapsed() < PATIENCE, "{connected} of {PHONES} phones have joined");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
