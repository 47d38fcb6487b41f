//! What runs runners on this device, as the agent's own configuration names it. A job names an interpreter by its name
//! only: no request from outside ever names a path.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

/// How long an interpreter may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(10);
/// A longer version is cut, in bytes.
const MAX_VERSION: u64 = 200;

/// An interpreter as it is configured: `python3=/opt/venv/bin/python`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub name: String,
    pub path: PathBuf,
}

impl FromStr for Interpreter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').unwrap_or_default();
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if named && path.starts_with('/') {
            Ok(Self { name: name.to_owned(), path: path.into() })
        } else {
            Err(format!("{text:?} is no name and absolute path, such as python3=/usr/bin/python3"))
        }
    }
}

/// The interpreters of an agent by name, with what each says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interpreters(BTreeMap<String, (PathBuf, String)>);

impl Interpreters {
    /// Asks each for its version. One that cannot tell would fail every job: that is an error now.
    pub fn look(configured: Vec<Interpreter>) -> Result<Self, String> {
        let asked = configured.into_iter().map(|Interpreter { name, path }| {
            let version = version(&path).map_err(|why| format!("--interpreter {name}={}: {why}", path.display()))?;
            Ok((name, (path, version)))
        });
        asked.collect::<Result<_, String>>().map(Self)
    }

    /// Where the interpreter of this name is, and what it says of itself.
    pub fn get(&self, name: &str) -> Option<(&Path, &str)> {
        self.0.get(name).map(|(path, version)| (path.as_path(), version.as_str()))
    }

    /// Versions by name.
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, (_, version))| (name.clone(), version.clone())).collect()
    }
}

/// The first line that `--version` prints.
fn version(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if begun.elapsed() >= PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it does not tell its version within {PATIENCE:?}"));
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    // Old ones tell it on standard error. Pipes hold more than is read of them.
    let mut text = String::new();
    let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>);
    let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read>);
    for pipe in [stdout, stderr].into_iter().flatten() {
        if text.is_empty() {
            // What is no text is no version.
            let _ = pipe.take(MAX_VERSION).read_to_string(&mut text);
        }
    }
    match text.lines().next().map(str::trim).filter(|line| !line.is_empty() && status.success()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(format!("--version ends with {status} and prints {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(folder: &Path, name: &str, body: &str) -> Interpreter {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Interpreter { name: name.to_owned(), path }
    }

    #[test]
    fn an_interpreter_is_a_name_and_an_absolute_path() {
        let one: Interpreter = "python3=/opt/venv/bin/python".parse().unwrap();
        assert_eq!((one.name.as_str(), one.path), ("python3", PathBuf::from("/opt/venv/bin/python")));
        for text in ["", "python3", "=/usr/bin/python3", "python3=python3", "a b=/usr/bin/python3"] {
            assert!(text.parse::<Interpreter>().unwrap_err().contains("no name and absolute path"), "{text}");
        }
    }

    #[test]
    fn each_is_asked_for_its_version_and_one_that_cannot_tell_is_an_error_by_name() {
        let home = tempfile::tempdir().unwrap();
        let good = script(home.path(), "good", "echo Good 3.1; echo more");
        let old = script(home.path(), "old", "echo Old 2.7 >&2");
        let known = Interpreters::look(vec![good.clone(), old]).unwrap();
        assert_eq!(
            known.versions(),
            BTreeMap::from([("good".into(), "Good 3.1".into()), ("old".into(), "Old 2.7".into())])
        );
        assert_eq!((known.get("good"), known.get("other")), (Some((good.path.as_path(), "Good 3.1")), None));
        for bad in [
            script(home.path(), "fails", "echo Bad 1; exit 3"),
            script(home.path(), "silent", "true"),
            Interpreter { name: "missing".into(), path: home.path().join("missing") },
        ] {
            let name = bad.name.clone();
            let error = Interpreters::look(vec![bad]).unwrap_err();
            assert!(error.starts_with(&format!("--interpreter {name}=")), "{error}");
        }
    }
}
