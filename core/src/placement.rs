//! Whether a variant can run with a backend on a device. A combination that cannot is a misfit with its reason.

use crate::backend::{Affinity, Backend};
use crate::device::{Cpu, DeviceState, RuntimeOffer};
use crate::model::{Format, SignatureStanding};
use crate::reading::Reading;
use crate::reason::{Code, Reason};
use crate::store::{DeviceRow, VariantRow};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    Fit,
    /// Why it cannot run, for the cell of the matrix.
    Misfit(Reason),
}

/// Judges one combination on what was probed of the device. What is not known is no reason against it: then the
/// attempt will tell.
#[must_use]
pub fn can_run(variant: &VariantRow, backend: &Backend, device: &DeviceRow) -> Fit {
    let checks = [
        is_in_service(device),
        signature_holds(variant),
        runtime_serves(variant.format, backend, device),
        threads_fit(backend, device),
        memory_suffices(variant, device),
    ];
    match checks.into_iter().find_map(Result::err) {
        Some(reason) => Fit::Misfit(reason),
        None => Fit::Fit,
    }
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

fn runtime_serves(format: Format, backend: &Backend, device: &DeviceRow) -> Result<(), Reason> {
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
    let RuntimeOffer { name, version, formats, accelerators } = offer;
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
