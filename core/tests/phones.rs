//! Described devices: each folder of `tests/phones` holds what one device says, piece by piece, and `expected.toml`.
//! A piece without a file failed on that device. The dumps are written from what is known of the ROMs, not recorded.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use seatrial_core::profile::{
    Ending, Fact, Findings, Found, Piece, RawEvidence, Rom, Rules, Standing, read, script, split,
};
use seatrial_core::reading::Reading;
use serde::Deserialize;

const NONCE: &str = "4f2a90c1d7e8";

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expected {
    brand: Option<String>,
    model: Option<String>,
    marketing_name: Option<String>,
    chinese_name: Option<String>,
    identity_standing: Option<Standing>,
    rom: Option<String>,
    rom_standing: Option<Standing>,
    rom_version: Option<String>,
    rom_build: Option<String>,
    rom_region: Option<String>,
    android_release: Option<String>,
    android_api: Option<u32>,
    security_patch: Option<String>,
    page_size: Option<u32>,
    abis: Option<Vec<String>>,
    chip_maker: Option<String>,
    chip: Option<String>,
    chip_standing: Option<Standing>,
    gpu_family: Option<String>,
    gpu: Option<String>,
    gpu_standing: Option<Standing>,
    gpu_build: Option<String>,
    gpu_vulkan: Option<String>,
    clusters: Vec<String>,
    /// Features that every core has, and others that not every core has.
    has: Vec<String>,
    lacks: Vec<String>,
    memory_bytes: Option<u64>,
    warnings: Vec<String>,
    unfit: Option<String>,
}

fn value<T: Clone>(fact: &Fact<T>) -> Option<T> {
    fact.present().map(|found| found.value.clone())
}

fn standing<T>(fact: &Fact<T>) -> Option<Standing> {
    fact.present().map(|found| found.standing)
}

fn told(findings: &Findings, expected: &Expected) -> Expected {
    let rom = |part: fn(&Rom) -> &Reading<String>| {
        findings.rom.present().and_then(|found| part(&found.value).present().cloned())
    };
    let features = value(&findings.cores.features).unwrap_or_default();
    let held = |names: &[String], held: bool| {
        names.iter().filter(|name| features.contains(name) == held).cloned().collect::<Vec<_>>()
    };
    let driver = findings.gpu_driver.present().map(|found| &found.value);
    let number = |khz: &Reading<u64>| khz.present().map_or("unknown".to_owned(), u64::to_string);
    let name = |core: &Reading<String>| core.present().cloned().unwrap_or_else(|| "unknown".to_owned());
    Expected {
        brand: value(&findings.naming.brand),
        model: value(&findings.naming.model),
        marketing_name: value(&findings.naming.marketing_name),
        chinese_name: value(&findings.naming.chinese_name),
        identity_standing: standing(&findings.naming.brand),
        rom: value(&findings.rom).map(|rom| rom.name),
        rom_standing: standing(&findings.rom),
        rom_version: rom(|rom| &rom.version),
        rom_build: rom(|rom| &rom.build),
        rom_region: rom(|rom| &rom.region),
        android_release: value(&findings.android_release),
        android_api: value(&findings.android_api),
        security_patch: value(&findings.security_patch),
        page_size: value(&findings.page_size),
        abis: value(&findings.abis),
        chip_maker: value(&findings.chip).map(|chip| chip.maker),
        chip: value(&findings.chip).and_then(|chip| chip.model.into_present()),
        chip_standing: standing(&findings.chip),
        gpu_family: value(&findings.gpu).map(|gpu| gpu.family),
        gpu: value(&findings.gpu).and_then(|gpu| gpu.model.into_present()),
        gpu_standing: standing(&findings.gpu),
        gpu_build: driver.and_then(|driver| driver.build.present().cloned()),
        gpu_vulkan: driver.and_then(|driver| driver.vulkan.present().cloned()),
        clusters: findings
            .cores
            .clusters
            .iter()
            .map(|one| format!("{} x {} {}", one.cpus.len(), name(&one.core), number(&one.max_khz)))
            .collect(),
        has: held(&expected.has, true),
        lacks: held(&expected.lacks, false),
        memory_bytes: value(&findings.memory_bytes),
        warnings: findings.warnings.iter().map(|one| one.code().unwrap().as_str().to_owned()).collect(),
        unfit: findings.unfit.as_ref().map(|one| one.code().unwrap().as_str().to_owned()),
    }
}

fn rules() -> &'static Rules {
    Rules::shipped().unwrap()
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/phones");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn phone(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/phones").join(name)
}

fn pieces(folder: &Path) -> BTreeMap<Piece, String> {
    let file = |piece: &Piece| {
        let bytes = std::fs::read(folder.join(format!("{}.txt", piece.as_str()))).ok()?;
        Some((*piece, String::from_utf8(bytes).unwrap()))
    };
    Piece::ALL.iter().filter_map(file).collect()
}

/// What an agent on the device would keep.
fn evidence(folder: &Path) -> RawEvidence {
    let said = pieces(folder);
    let mut evidence = RawEvidence::default();
    for step in rules().plan() {
        match said.get(&step.piece) {
            Some(text) => step.keep(&mut evidence, text, Ending::Whole),
            None => step.keep(&mut evidence, "sh: inaccessible or not found", Ending::Failed(127)),
        }
    }
    evidence
}

/// What the script would print on the device.
fn output(folder: &Path) -> Vec<u8> {
    let evidence = evidence(folder);
    let mut output = Vec::new();
    for piece in Piece::ALL {
        let said = evidence.get(*piece).unwrap();
        let code = if let Ending::Failed(code) = said.ending { code } else { 0 };
        let name = piece.as_str();
        let text = format!("@@{NONCE} > {name}\n{}\n@@{NONCE} = {code}\n\n@@{NONCE} .\n", said.text);
        output.extend_from_slice(text.as_bytes());
    }
    output
}

#[test]
fn every_described_device_is_what_its_folder_says_it_is() {
    let mut wrong = Vec::new();
    let folders = folders();
    assert!(folders.len() >= 30, "{}", folders.len());
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let expected: Expected =
            toml::from_str(&std::fs::read_to_string(folder.join("expected.toml")).unwrap()).unwrap();
        let findings = read(&evidence(&folder), rules());
        let told = told(&findings, &expected);
        if told != expected {
            wrong.push(format!("{name}:\n  expected {expected:?}\n  told     {told:?}\n  {findings:?}\n"));
        }
        assert_eq!(read(&split(&output(&folder), NONCE).unwrap(), rules()), findings, "{name} over the script");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_rom_of_the_table_has_a_device() {
    let seen: Vec<String> = folders()
        .iter()
        .filter_map(|folder| value(&read(&evidence(folder), rules()).rom))
        .map(|rom| rom.name)
        .collect();
    for rom in [
        "HyperOS",
        "MIUI",
        "realme UI",
        "ColorOS",
        "OxygenOS",
        "H2OS",
        "OriginOS",
        "Funtouch OS",
        "HarmonyOS NEXT",
        "MagicOS",
        "Magic UI",
        "HarmonyOS",
        "EMUI",
        "One UI",
        "Flyme",
        "RedMagic OS",
        "MyOS",
        "Nebula AIOS",
        "MiFavor",
        "ZUXOS",
        "ZUI",
        "Smartisan OS",
        "TranOS",
        "LineageOS",
        "Android",
    ] {
        assert!(seen.iter().any(|seen| seen == rom), "{rom}");
    }
}

#[test]
fn libraries_are_told_by_what_they_are_for() {
    let of = |name: &str| {
        let libraries = value(&read(&evidence(&phone(name)), rules()).libraries).unwrap();
        libraries.into_iter().map(|library| format!("{} {}", library.interface, library.path)).collect::<Vec<_>>()
    };
    assert!(of("vivo-x100").contains(&"opencl /vendor/lib64/mt6989/libOpenCL.so".to_owned()));
    assert!(of("vivo-x100").contains(&"mediatek_npu /vendor/lib64/libneuron_runtime.8.so".to_owned()));
    assert!(of("pixel-8").contains(&"opencl_pixel /vendor/lib64/libOpenCL-pixel.so".to_owned()));
    assert!(of("orange-pi-5-plus").contains(&"rockchip_npu /usr/lib/librknnrt.so".to_owned()));
    assert!(of("itel-a70").contains(&"opencl /vendor/lib/libPVROCL.so".to_owned()));
    let mut none = evidence(&phone("pixel-8"));
    none.keep(Piece::Libraries, String::new(), Ending::Whole);
    assert_eq!(value(&read(&none, rules()).libraries), Some(Vec::new()), "there are none, which is known");
    none.keep(Piece::Libraries, String::new(), Ending::Failed(1));
    assert!(read(&none, rules()).libraries.reason().is_some());
}

#[test]
fn a_gpu_that_only_the_table_knows_is_marked_as_such() {
    let mut silent = evidence(&phone("redmi-k70-ultra"));
    for piece in [Piece::SurfaceFlinger, Piece::Vkjson, Piece::Gpu] {
        silent.keep(piece, "not found".to_owned(), Ending::Failed(127));
    }
    let findings = read(&silent, rules());
    let Reading::Present(Found { value, standing, .. }) = findings.gpu else { panic!("{:?}", findings.gpu) };
    assert_eq!((value.model, standing), (Reading::Present("Immortalis-G720".to_owned()), Standing::ByTable));
    assert!(findings.gpu_driver.reason().is_some_and(|reason| reason.contains("127")), "{:?}", findings.gpu_driver);
}

#[test]
fn a_code_of_several_chips_names_none_until_something_decides() {
    let mut shared = evidence(&phone("legion-y70"));
    let without = |key: &str, evidence: &RawEvidence| {
        let dump = &evidence.get(Piece::Getprop).unwrap().text;
        dump.lines()
            .filter(|line| !line.starts_with(&format!("[{key}]")))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    let dump = without("ro.soc.model", &shared);
    shared.keep(Piece::Getprop, dump, Ending::Whole);
    let by_id = read(&shared, rules()).chip.into_present().unwrap();
    assert_eq!(by_id.value.model, Reading::Present("SM8475".to_owned()));
    assert!(by_id.from.contains("soc_id"), "{by_id:?}");
    shared.keep(Piece::Soc, String::new(), Ending::Whole);
    let chip = read(&shared, rules()).chip.into_present().unwrap().value;
    assert!(chip.model.reason().unwrap().contains("several"), "{chip:?}");
    assert!(chip.names.is_empty() && chip.candidates.contains(&"SM8475".to_owned()), "{chip:?}");
}

#[test]
fn a_list_that_is_cut_off_names_no_chip_by_a_property_that_a_better_one_may_overrule() {
    let chip = |list: &str, ending| {
        let mut evidence = RawEvidence::default();
        evidence.keep(Piece::Getprop, list.to_owned(), ending);
        value(&read(&evidence, rules()).chip).and_then(|chip| chip.model.into_present())
    };
    let platform = "[ro.board.platform]: [kona]\n[ro.product.brand]: [Xiaomi]\n";
    assert_eq!(chip(platform, Ending::Whole).as_deref(), Some("SM8250"));
    assert_eq!(chip(platform, Ending::Cut), None, "its ro.soc.model may be another");
    let model = format!("{platform}[ro.soc.model]: [SM8250]\n[x]: [y]\n");
    assert_eq!(chip(&model, Ending::Cut).as_deref(), Some("SM8250"));
}

#[test]
fn cores_decide_a_chip_only_as_derived() {
    let mut silent = evidence(&phone("xiaomi-14"));
    silent.keep(Piece::Getprop, "[ro.build.version.release]: [14]\n".to_owned(), Ending::Whole);
    silent.keep(Piece::Soc, String::new(), Ending::Whole);
    let chip = read(&silent, rules()).chip.into_present().unwrap();
    assert_eq!((chip.value.model, chip.standing), (Reading::Present("SM8650".to_owned()), Standing::ByTable));
}

#[test]
fn features_of_some_cores_are_features_of_none() {
    let mut one = evidence(&phone("xiaomi-14"));
    let text = one.get(Piece::Cpuinfo).unwrap().text.clone();
    let first = text.split("\n\n").next().unwrap().to_owned() + "\n";
    one.keep(Piece::Cpuinfo, first, Ending::Whole);
    let reason = read(&one, rules()).cores.features.reason().map(str::to_owned);
    assert_eq!(reason.as_deref(), Some("only 1 of 8 cores tell their features"));
    one.keep(Piece::Cpuinfo, text, Ending::Cut);
    assert!(read(&one, rules()).cores.features.reason().unwrap().contains("cut off"));
}

#[test]
fn an_old_kernel_tells_once_what_all_cores_have() {
    let mut old = RawEvidence::default();
    let text = "Processor\t: AArch64 Processor rev 4 (aarch64)\nprocessor\t: 0\nprocessor\t: 1\nFeatures\t: fp asimd\n\
                CPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nHardware\t: Qualcomm Technologies, Inc MSM8953\n";
    old.keep(Piece::Cpuinfo, text.to_owned(), Ending::Whole);
    let findings = read(&old, rules());
    assert_eq!(value(&findings.cores.features), Some(vec!["asimd".to_owned(), "fp".to_owned()]));
    assert_eq!(findings.cores.clusters[0].core, Reading::Present("Cortex-A53".to_owned()));
    assert_eq!(value(&findings.chip).unwrap().model, Reading::Present("MSM8953".to_owned()));
}

/// The real script in a real shell, whose `getprop`, `dumpsys` and `cmd` are those of a described phone.
#[test]
fn the_script_brings_what_the_phone_says() {
    let folder = phone("oneplus-crlf");
    let bin = std::env::temp_dir().join(format!("seatrial-phones-{}", std::process::id()));
    std::fs::create_dir_all(&bin).unwrap();
    let tool = |name: &str, body: String| {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    };
    tool("getprop", format!("cat '{}'", folder.join("getprop.txt").display()));
    tool("dumpsys", format!("cat '{}'", folder.join("surfaceflinger.txt").display()));
    tool("cmd", format!("cat '{}'; kill -ABRT $$", folder.join("vkjson.txt").display()));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let text = script(rules(), NONCE).unwrap();
    let mut shells = vec![vec!["sh"]];
    shells.extend([vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "sh"], vec!["mksh"]]);
    for shell in shells {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg("-c").arg(&text).env("PATH", &path).stdin(Stdio::null()).stderr(Stdio::null());
        // Only `sh` is on every machine.
        let Ok(output) = command.output() else {
            assert_ne!(shell[0], "sh");
            continue;
        };
        let said = split(&output.stdout, NONCE).unwrap();
        let findings = read(&said, rules());
        let expected = read(&evidence(&folder), rules());
        assert_eq!(findings.rom, expected.rom, "{shell:?}");
        assert_eq!(findings.naming, expected.naming, "{shell:?}");
        assert_eq!(findings.gpu, expected.gpu, "{shell:?}");
        assert_eq!(value(&findings.gpu_driver), value(&expected.gpu_driver), "{shell:?}");
        assert!(findings.warnings.is_empty(), "{shell:?}: {:?}", findings.warnings);
        assert_eq!(Piece::ALL.iter().filter(|piece| said.get(**piece).is_none()).count(), 0, "{shell:?}");
    }
    std::fs::remove_dir_all(bin).unwrap();
}

fn any_folder() -> impl Strategy<Value = PathBuf> {
    prop::sample::select(folders())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// A connection that ends anywhere makes things unknown, and never makes them something else.
    #[test]
    fn a_cut_never_turns_a_rom_or_the_features_into_others(folder in any_folder(), at in any::<prop::sample::Index>()) {
        let whole = output(&folder);
        let all = read(&split(&whole, NONCE).unwrap(), rules());
        let cut = read(&split(&whole[..at.index(whole.len())], NONCE).unwrap(), rules());
        if let Some(cut) = value(&cut.rom) {
            let all = value(&all.rom).unwrap();
            prop_assert_eq!(cut.name, all.name);
            prop_assert_eq!(cut.version, all.version);
            prop_assert!(cut.build == all.build || cut.build.reason().is_some(), "{:?}", cut.build);
        }
        if cut.cores.features.present().is_some() {
            prop_assert_eq!(value(&cut.cores.features), value(&all.cores.features));
        }
        if cut.libraries.present().is_some() {
            prop_assert_eq!(value(&cut.libraries), value(&all.libraries));
        }
        if cut.memory_bytes.present().is_some() {
            prop_assert_eq!(value(&cut.memory_bytes), value(&all.memory_bytes));
        }
        if let (Some(cut), Some(all)) = (value(&cut.chip), value(&all.chip))
            && let (Reading::Present(cut), Reading::Present(all)) = (cut.model, all.model)
        {
            prop_assert_eq!(cut, all);
        }
    }

    #[test]
    fn the_order_of_properties_decides_nothing(folder in any_folder(), seed in any::<u64>()) {
        let mut shuffled = evidence(&folder);
        let Some(said) = shuffled.get(Piece::Getprop).filter(|said| said.ending == Ending::Whole).cloned() else {
            return Ok(());
        };
        let all = read(&shuffled, rules());
        // A value of several lines stays together.
        let mut entries: Vec<&str> = said.text.split_inclusive("]\n").collect();
        entries.sort_by_key(|entry| hash_of(entry, seed));
        prop_assume!(all.warnings.iter().all(|one| !one.code().unwrap().as_str().starts_with("properties_")));
        shuffled.keep(Piece::Getprop, entries.concat(), Ending::Whole);
        prop_assert_eq!(read(&shuffled, rules()), all);
    }

    #[test]
    fn broken_evidence_is_read_without_a_panic(
        folder in any_folder(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..64),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = output(&folder);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.drain(..cut.index(bytes.len()) / 4);
        let evidence = split(&bytes, NONCE).unwrap();
        let findings = read(&evidence, rules());
        prop_assert_eq!(read(&evidence, rules()), findings);
    }

    #[test]
    fn noise_is_nothing(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let findings = read(&split(&bytes, NONCE).unwrap(), rules());
        prop_assert!(findings.rom.reason().is_some() && findings.chip.reason().is_some() && findings.gpu.reason().is_some());
        prop_assert!(findings.memory_bytes.reason().is_some() && findings.naming.brand.reason().is_some());
    }

    #[test]
    fn a_property_list_of_anything_is_read_without_a_panic(dump in "(\\[[a-z.]{0,8}\\]?:? ?\\[?[ -~\n]{0,20}\\]?\n?){0,40}") {
        let mut evidence = RawEvidence::default();
        evidence.keep(Piece::Getprop, dump, Ending::Whole);
        let _ = read(&evidence, rules());
    }
}

fn hash_of(text: &str, seed: u64) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (seed, text).hash(&mut hasher);
    hasher.finish()
}

#[test]
fn findings_and_evidence_are_documents_that_come_back_as_they_were() {
    let evidence = evidence(&phone("huawei-mate-60-pro"));
    let text = serde_json::to_string(&evidence).unwrap();
    let back: RawEvidence = serde_json::from_str(&text).unwrap();
    assert_eq!(back, evidence);
    let findings = read(&back, rules());
    let text = serde_json::to_string(&findings).unwrap();
    assert_eq!(serde_json::from_str::<Findings>(&text).unwrap(), findings);
}
