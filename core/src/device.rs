//! Devices: the evidence that identifies them, what was probed of them, and their state.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::energy::BatteryFacts;
use crate::profile::Findings;
use crate::reading::{self, Reading};

/// What tells one device from another, strongest first. Cheap phones share serials and hosts have none, so the server
/// matches on all of it and issues the id itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Evidence {
    /// The id that an earlier stay left in the agent's own folder.
    pub agent_id: Option<String>,
    pub hardware_serial: Option<String>,
    pub machine_id: Option<String>,
    /// Breaks ties only.
    pub usb_path: Option<String>,
}

/// A group of cores with the same maximum frequency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuCluster {
    pub cpus: Vec<u16>,
    pub max_frequency_khz: Reading<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    pub model: Reading<String>,
    /// `x86_64`, `aarch64`, `armv7`, …
    pub architecture: String,
    /// Logical CPUs that are on.
    #[serde(deserialize_with = "reading::or_plain")]
    pub count: Reading<u16>,
    /// Slowest first.
    pub clusters: Vec<CpuCluster>,
    /// Features that every core has: `avx2`, `asimddp`, `i8mm`, …
    #[serde(deserialize_with = "reading::or_plain")]
    pub features: Reading<Vec<String>>,
}

/// What was probed of a device. Absent readings keep their reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub brand: Reading<String>,
    pub product: Reading<String>,
    /// Operating system or ROM with its version: `HyperOS 2.0.112`, `Debian GNU/Linux 12`.
    pub os: Reading<String>,
    pub kernel: Reading<String>,
    /// What the device calls itself on a network.
    #[serde(default = "no_hostname")]
    pub hostname: Reading<String>,
    pub soc: Reading<String>,
    pub cpu: Cpu,
    pub gpu: Reading<String>,
    pub gpu_driver: Reading<String>,
    pub memory_bytes: Reading<u64>,
    pub abi: String,
    pub android_api: Reading<u32>,
    /// Sensors that can be read, by name.
    pub sensors: Vec<String>,
    /// Sensors that cannot, with the reason.
    pub absent_sensors: BTreeMap<String, String>,
    /// Runtimes that the agent offers, as `name version`.
    pub runtimes: Vec<RuntimeOffer>,
    /// Engines that the agent can load from a runtime package.
    #[serde(default)]
    pub engines: Vec<crate::runtimes::Engine>,
    /// What runtime packages were found to offer here, by those that jobs have brought.
    #[serde(default)]
    pub packages: Vec<RuntimeOffer>,
    /// Interpreters that the agent's own configuration names, with their versions.
    #[serde(default)]
    pub interpreters: BTreeMap<String, String>,
    /// What raw evidence says the device is, each finding with what decided it; `None` of an older agent.
    #[serde(default)]
    pub findings: Option<Findings>,
    /// What its battery tells, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery: Option<BatteryFacts>,
    /// True for a simulated device: pages say so on every figure.
    pub simulated: bool,
}

fn no_hostname() -> Reading<String> {
    Reading::absent("the agent did not tell")
}

/// A runtime as the agent really offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeOffer {
    pub name: String,
    pub version: String,
    pub formats: Vec<crate::model::Format>,
    pub accelerators: Vec<crate::backend::Accelerator>,
    /// What it has code for and cannot use here, with the reason.
    #[serde(default)]
    pub absent: BTreeMap<crate::backend::Accelerator, String>,
}

impl std::fmt::Display for RuntimeOffer {
    /// `cpu; no gpu: there is no Vulkan driver`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let offered: Vec<&str> = self.accelerators.iter().map(|one| one.as_str()).collect();
        let offered = Some(offered.join(", ")).filter(|offered| !offered.is_empty());
        let absent = self.absent.iter().map(|(one, why)| format!("no {}: {why}", one.as_str()));
        f.write_str(&offered.into_iter().chain(absent).collect::<Vec<_>>().join("; "))
    }
}

/// Operator labels: `shelf = "A3"`.
pub type Labels = BTreeMap<String, String>;

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Where a device is in its life.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum DeviceState { $($(#[$doc])* $name,)* }

        impl DeviceState {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

states! {
    Discovered = "discovered",
    Unauthorized = "unauthorized",
    Ready = "ready",
    Reserved = "reserved",
    Preparing = "preparing",
    Running = "running",
    /// Works alone with its cable cut.
    Dark = "dark",
    Cooling = "cooling",
    Charging = "charging",
    Recovering = "recovering",
    Quarantined = "quarantined",
    Maintenance = "maintenance",
    Retired = "retired",
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeviceState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a device state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Accelerator;

    #[test]
    fn an_offer_is_told_with_what_it_lacks_and_why() {
        let told = |accelerators: &[Accelerator], absent: &[(Accelerator, &str)]| {
            let absent = absent.iter().map(|&(one, why)| (one, why.to_owned())).collect();
            let (name, version) = ("litert".to_owned(), "2.3.0".to_owned());
            RuntimeOffer { name, version, formats: Vec::new(), accelerators: accelerators.to_vec(), absent }.to_string()
        };
        let (cpu, gpu) = (Accelerator::Cpu, Accelerator::Gpu);
        assert_eq!(told(&[cpu, gpu], &[]), "cpu, gpu");
        assert_eq!(told(&[cpu], &[(gpu, "there is no driver")]), "cpu; no gpu: there is no driver");
        assert_eq!(told(&[], &[(cpu, "it died by signal 11")]), "no cpu: it died by signal 11");
    }

    #[test]
    fn a_processor_of_an_older_document_has_plain_numbers_and_lists() {
        let cpu = |count: &str, features: &str| -> Cpu {
            let text = format!(
                r#"{{"model":{{"absent":"denied"}},"architecture":"x86_64","count":{count},"clusters":[],"features":{features}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let older = cpu("8", r#"["avx2"]"#);
        assert_eq!((&older.count, &older.features), (&Reading::Present(8), &Reading::Present(vec!["avx2".to_owned()])));
        let absent = cpu(r#"{"absent":"denied"}"#, r#"{"absent":"denied"}"#);
        assert_eq!((absent.count.reason(), absent.features.reason()), (Some("denied"), Some("denied")));
        let text = serde_json::to_string(&older).unwrap();
        assert_eq!(serde_json::from_str::<Cpu>(&text).unwrap(), older);
    }
}
