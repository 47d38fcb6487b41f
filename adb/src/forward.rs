//! Tunnels. A rule that is there already is never replaced in silence.

use std::fmt;

use crate::failure::{Failure, Phase};
use crate::limits::Place;
use crate::link::Target;
use crate::server::AdbServer;

/// An end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A port of the loopback; 0 as the listening end lets it be chosen.
    Tcp(u16),
    /// The end of a reverse tunnel that the adb server's computer reaches under this `host:port`.
    Address(String),
    /// A socket in the abstract namespace of a device.
    LocalAbstract(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Address(address) => write!(f, "tcp:{address}"),
            Self::LocalAbstract(name) => write!(f, "localabstract:{name}"),
        }
    }
}

/// Which port listens, where it is one.
fn chosen(listen: &Endpoint, told: &str, place: &Place) -> Result<Option<u16>, Failure> {
    match listen {
        Endpoint::Tcp(0) => match told.parse() {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(place.lost(&format!("{told:?} is no port"))),
        },
        Endpoint::Tcp(port) => Ok(Some(*port)),
        Endpoint::Address(_) | Endpoint::LocalAbstract(_) => Ok(None),
    }
}

/// Listens on this computer for a device.
pub(crate) async fn forward(
    server: &AdbServer,
    target: &Target,
    listen: &Endpoint,
    to: &Endpoint,
    place: &Place,
) -> Result<Option<u16>, Failure> {
    let mut wire = server.connect_wire(place).await?;
    wire.ask(Phase::Select, &format!("{}:forward:norebind:{listen};{to}", target.prefix())).await?;
    wire.status().await?;
    let told = if *listen == Endpoint::Tcp(0) { wire.text().await? } else { String::new() };
    chosen(listen, &told, place)
}

pub(crate) async fn remove_forward(
    server: &AdbServer,
    target: &Target,
    listen: &Endpoint,
    place: &Place,
) -> Result<(), Failure> {
    let mut wire = server.connect_wire(place).await?;
    wire.ask(Phase::Select, &format!("{}:killforward:{listen}", target.prefix())).await?;
    wire.status().await
}

/// Listens on the device for this computer. The server's answer says that the device was asked; its own comes second.
pub(crate) async fn reverse(
    server: &AdbServer,
    target: &Target,
    listen: &Endpoint,
    to: &Endpoint,
    place: &Place,
) -> Result<Option<u16>, Failure> {
    let mut wire = target.select(server, place).await?;
    wire.ask(Phase::Open, &format!("reverse:forward:norebind:{listen};{to}")).await?;
    wire.status().await?;
    let told = if *listen == Endpoint::Tcp(0) { wire.text().await? } else { String::new() };
    chosen(listen, &told, place)
}

pub(crate) async fn remove_reverse(
    server: &AdbServer,
    target: &Target,
    listen: &Endpoint,
    place: &Place,
) -> Result<(), Failure> {
    let mut wire = target.select(server, place).await?;
    wire.ask(Phase::Open, &format!("reverse:killforward:{listen}")).await?;
    wire.status().await
}
