//! The names that a selector may read, and their values for a device.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::objects::Key;
use cel::{Context, Env, ExecutionError, Value};

use super::names::Used;
use crate::device::Profile;
use crate::profile::{Fact, Findings, Rom};
use crate::reading::Reading;
use crate::store::DeviceRow;

/// A name that a selector may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    pub kind: &'static str,
    /// One sentence for people.
    pub meaning: &'static str,
}

macro_rules! variables {
    ($($name:literal: $kind:literal, $meaning:literal;)*) => {
        /// Every name that a selector may read. `labels.` takes the operator's own names behind it.
        pub const VARIABLES: &[Variable] = &[$(Variable { name: $name, kind: $kind, meaning: $meaning },)*];
    };
}

variables! {
    "name": "string", "the device's name";
    "state": "string", "the device's state: \"ready\", \"running\", \"maintenance\", …";
    "labels": "map", "the operator's labels: `labels.shelf == \"A3\"`; a label that is not set reads as \"\"";
    "brand": "string or null", "brand, as the device reports it";
    "product": "string or null", "model of the device: \"Xiaomi 15\"";
    "os": "string or null", "operating system or ROM with its version";
    "rom": "string or null", "ROM of a phone: \"HyperOS\", \"ColorOS\", \"Android\" where its maker has none";
    "rom_version": "string or null", "its version: \"2.0.5.0\"";
    "rom_major": "integer or null", "the first number of its version";
    "libraries": "list of strings or null", "interfaces whose libraries are there: `\"opencl\" in libraries`";
    "kernel": "string or null", "version of the kernel";
    "soc": "string or null", "system on chip";
    "gpu": "string or null", "graphics processor";
    "gpu_driver": "string or null", "version of its driver";
    "memory_gb": "number or null", "memory in GiB (2³⁰ bytes)";
    "abi": "string", "binary interface: \"aarch64-linux-android\", \"x86_64-linux-gnu\"";
    "android_api": "integer or null", "Android API level";
    "cpu.model": "string or null", "name of the processor";
    "cpu.architecture": "string", "\"aarch64\", \"x86_64\", …";
    "cpu.count": "integer or null", "logical CPUs that are on";
    "cpu.clusters": "integer", "groups of CPUs with the same maximum frequency";
    "cpu.features": "list of strings or null", "features that every core has: `\"i8mm\" in cpu.features`";
    "runtimes": "list of strings", "runtimes on offer, each with and without its version: `\"tract\" in runtimes`";
    "sensors": "list of strings", "sensors that can be read";
    "agent_version": "string", "version of the device's agent";
    "simulated": "boolean", "true for a simulated device";
}

/// The functions of CEL, made once: making them takes longer than most expressions.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// What the expression reads of a device, as the interpreter wants it.
pub(super) fn context(device: &DeviceRow, used: &Used) -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    let mut cpu: HashMap<Key, Value> = HashMap::new();
    for name in used.variables() {
        let value = value(device, used, name);
        match name.strip_prefix("cpu.") {
            Some(field) => {
                cpu.insert(field.into(), value);
            }
            None => context.add_variable_from_value(name, value),
        }
    }
    if !cpu.is_empty() {
        context.add_variable_from_value("cpu", cpu);
    }
    context
}

fn value(device: &DeviceRow, used: &Used, name: &str) -> Value {
    let profile = &device.profile;
    let text = |reading: &Reading<String>| reading.present().cloned().into();
    match name {
        "name" => device.name.clone().into(),
        "state" => device.state.as_str().into(),
        "labels" => labels(device, used),
        "brand" => text(&profile.brand),
        "product" => text(&profile.product),
        "os" => text(&profile.os),
        "rom" => rom(profile).ok().map(|rom| rom.name.clone()).into(),
        "rom_version" => rom_version(profile).ok().cloned().into(),
        "rom_major" => rom_version(profile).ok().and_then(|text| text.split('.').next()?.parse::<i64>().ok()).into(),
        "libraries" => libraries(profile).ok().into(),
        "kernel" => text(&profile.kernel),
        "soc" => text(&profile.soc),
        "gpu" => text(&profile.gpu),
        "gpu_driver" => text(&profile.gpu_driver),
        "memory_gb" => profile.memory_bytes.present().map(|&bytes| bytes as f64 / f64::from(1 << 30)).into(),
        "abi" => profile.abi.clone().into(),
        "android_api" => profile.android_api.present().map(|&api| i64::from(api)).into(),
        "cpu.model" => text(&profile.cpu.model),
        "cpu.architecture" => profile.cpu.architecture.clone().into(),
        "cpu.count" => profile.cpu.count.present().map(|&count| i64::from(count)).into(),
        "cpu.clusters" => i64::try_from(profile.cpu.clusters.len()).unwrap_or(i64::MAX).into(),
        "cpu.features" => profile.cpu.features.present().cloned().into(),
        "runtimes" => {
            let offers = profile.runtimes.iter();
            offers.flat_map(|o| [o.name.clone(), format!("{} {}", o.name, o.version)]).collect::<Vec<_>>().into()
        }
        "sensors" => profile.sensors.clone().into(),
        "agent_version" => device.agent_version.clone().into(),
        "simulated" => profile.simulated.into(),
        _ => Value::Null,
    }
}

/// What was found, or why it was not.
fn found<T>(profile: &Profile, fact: impl Fn(&Findings) -> &Fact<T>) -> Result<&T, &str> {
    match profile.findings.as_ref().map(fact) {
        Some(Reading::Present(found)) => Ok(&found.value),
        Some(Reading::Absent(reason)) => Err(reason),
        None => Err("the device's agent did not tell"),
    }
}

fn rom(profile: &Profile) -> Result<&Rom, &str> {
    found(profile, |findings| &findings.rom)
}

fn rom_version(profile: &Profile) -> Result<&String, &str> {
    match &rom(profile)?.version {
        Reading::Present(version) => Ok(version),
        Reading::Absent(reason) => Err(reason),
    }
}

/// Interfaces, each once.
fn libraries(profile: &Profile) -> Result<Vec<String>, &str> {
    let libraries = found(profile, |findings| &findings.libraries)?;
    let interfaces: BTreeSet<&String> = libraries.iter().map(|library| &library.interface).collect();
    Ok(interfaces.into_iter().cloned().collect())
}

/// The labels, with "" for each that the expression reads without asking first whether it is set.
fn labels(device: &DeviceRow, used: &Used) -> Value {
    let set = device.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
    let mut labels: HashMap<String, String> = set.collect();
    for name in used.unguarded_labels() {
        labels.entry(name.to_owned()).or_default();
    }
    labels.into()
}

/// Why the expression cannot be decided for this device: the absent readings that it needs, else what the
/// interpreter says.
pub(super) fn reason(device: &DeviceRow, used: &Used, error: &ExecutionError) -> String {
    let absent: Vec<String> = used
        .names()
        .iter()
        .filter_map(|name| absence(device, name).map(|why| format!("`{name}` is not known ({why})")))
        .collect();
    if absent.is_empty() { error.to_string().chars().take(200).collect() } else { absent.join(", ") }
}

fn absence<'d>(device: &'d DeviceRow, name: &str) -> Option<&'d str> {
    let profile = &device.profile;
    match name {
        "brand" => profile.brand.reason(),
        "product" => profile.product.reason(),
        "os" => profile.os.reason(),
        "rom" => rom(profile).err(),
        "rom_version" | "rom_major" => rom_version(profile).err(),
        "libraries" => libraries(profile).err(),
        "kernel" => profile.kernel.reason(),
        "soc" => profile.soc.reason(),
        "gpu" => profile.gpu.reason(),
        "gpu_driver" => profile.gpu_driver.reason(),
        "memory_gb" => profile.memory_bytes.reason(),
        "android_api" => profile.android_api.reason(),
        "cpu.model" => profile.cpu.model.reason(),
        "cpu.count" => profile.cpu.count.reason(),
        "cpu.features" => profile.cpu.features.reason(),
        _ => None,
    }
}
