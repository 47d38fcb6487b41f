//! CPU topology, clusters and the features that every core has.

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::device::{Cpu, CpuCluster};
use seatrial_core::reading::Reading;

use super::files::{Files, first};

pub(super) fn read(files: &Files) -> Cpu {
    let cpuinfo = files.text("proc/cpuinfo");
    let online = online(files, &cpuinfo);
    Cpu {
        model: model(&cpuinfo),
        architecture: std::env::consts::ARCH.to_owned(),
        clusters: clusters(files, &online),
        count: online.map(|cpus| u16::try_from(cpus.len()).unwrap_or(u16::MAX)),
        features: features(&cpuinfo),
    }
}

/// Groups of cores with the same maximum frequency, slowest first. Without frequencies there is one cluster.
fn clusters(files: &Files, online: &Reading<Vec<u16>>) -> Vec<CpuCluster> {
    let Reading::Present(online) = online else { return Vec::new() };
    let mut by_frequency: BTreeMap<u64, BTreeSet<u16>> = BTreeMap::new();
    let mut reason = "the kernel reports no frequency".to_owned();
    for &cpu in online {
        match files.number::<u64>(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq")) {
            Reading::Present(frequency) => {
                by_frequency.entry(frequency).or_default().insert(cpu);
            }
            Reading::Absent(why) => reason = why,
        }
    }
    if by_frequency.is_empty() {
        return vec![CpuCluster { cpus: online.clone(), max_frequency_khz: Reading::Absent(reason) }];
    }
    by_frequency
        .into_iter()
        .map(|(frequency, cpus)| CpuCluster {
            cpus: cpus.into_iter().collect(),
            max_frequency_khz: Reading::Present(frequency),
        })
        .collect()
}

/// The CPUs that this process may run on, as the kernel writes them.
pub(super) fn allowed(files: &Files) -> Reading<String> {
    let status = files.text("proc/self/status");
    match status {
        Reading::Present(text) => Reading::from_option(
            text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(|list| list.trim().to_owned()),
            "/proc/self/status names no CPUs",
        ),
        Reading::Absent(reason) => Reading::Absent(reason),
    }
}

/// Numbers of the CPUs that are on; those of `/proc/cpuinfo` where the list is missing.
fn online(files: &Files, cpuinfo: &Reading<String>) -> Reading<Vec<u16>> {
    let some = |cpus: Vec<u16>, why: &str| Reading::from_option((!cpus.is_empty()).then_some(cpus), why);
    let listed = match files.text("sys/devices/system/cpu/online") {
        Reading::Present(list) => some(parse_list(&list), "/sys/devices/system/cpu/online names no CPU"),
        Reading::Absent(reason) => Reading::Absent(reason),
    };
    let counted = match cpuinfo {
        Reading::Present(text) => some(
            values(text, "processor").filter_map(|number| number.parse().ok()).collect(),
            "/proc/cpuinfo names no CPU",
        ),
        Reading::Absent(reason) => Reading::Absent(reason.clone()),
    };
    first([listed, counted], "")
}

/// `0-3,7` as numbers.
fn parse_list(list: &str) -> Vec<u16> {
    list.split(',')
        .filter_map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            Some(from.trim().parse::<u16>().ok()?..=to.trim().parse().ok()?)
        })
        .flatten()
        .collect()
}

fn model(cpuinfo: &Reading<String>) -> Reading<String> {
    let named = match cpuinfo {
        Reading::Present(text) => Reading::from_option(
            values(text, "model name").next().or_else(|| values(text, "Hardware").next()).map(str::to_owned),
            "/proc/cpuinfo names no model",
        ),
        Reading::Absent(reason) => Reading::Absent(reason.clone()),
    };
    let part = cpuinfo.present().and_then(|text| values(text, "CPU part").last()).map(arm_part);
    first([named, Reading::from_option(part, "/proc/cpuinfo names no model and no part")], "")
}

/// Arm's part numbers of the cores that phones and boards have.
fn arm_part(part: &str) -> String {
    let name = match part {
        "0xd03" => "Cortex-A53",
        "0xd04" => "Cortex-A35",
        "0xd05" => "Cortex-A55",
        "0xd07" => "Cortex-A57",
        "0xd08" => "Cortex-A72",
        "0xd09" => "Cortex-A73",
        "0xd0a" => "Cortex-A75",
        "0xd0b" => "Cortex-A76",
        "0xd0c" => "Neoverse-N1",
        "0xd0d" => "Cortex-A77",
        "0xd41" => "Cortex-A78",
        "0xd44" => "Cortex-X1",
        "0xd46" => "Cortex-A510",
        "0xd47" => "Cortex-A710",
        "0xd48" => "Cortex-X2",
        "0xd4d" => "Cortex-A715",
        "0xd4e" => "Cortex-X3",
        "0xd80" => "Cortex-A520",
        "0xd81" => "Cortex-A720",
        "0xd82" => "Cortex-X4",
        "0x001" => "Oryon",
        other => return format!("Arm part {other}"),
    };
    name.to_owned()
}

/// What every core has: a model that runs on some cores only is a model that crashes at times.
fn features(cpuinfo: &Reading<String>) -> Reading<Vec<String>> {
    match cpuinfo {
        Reading::Present(text) => Reading::from_option(common_features(text), "/proc/cpuinfo names no features"),
        Reading::Absent(reason) => Reading::Absent(reason.clone()),
    }
}

/// `None` when no core says what it has.
fn common_features(cpuinfo: &str) -> Option<Vec<String>> {
    let sets = cpuinfo.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        matches!(key.trim(), "flags" | "Features").then(|| value.split_whitespace().collect::<BTreeSet<_>>())
    });
    let common = sets.reduce(|common, set| &common & &set)?;
    Some(common.into_iter().map(str::to_owned).collect())
}

fn values<'a>(cpuinfo: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    cpuinfo.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_read_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0-3,7"), [0, 1, 2, 3, 7]);
        assert_eq!(parse_list("5"), [5]);
        assert!(parse_list("").is_empty());
    }

    #[test]
    fn features_are_those_of_every_core() {
        let text = "processor : 0\nFeatures : fp asimd sve\n\nprocessor : 1\nFeatures : fp asimd\n";
        assert_eq!(common_features(text).unwrap(), ["asimd", "fp"]);
        assert_eq!(common_features("processor : 0\n"), None);
    }
}
