//! CPU topology, clusters and the features that every core has.

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::device::{Cpu, CpuCluster};
use seatrial_core::reading::Reading;

use super::files::{Files, first};

pub(super) fn read(files: &Files) -> Cpu {
    let cpuinfo = files.text("proc/cpuinfo");
    let online = online(files, &cpuinfo);
    // The CPUs are the host's, and so are their clocks; what they are and can do is not what this program runs on.
    let emulated = emulation(files, std::env::consts::ARCH);
    let own = emulated.map_or(cpuinfo, Reading::Absent);
    Cpu {
        model: model(&own),
        architecture: std::env::consts::ARCH.to_owned(),
        clusters: clusters(files, &online),
        count: online.map(|cpus| u16::try_from(cpus.len()).unwrap_or(u16::MAX)),
        features: features(&own),
    }
}

/// Why the processor that the kernel tells of is not the one that a program built for `architecture` sees: an emulator
/// shows it the files of its own kernel. Kernels before 6.1 do not say what they were built for.
fn emulation(files: &Files, architecture: &str) -> Option<String> {
    let kernel = files.text("proc/sys/kernel/arch").into_present()?;
    let family = |name: &str| match name {
        "x86_64" | "x86" | "i686" | "i386" => "x86".to_owned(),
        name if name.starts_with("arm") || name == "aarch64" => "arm".to_owned(),
        name => name.to_owned(),
    };
    let is_own = family(&kernel) == family(architecture);
    (!is_own).then(|| format!("this agent is built for {architecture} and emulated on a kernel of {kernel}"))
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
    let text = match cpuinfo {
        Reading::Present(text) => text,
        Reading::Absent(reason) => return Reading::Absent(reason.clone()),
    };
    let named = values(text, "model name").next().or_else(|| values(text, "Hardware").next()).map(str::to_owned);
    let part = || values(text, "CPU part").last().map(arm_part);
    Reading::from_option(named.or_else(part), "/proc/cpuinfo names no model and no part")
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
    fn the_processor_of_another_kernel_is_not_this_programs() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("proc/sys/kernel");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(home.path().join("proc/cpuinfo"), "processor : 0\nmodel name : Epyc\nflags : avx2\n").unwrap();
        let files = Files::new(home.path());
        let of = |kernel: &str, build: &str| {
            std::fs::write(folder.join("arch"), format!("{kernel}\n")).unwrap();
            emulation(&files, build)
        };
        for (kernel, build) in [("x86_64", "x86_64"), ("x86_64", "x86"), ("aarch64", "arm"), ("armv7l", "arm")] {
            assert_eq!(of(kernel, build), None, "{build} on {kernel}");
        }
        let reason = "this agent is built for aarch64 and emulated on a kernel of x86_64";
        assert_eq!(of("x86_64", "aarch64").as_deref(), Some(reason));
        assert!(of("aarch64", "x86_64").is_some());

        std::fs::write(folder.join("arch"), "sparc64").unwrap();
        let cpu = read(&files);
        assert!(cpu.model.reason().unwrap().contains("emulated on a kernel of sparc64"), "{cpu:?}");
        assert_eq!((cpu.features.reason(), cpu.count), (cpu.model.reason(), Reading::Present(1)));
        std::fs::remove_file(folder.join("arch")).unwrap();
        assert_eq!(read(&files).model, Reading::Present("Epyc".to_owned()), "the control");
    }

    #[test]
    fn features_are_those_of_every_core() {
        let text = "processor : 0\nFeatures : fp asimd sve\n\nprocessor : 1\nFeatures : fp asimd\n";
        assert_eq!(common_features(text).unwrap(), ["asimd", "fp"]);
        assert_eq!(common_features("processor : 0\n"), None);
    }
}
