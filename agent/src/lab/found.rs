//! What a phone told of itself.

use seatrial_core::lab::abi::{Told, agents_for};
use seatrial_core::runtimes::Abi;

/// What `scripts::identify` gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub boot_id: String,
    /// Android has started up, or this is none.
    pub is_up: bool,
    /// ABIs of agents that run there, best first.
    pub abis: Vec<Abi>,
    /// Of the hardware, as Android tells it.
    pub serial: Option<String>,
    /// The agent there has a token of its own.
    pub is_enrolled: bool,
    /// The phone's port of an earlier tunnel.
    pub port: Option<u16>,
    /// What was begun there last.
    pub program: String,
}

impl Found {
    /// `None` when it is no answer of the script.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut found = Self { is_up: true, ..Self::default() };
        let mut told = Told::default();
        for line in text.lines() {
            let (key, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            match key {
                "boot" => value.clone_into(&mut found.boot_id),
                "completed" => found.is_up = value == "1",
                "abis" => told.abi_list = value.split(',').filter(|abi| !abi.is_empty()).map(str::to_owned).collect(),
                "serial" => found.serial = Some(value.to_owned()).filter(|serial| is_serial(serial)),
                "machine" => value.clone_into(&mut told.machine),
                "loader" => told.loaders.push(value.to_owned()),
                "enrolled" => found.is_enrolled = true,
                "port" => found.port = value.parse().ok(),
                "program" => value.clone_into(&mut found.program),
                _ => {} // what a login shell prints of its own
            }
        }
        found.abis = agents_for(&told);
        (!found.boot_id.is_empty()).then_some(found)
    }
}

/// What phones without a serial give instead.
fn is_serial(text: &str) -> bool {
    !text.is_empty() && text != "unknown" && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_that_tells_everything_is_read() {
        let text = "boot 0a1b\r\ncompleted 1\r\nabis arm64-v8a,armeabi-v7a\r\nserial 1a2b\r\nmachine aarch64\r\n\
                    loader /system/bin/linker64\r\nenrolled\r\nport 40123\r\nprogram /x/y run --via 127.0.0.1:1\r\n";
        let found = Found::parse(text).unwrap();
        assert_eq!((found.boot_id.as_str(), found.is_up, found.is_enrolled), ("0a1b", true, true));
        assert_eq!(found.abis[0].to_string(), "aarch64-linux-android");
        assert_eq!((found.serial.as_deref(), found.port), (Some("1a2b"), Some(40123)));
        assert_eq!(found.program, "/x/y run --via 127.0.0.1:1");
    }

    #[test]
    fn what_is_not_told_is_not_there_and_a_board_is_up_by_answering() {
        let found = Found::parse("boot b\nmachine x86_64\nport\nprogram\n").unwrap();
        assert_eq!((found.is_up, found.serial, found.port), (true, None, None));
        let starting = Found::parse("boot b\ncompleted\nserial 0000000\n").unwrap();
        assert_eq!((starting.is_up, starting.serial), (false, None), "Android tells nothing until it is up");
        assert_eq!(Found::parse("boot\n"), None);
        assert_eq!(Found::parse("sh: syntax error"), None);
    }
}
