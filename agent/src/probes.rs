//! What runtime packages were found to offer on this device. Each is asked in a child and remembered beside the cache for
//! a while; the next hello tells the server.
//!
//! An answer holds until the device starts anew, and for a day at most: a driver may have come. So does none, for an hour:
//! a library that hangs must not cost its time in every job.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::digest::Digest;
use seatrial_core::runtimes::RuntimePackage;
use seatrial_core::time::Monotonic;
use serde::{Deserialize, Serialize};

use crate::folder::write_whole;
use crate::plain::read_plain;
use crate::{VERSION, clock};

/// Packages that are remembered; those asked longest ago are asked again.
const MAX_PROBES: usize = 64;
const MAX_BYTES: u64 = 64 << 10;
const ANSWER_HOLDS: Duration = Duration::from_hours(24);
const SILENCE_HOLDS: Duration = Duration::from_hours(1);

/// A moment of one run of the device. The clock on the wall may be set; this one cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The kernel's own name for the time since it started; empty where it may not be read.
    boot: String,
    at: Monotonic,
}

impl Moment {
    /// On the device whose file system this is.
    pub fn now(root: &Path) -> Self {
        let boot = fs::read_to_string(root.join("proc/sys/kernel/random/boot_id")).unwrap_or_default();
        Self { boot: boot.trim().to_owned(), at: clock::boot() }
    }

    /// Without a name, a clock that is behind tells a new start.
    fn is_within(&self, holds: Duration, asked: &Self) -> bool {
        self.boot == asked.boot && self.at >= asked.at && self.at.since(asked.at) < holds
    }
}

/// What was answered, or why nothing was, and when.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    asked: Moment,
    offer: RuntimeOffer,
}

/// A folder with a file for each package and version of the agent.
#[derive(Debug, Clone)]
pub struct Probes {
    folder: PathBuf,
}

impl Probes {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What the package offers; `None` when it was not asked yet, too long ago, or by another agent.
    pub fn known(&self, package: &RuntimePackage, now: &Moment) -> Option<RuntimeOffer> {
        let Answer { asked, offer } = read(&self.folder, &name(package)).ok()?;
        let holds = if offer.accelerators.is_empty() { SILENCE_HOLDS } else { ANSWER_HOLDS };
        now.is_within(holds, &asked).then_some(offer)
    }

    /// Remembers an answer. An offer of nothing is none.
    pub fn keep(&self, package: &RuntimePackage, offer: &RuntimeOffer, asked: Moment) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let answer = serde_json::to_vec(&Answer { asked, offer: offer.clone() })?;
        write_whole(&self.folder.join(name(package)), &answer, 0o600)?;
        let mut files = self.files()?;
        files.sort();
        for (_, path) in files.iter().rev().skip(MAX_PROBES) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// The last answers that this agent has had, however long ago, those of one runtime together.
    pub fn all(&self) -> Vec<RuntimeOffer> {
        let own = |path: &Path| path.file_name()?.to_str().filter(|name| name.ends_with(&ending())).map(str::to_owned);
        let names = self.files().unwrap_or_default().into_iter().filter_map(|(_, path)| own(&path));
        let mut offers: Vec<RuntimeOffer> =
            names.filter_map(|name| read(&self.folder, &name).ok()).map(|answer| answer.offer).collect();
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

fn read(folder: &Path, name: &str) -> io::Result<Answer> {
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

    fn moment(boot: &str, hours: u64) -> Moment {
        Moment { boot: boot.to_owned(), at: Monotonic::default().plus(Duration::from_hours(hours)) }
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
        let now = Moment::now(Path::new("/"));
        assert_eq!((probes.known(&asked, &now), probes.all()), (None, vec![]), "nothing was asked yet");
        probes.keep(&asked, &offer("1.31.1"), now.clone()).unwrap();
        assert_eq!(probes.known(&asked, &Moment::now(Path::new("/"))), Some(offer("1.31.1")));
        assert_eq!(probes.known(&same_version, &now), None, "other files are another package");
        probes.keep(&package("1.30.0", b"older"), &offer("1.30.0"), now).unwrap();
        assert_eq!(probes.all(), [offer("1.30.0"), offer("1.31.1")]);
    }

    #[test]
    fn an_answer_holds_for_a_day_of_one_run_of_the_device_and_silence_for_an_hour() {
        let home = tempfile::tempdir().unwrap();
        let probes = Probes::new(home.path().to_owned());
        let (answered, silent) = (package("1.31.1", b"one"), package("1.32.0", b"hangs"));
        let nothing = RuntimeOffer { accelerators: Vec::new(), ..offer("1.32.0") };
        probes.keep(&answered, &offer("1.31.1"), moment("a", 10)).unwrap();
        probes.keep(&silent, &nothing, moment("a", 10)).unwrap();
        let known = |now: &Moment| (probes.known(&answered, now).is_some(), probes.known(&silent, now).is_some());
        for (now, expected) in [
            (moment("a", 10), (true, true)),
            (moment("a", 11), (true, false)),
            (moment("a", 33), (true, false)),
            (moment("a", 34), (false, false)),
            (moment("b", 10), (false, false)),
            (moment("a", 9), (false, false)),
        ] {
            assert_eq!(known(&now), expected, "{now:?}");
        }
        assert_eq!(probes.all().len(), 2, "the page shows the last answers until there are others");
    }

    #[test]
    fn what_was_asked_longest_ago_is_forgotten_first() {
        let home = tempfile::tempdir().unwrap();
        let probes = Probes::new(home.path().to_owned());
        for number in 0..=MAX_PROBES {
            let version = number.to_string();
            probes.keep(&package(&version, version.as_bytes()), &offer(&version), moment("a", 1)).unwrap();
            let file = home.path().join(name(&package(&version, version.as_bytes())));
            let age = std::time::Duration::from_secs(number as u64);
            std::fs::File::open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH + age).unwrap();
        }
        probes.keep(&package("last", b"last"), &offer("last"), moment("a", 1)).unwrap();
        assert_eq!(probes.all().len(), MAX_PROBES);
        assert_eq!(probes.known(&package("0", b"0"), &moment("a", 1)), None);
        assert!(probes.known(&package("last", b"last"), &moment("a", 1)).is_some());
    }

    #[test]
    fn a_damaged_answer_is_asked_again() {
        let home = tempfile::tempdir().unwrap();
        let probes = Probes::new(home.path().to_owned());
        let asked = package("1.31.1", b"one");
        probes.keep(&asked, &offer("1.31.1"), moment("a", 1)).unwrap();
        std::fs::write(home.path().join(name(&asked)), "{").unwrap();
        assert_eq!((probes.known(&asked, &moment("a", 1)), probes.all()), (None, vec![]));
    }
}
