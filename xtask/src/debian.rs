//! Debian packages, unpacked into a folder of ours: nothing of the system changes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::command::{command, output, root, run};

/// Where packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// This system's own release.
    Release,
    /// What is newer, built for it.
    Backports,
    /// Debian 13's, down to its C library: a root of its own, which counts on nothing of this system.
    Trixie,
}

/// What this system has.
const INSTALLED: &str = "/var/lib/dpkg/status";

/// The folder in which a package, others that go `with` it, and what they need beyond the system are unpacked, as if it were
/// the root. Done once.
pub fn unpacked(package: &str, with: &[&str], suite: Suite) -> anyhow::Result<PathBuf> {
    let folder = match suite {
        Suite::Release => "target/release-packages",
        Suite::Backports => "target/backports",
        Suite::Trixie => "target/trixie",
    };
    let home = root().join(folder).join(package);
    let (unpacked, stamp) = (home.join("root"), home.join("unpacked"));
    if stamp.exists() {
        return Ok(unpacked);
    }
    println!("fetching {package} into {}", home.display());
    let apt = Apt::new(&home, suite)?;
    run(&mut apt.get("update"))?;
    let fetch = ["--yes", "--no-install-recommends", "--download-only", "--target-release"];
    run(apt.get("install").args(fetch).args([apt.suite.as_str(), package]).args(with))?;
    let archives = home.join("cache/archives");
    let mut any = false;
    for entry in std::fs::read_dir(&archives).with_context(|| format!("cannot read {}", archives.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            run(command("dpkg-deb").arg("--extract").arg(&path).arg(&unpacked))?;
            any = true;
        }
    }
    if !any {
        bail!("nothing was fetched for {package}: is it installed on this system already?");
    }
    std::fs::write(&stamp, "").context("cannot note what was unpacked")?;
    Ok(unpacked)
}

/// apt with a state and a source of its own; it reads which packages the system has, unless it fills a root.
struct Apt {
    /// Name of the suite: `bookworm-backports`.
    suite: String,
    options: Vec<OsString>,
}

impl Apt {
    fn new(home: &Path, suite: Suite) -> anyhow::Result<Self> {
        let (codename, address) = release()?;
        let installed = home.join("installed");
        let (suites, suite, status) = match suite {
            Suite::Release => (codename.clone(), codename, Path::new(INSTALLED)),
            Suite::Backports => {
                (format!("{codename}-backports {codename}"), format!("{codename}-backports"), Path::new(INSTALLED))
            }
            Suite::Trixie => ("trixie".to_owned(), "trixie".to_owned(), installed.as_path()),
        };
        let sources = home.join("sources");
        for folder in [&sources, &home.join("state/lists/partial"), &home.join("cache/archives/partial")] {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&installed, "").context("cannot note that nothing is installed")?;
        let text = format!(
            "Types: deb\nURIs: {address}\nSuites: {suites}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        std::fs::write(sources.join("backports.sources"), text).context("cannot write the source")?;
        let set =
            |key: &str, value: &Path| [OsString::from("-o"), OsString::from(format!("{key}={}", value.display()))];
        let options = [
            set("Dir::Etc::SourceList", Path::new("/dev/null")),
            set("Dir::Etc::SourceParts", &sources),
            set("Dir::State", &home.join("state")),
            set("Dir::State::status", status),
            set("Dir::Cache", &home.join("cache")),
            set("Debug::NoLocking", Path::new("1")),
        ];
        Ok(Self { suite, options: options.concat() })
    }

    fn get(&self, what: &str) -> std::process::Command {
        let mut apt = command("apt-get");
        apt.args(["--quiet=2"]).args(&self.options).arg(what).env("DEBIAN_FRONTEND", "noninteractive");
        apt
    }
}

/// The release of this system and where its packages come from, as its own sources say.
fn release() -> anyhow::Result<(String, String)> {
    let format = "$(CODENAME) $(REPO_URI)";
    let targets = output(command("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    main_source(&targets).context("apt's sources name no Debian release: backports cannot be derived from them")
}

/// Of lines `codename address`, the release itself: its updates and security fixes have a suffix.
fn main_source(targets: &str) -> Option<(String, String)> {
    let pairs = targets.lines().filter_map(|line| line.split_once(' '));
    let is_release = |codename: &str| !codename.is_empty() && codename.chars().all(|c| c.is_ascii_lowercase());
    pairs.into_iter().find(|(codename, _)| is_release(codename)).map(|(name, at)| (name.to_owned(), at.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_told_from_its_updates() {
        let targets =
            "bookworm-security https://a.example/s\nbookworm-updates https://a.example\nbookworm https://b.example\n";
        assert_eq!(main_source(targets), Some(("bookworm".to_owned(), "https://b.example".to_owned())));
        assert_eq!(main_source("bookworm-updates https://a.example\n"), None);
        assert_eq!(main_source(""), None);
    }
}
