//! What a child takes from itself before it reads a byte that somebody else wrote.

use std::io::{self, Read as _};
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules,
};
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, setrlimit,
};

use super::spec::ChildSpec;

/// No file of a child is longer, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_OPEN_FILES: u64 = 256;

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
    let readable = [Path::new("/proc"), Path::new("/sys"), Path::new("/dev/urandom"), Path::new("/dev/null")];
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable.into_iter().chain([spec.model.as_path()]), read))?
        .add_rules(path_beneath_rules(&spec.dataset, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules([&spec.out], AccessFs::from_all(abi) & !AccessFs::Execute))?;
    // The memory pass starts its high-water mark anew.
    if let Ok(mark) = PathFd::new("/proc/self/clear_refs") {
        ruleset = ruleset.add_rule(PathBeneath::new(mark, AccessFs::WriteFile))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}
