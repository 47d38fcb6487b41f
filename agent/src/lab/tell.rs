//! What an operator hears of a phone.

use seatrial_adb::{Listed, State};
use seatrial_core::lab::phone::Link;
use seatrial_core::lab::seen::{Advice, Seen};

/// What the adb server's word for a phone means, and what is to be done about it.
pub(super) fn meaning(state: &State) -> (Link, Option<Advice>) {
    match state {
        State::Device => (Link::Usable, None),
        State::Offline => (Link::Passing, Some(Advice::Replug)),
        State::Authorizing | State::Connecting => (Link::Passing, Some(Advice::WaitForIt)),
        State::Unauthorized => (Link::Unusable, Some(Advice::Accept)),
        State::NoPermissions(_) => (Link::Unusable, Some(Advice::Permit)),
        State::Bootloader | State::Recovery | State::Rescue | State::Sideload => {
            (Link::Unusable, Some(Advice::StartAndroid))
        }
        State::Host => (Link::Unusable, Some(Advice::LeaveAlone)),
        State::Detached => (Link::Unusable, Some(Advice::FreeIt)),
        State::Unknown(_) => (Link::Unusable, Some(Advice::LookAtAdb)),
    }
}

/// A phone in the list of the adb server.
pub(super) fn seen(listed: &Listed) -> Seen {
    let (_, advice) = meaning(&listed.state);
    Seen { serial: listed.serial.clone(), usb_path: listed.usb.clone(), state: listed.state.to_string(), advice }
}

/// One line on the terminal.
pub(super) fn line(seen: &Seen) {
    let Seen { serial, usb_path, state, advice } = seen;
    let at = usb_path.as_deref().unwrap_or("-");
    match advice {
        None => tracing::info!(serial, at, state, "seen"),
        Some(advice) => tracing::warn!(serial, at, state, code = %advice, "not usable: {}", advice.text()),
    }
}

#[cfg(test)]
mod tests {
    use seatrial_adb::parse_listing;

    use super::*;

    #[test]
    fn a_phone_that_needs_somebody_says_what_is_to_be_done_and_one_that_does_not_says_nothing() {
        let list = parse_listing(
            "a device transport_id:1\nb unauthorized usb:1-2 transport_id:2\n\
             c no permissions (user in plugdev group; are your udev rules wrong?) usb:1-3 transport_id:3\n\
             d offline transport_id:4\ne recovery transport_id:5\nf asleep transport_id:6",
        );
        let advice: Vec<Option<Advice>> = list.iter().map(|listed| seen(listed).advice).collect();
        let expected = [
            None,
            Some(Advice::Accept),
            Some(Advice::Permit),
            Some(Advice::Replug),
            Some(Advice::StartAndroid),
            Some(Advice::LookAtAdb),
        ];
        assert_eq!(advice, expected);
        assert_eq!(seen(&list[1]).usb_path.as_deref(), Some("usb:1-2"));
        assert_eq!(meaning(&list[3].state).0, Link::Passing, "it may pass with nobody's help");
    }
}
