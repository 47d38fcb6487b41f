//! The server's list of devices.

use crate::state::State;

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listed {
    /// Cheap phones share serials; some have none, and adb then says `(no serial number)`.
    pub serial: String,
    pub state: State,
    /// Of this stay only: it changes with every reconnection.
    pub transport_id: Option<u64>,
    /// Where it is plugged in: `usb:1-4.2`.
    pub usb: Option<String>,
    pub product: Option<String>,
    pub model: Option<String>,
    pub device: Option<String>,
}

const NO_SERIAL: &str = "(no serial number)";

/// Reads what `devices-l` and `track-devices` give, of either length. Each line is one device, whatever else is in it.
#[must_use]
pub fn parse_listing(text: &str) -> Vec<Listed> {
    text.lines().filter(|line| !line.trim().is_empty()).map(parse_line).collect()
}

fn parse_line(line: &str) -> Listed {
    let line = line.trim_start();
    let (serial, rest) = if let Some(rest) = line.strip_prefix(NO_SERIAL) {
        (NO_SERIAL, rest)
    } else {
        line.split_once([' ', '\t']).unwrap_or((line, ""))
    };
    let mut listed = Listed {
        serial: serial.to_owned(),
        state: State::Device,
        transport_id: None,
        usb: None,
        product: None,
        model: None,
        device: None,
    };
    // Attributes follow the state, which may hold spaces and colons itself.
    let mut state = rest.trim();
    loop {
        let (before, word) = state.rsplit_once([' ', '\t']).unwrap_or(("", state));
        let Some((key, value)) = attribute(word) else { break };
        match key {
            "usb" => listed.usb = Some(word.to_owned()),
            "product" => listed.product = Some(value.to_owned()),
            "model" => listed.model = Some(value.to_owned()),
            "device" => listed.device = Some(value.to_owned()),
            "transport_id" => listed.transport_id = value.parse().ok(),
            _ => {} // of a newer server
        }
        state = before.trim_end();
    }
    listed.state = State::parse(state);
    listed
}

/// `key:value`, with a key of letters.
fn attribute(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once(':')?;
    (!key.is_empty() && key.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_')).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(serial: &str, state: State) -> Listed {
        let serial = serial.to_owned();
        Listed { serial, state, transport_id: None, usb: None, product: None, model: None, device: None }
    }

    #[test]
    fn a_list_of_mixed_states_is_read_line_by_line() {
        let text = "1a2b3c4d               device usb:1-4.2 product:fuxi model:2211133C device:fuxi transport_id:7\n\
                    127.0.0.1:6201         offline transport_id:12\n\
                    0123456789ABCDEF       unauthorized usb:1-1 transport_id:3\n\
                    0123456789ABCDEF       device usb:1-2 product:a model:b device:c transport_id:4\n\
                    (no serial number)     device usb:2-1 transport_id:5\n\
                    emulator-5554          half asleep transport_id:6 connection_type:socket\n";
        let found = parse_listing(text);
        let some = |text: &str| Some(text.to_owned());
        let fuxi = Listed {
            transport_id: Some(7),
            usb: some("usb:1-4.2"),
            product: some("fuxi"),
            model: some("2211133C"),
            device: some("fuxi"),
            ..listed("1a2b3c4d", State::Device)
        };
        assert_eq!(found[0], fuxi);
        assert_eq!(found[1], Listed { transport_id: Some(12), ..listed("127.0.0.1:6201", State::Offline) });
        assert_eq!((found[2].transport_id, &found[2].state), (Some(3), &State::Unauthorized));
        assert_eq!(found[2].serial, found[3].serial, "phones that share a serial are two");
        assert_eq!((found[4].serial.as_str(), &found[4].state), (NO_SERIAL, &State::Device));
        assert_eq!(found[5].state, State::Unknown("half asleep".to_owned()), "kept as text");
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn one_phone_without_permissions_or_in_an_unknown_state_does_not_hide_the_others() {
        let no_permissions = "no permissions (user in plugdev group; are your udev rules wrong?); see \
                              [http://developer.android.com/tools/device.html]";
        let short = format!("a\t{no_permissions}\nb\tdevice\nc\tzombie\n");
        let long = format!("a   {no_permissions} usb:1-3 transport_id:1\nb   device transport_id:2\nc   zombie\n");
        for text in [short, long] {
            let found = parse_listing(&text);
            assert_eq!(found.len(), 3);
            assert_eq!(found[0].state, State::NoPermissions(no_permissions.to_owned()));
            assert_eq!(found[1].state, State::Device);
            assert_eq!(found[2].state, State::Unknown("zombie".to_owned()));
        }
    }

    #[test]
    fn an_empty_list_is_no_device() {
        assert_eq!(parse_listing(""), []);
        assert_eq!(parse_listing("\n"), []);
    }
}

#[cfg(test)]
mod fuzz {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_line_is_a_device_whatever_it_holds(
            text in ".{0,200}",
            lines in prop::collection::vec("[ -~]{1,60}", 0..6),
        ) {
            prop_assert!(parse_listing(&text).len() <= text.lines().count());
            let written = lines.iter().filter(|line| !line.trim().is_empty()).count();
            prop_assert_eq!(parse_listing(&lines.join("\n")).len(), written);
        }
    }
}
