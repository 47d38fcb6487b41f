//! What a host may ask of the phone.

use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;

use super::connection::Host;
use super::shell::{self, Hangup};
use super::streams::{CHUNK, Stream};
use super::sync;

pub enum Service {
    /// A command with its exit code and its streams apart.
    Shell(String),
    /// A command as one stream of bytes.
    Raw(String, Hangup),
    Sync,
    Tcp(TcpStream),
    Reverse(String),
    Reboot,
}

impl Service {
    /// `None` for what this phone does not offer: `framebuffer:`, `root:`, a port on which nobody listens, …
    pub async fn find(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once(':')?;
        let mut words = kind.split(',');
        match words.next()? {
            // `shell,v2,raw:` and `shell,v2,TERM=…,pty:`; a terminal is not simulated.
            "shell" if words.any(|word| word == "v2") => Some(Self::Shell(rest.to_owned())),
            "shell" => Some(Self::Raw(rest.to_owned(), Hangup::Sent)),
            "exec" => Some(Self::Raw(rest.to_owned(), Hangup::NotSent)),
            "sync" => Some(Self::Sync),
            "tcp" => {
                let port: u16 = rest.parse().ok()?;
                TcpStream::connect(("127.0.0.1", port)).await.ok().map(Self::Tcp)
            }
            "reverse" => Some(Self::Reverse(rest.to_owned())),
            // There is no bootloader and no recovery to come up in.
            "reboot" if rest.is_empty() => Some(Self::Reboot),
            _ => None,
        }
    }

    pub async fn run(self, host: &Host, stream: Stream) {
        if let Self::Tcp(peer) = self {
            return host.streams.carry(stream, peer).await;
        }
        let (near, far) = tokio::io::duplex(4 * CHUNK);
        tokio::join!(self.serve(host, far), host.streams.carry(stream, near));
    }

    async fn serve(self, host: &Host, mut stream: DuplexStream) {
        match self {
            Self::Shell(command) => shell::v2(&command, stream).await,
            Self::Raw(command, hangup) => shell::raw(&command, hangup, stream).await,
            Self::Sync => {
                if let Err(error) = sync::serve(stream).await {
                    eprintln!("adbd: sync: {error}");
                }
            }
            Self::Reverse(request) => {
                let answer = host.rules.answer(&request).await;
                // A host that has gone needs no answer.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            Self::Reboot => {
                // Full means that it was asked for before.
                let _ = host.reboot.try_send(());
            }
            Self::Tcp(_) => {}
        }
    }
}
