//! Calls of `adb_client`, which blocks, knows no deadline and keeps its socket to itself: each goes through a relay of its
//! own in this process, and when that is dropped, the call ends with its connection.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};

use adb_client::RustADBError;
use adb_client::server_device::ADBServerDevice;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::failure::{Failure, Phase};
use crate::limits::Place;
use crate::link::Target;
use crate::refused::Refused;
use crate::server::AdbServer;

const BUFFER: usize = 256 << 10;

/// What a call gave, and whether the server had hung up before the call was done: `adb_client` takes some of these ends for
/// the end of a file.
pub(crate) struct Relayed<T> {
    pub result: Result<T, RustADBError>,
    pub was_cut: bool,
}

/// Runs a call on a thread that may block. Dropping this future ends it.
pub(crate) async fn call<T: Send + 'static>(
    server: &AdbServer,
    target: &Target,
    place: &Place,
    call: impl FnOnce(&mut ADBServerDevice) -> Result<T, RustADBError> + Send + 'static,
) -> Result<Relayed<T>, Failure> {
    place.enter(Phase::Connect);
    let lost = |error: std::io::Error| place.lost(&error);
    let to_server = TcpStream::connect(server.address())
        .await
        .map_err(|error| place.lost(&format!("{}: {error}", server.address())))?;
    to_server.set_nodelay(true).map_err(lost)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(lost)?;
    let port = listener.local_addr().map_err(lost)?.port();
    let address = Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let mut device = match target.clone() {
        Target::Serial(serial) => ADBServerDevice::new(serial, address),
        Target::Transport(id) => {
            let id = u32::try_from(id).map_err(|_| Refused::before_sending(format!("{id} is no transport id")))?;
            ADBServerDevice::new_with_transport_id(id, address)
        }
    };
    place.enter(Phase::Transfer);
    let hung_up = AtomicBool::new(false);
    let mut running = tokio::task::spawn_blocking(move || call(&mut device));
    let result = tokio::select! {
        result = &mut running => result,
        () = relay(listener, to_server, &hung_up) => running.await,
    };
    let result = result.map_err(|error| place.lost(&error))?;
    Ok(Relayed { result, was_cut: hung_up.into_inner() })
}

/// Carries bytes both ways until one side has ended. `hung_up` is set before the client can see that the server has: its
/// half of the connection lives until this returns.
async fn relay(listener: TcpListener, server: TcpStream, hung_up: &AtomicBool) {
    let Ok((client, _)) = listener.accept().await else { return };
    drop(listener);
    // An error of a socket is the end of its connection, which the other side learns when this returns.
    let _ = client.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        biased;
        _ = copy(&mut from_client, &mut to_server) => {}
        _ = copy(&mut from_server, &mut to_client) => hung_up.store(true, Ordering::Release),
    }
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read]).await?,
        }
    }
}

/// What `adb_client` says, in the words of this crate.
pub(crate) fn failure(error: RustADBError, place: &Place) -> Failure {
    if let RustADBError::ADBRequestFailed(text) = error {
        return Refused::new(text).into();
    }
    // The device's own refusal of a file is hidden in an error of input.
    match error.to_string().strip_prefix("ADB request failed: ") {
        Some(text) => Refused::new(text).into(),
        None => place.lost(&error),
    }
}
