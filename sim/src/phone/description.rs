//! What a phone is described by: a folder of plain files.
//!
//! ```text
//! getprop.txt                     properties as `getprop` prints them
//! root/…                          files of the phone: sys/class/…, proc/cpuinfo, vendor/lib64/…
//! answers/COMMAND/ARGUMENTS       what a command prints: `answers/dumpsys/SurfaceFlinger`, `answers/cmd/gpu vkjson`
//! answers/COMMAND/ARGUMENTS.exit  its exit code, where it is not 0
//! settings/NAMESPACE/KEY          settings: `settings/global/device_name`
//! log/BUFFER                      what `logcat` finds in a buffer
//! denied.txt                      paths that the shell may not read, one a line
//! power.toml                      what it is made of: cells, gauge, draw, heat, clocks
//! ```
//!
//! Only the first is needed. What was collected of a phone to tell what it is stands for the rest of it as well: the
//! files in [`Evidence`]. A phone that is described without a battery has the one in `base`. Some phones are described
//! in this program: [`Description::shipped`].

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::parts::Parts;
use super::{PhoneError, shipped};

/// A phone as a folder describes it, or this program.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    pub(super) folder: Option<PathBuf>,
    /// In the order of the file.
    pub properties: Vec<(String, String)>,
    /// Paths in the phone, from its root.
    pub denied: Vec<String>,
    pub(super) evidence: Evidence,
    /// `None`: its battery stays as it is described.
    pub(super) parts: Option<Parts>,
}

/// What a phone said when it was asked what it is: each piece in a file of its own, such as `cpuinfo.txt`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Evidence {
    /// Paths without the first slash.
    pub files: Vec<(String, String)>,
    /// Below the folders of answers and of settings.
    pub answers: Vec<(String, String)>,
    pub settings: Vec<(String, String)>,
    denied: Vec<String>,
}

impl Evidence {
    /// `piece` reads one by its name.
    fn read(piece: impl Fn(&str) -> std::io::Result<Option<String>>) -> std::io::Result<Self> {
        let named = |name: &str, place: &str| -> std::io::Result<Option<(String, String)>> {
            Ok(piece(name)?.map(|text| (place.to_owned(), text)))
        };
        let mut evidence = Self::default();
        for (name, place) in [("cpuinfo", "proc/cpuinfo"), ("meminfo", "proc/meminfo")] {
            evidence.files.extend(named(name, place)?);
        }
        // Lines of PATH=VALUE, and of PATH!WHY for a file that could not be read.
        for name in ["cpus", "gpu", "soc"] {
            for line in piece(name)?.unwrap_or_default().lines() {
                let Some(at) = line.find(['=', '!']).filter(|_| line.starts_with('/')) else { continue };
                if line[at..].starts_with('!') {
                    evidence.denied.push(line[..at].to_owned());
                }
                evidence.files.push((line[1..at].to_owned(), format!("{}\n", &line[at + 1..])));
            }
        }
        // Paths that there are; what is under /dev is no plain file.
        for line in piece("libraries")?.unwrap_or_default().lines() {
            if let Some(path) = line.strip_prefix('/').filter(|path| !path.starts_with("dev/")) {
                evidence.files.push((path.to_owned(), String::new()));
            }
        }
        let answers =
            [("surfaceflinger", "dumpsys/SurfaceFlinger"), ("vkjson", "cmd/gpu vkjson"), ("services", "service/list")];
        for (name, place) in answers {
            evidence.answers.extend(named(name, place)?);
        }
        let name = named("device_name", "global/default_device_name")?;
        evidence.settings.extend(name.filter(|(_, name)| name.trim() != "null"));
        Ok(evidence)
    }

    /// The highest clock of each CPU, in kHz, by number.
    fn clocks(&self) -> Vec<(u32, u64)> {
        let clock = |(path, text): &(String, String)| {
            let rest = path.strip_prefix("sys/devices/system/cpu/cpu")?;
            let cpu = rest.strip_suffix("/cpufreq/cpuinfo_max_freq")?;
            Some((cpu.parse().ok()?, text.trim().parse().ok()?))
        };
        let mut clocks: Vec<(u32, u64)> = self.files.iter().filter_map(clock).collect();
        clocks.sort_unstable();
        clocks
    }
}

impl Description {
    pub fn read(folder: &Path) -> Result<Self, PhoneError> {
        let file = |name: &str| match fs::read_to_string(folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let text = fs::read_to_string(folder.join("getprop.txt"))?;
        let evidence = Evidence::read(|name| file(&format!("{name}.txt")))?;
        let wrong = |why| PhoneError::Description { place: folder.display().to_string(), why };
        let mut described = Self::of(&text, evidence, file("power.toml")?.as_deref()).map_err(wrong)?;
        let denied = file("denied.txt")?.unwrap_or_default();
        described.denied.extend(denied.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        described.folder = Some(folder.canonicalize()?);
        Ok(described)
    }

    /// Names of the phones that this program describes.
    #[must_use]
    pub fn shipped_names() -> &'static [&'static str] {
        shipped::NAMES
    }

    /// One of them.
    pub fn shipped(name: &str) -> Result<Self, PhoneError> {
        let wrong = |why| PhoneError::Description { place: name.to_owned(), why };
        let known = || wrong(format!("there are {}", shipped::NAMES.join(", ")));
        let properties = shipped::piece(name, "getprop").ok_or_else(known)?;
        let evidence = Evidence::read(|piece| Ok(shipped::piece(name, piece).map(str::to_owned)))?;
        Self::of(properties, evidence, shipped::parts(name)).map_err(wrong)
    }

    fn of(dump: &str, mut evidence: Evidence, parts: Option<&str>) -> Result<Self, String> {
        let properties = properties(dump);
        if let Some((name, _)) = properties.iter().find(|(name, _)| !is_plain(name)) {
            return Err(format!("the property {name:?} has a name that is none"));
        }
        if properties.is_empty() {
            return Err("getprop.txt holds no line like [name]: [value]".to_owned());
        }
        let parts: Option<Parts> =
            parts.map(toml::from_str).transpose().map_err(|error| format!("power.toml: {error}"))?;
        let mut denied = evidence.denied.clone();
        if let Some(parts) = &parts {
            let shows = parts.shows(&evidence.clocks());
            evidence.files.extend(shows.files);
            evidence.answers.extend(shows.answers);
            denied.extend(shows.denied);
        }
        Ok(Self { folder: None, properties, denied, evidence, parts })
    }

    pub fn property(&self, name: &str) -> Option<&str> {
        let found = self.properties.iter().find(|(property, _)| property == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What adb shows of the phone in a list of devices.
    pub(super) fn identity(&self) -> String {
        let word = |name| format!("{name}={};", self.property(name).unwrap_or("unknown"));
        ["ro.product.name", "ro.product.model", "ro.product.device"].map(word).concat()
    }
}

/// Reads what `getprop` prints. A value may have several lines.
fn properties(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let begins = line.strip_prefix('[').and_then(|line| line.split_once("]: ["));
        match (begins, found.last_mut()) {
            (Some((name, value)), _) => found.push((name.to_owned(), value.to_owned())),
            (None, Some((_, value))) => {
                value.push('\n');
                value.push_str(line);
            }
            (None, None) => {}
        }
    }
    for (_, value) in &mut found {
        let end = value.trim_end().strip_suffix(']').unwrap_or(value).len();
        value.truncate(end);
    }
    found
}

/// Fit for the name of a file.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.len() < 200
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_keep_their_lines_and_brackets() {
        let text = "[ro.a]: [1]\n[ro.b]: [first\nsecond [x]]\n[ro.empty]: []\n";
        let found = properties(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("ro.a", "1"), ("ro.b", "first\nsecond [x]"), ("ro.empty", "")]);
    }

    #[test]
    fn what_a_phone_said_of_itself_stands_for_its_files_and_answers() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("getprop.txt", "[ro.a]: [1]\n");
        write("cpuinfo.txt", "processor : 0\n");
        write("gpu.txt", "/sys/class/kgsl/kgsl-3d0/gpu_model=Adreno750v1\n/sys/a/gpuinfo!denied or empty\n");
        write("libraries.txt", "/vendor/lib64/libOpenCL.so\n/dev/adsprpc-smd\n");
        write("vkjson.txt", "{}\n");
        write("device_name.txt", "null\n");
        let found = Description::read(folder.path()).unwrap();
        let paths: Vec<&str> = found.evidence.files.iter().map(|(path, _)| path.as_str()).collect();
        let model = "sys/class/kgsl/kgsl-3d0/gpu_model";
        assert_eq!(paths, ["proc/cpuinfo", model, "sys/a/gpuinfo", "vendor/lib64/libOpenCL.so"]);
        assert_eq!(found.evidence.files[1].1, "Adreno750v1\n");
        assert_eq!(found.denied, ["/sys/a/gpuinfo"]);
        assert_eq!(found.evidence.answers, [("cmd/gpu vkjson".to_owned(), "{}\n".to_owned())]);
        assert_eq!(found.evidence.settings, [], "a setting that is null is none");
    }

    #[test]
    fn a_property_that_would_be_written_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("getprop.txt"), "[../escape]: [1]\n").unwrap();
        let refused = Description::read(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("../escape"), "{refused}");
        std::fs::write(folder.path().join("getprop.txt"), "no property at all\n").unwrap();
        assert!(Description::read(folder.path()).unwrap_err().to_string().contains("[name]: [value]"));
    }
}
