//! The findings in the words of a device's profile.

use super::{Fact, Findings, RULES_VERSION, RawEvidence, Rules, Standing, read};
use crate::device::Profile;
use crate::reading::Reading;

/// Reads the evidence of a profile again where older rules than these have read it; true when they have.
pub fn read_again(profile: &mut Profile, evidence: &RawEvidence, rules: &Rules) -> bool {
    let is_older = profile.findings.as_ref().is_none_or(|findings| findings.rules < RULES_VERSION);
    if is_older {
        read(evidence, rules).describe(profile);
    }
    is_older
}

impl Findings {
    /// Puts what the device tells into its profile, and keeps all findings there. What only a table says stays among
    /// the findings, where it is marked; what was not found leaves the profile as it is.
    pub fn describe(self, profile: &mut Profile) {
        let name = told(&self.naming.marketing_name).or_else(|| told(&self.naming.model));
        put(&mut profile.brand, told(&self.naming.brand));
        put(&mut profile.product, name);
        put(&mut profile.os, self.system());
        put(&mut profile.soc, told(&self.chip).and_then(|chip| chip.model.into_present()));
        put(&mut profile.gpu, told(&self.gpu).map(|gpu| gpu.model.into_present().unwrap_or(gpu.family)));
        put(
            &mut profile.gpu_driver,
            told(&self.gpu_driver).and_then(|driver| driver.build.into_present().or(driver.vulkan.into_present())),
        );
        put(&mut profile.android_api, told(&self.android_api));
        profile.findings = Some(self);
    }

    /// `HyperOS 2.0.5.0 (Android 15)`. A board's system is told by its own files.
    fn system(&self) -> Option<String> {
        let release = told(&self.android_release)?;
        let android = format!("Android {release}");
        let rom = told(&self.rom).filter(|rom| rom.name != "Android");
        Some(match rom {
            Some(rom) => {
                let version = rom.version.present().map(|version| format!(" {version}")).unwrap_or_default();
                format!("{}{version} ({android})", rom.name)
            }
            None => android,
        })
    }
}

/// The value, unless only a table says it.
fn told<T: Clone>(fact: &Fact<T>) -> Option<T> {
    let found = fact.present()?;
    match found.standing {
        Standing::Told | Standing::Disputed => Some(found.value.clone()),
        Standing::ByTable => None,
    }
}

fn put<T>(reading: &mut Reading<T>, value: Option<T>) {
    if let Some(value) = value {
        *reading = Reading::Present(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Ending, Piece};

    #[test]
    fn what_is_told_goes_into_the_profile_and_what_a_table_says_does_not() {
        let mut evidence = RawEvidence::default();
        let properties = "[ro.product.brand]: [Redmi]\n[ro.product.model]: [23113RKC6C]\n[ro.soc.model]: [SM8650]\n\
                          [ro.product.marketname]: [Redmi K70 Pro]\n[ro.build.version.release]: [14]\n\
                          [ro.mi.os.version.incremental]: [OS1.0.9.0.UNMCNXM]\n[ro.hardware.egl]: [adreno]\n";
        evidence.keep(Piece::Getprop, properties.to_owned(), Ending::Whole);
        let findings = read(&evidence, Rules::shipped().unwrap());
        assert_eq!(findings.gpu.present().map(|found| found.standing), Some(Standing::ByTable));
        let mut profile = crate::placement::fixture::phone(1).profile;
        profile.gpu = Reading::absent("denied");
        findings.clone().describe(&mut profile);
        let present = |text: &str| Reading::Present(text.to_owned());
        assert_eq!((profile.brand, profile.product), (present("Redmi"), present("Redmi K70 Pro")));
        assert_eq!((profile.os, profile.soc), (present("HyperOS 1.0.9.0 (Android 14)"), present("SM8650")));
        assert_eq!(profile.gpu, Reading::absent("denied"));
        assert_eq!(profile.findings, Some(findings));
    }

    #[test]
    fn evidence_is_read_again_for_findings_of_older_rules_alone() {
        let rules = Rules::shipped().unwrap();
        let mut evidence = RawEvidence::default();
        evidence.keep(Piece::Getprop, "[ro.product.brand]: [vivo]\n".to_owned(), Ending::Whole);
        let mut profile = crate::placement::fixture::phone(1).profile;
        let found_by = |rules| Findings { rules, ..read(&RawEvidence::default(), Rules::shipped().unwrap()) };
        for (findings, is_read) in [
            (None, true),
            (Some(RULES_VERSION - 1), true),
            (Some(RULES_VERSION), false),
            (Some(RULES_VERSION + 1), false),
        ] {
            profile.brand = Reading::absent("denied");
            profile.findings = findings.map(found_by);
            assert_eq!(read_again(&mut profile, &evidence, rules), is_read, "{findings:?}");
            assert_eq!(profile.brand.present().is_some(), is_read, "{findings:?}");
        }
    }

    #[test]
    fn a_device_that_tells_nothing_keeps_what_its_files_said() {
        let before = crate::placement::fixture::host().profile;
        let mut profile = before.clone();
        read(&RawEvidence::default(), Rules::shipped().unwrap()).describe(&mut profile);
        assert!(profile.findings.take().is_some());
        assert_eq!(profile, before);
    }
}
