//! On which CPUs the inference threads may run.

use std::collections::BTreeSet;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use seatrial_core::reading::Reading;

/// Before the engine starts its threads, which inherit it. Numbers of other CPUs than were asked for would stand under the
/// wrong name, so a kernel that refuses or narrows them is an error, in words for the attempt's message.
pub(super) fn pin(cpus: &[u16]) -> Result<(), String> {
    let refused = |what: String| format!("CPUs {cpus:?} are asked for, and {what}");
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if usize::from(cpu) < CpuSet::MAX_CPU {
            set.set(usize::from(cpu));
        }
    }
    sched_setaffinity(None, &set).map_err(|error| refused(format!("the kernel refuses them: {error}")))?;
    match allowed() {
        Reading::Present(allowed) if as_set(&allowed) == as_set(cpus) => Ok(()),
        Reading::Present(allowed) => Err(refused(format!("the kernel allows {allowed:?} only"))),
        Reading::Absent(why) => Err(refused(why)),
    }
}

fn as_set(cpus: &[u16]) -> BTreeSet<u16> {
    cpus.iter().copied().collect()
}

pub(crate) fn allowed() -> Reading<Vec<u16>> {
    match sched_getaffinity(None) {
        Ok(set) => {
            Reading::Present((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).map(|cpu| cpu as u16).collect())
        }
        Err(error) => Reading::Absent(format!("the kernel does not tell: {error}")),
    }
}
