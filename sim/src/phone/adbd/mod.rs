//! The daemon of a simulated phone, inside of its world: the device side of the adb protocol.
//!
//! It hears of nothing that is wrong with the link: what goes wrong there, the [cable](super::cable) does.

mod connection;
mod reverse;
mod service;
mod shell;
mod streams;
mod sync;
mod wire;

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;

use fs_err as fs;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};

/// Where the cable finds the daemon, inside of the phone.
pub(super) const SOCKET: &str = "/dev/socket/adbd";
/// Exit code by which the daemon asks for the phone to be booted again.
pub(super) const REBOOT: u8 = 42;
/// What it says on standard output once it listens.
pub(super) const READY: &str = "ready";
/// What it is told on standard input: whether it may serve a host that it does not know. The end of input is the end
/// of power.
pub(super) const AUTHORIZED: &str = "authorized";
pub(super) const UNAUTHORIZED: &str = "unauthorized";

/// What the daemon announces in its banner.
const FEATURES: &str = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir,sendrecv_v2";

/// Serves until the power goes or somebody asks for a reboot. `identity` is what `adb devices -l` shows:
/// `ro.product.name=…;ro.product.model=…;ro.product.device=…;`.
pub fn main(identity: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| {
        let ended = runtime.block_on(serve(identity));
        // A file that is being written is as in a loss of power.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("adbd: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(identity: &str) -> std::io::Result<ExitCode> {
    let banner: Arc<str> = format!("device::{identity}features={FEATURES}").into();
    fs::create_dir_all("/dev/socket")?;
    let listener = UnixListener::bind(SOCKET)?;
    let orders = pipe::Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut orders = BufReader::new(orders).lines();
    let (may, authorized) = watch::channel(true);
    let (reboot, mut reboots) = mpsc::channel(1);
    writeln!(std::io::stdout(), "{READY}")?;
    loop {
        tokio::select! {
            order = orders.next_line() => match order?.as_deref() {
                Some(AUTHORIZED) => { may.send_replace(true); }
                Some(UNAUTHORIZED) => { may.send_replace(false); }
                Some(other) => eprintln!("adbd: an order that it does not know: {other:?}"),
                None => return Ok(ExitCode::SUCCESS),
            },
            accepted = listener.accept() => {
                let (link, _) = accepted?;
                let (banner, authorized, reboot) = (banner.clone(), authorized.clone(), reboot.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection::serve(link, &banner, authorized, reboot).await {
                        eprintln!("adbd: {error}");
                    }
                });
            }
            Some(()) = reboots.recv() => return Ok(ExitCode::from(REBOOT)),
        }
    }
}
