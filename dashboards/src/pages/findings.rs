//! What raw evidence says a device is, as lines of its page.

use seatrial_core::profile::{Fact, Findings, Found, Standing};
use seatrial_core::reading::Reading;

use crate::format::{DASH, memory_size};
use crate::i18n::Words;

/// A finding with what decided it.
pub(super) struct FindingLine {
    pub label: String,
    pub value: String,
    /// Told, by a table, or disputed; empty where the device simply tells.
    pub standing: String,
    /// The property, file or line; empty for what is absent.
    pub from: String,
}

/// The lines, and the warnings before them.
pub(super) struct FindingLines {
    pub warnings: Vec<String>,
    pub lines: Vec<FindingLine>,
}

pub(super) fn lines(findings: &Findings, words: Words) -> FindingLines {
    let naming = &findings.naming;
    let unit = |value: &u64| memory_size(*value);
    let joined = |list: &[String], between: &str| if list.is_empty() { DASH.to_string() } else { list.join(between) };
    let lines = vec![
        line("device.marketing_name", &naming.marketing_name, words, Clone::clone),
        line("device.chinese_name", &naming.chinese_name, words, Clone::clone),
        line("device.model", &naming.model, words, Clone::clone),
        line("device.rom", &findings.rom, words, |rom| {
            rom.version.present().map_or_else(|| rom.name.clone(), |version| format!("{} {version}", rom.name))
        }),
        line("device.rom_build", &findings.rom, words, |rom| part(&rom.build, words)),
        line("device.rom_region", &findings.rom, words, |rom| part(&rom.region, words)),
        line("device.security_patch", &findings.security_patch, words, Clone::clone),
        line("device.fingerprint", &findings.fingerprint, words, Clone::clone),
        line("device.chip", &findings.chip, words, |chip| {
            let model = match &chip.model {
                Reading::Present(model) => model.clone(),
                Reading::Absent(_) => chip.candidates.join(" / "),
            };
            let names: Vec<&str> = chip.names.iter().map(String::as_str).filter(|name| *name != model).collect();
            if names.is_empty() {
                format!("{} {model}", chip.maker)
            } else {
                format!("{} {model} ({})", chip.maker, names.join(" / "))
            }
        }),
        line("device.gpu", &findings.gpu, words, |gpu| gpu.model.present().unwrap_or(&gpu.family).clone()),
        line("device.gpu_driver", &findings.gpu_driver, words, |driver| part(&driver.build, words)),
        line("device.vulkan_driver", &findings.gpu_driver, words, |driver| {
            let raw = driver.vulkan_raw.clone().map(|raw| raw.to_string());
            if driver.vulkan.present().is_some() { part(&driver.vulkan, words) } else { part(&raw, words) }
        }),
        line("device.abis", &findings.abis, words, |abis| joined(abis, ", ")),
        line("device.page_size", &findings.page_size, words, |bytes| format!("{} KiB", bytes / 1024)),
        line("device.storage", &findings.storage, words, |storage| {
            let (free, total) = (unit(&storage.free_bytes), unit(&storage.total_bytes));
            words.with("device.storage_line", &[("free", &free), ("total", &total)])
        }),
        line("device.libraries", &findings.libraries, words, |libraries| {
            let told: Vec<String> = libraries.iter().map(|one| format!("{}: {}", one.interface, one.path)).collect();
            joined(&told, "; ")
        }),
        line("device.nnapi", &findings.nnapi, words, |names| joined(names, "; ")),
    ];
    let warnings = findings.unfit.iter().chain(&findings.warnings).map(|reason| words.reason(reason)).collect();
    FindingLines { warnings, lines }
}

fn part(reading: &Reading<String>, words: Words) -> String {
    super::reading(reading, words)
}

fn line<T>(label: &str, fact: &Fact<T>, words: Words, show: impl Fn(&T) -> String) -> FindingLine {
    let label = words.t(label).into_owned();
    match fact {
        Reading::Present(Found { value, standing, from }) => {
            let standing = match standing {
                Standing::Told => String::new(),
                Standing::ByTable => words.t("device.by_table").into_owned(),
                Standing::Disputed => words.t("device.disputed").into_owned(),
            };
            FindingLine { label, value: show(value), standing, from: from.clone() }
        }
        Reading::Absent(reason) => {
            FindingLine { label, value: words.absent(reason), standing: String::new(), from: String::new() }
        }
    }
}
