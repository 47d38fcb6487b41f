//! One connection of an adb server: who it is, and then its streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::reverse::Rules;
use super::service::Service;
use super::streams::Streams;
use super::wire::{self, Command, MAX_PAYLOAD, Message, VERSION, WireError};

/// Kinds of an AUTH message.
const TOKEN: u32 = 1;
const SIGNATURE: u32 = 2;
/// Bytes of a token, as a key signs them.
const TOKEN_BYTES: usize = 20;

pub async fn serve(
    link: UnixStream,
    banner: &str,
    mut authorized: watch::Receiver<bool>,
    reboot: mpsc::Sender<()>,
) -> Result<(), WireError> {
    let (mut reading, mut writing) = link.into_split();
    let (out, mut leaving) = mpsc::channel::<Message>(16);
    let (into, mut inbox) = mpsc::channel(4);
    let mut halves = JoinSet::new();
    // The first message of either side is summed; from then on as the older of both wants it.
    let summed = Arc::new(AtomicBool::new(true));
    let of_writer = summed.clone();
    halves.spawn(async move {
        while let Some(message) = leaving.recv().await {
            let summed = message.command == Command::Connect || of_writer.load(Ordering::Relaxed);
            if wire::write(&mut writing, &message, summed).await.is_err() {
                return;
            }
        }
    });
    halves.spawn(async move {
        loop {
            let message = wire::read(&mut reading, summed.load(Ordering::Relaxed)).await.transpose();
            let Some(message) = message else { return };
            if let Ok(Message { command: Command::Connect, first, .. }) = &message {
                summed.store(*first < VERSION, Ordering::Relaxed);
            }
            if into.send(message).await.is_err() {
                return;
            }
        }
    });

    let streams = Arc::new(Streams::new(out));
    let host = Arc::new(Host { rules: Rules::new(streams.clone()), streams, reboot });
    let mut trust = Trust::Unknown;
    let ended = loop {
        tokio::select! {
            message = inbox.recv() => {
                let Some(message) = message else { break Ok(()) };
                let may = *authorized.borrow();
                if let Err(error) = message.and_then(|message| host.hear(message, banner, may, &mut trust)) {
                    break Err(error);
                }
            }
            // The person who holds the phone agrees.
            Ok(()) = authorized.changed(), if trust == Trust::Asked => if *authorized.borrow() {
                host.welcome(banner, &mut trust);
            },
        }
    };
    host.streams.end();
    ended
}

/// How far this phone trusts the host at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Unknown,
    Asked,
    Given,
}

/// What the services of one connection share.
pub struct Host {
    pub streams: Arc<Streams>,
    pub rules: Rules,
    pub reboot: mpsc::Sender<()>,
}

impl Host {
    fn hear(self: &Arc<Self>, message: Message, banner: &str, may: bool, trust: &mut Trust) -> Result<(), WireError> {
        match message.command {
            Command::Connect if may => self.welcome(banner, trust),
            // Another key of the host: none is known. After its last one it sends its public key, which a person
            // would be shown.
            Command::Auth if message.first != SIGNATURE => {}
            Command::Connect | Command::Auth => {
                *trust = Trust::Asked;
                self.challenge();
            }
            Command::Open if *trust == Trust::Given => self.open(message.first, &message.data),
            Command::Open => return Err(WireError::Untrusted),
            Command::Okay | Command::Close | Command::Write => {
                if !self.streams.take(message) {
                    return Err(WireError::Credit);
                }
            }
        }
        Ok(())
    }

    fn welcome(self: &Arc<Self>, banner: &str, trust: &mut Trust) {
        *trust = Trust::Given;
        self.say(Command::Connect, VERSION, MAX_PAYLOAD, banner.to_owned());
    }

    fn challenge(self: &Arc<Self>) {
        let token: [u8; TOKEN_BYTES] = rand::random();
        self.say(Command::Auth, TOKEN, 0, token.to_vec());
    }

    fn say(self: &Arc<Self>, command: Command, first: u32, second: u32, data: impl Into<Bytes> + Send + 'static) {
        let host = self.clone();
        tokio::spawn(async move {
            host.streams.say(command, first, second, data).await;
        });
    }

    fn open(self: &Arc<Self>, remote: u32, name: &[u8]) {
        let host = self.clone();
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        tokio::spawn(async move {
            let service = Service::find(&name).await;
            match service {
                Some(service) => {
                    if let Some(stream) = host.streams.accept(remote).await {
                        return service.run(&host, stream).await;
                    }
                }
                None => eprintln!("adbd: no service {name:?}"),
            }
            host.streams.refuse(remote).await;
        });
    }
}
