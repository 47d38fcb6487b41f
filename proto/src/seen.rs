//! What a lab host sees, on the wire.

use seatrial_core::lab::seen::Seen;

use crate::convert::{ConvertError, at_most, invalid};
use crate::{MAX_EVIDENCE, v1};

/// A lab host tells of no more phones.
pub const MAX_SEEN: usize = 256;

#[must_use]
pub fn seen_to_wire(host: &str, seen: &[Seen]) -> v1::ReportSeenRequest {
    let device = |seen: &Seen| {
        let Seen { serial, usb_path, state, advice } = seen.clone();
        v1::SeenDevice { serial, usb_path, state, advice: advice.map(|advice| advice.to_string()) }
    };
    v1::ReportSeenRequest { host: host.to_owned(), devices: seen.iter().map(device).collect() }
}

/// The host, and what it sees.
pub fn seen_from_wire(wire: v1::ReportSeenRequest) -> Result<(String, Vec<Seen>), ConvertError> {
    let v1::ReportSeenRequest { host, devices } = wire;
    at_most("the name of the lab host", host.len(), MAX_EVIDENCE)?;
    at_most("the number of phones", devices.len(), MAX_SEEN)?;
    let seen = |device| {
        let v1::SeenDevice { serial, usb_path, state, advice } = device;
        for text in [Some(&serial), usb_path.as_ref(), Some(&state)].into_iter().flatten() {
            at_most("a field of a phone", text.len(), MAX_EVIDENCE)?;
        }
        let advice = advice.map(|code| code.parse()).transpose().map_err(invalid("the advice"))?;
        Ok(Seen { serial, usb_path, state, advice })
    };
    Ok((host, devices.into_iter().map(seen).collect::<Result<_, ConvertError>>()?))
}

#[cfg(test)]
mod tests {
    use seatrial_core::lab::seen::Advice;

    use super::*;

    fn phone() -> Seen {
        let (serial, state) = ("0123456789ABCDEF".to_owned(), "unauthorized".to_owned());
        Seen { serial, usb_path: Some("usb:1-4.2".to_owned()), state, advice: Some(Advice::Accept) }
    }

    #[test]
    fn what_is_seen_comes_through_as_it_was() {
        let seen = [phone(), Seen { usb_path: None, advice: None, ..phone() }];
        let wire = seen_to_wire("bench", &seen);
        assert_eq!(seen_from_wire(wire).unwrap(), ("bench".to_owned(), seen.to_vec()));
    }

    #[test]
    fn what_is_over_a_bound_or_unknown_is_refused() {
        let many = vec![phone(); MAX_SEEN + 1];
        assert!(seen_from_wire(seen_to_wire("bench", &many)).unwrap_err().to_string().contains("257"));
        let long = Seen { serial: "x".repeat(MAX_EVIDENCE + 1), ..phone() };
        seen_from_wire(seen_to_wire("bench", &[long])).unwrap_err();
        seen_from_wire(seen_to_wire(&"x".repeat(MAX_EVIDENCE + 1), &[])).unwrap_err();
        let mut unknown = seen_to_wire("bench", &[phone()]);
        unknown.devices[0].advice = Some("pray".to_owned());
        assert!(seen_from_wire(unknown).unwrap_err().to_string().contains("pray"));
    }
}
