//! One connection to the adb server, and its text protocol: `hex4 length, text`; answers `OKAY` or `FAIL hex4 text`.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::failure::{Failure, Phase};
use crate::limits::Place;
use crate::refused::Refused;

/// What four hexadecimal digits can announce.
const MAX_REQUEST: usize = 0xffff;

pub(crate) struct Wire {
    pub stream: TcpStream,
    pub place: Place,
}

impl Wire {
    pub async fn connect(address: &str, place: &Place) -> Result<Self, Failure> {
        place.enter(Phase::Connect);
        let lost = |error: std::io::Error| place.lost(&format!("{address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        Ok(Self { stream, place: place.clone() })
    }

    /// Sends a request and reads whether it is taken.
    pub async fn ask(&mut self, phase: Phase, request: &str) -> Result<(), Failure> {
        self.place.enter(phase);
        if request.contains('\0') || request.len() > MAX_REQUEST {
            let why = "a request must be shorter than 64 KiB and hold no NUL, which would end it early";
            return Err(Refused::before_sending(why).into());
        }
        let message = format!("{:04x}{request}", request.len());
        self.stream.write_all(message.as_bytes()).await.map_err(|error| self.place.lost(&error))?;
        self.status().await
    }

    /// The next `OKAY`, or what was said instead.
    pub async fn status(&mut self) -> Result<(), Failure> {
        match &self.exactly::<4>().await? {
            b"OKAY" => Ok(()),
            b"FAIL" => Err(Refused::new(self.text().await?).into()),
            other => Err(self.place.lost(&format!("neither OKAY nor FAIL but {:?}", String::from_utf8_lossy(other)))),
        }
    }

    /// A text with its length before it.
    pub async fn text(&mut self) -> Result<String, Failure> {
        let length = length(self.exactly().await?).map_err(|why| self.place.lost(&why))?;
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text).await.map_err(|error| self.place.lost(&error))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).await.map_err(|error| self.place.lost(&error))?;
        Ok(bytes)
    }
}

/// Four hexadecimal digits.
pub(crate) fn length(digits: [u8; 4]) -> Result<usize, String> {
    let fault = || format!("{:?} is no length", String::from_utf8_lossy(&digits));
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(fault());
    }
    let text = std::str::from_utf8(&digits).map_err(|_| fault())?;
    usize::from_str_radix(text, 16).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_four_hexadecimal_digits_and_nothing_else() {
        assert_eq!(length(*b"00e7"), Ok(231));
        assert_eq!(length(*b"FFFF"), Ok(65535));
        for not in [b"+0e7", b"0x10", b"OKAY", b"\xff000"] {
            length(*not).unwrap_err();
        }
    }
}
