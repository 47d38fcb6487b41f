//! Frames: a length of four bytes, little-endian, and a message of `runner.proto`. Bounded, whatever the length says.

use std::io::{self, Read, Write};

use prost::Message;
use seatrial_proto::MAX_RUNNER_FRAME;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("it ended in the middle of a frame")]
    Cut,
    #[error("standard output begins a frame with {0:?}, which is printed text: only frames belong there")]
    Text(String),
    #[error("it announced a frame of {0} bytes, and {MAX_RUNNER_FRAME} are the most")]
    TooLong(u32),
    #[error("a frame of it is no message: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("reading its output: {0}")]
    Io(#[from] io::Error),
}

/// The next message; `None` at the end. No more memory is taken than bytes come.
pub(super) fn read<M: Message + Default>(reader: &mut impl Read) -> Result<Option<M>, FrameError> {
    let mut head = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut head)?;
    let head: [u8; 4] = match head.len() {
        0 => return Ok(None),
        _ => head.try_into().map_err(|_| FrameError::Cut)?,
    };
    let length = u32::from_le_bytes(head);
    if length > MAX_RUNNER_FRAME {
        let printed = head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        let text = || String::from_utf8_lossy(&head).into_owned();
        return Err(if printed { FrameError::Text(text()) } else { FrameError::TooLong(length) });
    }
    let mut body = Vec::new();
    reader.by_ref().take(length.into()).read_to_end(&mut body)?;
    if body.len() < length as usize {
        return Err(FrameError::Cut);
    }
    Ok(Some(M::decode(body.as_slice())?))
}

/// Writes an encoded message, which must be within the bound.
pub(super) fn write(writer: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|&length| length <= MAX_RUNNER_FRAME);
    let length = length.ok_or_else(|| io::Error::other(format!("a frame of {} bytes is too long", body.len())))?;
    writer.write_all(&[&length.to_le_bytes(), body].concat())?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use seatrial_proto::v1;

    use super::*;

    fn hello() -> v1::FromRunner {
        let hello = v1::RunnerHello { runtime: "echo".into(), ..Default::default() };
        v1::FromRunner { id: 0, message: Some(v1::from_runner::Message::Hello(hello)) }
    }

    fn framed() -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, &hello().encode_to_vec()).unwrap();
        bytes
    }

    fn first(mut bytes: &[u8]) -> Result<Option<v1::FromRunner>, FrameError> {
        read(&mut bytes)
    }

    #[test]
    fn frames_come_back_as_they_went_and_then_there_is_an_end() {
        let two = [framed(), framed()].concat();
        let mut bytes = two.as_slice();
        for expected in [Some(hello()), Some(hello()), None] {
            assert_eq!(read::<v1::FromRunner>(&mut bytes).unwrap(), expected);
        }
    }

    #[test]
    fn a_frame_that_ends_early_is_cut_wherever_it_ends() {
        let bytes = framed();
        for end in 1..bytes.len() {
            assert!(matches!(first(&bytes[..end]), Err(FrameError::Cut)), "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_frame_is_told_from_one_that_is_too_long() {
        assert!(matches!(first(b"Loading model...\n"), Err(FrameError::Text(text)) if text == "Load"));
        assert!(matches!(first(&[0xff; 8]), Err(FrameError::TooLong(u32::MAX))));
        assert!(matches!(first(&[2, 0, 0, 0, 0xff, 0xff]), Err(FrameError::Message(_))));
        // A length within the bound takes no memory that does not come.
        assert!(matches!(first(&MAX_RUNNER_FRAME.to_le_bytes()), Err(FrameError::Cut)));
    }

    #[test]
    fn fields_and_messages_of_a_later_version_are_passed_over() {
        // Field 900 of the frame's message, a string.
        let later = [hello().encode_to_vec(), vec![0xa2, 0x38, 1, b'x']].concat();
        let mut bytes = Vec::new();
        write(&mut bytes, &later).unwrap();
        assert_eq!(first(&bytes).unwrap(), Some(hello()));
    }
}
