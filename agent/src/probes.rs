//! What runtime packages were found to offer on this device. Each is asked once, in a child, and remembered beside the
//! cache; the next hello tells the server.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::digest::Digest;
use seatrial_core::runtimes::RuntimePackage;

use crate::VERSION;
use crate::folder::write_whole;
use crate::plain::read_plain;

/// Packages that are remembered; those asked longest ago are asked again.
const MAX_PROBES: usize = 64;
const MAX_BYTES: u64 = 64 << 10;

/// A folder with a file for each package and version of the agent.
#[derive(Debug, Clone)]
pub struct Probes {
    folder: PathBuf,
}

impl Probes {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What the package offers; `None` when it was not asked yet, or by another agent.
    pub fn known(&self, package: &RuntimePackage) -> Option<RuntimeOffer> {
        read(&self.folder, &name(package)).ok()
    }

    /// Remembers an answer.
    pub fn keep(&self, package: &RuntimePackage, offer: &RuntimeOffer) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        write_whole(&self.folder.join(name(package)), &serde_json::to_vec(offer)?, 0o600)?;
        let mut files = self.files()?;
        files.sort();
        for (_, path) in files.iter().rev().skip(MAX_PROBES) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// All answers that this agent has had, those of one runtime together.
    pub fn all(&self) -> Vec<RuntimeOffer> {
        let own = |path: &Path| path.file_name()?.to_str().filter(|name| name.ends_with(&ending())).map(str::to_owned);
        let names = self.files().unwrap_or_default().into_iter().filter_map(|(_, path)| own(&path));
        let mut offers: Vec<RuntimeOffer> = names.filter_map(|name| read(&self.folder, &name).ok()).collect();
        offers.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        offers
    }

    fn files(&self) -> io::Result<Vec<(SystemTime, PathBuf)>> {
        let mut files = Vec::new();
        match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(error),
            Ok(entries) => {
                for entry in entries {
                    let entry = entry?;
                    files.push((entry.metadata()?.modified()?, entry.path()));
                }
            }
        }
        Ok(files)
    }
}

fn read(folder: &Path, name: &str) -> io::Result<RuntimeOffer> {
    Ok(serde_json::from_slice(&read_plain(folder, name, MAX_BYTES)?)?)
}

/// The package by its files, and the agent that asked it.
fn name(package: &RuntimePackage) -> String {
    let files: Vec<u8> = package.manifest.entries.iter().flat_map(|entry| entry.digest.as_bytes()).copied().collect();
    format!("{}{}", Digest::of(&files).short(), ending())
}

fn ending() -> String {
    format!("-{VERSION}.json")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use seatrial_core::backend::Accelerator;
    use seatrial_core::model::{Format, Manifest, ManifestEntry};
    use seatrial_core::runtimes::{Engine, PackageKind};

    use super::*;

    fn package(version: &str, bytes: &[u8]) -> RuntimePackage {
        let entry = ManifestEntry {
            role: "engine".to_owned(),
            file_name: "libonnxruntime.so".to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        RuntimePackage {
            runtime: "onnxruntime".to_owned(),
            kind: PackageKind::Library { engine: Engine::Onnxruntime },
            version: version.to_owned(),
            abi: Some("x86_64-linux-gnu".parse().unwrap()),
            accelerators: vec![Accelerator::Cpu],
            formats: vec![Format::Onnx],
            manifest: Manifest { entries: vec![entry] },
        }
    }

    fn offer(version: &str) -> RuntimeOffer {
        RuntimeOffer {
            name: "onnxruntime".to_owned(),
            version: version.to_owned(),
            formats: vec![Format::Onnx],
            accelerators: vec![Accelerator::Cpu],
            absent: BTreeMap::from([(Accelerator::Gpu, "there is no Vulkan driver".to_owned())]),
        }
    }

    #[test]
    fn a_package_is_known_by_its_files_once_it_was_asked() {
        let home = tempfile::tempdir().unwrap();
        let probes = Probes::new(home.path().join("probes"));
        let (asked, same_version) = (package("1.31.1", b"one"), package("1.31.1", b"other"));
        assert_eq!((probes.known(&asked), probes.all()), (None, vec![]), "nothing was asked yet");
        probes.keep(&asked, &offer("1.31.1")).unwrap();
        assert_eq!(probes.known(&asked), Some(offer("1.31.1")));
        assert_eq!(probes.known(&same_version), None, "other files are another package");
        probes.keep(&package("1.30.0", b"older"), &offer("1.30.0")).unwrap();
        assert_eq!(probes.all(), [offer("1.30.0"), offer("1.31.1")]);
    }

    #[test]
    fn what_was_asked_longest_ago_is_forgotten_first() {
        let home = tempfile::tempdir().unwrap();
        let probes = Probes::new(home.path().to_owned());
        for number in 0..=MAX_PROBES {
            let version = number.to_string();
            probes.keep(&package(&version, version.as_bytes()), &offer(&version)).unwrap();
            let file = home.path().join(name(&package(&version, version.as_bytes())));
            let age = std::time::Duration::from_secs(number as u64);
            std::fs::File::open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH + age).unwrap();
        }
        probes.keep(&package("last", b"last"), &offer("last")).unwrap();
        assert_eq!(probes.all().len(), MAX_PROBES);
        assert_eq!(probes.known(&package("0", b"0")), None);
        assert!(probes.known(&package("last", b"last")).is_some());
    }

    #[test]
    fn a_damaged_answer_is_asked_again() {
        let home = tempfile::tempdir().unwrap();
        let probes = Probes::new(home.path().to_owned());
        let asked = package("1.31.1", b"one");
        probes.keep(&asked, &offer("1.31.1")).unwrap();
        std::fs::write(home.path().join(name(&asked)), "{").unwrap();
        assert_eq!((probes.known(&asked), probes.all()), (None, vec![]));
    }
}
