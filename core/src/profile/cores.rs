//! CPU clusters, and the features that every core has.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::evidence::{Piece, RawEvidence, Said, values, whole_lines};
use super::rules::Rules;
use super::{Fact, Found};
use crate::reading::Reading;
use crate::reason::Code;

/// More logical CPUs than any device has.
const MAX_CPUS: usize = 1024;

/// Cores of one part with one maximum frequency and one capacity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub cpus: Vec<u16>,
    /// `Cortex-A520`, or implementer and part where no table names it.
    pub core: Reading<String>,
    pub max_khz: Reading<u64>,
    /// Of 1024, by the kernel's own estimate.
    pub capacity: Reading<u32>,
}

/// The processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cores {
    /// Slowest first, by capacity and then by frequency. Cores that are off are in none.
    pub clusters: Vec<Cluster>,
    /// Logical CPUs that are on.
    pub online: Fact<u16>,
    /// Features that every core has: `asimddp`, `i8mm`. Absent when a core that is on does not tell.
    pub features: Fact<Vec<String>>,
}

/// What `/proc/cpuinfo` says of one CPU.
#[derive(Debug, Default, Clone)]
struct Block<'t> {
    number: Option<u16>,
    implementer: Option<&'t str>,
    part: Option<&'t str>,
    features: Option<BTreeSet<&'t str>>,
}

pub(super) fn read(evidence: &RawEvidence, rules: &Rules) -> Cores {
    let info = evidence.said(Piece::Cpuinfo);
    let blocks = info.as_ref().map_or_else(|_| Vec::new(), |said| blocks(*said));
    let listed = evidence.value(Piece::Cpus, "/sys/devices/system/cpu/online").map(|text| (list(text), text));
    let online: Fact<Vec<u16>> = match (listed, &info) {
        (Some((cpus, text)), _) if !cpus.is_empty() => {
            Reading::Present(Found::told(cpus, format!("/sys/devices/system/cpu/online = {text}")))
        }
        (_, Ok(said)) if said.whole => {
            let cpus: Vec<u16> = blocks.iter().filter_map(|block| block.number).collect();
            let found = (!cpus.is_empty()).then(|| Found::told(cpus, "/proc/cpuinfo: processor"));
            Reading::from_option(found, Code::CpuinfoNoCpu.template())
        }
        (_, Ok(_)) => Reading::absent(Code::CpuinfoCut.template()),
        (_, Err(reason)) => Reading::Absent(reason.clone()),
    };
    Cores {
        clusters: online.present().map_or_else(Vec::new, |found| clusters(evidence, &found.value, &blocks, rules)),
        features: match &info {
            Ok(said) => features(*said, &online, &blocks),
            Err(reason) => Reading::Absent(reason.clone()),
        },
        online: online.map(|Found { value, standing, from }| Found {
            value: u16::try_from(value.len()).unwrap_or(u16::MAX),
            standing,
            from,
        }),
    }
}

fn blocks(said: Said<'_>) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (key, value) in whole_lines(said).filter_map(|line| line.split_once(':')) {
        let (key, value) = (key.trim(), value.trim());
        if key == "processor" && blocks.len() < MAX_CPUS {
            blocks.push(Block { number: value.parse().ok(), ..Block::default() });
            continue;
        }
        let Some(block) = blocks.last_mut() else { continue };
        match key {
            "CPU implementer" => block.implementer = Some(value),
            "CPU part" => block.part = Some(value),
            "Features" | "flags" => block.features = Some(value.split_whitespace().collect()),
            _ => {}
        }
    }
    blocks
}

/// The intersection over the cores that are on. Old kernels tell once, after the last core, what all have.
fn features(said: Said<'_>, online: &Fact<Vec<u16>>, blocks: &[Block<'_>]) -> Fact<Vec<String>> {
    if !said.whole {
        return Reading::absent(Code::CpuinfoCutCores.template());
    }
    let telling: Vec<&Block<'_>> = blocks.iter().filter(|block| block.features.is_some()).collect();
    let on = online.present().map_or(blocks.len(), |found| found.value.len());
    let told_once =
        telling.len() == 1 && blocks.len() >= on && blocks.last().is_some_and(|last| last.features.is_some());
    let same_part = blocks.iter().filter(|block| block.part.is_some()).count() <= 1;
    if telling.is_empty() {
        return Reading::absent(Code::CpuinfoNoFeatures.template());
    }
    if telling.len() < on.max(blocks.len()) && !(told_once && same_part) {
        let (telling, on) = (telling.len(), on.max(blocks.len()));
        return Reading::Absent(format!("only {telling} of {on} cores tell their features"));
    }
    let common = telling.iter().filter_map(|block| block.features.clone()).reduce(|common, set| &common & &set);
    let common: Vec<String> = common.unwrap_or_default().into_iter().map(str::to_owned).collect();
    Reading::Present(Found::told(common, format!("/proc/cpuinfo: Features of {} cores", telling.len())))
}

fn clusters(evidence: &RawEvidence, online: &[u16], blocks: &[Block<'_>], rules: &Rules) -> Vec<Cluster> {
    let files: BTreeMap<&str, &str> = evidence.said(Piece::Cpus).map(|said| values(said).collect()).unwrap_or_default();
    let number = |cpu: u16, file: &str| -> Option<u64> {
        files.get(format!("/sys/devices/system/cpu/cpu{cpu}/{file}").as_str())?.trim().parse().ok()
    };
    // Of one CPU in many, old kernels name the part once for all.
    let parts: Vec<&Block<'_>> = blocks.iter().filter(|block| block.part.is_some()).collect();
    let block_of = |cpu: u16| match parts.as_slice() {
        [only] if blocks.len() > 1 => Some(*only),
        several => several.iter().copied().find(|block| block.number == Some(cpu)),
    };
    type Key<'t> = (Option<u64>, Option<u64>, Option<(&'t str, &'t str)>);
    let mut groups: BTreeMap<Key<'_>, Vec<u16>> = BTreeMap::new();
    for &cpu in online {
        let part = block_of(cpu).and_then(|block| Some((block.implementer?, block.part?)));
        groups
            .entry((number(cpu, "cpu_capacity"), number(cpu, "cpufreq/cpuinfo_max_freq"), part))
            .or_default()
            .push(cpu);
    }
    let cluster = |((capacity, khz, part), cpus): (Key<'_>, Vec<u16>)| Cluster {
        cpus,
        core: Reading::from_option(
            part.map(|(implementer, part)| rules.core(implementer, part)),
            "/proc/cpuinfo names no part of it",
        ),
        max_khz: Reading::from_option(khz, "the kernel shows no highest frequency of it"),
        capacity: Reading::from_option(
            capacity.and_then(|capacity| u32::try_from(capacity).ok()),
            "the kernel shows no capacity of it",
        ),
    };
    groups.into_iter().map(cluster).collect()
}

/// `0-3,7` as numbers; nothing of a text that is written otherwise.
fn list(text: &str) -> Vec<u16> {
    let mut cpus = BTreeSet::new();
    for part in text.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (Ok(from), Ok(to)) = (from.trim().parse::<u16>(), to.trim().parse::<u16>()) else { return Vec::new() };
        if usize::from(to) >= MAX_CPUS {
            return Vec::new();
        }
        cpus.extend(from..=to);
    }
    cpus.into_iter().collect()
}
