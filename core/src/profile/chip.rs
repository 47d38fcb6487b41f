//! The system on a chip.

use serde::{Deserialize, Serialize};

use super::cores::Cores;
use super::evidence::{Piece, RawEvidence};
use super::names::Placeholders;
use super::properties::{Properties, quote};
use super::rules::{Pattern, Rules, give};
use super::{Fact, Found, Standing};
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// A system on a chip, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chip {
    pub maker: String,
    /// `SM8650`, `MT6897`, `Kirin 9000S`. Where a code stands for several, there is none.
    pub model: Reading<String>,
    /// Names under which it is sold; several where the device does not tell which.
    pub names: Vec<String>,
    /// The models that the code may mean, when there is no one model.
    pub candidates: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChipFile {
    pub soc: Vec<ChipRow>,
    pattern: Vec<ChipPattern>,
    signature: Vec<Signature>,
    placeholders: Placeholders,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChipRow {
    maker: String,
    pub model: String,
    names: Vec<String>,
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    ids: Vec<u32>,
    #[serde(default)]
    compatible: Vec<String>,
    pub gpu: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChipPattern {
    maker: String,
    matches: Pattern,
    #[serde(default)]
    give: Option<String>,
}

/// `part:count:kHz` of each cluster, slowest first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signature {
    pub model: String,
    cores: Vec<String>,
}

impl ChipFile {
    pub(super) fn signatures(&self) -> impl Iterator<Item = &Signature> {
        self.signature.iter()
    }

    pub(super) fn row(&self, model: &str) -> Option<&ChipRow> {
        self.soc.iter().find(|row| row.model.eq_ignore_ascii_case(model))
    }

    /// What a word of a property or a file means: one chip, or the rows that it may mean.
    fn meaning(&self, word: &str) -> Option<Chip> {
        let word = word.trim();
        if word.is_empty() || self.placeholders.holds(word) {
            return None;
        }
        let rows: Vec<&ChipRow> = self
            .soc
            .iter()
            .filter(|row| {
                row.model.eq_ignore_ascii_case(word) || row.codes.iter().any(|code| code.eq_ignore_ascii_case(word))
            })
            .collect();
        match rows.as_slice() {
            [] => self.by_pattern(word),
            [row] => Some(row.chip()),
            several => Some(Chip {
                maker: several[0].maker.clone(),
                model: Reading::Absent(format!("{word} is the code of several")),
                names: Vec::new(),
                candidates: several.iter().map(|row| row.model.clone()).collect(),
            }),
        }
    }

    fn by_pattern(&self, text: &str) -> Option<Chip> {
        self.pattern.iter().find_map(|pattern| {
            let found = give(&pattern.matches, pattern.give.as_deref(), text)?;
            let upper = if pattern.give.is_none() && pattern.maker != "Google" { found.to_uppercase() } else { found };
            Some(match self.row(&upper) {
                Some(row) => row.chip(),
                None => Chip {
                    maker: pattern.maker.clone(),
                    model: Reading::Present(upper),
                    names: Vec::new(),
                    candidates: Vec::new(),
                },
            })
        })
    }
}

impl ChipRow {
    fn chip(&self) -> Chip {
        Chip {
            maker: self.maker.clone(),
            model: Reading::Present(self.model.clone()),
            names: self.names.clone(),
            candidates: Vec::new(),
        }
    }
}

/// Properties that name the chip, the best first.
const PROPERTIES: [&str; 8] = [
    "ro.soc.model",
    "ro.board.platform",
    "ro.mediatek.platform",
    "ro.vendor.mediatek.platform",
    "ro.hardware",
    "ro.hardware.chipname",
    "ro.chipname",
    "ro.product.board",
];

pub(super) fn read(
    evidence: &RawEvidence,
    properties: &Properties,
    cores: &Cores,
    rules: &Rules,
    warnings: &mut Vec<Reason>,
) -> Fact<Chip> {
    let chips = rules.chips();
    let mut told: Vec<Found<Chip>> = words(evidence, properties)
        .into_iter()
        .filter_map(|(from, word)| Some(Found::told(chips.meaning(&word)?, from)))
        .collect();
    told.extend(by_id(evidence, rules));
    told.extend(by_tree(evidence, rules));
    let one = told.iter().find(|found| found.value.model.present().is_some());
    let agreeing = |found: &&Found<Chip>| one.is_none_or(|one| agree(&one.value, &found.value));
    let odd: Vec<&str> = told.iter().filter(|found| !agreeing(found)).map(|found| found.from.as_str()).collect();
    if let (Some(one), false) = (one, odd.is_empty()) {
        warnings.push(Reason::new(Code::ChipDisputed, &[("from", &one.from), ("others", &odd.join("; "))]));
        return Reading::Present(Found { standing: Standing::Disputed, ..one.clone() });
    }
    match (one, by_signature(cores, rules), told.first()) {
        (Some(one), _, _) => Reading::Present(one.clone()),
        (None, Some(derived), Some(several)) if !agree(&derived.value, &several.value) => {
            Reading::Present(several.clone())
        }
        (None, Some(derived), _) => Reading::Present(derived),
        (None, None, Some(several)) => Reading::Present(several.clone()),
        (None, None, None) => Reading::absent(Code::ChipUnknown.template()),
    }
}

/// Words that may name a chip, each with where it stands.
fn words(evidence: &RawEvidence, properties: &Properties) -> Vec<(String, String)> {
    // Of a list that is cut off or garbled, a better one that is missing may be what decides.
    let is_sure = properties.doubt().is_none();
    let told = PROPERTIES.iter().map(|key| (key, properties.get(key)));
    let told = told.take_while(|(_, value)| is_sure || value.is_some());
    let told = told.filter_map(|(key, value)| Some((quote(key, value?), value?.to_owned())));
    let machine = evidence.value(Piece::Soc, MACHINE).map(|value| (quote(MACHINE, value), value.to_owned()));
    let hardware = evidence.said(Piece::Cpuinfo).ok().and_then(|said| {
        let mut lines = super::evidence::whole_lines(said).filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(key, _)| key.trim() == "Hardware")?;
        Some((format!("/proc/cpuinfo: Hardware: {}", value.trim()), value.trim().to_owned()))
    });
    told.chain(machine).chain(hardware).collect()
}

const MACHINE: &str = "/sys/devices/soc0/machine";
const SOC_ID: &str = "/sys/devices/soc0/soc_id";

fn by_id(evidence: &RawEvidence, rules: &Rules) -> Option<Found<Chip>> {
    let told = evidence.value(Piece::Soc, SOC_ID)?;
    let id: u32 = told.trim().parse().ok()?;
    let row = rules.chips().soc.iter().find(|row| row.ids.contains(&id))?;
    Some(Found::told(row.chip(), quote(SOC_ID, told)))
}

fn by_tree(evidence: &RawEvidence, rules: &Rules) -> Option<Found<Chip>> {
    let names = compatible(evidence).ok()?;
    names.iter().find_map(|name| {
        let row = rules.chips().soc.iter().find(|row| row.compatible.contains(name))?;
        Some(Found::told(row.chip(), format!("device tree: {name}")))
    })
}

/// The names of the device tree's root, the most specific first.
pub(super) fn compatible(evidence: &RawEvidence) -> Result<Vec<String>, String> {
    let said = evidence.said(Piece::DeviceTreeCompatible)?;
    if !said.whole {
        return Err("the device tree's compatible is cut off".to_owned());
    }
    Ok(said.text.split(['\0', '\n', '\r']).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn by_signature(cores: &Cores, rules: &Rules) -> Option<Found<Chip>> {
    let own: Option<Vec<String>> = cores
        .clusters
        .iter()
        .map(|cluster| {
            let part = cluster.core.present()?;
            Some(format!("{part}:{}:{}", cluster.cpus.len(), cluster.max_khz.present()?))
        })
        .collect();
    let mut own = own.filter(|own| !own.is_empty())?;
    own.sort();
    let signature = rules.chips().signatures().find(|signature| {
        let mut cores = signature.cores.clone();
        cores.sort();
        cores == own
    })?;
    let row = rules.chips().row(&signature.model)?;
    Some(Found::by_table(row.chip(), format!("cores {}", own.join(", "))))
}

/// Whether two findings may mean the same chip.
fn agree(one: &Chip, other: &Chip) -> bool {
    match (&one.model, &other.model) {
        (Reading::Present(one), Reading::Present(other)) => one == other,
        (Reading::Present(one), Reading::Absent(_)) => other.candidates.contains(one),
        (Reading::Absent(_), Reading::Present(other)) => one.candidates.contains(other),
        (Reading::Absent(_), Reading::Absent(_)) => {
            one.candidates.iter().any(|candidate| other.candidates.contains(candidate))
        }
    }
}
