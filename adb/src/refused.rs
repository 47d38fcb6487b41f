//! What the adb server, or the daemon on the device, answers when it will not.

use crate::state::advice;

/// Classes of refusals: adb has no codes, only English texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    NoSuchDevice,
    Offline,
    Unauthorized,
    /// It asks its user, or the handshake goes on.
    Authorizing,
    NoPermissions,
    /// Several devices answer to this name.
    Ambiguous,
    /// The device closed the service: it does not offer it, or the link went in this moment.
    Closed,
    ProtocolFault,
    /// The server is too old for the request.
    UnknownService,
    /// A port or a rule that is there already.
    InUse,
    /// A rule that is not there.
    NoSuchRule,
    /// Refused here, before it was sent.
    NotSent,
    Other,
}

impl Refusal {
    /// Reads a text of adb, versions 29 to 36.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let has = |part: &str| lower.contains(part);
        if has("still authorizing") || has("still connecting") {
            Self::Authorizing
        } else if has("device unauthorized") || has("failed to authenticate") {
            Self::Unauthorized
        } else if has("no permissions") || has("insufficient permissions") {
            Self::NoPermissions
        } else if has("device offline") {
            Self::Offline
        } else if has("more than one") {
            Self::Ambiguous
        } else if has("listener") && has("not found") {
            Self::NoSuchRule
        } else if has("cannot rebind") || has("address already in use") {
            Self::InUse
        } else if (has("device") && has("not found")) || has("no device") || has("no such device") {
            Self::NoSuchDevice
        } else if has("unknown host service") {
            Self::UnknownService
        } else if has("protocol fault") {
            Self::ProtocolFault
        } else if lower.trim() == "closed" {
            Self::Closed
        } else {
            Self::Other
        }
    }

    /// Whether it may pass with nobody's help.
    pub const fn passes(self) -> bool {
        match self {
            Self::NoSuchDevice | Self::Offline | Self::Authorizing | Self::Closed | Self::ProtocolFault => true,
            Self::Unauthorized
            | Self::NoPermissions
            | Self::Ambiguous
            | Self::UnknownService
            | Self::InUse
            | Self::NoSuchRule
            | Self::NotSent
            | Self::Other => false,
        }
    }

    /// What an operator must do; nothing where the text says it all.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::NoSuchDevice => Some("plug the phone in, switch it on, and look whether `adb devices` lists it"),
            Self::Offline => Some(advice::OFFLINE),
            Self::Unauthorized => Some(advice::UNAUTHORIZED),
            Self::Authorizing => Some(advice::PASSES),
            Self::NoPermissions => Some(advice::NO_PERMISSIONS),
            Self::Ambiguous => Some("several phones share this serial: address each by its transport id"),
            Self::Closed => Some("the device does not offer this, or its link went in this moment: try again"),
            Self::ProtocolFault => Some("the link is disturbed: try another cable and port; pin one version of adb"),
            Self::UnknownService => Some("the adb server is too old for this: install a newer adb"),
            Self::InUse => Some("choose another port, or let it be chosen (port 0)"),
            Self::NoSuchRule | Self::NotSent | Self::Other => None,
        }
    }
}

/// A refusal: its class, and what was said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {text}{}{}", if self.kind.advice().is_some() { "; " } else { "" }, self.kind.advice().unwrap_or_default())]
pub struct Refused {
    pub kind: Refusal,
    pub text: String,
}

impl Refused {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind: Refusal::of(&text), text }
    }

    pub(crate) fn before_sending(text: impl Into<String>) -> Self {
        Self { kind: Refusal::NotSent, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_of_adb_has_its_class_and_tells_the_operator_what_to_do() {
        let unauthorized = "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\nTry 'adb kill-server' if \
                            that seems wrong.\nOtherwise check for a confirmation dialog on your device.";
        let texts = [
            ("device 'R58M12345' not found", Refusal::NoSuchDevice),
            ("no device with transport id '9'", Refusal::NoSuchDevice),
            ("no devices/emulators found", Refusal::NoSuchDevice),
            ("no such device '192.168.1.7:5555'", Refusal::NoSuchDevice),
            ("device offline", Refusal::Offline),
            ("device offline (no transport)", Refusal::Offline),
            (unauthorized, Refusal::Unauthorized),
            ("failed to authenticate to 192.168.1.7:5555", Refusal::Unauthorized),
            ("device still authorizing", Refusal::Authorizing),
            ("device still connecting", Refusal::Authorizing),
            (
                "insufficient permissions for device: user in plugdev group; are your udev rules wrong?",
                Refusal::NoPermissions,
            ),
            ("more than one device/emulator", Refusal::Ambiguous),
            ("more than one device with serial '0123456789ABCDEF'", Refusal::Ambiguous),
            ("closed", Refusal::Closed),
            ("protocol fault (couldn't read status)", Refusal::ProtocolFault),
            ("unknown host service", Refusal::UnknownService),
            ("cannot bind listener: Address already in use", Refusal::InUse),
            ("cannot rebind existing socket", Refusal::InUse),
        ];
        for (text, kind) in texts {
            let refused = Refused::new(text);
            assert_eq!(refused.kind, kind, "{text}");
            let shown = refused.to_string();
            assert!(shown.contains(text) && shown.contains(kind.advice().unwrap()), "{shown}");
        }
        assert_eq!(Refused::new("listener 'tcp:7999' not found").kind, Refusal::NoSuchRule);
        let other = Refused::new("secure_mkdirs failed: Read-only file system");
        assert_eq!((other.kind, other.to_string()), (Refusal::Other, format!("refused: {}", other.text)));
    }

    #[test]
    fn what_needs_a_person_is_not_tried_again() {
        assert!(Refusal::Offline.passes() && Refusal::Authorizing.passes());
        assert!(!Refusal::Unauthorized.passes() && !Refusal::NoPermissions.passes());
    }
}
