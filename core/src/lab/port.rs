//! Where a phone is plugged in: the port of a hub whose power can be switched.

/// A port of a hub, as `uhubctl` calls both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubPort {
    /// `1-4`: bus, then ports from the root on; the number of the bus alone is its root hub.
    pub hub: String,
    /// Counts from 1.
    pub port: u8,
}

/// Reads an adb server's word for a port on Linux: `usb:1-4.2` is port 2 of hub `1-4`, `usb:1-4` port 4 of bus 1.
#[must_use]
pub fn hub_port(usb: &str) -> Option<HubPort> {
    let path = usb.strip_prefix("usb:")?;
    let (hub, port) = path.rsplit_once('.').or_else(|| path.split_once('-'))?;
    let is_path = |text: &str| {
        !text.is_empty() && text.split(['-', '.']).all(|part| part.parse::<u8>().is_ok_and(|number| number > 0))
    };
    let port = port.parse().ok().filter(|&port: &u8| port > 0)?;
    is_path(hub).then(|| HubPort { hub: hub.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_the_last_number_of_its_path() {
        let of = |usb| hub_port(usb).map(|HubPort { hub, port }| (hub, port));
        assert_eq!(of("usb:1-4.2"), Some(("1-4".to_owned(), 2)));
        assert_eq!(of("usb:1-4.2.11"), Some(("1-4.2".to_owned(), 11)));
        assert_eq!(of("usb:2-3"), Some(("2".to_owned(), 3)));
    }

    #[test]
    fn what_is_no_port_of_linux_is_none() {
        for text in
            ["", "usb:", "usb:1", "usb:339738624X", "usb:1-0", "usb:1-4.x", "1-4.2", "usb:-4", "usb:1-4.;rm -rf /"]
        {
            assert_eq!(hub_port(text), None, "{text}");
        }
    }
}
