//! Whether a variant can run with a backend on a device. A combination that cannot is a misfit with its reason.

use std::collections::BTreeSet;

use crate::backend::{Affinity, Backend};
use crate::command;
use crate::dataset::scorer::Scorer;
use crate::device::{Cpu, DeviceState, Profile, RuntimeOffer};
use crate::model::{Format, SignatureStanding};
use crate::profile::ProfileKind;
use crate::reading::Reading;
use crate::reason::{Code, Reason};
use crate::runtimes::{Abi, Engine, PackageKind, RuntimePackage};
use crate::store::{DeviceRow, TrackRow, VariantRow};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit<'t> {
    /// With the package that its engine is loaded from, when that is not built into the agent.
    Fit(Option<&'t RuntimePackage>),
    /// Why it cannot run, for the cell of the matrix.
    Misfit(Reason),
}

/// What is asked of a device.
#[derive(Debug, Clone, Copy)]
pub struct Combination<'a> {
    pub variant: &'a VariantRow,
    pub backend: &'a Backend,
    pub profile: ProfileKind,
    pub has_dataset: bool,
    /// What judges the outputs where the dataset brings a program for it, with the dataset's name.
    pub scorer: Option<(&'a str, &'a Scorer)>,
}

/// Judges one combination on what was probed of the device. What is not known is no reason against it: then the
/// attempt will tell.
#[must_use]
pub fn can_run<'t>(combination: &Combination<'_>, device: &DeviceRow, tracks: &'t [TrackRow]) -> Fit<'t> {
    let Combination { variant, backend, .. } = *combination;
    let judged = is_in_service(device)
        .and_then(|()| signature_holds(variant))
        .and_then(|()| runtime_serves(combination, device, tracks))
        .and_then(|package| scorer_runs(combination.scorer, device).map(|()| package))
        .and_then(|package| threads_fit(backend, device).map(|()| package))
        .and_then(|package| memory_suffices(variant, device).map(|()| package));
    judged.map_or_else(Fit::Misfit, Fit::Fit)
}

fn is_in_service(device: &DeviceRow) -> Result<(), Reason> {
    let (code, since) = match device.state {
        DeviceState::Quarantined => (Code::Quarantined, Code::QuarantinedSince),
        DeviceState::Maintenance => (Code::Maintenance, Code::MaintenanceSince),
        DeviceState::Retired => (Code::Retired, Code::RetiredSince),
        DeviceState::Unauthorized => (Code::Unauthorized, Code::UnauthorizedSince),
        DeviceState::Discovered => (Code::Discovered, Code::DiscoveredSince),
        DeviceState::Ready
        | DeviceState::Reserved
        | DeviceState::Preparing
        | DeviceState::Running
        | DeviceState::Dark
        | DeviceState::Cooling
        | DeviceState::Charging
        | DeviceState::Recovering => return Ok(()),
    };
    Err(if device.state_reason.is_empty() {
        Reason::new(code, &[])
    } else {
        Reason::new(since, &[("why", &device.state_reason)])
    })
}

fn signature_holds(variant: &VariantRow) -> Result<(), Reason> {
    match variant.standing {
        SignatureStanding::Refused => Err(Reason::new(Code::SignatureRefused, &[])),
        SignatureStanding::Claimed | SignatureStanding::Confirmed => Ok(()),
    }
}

/// What is built into the agent goes before what would have to be loaded.
fn runtime_serves<'t>(
    combination: &Combination<'_>,
    device: &DeviceRow,
    tracks: &'t [TrackRow],
) -> Result<Option<&'t RuntimePackage>, Reason> {
    let Combination { variant, backend, .. } = *combination;
    let is_built_in = device.profile.runtimes.iter().any(|offer| offer.name == backend.runtime);
    let comes_in_packages =
        backend.runtime.parse::<Engine>().is_ok() || tracks.iter().any(|track| track.runtime == backend.runtime);
    if comes_in_packages && !is_built_in {
        package_serves(combination, device, tracks).map(Some)
    } else {
        offers_serve(variant.format, backend, device).map(|()| None)
    }
}

/// The track that a backend means when it names none.
pub const DEFAULT_TRACK: &str = "stable";

fn package_serves<'t>(
    combination: &Combination<'_>,
    device: &DeviceRow,
    tracks: &'t [TrackRow],
) -> Result<&'t RuntimePackage, Reason> {
    let Combination { variant, backend, profile, has_dataset, scorer: _ } = *combination;
    let format = variant.format;
    let Profile { abi, engines, interpreters, .. } = &device.profile;
    let runtime = &backend.runtime;
    let name = backend.track.as_deref().unwrap_or(DEFAULT_TRACK);
    let of_runtime = || tracks.iter().filter(|track| &track.runtime == runtime);
    let Some(track) = of_runtime().find(|track| track.name == name) else {
        let known: Vec<&str> = of_runtime().map(|track| track.name.as_str()).collect();
        return Err(if known.is_empty() {
            Reason::new(Code::NoPackage, &[("runtime", runtime)])
        } else {
            Reason::new(Code::NoTrack, &[("runtime", runtime), ("track", &name), ("known", &known.join(", "))])
        });
    };
    let Some(package) = track.package_for(abi.parse::<Abi>().ok()) else {
        let abis: BTreeSet<String> =
            track.packages.iter().filter_map(|row| row.package.abi).map(|abi| abi.to_string()).collect();
        let known = abis.into_iter().collect::<Vec<_>>().join(", ");
        let arguments: [(&str, &dyn std::fmt::Display); 4] =
            [("runtime", runtime), ("track", &name), ("abi", abi), ("known", &known)];
        return Err(Reason::new(Code::NoPackageForAbi, &arguments));
    };
    match &package.kind {
        PackageKind::Library { engine } if !engines.contains(engine) => {
            return Err(Reason::new(Code::EngineNotLoaded, &[("runtime", runtime)]));
        }
        PackageKind::Runner { interpreter: Some(interpreter) } if !interpreters.contains_key(interpreter) => {
            return Err(Reason::new(Code::NoInterpreter, &[("runtime", runtime), ("interpreter", interpreter)]));
        }
        PackageKind::Command => command::can_do(runtime, profile, has_dataset)?,
        PackageKind::Library { .. } | PackageKind::Runner { .. } => {}
    }
    let refuse = |code, what: (&str, &str)| {
        Err(Reason::new(code, &[("runtime", runtime), ("version", &package.version), (what.0, &what.1)]))
    };
    if !package.formats.contains(&format) {
        return refuse(Code::FormatUnread, ("format", format.as_str()));
    }
    if !package.accelerators.contains(&backend.accelerator) {
        return refuse(Code::NotInPackage, ("accelerator", backend.accelerator.as_str()));
    }
    Ok(package)
}

fn offers_serve(format: Format, backend: &Backend, device: &DeviceRow) -> Result<(), Reason> {
    let runtime = &backend.runtime;
    let offers: Vec<&RuntimeOffer> = device.profile.runtimes.iter().filter(|offer| &offer.name == runtime).collect();
    let reasons: Result<Vec<Reason>, ()> =
        offers.iter().map(|offer| offer_serves(offer, format, backend).map_or_else(Ok, |()| Err(()))).collect();
    let Ok(mut reasons) = reasons else { return Ok(()) };
    match (reasons.pop(), reasons.is_empty()) {
        (None, _) => {
            let names: Vec<&str> = device.profile.runtimes.iter().map(|offer| offer.name.as_str()).collect();
            Err(if names.is_empty() {
                Reason::new(Code::NoRuntimeOffered, &[("runtime", runtime)])
            } else {
                Reason::new(Code::RuntimeNotOffered, &[("runtime", runtime), ("offered", &names.join(", "))])
            })
        }
        (Some(only), true) => Err(only),
        (Some(last), false) => {
            reasons.push(last);
            Err(Reason::new(Code::NoVersionServes, &[("runtime", runtime), ("each", &Reason::joined(&reasons))]))
        }
    }
}

fn offer_serves(offer: &RuntimeOffer, format: Format, backend: &Backend) -> Result<(), Reason> {
    let RuntimeOffer { name, version, formats, accelerators, absent: _ } = offer;
    let refuse = |code, what: (&str, &str)| {
        Err(Reason::new(code, &[("runtime", name), ("version", version), (what.0, &what.1)]))
    };
    if let Some(track) = backend.track.as_deref().filter(|track| !is_of_track(version, track)) {
        return refuse(Code::OtherTrack, ("track", track));
    }
    if !formats.contains(&format) {
        return refuse(Code::FormatUnread, ("format", format.as_str()));
    }
    if !accelerators.contains(&backend.accelerator) {
        return refuse(Code::NoAccelerator, ("accelerator", backend.accelerator.as_str()));
    }
    Ok(())
}

/// Whether a version is of a track that is named by the beginning of a version: `1.30` holds `1.30.2`.
fn is_of_track(version: &str, track: &str) -> bool {
    version.strip_prefix(track).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn scorer_runs(scorer: Option<(&str, &Scorer)>, device: &DeviceRow) -> Result<(), Reason> {
    match scorer {
        Some((dataset, Scorer { interpreter, .. })) if !device.profile.interpreters.contains_key(interpreter) => {
            Err(Reason::new(Code::NoScorerInterpreter, &[("dataset", &dataset), ("interpreter", interpreter)]))
        }
        Some(_) | None => Ok(()),
    }
}

fn threads_fit(backend: &Backend, device: &DeviceRow) -> Result<(), Reason> {
    let cpu = &device.profile.cpu;
    let available = match cpus_of(&backend.affinity, cpu)? {
        Some(cpus) => Some(cpus.len()),
        None => cpu.count.present().map(|&count| usize::from(count)),
    };
    let Some(available) = available else { return Ok(()) };
    if usize::from(backend.threads) > available {
        let code = match (available, backend.affinity == Affinity::Any) {
            (1, true) => Code::TooManyThreadsOnOne,
            (1, false) => Code::TooManyThreadsOnOneOf,
            (_, true) => Code::TooManyThreads,
            (_, false) => Code::TooManyThreadsOf,
        };
        let (threads, affinity) = (&backend.threads, &backend.affinity);
        return Err(Reason::new(code, &[("threads", threads), ("cpus", &available), ("affinity", affinity)]));
    }
    Ok(())
}

/// The CPUs that an affinity means on this processor; `None` for any. The text says why it means nothing here.
///
/// Clusters are ordered by their maximum frequency; on a processor with one cluster there is no little and no big.
pub fn cpus_of(affinity: &Affinity, cpu: &Cpu) -> Result<Option<Vec<u16>>, Reason> {
    let clusters = match affinity {
        Affinity::Any => return Ok(None),
        Affinity::Cpus(cpus) => {
            let known: Vec<u16> = cpu.clusters.iter().flat_map(|cluster| cluster.cpus.iter().copied()).collect();
            let exists = |cpu_number: &u16| match &cpu.count {
                _ if !known.is_empty() => known.contains(cpu_number),
                Reading::Present(count) => cpu_number < count,
                Reading::Absent(_) => true,
            };
            return match cpus.iter().find(|cpu_number| !exists(cpu_number)) {
                Some(missing) => Err(Reason::new(Code::NoSuchCpu, &[("cpu", missing)])),
                None => Ok(Some(cpus.clone())),
            };
        }
        Affinity::Little | Affinity::Mid | Affinity::Big | Affinity::Prime => &cpu.clusters,
    };
    if let (true, Reading::Absent(why)) = (clusters.is_empty(), &cpu.count) {
        return Err(Reason::new(Code::ClustersUnknown, &[("affinity", affinity), ("why", why)]));
    }
    if clusters.len() < 2 {
        return Err(Reason::new(Code::CpusAlike, &[("affinity", affinity)]));
    }
    if let Some(Reading::Absent(why)) =
        clusters.iter().map(|cluster| &cluster.max_frequency_khz).find(|khz| khz.present().is_none())
    {
        return Err(Reason::new(Code::ClustersUnknown, &[("affinity", affinity), ("why", why)]));
    }
    let last = clusters.len() - 1;
    let chosen = match affinity {
        Affinity::Little => &clusters[..1],
        Affinity::Mid => &clusters[1..last],
        Affinity::Big => &clusters[1..],
        Affinity::Prime => &clusters[last..],
        Affinity::Any | Affinity::Cpus(_) => &clusters[..],
    };
    if chosen.is_empty() {
        return Err(Reason::new(Code::NoMidCores, &[]));
    }
    Ok(Some(chosen.iter().flat_map(|cluster| cluster.cpus.iter().copied()).collect()))
}

fn memory_suffices(variant: &VariantRow, device: &DeviceRow) -> Result<(), Reason> {
    let size = variant.manifest.size();
    match device.profile.memory_bytes.present() {
        Some(&memory) if size > memory => {
            Err(Reason::new(Code::TooLarge, &[("size", &(size >> 20)), ("memory", &(memory >> 20))]))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
