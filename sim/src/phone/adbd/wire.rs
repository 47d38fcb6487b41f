//! Messages of the adb transport: six little-endian words and a payload.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What both sides of today announce: from this version on nobody looks at the sum of a payload.
pub const VERSION: u32 = 0x0100_0001;
/// Bytes of one payload at most, as both sides announce it.
pub const MAX_PAYLOAD: u32 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Connect,
    Auth,
    Open,
    Okay,
    Close,
    Write,
}

impl Command {
    const ALL: [Self; 6] = [Self::Connect, Self::Auth, Self::Open, Self::Okay, Self::Close, Self::Write];

    const fn word(self) -> u32 {
        u32::from_le_bytes(match self {
            Self::Connect => *b"CNXN",
            Self::Auth => *b"AUTH",
            Self::Open => *b"OPEN",
            Self::Okay => *b"OKAY",
            Self::Close => *b"CLSE",
            Self::Write => *b"WRTE",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub command: Command,
    pub first: u32,
    pub second: u32,
    pub data: Bytes,
}

impl Message {
    pub fn new(command: Command, first: u32, second: u32, data: impl Into<Bytes>) -> Self {
        Self { command, first, second, data: data.into() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the link ended: {0}")]
    Link(#[from] std::io::Error),
    #[error("a message of kind {0:#010x}, which this daemon does not know")]
    Command(u32),
    #[error("a message whose header contradicts itself")]
    Magic,
    #[error("a payload of {0} bytes, more than was agreed")]
    TooLong(u32),
    #[error("a payload whose sum is not the one in its header")]
    Sum,
    #[error("more data of a stream before what came was acknowledged")]
    Credit,
    #[error("a stream was asked for by a host that is not authorized")]
    Untrusted,
}

/// The next message; `None` where the other side has hung up between two. `summed` asks for the sum of the payload.
pub async fn read(from: &mut (impl AsyncRead + Unpin), summed: bool) -> Result<Option<Message>, WireError> {
    let mut header = [0; 24];
    match from.read_exact(&mut header[..1]).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    from.read_exact(&mut header[1..]).await?;
    let mut words = [0; 6];
    for (word, bytes) in words.iter_mut().zip(header.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let [command, first, second, length, total, magic] = words;
    if magic != !command {
        return Err(WireError::Magic);
    }
    let known = Command::ALL.into_iter().find(|known| known.word() == command);
    let command = known.ok_or(WireError::Command(command))?;
    if length > MAX_PAYLOAD {
        return Err(WireError::TooLong(length));
    }
    let mut data = BytesMut::zeroed(length as usize);
    from.read_exact(&mut data).await?;
    if summed && sum(&data) != total {
        return Err(WireError::Sum);
    }
    Ok(Some(Message { command, first, second, data: data.freeze() }))
}

pub async fn write(to: &mut (impl AsyncWrite + Unpin), message: &Message, summed: bool) -> std::io::Result<()> {
    let Message { command, first, second, data } = message;
    let total = if summed { sum(data) } else { 0 };
    let words = [command.word(), *first, *second, data.len() as u32, total, !command.word()];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    to.write_all(&header).await?;
    to.write_all(data).await
}

fn sum(data: &[u8]) -> u32 {
    data.iter().fold(0, |total, &byte| total.wrapping_add(u32::from(byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn written(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        block_on(write(&mut bytes, message, true)).unwrap();
        bytes
    }

    fn read_back(bytes: &[u8]) -> Result<Option<Message>, WireError> {
        block_on(read(&mut &bytes[..], true))
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let message = Message::new(Command::Okay, 7, 9, &b"\x01\xff"[..]);
        assert_eq!(
            written(&message),
            b"OKAY\x07\0\0\0\x09\0\0\0\x02\0\0\0\x00\x01\0\0\xb0\xb4\xbe\xa6\x01\xff",
            "command, two arguments, length, sum, the command's complement, payload"
        );
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let message = written(&Message::new(Command::Write, 1, 2, &b"abc"[..]));
        let with = |at: usize, byte: u8| {
            let mut bytes = message.clone();
            bytes[at] = byte;
            read_back(&bytes)
        };
        assert!(matches!(with(0, b'X'), Err(WireError::Magic)));
        assert!(matches!(with(14, 0xff), Err(WireError::TooLong(_))), "no memory is taken for it");
        assert!(matches!(with(24, b'x'), Err(WireError::Sum)));
        assert!(matches!(read_back(&message[..20]), Err(WireError::Link(_))), "cut in the middle");
        assert!(matches!(read_back(&[]), Ok(None)), "hung up between two messages");
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(
            command in prop::sample::select(&Command::ALL),
            first: u32,
            second: u32,
            data in prop::collection::vec(any::<u8>(), 0..512),
        ) {
            let message = Message::new(command, first, second, data);
            prop_assert_eq!(read_back(&written(&message)).unwrap(), Some(message));
        }

        #[test]
        fn noise_never_makes_the_daemon_fall(noise in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = read_back(&noise);
        }
    }
}
