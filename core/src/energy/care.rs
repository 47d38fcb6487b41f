//! What a battery's age and state say about leaving it in a rack: packs that are held warm and full swell, and are
//! replaced before they do.

use super::record::Pack;
use super::source::BatteryReading;
use crate::reason::{Code, Reason};

/// Below this share of what it held when new, a pack is at the end of its life: what makers warrant.
const LEAST_SHARE: f64 = 0.80;
/// From so many full cycles on: what makers of phones state their packs last.
const MOST_CYCLES: u32 = 800;
/// A pack is not kept warmer, in °C.
const WARMEST_C: f64 = 45.0;
/// Words of the kernel for a pack that is sick.
const SICK: [&str; 4] = ["Dead", "Over voltage", "Unspecified failure", "Overheat"];

/// Why a pack may swell, in words and numbers; empty when nothing says so.
#[must_use]
pub fn swelling_risk(pack: &Pack, reading: &BatteryReading) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(share) = pack.health_share().filter(|&share| share < LEAST_SHARE) {
        let told = [share, LEAST_SHARE].map(|share| format!("{:.0}", share * 100.0));
        reasons.push(Reason::new(Code::PackWorn, &[("share", &told[0]), ("least", &told[1])]));
    }
    if let Some(cycles) = pack.cycles.present().filter(|&&cycles| cycles >= MOST_CYCLES) {
        reasons.push(Reason::new(Code::PackCycled, &[("cycles", cycles), ("most", &MOST_CYCLES)]));
    }
    if let Some(word) = pack.health.present().filter(|word| SICK.contains(&word.as_str())) {
        reasons.push(Reason::new(Code::PackSick, &[("word", word)]));
    }
    if let Some(celsius) = reading.temperature_c.filter(|&celsius| celsius >= WARMEST_C) {
        let told = [celsius, WARMEST_C].map(|celsius| format!("{celsius:.0}"));
        reasons.push(Reason::new(Code::PackWarm, &[("celsius", &told[0]), ("limit", &told[1])]));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Reading;

    fn pack(full_uah: u64, cycles: u32, health: &str) -> Pack {
        Pack {
            design_uah: Reading::Present(5_000_000),
            full_uah: Reading::Present(full_uah),
            cycles: Reading::Present(cycles),
            health: Reading::Present(health.to_owned()),
            ..Pack::none("not told")
        }
    }

    fn codes(pack: &Pack, celsius: Option<f64>) -> Vec<Option<Code>> {
        let reading = BatteryReading { temperature_c: celsius, ..BatteryReading::default() };
        swelling_risk(pack, &reading).iter().map(Reason::code).collect()
    }

    #[test]
    fn a_worn_a_cycled_a_sick_and_a_warm_pack_are_each_a_risk() {
        assert!(codes(&pack(4_600_000, 210, "Good"), Some(31.0)).is_empty());
        assert_eq!(codes(&pack(3_900_000, 210, "Good"), None), [Some(Code::PackWorn)]);
        assert_eq!(codes(&pack(4_600_000, 800, "Good"), None), [Some(Code::PackCycled)]);
        assert_eq!(
            codes(&pack(4_600_000, 210, "Over voltage"), Some(45.0)),
            [Some(Code::PackSick), Some(Code::PackWarm)]
        );
    }

    #[test]
    fn what_a_phone_does_not_tell_is_no_risk_and_no_health() {
        assert!(codes(&Pack::none("not told"), None).is_empty());
    }
}
