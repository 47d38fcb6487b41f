//! What an archive or a folder with a benchmark program holds: the program for each ABI, its viewer, and the libraries
//! beside it. As with libraries of engines only their headers are believed.

use std::collections::BTreeMap;

use super::Abi;
use super::recognise::{Contents, Library, Refusal, abis_of_program, is_library, version_of_program};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The program's file name.
    pub program: &'a str,
    /// The file name of the second program, where the rule file calls one.
    pub viewer: Option<&'a str>,
    /// What the user says where nothing else tells it.
    pub version: Option<&'a str>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub version: String,
    pub abi: Abi,
    /// Paths in the archive.
    pub program: String,
    pub viewer: Option<String>,
    pub libraries: Vec<String>,
}

/// Every package of the program, or why there is none. A program that is linked with no library is one for each C
/// library.
pub fn programs(contents: &Contents, wanted: &Wanted<'_>) -> Result<Vec<Program>, Refusal> {
    let mut found: BTreeMap<Abi, Program> = BTreeMap::new();
    for program in contents.libraries.iter().filter(|file| name(&file.path) == wanted.program) {
        for abi in abis_of_program(program, &contents.file_name)? {
            let package = package(program, abi, contents, wanted)?;
            if let Some(earlier) = found.insert(abi, package) {
                return Err(Refusal::Ambiguous { first: earlier.program, second: program.path.clone() });
            }
        }
    }
    if found.is_empty() {
        return Err(Refusal::NoProgram { name: wanted.program.to_owned() });
    }
    Ok(found.into_values().collect())
}

fn package(program: &Library, abi: Abi, contents: &Contents, wanted: &Wanted<'_>) -> Result<Program, Refusal> {
    let beside = |file: &&Library| folder(&file.path) == folder(&program.path) && file.path != program.path;
    let viewer = match wanted.viewer {
        None => None,
        Some(viewer) => {
            let found = contents.libraries.iter().filter(beside).find(|file| name(&file.path) == viewer);
            Some(found.ok_or_else(|| Refusal::NoProgram { name: viewer.to_owned() })?)
        }
    };
    let libraries: Vec<&Library> =
        contents.libraries.iter().filter(beside).filter(|file| is_library(name(&file.path))).collect();
    // Libraries for a processor of another kind are for a coprocessor, which loads them itself.
    let strange = |file: &&&Library| file.machine.is_ok_and(|machine| machine != abi.machine);
    if let Some(other) = libraries.iter().chain(&viewer).find(strange) {
        let (claim, claimed) = (program.path.clone(), abi.machine);
        let machine = other.machine.unwrap_or(claimed);
        return Err(Refusal::NameLies { path: other.path.clone(), claimed, claim, machine });
    }
    Ok(Program {
        version: version_of_program(program, contents, wanted.version)?,
        abi,
        program: program.path.clone(),
        viewer: viewer.map(|file| file.path.clone()),
        libraries: libraries.into_iter().map(|file| file.path.clone()).collect(),
    })
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Machine;
    use super::super::recognise::ForeignMachine;
    use super::*;

    fn file(path: &str, machine: Machine, needed: &[&str]) -> Library {
        Library {
            path: path.to_owned(),
            machine: Ok(machine),
            android_note: false,
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            exports: BTreeMap::new(),
            texts: BTreeSet::new(),
            python_module: false,
        }
    }

    fn contents(libraries: Vec<Library>) -> Contents {
        Contents { file_name: "llama-1.2.tar.gz".to_owned(), libraries, declared: None }
    }

    const BENCH: Wanted<'_> = Wanted { program: "llama-bench", viewer: None, version: None };

    #[test]
    fn a_program_comes_with_the_libraries_beside_it_for_each_of_its_abis() {
        let mut skeleton = file("arm/libSkel.so", Machine::Aarch64, &[]);
        skeleton.machine = Err(ForeignMachine { code: 164, bits: 32 });
        let archive = contents(vec![
            file("x64/llama-bench", Machine::X86_64, &["libllama.so.0", "libc.so.6"]),
            file("x64/libllama.so.0", Machine::X86_64, &["libc.so.6"]),
            file("x64/llama-cli", Machine::X86_64, &["libc.so.6"]),
            file("arm/llama-bench", Machine::Aarch64, &["libc.so"]),
            skeleton,
        ]);
        let found = programs(&archive, &BENCH).unwrap();
        let shown: Vec<(String, &str, &[String])> =
            found.iter().map(|one| (one.abi.to_string(), one.version.as_str(), one.libraries.as_slice())).collect();
        let (x64, arm) = (["x64/libllama.so.0".to_owned()], ["arm/libSkel.so".to_owned()]);
        assert_eq!(
            shown,
            [
                ("x86_64-linux-gnu".to_owned(), "1.2", x64.as_slice()),
                ("aarch64-linux-android".to_owned(), "1.2", arm.as_slice())
            ]
        );
    }

    #[test]
    fn a_program_without_libraries_is_one_package_for_each_c_library() {
        let found = programs(&contents(vec![file("llama-bench", Machine::Aarch64, &[])]), &BENCH).unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn what_is_missing_twice_there_or_for_another_processor_is_refused() {
        let own = || file("bin/llama-bench", Machine::X86_64, &["libc.so.6"]);
        let refused =
            |libraries: Vec<Library>, wanted: &Wanted<'_>| programs(&contents(libraries), wanted).unwrap_err();
        let none = refused(vec![file("bin/llama-cli", Machine::X86_64, &["libc.so.6"])], &BENCH);
        assert_eq!(none, Refusal::NoProgram { name: "llama-bench".to_owned() });
        let viewed = Wanted { viewer: Some("llama-view"), ..BENCH };
        assert_eq!(refused(vec![own()], &viewed), Refusal::NoProgram { name: "llama-view".to_owned() });
        let twice = refused(vec![own(), file("old/llama-bench", Machine::X86_64, &["libc.so.6"])], &BENCH);
        assert!(matches!(twice, Refusal::Ambiguous { .. }), "{twice}");
        let other = refused(vec![own(), file("bin/libggml.so", Machine::Aarch64, &["libc.so.6"])], &BENCH);
        assert!(matches!(&other, Refusal::NameLies { path, .. } if path == "bin/libggml.so"), "{other}");
    }
}
