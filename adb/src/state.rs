//! The state of a device as the adb server tells it.

use std::fmt;

/// What the server says of a device. It is not liveness: a frozen phone stays `device`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Ready for commands.
    Device,
    Offline,
    Unauthorized,
    Authorizing,
    Connecting,
    Bootloader,
    Recovery,
    Rescue,
    Sideload,
    Host,
    Detached,
    /// This computer may not open the phone's USB node; what the server says of it.
    NoPermissions(String),
    /// A state that this version does not know, as text.
    Unknown(String),
}

impl State {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "device" => Self::Device,
            "offline" => Self::Offline,
            "unauthorized" => Self::Unauthorized,
            "authorizing" => Self::Authorizing,
            "connecting" => Self::Connecting,
            "bootloader" => Self::Bootloader,
            "recovery" => Self::Recovery,
            "rescue" => Self::Rescue,
            "sideload" => Self::Sideload,
            "host" => Self::Host,
            "detached" => Self::Detached,
            other if other.starts_with("no permissions") => Self::NoPermissions(other.to_owned()),
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// What an operator must do before the device can be used; nothing when it can.
    pub const fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Device => None,
            Self::Offline => Some(advice::OFFLINE),
            Self::Unauthorized => Some(advice::UNAUTHORIZED),
            Self::Authorizing | Self::Connecting => Some(advice::PASSES),
            Self::NoPermissions(_) => Some(advice::NO_PERMISSIONS),
            Self::Bootloader | Self::Recovery | Self::Rescue | Self::Sideload => Some(advice::NOT_IN_ANDROID),
            Self::Host => Some("this is a computer, no phone: leave it alone"),
            Self::Detached => Some("another program has taken the phone from the adb server: end it, or `adb attach`"),
            Self::Unknown(_) => {
                Some("this state is not known here: look at `adb devices -l` and at the phone's screen")
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::Offline => "offline",
            Self::Unauthorized => "unauthorized",
            Self::Authorizing => "authorizing",
            Self::Connecting => "connecting",
            Self::Bootloader => "bootloader",
            Self::Recovery => "recovery",
            Self::Rescue => "rescue",
            Self::Sideload => "sideload",
            Self::Host => "host",
            Self::Detached => "detached",
            Self::NoPermissions(text) | Self::Unknown(text) => text,
        })
    }
}

/// What to do, in the operator's words.
pub(crate) mod advice {
    pub const UNAUTHORIZED: &str = "unlock the phone and accept “Allow USB debugging?” with “Always allow from this \
         computer”; if nothing is asked, revoke USB debugging authorisations in its developer options and plug it in again";
    pub const NO_PERMISSIONS: &str = "the user of the adb server may not open the phone's USB node: install udev rules for \
         Android (Debian: android-sdk-platform-tools-common), add that user to the group plugdev, plug the phone in again, \
         then restart the adb server";
    pub const OFFLINE: &str = "wait half a minute; then plug the cable in again, or switch USB debugging off and on; by TCP: \
         `adb disconnect`, then `adb connect`";
    pub const PASSES: &str = "wait some seconds; if it stays so, look at the phone's screen for a question";
    pub const NOT_IN_ANDROID: &str = "restart the phone into Android";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_back_as_it_is_shown() {
        let words = ["device", "offline", "unauthorized", "authorizing", "connecting", "bootloader", "recovery"];
        let more = ["rescue", "sideload", "host", "detached", "no permissions; see [http://a/b]", "half-asleep", ""];
        for word in words.into_iter().chain(more) {
            let state = State::parse(word);
            assert_eq!(state.to_string(), word);
            assert_eq!(state.advice().is_none(), state == State::Device, "{word}");
        }
        assert_eq!(State::parse("half-asleep"), State::Unknown("half-asleep".to_owned()));
    }
}
