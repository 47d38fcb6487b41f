//! What tells this device from another.

use seatrial_core::reading::Reading;

use super::files::{Files, first};

pub(super) fn machine_id(files: &Files) -> Reading<String> {
    let id = first([files.text("etc/machine-id"), files.text("var/lib/dbus/machine-id")], "");
    match id {
        Reading::Present(id) if id.is_empty() || id == "uninitialized" => Reading::absent("the machine id is empty"),
        reading @ (Reading::Present(_) | Reading::Absent(_)) => reading,
    }
}

pub(super) fn hardware_serial(files: &Files) -> Reading<String> {
    let tree = files.text("proc/device-tree/serial-number");
    let soc = files.text("sys/devices/soc0/serial_number");
    let firmware = files.text("sys/class/dmi/id/product_serial");
    let serial = first([tree, soc, firmware], "");
    match serial {
        Reading::Present(serial) if is_placeholder(&serial) => {
            Reading::Absent(format!("the firmware holds {serial:?}, which is no serial"))
        }
        reading @ (Reading::Present(_) | Reading::Absent(_)) => reading,
    }
}

fn is_placeholder(serial: &str) -> bool {
    serial.is_empty()
        || serial.bytes().all(|byte| byte == b'0')
        || matches!(
            serial.to_ascii_lowercase().as_str(),
            "none" | "default string" | "to be filled by o.e.m." | "not specified"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_identify_nobody() {
        for text in ["", "0000000000000000", "None", "To Be Filled By O.E.M."] {
            assert!(is_placeholder(text), "{text:?}");
        }
        assert!(!is_placeholder("1ab2c3d4e5f60718"));
    }
}
