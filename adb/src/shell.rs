//! Commands over the server's connection: `shell,v2` with its packets, and a sentinel where a device has no such shell.

use rand::random;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use crate::capture::Captured;
use crate::failure::{Failure, Phase};
use crate::limits::Place;
use crate::quote::quote;
use crate::wire::Wire;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;
const CLOSE_STDIN: u8 = 4;
/// Of a packet to the device.
const CHUNK: usize = 32 << 10;

/// Runs a command on a wire that has selected its device; its exit status.
pub(crate) async fn run(
    mut wire: Wire,
    command: &str,
    stdin: &[u8],
    out: &mut Captured,
    err: &mut Captured,
) -> Result<u8, Failure> {
    wire.ask(Phase::Open, &format!("shell,v2,raw:{command}")).await?;
    let place = wire.place.clone();
    place.enter(Phase::Run);
    let (reader, mut writer) = wire.stream.split();
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let status = packets(&mut reader, &place, out, err);
    tokio::pin!(status);
    tokio::select! {
        biased;
        status = &mut status => return status,
        // A command may end without reading its input: what then fails here says nothing.
        _ = feed(&mut writer, stdin) => {}
    }
    status.await
}

async fn feed(writer: &mut (impl AsyncWrite + Unpin), stdin: &[u8]) -> std::io::Result<()> {
    for chunk in stdin.chunks(CHUNK) {
        writer.write_all(&packet(STDIN, chunk)).await?;
    }
    writer.write_all(&packet(CLOSE_STDIN, &[])).await
}

fn packet(id: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![id];
    packet.extend((data.len() as u32).to_le_bytes());
    packet.extend(data);
    packet
}

/// Reads packets until the one with the exit status; a stream that ends before it is a lost link.
async fn packets(
    reader: &mut BufReader<impl AsyncRead + Unpin>,
    place: &Place,
    out: &mut Captured,
    err: &mut Captured,
) -> Result<u8, Failure> {
    loop {
        let mut head = [0; 5];
        reader.read_exact(&mut head).await.map_err(|error| cut(place, &error))?;
        let [id, length @ ..] = head;
        let mut left = u32::from_le_bytes(length) as usize;
        let stream = match id {
            STDOUT => &mut *out,
            STDERR => &mut *err,
            EXIT if left == 1 => return reader.read_u8().await.map_err(|error| cut(place, &error)),
            _ => return Err(place.lost(&format!("packet {id} of {left} bytes is none of a shell"))),
        };
        while left > 0 {
            let chunk = reader.fill_buf().await.map_err(|error| cut(place, &error))?;
            if chunk.is_empty() {
                return Err(place.lost(&"the stream ended in the middle of a packet"));
            }
            let taken = chunk.len().min(left);
            stream.push(&chunk[..taken]);
            reader.consume(taken);
            left -= taken;
        }
    }
}

fn cut(place: &Place, error: &std::io::Error) -> Failure {
    place.lost(&format!("the stream ended before the command's exit status: {error}"))
}

/// As [`run`] for devices before Android 7: no exit status comes from them, so that the command's end is printed with a
/// word that nobody can guess. Both streams are one there, and a command can have no input.
pub(crate) async fn run_with_sentinel(mut wire: Wire, command: &str, out: &mut Captured) -> Result<u8, Failure> {
    let nonce = format!("@@{:032x}:", random::<u128>());
    // A command that kills its own shell must not kill the one that tells of it.
    let wrapped = format!("sh -c {} < /dev/null; printf '\\n{nonce}%s\\n' \"$?\"", quote(command));
    wire.ask(Phase::Open, &format!("exec:{wrapped}")).await?;
    wire.place.enter(Phase::Run);
    let mut end = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = wire.stream.read(&mut chunk).await.map_err(|error| cut(&wire.place, &error))?;
        if read == 0 {
            let (output, status) = split_sentinel(&end, &nonce);
            out.push(output);
            return status.ok_or_else(|| wire.place.lost(&"the stream ended before the command's exit status"));
        }
        end.extend_from_slice(&chunk[..read]);
        let done = end.len().saturating_sub(nonce.len() + MAX_AROUND_NONCE);
        out.push(&end[..done]);
        end.drain(..done);
    }
}

/// A line break before the nonce; three digits and a line break after it.
const MAX_AROUND_NONCE: usize = 5;

/// The end of a stream without the sentinel, and the status that it tells.
fn split_sentinel<'a>(end: &'a [u8], nonce: &str) -> (&'a [u8], Option<u8>) {
    let sentinel = || {
        let at = end.windows(nonce.len()).rposition(|window| window == nonce.as_bytes())?;
        let status = std::str::from_utf8(&end[at + nonce.len()..]).ok()?.strip_suffix('\n')?.parse().ok()?;
        Some((end[..at].strip_suffix(b"\n")?, status))
    };
    match sentinel() {
        Some((output, status)) => (output, Some(status)),
        None => (end, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Keep;

    const KEEP: Keep = Keep { head: 1 << 10, tail: 1 << 10 };

    pub fn read(bytes: &[u8]) -> (Result<u8, Failure>, Vec<u8>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut out, mut err) = (Captured::new(KEEP), Captured::new(KEEP));
        let mut reader = BufReader::with_capacity(7, bytes);
        let status = runtime.block_on(packets(&mut reader, &Place::new(), &mut out, &mut err));
        (status, out.bytes(), err.bytes())
    }

    #[test]
    fn packets_are_two_streams_and_a_status() {
        let stream =
            [packet(STDOUT, b"out"), packet(STDERR, b"err"), packet(STDOUT, b"put"), packet(EXIT, &[7])].concat();
        assert_eq!(read(&stream), (Ok(7), b"output".to_vec(), b"err".to_vec()));
    }

    #[test]
    fn a_stream_that_ends_before_the_status_is_a_lost_link_wherever_it_ends() {
        let stream = [packet(STDOUT, b"out"), packet(STDERR, b"err"), packet(EXIT, &[0])].concat();
        for end in 0..stream.len() {
            let (status, _, _) = read(&stream[..end]);
            assert!(matches!(status, Err(Failure::TransportLost { .. })), "{end}: {status:?}");
        }
        assert_eq!(read(&stream).0, Ok(0), "the control");
    }
}

#[cfg(test)]
mod fuzz {
    use proptest::prelude::*;

    use super::tests::read;
    use super::*;

    proptest! {
        #[test]
        fn no_noise_is_taken_for_a_success(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            if let (Ok(_), _, _) = read(&noise) {
                prop_assert!(noise.windows(5).any(|window| window == [EXIT, 1, 0, 0, 0]));
            }
        }

        #[test]
        fn a_sentinel_is_the_end_of_the_stream_or_there_is_none(
            output in prop::collection::vec(any::<u8>(), 0..40),
            status: u8,
        ) {
            let nonce = "@@0123:";
            let whole = [&output[..], format!("\n{nonce}{status}\n").as_bytes()].concat();
            prop_assert_eq!(split_sentinel(&whole, nonce), (&output[..], Some(status)));
            for end in 0..whole.len() {
                prop_assert_eq!(split_sentinel(&whole[..end], nonce).1, None);
            }
        }
    }
}
