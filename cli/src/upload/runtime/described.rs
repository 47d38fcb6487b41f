//! Runners: a program with a description beside it, of which every file lies in the description's folder.

use std::path::{Path, PathBuf};

use fs_err::File;
use seatrial_core::backend::Accelerator;
use seatrial_core::model::{Format, Manifest};
use seatrial_core::runtimes::{Abi, PROGRAM_ROLE, PackageKind, RuntimePackage, recognise};
use serde::Deserialize;

use super::{Found, PackageFile, elf, text};
use crate::error::{CliError, Result};

/// Bytes of a description.
const MAX_DESCRIPTION: u64 = 64 << 10;

/// A description, as docs/runtimes.md explains it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// The name by which suites call it.
    runtime: String,
    #[serde(default)]
    version: Option<String>,
    /// The interpreter of a script; absent for a program that a device can start by itself.
    #[serde(default)]
    interpreter: Option<String>,
    formats: Vec<Format>,
    #[serde(default = "cpu")]
    accelerators: Vec<Accelerator>,
    program: String,
    /// What the program needs beside it.
    #[serde(default)]
    files: Vec<String>,
}

fn cpu() -> Vec<Accelerator> {
    vec![Accelerator::Cpu]
}

/// Where the description of a program is, when the path is one or has one beside it: `run.py` has `run.toml`.
pub(super) fn beside(path: &Path) -> Option<PathBuf> {
    let description = path.with_extension("toml");
    (description == path || description.is_file()).then_some(description)
}

/// The packages of a description: one, or one for each C library where the program needs none. `asked` is the file that
/// the user named: the description, or the program that it describes.
pub(super) fn open(asked: &Path, path: &Path, version: Option<&str>) -> Result<Vec<Found>> {
    let refuse = |why: String| CliError::plain(format!("{}: {why}", path.display()));
    let Description { runtime, version: own, interpreter, formats, accelerators, program, files } =
        toml::from_str(&text(path, MAX_DESCRIPTION)?).map_err(|error| {
            refuse(format!("this describes no runner: {error}"))
                .with_hint("the rule file of a benchmark program goes with it: `runtimes add PROGRAM --rules FILE`")
        })?;
    let described = path.with_file_name(&program);
    if asked != path && asked != described {
        return Err(refuse(format!("it describes {}, not {}", described.display(), asked.display())));
    }
    let version = version.map(str::to_owned).or(own);
    let version = version.ok_or_else(|| refuse("`version` is missing (or pass --version)".to_owned()))?;
    let beside = |role: &str, name: String| {
        if Path::new(&name).file_name().is_none_or(|flat| flat != name.as_str()) {
            return Err(refuse(format!("{name:?} is no plain name: a runner's files lie beside its description")));
        }
        Ok(PackageFile { role: role.to_owned(), place: path.with_file_name(&name), file_name: name })
    };
    let program = beside(PROGRAM_ROLE, program)?;
    let abis = match &interpreter {
        Some(_) => vec![None],
        None => abis(&program).map_err(refuse)?.into_iter().map(Some).collect(),
    };
    let mut all = vec![program];
    for name in files {
        all.push(beside("module", name)?);
    }
    // Another description is another package.
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    all.push(PackageFile { role: "description".to_owned(), file_name, place: path.to_owned() });
    let package = RuntimePackage {
        runtime,
        kind: PackageKind::Runner { interpreter },
        version,
        abi: None,
        accelerators,
        formats,
        manifest: Manifest::default(),
    };
    let for_abi = |abi: Option<Abi>| Found { package: RuntimePackage { abi, ..package.clone() }, files: all.clone() };
    Ok(abis.into_iter().map(for_abi).collect())
}

/// What a program was built for.
fn abis(program: &PackageFile) -> std::result::Result<Vec<Abi>, String> {
    let PackageFile { place, file_name, .. } = program;
    let file = File::open(place).map_err(|error| error.to_string())?;
    let found = elf::inspect(file_name, file).map_err(|error| format!("the headers of {file_name}: {error}"))?;
    let found =
        found.ok_or_else(|| format!("{file_name} is no program for Linux: a script names its `interpreter`"))?;
    recognise::abis_of_program(&found, file_name).map_err(|refusal| refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(description: &str, asked: &str) -> std::result::Result<Vec<Found>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        fs_err::write(&path, description).unwrap();
        fs_err::write(folder.path().join("run.py"), "print()").unwrap();
        fs_err::copy("/bin/true", folder.path().join("run")).unwrap();
        let asked = folder.path().join(asked);
        assert_eq!(beside(&asked).unwrap(), path);
        open(&asked, &path, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_script_is_for_every_device_and_a_program_for_one_abi() {
        let script = "runtime = \"caffe\"\nversion = \"4.11\"\ninterpreter = \"python3\"\nformats = [\"onnx\"]\n\
                      program = \"run.py\"\nfiles = [\"sdk.py\"]\n";
        let [Found { package, files }]: [Found; 1] = opened(script, "run.py").unwrap().try_into().ok().unwrap();
        assert_eq!((package.abi, files.len(), files[0].role.as_str()), (None, 3, PROGRAM_ROLE));
        assert_eq!(package.accelerators, [Accelerator::Cpu]);
        let program = "runtime = \"own\"\nversion = \"1\"\nformats = [\"onnx\"]\nprogram = \"run\"\n";
        let [Found { package, .. }]: [Found; 1] = opened(program, "run.toml").unwrap().try_into().ok().unwrap();
        assert_eq!(package.abi.unwrap().machine.as_str(), std::env::consts::ARCH);
        let refused = opened(program, "run.py").err().unwrap();
        assert!(refused.contains("it describes ") && refused.ends_with("run.py"), "{refused}");
    }

    #[test]
    fn what_is_not_right_is_said() {
        let lines = |more: &str| format!("runtime = \"own\"\nformats = [\"onnx\"]\n{more}");
        for (description, said) in [
            (lines("program = \"run\"\n"), "`version` is missing"),
            (lines("version = \"1\"\nprogram = \"run.py\"\n"), "names its `interpreter`"),
            (lines("version = \"1\"\nprogram = \"../run\"\n"), "no plain name"),
            (lines("version = \"1\"\nprogram = \"run\"\nshell = \"sh\"\n"), "unknown field `shell`"),
            (lines("version = \"1\"\nprogram = \"absent\"\n"), "absent"),
        ] {
            let refused = opened(&description, "run.toml").err().unwrap();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
