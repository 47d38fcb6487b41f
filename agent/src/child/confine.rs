//! What a child takes from itself before it reads a byte that somebody else wrote.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules,
};
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, setrlimit,
};

use super::spec::{ChildSpec, PlacedProgram};

/// No file of a child is longer, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_OPEN_FILES: u64 = 256;

/// Where what an engine's libraries need may be, on Linux and on Android. Only a child that starts a program reads there.
const SYSTEM_LIBRARIES: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/system",
    "/vendor",
    "/apex",
    "/linkerconfig",
    // Which drivers there are.
    "/usr/share/vulkan",
    "/etc/vulkan",
    "/etc/OpenCL",
    "/usr/share/drirc.d",
];

/// What drivers of GPUs open.
const GPU_DEVICES: &[&str] = &["/dev/dri", "/dev/kgsl-3d0", "/dev/mali0", "/dev/pvr_sync", "/dev/dma_heap", "/dev/ion"];

/// What drivers of NPUs open: Qualcomm's DSPs, Rockchip's NPU, and Android's services.
const NPU_DEVICES: &[&str] = &[
    "/dev/adsprpc-smd",
    "/dev/adsprpc-smd-secure",
    "/dev/fastrpc-cdsp",
    "/dev/fastrpc-cdsp-secure",
    "/dev/rknpu",
    "/dev/binder",
    "/dev/hwbinder",
    "/dev/vndbinder",
];

/// Variables of the agent's environment that name drivers and libraries elsewhere: lists of files and folders.
const DRIVER_PATHS: [&str; 5] =
    ["LD_LIBRARY_PATH", "VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "OCL_ICD_VENDORS"];

/// The dynamic linkers: the kernel starts one of them for a program, which takes the right to execute it.
const LINKERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux-armhf.so.3",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
    "/lib/ld-musl-armhf.so.1",
    "/system/bin/linker64",
    "/system/bin/linker",
];

/// Where a child that starts a program may read: its folder, the system's libraries, and what whoever started the agent
/// has named for drivers.
fn readable_for(package: &Path) -> Vec<PathBuf> {
    let named = DRIVER_PATHS.iter().filter_map(std::env::var_os);
    let named: Vec<PathBuf> = named.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>()).collect();
    // A driver's description names its library, which mostly lies beside it.
    let beside = named.iter().filter(|path| path.is_file()).filter_map(|path| path.parent()).map(Path::to_owned);
    existing(SYSTEM_LIBRARIES)
        .into_iter()
        .chain([package.to_owned()])
        .chain(beside)
        .chain(named.iter().filter(|path| path.is_absolute() && path.exists()).cloned())
        .collect()
}

fn existing(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// What a child may execute: exactly the program and its viewer, with what loads them.
fn executable_for(program: &PlacedProgram) -> Vec<PathBuf> {
    let programs = std::iter::once(&program.program).chain(&program.viewer).map(|name| program.folder.join(name));
    programs.chain(existing(LINKERS)).collect()
}

/// The child ends with its parent: by the kernel's signal, and by the end of its standard input.
pub(super) fn tie_to_parent() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that was already gone sends no signal; the process that adopted us holds no pipe of ours.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() == 1) {
        return Err(io::Error::other("the parent is gone"));
    }
    std::thread::Builder::new().name("parent watch".to_owned()).stack_size(32 << 10).spawn(|| {
        let mut byte = [0];
        // Nobody writes: any return is the end.
        let _ = io::stdin().lock().read(&mut byte);
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    Ok(())
}

/// Bounds of memory, files and open files; no core dump.
pub(super) fn limit(spec: &ChildSpec) -> io::Result<()> {
    let bounds = [
        (Resource::As, spec.job.limits.memory_bytes),
        (Resource::Core, 0),
        (Resource::Nofile, MAX_OPEN_FILES),
        (Resource::Fsize, MAX_FILE_BYTES),
    ];
    for (resource, bound) in bounds {
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) })?;
    }
    Ok(())
}

/// Reads the model, the dataset and what the kernel tells; writes its own folder; no network. Returns how far the
/// kernel enforces that, for the record: older kernels do not know landlock.
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
    let program = spec.program.as_ref();
    let libraries = program.map(|program| readable_for(&program.folder)).unwrap_or_default();
    let devices = program.map(|_| [existing(GPU_DEVICES), existing(NPU_DEVICES)].concat()).unwrap_or_default();
    let programs = program.map(executable_for).unwrap_or_default();
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable.into_iter().chain([spec.model.clone()]).chain(libraries), read))?
        .add_rules(path_beneath_rules(devices, read | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(programs, AccessFs::ReadFile | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&spec.dataset, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules([&spec.out], AccessFs::from_all(abi) & !AccessFs::Execute))?;
    // The memory pass starts its high-water mark anew.
    if let Ok(mark) = PathFd::new("/proc/self/clear_refs") {
        ruleset = ruleset.add_rule(PathBeneath::new(mark, AccessFs::WriteFile))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}
