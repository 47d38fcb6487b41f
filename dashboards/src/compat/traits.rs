//! What devices are grouped and filtered by.

use seatrial_core::device::Profile;
use seatrial_core::reading::Reading;
use seatrial_core::store::DeviceRow;
use serde::Serialize;

/// Traits of a device, each with the reason of its absence.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Traits {
    pub brand: Reading<String>,
    /// Without its version.
    pub rom: Reading<String>,
    pub rom_version: Reading<String>,
    pub soc: Reading<String>,
    pub gpu_family: Reading<String>,
    pub gpu: Reading<String>,
    pub driver: Reading<String>,
    pub android: Reading<String>,
    pub abi: String,
    pub simulated: bool,
}

impl Traits {
    pub(crate) fn of(row: &DeviceRow) -> Self {
        let profile = &row.profile;
        let Some(findings) = &profile.findings else { return Self::plain(profile) };
        let rom = findings.rom.clone().map(|found| found.value);
        let plain = Self::plain(profile);
        let or = |found: Reading<String>, plain: Reading<String>| match found {
            Reading::Present(_) => found,
            Reading::Absent(_) => plain,
        };
        let driver = match findings.gpu_driver.clone() {
            Reading::Present(found) => found.value.build,
            Reading::Absent(why) => Reading::Absent(why),
        };
        Self {
            brand: or(findings.naming.brand.clone().map(|found| found.value), plain.brand),
            rom_version: match &rom {
                Reading::Present(rom) => rom.version.clone(),
                Reading::Absent(why) => Reading::Absent(why.clone()),
            },
            rom: or(rom.map(|rom| rom.name), plain.rom),
            gpu_family: or(findings.gpu.clone().map(|found| found.value.family), plain.gpu_family),
            driver: or(driver, plain.driver),
            android: or(findings.android_release.clone().map(|found| found.value), plain.android),
            ..Self::plain(profile)
        }
    }

    /// Of a device that has told no evidence: what its profile says, taken apart as far as that is sure.
    fn plain(profile: &Profile) -> Self {
        let first = |reading: &Reading<String>| {
            reading.clone().map(|text| text.split_whitespace().next().unwrap_or_default().to_owned())
        };
        Self {
            brand: profile.brand.clone(),
            rom: profile.os.clone().map(|os| name_of_system(&os)),
            rom_version: Reading::absent("not told apart from the system's name"),
            soc: profile.soc.clone(),
            gpu_family: first(&profile.gpu).map(|name| name.split('-').next().unwrap_or_default().to_owned()),
            gpu: profile.gpu.clone(),
            driver: profile.gpu_driver.clone(),
            android: Reading::absent("not an Android, or it does not tell"),
            abi: profile.abi.clone(),
            simulated: profile.simulated,
        }
    }

    /// Of a device that is no longer in the fleet.
    pub(crate) fn unknown() -> Self {
        let gone = || Reading::absent("the device is no longer in the fleet");
        Self {
            brand: gone(),
            rom: gone(),
            rom_version: gone(),
            soc: gone(),
            gpu_family: gone(),
            gpu: gone(),
            driver: gone(),
            android: gone(),
            abi: String::new(),
            simulated: false,
        }
    }
}

/// `HyperOS` of `HyperOS 2.0.112`, `Debian GNU/Linux` of `Debian GNU/Linux 12`.
fn name_of_system(os: &str) -> String {
    let words = os.split_whitespace();
    let named: Vec<&str> =
        words.take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit() || c == '(')).collect();
    if named.is_empty() { os.to_owned() } else { named.join(" ") }
}

/// What columns are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Brand,
    Rom,
    Soc,
    Gpu,
}

impl By {
    pub(crate) const ALL: [Self; 4] = [Self::Gpu, Self::Soc, Self::Brand, Self::Rom];

    /// As the address spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Brand => "brand",
            Self::Rom => "rom",
            Self::Soc => "soc",
            Self::Gpu => "gpu",
        }
    }

    /// Key of its word.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Brand => "compat.brand",
            Self::Rom => "compat.rom",
            Self::Soc => "compat.soc",
            Self::Gpu => "compat.gpu",
        }
    }

    /// What addresses do not name is by GPU, as everywhere.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|by| Some(by.as_str()) == text).unwrap_or(Self::Gpu)
    }

    pub(crate) const fn of(self, traits: &Traits) -> &Reading<String> {
        match self {
            Self::Brand => &traits.brand,
            Self::Rom => &traits.rom,
            Self::Soc => &traits.soc,
            Self::Gpu => &traits.gpu_family,
        }
    }

    /// By which columns are sorted: unknown ones come last.
    pub(super) fn key(self, traits: &Traits) -> (bool, String) {
        match self.of(traits) {
            Reading::Present(text) => (false, text.clone()),
            Reading::Absent(_) => (true, String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_named_without_its_version() {
        for (os, name) in [
            ("HyperOS 2.0.112", "HyperOS"),
            ("Debian GNU/Linux 12 (bookworm)", "Debian GNU/Linux"),
            ("Android 14", "Android"),
            ("14", "14"),
        ] {
            assert_eq!(name_of_system(os), name);
        }
    }
}
