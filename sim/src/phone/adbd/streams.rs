//! Streams over one connection: one message of each may be on its way until it is acknowledged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::wire::{Command, Message};

/// Bytes that are sent in one message.
pub const CHUNK: usize = 64 << 10;
/// Streams that one connection may have open; the next is refused.
const MOST: usize = 256;

/// This side's end of a stream.
pub struct Stream {
    local: u32,
    remote: u32,
    arriving: mpsc::Receiver<Bytes>,
    credit: Arc<Semaphore>,
}

struct Open {
    arriving: mpsc::Sender<Bytes>,
    credit: Arc<Semaphore>,
    /// Where the other side's number goes when this side has asked for the stream.
    answer: Option<oneshot::Sender<u32>>,
}

/// All streams of a connection. What is asked of it after the connection has ended does nothing.
pub struct Streams {
    out: mpsc::Sender<Message>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u32,
    open: HashMap<u32, Open>,
    ended: bool,
}

impl Streams {
    pub fn new(out: mpsc::Sender<Message>) -> Self {
        Self { out, state: Mutex::default() }
    }

    /// Sends a message; false when the connection has ended.
    pub async fn say(&self, command: Command, first: u32, second: u32, data: impl Into<Bytes>) -> bool {
        self.out.send(Message::new(command, first, second, data)).await.is_ok()
    }

    /// Agrees to the stream that the other side asked for.
    pub async fn accept(&self, remote: u32) -> Option<Stream> {
        let (local, arriving, credit) = self.add(Some(1), None)?;
        self.say(Command::Okay, local, remote, Bytes::new()).await;
        Some(Stream { local, remote, arriving, credit })
    }

    pub async fn refuse(&self, remote: u32) {
        self.say(Command::Close, 0, remote, Bytes::new()).await;
    }

    /// Asks the other side for a stream to a service of its own; `None` when it refuses.
    pub async fn ask(&self, service: &str) -> Option<Stream> {
        let (answer, answered) = oneshot::channel();
        let (local, arriving, credit) = self.add(None, Some(answer))?;
        self.say(Command::Open, local, 0, format!("{service}\0")).await;
        let remote = answered.await.ok()?;
        Some(Stream { local, remote, arriving, credit })
    }

    /// Takes one message of a stream; false when it breaks the protocol.
    pub fn take(&self, message: Message) -> bool {
        let mut state = self.lock();
        match message.command {
            Command::Write => match state.open.get(&message.second) {
                Some(open) => !matches!(open.arriving.try_send(message.data), Err(mpsc::error::TrySendError::Full(_))),
                None => true,
            },
            Command::Okay => {
                if let Some(open) = state.open.get_mut(&message.second) {
                    if let Some(answer) = open.answer.take() {
                        // Whoever asked may have gone; the stream then has no reader and is closed by it.
                        let _ = answer.send(message.first);
                    }
                    open.credit.add_permits(1);
                }
                true
            }
            Command::Close => {
                state.close(message.second);
                true
            }
            Command::Connect | Command::Auth | Command::Open => false,
        }
    }

    /// The connection has ended, and every stream with it.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        for (_, open) in state.open.drain() {
            open.credit.close();
        }
    }

    /// Moves bytes between a stream and `local` until either side ends. What `local` has written before its end
    /// arrives; what arrived before the other side's end can still be read from a local pipe.
    pub async fn carry(&self, stream: Stream, local: impl AsyncRead + AsyncWrite) {
        let Stream { local: number, remote, mut arriving, credit } = stream;
        let (mut from, mut to) = tokio::io::split(local);
        let inward = async {
            while let Some(data) = arriving.recv().await {
                if to.write_all(&data).await.is_err() || to.flush().await.is_err() {
                    // The local side reads no more, and may still have something to say.
                    std::future::pending::<()>().await;
                }
                if !self.say(Command::Okay, number, remote, Bytes::new()).await {
                    return;
                }
            }
        };
        let outward = async {
            let mut buffer = vec![0; CHUNK];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let Ok(permit) = credit.acquire().await else { return };
                permit.forget();
                if !self.say(Command::Write, number, remote, buffer[..count].to_vec()).await {
                    return;
                }
            }
        };
        tokio::select! {
            () = inward => {}
            () = outward => {}
        }
        if self.lock().close(number) {
            self.say(Command::Close, number, remote, Bytes::new()).await;
        }
    }

    fn add(
        &self,
        credit: Option<usize>,
        answer: Option<oneshot::Sender<u32>>,
    ) -> Option<(u32, mpsc::Receiver<Bytes>, Arc<Semaphore>)> {
        let mut state = self.lock();
        if state.ended || state.open.len() >= MOST {
            return None;
        }
        state.last = state.last.wrapping_add(1).max(1);
        let local = state.last;
        let (sender, arriving) = mpsc::channel(1);
        let credit = Arc::new(Semaphore::new(credit.unwrap_or(0)));
        state.open.insert(local, Open { arriving: sender, credit: credit.clone(), answer });
        Some((local, arriving, credit))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// False when it was closed before.
    fn close(&mut self, local: u32) -> bool {
        let open = self.open.remove(&local);
        if let Some(open) = &open {
            open.credit.close();
        }
        open.is_some()
    }
}
