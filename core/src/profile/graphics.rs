//! The GPU, the build of its driver, and the libraries by which models reach it or an NPU.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chip::Chip;
use super::evidence::{Piece, RawEvidence, whole_lines};
use super::glob;
use super::properties::{Properties, quote};
use super::rules::{Pattern, Rules, give};
use super::{Fact, Found};
use crate::reading::Reading;
use crate::reason::Code;

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// `Adreno`, `Immortalis`, `Mali`, …
    pub family: String,
    /// `Adreno 750`, `Mali-G610`.
    pub model: Reading<String>,
    /// No GPU at all but a program: an emulator's.
    pub software: bool,
}

/// The build of a GPU's driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuDriver {
    /// As its maker writes it: `V@0762.13`, `r44p0`.
    pub build: Reading<String>,
    /// Vulkan's `driverVersion` as it was read.
    pub vulkan_raw: Reading<u32>,
    /// The same by its vendor's packing: `512.762.13`.
    pub vulkan: Reading<String>,
}

/// A library or node of an accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// `opencl`, `vulkan`, `qualcomm_npu`, …
    pub interface: String,
    pub path: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GpuFile {
    family: Vec<Family>,
    hardware: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    name: String,
    matches: Pattern,
    #[serde(default)]
    model: Option<Pattern>,
    #[serde(default)]
    give: Option<String>,
    #[serde(default)]
    build: Option<Pattern>,
    vulkan: Packing,
    #[serde(default)]
    vendor_id: Option<u32>,
    #[serde(default)]
    software: bool,
}

/// How a vendor packs `driverVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Packing {
    Standard,
    Arm,
    Nvidia,
    Raw,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LibraryFile {
    library: Vec<LibraryRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LibraryRow {
    interface: String,
    paths: Vec<String>,
}

impl LibraryFile {
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        self.library.iter().flat_map(|row| &row.paths)
    }
}

impl GpuFile {
    fn of(&self, name: &str) -> Option<&Family> {
        self.family.iter().find(|family| family.matches.finds(name))
    }

    /// What of the table does not fit together.
    pub(super) fn fault(&self) -> Option<String> {
        let lost = self.hardware.values().find(|name| !self.family.iter().any(|family| family.name == **name));
        lost.map(|name| format!("hardware names {name}, which is no family"))
    }
}

impl Family {
    fn gpu(&self, name: &str) -> Gpu {
        let model = self.model.as_ref().and_then(|model| give(model, self.give.as_deref(), name));
        let reason = format!("{} names no model", super::clip(name));
        Gpu { family: self.name.clone(), model: Reading::from_option(model, reason), software: self.software }
    }
}

/// The driver's own word first, then the kernel's, then names of its libraries, and at last what the chip has.
pub(super) fn gpu(evidence: &RawEvidence, properties: &Properties, chip: &Fact<Chip>, rules: &Rules) -> Fact<Gpu> {
    let mut told: Vec<(String, String)> = Vec::new();
    if let Some([vendor, renderer, _]) = gles(evidence) {
        told.push((format!("GLES: {vendor}, {renderer}"), format!("{vendor} {renderer}")));
    }
    if let Some(name) = vulkan_text(evidence, "deviceName") {
        told.push((format!("vkjson: {name}"), name));
    }
    for path in ["/sys/class/kgsl/kgsl-3d0/gpu_model", "/sys/class/misc/mali0/device/gpuinfo"] {
        if let Some(name) = evidence.value(Piece::Gpu, path) {
            told.push((quote(path, name), name.to_owned()));
        }
    }
    let named = told.iter().find_map(|(from, name)| Some(Found::told(rules.gpus().of(name)?.gpu(name), from)));
    let by_table = by_chip(chip, rules);
    let by_driver = ["ro.hardware.egl", "ro.hardware.vulkan"].iter().find_map(|key| {
        let value = properties.get(key)?;
        let family = rules.gpus().hardware.get(&value.to_lowercase())?;
        let family = rules.gpus().family.iter().find(|one| one.name == *family)?;
        Some(Found::told(family.gpu(value), quote(key, value)))
    });
    // A library's name knows no model; the table's is of use where both mean the same family of chips.
    let derived = match (by_driver, by_table) {
        (Some(driver), Some(table)) if same_maker(&driver.value.family, &table.value.family) => Some(table),
        (Some(driver), _) => Some(driver),
        (None, table) => table,
    };
    let nothing = || match (evidence.said(Piece::SurfaceFlinger), evidence.said(Piece::Vkjson)) {
        (Err(first), Err(second)) => format!("{first}; {second}; and the chip tells no GPU"),
        _ => Code::GpuNameUnknown.template().to_owned(),
    };
    match named.or(derived) {
        Some(found) => Reading::Present(found),
        None => Reading::Absent(nothing()),
    }
}

/// Immortalis is Mali with ray tracing, and has the same libraries.
fn same_maker(one: &str, other: &str) -> bool {
    let maker = |family: &str| if family == "Immortalis" { "Mali".to_owned() } else { family.to_owned() };
    maker(one) == maker(other)
}

fn by_chip(chip: &Fact<Chip>, rules: &Rules) -> Option<Found<Gpu>> {
    let found = chip.present()?;
    let models: Vec<&str> = match &found.value.model {
        Reading::Present(model) => vec![model],
        Reading::Absent(_) => found.value.candidates.iter().map(String::as_str).collect(),
    };
    let mut gpus: Vec<&str> = models.iter().filter_map(|model| Some(rules.chips().row(model)?.gpu.as_str())).collect();
    gpus.dedup();
    let &[name] = gpus.as_slice() else { return None };
    let family = rules.gpus().of(name)?;
    let gpu = Gpu { model: Reading::Present(name.to_owned()), ..family.gpu(name) };
    Some(Found::by_table(gpu, format!("the GPU of {}", models.join(" and "))))
}

pub(super) fn driver(evidence: &RawEvidence, properties: &Properties, rules: &Rules) -> Fact<GpuDriver> {
    let gles = gles(evidence);
    let name = gles.as_ref().map(|[vendor, renderer, _]| format!("{vendor} {renderer}"));
    let family = name.or_else(|| vulkan_text(evidence, "deviceName")).and_then(|name| rules.gpus().of(&name));
    let vendor = vulkan_number(evidence, "vendorID");
    let of_vendor = vendor.and_then(|id| rules.gpus().family.iter().find(|family| family.vendor_id == Some(id)));
    let raw = vulkan_number(evidence, "driverVersion");
    let build = match (family.and_then(|family| family.build.as_ref()), &gles) {
        (Some(build), Some([_, _, version])) => {
            Reading::from_option(give(build, None, version), format!("{} names no build", super::clip(version)))
        }
        (None, Some([_, _, version])) => {
            Reading::Absent(format!("no table reads a build out of {}", super::clip(version)))
        }
        (_, None) => Reading::Absent(match evidence.said(Piece::SurfaceFlinger) {
            Ok(_) => "SurfaceFlinger has no line of OpenGL ES".to_owned(),
            Err(reason) => reason,
        }),
    };
    let vulkan = raw.zip(of_vendor.or(family)).and_then(|(raw, family)| unpack(family.vulkan, raw));
    let from = match (&gles, raw) {
        (Some([_, _, version]), _) => format!("GLES: {version}"),
        (None, Some(raw)) => format!("vkjson: driverVersion = {raw}"),
        (None, None) => {
            let fallback = properties.absence(&["ro.gfx.driver.0"]);
            return Reading::Absent(match (build.reason(), evidence.said(Piece::Vkjson)) {
                (Some(first), Err(second)) => format!("{first}; {second}"),
                (_, _) => fallback,
            });
        }
    };
    let driver = GpuDriver {
        build,
        vulkan_raw: Reading::from_option(raw, Code::VulkanUnasked.template()),
        vulkan: Reading::from_option(vulkan, Code::PackingUnknown.template()),
    };
    Reading::Present(Found::told(driver, from))
}

/// Vendor, renderer and version of `GLES: vendor, renderer, version`.
fn gles(evidence: &RawEvidence) -> Option<[String; 3]> {
    let said = evidence.said(Piece::SurfaceFlinger).ok()?;
    let line = whole_lines(said).find_map(|line| line.trim().strip_prefix("GLES:"))?;
    let (vendor, rest) = line.split_once(',')?;
    // A renderer of ANGLE has commas of its own; the version begins with OpenGL ES.
    let at = rest.find(", OpenGL ES").map_or_else(|| rest.find(','), Some)?;
    let (renderer, version) = rest.split_at(at);
    Some([vendor, renderer, version.trim_start_matches(',')].map(|text| text.trim().to_owned()))
}

/// What stands behind a key of what Vulkan's driver says, up to the end of its line. A phone has one device; of several
/// the first counts.
fn vulkan<'e>(evidence: &'e RawEvidence, key: &str) -> Option<&'e str> {
    let said = evidence.said(Piece::Vkjson).ok()?;
    let quoted = format!("\"{key}\"");
    let after = whole_lines(said).find_map(|line| Some(line.split_once(quoted.as_str())?.1))?;
    Some(after.trim_start().strip_prefix(':')?.trim_start())
}

fn vulkan_text(evidence: &RawEvidence, key: &str) -> Option<String> {
    let text = vulkan(evidence, key)?.strip_prefix('"')?.split_once('"')?.0.trim();
    (!text.is_empty() && !text.contains('\\')).then(|| super::clip(text))
}

fn vulkan_number(evidence: &RawEvidence, key: &str) -> Option<u32> {
    vulkan(evidence, key)?.split([',', '}', ' ']).next()?.trim().parse().ok()
}

/// `driverVersion` as its vendor means it. Of the Vulkan specification: ten bits of major, ten of minor and twelve of
/// patch; NVIDIA's own: ten, eight, eight and six.
fn unpack(packing: Packing, raw: u32) -> Option<String> {
    let (major, minor, patch) = (raw >> 22, (raw >> 12) & 0x3ff, raw & 0xfff);
    match packing {
        Packing::Standard => Some(format!("{major}.{minor}.{patch}")),
        Packing::Arm => Some(format!("r{major}p{minor}")),
        Packing::Nvidia => Some(format!("{}.{}.{}.{}", raw >> 22, (raw >> 14) & 0xff, (raw >> 6) & 0xff, raw & 0x3f)),
        Packing::Raw => None,
    }
}

pub(super) fn libraries(evidence: &RawEvidence, rules: &Rules) -> Fact<Vec<Library>> {
    let said = match evidence.said(Piece::Libraries) {
        Ok(said) if said.whole => said,
        Ok(_) => return Reading::absent(Code::LibrariesCut.template()),
        Err(_) if evidence.get(Piece::Libraries).is_some_and(super::Collected::is_empty_list) => {
            return Reading::Present(Found::told(Vec::new(), "none of the paths of the table is there"));
        }
        Err(reason) => return Reading::Absent(reason),
    };
    let mut libraries = Vec::new();
    for path in said.text.lines().map(str::trim) {
        let row = rules.libraries().library.iter().find(|row| row.paths.iter().any(|glob| glob::matches(glob, path)));
        if let Some(row) = row {
            libraries.push(Library { interface: row.interface.clone(), path: path.to_owned() });
        }
    }
    let from = format!("{} paths of the table are there", libraries.len());
    Reading::Present(Found::told(libraries, from))
}

pub(super) fn nnapi(evidence: &RawEvidence) -> Fact<Vec<String>> {
    match evidence.said(Piece::Services) {
        Ok(said) if said.whole => {
            // 123 <tab> android.hardware.neuralnetworks.IDevice/qti-default: [android.hardware.neuralnetworks.IDevice]
            let names = said
                .text
                .lines()
                .filter_map(|line| line.split_whitespace().find(|word| word.contains("neuralnetworks")));
            let names: Vec<String> = names.map(|name| super::clip(name.trim_end_matches(':'))).collect();
            Reading::Present(Found::told(names, "service list"))
        }
        Ok(_) => Reading::absent(Code::ServicesCut.template()),
        Err(reason) => Reading::Absent(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_driver_is_unpacked_as_its_vendor_means_it() {
        assert_eq!(unpack(Packing::Standard, (512 << 22) + (762 << 12) + 13).as_deref(), Some("512.762.13"));
        assert_eq!(unpack(Packing::Arm, 44 << 22).as_deref(), Some("r44p0"));
        assert_eq!(unpack(Packing::Nvidia, (540 << 22) + (4 << 14)).as_deref(), Some("540.4.0.0"));
        assert_eq!(unpack(Packing::Raw, 6_133_109), None);
    }
}
