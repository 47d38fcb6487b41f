//! Wireless debugging, where an operator has switched it on. It is never switched on from here.
//!
//! `adb_client` could do this too, but runs `adb start-server` before every such call.

use crate::failure::LinkError;
use crate::limits::Limits;
use crate::server::AdbServer;

/// What became of a connection to a phone by TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connected {
    New,
    /// Also said of a link whose other end has died: if its state is not `device`, disconnect and connect again.
    Already,
    /// Its user has not accepted this computer yet, and may.
    NotYetAccepted,
    /// In the server's words.
    Failed(String),
}

impl Connected {
    fn of(answer: &str) -> Self {
        if answer.starts_with("connected to") {
            Self::New
        } else if answer.starts_with("already connected") {
            Self::Already
        } else if answer.starts_with("failed to authenticate") {
            Self::NotYetAccepted
        } else {
            Self::Failed(answer.to_owned())
        }
    }
}

impl AdbServer {
    /// Has the server connect to a phone at `host:port`.
    pub async fn connect(&self, address: &str, limits: &Limits) -> Result<Connected, LinkError> {
        let answer = self.query(&format!("host:connect:{address}"), &format!("connecting {address}"), limits).await?;
        Ok(Connected::of(&answer))
    }

    /// Has the server drop a phone at `host:port`.
    pub async fn disconnect(&self, address: &str, limits: &Limits) -> Result<(), LinkError> {
        self.query(&format!("host:disconnect:{address}"), &format!("disconnecting {address}"), limits).await.map(drop)
    }

    /// Pairs with a phone that shows this code; its answer, and whether it is paired. Servers from version 30 on.
    pub async fn pair(&self, address: &str, code: &str, limits: &Limits) -> Result<(bool, String), LinkError> {
        let answer = self.query(&format!("host:pair:{code}:{address}"), &format!("pairing {address}"), limits).await?;
        Ok((answer.starts_with("Successfully paired"), answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_that_may_still_be_accepted_is_no_failure() {
        assert_eq!(Connected::of("failed to authenticate to 10.0.0.7:5555"), Connected::NotYetAccepted);
        assert_eq!(Connected::of("connected to 10.0.0.7:5555"), Connected::New);
        assert_eq!(Connected::of("already connected to 10.0.0.7:5555"), Connected::Already);
        let refused = "failed to connect to '127.0.0.1:1': Connection refused";
        assert_eq!(Connected::of(refused), Connected::Failed(refused.to_owned()));
    }
}
