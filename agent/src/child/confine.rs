//! What a child takes from itself before it reads a byte that somebody else wrote.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules,
};
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, setrlimit,
};

use super::orders::Orders;
use super::spec::{ChildSpec, PlacedPackage};
use crate::drivers;

/// No file of a child on the CPU is longer, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_OPEN_FILES: u64 = 256;

/// Where what an engine's libraries need may be, on Linux and on Android. Only a child with a package reads there.
const SYSTEM_LIBRARIES: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/system",
    "/vendor",
    "/apex",
    "/linkerconfig",
];

/// Where it stands which drivers there are.
const DRIVER_LISTS: &[&str] = &["/usr/share/vulkan", "/etc/vulkan", "/etc/OpenCL", "/usr/share/drirc.d"];

/// What the kernel starts in the place of a program that is linked with shared libraries.
const LOADERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux-armhf.so.3",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
    "/lib/ld-musl-armhf.so.1",
    "/system/bin/linker64",
    "/system/bin/linker",
];

/// What drivers of GPUs and NPUs open: Qualcomm's DSPs, Rockchip's NPU, Android's services.
const ACCELERATOR_DEVICES: &[&str] = &[
    "/dev/dri",
    "/dev/kgsl-3d0",
    "/dev/mali0",
    "/dev/pvr_sync",
    "/dev/dma_heap",
    "/dev/ion",
    "/dev/adsprpc-smd",
    "/dev/adsprpc-smd-secure",
    "/dev/fastrpc-cdsp",
    "/dev/fastrpc-cdsp-secure",
    "/dev/rknpu",
    "/dev/galcore",
    "/dev/accel",
    "/dev/apusys",
    "/dev/vha0",
    "/dev/apex_0",
    "/dev/nvidia0",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvhost-gpu",
    "/dev/nvhost-ctrl",
    "/dev/nvhost-ctrl-gpu",
    "/dev/nvhost-as-gpu",
    "/dev/nvmap",
    "/dev/binder",
    "/dev/hwbinder",
    "/dev/vndbinder",
];

/// Variables of the agent's environment that name libraries elsewhere: lists of files and folders.
const LIBRARY_PATHS: [&str; 1] = ["LD_LIBRARY_PATH"];

/// Where a child with a package may read: the package, the system's libraries, what whoever started the agent has named
/// for them, and the installation of a runner's interpreter; drivers too when it has an accelerator to reach.
fn readable_for(package: &PlacedPackage, with_drivers: bool) -> Vec<PathBuf> {
    let mut readable = existing(SYSTEM_LIBRARIES);
    readable.push(package.folder.clone());
    readable.extend(named_by(&LIBRARY_PATHS));
    readable.extend(package.interpreter.iter().flat_map(|interpreter| installations(interpreter)));
    if with_drivers {
        let named = named_by(&drivers::PATHS);
        // A driver's description names its library, which mostly lies beside it.
        let beside = named.iter().filter(|path| path.is_file()).filter_map(|path| path.parent()).map(Path::to_owned);
        readable.extend(beside);
        readable.extend(named);
        readable.extend(existing(DRIVER_LISTS));
    }
    readable
}

/// Where a child that starts a scorer may read: as for a runner, without any package.
fn readable_for_scorer(interpreter: &Path) -> Vec<PathBuf> {
    [existing(SYSTEM_LIBRARIES), named_by(&LIBRARY_PATHS), installations(interpreter)].concat()
}

/// A virtual environment's interpreter is a link to that of its base.
fn installations(interpreter: &Path) -> Vec<PathBuf> {
    let real = interpreter.canonicalize().ok();
    std::iter::once(installation(interpreter)).chain(real.as_deref().map(installation)).collect()
}

fn named_by(variables: &[&str]) -> Vec<PathBuf> {
    let lists = variables.iter().filter_map(std::env::var_os);
    let named = lists.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>());
    named.filter(|path| path.is_absolute() && path.exists()).collect()
}

/// What belongs to a program: the folder above the `bin` in which it lies, where that is an installation, with what its
/// libraries are; else the program alone. A home folder with a `bin` in it is none.
fn installation(program: &Path) -> PathBuf {
    let above = program.parent().filter(|folder| folder.ends_with("bin")).and_then(Path::parent);
    above.filter(|above| is_installation(above)).unwrap_or(program).to_owned()
}

fn is_installation(folder: &Path) -> bool {
    let is_home = std::env::var_os("HOME").is_some_and(|home| Path::new(&home) == folder);
    let has_libraries =
        folder.join("pyvenv.cfg").is_file() || ["lib", "lib64"].iter().any(|lib| folder.join(lib).is_dir());
    folder.parent().is_some() && !is_home && has_libraries
}

/// What a child with a package may start: exactly its programs, or what runs its program, with what loads them.
fn executable_for(package: &PlacedPackage) -> Vec<PathBuf> {
    let mut programs = package.started();
    programs.extend(package.interpreter.clone());
    if !programs.is_empty() {
        programs.extend(existing(LOADERS));
    }
    programs
}

fn existing(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// The child ends with its parent: by the kernel's signal, and by the end of its standard input, on which it hears what
/// the parent asks of it.
pub(super) fn tie_to_parent() -> io::Result<Orders> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that was already gone sends no signal; the process that adopted us holds no pipe of ours.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() == 1) {
        return Err(io::Error::other("the parent is gone"));
    }
    let orders = Orders::default();
    let heard = orders.clone();
    std::thread::Builder::new().name("parent watch".to_owned()).stack_size(32 << 10).spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().lock().read(&mut byte), Ok(1)) {
            heard.push(byte[0]);
        }
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    Ok(orders)
}

/// Bounds of memory, files and open files; no core dump.
pub(super) fn limit(spec: &ChildSpec) -> io::Result<()> {
    // A driver of a software GPU keeps its memory in files without a name, and those count as any other.
    let file_bytes =
        if spec.reaches_accelerators() { spec.job.limits.memory_bytes.max(MAX_FILE_BYTES) } else { MAX_FILE_BYTES };
    let bounds = [
        (Resource::As, spec.job.limits.memory_bytes),
        (Resource::Core, 0),
        (Resource::Nofile, MAX_OPEN_FILES),
        (Resource::Fsize, file_bytes),
    ];
    for (resource, bound) in bounds {
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) })?;
    }
    Ok(())
}

/// Reads the model, the dataset and what the kernel tells; writes its own folder; no network. With a runner or a scorer
/// also reads what that needs, and starts what runs it and nothing else. Returns how far the kernel enforces that, for
/// the record: older kernels do not know landlock.
pub(super) fn confine(spec: &ChildSpec) -> String {
    match restrict(spec) {
        Ok(RulesetStatus::FullyEnforced) => "landlock".to_owned(),
        Ok(RulesetStatus::PartiallyEnforced) => "landlock, in part".to_owned(),
        Ok(RulesetStatus::NotEnforced) => "none: this kernel has no landlock".to_owned(),
        Err(error) => format!("none: {error}"),
    }
}

fn restrict(spec: &ChildSpec) -> Result<RulesetStatus, RulesetError> {
    let abi = ABI::V4;
    let read = AccessFs::from_read(abi) & !AccessFs::Execute;
    let readable = ["/proc", "/sys", "/dev/urandom", "/dev/null"].map(PathBuf::from);
    let package = spec.package.as_ref();
    let with_drivers = spec.reaches_accelerators();
    let libraries = package.map(|package| readable_for(package, with_drivers)).unwrap_or_default();
    let scorer = spec.scorer.as_deref();
    let of_scorer = scorer.map(readable_for_scorer).unwrap_or_default();
    let mut programs = package.map(executable_for).unwrap_or_default();
    if let Some(interpreter) = scorer {
        programs.push(interpreter.to_owned());
        programs.extend(existing(LOADERS));
    }
    let devices = package.filter(|_| with_drivers).map(|_| existing(ACCELERATOR_DEVICES)).unwrap_or_default();
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(
            readable.into_iter().chain([spec.model.clone()]).chain(libraries).chain(of_scorer),
            read,
        ))?
        .add_rules(path_beneath_rules(devices, read | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(programs, AccessFs::ReadFile | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&spec.dataset, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules([&spec.out], AccessFs::from_all(abi) & !AccessFs::Execute))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_what_a_program_came_with_and_never_everything() {
        let home = tempfile::tempdir().unwrap();
        for folder in ["venv/bin", "tool/bin", "tool/lib", "lab/bin"] {
            std::fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        std::fs::write(home.path().join("venv/pyvenv.cfg"), "").unwrap();
        for (program, readable) in [
            ("venv/bin/python", "venv"),
            ("tool/bin/python3.11", "tool"),
            // A folder of somebody's own, with a program in its `bin`.
            ("lab/bin/python", "lab/bin/python"),
            ("lab/python", "lab/python"),
        ] {
            assert_eq!(installation(&home.path().join(program)), home.path().join(readable), "{program}");
        }
        assert_eq!(installation(Path::new("/bin/python3")), Path::new("/bin/python3"), "never the whole file system");
    }
}
