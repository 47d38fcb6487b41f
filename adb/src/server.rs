//! The adb server. It is never started and never killed from here: its phones are others' too.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::failure::{Cause, Failure, LinkError, Phase};
use crate::limits::{Limits, Place, within};
use crate::listing::{Listed, parse_listing};
use crate::wire::{Wire, length};

/// How often a server is asked beside what it tells by itself, and how long it may take to answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// Where an adb server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdbServer {
    address: String,
}

impl Default for AdbServer {
    fn default() -> Self {
        Self::at("127.0.0.1:5037")
    }
}

impl AdbServer {
    /// `host:port`, of any family and by any name.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The number of the server's own interface.
    pub async fn version(&self, limits: &Limits) -> Result<u32, LinkError> {
        let what = "asking for its version";
        let answer = self.query("host:version", what, limits).await?;
        u32::from_str_radix(&answer, 16).map_err(|_| self.failed(what, Cause::Device(format!("{answer:?} is none"))))
    }

    /// Every device that the server knows, whatever its state.
    pub async fn devices(&self, limits: &Limits) -> Result<Vec<Listed>, LinkError> {
        Ok(parse_listing(&self.query("host:devices-l", "listing devices", limits).await?))
    }

    /// The whole list now and after every change, an empty one too. `limits` are for the beginning.
    pub async fn track(&self, limits: &Limits) -> Result<Tracking, LinkError> {
        let place = Place::new();
        within(limits, &place, self.begin_tracking(&place))
            .await
            .map_err(|failure| self.failed("tracking devices", failure))
    }

    pub(crate) async fn begin_tracking(&self, place: &Place) -> Result<Tracking, Failure> {
        let mut wire = self.connect_wire(place).await?;
        wire.ask(Phase::Select, "host:track-devices-l").await?;
        Ok(Tracking { server: self.clone(), wire, read: Vec::new(), last: None, look_at: Instant::now() + LOOK_EVERY })
    }

    pub(crate) async fn connect_wire(&self, place: &Place) -> Result<Wire, Failure> {
        Wire::connect(&self.address, place).await
    }

    async fn look(&self) -> Result<Vec<Listed>, Failure> {
        let place = Place::new();
        let text = within(&Limits::within(LOOK_DEADLINE), &place, self.ask("host:devices-l", &place)).await?;
        Ok(parse_listing(&text))
    }

    /// A request to the server itself, answered by a text.
    async fn ask(&self, request: &str, place: &Place) -> Result<String, Failure> {
        let mut wire = self.connect_wire(place).await?;
        wire.ask(Phase::Select, request).await?;
        wire.text().await
    }

    fn failed(&self, what: &str, cause: impl Into<Cause>) -> LinkError {
        LinkError::of(&format!("the adb server at {}", self.address), what)(cause.into())
    }

    pub(crate) async fn query(&self, request: &str, what: &str, limits: &Limits) -> Result<String, LinkError> {
        let place = Place::new();
        within(limits, &place, self.ask(request, &place)).await.map_err(|failure| self.failed(what, failure))
    }
}

/// Lists of devices as they change.
pub struct Tracking {
    server: AdbServer,
    wire: Wire,
    /// Of a list that is not here as a whole yet.
    read: Vec<u8>,
    last: Option<Vec<Listed>>,
    look_at: Instant,
}

impl Tracking {
    /// The next list: the first at once, later ones when something has changed. It may be dropped while it waits.
    ///
    /// The server tells of phones that come and go, but not that one by TCP is now offline, so that it is asked too.
    pub async fn next(&mut self) -> Result<Vec<Listed>, Failure> {
        loop {
            let list = tokio::select! {
                biased;
                told = told(&mut self.wire, &mut self.read) => told?,
                () = tokio::time::sleep_until(self.look_at) => {
                    self.look_at = Instant::now() + LOOK_EVERY;
                    self.server.look().await?
                }
            };
            if self.last.as_ref() != Some(&list) {
                self.last = Some(list.clone());
                return Ok(list);
            }
        }
    }
}

async fn told(wire: &mut Wire, read: &mut Vec<u8>) -> Result<Vec<Listed>, Failure> {
    loop {
        if let Some((digits, rest)) = read.split_first_chunk::<4>() {
            let length = length(*digits).map_err(|why| wire.place.lost(&why))?;
            if rest.len() >= length {
                let list = parse_listing(&String::from_utf8_lossy(&rest[..length]));
                read.drain(..4 + length);
                return Ok(list);
            }
        }
        if wire.stream.read_buf(read).await.map_err(|error| wire.place.lost(&error))? == 0 {
            return Err(wire.place.lost(&"the adb server has ended"));
        }
    }
}
