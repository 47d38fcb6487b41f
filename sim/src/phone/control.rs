//! What a running phone is told from outside: one line in, one line out, on a socket in its folder.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::Phone;

/// The socket in the phone's folder.
const SOCKET: &str = "control";
/// Longer orders are none.
const MAX_LINE: u64 = 4096;
/// Who connects and says nothing in this time is hung up on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does what a line says: a fault's word, or `mend`.
pub async fn obey(phone: &Phone, line: &str) -> Result<(), String> {
    let done = match line {
        "mend" => phone.mend().await,
        word => phone.inflict(word.parse()?).await,
    };
    done.map_err(|error| error.to_string())
}

/// Takes orders for a phone, one after the other, for as long as it is polled.
pub async fn serve(phone: &Phone, folder: &Path) -> io::Result<()> {
    let place = Place::open(folder)?;
    match std::fs::remove_file(folder.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Of an earlier phone in this folder.
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(place.path())?;
    loop {
        let (peer, _) = listener.accept().await?;
        if let Err(error) = answer(phone, peer).await {
            tracing::debug!(%error, "whoever gave a simulated phone an order has gone");
        }
    }
}

async fn answer(phone: &Phone, mut peer: UnixStream) -> io::Result<()> {
    let mut line = String::new();
    let (from, mut to) = peer.split();
    timeout(PATIENCE, BufReader::new(from.take(MAX_LINE)).read_line(&mut line)).await??;
    let said = match obey(phone, line.trim()).await {
        Ok(()) => "ok\n".to_owned(),
        Err(why) => format!("error: {}\n", why.replace('\n', " ")),
    };
    to.write_all(said.as_bytes()).await
}

/// Gives an order to the phone of a folder, and waits until it is done.
pub async fn tell(folder: &Path, line: &str) -> Result<(), String> {
    let told = async {
        let mut phone = UnixStream::connect(Place::open(folder)?.path()).await?;
        phone.write_all(format!("{line}\n").as_bytes()).await?;
        let mut said = String::new();
        phone.read_to_string(&mut said).await?;
        Ok::<String, io::Error>(said)
    };
    let said = told.await.map_err(|error| format!("no phone hears in {}: {error}", folder.display()))?;
    match said.trim_end().strip_prefix("error: ") {
        None if said == "ok\n" => Ok(()),
        Some(why) => Err(why.to_owned()),
        None => Err("the phone went away before it was done".to_owned()),
    }
}

/// A socket's path may have 108 bytes, and the folder of a phone may lie deeper.
struct Place(File);

impl Place {
    fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self(File::open(folder)?))
    }

    fn path(&self) -> String {
        format!("/proc/self/fd/{}/{SOCKET}", self.0.as_raw_fd())
    }
}
