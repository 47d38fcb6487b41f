//! What an archive with libraries holds, told by the libraries: engine, version, ABI, accelerators. Names of files and
//! folders are claims, and a claim that its library contradicts is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::{Abi, Engine, Libc, Machine};
use crate::backend::Accelerator;

/// Exported functions by which an engine is known. What an archive's reader has to look for.
pub const TELLING_EXPORTS: &[&str] = &[
    "OrtGetApiBase",
    "LiteRtCreateEnvironment",
    "TfLiteInterpreterCreate",
    "TF_NewSession",
    "MXPredCreate",
    "llama_decode",
    "ov_core_create",
];

/// Texts inside a library that tell which accelerators it has code for.
pub const TELLING_TEXTS: &[&str] = &[
    "wgpuCreateInstance",
    "ANeuralNetworksModel_create",
    "ANeuralNetworksCompilation_create",
    "QnnInterface_getProviders",
];

/// One library of an archive, as its own headers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its place in the archive.
    pub path: String,
    pub machine: Result<Machine, ForeignMachine>,
    /// Has a note that only Android's linker reads.
    pub android_note: bool,
    /// Names of the libraries that it needs.
    pub needed: Vec<String>,
    /// Those of [`TELLING_EXPORTS`] that it has, with their symbol version.
    pub exports: BTreeMap<String, Option<String>>,
    /// Those of [`TELLING_TEXTS`] that it has.
    pub texts: BTreeSet<String>,
    /// A module of Python, useful to an interpreter only.
    pub python_module: bool,
}

/// A processor for which there are no agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignMachine {
    /// `e_machine` of the ELF header.
    pub code: u16,
    /// 32 or 64.
    pub bits: u8,
}

/// What is in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// The archive's own file name.
    pub file_name: String,
    pub libraries: Vec<Library>,
    /// The version that the archive's metadata gives, and the name that goes with it.
    pub declared: Option<Declared>,
}

/// What a wheel's METADATA, an npm package.json or a VERSION_NUMBER says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub name: Option<String>,
    pub version: String,
}

/// One package of an archive; an AAR holds one for each ABI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    pub engine: Engine,
    pub version: String,
    pub abi: Abi,
    pub accelerators: Vec<Accelerator>,
    /// Path of the library that is loaded.
    pub library: String,
    /// Paths of those that it needs or loads itself.
    pub companions: Vec<String>,
}

/// Why an archive is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NoLibrary,
    /// Libraries, but of no engine that agents load. The engine's name where it is known.
    NoEngine {
        known: Option<&'static str>,
        libraries: usize,
    },
    ForeignMachine {
        path: String,
        machine: ForeignMachine,
    },
    /// The name promises another processor than the library was built for.
    NameLies {
        path: String,
        claimed: Machine,
        claim: String,
        machine: Machine,
    },
    UnknownLibc {
        path: String,
    },
    /// Two libraries of one engine for one ABI.
    Ambiguous {
        first: String,
        second: String,
    },
    /// Nothing tells the version.
    NoVersion {
        path: String,
    },
    /// Agents cannot call it: its functions take other arguments, or are not there.
    TooOld {
        engine: Engine,
        version: String,
    },
    /// No program of this file name, or not beside the other.
    NoProgram {
        name: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLibrary => f.write_str(
                "there is no Linux or Android shared library in it (a wheel \"none-any\" or one for another system?)",
            ),
            Self::NoEngine { known: Some(known), .. } => {
                write!(f, "it holds {known}, which agents do not load; a runner can speak for it (docs/runner.md)")
            }
            Self::NoEngine { known: None, libraries } => write!(
                f,
                "none of its {libraries} libraries is an engine that agents load (onnxruntime exports OrtGetApiBase, \
                 litert exports LiteRtCreateEnvironment)"
            ),
            Self::ForeignMachine { path, machine: ForeignMachine { code, bits } } => {
                write!(
                    f,
                    "{path} is built for a {bits}-bit processor of ELF machine {code}, for which there are no agents"
                )
            }
            Self::NameLies { path, claimed, claim, machine } => write!(
                f,
                "{claim:?} promises {}, but {path} is built for {}: the package is mislabelled and would not load",
                claimed.as_str(),
                machine.as_str()
            ),
            Self::UnknownLibc { path } => {
                write!(f, "{path} needs no C library by which glibc, musl and Android could be told apart")
            }
            Self::Ambiguous { first, second } => {
                write!(f, "{first} and {second} are the same engine for the same ABI: pass the one that is meant")
            }
            Self::NoVersion { path } => {
                write!(f, "nothing tells the version of {path}: give it, as in `--version 1.31.1`")
            }
            Self::TooOld { engine, version } => {
                let (major, minor, patch) = least_version(*engine);
                write!(
                    f,
                    "agents call the interface that {engine} has from {major}.{minor}.{patch} on, and this is {version}: \
                     take a newer package"
                )
            }
            Self::NoProgram { name } => write!(
                f,
                "there is no program {name} for Linux or Android in it (--program and --viewer name them, and a viewer \
                 lies beside its program)"
            ),
        }
    }
}

/// Every package that an archive holds, or why it holds none. One library that is refused refuses the archive: half of
/// a package would be a surprise on the device.
///
/// `version` is what the user says; a library that names its own version is believed first.
pub fn recognise(contents: &Contents, version: Option<&str>) -> Result<Vec<Recognised>, Refusal> {
    if contents.libraries.is_empty() {
        return Err(Refusal::NoLibrary);
    }
    let mut found: BTreeMap<(Engine, Abi), Recognised> = BTreeMap::new();
    for library in contents.libraries.iter().filter(|library| !library.python_module) {
        let Some(engine) = engine_of(library) else { continue };
        let abi = abi_of(library, contents)?;
        let package = Recognised {
            engine,
            version: version_of(engine, library, contents, version)?,
            abi,
            accelerators: Vec::new(),
            library: library.path.clone(),
            companions: companions(engine, library, contents)?,
        };
        let accelerators = accelerators(engine, library, &package.companions);
        let package = Recognised { accelerators, ..package };
        if is_too_old(&package) {
            return Err(Refusal::TooOld { engine, version: package.version });
        }
        if let Some(earlier) = found.insert((engine, abi), package) {
            return Err(Refusal::Ambiguous { first: earlier.library, second: library.path.clone() });
        }
    }
    if found.is_empty() {
        return Err(Refusal::NoEngine { known: known(contents), libraries: contents.libraries.len() });
    }
    Ok(found.into_values().collect())
}

/// The oldest version whose interface agents call. Before LiteRT 2.1.6 `LiteRtCreateModelFromFile` took no environment
/// (litert/c/litert_model.h of its tags v2.1.5 and v2.1.6): the same name with other arguments.
const fn least_version(engine: Engine) -> (u32, u32, u32) {
    match engine {
        Engine::Onnxruntime => (1, 17, 0),
        Engine::Litert => (2, 1, 6),
    }
}

fn is_too_old(package: &Recognised) -> bool {
    // `0rc1` begins with its number.
    let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    let mut parts = package.version.split('.');
    let mut next = || parts.next().and_then(number);
    match (next(), next(), next()) {
        // A version without its last number may be any of those.
        (Some(major), Some(minor), patch) => (major, minor, patch.unwrap_or(u32::MAX)) < least_version(package.engine),
        (None, ..) | (_, None, _) => false,
    }
}

fn engine_of(library: &Library) -> Option<Engine> {
    if library.exports.contains_key("OrtGetApiBase") {
        Some(Engine::Onnxruntime)
    } else if library.exports.contains_key("LiteRtCreateEnvironment") {
        Some(Engine::Litert)
    } else {
        None
    }
}

/// Engines that are known and not loaded.
fn known(contents: &Contents) -> Option<&'static str> {
    const OTHERS: [(&str, &str); 5] = [
        ("TfLiteInterpreterCreate", "TensorFlow Lite with its old interface (agents use LiteRT 2's)"),
        ("TF_NewSession", "TensorFlow"),
        ("MXPredCreate", "MXNet"),
        ("llama_decode", "llama.cpp"),
        ("ov_core_create", "OpenVINO"),
    ];
    let exports = |name: &str| contents.libraries.iter().any(|library| library.exports.contains_key(name));
    OTHERS.into_iter().find(|(export, _)| exports(export)).map(|(_, name)| name)
}

/// Whether a file is a shared library by its name.
#[must_use]
pub fn is_library(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "so") || name.contains(".so.")
}

/// For which devices a program was built. One that is linked with no library needs no C library of the device, and is for
/// each. `file_name` is that of its archive, or its own.
pub fn abis_of_program(program: &Library, file_name: &str) -> Result<Vec<Abi>, Refusal> {
    let contents = Contents { file_name: file_name.to_owned(), ..Contents::default() };
    if !program.needed.is_empty() || program.android_note {
        return abi_of(program, &contents).map(|abi| vec![abi]);
    }
    let machine = machine_of(program, &contents)?;
    Ok(Libc::ALL.map(|libc| Abi { machine, libc }).to_vec())
}

fn abi_of(library: &Library, contents: &Contents) -> Result<Abi, Refusal> {
    let machine = machine_of(library, contents)?;
    let libc = libc_of(library).ok_or_else(|| Refusal::UnknownLibc { path: library.path.clone() })?;
    Ok(Abi { machine, libc })
}

fn machine_of(library: &Library, contents: &Contents) -> Result<Machine, Refusal> {
    let path = || library.path.clone();
    let machine = library.machine.map_err(|machine| Refusal::ForeignMachine { path: path(), machine })?;
    match claimed_machine(&library.path, &contents.file_name, contents.declared.as_ref()) {
        Some((claim, claimed)) if claimed != machine => {
            Err(Refusal::NameLies { path: path(), claimed, claim, machine })
        }
        Some(_) | None => Ok(machine),
    }
}

/// glibc is `libc.so.6`, Alpine's musl `libc.musl-x86_64.so.1`, Android's plain `libc.so`.
fn libc_of(library: &Library) -> Option<Libc> {
    let needs = |name: &str| library.needed.iter().any(|needed| needed == name);
    if library.android_note {
        Some(Libc::Bionic)
    } else if needs("libc.so.6") {
        Some(Libc::Gnu)
    } else if library.needed.iter().any(|needed| needed.starts_with("libc.musl-")) {
        Some(Libc::Musl)
    } else if needs("libc.so") {
        Some(Libc::Bionic)
    } else {
        None
    }
}

/// The processor that a name promises, and which name: the nearest folder first, then the archive, then its metadata.
fn claimed_machine(path: &str, archive: &str, declared: Option<&Declared>) -> Option<(String, Machine)> {
    let folders = path.rsplit('/').skip(1).map(str::to_owned);
    let names = folders.chain([archive.to_owned()]).chain(declared.and_then(|declared| declared.name.clone()));
    names.into_iter().find_map(|name| machine_in(&name).map(|machine| (name, machine)))
}

/// The one processor that a name mentions; a name with several promises none.
fn machine_in(name: &str) -> Option<Machine> {
    const WORDS: [(&str, Machine); 12] = [
        ("x86_64", Machine::X86_64),
        ("x86-64", Machine::X86_64),
        ("amd64", Machine::X86_64),
        ("x64", Machine::X86_64),
        ("aarch64", Machine::Aarch64),
        ("arm64", Machine::Aarch64),
        ("armeabi", Machine::Arm),
        ("armv7", Machine::Arm),
        ("armhf", Machine::Arm),
        ("i686", Machine::X86),
        ("i386", Machine::X86),
        ("x86", Machine::X86),
    ];
    let mut rest = name.to_ascii_lowercase();
    let mut found = BTreeSet::new();
    for (word, machine) in WORDS {
        while let Some(at) = rest.find(word) {
            let apart = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
            let (before, after) = (rest[..at].chars().next_back(), rest[at + word.len()..].chars().next());
            // `armv7l`, `armeabi-v7a`: what follows may belong to it.
            if apart(before) && (apart(after) || machine == Machine::Arm) {
                found.insert(machine);
            }
            rest.replace_range(at..at + word.len(), "\u{1}");
        }
    }
    match found.len() {
        1 => found.pop_first(),
        _ => None,
    }
}

fn version_of(engine: Engine, library: &Library, contents: &Contents, given: Option<&str>) -> Result<String, Refusal> {
    let own = library.exports.get("OrtGetApiBase").cloned().flatten();
    let own = own.as_deref().and_then(|version| version.strip_prefix("VERS_")).filter(|text| is_version(text));
    let file = || library.path.rsplit('/').next().and_then(|name| name.split_once(".so.")).map(|(_, version)| version);
    // `libonnxruntime.so.1` is a line of versions, not one.
    let full = |version: &&str| is_version(version) && version.contains('.');
    own.filter(|_| engine == Engine::Onnxruntime)
        .or(given)
        .or_else(|| contents.declared.as_ref().map(|declared| declared.version.as_str()))
        .or_else(|| file().filter(full))
        .or_else(|| version_in(&contents.file_name))
        .map(str::to_owned)
        .ok_or_else(|| Refusal::NoVersion { path: library.path.clone() })
}

/// What the user says, else what the archive's metadata or its name does: programs tell their version when they run.
pub(super) fn version_of_program(
    program: &Library,
    contents: &Contents,
    given: Option<&str>,
) -> Result<String, Refusal> {
    given
        .or_else(|| contents.declared.as_ref().map(|declared| declared.version.as_str()))
        .or_else(|| version_in(&contents.file_name))
        .map(str::to_owned)
        .ok_or_else(|| Refusal::NoVersion { path: program.path.clone() })
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
}

/// `onnxruntime-android-1.20.0.aar` → `1.20.0`.
fn version_in(file_name: &str) -> Option<&str> {
    const ENDINGS: [&str; 6] = [".aar", ".zip", ".tar.gz", ".tgz", ".whl", ".so"];
    let stem = ENDINGS.into_iter().find_map(|ending| file_name.strip_suffix(ending)).unwrap_or(file_name);
    stem.split(['-', '_']).find(|part| is_version(part) && part.contains('.'))
}

/// The libraries that go with an engine: those that it needs, those that those need, and those that it loads itself.
fn companions(engine: Engine, library: &Library, contents: &Contents) -> Result<Vec<String>, Refusal> {
    let beside = |path: &str| folder(path) == folder(&library.path) && path != library.path;
    let mut chosen: Vec<&Library> =
        contents.libraries.iter().filter(|other| beside(&other.path) && loads(engine, name(&other.path))).collect();
    let mut next = 0;
    let mut wanted: Vec<&str> = library.needed.iter().map(String::as_str).collect();
    loop {
        for name_wanted in std::mem::take(&mut wanted) {
            let other = contents.libraries.iter().find(|other| beside(&other.path) && name(&other.path) == name_wanted);
            if let Some(other) = other.filter(|other| !chosen.iter().any(|chosen| chosen.path == other.path)) {
                chosen.push(other);
            }
        }
        let Some(one) = chosen.get(next) else { break };
        wanted.extend(one.needed.iter().map(String::as_str));
        next += 1;
    }
    let abi = abi_of(library, contents)?;
    for other in chosen.iter().filter(|other| !is_of_coprocessor(other)) {
        let machine = other.machine.map_err(|machine| Refusal::ForeignMachine { path: other.path.clone(), machine })?;
        if machine != abi.machine {
            let (claim, claimed) = (library.path.clone(), abi.machine);
            return Err(Refusal::NameLies { path: other.path.clone(), claimed, claim, machine });
        }
    }
    Ok(chosen.into_iter().map(|library| library.path.clone()).collect())
}

/// Whether an engine looks for a library of this name beside itself.
fn loads(engine: Engine, name: &str) -> bool {
    match engine {
        // Qualcomm's come beside the engine, with their parts for the coprocessor.
        Engine::Onnxruntime => name.starts_with("libonnxruntime_providers_") || name.starts_with("libQnn"),
        Engine::Litert => name.starts_with("libLiteRt") && name.ends_with("Accelerator.so"),
    }
}

/// Code for a coprocessor, which the driver sends there.
fn is_of_coprocessor(library: &Library) -> bool {
    library.machine.is_err() && name(&library.path).starts_with("libQnn")
}

/// What there is code for that an agent can put to work.
fn accelerators(engine: Engine, library: &Library, companions: &[String]) -> Vec<Accelerator> {
    let has = |text: &str| library.texts.contains(text);
    let beside = |part: &str| companions.iter().any(|path| name(path).contains(part));
    let (gpu, npu) = match engine {
        Engine::Onnxruntime => (
            has("wgpuCreateInstance") || beside("_webgpu"),
            has("ANeuralNetworksModel_create") || has("QnnInterface_getProviders") || beside("_qnn"),
        ),
        Engine::Litert => (["Gpu", "ClGl", "OpenCl", "Vulkan"].iter().any(|part| beside(part)), false),
    };
    [(true, Accelerator::Cpu), (gpu, Accelerator::Gpu), (npu, Accelerator::Npu)]
        .into_iter()
        .filter_map(|(is_there, accelerator)| is_there.then_some(accelerator))
        .collect()
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests;
