//! Benchmark programs of vendors: an archive, a folder or the program itself, and the rule file by which it is called and
//! read.

use std::path::{Path, PathBuf};

use seatrial_core::command::{MAX_RULE_BYTES, RULES_ROLE, Rule, VIEWER_ROLE};
use seatrial_core::model::Manifest;
use seatrial_core::runtimes::program::{Program, Wanted, programs};
use seatrial_core::runtimes::{PROGRAM_ROLE, PackageKind, RuntimePackage};

use super::archive::{self, Unpacked};
use super::{Found, PackageFile, text};
use crate::error::{CliError, Result};

/// The rule file of a program, and which files it speaks of.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub file: PathBuf,
    /// The program's file name; the rule file's `name` when absent.
    pub program: Option<String>,
    pub viewer: Option<String>,
}

/// The packages of a program, one for each ABI, with their files unpacked into `scratch`.
pub(super) fn open(path: &Path, rules: &Rules, version: Option<&str>, scratch: &Path) -> Result<Vec<Found>> {
    let refuse = |why: String| CliError::plain(format!("{}: {why}", path.display()));
    let rule = rule(&rules.file)?;
    if rule.has_viewer() && rules.viewer.is_none() {
        let why = format!("{} calls a second program: name it by --viewer", rules.file.display());
        return Err(refuse(why));
    }
    let is_program = !path.is_dir() && !archive::is_archive(path)?;
    let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).filter(|_| is_program);
    let program = own.or_else(|| rules.program.clone()).unwrap_or_else(|| rule.name.clone());
    let viewer = rules.viewer.clone().filter(|_| rule.has_viewer());
    let names: Vec<&str> = [Some(program.as_str()), viewer.as_deref()].into_iter().flatten().collect();
    let unpacked = archive::programs(path, is_program, &names, scratch)?;
    let wanted = Wanted { program: &program, viewer: viewer.as_deref(), version };
    let found = programs(&unpacked.contents, &wanted).map_err(|refusal| refuse(refusal.to_string()))?;
    found.into_iter().map(|program| package(program, &rule, &rules.file, &unpacked)).collect()
}

fn rule(path: &Path) -> Result<Rule> {
    let text = text(path, MAX_RULE_BYTES as u64)?;
    let file = path.display().to_string();
    Rule::parse(&text, &file).map_err(|problems| CliError::Problems { file, problems })
}

fn package(program: Program, rule: &Rule, rules: &Path, unpacked: &Unpacked) -> Result<Found> {
    let Program { version, abi, program, viewer, libraries } = program;
    let mut files = vec![unpacked.file(PROGRAM_ROLE, &program)?];
    if let Some(viewer) = viewer {
        files.push(unpacked.file(VIEWER_ROLE, &viewer)?);
    }
    let file_name = rules.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    files.push(PackageFile { role: RULES_ROLE.to_owned(), file_name, place: rules.to_owned() });
    for library in libraries {
        files.push(unpacked.file("library", &library)?);
    }
    let package = RuntimePackage {
        runtime: rule.name.clone(),
        kind: PackageKind::Command,
        version,
        abi: Some(abi),
        accelerators: rule.accelerators().collect(),
        formats: rule.formats.clone(),
        manifest: Manifest::default(),
    };
    Ok(Found { package, files })
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use seatrial_core::backend::Accelerator;

    use super::*;

    const RULES: &str = r#"
name = "bench"
written_for = ["1"]
formats = ["gguf"]
[call]
arguments = ["{model}"]
[accelerators.cpu]
[[told]]
name = "latency_avg"
unit = "ms"
value = 'avg (?<value>\S+)'
required = true
"#;

    /// A small program for this machine.
    fn program() -> Vec<u8> {
        fs_err::read("/bin/true").unwrap()
    }

    fn rules(folder: &Path, text: &str) -> Rules {
        let file = folder.join("bench.toml");
        fs_err::write(&file, text).unwrap();
        Rules { file, program: None, viewer: None }
    }

    fn roles(found: &Found) -> Vec<(&str, &str)> {
        found.files.iter().map(|file| (file.role.as_str(), file.file_name.as_str())).collect()
    }

    #[test]
    fn a_program_comes_with_its_rules_and_the_libraries_beside_it() {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rules = rules(folder.path(), RULES);
        for name in ["linux_bench", "libown.so", "other"] {
            fs_err::write(folder.path().join(name), program()).unwrap();
        }
        fs_err::write(folder.path().join("notes.txt"), "no program").unwrap();
        let found = open(&folder.path().join("linux_bench"), &rules, Some("7"), scratch.path()).unwrap();
        let [found]: [Found; 1] = found.try_into().ok().unwrap();
        assert_eq!(
            roles(&found),
            [(PROGRAM_ROLE, "linux_bench"), (RULES_ROLE, "bench.toml"), ("library", "libown.so")]
        );
        let RuntimePackage { runtime, kind, version, abi, accelerators, .. } = found.package;
        assert_eq!((runtime.as_str(), kind, version.as_str()), ("bench", PackageKind::Command, "7"));
        assert_eq!((abi.unwrap().machine.as_str(), accelerators), (std::env::consts::ARCH, vec![Accelerator::Cpu]));
    }

    #[test]
    fn in_an_archive_it_has_the_name_of_the_rules_and_links_are_names_of_what_they_lead_to() {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rules = rules(folder.path(), RULES);
        let path = folder.path().join("bench-1.4.tar.gz");
        let mut archive = tar::Builder::new(GzEncoder::new(fs_err::File::create(&path).unwrap(), Compression::fast()));
        let bytes = program();
        for name in ["bin/bench", "bin/libown.so.0.4"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        for (name, target) in
            [("bin/libown.so", "libown.so.0"), ("bin/libown.so.0", "libown.so.0.4"), ("bin/libx.so", "/etc/passwd")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, name, target).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        let [found]: [Found; 1] = open(&path, &rules, None, scratch.path()).unwrap().try_into().ok().unwrap();
        let mut names: Vec<&str> = found.files.iter().map(|file| file.file_name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["bench", "bench.toml", "libown.so", "libown.so.0", "libown.so.0.4"]);
        assert_eq!(found.package.version, "1.4");
    }

    #[test]
    fn what_is_not_right_is_said() {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own = rules(folder.path(), RULES);
        let refused = |rules: &Rules, version| {
            let error = open(folder.path(), rules, version, scratch.path()).err().unwrap();
            let problems = if let CliError::Problems { problems, .. } = &error { problems.as_slice() } else { &[] };
            format!("{error} {}", seatrial_core::suite::render(problems))
        };
        assert!(refused(&own, None).contains("there is no program bench"));
        fs_err::write(folder.path().join("bench"), program()).unwrap();
        assert!(refused(&own, None).contains("nothing tells the version of bench"));
        fs_err::write(&own.file, RULES.replace("[call]", "[call]\nviewer = [\"{output}\"]")).unwrap();
        assert!(refused(&own, Some("1")).contains("name it by --viewer"));
        fs_err::write(&own.file, "name = 7\n").unwrap();
        assert!(refused(&own, Some("1")).contains("bench.toml"));
    }
}
