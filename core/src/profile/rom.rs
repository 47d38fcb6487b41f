//! Which ROM a phone runs and at which version; of a board, its distribution.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::evidence::{Ending, Piece, RawEvidence};
use super::properties::{Properties, quote};
use super::rules::{Pattern, Rules, Take};
use super::{Fact, Found, Standing};
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// A ROM or a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rom {
    /// `HyperOS`, `realme UI`, `Debian GNU/Linux`.
    pub name: String,
    /// Numbers with dots: `2.0.112.0`.
    pub version: Reading<String>,
    /// The build as its maker writes it: `OS2.0.112.0.VNACNXM`.
    pub build: Reading<String>,
    /// As told: `cn`, `global`, `CN`, `EX`.
    pub region: Reading<String>,
    /// Not made by the maker of the phone.
    pub custom: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RomFile {
    pub rom: Vec<RomRule>,
}

/// A rule of `tables/rom.toml`, which says what each key means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RomRule {
    pub name: String,
    pub when: Vec<BTreeMap<String, Pattern>>,
    #[serde(default)]
    pub unless: BTreeMap<String, Pattern>,
    version: Vec<Take>,
    build: Vec<Take>,
    #[serde(default)]
    region: Vec<Take>,
    #[serde(default)]
    pub beside: Vec<String>,
    #[serde(default)]
    container: bool,
    #[serde(default)]
    custom: bool,
}

pub(super) struct Read {
    pub found: Fact<Rom>,
    pub unfit: Option<Reason>,
}

pub(super) fn read(evidence: &RawEvidence, properties: &Properties, rules: &Rules, warnings: &mut Vec<Reason>) -> Read {
    if !properties.is_android() {
        return Read { found: distribution(evidence, properties), unfit: None };
    }
    if let Some(keys) = tampering(properties) {
        warnings.push(Reason::new(Code::SystemOpened, &[("keys", &keys)]));
    }
    let mut matching = rules.roms().filter_map(|rule| Some((rule, rule.matches(properties)?)));
    let Some((rule, from)) = matching.next() else {
        return Read { found: Reading::Absent(properties.absence(&["ro.build.version.release"])), unfit: None };
    };
    let unfit = rule.container.then(|| Reason::new(Code::ContainerOfHarmony, &[]));
    // Every rule comes before another that the missing keys might have decided.
    if let Some(doubt) = properties.doubt() {
        let found = Reading::Absent(format!("{from} is of {}, but {doubt}", rule.name));
        return Read { found, unfit };
    }
    if let Some(key) = rules.roms().take_while(|one| one.name != rule.name).find_map(|one| one.contradicted(properties))
    {
        let found = Reading::Absent(format!("{key}, which would decide it, is told twice, with different values"));
        return Read { found, unfit };
    }
    let others: Vec<&str> = matching
        .map(|(other, _)| other.name.as_str())
        .filter(|other| *other != STOCK && !rule.beside.iter().any(|beside| beside == other))
        .collect();
    let is_mixed = !others.is_empty();
    if is_mixed {
        let others = others.join(", ");
        warnings.push(Reason::new(Code::RomsMixed, &[("rom", &rule.name), ("others", &others)]));
    }
    if rule.custom {
        warnings.push(Reason::new(Code::CustomRom, &[("rom", &rule.name)]));
    }
    let rom = Rom {
        name: rule.name.clone(),
        version: take(&rule.version, properties, Take::version),
        build: take(&rule.build, properties, Take::whole),
        region: take(&rule.region, properties, Take::whole),
        custom: rule.custom,
    };
    let standing = if is_mixed { Standing::Disputed } else { Standing::Told };
    Read { found: Reading::Present(Found { standing, ..Found::told(rom, from) }), unfit }
}

/// The last rule, which every Android meets.
const STOCK: &str = "Android";

impl RomRule {
    /// What decided for this ROM.
    fn matches(&self, properties: &Properties) -> Option<String> {
        let holds = |(key, pattern): (&String, &Pattern)| properties.get(key).is_some_and(|value| pattern.finds(value));
        if self.unless.iter().any(holds) {
            return None;
        }
        let when = self.when.iter().find(|when| when.iter().all(holds))?;
        let told = when.keys().filter_map(|key| Some(quote(key, properties.get(key)?)));
        Some(told.collect::<Vec<_>>().join(", "))
    }

    /// A key that this rule asks for and that has two values.
    fn contradicted(&self, properties: &Properties) -> Option<&str> {
        let mut keys = self.when.iter().flat_map(BTreeMap::keys).map(String::as_str);
        keys.find(|key| properties.is_contradicted(key))
    }
}

fn take<'r>(
    takes: &'r [Take],
    properties: &Properties,
    read: impl Fn(&'r Take, &str) -> Option<String>,
) -> Reading<String> {
    let value = takes.iter().find_map(|take| read(take, properties.get(&take.property)?));
    let keys: Vec<&str> = takes.iter().map(|take| take.property.as_str()).collect();
    match value {
        Some(value) => Reading::Present(value),
        None if keys.is_empty() => Reading::absent(Code::RomUntold.template()),
        None => Reading::Absent(match properties.first(&keys) {
            Some((key, value)) => format!("{} is not written as expected", super::clip(&quote(key, value))),
            None => properties.absence(&keys),
        }),
    }
}

/// Signs that the system is not as its maker closed it.
fn tampering(properties: &Properties) -> Option<String> {
    let signs = [
        ("ro.build.type", &["userdebug", "eng"][..]),
        ("ro.build.tags", &["test-keys", "dev-keys"]),
        ("ro.debuggable", &["1"]),
        ("ro.boot.verifiedbootstate", &["orange", "red"]),
        ("ro.boot.flash.locked", &["0"]),
    ];
    let found: Vec<String> = signs
        .into_iter()
        .filter_map(|(key, values)| Some(quote(key, properties.get(key).filter(|value| values.contains(value))?)))
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
}

/// The distribution of a board: `/etc/os-release`, with NVIDIA's release of a Jetson as the build.
fn distribution(evidence: &RawEvidence, properties: &Properties) -> Fact<Rom> {
    let said = match evidence.said(Piece::OsRelease) {
        Ok(said) if said.whole => said,
        Ok(_) => return Reading::absent(Code::OsReleaseCut.template()),
        Err(reason) => return Reading::Absent(format!("{}; {reason}", properties.absence(&[]))),
    };
    let field = |key: &str| {
        let value = said.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
    };
    let Some(name) = field("NAME") else { return Reading::absent(Code::OsReleaseNoName.template()) };
    let from = format!("/etc/os-release: NAME={name}");
    let rom = Rom {
        name,
        version: Reading::from_option(field("VERSION_ID"), Code::OsReleaseNoVersion.template()),
        build: match (evidence.said(Piece::TegraRelease), evidence.get(Piece::TegraRelease).map(|one| one.ending)) {
            (Ok(said), _) if said.whole => Reading::from_option(jetson(said.text), Code::TegraUnexpected.template()),
            // There is no such file but on a Jetson.
            (Err(_), Some(Ending::Failed(_))) => {
                Reading::from_option(field("BUILD_ID").or_else(|| field("VERSION")), Code::OsReleaseNoBuild.template())
            }
            (_, _) => Reading::absent(Code::JetsonUntold.template()),
        },
        region: Reading::absent(Code::NoRegion.template()),
        custom: false,
    };
    Reading::Present(Found::told(rom, from))
}

/// `# R35 (release), REVISION: 4.1, …` is `L4T R35.4.1`.
fn jetson(text: &str) -> Option<String> {
    let (release, rest) = text.trim_start_matches(['#', ' ']).split_once(' ')?;
    let revision = rest.split_once("REVISION:")?.1.split(',').next()?.trim();
    let is_release = release.strip_prefix('R')?.bytes().all(|byte| byte.is_ascii_digit());
    is_release.then(|| format!("L4T {release}.{revision}"))
}
