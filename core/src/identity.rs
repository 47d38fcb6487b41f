//! Which known device an agent speaks for, and what a new one is called.

use crate::device::{Evidence, Profile};
use crate::ids::DeviceId;

/// A device and the evidence that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub device: DeviceId,
    pub evidence: Evidence,
}

/// The known device that was seen, if the evidence points to exactly one.
///
/// The agent's own id is decisive. After it the machine id, which copied system images share, and then the hardware
/// serial, which cheap phones share: either counts only for one device that no other strong evidence contradicts.
/// Where several are left, the USB path breaks the tie; alone it says nothing, since cables are moved.
#[must_use]
pub fn same_device(seen: &Evidence, known: &[Known]) -> Option<DeviceId> {
    if let Some(device) = known.iter().find(|known| agrees(seen.agent_id.as_ref(), known.evidence.agent_id.as_ref())) {
        return Some(device.device);
    }
    let by_machine = known.iter().filter(|known| {
        agrees(seen.machine_id.as_ref(), known.evidence.machine_id.as_ref())
            && !contradicts(seen.hardware_serial.as_ref(), known.evidence.hardware_serial.as_ref())
    });
    let by_serial = known.iter().filter(|known| {
        agrees(seen.hardware_serial.as_ref(), known.evidence.hardware_serial.as_ref())
            && !contradicts(seen.machine_id.as_ref(), known.evidence.machine_id.as_ref())
    });
    only_one(seen, &by_machine.collect::<Vec<_>>()).or_else(|| only_one(seen, &by_serial.collect::<Vec<_>>()))
}

fn agrees(seen: Option<&String>, known: Option<&String>) -> bool {
    seen.is_some() && seen == known
}

fn contradicts(seen: Option<&String>, known: Option<&String>) -> bool {
    seen.is_some() && known.is_some() && seen != known
}

fn only_one(seen: &Evidence, matching: &[&Known]) -> Option<DeviceId> {
    match matching {
        [one] => Some(one.device),
        several => {
            let mut here =
                several.iter().filter(|known| agrees(seen.usb_path.as_ref(), known.evidence.usb_path.as_ref()));
            let first = here.next()?;
            here.next().is_none().then_some(first.device)
        }
    }
}

/// What people call a device of this profile: a phone by brand and product, a host by its own name. A simulated phone is
/// called so wherever its name stands: nobody takes its numbers for those of the phone that it looks like.
#[must_use]
pub fn name_of(profile: &Profile) -> String {
    let is_phone = profile.android_api.present().is_some();
    let name = plain_name_of(profile, is_phone);
    if is_phone && profile.simulated { format!("{name} (simulated)") } else { name }
}

fn plain_name_of(profile: &Profile, is_phone: bool) -> String {
    let hostname = profile.hostname.present().map(|name| name.trim());
    if let Some(name) = hostname.filter(|name| !is_phone && !name.is_empty() && !is_everybodys(name)) {
        return name.to_owned();
    }
    let brand = profile.brand.present().map(|brand| brand.trim()).filter(|brand| !brand.is_empty());
    let product = profile.product.present().map(|product| product.trim()).filter(|product| !product.is_empty());
    match (brand, product) {
        (Some(brand), Some(product)) if product.to_lowercase().starts_with(&brand.to_lowercase()) => product.to_owned(),
        (Some(brand), Some(product)) => format!("{brand} {product}"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => format!("{} device", profile.abi),
    }
}

/// Names that systems have before anybody gave them one.
fn is_everybodys(hostname: &str) -> bool {
    ["localhost", "localhost.localdomain", "(none)"].contains(&hostname)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Reading;
    use crate::time::Timestamp;

    fn id(number: u8) -> DeviceId {
        DeviceId::new(Timestamp::from_micros(0), [number; 10])
    }

    fn evidence(agent: &str, machine: &str, serial: &str, usb: &str) -> Evidence {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Evidence {
            agent_id: some(agent),
            machine_id: some(machine),
            hardware_serial: some(serial),
            usb_path: some(usb),
        }
    }

    fn known(number: u8, agent: &str, machine: &str, serial: &str, usb: &str) -> Known {
        Known { device: id(number), evidence: evidence(agent, machine, serial, usb) }
    }

    #[test]
    fn a_host_goes_by_its_name_and_a_phone_by_what_it_is() {
        let mut profile = crate::placement::fixture::phone(1).profile;
        profile.hostname = Reading::Present("localhost".to_owned());
        let phone = name_of(&profile);
        profile.simulated = true;
        assert_eq!(name_of(&profile), format!("{phone} (simulated)"));
        profile.simulated = false;
        profile.hostname = Reading::Present("bench-7".to_owned());
        assert_eq!(name_of(&profile), phone);
        profile.android_api = Reading::absent("not an Android device");
        assert_eq!(name_of(&profile), "bench-7");
        for nobodys in ["localhost", "(none)", " "] {
            profile.hostname = Reading::Present(nobodys.to_owned());
            assert_eq!(name_of(&profile), phone, "{nobodys:?}");
        }
        profile.brand = Reading::absent("no firmware");
        profile.product = Reading::absent("no firmware");
        profile.hostname = Reading::absent("not told");
        assert_eq!(name_of(&profile), format!("{} device", profile.abi));
    }

    #[test]
    fn the_agents_own_id_beats_everything_else() {
        let fleet = [known(1, "a", "m1", "s1", ""), known(2, "b", "m2", "s2", "")];
        assert_eq!(same_device(&evidence("b", "m1", "s1", ""), &fleet), Some(id(2)));
    }

    #[test]
    fn a_wiped_phone_is_found_by_its_serial_wherever_it_is_plugged_in() {
        let fleet = [known(1, "a", "", "s1", "1-1")];
        assert_eq!(same_device(&evidence("", "", "s1", "1-4"), &fleet), Some(id(1)));
    }

    #[test]
    fn a_serial_that_two_phones_share_is_no_match_without_the_socket() {
        let fleet = [known(1, "a", "", "0123456789", "1-1"), known(2, "b", "", "0123456789", "1-2")];
        assert_eq!(same_device(&evidence("", "", "0123456789", ""), &fleet), None);
        assert_eq!(same_device(&evidence("", "", "0123456789", "1-3"), &fleet), None);
        assert_eq!(same_device(&evidence("", "", "0123456789", "1-2"), &fleet), Some(id(2)));
    }

    #[test]
    fn two_boards_from_one_image_stay_two_devices() {
        let fleet = [known(1, "", "image", "s1", "")];
        assert_eq!(same_device(&evidence("", "image", "s2", ""), &fleet), None);
        assert_eq!(same_device(&evidence("", "image", "s1", ""), &fleet), Some(id(1)));
        assert_eq!(
            same_device(&evidence("", "other", "s1", ""), &fleet),
            None,
            "the machine id contradicts the serial"
        );
    }

    #[test]
    fn a_socket_alone_identifies_nothing() {
        let fleet = [known(1, "", "", "", "1-1")];
        assert_eq!(same_device(&evidence("", "", "", "1-1"), &fleet), None);
        assert_eq!(same_device(&Evidence::default(), &fleet), None);
    }
}
